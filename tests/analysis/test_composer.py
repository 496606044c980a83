"""Scenes that a visitor composes, what is then known about them, and how a link holds them."""

import numpy as np
import pytest
from PIL import Image

from analysis.bar import composer, examples, known_of, linked, view
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
    settings = (*NONE * 4, "plain", "white")
    assert composer.scene_of(settings) is None
    assert "No drawing is chosen" in view._known({"scene": composer.BETWEEN.join(settings)}, None, 3)[2]


def test_what_lies_under_another_drawing_is_no_truth():
    cat, dog = (("cat", "fluent", "top left", "medium"), ("dog", "fluent", "top left", "medium"))
    under = (*cat, *dog, *NONE * 2, "plain", "white")
    assert composer.scene_of(under) is None
    assert known_of({"scene": composer.BETWEEN.join(under)}) is None
    picture, about, told = view._known({"scene": composer.BETWEEN.join(under)}, None, 3)
    assert picture is None and about == {"number": 3}
    assert "Most of the cat would lie under the dog: choose another place" in told
    assert composer.scene_of((*cat, *dog[:2], "top right", "large", *NONE * 2, "plain", "white"))
    on = ("bee", "fluent", "middle", "small", "house", "fluent", "middle", "large")  # the small one above is seen
    assert composer.scene_of((*on[4:], *on[:4], *NONE * 2, "plain", "white"))
    assert composer.scene_of((*on, *NONE * 2, "plain", "white")) is None


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


def test_what_is_known_comes_with_the_picture():
    """And for a picture of which the page says nothing, nothing is known."""
    _, picture, about, chips = view._picked(None, {"number": 7, "scene": composer.BETWEEN.join(ONE)})
    assert picture.size == (448, 448) and about["number"] == 7 and about["question"] is None
    known = known_of(about)
    assert known.scene == composer.scene_of(ONE) and known.turns[0].question in chips
    _, picture, about, chips = view._picked(None, {"number": 8, "example": "no-picture"})
    assert picture is None and known_of(about) == examples()["no-picture"].known
    for odd in (None, 3, "bee", [], {}, {"example": ["bee"]}, {"scene": "~" * 17}, {"number": 8}):
        assert known_of(odd) is None


def test_a_picture_of_ones_own_is_unknown_and_what_is_none_is_told(tmp_path):
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "own.png")
    _, picture, about, chips = view._picked(str(tmp_path / "own.png"), {"number": 9})
    assert picture.size == (30, 20) and about == {"number": 9} and "data-own" in chips and "alert" not in chips
    (tmp_path / "fake.png").write_text("I am not a picture.")
    _, picture, about, chips = view._picked(str(tmp_path / "fake.png"), {"number": 10})
    assert picture is None and about == {"number": 10} and "could not be read as a picture" in chips


@pytest.mark.parametrize(
    "odd",
    [None, "", "bee", 3, list(ONE[:-1]), [*ONE[:-1], "pink"], ["<script>", *ONE[1:]], [None] * 18, [["bee"]] * 18, {}],
)
def test_settings_that_are_not_on_offer_are_none(odd):
    assert composer.read(odd) is None


def test_a_link_holds_a_composed_scene():
    _, _, drawer, picture, about, _ = linked({"scene": composer.BETWEEN.join(ONE), "question": "Where?"})
    assert known_of(about).scene == composer.scene_of(ONE) and about["question"] == "Where?"
    assert picture.size == (448, 448)
    assert drawer.count(" selected") == 18 and '<option selected value="key">' in drawer


def test_a_link_with_nonsense_shows_the_first_example():
    odd = {"scene": "~" * 17, "example": "../etc", "model": "no", "checkpoint": "<b>"}
    model, checkpoint, _, _, about, _ = linked(odd)
    assert model == "crosstalk-mini" and checkpoint.value == "base"
    assert about["question"] == known_of(about).turns[0].question
