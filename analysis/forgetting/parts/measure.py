"""How far weights moved between two checkpoints, and how far the tasks' key elements meet; both kept on disk."""

from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.parts.places import DECODER, Place, places
from analysis.forgetting.parts.result import KeyOverlap, Movement
from analysis.result import Provenance
from models import deltas
from models.checkpoints import BASE
from models.errors import InputError

if TYPE_CHECKING:
    from models import fingerprint
    from models.manifest import Checkpoint, Manifest
    from models.mllm import MLLM

ROOM = "forgetting-parts"
SINCE = ("previous", "base")
"""What a task's weight change is counted from: the checkpoint before it, or the base."""

ALL = "all"
"""The first kind of ``KeyOverlap``: every matrix."""

_VERSION = 1  # of what is measured: another number makes kept entries stale
_95 = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution


def trained(manifest: "Manifest") -> dict[str, "Checkpoint"]:
    """Every task of the order, with the checkpoint that was trained on it last."""
    own = {c.task: c for c in manifest.checkpoints}
    return {task: own[task] for task in manifest.order}


def movement(
    model: "MLLM | fingerprint.Unopened",
    before: str,
    after: str,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Movement | None:
    """|dW| and |W| of every module in which one of two checkpoints (``"base"`` too) is not the base.

    Loaded where it is kept; else ``progress`` is told the share done, and what it raises stops the work; with
    ``only_kept`` None. Raises ``CheckpointError`` for an unknown checkpoint, or weights out of reach.
    """
    title = f"weights from {before} to {after}"
    cell = kept.Cell([before, after], {"measurement": "movement"}, title, called=f"{before} to {after}")
    measure = lambda: _movement(model, before, after, progress)  # noqa: E731
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    return value and Movement(
        provenance=Provenance(**value["provenance"]), before=before, after=after,
        places=tuple(Place(*p) for p in value["places"]), modules=tuple(map(tuple, value["modules"])),
        change=np.array(value["change"], dtype=float), norm=np.array(value["norm"], dtype=float),
    )  # fmt: skip


def _movement(model: "MLLM", before: str, after: str, progress: kept.Progress) -> dict:
    checkpoints = model.checkpoints
    found = places(checkpoints, deltas.changed(checkpoints, (before, after)))
    change, norm = [], []
    with checkpoints.use(BASE):
        for i, (place, weights) in enumerate(found.items()):
            progress(i / len(found), f"{place}, from {before} to {after}")
            pairs = [deltas.effective(checkpoints, weight, (before, after)) for weight in weights]
            change.append(float(np.linalg.norm([deltas.distance(a, b) for a, b in pairs])))
            norm.append(float(np.linalg.norm([deltas.norm(a) for a, _ in pairs])))
    modules = [tuple(dict.fromkeys(w.rpartition(".")[0] for w in weights)) for weights in found.values()]
    return {"places": [astuple(p) for p in found], "modules": modules, "change": change, "norm": norm}


def key_overlap(
    model: "MLLM | fingerprint.Unopened",
    since: str = SINCE[0],
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> KeyOverlap | None:
    """How far the key elements of all tasks of a set meet, matrix by matrix; kept and stopped as ``movement`` is.

    Vectors (biases, norms) have no key elements. Raises ``InputError`` for an unknown ``since``.
    """
    if since not in SINCE:
        raise InputError(f"A task's change counts since {' or '.join(SINCE)}, not {since!r}.")
    own = trained(model.checkpoints.manifest)
    names = tuple(c.name for c in own.values())
    by = {"measurement": "key elements", "share": deltas.KEY_SHARE, "since": since}
    cell = kept.Cell(list(names), by, "key elements", called="all")
    measure = lambda: _key_overlap(model, names, since, progress)  # noqa: E731
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    if value is None:
        return None
    read = {
        key: np.array(value[key], dtype=float) for key in ("matrices", "overlap", "expected", "low", "high")
    }  # not-a-number was kept as None
    return KeyOverlap(
        provenance=Provenance(**value["provenance"]), tasks=tuple(own), checkpoints=names, since=since,
        share=deltas.KEY_SHARE, kinds=tuple(value["kinds"]), **read,
    )  # fmt: skip


def _key_overlap(model: "MLLM", names: tuple[str, ...], since: str, progress: kept.Progress) -> dict:
    checkpoints = model.checkpoints
    starts = (BASE, *names[:-1]) if since == SINCE[0] else (BASE,) * len(names)
    found = places(checkpoints, deltas.changed(checkpoints, names))
    weights = [(place, weight) for place, some in found.items() for weight in some]
    by_kind: dict[str, list[np.ndarray]] = {ALL: []}
    with checkpoints.use(BASE):
        for i, (place, weight) in enumerate(weights):
            progress(i / len(weights), f"key elements of {place}")
            ends = dict(zip((BASE, *names), deltas.effective(checkpoints, weight, (BASE, *names)), strict=True))
            if ends[BASE].base.ndim < 2:
                continue
            keys = [
                deltas.key_elements(deltas.difference(ends[a], ends[b])).flatten()
                for a, b in zip(starts, names, strict=True)
            ]
            met = meetings(keys)
            kind = place.called if place.part == DECODER else f"{place.part}: {place.called}"
            by_kind[ALL].append(met)
            by_kind.setdefault(kind, []).append(met)
    summed = [_summed(np.stack(some)) if some else np.full((4, *[len(names)] * 2), np.nan) for some in by_kind.values()]
    return {
        "kinds": list(by_kind), "matrices": [len(some) for some in by_kind.values()],
        **{key: [s[k] for s in summed] for k, key in enumerate(("overlap", "expected", "low", "high"))},
    }  # fmt: skip


def meetings(keys: list) -> np.ndarray:
    """Of one matrix: the share of key elements that every two tasks have in common, and the mean and variance of that
    share for sets of these sizes drawn at random, ``[3, tasks, tasks]``; not-a-number where a task has none.

    ``keys`` are bool tensors ``[elements]``. Of sets of a and b out of N elements the number in common is
    hypergeometric: mean a b / N, variance a b (N - a) (N - b) / (N^2 (N - 1)).
    """
    total, sizes = len(keys[0]), np.array([int(k.sum()) for k in keys], dtype=float)
    common = np.array([[int((a & b).sum()) for b in keys] for a in keys], dtype=float)
    product, rest = np.outer(sizes, sizes), np.outer(total - sizes, total - sizes)
    least = np.minimum.outer(sizes, sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = product * rest / (total**2 * max(total - 1, 1))
        return np.stack([common / least, product / total / least, variance / least**2])


def _summed(met: np.ndarray) -> np.ndarray:
    """Means over matrices ``[matrices, 3, tasks, tasks]``: overlap, expected, and its 95 % from low to high."""
    there = ~np.isnan(met[:, 0])
    count = there.sum(0).astype(float)
    count[count == 0] = np.nan
    overlap, expected, variance = (np.where(there, part, 0.0).sum(0) for part in met.swapaxes(0, 1))
    spread = _95 * np.sqrt(variance) / count
    expected = expected / count
    return np.stack([overlap / count, expected, (expected - spread).clip(0, 1), (expected + spread).clip(0, 1)])
