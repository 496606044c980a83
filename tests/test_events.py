"""What follows what on the page, read from the events of the built page."""

from collections.abc import Iterable

import pytest

import app

BAR = '<progress value="0.5" max="1"></progress>'


@pytest.fixture(scope="module")
def demo():
    return app.build()


@pytest.fixture(scope="module")
def events(demo):
    return list(demo.fns.values())


def written(event, *inputs) -> dict:
    """What a handler writes, by the id of the element that it goes to."""
    values = event.fn(*inputs)
    places = [component.elem_id for component in event.outputs]
    return dict(zip(places, values if isinstance(values, tuple) else (values,), strict=True))


def after(event, events) -> Iterable:
    """All that follows an event, step by step."""
    for following in events:
        if following.trigger_after == event._id:
            yield following
            yield from after(following, events)


def test_what_stop_says_is_not_wiped_by_the_failure_that_gradio_tells_of_it(demo, events):
    """A run that is cancelled counts as failed, so both write to the same place, in any order."""
    compared = set()
    for cancelling in (event for event in events if event.cancels):
        (button, trigger), *_ = cancelling.targets
        if trigger != "click" or not (demo.blocks[button].elem_id or "").endswith("-stop"):
            continue
        for stop in (event for event in events if event.fn and event.targets == cancelling.targets):
            for failed in (e for e in events if e.trigger_only_on_failure and e.trigger_after in cancelling.cancels):
                said, left = written(stop), written(failed, *[BAR for _ in failed.inputs])
                for place in (p for p in said.keys() & left.keys() if isinstance(said[p], str)):
                    assert left[place] == said[place], place
                    compared |= {place} if said[place] else set()
    assert {"matrix-progress", "parts-progress", "path-progress", "merge-progress", "dataset-progress"} <= compared
    assert {"space-progress", "own-progress"} <= compared


def test_a_run_that_was_refused_is_not_said_to_have_been_stopped(events):
    for failed in (event for event in events if event.trigger_only_on_failure):
        assert "Stopped" not in str(written(failed, *["" for _ in failed.inputs]))


def test_every_part_that_shows_a_sets_answers_is_drawn_again_once_they_are_measured(demo, events):
    start = next(i for i, block in demo.blocks.items() if getattr(block, "elem_id", None) == "matrix-measure")
    (run,) = (event for event in events if event.targets == [(start, "click")])
    drawn = {component.elem_id for event in after(run, events) for component in event.outputs}
    assert {"matrix", "split-bars", "split-items", "methods-chart", "methods-table", "curve-chart"} <= drawn
