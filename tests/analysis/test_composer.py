"""Scenes that a visitor composes, what is then known about them, and how a link holds them."""

import numpy as np
import pytest

from analysis.bar import composer, linked
from analysis.bar.known import questions_about

BEE, NONE = ("bee", "fluent", "top left", "small"), ("–", "noto", "middle", "small")
ONE = (*BEE, *NONE, "key", "noto", "bottom right", "large", *NONE, "dots", "sky")


def test_a_scene_is_what_was_set():
    scene = composer.scene_of(ONE)
    assert [(i.name, i.style, i.zone) for i in scene.items] == [
        ("bee", "fluent", "top left"),
        ("key", "noto", "bottom right"),
    ]
    assert scene.render(64).size == (64, 64)


def test_no_drawing_no_scene():
    assert composer.scene_of((*NONE * 4, "plain", "white")) is None


def test_surprises_compose():
    rng = np.random.default_rng(0)
    for _ in range(25):
        settings = composer.surprise(rng)
        assert composer.read(list(settings)) == settings
        scene = composer.scene_of(settings)
        assert 1 <= len(scene.items) <= 4
        assert questions_about(scene).turns


def test_questions_are_the_same_for_the_same_scene():
    scene = composer.scene_of((*BEE, *NONE * 3, "plain", "white"))
    assert questions_about(scene) == questions_about(scene)
    assert {t.style for t in questions_about(scene).turns} >= {"word", "numeral", "yes/no", "box", "letter", "sentence"}


@pytest.mark.parametrize(
    "odd",
    [None, "", "bee", 3, list(ONE[:-1]), [*ONE[:-1], "pink"], ["<script>", *ONE[1:]], [None] * 18, [["bee"]] * 18, {}],
)
def test_settings_that_are_not_on_offer_are_none(odd):
    assert composer.read(odd) is None


def test_a_link_holds_a_composed_scene():
    _, _, drawer, picture, known, _, question = linked({"scene": composer.BETWEEN.join(ONE), "question": "Where?"})
    assert known.scene == composer.scene_of(ONE) and question == "Where?"
    assert picture.size == (448, 448)
    assert drawer.count(" selected") == 18 and '<option selected value="key">' in drawer


def test_a_link_with_nonsense_shows_the_first_example():
    odd = {"scene": "~" * 17, "example": "../etc", "model": "no", "checkpoint": "<b>"}
    model, checkpoint, _, _, known, _, question = linked(odd)
    assert model == "crosstalk-mini" and checkpoint.value == "base"
    assert question == known.turns[0].question
