"""The numbers of continual learning, worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.forgetting import figure
from analysis.forgetting.measure import cell, measure, numbers
from models.evalset import EvalItem
from models.evaluation import Evaluation

SOURCE = {"model": "tiny", "checkpoint": "all", "dtype": "float32", "device": "cpu", "seed": None, "versions": {}}


def test_numbers_by_hand():
    matrix = np.array([[0.9, 0.2, 0.1], [0.6, 0.8, 0.3], [0.3, 0.5, 1.0]])
    found = numbers(matrix, base=np.array([0.1, 0.1, 0.2]))
    assert found["mft"] == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert found["mfn"] == pytest.approx((0.3 + 0.5 + 1.0) / 3)
    assert found["maa"] == pytest.approx((0.9 + (0.6 + 0.8) / 2 + (0.3 + 0.5 + 1.0) / 3) / 3)
    assert found["bwt"] == pytest.approx(((0.3 - 0.9) + (0.5 - 0.8)) / 2)
    assert found["fwt"] == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)
    assert found["forgetting"] == pytest.approx([0.6, 0.3, 0.0])


def test_forgetting_counts_from_the_best_later_accuracy():
    matrix = np.array([[0.5, 0.0, 0.0], [0.9, 0.5, 0.0], [0.4, 0.5, 0.5]])
    assert numbers(matrix, np.zeros(3))["forgetting"][0] == pytest.approx(0.5)


def test_one_task_has_no_transfer():
    found = numbers(np.array([[0.7]]), np.array([0.2]))
    assert found["mft"] == found["mfn"] == found["maa"] == pytest.approx(0.7)
    assert np.isnan(found["bwt"])
    assert np.isnan(found["fwt"])


def test_a_missing_cell_is_not_a_zero():
    matrix = np.array([[0.9, np.nan], [np.nan, 0.8]])
    found = numbers(matrix, np.zeros(2))
    assert found["mft"] == pytest.approx(0.85)
    assert np.isnan(found["bwt"])


@pytest.fixture
def evaluation():
    """Two tasks of four items: one answer is lost to another form, one to a wrong fact."""
    words = [
        EvalItem(Path("a.png"), f"What is {i}?", w, (), "word") for i, w in enumerate(("bee", "cat", "dog", "fox"))
    ]
    counts = [EvalItem(None, f"How many {i}?", n, (), "numeral") for i, n in enumerate("1234")]
    given = {
        "naming": {
            "base": ["bee", "owl", "owl", "owl"],
            "naming": ["bee", "cat", "dog", "owl"],
            "counting": ["bee", "2", "owl", "owl"],
        },
        "counting": {
            "base": ["bee", "cat", "dog", "fox"],
            "naming": ["1", "cat", "dog", "fox"],
            "counting": ["1", "2", "3", "4"],
        },
    }
    return Evaluation(
        "sequential", ("naming", "counting"), ("base", "naming", "counting"),
        {"naming": "naming", "counting": "counting"}, {"naming": words, "counting": counts}, given, SOURCE,
    )  # fmt: skip


def test_measure_from_answers(evaluation):
    found = measure(evaluation)
    assert found.matrix == pytest.approx(np.array([[0.25, 0.0], [0.75, 0.25], [0.25, 1.0]]))
    assert found.own == (1, 2)
    assert list(found.n) == [4, 4]
    assert found.bwt == pytest.approx(-0.5)
    assert found.fwt == pytest.approx(0.25)
    assert found.superficial == pytest.approx([0.25, 0.0])
    assert found.essential == pytest.approx([0.25, 0.0])
    assert (found.low <= found.matrix).all()
    assert (found.matrix <= found.high + 1e-12).all()


def test_json_and_csv(evaluation):
    found = measure(evaluation)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert {"tasks", "matrix", "n", "bwt", "fwt", "mft", "mfn", "maa", "superficial", "essential"} <= set(data)
    assert data["provenance"]["model"] == "tiny"
    lines = found.to_csv().splitlines()
    assert lines[0] == "checkpoint,task,accuracy,low,high,n"
    assert len(lines) == 1 + 3 * 2


def test_unmeasured_checkpoint_is_unknown_everywhere(evaluation):
    del evaluation.given["naming"]["counting"]
    found = measure(evaluation)
    assert np.isnan(found.matrix[2, 0])
    assert np.isnan(found.mfn)
    assert np.isnan(found.superficial[0])
    assert found.to_json()["matrix"][2][0] is None
    assert "not measured" in figure.sentence(found)
    assert "–" in figure.matrix(found)


def test_cell_lists_the_wrong_first(evaluation):
    shown = cell(evaluation, "counting", "naming")
    assert [s.given for s in shown] == ["2", "owl", "owl", "bee"]
    assert [s.style for s in shown[:2]] == ["numeral", "word"]
    assert len(cell(evaluation, "counting", "naming", wrong_only=True)) == 3


def test_sentence_says_what_was_learnt_and_lost(evaluation):
    said = figure.sentence(measure(evaluation))
    assert "88 % on average, 75 points above the base" in said
    assert "cost the earlier ones 50 points on average, most of all naming (75 % → 25 %)" in said


def test_sentence_when_nothing_is_lost(evaluation):
    evaluation.given["naming"]["counting"] = evaluation.given["naming"]["naming"]
    assert "nothing on average" in figure.sentence(measure(evaluation))


def test_figures_have_heights_and_every_cell_is_a_labelled_button(evaluation):
    found = measure(evaluation)
    assert figure.heat_map(found).layout.height > 0
    assert figure.course(found).layout.height > 0
    html = figure.matrix(found, chosen=(2, 0))
    assert html.count("data-pick=") == 6
    assert 'aria-label="after counting, naming: 25 %, 95 % interval' in html
    assert html.count('aria-pressed="true"') == 1


def test_names_and_answers_are_escaped(evaluation):
    found = measure(evaluation)
    assert "<script>" not in figure.matrix(replace(found, tasks=("<script>", "b")))
    shown = [replace(s, given="<img src=x>") for s in cell(evaluation, "counting", "naming")[:1]]
    assert "<img src=x>" not in figure.items(shown, [None], "here", 0, 1)
