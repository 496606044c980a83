"""Projected gradient descent in the space of embeddings: the smallest noise on one modality that hurts most.

Madry et al. 2018 (arXiv 1706.06083), as arXiv 2505.19616 uses it against the irrelevant modality:
delta <- Proj_{|delta| <= epsilon}(delta + step * sign(grad loss)), from delta = 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from models.checkpoints import BASE
from models.devices import exhausted
from models.errors import InputError, ModelError
from models.segments import Modality, common_prefix

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

MOST_STEPS = 100


@dataclass(frozen=True)
class Attack:
    """How strong an attack is: ``steps`` of ``step_size`` within a ball of ``epsilon``.

    Both sizes are in units of the attacked embeddings' root mean square, so that they mean the same in every
    model. Raises ``InputError`` for numbers that are none of these.
    """

    epsilon: float = 0.1
    steps: int = 8
    step_size: float = 0.03

    def __post_init__(self):
        numbers = (self.epsilon, self.step_size)
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in numbers):
            raise InputError(f"Epsilon and step size must be numbers, not {self.epsilon!r} and {self.step_size!r}.")
        if self.epsilon < 0 or self.step_size <= 0:
            raise InputError(
                f"Epsilon is {self.epsilon:g} and the step size {self.step_size:g}: epsilon cannot be negative, and a "
                "step must be larger than 0."
            )
        if isinstance(self.steps, bool) or self.steps != int(self.steps) or not 1 <= self.steps <= MOST_STEPS:
            raise InputError(f"An attack takes 1 to {MOST_STEPS} whole steps, not {self.steps!r}.")
        object.__setattr__(self, "steps", int(self.steps))


@dataclass(frozen=True)
class Attacked:
    """``encoded`` with the strongest noise met, ``delta`` ``[T, d]``, no number of it beyond ``radius``.

    ``loss`` ``[steps + 1]``, nats: before the first step and after each.
    """

    encoded: "Encoded"
    delta: torch.Tensor
    radius: float
    loss: np.ndarray


def attack(
    model: "MLLM", encoded: "Encoded", modality: Modality, options: Sequence[str], target: int, checkpoint: str = BASE,
    settings: Attack | None = None, told: Callable[[float], None] = lambda share: None,
) -> Attacked:
    """Noise on the tokens of one modality that makes the option ``target`` as unlikely as possible.

    The loss is the option's negative log-probability up to the first token that tells it from all others
    (mostly its first). Of all noises on the way the one of highest loss is kept, so it is never below the start;
    ``epsilon = 0`` gives back ``encoded`` itself. ``told`` the share done before each step; what it raises stops the
    attack. Raises ``InputError`` where the prompt has no such tokens,
    ``ModelError`` where memory is short or the model hands over no embeddings.
    """
    settings = settings or Attack()
    where = (encoded.segments == modality)[:, None]
    if not bool(where.any()):
        raise InputError(f"This prompt has no {modality.name.lower()} tokens to attack.")
    tails = [list(model.encoder.continuation(encoded, option)) for option in options]
    shared = max((common_prefix(tails[target], tail) for i, tail in enumerate(tails) if i != target), default=0)
    tokens = tails[target][: shared + 1]
    clean = model.embeddings(encoded, checkpoint).cpu()
    scale = float(clean[where[:, 0]].square().mean().sqrt())
    radius, step = settings.epsilon * scale, settings.step_size * scale
    delta = torch.zeros_like(clean)
    strongest, losses = delta, []
    steps = settings.steps if radius else 0
    for number in range(steps + 1):
        told(number / (steps + 1))
        delta.requires_grad_(True)
        gradient, full = None, False
        with model.using(checkpoint):  # the gradient needs the weights that the loss was computed with
            loss = delta.new_zeros(())
            for i, token in enumerate(tokens):
                prompt = encoded.followed(tokens[:i]).with_embedding_noise(pad(delta, (0, 0, 0, i)))
                logits = model.forward([prompt], checkpoint, grad=True).logits[0]
                loss = loss + (logits.logsumexp(-1) - logits[token]).to(loss)
            try:
                gradient = torch.autograd.grad(loss, delta)[0] if number < steps else None
            except (RuntimeError, MemoryError) as error:
                if not exhausted(error):
                    raise
                full = True
        if full:  # out of the handler, whose error holds what was allocated
            raise ModelError(
                f"Out of memory on {model.device} for the gradient of an attack on {len(delta)} tokens. Leave the "
                "attacks out, or take a smaller picture or shorter options."
            )
        losses.append(loss.item())
        delta = delta.detach()
        if losses[-1] >= max(losses):
            strongest = delta
        if gradient is not None:
            delta = (delta + step * gradient.sign() * where).clamp(-radius, radius)
    noisy = encoded.with_embedding_noise(strongest) if radius else encoded
    return Attacked(noisy, strongest, radius, np.array(losses))
