"""The options that an answer is chosen from: given, of the suggested question, listed in it, or the model's own."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from models.errors import InputError
from models.generation import Choice, Greedy, text_of

if TYPE_CHECKING:
    from models.embedded.questions import Turn
    from models.encoding import Encoded
    from models.mllm import MLLM

MOST = 100  # options that are scored
PROPOSED = 4
_TRIED = 8  # likeliest first tokens that an answer of the model's own may begin with
_ANSWER = 12  # tokens of such an answer
_LETTER = re.compile(r"(?<!\w)\(?([A-Z])[.):]\s*")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Source = Literal["given", "suggested", "listed", "proposed"]


@dataclass(frozen=True)
class Options:
    """``texts`` are scored as answers, ``meanings`` are what they stand for (``"A"``: ``"cat"``), else the same.

    ``truth`` is the index of the right one, None where it is not known or not among them. ``source`` says who
    named them.
    """

    texts: tuple[str, ...]
    meanings: tuple[str, ...]
    source: Source
    truth: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """How each is shown: ``"A: cat"``, or its text alone."""
        return tuple(t if t == m else f"{t}: {m}" for t, m in zip(self.texts, self.meanings, strict=True))


def listed(question: str) -> dict[str, str]:
    """Options that a question lists, letter to text: ``"(A) cat, (B) dog"`` is ``{"A": "cat", "B": "dog"}``.

    Empty where there are not at least two, lettered from A without a gap, each with a text.
    """
    marks = list(_LETTER.finditer(question))
    start = max((i for i, mark in enumerate(marks) if mark[1] == "A"), default=len(marks))
    marks = marks[start:]
    if len(marks) < 2:
        return {}
    letters = "".join(mark[1] for mark in marks)
    ends = [*(mark.start() for mark in marks[1:]), len(question)]
    texts = [question[mark.end() : end].strip(" ,;\n\t") for mark, end in zip(marks, ends, strict=True)]
    whole = letters == _ALPHABET[: len(letters)] and all(texts)
    return dict(zip(letters, texts, strict=True)) if whole else {}


def options_for(
    question: str, given: Sequence[str], turn: "Turn | None", propose: Callable[[], Sequence[str]]
) -> Options:
    """The ``given`` options, or those of the suggested question (``turn``), or those it lists, or ``propose()``.

    A true answer that the model did not propose is added in front. Raises ``InputError`` for more than ``MOST``,
    or where there are none at all.
    """
    letters = listed(question)
    truth = turn.answer if turn else None
    if texts := _distinct(given):
        source = "given"
    elif turn and turn.choices:
        source, texts = "suggested", turn.choices
    elif letters:
        source, texts = "listed", tuple(letters)
    else:
        source, texts = "proposed", _distinct(propose())
        if truth is not None and _place(truth, texts) is None:
            texts = (truth, *texts)
    if not texts:
        raise InputError("The model's likeliest answers to this are all empty: name the options to choose from.")
    if len(texts) > MOST:
        raise InputError(f"{len(texts)} options are too many: at most {MOST} are compared.")
    meanings = tuple(letters.get(text, text) for text in texts)
    return Options(tuple(texts), meanings, source, None if truth is None else _place(truth, texts))


def proposed(model: "MLLM", encoded: "Encoded", checkpoint: str, count: int = PROPOSED) -> tuple[str, ...]:
    """Up to ``count`` different answers of the model's own, the greedy one first.

    Each begins with another of the likeliest first tokens and is finished greedily. Answers that are empty, or
    repeat one before, are left out.
    """
    found: dict[str, str] = {}
    for rank in range(_TRIED):
        answer = text_of(list(model.generate(encoded, checkpoint, _ANSWER, _Begun(rank))))
        key = answer.strip(" .").casefold()
        if key and key not in found:
            found[key] = answer
        if len(found) == count:
            break
    return tuple(found.values())


class _Begun(Greedy):
    """Greedy, but for the first token: the one of rank ``rank`` (0: the likeliest)."""

    def __init__(self, rank: int):
        self.rank = rank

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        if step > 0:
            return super().choose(logits, step)
        return Choice(int(logits[0].topk(min(self.rank + 1, logits.shape[-1])).indices[-1]))


def _distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """Without blanks and repetitions, in their order."""
    return tuple(dict.fromkeys(t.strip() for t in texts if t.strip()))


def _place(truth: str, texts: Sequence[str]) -> int | None:
    wanted = truth.strip().casefold()
    return next((i for i, text in enumerate(texts) if text.strip().casefold() == wanted), None)
