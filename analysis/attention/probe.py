"""What the answer loses when it may not look at the picture, layer by layer; and another attention without training."""

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.attention.measure import Attention, attend
from analysis.kept import Progress, quiet
from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import InputError
from models.generation import text_of
from models.instruments import decoder_of
from models.interventions import ANSWERING, PseudoScores, Scale
from models.segments import Modality

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.mllm import MLLM

TEXT = (Modality.QUESTION, Modality.INSTRUCTION, Modality.ANSWER)
WHO = {"answering": ANSWERING, "text": TEXT}
"""Whose attention to the picture is changed: of the tokens that write the answer, or of all text."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_SHORT = 8  # tokens of the model's own answer whose probability is followed


@dataclass(frozen=True, kw_only=True)
class Carried(Result):
    """How probable ``target`` is while attention to the picture is cut in a window of layers, and scaled in all.

    Log-probabilities in nats, summed over the target's tokens, float64. ``plain``: nothing changed; ``without``: cut in
    all layers. ``cut`` ``[windows]``: cut in the ``width`` layers from ``first`` (counted from 1). ``scaled``
    ``[weights]``: the unnormalised attention to the picture multiplied by ``weights``. ``who``: "answering" or "text",
    whose attention. ``truth_known``: the target is the right answer, else the model's own.
    """

    question: str
    target: str
    tokens: int
    truth_known: bool
    who: str
    width: int
    layers: int
    first: np.ndarray
    cut: np.ndarray
    plain: float
    without: float
    weights: np.ndarray
    scaled: np.ndarray

    def chance(self, logprob):
        """The probability of a token of the target, the geometric mean over its ``tokens``, from a log-probability."""
        return np.exp(np.asarray(logprob) / self.tokens)

    @property
    def lost(self) -> np.ndarray:
        """What each window costs, nats: above 0 where the target becomes less probable."""
        return self.plain - self.cut

    def table(self) -> Table:
        rows = [["cut", f, f + self.width - 1, 0.0, v] for f, v in zip(self.first, self.cut, strict=True)]
        rows += [["scaled", 1, self.layers, w, v] for w, v in zip(self.weights, self.scaled, strict=True)]
        return Table(["what", "first_layer", "last_layer", "weight", "logprob"], rows)


def carry(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = "base", known: "Known | None" = None,
    width: int = 0, who: str = "answering", progress: Progress = quiet
) -> Carried:
    """Cut attention to the picture in every window of ``width`` layers (0: a sixth of them), and scale it in all.

    The target is the true answer where ``known`` has it, else the beginning of the model's own. ``progress(share,
    what)`` is called between forwards; what it raises stops the work. Raises ``InputError`` without a picture, for a
    window that does not fit or where the model answers nothing.
    """
    began = time.perf_counter()
    if picture is None:
        raise InputError(
            "There is no picture, so there is no attention to one that could be cut. Choose one at the top."
        )
    layers = len(decoder_of(model.model).layers)
    width = width or max(round(layers / 6), 1)
    if not 1 <= width <= layers:
        raise InputError(f"The window has {width} layers: it must have 1 to {layers}.")
    if who not in WHO:
        raise InputError(f"Attention of {who!r} cannot be cut: choose {' or '.join(WHO)}.")
    encoded = model.encode(picture, question)
    turn = known.turn(question) if known else None
    target = turn.answer if turn else text_of(list(model.generate(encoded, checkpoint, _SHORT)))
    if not target:
        raise InputError("The model answers nothing to this question, so there is no answer to follow.")
    first = list(range(layers - width + 1))
    todo = [((start, start + width - 1), 0.0) for start in first] + [(None, w) for w in WEIGHTS]
    found: list[float] = []
    for i, (window, weight) in enumerate(todo):
        progress(i / len(todo), "all layers" if window is None else f"layers {window[0] + 1} to {window[1] + 1}")
        scale = Scale(queries=WHO[who], keys=(Modality.IMAGE,), weight=weight, layers=window)
        scores = model.score(encoded, [target], checkpoint, interventions=[scale])
        found.append(float(scores.logprob[0]))
    scaled = np.array(found[len(first) :])
    return Carried(
        provenance=Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began)),
        question=question, target=target, tokens=int(scores.tokens[0]), truth_known=turn is not None,
        who=who, width=width, layers=layers, first=np.array(first) + 1, cut=np.array(found[: len(first)]),
        plain=float(scaled[WEIGHTS.index(1.0)]), without=float(scaled[WEIGHTS.index(0.0)]),
        weights=np.array(WEIGHTS), scaled=scaled,
    )  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Another attention in all layers, without training.

    ``beta``: of MODA's pseudo-scores, 0 (all alike) and more; None: none. ``image`` and ``text``: temperatures of the
    attention to the picture and to text; above 1 it is spread more evenly over them, 1 leaves it as it is.
    """

    beta: float | None = None
    image: float = 1.0
    text: float = 1.0

    def __str__(self) -> str:
        parts = [f"pseudo-scores with β = {self.beta:g}"] if self.beta is not None else []
        parts += [f"temperature {v:g} on {n}" for n, v in (("the picture", self.image), ("text", self.text)) if v != 1]
        return " and ".join(parts) or "nothing"


@dataclass(frozen=True, kw_only=True)
class WhatIf(Result):
    """The same question with the model's own attention and with another. ``chance``: log-probability (nats a
    token) of the ``before`` answer, as it is and under the ``change``."""

    change: Change
    before: Attention
    after: Attention
    chance: tuple[float, float]

    def table(self) -> Table:
        before, after = self.before.table(), self.after.table()
        both = [["before", *row] for row in before.rows] + [["after", *row] for row in after.rows]
        return Table(["when", *before.columns], both)

    def to_json(self) -> dict:
        return {
            "change": asdict(self.change), "before": self.before.to_json(), "after": self.after.to_json(),
            "logprob": list(self.chance), "provenance": self.after.to_json()["provenance"],
        }


def what_if(
    model: "MLLM", picture: Image.Image | None, question: str, change: Change, checkpoint: str = "base",
    known: "Known | None" = None
) -> WhatIf:
    """Answer with the model's own attention, then under ``change``.

    Raises ``InputError`` where nothing is changed or a number is out of range.
    """
    warmth = ((Modality.IMAGE,), change.image), (TEXT, change.text)
    interventions = [] if change.beta is None else [PseudoScores(change.beta)]
    interventions += [Scale(keys=keys, temperature=value) for keys, value in warmth if value != 1]
    if not interventions:
        raise InputError("Nothing is changed: switch the pseudo-scores on, or move a temperature away from 1.")
    before = attend(model, picture, question, checkpoint, known=known)
    after = attend(model, picture, question, checkpoint, known=known, interventions=interventions)
    chance = [float("nan")] * 2
    if before.answer:
        asked = model.encode(picture, question), [before.answer], checkpoint
        chance = [float(model.score(*asked, interventions=given).per_token[0]) for given in ((), interventions)]
    return WhatIf(provenance=after.provenance, change=change, before=before, after=after, chance=tuple(chance))
