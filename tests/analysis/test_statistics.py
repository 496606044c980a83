"""Paired comparisons and likeness of representations: worked by hand, and by properties."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import ortho_group

from analysis.result import plain
from analysis.statistics import (
    FEW,
    Difference,
    Estimate,
    cka,
    difference,
    ends,
    mean,
    ratio,
    ratio_difference,
    share,
    spread,
)
from analysis.wording import change, estimate
from analysis.wording import share as said


def test_paired_difference_by_hand():
    a = np.array([1, 1, 1, 1, 0, 1, 1, 0.0])
    b = np.array([1, 0, 0, 0, 0, 0, 1, 1.0])
    found = difference(a, b)
    assert found.value == pytest.approx(3 / 8)
    # four items only a gets right, one only b: two-sided binomial, 2 * (C(5,0) + C(5,1)) / 2**5
    assert found.p == pytest.approx(2 * 6 / 32)
    assert found.low < 3 / 8 < found.high


def test_the_interval_is_about_pairs():
    rng = np.random.default_rng(0)
    hard = rng.random(400)  # items differ far more than the two conditions do
    found = difference(hard + 0.01, hard)
    assert found.value == pytest.approx(0.01) and found.clear and found.high - found.low < 1e-9
    assert math.isnan(found.p)


def test_the_interval_agrees_with_the_normal_one_on_many_items():
    values = np.random.default_rng(1).normal(0.3, 2.0, 2000)
    low, high = spread(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_no_difference_is_not_clear():
    same = difference(np.arange(9) % 2.0, np.arange(9) % 2.0)
    assert (same.value, same.low, same.high, same.p, same.clear) == (0, 0, 0, 1.0, False)


def test_of_few_items_no_bootstrap_is_told():
    """Drawn from three that agree it would have no width, and be told as beyond chance."""
    few = [difference(np.ones(3), np.zeros(3)), ratio(np.ones(3), np.ones(3)), mean([0.2, 0.4, 0.6]),
           ratio_difference((np.ones(3), np.ones(3)), (np.zeros(3), np.ones(3)))]  # fmt: skip
    for of in few:
        assert of.known and np.isnan([of.low, of.high]).all() and not of.clear
    for of in (difference(np.ones(FEW), np.zeros(FEW)), ratio(np.ones(FEW), np.ones(FEW)), share(1, 2)):
        assert of.low <= of.value <= of.high
    assert change(few[0]) == "+100 points (too few for an interval)" and estimate(few[0]) == "100"
    assert said(few[2]) == "40 % (too few for an interval)"


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 0.0])])
def test_other_items_are_refused(a, b):
    with pytest.raises(ValueError, match="same items"):
        difference(np.array(a), np.array(b))


@pytest.mark.parametrize("n", [30, 4])  # more samples than dimensions, and fewer
def test_cka_sees_neither_rotation_nor_scale_nor_place_and_equals_the_kernel_form(n):
    x, y = (np.random.default_rng(seed).normal(size=(n, 6)) for seed in (0, 1))
    r = ortho_group.rvs(6, random_state=1)
    assert cka(x, x @ r) == pytest.approx(1) == cka(x, 7 * x + 3)
    assert cka(x, y) == pytest.approx(cka(x @ r, 0.1 * y))
    centre = np.eye(n) - 1 / n
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    assert cka(x, y) == pytest.approx((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()))
    assert math.isnan(cka(np.ones((n, 3)), x))


def test_an_estimate_is_clear_where_its_interval_leaves_out_zero():
    found = [Estimate(0.2, 0.1, 0.3), Estimate(-0.2, -0.3, -0.1), Estimate(0.1, 0.0, 0.2), Estimate(), Estimate(0.5)]
    assert [of.clear for of in found] == [True, True, False, False, False]
    assert [of.known for of in found] == [True, True, True, False, True]
    assert found[0].reach == pytest.approx((0.1, 0.1)) and -found[0] == found[1]


def test_shares_and_means_by_hand():
    half = share(5, 10)
    assert (half.value, half.n) == (0.5, 10)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Wilson
    assert half == mean([1, 0] * 5)
    assert not share(0, 0).known and mean([0.25] * 9) == Estimate(0.25, 0.25, 0.25, 9)


@dataclass(frozen=True)
class _Flat:
    name: str
    best: Estimate = ends("low", "high")
    other: Estimate = ends("other_low", "other_high", "n")
    more: Difference | None = None


def test_json_keeps_the_names_that_callers_know():
    found = _Flat("a", Estimate(0.5, 0.25, 0.75, 4), Estimate(1.0, n=3), Difference(0.1, 0.0, 0.2, 4, 0.5))
    assert plain(found) == {
        "name": "a", "best": 0.5, "low": 0.25, "high": 0.75, "other": 1.0, "other_low": None, "other_high": None,
        "n": 3, "more": {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 4, "p": 0.5},
    }  # fmt: skip
    assert plain(Estimate(0.5, 0.25, 0.75, 4)) == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}
