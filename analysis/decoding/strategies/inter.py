"""INTER: what picture and question say together and neither says alone, added where it varies enough.

A game with two players, picture and question. Its value for a token is the token's logit with the players that take
part; a player that stays away is a picture of random pixels, or an empty question. What the coalition of both adds to
what each adds alone is the Harsanyi dividend of the two, here called interaction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from analysis.decoding.strategies.stepwise import Draw, choice, cut, number, whole
from models.encoding import Encoded
from models.errors import InputError
from models.generation import Choice

ALONE = "There is no picture, so picture and question cannot interact: this is the answer to the question alone."


def random_picture(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture (RGB) of ``size`` (width, height) whose pixels are uniformly random."""
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def four_contexts(encoded: Encoded, seed: int) -> tuple[Encoded, Encoded, Encoded, Encoded]:
    """A prompt in four contexts, in the order of all arrays here: nothing masked, the picture, the question, both; all
    of one length, every token at its place.

    The masked picture is random pixels drawn by ``seed``; of a masked question all tokens are hidden, as if it were
    empty. Raises ``InputError`` where the prompt has no picture.
    """
    if encoded.size is None:
        raise InputError(ALONE)
    random = encoded.with_image(random_picture(encoded.size, seed))
    return encoded, random, encoded.without_text(), random.without_text()


def dividends(logits: torch.Tensor) -> torch.Tensor:
    """Harsanyi dividends ``[4, V]`` of logits ``[4, V]`` in the four contexts: of both together, of the question, of
    the picture, of nobody. They sum to the logits of the whole prompt, and the first is the interaction."""
    both, question, picture, neither = logits
    return torch.stack([both - question - picture + neither, question - neither, picture - neither, neither])


@dataclass(frozen=True)
class Modified:
    """INTER's step on logits of four contexts: ``interaction`` ``[V]`` and its ``variance`` over the vocabulary;
    ``fired``: whether that reaches the threshold; ``scores`` ``[V]`` to choose from, where removed tokens are -inf;
    and ``if_fired`` ``[V]``, the scores that a threshold of 0 would give."""

    interaction: torch.Tensor
    variance: float
    fired: bool
    scores: torch.Tensor
    if_fired: torch.Tensor


def modified(logits: torch.Tensor, threshold: float = 1.0, beta: float = 0.1) -> Modified:
    """INTER's rule on logits ``[4, V]`` in the four contexts (arXiv 2507.05056).

    I = z(both) - z(question) - z(picture) + z(neither). Where its variance over the vocabulary (population variance)
    is below ``threshold``, I is set to 0. The scores are z(both) + I; tokens with z(both) below its maximum + log
    ``beta`` are removed.
    """
    own, found = logits[0], dividends(logits)[0]
    variance = float(found.var(correction=0))
    plain, moved = (cut(s, own, beta) for s in (own, own + found))
    fired = variance >= threshold
    return Modified(found, variance, fired, moved if fired else plain, moved)


@dataclass
class Inter:
    """Interaction-guided decoding (arXiv 2507.05056), ``modified`` at each step.

    ``threshold`` is the paper's k (logits squared, 0 or more; infinity never fires), ``beta`` the plausibility (above
    0, at most 1), ``image_seed`` draws the random picture. ``temperature`` 0 takes the best token; above, one is drawn
    as in ``Nucleus``. Without a picture it answers as if nothing interacted, and says so in ``note``.

    Details: ``interaction_variance`` (not-a-number without a picture), ``fired``; ``greedy_id``; ``modified_id``: the
    token that a step which fires takes at temperature 0. Raises ``InputError``.
    """

    threshold: float = 1.0
    beta: float = 0.1
    image_seed: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        number("The threshold k", self.threshold, 0, math.inf)
        number("Beta", self.beta, 0, 1, above=True)
        number("The temperature", self.temperature, 0)
        number("Top-p", self.top_p, 0, 1)
        self.image_seed = whole("The seed of the random picture", self.image_seed, 0)
        self.seed = whole("The seed", self.seed, 0)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._draw = Draw(self.temperature, self.top_p, self.seed)
        return four_contexts(encoded, self.image_seed) if encoded.size else (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        own = logits[0]
        if len(logits) == 1:
            token = self._draw(cut(own, own, self.beta))
            return choice(token, own, note=ALONE, interaction_variance=float("nan"), fired=False)
        found = modified(logits, self.threshold, self.beta)
        told = {"interaction_variance": found.variance, "fired": found.fired}
        return choice(self._draw(found.scores), own, **told, modified_id=int(found.if_fired.argmax()))

    def scores(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        return modified(logits, self.threshold, self.beta).scores if len(logits) > 1 else logits[0]
