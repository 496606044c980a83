"""Whatever a visitor writes is text: it is answered or refused in a sentence, and never runs on anybody's page."""


import pytest
from PIL import Image

from tests.hostile.pictures import saved
from tests.hostile.texts import MARKUP, ODD, special
from tests.hostile.visitor import live


@pytest.fixture(scope="module")
def picture(visitor):
    return visitor.upload("<img src=x onerror=hostile()>.png", saved(Image.new("RGB", (64, 48), "teal"), "PNG"))


@pytest.mark.parametrize("name", ODD)
def test_odd_questions(visitor, picture, name):
    found = visitor.call("ask", [picture, ODD[name], "", ""])
    assert found.clear


@pytest.mark.parametrize("name", ["a lone surrogate", "right to left", "control characters", "zero width alone"])
@pytest.mark.parametrize(
    ("endpoint", "places"),
    [
        ("interference", {"choices": ["cat", "?"], "own_sentence": "?"}),
        ("conflict", {"text": "?", "seen": "?", "told": "?"}),
        ("decode", {"objects": "?", "length": 4}),
        ("forgetting_probe", {"truth": "?", "choices": ["cat", "?"]}),
        ("attribute", {"answer": "?", "method": "ablation"}),
        ("attention", {}),
    ],
)
def test_odd_texts_in_every_field(visitor, endpoint, places, name):
    def filled(value):
        return [filled(v) for v in value] if isinstance(value, list) else ODD[name] if value == "?" else value

    given = {key: filled(value) for key, value in places.items()}
    assert visitor.named(endpoint, {"question": f"What is this? {ODD[name]}", **given}).clear


@pytest.mark.parametrize("token", special())
def test_control_tokens(visitor, picture, token):
    found = visitor.call("ask", [picture, f"{token} What is this?", "", ""])
    assert found.answered, found.told


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("ask/answer", {"options": "cat, ?"}),
        ("interference/one", {"options": "cat, ?", "sentence": "?"}),
        ("interference/dose", {"options": "cat, ?"}),
        ("interference/why", {"explain": "ablation", "answer": "cat"}),
        ("interference/conflict", {"seen": "?", "told": "cat ?", "text": "?"}),
        ("attention/over", {"token": "?"}),
        ("attention/cut", {}),
        ("decoding/captions", {"there": "?, cat", "looked-for": "?, cat", "length": 6}),
        ("decoding/game", {"step": "?"}),
        ("forgetting/probe", {"truth": "?", "options": "?, cat"}),
    ],
)
def test_markup_does_not_reach_the_page(visitor, picture, place, fields):
    given = {key: value.replace("?", MARKUP) if isinstance(value, str) else value for key, value in fields.items()}
    found = visitor.press(place, picture=picture, question=f"What is this? {MARKUP}", **given)
    assert found.clear
    assert not live(found.data)


def test_markup_as_the_answer_to_explain_does_not_reach_the_page(visitor, picture):
    """Once: each token of an answer is explained anew."""
    given = {"question": "What?", "explain": "ablation", "answer": MARKUP}
    found = visitor.press("interference/why", picture=picture, **given)
    assert found.answered
    assert not live(found.data)


@pytest.mark.parametrize("place", ["forgetting/matrix", "embedding_space/map", "decoding/sets"])
def test_choices_that_are_not_on_offer_are_none(visitor, place):
    controls = ("set", "row", "column", "show", "first", "trained", "style", "subset", "compared", "size")
    for event in ("select", "input"):
        found = visitor.press(place, event, **dict.fromkeys(controls, MARKUP))
        assert found.clear and not live(found.data)


ODD_DATA = (
    None, 7, "text", [], {}, {"values": 3}, {"values": [1]}, {"values": {"set": {"a": 1}}, "changed": []},
    {"values": {"options": None, "sentence": 3, "n": "²", "first": "-1"}, "turn": {"a": 1}, "linked": "yes"},
)  # fmt: skip


@pytest.mark.parametrize("place", ["interference/one", "forgetting/matrix", "embedding_space/lost", "decoding/steps"])
@pytest.mark.parametrize("event", ["select", "submit", "input"])
def test_data_that_no_page_would_send(visitor, place, event):
    for data in ODD_DATA:
        assert visitor.at(f"{place.replace('/', '-')}-form", event, data).clear


ODD_CHOICES = ("<b>", ["<b>"] * 18, "~" * 17, [[]], {"a": 1}, 3, None)


@pytest.mark.parametrize("where", ["gallery", "saver"])
def test_data_that_no_page_would_send_about_the_input(visitor, where):
    chosen = [{"number": 1, kind: odd} for kind in ("example", "scene", "surprise") for odd in ODD_CHOICES]
    for data in (*ODD_DATA, {"number": "²"}, {"kind": "../x", "places": [[]]}, *chosen):
        assert visitor.at(where, "click", data).clear
