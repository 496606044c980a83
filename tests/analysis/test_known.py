"""When what the embedded default says is a guess, and why; never for what the page itself asks."""

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis import section
from analysis.bar import Known, composer, examples, untaught, view
from analysis.bar.known import questions_about
from analysis.wording import listed
from models.catalog import NEXT
from models.embedded import questions
from models.embedded.concepts import CONCEPTS
from models.embedded.questions import box_text
from models.embedded.scenes import Scene

FORM = "was not taught to answer questions like this one"
PHOTO = "was taught drawings of everyday things, no photos"


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("Is there a bee?", []), ("Are there any mice in the picture? Answer yes or no.", []), ("", []), ("Bee?", []),
        ("Where’s the bee, please?", []), ("Is there a bee in this picture?", []),
        ("which of these do you see? a) cat b) drum", []), ("Which of these is it?\nA. cat\nB. drum", []),
        ("hello", [FORM]), ("🐝?", [FORM]), ("Is there a bee? A yes B no", [FORM]),
        ("Is there a zebra?", ["was not taught the word “zebra”"]),
        ("Which of these is it? A. Zebra B. drum", ["was not taught the word “Zebra”"]),
        ("What colour is the bee?", ["was not taught the word “colour”"]),
        ("What is another word for a bee?", ["was not taught the word “another”"]),
        ("Is there a zebra? A yes B no", ["was not taught the word “zebra”", FORM]),
        ("Wo ist die Biene?", ["was not taught the words “Wo”, “ist” and “Biene”"]),
        ("Is there a gnu, a zebra, an oryx or a kudu?",
         ["was not taught the words “gnu”, “zebra”, “oryx” and others"]),
        ("Is there a helicopter? A yes B no", ["was not yet shown a helicopter at the checkpoint base", FORM]),
        ("Is there a fox or some corn?", ["was not yet shown a fox and some corn at the checkpoint base"]),
    ],
)  # fmt: skip
def test_a_guess_is_told_with_every_reason(question, why):
    known = examples()["bee-and-flower"].known
    assert reasons(known, "bee.png", question) == why
    assert reasons(None, "mine.png", question) == [PHOTO, *why]


def test_the_next_base_is_told_of_by_its_name_and_what_it_was_taught_more_is_no_guess():
    known = examples()["bee-and-flower"].known
    assert untaught(known, "x.png", "What is another word for a bee?", "base", NEXT) == ""
    assert untaught(known, "x.png", "hello", "base", NEXT) == ""
    told = untaught(None, "mine.png", "Is there a fox?", "base", NEXT)
    assert told == f"Treat this as a guess: {NEXT} {PHOTO}; it was not yet shown a fox at the checkpoint base."


def reasons(*asked) -> list[str]:
    told = untaught(*asked)
    assert not told or (told.startswith("Treat this as a guess: crosstalk-mini ") and told.endswith("."))
    return told.removeprefix("Treat this as a guess: crosstalk-mini ").rstrip(".").split("; it ") if told else []


@pytest.mark.parametrize(
    ("checkpoint", "shown"),
    [("base", False), ("existence", False), ("grounding", True), ("captioning", True), ("joint", True)],
)
def test_a_thing_is_a_guess_until_the_checkpoint_that_was_shown_it(checkpoint, shown):
    known = examples()["bee-and-flower"].known
    assert (reasons(known, "x.png", "Is there a helicopter?", checkpoint) == []) is shown
    assert reasons(None, None, "Is a helicopter a vehicle?", checkpoint) == []  # of all things it has read


def not_yet(picture, turn) -> list[str]:
    """What is told of a suggested question at the base: which things, of it and its answer, were not shown by then."""
    words = re.findall(r"[a-z]+", f"{turn.question} {turn.answer}".lower())
    of = {form: c for c in CONCEPTS.values() for form in (c.name, c.plural)}
    late = dict.fromkeys(of[w].a for w in words if w in of and of[w].learnt != "base")
    return [f"was not yet shown {listed([*late])} at the checkpoint base"] if picture and late else []


def test_a_suggested_question_about_what_was_not_shown_yet_is_a_guess():
    fox = examples()["fox-and-mushroom"].known
    asked = next(t.question for t in fox.turns if t.answer == "fox")
    assert reasons(fox, "x.png", asked) == ["was not yet shown a fox at the checkpoint base"]
    assert reasons(fox, "x.png", asked, "naming") == []


_PENGUINS, _BEE = "three-penguins", "bee-and-flower"


@pytest.mark.parametrize(
    ("picture", "question", "truth", "style"),
    [
        (_PENGUINS, "Is there an apple?", "no", "yes/no"), (_PENGUINS, "is there a penguin", "yes", "yes/no"),
        (_PENGUINS, "Are there any penguins?", "yes", "yes/no"), (_PENGUINS, "Do you see any drums?", "no", "yes/no"),
        (_PENGUINS, "How many penguins do you see?", "3", "numeral"), (_PENGUINS, "Count the drums.", "0", "numeral"),
        (_PENGUINS, "How many things?", "3", "numeral"), (_PENGUINS, "What is this?", "penguin", "word"),
        (_PENGUINS, "Name the animal", "penguin", "word"), (_PENGUINS, "Which vehicle is this?", None, None),
        (_PENGUINS, "Where is the penguin?", None, None), (_PENGUINS, "Where is the apple?", None, None),
        (_PENGUINS, "Is there a zebra?", None, None), (_PENGUINS, "Is there a penguin and a drum?", None, None),
        (_BEE, "what is at the top left", "bee", "word"), (_BEE, "What is in the middle?", None, None),
        (_BEE, "What is this?", None, None), (_BEE, "Which plant is this?", "flower", "word"),
    ],
)  # fmt: skip
def test_of_a_known_picture_the_truth_of_what_a_visitor_asks_in_her_own_words_is_known(picture, question, truth, style):
    turn = Known(examples()[picture].known.scene, ()).turn(question)
    assert (turn and (turn.answer, turn.style)) == (truth and (truth, style))
    assert examples()["no-picture"].known.turn(question) is None


def test_of_a_known_picture_it_is_known_where_a_thing_is_and_what_is_by_the_border_of_two_places_is_not_asked():
    known = Known(examples()["bee-and-flower"].known.scene, ())
    bee, flower = known.scene.items
    turn = known.turn("Where's the bee?")
    assert (turn.answer, turn.style) == (box_text(bee.box), "box")
    between = replace(bee, box=(0.2, 0.1, 0.46, 0.3))
    assert Known(Scene((between, flower)), ()).turn("What is at the top left?") is None


def test_small_talk_was_taught_without_a_picture():
    assert reasons(None, None, "hello") == reasons(None, None, "Who are you?") == []
    assert reasons(None, None, "How is the weather?") == ["was not taught the word “weather”"]


def test_what_the_page_itself_asks_is_no_guess(page_blocks):
    for example in examples().values():
        picture = "x.png" if example.known.scene else None
        for turn in example.known.turns:
            assert reasons(example.known, picture, turn.question) == not_yet(picture, turn)
            assert reasons(Known(example.known.scene, ()), picture, turn.question, "joint") == []  # typed, too
    tries = [t for built in section.built(page_blocks) for t in built.section.tries if t.question]
    assert len(tries) > 30
    for tried in tries:
        known = examples()[tried.example].known
        picture, turn = "x.png" if known.scene else None, known.turn(tried.question)
        assert reasons(known, picture, tried.question) == (not_yet(picture, turn) if turn else [])
    for question in view._ANY:
        assert reasons(None, "mine.png", question) == [PHOTO]
        assert reasons(None, None, question) == []


def test_what_is_asked_of_a_composed_scene_is_no_guess():
    rng = np.random.default_rng(0)
    for _ in range(150):
        known = questions_about(composer.scene_of(composer.surprise(rng)))
        assert len(known.turns) >= 4
        for turn in known.turns:
            assert reasons(known, "x.png", turn.question) == not_yet("x.png", turn)
            assert reasons(known, "x.png", turn.question, "joint") == []
            assert reasons(Known(known.scene, ()), "x.png", questions.vary(rng, turn.question), "joint") == []


def test_no_question_of_the_training_is_in_words_or_a_form_that_were_not_taught():
    rng, names = np.random.default_rng(0), list(CONCEPTS)
    makers = [questions.kind_of, questions.is_a, questions.choice_kind, questions.goes_with, questions.read]
    for _ in range(40):
        for make in (*makers, questions.greeting, questions.no_picture):
            assert reasons(None, None, questions.vary(rng, make(rng, names).question)) == []
