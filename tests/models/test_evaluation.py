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
    with pytest.raises(CheckpointError, match="measure"):
        Evaluation.load(copied)
    found.save(copied)
    data = json.loads((copied / "answers.json").read_text())
    data["given"]["naming"]["base"].pop()
    (copied / "answers.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="measure again"):
        Evaluation.load(copied)


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
