"""One question, answered token by token, by every checkpoint, with the probability of each option."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.answers import box_of, objects_in, options_in, score, style_of
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.mllm import text_of

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.mllm import MLLM

Box = tuple[float, float, float, float]
_MOST = 100  # options that are scored
NAMES = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}


@dataclass(frozen=True, kw_only=True)
class Answer(Result):
    """One answer with what surrounds it; it grows while it is measured, ``done`` says when it is whole.

    ``tokens`` with ``logprob`` (nats, float64 ``[T]``) and ``top``, the likeliest tokens and their
    probability at each place. ``options`` with ``option_probability`` ``[n]`` (softmax over the options).
    ``answers``, ``styles``, ``boxes`` and ``scores`` (0 to 1, not-a-number where the truth is not known)
    are those of ``checkpoints``. ``truth`` is the true answer of a suggested question; ``contents`` are the
    things in a composed scene, ``invented`` and ``missing`` compare a sentence with them.
    """

    question: str
    checkpoint: str
    tokens: tuple[str, ...] = ()
    logprob: np.ndarray
    top: tuple[tuple[tuple[str, float], ...], ...] = ()
    options: tuple[str, ...] = ()
    option_labels: tuple[str, ...] = ()
    option_probability: np.ndarray
    checkpoints: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    boxes: tuple[Box | None, ...] = ()
    scores: np.ndarray
    truth: str | None = None
    truth_style: str | None = None
    truth_box: Box | None = None
    contents: tuple[tuple[str, int], ...] | None = None
    invented: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    done: bool = False

    @property
    def answer(self) -> str:
        return "".join(self.tokens).strip()

    @property
    def score(self) -> float:
        """How right the chosen checkpoint's answer is; not-a-number where the truth is not known."""
        if self.truth is None:
            return float("nan")
        return score(self.answer, self.truth, self.truth_style, NAMES)

    def table(self) -> Table:
        rows = zip(self.checkpoints, self.answers, self.styles, self.scores, strict=True)
        header = ["question", "truth", "checkpoint", "answer", "style", "score"]
        return Table(header, [[self.question, self.truth or "", *row] for row in rows])

    def to_json(self) -> dict:
        each = zip(self.checkpoints, self.answers, self.styles, self.scores, strict=True)
        chances = zip(self.options, self.option_probability, strict=True)
        return plain({
            "question": self.question,
            "answer": self.answer,
            "steps": [
                {"token": t, "logprob": p, "top": [{"token": a, "probability": b} for a, b in top]}
                for t, p, top in zip(self.tokens, self.logprob, self.top, strict=True)
            ],
            "options": [{"text": t, "probability": p} for t, p in chances],
            "by_checkpoint": [{"checkpoint": c, "answer": a, "style": s, "score": right} for c, a, s, right in each],
            "truth": self.truth,
            "contents": dict(self.contents) if self.contents is not None else None,
            "provenance": self.provenance,
        })


def compare(sentence: str, contents: Counter) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Things a sentence names that are not there, and things that are there and it does not name."""
    named = objects_in(sentence, NAMES)
    return tuple(sorted(set(named) - set(contents))), tuple(sorted(set(contents) - set(named)))


def ask(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = "base",
    options: Sequence[str] = (), known: "Known | None" = None
) -> Iterator[Answer]:
    """The answer after each token, then with its options, then whole.

    ``options`` are scored as given, up to 100; without them, those of the suggested question or those it lists.
    Raises ``InputError`` for an empty question, ``CheckpointError`` for an unknown checkpoint.
    """
    began = time.perf_counter()
    turn = known.turn(question) if known else None
    contents = known.contents if known else None
    if len(options) > _MOST:
        raise InputError(f"{len(options)} options are too many: at most {_MOST} are compared.")
    labels = options_in(question)
    options = tuple(options) or (turn.choices if turn else ()) or tuple(labels)
    found = Answer(
        provenance=Provenance(**model.provenance(checkpoint)), question=question, checkpoint=checkpoint,
        logprob=np.zeros(0), option_probability=np.zeros(0), scores=np.zeros(0),
        truth=turn.answer if turn else None, truth_style=turn.style if turn else None,
        truth_box=box_of(turn.answer) if turn and turn.style == "box" else None,
        contents=tuple(sorted(contents.items())) if contents is not None else None,
    )
    encoded = model.encode(picture, question)
    for step in model.generate(encoded, checkpoint):
        tokens, top = (*found.tokens, step.token), (*found.top, step.top)
        found = replace(found, tokens=tokens, top=top, logprob=np.append(found.logprob, step.logprob))
        yield found
    if contents is not None and style_of(found.answer) == "sentence":
        invented, missing = compare(found.answer, contents)
        found = replace(found, invented=invented, missing=missing)
    if options:
        named = tuple(f"{o}: {labels[o]}" if o in labels else o for o in options)
        chances = model.score(encoded, options, checkpoint).probability
        found = replace(found, options=options, option_labels=named, option_probability=chances)
    yield found
    each = model.generate_each(encoded, model.checkpoint_names)
    answers = tuple(text_of(each[name]) for name in model.checkpoint_names)
    right = [score(a, turn.answer, turn.style, NAMES) if turn else np.nan for a in answers]
    yield replace(
        found, checkpoints=tuple(model.checkpoint_names), answers=answers, styles=tuple(map(style_of, answers)),
        boxes=tuple(map(box_of, answers)), scores=np.array(right, dtype=float),
        provenance=Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began)), done=True,
    )
