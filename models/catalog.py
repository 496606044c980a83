"""What the app offers: the embedded default, presets from the Hub, and the researcher's own model.

``CROSSTALK_MODEL`` names the researcher's model (a folder or a Hub id), ``CROSSTALK_CHECKPOINTS`` the
folder of its checkpoint set.
"""

import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import torch

from models.checkpoints import Manifest
from models.errors import CheckpointError, ModelError
from models.mllm import MLLM

EMBEDDED = "crosstalk-mini"
_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "embedded"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_PRESETS = {
    "HuggingFaceTB/SmolVLM-500M-Instruct": 0.5,
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": 0.9,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.8,
    "llava-hf/llava-1.5-7b-hf": 7.1,
}
"""Hub id: billions of parameters."""

_open: dict[str, MLLM] = {}
_opening = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """One model on offer; where it is not available, ``reason`` says why in a sentence."""

    name: str
    source: str
    available: bool
    reason: str
    checkpoints: tuple[str, ...]
    checkpoint_folder: Path | None = None


def _memory() -> float:
    """Bytes that a model may take: of the GPU, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[1]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _embedded() -> Entry:
    folder = _ASSETS / "checkpoints" / "sequential"
    try:
        names = tuple(c.name for c in Manifest.load(folder).checkpoints)
    except CheckpointError as error:
        return Entry(EMBEDDED, str(_ASSETS / EMBEDDED), False, f"is not whole: {error} Run: make train", ())
    return Entry(EMBEDDED, str(_ASSETS / EMBEDDED), True, "", names, folder)


def _own() -> list[Entry]:
    source, folder = os.environ.get("CROSSTALK_MODEL"), os.environ.get("CROSSTALK_CHECKPOINTS")
    if not source:
        return []
    path = Path(source).expanduser()
    try:
        if not path.is_dir() and not _HUB_ID.fullmatch(source):
            raise ModelError(f"CROSSTALK_MODEL={source!r} is neither a folder nor a Hub id such as owner/name.")
        names = tuple(c.name for c in Manifest.load(folder).checkpoints) if folder else ()
    except (ModelError, CheckpointError) as error:
        return [Entry(path.name, source, False, str(error), ())]
    return [Entry(path.name, str(path) if path.is_dir() else source, True, "", names, Path(folder) if folder else None)]


def _preset(name: str, billions: float) -> Entry:
    need = billions * 1e9 * (2 if torch.cuda.is_available() else 4) * 1.2
    if need > _memory():
        reason = f"needs about {need / 1e9:.0f} GB of memory; this machine has {_memory() / 1e9:.0f} GB"
        return Entry(name, name, False, reason, ())
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Entry(name, name, False, "comes from the Hugging Face Hub, and HF_HUB_OFFLINE=1 is set", ())
    return Entry(name, name, True, "", ())


def entries() -> list[Entry]:
    """Everything on offer, the embedded default first, then the researcher's own, then Hub presets."""
    return [_embedded(), *_own(), *(_preset(*p) for p in _PRESETS.items())]


def open_model(name: str | None = None) -> MLLM:
    """The model called ``name`` (default: embedded), loaded once and kept.

    Raises ``ModelError`` for a name that is not on offer or not available, with the reason.
    """
    name = name or EMBEDDED
    with _opening:
        if name not in _open:
            entry = next((e for e in entries() if e.name == name), None)
            if entry is None:
                raise ModelError(f"There is no model {name!r}. There are: {', '.join(e.name for e in entries())}.")
            if not entry.available:
                raise ModelError(f"{name} {entry.reason.rstrip('.')}.")
            _open[name] = MLLM.open(entry.source, entry.name, entry.checkpoint_folder)
        return _open[name]
