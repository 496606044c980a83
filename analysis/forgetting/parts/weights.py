"""How far weights moved between two checkpoints, and how far the tasks' key elements meet; both kept on disk.

A weight's place is told in plain words, for any architecture: its part of the model, its layer, its kind of module.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.result import Provenance, Result
from analysis.table import Table
from models import deltas
from models.checkpoints import BASE
from models.errors import InputError
from models.instruments import decoder_of

if TYPE_CHECKING:
    from models import fingerprint
    from models.checkpoints import CheckpointSet
    from models.mllm import MLLM

ROOM = "forgetting-parts"
SINCE = ("previous", "base")
"""What a task's weight change is counted from: the checkpoint before it, or the base."""

ALL = "all"
"""The first kind of ``KeyOverlap``: every matrix."""

_VERSION = 1  # of what is measured: another number makes kept entries stale
_95 = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution
_SUMMED = ("overlap", "expected", "low", "high")  # what is kept of a kind's matrices
_NOTHING = float("nan")

DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER = "text decoder", "vision tower", "projector", "embeddings", "rest"
_PARTS = (DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER)

_NAMES = {
    "q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output", "out_proj": "output",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "fc1": "up", "fc2": "down",
    "qkv_proj": "query, key, value", "qkv": "query, key, value", "gate_up_proj": "gate, up",
}
_ATTENTION, _MLP = ("attn", "attention"), ("mlp", "ffn", "feed_forward", "feedforward", "experts", "moe")
_PROJECTORS = (
    "projector", "connector", "merger", "resampler", "aligner", "qformer", "multi_modal", "modality", "mlp1",
)
_EYES = ("vis", "image", "tower", "patch")


def table(rows: Iterable[list]) -> Table:
    """The table of every measurement of the section, of ``row``s."""
    names = "measurement", "part", "layer", "module", "from", "to", "task", "value", "low", "high", "chance", "n"
    return Table(names, list(rows))


def row(
    measurement: str, start: str, end: str, value: float, n="", *, part="", layer="", module="", task="",
    low=_NOTHING, high=_NOTHING, chance=_NOTHING,
) -> list:
    return [measurement, part, layer, module, start, end, task, value, low, high, chance, n]


@dataclass(frozen=True, order=True)
class Place:
    """One module, or several of one kind in one layer (experts). ``layer`` counts from 0; None outside of layers."""

    part: str
    layer: int | None
    kind: str
    block: str

    @property
    def called(self) -> str:
        """The kind of module in plain words."""
        return _NAMES.get(self.kind, self.kind)

    @property
    def number(self) -> int:
        """The layer as people count, from 1; 0 outside of layers."""
        return 0 if self.layer is None else self.layer + 1

    def __str__(self) -> str:
        block = f" ({self.block})" if self.block else ""
        where = f"layer {self.number} of " if self.number else ""
        return f"{self.called}{block} of {where}the {self.part}"


def place(module: str, layers: str) -> Place:
    """The place of ``module``, by its name; ``layers`` is the name of the list of the text decoder's layers."""
    if module.startswith(f"{layers}."):
        number, _, inside = module.removeprefix(f"{layers}.").partition(".")
        return Place(DECODER, int(number), *_kind(inside or module))
    names = module.split(".")
    lower, part = module.lower().split("."), OTHER
    if any(mark in name for name in lower for mark in _PROJECTORS):
        part = PROJECTOR
    elif any(mark in name for name in lower for mark in _EYES):
        part = TOWER
    elif any("embed" in name or name in ("wte", "lm_head") for name in lower):
        part = EMBEDDINGS
    at = next((i for i, name in enumerate(names) if name.isdecimal()), None) if part in (TOWER, OTHER) else None
    if at is None or at + 1 == len(names):
        return Place(part, None, *_kind(module))
    return Place(part, int(names[at]), *_kind(".".join(names[at + 1 :])))


def layers_of(model) -> str:
    """The name of the list of the text decoder's layers. Raises ``ModelError`` where there is none."""
    decoder = decoder_of(model)
    return f"{next(name for name, module in model.named_modules() if module is decoder)}.layers".lstrip(".")


def places(checkpoints: "CheckpointSet", weights: Sequence[str]) -> dict[Place, tuple[str, ...]]:
    """The places of some weights, the text decoder's first, else in their order, and which weights belong to each."""
    layers = layers_of(checkpoints.model)
    found: dict[Place, tuple[str, ...]] = {}
    for weight in weights:
        at = place(weight.rpartition(".")[0], layers)
        found[at] = (*found.get(at, ()), weight)
    return dict(sorted(found.items(), key=lambda item: _PARTS.index(item[0].part)))


def _kind(inside: str) -> tuple[str, str]:
    """The module's own name, and the block that it belongs to: attention, MLP, or none."""
    *around, own = (name for name in inside.split(".") if not name.isdecimal())
    for block, marks in (("attention", _ATTENTION), ("MLP", _MLP)):
        if any(mark in name.lower() for name in around for mark in marks):
            return own, block
    return own, ""


@dataclass(frozen=True, kw_only=True)
class Movement(Result):
    """How far the weights of each place are from one checkpoint (``before``) to another (``after``).

    ``change`` and ``norm``, float64 ``[places]``: |dW|_F and |W|_F, the Frobenius norms of W_after - W_before and of
    W_before, over all tensors in which either checkpoint is not the base. ``modules[i]`` are the names of the modules
    at ``places[i]``.
    """

    before: str
    after: str
    places: tuple[Place, ...]
    modules: tuple[tuple[str, ...], ...]
    change: np.ndarray
    norm: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """|dW|_F / |W|_F, not-a-number where W is zero."""
        return np.divide(self.change, self.norm, out=np.full(len(self.norm), np.nan), where=self.norm > 0)

    def table(self) -> Table:
        return table(
            row("movement", self.before, self.after, value, part=p.part, layer=p.number or "", module=p.kind)
            for p, value in zip(self.places, self.relative, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class KeyOverlap(Result):
    """Share of the key elements of one task's weight change that are key elements of another's, too.

    ``overlap`` float64 ``[kinds, tasks, tasks]``, 0 to 1: |K_i and K_j| / min(|K_i|, |K_j|), mean over the
    ``matrices[kind]`` matrices of a kind in which both tasks changed something; not-a-number where there is none.
    ``kinds[0]`` is all of them. ``expected`` is what sets drawn at random and independently, of the same sizes, would
    share (the hypergeometric mean, max(|K_i|, |K_j|) / N for a matrix of N elements), and ``low`` to ``high`` hold 95 %
    of such draws (exact variances added up over the matrices, normal). The large elements of a low-rank change cluster
    in a few rows and columns, so more in common than that need not be the tasks' doing alone. ``since`` says what
    counts as a task's change: against the checkpoint ``"previous"`` to it, or against the ``"base"``. ``share`` of each
    matrix is key.
    """

    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    since: str
    share: float
    kinds: tuple[str, ...]
    matrices: np.ndarray
    overlap: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def table(self) -> Table:
        names = self.checkpoints
        return table(
            row("key element overlap", names[i], names[j], self.overlap[k, i, j], self.matrices[k], module=kind,
                task=self.tasks[i], chance=self.expected[k, i, j])
            for k, kind in enumerate(self.kinds) for i, j in self.pairs
        )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two different tasks, once, the later one first."""
        return [(i, j) for i in range(len(self.tasks)) for j in range(i)]

    @property
    def above(self) -> int:
        """How many pairs share more key elements, of all matrices, than chance explains."""
        return sum(bool(self.overlap[0, i, j] > self.high[0, i, j]) for i, j in self.pairs)


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

    def measure() -> dict:
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

    title = f"weights from {before} to {after}"
    cell = kept.Cell([before, after], {"measurement": "movement"}, title, called=f"{before} to {after}")
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    return value and Movement(
        provenance=Provenance(**value["provenance"]), before=before, after=after,
        places=tuple(Place(*p) for p in value["places"]), modules=tuple(map(tuple, value["modules"])),
        change=np.array(value["change"], dtype=float), norm=np.array(value["norm"], dtype=float),
    )


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
    own = sets.trained(model.checkpoints.manifest)
    names = tuple(c.name for c in own.values())

    def measure() -> dict:
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
                changes = [deltas.difference(ends[a], ends[b]) for a, b in zip(starts, names, strict=True)]
                met = meetings([deltas.key_elements(change).flatten() for change in changes])
                kind = place.called if place.part == DECODER else f"{place.part}: {place.called}"
                by_kind[ALL].append(met)
                by_kind.setdefault(kind, []).append(met)
        unknown = np.full((4, len(names), len(names)), np.nan)
        summed = np.stack([_summed(np.stack(some)) if some else unknown for some in by_kind.values()], axis=1)
        counts = {"kinds": list(by_kind), "matrices": [len(some) for some in by_kind.values()]}
        return counts | dict(zip(_SUMMED, summed, strict=True))

    by = {"measurement": "key elements", "share": deltas.KEY_SHARE, "since": since}
    cell = kept.Cell(list(names), by, "key elements", called="all")
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    return value and KeyOverlap(
        provenance=Provenance(**value["provenance"]), tasks=tuple(own), checkpoints=names, since=since,
        share=deltas.KEY_SHARE, kinds=tuple(value["kinds"]),
        **{key: np.array(value[key], dtype=float) for key in ("matrices", *_SUMMED)},  # not-a-number was kept as None
    )


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
