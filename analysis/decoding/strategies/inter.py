"""INTER: what picture and question say together and neither says alone, added where it varies enough.

A game with two players, picture and question. Its value for a token is the token's logit with the players that take
part; a player that stays away is a picture of random pixels, or an empty question. What the coalition of both adds to
what each adds alone is the Harsanyi dividend of the two, here called interaction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.contrast import plausible
from analysis.decoding.strategies.nucleus import Draw
from analysis.decoding.strategies.telling import Teller
from models.checkpoints import BASE
from models.encoding import Encoded
from models.errors import InputError
from models.generation import Choice

if TYPE_CHECKING:
    from models.mllm import MLLM

CONTEXTS = ("picture and question", "question alone", "picture alone", "neither")
"""The four contexts in the order of all arrays here: nothing masked, picture masked, question masked, both masked."""

ALONE = "There is no picture, so picture and question cannot interact: this is the answer to the question alone."


def random_picture(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture (RGB) of ``size`` (width, height) whose pixels are uniformly random."""
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def four_contexts(encoded: Encoded, seed: int) -> tuple[Encoded, Encoded, Encoded, Encoded]:
    """A prompt in the four ``CONTEXTS``, all of one length, every token at its place.

    The masked picture is random pixels drawn by ``seed``; of a masked question all tokens are hidden, as if it were
    empty. Raises ``InputError`` where the prompt has no picture.
    """
    if encoded.size is None:
        raise InputError(ALONE)
    random = encoded.with_image(random_picture(encoded.size, seed))
    return encoded, random, encoded.without_text(), random.without_text()


def interaction(
    model: "MLLM", encoded: Encoded, prefix: Sequence[int] = (), checkpoint: str = BASE, seed: int = 0
) -> torch.Tensor:
    """Logits ``[4, V]`` of the token after the prompt and the answer's first tokens ``prefix``, in ``CONTEXTS``.

    One forward. ``dividends`` makes interactions of them. Raises ``InputError`` where the prompt has no picture.
    """
    return model.forward([c.followed(prefix) for c in four_contexts(encoded, seed)], checkpoint).logits


def dividends(logits: torch.Tensor) -> torch.Tensor:
    """Harsanyi dividends ``[4, V]`` of logits ``[4, V]`` in ``CONTEXTS``: of both together, of the question, of the
    picture, of nobody. They sum to the logits of the whole prompt, and the first is the interaction."""
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
    """INTER's rule on logits ``[4, V]`` in ``CONTEXTS`` (arXiv 2507.05056).

    I = z(both) - z(question) - z(picture) + z(neither). Where its variance over the vocabulary (population variance)
    is below ``threshold``, I is set to 0. The scores are z(both) + I; tokens with z(both) below its maximum + log
    ``beta`` are removed.
    """
    own, found = logits[0], dividends(logits)[0]
    variance = float(found.var(correction=0))
    keep = plausible(own, beta)
    plain, moved = (s.masked_fill(~keep, -torch.inf) for s in (own, own + found))
    fired = variance >= threshold
    return Modified(found, variance, fired, moved if fired else plain, moved)


@dataclass
class Inter:
    """Interaction-guided decoding (arXiv 2507.05056), ``modified`` at each step.

    ``threshold`` is the paper's k (logits squared, 0 or more; infinity never fires), ``beta`` the plausibility (above
    0, at most 1), ``image_seed`` draws the random picture. ``temperature`` 0 takes the best token; above, one is drawn
    as in ``Nucleus``. Without a picture it answers as if nothing interacted, and says so in ``note``.

    Details: ``interaction_variance`` (not-a-number without a picture), ``fired``; ``greedy``, ``greedy_id``;
    ``modified``, ``modified_id``: the token that a step which fires takes at temperature 0; ``contexts``: for each of
    ``CONTEXTS`` its likeliest tokens as ``Teller.top`` gives them; ``interaction``: for all these tokens ``token``,
    ``id`` and ``interaction`` (logits, before the threshold), the largest first. Raises ``InputError``.
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
        self.note = "" if encoded.size else ALONE
        self._teller = Teller(encoded, self.note)
        return four_contexts(encoded, self.image_seed) if encoded.size else (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        own = logits[0]
        if len(logits) == 1:
            token = self._draw(own.masked_fill(~plausible(own, self.beta), -torch.inf))
            return self._teller.choice(token, own, interaction_variance=float("nan"), fired=False)
        found = modified(logits, self.threshold, self.beta)
        contexts = {name: self._teller.top(row) for name, row in zip(CONTEXTS, logits, strict=True)}
        instead = int(found.if_fired.argmax())
        token = self._draw(found.scores)
        return self._teller.choice(
            token,
            own,
            interaction_variance=found.variance,
            fired=found.fired,
            modified=self._teller.texts([instead])[0],
            modified_id=instead,
            contexts=contexts,
            interaction=self._interactions(found.interaction, contexts),
        )

    def _interactions(self, found: torch.Tensor, contexts: dict[str, list[dict]]) -> list[dict]:
        texts = {row["id"]: row["token"] for rows in contexts.values() for row in rows}
        values = found[list(texts)].tolist()
        rows = [{"token": t, "id": i, "interaction": v} for (i, t), v in zip(texts.items(), values, strict=True)]
        return sorted(rows, key=lambda row: -row["interaction"])
