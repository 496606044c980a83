"""What a measurement was made of, as short texts: model, checkpoint, evaluation items. Caches are keyed by them."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.checkpoints import BASE, Blend, Merge, Patch, Weights
from models.files import folder_at

if TYPE_CHECKING:
    from models.evalset import EvalItem
    from models.mllm import MLLM

_WHOLE = 256e6  # bytes of weights up to which their contents are hashed; of larger ones, size and time of change


def of(mllm: "MLLM", checkpoint: Weights = BASE) -> str:
    """Fingerprint of a model with one of its checkpoints: the same weights give the same text on every machine.

    Of weights above 256 MB only names, sizes and times of change count, and of a model from the Hub its commit.
    """
    match checkpoint:
        case Blend(a, b, alpha):
            return f"{of(mllm, a)}>{of(mllm, b)}@{alpha!r}"
        case Merge(weights):
            added = sorted(f"{float(weight)!r}*({of(mllm, name)})" for name, weight in weights if weight)
            return "+".join([of(mllm), *added])
        case Patch(base, donor, modules):
            return f"{of(mllm, base)}<{of(mllm, donor)}@{'|'.join(sorted(modules))}"
    parts = [_model(mllm)]
    if checkpoint != BASE:
        chosen = next(c for c in mllm.checkpoints.manifest.checkpoints if c.name == checkpoint)
        parts += [of_path(path) for path in (chosen.adapter, chosen.weights, chosen.attention) if path]
    return "+".join(parts)


def _model(mllm: "MLLM") -> str:
    source = str(mllm.model.name_or_path)
    folder = folder_at(source)
    kind = str(mllm.model.dtype).removeprefix("torch.")
    if folder:
        return f"{of_path(folder)}:{kind}"
    return f"{source}@{getattr(mllm.model.config, '_commit_hash', None) or 'unknown'}:{kind}"


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
