"""One question, answered by every checkpoint of a set in one mixed batch."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.forgetting.terms import ESSENTIAL, KEPT, NEVER, OPEN, RIGHT, SUPERFICIAL
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.answers import content_words, options_in, score, style_of
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.generation import text_of
from models.instruments import AttentionMass
from models.scoring import letter_of
from models.segments import Modality

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.mllm import MLLM

KINDS = tuple(m.name.lower() for m in Modality)
"""Kinds of tokens, in the order of every axis of kinds: image, question, instruction (the template), answer."""

MOST = 50  # options that are scored, at every checkpoint
_WRONG = 3  # wrong options where the question has none


@dataclass(frozen=True, kw_only=True)
class Probe(Result):
    """What each of ``checkpoints`` makes of one question: the base, then after each task in the order of training, the
    first ``trained`` of them; the others are references.

    ``answers`` with their forms ``styles`` and ``logprob`` (nats, ``[checkpoints]``); ``first``: the likeliest first
    tokens with their probabilities. ``truth`` is asked for in the form ``style``, both empty where it is not known:
    ``scores`` ``[checkpoints]``, 0 to 1, tells how right each answer is, and ``probability`` how likely an answer
    begins with the truth. ``options``, the true one first, with ``among`` ``[checkpoints, options]``, the softmax of
    the log-probabilities of their tokens, summed.

    ``attention`` ``[checkpoints, kinds]``: share of the attention of the tokens that write the answer (the prompt's
    last, and each of the answer's but the last) on each kind of token, mean over layers, heads and these tokens.
    Whatever is not known is not-a-number.
    """

    method: str
    question: str
    picture: bool
    checkpoints: tuple[str, ...]
    trained: int
    answers: tuple[str, ...]
    styles: tuple[str, ...]
    logprob: np.ndarray
    first: tuple[tuple[tuple[str, float], ...], ...]
    truth: str
    style: str
    scores: np.ndarray
    probability: np.ndarray
    options: tuple[str, ...]
    among: np.ndarray
    attention: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which answers count as right, bool ``[checkpoints]``; none where the truth is not known."""
        return self.scores >= RIGHT

    @property
    def last(self) -> int:
        """The place of the last checkpoint of the training."""
        return self.trained - 1

    @property
    def lost(self) -> int | None:
        """The place of the checkpoint since which no answer was right, after one that was; None where there is none."""
        rights = np.flatnonzero(self.right[: self.trained])
        return int(rights[-1]) + 1 if rights.size and rights[-1] < self.last else None

    @property
    def likeliest(self) -> np.ndarray:
        """Whether the true option is likelier than each other, bool ``[checkpoints]``; False without options."""
        if not self.truth or self.among.shape[1] < 2:
            return np.zeros(len(self.checkpoints), bool)
        return self.among[:, 0] > self.among[:, 1:].max(1)

    @property
    def verdict(self) -> str:
        """What became of the answer by the end of training: ``KEPT``, ``NEVER`` right, or lost.

        Lost in another form than asked it is ``SUPERFICIAL`` where the true option is still the likeliest and
        ``ESSENTIAL`` where it is not, and ``OPEN`` without options; in the asked form ``ESSENTIAL`` (SEFE, arXiv
        2505.02486, section 3). Empty where the truth is not known.
        """
        if not self.truth:
            return ""
        if self.lost is None:
            return KEPT if self.right[self.last] else NEVER
        if self.styles[self.last] == self.style:
            return ESSENTIAL
        if not self.options:
            return OPEN
        return SUPERFICIAL if self.likeliest[self.last] else ESSENTIAL

    def table(self) -> Table:
        header = [
            "question", "truth", "checkpoint", "answer", "style", "score", "probability_of_answer",
            "probability_of_truth", *(f"attention_{kind}" for kind in KINDS),
            *(f"among_options: {option}" for option in self.options),
        ]
        rows = [
            [self.question, self.truth, name, self.answers[i], self.styles[i], self.scores[i], np.exp(self.logprob[i]),
             self.probability[i], *self.attention[i], *self.among[i]]
            for i, name in enumerate(self.checkpoints)
        ]
        return Table(header, rows)

    def to_json(self) -> dict:
        each = [{
            "name": name, "reference": i >= self.trained, "answer": self.answers[i], "style": self.styles[i],
            "score": self.scores[i], "probability_of_answer": np.exp(self.logprob[i]),
            "probability_of_truth": self.probability[i],
            "among_options": dict(zip(self.options, self.among[i], strict=True)),
            "attention": dict(zip(KINDS, self.attention[i], strict=True)),
            "first_token": [{"token": token, "probability": p} for token, p in self.first[i]],
        } for i, name in enumerate(self.checkpoints)]
        return plain({
            "method": self.method, "question": self.question, "truth": self.truth or None,
            "asked_style": self.style or None, "options": self.options, "verdict": self.verdict or None,
            "checkpoints": each, "provenance": self.provenance,
        })


def probe(
    model: "MLLM", method: str, picture: Image.Image | None, question: str, truth: str = "",
    options: Sequence[str] = (), known: "Known | None" = None,
) -> Probe:
    """Put ``question`` to every checkpoint of the set that ``model`` has, ``method`` by name.

    ``truth`` and ``options`` as given, else as known of a suggested question (``options_for``). The picture is looked
    at once where the checkpoints differ in the text decoder alone. Raises ``InputError`` for no question, and
    ``ModelError`` where memory is short.
    """
    began = time.perf_counter()
    truth, style = truth_of(question, truth, known)
    options = options_for(question, truth, style, options, known)
    asked = tuple(dict.fromkeys((*([truth] if truth else []), *options)))
    names = model.checkpoint_names
    instruments = [] if model.unmeasurable else [AttentionMass("last")]
    found = model.examine_each(model.encode(picture, question), names, asked, instruments=instruments)
    each = [found[name] for name in names]
    answers = tuple(text_of(e.steps) for e in each)
    words, manifest = content_words([truth, *answers]), model.checkpoints.manifest
    among, attention = np.zeros((len(each), len(options))), np.full((len(each), len(KINDS)), np.nan)
    for i, e in enumerate(each):
        if options:
            logprob = e.scores.logprob[[e.scores.choices.index(option) for option in options]]
            odds = np.exp(logprob - logprob.max())
            among[i] = odds / odds.sum()
        if (rows := e.readings.rows) is not None:
            writing = max(len(e.steps), 1)  # other rows of the batch may have gone on after this one ended
            attention[i] = rows.share[:, e.row, :, :writing].astype(float).mean((0, 1, 2))
    took = time.perf_counter() - began
    return Probe(
        provenance=Provenance(**model.provenance(f"all {len(names)} of {method}", seconds=took)),
        method=method, question=question, picture=picture is not None, checkpoints=names,
        trained=1 + sum(c.task in manifest.order for c in manifest.checkpoints),
        answers=answers, styles=tuple(map(style_of, answers)),
        logprob=np.array([sum(step.logprob for step in e.steps) for e in each], dtype=float),
        first=tuple(e.steps[0].top if e.steps else () for e in each),
        truth=truth, style=style,
        scores=np.array([score(a, truth, style, words) if truth else np.nan for a in answers], dtype=float),
        probability=np.array([np.exp(e.scores.logprob[0]) if truth else np.nan for e in each], dtype=float),
        options=options, among=among, attention=attention,
    )


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
    if not options and style == "yes/no":
        options = "yes", "no"
    elif not options and style == "numeral" and truth.isdecimal():
        number = int(truth)
        near = range(max(number - _WRONG, 0), number + _WRONG + 1)
        options = tuple(map(str, sorted(near, key=lambda n: abs(n - number))[: _WRONG + 1]))
    elif not options and style == "word" and known and known.contents:
        names = [name for name in CONCEPTS if name not in known.contents and not score(name, truth, style)]
        drawn = np.random.default_rng(zlib.crc32(question.encode())).permutation(len(names))[:_WRONG]
        options = tuple(names[i] for i in drawn)
    wrong = [option for option in options if score(option, truth, style) < RIGHT]
    own = next((option for option in options if score(option, truth, style) == 1), truth)
    return (own, *wrong) if wrong else ()
