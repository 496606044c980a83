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


@pytest.mark.parametrize("markup", MARKUP)
@pytest.mark.parametrize(
    ("where", "event", "fields"),
    [
        ("asked", "change", {"options": "cat, ?"}),
        ("disturb", "click", {"interference_options": "cat, ?", "own_sentence": "?"}),
        ("dose-start", "click", {"interference_options": "cat, ?"}),
        ("conflict-start", "click", {"conflict_seen": "?", "conflict_told": "cat ?", "conflict_text": "?"}),
        ("attention-look", "click", {}),
        ("carry-start", "click", {}),
        ("decode", "click", {"decode_there": "?, cat", "decode_looked_for": "?, cat", "decode_length": 6}),
        ("probe-start", "click", {"probe_truth": "?", "probe_options": "?, cat"}),
        ("model", "input", {"model": "?"}),
        ("set", "change", {"set": "?"}),
    ],
)
def test_markup_does_not_reach_the_page(visitor, picture, where, event, fields, markup):
    given = {key: value.replace("?", markup) if isinstance(value, str) else value for key, value in fields.items()}
    found = visitor.press(where, event, picture=picture, question=f"What is this? {markup}", **given)
    assert found.clear
    assert not live(found.data)
