"""Sampling from the likeliest tokens, and the choice of a token from scores that other strategies make with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.telling import Teller
from models.encoding import Encoded
from models.generation import Choice


class Draw:
    """Takes tokens from scores ``[V]``: the best where ``temperature`` is 0, else drawn from the nucleus by ``seed``.

    Drawn on the CPU, so that every device draws the same.
    """

    def __init__(self, temperature: float, top_p: float, seed: int):
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 and top_p > 0 else None
        self._warpers = [TemperatureLogitsWarper(float(temperature))] if temperature not in (0, 1) else []
        self._warpers += [TopPLogitsWarper(float(top_p))] if top_p < 1 else []

    def __call__(self, scores: torch.Tensor) -> int:
        if self._generator is None:
            return int(scores.argmax())
        scores = scores.cpu()[None]
        for warper in self._warpers:
            scores = warper(None, scores)
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self._generator))


@dataclass
class Nucleus:
    """Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751).

    The logits are divided by ``temperature`` (above 0); a token is drawn from the smallest set of likeliest tokens
    whose probabilities sum to ``top_p`` [0 to 1] or more: 0 leaves the likeliest token alone, which is greedy.
    The same ``seed`` draws the same answer. Details: ``greedy``, ``greedy_id``. Raises ``InputError``.
    """

    temperature: float = 1.0
    top_p: float = 0.9
    seed: int = 0

    def __post_init__(self):
        number("The temperature", self.temperature, 0, above=True)
        number("Top-p", self.top_p, 0, 1)
        self.seed = whole("The seed", self.seed, 0)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._draw = Draw(self.temperature, self.top_p, self.seed)
        self._teller = Teller(encoded)
        return (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        return self._teller.choice(self._draw(logits[0]), logits[0])
