"""The stability gap on courses worked out by hand, and forgetting curves on planted ones."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.forgetting.gap import figure
from analysis.forgetting.gap import measure as curves
from analysis.forgetting.gap.measure import (
    ALL,
    COURSE,
    LAWS,
    curve,
    fit,
    in_steps,
    in_tasks,
    load,
    measure,
    parse,
)
from analysis.forgetting.tab import GAP
from analysis.form import values
from analysis.section import Asked, Shown, headline
from models.errors import CheckpointError, InputError

A = (0.2, 0.6, 0.9, 0.4, 0.5, 0.8, 0.3, 0.6, 0.7)
B = (None, None, None, 0.5, 0.6, 1.0, 0.6, 0.7, 0.8)
C = (None, None, None, None, None, None, 0.1, 0.5, 0.6)
STEPS = (1, 2, 4, 5, 6, 8, 9, 10, 12)


def logged(a=A, b=B, c=C, items=100):
    rows = zip(STEPS, a, b, c, strict=True)
    points = [
        {"step": s, "accuracy": {n: v for n, v in zip("abc", values, strict=True) if v is not None}}
        for s, *values in rows
    ]
    return {
        "method": "replay", "seed": 0, "every": [1, 2, 4], "steps_per_task": 4, "order": ["a", "b", "c"],
        "items": items, "definition": "all of it right", "points": points, "device": "cpu", "versions": {"torch": "2"},
        "seconds": 3.5,
    }  # fmt: skip


def course(**more):
    return parse(logged(**more), "replay", "tiny")


def test_worst_case_numbers_by_hand():
    (gap,) = measure([course()]).gaps
    assert gap.acc == pytest.approx([0.9, 0.9, 0.7])
    assert np.isnan(gap.min_acc[0])
    assert gap.min_acc[1:] == pytest.approx([0.4, (0.3 + 0.6) / 2])
    assert gap.wc_acc == pytest.approx([0.9, 1.0 / 2 + 0.4 / 2, 0.6 / 3 + 0.45 * 2 / 3])
    assert gap.windowed == pytest.approx((0.6 + 0.4 + 0.0) / 3)  # a: 0.9 at step 4 to 0.3 at step 9
    assert gap.windowed_task == pytest.approx((0.5 + 0.4 + 0.0) / 3)  # those are five steps apart, a task has four


def test_dips_by_hand():
    (gap,) = measure([course()]).gaps
    first, second = gap.dips
    assert (first.to, first.step, first.before, first.lowest, first.after) == (1, 5, 0.9, 0.4, 0.8)
    assert (first.depth, first.back) == pytest.approx((0.5, 0.4))
    assert first.noise == pytest.approx(1.96 * np.sqrt((0.9 * 0.1 + 0.4 * 0.6) / 100))
    assert (second.step, second.before, second.lowest, second.after) == (9, 0.9, pytest.approx(0.45), 0.75)
    assert second.noise == pytest.approx(1.96 * np.sqrt((0.8 * 0.2 + 0.0 + 0.3 * 0.7 + 0.6 * 0.4) / 100 / 4))
    assert first.returns and second.returns
    assert [[d.depth for d in task] for task in gap.each] == [pytest.approx([0.5, 0.5]), pytest.approx([0.4]), []]


def test_what_falls_and_stays_down_is_no_stability_gap():
    (gap,) = measure([course(a=(0.2, 0.6, 0.9, 0.6, 0.5, 0.5, 0.5, 0.4, 0.4))]).gaps
    assert gap.dips[0].clear and not gap.dips[0].returns
    still = course(a=(0.2, 0.6, 0.9, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5), b=(*B[:6], 1.0, 1.0, 1.0))
    said = figure.gaps_said(measure([still]))
    assert "this is forgetting, not a stability gap" in said


def test_few_items_make_a_dip_uncertain():
    (gap,) = measure([course(items=4)]).gaps
    assert not gap.dips[0].returns
    still = course(a=(0.2, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), b=(*B[:6], 1.0, 1.0, 1.0))
    assert "after none of 2 switches do the old tasks fall by more than chance" in figure.gaps_said(measure([still]))


def test_sentence_tells_depth_place_and_return():
    said = figure.gaps_said(measure([course()]))
    assert headline(said)[0] == (
        "replay: after 2 of 2 switches the old tasks clearly fall within 2 steps; after 2 of these they clearly come "
        "back."
    )
    assert "On average they fall by 48 points, most at the switch to b (90 % → 40 %, step 5; n = 100 items" in said
    assert "a stability gap at the switch to b and c: of 48 points lost there, 35 points come back" in said
    both = figure.gaps_said(measure([course(), replace(course(), method="sefe")]))
    assert "replay ends at 70 % on average, and its worst-case accuracy is 50 %; sefe ends at 70 %" in both


def test_results_are_tables_and_json():
    found = measure([course()])
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["gaps"][0]["min_acc"][0] is None
    lines = found.to_csv().splitlines()
    assert lines[0] == "method,seed,number,task,step,value"
    assert "replay,0,min_acc,b,8,0.4" in lines
    assert "replay,0,accuracy,a,9,0.3" in lines
    assert found.provenance.seconds == 3.5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.pop("order"), 'field "order"'),
        (lambda d: d.update(items=0), 'field "items"'),
        (lambda d: d.update(steps_per_task=True), 'field "steps_per_task"'),
        (lambda d: d.update(seed="zero"), 'field "seed"'),
        (lambda d: d.update(points=d["points"][:1]), 'field "points"'),
        (lambda d: d["points"].reverse(), "ascending"),
        (lambda d: d["points"][2].update(step=-1), 'point 3, field "step"'),
        (lambda d: d["points"][2].update(accuracy={"a": 90}), 'point 3, field "accuracy"'),
        (lambda d: d["points"][4].update(accuracy={"b": 0.5}), "point 5, field \"accuracy\" has nothing for 'a'"),
    ],
)
def test_a_damaged_course_names_field_and_point(spoil, message):
    data = logged()
    spoil(data)
    with pytest.raises(CheckpointError, match=message):
        parse(data, "replay", "tiny", "replay/course.json")


def test_loading_a_course(tmp_path):
    assert load(tmp_path, "tiny") is None
    (tmp_path / COURSE).write_text(json.dumps(logged()))
    found = load(tmp_path, "tiny")
    assert found.method == tmp_path.name
    assert found.accuracy[:, 0] == pytest.approx(A)
    assert np.isnan(found.accuracy[0, 1])
    (tmp_path / COURSE).write_text("{")
    with pytest.raises(CheckpointError, match=r"course\.json cannot be read as JSON"):
        load(tmp_path, "tiny")


T = np.array([0, 1, 2, 3, 5, 8, 12, 18, 27, 40, 80, 120, 160, 240, 320, 400], dtype=float)


@pytest.mark.parametrize(("law", "planted"), [("power law", (0.6, 0.5, 0.3)), ("exponential", (0.55, 0.03, 0.35))])
def test_planted_curves_are_recovered(law, planted):
    y = LAWS[law](T, *planted) + np.random.default_rng(0).normal(0, 0.004, len(T))
    power, exponential, flat = fit(T, y)
    right, wrong = (power, exponential) if law == "power law" else (exponential, power)
    assert right.parameters == pytest.approx(planted, rel=0.06)
    assert wrong.aicc - right.aicc > 10
    assert flat.aicc - right.aicc > 10
    assert right.r2 > 0.99
    half = right.at(np.array([right.half]))[0]
    assert half == pytest.approx(right.parameters[0] / 2 + right.parameters[2])


def test_exact_points_are_fitted_exactly():
    for law, planted in (("power law", (0.5, 1.0, 0.4)), ("exponential", (0.5, 0.2, 0.4))):
        fits = {f.law: f for f in fit(T, LAWS[law](T, *planted))}
        assert fits[law].parameters == pytest.approx(planted, rel=1e-3)
        assert fits[law].rss < 1e-8 < min(f.rss for name, f in fits.items() if name != law)


def curve_of(t, y, task=ALL):
    base = in_tasks(("a", "b"), np.eye(2))
    return curve("replay", replace(base, task=task, t=t, y=y, names=("a",) * len(t)), course().provenance)


def test_laws_that_cannot_be_told_apart():
    t = np.arange(6.0)
    y = 0.5 * np.exp(-0.5 * t) + 0.5 + np.array([0.01, -0.04, 0.05, -0.03, 0.04, -0.02]) / 4
    found = curve_of(np.tile(t, 3), np.concatenate([y, y + 0.04, y - 0.04]))
    assert abs(found.delta) < 2 and found.falls and found.better is None
    assert "cannot be told" in figure.curve_said(found)


def test_no_decay_is_no_curve():
    found = curve_of(T, 0.9 + np.random.default_rng(1).normal(0, 0.02, len(T)))
    assert not found.falls and found.better is None
    assert "better than a flat line" in figure.curve_said(found)


def test_sentence_names_the_better_law_and_its_speed():
    found = curve_of(T, 0.5 * np.exp(-0.05 * T) + 0.4 + np.random.default_rng(0).normal(0, 0.004, len(T)), "naming")
    assert found.better is found.exponential
    said = figure.curve_said(found)
    assert "an exponential fits accuracy on naming better than a power law" in said
    assert re.search(r"from 90 % towards 40 %, and half of that way is gone after 1[34]\.\d tasks", said)


def test_a_law_that_explains_little_tells_no_half_life():
    y = 0.5 * np.exp(-0.05 * T) + 0.4 + np.random.default_rng(0).normal(0, 0.3, len(T))
    found = curve_of(np.tile(T, 9), np.concatenate([y, *(y + np.random.default_rng(s).normal(0, 0.4, len(T)) for s in
                                                         range(8))]))  # fmt: skip
    best = found.better or found.power
    assert found.falls and 0 < best.r2 < 0.5
    said = figure.curve_said(found)
    assert f"explains only {100 * best.r2:.0f} % of how the points differ" in said and "half of that way" not in said


def test_too_few_points_are_told():
    with pytest.raises(InputError, match="at least 6 points"):
        fit(np.arange(5.0), np.ones(5))
    with pytest.raises(InputError, match="different times"):
        fit(np.ones(8), np.ones(8))


def test_points_since_training():
    alone = in_steps(course(), "a")
    assert alone.t.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert alone.y == pytest.approx(A[2:])
    every = in_steps(course())
    assert every.names == ("a",) * 7 + ("b",) * 4
    assert every.y[:2] == pytest.approx([1.0, 0.4 / 0.9])
    matrix = np.array([[0.8, 0.0, 0.0], [0.4, 0.0, 0.1], [0.2, 0.3, 0.9]])
    tasks = in_tasks(("a", "b", "c"), matrix)
    assert tasks.t.tolist() == [0, 1, 2]
    assert tasks.y == pytest.approx([1.0, 0.5, 0.25])
    assert tasks.without == ("b",)
    with pytest.raises(InputError, match="no task 'z'"):
        in_tasks(("a", "b", "c"), matrix, "z")
    with pytest.raises(InputError, match="nothing to be forgotten"):
        in_tasks(("a", "b"), np.zeros((2, 2)))


def test_figures_mark_switches_and_dips_and_escape():
    found = measure([replace(course(), method="<b>x</b>"), course()])
    means, each = figure.course(found, figure.MEAN), figure.course(found, figure.EACH)
    assert len(means.layout.shapes) == 2
    triangles = [t for t in means.data if t.mode == "markers"]
    assert [list(t.x) for t in triangles] == [[5, 9]] * 2
    assert list(triangles[0].marker.symbol) == ["triangle-up"] * 2
    assert len(each.layout.shapes) == 4
    assert each.layout.xaxis2.title.text and means.layout.yaxis.title.text
    assert "n = 100" in means.data[0].name and "<b>x" not in means.data[0].name
    table = figure.numbers(found)
    assert "<b>x" not in table
    assert table.count("</th>") == 11 + 2 and table.count("<td>") == 2 * 10
    drawn = figure.curve(curve_of(T, 0.5 * np.exp(-0.05 * T) + 0.4))
    assert {t.name.partition(" (")[0] for t in drawn.data} == {"a", "power law", "exponential", "no change"}


def asking(**chosen):
    return Asked("", "", None, "", None, {**values(GAP.offered({}), {}), **chosen})


def test_the_section_shows_courses_and_the_curve_of_a_set(monkeypatch):
    monkeypatch.setattr(curves, "courses", lambda: ({"replay": course()}, {"bad": "bad/course.json: field"}))
    monkeypatch.setattr(curves, "of", lambda name: course() if name == "replay" else None)
    found = GAP.measure(asking(courses=("replay",), set="replay"), None)
    shown = Shown(found, asking(lines=figure.EACH))
    said = GAP.sentence(found)
    assert "stability gap" in said and "bad is left out: bad/course.json" in said and found.curve.n == 11
    chart, drawn, table = (view.draw(shown) for view in GAP.views)
    assert chart.data and drawn.data and "WC-ACC" in table and len(GAP.drawn(shown)) == 3
    rows = found.table().rows
    assert len([r for r in rows if r[2] == "curve in steps: kept"]) == 11 and all(len(row) == 6 for row in rows)
    none = GAP.measure(asking(courses=("replay",), set="sequential"), None)
    assert none.curve is None and "No course was logged for sequential" in GAP.sentence(none)
    assert len(GAP.drawn(Shown(none, asking()))) == 2
    with pytest.raises(CheckpointError, match="Choose a method"):
        GAP.measure(asking(courses=()), None)
    monkeypatch.setattr(curves, "courses", lambda: ({}, {}))
    with pytest.raises(CheckpointError, match="course.json beside"):
        GAP.measure(asking(), None)


def test_what_ships_has_short_headlines_and_no_half_life_of_a_quarter():
    for tried in GAP.tries:
        offered = {c.name: c for c in GAP.offered(tried.values)}
        assert all(offered[name].read(value) is not None for name, value in tried.values.items()), tried
        asked = asking(**tried.values)
        found = GAP.measure(asked, None)
        said = GAP.sentence(found)
        assert len(headline(said)[0].split()) <= 25 and GAP.prediction.outcome(found)
        assert "half of that way" not in said  # R2 is 0.25, or 0.39 in tasks
        assert GAP.views[0].draw(Shown(found, asked)).layout.height <= 364
