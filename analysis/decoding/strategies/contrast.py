"""Decoding by contrast: what the whole prompt says against what a prompt that sees less says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.telling import Teller
from models.encoding import Encoded
from models.generation import Choice
from models.pictures import of_prompt

_STEPS = 1000  # of the diffusion

ALONE = "There is no picture to contrast with: this is the answer to the question alone."


def plausible(logits: torch.Tensor, beta: float) -> torch.Tensor:
    """Which tokens stay, ``[V]``: those with a logit of at least the largest + log ``beta`` (Li et al. 2023, eq. 2)."""
    return logits >= logits.max() + np.log(beta)


class Contrast:
    """Two contexts: the prompt and one that sees less. Says so in ``note`` where there is no picture to take away,
    and is then greedy. Details: ``greedy``, ``greedy_id``."""

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self.note = "" if encoded.size else ALONE
        self._teller = Teller(encoded, self.note)
        return (encoded, self.less(encoded)) if encoded.size else (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        scores = logits[0] if len(logits) == 1 else self.scores(*logits, step)
        return self._teller.choice(int(scores.argmax()), logits[0])

    def less(self, encoded: Encoded) -> Encoded:
        """The context to contrast with."""
        raise NotImplementedError

    def scores(self, own: torch.Tensor, less: torch.Tensor, step: int) -> torch.Tensor:
        """Scores ``[V]`` of the token at ``step`` (from 0) from the logits of both contexts; the best is taken."""
        raise NotImplementedError


@dataclass
class VisualContrast(Contrast):
    """VCD, visual contrastive decoding (Leng et al. 2024, arXiv 2311.16922, eq. 3 and 6): (1 + a) z - a z(noised).

    The noised picture is step ``noise_steps`` of 1000 of a diffusion of the processor's normalised pixels, with
    betas on a sigmoid from 1e-5 to 0.005, as in the authors' code; noise drawn by ``seed``. ``alpha`` is a (0 or
    more), ``beta`` the plausibility (above 0, at most 1). Raises ``InputError``.
    """

    alpha: float = 1.0
    beta: float = 0.1
    noise_steps: int = 500
    seed: int = 0

    def __post_init__(self):
        number("Alpha", self.alpha, 0)
        number("Beta", self.beta, 0, 1, above=True)
        self.noise_steps = whole("The number of noise steps", self.noise_steps, 0, _STEPS - 1)
        self.seed = whole("The seed", self.seed, 0)

    def less(self, encoded: Encoded) -> Encoded:
        kept = torch.cumprod(1 - (torch.linspace(-6, 6, _STEPS).sigmoid() * (0.5e-2 - 1e-5) + 1e-5), 0)
        kept, generator = kept[self.noise_steps], torch.Generator().manual_seed(self.seed)
        noised = {
            key: kept.sqrt() * value + (1 - kept).sqrt() * torch.randn(value.shape, generator=generator)
            for key, value in of_prompt(encoded).items()
            if value.is_floating_point()
        }
        return replace(encoded, inputs={**encoded.inputs, **noised})

    def scores(self, own, less, step):
        scores = (1 + self.alpha) * own - self.alpha * less
        return scores.masked_fill(~plausible(own, self.beta), -torch.inf)


@dataclass
class MutualInformation(Contrast):
    """M3ID (Favero et al. 2024, arXiv 2403.14003): z + (1 - l) / l (z - z(no picture)), l = exp(-``decay`` t).

    t counts the tokens written before: the longer the answer, the more the picture is held against forgetting it.
    ``decay`` 0 keeps l at 1, which is greedy. It acts at every step; the paper's Algorithm 1 leaves steps alone where
    the model is sure, which is not built. Raises ``InputError``.
    """

    decay: float = 0.02

    def __post_init__(self):
        number("The decay", self.decay, 0)

    def less(self, encoded: Encoded) -> Encoded:
        return encoded.without_image()

    def scores(self, own, less, step):
        return own + np.expm1(self.decay * step) * (own - less)  # (1 - l) / l


@dataclass
class Guidance(Contrast):
    """Classifier-free guidance (Sanchez et al. 2023, arXiv 2306.17806) by the picture: z0 + s (z - z0).

    z0 are the logits without the picture; ``scale`` is s (0 or more): 1 is greedy, 0 answers without the picture.
    Raises ``InputError``.
    """

    scale: float = 1.5

    def __post_init__(self):
        number("The guidance scale", self.scale, 0)

    def less(self, encoded: Encoded) -> Encoded:
        return encoded.without_image()

    def scores(self, own, less, step):
        return less + self.scale * (own - less)
