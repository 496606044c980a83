"""The path between checkpoints: hand-worked barriers and merges, a small model on the line, the page's handlers."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import app
from analysis import kept
from analysis.bar.known import Known
from analysis.forgetting import card, sets
from analysis.forgetting.path import figure
from analysis.forgetting.path.measure import (
    ALPHAS,
    ANSWERS,
    AVERAGE,
    LAST,
    LOSS,
    SUM,
    Standing,
    _apart,
    ask,
    at,
    cell,
    first_and_last,
    gathered,
    label,
    losses,
    measure,
    measure_merges,
    merged,
    of_weights,
    path,
    preset,
    samples,
    tasks_of,
)
from analysis.forgetting.tab import MERGE, PATH
from analysis.result import Provenance
from analysis.section import Asked, headline
from models.checkpoints import BASE, Blend, Merge
from models.embedded.questions import Turn
from models.errors import CheckpointError
from models.evaluation import Evaluation
from models.manifest import Manifest
from models.mllm import MLLM
from tests.driving import Driven
from tests.models import small

BY = Provenance("m", "a to b", "float32", "cpu")
ONES = np.ones((1, 1, 4))  # scores of 4 items
NAME = "small"
SHIPPED = kept.SHIPPED


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No test reads or writes what another, or the repository, keeps; a model of random weights is cut short."""
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    whole = MLLM.answers
    monkeypatch.setattr(MLLM, "answers", lambda self, prompts, of=BASE: whole(self, prompts, of, max_new_tokens=3))


@pytest.fixture
def coarse(monkeypatch):
    """A line of five points: each is asked all items."""
    points = (0.0, 0.25, 0.5, 0.75, 1.0)
    monkeypatch.setattr("analysis.forgetting.path.measure.ALPHAS", points)
    return points


@pytest.fixture(scope="module")
def with_joint(saved, tokenizer, tmp_path_factory):
    """The small model's set with a reference that was trained on everything."""
    folder = shutil.copytree(saved / "set", tmp_path_factory.mktemp("path") / "set")
    small.save_adapter(small.small_llava(tokenizer), folder / "joint", 7)
    file = folder / "checkpoints.json"
    data = json.loads(file.read_text())
    data["checkpoints"].append({"name": "joint", "task": "all", "adapter": "joint"})
    file.write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def model(saved, with_joint):
    return MLLM.open(saved / "model", NAME, with_joint, device="cpu")


@pytest.fixture
def own_set(saved, with_joint, monkeypatch, tmp_path):
    """The small model as the researcher's own, on offer under ``NAME``."""
    folder = tmp_path / NAME
    folder.symlink_to(saved / "model")
    monkeypatch.setenv("CROSSTALK_MODEL", str(folder))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(with_joint))
    return NAME


def of_nats(*tasks):
    """A path whose losses are given as functions of alpha, each for several items."""
    alpha = np.array(ALPHAS)
    nats = np.array([[[f(x) for f in items] for x in alpha] for items in tasks])
    names = ("old", "new")[: len(tasks)]
    return path(BY, "first", "last", names, np.ones_like(nats), nats)


# --- the numbers of a path


def test_the_barrier_is_the_highest_loss_above_the_line_between_the_ends():
    def hill(x):  # from 1 to 2, and 0.8 above the line at 0.6
        return 1 + x + (0.8 if x == 0.6 else 0.3 if x == 0.4 else 0.0)

    found = of_nats([hill] * 3, [lambda x: 3 * x**2] * 3)
    old, new = found.barriers
    assert (old.task, old.alpha, old.height.value) == ("old", 0.6, pytest.approx(0.8))
    assert old.height.clear and (old.height.low, old.height.high) == pytest.approx((0.8, 0.8))  # the same on every item
    assert (new.alpha, new.height.value, new.height.clear) == (0.0, 0.0, False)  # convex: below the line
    assert found.line[0] == pytest.approx(1 + np.array(ALPHAS))
    assert found.loss[1] == pytest.approx([3 * x**2 for x in ALPHAS])


def test_a_hill_that_only_some_items_see_is_no_clear_barrier():
    def bump(height):
        return lambda x: height * (x == 0.5)

    (unclear,) = of_nats([bump(h) for h in (3, -2.5, 2, -2, 1, -1)]).barriers
    assert unclear.height.value == pytest.approx(0.5 / 6) and not unclear.height.clear
    assert unclear.height.low < 0 < unclear.height.high
    (clear,) = of_nats([bump(h) for h in (3, 2.5, 2, 2, 1, 1.5)]).barriers
    assert clear.height.clear and clear.height.low > 1 and clear.height.high < 3


def test_the_intervals_of_the_highest_are_wider_than_of_one_point():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, 200)
    nats = np.zeros((1, len(ALPHAS), 200))
    nats[0, 5] = 0.5 + noise
    (found,) = path(BY, "a", "b", ("old",), np.ones_like(nats), nats).barriers
    half = (found.height.high - found.height.low) / 2
    assert half == pytest.approx(2.77 * noise.std() / np.sqrt(200), rel=0.1)  # z of 1 - 0.05 / 9, both sides


def test_the_best_point_has_the_highest_mean_over_tasks():
    scores = np.zeros((2, len(ALPHAS), 10))
    scores[0, :, :6] = 1  # the old task: 60 % all along, but 100 % at 0.3
    scores[0, 3] = 1
    scores[1, :, :4] = 1  # the new task: 40 %, and 80 % at the end
    scores[1, -1, :8] = 1
    found = path(BY, "a", "b", ("old", "new"), scores, scores)
    assert found.mean[[0, 3, -1]] == pytest.approx([0.5, 0.7, 0.7])
    best = found.best
    assert (best.alpha, best.accuracy, best.gain.value) == (1.0, pytest.approx(0.7), 0.0)  # a tie: an end
    scores[1, 3, 4] = 1
    found = path(BY, "a", "b", ("old", "new"), scores, scores)
    best = found.best
    assert (best.alpha, best.end, best.gain.value) == (0.3, 1.0, pytest.approx(0.05))
    assert not best.gain.clear and best.gain.low < 0 < best.gain.high  # 5 items gained, 3 or 4 lost
    assert found.accuracy_bounds[:, 0, 3] == pytest.approx((0.722467, 1.0), abs=1e-5)  # Wilson, 10 of 10
    scores[:, 3] = 1
    assert path(BY, "a", "b", ("old", "new"), scores, scores).best.gain.clear


def test_table_and_json_hold_every_point():
    found = of_nats([lambda x: 1 + x] * 2, [lambda x: 2 - x] * 2)
    header, rows = found.table().columns, found.table().rows
    assert len(rows) == 22 and len(header) == len(rows[0])
    assert dict(zip(header, rows[12], strict=True))["loss_nats"] == pytest.approx(1.9)
    told = found.to_json()
    assert told["n"] == 2 and len(told["mean_accuracy"]) == 11
    assert told["barriers"][0]["height"] == told["barriers"][0]["low"] == 0


# --- asking a model


def test_as_many_items_of_each_task_by_seed(with_joint):
    asked = Evaluation.unanswered(Manifest.load(with_joint))
    few, other = samples(asked, ("naming", "counting"), 3)
    assert (few.task, len(few.items), len(other.items)) == ("naming", 3, 3)
    places = [asked.items["naming"].index(item) for item in few.items]
    assert places == sorted(set(places)) and few == samples(asked, ("naming",), 3)[0]
    asked.items["naming"].pop()
    assert [len(s.items) for s in samples(asked, ("naming", "counting"), 100)] == [4, 4]
    with pytest.raises(CheckpointError, match="no task 'painting'.*naming, counting"):
        samples(asked, ("painting",))


@pytest.mark.parametrize("weights", [BASE, "counting", Blend("naming", "counting", 0.3), Merge((("naming", 0.5),))])
def test_the_loss_is_that_of_scoring_each_answer_alone(model, weights):
    (sample,) = samples(Evaluation.unanswered(model.checkpoints.manifest), ("counting",))
    items = [replace(i, answer=a) for i, a in zip(sample.items, ("3", "a bee", "two cats", "0", "yes"), strict=True)]
    found = dict(losses(model, items, weights))
    for item, nats in zip(items, (found[i] for i in range(5)), strict=True):
        alone = model.score(model.encode(item.picture(), item.question), [item.answer], weights)
        assert nats == pytest.approx(-float(alone.logprob[0]), abs=2e-3)
    assert len(set(found.values())) == len(found) == 5


def test_the_ends_of_the_line_are_the_checkpoints(model, coarse):
    def mean(sample, weights):
        return np.mean([nats for _, nats in losses(model, sample.items, weights)])

    found = measure(model, "naming", "counting", ("naming", "counting"), 4)
    assert (found.n, found.tasks, found.alpha.tolist()) == (4, ("naming", "counting"), list(coarse))
    for t, sample in enumerate(samples(Evaluation.unanswered(model.checkpoints.manifest), found.tasks, 4)):
        for i, name in ((0, "naming"), (-1, "counting")):
            assert found.loss[t, i] == pytest.approx(mean(sample, name), abs=1e-4)
        assert found.loss[t, 2] == pytest.approx(mean(sample, Blend("naming", "counting", 0.5)), abs=1e-4)
    assert np.ptp(found.loss, axis=1).min() > 0.01  # weights do change along it
    assert found.provenance.checkpoint == "naming to counting" and found.provenance.seed == 0


def test_a_stopped_line_goes_on_where_it_was(model, with_joint, coarse):
    def stopping(share, what):
        told.append((share, what))
        if share >= 5 / 10:
            raise InterruptedError

    told, work = [], partial(measure, a=BASE, b="counting", tasks=("counting",))
    with pytest.raises(InterruptedError):
        work(model, count=3, progress=stopping)
    assert [share for share, _ in told] == sorted(share for share, _ in told) and told[0][0] == 0
    told.clear()
    found = work(model, count=3, progress=lambda *step: told.append(step))
    assert len(told) == (10 - 5) * 3  # 5 points, answers and loss, each of 3 items; 5 were whole
    assert work(model, count=3, only_kept=True).to_json() == found.to_json()
    assert work(model, count=4, only_kept=True) is None


def test_what_is_kept_is_known_by_weights_and_items(model):
    (one,), (two,) = (
        samples(Evaluation.unanswered(model.checkpoints.manifest), (t,), 3) for t in ("naming", "counting")
    )
    points = (BASE, "naming", at("naming", "counting", 0.1), at("naming", "counting", 0.2), Merge((("naming", 0.5),)))
    wanted = [cell(what, w, s) for what in (ANSWERS, LOSS) for w in points for s in (one, two)]
    told = []
    found = gathered(model, [*wanted, wanted[0]], lambda *step: told.append(step))
    assert len(told) == 3 * len(wanted) and found[0] == found[-1]
    assert len(found[0][ANSWERS]) == 3 and len(found[-2][LOSS]) == 3


def test_unknown_checkpoints_and_tasks_are_told(model):
    with pytest.raises(CheckpointError, match="no checkpoint 'painting'.*base, naming, counting, joint"):
        measure(model, "naming", "painting", ("naming",))
    with pytest.raises(CheckpointError, match="no task 'painting'"):
        measure(model, "naming", "counting", ("painting",))
    with pytest.raises(CheckpointError, match="no checkpoint 'painting'"):
        measure_merges(model, [Merge((("painting", 1.0),))])


def test_the_first_choice_of_a_set(with_joint):
    manifest = Manifest.load(with_joint)
    trained = {task: c.name for task, c in sets.trained(manifest).items()}
    assert trained == {"naming": "naming", "counting": "counting"}
    assert first_and_last(manifest) == ("naming", "counting") == tasks_of(manifest, "naming", "counting")
    assert tasks_of(manifest, BASE, "joint") == ("naming", "counting")
    assert tasks_of(manifest, "counting", "naming") == ("counting", "naming")
    assert first_and_last(replace(manifest, order=("counting",))) == (BASE, "counting")
    assert [at("a", "b", x) for x in (0.0, 0.5, 1.0)] == ["a", Blend("a", "b", 0.5), "b"]


# --- merges


def test_presets_and_what_merges_are_called():
    names = ("a", "b", "c")
    assert preset(names, SUM) == Merge((("a", 1.0), ("b", 1.0), ("c", 1.0)))
    assert preset(names, AVERAGE).weights[0] == ("a", 1 / 3)
    assert preset(names, LAST) == Merge((("a", 0.0), ("b", 0.0), ("c", 1.0)))
    assert of_weights(names, [0.33, 0.33, 0.33]) == preset(names, AVERAGE)  # as its slider shows it
    assert of_weights(names, [0, 0, 1]) == preset(names, LAST)
    mine = of_weights(names, [0.3, -0.25, 0])
    assert mine == Merge((("a", 0.3), ("b", -0.25), ("c", 0.0)))
    called = [label(names, w) for w in ("c", preset(names, AVERAGE), preset(names, SUM), mine, Merge((("a", 0.0),)))]
    assert called == ["c", "average", "sum", "0.3 a + -0.25 b", "base"]


def candidates(*rows):
    """Scores ``[candidates, 2 tasks, 20 items]``: so many right of each task."""
    return np.array([[[1.0] * right + [0.0] * (20 - right) for right in row] for row in rows])


def of_scores(*rows):
    weights = ["b", "joint", Merge((("a", 0.5), ("b", 0.5))), Merge((("a", 1.0), ("b", 1.0)))][: len(rows)]
    return merged(BY, ("t1", "t2"), ["b", "joint", "average", "sum"][: len(rows)], weights, candidates(*rows))


def test_merges_are_compared_with_the_last_checkpoint_on_the_same_items():
    found = of_scores((2, 16), (18, 18), (12, 14), (0, 1))
    assert [row.mean.value for row in found.rows] == pytest.approx([18 / 40, 36 / 40, 26 / 40, 1 / 40])
    assert found.rows[2].accuracy == pytest.approx([0.6, 0.7])
    assert [row.merged for row in found.rows] == [False, False, True, True]
    assert found.rows[0].gain is None and found.rows[2].gain.value == pytest.approx(8 / 40)
    assert found.rows[2].gain.p == pytest.approx(2 * sum(_choose(12, k) for k in range(3)) / 2**12)  # 10 to 2
    assert found.rows[3].gain.high < 0
    header, rows = found.table().columns, found.table().rows
    assert len(rows) == 4 * 3 and dict(zip(header, rows[-1], strict=True))["accuracy"] == pytest.approx(1 / 40)


def _choose(n, k):
    return int(np.prod(range(n - k + 1, n + 1)) // np.prod(range(1, k + 1))) if k else 1


def test_merges_of_a_model_stand_beside_the_last_and_the_joint_checkpoint(model):
    names, told = ("naming", "counting"), []
    merges = [preset(names, n) for n in (AVERAGE, LAST, AVERAGE)] + [Merge((("naming", 2.0), ("counting", -1.0)))]
    found = measure_merges(model, merges, 3, lambda *step: told.append(step))
    assert [row.label for row in found.rows] == ["counting", "joint", "average", "2 naming + -1 counting"]
    assert (found.tasks, found.n) == (names, 3)
    again = measure_merges(model, merges[:1], 3, told.append)  # would fail: progress takes two
    assert again.rows[2].accuracy.tolist() == found.rows[2].accuracy.tolist()
    with pytest.raises(CheckpointError, match="from -1 to 2"):
        measure_merges(model, [Merge((("naming", 3.0),))], 3)


# --- the visitor's question


def test_a_question_to_a_point_is_answered_by_its_weights(model, grey):
    question = "What is this? A: cat B: dog"
    known = Known(None, (Turn(question, "B", "letter", ("A", "B")),))
    weights = [("naming", "naming"), ("alpha 0.3", Blend("naming", "counting", 0.3)), ("counting", "counting")]
    found = ask(model, grey, question, weights, 1, known)
    prompt = model.encode(grey, question)
    for i, (_, of) in enumerate(weights):
        assert found.answers[i].startswith(model.answers([prompt], of)[0])
        assert found.probability[i] == pytest.approx(model.score(prompt, ["A", "B"], of).probability, abs=1e-5)
        assert found.logprob[i] == pytest.approx(sum(s.logprob for s in model.generate(prompt, of)), abs=1e-4)
    assert (found.options, found.truth, found.here) == (("A: cat", "B: dog"), "B", 1)
    assert not np.allclose(found.probability[1], found.probability[0])
    free = ask(model, None, "Who are you?", weights[:1], 0)
    assert free.options == () and free.truth is None and np.isnan(free.scores).all()
    several = ask(model, None, "Who are you?", weights, 1)
    assert set(several.options) == set(several.answers) and several.probability.shape == (3, len(several.options))


def test_options_are_answers_that_are_no_part_of_each_other():
    assert _apart(["a fox.", "fox", "a fox", "", "fox"]) == ("fox", "a fox")
    assert _apart(["Bee", "bee at the top.", "cat"]) == ("Bee", "cat")
    assert _apart(["bee", "bee."]) == _apart([]) == ()


# --- words and drawings


def short(said):
    """The headline, which is at most 25 words long."""
    first, _ = headline(said)
    assert len(first.split()) <= 25, first
    return first


def test_the_sentence_of_a_path():
    hill = of_nats([lambda x: 1 + x + 0.8 * (x == 0.6)] * 3, [lambda x: 3 * x**2] * 3)
    said = figure.path_said(hill)
    assert short(said) == (
        "Between first and last there is a barrier on old; no point between is clearly better than first: 100 % on "
        "average."
    )
    assert (
        "The loss goes from 1.00 to 2.00 nats an answer on old and from 0.00 to 3.00 nats an answer on new, and rises "
        "above a straight line between its ends by up to 0.80 nats (+0.80 to +0.80) on old, at alpha 0.6; n = 3 items "
        "of each task, a sample of those of the matrix."
    ) in said
    assert "Of 11 points alpha 0 is best (old 100 % and new 100 %; 0 points" in said
    flat = of_nats([lambda x, h=h: h * (x == 0.5) for h in (3, -2.5)])
    assert short(figure.path_said(flat)).startswith("No barrier can be told between first and last; no point between")
    assert "by up to 0.25 nats (−" in figure.path_said(flat)
    scores = np.zeros((1, len(ALPHAS), 10))
    scores[0, 4, :1] = 1
    said = figure.path_said(path(BY, "a", "b", ("old",), scores, scores))
    assert "no point between is clearly better than a: 0 %." in short(said)
    assert "alpha 0.4 is best (old 10 %; +10 points (0 to +" in said and "n = 10 items of old, a sample" in said
    scores[0, 4] = 1
    said = short(figure.path_said(path(BY, "a", "b", ("old",), scores, scores)))
    assert said.endswith("alpha 0.4 is clearly better than either end: 100 %.")


def test_the_sentence_of_merges():
    said = figure.merged_said(of_scores((2, 16), (18, 18), (12, 14), (0, 1)))
    assert short(said).startswith("Of 2 merges the best reaches 65 %, +20 points (")
    assert short(said).endswith("against the last checkpoint: better.")
    assert "It is “average”. The last checkpoint, b, reaches 45 % over 2 tasks with 20 items each; joint 90 %" in said
    assert short(figure.merged_said(of_scores((9, 9), (18, 18), (9, 9)))).endswith("no clear difference.")
    assert short(figure.merged_said(of_scores((18, 18), (18, 18), (1, 2)))).endswith(": worse.")
    assert figure.merged_said(of_scores((9, 9))).startswith("The last checkpoint, b, reaches 45 % over 2 tasks with 20")
    assert figure.best_of(of_scores((9, 9))) is None and figure.best_of(of_scores((9, 9), (1, 1), (9, 9)))


def test_the_sentence_of_an_answer(model):
    found = ask(model, None, "Who are you?", [("alpha 0.5", "naming"), ("naming", "naming"), ("base", BASE)], 0)
    said = figure.asked_said(replace(found, answers=("Bee", "bee", "cat")))
    assert said.startswith("With alpha 0.5 the model answers “Bee” with a probability of")
    assert said.endswith("; naming says the same.")
    assert figure.asked_said(replace(found, answers=("x", "x", "x"))).endswith("; naming and base say the same.")
    assert figure.asked_said(replace(found, answers=("x", "y", "z"))).endswith("; no other says the same.")
    right = replace(found, truth="x", scores=np.array([1.0, 0, 0]), answers=("x", "y", "z"))
    assert "which is right; no other" in figure.asked_said(right)
    assert "“a a a a a a…”" in figure.asked_said(replace(found, answers=("a " * 40, "b", "c")))


def test_charts_draw_the_numbers_and_say_n():
    found = of_nats([lambda x: 1 + x] * 3, [lambda x: 2 - x] * 3)
    drawn, lost = figure.path(found, 0.25), figure.loss(found)
    for chart, title in ((drawn, "Accuracy, %"), (lost, "Loss, nats an answer")):
        lines = {t.name: t for t in chart.data if t.mode == "lines+markers"}
        assert list(lines) == ["old (n = 3, a sample)", "new (n = 3, a sample)"]
        assert chart.layout.xaxis.title.text == "alpha: 0 is first, 1 is last"
        assert chart.layout.yaxis.title.text == title and chart.layout.height <= 360
    assert lines["old (n = 3, a sample)"].y == pytest.approx(found.loss[0])
    assert [line.x0 for line in drawn.layout.shapes] == [0, 0.25]
    rows = figure.merged(of_scores((2, 16), (18, 18), (12, 14)))
    assert rows.data[0].x == pytest.approx([45, 90, 65])
    assert rows.layout.xaxis.title.text == "Accuracy, % (n = 2 × 20, a sample)"


def test_what_was_measured_and_answered_is_one_table(model):
    here = ask(model, None, "Who are you?", [("naming", "naming")], 0)
    both = Standing.of("small", of_scores((2, 16), (18, 18)), here)
    table = both.table()
    assert table.columns[:2] == ["name", "weights"] and "question" in table.columns and len(table.rows) == 6 + 1
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.rows[-1][table.columns.index("question")] == "Who are you?" and table.rows[-1][0] is None
    assert json.loads(json.dumps(both.to_json()))["here"]["question"] == "Who are you?"
    assert Standing.of("small", None, here).table().columns == here.table().columns


def test_what_others_named_is_escaped(model):
    weights = [("<b>here</b>", BASE), ("</table>", "naming")]
    found = replace(ask(model, None, "<i>Who?</i> (A) x<y (B) z", weights, 0), answers=("<u>", "&"))
    html = figure.answers(found)
    assert not any(tag in html for tag in ("<b>here", "</table></th>", "<i>Who", "<u>"))
    assert "&lt;b&gt;here" in html and "&lt;u&gt;" in html and "&lt;i&gt;Who" in html
    assert figure.options(found).layout.yaxis.ticktext[0] == "A: x&lt;y"
    table = figure.merges(merged(BY, ("<t>",), ["<b>", "c"], ["b", "c"], np.ones((2, 1, 3)))).html()
    assert "<b>" not in table and "<t>" not in table


def test_the_card_tells_both(model):
    told = card.path_told(of_nats([lambda x: 1 + x] * 9, [lambda x: 2 - x] * 9), of_scores((2, 16), (18, 18), (12, 14)))
    assert "| 0.5 | 100 (70 to 100) | 1.50 (1.50 to 1.50) | 100 (70 to 100) | 1.50 (1.50 to 1.50) | 100 |" in told
    assert "| average | 60 | 70 | 65 (50 to 78) | +20 (" in told
    assert "nowhere above a straight line between its ends; n = 9 items" in told
    assert "No barrier can be told" in told and "n = 20 items of each task" in told


# --- the page


QUESTION = "What is this?"


@pytest.fixture(scope="module")
def page():
    return app.build()


@pytest.fixture
def drive(page, own_set):
    return lambda name: Driven(page, f"forgetting/{name}")


def asks(drive, name, start="start", **values):
    return getattr(drive(name), start)(question=QUESTION, set=NAME, n=20, **values)


def test_the_choices_are_those_of_the_set(own_set):
    offered = {c.name: c for c in PATH.offered({"set": own_set})}
    assert offered["from"].offered == [BASE, "naming", "counting", "joint"]
    assert (offered["from"].first, offered["to"].first, offered["old"].first) == ("naming", "counting", "last")
    names = [c.label for c in MERGE.offered({"set": own_set, "weights": "own"}) if c.name.startswith("weight")]
    assert names == ["Weights", "naming", "counting"]
    assert [c.name for c in MERGE.offered({"set": own_set})] == ["set", "weights", "n"]


def test_a_point_is_asked_at_once_and_the_line_measured_by_its_button(drive, coarse):
    seen = asks(drive, "path", alpha=0.25)
    assert seen.shown.result.measured is None and seen.seen["path"] is None
    assert "was not measured yet: press Measure." in seen.seen["told"] and "alpha 0.25" in seen.seen["answers"]
    assert seen.shown.result.here.labels == ("naming", "alpha 0.25", "counting")
    seen.press(question=QUESTION, set=NAME, n=20, alpha=0.25)
    line = seen.shown.result.measured
    assert (line.a, line.b, line.tasks) == ("naming", "counting", ("naming", "counting")) and seen.seen["path"].data
    again = asks(drive, "path", alpha=0.5)  # the line is there now
    assert again.shown.result.measured.to_json() == line.to_json() and again.seen["loss"].data
    other = asks(drive, "path", **{"from": "base", "to": "counting", "new": "naming"})
    assert other.shown.result.measured is None and other.shown.result.here.labels[0] == BASE
    with pytest.raises(Exception, match="two different checkpoints"):
        asks(drive, "path", **{"from": "counting"})


def test_measured_merges_join_what_is_shown(drive):
    first = asks(drive, "merge")
    assert first.shown.result.measured is None
    assert first.shown.result.here.labels == ("this merge", "counting", "joint")
    first.press(question=QUESTION, set=NAME, n=20)
    assert [row.label for row in first.shown.result.measured.rows] == ["counting", "joint", "average", "sum"]
    first.press(question=QUESTION, set=NAME, n=20, weights="own", weight0=2.0, weight1=-1.0)
    labels = [row.label for row in first.shown.result.measured.rows]
    assert labels == ["counting", "joint", "average", "sum", "2 naming + -1 counting"]
    first.start(question=QUESTION, set=NAME, n=20, weights="last only")
    assert [row.label for row in first.shown.result.measured.rows] == labels and "<th" in first.seen["foot"]
    assert [row.label for row in asks(drive, "merge").shown.result.measured.rows] == labels[:4]


@pytest.mark.parametrize("of", [PATH, MERGE])
def test_what_ships_is_shown_with_every_example(of, monkeypatch):
    monkeypatch.setattr(kept, "SHIPPED", SHIPPED)
    for tried in of.tries:
        controls = {c.name: c for c in of.offered(tried.values)}
        assert all(controls[name].read(value) is not None for name, value in tried.values.items()), tried
        values = {**{name: c.first for name, c in controls.items()}, **tried.values}
        known = next(of.measure(Asked("", "", None, tried.question, None, values), lambda share, what: None))
        assert known.measured is not None and short(of.sentence(known)) and of.prediction.outcome(known)
