"""Backgrounds: the old kinds to the pixel, the busy ones the same at any time and size, what is kept out kept out."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from models.embedded import photographs
from models.embedded.backgrounds import (
    BACKGROUNDS,
    BUSY,
    KEPT_OUT,
    Background,
    any_background,
    busy_background,
    random_background,
)
from models.embedded.scenes import Scene, dressed, random_scene

_OLD = {
    "plain": "9024685d98ed", "gradient": "010b51a619b4", "stripes": "406cea8c6409", "checks": "edd07fd497ba",
    "dots": "cc4457a42820",
    "blobs": "4d1eb065ad70",
}  # fmt: skip
"""SHA-256 (first 12 digits) of what each kind rendered as when the shipped measurements were made, 96 pixels a side."""


def pixels(background, size=96):
    return np.asarray(background.render(size)).astype(int)


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_plain_kinds_render_as_when_they_were_measured(kind):
    shown = Background(kind, ((200, 180, 40), (90, 160, 210)), 5, 7).render(96)
    assert hashlib.sha256(shown.tobytes()).hexdigest()[:12] == _OLD[kind]


def test_the_stream_of_plain_backgrounds_is_as_it_was():
    rng = np.random.default_rng(0)
    told = json.dumps([asdict(random_background(rng)) for _ in range(50)])
    assert hashlib.sha256(told.encode()).hexdigest()[:12] == "98ad52bcd390"


@pytest.mark.parametrize("kind", [*BUSY, KEPT_OUT])
def test_a_busy_background_is_its_seed(kind):
    rng = np.random.default_rng(0)
    first, second = (busy_background(rng, kind) for _ in range(2))
    again = Scene.from_dict(json.loads(json.dumps(Scene((), first).to_dict()))).background
    assert again == first
    assert np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(second))
    assert first.render(40).size == (40, 40) and first.render(40).mode == "RGB"


@pytest.mark.parametrize("kind", [*BUSY, KEPT_OUT])
def test_people_and_model_see_the_same_background(kind):
    rng, gaps, others = np.random.default_rng(1), [], []
    for _ in range(6):
        background = busy_background(rng, kind)
        small = pixels(background)
        large = np.asarray(background.render(448).resize((96, 96), Image.Resampling.BOX)).astype(int)
        gaps.append(np.abs(large - small).mean())
        others.append(np.abs(large[:, ::-1] - small).mean())
    assert np.mean(gaps) < 0.4 * np.mean(others)


def test_what_is_kept_out_is_in_no_training_background():
    rng = np.random.default_rng(0)
    drawn = [any_background(rng, 0.75) for _ in range(2000)]
    kinds = Counter(b.kind for b in drawn)
    assert set(kinds) == {*BACKGROUNDS, *BUSY} and KEPT_OUT not in kinds
    busy = sum(kinds[k] for k in BUSY)
    assert abs(busy / 2000 - 0.75) < 4 * (0.1875 / 2000) ** 0.5
    assert all(abs(kinds[k] - busy / 4) < 4 * (busy * 3 / 16) ** 0.5 for k in BUSY)
    names = [row["name"] for row in photographs.table()]
    assert {names[b.grain] for b in drawn if b.kind == "photo"} == set(photographs.TRAINED)
    assert not set(photographs.TRAINED) & set(photographs.KEPT_OUT)


def test_photographs_are_free_and_told():
    rows = photographs.table()
    assert {row["name"] for row in rows} == {*photographs.TRAINED, *photographs.KEPT_OUT}
    assert {row["licence"] for row in rows} <= {"CC0-1.0", "CC-BY-2.0", "public domain"}
    told = (photographs.ASSETS / "LICENCES.md").read_text(encoding="utf-8")
    assert all(f"`{row['name']}`" in told and row["author"] in told for row in rows)
    assert photographs.PARQUET.stat().st_size < 2e6
    crop = pixels(busy_background(np.random.default_rng(0), "photo", photographs.KEPT_OUT))
    assert crop.std() > 10
    with pytest.raises(KeyError):
        photographs.photograph("no such photograph")


def test_dressed_keeps_the_things_and_squeezes_them_inside_their_boxes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = random_scene(rng, ["bee", "car", "tree"], ("fluent", "outline"), 0.0)
        found = dressed(rng, scene, 1.0)
        assert found.background.kind in BUSY
        for now, before in zip(found.items, scene.items, strict=True):
            assert (now.name, now.style, now.angle, now.flip) == (before.name, before.style, before.angle, before.flip)
            kept = [(now.box[i + 2] - now.box[i]) / (before.box[i + 2] - before.box[i]) for i in (0, 1)]
            assert max(kept) == pytest.approx(1) and 0.8 <= min(kept) <= 1
            assert np.allclose(now.centre, before.centre)
