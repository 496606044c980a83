"""Scenes that a visitor composes, and what is then known about them."""

import numpy as np

from analysis.bar import composer
from analysis.bar.known import questions_about

BEE, NONE = ("bee", "fluent", "top left", "small"), ("–", "noto", "middle", "small")


def test_a_scene_is_what_was_set():
    scene = composer.scene_of(*BEE, *NONE, *("key", "noto", "bottom right", "large"), *NONE, "dots", "sky")
    assert [(i.name, i.style, i.zone) for i in scene.items] == [
        ("bee", "fluent", "top left"),
        ("key", "noto", "bottom right"),
    ]
    assert scene.render(64).size == (64, 64)


def test_no_drawing_no_scene():
    assert composer.scene_of(*NONE * 4, "plain", "white") is None


def test_surprises_compose():
    rng = np.random.default_rng(0)
    for _ in range(25):
        settings = composer.surprise(rng)
        assert len(settings) == 18
        scene = composer.scene_of(*settings)
        assert 1 <= len(scene.items) <= 4
        assert questions_about(scene).turns


def test_questions_are_the_same_for_the_same_scene():
    scene = composer.scene_of(*BEE, *NONE * 3, "plain", "white")
    assert questions_about(scene) == questions_about(scene)
    assert {t.style for t in questions_about(scene).turns} >= {"word", "numeral", "yes/no", "box", "letter", "sentence"}
