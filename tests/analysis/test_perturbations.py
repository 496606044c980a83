"""Perturbations: what is said and shown, and what cannot be made."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.interference import figure
from analysis.interference.dose import STEPS
from analysis.interference.measure import Settings, interfere
from analysis.interference.perturbations import (
    SHOWS,
    Unfit,
    contradiction,
    facts,
    misleading,
    noisy,
    occluded,
    other_picture,
    statement,
    statements,
    wrong_picture,
)
from models.embedded import phrases
from tests.analysis.handmade import WHAT, Ruled, by_words, case, last


@pytest.mark.parametrize(
    ("question", "picture", "meaning", "said"),
    [
        (WHAT, True, "elephant", "The picture shows an elephant."),
        ("Is there a bee?", True, "yes", "There is a bee."),
        ("Are there any bees?", True, "no", "There is no bee."),
        ("How many mice are there?", True, "2", "There are two mice."),
        ("How many mice are there?", True, "1", "There is one mouse."),
        ("How many mice are there?", True, "17", "The answer is 17."),
        ("Is the bee left of the cat?", True, "yes", "The answer is yes."),
        ("What kind of thing is a bee?", False, "plant", "A bee is a plant."),
        ("What colour is the sky?", True, "deep blue", "The answer is deep blue."),
    ],
)
def test_statements_say_what_they_are_to_say(question, picture, meaning, said):
    assert statement(meaning, case(question, (meaning, "x"), picture)) == said


def test_wordings_are_those_that_were_taught():
    assert SHOWS in phrases.STATEMENT
    assert set(statements(case(), 5)) <= {w.replace("{a}", "a dog") for w in phrases.STATEMENT}
    assert len(statements(case(), 20)) == 20
    assert misleading(case()) == "The picture shows a dog."
    assert contradiction(case()) == "There is no cat. The picture shows a dog."
    assert contradiction(case("Why?", ("red", "blue"))) == "The answer is not red. The answer is blue."


def test_facts_have_nothing_to_do_with_the_question():
    asked = case("Which animal is this, a cat or a dog?")
    found = facts(asked, STEPS)
    assert len(set(found)) == STEPS
    assert not any(word in sentence for sentence in found for word in ("cat", "dog", "animal"))
    assert facts(asked, 3) == found[:3]
    assert facts(replace(asked, seed=1), STEPS) != found
    seen = replace(asked, contents=frozenset({found[0].split()[1]}))
    assert found[0] not in facts(seen, STEPS)
    kinds = ("animal", "plant", "food", "vehicle", "place", "instrument", "tool", "toy", "thing")
    named = " ".join(facts(case("What kind of thing is a bee?", kinds, False), 4))
    assert not any(kind in named.split() for kind in kinds)


def test_an_empty_own_sentence_is_left_out_and_another_goes_in_front(grey):
    names, given = ("own-sentence", "own-picture", "unrelated"), ["cat", "dog"]
    found = last(interfere(Ruled(by_words), grey, WHAT, given=given, names=names, settings=Settings(sentence="  ")))
    assert [e.name for e in found.effects] == ["unrelated"]
    assert dict(found.left_out).keys() == {"Your own sentence", "Your own picture"}
    assert "type one" in figure.table(found)
    model, dark = Ruled(by_words), Image.new("RGB", (90, 20))
    settings = Settings(sentence=" A dog! ", picture=dark)
    found = last(interfere(model, grey, WHAT, given=given, names=names[:2], settings=settings))
    assert f"A dog! {WHAT}" in model.model.texts
    assert [e.flipped for e in found.effects] == [True, False]
    assert found.effects[1].delta_logprob == pytest.approx(np.log(0.5), abs=1e-6)


def test_only_an_empty_sentence_leaves_nothing(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["own-sentence"]))
    assert found.effects == ()
    assert "Nothing could be disturbed" in figure.sentence(found)
    assert len(figure.options(found).data[0].y) == 1  # as asked, alone
    assert figure.changes(found) is figure.attacks(found) is figure.outcome(found) is None


def test_without_a_picture_one_is_added_and_none_covered():
    model = Ruled(by_words)
    found = last(interfere(model, None, WHAT, given=["cat", "dog"], names=("black", "white", "occlusion", "pgd-image")))
    assert [e.name for e in found.effects] == ["black", "white"]
    assert found.effects[0].delta_logprob == pytest.approx(np.log(0.5), abs=1e-6)
    assert [title for title, _ in found.left_out] == ["Partly covered picture", "Attack on image tokens"]


def test_pictures():
    asked = case()
    assert other_picture(asked).size == wrong_picture(asked).size
    assert np.array_equal(other_picture(asked), other_picture(asked))
    with pytest.raises(Unfit, match="no drawing of “blue”"):
        wrong_picture(case("Why?", ("red", "blue")))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 64, 3), dtype=np.uint8))
    assert noisy(picture, 0) is picture
    assert occluded(picture, 0) is picture
    flat = [np.asarray(noisy(Image.new("RGB", (64, 64), c), 1.0, 3)) for c in ("black", "white")]
    assert np.array_equal(*flat)
    assert 120 < flat[0].mean() < 135
    covered = [(np.asarray(occluded(picture, s)) == 127).all(-1) for s in (0.25, 0.5, 1.0)]
    assert [c.mean() for c in covered] == pytest.approx([0.25, 0.5, 1.0], abs=0.002)
    assert (covered[0] <= covered[1]).all()
