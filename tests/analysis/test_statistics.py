"""Paired comparisons: worked by hand, and by properties."""

import math

import numpy as np
import pytest

from analysis.statistics import difference, spread


def test_paired_difference_by_hand():
    a = np.array([1, 1, 1, 1, 0, 1, 1, 0.0])
    b = np.array([1, 0, 0, 0, 0, 0, 1, 1.0])
    found = difference(a, b)
    assert found.mean == pytest.approx(3 / 8)
    # four items only a gets right, one only b: two-sided binomial, 2 * (C(5,0) + C(5,1)) / 2**5
    assert found.p == pytest.approx(2 * 6 / 32)
    assert found.low < 3 / 8 < found.high


def test_the_interval_is_about_pairs():
    rng = np.random.default_rng(0)
    hard = rng.random(400)  # items differ far more than the two conditions do
    found = difference(hard + 0.01, hard)
    assert found.mean == pytest.approx(0.01) and found.clear and found.high - found.low < 1e-9
    assert math.isnan(found.p)


def test_the_interval_agrees_with_the_normal_one_on_many_items():
    values = np.random.default_rng(1).normal(0.3, 2.0, 2000)
    low, high = spread(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_no_difference_is_not_clear():
    same = difference(np.array([1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    assert (same.mean, same.low, same.high, same.p, same.clear) == (0, 0, 0, 1.0, False)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 0.0])])
def test_other_items_are_refused(a, b):
    with pytest.raises(ValueError, match="same items"):
        difference(np.array(a), np.array(b))
