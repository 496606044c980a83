"""OPERA: beam search against answers that lean on a word of their own instead of on the picture."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from analysis.decoding.strategies.beam import MOST, Beams
from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.telling import Teller
from models.encoding import Encoded
from models.generation import Choice
from models.search import Move, Return
from models.segments import Modality

_EARLY = 10  # tokens that are judged by their attention to the picture; no return to a place before
_UNIT = 1e-7  # of a penalty: a column counts once its product is of the order of 10 million
_MOST = 1e4  # a penalty that no logit outweighs


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
    ``greedy``, ``greedy_id``. All steps come at the end. Raises ``InputError``.
    """

    num_beams: int = 5
    candidates: int = 5
    scale: float = 50.0
    threshold: int = 15
    weight: float = 1.0
    length_penalty: float = 1.0
    attends = True

    def __post_init__(self):
        self.num_beams = whole("The number of beams", self.num_beams, 1, MOST)
        self.candidates = whole("The number of candidates", self.candidates, 2, MOST)
        self.threshold = whole("The threshold of returns", self.threshold, 1)
        number("The scale factor", self.scale, 0, above=True)
        number("The penalty weight", self.weight, 0)
        number("The length penalty", self.length_penalty, -10, 10)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._teller, self._length = Teller(encoded), encoded.length
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
        place = self._leans_on([[t.places[-1] for t in row] for row in traces])
        if place is not None:
            return self._return(place)
        return self._extend(logits, traces)

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
                penalty = min(math.exp(min(float(top), 100.0)) * _UNIT, _MOST)
                penalty = -picture[row] if len(columns) <= _EARLY else penalty
                found[-1].append(_Trace(columns, (*trace.places, int(place)), (*trace.penalties, penalty)))
        return found

    def _leans_on(self, places: list[list[int]]) -> int | None:
        """The token that all open answers lean on for too long and that can be returned to, as its place."""
        place = Counter(Counter(row).most_common(1)[0][0] for row in places).most_common(1)[0][0]
        long = all(trace.places.count(place) >= self.threshold for trace in self._traces)  # and once more by now
        if place < _EARLY or not long:
            return None
        # where all was tried after a token, the token itself is changed
        return next((p for p in (place, place - 1) if self._returns[p] < self.candidates), None)

    def _return(self, place: int) -> Return:
        self._returns[place] += 1
        for answer in self._beams.open:
            self._banned[answer[: place + 1]].add(answer[place + 1])
        beams, self._traces = self._history[place + 1]
        self._beams, self._own = beams.copy(), None
        return Return(self._beams.open)

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
            self._teller.choice(token, own, penalty=penalty, **numbers)
            for token, own, penalty in zip(tokens, logits, penalties, strict=True)
        ]
