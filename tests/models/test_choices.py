"""Answers, choices and readings of several checkpoints from one reading of the prompt, against each alone."""

import numpy as np
import pytest

from models.checkpoints import CheckpointSet
from models.errors import InputError
from models.flow import Flow
from models.instruments import AttentionMass

QUESTION, CHOICES = "What is this?", ("a", "a small red bee", "two")


@pytest.fixture
def prompt(mllm, picture):
    return mllm.encode(picture, QUESTION)


@pytest.fixture
def begun(monkeypatch):
    """How many rows were read each time that prompts were."""
    rows, begin = [], Flow.begin
    monkeypatch.setattr(Flow, "begin", lambda self, *args: rows.append(self.rows) or begin(self, *args))
    return rows


def alone(mllm, prompt, name):
    run = mllm.generate(prompt, name, 5, instruments=[AttentionMass("last")])
    return list(run), mllm.score(prompt, CHOICES, name), run.readings().rows.share[:, 0]


def equal(mllm, prompt, found):
    for name, examined in found.items():
        steps, scores, share = alone(mllm, prompt, name)
        assert [s.token_id for s in examined.steps] == [s.token_id for s in steps]
        assert [s.logprob for s in examined.steps] == pytest.approx([s.logprob for s in steps], abs=1e-3)
        assert examined.scores.choices == CHOICES
        assert examined.scores.logprob == pytest.approx(scores.logprob, abs=1e-3)
        assert np.array_equal(examined.scores.tokens, scores.tokens)
        assert np.allclose(examined.readings.rows.share[:, examined.row], share, atol=1e-4)


def test_all_from_one_reading(mllm, prompt, begun):
    found = mllm.examine_each(prompt, mllm.checkpoint_names, CHOICES, 5, [AttentionMass("last")])
    assert begun == [3] and tuple(found) == mllm.checkpoint_names
    equal(mllm, prompt, found)


def test_choices_that_do_not_fit_at_once_are_scored_in_parts(mllm, prompt, monkeypatch):
    widths, more = [], Flow.more
    monkeypatch.setattr("models.mllm.TOKENS", 3 * 2 * prompt.length)
    monkeypatch.setattr(Flow, "more", lambda self, ids: widths.append(tuple(ids.shape)) or more(self, ids))
    found = mllm.examine_each(prompt, mllm.checkpoint_names, CHOICES, 1, [AttentionMass("last")])
    assert [rows for rows, _ in widths] == [6]  # two choices of three rows; the third is one token, read already
    monkeypatch.undo()
    for name, examined in found.items():
        assert examined.scores.logprob == pytest.approx(mllm.score(prompt, CHOICES, name).logprob, abs=1e-3)


def test_those_that_cannot_share_a_batch_are_read_alone(mllm, prompt, begun, monkeypatch):
    monkeypatch.setattr(CheckpointSet, "batchable", ("base", "counting"))
    found = mllm.examine_each(prompt, ["naming", "base", "counting", "naming"], CHOICES, 5, [AttentionMass("last")])
    assert begun == [2, 1] and list(found) == ["naming", "base", "counting"]
    assert [examined.row for examined in found.values()] == [0, 0, 1]
    equal(mllm, prompt, found)


def test_without_choices_and_instruments_there_are_answers_alone(mllm, prompt):
    found = mllm.examine_each(prompt, ["base", "naming"], max_new_tokens=2)
    assert all(e.scores is None and e.readings.rows is None and len(e.steps) == 2 for e in found.values())


@pytest.mark.parametrize("choices", [("",), ("a", "  ")])
def test_an_empty_choice_is_refused(mllm, prompt, choices):
    with pytest.raises(InputError, match="at least one character"):
        mllm.examine_each(prompt, ["base", "naming"], choices)
    with pytest.raises(InputError, match="at least one character"):
        mllm.score(prompt, choices)
    assert not mllm.lock._is_owned()
