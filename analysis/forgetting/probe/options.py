"""What a question's true answer is chosen from, where somebody has to choose."""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.answers import options_in, score, style_of
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.scoring import letter_of

if TYPE_CHECKING:
    from analysis.bar import Known

RIGHT = 0.5  # a score from here on counts as right where an answer must be one or the other
MOST = 50  # options that are scored, at every checkpoint
_WRONG = 3  # wrong options where the question has none


def truth_of(question: str, given: str, known: "Known | None") -> tuple[str, str]:
    """The true answer and the form that it is asked in: as known, or as ``given``; two empty texts without either.

    A truth that says what is known is taken as it is known, and an option's text as the letter it is listed under.
    """
    turn, given = known.turn(question) if known else None, given.strip()
    if turn and (not given or score(given, turn.answer, turn.style) == 1):
        return turn.answer, turn.style
    if letter := letter_of(given, options_in(question)):
        return letter, "letter"
    return (given, style_of(given)) if given else ("", "")


def options_for(
    question: str, truth: str, style: str, given: Sequence[str] = (), known: "Known | None" = None
) -> tuple[str, ...]:
    """The options of a question, the true one first; none where there is nothing to choose between.

    Those ``given``, else the suggested question's, the letters that it lists, *yes* and *no*, the numbers next to a
    numeral, or, for a word about a composed scene, three things that are not in it (drawn by the question). Without a
    truth, those given or listed, in their order. Raises ``InputError`` for more than ``MOST``.
    """
    turn = known.turn(question) if known else None
    listed = (turn.choices if turn else ()) or tuple(options_in(question))
    options = tuple(dict.fromkeys(option.strip() for option in given)) or listed
    if len(options) > MOST:
        raise InputError(f"{len(options)} options are too many: at most {MOST} are compared.")
    if not truth:
        return options
    if not options:
        options = _made(question, truth, style, known)
    wrong = [option for option in options if score(option, truth, style) < RIGHT]
    own = next((option for option in options if score(option, truth, style) == 1), truth)
    return (own, *wrong) if wrong else ()


def _made(question: str, truth: str, style: str, known: "Known | None") -> tuple[str, ...]:
    if style == "yes/no":
        return "yes", "no"
    if style == "numeral" and truth.isdecimal():
        number = int(truth)
        near = sorted(range(max(number - _WRONG, 0), number + _WRONG + 1), key=lambda n: abs(n - number))
        return tuple(map(str, near[: _WRONG + 1]))
    if style == "word" and known and known.contents:
        there = known.contents
        names = [name for name in CONCEPTS if name not in there and not score(name, truth, style)]
        drawn = np.random.default_rng(zlib.crc32(question.encode())).permutation(len(names))[:_WRONG]
        return tuple(names[i] for i in drawn)
    return ()
