"""Modality conflict: planted laws, hand-counted switches, and a model that answers by a script."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit

from analysis.interference.conflict.balance import Fit, NearAndFar, binned, fit, near_and_far
from analysis.interference.conflict.measure import follows, measure, oscillation, relative_uncertainty, switches
from analysis.interference.conflict.sentence import oscillating, sentence
from analysis.interference.conflict.triplets import OCCLUSIONS, TEXTS, triplets
from models.errors import InputError
from tests.models import conftest as small

tokenizer, saved, mllm, picture = small.tokenizer, small.saved, small.mllm, small.picture

BALANCE, SLOPE = -0.4, -3.0


def planted(n: int, seed: int, slope: float = SLOPE):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, n)
    return x, (rng.random(n) < expit(slope * (x - BALANCE))).astype(int)


# the law


def test_a_planted_balance_point_is_found():
    found = fit(*planted(4000, 0))
    assert found.balance == pytest.approx(BALANCE, abs=0.06)
    assert found.slope == pytest.approx(SLOPE, abs=0.3)
    assert found.low < BALANCE < found.high
    assert found.high - found.low < 0.15
    assert found.probability(found.balance) == pytest.approx(0.5)
    assert not found.beyond and (found.start, found.end) == pytest.approx((-2, 2), abs=0.01)


def test_a_balance_point_may_lie_beyond_what_was_measured():
    x, y = planted(4000, 0)
    few = x > 0
    found = fit(x[few], y[few])
    assert found.balance < found.start
    assert found.beyond


def test_the_fit_is_of_maximum_likelihood():
    x, y = planted(60, 1)
    left = y - fit(x, y).probability(x)
    assert abs(left.sum()) < 1e-5  # the score equations
    assert abs((left * x).sum()) < 1e-5


def test_the_interval_covers_as_often_as_it_says():
    found = [fit(*planted(120, seed)) for seed in range(400)]
    covered = np.mean([f.low <= BALANCE <= f.high for f in found])
    assert 0.92 < covered < 0.98


def test_the_interval_is_that_of_the_delta_method_where_data_are_many():
    x, y = planted(4000, 2)
    found = fit(x, y)
    p = found.probability(x)
    design = np.stack([np.ones_like(x), x], 1)
    cov = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    slope = np.array([-1, -found.balance]) / found.slope
    half = 1.96 * np.sqrt(slope @ cov @ slope)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.02)


def test_no_balance_point_where_uncertainty_does_not_matter():
    found = fit(*planted(300, 3, slope=0.0))
    assert np.isnan(found.low) and np.isnan(found.high)
    assert not found.reason


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([0.1, 0.2], [0, 1], "only 2 items"),
        (np.arange(10), np.ones(10), "same side"),
        (np.arange(10), np.arange(10) < 5, "do not overlap"),
        (np.zeros(10), np.arange(10) % 2, "same relative uncertainty"),
    ],
)
def test_what_cannot_be_fitted_says_why(x, y, reason):
    found = fit(x, y)
    assert reason in found.reason
    assert np.isnan(found.balance)


def test_bins_hold_every_item_once():
    x, y = planted(100, 4)
    bins = binned(x, y)
    assert sum(b.n for b in bins) == 100
    assert sum(b.share * b.n for b in bins) == pytest.approx(y.sum())
    assert all(b.low <= b.share <= b.high for b in bins)
    assert [b.start for b in bins] == sorted(b.start for b in bins)
    assert binned(np.zeros(0), np.zeros(0)) == ()


# entropies, switches, answers


def test_relative_uncertainty():
    np.testing.assert_allclose(relative_uncertainty([1, 0, 3, 0, 2], [1, 2, 1, 0, 0]), [0, -2, 1, 0, 2])


@pytest.mark.parametrize(
    ("margin", "times"),
    [([1, 2, 3], 0), ([1, -1, 1], 2), ([1, 0, 1], 0), ([1, 0, -1], 1), ([0, 0, -1], 0), ([-1, 2, -3, 4], 3), ([1], 0)],
)
def test_switches(margin, times):
    assert switches(margin) == times


@pytest.mark.parametrize(
    ("answer", "side"),
    [("dog", 1), ("A Dog.", 1), ("There is a cat.", 0), ("a cat and a dog", -1), ("hotdog", -1), ("", -1)],
)
def test_whom_an_answer_follows(answer, side):
    assert follows(answer, seen="cat", told="dog") == side


def test_switches_near_and_far():
    x = np.array([0.0, 0.1, -0.1, 1.0, -1.0, 1.1, 2.0, -2.0, 1.9])
    changes = np.array([3, 4, 5, 2, 2, 2, 0, 1, 1], dtype=float)
    found = near_and_far(x, changes, 0.0)
    assert (found.near, found.far, found.n) == (4, pytest.approx(2 / 3), 3)
    assert 0 < found.low < found.near - found.far < found.high
    assert near_and_far(x, changes, float("nan")) is None
    assert near_and_far(x[:5], changes[:5], 0.0) is None
    assert near_and_far(x, np.full(9, np.nan), 0.0) is None
    assert near_and_far(x, changes, 2.1) is None  # nothing was measured there
    same = near_and_far(x, np.ones(9), 0.0)
    assert (same.low, same.high) == (0, 0)


# triplets


def test_triplets_come_from_their_seed_in_all_nine_difficulties():
    items = triplets(18, seed=5)
    assert items == triplets(18, seed=5)
    assert items != triplets(18, seed=6)
    assert Counter((i.occlusion, i.tier) for i in items) == {(o, t): 2 for o in OCCLUSIONS for t in TEXTS}
    for item in items:
        assert len(item.scene.items) == 1
        assert item.seen in item.scene.counts
        assert item.told not in item.scene.counts
        assert item.told in item.text and item.seen not in item.question


def test_occlusion_covers_its_share_of_the_thing_and_nothing_else():
    for item in triplets(9, seed=1):
        pixels, plain = (np.asarray(i.picture(400)).astype(int) for i in (item, replace(item, occlusion=0.0)))
        grey = (pixels == 127).all(-1)
        left, top, right, bottom = (round(400 * v) for v in item.scene.items[0].box)
        inside = np.zeros_like(grey)
        inside[top:bottom, left:right] = True
        changed = (pixels != plain).any(-1)
        assert not (changed & ~inside).any()
        covered = (grey & inside & (changed | (plain == 127).all(-1))).sum() / inside.sum()
        assert covered == pytest.approx(item.occlusion, abs=0.02)


# measuring


class Scripted:
    """Answers and entropies of ``n`` items as written: rows of (H_t, H_v, from text, from picture, from both)."""

    def __init__(self, rows):
        self.rows = rows

    def encode(self, picture, text):
        number = int(text.split()[1])
        side = 0 if picture is None else 1 if text.startswith("Ask") else 2
        return SimpleNamespace(length=5 + number % 2, number=number, side=side)

    def answers(self, prompts, checkpoint, tokens, batch):
        return [self.rows[p.number][2 + p.side] for p in prompts]

    def forward(self, prompts, checkpoint):
        logits = torch.full((len(prompts), 64), -1e9)
        for row, p in enumerate(prompts):
            logits[row, : self.rows[p.number][p.side]] = 0.0  # entropy log k
        return SimpleNamespace(logits=logits)

    def provenance(self, checkpoint, seed, seconds):
        return {"model": "script", "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seed": seed}


def item(number: int):
    return SimpleNamespace(
        seen="cat", told="dog", tier="direct", occlusion=0.3, question=f"Ask {number}", text=f"Text {number}",
        picture=lambda: number,
    )  # fmt: skip


def test_sides_are_kept_apart():
    rows = [
        (2, 8, "dog", "cat", "dog"),  # counts, follows the text
        (4, 4, "dog", "cat", "cat"),  # counts, follows the picture
        (4, 1, "bee", "cat", "cat"),  # wrong from the text
        (1, 4, "dog", "dog", "dog"),  # wrong from the picture
        (1, 1, "dog", "cat", "bee"),  # follows neither
    ]
    found = measure(Scripted(rows), [item(i) for i in range(5)], layers=False, seed=3)
    np.testing.assert_allclose(found.entropy_text, np.log([2, 4, 4, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(found.entropy_image, np.log([8, 4, 1, 4, 1]), atol=1e-6)
    np.testing.assert_allclose(found.relative, [-1, 0, 2, -2, 0], atol=1e-6)
    assert found.counted.tolist() == [True, True, False, False, False]
    assert found.followed.tolist() == [1, 0, 0, 1, -1]
    assert found.following_text == 0.5
    assert np.isnan(found.switches).all()
    assert found.provenance.seed == 3
    assert sentence(found) == (
        "Of 5 conflicts, 2 are answered rightly from either side alone; the answer follows the text in 50 % of them. "
        "No curve was fitted: only 2 items, at least 8 are needed."
    )
    assert found.to_csv().splitlines()[1].startswith("cat,dog,direct,0.3,dog,0.69")


def test_the_law_is_recovered_from_a_model():
    rng, rows = np.random.default_rng(0), []
    for _ in range(400):
        text, image = rng.integers(2, 60, 2)
        x = relative_uncertainty(np.log(text), np.log(image))
        rows.append((text, image, "dog", "cat", "dog" if rng.random() < expit(-4 * (x - 0.3)) else "cat"))
    found = measure(Scripted(rows), [item(i) for i in range(400)], layers=False)
    assert found.fitted.low < 0.3 < found.fitted.high
    assert "the surer the text, the more it is followed" in sentence(found)
    assert "leans towards the text" in sentence(found)


def test_a_real_model_is_measured(mllm):
    items = triplets(9, seed=2)
    found = measure(mllm, items, "naming", batch=4)
    for i in (0, 7):
        prompt = mllm.encode(items[i].picture(), items[i].question)
        p = mllm.forward([prompt], "naming").logits[0].double().softmax(-1)
        assert found.entropy_image[i] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-3)
        both = mllm.encode(items[i].picture(), f"{items[i].text} {items[i].question}")
        one = oscillation(mllm, both, items[i].seen, items[i].told, "naming")
        assert found.switches[i] == one.switches
    assert found.provenance.checkpoint == "naming"
    assert sentence(found).startswith(("None of the 9", "Of 9 conflicts"))


def test_the_last_layer_leads_as_the_model_answers(mllm, picture):
    prompt = mllm.encode(picture, "What is this?")
    found = oscillation(mllm, prompt, "cat", "dog")
    first, second = mllm.score(prompt, ["cat", "dog"]).logprob
    assert mllm.score(prompt, ["cat", "dog"]).tokens.tolist() == [1, 1]
    assert found.margin[-1] == pytest.approx(second - first, abs=1e-3)
    assert len(found.margin) == 3
    assert found.leaders[-1] == ("dog" if second > first else "cat")
    assert f"“{found.leaders[-1]}”" in oscillating(found)
    assert "No conflict is visible" in oscillating(replace(found, switches=0))
    assert "changes 2 times" in oscillating(replace(found, switches=2))
    with pytest.raises(InputError, match="same token"):
        oscillation(mllm, prompt, "cat", "cat")


def test_nothing_to_measure(mllm):
    with pytest.raises(InputError, match="at least one"):
        measure(mllm, [])


def test_sentences_tell_what_did_not_appear():
    rows = [(2, 8, "dog", "cat", "dog")] * 3
    found = measure(Scripted(rows), [item(i) for i in range(3)], layers=False)
    law = Fit(50, 1.0, 2.0, -0.5, -0.7, -0.3)
    assert "Against the paper's law" in sentence(replace(found, fitted=law))
    assert "leans towards the picture" in sentence(replace(found, fitted=replace(law, slope=-2.0)))
    measured = replace(law, slope=-2.0, start=-2.0, end=1.0)
    assert "balance point is at -0.50" in sentence(replace(found, fitted=measured))
    outside = sentence(replace(found, fitted=replace(measured, start=-0.25)))
    assert "would be at -0.50 (95 % -0.70 to -0.30), beyond what was measured (-0.25 to +1.00): at equal" in outside
    surer = sentence(replace(found, fitted=replace(measured, end=-0.1)))
    assert "Every item is surer in the text" in surer and "leans" not in surer
    assert "could be zero" in sentence(replace(found, fitted=Fit(50, 0.0, 0.1, 0.0)))
    for low, high, told in ((0.2, 0.8, "more often"), (-0.8, -0.2, "less often"), (-0.1, 0.5, "do not differ")):
        assert told in sentence(replace(found, oscillation=NearAndFar(1.5, 1.0, low, high, 10)))
    nobody = replace(found, right_text=np.zeros(3, dtype=bool))
    assert sentence(nobody).startswith("None of the 3 conflicts counts")
