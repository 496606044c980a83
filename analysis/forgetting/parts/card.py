"""What the model card says of the parts that forget."""

import numpy as np

from analysis.forgetting import sets
from analysis.forgetting.parts.choice import collected, first_choice
from analysis.forgetting.parts.measure import key_overlap
from analysis.forgetting.parts.result import KeyOverlap, Parts, Patching, Returned
from analysis.forgetting.parts.sentence import sentence
from analysis.table import Head, Table
from analysis.wording import estimate, percent
from models import catalog

_PLAIN = "sequential"  # the set whose parts are told one by one


def section() -> str:
    """The parts of plain sequential training, and how far key elements meet in every embedded set.

    Measures what is not kept yet.
    """
    overlaps, parts = {}, None
    for method, entry in sets.offered().items():
        if catalog.embedded(entry.name):
            with catalog.using(entry.name) as model:
                overlaps[method] = key_overlap(model)
                if method == _PLAIN:
                    parts = collected(model, first_choice(sets.manifest(method), method))
    return told(parts, overlaps)


def told(parts: Parts | None, overlaps: dict[str, KeyOverlap]) -> str:
    """The section's Markdown, of any numbers."""
    said = [
        "## Which part forgets",
        "*Movement*: |dW| / |W|, Frobenius norms. *Key elements*: the 2 % of each matrix that a task changed most "
        "since the checkpoint before it (RegLoRA, SEFE); *in common*: mean over matrices and pairs of tasks; *by "
        "chance*: what independent sets of these sizes would share (hypergeometric). *Put back*: one part of the older "
        "checkpoint in the newer one, change of the mean score with its paired 95 % interval; each interval is of one "
        "part.",
    ]
    if parts is not None:
        said.append(sentence(parts))
        if parts.patching is not None:
            said.append(_returned(parts.patching))
    if overlaps:
        said.append(_overlaps(overlaps))
    return "\n\n".join(said)


def _returned(found: Patching) -> str:
    heads = [f"put back from {found.donor} into {found.base}", f"{found.task}, points (n = {found.n})"]
    rows = [["everything", _points(found.whole)]]
    rows += [[p.title, _points(r)] for p, r in zip(found.portions, found.returned, strict=True)]
    if found.whole_last is not None:
        heads.append(f"{found.last}, points (n = {found.n_last})")
        for row, cost in zip(rows, (found.whole_last, *found.cost), strict=True):
            row.append(_points(cost))
    return Table(heads, rows).markdown()


def _overlaps(overlaps: dict[str, KeyOverlap]) -> str:
    rows = []
    for method, found in overlaps.items():
        pairs = list(found.pairs())
        mean, chance = (float(np.nanmean([of[0, i, j] for i, j in pairs])) for of in (found.overlap, found.expected))
        above = sum(bool(found.overlap[0, i, j] > found.high[0, i, j]) for i, j in pairs)
        rows.append([method, mean, chance, f"{above} of {len(pairs)}", int(found.matrices[0])])
    shares = [Head(name, unit="%", digits=1) for name in ("in common", "by chance")]
    return Table(["checkpoint set", *shares, "pairs of tasks above chance", "matrices"], rows).markdown()


def _points(returned: Returned) -> str:
    return f"{estimate(returned.change, sign=True)}, to {percent(returned.score)}"
