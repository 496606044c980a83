"""One model and what is switched on in it: adapters by one shared list, tensors by reference, the base untouched."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from peft import LoraConfig, LoraModel, set_peft_model_state_dict
from peft.tuners.lora.layer import LoraLayer

from models.lowrank import Stack, blocks
from models.mixtures import Modules
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


@dataclass(frozen=True)
class Part:
    """A share of what ``change`` adds to the base, in modules (their names; None: in all)."""

    change: Change
    share: float = 1.0
    modules: frozenset[str] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the change itself."""
        return self.share == 1 and self.modules is None

    def reaches(self, module: str) -> bool:
        return self.modules is None or module in self.modules


State = tuple[Part, ...]
"""What is added to the base, each change in one part at most; without any part it is the base."""


class Switchboard:
    """One model that several sets may share: its lock, its tensors by name, its LoRA layers, and what is on."""

    def __init__(self, model):
        self.model, self.lock = model, threading.RLock()
        self.base: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
        self.modules = Modules(self.base)
        self.tuner: LoraModel | None = None
        self.active: list[str] = []  # every LoRA layer's own list of active adapters is this one, but for those apart
        self.layers: dict[LoraLayer, str] = {}  # with the names that their modules have in the model
        self._state: State | None = ()
        self._replaced: dict[str, torch.Tensor] = {}
        self._scaled: list[tuple[LoraLayer, str, float]] = []
        self._apart: list[LoraLayer] = []  # with a list of their own, since some part does not reach all modules
        self._stack = Stack((), ())  # of the last mixed batch, since a batch takes many forwards
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

    def sum_adapters(self, names: Sequence[str]) -> str:
        """One adapter in the place of ``names`` whose change is the sum of theirs; returns peft's name of it.

        Exact: with factors stacked, B_1 A_1 + B_2 A_2 = [B_1 B_2] [A_1; A_2]. Raises peft's ``ValueError`` for adapters
        that name their layers in different ways, a list and a pattern.
        """
        name = f"c{self._made}"
        self._made += 1
        self.tuner.add_weighted_adapter(list(names), [1.0] * len(names), name, combination_type="cat")
        self._gather()
        for part in names:
            self.remove_adapter(part)
        self.model.requires_grad_(False).eval()
        return name

    def _gather(self) -> None:
        self.layers = {module: name for name, module in self.model.named_modules() if isinstance(module, LoraLayer)}
        for layer in self.layers:
            layer._active_adapter, layer._disable_adapters = self.active, False

    def remove_adapter(self, name: str) -> None:
        self._stack = Stack((), ())
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

    @contextmanager
    def mixed(self, rows: Sequence[str | None]) -> Iterator[None]:
        """Hold the lock with adapter ``rows[i]`` (None: none) on in row *i* of every batch; then what was on before.

        Raises ``CheckpointError`` in a layer that sees another number of rows.
        """
        adapters = blocks(rows)
        with self.switched(()):
            if self._stack.adapters != adapters:
                held = (layer for name in dict.fromkeys(adapters) for layer in self.holding(name))
                self._stack = Stack(adapters, list(dict.fromkeys(held)))
            with self._stack.on(rows):
                yield

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
        for layer in self._apart:
            layer._active_adapter = self.active
        self._scaled, self._apart = [], []
        adapted = [part for part in state if part.change.adapter]
        self.active[:] = [part.change.adapter for part in adapted]
        for part in adapted:
            if part.share != 1:
                for layer in self.holding(part.change.adapter):
                    self._scaled.append((layer, part.change.adapter, layer.scaling[part.change.adapter]))
                    layer.scaling[part.change.adapter] *= part.share
        if any(part.modules is not None for part in adapted):
            for layer, name in self.layers.items():
                self._apart.append(layer)
                layer._active_adapter = [part.change.adapter for part in adapted if part.reaches(name)]
        self._state = state

    def _mixture(self, state: State) -> dict[str, torch.Tensor]:
        """The tensors that take the base's place: a whole one as it is, else base + sum of share * (own - base)."""
        if len(state) == 1 and state[0].whole:
            return state[0].change.tensors
        mixed = {}
        for key in dict.fromkeys(key for part in state for key in part.change.tensors):
            module = key.rpartition(".")[0]
            own = [(part.change.tensors[key], part.share) for part in state
                   if key in part.change.tensors and part.reaches(module)]  # fmt: skip
            if len(own) == 1 and own[0][1] == 1:
                mixed[key] = own[0][0]
            elif own:
                mixed[key] = _added(self._replaced.get(key, self.base[key].data), own)
        return mixed


def _added(base: torch.Tensor, own: list[tuple[torch.Tensor, float]]) -> torch.Tensor:
    wide = base.to(torch.promote_types(base.dtype, torch.float32))
    return (wide + sum(share * (tensor.to(wide.dtype) - wide) for tensor, share in own)).to(base.dtype)
