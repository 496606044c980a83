"""Which part, put back, brings a task back: one portion of an older checkpoint at a time in the place of the last's."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.parts.items import Subset, of_task
from analysis.forgetting.parts.measure import ROOM, Progress, known, quiet, trained
from analysis.forgetting.parts.places import DECODER, EMBEDDINGS, PROJECTOR, TOWER
from analysis.forgetting.parts.result import Movement, Patching, Portion, Returned
from analysis.result import Provenance
from analysis.statistics import difference
from models import fingerprint
from models.checkpoints import Patch
from models.errors import InputError
from models.evaluation import given, scored

if TYPE_CHECKING:
    from models.checkpoints import Weights
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
    model: "MLLM",
    moved: Movement,
    task: str,
    n: int,
    seed: int = 0,
    groups: Sequence[str] = DEFAULT,
    progress: Progress = quiet,
) -> Patching:
    """Put each portion of what moved back, from ``moved.before`` (the donor) into ``moved.after``, and ask ``n`` items
    of the old ``task`` and of the task that ``moved.after`` was trained on.

    Every checkpoint's answers are kept as soon as they are whole, so a run that was stopped goes on where it was.
    ``progress`` is told the share done of what is missing, and what it raises stops the work. Raises ``InputError`` for
    an unknown task or one without items, or where nothing moved; ``CheckpointError`` for checkpoints that cannot be
    mixed.
    """
    base, donor, manifest = moved.after, moved.before, model.checkpoints.manifest
    known(model, base, donor)
    parts = portions(moved, groups)
    if not parts or not moved.change.any():
        raise InputError(f"No weight differs between {donor} and {base}: there is nothing to put back.")
    last = _last(manifest, base, task)
    sets = [of_task(manifest, name, n, seed) for name in (task, last) if name is not None]
    weights = [base, donor, *(Patch(base, donor, p.modules) for p in parts)]
    titles = [f"{base} as it is", f"{donor} as it is", *(f"{p.title} of {donor} in {base}" for p in parts)]
    found = _answers(model, sets, weights, titles, progress)
    scores = [[scored(some.items, v["given"]) for v in of_set] for some, of_set in zip(sets, found, strict=True)]
    old, new = scores[0], scores[1] if last is not None else []
    seconds = sum(value["provenance"]["seconds"] for of_set in found for value in of_set)
    provenance = {
        **found[0][0]["provenance"], "checkpoint": f"{base} with parts of {donor}", "seed": seed, "seconds": seconds,
    }  # fmt: skip
    return Patching(
        provenance=Provenance(**provenance), task=task, last=last, base=base, donor=donor, portions=parts,
        n=len(sets[0].items), n_last=len(sets[1].items) if new else 0, score=float(old[0].mean()),
        score_last=float(new[0].mean()) if new else float("nan"), whole=_returned(old[1], old[0]),
        whole_last=_returned(new[1], new[0]) if new else None, returned=tuple(_returned(s, old[0]) for s in old[2:]),
        cost=tuple(_returned(s, new[0]) for s in new[2:]),
    )  # fmt: skip


def _last(manifest: "Manifest", base: str, task: str) -> str | None:
    """The task that ``base`` was trained on, where that is another one and has items."""
    mine = next((t for t, c in trained(manifest).items() if c.name == base), None)
    return mine if mine != task and mine is not None and trained(manifest)[mine].eval else None


def _answers(
    model: "MLLM",
    sets: Sequence[Subset],
    weights: "Sequence[Weights]",
    titles: Sequence[str],
    progress: Progress,
) -> list[list[dict]]:
    """For each set what was answered with each weights, and what computed it."""
    plan = [
        (some, w, title, _made_of(model, some, w)) for some in sets for w, title in zip(weights, titles, strict=True)
    ]
    values = [kept.load(ROOM, made_of) for *_, made_of in plan]
    missing = [i for i, value in enumerate(values) if value is None]
    for done, i in enumerate(missing):
        some, w, title, made_of = plan[i]

        def told(share: float, done=done, some=some, title=title) -> None:
            progress((done + share) / len(missing), f"{title}, on {len(some.items)} items of {some.task}")

        values[i] = _measured(model, some, w, told)
        kept.save(ROOM, made_of, values[i])
    return [values[i : i + len(weights)] for i in range(0, len(values), len(weights))]


def _made_of(model: "MLLM", some: Subset, weights: "Weights") -> dict:
    return {
        "measurement": "patched", "version": _VERSION, "model": fingerprint.of(model, weights), "items": some.data,
    }  # fmt: skip


def _measured(model: "MLLM", some: Subset, weights: "Weights", told: Callable[[float], None]) -> dict:
    told(0.0)
    began = time.perf_counter()
    answers = given(model, some.items, weights, lambda share, what: told(share))
    return {"given": answers, "provenance": model.provenance(weights, seconds=time.perf_counter() - began)}


def _returned(patched: np.ndarray, before: np.ndarray) -> Returned:
    return Returned(float(patched.mean()), difference(patched, before))
