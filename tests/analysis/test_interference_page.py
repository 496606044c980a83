"""The Interference room on the page, and its endpoint."""

import inspect
import json
import threading
from contextlib import contextmanager

import gradio as gr
import pytest

from analysis import bar as shared_bar
from analysis import page
from analysis.interference import tab
from analysis.interference.endpoint import interference
from models.errors import InputError


def test_the_endpoint(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    found = interference(question="Is a bee red?", choices=["yes", "no"], perturbations=["unrelated"], dose="facts")
    assert {"origin", "perturbations", "sentence", "provenance", "dose"} <= set(found)
    assert found["dose"]["sentence"]
    json.dumps(found, allow_nan=False)
    for wrong in (
        {"question": 7},
        {"choices": "yes"},
        {"perturbations": [1]},
        {"steps": "many"},
        {"seed": 0.5},
        {"image": "/etc/passwd"},
    ):
        with pytest.raises(InputError, match="must be"):
            interference(**{"question": "Who?", **wrong})


def test_the_room_is_built_measures_and_offers_examples(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    with gr.Blocks():
        bar = shared_bar.build()
        with gr.Tabs(), gr.Tab(tab.TITLE):
            tab.build(bar)
    numbers = (0.5, 0.1, 2, 0.03, 0)
    asked = "m", "base", None, "Is a bee red?"
    inputs = (*asked, None, "yes, no", ["misleading"], ["black"], ["pgd-text"], "", None, *numbers)
    *_, done = tab._opened(None, *inputs)
    assert done[0] == "" and done[-1] == asked
    assert all(value == gr.skip() for value in next(tab._opened(asked, *inputs)))
    *_, dosed = tab._dosed(*asked, None, "yes, no", "facts", "", None, *numbers)
    assert dosed[-1].done
    examples = shared_bar.examples()
    for name, question, _ in tab._TRY:
        assert examples[name].known.turn(question)


def test_options_of_every_number_and_an_empty_sentence_go_through_the_room(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    numbers = (0.5, 0.1, 2, 0.03, 0)

    def shown(options, text=("misleading",)):
        *_, done = tab._measured(
            "m", "base", None, "Is a bee red?", None, options, list(text), ["black"], [], " ", None, *numbers
        )
        return done[6]

    assert shown("").proposed
    one = shown("yes")
    assert one.options == ("yes",) and [t for t, _ in one.left_out] == ["Misleading description"]
    many = shown(",".join(f"thing {i}" for i in range(50)))
    assert len(many.options) == 50 and many.probability.sum() == pytest.approx(1)
    alike = shown("a red bee, a red bee house, a red")
    assert len(alike.effects) == 2 and len(set(alike.logprob.tolist())) == 3
    empty = shown("yes, no", ["own-sentence"])
    assert [t for t, _ in empty.left_out] == ["Your own sentence"] and [e.name for e in empty.effects] == ["black"]


@pytest.fixture
def room(monkeypatch):
    lent = []
    lend = page.for_model
    monkeypatch.setattr(page, "for_model", lambda handler: lent.append(handler.__name__) or lend(handler))
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        with gr.Tabs(), gr.Tab(tab.TITLE):
            tab.build(bar)
    return demo, bar, lent


def test_handlers_that_run_the_model_ask_for_the_gpu(room):
    assert set(room[2]) == {"_measured", "_dosed", "_opened", "_explained", "_put", "_kept", "_measured_own"}


def test_progress_goes_where_a_run_fails(room):
    demo, *_ = room
    runs = {i: f.name for i, f in demo.fns.items() if inspect.isgeneratorfunction(f.fn)}
    assert set(runs.values()) == {"_measured", "_dosed", "_opened", "_explained", "_put", "_measured_own"}
    assert set(runs) == {f.trigger_after for f in demo.fns.values() if f.trigger_only_on_failure}
    named = {f.outputs[0].elem_id for f in demo.fns.values() if f.trigger_only_on_failure}
    wanted = {"disturb", "attribute", "conflict", "conflicts", "dataset"}
    assert named == {f"{name}-progress" for name in wanted}


def test_an_example_is_shown_without_a_run_of_another_room(room):
    demo, bar, _ = room
    (tried,) = (f for f in demo.fns.values() if f.name == "_try")
    assert bar.asked not in tried.outputs
    for i, (_, question, _) in enumerate(tab._TRY):
        found = tab._try(gr.EventData(None, {"pick": str(i)}))
        assert len(found) == len(tried.outputs)
        assert found[3] == question
    assert tab._try(gr.EventData(None, {"pick": "../x"}))[3] == tab._TRY[0][1]


def test_what_is_measured_is_shown_while_the_next_is_measured(monkeypatch):
    shown, stopped = threading.Event(), threading.Event()

    def measuring(progress):
        yield "first"
        assert shown.wait(10)
        yield "second"
        try:
            while True:
                progress(0.5, "more")
                stopped.wait(0.01)
        except InterruptedError:
            stopped.set()
            raise

    run = tab._beside(measuring)
    html, found = next(run)
    assert "starting" in html and found == "first"
    shown.set()
    assert [f for _, f in (next(run), next(run), next(run)) if f] == ["second"]
    run.close()  # the visitor stops
    assert stopped.wait(10)
    assert list(tab._beside(lambda progress: iter(["only"]))) == [("", "only")]
