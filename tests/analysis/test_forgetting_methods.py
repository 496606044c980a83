"""Methods side by side: metrics and paired intervals worked out by hand, runs kept and read, orders, sentences."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.forgetting import card
from analysis.forgetting import measure as matrix
from analysis.forgetting.methods import figure, runs
from analysis.forgetting.methods.figure import orders_said, sentence
from analysis.forgetting.methods.measure import METHODS, METRICS, Draws, common, manifests, measure, parts, told
from analysis.forgetting.methods.runs import Run, load, of, save
from analysis.forgetting.sets import evaluate
from analysis.forgetting.terms import NAMES, SAYS
from analysis.result import Provenance
from analysis.statistics import Estimate
from analysis.wording import headline
from models.errors import CheckpointError
from models.evalset import EvalItem
from models.evaluation import Evaluation
from models.manifest import MANIFEST
from models.mllm import MLLM
from tests.models import zoo

BY = Provenance("tiny", "all", "float32", "cpu", None, {"torch": "2"}, 1.0)
# base, after a, after b, after c: how many of ten items are right, by task
COUNTS = {"a": (1, 9, 6, 3), "b": (1, 2, 8, 5), "c": (2, 1, 3, 10)}


def first(count, n=10):
    return (np.arange(n) < count).astype(float)


def made(method="sequential", seed=0, counts=COUNTS, order=("a", "b", "c"), split=True, n=10, **more):
    scores = {task: np.stack([first(c, n) for c in counts[task]]) for task in order}
    found = Run(method, seed, order, scores, None, {}, "items", "weights", BY)
    flags = {task: lost & (np.arange(n) % 2 == 0) for task, lost in found.lost.items()}
    return replace(found, superficial=flags if split else None, **more)


def test_metrics_of_a_hand_worked_matrix():
    drawn, one = Draws([made()]), made()
    value = {metric: drawn.of(one, metric)[0] for metric in METRICS}
    assert value["mft"] == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert value["mfn"] == pytest.approx((0.3 + 0.5 + 1.0) / 3)
    assert value["maa"] == pytest.approx((0.9 + (0.6 + 0.8) / 2 + (0.3 + 0.5 + 1.0) / 3) / 3)
    assert value["bwt"] == pytest.approx(((0.3 - 0.9) + (0.5 - 0.8)) / 2)
    assert value["fwt"] == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)
    # of 17 items right, 3..8 of a and 5..7 of b are lost; the even ones, 4 6 8 and 6, in form alone
    assert value["superficial"] == pytest.approx(4 / 17)
    assert value["essential"] == pytest.approx(5 / 17)
    assert value["superficial_of_lost"] == pytest.approx(4 / 9)


def test_metrics_agree_with_the_matrix_of_the_room():
    rng = np.random.default_rng(3)
    scores = {task: rng.random((4, n)) for task, n in (("a", 7), ("b", 5), ("c", 9))}
    one = replace(made(), scores=scores)
    expected = matrix.numbers(one.matrix, one.base)
    draws = Draws([one])
    for metric in ("mft", "mfn", "maa", "bwt", "fwt"):
        assert draws.of(one, metric)[0] == pytest.approx(expected[metric])


def test_one_task_has_no_transfer_and_loses_nothing():
    one = made(counts={"a": (1, 9)}, order=("a",))
    draws = Draws([one])
    assert draws.of(one, "mft")[0] == pytest.approx(0.9)
    assert all(np.isnan(draws.of(one, m)[0]) for m in ("bwt", "fwt", "superficial", "superficial_of_lost"))
    assert "nothing to forget" in sentence(measure([one]))


def evaluation(given_after=("bee", "2", "owl", "owl"), references=()):
    words = [EvalItem(None, f"What is {i}?", w, (), "word") for i, w in enumerate(("bee", "cat", "dog", "fox"))]
    digits = [EvalItem(None, f"How many {i}?", n, (), "numeral") for i, n in enumerate("1234")]
    given = {
        "naming": {
            "base": ["bee", "owl", "owl", "owl"], "naming": ["bee", "cat", "dog", "owl"], "counting": list(given_after),
        },
        "counting": {
            "base": ["bee", "cat", "dog", "fox"], "naming": ["1", "cat", "dog", "fox"], "counting": list("1234"),
        },
    }  # fmt: skip
    for name in references:
        given = {task: {**rows, name: rows["counting"]} for task, rows in given.items()}
    return Evaluation(
        "sequential", ("naming", "counting"), ("base", "naming", "counting", *references),
        {"naming": "naming", "counting": "counting"}, {"naming": words, "counting": digits}, given,
        {"model": "tiny", "checkpoint": "all", "dtype": "float32", "device": "cpu", "seed": None, "versions": {},
         "seconds": 2.0},
    )  # fmt: skip


def test_a_run_from_answers_and_their_split():
    lost = [SimpleNamespace(task="naming", place=1, verdict="superficial"),
            SimpleNamespace(task="naming", place=2, verdict="essential")]  # fmt: skip
    found = of(evaluation(references=("joint",)), SimpleNamespace(lost=lost), "plain")
    assert found.matrix == pytest.approx(np.array([[0.75, 0.25], [0.25, 1.0]]))
    assert found.base == pytest.approx([0.25, 0.0])
    assert found.lost["naming"].tolist() == [False, True, True, False]
    assert found.superficial["naming"].tolist() == [False, True, False, False]
    assert list(found.references) == ["joint"]
    told = measure([found]).references
    assert told["joint"].value == pytest.approx(0.625) and told["base"].value == pytest.approx(0.125)
    half = evaluation()
    del half.given["naming"]["counting"]
    with pytest.raises(CheckpointError, match="counting on naming is missing"):
        of(half, None, "plain")


def test_intervals_are_those_of_the_accuracy_matrix():
    answers = evaluation()
    answers = replace(answers, items={t: i * 5 for t, i in answers.items.items()}, given={
        task: {name: given * 5 for name, given in by.items()} for task, by in answers.given.items()
    })  # fmt: skip
    expected = matrix.measure(answers).intervals
    (row,) = measure([of(answers, None, "sequential")]).rows
    for metric, (low, high) in expected.items():
        assert (row.estimates[metric].low, row.estimates[metric].high) == pytest.approx((low, high)), metric


def test_differences_are_paired():
    """Two methods that differ in six items alone differ by these, however little each is known by itself."""
    better = {**COUNTS, "a": (1, 9, 6, 9)}
    found = measure([made(n=40), made("replay", counts=better, n=40)])
    plain, replay = found.rows
    change = replay.changes["mfn"]
    assert change.value == pytest.approx(6 / 40 / 3)
    assert change.clear and replay.verdict("mfn") == "better"
    assert change.high - change.low < plain.estimates["mfn"].high - plain.estimates["mfn"].low
    assert (change.low, change.high) == pytest.approx(
        tuple(np.quantile(np.random.default_rng(0).binomial(40, 6 / 40, 4000) / 120, (0.025, 0.975))), abs=0.009
    )
    assert replay.changes["mft"].value == 0 and not replay.changes["mft"].clear
    assert plain.changes["mfn"] is None


def test_seeds_are_averaged_and_told_apart():
    plain = [made(seed=s, counts={**COUNTS, "a": (1, 9, 6, 3 + s)}) for s in (0, 1, 2)]
    replay = [made("replay", seed=s, counts={**COUNTS, "a": (1, 9, 9, 9)}) for s in (1, 5)]
    rows = {row.method: row for row in measure([*plain, *replay]).rows}
    assert rows["sequential"].estimates["bwt"].seeds == pytest.approx((-0.45, -0.4, -0.35))
    assert rows["sequential"].estimates["bwt"].value == pytest.approx(-0.4)
    change = rows["replay"].changes["bwt"]
    assert change.value == pytest.approx(-0.15 + 0.4) and rows["replay"].verdict("bwt") == "better"
    assert sorted(change.seeds) == pytest.approx(sorted([-0.15 + v for v in (0.45, 0.4, 0.35)] * 2))  # all with all
    apart = measure([made(), made("replay", seed=9)]).rows[1]
    assert apart.changes["bwt"].value == 0 and apart.verdict("bwt") == ""


def test_a_difference_is_that_of_the_numbers_beside_it_and_told_beyond_plains_seeds():
    """One seed against three, of which the one that both have is plain's worst: no verdict within their range."""
    plain = [made(seed=s, counts={**COUNTS, "a": (1, 36, 24, last), "b": (1, 8, 32, 32), "c": (1, 1, 1, 40)}, n=40)
             for s, last in enumerate((4, 24, 24))]  # fmt: skip
    within = made("ewc", counts={**COUNTS, "a": (1, 36, 24, 23), "b": (1, 8, 32, 32), "c": (1, 1, 1, 40)}, n=40)
    beyond = made("lwf", counts={**COUNTS, "a": (1, 36, 24, 32), "b": (1, 8, 32, 32), "c": (1, 1, 1, 40)}, n=40)
    found = measure([*plain, within, beyond])
    rows = {row.method: row for row in found.rows}
    for metric in METRICS:
        for row in found.rows[1:]:
            apart = row.estimates[metric].value - rows["sequential"].estimates[metric].value
            assert row.changes[metric].value == pytest.approx(apart), metric
    change = rows["ewc"].changes["bwt"]
    assert Estimate(change.value, change.low, change.high).clear and rows["ewc"].verdict("bwt") == ""
    assert rows["lwf"].verdict("bwt") == "better"
    said = sentence(found)
    assert "1 of 2 methods forget less than sequential training, most of all lwf: +18 points" in said
    assert "), of one seed." in headline(said)[0] and "No difference can be told for ewc." in said
    assert "every seed of the method lies beyond every seed of sequential" in said
    assert "every seed of the method lies beyond" in figure.numbers(found)
    assert "every seed" not in figure.numbers(measure([made(), made("lwf")])) + sentence(measure([made(), made("lwf")]))
    hover = figure.dots(found, "bwt").data[0].text[2]
    assert hover.endswith("points, 1 seed against 3")


def test_items_told_with_a_metric_are_those_it_is_of():
    """The last task takes no part in BWT, the first none in FWT; shares are of what was right, or lost."""
    found = measure([made(), made("ewc", counts={**COUNTS, "a": (1, 7, 6, 3)})])
    assert found.rows[0].estimates["mft"].n == 30 and found.rows[0].changes is not found.rows[1].changes
    told = {m: found.counted(m) for m in METRICS}
    assert told == {"mft": "30", "mfn": "30", "maa": "30", "bwt": "20", "fwt": "20", "superficial": "15 to 17",
                    "essential": "15 to 17", "superficial_of_lost": "7 to 9"}  # fmt: skip
    assert "n = 20 items" in figure.dots(found, "bwt").layout.xaxis.title.text
    assert "n = 20 for Earlier tasks changed by (BWT) and New tasks" in figure.numbers(found)
    csv = [line.split(",") for line in found.to_csv().splitlines()]
    assert {line[2]: line[-1] for line in csv[1:9]}["bwt"] == "20"
    assert "BWT; mean of 1 training run, 20 items" in sentence(found)
    whole = matrix.measure(evaluation())
    assert (whole.number("mft").n, whole.number("bwt").n, whole.number("fwt").n) == (8, 4, 4)


def test_the_headline_is_about_the_metric_that_is_shown():
    high = {**COUNTS, "a": (1, 30, 6, 30)}
    found = measure([made(n=40), made("replay", counts=high, n=40), made("lwf", split=False, n=40)])
    for metric in METRICS:
        said, _ = headline(sentence(found, metric))
        assert SAYS[metric][0] in said or SAYS[metric][1] in said or said.startswith(NAMES[metric].title), said
        assert len(said.split()) <= 25
    assert "learn more than sequential training, most of all replay" in sentence(found, "mft")
    assert "Not measured of lwf" in sentence(found, "superficial")


def test_seeds_that_disagree_make_no_difference():
    plain = [made(seed=s, n=40) for s in (0, 1)]
    other = [made("hft", seed=0, counts={**COUNTS, "a": (1, 9, 9, 9)}, n=40),
             made("hft", seed=1, counts={**COUNTS, "a": (1, 9, 2, 2)}, n=40)]  # fmt: skip
    change = measure([*plain, *other]).rows[1].changes["bwt"]
    assert Estimate(change.value, change.low, change.high).clear and not change.clear


def test_other_items_or_orders_are_left_out_and_told():
    found = measure([made(), made("own", data="other"), made("odd", order=("c", "b", "a"))], {"new": "not measured"})
    assert [row.method for row in found.rows] == ["sequential"]
    assert set(found.without) == {"own", "odd", "new"}
    assert "not those of the others" in figure.numbers(found)
    told = measure([made(), made("lwf"), made("own", data="other")])
    assert sentence(told).endswith("Not compared, for reasons below all numbers: own.")
    with pytest.raises(CheckpointError, match="No checkpoint set was measured"):
        measure([])


def test_sentence_tells_gain_price_and_doubt():
    plain, less, more = (
        {task: [4 * c for c in counts] for task, counts in of.items()}
        for of in (COUNTS, {**COUNTS, "a": (1, 6, 6, 6), "b": (1, 2, 8, 8)}, {**COUNTS, "a": (1, 9, 0, 0)})
    )
    rows = [made(counts=plain, n=40), made("ewc", counts=less, n=40), made("hft", counts=more, n=40)]
    said = sentence(measure(rows))
    assert "These forget less: ewc by +" in said and "The price is in learning (MFT): ewc −" in said
    assert "These forget more: hft by −" in said and "One seed each" in said
    assert "know more than plain training: ewc (+" in said and "these know less: hft (−" in said
    same = sentence(measure([made(), made("lwf")]))
    assert "no difference can be told between sequential" in same and "none knows clearly more" in same
    assert "No difference can be told for lwf." in same
    assert "nothing to compare" in sentence(measure([made()]))
    several = sentence(
        measure([made(seed=s, counts={**COUNTS, "a": (1, 9, 6, 3 + s)}) for s in (0, 1)] + [made("lwf")])
    )
    assert "seeds differ by up to 5.0 points (sequential, 2 seeds); one seed alone for lwf" in several


REVERSED = {"a": (1, 2, 2, 9), "b": (1, 2, 8, 6), "c": (2, 10, 3, 1)}


def test_another_order_against_the_usual_one():
    turned = made(order=("c", "b", "a"), counts=REVERSED)
    found = measure([made(), turned, made(seed=1, order=("c", "b", "a"), counts=REVERSED), made("lwf")])
    (one,) = found.orders
    assert one.seeds == (0,) and one.order == ("c", "b", "a")
    assert one.changes["mfn"].value == pytest.approx((0.9 + 0.6 + 0.1) / 3 - (0.3 + 0.5 + 1.0) / 3)
    assert one.changes["bwt"].value == pytest.approx((-0.9 - 0.2) / 2 - (-0.45))
    assert [end.value for end in one.ends] == pytest.approx([0.6, 0.1, -0.9])
    said = orders_said(found)
    assert "does not clearly change how much sequential knows in the end" in said
    assert "2 of 3 tasks end clearly higher or lower, most c: 100 % → 10 %" in said
    assert "reversed" in figure.orders_numbers(found) and len(figure.orders(found).data) == 2
    assert "another order" in orders_said(measure([made()])) and figure.orders_numbers(measure([made()])) == ""


def test_runs_are_kept_small_and_read_again(tmp_path):
    rng = np.random.default_rng(0)
    scores = {
        **{task: (rng.random((4, 240)) < 0.5).astype(float) for task in "ab"},
        "c": rng.choice([0, 0.4, 0.5, 2 / 3, 0.8, 1], (4, 240)),
    }
    one = replace(made(seed=2), scores=scores)
    one = replace(one, superficial={t: lost & (rng.random(240) < 0.5) for t, lost in one.lost.items()})
    save(tmp_path, (one, made(seed=1, split=False)))
    again, bare = load(tmp_path, "replay")
    assert (again.method, again.seed, again.order, again.data) == ("replay", 2, one.order, "items")
    assert again.provenance == one.provenance
    for task in "abc":
        assert again.scores[task] == pytest.approx(scores[task])
    for task in "ab":
        assert (again.superficial[task] == one.superficial[task]).all()
    assert bare.superficial is None
    rows = json.loads((tmp_path / runs.FILE).read_text())
    assert rows[0]["matrix"][2][1] == pytest.approx(one.matrix[2, 1], abs=1e-4)
    assert rows[0]["superficial"]["a"] + rows[0]["essential"]["a"] == one.lost["a"].sum()
    assert len(json.dumps(rows[0])) < 4000
    assert load(tmp_path / "none", "x") == ()


def test_scores_of_many_levels_are_rounded(tmp_path):
    scores = {task: np.random.default_rng(0).random((4, 100)) for task in "abc"}
    save(tmp_path, (replace(made(split=False), scores=scores),))
    (again,) = load(tmp_path, "x")
    assert again.scores["a"] == pytest.approx(scores["a"], abs=0.01)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[0].pop("order"),
        lambda rows: rows[0]["items"]["a"].update(bits=["zz"] * 4),
        lambda rows: rows[0]["items"]["a"]["bits"].pop(),
        lambda rows: rows[0]["n"].update(a=30),
        lambda rows: rows[0].update(provenance=None),
    ],
)
def test_damaged_runs_are_told(tmp_path, spoil):
    save(tmp_path, (made(),))
    rows = json.loads((tmp_path / runs.FILE).read_text())
    spoil(rows)
    (tmp_path / runs.FILE).write_text(json.dumps(rows))
    with pytest.raises(CheckpointError, match=r"runs\.json: run 1 cannot be read"):
        load(tmp_path, "x")
    (tmp_path / runs.FILE).write_text("{}")
    with pytest.raises(CheckpointError, match="not a list of runs"):
        load(tmp_path, "x")


def checkpoint_set(folder, order, weights="1"):
    for task in order:
        (folder / task).mkdir(parents=True)
        (folder / task / "adapter_model.safetensors").write_text(weights)
        (folder / f"{task}.jsonl").write_text('{"question": "What?", "answer": "bee"}\n')
    rows = [{"name": t, "task": t, "adapter": t, "eval": f"{t}.jsonl"} for t in order]
    (folder / "old.jsonl").write_text('{"question": "What?", "answer": "cat"}\n')
    told = {"base": "tiny", "method": "x", "order": list(order), "checkpoints": rows}
    told["also"] = {"base kept": {"a": "old.jsonl"}}
    (folder / MANIFEST).write_text(json.dumps(told))
    return folder


def test_only_new_runs_are_measured(tmp_path, monkeypatch):
    sets, root = tmp_path / "sets", tmp_path / "train"
    for method in ("sequential", "sefe"):
        checkpoint_set(sets / method, "abc")
    checkpoint_set(root / "seed0/checkpoints/sequential", "abc")  # the one that ships
    checkpoint_set(root / "seed0/checkpoints/sequential-reversed", "cba")
    moved = checkpoint_set(root / "seed1/checkpoints/sequential", "abc")
    checkpoint_set(root / "seed1/checkpoints/unknown", "abc")
    (root / "seed2/checkpoints/sefe").mkdir(parents=True)  # not finished
    asked, log = [], []

    def measured(method, seed, folder, base, made_by, told):
        asked.append((method, seed, folder.name))
        order = ("c", "b", "a") if "reversed" in folder.name else ("a", "b", "c")
        return made(method, seed, order=order, made_by=made_by)

    monkeypatch.setattr(runs, "_measured", measured)
    runs.measure(root, sets, tmp_path, log.append)
    assert asked == [("sequential", 0, "sequential-reversed"), ("sequential", 1, "sequential")]
    assert any("no set 'unknown'" in line for line in log)
    assert [(r.seed, r.order) for r in load(sets / "sequential", "x")] == [(0, tuple("cba")), (1, tuple("abc"))]
    runs.measure(root, sets, tmp_path, log.append)
    assert len(asked) == 2
    (moved / "a" / "adapter_model.safetensors").write_text("other weights")
    runs.measure(root, sets, tmp_path, log.append)
    assert asked[2:] == [("sequential", 1, "sequential")]
    (moved / "old.jsonl").write_text('{"question": "Which?", "answer": "cat"}\n')  # a further set is asked, too
    runs.measure(root, sets, tmp_path, log.append)
    assert asked[3:] == [("sequential", 1, "sequential")] and len(load(sets / "sequential", "x")) == 2
    runs.measure(tmp_path / "nothing", sets, tmp_path, log.append)
    assert "no finished set" in log[-1]


def test_a_trained_set_is_really_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    zoo.save_set("llava", tmp_path, ("colours", "shapes"), items=4)
    sets, root = tmp_path / "sets", tmp_path / "train"
    for place in (sets / "sequential", root / "seed3/checkpoints/sequential"):
        shutil.copytree(tmp_path / "my-set", place)
    runs.measure(root, sets, tmp_path / "my-model", lambda line: None)
    (found,) = load(sets / "sequential", "sequential")
    mllm = MLLM.open(tmp_path / "my-model", "x", sets / "sequential", device="cpu", dtype="float32")
    answers = evaluate(mllm, pytest.fail)  # kept: the weights and questions are the same
    assert found.seed == 3 and found.order == answers.tasks
    assert found.data == of(answers, None, "x").data
    for task in answers.tasks:
        for row, name in enumerate(("base", *answers.tasks)):
            assert found.scores[task][row] == pytest.approx(answers.scores[task][answers.trained.get(name, name)])
    assert found.superficial is not None and found.provenance.dtype == "float32"


def test_results_figures_and_tables():
    found = measure([made("<b>"), made("replay", counts={**COUNTS, "a": (1, 9, 9, 9)}, n=10), made("lwf", split=False)])
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["rows"][2]["estimates"]["superficial"]["value"] is None
    lines = found.to_csv().splitlines()
    assert lines[0].startswith("method,order,metric,value,low,high,seeds")
    assert len(lines) == 1 + 3 * len(METRICS) + 1
    for metric in METRICS:
        drawn = figure.dots(found, metric)
        assert f"n = {found.counted(metric)}" in drawn.layout.xaxis.title.text
        assert len(drawn.data[0].x) == (2 if metric in ("superficial", "essential", "superficial_of_lost") else 3)
    assert "<b>" not in figure.numbers(found).replace("<br>", "").split("<tbody>")[1].split("&lt;b&gt;")[0]
    assert " better<" in figure.numbers(found)
    assert figure.dots(measure([made(split=False)]), "superficial") is None
    assert found.to_latex().count("replay") == 1
    with_seeds = figure.dots(measure([made(seed=0), made(seed=1)]), "bwt")
    assert len(with_seeds.data[1].x) == 2


def _also(base, last, n=10):
    return {"base kept": {t: np.stack([first(c, n) for c in (base, last)]) for t in ("naming", "counting")}}


def test_what_the_base_knew_is_a_metric_where_a_set_asks_for_it(tmp_path):
    plain, kind = made(also=_also(9, 3)), made("replay", also=_also(9, 8))
    found = measure([plain, kind])
    assert found.shown[-1] == "base_kept" and "mfn_unseen" not in found.shown
    here, there = (row.estimates["base_kept"] for row in found.rows)
    assert (here.value, there.value) == (pytest.approx(0.3), pytest.approx(0.8)) and here.low < 0.3 < here.high
    change = found.rows[1].changes["base_kept"]
    assert change.value == pytest.approx(0.5) and found.rows[1].verdict("base_kept") == "better"
    assert found.before["base_kept"].value == pytest.approx(0.9)
    assert "Of what the base knew, 90 % right, keep: sequential 30 % and replay 80 %." in sentence(found)
    table = found.metrics().markdown()
    assert "What the base knew, kept" in table and "| base | reference |" in table and "90.0" in table
    assert len(figure.dots(found, "base_kept").data[0].x) == 2
    save(tmp_path, (plain,))
    (again,) = load(tmp_path, "sequential")
    assert all((again.also["base kept"][t] == rows).all() for t, rows in plain.also["base kept"].items())
    # original forms are asked after every task, and are the same metric
    curve = {"original forms": {"naming": np.stack([first(c, 10) for c in (9, 7, 5, 4)])}}
    save(tmp_path, (made(also=curve),))
    (again,) = load(tmp_path, "sequential")
    assert (again.also["original forms"]["naming"] == curve["original forms"]["naming"]).all()
    of = measure([again])
    assert of.rows[0].estimates["base_kept"].value == pytest.approx(0.4) and of.before["base_kept"].value == 0.9
    # and where none does, nothing speaks of it
    bare = measure([made(), made("replay")])
    assert "base_kept" not in bare.shown and "What the base knew" not in bare.metrics().markdown() + sentence(bare)
    assert figure.dots(bare, "base_kept") is None
    mixed = measure([made(), kind])
    assert np.isnan(mixed.rows[0].estimates["base_kept"].value) and mixed.rows[1].estimates["base_kept"].known


def test_card_has_every_method_seed_and_order():
    turned = made(order=("c", "b", "a"), counts=REVERSED)
    found = measure([made(), made(seed=1), turned, made("replay", counts={**COUNTS, "a": (1, 9, 9, 9)})])
    told = card.methods_told(found)
    assert "| sequential | 2 | −45.0 (" in told and "| 90.0 (" in told and "better |" in told
    assert "| sequential | 1 | reversed |" in told and sentence(found) in told and orders_said(found) in told
    assert "| replay | Some examples" in told
    assert "order of tasks" not in card.methods_told(measure([made()]))


def test_every_method_is_explained():
    shipped = manifests()
    mine = replace(shipped["sequential"], method="my own way", recipe={})
    known = told({"ewc": shipped["ewc"], "my set": mine})
    assert "ewc = 300" in known["ewc"].here and "1612.00796" in known["ewc"].paper
    assert known["my set"].here == "my own way"
    assert 'href="https://arxiv.org/abs/1612.00796"' in figure.about_table(known).html()
    assert all(of.does != "A set of your own." for of in told(dict.fromkeys(METHODS, mine)).values())


def test_what_was_written_down_in_training_is_told():
    recipe = {
        "settings": {"healing": 40, "whole": True}, "moved": {"a": 0.1, "b": 0.2}, "rewritten": {"a": 0.15, "b": 0.2},
        "held elements per degree of freedom": {"b": 0.25, "c": 0.5}, "energy kept": {"a": 0.9},
        "movers": {"a": {"norm": 3, "q_proj": 1}, "b": {"norm": 2}},
    }  # fmt: skip
    said = told({"fpf": replace(manifests()["fpf"], recipe=recipe)})["fpf"].here
    for part in (
        "(healing = 40); ", "by 15 % of its norm", "15 % to 20 % were rewritten",
        "0.25 in the second task, 0.5 in the last", "with 90 % of their energy", "movers: 5 norm and 1 q_proj",
    ):  # fmt: skip
        assert part in said, (part, said)


def test_what_all_methods_share_is_told_as_it_was_written_with_the_checkpoints():
    """Of the weights in the box, and of increments, whatever the recipe in the code is now."""
    shipped = manifests()
    assert common(shipped).startswith("All: LoRA of rank 2 on") and "rate 0.004" in common(shipped)
    made = {"rank": 8, "steps": 160, "batch": 8, "peak": 1e-3, "general": 3, "moved": {"a": 0.2, "b": 0.22}}
    said = common({"sequential": replace(shipped["sequential"], recipe=made)})
    assert "for each task a fresh LoRA of rank 8" in said and "21" in said and "3 scenes of what the base knew" in said
    assert common({}) == ""
    # a recipe of another shape under a name that ships breaks nothing
    odd_ones = {"settings": ["a"]}, {"settings": {"x": "much"}}, {"moved": [1]}, {"moved": {"a": "far"}}, {"steps": 1}
    for odd in odd_ones:
        mine = {"sequential": replace(shipped["sequential"], recipe=odd)}
        assert common(mine) == "" and told(mine)["sequential"].here
    assert told(mine)["sequential"].here == "sequential fine-tuning"
    assert told({"ewc": replace(shipped["ewc"], recipe={"moved": [1]})})["ewc"].here.endswith("cannot be read here")


def test_parts_sum_to_the_value():
    above, below = parts(made(), "bwt")
    assert below is None
    assert sum(items.mean() for items in above.values()) == pytest.approx(-0.45)
