"""A visitor's own evaluation set: a file that is not trusted."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis import archive
from analysis.bar import open_picture
from analysis.interference.dataset.conditions import ItemSet, item_set, lines_of
from models import evalset
from models.errors import EvalSetError, InputError

MOST_ITEMS = 2000
MOST_FILES = 4000  # of a .zip
MOST_BYTES = 200_000_000  # of a .zip, unpacked


@contextmanager
def opened(file: str | Path, kind: str) -> Iterator[ItemSet]:
    """A visitor's set: JSON Lines of text-only items, or a ``.zip`` of one such file and the pictures it names.

    What was unpacked is deleted at the end. Raises ``EvalSetError`` for any other file, for one that is too large or
    names places outside of it, and for what ``evalset.load`` and ``item_set`` refuse.
    """
    file = Path(file)
    with tempfile.TemporaryDirectory(prefix="crosstalk-set-") as folder:
        if file.suffix.lower() == ".zip":
            listed = _unpacked(file, Path(folder))
        elif file.suffix.lower() == ".jsonl":
            listed = Path(shutil.copy(file, Path(folder) / file.name))
        else:
            raise EvalSetError(f"{file.name!r} is no set: give a .jsonl, or a .zip of one .jsonl and its pictures.")
        try:
            items = evalset.load(listed)
        except EvalSetError as error:
            hint = " Pictures come with the .jsonl in one .zip." if "is not there" in str(error) else ""
            raise EvalSetError(str(error).replace(f"{listed.parent.name}/", "", 1) + hint) from error
        if len(items) > MOST_ITEMS:
            raise EvalSetError(f"{listed.name} has {len(items)} items; at most {MOST_ITEMS} are measured here.")
        for picture in {item.image for item in items if item.image}:
            _plain(picture, listed.name)
        yield item_set(kind, listed.name, items, lines_of(listed))


def _plain(picture: Path, of: str) -> None:
    """Write a picture anew as it will be read: upright, RGB, no larger than any other picture on the page."""
    try:
        opened = open_picture(picture)
    except InputError as error:
        raise EvalSetError(f"{of}: picture {picture.name!r}: {error}") from error
    opened.save(picture, "PNG", compress_level=1)


def _unpacked(file: Path, folder: Path) -> Path:
    """Unpack a ``.zip`` into ``folder``: pictures and one ``.jsonl``, whose path this returns."""
    written = archive.unpacked(file, folder, (*archive.PICTURES, ".jsonl"), MOST_FILES, MOST_BYTES, EvalSetError)
    listed = [path for path in written if path.suffix.lower() == ".jsonl"]
    if len(listed) != 1:
        raise EvalSetError(f"{file.name}: it holds {len(listed)} .jsonl files; a set is one, beside its pictures.")
    return listed[0]
