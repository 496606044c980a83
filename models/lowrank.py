"""Adapters of a mixed batch as two batched products a layer.

Each row of such a batch has a low-rank change of its own, x_i A_i' B_i' (LoRA, arXiv 2106.09685). peft's own way
(``adapter_names``) computes one adapter after another, and copies its rows out and back; stacked, the changes of all
rows are two products, whatever their number.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from peft.tuners.lora.layer import LoraLayer

from models.errors import CheckpointError

_PEFT_BASE = "__base__"  # how peft names a row without an adapter


@dataclass(frozen=True)
class Factors:
    """A layer's changes: ``down`` ``[adapters, in, rank]`` and ``up`` ``[adapters, rank, out]``, scaling included; zero
    for an adapter that the layer does not have, and past the rank of one with a smaller rank than others.
    """

    down: torch.Tensor
    up: torch.Tensor

    @classmethod
    def of(cls, layer: LoraLayer, adapters: Sequence[str | None]) -> "Factors | None":
        """None for a layer whose changes are more than two products: of embeddings, of convolutions, with a bias."""
        held = [name for name in adapters if name in layer.lora_A]
        linear = [m for name in held for m in (layer.lora_A[name], layer.lora_B[name])]
        if not held or not all(isinstance(m, torch.nn.Linear) and m.bias is None for m in linear):
            return None
        rank = max(layer.lora_A[name].out_features for name in held)
        down = linear[0].weight.new_zeros(len(adapters), linear[0].in_features, rank)
        up = linear[1].weight.new_zeros(len(adapters), rank, linear[1].out_features)
        for i, name in enumerate(adapters):
            if name in layer.lora_A:
                own = layer.lora_A[name].out_features
                down[i, :, :own] = layer.lora_A[name].weight.T
                up[i, :own] = layer.lora_B[name].weight.T * layer.scaling[name]
        return cls(down, up)

    def added(self, read: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """``output`` ``[rows, ..., out]`` of the base for ``read`` ``[rows, ..., in]``, with each row's change.

        Adapters have as many rows each, one adapter's after another's. Without gradients ``output`` itself changes.
        """
        x = read.reshape(len(self.down), -1, read.shape[-1]).to(self.down.dtype)
        base, low = output.reshape(len(self.down), -1, output.shape[-1]), torch.bmm(x, self.down)
        if base.dtype != low.dtype:  # adapters of a model in half precision are float32
            found = (base + torch.bmm(low, self.up)).to(base.dtype)
        elif base.requires_grad or low.requires_grad:
            found = torch.baddbmm(base, low, self.up)
        else:
            found = base.baddbmm_(low, self.up)
        return found.view_as(output)


class Stack:
    """The changes of several ``adapters`` (None: no adapter) in the layers that have any of them.

    They are copies, as large as the adapters, so they follow no change of an adapter or its scaling.
    """

    def __init__(self, adapters: tuple[str | None, ...], layers: Sequence[LoraLayer]):
        self.adapters = adapters
        self._factors = {layer: Factors.of(layer, adapters) for layer in layers}

    @contextmanager
    def on(self, rows: Sequence[str | None]) -> Iterator[None]:
        """Row *i* of every batch has adapter ``rows[i]`` in here; ``adapters`` are ``blocks(rows)``.

        Without hooks of its own, peft's would stay behind when a forward fails, and every later answer be mixed.
        """
        named = [name or _PEFT_BASE for name in rows]

        def check(read: torch.Tensor) -> None:
            if len(read) != len(rows):
                raise CheckpointError(
                    f"A batch of {len(rows)} checkpoints met a layer that sees {len(read)} rows: give every row the "
                    "same number of pictures, or run each checkpoint alone."
                )

        def add(layer, args, output):
            check(args[0])
            return self._factors[layer].added(args[0], output)

        def loop(layer, args, kwargs):
            check(args[0])
            return args, {**kwargs, "adapter_names": named}

        with ExitStack() as undo:
            for layer, factors in self._factors.items():
                if factors is None:
                    hook = layer.register_forward_pre_hook(loop, with_kwargs=True)
                else:
                    hook = layer.register_forward_hook(add)
                undo.callback(hook.remove)
            yield


def blocks(rows: Sequence[str | None]) -> tuple[str | None, ...]:
    """The adapters of ``rows``, each once where all have as many rows and these stand together; else one a row."""
    once = tuple(dict.fromkeys(rows))
    together = [name for name in once for _ in range(len(rows) // len(once))]
    return once if together == list(rows) else tuple(rows)
