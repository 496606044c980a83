"""What holds a model to what it knew: the terms of EWC, LwF, RegLoRA and I-LoRA."""

from collections.abc import Iterable, Sequence

import torch
from torch.nn.functional import kl_div

from models.deltas import key_elements

Named = dict[str, torch.Tensor]


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
    """EWC's penalty over all tasks so far: 1/2 * sum over tasks k of F_k (theta - theta_k)^2.

    As sums over tasks, so it costs the same after the tenth task as after the first.
    """

    def __init__(self, parameters: Sequence[torch.Tensor]):
        self.parameters = list(parameters)
        zeros = [torch.zeros_like(p) for p in self.parameters]
        self._f, self._fa, self._faa = zeros, [z.clone() for z in zeros], [z.clone() for z in zeros]

    def hold(self, information: Sequence[torch.Tensor]) -> None:
        """Keep the parameters as they are now, each as firmly as its ``information`` says."""
        for f, fa, faa, more, p in zip(self._f, self._fa, self._faa, information, self.parameters, strict=True):
            anchor = p.detach()
            f += more
            fa += more * anchor
            faa += more * anchor.square()

    def penalty(self) -> torch.Tensor:
        """Scalar, 0 where nothing moved since it was held (to rounding)."""
        terms = zip(self.parameters, self._f, self._fa, self._faa, strict=True)
        return 0.5 * sum((f * p.square() - 2 * fa * p + faa).sum() for p, f, fa, faa in terms)


class KeyElements:
    """RegLoRA (SEFE, arXiv 2505.02486): elements of B A that mattered to earlier tasks are held where they are.

    The paper trains new LoRA layers for each task, so their B A is the task's change. Here one LoRA goes on from task
    to task, and a task's change of a matrix is B A minus what it was when the task began.
    """

    def __init__(self, products: Named):
        self._start = {name: product.detach() for name, product in products.items()}
        self._keys = {name: torch.zeros_like(product, dtype=torch.bool) for name, product in products.items()}

    def hold(self, products: Named) -> None:
        """The task is over: its key elements join the earlier ones', and the next task's change starts at zero."""
        for name, product in products.items():
            self._keys[name] |= key_elements(product.detach() - self._start[name])
            self._start[name] = product.detach()

    def penalty(self, products: Named) -> torch.Tensor:
        """Mean over matrices of the sum of squares of the task's change at key elements: no other has a gradient."""
        terms = [((p - self._start[name]) * self._keys[name]).square().sum() for name, p in products.items()]
        return torch.stack(terms).mean()


def distillation(old: torch.Tensor, new: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    """LwF (arXiv 1606.09282): KL(softmax(old / t) || softmax(new / t)) * t^2, mean over tokens, nats.

    0 where they agree. ``old`` and ``new`` are logits ``[A, V]`` of the model before the task and of the model in
    training; no gradient reaches the old one.
    """
    target, said = (old.detach() / temperature).log_softmax(-1), (new / temperature).log_softmax(-1)
    return kl_div(said, target, reduction="batchmean", log_target=True) * temperature**2


def moved_towards(slow: Named, fast: Named, decay: float) -> None:
    """One step of I-LoRA's slow weights (arXiv 2402.18865), in place: slow = decay * slow + (1 - decay) * fast."""
    with torch.no_grad():
        for name, tensor in slow.items():
            tensor.lerp_(fast[name], 1.0 - decay)
