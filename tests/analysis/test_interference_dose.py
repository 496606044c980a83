"""Dose and response: flip points and inverse effectiveness by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.interference import figure
from analysis.interference.dose import STEPS, Dose, respond
from analysis.result import Provenance
from models.errors import InputError
from tests.analysis.handmade import WHAT, Ruled, by_words, last


def test_flip_point_by_hand(grey):
    def rule(text, light):
        told = text.count("dog") / 10
        return {3: 0.85 - told, 4: 0.15 + told}

    found = last(respond(Ruled(rule), grey, WHAT, "statements", given=["cat", "dog"]))
    assert found.amount == pytest.approx(range(STEPS + 1))
    assert found.cue == pytest.approx(0.85 - np.arange(STEPS + 1) / 10, abs=1e-6)
    assert found.flip == pytest.approx(3.5 / STEPS, abs=1e-6)
    assert found.flipped == 4
    assert "flips to “dog” between 3 and 4 sentences." in figure.response_sentence(found)
    assert "flips between 3 and 4 sentences" in figure.response(found).layout.annotations[0].text
    json.dumps(found.to_json(), allow_nan=False)


def test_no_flip(grey):
    found = last(respond(Ruled(by_words), grey, WHAT, "facts", given=["cat", "dog"]))
    assert np.isnan(found.flip)
    assert "never flips" in figure.response_sentence(found)
    assert not found.gain.size
    one = last(respond(Ruled(by_words), grey, WHAT, "noise", given=["cat"]))
    assert "cannot flip the answer: there is one option." in figure.response_sentence(one)


def test_a_dose_that_cannot_be_given_is_refused(grey):
    model, given = Ruled(by_words), ["cat"]
    for picture, kind, message in (
        (None, "noise", "no picture"),
        (None, "pgd-image", "no picture"),
        (grey, "statements", "at least two"),
        (grey, "nonsense", "no dose"),
    ):
        with pytest.raises(InputError, match=message):
            last(respond(model, picture, WHAT, kind, given=given))


def dose(alone, helped):
    """A dose of two options with these probabilities of the first one."""
    both = [np.log([[p, 1 - p] for p in values]) for values in (alone, helped)]
    strength = np.linspace(0, 1, len(alone))
    return Dose(
        provenance=Provenance("m", "base", "float32", "cpu"), kind="noise", title="Noise", unit="share", question="?",
        checkpoint="base", options=("cat", "dog"), labels=("cat", "dog"), target=0, truth_known=True,
        strength=strength, amount=strength, logprob=both[0], helped=both[1], hint="A cat.", done=True,
    )  # fmt: skip


def test_inverse_effectiveness_by_hand():
    found = dose([0.9, 0.5], [0.95, 0.9])
    assert found.gain == pytest.approx([0.05, 0.4])
    assert found.odds_gain == pytest.approx([np.log(19 / 9), np.log(9)])
    assert "in this one question the weaker cue gains more" in figure.response_sentence(found)
    assert "no inverse effectiveness" in figure.response_sentence(dose([0.9, 0.5], [0.99, 0.5]))
    assert "the ceiling" in figure.response_sentence(dose([0.9, 0.5], [0.9889, 0.9]))
    hardly = dose([0.9, 0.5], [0.987, 0.9])  # 2.13 nats against 2.20
    assert 0 < hardly.odds_gain[1] - hardly.odds_gain[0] < 0.1
    assert "the ceiling" in figure.response_sentence(hardly)
    assert "does not weaken" in figure.response_sentence(dose([0.9, 0.9], [0.99, 0.99]))


def test_a_flip_between_two_strengths():
    found = dose([0.9, 0.7, 0.4, 0.6], [0.9] * 4)
    assert found.flipped == 2
    assert found.flip == pytest.approx((1 + 0.4 / 0.6) / 3)
    assert "flips to “dog” at strength 0.56." in figure.response_sentence(found)
    assert figure.flips_at(found) == "in the second half" and figure.flips_at(replace(found, done=False)) is None
    assert figure.response(found).layout.annotations[0].text == "flips at 0.56"


def test_the_chart_of_a_dose_draws_every_option_that_its_sentence_names():
    p = np.array([[0.6, 0.2, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7]])
    names = ("cat", "dog", "owl", "bee")
    found = replace(dose([0.5] * 4, [0.5] * 4), options=names, labels=names, logprob=np.log(p), helped=np.zeros((0, 4)))
    drawn = lambda found: [line.name for line in figure.response(found).data]  # noqa: E731
    assert "flips to “dog”" in figure.response_sentence(found)
    assert drawn(found) == ["cat", "dog", "bee"]
    assert drawn(replace(found, target=2)) == ["owl", "cat", "dog", "bee"]
    never = replace(found, logprob=np.log(p[[0, 0, 0, 0]]))
    assert drawn(never) == ["cat", "dog"]


def test_a_dose_tells_whose_option_it_is_about_and_how_far_it_got():
    found = dose([0.9, 0.8], [0.9, 0.8])
    never = figure.response_sentence(found)
    assert "the answer “cat” never flips. From none to full strength, the right “cat” goes from 90 % to 80 %." in never
    assert figure.flips_at(found) == "never"
    own = figure.response_sentence(replace(found, truth_known=False))
    assert "“cat”, the model's own answer, goes" in own and "right" not in own
    half = replace(found, strength=np.array([0, 0.5]), done=False)
    assert "From none to strength 0.50 (not yet more)" in figure.response_sentence(half)
    assert "has not flipped so far." in figure.response_sentence(half)
