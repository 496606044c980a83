"""The numbers of continual learning, worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.forgetting import card, figure
from analysis.forgetting.figure import sentence
from analysis.forgetting.measure import LISTED, cell, measure, numbers, resampled
from analysis.statistics import share
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


def test_numbers_of_many_matrices_are_those_of_each():
    matrices, bases = np.random.default_rng(0).random((5, 3, 3)), np.random.default_rng(1).random((5, 3))
    together = numbers(matrices, bases)
    for i in range(5):
        for name, value in numbers(matrices[i], bases[i]).items():
            assert together[name][i] == pytest.approx(value)


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


def many(evaluation, times=20):
    """The same answers, each item as often: of four alone no bootstrap is told."""
    given = {t: {c: g * times for c, g in rows.items()} for t, rows in evaluation.given.items()}
    return replace(evaluation, items={t: some * times for t, some in evaluation.items.items()}, given=given)


def test_measure_from_answers(evaluation):
    found = measure(evaluation)
    assert found.matrix == pytest.approx(np.array([[0.25, 0.0], [0.75, 0.25], [0.25, 1.0]]))
    assert found.own == (1, 2)
    assert list(found.n) == [4, 4]
    assert found.bwt == pytest.approx(-0.5)
    assert found.fwt == pytest.approx(0.25)
    little = replace(found, matrix=np.array([[0.25, 0.004], [0.996, 0.25], [0.25, 1.0]]))  # as the text says it
    assert ">&lt; 1</button>" in figure.matrix(little) and figure.heat_map(little).data[0].text[1][0] == "&gt; 99"
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
    assert np.isnan(found.intervals["mfn"]).all() and not np.isnan(found.intervals["mft"]).any()
    assert found.to_json()["matrix"][2][0] is None
    assert "not measured" in sentence(found)
    assert "–" in figure.matrix(found)


def test_intervals_are_of_paired_draws_of_items(evaluation):
    """Every checkpoint of a draw answers the same items: what two have in common cancels in their difference."""
    items, rng = 200, np.random.default_rng(0)
    right = (rng.random(items) < 0.5).tolist()
    words = evaluation.items["naming"][:1] * items
    then = ["bee" if r else "owl" for r in right]
    now = ["owl" if i < 20 else g for i, g in enumerate(then)]
    naming = {"base": ["owl"] * items, "naming": then, "counting": now}
    found = replace(
        evaluation, items={**evaluation.items, "naming": words}, given={**evaluation.given, "naming": naming}
    )
    lost = sum(right[:20]) / items
    told = measure(found)
    assert told.bwt == pytest.approx(-lost)
    low, high = told.intervals["bwt"]
    error = 1.96 * np.sqrt(lost * (1 - lost) / items)  # of the items that differ; unpaired draws are twice as wide
    assert (low, high) == pytest.approx((-lost - error, -lost + error), abs=0.25 * error)
    assert (told.forgetting_low[0], told.forgetting_high[0]) == pytest.approx((-high, -low))
    other = replace(found, method="other", checkpoints=("base", "counting", "naming"))
    assert np.array_equal(resampled(found)[:, [0, 2, 1]], resampled(other))


def test_numbers_that_no_draw_changes_have_no_width_and_few_items_no_interval(evaluation):
    few = measure(evaluation)  # eight items for MFT, four for BWT, and for what is lost of a task
    assert few.bwt == -0.5 and np.isnan([*few.intervals["bwt"], *few.forgetting_low]).all()
    assert not np.isnan(few.intervals["mft"]).any() and not few.number("bwt").clear
    found = measure(many(evaluation))
    assert found.intervals["mft"][0] < found.mft < found.intervals["mft"][1]
    assert (found.forgetting_low[1], found.forgetting_high[1]) == (0, 0)


def test_cell_lists_the_wrong_first_then_beside_now(evaluation):
    shown = cell(evaluation, "counting", "naming")
    assert [s.now.given for s in shown] == ["2", "owl", "owl", "bee"]
    assert [s.now.style for s in shown[:2]] == ["numeral", "word"]
    assert [s.then.given for s in shown] == ["cat", "dog", "owl", "bee"]
    assert [s.truth for s in cell(evaluation, "counting", "naming", LISTED[1])] == ["cat", "dog", "fox"]
    assert [s.truth for s in cell(evaluation, "counting", "naming", LISTED[2])] == ["cat", "dog"]
    assert cell(evaluation, "counting", "naming", LISTED[3]) == []
    assert [s.truth for s in cell(evaluation, "base", "counting", LISTED[2])] == ["1", "2", "3", "4"]
    assert cell(evaluation, "naming", "naming", LISTED[2]) == []


def test_a_cell_whose_own_training_was_not_measured(evaluation):
    del evaluation.given["naming"]["naming"]
    shown = cell(evaluation, "counting", "naming")
    assert [s.then for s in shown] == [None] * 4
    assert cell(evaluation, "counting", "naming", LISTED[2]) == []
    assert "not measured" in figure.items(shown, [None] * 4, "naming", ("then", "now"), 4)


def test_sentence_says_what_was_learnt_and_lost(evaluation):
    said = sentence(measure(evaluation))
    assert "reaches 88 % on average, 75 points above the base" in said
    assert said.startswith(
        "88 % learnt, 62 % kept: later tasks did not clearly change the earlier ones (−50 points on average; 95 %: too "
        "few for an interval)."
    )  # four items
    said = sentence(measure(many(evaluation)))
    assert "cost the earlier ones 50 points on average (95 %: 3" in said
    assert "Most was lost of naming: 75 % → 25 %." in said


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (["bee", "cat", "dog", "owl"],) * 2 + ("did not clearly change the earlier ones (0 points on average",),
        (["owl"] * 4, ["bee", "cat", "dog", "fox"], "even raised the earlier ones, by 100 points"),
    ],
)  # fmt: skip
def test_sentence_when_nothing_is_lost(evaluation, then, now, told):
    naming = {**evaluation.given["naming"], "naming": then, "counting": now}
    assert told in sentence(measure(many(replace(evaluation, given={**evaluation.given, "naming": naming}))))


def test_the_bar_has_what_became_of_right_answers(evaluation):
    found = measure(evaluation)
    assert "not asked again yet" in figure.numbers(found)
    found = replace(found, became={"kept": share(3, 6), "superficial": share(1, 6), "essential": share(2, 6)})
    html = figure.numbers(found)
    assert "Of 6 answers right after their own task" in html and "width:50.0%" in html and "kept 50 % (" in html


def test_one_task_works_and_says_what_it_lacks(evaluation):
    naming = {name: evaluation.given["naming"][name] for name in ("base", "naming")}
    found = measure(
        replace(
            evaluation, tasks=("naming",), checkpoints=("base", "naming"), trained={"naming": "naming"},
            items={"naming": evaluation.items["naming"]}, given={"naming": naming},
        )
    )  # fmt: skip
    assert found.mft == found.mfn == found.maa == pytest.approx(0.75)
    assert found.to_json()["bwt"] is None and found.to_json()["intervals"]["fwt"] == [None, None]
    assert "one task, naming" in sentence(found) and "two tasks" in sentence(found)
    assert figure.numbers(found).count("<dd>–") == 2
    assert "-- &" in found.to_latex() or "& --" in found.to_latex()


def test_figures_have_heights_and_every_cell_is_a_labelled_button(evaluation):
    found = measure(evaluation)
    assert figure.heat_map(found).layout.height > 0
    assert figure.course(found).layout.height > 0
    html = figure.matrix(found, chosen=(2, 0))
    assert html.count("data-set=") == 6
    assert 'aria-label="after counting, naming: 25 %, 95 % interval' in html
    assert html.count('aria-pressed="true"') == 1
    assert html.count('aria-pressed="false"') == 5 and "n = 4 items of each task, one training run" in html


def test_names_and_answers_are_escaped(evaluation):
    found = measure(evaluation)
    assert "<script>" not in figure.matrix(replace(found, tasks=("<script>", "b")))
    evil = "<img src=x>"
    (shown, *_) = cell(evaluation, "counting", "naming")
    shown = replace(shown, question=evil, truth=evil, now=replace(shown.now, given=evil))
    assert evil not in figure.items([shown], [None], evil, (evil, "now"), 1)
    assert evil not in figure.items([], [], evil, ("then", "now"), 0)


def test_answers_then_and_now_stand_beside_each_other(evaluation):
    shown = cell(evaluation, "counting", "naming")[:1]
    html = figure.items(shown, [None], "after counting, naming", ("then: after naming", "now: after counting"), 4)
    assert html.index("then: after naming</small><b>cat") < html.index("now: after counting</small><b>2")
    assert "<b>after counting, naming</b>, 1 of 4" in html and ">3 more</button>" in html
    once = figure.items(shown, [None], "after naming, naming", ("answer", "answer"), 4)
    assert once.count("<small>answer</small>") == 1 and "<b>2</b>" in once


def test_latex_is_a_whole_table_with_everything_escaped(evaluation):
    found = measure(many(evaluation))
    text = found.to_latex()
    (matrix, summary) = text.split("\n\n")[1:]
    rows = [line for line in matrix.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 1 + 3 + 1 and all(row.count("&") == 2 for row in rows)
    assert rows[2].startswith("after naming & $75.0$ {\\scriptsize $[")
    assert rows[-1].startswith("forgetting & $50.0$")
    assert matrix.count("\\midrule") == 2 and matrix.startswith("\\begin{tabular}{lcc}")
    assert "MFT & MFN & MAA & BWT & FWT" in summary and "$-50.0$" in summary
    named = (replace(found, method="50%", tasks=("a_b", "c&d"), checkpoints=("base", "x#", "y~"))).to_latex()
    assert r"a\_b (n = 80) & c\&d" in named and r"after x\#" in named and r"y\textasciitilde{}" in named
    assert "% Set 50\\%" in named


def test_the_card_has_the_matrix_with_intervals(evaluation):
    found = measure(evaluation)
    text = card.told(found, "a style never seen in training")
    assert "| after naming | 75 (30 to 95) | 25 (5 to 70) |" in text
    assert sentence(found) in text
