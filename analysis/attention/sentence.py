"""What the measurements of attention say, in plain words; each sentence is made of its result alone."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.attention.decay import FEW
from analysis.attention.measure import mean
from analysis.wording import listed

if TYPE_CHECKING:
    from analysis.attention.decay import Decay
    from analysis.attention.measure import Attention, Link

_LEVEL = 1.25  # times: less apart is about as much
_STOPS = 0.25  # of what it was at first: a loss, or a gain, that is told as one


def percent(share: float) -> str:
    """A share as per cent, with as many digits as it takes to see it."""
    value = 100 * share
    if 0 < abs(value) < 0.1:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"


def headline(found: "Attention") -> str:
    """Where the chosen token looks: its shares, the layer that looks most, attention per key, and the disparity."""
    who = _who(found)
    shares = found.mass.mean(0)
    names = ("the picture", "the question", "the template", "its own answer")
    if not found.picture:
        parts = [f"{percent(s)} to {n}" for s, n in zip(shares, names, strict=True) if s > 0]
        return (
            f"There is no picture, so nothing can look at one: {_low(who)} gives {listed(parts)}. Choose a picture "
            "at the top to see how picture and text share the attention."
        )
    if not found.keys[:, 0].any():
        return f"{who} stands before the picture and cannot see it: all of its attention goes to the template."
    keys = found.keys.mean(0)
    parts = [
        f"{percent(s)} to {name} ({keys[k]:.0f} token{'s' * (round(keys[k]) != 1)})"
        for k, (s, name) in enumerate(zip(shares, names, strict=True))
        if keys[k] > 0
    ]
    said = f"{who} gives {listed(parts)}, averaged over {found.layers} layers and {found.heads} heads."
    most = int(found.mass[:, 0].argmax())
    if found.layers > 1:
        said += f" Layer {most + 1} looks at the picture most ({percent(found.mass[most, 0])})."
    return f"{said} {_each(found)} {_apart(found)}".strip()


def _who(found: "Attention") -> str:
    if found.writing:
        return f"When “{found.writing.strip() or '␣'}” is written, the token that writes it"
    named = f"token {found.position}, “{found.token.strip() or '␣'}”,"
    return f"The picture's {named}" if found.kind == "image" else named[0].upper() + named[1:]


def _low(text: str) -> str:
    return text[0].lower() + text[1:]


def _each(found: "Attention") -> str:
    """What one token of the picture gets against one of the text."""
    image, text = mean(found.toward("image", per_key=True)), mean(found.toward("text", per_key=True))
    if np.isnan(image) or np.isnan(text) or min(image, text) == 0:
        return ""
    times = max(image, text) / min(image, text)
    said = f"One token of the picture gets {percent(image)}, one of the text {percent(text)}"
    if times < _LEVEL:
        return f"{said}: about as much."
    return f"{said}: {times:.1f} times {'more' if image > text else 'less'} for the picture's."


def _apart(found: "Attention") -> str:
    whole, each = mean(found.disparity()), mean(found.disparity(per_key=True))
    if np.isnan(whole):
        return ""
    return f"Self- and cross-modal attention are {100 * whole:.0f} % apart as shares and {100 * each:.0f} % per token."


def decay(found: "Attention") -> str:
    """Each link's decay over layers, in words."""
    if not found.picture:
        return "There is no picture, so no link to it or from it can fade."
    said = " ".join(_link(link, found) for link in found.links if link.name != "text-to-text")
    if 2 < found.layers < FEW:
        free = f"{found.layers - 2} degree{'s' * (found.layers > 3)} of freedom"
        said += f" With {found.layers} layers a fit has {free}: the intervals are wide."
    return said


def _link(link: "Link", found: "Attention") -> str:
    name = link.name[0].upper() + link.name[1:]
    if not link.visible.any():
        return f"{name}: there is no such link, because every text token comes after the picture and none is seen."
    said = f"{name}: {trend(link.decay)}"
    if link.name == "image-to-text" and link.visible.max() < 4:
        said += (
            f" Mind that an image token sees only {link.visible.max():.0f} text token"
            f"{'s' * (round(link.visible.max()) != 1)} here, of the template and before the picture, often a sink."
        )
    return said


def trend(found: "Decay") -> str:
    """What a fit says: fading, growing, neither, or not exponential."""
    if found.kind == "none":
        return "too few layers have any attention to fit."
    numbers = f"γ = {found.gamma:.2f}"
    if found.kind == "open":
        return f"{numbers} from two layers, which a line fits whatever they are."
    numbers += f" (95 % interval {_factor(found.low)} to {_factor(found.high)}, R² = {found.r2:.2f})"
    if found.kind == "flat":
        return f"no decay can be told: {numbers}, and the interval holds 1."
    change = 100 * abs(found.gamma - 1)
    verb = "fades" if found.gamma < 1 else "does not fade but grows"
    said = f"attention per key {verb} by {change:.0f} % a layer, {numbers}"
    if found.kind.startswith("unsteady"):
        return f"{said}; but it is not exponential: the line explains {100 * found.r2:.0f} % of the ups and downs."
    if found.gamma < 1:
        said += f", halving every {np.log(0.5) / np.log(found.gamma):.1f} layers"
    return f"{said}."


def _factor(value: float) -> str:
    """A factor with as many digits as it takes to tell it from 1."""
    return f"{value:.4f}" if 0 < abs(value - 1) < 0.005 else f"{value:.2f}"


def by_token(found: "Attention") -> str:
    """Whether the model goes on looking at the picture while it writes."""
    if not found.picture or not found.written:
        return ""
    values = found.written_share[:, :, 0].mean(0)
    if len(values) == 1:
        return f"The answer is one token, written with {percent(values[0])} of the attention on the picture."
    half = (len(values) + 1) // 2
    first, last = float(values[:half].mean()), float(values[half:].mean())
    said = f"In the first half of the answer {percent(first)} of the attention is on the picture, in the second "
    change = (last - first) / first if first > 0 else 0.0
    trend = "it looks less and less" if change <= -_STOPS else "it looks more and more" if change >= _STOPS else ""
    low, high = int(values.argmin()), int(values.argmax())
    said += (
        f"{percent(last)}: {trend or 'it does not stop looking'}. Most is at “{found.written[high].strip() or '␣'}” "
        f"({percent(values[high])}), least at “{found.written[low].strip() or '␣'}” ({percent(values[low])})."
    )
    wrong = [i for i, bad in enumerate(found.invented) if bad]
    if wrong:
        others = np.delete(values, wrong)
        said += f" Named, but not there: {listed(_names(found, wrong))}, written with {percent(values[wrong].mean())}"
        said += (
            f" on the picture, the other tokens with {percent(others.mean())}." if others.size else " on the picture."
        )
    elif found.invented:
        said += " All that it names is in the picture."
    return said


def _names(found: "Attention", wrong: list[int]) -> list[str]:
    """The invented things as they are written, each once: tokens that follow one another are one name."""
    names = []
    for i in wrong:
        if i - 1 in wrong:
            names[-1] += found.written[i]
        else:
            names.append(found.written[i])
    return [f"“{name.strip()}”" for name in dict.fromkeys(names)]


PREDICTED = ("it falls", "it grows", "it stays within 5 points")
"""What ``outcome`` can be."""


def outcome(found: "Attention") -> str | None:
    """How the picture's share of attention goes from the first layer to the last, mean over heads.

    None without a picture, or with one layer.
    """
    if not found.picture or len(found.share) < 2:
        return None
    first, *_, last = found.share[:, :, 0].mean(axis=1)
    return PREDICTED[2] if abs(last - first) <= 0.05 else PREDICTED[0] if last < first else PREDICTED[1]
