"""What a prediction is held against: a pure function of each room's result."""

from types import SimpleNamespace as Made

import numpy as np
import pytest

from analysis import predictions
from analysis.ask import figure as ask
from analysis.attention import sentence as attention
from analysis.decoding import sentence as decoding
from analysis.embedding_space import sentence as space
from analysis.forgetting import sentence as forgetting
from analysis.interference import figure as interference


@pytest.mark.parametrize(
    ("answers", "done", "found"),
    [
        (("Bee", "bee", "bee "), True, "all of them"),
        (("bee", "bee", "fox"), True, "some of them"),
        (("bee", "fox", "owl"), True, "none of them"),
        (("bee",), True, None),
        (("bee", "bee"), False, None),
        ((), True, None),
    ],
)
def test_answers_like_the_base(answers, done, found):
    assert ask.outcome(Made(answers=answers, done=done)) == found


@pytest.mark.parametrize(
    ("flips", "waiting", "found"),
    [
        ((True, True), (), "every one of them"),
        ((True, False), (), "some of them"),
        ((False,), (), "none of them"),
        ((True,), ("an attack",), None),
        ((), (), None),
    ],
)
def test_flips(flips, waiting, found):
    effects = tuple(Made(flipped=flip) for flip in flips)
    assert interference.outcome(Made(effects=effects, waiting=waiting)) == found


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(0.8, 0.2, "it falls"), (0.2, 0.8, "it grows"), (0.5, 0.54, "it stays within 5 points")],
)
def test_the_pictures_share_over_layers(first, last, found):
    share = np.zeros((3, 2, 3))
    share[:, :, 0] = [[first, first], [0, 1], [last, last]]
    assert attention.outcome(Made(picture=True, share=share)) == found
    assert attention.outcome(Made(picture=False, share=share)) is None
    assert attention.outcome(Made(picture=True, share=share[:1])) is None


@pytest.mark.parametrize(
    ("inter", "done", "found"), [("a fox", True, "yes"), ("a bee", True, "no"), ("a", False, None)]
)
def test_inter_against_greedy(inter, done, found):
    texts = {"inter": inter, "greedy": "a bee"}
    assert decoding.outcome(Made(done=done, of=lambda name: Made(text=texts[name]))) == found
    assert decoding.outcome(Made(done=True, of=lambda name: Made(text="x") if name == "inter" else None)) is None


@pytest.mark.parametrize(
    ("image", "text", "found"), [(30, 20, "pictures"), (20, 30, "texts"), (20, 20.9, "both alike, within 1°")]
)
def test_what_turns_further(image, text, found):
    spreads = {f"rotation_{side}": Made(mean=np.array([[0, 5, v], [5, 0, 5], [v, 5, 0]]))
               for side, v in (("image", image), ("text", text))}  # fmt: skip
    assert space.outcome(Made(phases=("base", "a", "b"), spreads=spreads)) == found
    assert space.outcome(Made(phases=("base",), spreads=spreads)) is None


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (0.8, "more than two thirds"),
        (0.3, "between one and two thirds"),
        (0.0, "less than a third"),
        (np.nan, None),
    ],
)
def test_what_is_left_of_the_first_task(left, found):
    matrix = np.array([[0.1, 0.1], [0.9, 0.1], [left, 0.9]])
    assert forgetting.outcome(Made(tasks=("a", "b"), own=(1, 2), matrix=matrix)) == found
    matrix[1, 0] = 0
    assert forgetting.outcome(Made(tasks=("a", "b"), own=(1, 2), matrix=matrix)) is None
    assert forgetting.outcome(Made(tasks=("a",), own=(1,), matrix=matrix)) is None


def test_every_outcome_is_on_offer_and_both_are_told():
    for room in (ask, attention, decoding, forgetting, interference, space):
        assert len(set(room.PREDICTED)) == len(room.PREDICTED) >= 2
    assert "✓" in predictions.line("yes", "yes") and "✗" in predictions.line("yes", "no")
    assert "<i>" not in predictions.line("<i>", "no")
