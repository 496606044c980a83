"""What the measurements of attention say, in plain words; each sentence is made of its result alone.

On the page, the first sentence of each is its headline, of at most 25 words.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from analysis.attention.measure import FEW, mean
from analysis.wording import listed, ninth, plural, points, rough
from analysis.wording import percent as chance

if TYPE_CHECKING:
    from analysis.attention.measure import Attention, Decay, Word
    from analysis.attention.probe import Carried, WhatIf
    from analysis.attention.sample import Across
    from analysis.attention.where import Where

_LEVEL = 1.25  # times: less apart is about as much
_STOPS = 0.25  # of what it was at first: a loss, or a gain, that is told as one
_WIDE = 1.5  # times from the lower to the upper end of an interval: what is narrower can tell, however few the layers
_CLEAR = 0.05  # nats: a smaller change of a log-probability is called none
_WORDS = 3  # of an answer that is quoted
_WHO = {"answering": "of the tokens that write the answer", "text": "of all text tokens"}


def percent(share: float) -> str:
    """A share as per cent, with as many digits as it takes to see it."""
    value = 100 * share
    if 0 < abs(value) < 0.1:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"


def quoted(text: str) -> str:
    """An answer as a sentence quotes it: its first words, with no full stop inside."""
    words = re.sub(r"[.!?]+(?=\s|$)", "", " ".join(text.split())).split()
    return f"“{' '.join(words[:_WORDS])}{' …' if len(words) > _WORDS else ''}”"


def over(found: "Attention") -> str:
    """Whether the answer looks at the picture, and where it invents; then all about the chosen word, and the rest."""
    parts = [_over(found), headline(found), by_word(found), decay(found)]
    return " ".join(part for part in parts if part)


def _over(found: "Attention") -> str:
    words = [w for w in found.words if any(c.isalnum() for c in w.text)] or list(found.words)
    if not words:
        return "The model answers nothing, so no word of its answer looks anywhere."
    if not found.picture:
        return "There is no picture to look at: the words read the question and the template alone."
    wrong, right = [w for w in words if w.invented], [w for w in words if w.right]
    if wrong:
        others = right or [w for w in words if not w.invented]
        said = f"Not in the picture: {_named(wrong)}, written with {_looking(wrong)} of the attention on it"
        if not others:
            return f"{said}: looking is not seeing."
        return f"{said}; {'true names' if right else 'other words'}, with {_looking(others)}."
    most, least = max(words, key=lambda w: w.image), min(words, key=lambda w: w.image)
    if most is least or most.text == least.text:
        mass = found.written_share[:, most.first : most.last + 1, 0].mean(1)
        layer = f", and with {percent(mass.max())} in layer {mass.argmax() + 1}" if len(mass) > 1 else ""
        return f"{quoted(most.text)} is written with {percent(most.image)} of the attention on the picture{layer}."
    return (
        f"It looks at the picture most while it writes {quoted(most.text)} ({percent(most.image)}), and least at "
        f"{quoted(least.text)} ({percent(least.image)})."
    )


def _named(words: "list[Word]") -> str:
    """Words, each once; of many, the first two."""
    names = list(dict.fromkeys(f"“{w.text}”" for w in words))
    return listed(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])


def _looking(words: "list[Word]") -> str:
    """The share of attention on the picture over words, each of their tokens weighed alike."""
    return percent(float(np.average([w.image for w in words], weights=[w.last + 1 - w.first for w in words])))


def headline(found: "Attention") -> str:
    """Where the chosen token looks: its shares, the layer that looks most, attention per key, and the disparity."""
    last = max(t.position for t in found.tokens if t.kind != "answer")
    named = f"token {found.position}, “{found.token.strip() or '␣'}”,"
    who = f"The picture's {named}" if found.kind == "image" else named[0].upper() + named[1:]
    if word := found.written_word:
        first = "its first piece" if found.position == last + word.first else "a piece of it"
        piece = "it" if word.first == word.last else first
        who = f"When “{word.text or '␣'}” is written, the token that writes {piece}"
    shares = found.mass.mean(0)
    names = ("the picture", "the question", "the template", "its own answer")
    if not found.picture:
        parts = [f"{percent(s)} to {n}" for s, n in zip(shares, names, strict=True) if s > 0]
        return (
            f"There is no picture, so nothing can look at one: {who[0].lower()}{who[1:]} gives {listed(parts)}. "
            "Choose a picture to see how picture and text share the attention."
        )
    if not found.keys[:, 0].any():
        return f"{who} stands before the picture and cannot see it: all of its attention goes to the template."
    keys = found.keys.mean(0)
    parts = [
        f"{percent(s)} to {name} ({plural(round(keys[k]), 'token')})"
        for k, (s, name) in enumerate(zip(shares, names, strict=True))
        if keys[k] > 0
    ]
    said = f"{who} gives {listed(parts)}, averaged over {found.layers} layers and {found.heads} heads."
    most = int(found.mass[:, 0].argmax())
    if found.layers > 1:
        said += f" Layer {most + 1} looks at the picture most ({percent(found.mass[most, 0])})."
    image, text = mean(found.toward("image", per_key=True)), mean(found.toward("text", per_key=True))
    parts = [said]
    if not np.isnan([image, text]).any() and min(image, text) > 0:
        times = max(image, text) / min(image, text)
        than = f"{times:.1f} times {'more' if image > text else 'less'} for the picture's"
        said = f"One token of the picture gets {percent(image)}, one of the text {percent(text)}"
        parts.append(f"{said}: {'about as much' if times < _LEVEL else than}.")
    apart, each = mean(found.disparity()), mean(found.disparity(per_key=True))
    if not np.isnan(apart):
        said = f"Self- and cross-modal attention are {100 * apart:.0f} % apart as shares"
        parts.append(f"{said} and {100 * each:.0f} % per token.")
    return " ".join(parts)


def decay(found: "Attention") -> str:
    """Each link's decay over layers, in words."""
    if not found.picture:
        return "There is no picture, so no link to it or from it can fade."
    parts = []
    if short := few(found.layers, [link.decay for link in found.links]):
        parts.append(f"{short}. What it can tell is the disparity.")
    for link in found.links:
        name, seen = link.name.capitalize(), link.visible.max()
        if link.name == "text-to-text":
            continue
        told = "there is no such link, because every text token comes after the picture and none is seen."
        parts.append(f"{name}: {trend(link.decay) if link.visible.any() else told}")
        if link.name == "image-to-text" and 0 < seen < 4:
            parts.append(
                f"Mind that an image token sees only {seen:.0f} text token{'s' * (round(seen) != 1)} here, of the "
                "template and before the picture, often a sink."
            )
    return " ".join(parts)


def trend(found: "Decay") -> str:
    """What a fit says: fading, growing, neither, or not exponential."""
    if found.kind == "none":
        return "too few layers have any attention to fit."
    gamma = found.gamma.value
    numbers = f"γ = {gamma:.2f}"
    if found.kind == "open":
        return f"{numbers} from two layers, which a line fits whatever they are."
    # ends with as many digits as it takes to tell them from 1
    ends = [f"{v:.4f}" if 0 < abs(v - 1) < 0.005 else f"{v:.2f}" for v in (found.gamma.low, found.gamma.high)]
    numbers += f" (95 % interval {ends[0]} to {ends[1]}, R² = {found.r2:.2f})"
    if found.kind == "flat":
        return f"no decay can be told: {numbers}, and the interval holds 1."
    change = 100 * abs(gamma - 1)
    verb = "fades" if gamma < 1 else "does not fade but grows"
    said = f"attention per key {verb} by {change:.0f} % a layer, {numbers}"
    if found.kind.startswith("unsteady"):
        return f"{said}; but it is not exponential: the line explains {100 * found.r2:.0f} % of the ups and downs."
    if gamma < 1:
        said += f", halving every {np.log(0.5) / np.log(gamma):.1f} layers"
    return f"{said}."


def by_word(found: "Attention") -> str:
    """Whether the model goes on looking at the picture while it writes."""
    words = [w for w in found.words if any(c.isalnum() for c in w.text)]
    if not found.picture or len(words) < 2:
        return ""
    values = np.array([w.image for w in words])
    half = (len(values) + 1) // 2
    first, last = float(values[:half].mean()), float(values[half:].mean())
    said = f"In the first half of the answer {percent(first)} of the attention is on the picture, in the second "
    change = (last - first) / first if first > 0 else 0.0
    trend = "it looks less and less" if change <= -_STOPS else "it looks more and more" if change >= _STOPS else ""
    low, high = words[int(values.argmin())], words[int(values.argmax())]
    said += (
        f"{percent(last)}: {trend or 'it does not stop looking'}. Most is at “{high.text}” ({percent(high.image)}), "
        f"least at “{low.text}” ({percent(low.image)})."
    )
    wrong, others = [w for w in words if w.invented], [w for w in words if not w.invented]
    if wrong:
        said += f" Named, but not there: {_named(wrong)}, written with {_looking(wrong)} on the picture"
        said += f", the other words with {_looking(others)}." if others else "."
    elif found.invented:
        said += " All that it names is in the picture."
    return said


def few(layers: int, fits: "Iterable[Decay]") -> str:
    """What ``fits`` over few layers cannot tell; empty where there are enough, or no interval of γ is wide."""
    wide = max((fit.gamma.high / fit.gamma.low for fit in fits if fit.gamma.low > 0), default=math.inf)
    if layers >= FEW or wide < _WIDE:
        return ""
    count = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven")[layers]
    said = f"{count} layers cannot tell whether attention fades"
    freedom = f"{plural(layers - 2, 'degree')} of freedom, and intervals of γ up to {rough(wide)} times wide"
    return said if math.isinf(wide) else f"{said}: a fit has {freedom}"


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


def where(found: "Where", word: str = "") -> str:
    """Where one token looks: ``word`` is what it writes, empty where it is a token of the prompt."""
    when = f"When “{word}” is written" if word else f"Seen from the token “{found.token.strip() or '␣'}”"
    which = f"head {found.head} of layer {found.layer}" if found.head else f"layer {found.layer} as a whole"
    which = "the sum of all layers" if found.mode == "rollout" else which
    if not found.size:
        said = f"{when}, {which} has no picture to look at."
    else:
        kind = "weighted attention" if found.mode == "value_norm" else "attention"
        ninths = Counter()  # of the picture: how much of the attention each gets
        for part in found.patches:
            (left, top, right, bottom), (rows, columns) = part.box, part.values.shape
            for (row, column), value in np.ndenumerate(part.values):
                x, y = left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows
                ninths[ninth(x, y)] += float(value)
        place, share = max(ninths.items(), key=lambda item: item[1], default=("", 0.0))
        there = f", {percent(share)} {'in' if place == 'middle' else 'at'} the {place}" if share else ""
        said = f"{when}, {which} has {percent(found.image)} of its {kind} on the picture{there}."
    if not found.head:
        said += " That is the mean of its heads." if found.layer else " Each is followed through the ones before."
    if len(found.weights):
        top = int(found.weights.argmax())
        name = f"“{found.words[top].text.strip() or '␣'}”"
        said += f" Of the text, {name} gets most ({percent(found.weights[top])})"
        said += ", the prompt's first token: often a sink that means nothing." if not found.words[top].position else "."
    return said


def carried(found: "Carried") -> str:
    """Which layers carry the picture to the answer."""
    answer, plain, without = (
        quoted(found.target), *(chance(found.chance(level)) for level in (found.plain, found.without))
    )
    most = int(found.lost.argmax())
    where = f"layer {found.first[most]}"
    if found.width > 1:
        where = f"layers {found.first[most]} to {found.first[most] + found.width - 1}"
    if found.lost[most] > _CLEAR:
        left = chance(found.chance(found.cut[most]))
        said = f"Without the picture in {where}, {answer} falls from {plain} to {left}. Cut in all, {without} is left."
    elif found.plain - found.without > _CLEAR:
        windows = "single layer" if found.width == 1 else f"window of {found.width} layers"
        said = f"No {windows} is needed for {answer} ({plain}), but cut in all, {without} is left."
    else:
        said = f"{answer} does not need the picture here: {plain} as it is, {without} with it cut off everywhere."
    whose = "the right answer" if found.truth_known else "the model's own answer"
    said += f" What was cut is the attention to the picture {_WHO[found.who]}; “{found.target}” is {whose}"
    if found.tokens > 1:
        said += f", and its chance is that of each of its {found.tokens} tokens (geometric mean)"
    said += "."
    if len(found.first) > 1 and found.lost[most] > _CLEAR:
        carry = int((found.lost > _CLEAR).sum())
        each = "layers" if found.width == 1 else f"windows of {found.width} layers"
        said += f" Cut alone, {carry} of {len(found.first)} {each} cost anything."
    best = int(found.scaled.argmax())
    if found.scaled[best] - found.plain > _CLEAR:
        said += f" It is most probable with {found.weights[best]:g} times the attention to the picture."
    return said


def what_if(found: "WhatIf") -> str:
    """What the change does to the answer and to where it looks."""
    before, after = found.before, found.after
    if before.answer == after.answer:
        said = f"Attending otherwise, it still says {quoted(before.answer)}"
    elif quoted(before.answer) == quoted(after.answer):
        said = f"Attending otherwise, it goes on otherwise after {quoted(before.answer)}"
    else:
        said = f"Attending otherwise, it says {quoted(after.answer)} instead of {quoted(before.answer)}"
    first, then = (math.exp(c) if not math.isnan(c) else math.nan for c in found.chance)
    if not math.isnan(first):
        said += f"; the first goes from {chance(first)} to {chance(then)}"
    said += f". Changed: {found.change}; chances are those of a token."
    if before.picture:
        looks = [100 * a.mass[:, 0].mean() for a in (before, after)]
        said += f" When it begins, {looks[0]:.1f} % of the attention was on the picture, now {looks[1]:.1f} %."
        text = [100 * a.link("text-to-image").share.mean() for a in (before, after)]
        said += f" Of the attention of the prompt's text tokens it was {text[0]:.1f} %, now {text[1]:.1f} %."
    if found.change.beta is not None:
        held = dict.fromkeys(("text", "image"), 0.0)  # of the attention of the prompt's tokens; the rest goes nowhere
        for link in after.links:
            held[link.query] += float(link.share.mean())
        drained = {side: percent(max(0.0, 1 - share)) for side, share in held.items()}
        said += f" Pseudo-scores drain {drained['text']} of the attention of the prompt's text tokens"
        said += f" and {drained['image']} of its image tokens'." if before.picture else "."
        said += " Nothing comes after the prompt's last token, so it is not drained itself."
    return f"{said} The model was not trained for this."


def across(found: "Across") -> str:
    """Whether checkpoints look at the picture differently."""
    each = found.share.mean(1)
    if len(each) == 1:
        return f"There is one checkpoint: {percent(each[0])} of its attention is on the picture, averaged over layers."
    low, high = int(each.argmin()), int(each.argmax())
    last = max(range(1, len(each)), key=lambda i: abs(each[i] - each[0]))
    moved = np.abs(found.share - found.share[0]).max(0)
    layer = int(moved.argmax())
    return (
        f"From {percent(each[low])} ({found.checkpoints[low]}) to {percent(each[high])} ({found.checkpoints[high]}) of "
        f"the attention is on the picture; {found.checkpoints[last]} moved furthest from the base, by "
        f"{points(each[last] - each[0])}. Averaged over layers, of the token that writes the first word. They differ "
        f"most in layer {layer + 1}, by up to {points(moved[layer], sign=False)} from the base."
    )
