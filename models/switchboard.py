"""One model and what is switched on in it: adapters by one shared list, tensors by reference, the base untouched."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from peft import LoraConfig, LoraModel, set_peft_model_state_dict
from peft.tuners.lora.layer import LoraLayer

from models.moda import Moda


@dataclass(frozen=True, eq=False)
class Change:
    """What makes a checkpoint of the base: peft's name of its adapter, tensors in the place of the base's, and the
    attention it was trained with where that is not the base's.
    """

    adapter: str | None = None
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    batchable: bool = True
    attention: Moda | None = None


State = tuple[tuple[Change, float], ...]
"""Changes and their shares; shares sum to one, and without any change it is the base."""


class Switchboard:
    """One model that several sets may share: its lock, its tensors by name, its LoRA layers, and what is on."""

    def __init__(self, model):
        self.model, self.lock = model, threading.RLock()
        self.base: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
        self.tuner: LoraModel | None = None
        self.active: list[str] = []  # every LoRA layer's own list of active adapters is this one
        self.layers: list[LoraLayer] = []
        self._state: State | None = ()
        self._replaced: dict[str, torch.Tensor] = {}
        self._scaled: list[tuple[LoraLayer, str, float]] = []
        self._made = 0

    def add_adapter(self, config: LoraConfig, weights: dict[str, torch.Tensor]) -> tuple[str, list[str]]:
        """Make room for an adapter and fill it; returns peft's name of it, and weights left over or left empty."""
        name = f"c{self._made}"
        self._made += 1
        try:
            if self.tuner is None:
                self.tuner = LoraModel(self.model, config, name)
            else:
                self.tuner.peft_config[name] = config
                self.tuner.inject_adapter(self.model, name)
            self._gather()
            result = set_peft_model_state_dict(self.model, weights, name)
        except BaseException:
            self._gather()
            self.remove_adapter(name)
            raise
        empty = [key for key in result.missing_keys if f".{name}." in f"{key}."]
        self.model.requires_grad_(False).eval()
        return name, sorted(key.replace(f".{name}", "") for key in (*result.unexpected_keys, *empty))

    def _gather(self) -> None:
        self.layers = [module for module in self.model.modules() if isinstance(module, LoraLayer)]
        for layer in self.layers:
            layer._active_adapter, layer._disable_adapters = self.active, False

    def remove_adapter(self, name: str) -> None:
        for layer in self.layers:
            layer.delete_adapter(name)
        if self.tuner is not None:
            self.tuner.peft_config.pop(name, None)

    def holding(self, name: str) -> list[LoraLayer]:
        """The LoRA layers that have something of the adapter."""
        return [layer for layer in self.layers if name in layer.lora_A or name in layer.lora_embedding_A]

    @contextmanager
    def switched(self, state: State) -> Iterator[None]:
        """Hold the lock with ``state`` on; afterwards what was on before, whatever happened."""
        with self.lock:
            before = self._state
            try:
                self._switch(state)
                yield
            finally:
                self._switch(before)

    def _switch(self, state: State) -> None:
        if state == self._state:
            return
        tensors = self._mixture(state)
        self._state = None  # until all is done: an interruption must not pass for a state
        for key, tensor in self._replaced.items():
            self.base[key].data = tensor
        self._replaced = {key: self.base[key].data for key in tensors}
        for key, tensor in tensors.items():
            self.base[key].data = tensor
        for layer, name, scaling in self._scaled:
            layer.scaling[name] = scaling
        self._scaled = []
        self.active[:] = [change.adapter for change, _ in state if change.adapter]
        for change, share in state:
            if change.adapter and share != 1:
                for layer in self.holding(change.adapter):
                    self._scaled.append((layer, change.adapter, layer.scaling[change.adapter]))
                    layer.scaling[change.adapter] *= share
        self._state = state

    def _mixture(self, state: State) -> dict[str, torch.Tensor]:
        """The tensors that take the base's place: of one change its own, of two their weighted means."""
        if len(state) == 1:
            return state[0][0].tensors
        mean = {}
        for key in dict.fromkeys(key for change, _ in state for key in change.tensors):
            original = self._replaced.get(key, self.base[key].data)
            (a, _), (b, share) = state
            first, last = a.tensors.get(key, original), b.tensors.get(key, original)
            wide = torch.promote_types(first.dtype, torch.float32)
            mean[key] = torch.lerp(first.to(wide), last.to(wide), share).to(first.dtype)
        return mean
