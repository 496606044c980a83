import json

import numpy as np
import pytest

from models.checkpoints import Blend
from models.errors import CheckpointError
from models.evalset import load
from models.evaluation import Evaluation, at_equal_recall, auc, given, interval, scored
from models.manifest import Manifest
from models.mllm import text_of


@pytest.fixture
def items(saved):
    return load(saved / "set" / "counting.jsonl")


def test_every_item_is_answered_in_its_place(mllm, items):
    item, halfway = items[3], Blend("base", "naming", 0.5)
    for checkpoint in ("naming", halfway):
        alone = mllm.generate(mllm.encode(item.picture(), item.question), checkpoint)
        found = dict(given(mllm, items, checkpoint))
        assert found[3] == text_of(list(alone)) and sorted(found) == list(range(5))
        assert dict(given(mllm, items, checkpoint, [1, 3])) == {i: found[i] for i in (1, 3)}
    assert dict(given(mllm, items, "naming")) != dict(given(mllm, items, "base"))


def test_few_pictures_are_in_memory_at_once(mllm, items, monkeypatch):
    whole = dict(given(mllm, items, "naming"))
    monkeypatch.setattr("models.batches._AT_ONCE", 2)
    encode, made = mllm.encode, []
    monkeypatch.setattr(mllm, "encode", lambda *asked: made.append(1) or encode(*asked))
    answers, sizes = given(mllm, items, "naming"), []
    found = {}
    for place, answer in answers:
        found[place] = answer
        sizes.append(len(made))
    assert found == whole and sizes == [2, 2, 4, 4, 5]


def test_a_run_that_is_left_holds_no_lock(mllm, items):
    answers = given(mllm, items, "naming")
    next(answers)
    assert not mllm.lock._is_owned()
    answers.close()
    assert dict(given(mllm, items, "naming"))


def test_a_set_without_answers(copied):
    found = Evaluation.unanswered(Manifest.load(copied))
    assert (found.tasks, found.checkpoints) == (("naming", "counting"), ("base", "naming", "counting"))
    assert found.trained == {"naming": "naming", "counting": "counting"}
    assert [len(found.items[task]) for task in found.tasks] == [5, 5]
    assert found.given == {"naming": {}, "counting": {}} and found.scores == {"naming": {}, "counting": {}}


def test_scores_follow_the_answers_and_their_rules(copied):
    file = copied / "counting.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[3]["score"] = "numeric"
    file.write_text("\n".join(map(json.dumps, lines)))
    found = Evaluation.unanswered(Manifest.load(copied))
    found.given["counting"]["base"] = ["0", "9", "2", "three of them", "four"]
    assert found.scores["counting"]["base"].tolist() == [1, 0, 1, 1, 0]
    with pytest.raises(ValueError, match="shorter"):
        scored(found.items["counting"], ["0"])


def test_tasks_without_an_evaluation_set_are_named_without_the_place_on_disk(copied):
    manifest = json.loads((copied / "checkpoints.json").read_text())
    del manifest["checkpoints"][1]["eval"]
    (copied / "checkpoints.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r'^set/checkpoints\.json: field "eval" is missing for counting: '):
        Evaluation.unanswered(Manifest.load(copied))


def test_intervals_by_hand():
    # Wilson for 8 of 10: centre (0.8 + z2/20) / (1 + z2/10), z2 = 3.8415
    assert interval(np.array([1.0] * 8 + [0.0] * 2)) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(np.zeros(10)) == pytest.approx((0, 0.2775), abs=1e-4)
    scores = np.array([0.25, 0.75] * 200)  # standard error of the mean 0.0125
    assert interval(scores) == pytest.approx((0.5 - 1.96 * 0.0125, 0.5 + 1.96 * 0.0125), abs=0.003)
    assert interval(scores) == interval(scores)


TRUTH = np.array([True, True, True, False, False])


def test_area_under_the_curve_by_hand_with_ties():
    """True items 3, 2, 2, false ones 2, 1: of 6 pairs 4 are won and 2 tied. Placements 1, 3/4, 3/4 and 2/3, 1."""
    value, low, high, n = auc(np.array([3.0, 2, 2, 2, 1]), TRUTH)
    error = np.sqrt((1 / 48) / 3 + (1 / 18) / 2)
    assert (value, low, high, n) == (pytest.approx(5 / 6), pytest.approx(5 / 6 - 1.96 * error), 1, 5)
    assert auc(np.zeros(5), TRUTH)[:3] == (0.5, 0.5, 0.5)
    assert auc(-np.array([3.0, 2, 2, 2, 1]), TRUTH)[0] == pytest.approx(1 / 6)
    assert auc(np.array([3.0, 2, 2, 2, np.nan]), TRUTH) == () == auc(np.ones(3), np.array([True, True, False]))


def test_two_curves_over_the_same_items_are_compared_in_pairs():
    one, two = np.array([3.0, 2, 2, 2, 1]), np.array([3.0, 3, 3, 2, 1])
    value, low, high, _ = auc(one, TRUTH, two)
    error = np.sqrt(np.var([0, -1 / 4, -1 / 4], ddof=1) / 3 + np.var([-1 / 3, 0], ddof=1) / 2)
    assert (value, low, high) == pytest.approx((-1 / 6, -1 / 6 - 1.96 * error, -1 / 6 + 1.96 * error))
    assert auc(one, TRUTH, 2 * one + 1)[:3] == (0, 0, 0)  # a curve does not ask where the threshold is
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], 40)
    found = [auc(truth + rng.normal(0, 1, 80), truth) for _ in range(400)]
    assert 0.91 < np.mean([low <= 0.7602 <= high for _, low, high, _ in found]) < 0.98  # Phi(1 / sqrt 2)


def test_false_alarms_at_equal_recall_by_hand():
    truth, scores = np.repeat([True, False], 4), np.array([5.0, 3, 1, -1, 4, 2, -0.5, -2])
    said = np.array([1, 1, 0, 1, 1, 0, 0, 0], dtype=bool)  # three of four hits: the threshold is 0
    (alarms, *few), (more, *_) = at_equal_recall(said, scores, truth)
    assert (alarms, more) == (0.5, -0.25) and np.isnan(few[:2]).all()  # of four no interval is told
    truth, scores, said = (np.repeat(of, 2) for of in (truth, scores, said))
    (alarms, low, high, n), (more, least, most, _) = at_equal_recall(said, scores, truth)
    assert (alarms, more, n) == (0.5, -0.25, 8) and low < 0.5 < high and least < -0.25 < most
    assert at_equal_recall(said, scores, truth) == ((alarms, low, high, n), (more, least, most, n))
    moved, same = at_equal_recall(scores >= 2, scores, truth)  # a threshold moved is nothing but that
    assert moved[0] == 0.5 and same[0] == 0 and same[1] <= 0 <= same[2]
    silent, _ = at_equal_recall(np.zeros(16, bool), scores, truth)
    assert silent[:3] == (0, 0, 0)
    tied = np.repeat([2.0, 2, 2, 0, 2, 1, 1, 1], 2)  # one hit cannot be had alone: all that tie are called true
    assert at_equal_recall(np.arange(16) == 0, tied, truth)[0][0] == 0.25
    assert at_equal_recall(said, np.full(16, np.nan), truth) == ((), ()) == at_equal_recall(said, scores, truth | True)
