import io
import json
import tarfile
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from models.embedded import pictures
from models.embedded.concepts import CONCEPTS
from models.embedded.pictures import STYLES, TRAINED_STYLES, UNSEEN_STYLE, picture, table


def test_every_drawing_is_there_once_in_every_style_with_its_licence():
    assert set(Counter((row["label"], row["style"]) for row in table()).values()) == {1}
    per_label = Counter(row["label"] for row in table())
    assert set(per_label.values()) == {len(STYLES)} and len(per_label) > 1400
    licences = {"fluent": "MIT", "twemoji": "CC-BY-4.0", "noto": "Apache-2.0"}
    assert all(row["licence"] == licences[row["style"]] for row in table())


def test_unseen_style_is_no_trained_style():
    assert UNSEEN_STYLE in STYLES and UNSEEN_STYLE not in TRAINED_STYLES


@pytest.mark.parametrize("style", STYLES)
def test_a_concept_is_drawn_by_the_emoji_it_stands_for(style):
    """Also where another emoji has the concept's everyday name: a dog's face, not the whole dog."""
    webp = {row["label"]: row["webp"] for row in table() if row["style"] == style}
    for name, concept in CONCEPTS.items():
        whole = Image.open(io.BytesIO(webp[concept.label])).convert("RGBA")
        y, x = np.nonzero(np.asarray(whole)[..., 3] > 16)
        expected = np.asarray(whole)[y.min() : y.max() + 1, x.min() : x.max() + 1]
        assert np.array_equal(np.asarray(picture(name, style)), expected), name


@pytest.mark.parametrize(("name", "style"), [("no such thing", "noto"), ("bee", "no such style")])
def test_unknown_pictures_raise(name, style):
    with pytest.raises(KeyError):
        picture(name, style)


def _archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _drawing(side):
    out = io.BytesIO()
    Image.new("RGBA", (side, side), (200, 30, 30, 255)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def npm(tmp_path):
    """A folder with four small npm packages: all concepts, and drawings that must not be taken."""
    emoji = [
        {"hexcode": f"{0x1F000 + i:X}-FE0F", "label": c.label, "group": 3, "tags": ["keyword", c.name]}
        for i, c in enumerate(CONCEPTS.values())
    ]
    emoji += [
        {"hexcode": "A1", "label": "a flag", "group": 9, "tags": []},
        {"hexcode": "A2", "label": "a skin tone", "group": 2, "tags": []},
        {"hexcode": "A3", "label": "a man cook", "group": 3, "gender": 1, "tags": []},
        {"hexcode": "A4", "label": "a letter", "tags": []},
        {"hexcode": "A5", "label": "drawn in two styles", "group": 3, "tags": []},
    ]
    groups = json.dumps({"groups": {"3": "animals-nature"}}).encode()
    _archive(
        tmp_path / "emojibase-data-17.0.0.tgz", {"en/data.json": json.dumps(emoji).encode(), "meta/groups.json": groups}
    )
    codes = [e["hexcode"].lower() for e in emoji]
    large, small = _drawing(256), _drawing(64)
    fluent = {f"assets/{code.removesuffix('-fe0f')}.webp": large for code in codes}
    _archive(tmp_path / "lobehub-fluent-emoji-3d-1.1.0.tgz", fluent)
    twitter = {f"img/twitter/64/{code}.png": small for code in codes}
    _archive(tmp_path / "emoji-datasource-twitter-16.0.0.tgz", twitter)
    google = {f"img/google/64/{code}.png": small for code in codes if code != "a5"}
    _archive(tmp_path / "emoji-datasource-google-16.0.0.tgz", google)
    return tmp_path


def test_build_takes_what_is_drawn_in_every_style(npm):
    out = npm / "out.parquet"
    assert pictures.build(npm, out) == len(CONCEPTS) * len(STYLES)
    rows = pq.read_table(out).to_pylist()
    assert {row["label"] for row in rows} == {c.label for c in CONCEPTS.values()}
    bee = next(row for row in rows if row["name"] == "bee")
    assert (bee["label"], bee["synonyms"], bee["group"]) == ("honeybee", ["honeybee", "keyword"], "animals-nature")
    sizes = {row["style"]: Image.open(io.BytesIO(row["webp"])).size for row in rows}
    assert sizes == {"fluent": (160, 160), "twemoji": (64, 64), "noto": (64, 64)}


def test_build_names_the_concept_that_has_no_drawing(npm, monkeypatch):
    unknown = CONCEPTS["bee"].__class__("unicorn horn", "unicorn horn", "thing", "base")
    monkeypatch.setitem(pictures.CONCEPTS, "unicorn horn", unknown)
    with pytest.raises(ValueError, match="unicorn horn"):
        pictures.build(npm, npm / "out.parquet")
