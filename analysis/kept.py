"""Raw measurements kept on disk, by what they were made of: a model, a checkpoint, data, settings.

``gathered`` is the loop over the measurements of a room, ``single`` the one of a measurement that has no items. Both
build the key themselves, so none can leave out what changes its numbers: the version of how it is measured, and the
fingerprint of the weights, with the bits they are quantised to.

An entry is one gzipped JSON file, ``<room>/<hash of made_of>.json.gz``, ``{"made_of": ..., "value": ...}``. What the
repository ships lies in ``assets/embedded/measured``; what was measured here, in ``CROSSTALK_CACHE`` (default
``~/.cache/crosstalk``). A file is written beside its place and moved there when it is whole, so a reader, or another
process, never sees half of one; a file that cannot be read counts as none. Items of a measurement that is not whole
yet are kept in ``<hash of made_of>.parts`` beside it. What cannot be written is kept in memory as long as the process
lives, and says so.
"""

import gzip
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.result import plain
from models import fingerprint, settings

if TYPE_CHECKING:
    from models.checkpoints import Weights
    from models.dual_encoder import DualEncoder
    from models.mllm import MLLM

    Model = MLLM | DualEncoder | fingerprint.Unopened

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "embedded" / "measured"
_LOG = logging.getLogger(__name__)
_shipping: ContextVar[set[Path] | None] = ContextVar("shipping", default=None)

_ITEMS, _SECONDS = 100, 30.0  # after so many items, or so long, what was measured is kept though its cell is not whole
_MEMORY = 64e6  # bytes of entries that could not be written

Progress = Callable[[float, str], None]


def quiet(share: float, what: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Cell:
    """One measurement: ``n`` items seen by ``weights``, or by several, a list.

    ``by`` is all else that its numbers hang on, in JSON's types: data as fingerprints, settings. ``title`` is how
    progress calls it, ``of`` what ``measure`` needs to know. ``seed`` and ``called``, in the place of the weights' own
    name, go into its provenance.
    """

    weights: "Weights | list[Weights]"
    by: dict
    title: str
    n: int = 0
    of: object = None
    seed: int | None = None
    called: str = ""


def key(version: int, model: "Model", cell: Cell) -> dict:
    """What a cell is made of: ``by``, and what no measurement may leave out. Raises ``CheckpointError`` for unknown
    weights.
    """
    many = isinstance(cell.weights, list)
    made_by = [fingerprint.of(model, w) for w in cell.weights] if many else fingerprint.of(model, cell.weights)
    return {**cell.by, "version": version, "model": made_by, **({"n": cell.n} if cell.n else {})}


def gathered(
    room: str, version: int, model: "Model", plan: Sequence[Cell],
    measure: Callable[[Cell, list[int]], Iterable[tuple[int, dict]]], progress: Progress = quiet,
    only_kept: bool = False
) -> list[dict | None]:
    """The value of every cell of ``plan``, in its order: what is kept is loaded, what is missing is measured and kept.

    ``measure(cell, places)`` yields ``(place, row)`` for each of the items at ``places`` (0 to n - 1), in any order, as
    soon as it has one. A value has the rows' fields as lists in the order of the items, and ``provenance``, the fields
    of ``Provenance``. Rows are kept as they come, so a run that was stopped or killed goes on where it was.
    ``progress`` is told the share done of what is missing, and what is at work; what it raises stops it. With
    ``only_kept`` nothing is measured: None stands for what is missing, and ``model`` may be one that is not open.
    Raises ``CheckpointError`` for unknown weights, and what ``measure`` raises.
    """
    made_of = [key(version, model, cell) for cell in plan]
    found = [load(room, of) for of in made_of]
    if only_kept:
        return found
    missing = [i for i, value in enumerate(found) if value is None]
    total, done = sum(plan[i].n for i in missing), 0
    for i in missing:
        cell = plan[i]

        def told(rows: int, cell=cell, done=done) -> None:
            progress((done + rows) / total, f"{cell.title}: {rows} of {cell.n} items")

        # it may be twice in the plan, or somebody else measured it meanwhile
        found[i] = load(room, made_of[i]) or _measured(room, made_of[i], model, cell, measure, told)
        done += cell.n
    return found


def single(
    room: str, version: int, model: "Model", cell: Cell, measure: Callable[[], dict], progress: Progress = quiet,
    only_kept: bool = False
) -> dict | None:
    """The same of one measurement that is whole or nothing: ``measure()`` returns its value without a provenance, and
    tells ``progress`` itself.
    """
    made_of = key(version, model, cell)
    value = load(room, made_of)
    if value is None and not only_kept:
        progress(0.0, cell.title)
        began = time.perf_counter()
        value = _kept(room, made_of, model, cell, measure(), time.perf_counter() - began)
    return value


def _measured(room: str, made_of: dict, model: "Model", cell: Cell, measure: Callable, told: Callable) -> dict:
    parts = _Parts(room, made_of)
    told(len(parts.rows))
    places = [place for place in range(cell.n) if place not in parts.rows]
    try:
        for place, row in measure(cell, places):
            parts.add(place, row)
            if len(parts.rows) < cell.n:  # of the last one the next cell tells, once this one is kept
                told(len(parts.rows))
    except BaseException:
        parts.write()  # who stopped it may come back
        raise
    seconds = parts.seconds()
    value = _kept(room, made_of, model, cell, columns([parts.rows[place] for place in range(cell.n)]), seconds)
    if "note" not in value["provenance"]:
        parts.remove()
    return value


def _kept(room: str, made_of: dict, model: "Model", cell: Cell, value: dict, seconds: float) -> dict:
    """``value`` with its provenance, saved; as it will be loaded."""
    by = model.provenance(cell.called or cell.weights, cell.seed, seconds)
    value = plain({**value, "provenance": by})
    save(room, made_of, value)
    return value


def columns(rows: list):
    """Rows of equal fields as lists by field; fields within fields alike."""
    if isinstance(rows[0], dict):
        return {name: columns([row[name] for row in rows]) for name in rows[0]}
    return rows


class _Parts:
    """The rows of a cell that is not whole yet, by place: those that are kept, and those that are added."""

    def __init__(self, room: str, made_of: dict):
        file = _file(_root(), room, made_of)
        self._folder, self._made_of = file.with_name(f"{file.name.removesuffix('.json.gz')}.parts"), made_of
        self.rows: dict[int, dict] = {}
        self._seconds = 0.0  # that the kept ones took
        self._new: dict[int, dict] = {}
        for part in sorted(self._folder.glob("*.json.gz")):
            if value := _read(part, room, made_of):
                self.rows |= zip(value["places"], value["rows"], strict=True)
                self._seconds += value["seconds"]
        self._since = time.perf_counter()

    def add(self, place: int, row: dict) -> None:
        self.rows[place] = self._new[place] = plain(row)
        if len(self._new) >= _ITEMS or time.perf_counter() - self._since >= _SECONDS:
            self.write()

    def write(self) -> None:
        """Keep what was added. Where it cannot be written, it is lost with the process, as ``save`` tells."""
        if not self._new:
            return
        now = time.perf_counter()
        value = {"places": list(self._new), "rows": list(self._new.values()), "seconds": now - self._since}
        with suppress(OSError):
            _write(self._folder / f"{time.time_ns()}-{os.getpid()}.json.gz", self._made_of, value)
        self._seconds, self._since, self._new = self._seconds + value["seconds"], now, {}

    def seconds(self) -> float:
        """How long all rows took."""
        return self._seconds + time.perf_counter() - self._since

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


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


def folder() -> Path:
    """Where measurements made here are kept."""
    return settings.CACHE.now()


def _root() -> Path:
    return folder() if _shipping.get() is None else SHIPPED


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
        if (value := _read(file, room, made_of)) is not None:
            if used is not None:
                used.add(file)
            return value
    data = _unwritten.get(_file(_root(), room, made_of))
    return data and json.loads(gzip.decompress(data))["value"]


def _read(file: Path, room: str, made_of: dict) -> dict | None:
    try:
        data = json.loads(gzip.decompress(file.read_bytes()))
        return data["value"] if _canonical(data["made_of"]) == _canonical(made_of) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
        _LOG.warning("A kept measurement of %s cannot be read, so it will be made again.", room)
        return None


def save(room: str, made_of: dict, value: dict) -> bool:
    """Keep ``value`` (JSON's own types, NumPy arrays and numbers); False where it cannot be written.

    It is then kept in memory, and a ``note`` in its provenance, here too, says so. Raises ``OSError`` while shipping,
    which would delete what it could not replace.
    """
    file, used = _file(_root(), room, made_of), _shipping.get()
    try:
        _write(file, made_of, value)
    except OSError as error:
        if used is not None:
            raise
        _LOG.warning("A measurement of %s is not kept in CROSSTALK_CACHE: %s.", room, error.strerror)
        if "provenance" in value:
            value["provenance"]["note"] = f"not kept, as CROSSTALK_CACHE cannot be written ({error.strerror})"
        _unwritten.put(file, _packed(made_of, value))
        return False
    if used is not None:
        used.add(file)
    return True


def _packed(made_of: dict, value: dict) -> bytes:
    text = json.dumps({"made_of": plain(made_of), "value": plain(value)}, ensure_ascii=False)
    return gzip.compress(text.encode(), mtime=0)


def _write(file: Path, made_of: dict, value: dict) -> None:
    """Write an entry as a whole or not at all. Raises ``OSError``."""
    draft = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as opened:
            draft = Path(opened.name)
            opened.write(_packed(made_of, value))
            opened.flush()
            os.fsync(opened.fileno())
        draft.chmod(0o644)
        draft.replace(file)
    except OSError:
        if draft:
            draft.unlink(missing_ok=True)
        raise


class _Memory:
    """Entries that could not be written, by the file they would be: the newest, up to so many ``bytes``."""

    def __init__(self, most: float):
        self._most, self._data, self._lock = most, OrderedDict(), threading.Lock()

    def get(self, file: Path) -> bytes | None:
        with self._lock:
            if file in self._data:
                self._data.move_to_end(file)
            return self._data.get(file)

    def put(self, file: Path, data: bytes) -> None:
        with self._lock:
            self._data[file] = data
            self._data.move_to_end(file)
            while len(self._data) > 1 and sum(map(len, self._data.values())) > self._most:
                self._data.popitem(last=False)


_unwritten = _Memory(_MEMORY)
