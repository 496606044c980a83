"""Searches, which keep several answers open and take the best as a whole: beam search, and OPERA on top of it."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from analysis.decoding.strategies.stepwise import choice, number, whole
from models.encoding import Encoded
from models.generation import Choice
from models.search import Move, Return
from models.segments import Modality

_MOST = 16  # beams
_EARLY = 10  # tokens that are judged by their attention to the picture; no return to a place before
_UNIT = 1e-7  # of a penalty: a column counts once its product is of the order of 10 million
_WORST = 1e4  # a penalty that no logit outweighs


@dataclass
class Beams:
    """Open and finished answers of a beam search, as transformers' keeps them (``early_stopping=False``).

    ``open`` answers have one length; ``scores`` ``[open]`` are their log-probabilities (nats). A ``finished`` answer's
    score is its log-probability over its length to the power of ``penalty``; the best ``width`` stay, best first.
    """

    width: int
    penalty: float
    limit: int
    ends: frozenset[int]
    open: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    scores: torch.Tensor = field(default_factory=lambda: torch.zeros(1))
    finished: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)

    def copy(self) -> "Beams":
        return Beams(self.width, self.penalty, self.limit, self.ends, list(self.open), self.scores, list(self.finished))

    def extend(self, logprobs: torch.Tensor) -> tuple[list[int], list[int]] | None:
        """Append a token to each open answer: which answers go on, and with which tokens; None when it is over.

        ``logprobs`` ``[open, V]`` of the next token; -inf for one that is not to be taken.
        """
        totals = (logprobs + self.scores.to(logprobs)[:, None]).flatten()
        kept = max(2, 1 + len(self.ends)) * self.width  # so that enough go on if the best all end
        best, places = totals.topk(min(kept, len(totals)))
        size, length = logprobs.shape[1], len(self.open[0]) + 1
        norm = length**self.penalty
        parents, tokens = (places // size).tolist(), (places % size).tolist()
        going = []
        for rank, (parent, token) in enumerate(zip(parents, tokens, strict=True)):
            if not best[rank].isfinite():
                break
            if length < self.limit and token not in self.ends:
                going.append(rank)
            elif rank < self.width:
                self.finished.append((float(best[rank] / norm), (*self.open[parent], token)))
        self.finished = sorted(self.finished, key=lambda found: -found[0])[: self.width]
        going = going[: self.width]
        if not going or (len(self.finished) == self.width and float(best[going[0]] / norm) <= self.finished[-1][0]):
            return None  # those that go on cannot become better than all that are finished
        parents, tokens = [parents[i] for i in going], [tokens[i] for i in going]
        self.open = [(*self.open[p], t) for p, t in zip(parents, tokens, strict=True)]
        self.scores = best[going]
        return parents, tokens

    @property
    def best(self) -> tuple[float, tuple[int, ...]]:
        """Score and tokens of the best finished answer, without the token that ended it."""
        score, tokens = self.finished[0]
        return score, tokens[:-1] if tokens[-1] in self.ends else tokens


@dataclass
class Beam:
    """Beam search, token for token that of transformers (``num_beams``, ``length_penalty``, no sampling).

    ``num_beams`` answers (1 to 16) are open at once. An answer's log-probability is divided by its length to the power
    of ``length_penalty``: above 0 favours long answers, below 0 short ones. All steps come at the end. Details:
    ``score`` of the whole answer (nats), ``greedy_id``. Raises ``InputError``.
    """

    num_beams: int = 5
    length_penalty: float = 1.0
    attends = False

    def __post_init__(self):
        self.num_beams = whole("The number of beams", self.num_beams, 1, _MOST)
        number("The length penalty", self.length_penalty, -10, 10)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        return (encoded,)

    def begin(self, limit: int, ends: frozenset[int]) -> None:
        self._beams = Beams(self.num_beams, self.length_penalty, limit, ends)

    def advance(self, logits: torch.Tensor, attention: torch.Tensor | None) -> Move | None:
        found = self._beams.extend(logits.log_softmax(-1))
        return None if found is None else Move(*found)

    def answer(self) -> Sequence[int]:
        return self._beams.best[1]

    def told(self, logits: torch.Tensor) -> Sequence[Choice]:
        score, tokens = self._beams.best
        return [choice(t, own, score=score) for t, own in zip(tokens, logits, strict=True)]


@dataclass(frozen=True)
class _Trace:
    """What is known of one answer: the log of each token's column product ``[tokens]`` (float64), where the largest
    stood at each step, and each token's penalty."""

    columns: torch.Tensor
    places: tuple[int, ...] = ()
    penalties: tuple[float, ...] = ()


@dataclass
class Opera:
    """OPERA (Huang et al. 2024, arXiv 2311.17911): over-trust penalty and retrospection on a beam search.

    Each open answer proposes its ``candidates`` likeliest tokens, and all are read. w_ij is the attention of answer
    token i to answer token j in the last layer, the largest over the heads, divided by its row's sum. The penalty of a
    proposal is the largest column product max_j prod_(i >= j) ``scale`` w_ij, times 1e-7 (eq. 3 and 4); in the first 10
    tokens, as in the authors' code, minus the attention to the picture. A proposal's logit is lowered by ``weight``
    times its penalty (eq. 5), over the whole vocabulary's softmax: weight 0 is beam search as long as there are more
    candidates than beams.

    Where all open answers have had their largest product at the same token s more than ``threshold`` times, the search
    returns to s and takes other tokens after it; at most ``candidates`` times at one place (eq. 6).

    Details: ``score`` of the whole answer (nats), ``penalty`` of the token, ``returns`` of the whole answer,
    ``greedy_id``. All steps come at the end. Raises ``InputError``.
    """

    num_beams: int = 5
    candidates: int = 5
    scale: float = 50.0
    threshold: int = 15
    weight: float = 1.0
    length_penalty: float = 1.0
    attends = True

    def __post_init__(self):
        self.num_beams = whole("The number of beams", self.num_beams, 1, _MOST)
        self.candidates = whole("The number of candidates", self.candidates, 2, _MOST)
        self.threshold = whole("The threshold of returns", self.threshold, 1)
        number("The scale factor", self.scale, 0, above=True)
        number("The penalty weight", self.weight, 0)
        number("The length penalty", self.length_penalty, -10, 10)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._length = encoded.length
        self._picture = encoded.segments == Modality.IMAGE
        return (encoded,)

    def begin(self, limit: int, ends: frozenset[int]) -> None:
        self._beams = Beams(self.num_beams, self.length_penalty, limit, ends)
        self._traces = [_Trace(torch.zeros(0, dtype=torch.float64))]
        self._found: dict[tuple[int, ...], _Trace] = {}  # of finished answers
        self._history: dict[int, tuple[Beams, list[_Trace]]] = {}  # by length of the open answers
        self._banned: dict[tuple[int, ...], set[int]] = defaultdict(set)  # tokens that were tried after an answer
        self._returns = Counter()
        self._own: torch.Tensor | None = None  # logits of the open answers while their proposals are read

    def advance(self, logits: torch.Tensor, attention: torch.Tensor) -> Move | Return | None:
        if self._own is None:
            return self._propose(list(range(len(logits))), logits)
        traces = self._judged(attention)
        # the token that all open answers lean on for too long and that can be returned to, as its place
        leaning = (Counter(t.places[-1] for t in row).most_common(1)[0][0] for row in traces)
        place = Counter(leaning).most_common(1)[0][0]
        long = all(trace.places.count(place) >= self.threshold for trace in self._traces)  # and once more by now
        if place < _EARLY or not long:
            return self._extend(logits, traces)
        # where all was tried after a token, the token itself is changed
        place = next((p for p in (place, place - 1) if self._returns[p] < self.candidates), None)
        if place is None:
            return self._extend(logits, traces)
        self._returns[place] += 1
        for answer in self._beams.open:
            self._banned[answer[: place + 1]].add(answer[place + 1])
        beams, self._traces = self._history[place + 1]
        self._beams, self._own = beams.copy(), None
        return Return(self._beams.open)

    def _propose(self, rows: list[int], own: torch.Tensor) -> Move:
        """Continue each open answer, ``rows`` of the batch, with its likeliest tokens."""
        self._history[len(self._beams.open[0])] = self._beams.copy(), self._traces
        own = own.clone()
        for answer, logits in zip(self._beams.open, own, strict=True):
            logits[list(self._banned[answer])] = -torch.inf
        self._own, self._tokens = own, own.topk(min(self.candidates, own.shape[1])).indices
        count = self._tokens.shape[1]
        return Move([row for row in rows for _ in range(count)], self._tokens.flatten().tolist())

    def _judged(self, attention: torch.Tensor) -> list[list[_Trace]]:
        """The traces of all proposals, ``[open][candidates]``."""
        rows = attention.amax(1).double().cpu()
        rows = rows / rows.sum(-1, keepdim=True)
        picture = rows[:, : self._length][:, self._picture].sum(-1).tolist()
        products = (self.scale * rows[:, self._length :]).log()
        count, found = self._tokens.shape[1], []
        for i, trace in enumerate(self._traces):
            found.append([])
            for row in range(i * count, (i + 1) * count):
                columns = torch.cat([trace.columns, torch.zeros(1)]) + products[row]
                top, place = columns.max(0)
                penalty = min(math.exp(min(float(top), 100.0)) * _UNIT, _WORST)
                penalty = -picture[row] if len(columns) <= _EARLY else penalty
                found[-1].append(_Trace(columns, (*trace.places, int(place)), (*trace.penalties, penalty)))
        return found

    def _extend(self, logits: torch.Tensor, traces: list[list[_Trace]]) -> Move | None:
        penalties = torch.tensor([[t.penalties[-1] for t in row] for row in traces], dtype=torch.float64)
        penalised = self._own.scatter_add(1, self._tokens, -self.weight * penalties.to(self._own))
        logprobs = penalised.log_softmax(-1)
        proposed = torch.full_like(logprobs, -torch.inf).scatter(1, self._tokens, logprobs.gather(1, self._tokens))
        before, tokens = list(self._beams.open), self._tokens.tolist()
        moved = self._beams.extend(proposed)
        for i, answer in enumerate(before):
            self._found |= {(*answer, token): traces[i][c] for c, token in enumerate(tokens[i])}
        if moved is None:
            return None
        chosen = [(parent, tokens[parent].index(token)) for parent, token in zip(*moved, strict=True)]
        self._traces = [traces[parent][c] for parent, c in chosen]
        rows = [parent * len(tokens[0]) + c for parent, c in chosen]
        return self._propose(rows, logits[rows])

    def answer(self) -> Sequence[int]:
        return self._beams.best[1]

    def told(self, logits: torch.Tensor) -> Sequence[Choice]:
        score, tokens = self._beams.best
        penalties = self._found[tokens].penalties if tokens else ()
        numbers = {"score": score, "returns": self._returns.total()}
        return [
            choice(token, own, penalty=penalty, **numbers)
            for token, own, penalty in zip(tokens, logits, penalties, strict=True)
        ]
