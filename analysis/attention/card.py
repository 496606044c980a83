"""What the model's card says about attention: disparity, decay, checkpoints, and MODA against its control."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from analysis.attention import sample
from analysis.attention.figure import arms_table
from analysis.attention.sample import ITEMS, LINKS, Looks, looks, of_sets
from analysis.attention.sentence import few
from analysis.statistics import difference, mean
from analysis.table import Head, Table
from analysis.wording import between, change, plural
from models import catalog
from models.checkpoints import BASE

if TYPE_CHECKING:
    from analysis.attention.sample import Trained
    from models.mllm import MLLM


_READS = {
    "none": "nothing to fit", "open": "two layers", "flat": "no clear decay", "fading": "decay", "growing": "growth",
    "unsteady fading": "less, not exponentially", "unsteady growing": "more, not exponentially",
}  # fmt: skip
"""What each kind of ``Decay`` is called."""


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Attention of the embedded default and of each of its checkpoints over 120 items, and MODA against its control.

    Measures what is not kept yet.
    """
    model = opened(catalog.EMBEDDED)
    found = looks(model, model.checkpoint_names, of_sets(model.checkpoints.manifest, ITEMS))
    parts = [_attention(found)]
    if sample.available():
        parts.append(_moda(sample.trained(opened(sample.MODEL), sample.sample())))
    return "\n\n".join(parts)


def _attention(found: Looks) -> str:
    n, layers = found.right.shape[1], found.share.shape[2]
    rows = []
    for i, name in enumerate(found.checkpoints):
        columns = (*found.image(i).T, found.disparity(i), found.disparity(i, per_key=True))
        rows.append([name, *(mean(values[~np.isnan(values)]) for values in columns)])
    names = [*(f"image, layer {i + 1}" for i in range(layers)), "disparity, mass", "disparity, per token"]
    fits = []
    for link in LINKS:
        for i, name in enumerate(found.checkpoints):
            whole, gamma = found.decay(i, link), found.gamma(i, link)
            span = None if np.isnan(whole.gamma.low) else between(whole.gamma, 2, times=1)
            fits.append([link, name, gamma if gamma.known else "no such link", span, whole.r2, _READS[whole.kind]])
    heads = [
        "link", "checkpoint", Head("gamma (95 % over items)", digits=2), "95 % of the fit over layers",
        Head("R2", digits=2), "reads as",
    ]  # fmt: skip
    return "\n\n".join([
        "## Attention: disparity and decay",
        f"n = {n} items of the evaluation sets, {n // len(set(found.tasks))} a task, for every checkpoint. Of the "
        "token that writes the first of the answer: the share of its attention on the picture in each layer, and "
        "how far self- and cross-modal attention are apart, |self - cross| / max(self, cross), mean over layers. "
        "Of all tokens of the prompt: gamma, the factor from layer to layer of what one key gets (MODA, arXiv "
        "2507.04635); below 1 a link fades. Image tokens see no question that comes after them, so their link to "
        "text may be about an opening token of the template alone. Brackets are 95 % intervals, bootstrap over "
        f"items; those of the fit are Student's t with {layers - 2} degrees of freedom.",
        Table(["checkpoint", *(Head(name, unit="%") for name in names)], rows).markdown(),
        Table(heads, fits).markdown(),
        _meaning(found),
    ])


def _meaning(found: Looks) -> str:
    """What the tables say of the base, and of the checkpoint that moved furthest from it."""
    base = found.checkpoints.index(BASE)
    whole, each = (float(np.nanmean(found.disparity(base, per_key))) for per_key in (False, True))
    image = [found.image(i).mean() for i in range(len(found.checkpoints))]
    fading = [link for link in LINKS if found.decay(base, link).kind == "fading"]
    other = [link for link in LINKS if link not in fading]
    said = f"In the base, self- and cross-modal attention are {100 * whole:.0f} % apart as shares"
    said += f" and {100 * each:.0f} % per token. "
    decays = f"An exponential decay shows in {' and '.join(fading)}" if fading else "No link decays exponentially"
    decays += f", not in {' and '.join(other)}" if fading and other else ""
    said += f"{few(found.share.shape[2], [found.decay(base, link) for link in LINKS]) or decays}."
    if len(image) > 1:
        far = max((i for i in range(len(image)) if i != base), key=lambda i: abs(image[i] - image[base]))
        moved = difference(found.image(far).mean(1), found.image(base).mean(1))
        said += (
            f" Of the checkpoints, {found.checkpoints[far]} looks at the picture most differently: "
            f"{change(moved, digits=1)} against the base, averaged over layers."
        )
    return said


def _moda(found: "Trained") -> str:
    return "\n\n".join([
        "### MODA against its control",
        f"{catalog.recipe(sample.MODEL).get('how', '')} Compared for {plural(len(found.seeds), 'seed')}; n = "
        f"{found.n[0]} items a task, in a style that neither saw. Brackets behind an arm: lowest to highest seed; "
        "behind a difference: 95 % bootstrap over items, each item's mean over seeds.",
        arms_table(found).markdown(),
        sample.sentence(found),
    ])
