"""Asking: options, truth, sentences, with a model made of a dictionary."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from analysis.ask import figure
from analysis.ask.measure import ask, compare
from analysis.bar import Known, examples
from models.embedded.questions import Turn
from models.embedded.scenes import Scene, placed
from tests.driving import Driven

STEP = {"token_id": 1, "logprob": float(np.log(0.8)), "top": (("bee", 0.8), ("<b>", 0.1)), "seconds": 0.01}


class Dictionary:
    """A model that answers each checkpoint from a dictionary, one character a token."""

    def __init__(self, **answers):
        self.given, self.checkpoint_names = answers, tuple(answers)

    def encode(self, image, text):
        return text

    def generate(self, encoded, checkpoint):
        yield from (SimpleNamespace(token=t, **STEP) for t in self.given[checkpoint])

    def generate_each(self, encoded, checkpoints):
        return {name: list(self.generate(encoded, name)) for name in checkpoints}

    def score(self, encoded, choices, checkpoint):
        return SimpleNamespace(probability=np.full(len(choices), 1 / len(choices)))

    def provenance(self, checkpoint, seconds=0.0):
        return {"model": "tiny", "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seconds": seconds}


@pytest.fixture
def known():
    scene = Scene((placed("bee", "noto", (0.3, 0.3), 0.4), placed("bee", "noto", (0.7, 0.7), 0.4)))
    turns = (
        Turn("Is there a bee?", "yes", "yes/no", ("yes", "no")),
        Turn("What is this?", "bee", "word"),
        Turn("Where is it?", "[10,10,50,50]", "box"),
    )
    return Known(scene, turns)


def last(*args, **kwargs):
    *_, found = ask(*args, **kwargs)
    return found


def test_the_answer_grows_token_by_token():
    seen = list(ask(Dictionary(base="bee"), None, "What is this?"))
    assert [s.answer for s in seen] == ["b", "be", "bee", "bee", "bee"]
    assert [s.done for s in seen] == [False] * 4 + [True]


def test_truth_belongs_to_the_suggested_question_only(known):
    model = Dictionary(base="yes", naming="bee", counting="no")
    found = last(model, None, "Is  there a bee?", known=known)
    assert found.truth == "yes"
    assert found.options == ("yes", "no")
    assert list(found.scores) == [1, 0, 0]
    assert found.styles == ("yes/no", "word", "yes/no")
    own_words = last(model, None, "Could there be a bee?", known=known)
    assert own_words.truth is None
    assert np.isnan(own_words.scores).all()
    assert own_words.contents == (("bee", 2),)


def test_sentences_are_compared_with_the_scene(known):
    found = last(Dictionary(base="There is a cat and two bees."), None, "Tell me", known=known)
    assert found.invented == ("cat",)
    assert found.missing == ()
    assert compare("There is a mouse.", known.contents) == (("mouse",), ("bee",))


def test_boxes_are_read(known):
    found = last(Dictionary(base="[10,12,50,52]", naming="bee"), None, "Where is it?", known=known)
    assert found.boxes == ((0.1, 0.12, 0.5, 0.52), None)
    assert found.truth_box == (0.1, 0.1, 0.5, 0.5)
    assert list(found.scores) == [1, 0]
    assert figure.picture(found, "data:").count("<rect") == 2


def test_given_options_come_before_those_of_the_question():
    assert last(Dictionary(base="B"), None, "Which? A. cat B. dog").options == ("A", "B")
    assert last(Dictionary(base="B"), None, "Which? A. cat B. dog", options=("x", "y", "z")).options == ("x", "y", "z")


def test_json_has_the_fields_of_the_endpoint():
    data = last(Dictionary(base="bee", naming="owl"), None, "Which? A. cat B. dog").to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["answer"] == "bee"
    assert data["steps"][0]["token"] == "b"
    assert data["steps"][0]["logprob"] == pytest.approx(np.log(0.8))
    assert [o["text"] for o in data["options"]] == ["A", "B"]
    assert data["by_checkpoint"][1] == {"checkpoint": "naming", "answer": "owl", "style": "word", "score": None}
    assert data["provenance"]["model"] == "tiny"


def test_csv_has_a_line_a_checkpoint():
    lines = last(Dictionary(base="bee", naming="owl"), None, "Who?").to_csv().splitlines()
    assert lines == ["question,truth,checkpoint,answer,style,score", "Who?,,base,bee,word,", "Who?,,naming,owl,word,"]


def test_sentence(known):
    found = last(Dictionary(base="yes", naming="bee", counting="yes"), None, "Is there a bee?", known=known)
    assert figure.sentence(found) == (
        "The checkpoint base answers “yes” with a probability of 51 %, which is right. Of the 2 other checkpoints, "
        "1 says the same and 1 answers in another form; 2 of all 3 are right."
    )
    assert "answers nothing" in figure.sentence(last(Dictionary(base=""), None, "Hm?"))
    assert figure.sentence(last(Dictionary(base="bee"), None, "Hm?")).endswith("of 51 %.")


def test_what_a_model_says_is_escaped():
    found = last(Dictionary(base=("<b>",), naming=("<i>x</i>",)), None, "<script>?")
    for html in (figure.answer(found), figure.checkpoints(found)):
        assert not any(bad in html for bad in ("<b><", "<i>x", "<script>"))


def test_charts_draw_options_first_tokens_or_say_why_not(known):
    model = Dictionary(base="yes")
    assert "options" in figure.options(last(model, None, "Is there a bee?", known=known)).layout.xaxis.title.text
    found = last(model, None, "Hm?")
    assert "first token" in figure.options(found).layout.xaxis.title.text
    assert figure.options(replace(found, top=())).layout.annotations[0].text == "No options yet"


def test_examples_are_whole():
    for example in examples().values():
        picture = example.known.picture()
        assert picture is None or isinstance(picture, Image.Image)
        assert example.known.turns
        for turn in example.known.turns:
            assert example.known.turn(turn.question) == turn


@pytest.mark.parametrize("place", ["ask/answer", "interference/one", "attention/over", "decoding/steps"])
def test_every_room_says_when_it_is_a_guess(page_blocks, place):
    driven = Driven(page_blocks, place).open("bee-and-flower", "Is there a bee?")
    assert "Treat this as a guess" not in driven.seen["told"]
    assert "Treat this as a guess" in driven.open("bee-and-flower", "hello").seen["told"]
