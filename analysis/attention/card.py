"""What the model's card says about attention: disparity, decay, checkpoints, and MODA against its control."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.attention import trained
from analysis.attention.decay import Decay
from analysis.attention.sample import ITEMS, LINKS, Looks, looks, of_sets
from analysis.statistics import spread
from analysis.table import Table
from models import catalog
from models.checkpoints import BASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.attention.trained import Trained
    from models.mllm import MLLM


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Attention of the embedded default and of each of its checkpoints over 120 items, and MODA against its control.

    Measures what is not kept yet.
    """
    model = opened(catalog.EMBEDDED)
    found = looks(model, model.checkpoint_names, of_sets(model.checkpoints.manifest, ITEMS))
    parts = [_attention(found)]
    if trained.available():
        parts.append(_moda(trained.trained(opened(trained.MODEL), trained.sample())))
    return "\n\n".join(parts)


def _attention(found: Looks) -> str:
    n, layers = found.right.shape[1], found.share.shape[2]
    rows = []
    for i, name in enumerate(found.checkpoints):
        image = found.image(i)
        each = [_percent(image[:, layer]) for layer in range(layers)]
        rows.append([name, *each, _percent(found.disparity(i)), _percent(found.disparity(i, per_key=True))])
    header = [
        "checkpoint",
        *(f"image, layer {i + 1}" for i in range(layers)),
        "disparity, mass",
        "disparity, per token",
    ]
    fits = []
    for link in LINKS:
        for i, name in enumerate(found.checkpoints):
            whole = found.decay(i, link)
            gamma = _gamma(whole, *found.between(i, link))
            fits.append([link, name, gamma, _interval(whole), f"{whole.r2:.2f}", _says(whole)])
    head = ["link", "checkpoint", "gamma (95 % over items)", "95 % of the fit over layers", "R2", "reads as"]
    return "\n\n".join(
        [
            "## Attention: disparity and decay",
            f"n = {n} items of the evaluation sets, {n // len(set(found.tasks))} a task, for every checkpoint. Of the "
            "token that writes the first of the answer: the share of its attention on the picture in each layer, and "
            "how far self- and cross-modal attention are apart, |self - cross| / max(self, cross), mean over layers. "
            "Of all tokens of the prompt: gamma, the factor from layer to layer of what one key gets (MODA, arXiv "
            "2507.04635); below 1 a link fades. Image tokens see no question that comes after them, so their link to "
            "text may be about an opening token of the template alone. Brackets are 95 % intervals, bootstrap over "
            f"items; those of the fit are Student's t with {layers - 2} degrees of freedom.",
            Table(header, rows).markdown(),
            Table(head, fits).markdown(),
            _meaning(found),
        ]
    )


def _meaning(found: Looks) -> str:
    """What the tables say of the base, and of the checkpoint that moved furthest from it."""
    base = found.checkpoints.index(BASE)
    whole, each = (float(np.nanmean(found.disparity(base, per_key))) for per_key in (False, True))
    image = [found.image(i).mean() for i in range(len(found.checkpoints))]
    read = {link: found.decay(base, link) for link in LINKS}
    fading = [k for k, d in read.items() if d.kind == "fading"]
    other = [k for k, d in read.items() if d.kind != "fading"]
    said = f"In the base, self- and cross-modal attention are {100 * whole:.0f} % apart as shares"
    said += f" and {100 * each:.0f} % per token. "
    said += f"An exponential decay shows in {' and '.join(fading)}" if fading else "No link decays exponentially"
    said += f", not in {' and '.join(other)}." if fading and other else "."
    if len(image) > 1:
        far = max((i for i in range(len(image)) if i != base), key=lambda i: abs(image[i] - image[base]))
        change = spread(found.image(far).mean(1) - found.image(base).mean(1))
        said += (
            f" Of the checkpoints, {found.checkpoints[far]} looks at the picture most differently: "
            f"{100 * (image[far] - image[base]):+.1f} points ({100 * change[0]:+.1f} to {100 * change[1]:+.1f}) "
            "against the base, averaged over layers."
        )
    return said


def _moda(found: "Trained") -> str:
    def seeds(values, times=100, unit=" %", digits=1) -> str:
        shown = f"{times * np.mean(values):.{digits}f}{unit}"
        if len(values) < 2:
            return shown
        return f"{shown} ({times * np.min(values):.{digits}f} to {times * np.max(values):.{digits}f})"

    rows = []
    for i, (task, gain) in enumerate(zip((*found.tasks, "all"), found.gains, strict=True)):
        arms = [found.accuracy[a].mean(1) if task == "all" else found.accuracy[a][:, i] for a in range(2)]
        change = f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        rows.append([f"accuracy, {task}", *map(seeds, arms), change])
    rows += [
        [f"image share, layer {layer + 1}", *(seeds(found.image[a][:, layer]) for a in range(2)), ""]
        for layer in range(found.image.shape[2])
    ]
    for name, values in (("disparity, mass", found.apart), ("disparity, per token", found.apart_per_key)):
        rows.append([name, *map(seeds, values), ""])
    for link, values in found.gamma.items():
        rows.append([f"gamma, {link}", *(seeds(v, 1, "", 2) for v in values), ""])
    count = len(found.seeds)
    return "\n\n".join(
        [
            "### MODA against its control",
            f"Two adapters for each of {count} seed{'s' * (count > 1)}, from the same base, on the same batches: one "
            f"with plain attention, one with modular duplex attention. n = {found.n[0]} items a task, in a style that "
            "neither saw. Brackets behind an arm: lowest to highest seed; behind a difference: 95 % bootstrap over "
            "items, each item's mean over seeds.",
            Table(["", "control", "MODA", "difference, points"], rows).markdown(),
            trained.sentence(found),
        ]
    )


def _percent(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    if not known.size:
        return "none"
    low, high = spread(known)
    return f"{100 * known.mean():.0f}% ({100 * low:.0f}% to {100 * high:.0f}%)"


def _gamma(whole: Decay, low: float, high: float) -> str:
    return "no such link" if whole.kind == "none" else f"{whole.gamma:.2f} ({low:.2f} to {high:.2f})"


def _interval(whole: Decay) -> str:
    return "" if np.isnan(whole.low) else f"{whole.low:.2f} to {whole.high:.2f}"


def _says(whole: Decay) -> str:
    words = {"none": "nothing to fit", "open": "two layers", "flat": "no clear decay", "fading": "decay"}
    words |= {
        "growing": "growth",
        "unsteady fading": "less, not exponentially",
        "unsteady growing": "more, not exponentially",
    }
    return words[whole.kind]

