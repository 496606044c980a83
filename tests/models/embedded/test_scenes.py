import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from models.embedded.backgrounds import Background
from models.embedded.concepts import CONCEPTS, PARTNERS, learnt_in
from models.embedded.pictures import STYLES, TRAINED_STYLES
from models.embedded.scenes import Item, Scene, choose_names, random_scene

WHITE, BLACK = Background(), Background(colours=((0, 0, 0), (0, 0, 0)))


def scenes(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [random_scene(rng, list(CONCEPTS), STYLES, 0.5, **options) for _ in range(count)]


def pixels(scene, size):
    return np.asarray(scene.render(size)).astype(int)


def test_boxes_bound_what_is_drawn():
    """What is drawn hides the background: there, a white and a black page look the same."""
    size = 448
    for scene in scenes(15):
        for item in scene.items:
            covered = 255 - (pixels(Scene((item,), WHITE), size) - pixels(Scene((item,), BLACK), size)).max(2)
            y, x = np.nonzero(covered > 16)
            drawn = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            assert np.abs(drawn - size * np.array(item.box)).max() < 3, item


def test_same_seed_same_scene():
    first, again, other = scenes(5), scenes(5), scenes(5, seed=1)
    assert first == again and first != other
    assert all(np.array_equal(pixels(a, 96), pixels(b, 96)) for a, b in zip(first, again, strict=True))


def test_people_and_model_see_the_same_picture():
    gaps, mirrored = [], []
    for scene in scenes(20):
        large = np.asarray(scene.render(448).resize((96, 96), Image.Resampling.BOX)).astype(int)
        gaps.append(np.abs(large - pixels(scene, 96)).mean())
        mirrored.append(np.abs(large[:, ::-1] - pixels(scene, 96)).mean())
    assert max(gaps) < 5 and np.mean(mirrored) > 5 * np.mean(gaps)


def test_items_are_inside_and_hardly_overlap():
    for scene in scenes(200):
        assert 1 <= len(scene.items) <= 4
        for left, top, right, bottom in (i.box for i in scene.items):
            assert 0 <= left < right <= 1 + 1e-9 and 0 <= top < bottom <= 1 + 1e-9
            assert max(right - left, bottom - top) >= 0.29
        for a, b in combinations([i.box for i in scene.items], 2):
            shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
            smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
            assert shared < 0.1 * smaller


def test_scene_keeps_to_what_it_was_asked_for():
    pool = learnt_in("counting")
    rng = np.random.default_rng(0)
    made = [random_scene(rng, pool, TRAINED_STYLES, 0.5, counts=(2, 4)) for _ in range(100)]
    assert {len(s.items) for s in made} == {2, 4}
    assert {i.name for s in made for i in s.items} == set(pool)
    assert {i.style for s in made for i in s.items} == set(TRAINED_STYLES)
    assert all(sum(s.counts.values()) == len(s.items) for s in made)


def test_dictionaries_come_back_as_scenes():
    for scene in scenes(20):
        assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene
    with pytest.raises(KeyError):
        Scene.from_dict({"items": []})
    with pytest.raises(TypeError):
        Scene.from_dict({"items": [{"box": [0, 0, 1, 1], "what": "bee"}], "background": WHITE.__dict__})


@pytest.mark.parametrize(
    ("centre", "zone", "clear"),
    [
        ((0.1, 0.1), "top left", True),
        ((0.5, 0.2), "top", True),
        ((0.9, 0.5), "right", True),
        ((0.5, 0.5), "middle", True),
        ((0.2, 0.9), "bottom left", True),
        ((0.95, 0.99), "bottom right", True),
        ((0.35, 0.5), "middle", False),
        ((0.5, 0.65), "middle", False),
    ],
)
def test_zones(centre, zone, clear):
    x, y = centre
    item = Item("bee", "noto", (x - 0.01, y - 0.01, x + 0.01, y + 0.01))
    assert (item.zone, item.clearly_in_zone) == (zone, clear)


def test_partners_are_mutual_and_learnt_together():
    for name, partner in PARTNERS.items():
        assert PARTNERS[partner] == name != partner
        assert CONCEPTS[name].learnt == CONCEPTS[partner].learnt


def partner_share(skew, draws=6000):
    """How often the second of two things is the partner of the first, of those that have one in the pool."""
    pool, rng = learnt_in("base"), np.random.default_rng(3)
    pairs = [choose_names(rng, pool, 2, skew, repeat=0.0) for _ in range(draws)]
    seconds = [b == PARTNERS[a] for a, b in pairs if PARTNERS.get(a) in pool]
    return np.mean(seconds), len(seconds), 1 / len(pool)


def test_skew_brings_partners_together():
    share, n, uniform = partner_share(0.5)
    expected = 0.5 + 0.5 * uniform
    assert abs(share - expected) < 4 * (expected * (1 - expected) / n) ** 0.5


def test_without_skew_co_occurrence_is_balanced():
    share, n, uniform = partner_share(0.0)
    assert abs(share - uniform) < 4 * (uniform * (1 - uniform) / n) ** 0.5


def test_names_are_uniform_and_repeat_as_often_as_asked():
    pool, rng = learnt_in("naming"), np.random.default_rng(0)
    drawn = [choose_names(rng, pool, 2, 0.0, repeat=0.4) for _ in range(4000)]
    first = Counter(a for a, _ in drawn)
    assert set(first) == set(pool) and all(abs(n - 400) < 4 * 19 for n in first.values())
    expected = 0.4 + 0.6 / len(pool)
    assert abs(np.mean([a == b for a, b in drawn]) - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5
