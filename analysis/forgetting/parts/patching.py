"""Which part, put back, brings a task back: one portion of an older checkpoint at a time in the place of the last's."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.parts.items import of_task
from analysis.forgetting.parts.measure import ROOM, trained
from analysis.forgetting.parts.places import DECODER, EMBEDDINGS, PROJECTOR, TOWER
from analysis.forgetting.parts.result import Movement, Patching, Portion, Returned
from analysis.result import Provenance, together
from analysis.statistics import difference
from models.checkpoints import Patch
from models.errors import InputError
from models.evaluation import given, scored

if TYPE_CHECKING:
    from models import fingerprint
    from models.manifest import Manifest
    from models.mllm import MLLM

GROUPS = {
    "layers": "every layer",
    "kinds": "every kind of module",
    "blocks": "attention, MLP",
    "modules": "every module",
}
"""What is put back as one, by name, in words."""

DEFAULT = ("layers", "kinds", "blocks")

_VERSION = 1  # of what is measured: another number makes kept entries stale


def portions(moved: Movement, groups: Sequence[str] = DEFAULT) -> tuple[Portion, ...]:
    """What can be put back of what moved: by layer (tower, projector and embeddings as wholes), by kind of module and
    by block over all layers of the text decoder, and module by module there. Of portions that are the same modules the
    first is kept. Raises ``InputError`` for an unknown group, or none.
    """
    if unknown := [g for g in groups if g not in GROUPS]:
        raise InputError(f"There is no group of parts {unknown[0]!r}. There are: {', '.join(GROUPS)}.")
    found: dict[tuple[str, str], list[str]] = {}
    for place, modules in zip(moved.places, moved.modules, strict=True):
        inside = place.part == DECODER and place.layer is not None
        named = [("layers", f"layer {place.layer + 1}")] if inside else []
        if place.part in (TOWER, PROJECTOR, EMBEDDINGS):
            named = [("layers", f"the {place.part}" if place.part != EMBEDDINGS else place.part)]
        if inside and place.block:
            named += [("kinds", f"{place.called}, all layers"), ("blocks", f"{place.block}, all layers")]
        if inside:
            named += [("modules", f"{place.called}, layer {place.layer + 1}")]
        for key in named:
            found.setdefault(key, []).extend(modules)
    ordered = [
        Portion(title, group, _outermost(modules))
        for wanted in GROUPS if wanted in groups
        for (group, title), modules in found.items() if group == wanted
    ]  # fmt: skip
    first = {frozenset(p.modules): p for p in reversed(ordered)}
    return tuple(p for p in ordered if first[frozenset(p.modules)] is p)


def _outermost(modules: Sequence[str]) -> tuple[str, ...]:
    """Without modules around others, whose names would take all that is inside them."""
    return tuple(m for m in dict.fromkeys(modules) if not any(other.startswith(f"{m}.") for other in modules))


def patching(
    model: "MLLM | fingerprint.Unopened",
    moved: Movement,
    task: str,
    n: int,
    seed: int = 0,
    groups: Sequence[str] = DEFAULT,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Patching | None:
    """Put each portion of what moved back, from ``moved.before`` (the donor) into ``moved.after``, and ask ``n`` items
    of the old ``task`` and of the task that ``moved.after`` was trained on.

    ``progress`` is told the share done of what is missing, and what it raises stops the work. With ``only_kept``
    nothing is asked, and None stands for what is not all there. Raises ``InputError`` for an unknown task or one
    without items, or where nothing moved; ``CheckpointError`` for checkpoints that cannot be mixed.
    """
    base, donor, manifest = moved.after, moved.before, model.checkpoints.manifest
    parts = portions(moved, groups)
    if not parts or not moved.change.any():
        raise InputError(f"No weight differs between {donor} and {base}: there is nothing to put back.")
    last = _last(manifest, base, task)
    sets = [of_task(manifest, name, n, seed) for name in (task, last) if name is not None]
    weights = [base, donor, *(Patch(base, donor, p.modules) for p in parts)]
    titles = [f"{base} as it is", f"{donor} as it is", *(f"{p.title} of {donor} in {base}" for p in parts)]
    plan = [
        kept.Cell(w, {"measurement": "patched", "data": some.data}, f"{title}, {some.task}", len(some.items), some)
        for some in sets for w, title in zip(weights, titles, strict=True)
    ]  # fmt: skip

    def ask(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        return ((place, {"given": answer}) for place, answer in given(model, cell.of.items, cell.weights, places))

    values = kept.gathered(ROOM, _VERSION, model, plan, ask, progress, only_kept)
    if None in values:
        return None
    found = [values[i : i + len(weights)] for i in range(0, len(values), len(weights))]
    scores = [[scored(some.items, v["given"]) for v in of_set] for some, of_set in zip(sets, found, strict=True)]
    old, new = scores[0], scores[1] if last is not None else []
    by = together([value["provenance"] for value in values], model.name, f"{base} with parts of {donor}", seed)
    return Patching(
        provenance=Provenance(**by), task=task, last=last, base=base, donor=donor, portions=parts,
        n=len(sets[0].items), n_last=len(sets[1].items) if new else 0, score=float(old[0].mean()),
        score_last=float(new[0].mean()) if new else float("nan"), whole=_returned(old[1], old[0]),
        whole_last=_returned(new[1], new[0]) if new else None, returned=tuple(_returned(s, old[0]) for s in old[2:]),
        cost=tuple(_returned(s, new[0]) for s in new[2:]),
    )  # fmt: skip


def _last(manifest: "Manifest", base: str, task: str) -> str | None:
    """The task that ``base`` was trained on, where that is another one and has items."""
    mine = next((t for t, c in trained(manifest).items() if c.name == base), None)
    return mine if mine != task and mine is not None and trained(manifest)[mine].eval else None


def _returned(patched: np.ndarray, before: np.ndarray) -> Returned:
    return Returned(float(patched.mean()), difference(patched, before))
