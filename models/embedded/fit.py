"""A training loop that can be killed at any point and goes on where it was.

Data of a step depend only on (seed, stage, step), so the state is weights, optimizer moments and a
step number: one safetensors file, replaced atomically.
"""

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

SAVE_EVERY = 90.0  # seconds
FUSED_FROM = 500  # steps: compiling takes a minute


def generator(seed: int, stage: str, step: int) -> np.random.Generator:
    """The random generator of one step of one stage."""
    return np.random.default_rng((seed, zlib.crc32(stage.encode()), step))


class Steps(Dataset):
    """``make(rng)`` gives the batch of a step: the same batch for the same seed, stage and step."""

    def __init__(self, make: Callable, seed: int, stage: str):
        self.make, self.seed, self.stage = make, seed, stage

    def __getitem__(self, step: int):
        return self.make(generator(self.seed, self.stage, step))


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bfloat16_pays() -> bool:
    """Whether the device multiplies matrices faster in bfloat16: a GPU, or a CPU with instructions for it. Without them
    it is many times slower.
    """
    return device().type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def fuse(layers: Iterable[torch.nn.Module], steps: int) -> None:
    """Compile ``layers``, whose inputs keep their shapes, for a training of so many steps: on a CPU with a compiler a
    fifth faster, the same numbers but for rounding. Not for a short one; where it fails they run as they are.
    """
    if steps >= FUSED_FROM and device().type == "cpu" and shutil.which("g++"):
        torch._dynamo.config.suppress_errors = True
        for layer in layers:
            layer.compile(dynamic=False)


def to(batch, where: torch.device):
    """A dictionary of tensors (or of such dictionaries) on another device."""
    if isinstance(batch, dict):
        return {k: to(v, where) for k, v in batch.items()}
    return batch.to(where, non_blocking=True)


class Fit:
    """Train the parameters of ``model`` that require gradients, for ``steps`` steps, then stop.

    ``make(rng) -> batch`` runs in a worker process; ``loss(batch) -> (scalar, {name: number})``.
    AdamW with a one-cycle schedule (warm-up ``warm``, cosine to zero), bfloat16 autocast where it pays and ``half``.
    ``groups`` are (parameters, peak learning rate), or with a decay of their own as a third; parameters with fewer than
    2 axes do not decay. ``beside`` are tensors that are saved and restored with the state, changed in place by whoever
    holds them.
    """

    def __init__(
        self, folder: Path, stage: str, model, groups, steps: int, seed: int, warm=0.1, decay=0.05, clip=1.0, half=True,
        beside: dict[str, torch.Tensor] | None = None,
    ):  # fmt: skip
        self.file, self.stage, self.model = folder / f"{stage}.safetensors", stage, model
        self.steps, self.seed, self.clip, self.seconds = steps, seed, clip, 0.0
        self.half, self.beside = half and bfloat16_pays(), beside or {}
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        split = []
        for parameters, peak, *own in groups:
            parameters = list(parameters)
            fading = own[0] if own else decay
            split.append({"params": [p for p in parameters if p.ndim > 1], "lr": peak, "weight_decay": fading})
            split.append({"params": [p for p in parameters if p.ndim < 2], "lr": peak, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(split, betas=(0.9, 0.98))
        self.peaks = [g["lr"] for g in self.optimizer.param_groups]
        self.warm = max(1, int(warm * steps))

    def _schedule(self, step: int):
        up = (step + 1) / self.warm
        down = 0.5 * (1 + np.cos(np.pi * max(0, step - self.warm) / max(1, self.steps - self.warm)))
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * float(min(up, down))

    def _save(self, step: int):
        tensors = {f"beside.{name}": tensor for name, tensor in self.beside.items()}
        for name, p in self.named.items():
            tensors[f"w.{name}"] = p.detach()
            for key, value in self.optimizer.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = torch.as_tensor(value)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".part")
        done = {"step": step, "steps": self.steps, "seconds": round(self.seconds, 1), "device": str(device())}
        save_file({k: v.contiguous() for k, v in tensors.items()}, draft, {k: json.dumps(v) for k, v in done.items()})
        os.replace(draft, self.file)

    def _load(self) -> int:
        if not self.file.exists():
            return 0
        with safe_open(self.file, "pt") as saved:
            step, keys = json.loads(saved.metadata()["step"]), set(saved.keys())
            planned = json.loads(saved.metadata().get("steps", str(self.steps)))
            if planned != self.steps:
                raise ValueError(f"{self.file} is of a run of {planned} steps, not {self.steps}: delete it.")
            self.seconds = json.loads(saved.metadata().get("seconds", "0"))
            for name, tensor in self.beside.items():
                tensor.copy_(saved.get_tensor(f"beside.{name}"))
            for name, p in self.named.items():
                with torch.no_grad():
                    p.copy_(saved.get_tensor(f"w.{name}"))
                if f"exp_avg.{name}" in keys:
                    self.optimizer.state[p] = {
                        k: saved.get_tensor(f"{k}.{name}").to(p.device if k != "step" else "cpu")
                        for k in ("step", "exp_avg", "exp_avg_sq")
                    }
        return step

    def run(self, make: Callable, loss: Callable, log=print, after: Callable[[int], None] = lambda step: None) -> None:
        """Train to the end, from the saved state if there is one. Returns at once where it was finished.

        ``after(step)`` is called when so many steps are done. Raises ``ValueError`` where the saved state is of a run
        of another length: its schedule is another.
        """
        start, where = self._load(), device()
        if start >= self.steps:
            log(f"{self.stage}: done before")
            return
        workers = max(1, (os.cpu_count() or 2) - 1) if where.type == "cuda" else 1
        data = DataLoader(
            Steps(make, self.seed, self.stage), batch_size=None, sampler=range(start, self.steps), num_workers=workers,
            prefetch_factor=4, pin_memory=where.type == "cuda",
        )  # fmt: skip
        self.model.train()
        began = saved = time.monotonic()
        before = self.seconds
        running: dict[str, float] = {}
        for step, batch in enumerate(data, start):
            self._schedule(step)
            with torch.autocast(where.type, torch.bfloat16, enabled=self.half):
                value, numbers = loss(to(batch, where))
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.named.values(), self.clip)
            self.optimizer.step()
            with torch.compiler.set_stance("force_eager"):  # what is asked on the way has other shapes
                after(step + 1)
            for name, number in {"loss": value.detach(), **numbers}.items():
                running[name] = 0.95 * running.get(name, float(number)) + 0.05 * float(number)
            now = time.monotonic()
            self.seconds = before + now - began
            if step % 25 == 0 or step + 1 == self.steps:
                left = (now - began) / (step + 1 - start) * (self.steps - step - 1)
                shown = "  ".join(f"{k} {v:.3f}" for k, v in running.items())
                log(f"{self.stage} {step + 1}/{self.steps}  {shown}  {left / 60:.1f} min left")
            if now - saved > SAVE_EVERY:
                self._save(step + 1)
                saved = now
        self._save(self.steps)
