"""Image patches and question words behind an answer: three methods of captum over one and the same parts.

What is explained is the log-probability (nats) of an answer, summed over its tokens. The parts are the words of the
question and blocks of the picture; the template and the answer's own earlier tokens are kept as they are.

- *Integrated gradients* (Sundararajan et al. 2017, arXiv 1703.01365, eq. 1) on what the decoder reads: the straight
  path from zero embeddings of all parts to the prompt's own. The parts add up to the difference between the two
  ends, but for the error of the integral, captum's convergence delta.
- *Ablation*: what is lost when one part is hidden from all other tokens, whose positions stay. It does not add up
  where parts stand in for one another.
- *Shapley value sampling* (Castro et al. 2009) over hidden and shown parts: the mean gain of showing a part after
  others, in random orders. It adds up exactly to all parts shown minus all hidden.
"""

import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import pad

from analysis.result import Provenance, Result
from analysis.table import Table
from models.devices import exhausted
from models.errors import InputError, ModelError
from models.generation import text_of
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM
    from models.segments import Box

METHODS = ("integrated_gradients", "ablation", "shapley")
MOST_STEPS = 512
ORDERS, MOST_ORDERS = 16, 256
SIDE = 8  # a picture is cut into at most SIDE x SIDE blocks
MOST_WORDS = 32  # longer questions are cut into runs of several words
MOST_TOKENS = 8  # of an answer: each costs the forwards of all the others once more
_COARSE = 4  # blocks a side for Shapley values, whose cost is parts times orders
_TOKENS = 4096  # at most so many in one forward

STEPS, ROWS = 48, 32
_EDGES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Stretches of the path to begin with. Decoders normalise what they read, so most happens just off the zero baseline,
at a scale that depends on the model: points on each decade find it, equal points on the whole path miss it."""
_POINTS = 2  # of the quadrature on each stretch
FEWEST_STEPS = _POINTS * (len(_EDGES) - 1)
_LARGE, _MORE = 0.08, 8  # of all change: stretches with more of it are halved before any gradient, at most so many
_CLOSE = 0.02  # of the whole: stretches are halved until they miss no more than this together

Value = Callable[[torch.Tensor], torch.Tensor]
"""Inputs of rows ``[rows, ...]`` to one number a row ``[rows]``."""


@dataclass(frozen=True)
class Patches:
    """Scores (nats) of the cells of one grid, float64 ``[rows, columns]``, and what it covers of the picture:
    ``box`` is (left, top, right, bottom) in fractions of it. Cells that were hidden together share one score evenly.
    """

    box: "Box"
    values: np.ndarray


@dataclass(frozen=True)
class Word:
    """A word of the question and its score in nats."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Attribution(Result):
    """What stands behind ``answer``, in nats: above zero is for it, below zero against it.

    ``answer`` is what was explained; ``cut`` tells that the whole answer is longer. ``value`` is its log-probability,
    ``baseline`` that with zero embeddings (integrated gradients) or all parts hidden (the others). ``rest`` is the
    score of image tokens that see no cell of a grid in ``patches``.

    ``image_share``, 0 to 1: the sum over the picture's parts of |score|, divided by that over all parts (V-SHAP of
    MM-SHAP, arXiv 2212.08158, eq. 3, there for Shapley values); not-a-number where all are 0. ``convergence_delta``:
    sum of the scores minus (``value`` - ``baseline``), as captum gives it; not-a-number for the other methods.
    ``effort``: steps of the integral, or random orders, 1 for ablation. ``size``: the picture's (width, height).
    """

    question: str
    answer: str
    cut: bool
    method: str
    effort: int
    patches: tuple[Patches, ...]
    rest: float
    words: tuple[Word, ...]
    image_share: float
    convergence_delta: float
    value: float
    baseline: float
    size: tuple[int, int] | None

    @property
    def image(self) -> float:
        """The picture's scores added up, nats."""
        return float(sum(p.values.sum() for p in self.patches) + self.rest)

    def table(self) -> Table:
        rows = [["word", None, None, None, w.text, w.score] for w in self.words]
        for grid, found in enumerate(self.patches):
            rows += [["patch", grid, *place, "", score] for place, score in np.ndenumerate(found.values)]
        if self.rest:
            rows.append(["image tokens without a place", None, None, None, "", self.rest])
        return Table(["part", "grid", "row", "column", "text", "score"], rows)


@dataclass(frozen=True)
class Parts:
    """``part`` int64 ``[T]``: which of ``count`` parts each token belongs to, -1 for the template's.

    Parts are the ``words`` in their order, then blocks of the picture, then, where some image tokens see no cell of
    a grid, those together. ``cells`` are the tokens of each grid, int64 ``[rows, columns]``; ``boxes`` what each grid
    covers, (left, top, right, bottom) in fractions of the picture.
    """

    part: np.ndarray
    count: int
    words: tuple[str, ...]
    cells: tuple[np.ndarray, ...]
    boxes: tuple["Box", ...]

    def sums(self, tokens: np.ndarray) -> np.ndarray:
        """Scores of tokens ``[T]`` added up by part, float64 ``[parts]``."""
        some = self.part >= 0
        return np.bincount(self.part[some], weights=tokens[some], minlength=self.count)

    def spread(self, scores: np.ndarray) -> np.ndarray:
        """Scores of parts shared out evenly among their tokens, float64 ``[T]``; 0 for the template's."""
        sizes = np.bincount(self.part[self.part >= 0], minlength=self.count)
        return np.append(scores / sizes, 0.0)[self.part]


def split(encoded: "Encoded", tokenizer, side: int = SIDE) -> Parts:
    """The parts of a prompt; all grids of its picture together have about ``side`` x ``side`` blocks at most."""
    kinds = encoded.segments.numpy()
    part = np.full(len(kinds), -1)
    asked = np.flatnonzero(kinds == Modality.QUESTION)
    words, index = words_of(encoded.inputs["input_ids"][0, asked].tolist(), tokenizer)
    part[asked] = index
    count, grids = len(words), encoded.grids
    cells = tuple(np.array([token for token, _, _ in g.cells()]).reshape(g.rows, g.columns) for g in grids)
    each = max(int(side / sqrt(max(len(cells), 1))), 1)
    for tokens in cells:
        rows, columns = (np.arange(n) * min(n, each) // n for n in tokens.shape)  # runs of nearly equal length
        part[tokens] = count + rows[:, None] * (columns.max() + 1) + columns[None]
        count = int(part.max()) + 1
    part[(kinds == Modality.IMAGE) & (part < 0)] = count
    return Parts(part, int(part.max(initial=-1)) + 1, words, cells, tuple(g.box for g in grids))


def words_of(ids: Sequence[int], tokenizer, most: int = MOST_WORDS) -> tuple[tuple[str, ...], np.ndarray]:
    """Words that tokens spell, and the word of each token, int64 ``[tokens]``.

    A word ends before white space; in scripts that write none, each character begins one. More than ``most`` words
    are joined to runs of equal number.
    """
    spelling = Spelling(tokenizer)
    pieces = [spelling.add(token) for token in ids]
    index, text = [], ""
    for piece in pieces:
        begins = piece.strip() and (
            piece[0].isspace() or text[-1:].isspace() or unicodedata.east_asian_width(piece[0]) in "WF"
        )
        index.append(index[-1] + bool(begins) if index else 0)
        text += piece
    word = np.array(index, dtype=np.int64)
    if len(word) and word[-1] >= most:
        word //= ceil((word[-1] + 1) / most)
    texts = ["".join(p for p, w in zip(pieces, word, strict=True) if w == i) for i in range(word.max(initial=-1) + 1)]
    return tuple(" ".join(t.split()) for t in texts), word


def attribute(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = "base", answer: str = "",
    method: str = METHODS[0], steps: int = STEPS, orders: int = ORDERS, seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Attribution:
    """Which patches of ``picture`` and words of ``question`` stand behind ``answer`` (empty: the model's own).

    At most ``steps`` (12 to 512) of the integral, ``orders`` (1 to 256) of the Shapley values, drawn by ``seed``. The
    first 8 tokens of an answer are explained, no more. ``progress`` is told the share done; what it raises stops the
    work. Raises ``InputError`` for an unknown method, too many steps, an empty question, or where the model answers
    nothing; ``ModelError`` where memory is short; ``CheckpointError`` for an unknown checkpoint.
    """
    began = time.perf_counter()
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}. There are: {', '.join(METHODS)}.")
    for name, number, least, most in (("steps", steps, FEWEST_STEPS, MOST_STEPS), ("orders", orders, 1, MOST_ORDERS)):
        if not isinstance(number, int) or not least <= number <= most:
            raise InputError(f"The number of {name} is {number!r}: it must be a whole number from {least} to {most}.")
    prompt = model.encode(picture, question)
    if answer.strip():
        ids, spelling = model.encoder.continuation(prompt, answer.strip()), Spelling(model.tokenizer)
        said = "".join(map(spelling.add, ids[:MOST_TOKENS])).strip()
    else:
        made = list(model.generate(prompt, checkpoint, MOST_TOKENS + 1))
        ids, said = [s.token_id for s in made], text_of(made[:MOST_TOKENS])
        if not ids:
            raise InputError("The model answers nothing to this question, so there is no answer to explain: give one.")
    ids, cut = ids[:MOST_TOKENS], len(ids) > MOST_TOKENS
    parts = split(prompt, model.tokenizer, _COARSE if method == "shapley" else SIDE)
    forwards = (orders if method == "shapley" else 1) * parts.count + 3
    if method == METHODS[0]:  # the most: each gradient, and what the ends of stretches are worth
        first = _spare(steps)
        forwards = steps + len(_EDGES) + first + max(steps - FEWEST_STEPS - _POINTS * first, 0) // (2 * _POINTS)
    chance = _Chance(model, prompt, ids, checkpoint, parts, progress, forwards)
    delta = float("nan")
    if method == "integrated_gradients":
        own = model.embeddings(prompt, checkpoint)
        base = own * torch.as_tensor(parts.part < 0, device=own.device)[:, None]
        # gradients are taken of the weights that the forward read
        hold = lambda: model.using(checkpoint)  # noqa: E731
        found = None
        try:
            found = integrated_gradients(lambda e: chance.of_embeddings(e, own), own, base, steps, chance.rows, hold)
        except (RuntimeError, MemoryError) as error:
            if not exhausted(error):
                raise
        if found is None:  # out of the handler, whose error holds what was allocated
            raise ModelError(
                f"Out of memory on {model.device} for gradients through {chance.rows} prompts at once. Use ablation, "
                "which needs none, or a smaller picture."
            )
        tokens, delta, effort = found.scores.sum(1), found.delta, found.steps
        value, baseline = found.value, found.baseline
    else:
        ends = chance.of_presence(torch.stack([torch.ones(parts.count), torch.zeros(parts.count)]))
        value, baseline = ends.tolist()
        if method == "ablation":
            found, effort = ablation(chance.of_presence, parts.count, chance.rows), 1
        else:
            found, effort = shapley(chance.of_presence, parts.count, orders, chance.rows, seed), orders
        tokens = parts.spread(found)
    progress(1.0)
    scores, words = parts.sums(tokens), len(parts.words)
    total, seen = np.abs(scores).sum(), np.abs(scores[words:]).sum()
    inside = np.concatenate([c.ravel() for c in parts.cells]) if parts.cells else []
    outside = np.setdiff1d(np.flatnonzero(parts.part >= words), inside)
    by = model.provenance(checkpoint, seed if method == "shapley" else None, time.perf_counter() - began)
    return Attribution(
        provenance=Provenance(**by), question=question, answer=said, cut=cut, method=method, effort=effort,
        patches=tuple(Patches(box, tokens[cells]) for box, cells in zip(parts.boxes, parts.cells, strict=True)),
        rest=float(tokens[outside].sum()),
        words=tuple(Word(text, float(score)) for text, score in zip(parts.words, scores[:words], strict=True)),
        image_share=float(seen / total) if total else float("nan"), convergence_delta=delta, value=value,
        baseline=baseline, size=prompt.size,
    )


class _Chance:
    """Log-probability (nats) of an answer after variants of a prompt, one forward for each of its tokens."""

    def __init__(self, model, prompt, ids, checkpoint, parts: Parts, progress, expected: int):
        self.model, self.ids, self.checkpoint = model, ids, checkpoint
        self.prompts = [prompt.followed(ids[:n]) for n in range(len(ids))]
        self.part = torch.as_tensor(parts.part)
        self.rows = max(min(ROWS, _TOKENS // sum(p.length for p in self.prompts)), 1)
        self._progress, self._expected, self._done = progress, expected, 0

    def of_embeddings(self, embeddings: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """... where the decoder reads ``embeddings`` ``[rows, T, d]`` instead of ``own`` ``[T, d]``."""
        noise = embeddings - own
        return self._of(
            lambda prompt, row: prompt.with_embedding_noise(pad(noise[row], (0, 0, 0, prompt.length - len(own)))),
            len(noise), torch.is_grad_enabled() and noise.requires_grad,
        )

    def of_presence(self, present: torch.Tensor) -> torch.Tensor:
        """... where parts are shown (1) or hidden (0) as ``present`` ``[rows, parts]`` says."""
        always = torch.ones(len(present), 1)
        shown = torch.cat([present.cpu(), always], dim=1)[:, self.part].long()

        def change(prompt, row):
            mask = prompt.inputs["attention_mask"].clone()
            mask[0, : len(self.part)] *= shown[row]
            return replace(prompt, inputs={**prompt.inputs, "attention_mask": mask})

        return self._of(change, len(present), False).cpu()  # where captum keeps what it hides

    def _of(self, change, rows: int, grad: bool) -> torch.Tensor:
        total = 0.0
        for prompt, token in zip(self.prompts, self.ids, strict=True):
            batch = [change(prompt, row) for row in range(rows)]
            logits = self.model.forward(batch, self.checkpoint, grad=grad).logits
            total = total + logits.log_softmax(-1)[:, token]
        self._done += rows
        self._progress(min(self._done / self._expected, 1.0))
        return total


def ablation(value: Value, parts: int, rows: int = ROWS) -> np.ndarray:
    """What ``value`` of ``[rows, parts]`` loses when one part goes from 1 to 0 and the others stay 1, ``[parts]``."""
    from captum.attr import FeatureAblation

    found = FeatureAblation(value).attribute(torch.ones(1, parts), 0.0, perturbations_per_eval=rows)
    return found[0].double().numpy()


def shapley(value: Value, parts: int, orders: int = ORDERS, rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Sampled Shapley values of ``value`` of ``[rows, parts]``: the mean gain when a part goes from 0 to 1 after those
    before it in ``orders`` random orders, ``[parts]``. They add up to value(ones) - value(zeros).
    """
    from captum.attr import ShapleyValueSampling

    rng, method = np.random.default_rng(seed), ShapleyValueSampling(value)
    # captum's own orders come from torch's global generator, which visitors share
    method.permutation_generator = lambda count, times: (rng.permutation(count).tolist() for _ in range(times))
    found = method.attribute(torch.ones(1, parts), 0.0, n_samples=orders, perturbations_per_eval=rows)
    return found[0].double().numpy()


@dataclass(frozen=True)
class Integral:
    """Integrated gradients ``scores``, float64 of the inputs' shape, from ``steps`` gradients; ``value`` and
    ``baseline`` at the two ends of the path. ``delta`` is captum's convergence delta: the sum of the scores minus
    (``value`` - ``baseline``).
    """

    scores: np.ndarray
    value: float
    baseline: float
    steps: int
    delta: float



def integrated_gradients(
    value: Value, inputs: torch.Tensor, baseline: torch.Tensor, steps: int = STEPS, rows: int = ROWS,
    held: Callable[[], AbstractContextManager] = nullcontext,
) -> Integral:
    """Integrated gradients of ``value`` along the straight path from ``baseline`` to ``inputs``.

    Gauss-Legendre quadrature on stretches of the path, which add up. What a stretch should make is known, for it costs
    no gradient: what ``value`` gains on it. Stretches that gain or lose most are halved (in the logarithm) at first;
    then those that miss most, until all together miss 2 % of the whole or ``steps`` gradients (at least 12) are spent.
    At most ``rows`` points are read at once; ``held()`` is entered around each forward with its backward pass.
    """
    from captum.attr import IntegratedGradients  # here, for it brings pyplot along

    method = IntegratedGradients(value)
    gradients = method.gradient_func

    def within(*args, **kwargs):
        with held():
            return gradients(*args, **kwargs)

    method.gradient_func = within

    def on_path(shares: Sequence[float]) -> torch.Tensor:
        weight = torch.tensor(shares, dtype=inputs.dtype, device=inputs.device)
        return torch.lerp(baseline[None], inputs[None], weight.reshape(-1, *[1] * inputs.ndim))

    values: dict[float, float] = {}
    scores: dict[tuple[float, float], np.ndarray] = {}
    missed: dict[tuple[float, float], float] = {}

    def look(shares: Sequence[float]) -> None:
        unknown = [s for s in dict.fromkeys(shares) if s not in values]
        for some in (unknown[i : i + rows] for i in range(0, len(unknown), rows)):
            with torch.no_grad():
                values.update(zip(some, value(on_path(some)).tolist(), strict=True))

    look(_EDGES)
    new, spare = list(pairwise(_EDGES)), _spare(steps)
    while spare > 0:
        gains = {(start, end): abs(values[end] - values[start]) for start, end in new}
        total = sum(gains.values())
        large = sorted((s for s in new if gains[s] > _LARGE * total), key=lambda s: -gains[s])[:spare]
        if not large:
            break
        spare -= len(large)
        new = [s for s in new if s not in large] + _halves(large)
        look([share for stretch in new for share in stretch])
    spent, whole, at_once = 0, abs(values[_EDGES[-1]] - values[_EDGES[0]]), max(rows // _POINTS, 1)
    while new:
        look([share for stretch in new for share in stretch])
        for some in (new[i : i + at_once] for i in range(0, len(new), at_once)):
            starts, ends = (on_path(shares) for shares in zip(*some, strict=True))
            found = method.attribute(ends, starts, n_steps=_POINTS, internal_batch_size=rows)
            scores |= zip(some, found.detach().double().cpu().numpy(), strict=True)
            missed |= {(a, b): float(scores[a, b].sum() - (values[b] - values[a])) for a, b in some}
        spent += _POINTS * len(new)
        room = max(steps - spent, 0) // (2 * _POINTS)
        # those without which the others miss no more than _CLOSE together, worst first
        worst, left = [], sum(map(abs, missed.values()))
        for stretch in sorted(missed, key=lambda s: -abs(missed[s])):
            if left > _CLOSE * whole:
                worst.append(stretch)
                left -= abs(missed[stretch])
        worst = worst[: room - room // 2]  # what is left is for halves that still miss
        for stretch in worst:
            del scores[stretch], missed[stretch]
        new = _halves(worst)
    total, end, start = sum(scores.values()), values[_EDGES[-1]], values[_EDGES[0]]
    return Integral(total, end, start, spent, float(total.sum() - (end - start)))


def _spare(steps: int) -> int:
    """How many stretches may be halved before any gradient."""
    return min(_MORE, max(steps - FEWEST_STEPS, 0) // _POINTS)


def _halves(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each cut in two in the logarithm; the first, which begins at 0, at a tenth."""
    cut = [(start, (start * end) ** 0.5 if start else end / 10, end) for start, end in stretches]
    return [half for start, middle, end in cut for half in ((start, middle), (middle, end))]
