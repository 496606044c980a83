"""Raw measurements kept on disk, by what they were made of: a model, a checkpoint, data, settings.

An entry is one gzipped JSON file, ``<room>/<hash of made_of>.json.gz``, ``{"made_of": ..., "value": ...}``. What the
repository ships lies in ``assets/embedded/measured``; what was measured here, in ``CROSSTALK_CACHE`` (default
``~/.cache/crosstalk``). A file is written beside its place and moved there when it is whole, so a reader, or another
process, never sees half of one; a file that cannot be read counts as none.
"""

import gzip
import hashlib
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from analysis.result import plain
from models import settings

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "embedded" / "measured"
_LOG = logging.getLogger(__name__)
_shipping: ContextVar[set[Path] | None] = ContextVar("shipping", default=None)


@contextmanager
def shipping() -> Iterator[None]:
    """What is saved in here goes to what the repository ships, and only what is there is loaded.

    Where it ends well, what was neither saved nor loaded is of older weights or data, and is deleted.
    """
    used: set[Path] = set()
    token = _shipping.set(used)
    try:
        yield
        for file in SHIPPED.rglob("*.json.gz"):
            if file not in used:
                file.unlink()
    finally:
        _shipping.reset(token)


class _Missing(Exception):
    """Something would have to be measured."""


def at_hand(work: Callable):
    """What ``work(progress)`` returns where all it needs is kept; None as soon as it tells of work to do."""

    def refuse(share: float, what: str) -> None:
        raise _Missing

    try:
        return work(refuse)
    except _Missing:
        return None


def folder() -> Path:
    """Where measurements made here are kept."""
    return settings.CACHE.now()


def _file(root: Path, room: str, made_of: dict) -> Path:
    digest = hashlib.sha256(_canonical(made_of).encode()).hexdigest()
    return root / room / f"{digest[:24]}.json.gz"


def _canonical(made_of: dict) -> str:
    return json.dumps(plain(made_of), sort_keys=True, ensure_ascii=False)


def load(room: str, made_of: dict) -> dict | None:
    """What ``save`` kept for the same ``made_of``; None where there is nothing whole."""
    used = _shipping.get()
    for root in (SHIPPED, folder()) if used is None else (SHIPPED,):
        file = _file(root, room, made_of)
        try:
            data = json.loads(gzip.decompress(file.read_bytes()))
            if _canonical(data["made_of"]) == _canonical(made_of):
                if used is not None:
                    used.add(file)
                return data["value"]
        except FileNotFoundError:
            continue
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
            _LOG.warning("A kept measurement of %s cannot be read, so it will be made again.", room)
    return None


def save(room: str, made_of: dict, value: dict) -> bool:
    """Keep ``value`` (JSON's own types, NumPy arrays and numbers); False where there is no room on the disk for it."""
    used = _shipping.get()
    file = _file(folder() if used is None else SHIPPED, room, made_of)
    text = json.dumps({"made_of": plain(made_of), "value": plain(value)}, ensure_ascii=False)
    draft = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as opened:
            draft = Path(opened.name)
            opened.write(gzip.compress(text.encode(), mtime=0))
            opened.flush()
            os.fsync(opened.fileno())
        draft.chmod(0o644)
        draft.replace(file)
        if used is not None:
            used.add(file)
    except OSError as error:
        _LOG.warning("A measurement of %s is not kept in CROSSTALK_CACHE: %s.", room, error.strerror)
        if draft:
            draft.unlink(missing_ok=True)
        return False
    return True
