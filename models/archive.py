"""Unpacking a visitor's ``.zip``: a file that is not trusted."""

import stat
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from models.errors import CrosstalkError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_PART = 1 << 20  # bytes unpacked at a time


def unpacked(
    file: Path,
    folder: Path,
    suffixes: Collection[str],
    most_files: int,
    most_bytes: int,
    error: type[CrosstalkError],
) -> list[Path]:
    """Unpack the files of a ``.zip`` into ``folder``, and give their paths in the order of the archive.

    What operating systems add is left out. Raises ``error`` for another suffix, too many files or bytes (counted as
    they come: what the archive says of itself may be wrong), names that lead out, links, and an archive that is
    broken or has a password.
    """

    def fail(what: str) -> CrosstalkError:
        return error(f"{file.name}: {what}")

    try:
        with zipfile.ZipFile(file) as packed:
            members = [m for m in packed.infolist() if not m.is_dir() and not _of_system(m.filename)]
            if len(members) > most_files:
                raise fail(f"it holds {len(members)} files; at most {most_files} are unpacked.")
            left, written = most_bytes, []
            for member in members:
                target = folder / _checked(member, suffixes, fail)
                size = _write(packed, member, target, left)
                if size > left:
                    raise fail(f"unpacked it is larger than {most_bytes // 1_000_000} MB.")
                left -= size
                written.append(target)
            return written
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as cause:
        raise fail("it cannot be unpacked: pack it again, without a password.") from cause
    except (OSError, ValueError) as cause:
        raise fail("a file in it has a name that cannot be written here: pack it again.") from cause


def _of_system(name: str) -> bool:
    """Whether a file is one that an operating system adds to folders."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or bool(parts) and parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _checked(member: zipfile.ZipInfo, suffixes: Collection[str], fail: Callable) -> PurePosixPath:
    """Where a file goes; raises what ``fail`` gives for one that must not go anywhere."""
    name, path = member.filename, PurePosixPath(member.filename)
    shown = name[:80]
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise fail(f"the name {shown!r} leads out of the archive.")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise fail(f"{shown!r} is a link or no plain file.")
    if path.suffix.lower() not in suffixes:
        others = " or ".join(s for s in suffixes if s not in PICTURES)
        raise fail(f"{shown!r} is neither a picture ({', '.join(PICTURES)}) nor a {others} file.")
    return path


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Unpack one file; its bytes, of which no more than a part beyond ``left`` are written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with packed.open(member) as source, target.open("xb") as out:
        while size <= left and (part := source.read(_PART)):
            size += len(part)
            if size <= left:
                out.write(part)
    return size
