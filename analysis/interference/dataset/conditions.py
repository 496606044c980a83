"""What is done to every item of an evaluation set: its kind says which modality should not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.interference.options import Options, options_for
from analysis.interference.perturbations import ALL, Case, Unfit
from models import fingerprint
from models.answers import options_in
from models.embedded.questions import Turn
from models.errors import EvalSetError, InputError
from models.evalset import EvalItem

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

ORIGIN = "origin"
"""The condition in which nothing is disturbed."""


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
        Kind(
            "image-heavy", "Image-heavy", "the picture answers; a sentence is put in front",
            ("unrelated", "misleading", "contradiction", "distraction"),
        ),
        Kind(
            "text-heavy", "Text-heavy", "the words answer; a picture is added",
            ("other-picture", "black", "white", "noise", "wrong-picture"),
        ),
        Kind(
            "multimodal", "Multimodal", "it takes both; a sentence is put in front, and the picture stays right",
            ("unrelated", "misleading"),
        ),
    )
}  # fmt: skip
"""Every kind, by name."""

CONDITIONS = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.conditions))
"""Every perturbation of some kind, by name."""


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


def item_set(kind: str, name: str, items: Sequence[EvalItem], places: Sequence[str] = ()) -> ItemSet:
    """``items`` as a set of ``kind``; ``places`` are how messages name each (default: by number).

    The wrong option of an item is drawn by its number among the wrong ones, before any model has answered: it is the
    same one for every model and checkpoint, so that all are told the same thing and may be compared item by item (in
    the room's single input it is the likeliest wrong one). Raises ``EvalSetError`` for an item without options, with
    fewer than two, or whose answer is not among them.
    """
    if kind not in KINDS:
        raise InputError(f"There is no kind of set {kind!r}. There are: {', '.join(KINDS)}.")
    places = places or [f"item {i}" for i in range(1, len(items) + 1)]
    found = [_question(i, item, f"{name}, {places[i]}") for i, item in enumerate(items)]
    return ItemSet(kind, name, tuple(found))


def _question(index: int, item: EvalItem, where: str) -> Question:
    if not item.choices and not options_in(item.question):
        raise EvalSetError(
            f'{where}: field "choices" is missing, so there is nothing to choose from: add it, for example "choices": '
            '["yes", "no"].'
        )
    turn = Turn(item.question, item.answer, item.style, item.choices)
    try:
        options = options_for(item.question, item.choices, turn, lambda: ())
    except InputError as error:
        raise EvalSetError(f"{where}: {error}") from error
    if options.truth is None:
        raise EvalSetError(f'{where}: the answer {item.answer[:50]!r} is not among its "choices": add it to them.')
    wrong = [i for i, meaning in enumerate(options.meanings) if meaning != options.meanings[options.truth]]
    if not wrong:
        raise EvalSetError(f'{where}: field "choices" has no wrong option: give at least two different ones.')
    return Question(item, options, int(np.random.default_rng(index).choice(wrong)), where)


def lines_of(file: Path) -> list[str]:
    """How messages name each item of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [f"line {number}" for number, line in enumerate(lines, 1) if line.strip()]


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
