"""Pictures with their texts, what a space is measured on: the embedded drawings, or a visitor's own, in a ``.zip`` that
is not trusted."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.embedding_space.maps import LEAST
from models import archive, fingerprint
from models.embedded.phases import DOMAINS
from models.embedded.pictures import DRAWN, PAGE, PARQUET, STYLES, UNSEEN_STYLE, alone, table
from models.errors import InputError
from models.files import inside, is_file, parsed
from models.images import open_picture

MOST_PAIRS = 5000
MOST_FILES = 2 * MOST_PAIRS + 1
MOST_BYTES = 500_000_000  # unpacked
MOST_DOMAINS = 40
ALL = "all"  # the domain of pairs that name none
_CAPTION, _LIST = ".txt", ".jsonl"
_LONGEST = 2000  # letters of a text; models read far fewer
_NAMED = 3  # files that a message names

_Rows = list[tuple[Path, str, str]]  # picture, text, domain


@dataclass(frozen=True, eq=False)
class Pairs(Sequence):
    """``texts`` ``[n]`` with ``picture(i)`` of each, and the domain of each; ``data`` is the fingerprint of all.

    As a sequence, its pictures, each opened when it is asked for.
    """

    name: str
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    picture: Callable[[int], Image.Image]
    data: str

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self.picture(i) for i in range(*place.indices(len(self)))]
        return self.picture(range(len(self))[place])

    def sample(self, most: int | None, seed: int = 0) -> np.ndarray:
        """Places of at most ``most`` pairs of each domain, sorted: a seeded draw; of all pairs where it is None."""
        if most is None:
            return np.arange(len(self))
        rng, domains = np.random.default_rng(seed), np.asarray(self.domains)
        places = [np.flatnonzero(domains == d) for d in dict.fromkeys(self.domains)]
        return np.sort(np.concatenate([p if len(p) <= most else rng.choice(p, most, replace=False) for p in places]))


@lru_cache(maxsize=len(STYLES))
def drawings(style: str = UNSEEN_STYLE) -> Pairs:
    """Every drawing of the embedded default in one art style, alone on white, with its name, by domain.

    The default style was never trained on. Raises ``InputError`` for an unknown one.
    """
    if style not in STYLES:
        raise InputError(f"There is no art style {style!r}. There are: {', '.join(STYLES)}.")
    of = {group: domain for domain, groups in DOMAINS.items() for group in groups}
    rows = [i for i, row in enumerate(table()) if row["style"] == style]
    rows.sort(key=lambda i: (list(DOMAINS).index(of[table()[i]["group"]]), table()[i]["name"]))
    texts = tuple(table()[i]["name"] for i in rows)
    domains = tuple(of[table()[i]["group"]] for i in rows)
    data = json.dumps([fingerprint.of_path(PARQUET), style, PAGE, DRAWN, DOMAINS])
    return Pairs(f"drawings, {style}", texts, domains, lambda place: alone(rows[place]), data)


def opened(file: str | Path) -> Pairs:
    """The pairs in a ``.zip``: of a JSON Lines file of ``{"image", "text", "domain"?}`` and the pictures it names, or
    of pictures with their captions, ``cat.png`` with ``cat.txt``, whose folder is their domain.

    What was unpacked stays as long as the pairs do. Raises ``InputError`` naming the file, and the line and field, for
    all else: captions without pictures and the reverse, fewer than ``LEAST`` pairs or more than ``MOST_PAIRS``, what
    ``archive.unpacked`` refuses, and what is no picture.
    """
    file = Path(file)
    if file.suffix.lower() == _LIST:
        raise InputError(f"{file.name} comes without its pictures: pack both in one .zip.")
    if file.suffix.lower() != ".zip":
        raise InputError(f"{file.name!r} holds no pairs: give a .zip of pictures and their texts.")
    folder = tempfile.TemporaryDirectory(prefix="crosstalk-pairs-", ignore_cleanup_errors=True)
    try:
        return _pairs(file, folder)
    except BaseException:
        folder.cleanup()
        raise


def _pairs(file: Path, folder: tempfile.TemporaryDirectory) -> Pairs:
    root = Path(folder.name).resolve()
    suffixes = (*archive.PICTURES, _CAPTION, _LIST)
    written = archive.unpacked(file, root, suffixes, MOST_FILES, MOST_BYTES, InputError)
    lists = [path for path in written if path.suffix.lower() == _LIST]
    if len(lists) > 1:
        raise InputError(f"{file.name}: it holds {len(lists)} {_LIST} files; pairs are listed in one.")
    if lists:
        lines = enumerate(_read(lists[0]).split("\n"), 1)
        rows = [_row(lists[0], f"{lists[0].name}, line {i}", line) for i, line in lines if line.strip()]
    else:
        rows = _captioned(file.name, root, written)
    domains = list(dict.fromkeys(domain for _, _, domain in rows))
    if not LEAST <= len(rows) <= MOST_PAIRS:
        raise InputError(f"{file.name}: the number of pairs is {len(rows)}; it must be {LEAST} to {MOST_PAIRS}.")
    if len(domains) > MOST_DOMAINS:
        raise InputError(f"{file.name}: it has {len(domains)} domains; at most {MOST_DOMAINS} can be told apart.")
    for picture in dict.fromkeys(path for path, _, _ in rows):
        _open(picture)  # a broken one is told now, not in the middle of the work
    texts = tuple(text for _, text, _ in rows)
    return Pairs(file.name, texts, tuple(d for _, _, d in rows), _Unpacked(rows, folder), fingerprint.of_path(root))


class _Unpacked:
    """A picture by its place. The folder goes when nobody can ask for one any more, in the process that unpacked it."""

    def __init__(self, rows: _Rows, folder: tempfile.TemporaryDirectory | None = None):
        self._rows, self._folder = rows, folder

    def __call__(self, place: int):
        return _open(self._rows[place][0])

    def __reduce__(self):
        return _Unpacked, (self._rows,)


def _open(path: Path):
    try:
        return open_picture(path)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not written in UTF-8: save it so.") from error


def _row(file: Path, where: str, line: str) -> tuple[Path, str, str]:
    try:
        data = parsed(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON.") from error
    if not isinstance(data, dict):
        raise InputError(f"{where}: not an object with fields.")
    domain = ALL if data.get("domain") is None else data["domain"]
    for key, value in (("image", data.get("image")), ("text", data.get("text")), ("domain", domain)):
        if not isinstance(value, str) or not value.strip():
            raise InputError(f'{where}: field "{key}" is missing, empty or no text.')
    picture = file.parent / data["image"]
    if "\0" in data["image"] or not inside(file.parent, picture):
        raise InputError(f'{where}: field "image" leads out of the archive.')
    if not is_file(picture) or picture.suffix.lower() not in archive.PICTURES:
        raise InputError(f'{where}: field "image": there is no picture {data["image"][:80]!r} in the archive.')
    return picture.resolve(), data["text"].strip()[:_LONGEST], domain.strip()


def _captioned(name: str, root: Path, written: Sequence[Path]) -> _Rows:
    captions = {path.with_suffix(""): path for path in written if path.suffix.lower() == _CAPTION}
    pictures = [path for path in written if path.suffix.lower() != _CAPTION]
    shown = {path.with_suffix("") for path in pictures}
    alone = [path for stem, path in captions.items() if stem not in shown]
    if alone:
        raise InputError(f"{name}: captions without a picture of the same name: {_names(alone, root)}.")
    if bare := [path for path in pictures if path.with_suffix("") not in captions]:
        raise InputError(f"{name}: pictures without a caption ({_CAPTION} of the same name): {_names(bare, root)}.")
    rows = []
    for path in pictures:
        text = _read(captions[path.with_suffix("")]).strip()
        if not text:
            raise InputError(f"{name}: the caption of {_names([path], root)} is empty.")
        rows.append((path, text[:_LONGEST], ALL if path.parent == root else path.parent.name))
    return rows


def _names(paths: Sequence[Path], root: Path) -> str:
    told = ", ".join(str(path.relative_to(root))[:80] for path in paths[:_NAMED])
    return told if len(paths) <= _NAMED else f"{told} and {len(paths) - _NAMED} more"
