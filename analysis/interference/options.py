"""The options that an answer is chosen from: given, of the suggested question, listed in it, or the model's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from models.answers import options_in
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.generation import Choice, Greedy, text_of

if TYPE_CHECKING:
    from models.embedded.questions import Turn
    from models.encoding import Encoded
    from models.mllm import MLLM

MOST = 100  # options that are scored
LONGEST = 200  # characters of one
PROPOSED = 4
_TRIED = 8  # likeliest first tokens that an answer of the model's own may begin with
_ANSWER = 12  # tokens of such an answer
_END = " .?!"
_NAMES = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}

Source = Literal["given", "suggested", "listed", "proposed"]


@dataclass(frozen=True)
class Options:
    """``texts`` are scored as answers, ``meanings`` are what they stand for (``"A"``: ``"cat"``), else the same
    without end marks; a thing that the embedded default knows by its name (``"Cats."``: ``"cat"``).

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
        pairs = zip(self.texts, self.meanings, strict=True)
        return tuple(f"{t}: {m}" if len(t) == 1 and t.isupper() and t != m else t for t, m in pairs)


def options_for(
    question: str, given: Sequence[str], turn: "Turn | None", propose: Callable[[], Sequence[str]]
) -> Options:
    """The ``given`` options, or those of the suggested question (``turn``), or those it lists, or ``propose()``.

    A true answer that the model did not propose is added in front. Raises ``InputError`` for more than ``MOST``,
    for one of more than ``LONGEST`` characters, or where there are none at all.
    """
    letters = options_in(question)
    truth = turn.answer if turn else None
    if texts := tuple(dict.fromkeys(t.strip() for t in given if t.strip())):  # without blanks and repetitions
        source = "given"
    elif turn and turn.choices:
        source, texts = "suggested", turn.choices
    elif letters:
        source, texts = "listed", tuple(letters)
    else:
        source, texts = "proposed", tuple(dict.fromkeys(t.strip() for t in propose() if t.strip()))
        if truth is not None and _place(truth, truth, texts, tuple(map(_meaning, texts))) is None:
            texts = (truth, *texts)
    if not texts:
        raise InputError("The model's likeliest answers to this are all empty: name the options to choose from.")
    if len(texts) > MOST:
        raise InputError(f"{len(texts)} options are too many: at most {MOST} are compared.")
    if (longest := max(map(len, texts))) > LONGEST:
        raise InputError(f"An option has {longest} characters; at most {LONGEST} are read: shorten it.")
    meanings = tuple(_meaning(letters.get(text, text)) for text in texts)
    right = None if truth is None else _place(truth, letters.get(truth.strip(), truth), texts, meanings)
    return Options(tuple(texts), meanings, source, right)


def proposed(
    model: "MLLM", encoded: "Encoded", checkpoint: str, count: int = PROPOSED,
    told: Callable[[float], None] = lambda share: None,
) -> tuple[str, ...]:
    """Up to ``count`` different answers of the model's own, the greedy one first.

    Each begins with another of the likeliest first tokens and is finished greedily, special tokens of the template
    aside. Answers that are empty, or repeat one before, are left out. ``told`` the share done before each token;
    what it raises stops the work.
    """
    found: dict[str, str] = {}
    special = [i for i in set(model.tokenizer.all_special_ids) if i not in model.generator.ends]
    for rank in range(_TRIED):
        steps = []
        told(rank / _TRIED)
        for step in model.generate(encoded, checkpoint, _ANSWER, _Begun(rank, special)):
            steps.append(step)
            told((rank + len(steps) / (_ANSWER + 1)) / _TRIED)
        answer = text_of(steps)
        key = answer.strip(" .").casefold()
        if key and key not in found:
            found[key] = answer
        if len(found) == count:
            break
    return tuple(found.values())


@dataclass
class _Begun(Greedy):
    """Greedy without ``special`` tokens, but for the first one: that of rank ``rank`` (0: the likeliest)."""

    rank: int
    special: Sequence[int]

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        ordinary = logits[0].clone()
        ordinary[[i for i in self.special if i < len(ordinary)]] = -torch.inf
        rank = 0 if step else min(self.rank, len(ordinary) - 1)
        return Choice(int(ordinary.topk(rank + 1).indices[-1]))


def _bare(text: str) -> str:
    """A text as options are compared: without case and end marks."""
    return text.strip().strip(_END).casefold()


def _meaning(text: str) -> str:
    return _NAMES.get(_bare(text)) or text.strip().strip(_END) or text


def _place(truth: str, meaning: str, texts: Sequence[str], meanings: Sequence[str]) -> int | None:
    """Index of the true one: the text itself, else what means the same (``"dog"``, where B is right and is a dog)."""
    for wanted, among in ((truth, texts), (_meaning(meaning), meanings)):
        if _bare(wanted) in (found := [_bare(text) for text in among]):
            return found.index(_bare(wanted))
    return None
