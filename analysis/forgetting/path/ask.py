"""The visitor's own question, put to weights that are no checkpoint, beside checkpoints."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.result import Provenance, Result
from analysis.table import Table
from models.answers import options_in, score, style_of
from models.generation import text_of

if TYPE_CHECKING:
    from PIL import Image

    from analysis.bar import Known
    from analysis.forgetting.path.measure import Merged, Path
    from models.checkpoints import Weights
    from models.mllm import MLLM


@dataclass(frozen=True, kw_only=True)
class Asked(Result):
    """What several weights, called ``labels``, answer to one question; ``here`` is the place of those asked about.

    ``logprob`` ``[weights]``: of each one's own answer, nats; ``probability`` ``[weights, options]``: softmax over
    ``options``, of which there may be none. ``scores`` ``[weights]``: how right, 0 to 1, not-a-number where the truth
    is not known.
    """

    question: str
    labels: tuple[str, ...]
    here: int
    answers: tuple[str, ...]
    styles: tuple[str, ...]
    logprob: np.ndarray
    options: tuple[str, ...]
    probability: np.ndarray
    truth: str | None
    scores: np.ndarray

    def table(self) -> Table:
        header = ["question", "weights", "answer", "style", "logprob", "score", *self.options]
        rows = zip(self.labels, self.answers, self.styles, self.logprob, self.scores, self.probability, strict=True)
        return Table(header, [[self.question, *row[:-1], *row[-1]] for row in rows])


@dataclass(frozen=True, kw_only=True)
class Standing(Result):
    """What was ``measured`` of weights between the checkpoints of the set ``method`` (a line, or merges), and what some
    of them answer to one question (``here``); None for what there is not yet.
    """

    method: str
    measured: "Path | Merged | None" = None
    here: Asked | None = None

    @classmethod
    def of(cls, method: str, measured: "Path | Merged | None", here: Asked | None = None) -> "Standing":
        """Of at least one of them."""
        by = (measured or here).provenance
        return cls(provenance=by, method=method, measured=measured, here=here)

    def table(self) -> Table:
        """The columns of one beside those of the other, the rows below each other."""
        tables = [part.table() for part in (self.measured, self.here) if part is not None]
        columns, rows = [], []
        for of in tables:
            after = sum(len(t.columns) for t in tables) - len(columns) - len(of.columns)
            rows += [[*[None] * len(columns), *row, *[None] * after] for row in of.rows]
            columns += of.columns
        return Table(columns, rows)


def ask(
    model: "MLLM", picture: "Image.Image | None", question: str, weights: "Sequence[tuple[str, Weights]]", here: int,
    known: "Known | None" = None,
) -> Asked:
    """Put ``question`` to each of ``weights`` (label and weights), all with the same prompt.

    Options are those of the suggested question, or those that it lists, or else the truth and what was answered.
    Raises ``InputError`` for an empty question, ``CheckpointError`` for weights that cannot be had.
    """
    began = time.perf_counter()
    turn = known.turn(question) if known else None
    prompt = model.encode(picture, question)
    answers, logprob = [], []
    for _, at in weights:
        steps = list(model.generate(prompt, at))
        answers.append(text_of(steps))
        logprob.append(sum(step.logprob for step in steps))
    labels = options_in(question)
    options = (turn.choices if turn else ()) or tuple(labels) or _apart([turn.answer, *answers] if turn else answers)
    probability = [model.score(prompt, options, at).probability if options else np.zeros(0) for _, at in weights]
    right = [score(a, turn.answer, turn.style) if turn else np.nan for a in answers]
    took = time.perf_counter() - began
    return Asked(
        provenance=Provenance(**model.provenance(weights[here][1], seconds=took)),
        question=question, labels=tuple(name for name, _ in weights), here=here,
        answers=tuple(answers), styles=tuple(map(style_of, answers)), logprob=np.array(logprob, dtype=float),
        options=tuple(f"{o}: {labels[o]}" if o in labels else o for o in options),
        probability=np.array(probability, dtype=float), truth=turn.answer if turn else None,
        scores=np.array(right, dtype=float),
    )


def _apart(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts none of which begins with another, of which it would be a part; none where that leaves fewer than two."""
    kept: list[str] = []
    for text in sorted(dict.fromkeys(filter(None, texts)), key=len):
        if not any(text.lower().startswith(other.lower().rstrip(".")) for other in kept):
            kept.append(text)
    return tuple(sorted(kept, key=texts.index)) if len(kept) > 1 else ()
