import json

import numpy as np
import pytest

from models.checkpoints import CheckpointSet
from models.errors import CheckpointError
from models.evaluation import Evaluation, evaluate, interval
from models.mllm import MLLM, text_of


@pytest.fixture
def measured(saved, copied):
    mllm = MLLM.open(saved / "model", "small", copied, device="cpu")
    seen = []
    return mllm, evaluate(mllm, lambda share, what: seen.append((share, what))), seen


def test_every_checkpoint_answers_every_item(measured):
    mllm, found, seen = measured
    assert found.tasks == ("naming", "counting")
    assert found.checkpoints == ("base", "naming", "counting")
    item = found.items["counting"][3]
    alone = mllm.generate(mllm.encode(item.picture(), item.question), "naming")
    assert found.given["counting"]["naming"][3] == text_of(list(alone))
    assert [s for s, _ in seen] == pytest.approx(np.arange(6) / 6)
    assert found.provenance["model"] == "small"


def test_saved_and_loaded_again(measured, copied):
    _, found, _ = measured
    found.save(copied)
    again = Evaluation.load(copied)
    assert again.given == found.given
    assert again.scores["naming"]["base"].shape == (5,)


def test_scores_follow_the_answers(measured):
    _, found, _ = measured
    found.given["counting"]["base"] = ["0", "9", "2", "two", "4"]
    assert found.scores["counting"]["base"].tolist() == [1, 0, 1, 0, 1]


def test_answers_of_another_set_are_refused(measured, copied):
    _, found, _ = measured
    with pytest.raises(CheckpointError, match="The set set has not been measured.*press Measure again") as error:
        Evaluation.load(copied)
    assert str(copied.parent) not in str(error.value)
    found.save(copied)
    data = json.loads((copied / "answers.json").read_text())
    data["given"]["naming"]["base"].pop()
    (copied / "answers.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="^set/answers.json is not of.*press Measure again"):
        Evaluation.load(copied)


def test_tasks_without_an_evaluation_set_are_named_without_the_place_on_disk(copied):
    manifest = json.loads((copied / "checkpoints.json").read_text())
    del manifest["checkpoints"][1]["eval"]
    (copied / "checkpoints.json").write_text(json.dumps(manifest))
    (copied / "answers.json").write_text(json.dumps({"given": {}, "provenance": {}}))
    with pytest.raises(CheckpointError, match='^The set set has no evaluation set for counting.*"eval"'):
        Evaluation.load(copied)


def test_few_pictures_are_in_memory_at_once(measured, monkeypatch):
    mllm, found, _ = measured
    monkeypatch.setattr("models.evaluation._AT_ONCE", 2)
    answers, sizes, shares = mllm.answers, [], []
    monkeypatch.setattr(mllm, "answers", lambda prompts, name: sizes.append(len(prompts)) or answers(prompts, name))
    assert evaluate(mllm, lambda share, what: shares.append(share)).given == found.given
    assert sizes == [2] * 3 + [2] * 3 + [1] * 3 + [2] * 3 + [2] * 3 + [1] * 3
    assert shares == pytest.approx((np.cumsum(sizes) - sizes) / 30)


def test_progress_may_stop_the_run(saved, copied):
    mllm = MLLM.open(saved / "model", "small", copied, device="cpu")

    def stop(share, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(mllm, stop)
    assert isinstance(mllm.checkpoints, CheckpointSet)
    assert not mllm.lock._is_owned()


def test_intervals_by_hand():
    # Wilson for 8 of 10: centre (0.8 + z2/20) / (1 + z2/10), z2 = 3.8415
    assert interval(np.array([1.0] * 8 + [0.0] * 2)) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(np.zeros(10)) == pytest.approx((0, 0.2775), abs=1e-4)
    scores = np.array([0.25, 0.75] * 200)  # standard error of the mean 0.0125
    assert interval(scores) == pytest.approx((0.5 - 1.96 * 0.0125, 0.5 + 1.96 * 0.0125), abs=0.003)
    assert interval(scores) == interval(scores)
