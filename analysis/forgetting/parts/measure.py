"""Where one task was lost between two checkpoints: how far weights moved, whose key elements meet, which states drift,
and what returns when a part is put back. Each is a measurement of its own; ``Parts`` holds those that were made."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.parts.weights import (
    DECODER,
    EMBEDDINGS,
    PROJECTOR,
    ROOM,
    SINCE,
    TOWER,
    KeyOverlap,
    Movement,
    key_overlap,
    movement,
    row,
    table,
)
from analysis.result import Provenance, Result, together
from analysis.statistics import Difference, cka, difference
from analysis.table import Table
from models import catalog, evalset, fingerprint
from models.batches import batched
from models.checkpoints import Patch
from models.errors import CrosstalkError, InputError
from models.evaluation import given, scored
from models.instruments import HiddenStates

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.evalset import EvalItem
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

ITEMS = 60
"""Items of a task that are asked, unless another number is chosen."""

LEAST = 2
"""Items below which nothing can be said of their differences."""

_VERSION = 1  # of what is measured: another number makes kept entries stale
_SHUFFLES = 20


def of_task(manifest: "Manifest", task: str, n: int, seed: int = 0) -> "tuple[EvalItem, ...]":
    """``n`` items of ``task`` (all, where there are fewer), drawn by ``seed`` without repetition, in the set's order.

    Raises ``InputError`` for an unknown task, one without an evaluation set, or fewer than 2 items.
    """
    own = sets.trained(manifest)
    if task not in own:
        raise InputError(f"There is no task {task!r} in {manifest.folder.name}. There are: {', '.join(own)}.")
    if own[task].eval is None:
        raise InputError(f'The task {task} has no evaluation set: give its checkpoint an "eval" in checkpoints.json.')
    items = evalset.load(own[task].eval)
    if min(n, len(items)) < LEAST:
        raise InputError(f"{min(n, len(items))} item of {task} says nothing: take at least {LEAST}.")
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
    model: "MLLM | fingerprint.Unopened",
    task: str,
    n: int,
    seed: int = 0,
    progress: kept.Progress = kept.quiet,
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

    def states(checkpoint: str) -> np.ndarray:
        """Of the last prompt token after each layer, float64 ``[layers, items, d]``."""

        def read(places: list[int], prompts: "list[Encoded]") -> np.ndarray:
            hidden = model.forward(prompts, checkpoint, [HiddenStates()]).readings.hidden
            return hidden.states[1:, :, 0].swapaxes(0, 1).astype(np.float64)

        encode = lambda i: model.encode(items[i].picture(), items[i].question)  # noqa: E731
        found = dict(batched(range(len(items)), encode, read, alike=lambda i: items[i].question))
        return np.stack([found[i] for i in range(len(items))], axis=1)

    def measure() -> dict:
        of = []
        for i, name in enumerate(names):
            progress(i / len(names), f"hidden states of {name} on {len(items)} items")
            of.append(states(name))
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
    first is kept. Raises ``InputError`` for an unknown group, or none.
    """
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
        Portion(title, group, _outermost(modules))
        for wanted in GROUPS if wanted in groups
        for (group, title), modules in found.items() if group == wanted
    ]
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
    last = next((t for t, c in sets.trained(manifest).items() if c.name == base and c.eval and t != task), None)
    asked = {name: of_task(manifest, name, n, seed) for name in (task, last) if name is not None}
    weights = [base, donor, *(Patch(base, donor, p.modules) for p in parts)]
    titles = [f"{base} as it is", f"{donor} as it is", *(f"{p.title} of {donor} in {base}" for p in parts)]
    plan = [
        kept.Cell(
            w, {"measurement": "patched", "data": fingerprint.of_items(items)}, f"{title}, {name}", len(items), items,
        )
        for name, items in asked.items() for w, title in zip(weights, titles, strict=True)
    ]

    def ask(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        return ((place, {"given": answer}) for place, answer in given(model, cell.of, cell.weights, places))

    values = kept.gathered(ROOM, _VERSION, model, plan, ask, progress, only_kept)
    if None in values:
        return None
    scores = [scored(cell.of, value["given"]) for cell, value in zip(plan, values, strict=True)]
    old, new = scores[: len(weights)], scores[len(weights) :]
    by = together([value["provenance"] for value in values], model.name, f"{base} with parts of {donor}", seed)
    return Patching(
        provenance=Provenance(**by), task=task, last=last, base=base, donor=donor, portions=parts,
        n=len(asked[task]), n_last=len(asked[last]) if new else 0, score=float(old[0].mean()),
        score_last=float(new[0].mean()) if new else float("nan"), whole=_returned(old[1], old[0]),
        whole_last=_returned(new[1], new[0]) if new else None, returned=tuple(_returned(s, old[0]) for s in old[2:]),
        cost=tuple(_returned(s, new[0]) for s in new[2:]),
    )


def _returned(patched: np.ndarray, before: np.ndarray) -> Returned:
    return Returned(float(patched.mean()), difference(patched, before))


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
    ``since``, ``n`` items of a task drawn by ``seed``, and the ``groups`` of parts that are put back.
    """

    method: str
    task: str
    before: str
    after: str
    since: str
    n: int
    seed: int
    groups: tuple[str, ...]

    @property
    def nothing(self) -> Parts:
        """None of its measurements."""
        return Parts(provenance=Provenance("", "", "", ""), method=self.method)


def first_choice(manifest: "Manifest", method: str) -> Choice:
    """What is shown before anybody chooses: from the first task's checkpoint to that of the last."""
    own, first = sets.trained(manifest), manifest.order[0]
    ends = own[first].name, own[manifest.order[-1]].name
    return Choice(method, first, *ends, SINCE[0], ITEMS, 0, DEFAULT)


def load(choice: Choice) -> Parts:
    """What was measured of a choice before, here or by whoever ships it, read without opening the model.

    Raises ``CheckpointError`` for an unknown set, or one that is not whole.
    """
    found = choice.nothing
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
    found, entry = choice.nothing, sets.entry(choice.method)
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
