"""The one mechanism of a section, driven through the events of a page with one made-up room."""

from dataclasses import dataclass

import gradio as gr
import plotly.graph_objects as go
import pytest

from analysis import bar, jobs, section
from analysis.form import DRAW, Number, One
from analysis.result import Provenance, Result
from analysis.section import KEEP, MODEL, SET, Prediction, Room, Section, Shown, Try, Upload, View
from analysis.table import Table
from models.errors import CrosstalkError, InputError
from tests.driving import Driven


@dataclass(frozen=True, kw_only=True)
class Sum(Result):
    """``total`` of what was added."""

    total: int

    def table(self):
        return Table(["total"], [[self.total]])


def added(total: int) -> Sum:
    return Sum(provenance=Provenance("m", "base", "float32", "cpu"), total=total)


def sentence(found: Sum) -> str:
    return f"The sum of everything is {found.total}. That is all there is to say."


def chart(shown: Shown):
    return go.Figure(layout={"title": {"text": f"{shown.result.total} {shown['unit']}"}})


def odd_only(shown: Shown):
    return chart(shown) if shown.result.total % 2 else None


UNIT = One("unit", "Unit", offered=("m", "km"), at=DRAW)
STEPS = Number("steps", "Steps", low=1, high=9, value=3)


def adding(asked, progress):
    progress(0.5, "adding")
    return added(asked["steps"] + (asked.shown.total if asked.shown else 0))


def twice(asked, progress):
    return added(1 + asked.pressed)


def growing(asked, progress):
    yield added(1)
    yield added(2)


def failing(asked, progress):
    raise InputError("There is nothing to add.")


def memory(asked):
    if asked["steps"] == 9:
        raise CrosstalkError("Nine was never measured.")
    return added(asked["steps"]) if asked["steps"] == 4 else None


def of_unit(raw, result):
    return (UNIT, One("of", "Of", offered=("a", "b") if raw.get("unit") == "km" else ("c",)))


VIEWS = (
    View("chart", chart),
    View("bold", lambda s: f"<b>{s.result.total}</b>", html=True),
    View("folded", lambda s: f"<i>{s.result.total}</i>", html=True, folded="All numbers"),
)
COMMON = {"sentence": sentence, "views": VIEWS, "question": "How much is it?", "title": "Sum"}
ROOM = Room(
    "sums",
    "Sums",
    (
        Section(name="add", **COMMON, of=SET, measure=adding, controls=(UNIT, STEPS), costs="a minute",
                prediction=Prediction("how much?", ("three", "more"), lambda f: "three" if f.total == 3 else "more")),
        Section(name="quick", **COMMON, measure=adding, controls=(UNIT, STEPS), quick=True,
                tries=(Try("Look", "three-penguins", "How many penguins are there?", {"steps": 5}),)),
        Section(name="pressed", **COMMON, of=SET, measure=twice, quick=True, controls=(UNIT,)),
        Section(name="grow", **COMMON, of=MODEL, measure=growing, controls=(UNIT,)),
        Section(name="fail", **COMMON, of=SET, measure=failing, controls=(UNIT,)),
        Section(name="kept", **COMMON, of=SET, measure=adding, kept=memory, controls=(UNIT, STEPS)),
        Section(name="dynamic", **COMMON, of=SET, measure=lambda a, p: added(len(a["of"])), controls=of_unit),
        Section(name="still", **{**COMMON, "views": (View("chart", lambda s: KEEP),)}, of=SET, measure=adding,
                controls=(UNIT, STEPS)),
        Section(name="more", **{**COMMON, "views": (*VIEWS, View("odd", odd_only, folded="Odd"))}, of=SET,
                measure=adding, controls=(UNIT, STEPS)),
        Section(name="bare", **{**COMMON, "views": (VIEWS[1], View("odd", odd_only))}, of=SET, measure=adding,
                controls=(UNIT, STEPS)),
        Section(name="own", **COMMON, of=SET, measure=lambda asked, p: added(len(asked.upload or "")),
                controls=(UNIT,), upload=Upload("Your own <numbers>", gr.File, "One a line.")),
    ),
    lesson=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    with gr.Blocks() as made:
        inputs = bar.build()
        with gr.Tabs():
            for part in ROOM.sections:
                with gr.Tab(part.title):
                    section.build(ROOM, part, inputs)
    return made


@pytest.fixture
def driven(demo):
    return lambda name: Driven(demo, f"sums/{name}")


def test_what_takes_long_is_not_measured_before_its_button_is_pressed(driven):
    seen = driven("add").open().seen
    assert "press Measure" in seen["told"] and "a minute" in seen["told"] and seen["chart"] is None


def test_the_button_measures_draws_and_says(driven):
    add = driven("add").press(unit="km", steps=7)
    assert add.shown.result.total == 7 and add.shown["unit"] == "km"
    assert '<p class="sentence">The sum of everything is 7.</p>' in add.seen["told"]
    assert 'data-outcome="more"' in add.seen["told"]
    assert add.seen["told"].count("data-save=") == 5
    assert "<details><summary>All numbers</summary><i>7</i></details>" in add.seen["foot"]
    assert "That is all there is to say" in add.seen["foot"] and "Measured: m" in add.seen["foot"]
    assert add.seen["progress"] == ""


def test_a_picture_is_offered_to_be_saved_only_where_there_is_a_chart(driven):
    bare = driven("bare").press(steps=3)
    assert 'data-save="png"' in bare.seen["told"]
    assert 'data-save="png"' not in bare.press(steps=1).seen["told"]
    assert bare.seen["told"].count("data-save=") == 4


def test_measuring_may_add_to_what_is_shown(driven):
    add = driven("add").press(steps=7).press(steps=2)
    assert add.shown.result.total == 9


def test_a_result_kept_in_a_state_does_not_hold_the_ones_before(driven):
    add = driven("add").press(steps=7).press(steps=2)
    assert add.shown.asked.shown is None


def test_what_is_quick_is_measured_when_it_is_opened(driven):
    quick = driven("quick").open("three-penguins", "How many penguins are there?")
    assert quick.shown.result.total == 3


def test_only_a_press_of_its_button_is_one(driven):
    seen = driven("pressed").open()
    assert seen.shown.result.total == 1
    assert seen.press().shown.result.total == 2 and seen.start().shown.result.total == 1


def test_without_a_question_nothing_is_measured(driven):
    quick = driven("quick")
    assert "told" in quick.open().seen and quick.shown is None
    with pytest.raises(gr.Error, match="no question"):
        quick.press()


def test_results_are_shown_as_they_grow(driven):
    assert driven("grow").press().shown.result.total == 2


def test_an_error_is_told_and_what_is_shown_stays(driven):
    fail = driven("fail")
    with pytest.raises(gr.Error, match="nothing to add"):
        fail.press()
    assert fail.shown is None


def test_a_control_of_looks_draws_the_same_result_anew(driven):
    add = driven("add").press(steps=7)
    add.change("unit", unit="km", steps=7)
    assert add.seen["chart"].layout.title.text == "7 km"
    assert add.shown["unit"] == "km" and add.shown.result.total == 7


def test_a_result_drawn_anew_is_still_of_the_input_that_it_was_measured_for(driven):
    add = driven("add")
    add._did("submit", "", "", None, {"values": {"steps": 7}, "turn": "1", "pressed": True})
    add._did("input", "", "", None, {"values": {"unit": "km", "steps": 7}, "turn": "2", "changed": ["unit"]})
    assert add.shown["unit"] == "km" and 'data-turn="1"' in add.seen["told"]


def test_a_control_that_waits_leaves_the_result(driven):
    add = driven("add").press(steps=7)
    add.change("steps", steps=2)
    assert add.shown.result.total == 7


def test_what_was_measured_before_is_shown_at_once(driven):
    kept = driven("kept").open(steps=4)
    assert kept.shown.result.total == 4
    kept.change("steps", steps=5)
    assert kept.shown is None and "Not measured yet" in kept.seen["told"] and kept.seen["chart"] is None
    kept.change("steps", steps=9)
    assert "Nine was never measured." in kept.seen["told"]


def test_choices_follow_what_is_chosen(driven):
    dynamic = driven("dynamic").change("unit", unit="km", of="c")
    assert 'value="a" selected' in dynamic.seen["form"] and 'value="c"' not in dynamic.seen["form"]


def test_what_is_drawn_anew_decides_nothing_otherwise_than_it_was_sent(driven):
    """Else the form would put back what the visitor has chosen meanwhile."""
    dynamic = driven("dynamic").press(unit="km", of="a").change("unit", unit="m", of="c")
    assert "data-decided='[]'" in dynamic.seen["form"]


def test_a_value_that_is_not_on_offer_never_reaches_a_measurement(driven):
    add = driven("add").press(steps="1e9", unit="<script>")
    assert add.shown["steps"] == 3 and add.shown["unit"] == "m"


def test_a_link_that_asks_for_something_odd_says_so_and_the_rest_is_as_it_says(driven, monkeypatch):
    told = []
    monkeypatch.setattr(gr, "Warning", told.append)
    kept = driven("kept")
    kept._did("select", "", "", None, {"values": {"steps": "4", "unit": "miles"}, "opened": True, "linked": True})
    assert kept.shown.result.total == 4 and "Unit" in told[0]


def test_a_view_that_keeps_what_is_there_is_left(driven):
    seen = driven("still").press().seen
    assert "chart" not in seen and 'data-keeps="sums-still-chart"' in seen["told"]  # which is dimmed
    assert 'data-keeps=""' in driven("grow").press().seen["told"]


def test_a_section_that_is_opened_again_stays_as_it_is(driven):
    add = driven("add").press(steps=7)
    seen = dict(add.seen)
    assert add.open(steps=7).shown.result.total == 7 and add.seen == seen


def test_a_view_may_not_take_the_name_of_a_part_of_every_section():
    with pytest.raises(ValueError, match="told"):
        Section(name="odd", **{**COMMON, "views": (View("told", chart),)})


def test_a_fold_without_a_chart_in_it_is_gone(driven):
    more = driven("more").open()
    assert more.seen["odd-fold"] is False
    assert more.press(steps=3).seen["odd-fold"] and more.seen["odd"].layout.title.text == "3 m"
    assert more.press(steps=1).seen["odd"] is None and more.seen["odd-fold"] is False
    folds = [c for c in more.demo.blocks.values() if getattr(c, "elem_id", "") == "sums-more-odd-fold"]
    assert [f.visible for f in folds] == [False]


def test_a_file_of_the_visitors_reaches_the_measurement(driven):
    own = driven("own").press()
    assert own.shown.result.total == 0
    own.upload = "/tmp/my.jsonl"
    assert own.press().shown.result.total == len("/tmp/my.jsonl")
    fields = [c for c in own.demo.blocks.values() if getattr(c, "elem_id", "") == "sums-own-upload"]
    assert [type(c) for c in fields] == [gr.File]


def test_examples_and_predictions_stand_in_the_head():
    head = section._head(ROOM.sections[1])
    assert 'data-example="three-penguins"' in head and "data-set='{&quot;steps&quot;: 5}'" in head
    asked = section._head(ROOM.sections[0])
    assert asked.count("data-guess=") == 3  # two options, and just show me


def test_what_stop_says_is_not_wiped_by_the_failure_that_gradio_tells_of_it(demo):
    """A run that is cancelled counts as failed, so both write to the same place, in any order; and a run that was
    refused is not said to have been stopped."""
    events = list(demo.fns.values())
    cancelling = [e for e in events if e.cancels and e.targets[0][1] == "click"]
    assert len(cancelling) == len(ROOM.sections)
    for cancel in cancelling:
        (stop,) = [e for e in events if e.fn and e.targets == cancel.targets]
        failures = [e for e in events if e.trigger_only_on_failure and e.trigger_after in cancel.cancels]
        assert len(failures) == len(cancel.cancels)
        for failed in failures:
            assert failed.outputs == stop.outputs
            assert stop.fn() == jobs.STOPPED and failed.fn(jobs.Progress(0.5, "adding").html) == ""
            assert failed.fn("") == failed.fn(jobs.STOPPED) == gr.skip()


def test_a_press_takes_back_what_is_on_its_way_for_its_section(demo):
    """What was kept, asked for before, must not come after what is measured; the quick measure all in one event."""
    events = list(demo.fns.values())
    pressed = [e for e in events if e.cancels and e.targets[0][1] == "submit"]
    assert len(pressed) == sum(1 for s in ROOM.sections if s.measure and not s.quick)
    for press in pressed:
        taken_back = [e.targets for e in events if e._id in press.cancels]
        form = press.targets[0][0]
        assert sorted(taken_back) == [[(form, "input")], [(form, "select")]]


def test_the_browser_can_tell_a_run_from_another_that_says_the_same(driven):
    def run(of):
        return of.seen["told"].partition('data-run="')[2][:8]

    section_ = driven("grow").press()
    first = run(section_)
    assert len(first) == 8 and run(section_.change("unit", unit="km")) == first  # drawn anew: the same result
    assert run(section_.press()) != first
