"""What a measurement was made of, as short texts: model, checkpoint, evaluation items. Caches are keyed by them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models import devices
from models.checkpoints import BASE, Blend, Merge, Patch, Weights
from models.errors import CheckpointError
from models.files import folder_at
from models.manifest import Manifest

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder
    from models.evalset import EvalItem
    from models.mllm import MLLM

_WHOLE = 256e6  # bytes of weights up to which their contents are hashed; of larger ones, size and time of change


@dataclass(frozen=True)
class Unopened:
    """As much of a model as its fingerprint and its kept measurements need, without opening it.

    ``source`` is its folder or Hub id, ``dtype`` and ``bits`` (None: not quantised) are what its weights would have.
    """

    name: str
    source: str
    dtype: str
    bits: int | None
    manifest: Manifest | None

    @property
    def checkpoints(self) -> "Unopened | None":
        """What has the ``manifest``, as in an opened model."""
        return self if self.manifest else None


def of(model: "MLLM | DualEncoder | Unopened", checkpoint: Weights = BASE) -> str:
    """Fingerprint of a model with one of its checkpoints: the same weights give the same text on every machine.

    Of weights above 256 MB only names, sizes and times of change count, and of a model from the Hub its commit. The
    type of the weights belongs to it, and the bits of one where they are quantised: other numbers come out of them.
    Raises ``CheckpointError`` for an unknown checkpoint.
    """
    match checkpoint:
        case Blend(a, b, alpha):
            return f"{of(model, a)}>{of(model, b)}@{alpha!r}"
        case Merge(weights):
            added = sorted(f"{float(weight)!r}*({of(model, name)})" for name, weight in weights if weight)
            return "+".join([of(model), *added])
        case Patch(base, donor, modules):
            return f"{of(model, base)}<{of(model, donor)}@{'|'.join(sorted(modules))}"
    parts = [_model(model)]
    if checkpoint != BASE:
        parts += [of_path(path) for path in _files(model, checkpoint)]
    return "+".join(parts)


def _model(model: "MLLM | DualEncoder | Unopened") -> str:
    if isinstance(model, Unopened):
        source, commit, dtype, bits = model.source, None, model.dtype, model.bits
    else:
        opened, config = model.model, getattr(model.model, "config", None)
        source, commit = str(opened.name_or_path), getattr(config, "_commit_hash", None)
        dtype, bits = str(opened.dtype), devices.bits(config)
    folder = folder_at(source)
    told = of_path(folder) if folder else f"{source}@{commit or 'unknown'}"
    return f"{told}:{dtype.removeprefix('torch.')}" + (f":{bits} bit" if bits else "")


def _files(model: "MLLM | DualEncoder | Unopened", checkpoint: str) -> list[Path]:
    there = model.checkpoints.manifest.checkpoints if model.checkpoints else ()
    chosen = next((c for c in there if c.name == checkpoint), None)
    if chosen is None:
        names = ", ".join((BASE, *(c.name for c in there)))
        raise CheckpointError(f"There is no checkpoint {checkpoint!r}. There are: {names}.")
    return chosen.places


def of_path(path: Path) -> str:
    """Fingerprint of a file, or of all files of a folder."""
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    stamps = [(str(f.relative_to(path)) if f != path else f.name, *_stat(f)) for f in files]
    whole = sum(size for _, size, _ in stamps) <= _WHOLE
    digest = hashlib.sha256()
    for file, (name, size, changed) in zip(files, stamps, strict=True):
        digest.update(f"{name}\0{size}\0{_contents(file, size, changed) if whole else changed}\0".encode())
    return digest.hexdigest()[:16]


def _stat(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4096)
def _contents(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def of_items(items: "Sequence[EvalItem]") -> str:
    """Fingerprint of evaluation items: all their fields, and the contents of their pictures."""
    digest = hashlib.sha256()
    for item in items:
        picture = _contents(item.image, *_stat(item.image)) if item.image else None
        told_of = [picture, item.question, item.answer, item.choices, item.style, item.segment]
        told_of += [item.score] if item.score else []
        digest.update(json.dumps(told_of, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()[:16]
