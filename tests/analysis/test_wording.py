"""How numbers are said: signs, dashes, singulars, intervals."""

import math

import pytest

from analysis.statistics import Difference, Estimate
from analysis.wording import (
    between,
    change,
    estimate,
    listed,
    ninth,
    number,
    percent,
    plural,
    points,
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
