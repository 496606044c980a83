"""What holds a model to what it knew: the terms of EWC, LwF, RegLoRA and I-LoRA."""

from collections.abc import Iterable, Sequence

import torch
from torch.nn.functional import kl_div

from models.deltas import key_elements

Named = dict[str, torch.Tensor]
"""A tensor for each of the decoder's matrices, by the module's name."""


def fisher(parameters: Sequence[torch.Tensor], losses: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Diagonal of the Fisher information: mean over ``losses`` of the squared gradient, one tensor a parameter.

    Each loss is the negative log-likelihood (nats) of one example under a label drawn from the model itself (EWC,
    arXiv 1612.00796).
    """
    sums, count = [torch.zeros_like(p) for p in parameters], 0
    for loss in losses:
        for total, gradient in zip(sums, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient.square()
        count += 1
    return [total / max(count, 1) for total in sums]


class Elastic:
    """EWC's penalty over all tasks so far (arXiv 1612.00796, eq. 3): 1/2 * sum over tasks k of F_k (W - W_k)^2.

    ``W`` are changes of the base's weights, ``[out, in]`` each, by name. As sums over tasks, so it costs the same after
    the tenth task as after the first.
    """

    def __init__(self):
        self._f: Named = {}
        self._fa: Named = {}
        self._faa: Named = {}

    def hold(self, information: Named, now: Named) -> None:
        """Keep the weights as they are now, each as firmly as its ``information`` says."""
        for name, more in information.items():
            anchor = now[name].detach()
            for sums, term in ((self._f, more), (self._fa, more * anchor), (self._faa, more * anchor.square())):
                sums[name] = sums[name] + term if name in sums else term

    def penalty(self, now: Named) -> torch.Tensor | float:
        """Scalar, 0 where nothing moved since it was held (to rounding), and before anything was held."""
        terms = ((self._f[n] * now[n].square() - 2 * self._fa[n] * now[n] + self._faa[n]).sum() for n in self._f)
        return 0.5 * sum(terms)


class KeyElements:
    """RegLoRA (SEFE, arXiv 2505.02486): the elements of B A that mattered to earlier tasks are left alone.

    Each task trains a LoRA of its own, so its B A, ``[out, in]`` for each matrix, is its change of that matrix.
    """

    def __init__(self):
        self._keys: dict[str, torch.Tensor] = {}

    def hold(self, products: Named) -> None:
        """The task is over: the 2 % of each change that are largest join the earlier tasks' keys."""
        for name, product in products.items():
            keys = key_elements(product.detach())
            self._keys[name] = self._keys[name] | keys if name in self._keys else keys

    @property
    def held(self) -> int:
        """How many elements are key to some task before."""
        return sum(int(keys.sum()) for keys in self._keys.values())

    def penalty(self, products: Named) -> torch.Tensor:
        """The mean absolute value of B A at the key elements of a matrix, mean over matrices; no other element has a
        gradient.
        """
        terms = [(products[n] * keys).abs().sum() / keys.sum().clamp(min=1) for n, keys in self._keys.items()]
        return torch.stack(terms).mean()


def degrees_of_freedom(shapes: Iterable[tuple[int, int]], rank: int) -> int:
    """Of changes of rank ``rank`` of matrices ``[out, in]``: rank * (out + in - rank) each. Where more elements than
    that are held, holding them leaves nothing to learn with.
    """
    return sum(rank * (out + into - rank) for out, into in shapes)


def distillation(old: torch.Tensor, new: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    """LwF (arXiv 1606.09282): KL(softmax(old / t) || softmax(new / t)) * t^2, mean over tokens, nats.

    0 where they agree. ``old`` and ``new`` are logits ``[A, V]`` of the model before the task and of the model in
    training; no gradient reaches the old one.
    """
    target, said = (old.detach() / temperature).log_softmax(-1), (new / temperature).log_softmax(-1)
    return kl_div(said, target, reduction="batchmean", log_target=True) * temperature**2


def consistency(working: Sequence[torch.Tensor], slow: Sequence[torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """I-LoRA's term (arXiv 2402.18865): the squared error of the working model's hidden states to the larger of
    both models' values, so it counts only where the working value is below the slow one; mean over elements and layers.

    Hidden states ``[rows, tokens, width]`` a layer, of replayed rows; ``real`` bool ``[rows, tokens]``: no padding. No
    gradient reaches the slow model.
    """
    below = (torch.relu(s.detach() - w)[real].square().mean() for w, s in zip(working, slow, strict=True))
    return torch.stack(list(below)).mean()


def moved_towards(slow: Named, fast: Named, decay: float) -> None:
    """One step of I-LoRA's slow weights (arXiv 2402.18865), in place: slow = decay * slow + (1 - decay) * fast."""
    with torch.no_grad():
        for name, tensor in slow.items():
            tensor.lerp_(fast[name], 1.0 - decay)


def low_rank(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The best approximation of a change ``[out, in]`` of a matrix by one of rank ``rank``: factors B ``[out, rank]``
    and A ``[rank, in]``, and the share of its energy (squared norm) that B A has; 1 for no change at all.
    """
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    root, energy = s[:rank].sqrt(), s.square().sum()
    share = float(s[:rank].square().sum() / energy) if energy else 1.0
    return u[:, :rank] * root, root[:, None] * v[:rank], share
