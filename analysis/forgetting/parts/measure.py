"""Where one task was lost between two checkpoints: how far weights moved, whose key elements meet, which states drift,
and what returns when a part is put back. Each is a measurement of its own, and kept on disk; ``Parts`` holds those that
were made.

A weight's place is told in plain words, for any architecture: its part of the model, its layer, its kind of module.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.result import Provenance, Result, together
from analysis.statistics import Difference, cka, difference
from analysis.table import Table
from models import catalog, deltas, evalset, fingerprint
from models.batches import batched
from models.checkpoints import BASE, CheckpointSet, Patch
from models.encoding import Encoded
from models.errors import CrosstalkError, InputError
from models.evalset import EvalItem
from models.evaluation import given, scored
from models.instruments import HiddenStates, decoder_of
from models.manifest import Manifest
from models.mllm import MLLM

ROOM = "forgetting-parts"
SINCE = ("previous", "base")
"""What a task's weight change is counted from: the checkpoint before it, or the base."""

ALL = "all"
"""The first kind of ``KeyOverlap``: every matrix."""

_VERSION = 1  # of what is measured: another number makes kept entries stale
_95 = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution
_SUMMED = ("overlap", "expected", "low", "high")  # what is kept of a kind's matrices

DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER = "text decoder", "vision tower", "projector", "embeddings", "rest"
_PARTS = (DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER)

_NAMES = {
    "q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output", "out_proj": "output",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "fc1": "up", "fc2": "down",
    "qkv_proj": "query, key, value", "qkv": "query, key, value", "gate_up_proj": "gate, up",
}
_ATTENTION, _MLP = ("attn", "attention"), ("mlp", "ffn", "feed_forward", "feedforward", "experts", "moe")
_PROJECTORS = ("projector", "connector", "merger", "resampler", "aligner", "qformer", "multi_modal", "modality", "mlp1")
_EYES = ("vis", "image", "tower", "patch")

GROUPS = {
    "layers": "every layer", "kinds": "every kind of module", "blocks": "attention, MLP", "modules": "every module",
}
"""What is put back as one, by name, in words."""

DEFAULT = ("layers", "kinds", "blocks")

ITEMS = 60
"""Items of a task that are asked, unless another number is chosen."""

_LEAST = 2  # items below which nothing can be said of their differences
_SHUFFLES = 20


def table(rows: Iterable[list]) -> Table:
    """The table of every measurement of the section, of ``row``s."""
    names = "measurement", "part", "layer", "module", "from", "to", "task", "value", "low", "high", "chance", "n"
    return Table(names, list(rows))


def row(
    measurement: str, start: str, end: str, value: float, n="", *, part="", layer="", module="", task="",
    low=np.nan, high=np.nan, chance=np.nan,
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
    part, layer, inside, names = OTHER, None, module, module.split(".")
    if module.startswith(f"{layers}."):
        number, _, rest = module.removeprefix(f"{layers}.").partition(".")
        part, layer, inside = DECODER, int(number), rest or module
    else:
        lower = module.lower().split(".")
        if any(mark in name for name in lower for mark in _PROJECTORS):
            part = PROJECTOR
        elif any(mark in name for name in lower for mark in _EYES):
            part = TOWER
        elif any("embed" in name or name in ("wte", "lm_head") for name in lower):
            part = EMBEDDINGS
        at = next((i for i, name in enumerate(names[:-1]) if name.isdecimal()), None)
        if at is not None and part in (TOWER, OTHER):
            layer, inside = int(names[at]), ".".join(names[at + 1 :])
    *around, own = (name for name in inside.split(".") if not name.isdecimal())
    for block, marks in (("attention", _ATTENTION), ("MLP", _MLP)):
        if any(mark in name.lower() for name in around for mark in marks):
            return Place(part, layer, own, block)
    return Place(part, layer, own, "")


def layers_of(model) -> str:
    """The name of the list of the text decoder's layers. Raises ``ModelError`` where there is none."""
    decoder = decoder_of(model)
    return f"{next(name for name, module in model.named_modules() if module is decoder)}.layers".lstrip(".")


def places(checkpoints: CheckpointSet, weights: Sequence[str]) -> dict[Place, tuple[str, ...]]:
    """The places of some weights, the text decoder's first, else in their order, and which weights belong to each."""
    layers, found = layers_of(checkpoints.model), {}
    for weight in weights:
        at = place(weight.rpartition(".")[0], layers)
        found[at] = (*found.get(at, ()), weight)
    return dict(sorted(found.items(), key=lambda item: _PARTS.index(item[0].part)))


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
    model: MLLM | fingerprint.Unopened, before: str, after: str, progress: kept.Progress = kept.quiet,
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
    model: MLLM | fingerprint.Unopened, since: str = SINCE[0], progress: kept.Progress = kept.quiet,
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
        summed = []
        for some in by_kind.values():
            met = np.stack(some) if some else np.full((1, 3, len(names), len(names)), np.nan)
            there = ~np.isnan(met[:, 0])
            count = np.where(there.any(0), there.sum(0), np.nan)
            overlap, expected, variance = (np.where(there, part, 0.0).sum(0) for part in met.swapaxes(0, 1))
            spread, expected = _95 * np.sqrt(variance) / count, expected / count
            summed.append([overlap / count, expected, (expected - spread).clip(0, 1), (expected + spread).clip(0, 1)])
        counts = {"kinds": list(by_kind), "matrices": [len(some) for some in by_kind.values()]}
        return counts | dict(zip(_SUMMED, np.stack(summed, axis=1), strict=True))

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


def of_task(manifest: Manifest, task: str, n: int, seed: int = 0) -> tuple[EvalItem, ...]:
    """``n`` items of ``task`` (all, where there are fewer), drawn by ``seed`` without repetition, in the set's order.

    Raises ``InputError`` for an unknown task, one without an evaluation set, or fewer than 2 items.
    """
    own = sets.trained(manifest)
    if task not in own:
        raise InputError(f"There is no task {task!r} in {manifest.folder.name}. There are: {', '.join(own)}.")
    if own[task].eval is None:
        raise InputError(f'The task {task} has no evaluation set: give its checkpoint an "eval" in checkpoints.json.')
    items = evalset.load(own[task].eval)
    if min(n, len(items)) < _LEAST:
        raise InputError(f"{min(n, len(items))} item of {task} says nothing: take at least {_LEAST}.")
    some = np.sort(np.random.default_rng(seed).permutation(len(items))[:n])
    return tuple(items[i] for i in some)


@dataclass(frozen=True, kw_only=True)
class Drift(Result):
    """How alike hidden states of ``n`` of a task's items stay, after its own checkpoint (``checkpoints[0]``).

    ``cka``, float64 ``[checkpoints, layers]``: linear CKA of the last prompt token's states after each layer of the
    text decoder with those of the task's own checkpoint, 0 to 1 (the last after the final norm). ``chance``, of the
    same shape: its mean where the items of one side are shuffled, which is well above 0 for few items of many
    dimensions.
    """

    task: str
    n: int
    checkpoints: tuple[str, ...]
    cka: np.ndarray
    chance: np.ndarray

    def table(self) -> Table:
        own, where = self.checkpoints[0], {"part": DECODER, "task": self.task}
        return table(
            row("CKA", own, name, self.cka[c, i], self.n, layer=i + 1, chance=self.chance[c, i], **where)
            for c, name in enumerate(self.checkpoints)
            for i in range(self.cka.shape[1])
        )


def drift(
    model: MLLM | fingerprint.Unopened, task: str, n: int, seed: int = 0, progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Drift | None:
    """CKA of the last prompt token's states, of a task's own checkpoint and each later one, on ``n`` of its items.

    That token is where the answer begins, and the same for every checkpoint, whatever they then answer. None for the
    last task, which no checkpoint follows. Loaded where it is kept; else ``progress`` is told the share done, and what
    it raises stops the work; with ``only_kept`` None. Raises ``InputError`` for an unknown task or one without items,
    ``ModelError`` where states cannot be read.
    """
    manifest = model.checkpoints.manifest
    items, own = of_task(manifest, task, n, seed), sets.trained(manifest)
    names = tuple(c.name for c in own.values())[list(own).index(task) :]
    if len(names) < 2:
        return None

    def measure() -> dict:
        encode = lambda i: model.encode(items[i].picture(), items[i].question)  # noqa: E731
        of = []
        for i, name in enumerate(names):
            progress(i / len(names), f"hidden states of {name} on {len(items)} items")

            def read(places: list[int], prompts: list[Encoded], name=name) -> np.ndarray:
                hidden = model.forward(prompts, name, [HiddenStates()]).readings.hidden
                return hidden.states[1:, :, 0].swapaxes(0, 1).astype(np.float64)

            states = dict(batched(range(len(items)), encode, read, alike=lambda i: items[i].question))
            # of the last prompt token after each layer, float64 [layers, items, d]
            of.append(np.stack([states[i] for i in range(len(items))], axis=1))
        own, chance = zip(*(of_states(of[0], each) for each in of), strict=True)
        return {"cka": own, "chance": chance}

    by = {"measurement": "drift", "data": fingerprint.of_items(items), "shuffles": _SHUFFLES}
    cell = kept.Cell(list(names), by, "hidden states", called=f"{names[0]} to {names[-1]}")
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    return value and Drift(
        provenance=Provenance(**value["provenance"]), task=task, n=len(items), checkpoints=names,
        cka=np.array(value["cka"], dtype=float), chance=np.array(value["chance"], dtype=float),
    )


def of_states(own: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CKA of states ``[layers, items, d]`` layer by layer, and its mean over seeded shuffles of one side's items."""
    orders = [np.random.default_rng(seed).permutation(own.shape[1]) for seed in range(_SHUFFLES)]
    pairs = list(zip(own, later, strict=True))
    return (
        np.array([cka(x, y) for x, y in pairs]),
        np.array([np.mean([cka(x, y[order]) for order in orders]) for x, y in pairs]),
    )


@dataclass(frozen=True)
class Portion:
    """A part of the model that is put back as one: the names of its modules. ``group``: ``"layers"``, ``"kinds"``,
    ``"blocks"`` or ``"modules"``."""

    title: str
    group: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Returned:
    """What putting back one portion does to the mean score of a task's items, against the checkpoint as it was."""

    score: float
    change: Difference


@dataclass(frozen=True, kw_only=True)
class Patching(Result):
    """Checkpoint ``base`` with one portion at a time of checkpoint ``donor``, asked ``n`` items of an old ``task`` and
    ``n_last`` of the task that ``base`` was trained on last (``last``; None where that is no other task).

    ``whole`` and ``whole_last`` are the donor itself, all of it put back; ``returned`` and ``cost`` are in the order of
    ``portions``. Scores are 0 to 1; changes are paired by item, below zero is a loss.
    """

    task: str
    last: str | None
    base: str
    donor: str
    n: int
    n_last: int
    portions: tuple[Portion, ...]
    score: float
    score_last: float
    whole: Returned
    whole_last: Returned | None
    returned: tuple[Returned, ...]
    cost: tuple[Returned, ...]

    @property
    def best(self) -> int | None:
        """The portion that brings most back, of those that clearly bring something; None where none does."""
        clear = [i for i, r in enumerate(self.returned) if r.change.low > 0]
        return max(clear, key=lambda i: self.returned[i].change.value, default=None)

    def table(self) -> Table:
        return table(
            row("put back", self.donor, self.base, r.change.value, n, part=title, task=task, low=r.change.low,
                high=r.change.high)
            for task, n, each in self.told
            for title, r in zip(("everything", *(p.title for p in self.portions)), each, strict=True)
        )

    @property
    def told(self) -> "list[tuple[str, int, tuple[Returned, ...]]]":
        """For the old task and the last one, where it is another: its name, its items, and what putting back
        everything, then each portion, does."""
        old = self.task, self.n, (self.whole, *self.returned)
        return [old] if self.last is None else [old, (self.last, self.n_last, (self.whole_last, *self.cost))]


def portions(moved: Movement, groups: Sequence[str] = DEFAULT) -> tuple[Portion, ...]:
    """What can be put back of what moved: by layer (tower, projector and embeddings as wholes), by kind of module and
    by block over all layers of the text decoder, and module by module there. Of portions that are the same modules the
    first is kept. Raises ``InputError`` for an unknown group, or none."""
    if unknown := [g for g in groups if g not in GROUPS]:
        raise InputError(f"There is no group of parts {unknown[0]!r}. There are: {', '.join(GROUPS)}.")
    found: dict[tuple[str, str], list[str]] = {}
    for place, modules in zip(moved.places, moved.modules, strict=True):
        inside = place.part == DECODER and place.layer is not None
        named = [("layers", f"layer {place.number}")] if inside else []
        if place.part in (TOWER, PROJECTOR, EMBEDDINGS):
            named = [("layers", f"the {place.part}" if place.part != EMBEDDINGS else place.part)]
        if inside and place.block:
            named += [("kinds", f"{place.called}, all layers"), ("blocks", f"{place.block}, all layers")]
        if inside:
            named += [("modules", f"{place.called}, layer {place.number}")]
        for key in named:
            found.setdefault(key, []).extend(modules)
    ordered = [
        # without modules around others, whose names would take all that is inside them
        Portion(title, group, tuple(m for m in dict.fromkeys(some) if not any(o.startswith(f"{m}.") for o in some)))
        for wanted in GROUPS if wanted in groups
        for (group, title), some in found.items() if group == wanted
    ]
    first = {frozenset(p.modules): p for p in reversed(ordered)}
    return tuple(p for p in ordered if first[frozenset(p.modules)] is p)


def patching(
    model: MLLM | fingerprint.Unopened, moved: Movement, task: str, n: int, seed: int = 0,
    groups: Sequence[str] = DEFAULT, progress: kept.Progress = kept.quiet, only_kept: bool = False,
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
    last = next((t for t, c in sets.trained(manifest).items() if c.name == base and c.eval and t != task), None)
    asked = {name: of_task(manifest, name, n, seed) for name in (task, last) if name is not None}
    weights = [base, donor, *(Patch(base, donor, p.modules) for p in parts)]
    titles = [f"{base} as it is", f"{donor} as it is", *(f"{p.title} of {donor} in {base}" for p in parts)]
    plan = []
    for name, items in asked.items():
        by = {"measurement": "patched", "data": fingerprint.of_items(items)}
        plan += [kept.Cell(w, by, f"{t}, {name}", len(items), items) for w, t in zip(weights, titles, strict=True)]

    def ask(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        return ((place, {"given": answer}) for place, answer in given(model, cell.of, cell.weights, places))

    values = kept.gathered(ROOM, _VERSION, model, plan, ask, progress, only_kept)
    if None in values:
        return None
    scores = [scored(cell.of, value["given"]) for cell, value in zip(plan, values, strict=True)]
    old, new = scores[: len(weights)], scores[len(weights) :]
    (whole, *returned), cost = ([Returned(float(s.mean()), difference(s, of[0])) for s in of[1:]] for of in (old, new))
    by = together([value["provenance"] for value in values], model.name, f"{base} with parts of {donor}", seed)
    return Patching(
        provenance=Provenance(**by), task=task, last=last, base=base, donor=donor, portions=parts,
        n=len(asked[task]), n_last=len(asked[last]) if new else 0, score=float(old[0].mean()),
        score_last=float(new[0].mean()) if new else float("nan"), whole=whole, returned=tuple(returned),
        whole_last=cost[0] if new else None, cost=tuple(cost[1:]),
    )


@dataclass(frozen=True, kw_only=True)
class Parts(Result):
    """All that was measured of one choice of task and checkpoints; None for what was not."""

    method: str
    moved: Movement | None = None
    keys: KeyOverlap | None = None
    drift: Drift | None = None
    patching: Patching | None = None

    def table(self) -> Table:
        made = [m for m in (self.moved, self.keys, self.drift, self.patching) if m is not None]
        return table(line for m in made for line in m.table().rows)

    def joined(self, name: str, part: "Result | None") -> "Parts":
        """With one more measurement, if it was made; the seconds of all add up."""
        if part is None:
            return self
        seconds = self.provenance.seconds + part.provenance.seconds
        return replace(self, **{name: part}, provenance=replace(part.provenance, checkpoint="all", seconds=seconds))


@dataclass(frozen=True)
class Choice:
    """A checkpoint set, an old task of it, two checkpoints, and how it is measured: what a task's change counts
    ``since``, ``n`` items of a task drawn by ``seed``, and the ``groups`` of parts that are put back."""

    method: str
    task: str
    before: str
    after: str
    since: str
    n: int
    seed: int
    groups: tuple[str, ...]


def first_choice(manifest: Manifest, method: str) -> Choice:
    """What is shown before anybody chooses: from the first task's checkpoint to that of the last."""
    names = [c.name for c in sets.trained(manifest).values()]
    return Choice(method, manifest.order[0], names[0], names[-1], SINCE[0], ITEMS, 0, DEFAULT)


def load(choice: Choice) -> Parts:
    """What was measured of a choice before, here or by whoever ships it, read without opening the model.

    Raises ``CheckpointError`` for an unknown set, or one that is not whole.
    """
    found = Parts(provenance=Provenance("", "", "", ""), method=choice.method)
    for model in sets.unopened(sets.entry(choice.method)):
        for name, step in _steps(choice).items():
            if getattr(found, name) is None:
                with suppress(CrosstalkError):  # what is wrong is told when somebody measures
                    found = found.joined(name, step(model, found, only_kept=True))
    return found


def measured(choice: Choice, progress: kept.Progress = kept.quiet) -> Iterator[Parts]:
    """Measure what is missing of a choice: after each measurement what there is so far.

    Raises ``InputError`` where both checkpoints are the same one, and what the measurements raise.
    """
    if choice.before == choice.after:
        raise InputError("Both checkpoints are the same: choose two, to see what changed between them.")
    found, entry = Parts(provenance=Provenance("", "", "", ""), method=choice.method), sets.entry(choice.method)
    for name, step in _steps(choice).items():
        with catalog.using(entry.name) as model:
            found = found.joined(name, step(model, found, progress=progress))
        yield found


def _steps(choice: Choice) -> dict:
    """What is measured, in its order, each ``(model, found so far, **how) -> result``; None for what cannot be.

    A task without evaluation items has no drift, and nothing can be seen to return.
    """

    def put_back(model, found: Parts, **how):
        if not choice.groups or found.moved is None or not found.moved.change.any():
            return None
        return patching(model, found.moved, choice.task, choice.n, choice.seed, choice.groups, **how)

    steps = {
        "moved": lambda model, found, **how: movement(model, choice.before, choice.after, **how),
        "keys": lambda model, found, **how: key_overlap(model, choice.since, **how),
        "drift": lambda model, found, **how: drift(model, choice.task, choice.n, choice.seed, **how),
        "patching": put_back,
    }
    asked = sets.trained(sets.manifest(choice.method)).get(choice.task)
    return steps if asked is None or asked.eval else {name: steps[name] for name in ("moved", "keys")}
