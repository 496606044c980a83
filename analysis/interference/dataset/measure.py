"""Every item of evaluation sets, as it is and disturbed, by every chosen checkpoint: raw answers, kept on disk.

What is done to an item: the kind of its set says which modality should not matter. With the embedded default come its
evaluation sets, its trained remedies, and their measured answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.interference.options import Options, options_for
from analysis.interference.perturbations import ALL, Case, Unfit, picked
from analysis.interference.scoring import Posed, logprobs_each, pose
from models import catalog, evalset, fingerprint
from models.answers import options_in
from models.checkpoints import BASE, Manifest
from models.embedded import ASSETS, SHIPPED_DTYPE
from models.embedded.questions import Turn
from models.errors import CrosstalkError, EvalSetError, InputError
from models.evalset import EvalItem

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

MITIGATION = f"{catalog.EMBEDDED} (mitigation)"
"""The name under which the catalog offers the embedded default with the checkpoints of the paper's remedies."""
ORIGIN = "origin"
"""The condition in which nothing is disturbed."""
ROOM, _VERSION = "interference", 1  # the latter of what is measured: another number makes kept entries stale
_AT_ONCE = 64  # items whose pictures are in memory
_BYTES = 512e6  # of prompts that are kept for the next checkpoint
_DECIMALS = 4  # of a log-probability, nats


@dataclass(frozen=True)
class Kind:
    """A kind of set: ``conditions`` (names of ``perturbations.ALL``) change only what should not change its answers."""

    name: str
    title: str
    about: str
    conditions: tuple[str, ...]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("image-heavy", "Image-heavy", "the picture answers; a sentence is put in front",
             ("unrelated", "misleading", "contradiction", "distraction")),
        Kind("text-heavy", "Text-heavy", "the words answer; a picture is added",
             ("other-picture", "black", "white", "noise", "wrong-picture")),
        Kind("multimodal", "Multimodal", "it takes both; a sentence is put in front, and the picture stays right",
             ("unrelated", "misleading")),
    )
}
"""Every kind, by name."""

CONDITIONS = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.conditions))
"""Every perturbation of some kind, by name."""
TITLES = {ORIGIN: "As asked", **{name: ALL[name].title for name in CONDITIONS}}
"""How each condition is called on the page."""


@dataclass(frozen=True)
class Question:
    """An item with its options (``options.truth`` is the right one) and the wrong one that perturbations name."""

    item: EvalItem
    options: Options
    wrong: int
    where: str


@dataclass(frozen=True)
class ItemSet:
    """A set that can be disturbed; ``name`` is how it is called on the page."""

    kind: str
    name: str
    questions: tuple[Question, ...]

    @cached_property
    def data(self) -> str:
        """Fingerprint of its items."""
        return fingerprint.of_items([q.item for q in self.questions])


def item_set(kind: str, name: str, items: Sequence[EvalItem], lines: Sequence[int] = ()) -> ItemSet:
    """``items`` as a set of ``kind``; messages name each by the number of its line, or by its own.

    The wrong option of an item is drawn by its number among the wrong ones, before any model has answered: it is the
    same one for every model and checkpoint, so that all are told the same thing and may be compared item by item (in
    the room's single input it is the likeliest wrong one). Raises ``EvalSetError`` for an item without options, with
    fewer than two, or whose answer is not among them.
    """
    if kind not in KINDS:
        raise InputError(f"There is no kind of set {kind!r}. There are: {', '.join(KINDS)}.")
    found = []
    for i, item in enumerate(items):
        where = f"{name}, line {lines[i]}" if lines else f"{name}, item {i + 1}"
        if not item.choices and not options_in(item.question):
            raise EvalSetError(
                f'{where}: field "choices" is missing, so there is nothing to choose from: add it, for example '
                '"choices": ["yes", "no"].'
            )
        turn = Turn(item.question, item.answer, item.style, item.choices)
        try:
            options = options_for(item.question, item.choices, turn, lambda: ())
        except InputError as error:
            raise EvalSetError(f"{where}: {error}") from error
        if options.truth is None:
            raise EvalSetError(f'{where}: the answer {item.answer[:50]!r} is not among its "choices": add it to them.')
        wrong = [n for n, meaning in enumerate(options.meanings) if meaning != options.meanings[options.truth]]
        if not wrong:
            raise EvalSetError(f'{where}: field "choices" has no wrong option: give at least two different ones.')
        found.append(Question(item, options, int(np.random.default_rng(i).choice(wrong)), where))
    return ItemSet(kind, name, tuple(found))


def disturbed(model: "MLLM", question: Question, index: int, condition: str) -> "Encoded | None":
    """The prompt of item number ``index`` under ``condition``; None where it cannot be made of this item.

    Sentences go in front of the question. A picture takes the place of the item's own, at its size, or is added where
    there is none. ``index`` seeds facts, scenes and noise. Raises ``EvalSetError`` naming the item where the model
    cannot read it.
    """
    picture, text, truth = question.item.picture(), question.item.question, question.options.truth
    case = Case(picture, text, question.options, truth, truth, question.wrong, seed=index)
    try:
        if condition == ORIGIN:
            return model.encode(picture, text)
        made = ALL[condition].make(case)
        if isinstance(made, str):
            return model.encode(picture, f"{made} {text.strip()}")
        return model.encode(picture, text).with_image(made) if picture else model.encode(made, text)
    except Unfit:
        return None
    except InputError as error:
        raise EvalSetError(f"{question.where}: {error}") from error


@dataclass(frozen=True)
class Panel:
    """One set as results need it: for every item the index of the right option, how many options there are, and its
    segment. ``data`` is the fingerprint of the items.
    """

    kind: str
    name: str
    data: str
    right: tuple[int, ...]
    choices: tuple[int, ...]
    segments: tuple[str | None, ...]


@dataclass(frozen=True)
class Block:
    """What one checkpoint of a model said to one set under one condition.

    ``logprob``: for every item the log-probability of each option, nats, summed over its tokens; None where the
    condition could not be made of the item. ``provenance`` are the fields of ``Provenance``; it is no part of what
    makes two blocks equal.
    """

    panel: Panel
    model: str
    checkpoint: str
    condition: str
    logprob: tuple[tuple[float, ...] | None, ...]
    provenance: dict = field(compare=False)


def measure(
    model: "MLLM | fingerprint.Unopened", sets: Sequence[ItemSet], checkpoints: Sequence[str] = (BASE,),
    conditions: Sequence[str] = CONDITIONS, progress: kept.Progress = kept.quiet, only_kept: bool = False,
) -> list[Block]:
    """One block for each set, condition and checkpoint; of ``conditions`` those that the set's kind has, and origin.

    Blocks that were measured before, here or by whoever ships them, are loaded; every other one is measured and kept.
    ``progress`` is told the share done of what is missing, and what comes next; what it raises stops the work. With
    ``only_kept`` nothing is measured, and what is not kept is left out. Raises ``InputError`` for an unknown condition
    or no checkpoint, ``EvalSetError`` for an item that cannot be read, ``CheckpointError`` for an unknown checkpoint.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise InputError(f"There is no condition {unknown[0]!r}. There are: {', '.join(CONDITIONS)}.")
    if not checkpoints:
        raise InputError("No checkpoint was chosen: choose at least one.")
    plan, panels = [], {}
    for items in sets:
        asked, by = items.questions, {"measurement": "dataset", "data": items.data, "kind": items.kind}
        panels[id(items)] = Panel(
            items.kind, items.name, items.data, tuple(q.options.truth for q in asked),
            tuple(len(q.options.texts) for q in asked), tuple(q.item.segment for q in asked),
        )
        plan += [
            kept.Cell(name, {**by, "condition": c}, f"{name} on {items.kind}, {c}", len(asked), (items, c))
            for c in (ORIGIN, *(c for c in KINDS[items.kind].conditions if c in conditions))
            for name in dict.fromkeys(checkpoints)
        ]
    # To disturb a picture takes about as long as to score it: prompts of one set and condition are there for the next
    # checkpoint, no more of them than _BYTES
    written: dict[int, Posed | None] = {}
    of, size = None, 0

    def posed_at(items: ItemSet, condition: str, place: int) -> Posed | None:
        nonlocal of, size
        if of != (id(items), condition):
            of, size = (id(items), condition), 0
            written.clear()
        if place in written:
            return written[place]
        question = items.questions[place]
        prompt = disturbed(model, question, place, condition)
        posed = prompt and pose(model, prompt, question.options.texts)
        more = sum(value.nbytes for value in prompt.inputs.values()) if prompt else 0
        if size + more <= _BYTES:
            written[place], size = posed, size + more
        return posed

    def score(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            posed = {i: prompt for i in some if (prompt := posed_at(*cell.of, i))}
            found = dict(zip(posed, logprobs_each(model, list(posed.values()), cell.weights), strict=True))
            for i in some:
                yield i, {"logprob": np.round(found[i], _DECIMALS) if i in found else None}

    found = kept.gathered(ROOM, _VERSION, model, plan, score, progress, only_kept)
    blocks = []
    for cell, value in zip(plan, found, strict=True):
        if value:
            items, condition = cell.of
            logprob = tuple(None if row is None else tuple(map(float, row)) for row in value["logprob"])
            # the same weights may be on offer under two names
            by = {**value["provenance"], "model": model.name, "checkpoint": cell.weights}
            blocks.append(Block(panels[id(items)], model.name, cell.weights, condition, logprob, by))
    return blocks


def together(blocks: Sequence[Block], more: Sequence[Block]) -> tuple[Block, ...]:
    """``blocks`` and ``more`` of them, each once: what was measured again takes the place of what it repeats."""
    found = {(b.panel, b.model, b.checkpoint, b.condition): b for b in (*blocks, *more)}
    return tuple(found.values())


@lru_cache(maxsize=len(KINDS))
def shipped_set(kind: str) -> ItemSet:
    """The set of ``kind`` that comes with the embedded default. Raises ``EvalSetError`` where it is not whole."""
    file = ASSETS / "interference" / f"{kind}.jsonl"
    return item_set(kind, file.name, evalset.load(file))


def chosen(kinds: Sequence[str]) -> list[ItemSet]:
    """The sets of these kinds. Raises ``InputError`` for an unknown kind, or none."""
    return [shipped_set(kind.name) for kind in picked(kinds, KINDS, "kind of set", "set")]


def shipped_answers() -> tuple[Block, ...]:
    """The answers of the base and the remedies that ship, or were measured here before: read, without opening a model.

    Empty where there are none for these weights and sets.
    """
    entry = next((e for e in catalog.entries() if e.name == MITIGATION and e.checkpoint_folder), None)
    if entry is None:
        return ()
    try:
        manifest = Manifest.load(entry.checkpoint_folder)
        model = fingerprint.Unopened(entry.name, entry.source, SHIPPED_DTYPE, None, manifest)
        found = measure(model, [shipped_set(kind) for kind in KINDS], (BASE, *entry.checkpoints), only_kept=True)
    except (CrosstalkError, OSError):  # what is missing is told when somebody measures
        return ()
    against = {(block.panel, block.checkpoint) for block in found if block.condition == ORIGIN}
    return tuple(block for block in found if (block.panel, block.checkpoint) in against)
