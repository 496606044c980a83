"""A visitor's own evaluation set: files that are not trusted."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models import archive, evalset
from models.errors import EvalSetError, InputError
from models.evalset import EvalItem
from models.files import lines_of, nameless, parsed, told
from models.images import open_picture

MOST_ITEMS = 3000  # a subset of POPE
MOST_FILES = 4000  # of a .zip
MOST_BYTES = 200_000_000  # of a .zip, unpacked
_LISTS = (".jsonl", ".json")


@dataclass(frozen=True)
class Own:
    """The ``items`` of a list that its owner calls ``name``, and the number of the line of each."""

    name: str
    items: tuple[EvalItem, ...]
    lines: tuple[int, ...]


@contextmanager
def opened(files: str | Path | Sequence[str | Path]) -> Iterator[Own]:
    """A visitor's set: a list of items in JSON Lines, alone, beside the pictures that it names (whatever their folders
    were), or with them in one ``.zip``.

    A line is an item of the project's format, or of POPE's, ``{"question_id", "image", "text", "label"}``. Pictures are
    written anew, as they will be read, and all are gone once it is left. Raises ``EvalSetError`` for other files, for
    too many or too large ones, for names that lead out, and for what ``evalset.load`` refuses, naming file, line and
    field as the visitor calls them.
    """
    files = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    packed = len(files) == 1 and files[0].suffix.lower() == ".zip"
    with tempfile.TemporaryDirectory(prefix="crosstalk-set-") as made:
        folder = Path(made).resolve()
        listed = _unpacked(files[0], folder) if packed else _copied(files, folder)
        try:
            rows = lines_of(listed, EvalSetError)
            listed.write_text("\n".join(_line(row, flat=not packed) for row in rows), encoding="utf-8")
            items = evalset.load(listed)
        except EvalSetError as error:
            hint = " Pictures come with their list, for example in one .zip." if "is not there" in str(error) else ""
            own = str(listed.relative_to(folder))
            raise EvalSetError(str(error).replace(told(listed), own) + hint) from error
        if len(items) > MOST_ITEMS:
            raise EvalSetError(f"{listed.name} has {len(items)} items; at most {MOST_ITEMS} are measured here.")
        for picture in dict.fromkeys(item.image for item in items if item.image):
            try:
                seen = open_picture(picture)
            except InputError as error:
                raise EvalSetError(f"{listed.name}: picture {picture.name!r}: {error}") from error
            seen.save(picture, "PNG", compress_level=1)
        yield Own(listed.name, tuple(items), tuple(n for n, row in enumerate(rows, 1) if row.strip()))


def _unpacked(file: Path, folder: Path) -> Path:
    """The one list of an archive, beside the pictures that came with it."""
    written = archive.unpacked(file, folder, (*archive.PICTURES, *_LISTS), MOST_FILES, MOST_BYTES, EvalSetError)
    found = [path for path in written if path.suffix.lower() in _LISTS]
    if len(found) != 1:
        raise EvalSetError(f"{file.name}: it holds {len(found)} .jsonl files; a set is one, beside its pictures.")
    return found[0]


def _copied(files: Sequence[Path], folder: Path) -> Path:
    """The one list among files that came side by side."""
    lists = [file for file in files if file.suffix.lower() in _LISTS]
    if others := [file for file in files if file not in lists and file.suffix.lower() not in archive.PICTURES]:
        raise EvalSetError(
            f"{nameless(others[0].name)!r} is no set: give a .jsonl with a JSON object a line, beside the pictures "
            "that it names, or one .zip of both."
        )
    if len(lists) != 1:
        raise EvalSetError(
            f"{len(lists) or 'No'} JSONL file{'s' * (len(lists) != 1)} among what was uploaded: choose one file with a "
            "JSON object a line, and the pictures that it names."
        )
    names = Counter(file.name for file in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise EvalSetError(f"There are two files called {twice[0]}: the pictures of a set need names of their own.")
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return folder / lists[0].name


def _line(line: str, flat: bool) -> str:
    """A line of an own set in the project's format, its picture by the file name alone where it is ``flat``."""
    try:
        item = parsed(line)
    except ValueError:
        return line  # the set's own check names the line
    if not isinstance(item, dict):
        return line
    if flat and isinstance(item.get("image"), str):
        item["image"] = Path(item["image"]).name
    if "text" in item and "label" in item:  # POPE's own
        given = {"question": item["text"], "answer": item["label"], "choices": ["yes", "no"], "style": "yes/no"}
        item = {"image": item.get("image"), **given}
    return json.dumps(item, ensure_ascii=False)
