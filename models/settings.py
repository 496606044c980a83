"""The host's settings, each once: environment variables called ``CROSSTALK_...``, read whenever they are asked for."""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from models.errors import ModelError

T = TypeVar("T")
_PREFIX = "CROSSTALK_"
_OF_TESTS = f"{_PREFIX}BROWSER_TESTS"  # read by the tests alone, which start the app in the same environment


class SettingError(ModelError):
    """A setting has a value that it cannot have."""


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting: what it does, how its text is read, and what holds where it is not set.

    ``read`` raises ``ValueError`` for a text that is not ``allowed``; ``shown`` is how the README tells the default.
    """

    name: str
    does: str
    read: Callable[[str], T]
    allowed: str
    default: Callable[[], T]
    shown: str

    def now(self) -> T:
        """The value that holds now. Raises ``SettingError`` with the name, what was wrong and what is allowed."""
        text = os.environ.get(self.name, "").strip()
        if not text:
            return self.default()
        try:
            return self.read(text)
        except (ValueError, OverflowError) as error:
            raise SettingError(f"{self.name}={text!r} is {self.allowed}.") from error


def _paths(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(os.pathsep) if part.strip())


def _gigabytes(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError
    return float(text)


def _bits(text: str) -> int:
    if text not in ("4", "8"):
        raise ValueError
    return int(text)


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # of a user whom this machine does not know
        raise ValueError from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosstalk"


def _closed(text: str) -> bool:
    return text.lower() not in ("0", "false", "no")  # whoever sets it to anything else meant to close the server


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


MODEL = Setting(
    "CROSSTALK_MODEL", "a model folder or Hub id, listed beside the embedded default",
    str, "neither a folder nor a Hub id such as owner/name", str, "none",
)  # fmt: skip
CHECKPOINTS = Setting(
    "CROSSTALK_CHECKPOINTS", "its checkpoint sets: folders or Hub ids, separated by `:`",
    _paths, "neither a folder nor a Hub id such as owner/name", tuple, "none",
)  # fmt: skip
FOLDERS = Setting(
    "CROSSTALK_FOLDERS", "folders whose models may be typed into the model list by name, separated by `:`",
    _paths, "not a folder", tuple, "none",
)  # fmt: skip
MEMORY = Setting(
    "CROSSTALK_MEMORY", "GB that open models may take together; the least recently used is closed",
    _gigabytes, "not a number of GB above 0, such as 24 or 7.5", lambda: None, "80 % of the GPUs, or of the machine",
)  # fmt: skip
QUANTIZE = Setting(
    "CROSSTALK_QUANTIZE", "`4` or `8` bits a weight, on CUDA with bitsandbytes; never the embedded model",
    _bits, "neither 4 nor 8", lambda: None, "not quantised",
)  # fmt: skip
CACHE = Setting(
    "CROSSTALK_CACHE", "where measurements of whole sets are kept",
    _folder, "not a folder's path", _cache, "`~/.cache/crosstalk`",
)  # fmt: skip
PUBLIC = Setting(
    "CROSSTALK_PUBLIC", "strangers open listed models only; off where it is `0`, `false` or `no`",
    _closed, "neither yes nor no", lambda: bool(os.environ.get("SPACE_ID")), "on on a Space, else off",
)  # fmt: skip
QUEUE = Setting(
    "CROSSTALK_QUEUE", "how many requests of one kind may wait; the next is told to come back later",
    _count, "not a whole number from 1 up", lambda: 64, "64",
)  # fmt: skip
UPLOAD = Setting(
    "CROSSTALK_UPLOAD", "MB of the largest file that a visitor may send",
    _count, "not a whole number of MB from 1 up", lambda: 25, "25",
)  # fmt: skip

ALL: tuple[Setting, ...] = (MODEL, CHECKPOINTS, FOLDERS, MEMORY, QUANTIZE, CACHE, PUBLIC, QUEUE, UPLOAD)


def wrong() -> list[str]:
    """What cannot be read, a message for each setting."""
    found = []
    for setting in ALL:
        try:
            setting.now()
        except SettingError as error:
            found.append(str(error))
    return found


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A message for each variable that looks like a setting and is none, with the setting that may be meant."""
    known = [setting.name.removeprefix(_PREFIX) for setting in ALL]
    found = []
    for name in sorted(n for n in environment if n.startswith(_PREFIX) and n != _OF_TESTS):
        own = name.removeprefix(_PREFIX)
        if own in known:
            continue
        near = difflib.get_close_matches(own.upper(), known, 1)
        hint = f"did you mean {_PREFIX}{near[0]}?" if near else f"there are: {', '.join(s.name for s in ALL)}."
        found.append(f"There is no setting {name}: {hint}")
    return found
