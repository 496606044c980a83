"""The Interference room on the page, and its endpoint."""

import json
from contextlib import contextmanager
from dataclasses import replace

import gradio as gr
import pytest

from analysis import bar as shared_bar
from analysis import section
from analysis.interference import tab
from analysis.interference.endpoint import interference
from analysis.section import headline
from models import catalog
from models.errors import InputError
from tests.driving import Driven


@pytest.fixture(scope="module")
def demo():
    with gr.Blocks() as made:
        inputs = shared_bar.build()
        with gr.Tabs():
            for part in tab.ROOM.sections:
                with gr.Tab(part.title):
                    section.build(tab.ROOM, part, inputs)
    return made


@pytest.fixture
def driven(demo):
    return lambda name, **more: Driven(demo, f"interference/{name}", **more)


@pytest.fixture
def using(tiny, monkeypatch):
    @contextmanager
    def lent(name):
        yield tiny

    monkeypatch.setattr(catalog, "using", lent)


def test_the_endpoint(using):
    found = interference(question="Is a bee red?", choices=["yes", "no"], perturbations=["unrelated"], dose="facts")
    assert {"origin", "perturbations", "sentence", "provenance", "dose"} <= set(found)
    assert found["perturbations"][0]["should_change"] is False
    assert found["dose"]["sentence"]
    json.dumps(found, allow_nan=False)
    for wrong in (
        {"question": 7},
        {"choices": "yes"},
        {"perturbations": [1]},
        {"steps": "many"},
        {"seed": 0.5},
        {"image": "/etc/passwd"},
    ):
        with pytest.raises(InputError, match="must be"):
            interference(**{"question": "Who?", **wrong})


def test_options_of_every_number_and_an_empty_sentence_go_through_the_room(using, driven):
    def shown(options, **values):
        chosen = {"change-text": ["misleading"], "change-image": ["black"], **values}
        return driven("one").press(question="Is a bee red?", options=options, **chosen).shown.result

    assert shown("").proposed
    one = shown("yes")
    assert one.options == ("yes",) and [t for t, _ in one.left_out] == ["Misleading description"]
    many = shown(",".join(f"thing {i}" for i in range(50)))
    assert len(many.options) == 50 and many.probability.sum() == pytest.approx(1)
    alike = shown("a red bee, a red bee house, a red")
    assert len(alike.effects) == 2 and len(set(alike.logprob.tolist())) == 3
    empty = shown("yes, no", sentence=" ")
    assert [e.name for e in empty.effects] == ["misleading", "black"]
    with pytest.raises(gr.Error, match="No perturbation was chosen"):
        shown("yes, no", **{"change-text": [], "change-image": []})


def test_a_sentence_and_a_picture_of_the_visitors_own_join_the_changes(using, driven, picture, tmp_path):
    picture.rotate(180).save(tmp_path / "own.png")
    one = driven("one", upload=str(tmp_path / "own.png"))
    one.press("three-penguins", "What is this?", sentence="My aunt says: a dog.", **{"change-text": []})
    effects = {e.name: e for e in one.shown.result.effects}
    assert effects["own-sentence"].text == "My aunt says: a dog." and effects["own-sentence"].should is False
    assert effects["own-picture"].picture is not None and effects["own-picture"].should is None
    assert one.seen["beside"].count("<img") == len([e for e in effects.values() if e.picture])
    assert "Your own picture" in one.seen["beside"]


def test_attacks_come_one_after_another_and_their_chart_with_them(using, driven):
    one = driven("one").press(
        "three-penguins", "What is this?", options="cat, dog", steps=1, **{"change-adversarial": ["pgd-text"]}
    )
    assert one.seen["attacks-fold"] is True and len(one.seen["attacks"].data) == 1
    one.press("three-penguins", "What is this?", options="cat, dog")
    assert one.seen["attacks-fold"] is False and one.seen["attacks"] is None


@pytest.mark.parametrize("text", ["Text: There is a flower.", "The picture shows a flower."])
def test_the_page_says_why_a_text_to_be_read_is_followed(embedded, driven, text):
    place = "bee-and-flower", "What is at the top left?"
    one = driven("one").open(*place, sentence=text)
    own = next(e for e in one.shown.result.effects if e.name == "own-sentence")
    assert own.flipped is text.startswith("Text:")
    assert ("trained to answer from what stands after" in one.seen["beside"]) is text.startswith("Text:")
    both = driven("conflict").open(*place, text=text)
    assert both.shown.result.followed == int(text.startswith("Text:"))
    assert ("trained to answer from what stands after" in both.seen["sides"]) is text.startswith("Text:")
    assert f"Ask again {'without' if text.startswith('Text:') else 'with'} “Text:”" in both.seen["sides"]
    other = replace(one.shown.result.provenance, model="another/model")
    another = replace(one.shown, result=replace(one.shown.result, provenance=other))
    beside = next(view for view in tab.ONE.views if view.name == "beside")
    assert "trained to answer" not in beside.draw(another)


def test_each_section_opens_where_something_happens(embedded, driven):
    """By measurement: the first example of a section shows what the section is about."""

    def opened(name):
        first = next(s for s in tab.ROOM.sections if s.name == name).tries[0]
        return driven(name).open(first.example, first.question).shown.result

    one = opened("one")
    assert [e.name for e in one.idle if e.flipped] == ["misleading"] and len(one.idle) == 2
    assert {e.name: e.flipped for e in one.effects if e.should} == {"other-picture": True}
    dose = opened("dose")
    assert 0.4 < dose.flip < 0.7 and dose.gain.max() > 0.5
    assert opened("why").image_share > 0.5
    assert opened("conflict").followed == 1 and opened("conflict").right == (True, True)


@pytest.mark.parametrize("name", ["one", "dose", "conflict"])
def test_headlines_are_short(embedded, driven, name):
    of = next(s for s in tab.ROOM.sections if s.name == name)
    for shown in of.tries:
        found = driven(name).press(shown.example, shown.question, **shown.values)
        said = headline(of.sentence(found.shown.result))[0]
        assert 5 < len(said.split()) <= 25, said


def test_headlines_of_what_is_kept_are_short(driven):
    for name in ("conflicts", "sets"):
        found = driven(name).open()
        said = headline(found.built.section.sentence(found.shown.result))[0]
        assert 5 < len(said.split()) <= 25, said
        assert found.seen["chart"].layout.height <= 360


def test_examples_ask_what_is_known(driven):
    examples = shared_bar.examples()
    for of in tab.ROOM.sections:
        for shown in of.tries:
            offered = {c.name: c for c in of.offered(shown.values)}
            assert not shown.example or examples[shown.example].known.turn(shown.question)
            for control, value in shown.values.items():
                read = offered[control].read(value)
                assert set(read) == set(value) if isinstance(value, tuple) else read == value, (of.name, control)
