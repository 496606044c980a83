"""Options: where they come from, how many there may be, what they mean."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.interference import figure
from analysis.interference.measure import interfere
from analysis.interference.options import LONGEST, MOST, options_for
from analysis.interference.perturbations import (
    misleading,
)
from models.embedded.questions import Turn
from models.errors import InputError
from tests.analysis.handmade import WHAT, Ruled, by_words, case, last


def test_one_option_cannot_flip(grey):
    names = ("misleading", "contradiction", "black")
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat"], names=names))
    assert [e.name for e in found.effects] == ["contradiction", "black"]
    assert found.effects[0].text == "There is no cat."
    assert found.left_out[0][0] == "Misleading description" and "at least two" in found.left_out[0][1]
    assert not any(e.flipped for e in found.effects)
    assert "With one option nothing can flip" in figure.sentence(found)
    assert figure.options(found).data


def test_fifty_options(grey):
    many = [f"w{i}" for i in range(50)]
    found = last(interfere(Ruled(lambda *_: {10: 0.5, 11: 0.2}), grey, WHAT, given=many))
    assert found.probability.sum() == pytest.approx(1)
    assert found.probability[:2] == pytest.approx(np.array([0.5, 0.2]) / (0.7 + 48 * 0.3 / 62), abs=1e-6)
    chart = figure.options(found)
    assert "other options" in chart.data[-1].name
    assert sum(bar.x[0] for bar in chart.data) == pytest.approx(100)


def test_too_many_options_and_none(grey):
    with pytest.raises(InputError, match="too many"):
        options_for(WHAT, [f"o{i}" for i in range(MOST + 1)], None, tuple)
    with pytest.raises(InputError, match="name the options"):
        options_for(WHAT, [" "], None, tuple)
    assert options_for(WHAT, ["x" * LONGEST], None, tuple).texts
    with pytest.raises(InputError, match="201 characters; at most 200"):
        options_for(WHAT, ["a", "x" * (LONGEST + 1)], None, tuple)


def test_where_options_come_from():
    turn = Turn("Which? A. cat B. dog", "B", "letter", ("A", "B"))
    given = options_for(turn.question, [" x ", "y", "", "x"], turn, tuple)
    assert (given.texts, given.source, given.truth) == (("x", "y"), "given", None)
    suggested = options_for(turn.question, (), turn, tuple)
    assert (suggested.labels, suggested.source, suggested.truth) == (("A: cat", "B: dog"), "suggested", 1)
    assert options_for(turn.question, (), None, tuple).source == "listed"
    added = options_for(WHAT, (), Turn(WHAT, "bee", "word"), lambda: ("cat", "dog"))
    assert (added.texts, added.source, added.truth) == (("bee", "cat", "dog"), "proposed", 0)
    there = options_for(WHAT, (), Turn(WHAT, "bee", "word"), lambda: ("cat", "A dog.", "Bee."))
    assert (there.texts, there.truth) == (("cat", "A dog.", "Bee."), 2)


def test_options_mean_what_is_known_by_that_name():
    found = options_for(WHAT, ["Cat", " dogs! ", "There is a bee.", "."], None, tuple)
    assert found.texts == ("Cat", "dogs!", "There is a bee.", ".")
    assert found.meanings == ("cat", "dog", "There is a bee", ".")
    assert found.labels == found.texts
    assert misleading(replace(case(), options=found, wrong=2)) == "The answer is There is a bee."
    assert misleading(replace(case(), options=found, wrong=0)) == "The picture shows a cat."


def test_the_right_option_is_found_by_what_its_letter_means():
    turn = Turn("Which? A. cat B. dog", "B", "letter", ("A", "B"))
    assert options_for(turn.question, ["cat", "dog"], turn, tuple).truth == 1
    assert options_for(turn.question, ["Dogs.", "cat"], turn, tuple).truth == 0
    assert options_for(turn.question, ["owl", "bee"], turn, tuple).truth is None
    word = Turn("Which? A. cat B. dog", "dog", "word")
    assert options_for(word.question, (), word, tuple).truth == 1
