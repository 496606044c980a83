"""Modality conflict: planted laws, hand-counted switches, and a model that answers by a script."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit

from analysis import kept
from analysis.bar import Known
from analysis.interference import card, endpoint
from analysis.interference.conflict import figure
from analysis.interference.conflict import measure as many
from analysis.interference.conflict.balance import Fit, NearAndFar, binned, fit, near_and_far
from analysis.interference.conflict.figure import SIDES, lean, sentence, single
from analysis.interference.conflict.measure import (
    TIERS,
    TRAINED,
    asked,
    entropies,
    follows,
    measured,
    relative_uncertainty,
    switched,
    told_by,
)
from analysis.interference.conflict.section import CONFLICT, CONFLICTS, why_text
from analysis.interference.conflict.single import Conflict, conflict
from analysis.result import Provenance
from analysis.section import Shown
from analysis.statistics import Estimate
from analysis.wording import percent
from models import catalog
from models.embedded.conflict import TRUST, believed
from models.embedded.conflict_sets import COVERS, OCCLUSIONS, RELIABILITY, WORDINGS, digest, triplets
from models.embedded.questions import Turn
from models.errors import CheckpointError, InputError, ModelError, OutOfMemory
from models.mllm import MLLM
from tests.driving import asked as ask_for

BALANCE, SLOPE = -0.4, -3.0


def planted(n: int, seed: int, slope: float = SLOPE):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, n)
    return x, (rng.random(n) < expit(slope * (x - BALANCE))).astype(int)


# the law


def test_a_planted_balance_point_is_found():
    found = fit(*planted(4000, 0))
    assert found.balance.value == pytest.approx(BALANCE, abs=0.06)
    assert found.slope == pytest.approx(SLOPE, abs=0.3)
    assert found.balance.low < BALANCE < found.balance.high
    assert found.balance.high - found.balance.low < 0.15
    assert found.probability(found.balance.value) == pytest.approx(0.5)
    assert not found.beyond and (found.start, found.end) == pytest.approx((-2, 2), abs=0.01)


def test_a_balance_point_may_lie_beyond_what_was_measured():
    x, y = planted(4000, 0)
    few = x > 0
    found = fit(x[few], y[few])
    assert found.balance.value < found.start
    assert found.beyond


def test_the_fit_is_of_maximum_likelihood():
    x, y = planted(60, 1)
    left = y - fit(x, y).probability(x)
    assert abs(left.sum()) < 1e-5  # the score equations
    assert abs((left * x).sum()) < 1e-5


def test_the_interval_covers_as_often_as_it_says():
    found = [fit(*planted(120, seed)) for seed in range(400)]
    covered = np.mean([f.balance.low <= BALANCE <= f.balance.high for f in found])
    assert 0.92 < covered < 0.98


def test_the_interval_is_that_of_the_delta_method_where_data_are_many():
    x, y = planted(4000, 2)
    found = fit(x, y)
    p = found.probability(x)
    design = np.stack([np.ones_like(x), x], 1)
    cov = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    slope = np.array([-1, -found.balance.value]) / found.slope
    half = 1.96 * np.sqrt(slope @ cov @ slope)
    assert (found.balance.high - found.balance.low) / 2 == pytest.approx(half, rel=0.02)


def test_the_band_is_that_of_the_log_odds_and_covers_the_curve():
    x, y = planted(200, 5)
    found = fit(x, y)
    at = np.array([-1.0, 0.3])
    p = found.probability(x)
    design = np.stack([np.ones_like(x), x], 1)
    cov = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    rows = np.stack([np.ones_like(at), at], 1)
    half = 1.959964 * np.sqrt(np.einsum("ni,ij,nj->n", rows, cov, rows))
    low, high = found.band(at)
    np.testing.assert_allclose(low, expit(rows @ [found.intercept, found.slope] - half), atol=1e-6)
    np.testing.assert_allclose(high, expit(rows @ [found.intercept, found.slope] + half), atol=1e-6)
    true = expit(SLOPE * (at - BALANCE))
    bands = [fit(*planted(150, seed)).band(at) for seed in range(200)]
    assert 0.9 < np.mean([(low <= true) & (true <= high) for low, high in bands]) < 0.99


def test_no_balance_point_where_uncertainty_does_not_matter():
    found = fit(*planted(300, 3, slope=0.0))
    assert np.isnan(found.balance.low) and np.isnan(found.balance.high)
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
    assert not found.balance.known


def test_bins_hold_every_item_once():
    x, y = planted(100, 4)
    bins = binned(x, y)
    assert sum(b.share.n for b in bins) == 100
    assert sum(b.share.value * b.share.n for b in bins) == pytest.approx(y.sum())
    assert all(b.share.low <= b.share.value <= b.share.high for b in bins)
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
    assert switched(margin).sum(-1) == times


def test_a_switch_is_where_the_new_lead_begins():
    assert switched([1, 0, -1, -2, 3]).tolist() == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("answer", "side"),
    [("dog", 1), ("A Dog.", 1), ("There is a cat.", 0), ("a cat and a dog", -1), ("hotdog", -1), ("", -1)],
)
def test_whom_an_answer_follows(answer, side):
    assert follows(answer, seen="cat", told="dog") == side


@pytest.mark.parametrize(("answer", "side"), [("B", 1), ("(a)", 0), ("A.", 0), ("A bee.", -1), ("3", -1)])
def test_letters_and_figures_count_alone(answer, side):
    assert follows(answer, seen="A", told="B") == side


def test_switches_near_and_far():
    x = np.array([0.0, 0.1, -0.1, 1.0, -1.0, 1.1, 2.0, -2.0, 1.9])
    changes = np.array([3, 4, 5, 2, 2, 2, 0, 1, 1], dtype=float)
    found = near_and_far(x, changes, 0.0)
    assert (found.near, found.far, found.difference.n) == (4, pytest.approx(2 / 3), 3)
    assert 0 < found.difference.low < found.near - found.far < found.difference.high
    assert near_and_far(x, changes, float("nan")) is None
    assert near_and_far(x[:5], changes[:5], 0.0) is None
    assert near_and_far(x, np.full(9, np.nan), 0.0) is None
    assert near_and_far(x, changes, 2.1) is None  # nothing was measured there
    same = near_and_far(x, np.ones(9), 0.0)
    assert (same.difference.low, same.difference.high) == (0, 0)


# triplets


def test_triplets_come_from_their_seed_in_all_nine_difficulties():
    items = triplets(18, seed=5)
    assert items == triplets(18, seed=5)
    assert items != triplets(18, seed=6)
    assert digest(items) == digest(triplets(18, seed=5)) != digest(triplets(18, seed=6))
    assert Counter((i.occlusion, i.tier) for i in items) == {(o, t): 2 for o in OCCLUSIONS for t in WORDINGS}
    for item in items:
        assert len(item.scene.items) == 1
        assert item.seen in item.scene.counts
        assert item.told not in item.scene.counts
        assert item.told in item.text and item.seen not in item.question


def test_triplets_have_the_wordings_and_covers_of_the_world_that_checkpoints_are_trained_in():
    items = triplets(24, 5, tiers=TIERS["trained"][0], covers=TIERS["trained"][1])
    assert Counter((i.occlusion, i.tier) for i in items) == {(o, t): 2 for o in COVERS for t in RELIABILITY}
    texts = {i.tier: i.text.replace(f" {i.told}", " *").replace(" an ", " a ") for i in items}
    assert texts["guessed"].startswith("Text: Somebody guessed ") and texts["direct"].startswith("Text: There is ")
    assert [i.scene for i in items[:3]] == [i.scene for i in triplets(3, 5)]


def test_an_ideal_reader_of_that_world_is_in_balance_where_it_was_trained_to_be():
    """Whose entropies are the reliabilities, and who decides conflicts by the odds that are taught."""
    places, of = {}, {}
    for name, trust in TRUST.items():
        x, y = [], []
        for text, picture in [(r, v) for r in RELIABILITY.values() for v in COVERS.values()]:
            h = [-p * np.log(p) - (1 - p) * np.log((1 - p) / 59) for p in (text, picture)]
            followed = round(100 * believed(text, picture, trust))
            x += [relative_uncertainty(*h)] * 100
            y += [1] * followed + [0] * (100 - followed)
        of[name] = fit(np.array(x), np.array(y))
        places[name] = of[name].balance
        assert of[name].slope < -1
    assert places["trusts-text"].low > places["even"].high and places["even"].low > places["trusts-picture"].high
    assert abs(places["even"].value) < 0.15


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


def measure(model, items, checkpoint="base", seed=None, **how):
    """What is said of items that are not kept."""
    rows = dict(asked(model, items, checkpoint, **how))
    by = model.provenance(checkpoint, seed, 0.0)
    return told_by({**kept.columns([rows[i] for i in range(len(items))]), "provenance": by})


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
    assert found.following_text.value == 0.5
    assert np.isnan(found.switches).all()
    assert found.provenance.seed == 3
    assert sentence(found) == (
        "The answer follows the text in 50 % of 2 conflicts (95 % interval 9 % to 91 %): no clear preference. Of 5 "
        "drawn, only those count that are answered rightly from either side alone, and then follow one. No curve was "
        "fitted: only 2 items, at least 8 are needed."
    )
    assert found.to_csv().splitlines()[1].startswith("cat,dog,direct,0.3,dog,0.69")


def test_the_law_is_recovered_from_a_model():
    rng, rows = np.random.default_rng(0), []
    for _ in range(400):
        text, image = rng.integers(2, 60, 2)
        x = relative_uncertainty(np.log(text), np.log(image))
        rows.append((text, image, "dog", "cat", "dog" if rng.random() < expit(-4 * (x - 0.3)) else "cat"))
    found = measure(Scripted(rows), [item(i) for i in range(400)], layers=False)
    assert found.fitted.balance.low < 0.3 < found.fitted.balance.high
    assert "the surer the text, the more it is followed" in sentence(found)
    assert "leans towards the text" in sentence(found)


def test_a_real_model_is_measured(mllm):
    items = triplets(9, seed=2)
    found = measure(mllm, items, "naming", batch=4)
    for i in (0, 7):
        prompt = mllm.encode(items[i].picture(), items[i].question)
        p = mllm.forward([prompt], "naming").logits[0].double().softmax(-1)
        assert found.entropy_image[i] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-3)
        said = items[i].text, items[i].seen, items[i].told
        one = conflict(mllm, items[i].picture(), items[i].question, *said, "naming")
        assert found.switches[i] == one.switched.sum()
        assert found.answers[i] == one.answers[2]
        assert found.relative[i] == pytest.approx(one.relative, abs=1e-3)
    assert found.provenance.checkpoint == "naming"
    assert sentence(found).startswith(("None of the 9", "The answer follows the text in "))


def test_sentences_tell_what_did_not_appear():
    rows = [(2, 8, "dog", "cat", "dog")] * 3
    found = measure(Scripted(rows), [item(i) for i in range(3)], layers=False)
    law = Fit(50, 1.0, 2.0, Estimate(-0.5, -0.7, -0.3))
    assert "Against the paper's law" in sentence(replace(found, fitted=law))
    assert "leans towards the picture" in sentence(replace(found, fitted=replace(law, slope=-2.0)))
    measured = replace(law, slope=-2.0, start=-2.0, end=1.0)
    assert "balance point is at −0.50" in sentence(replace(found, fitted=measured))
    outside = sentence(replace(found, fitted=replace(measured, start=-0.25)))
    assert "would be at −0.50 (95 % −0.70 to −0.30), beyond what was measured (−0.25 to +1.00): at equal" in outside
    surer = sentence(replace(found, fitted=replace(measured, end=-0.1)))
    assert "Every item is surer in the text" in surer and "leans" not in surer
    assert "could be zero" in sentence(replace(found, fitted=Fit(50, 0.0, 0.1, Estimate(0.0))))
    for low, high, told in ((0.2, 0.8, "more often"), (-0.8, -0.2, "less often"), (-0.1, 0.5, "do not differ")):
        assert told in sentence(replace(found, oscillation=NearAndFar(1.5, 1.0, Estimate(0.5, low, high, 10))))
    nobody = replace(found, right_text=np.zeros(3, dtype=bool))
    assert sentence(nobody).startswith("None of the 3 conflicts counts")
    assert "(0 % and 100 % are)" in sentence(nobody) and "was not yet shown" not in sentence(nobody)
    base = replace(found.provenance, model=catalog.EMBEDDED, checkpoint="base")
    unknown = sentence(replace(nobody, seen=("fox", "bee", "fox"), provenance=base))
    assert unknown.endswith(" The checkpoint base was not yet shown a fox.")
    one = replace(found, followed=np.array([1, -1, -1]))
    assert "follows the text in 100 % of 1 conflict (95 % " in sentence(one)


def test_who_is_followed_is_told_by_its_interval():
    def said(ones, total):
        rows = [(2, 8, "dog", "cat", "dog" if i < ones else "cat") for i in range(total)]
        return sentence(measure(Scripted(rows), [item(i) for i in range(total)], layers=False))

    assert "text in 3 % of 100 conflicts" in said(3, 100) and "mostly the picture" in said(3, 100)
    assert "text in < 1 % of 200 conflicts" in said(1, 200)
    assert "mostly the text" in said(95, 100)
    assert "no clear preference" in said(45, 100)
    assert (percent(0), percent(1), percent(0.995)) == ("0 %", "100 %", "> 99 %")


def test_tiers_by_hand():
    rows = [(2, 8, "dog", "cat", "dog"), (2, 8, "dog", "cat", "cat"), (2, 8, "bee", "cat", "dog")]
    items = [item(i) for i in range(3)]
    items[2].tier = "hedged"
    found = measure(Scripted(rows), items, layers=False)
    covered, direct, hedged = found.by_tier
    assert (covered.side, covered.name, covered.right.n, covered.right.value, covered.followed.n) == (
        "picture",
        "30% covered",
        3,
        1,
        2,
    )
    assert (direct.name, direct.right.value, direct.followed.value) == ("direct", 1, 0.5)
    assert (hedged.name, hedged.right.n, hedged.right.value, hedged.followed.n) == ("hedged", 1, 0, 0)
    assert not hedged.followed.known
    assert (direct.followed.low, direct.followed.high) == pytest.approx((0.0945, 0.9055), abs=1e-3)  # Wilson
    html = figure.tiers(found)
    assert "picture: 30 % covered" in html and "50 % (9 % to 91 %)" in html and "–" in html


def test_figures_and_the_card_hold_for_any_numbers():
    rng, rows = np.random.default_rng(1), []
    for _ in range(90):
        text, image = rng.integers(2, 60, 2)
        x = relative_uncertainty(np.log(text), np.log(image))
        rows.append((text, image, "dog", "cat", "dog" if rng.random() < expit(-4 * x) else "cat"))
    found = measure(Scripted(rows), [item(i) for i in range(90)], layers=False)
    drawn = figure.law(found)
    assert [t.name for t in drawn.data] == ["95 % band", "logistic fit", "measured"]
    assert "balance point" in drawn.layout.annotations[0].text
    assert "n = 90" in drawn.layout.xaxis.title.text
    dots = drawn.data[2]
    assert sum(n for n, *_ in dots.customdata) == 90
    assert sum(n * y for (n, *_), y in zip(dots.customdata, dots.y, strict=True)) == pytest.approx(
        100 * found.followed[found.counted].sum()
    )
    assert all(low <= y <= high for y, low, high in zip(
        dots.y, np.array(dots.y) - dots.error_y.arrayminus, np.array(dots.y) + dots.error_y.array, strict=True
    ))  # fmt: skip
    compared = replace(found, oscillation=NearAndFar(1.5, 1.0, Estimate(0.5, 0.1, 0.9, 30)))
    told = card.conflicts_told(compared)
    assert "1.50 and 1.00 (near − far +0.10 to +0.90; n = 30 each)" in told
    assert list(figure.inside(compared).data[0].x) == [1.5, 1.0]
    assert told.startswith("## Modality conflict") and sentence(compared) in told
    assert [line.count("|") for line in told.splitlines() if line.startswith("|")] == [3] * 6 + [6] * 4
    nobody = replace(found, right_text=np.zeros(90, dtype=bool), bins=(), fitted=fit(np.zeros(0), np.zeros(0)))
    assert "none: only 0 items" in card.conflicts_told(nobody) and "| – |" in card.conflicts_told(nobody)
    assert figure.law(nobody) is None and lean(nobody) is None
    flat = replace(found, fitted=Fit(50, 0.0, 0.1, Estimate(0.0), covariance=(1.0, 0.0, 1.0)))
    assert "could be zero" in card.conflicts_told(flat) and not figure.law(flat).layout.annotations


def test_balance_points_come_in_the_order_taught_or_not_or_it_cannot_be_told():
    found = measure(Scripted([(2, 8, "dog", "cat", "dog")] * 40), [item(i) for i in range(40)], layers=False)

    def of(*places, slope=-2.0):
        curves = [Fit(40, 0.0, slope, Estimate(v, v - 0.2, v + 0.2, 40)) for v in places]
        return {n: replace(found, fitted=curve) for n, curve in zip(TRUST, curves, strict=True)}

    assert card.in_order(of(0.5, 0.0, -0.5)) == (
        "Every curve falls beyond chance. Balance points, trusts-text +0.50, even 0.00 and trusts-picture −0.50, are "
        "in the order taught; the intervals of the outer two are apart."
    )
    assert "are in the order taught; the intervals of the outer two overlap" in card.in_order(of(0.1, 0.0, -0.1))
    assert "are not in the order taught" in card.in_order(of(0.5, -0.6, -0.5))
    lost = of(0.5, 0.0, -0.5) | {"even": replace(found, fitted=Fit(9, reason="all answers follow the same side"))}
    assert card.in_order(lost) == "Whether balance points are in order cannot be told: no falling curve for even."
    assert "no falling curve for trusts-text, even and trusts-picture" in card.in_order(of(0.5, 0.0, -0.5, slope=2.0))
    told = card.trusts_told(lost)
    assert told.startswith("## Whom to believe, learnt") and card.in_order(lost) in told
    assert "| trusts-text, n = 40 |" in told and "| +0.50 (+0.30 to +0.70) |" in told and "nan" not in told


# kept on disk


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "kept"))


def test_what_was_measured_is_kept_by_model_checkpoint_and_items(mllm, cache, monkeypatch):
    assert measured(mllm, "naming", 9, 3, only_kept=True) is None
    told = []
    first = measured(mllm, "naming", 9, 3, progress=lambda share, what: told.append(share))
    assert told == sorted(told) and told[0] == 0 and told[-1] < 1
    monkeypatch.setattr(many, "asked", lambda *args, **kwargs: pytest.fail("measured again"))
    assert measured(mllm, "naming", 9, 3).to_json() == first.to_json()
    assert measured(mllm, "naming", 9, 3, only_kept=True).provenance == first.provenance
    for other in ({"checkpoint": "base"}, {"seed": 4}, {"count": 18}, {"things": "naming"}, {"tiers": "trained"}):
        assert measured(mllm, **{"checkpoint": "naming", "count": 9, "seed": 3, **other}, only_kept=True) is None


def test_a_stopped_measurement_is_not_taken_for_a_whole_one(mllm, cache):
    def stop(share, what):
        if share > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        measured(mllm, count=9, progress=stop)
    assert measured(mllm, count=9, only_kept=True) is None


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"count": 3}, InputError, "number of items is 3"),
        ({"count": 9.5}, InputError, "number of items is 9.5"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"things": "stars"}, InputError, "no things 'stars'"),
        ({"tiers": "odd"}, InputError, "no tiers 'odd' to draw. There are those of: usual, trained"),
        ({"checkpoint": "nobody"}, CheckpointError, "nobody"),
    ],
)
def test_settings_are_checked(mllm, cache, wrong, error, told):
    with pytest.raises(error, match=told):
        measured(mllm, **{"count": 9, **wrong})


def test_where_memory_is_short_prompts_are_read_in_halves(mllm, picture, monkeypatch):
    prompts = [mllm.encode(picture, f"What is this{'?' * n}") for n in (1, 1, 1, 1, 1, 2)]
    wanted, read, rows = entropies(mllm, prompts, "base", 8), mllm.forward, []

    def short(batch, *args, **kwargs):
        rows.append(len(batch))
        if len(batch) > 2:
            raise OutOfMemory("too many")
        return read(batch, *args, **kwargs)

    monkeypatch.setattr(mllm, "forward", short)
    assert entropies(mllm, prompts, "base", 8) == pytest.approx(wanted, abs=1e-4)
    assert max(rows) > 2 and sum(n for n in rows if n <= 2) == len(prompts)

    def full(*args, **kwargs):
        raise OutOfMemory("full")

    monkeypatch.setattr(mllm, "forward", full)
    with pytest.raises(OutOfMemory, match="full"):
        entropies(mllm, prompts, "base", 8)


# one conflict


def test_one_conflict_agrees_with_what_the_model_says(mllm, picture):
    found = conflict(mllm, picture, "What is this?", "Text: There is a dog.", "cat", "dog")
    text = "Text: There is a dog. What is this?"
    prompts = mllm.encode(None, text), mllm.encode(picture, "What is this?"), mllm.encode(picture, text)
    for row, prompt in enumerate(prompts):
        assert found.logprob[row] == pytest.approx(mllm.score(prompt, ["cat", "dog"]).logprob, abs=1e-3)
        p = mllm.forward([prompt]).logits[0].double().softmax(-1)
        assert found.entropy[row] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-3)
    assert mllm.score(prompts[2], ["cat", "dog"]).tokens.tolist() == [1, 1]
    assert found.margin[-1] == pytest.approx(found.logprob[2, 1] - found.logprob[2, 0], abs=1e-3)
    assert len(found.margin) == 3
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["followed"] in ("text", "picture", "neither") and len(data["margin"]) == 3
    assert found.to_csv().splitlines()[0] == "what,layer,from,answer,value"
    assert figure.oscillation(found).data and "There is a dog" in figure.sides(found)


def test_what_is_not_given_is_proposed(mllm, picture):
    known = Known(None, (Turn("What is this?", "penguin", "word", ("penguin", "car")),))
    found = conflict(mllm, picture, "What is this?", known=known)
    assert (found.seen, found.told, found.text) == ("penguin", "car", "Text: There is a car.")
    assert found.truth_known and "known to be true" in figure.sides(found)
    told = conflict(mllm, picture, "What is this?", told="banana", known=known)
    assert (told.seen, told.told, told.text) == ("penguin", "banana", "Text: There is a banana.")
    plural = Known(None, (Turn("What is this?", "bee", "word", ("bee", "bees", "car")),))
    assert conflict(mllm, picture, "What is this?", known=plural).told == "car"  # bees are no other thing than a bee
    counted = Known(None, (Turn("How many mice are there?", "3", "numeral", ("3", "2")),))
    assert conflict(mllm, picture, "How many mice are there?", known=counted).text == "Text: There are two mice."
    letters = "Which of these is in the picture? A. cat B. penguin"
    choice = conflict(mllm, picture, letters, known=Known(None, (Turn(letters, "B", "letter", ("A", "B")),)))
    assert (choice.seen, choice.told, choice.text) == ("B", "A", "Text: There is a cat.")
    own = conflict(mllm, picture, "Why?")
    assert own.seen and own.told and own.seen != own.told and not own.truth_known
    assert conflict(mllm, picture, "Why?", "x", "y", "z").text == "x"


def test_conflicts_that_are_none(mllm, picture, monkeypatch):
    for args, told in (
        ((None, "What is this?"), "no picture"),
        ((picture, "What is this?", "Text.", "cat", " Cat "), "both say"),
        ((picture, "What is this?", "Text.", "cat", "x" * 201), "201 characters"),
        ((picture, "  ", "Text.", "cat", "dog"), "no question"),
    ):
        with pytest.raises(InputError, match=told):
            conflict(mllm, *args)
    same = conflict(mllm, picture, "What is this?", "Text.", "bee and", "bee or")
    assert not len(same.margin) and "begin with the same token" in single(same)
    assert figure.oscillation(same) is None
    assert same.to_json()["switches"] is None

    def unreadable(*args):
        raise ModelError("no lens reads this.")

    monkeypatch.setattr("analysis.interference.conflict.measure.margins", unreadable)
    lens = conflict(mllm, picture, "What is this?", "Text.", "cat", "dog")
    assert lens.unread == "no lens reads this" and "cannot be told: no lens reads this." in single(lens)


def test_work_on_one_conflict_can_be_stopped(mllm, picture):
    def stop(share, what):
        if share > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        conflict(mllm, picture, "Why?", progress=stop)
    shares = []
    conflict(mllm, picture, "Why?", progress=lambda share, what: shares.append(share))
    assert shares == sorted(shares) and len(shares) > 4


@pytest.mark.parametrize("family", ["qwen2_5_vl", "paligemma2"])
def test_other_families(zoo, picture, family):
    model = MLLM.open(zoo(family), family, device="cpu")
    found = conflict(model, picture, "What is it?", "There is a dog.", "cat", "dog")
    assert np.isfinite(found.entropy).all() and np.isfinite(found.logprob).all()
    assert single(found) and figure.sides(found) and figure.oscillation(found)
    assert found.unread or len(found.margin) == model.model.config.get_text_config().num_hidden_layers
    assert sentence(measure(model, triplets(9, seed=2), batch=4))


@pytest.fixture
def one():
    return Conflict(
        provenance=Provenance("m", "base", "float32", "cpu"), question="What?", text="Text: a <b>dog.", seen="cat",
        told="dog", truth_known=False, answers=("dog", "cat", "dog"), entropy=np.array([0.1, 0.5, 0.2]),
        logprob=np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), followed=1, margin=np.array([-1.0, 0.5, -0.2, 2.0]),
    )  # fmt: skip


def test_why_a_text_is_followed_is_told_of_those_it_is_true_of(one):
    by = one.provenance
    assert "never met a picture" in why_text(replace(by, model=catalog.EMBEDDED), "Text: a dog.")
    assert "was put there: it was trained where" in why_text(replace(by, model=TRAINED, checkpoint="even"), "Text: x")
    assert "never met a picture" in why_text(replace(by, model=TRAINED), "Text: a dog.")  # its base is the base
    assert not why_text(by, "Text: a dog.") and not why_text(replace(by, model=TRAINED, checkpoint="even"), "A dog.")


def test_the_sentence_of_one_conflict_is_true_whatever_happens(one):
    assert single(one) == (
        "From both, the model answers “dog”: it follows the text. Of the two, “dog” has 70 % of the probability. "
        "Alone, it is surer of the text (0.10 nats from the text alone, 0.50 from the picture alone, relative −1.33), "
        "as the paper's law has it. Between the layers the lead changes 3 times (at layer 2, 3, 4 of 4); “dog” has it "
        "at the end."
    )
    assert "yet the other side wins here" in single(replace(one, entropy=np.array([0.5, 0.1, 0.2])))
    assert "equally sure of either" in single(replace(one, entropy=np.array([0.5, 0.5, 0.2])))
    neither = single(replace(one, followed=-1, answers=("dog", "cat", "")))
    assert "answers nothing: neither side alone is followed. Of the two, “dog” has 70 %" in neither
    assert "law has it" not in neither
    assert "Beware: the text and the picture alone do not give" in single(replace(one, answers=("x", "y", "dog")))
    picture_fails = single(replace(one, answers=("dog", "y", "dog")))
    assert "Beware: the picture alone does not give the answer that it should" in picture_fails
    assert "no struggle is visible: “cat” leads" in single(replace(one, margin=-np.ones(4)))
    assert "changes once (at layer 2 of 2)" in single(replace(one, margin=np.array([-1.0, 1.0])))


def test_what_is_shown_is_escaped_and_switches_are_marked(one):
    odd = replace(one, answers=("<i>x", "cat", "dog"), seen="<u>cat")
    assert not any(bad in figure.sides(odd) for bad in ("<i>", "<u>", "<b>dog"))
    assert "<u>" not in figure.oscillation(odd).to_json()
    (marks,) = (t for t in figure.oscillation(one).data if t.name == "the lead changes")
    assert list(marks.x) == [2, 3, 4]
    assert "the lead changes" not in [t.name for t in figure.oscillation(replace(one, margin=np.ones(4))).data]


# the page


@pytest.fixture
def used(mllm, monkeypatch):
    @contextmanager
    def using(name):
        yield mllm

    monkeypatch.setattr(catalog, "using", using)


def test_endpoints(used, picture, tmp_path, cache):
    picture.save(tmp_path / "p.png")
    image = {"path": str(tmp_path / "p.png"), "meta": {"_type": "gradio.FileData"}}
    data = endpoint.conflict(image, "What is this?", seen="cat", told="dog")
    assert {"followed", "relative_uncertainty", "margin", "from", "sentence", "provenance"} <= set(data)
    assert data["text"] == "Text: There is a dog."
    data = endpoint.conflicts(checkpoint="naming", n=9, tiers="trained")
    assert {tier["name"] for tier in data["by_tier"]} >= {"guessed", "20% covered"}
    assert {"n", "counted", "following_text", "fitted", "bins", "by_tier", "sentence", "provenance"} <= set(data)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    for name, wrong in (("conflict", {"question": 3}), ("conflicts", {"n": "many"}), ("conflicts", {"model": 1})):
        with pytest.raises(InputError, match="must be a"):
            getattr(endpoint, name)(**wrong)


def quiet(share, what):
    """Nobody is told."""


def test_one_conflict_on_the_page(used, picture, tmp_path, cache):
    picture.save(tmp_path / "p.png")
    given = {"path": str(tmp_path / "p.png"), "question": "What is this?", "seen": "cat", "told": "dog"}
    found = CONFLICT.measure(ask_for(CONFLICT, **given), quiet)
    assert (found.seen, found.told, found.text) == ("cat", "dog", "Text: There is a dog.")
    hints = {c.name: c.hint for c in CONFLICT.offered({}, found)}  # what was filled in stands in the fields, in grey
    assert hints == {"text": "Text: There is a dog.", "seen": "cat", "told": "dog"}
    sides = CONFLICT.views[0].draw(Shown(found, ask_for(CONFLICT, **given)))
    assert "Ask again without “Text:”" in sides and '"text": "There is a dog."' in unescape(sides)


def test_many_conflicts_on_the_page_and_what_is_kept(used, cache):
    given = ask_for(CONFLICTS, "m", "naming", count=30)
    assert CONFLICTS.kept(given) is None and given["tiers"] == "usual"
    found = CONFLICTS.measure(given, quiet)
    assert len(found.seen) == 30
    assert CONFLICTS.kept(given).to_json() == found.to_json()
    assert CONFLICTS.kept(ask_for(CONFLICTS, "m", "of another model")) is None


def test_what_is_predicted_is_what_is_told(one):
    assert [CONFLICT.prediction.outcome(replace(one, followed=f)) for f in (0, 1, -1)] == list(SIDES)
    rows = [(2, 8, "dog", "cat", "dog")] * 40
    texts = measure(Scripted(rows), [item(i) for i in range(40)], layers=False)
    assert lean(texts) == "the text" and "mostly the text" in sentence(texts)
    pictures = replace(texts, followed=np.zeros(40, dtype=int))
    assert lean(pictures) == "the picture" and "mostly the picture" in sentence(pictures)
    both = replace(texts, followed=np.arange(40) % 2)
    assert lean(both) == "neither clearly" and "no clear preference" in sentence(both)


def test_a_text_that_is_never_hard_says_little_of_preference():
    rows = [(2, 8, "dog", "cat", "dog")] * 40
    texts = measure(Scripted(rows), [item(i) for i in range(40)], layers=False)
    told = "All wordings of the text are about as easy (90 % to 95 % right alone), so its preference says little."
    assert "wordings" not in sentence(texts)  # one tier cannot differ
    right = np.ones(40, dtype=bool)
    right[[0, 20, 21]] = False  # 19 of 20, and 18 of 20
    tiers = replace(texts, tiers=("direct",) * 20 + ("hedged",) * 20, right_text=right)
    assert told in sentence(tiers)
    assert "wordings" not in sentence(replace(tiers, right_text=right & (np.arange(40) > 22)))  # 85 % and 0 %
    assert "wordings" not in sentence(replace(tiers, followed=np.arange(40) % 2))  # and no preference to explain
