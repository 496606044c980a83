"""Where a model runs and in which type: device, dtype, memory, quantisation, ZeroGPU."""

import gc
import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from models import settings
from models.errors import ModelError, OutOfMemory

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SHORT = re.compile(r"out of memory|allocate memory", re.IGNORECASE)  # of CUDA and MPS, and of a CPU
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
OVERHEAD = 1.2
"""Activations and cache beside the weights, as a share of the weights."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a device: ``free`` now, and ``total``."""

    free: float
    total: float


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device to run on; ``"auto"``: CUDA, else MPS, else CPU. Raises ``ModelError`` for one that is not there."""
    if device != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise ModelError(f"{device!r} is not a device: use auto, cpu, cuda, cuda:1 or mps.") from error
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not there.get(chosen.type):
            raise ModelError(f"There is no {chosen.type} device here: use device='auto' or 'cpu'.")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def dtype_on(device: torch.device, dtype: str | torch.dtype = "auto") -> torch.dtype:
    """The type of weights on ``device``; ``"auto"``: bfloat16 where a GPU computes it natively, else float16; on a
    CPU float32. Raises ``ModelError`` for a name that is no such type.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype != "auto":
        if dtype not in _DTYPES:
            raise ModelError(f"{dtype!r} is not a type of weights: use auto, {', '.join(_DTYPES)}.")
        return _DTYPES[dtype]
    if device.type == "cpu":
        return torch.float32
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float16


def memory(device: torch.device) -> Memory:
    """Free and total memory of ``device``; of a CPU, the machine's or, in a container, the container's."""
    if device.type == "cuda":
        return Memory(*torch.cuda.mem_get_info(device))
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return Memory(total - torch.mps.driver_allocated_memory(), total)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = total
    if _MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdecimal():
        total = min(total, int(most))
        free = min(free, max(int(most) - int(used.read_text()), 0))
    return Memory(free, total)


def capacity() -> float:
    """Bytes that models may be spread over: all GPUs together, else the memory of the device that is picked."""
    device = pick()
    if device.type != "cuda":
        return memory(device).total
    return sum(memory(torch.device("cuda", i)).total for i in range(torch.cuda.device_count()))


def exhausted(error: BaseException) -> bool:
    """Whether an error is of memory that ran out, as CUDA, MPS, a CPU, Python or a ``Flow`` tells it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory) or (
        isinstance(error, RuntimeError) and _SHORT.search(str(error)) is not None
    )


def freed() -> None:
    """Give memory back that nobody uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def shortage(device: torch.device, need: float) -> str:
    """What to tell where ``need`` bytes did not fit on ``device``, whose unused memory is given back first."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).empty_cache()
    free = memory(device).free
    return f"it needs about {need / 1e9:.1f} GB; {device} has {free / 1e9:.1f} GB free. Close other models."


def quantization() -> int | None:
    """Bits a weight takes as ``CROSSTALK_QUANTIZE`` says, 4 or 8; None where it is not set."""
    return settings.QUANTIZE.now()


def bits(config) -> int | None:
    """Bits a weight takes of a model whose configuration this is, as an object or as the JSON of its file; None where
    it is not quantised.
    """
    name = "quantization_config"
    told = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
    if told is None:
        return None
    told = told if isinstance(told, dict) else told.to_dict()
    by_name = 4 if told.get("load_in_4bit") else 8 if told.get("load_in_8bit") else None
    return by_name or told.get("bits") or (8 if "fp8" in str(told.get("quant_method")) else None)


def quantization_config(bits: int, device: torch.device, dtype: torch.dtype):
    """bitsandbytes' settings for ``bits`` (4: NF4 computed in ``dtype``). Raises ``ModelError`` where it is missing."""
    if bits not in (4, 8):
        raise ModelError(f"Weights of {bits!r} bits are not offered: 4 or 8.")
    if device.type != "cuda":
        raise ModelError(
            f"CROSSTALK_QUANTIZE cannot be followed: weights of {bits} bits need a CUDA device, and this is "
            f"{device.type}. Unset it."
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"Weights of {bits} bits need the package bitsandbytes: pip install bitsandbytes.")
    from transformers import BitsAndBytesConfig

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def bytes_needed(parameters: float, dtype: torch.dtype, bits: int | None = None) -> float:
    """Bytes that a model of so many parameters takes while it runs; ``bits`` where it is quantised."""
    return parameters * (bits / 8 if bits else dtype.itemsize) * OVERHEAD


def placement(device: torch.device, need: float, spread: bool) -> dict:
    """What ``from_pretrained`` is told about the place of ``need`` bytes of weights.

    One GPU that holds the model is faster than several that share it; so ``device_map="auto"`` (all GPUs, then
    the CPU) only where it does not fit and may be ``spread``. Raises ``ModelError`` with the numbers where it
    fits nowhere.
    """
    there = memory(device)
    if device.type != "cuda":
        _fits(need, there.total, "this machine")
        return {}
    if need <= there.free:
        return {"device_map": {"": device}}
    if not spread:
        _fits(need, there.free, str(device))
    everywhere = sum(memory(torch.device("cuda", i)).free for i in range(torch.cuda.device_count()))
    _fits(need, everywhere + memory(torch.device("cpu")).free, "this machine with all its GPUs")
    return {"device_map": "auto"}


def _fits(need: float, there: float, where: str) -> None:
    if need > there:
        raise ModelError(
            f"it needs about {need / 1e9:.1f} GB of memory; {where} has {there / 1e9:.1f} GB. "
            "Choose a smaller model, or set CROSSTALK_QUANTIZE=4 on a GPU."
        )


def lent() -> bool:
    """Whether a GPU is lent for each call, to a process of its own, as on ZeroGPU: this process never has one."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def gpu(fn: Callable) -> Callable:
    """``fn`` on ZeroGPU: ``spaces.GPU(fn)`` where the package ``spaces`` is present, else ``fn`` as it is."""
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return fn
    return spaces.GPU(fn)
