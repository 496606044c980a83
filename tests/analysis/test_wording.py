"""How numbers are said: signs, dashes, singulars, intervals."""

import math

import pytest

from analysis.statistics import Difference, Estimate
from analysis.wording import (
    between,
    change,
    estimate,
    headline,
    listed,
    ninth,
    number,
    percent,
    plural,
    points,
    rough,
    share,
    signed,
    verdict,
)

NAN = float("nan")
LESS = Estimate(-0.05, -0.111, 0.004, 20)


@pytest.mark.parametrize(
    ("value", "digits", "plain", "with_sign"),
    [
        (1.25, 1, "1.2", "+1.2"), (-1.0, 0, "−1", "−1"), (-0.04, 1, "0.0", "0.0"), (0.04, 1, "0.0", "0.0"),
        (0, 2, "0.00", "0.00"), (NAN, 1, "–", "–"), (120.0, 0, "120", "+120"),
    ],
)  # fmt: skip
def test_numbers(value, digits, plain, with_sign):
    assert number(value, digits) == plain and signed(value, digits) == with_sign


def test_two_digits_count_and_none_are_powers_of_ten():
    assert [rough(v) for v in (0.253, 1.26, 12.4, 123)] == ["0.25", "1.3", "12", "120"]


@pytest.mark.parametrize(
    ("of", "said"), [(0, "0 %"), (0.004, "< 1 %"), (0.5, "50 %"), (0.996, "> 99 %"), (1, "100 %"), (NAN, "–")]
)
def test_shares(of, said):
    assert percent(of) == said


@pytest.mark.parametrize(
    ("of", "said", "size"),
    [
        (0.01, "+1 point", "1 point"), (-0.01, "−1 point", "−1 point"), (0.052, "+5 points", "5 points"),
        (0.001, "0 points", "0 points"), (0.11, "+11 points", "11 points"),
    ],
)  # fmt: skip
def test_points(of, said, size):
    assert points(of) == said and points(of, sign=False) == size


def test_intervals():
    assert estimate(LESS) == "−5 (−11 to 0)" and estimate(LESS, 1, sign=True) == "−5.0 (−11.1 to +0.4)"
    assert estimate(LESS, 2, times=1) == "−0.05 (−0.11 to 0.00)" and between(LESS) == "−11 to 0"
    assert change(LESS) == "−5 points (−11 to 0)" and change(LESS, "95 % ") == "−5 points (95 % −11 to 0)"
    assert share(Estimate(0.5, 0.004, 1.0, 2)) == "50 % (< 1 % to 100 %)" and share(Estimate()) == "–"
    assert estimate(Estimate(0.5)) == "50" and estimate(Estimate()) == "–"


def test_p_stands_beside_the_interval_where_it_is_known():
    assert estimate(Difference(0.5, 0.25, 0.75, 9, 0.0312), p=True) == "50 (25 to 75; p = 0.031)"
    assert estimate(Difference(0.5, 0.25, 0.75, 9, NAN), p=True) == "50 (25 to 75)"


def test_verdicts_are_of_the_whole_interval():
    words = ("more", "less", "the same")
    told = [verdict(of, *words) for of in (LESS, -LESS, Estimate(1, 0.5, 2), Estimate(-1, -2, -0.5), Estimate())]
    assert told == ["the same", "the same", "more", "less", "the same"]
    assert math.isnan(Estimate().value)


def test_counts_and_lists():
    assert [plural(1, "seed"), plural(0, "seed"), plural(2, "is", "are")] == ["1 seed", "0 seeds", "2 are"]
    told = [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])]
    assert told == ["", "a", "a and b", "a, b and c"]


def test_a_point_of_a_picture_lies_in_one_of_nine_parts():
    assert [ninth(x, y) for x, y in ((0.1, 0), (0.5, 0.5), (1, 1), (0.5, 0.9), (0, 0.5))] == [
        "top left", "middle", "bottom right", "bottom", "left",
    ]


SAID = "The checkpoint base answers “{}” with a probability of 3 %."
NEXT = "Of the 7 other checkpoints, none says the same."


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("One sentence without an end", "One sentence without an end"),
        ("It is the base that wins. The rest loses. By far.", "It is the base that wins."),
        ("Of 0.5 points nothing is left here. Why?", "Of 0.5 points nothing is left here."),
        ("Which of them is the best? It is the base.", "Which of them is the best?"),
        ("It is the base!\nThe rest loses. By far.", "It is the base!\nThe rest loses."),
        ("The base gains 5 points. (−1 to 11) That is little. Why?",
         "The base gains 5 points. (−1 to 11) That is little."),
        ("The base gains 5 points (−1 to 11. Really) of all. Why?",
         "The base gains 5 points (−1 to 11. Really) of all."),
        ("The best gains most by far. “As it is” loses. Why?", "The best gains most by far."),
        ("It is said in words, e.g. German ones, vs. English. Why?",
         "It is said in words, e.g. German ones, vs. English."),
    ],
)  # fmt: skip
def test_the_first_sentence_is_the_headline(said, first):
    assert headline(said) == (first, said.removeprefix(first).strip())


@pytest.mark.parametrize(
    "answer",
    [
        "Yes. It is.", "Is it? No!", "No … Or yes", "a bee, e.g. A wasp. B", "line one.\nLine two.",
        "(A) bee. (B) Wasp",
        "He says “Hi. Ho.” Then?", "Er sagt „Ja. Nein.“ So.", "Er sagt „Ja. Nein.” So.", "«Oui. Non.» Oui.",
        "»Ja. Nein.« So.", 'They say "Hi. Ho." Then.', "It’s. Or ‘isn’t. Is’ it",
        "He says “Hi. Ho", "Er sagt „Ja. Nein", "Hi ” ho. Then", 'Of 5" or. Less', "(half. Or", "half). Or", "", ".",
    ],
)  # fmt: skip
def test_a_headline_is_never_cut_in_an_answer(answer):
    said = SAID.format(answer)
    assert headline(f"{said} {NEXT}") == (said, NEXT)
    assert headline(said) == (said, "")


def test_a_long_answer_is_shortened_in_the_headline_and_whole_below():
    words = SAID.format("Yes. It is. " * 40)
    assert headline(f"{words} {NEXT}") == (SAID.format("Yes. It is. " * 5 + "Yes. …"), f"{words} {NEXT}")
    without_spaces = SAID.format("蜂。花" * 400)
    first, rest = headline(without_spaces)
    assert len(first) < 400 and first.endswith("…” with a probability of 3 %.") and rest == without_spaces
