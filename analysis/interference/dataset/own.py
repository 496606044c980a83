"""A visitor's own evaluation set: a file that is not trusted."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis import archive
from analysis.bar import open_picture
from analysis.interference.dataset.measure import ItemSet, item_set
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
            kinds = (*archive.PICTURES, ".jsonl")
            written = archive.unpacked(file, Path(folder), kinds, MOST_FILES, MOST_BYTES, EvalSetError)
            found = [path for path in written if path.suffix.lower() == ".jsonl"]
            if len(found) != 1:
                count = f"{len(found)} .jsonl files"
                raise EvalSetError(f"{file.name}: it holds {count}; a set is one, beside its pictures.")
            listed = found[0]
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
            try:
                seen = open_picture(picture)
            except InputError as error:
                raise EvalSetError(f"{listed.name}: picture {picture.name!r}: {error}") from error
            # anew, as it will be read: upright, RGB, no larger than any other picture on the page
            seen.save(picture, "PNG", compress_level=1)
        yield item_set(kind, listed.name, items, listed)
