"""How far one word is ahead of another as the first of an answer, by the scores of a decoding strategy."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from models.generation import Choice, Strategy

if TYPE_CHECKING:
    from models.encoding import Encoded


def leading(tokenizer, word: str) -> set[int]:
    """The tokens that ``word`` begins with at the start of an answer: in small, title and capital letters, with and
    without a space before it."""
    spelt = [f"{space}{cased}" for cased in (word, word.capitalize(), word.upper()) for space in ("", " ")]
    return {tokenizer.encode(text, add_special_tokens=False)[0] for text in spelt}


class Margin:
    """A ``strategy`` of which the first step alone is read. Details, nats, to four digits: ``margin``, log p(word) -
    log p(other) by its ``scores``; ``blind``, the same by the logits of its second context, the prompt as a contrast
    takes the picture away (not-a-number where it has none).

    p(word) is the mass of all tokens that begin ``word`` and not ``other``, and the reverse. Where a plausibility cut
    removes all tokens of one of them, the rule leaves the choice to the model, and ``margin`` is the model's own.
    """

    def __init__(self, strategy: Strategy, tokenizer, word: str = "yes", other: str = "no"):
        self.strategy = strategy
        one, two = leading(tokenizer, word), leading(tokenizer, other)
        self.sides = sorted(one - two), sorted(two - one)

    def contexts(self, encoded: "Encoded") -> "Sequence[Encoded]":
        found = self.strategy.contexts(encoded)
        self.layers = getattr(self.strategy, "layers", ())
        return found

    def choose(self, logits: torch.Tensor, step: int, *early: Mapping[int, torch.Tensor]) -> Choice:
        """Takes a token of ``word``, whatever is likeliest: an answer that ended at once would have no step to read."""
        margin = self._margin(self.strategy.scores(logits, step, *early))
        told = {"margin": margin if math.isfinite(margin) else self._margin(logits[0])}
        return Choice(self.sides[0][0], {**told, "blind": self._margin(logits[1]) if len(logits) > 1 else math.nan})

    def _margin(self, scores: torch.Tensor) -> float:
        one, two = (float(scores[side].logsumexp(0)) for side in self.sides)
        return round(one - two, 4)
