from collections import Counter

import pytest

from models.embedded import interference_sets as sets
from models.embedded.concepts import CONCEPTS, KINDS, learnt_in
from models.embedded.evalsets import PIXELS
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.evalset import load


@pytest.fixture(scope="module")
def made():
    return {name: list(sets.items(name, 0)) for name in sets.SETS}


@pytest.mark.parametrize("name", sets.SETS)
def test_shipped_sets_are_those_of_the_recipe(made, name):
    shipped = load(sets.INTERFERENCE / f"{name}.jsonl")
    assert len(shipped) == sets.ITEMS
    for item, (segment, _, scene, turn) in zip(shipped, made[name], strict=True):
        expected = (turn.question, turn.answer, turn.style, segment)
        assert (item.question, item.answer, item.style, item.segment) == expected
        assert item.answer in item.choices and len(set(item.choices)) == len(item.choices) >= 2
        assert (item.image is None) == (scene is None)
    if shipped[0].image:
        assert shipped[0].picture().size == (PIXELS, PIXELS)


def test_all_of_it_is_small():
    assert sum(f.stat().st_size for f in sets.INTERFERENCE.rglob("*") if f.is_file()) < 3e6


@pytest.mark.parametrize("name", ["image-heavy", "multimodal"])
def test_half_is_in_the_style_never_seen_and_the_segment_says_so(made, name):
    styles = {sets.SEEN: set(TRAINED_STYLES), sets.UNSEEN: {UNSEEN_STYLE}}
    for segment, _, scene, _ in made[name]:
        assert {i.style for i in scene.items} <= styles[segment]
        assert set(scene.counts) <= set(learnt_in("base"))
    assert set(Counter(segment for segment, *_ in made[name]).values()) == {150}


def test_image_heavy_questions_are_about_one_drawing(made):
    for _, _, scene, turn in made["image-heavy"]:
        assert [i.name for i in scene.items] == [turn.answer]


def test_multimodal_questions_need_both(made):
    asked = Counter((segment, task) for segment, task, *_ in made["multimodal"])
    assert set(asked.values()) == {50} and len(asked) == 6
    told = Counter((segment, turn.answer) for segment, task, _, turn in made["multimodal"] if task == "existence")
    assert set(told.values()) == {25}
    counted = Counter(turn.answer for _, task, _, turn in made["multimodal"] if task == "counting")
    assert set("0123") <= set(counted) <= set("01234")


def test_text_heavy_questions_are_right_without_a_picture(made):
    kinds = Counter(segment for segment, *_ in made["text-heavy"])
    assert kinds == dict.fromkeys(sets.TEXTS, 75)
    yes = Counter(turn.answer for segment, *_, turn in made["text-heavy"] if segment == "is it a kind")
    assert abs(yes["yes"] - yes["no"]) <= 1
    for segment, *_, turn in made["text-heavy"]:
        if segment == "reading a statement":
            concept = CONCEPTS[turn.answer]
            assert concept.name in turn.question.lower() and turn.question.startswith("Text: ")
        if segment == "kind of a thing":
            assert turn.answer in KINDS
