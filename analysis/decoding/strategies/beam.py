"""Beam search: several answers stay open, the likeliest as a whole is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.telling import Teller
from models.encoding import Encoded
from models.generation import Choice
from models.search import Move

MOST = 16  # beams


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
        if not going or self._cannot_improve(float(best[going[0]] / norm)):
            return None
        parents, tokens = [parents[i] for i in going], [tokens[i] for i in going]
        self.open = [(*self.open[p], t) for p, t in zip(parents, tokens, strict=True)]
        self.scores = best[going]
        return parents, tokens

    def _cannot_improve(self, hope: float) -> bool:
        return len(self.finished) == self.width and hope <= self.finished[-1][0]

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
    ``score`` of the whole answer (nats), ``greedy``, ``greedy_id``. Raises ``InputError``.
    """

    num_beams: int = 5
    length_penalty: float = 1.0
    attends = False

    def __post_init__(self):
        self.num_beams = whole("The number of beams", self.num_beams, 1, MOST)
        number("The length penalty", self.length_penalty, -10, 10)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._teller = Teller(encoded)
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
        return [self._teller.choice(t, own, score=score) for t, own in zip(tokens, logits, strict=True)]
