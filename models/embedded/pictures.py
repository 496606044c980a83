"""Drawings with names: about 1,500 emoji concepts in three art styles, kept in one Parquet file.

``python -m models.embedded.pictures`` builds the file from four npm packages; nothing else needs npm.
Columns: ``name`` (the everyday word where there is one, else the emojibase label), ``label``,
``synonyms`` (list), ``group``, ``style``, ``licence``, ``webp`` (bytes, transparent background).
"""

import argparse
import io
import json
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from models.embedded import ASSETS
from models.embedded.concepts import CONCEPTS
from models.embedded.looks import outline, poster

PARQUET = ASSETS / "pictures.parquet"
STYLES = ("fluent", "twemoji", "noto")
TRAINED_STYLES = STYLES[:2]
UNSEEN_STYLE = STYLES[2]
"""No drawing in this style is used in any training; every evaluation set is drawn in it."""
_RENDERED = {"outline": ("twemoji", outline), "poster": ("fluent", poster)}
LOOKS = (*TRAINED_STYLES, *_RENDERED)
"""What drawings look like in the training of tower and base: the two art styles, and two made from them by rule."""

_NAMES = "emojibase-data@17.0.0"
_ART = {
    "fluent": ("@lobehub/fluent-emoji-3d@1.1.0", "assets/{}.webp", "MIT"),
    "twemoji": ("emoji-datasource-twitter@16.0.0", "img/twitter/64/{}.png", "CC-BY-4.0"),
    "noto": ("emoji-datasource-google@16.0.0", "img/google/64/{}.png", "Apache-2.0"),
}
_LARGEST_SIDE = 160  # pixels kept of the 256 px drawings: what a scene shown at 448 px can use
PAGE, DRAWN = 160, 136  # pixels of a page with one drawing on it, and of the drawing's longer side
_FLAGS, _COMPONENTS = 9, 2  # emojibase groups that are no drawings of things


def _fetch(package: str, folder: Path) -> Path:
    archive = folder / (package.removeprefix("@").replace("/", "-").replace("@", "-") + ".tgz")
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
    return archive


def _read(archive: Path, wanted) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {
            m.name.removeprefix("package/"): tar.extractfile(m).read()
            for m in tar
            if m.isfile() and wanted(m.name.removeprefix("package/"))
        }


def _webp(data: bytes) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=82, method=4)
    return out.getvalue()


def _plain(hexcode: str) -> str:
    """Emoji code without the variation selector, which the packages write in different places."""
    return hexcode.lower().replace("-fe0f", "")


def build(folder: Path, out: Path = PARQUET) -> int:
    """Write the Parquet file from npm packages cached in ``folder``; returns the number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    names = _read(_fetch(_NAMES, folder), lambda n: n in ("en/data.json", "meta/groups.json"))
    groups = json.loads(names["meta/groups.json"])["groups"]
    spoken = {c.label: c.name for c in CONCEPTS.values()}
    art = {}
    for style, (package, pattern, _) in _ART.items():
        parent, _, suffix = pattern.partition("{}")
        files = _read(
            _fetch(package, folder),
            lambda n, p=parent, s=suffix: n.startswith(p) and n.endswith(s),
        )
        art[style] = {_plain(Path(n).stem): data for n, data in files.items()}
    rows = []
    for emoji in json.loads(names["en/data.json"]):
        group, code, label = emoji.get("group"), _plain(emoji["hexcode"]), emoji["label"]
        drawn = group not in (None, _FLAGS, _COMPONENTS) and "gender" not in emoji
        if not drawn or not all(code in pictures for pictures in art.values()):
            continue
        if label in CONCEPTS and label not in spoken:
            continue  # another drawing of what an everyday concept is called, such as the whole dog beside its face
        name = spoken.get(label, label)
        tags = [t for t in emoji.get("tags", []) if t not in (name, label)]
        synonyms = ([label] if name != label else []) + tags
        for style, (_, _, licence) in _ART.items():
            rows.append(
                {
                    "name": name,
                    "label": label,
                    "synonyms": synonyms,
                    "group": groups[str(group)],
                    "style": style,
                    "licence": licence,
                    "webp": _webp(art[style][code]),
                }
            )
    missing = set(CONCEPTS) - {r["name"] for r in rows}
    if missing:
        raise ValueError(f"no drawing in every art style for: {', '.join(sorted(missing))}")
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), out, compression="zstd")
    return len(rows)


@lru_cache(maxsize=1)
def table() -> list[dict]:
    """All rows of the Parquet file, as dictionaries, in a fixed order."""
    return pq.read_table(PARQUET).to_pylist()


@lru_cache(maxsize=1)
def _index() -> dict[tuple[str, str], int]:
    return {(row["name"], row["style"]): i for i, row in enumerate(table())}


@lru_cache(maxsize=6000)
def decode(row: int) -> Image.Image:
    """The drawing in ``row`` of the table, RGBA, cropped to what is drawn. Shared: do not modify it."""
    image = Image.open(io.BytesIO(table()[row]["webp"])).convert("RGBA")
    return image.crop(image.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())


def alone(row: int) -> Image.Image:
    """The drawing in ``row`` of the table in the middle of a white page, RGB, ``PAGE`` x ``PAGE``."""
    drawn = ImageOps.pad(decode(row), (DRAWN, DRAWN), color=(0, 0, 0, 0))
    page = Image.new("RGB", (PAGE, PAGE), "white")
    page.paste(drawn, ((PAGE - DRAWN) // 2,) * 2, drawn)
    return page


def picture(name: str, style: str) -> Image.Image:
    """The drawing of concept ``name`` in art ``style``, or in one of the rendered ``LOOKS``, RGBA, cropped to what is
    drawn.

    Raises ``KeyError`` for a name or style that is not in the file.
    """
    source, rendered = _RENDERED.get(style, (style, None))
    drawn = decode(_index()[name, source])
    return rendered(drawn) if rendered else drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--npm", type=Path, default=Path("build/npm"), help="where the npm packages are kept")
    print(f"{build(parser.parse_args().npm)} drawings in {PARQUET} ({PARQUET.stat().st_size / 1e6:.1f} MB)")
