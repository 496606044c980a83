"""How far a checkpoint's effective weights are from another's, module by module, and which elements moved most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft.tuners.lora.layer import LoraLayer
from peft.utils.integrations import dequantize_module_weight

from models.errors import CheckpointError

if TYPE_CHECKING:
    from models.checkpoints import CheckpointSet

KEY_SHARE = 0.02
"""Share of a matrix's elements that RegLoRA calls key: M = 2 % (SEFE, arXiv 2505.02486)."""

_ROWS = 1024  # of a matrix that are in memory in float64


def key_elements(delta: torch.Tensor, share: float = KEY_SHARE) -> torch.Tensor:
    """RegLoRA's key elements (SEFE, arXiv 2505.02486): those of a weight change with the largest absolute values.

    ``delta``, of any shape, is the change of one matrix (``B A`` of a LoRA); the answer is bool of its shape and on
    its device. Exactly ``max(1, round(share * delta.numel()))`` elements are key. Of equal ones at the boundary those
    come first that are first row by row, so the choice is the same everywhere; elements that are zero did not change
    and are never key, so there may be fewer. Raises ``ValueError`` for a share outside of 0 to 1 (0 excluded) and for
    values that are not finite.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of key elements is {share!r}: it must be above 0 and at most 1")
    size = delta.detach().abs().flatten()
    if not torch.isfinite(size).all():
        raise ValueError("a weight change has values that are not finite: its training went wrong")
    if not len(size):
        return torch.zeros_like(delta, dtype=torch.bool)
    count = max(1, round(share * len(size)))
    least = size.kthvalue(len(size) - count + 1).values
    key, equal = size > least, size == least
    key |= equal & (equal.cumsum(0) <= count - key.sum())
    return (key & (size > 0)).reshape(delta.shape)


@dataclass(frozen=True, eq=False)
class Effective:
    """A weight as a checkpoint has it, seen as a matrix ``[out, in]`` (a vector as one column, further axes of a kernel
    one after another): the base's, or the checkpoint's ``own`` in its place, plus ``left @ right``.

    ``left`` float64 ``[out, r]``, scaling included, and ``right`` ``[r, in]``: the factors of a LoRA; r is 0 without.
    """

    base: torch.Tensor
    own: torch.Tensor | None
    left: torch.Tensor
    right: torch.Tensor

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Some rows, float64."""
        whole = _matrix(self.base if self.own is None else self.own)[start:stop]
        return _double(whole) + self.left[start:stop] @ self.right


def changed(checkpoints: "CheckpointSet", names: Sequence[str]) -> tuple[str, ...]:
    """The weights in which some checkpoint of ``names`` is not the base, by the model's names for them, in its order.

    Raises ``CheckpointError`` for an unknown checkpoint.
    """
    board, found = checkpoints.board, set()
    for change in map(checkpoints.change, names):
        found |= change.tensors.keys()
        if change.adapter:
            found |= {f"{board.layers[layer]}.weight" for layer in board.holding(change.adapter)}
    return tuple(key for key in board.base if key in found)


def effective(checkpoints: "CheckpointSet", weight: str, names: Sequence[str]) -> list[Effective]:
    """``weight`` as each checkpoint of ``names`` has it, all with the same base. Hold ``checkpoints.use("base")``.

    Raises ``CheckpointError`` for an unknown checkpoint, and for a weight that is kept on no device.
    """
    board, module = checkpoints.board, weight.removesuffix(".weight")
    layer = next((layer for layer, name in board.layers.items() if name == module), None)
    base = board.base[weight] if layer is None else dequantize_module_weight(layer.get_base_layer())
    if base.is_meta:
        raise CheckpointError(
            f"{weight} lies outside of the GPUs, so it cannot be read: choose a model that fits them whole."
        )
    found = []
    for change in map(checkpoints.change, names):
        held = layer is not None and change.adapter is not None and layer in board.holding(change.adapter)
        left, right = _factors(layer, change.adapter) if held else _nothing(base)
        found.append(Effective(base.detach(), change.tensors.get(weight), left, right))
    return found


def norm(weight: Effective) -> float:
    """Frobenius norm |W|_F."""
    return _root(weight.rows(i, i + _ROWS) for i in _starts(weight))


def distance(a: Effective, b: Effective) -> float:
    """Frobenius norm |W_b - W_a|_F of two checkpoints' weight.

    Where both are low-rank changes of the base, B_b A_b - B_a A_a = L R of rank r_a + r_b is never formed: with
    L = Q S and R' = P T (Q and P orthonormal, S and T as small as the rank) its norm is |S T'|_F. Unlike the trace of
    the Gram matrices, (L'L)(R R'), that loses nothing where the two are close. Else row by row, in float64.
    """
    if a.own is not None or b.own is not None:
        return _root(b.rows(i, i + _ROWS) - a.rows(i, i + _ROWS) for i in _starts(a))
    if a.left.shape == b.left.shape and torch.equal(a.left, b.left) and torch.equal(a.right, b.right):
        return 0.0
    s = torch.linalg.qr(torch.cat([b.left, -a.left], dim=1)).R
    t = torch.linalg.qr(torch.cat([b.right, a.right]).T).R
    return float(torch.linalg.matrix_norm(s @ t.T))


def difference(a: Effective, b: Effective) -> torch.Tensor:
    """W_b - W_a itself, float32 ``[out, in]``."""
    if a.own is None and b.own is None:
        parts = (b.left[i : i + _ROWS] @ b.right - a.left[i : i + _ROWS] @ a.right for i in _starts(a))
    else:
        parts = (b.rows(i, i + _ROWS) - a.rows(i, i + _ROWS) for i in _starts(a))
    return torch.cat([part.float() for part in parts])


def _starts(weight: Effective) -> range:
    return range(0, len(weight.left), _ROWS)


def _root(parts: Iterator[torch.Tensor]) -> float:
    return sum(float(torch.linalg.vector_norm(part)) ** 2 for part in parts) ** 0.5


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().reshape(len(tensor), -1) if tensor.ndim else tensor.detach().reshape(1, 1)


def _double(tensor: torch.Tensor) -> torch.Tensor:
    """In float64, which Apple's GPUs do not have."""
    return tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device, torch.float64)


def _factors(layer: LoraLayer, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Both factors of what an adapter adds to the weight of a linear layer, a convolution or an embedding."""
    scale = layer.scaling[adapter]
    if adapter in layer.lora_embedding_A:
        down, up = _double(layer.lora_embedding_A[adapter]), _double(layer.lora_embedding_B[adapter])
        turned = True
    else:
        down, up = (_double(_matrix(part[adapter].weight)) for part in (layer.lora_A, layer.lora_B))
        turned = getattr(layer, "fan_in_fan_out", False)
    return (scale * down.T, up.T) if turned else (scale * up, down)


def _nothing(base: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    out, into = _matrix(base).shape
    empty = _double(base.new_empty(0, dtype=torch.float32))
    return empty.reshape(out, 0), empty.reshape(0, into)
