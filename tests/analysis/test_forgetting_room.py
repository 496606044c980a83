"""The Forgetting room through its sections: what opens, what a click on a number shows, sets that change."""

import json
import re
import shutil
from html import unescape

import pytest

import app
from analysis import kept
from analysis.charts import IMAGE, NEUTRAL
from analysis.forgetting import sets
from analysis.forgetting.measure import LISTED
from analysis.forgetting.sets import evaluate
from analysis.forgetting.tab import MATRIX, METHODS, SPLIT
from analysis.section import Asked, headline
from models import catalog
from models.errors import CheckpointError
from models.mllm import MLLM
from tests.driving import Driven
from tests.models import zoo


@pytest.fixture(scope="module")
def drive():
    demo = app.build()
    return lambda name: Driven(demo, f"forgetting/{name}")


def clicks(html):
    """What the buttons of a view choose."""
    return [json.loads(unescape(text)) for text in re.findall(r'data-set="([^"]*)"', html)]


def test_the_matrix_opens_on_what_was_lost_of_the_first_task(drive):
    seen = drive("matrix").open()
    html = seen.seen["matrix"]
    assert seen.shown["set"] == "sequential" and seen.shown["column"] == 0
    assert "after captioning, naming: right then, wrong now" in html and html.count("<li>") == 4
    assert "Learnt → kept" in html and "60 → 34 %" in html and "MFT 60 (" in html and "one training run" in html
    assert "kept 42 % (" in html and "superficial 21 % (" in html and "essential 37 % (" in html
    assert seen.seen["course"].data


def test_every_cell_of_the_matrix_shows_its_answers_beside_it(drive):
    seen = drive("matrix").open()
    cells = [c for c in clicks(seen.seen["matrix"]) if "row" in c]
    assert len(cells) == 8 * 6
    for cell in cells[::7]:
        seen.change("row", **cell)
        html = seen.seen["matrix"]
        assert html.count("<li>") == 4 and html.count('aria-pressed="true"') == 1
        assert cell == next(c for c in clicks(html.partition('aria-pressed="true"')[0])[::-1] if "row" in c)
    seen.change("row", row="1", column="0")
    assert "none right then, wrong now; all" in seen.seen["matrix"]
    seen.change("show", row="1", column="0", show=LISTED[1])
    assert "after naming, naming: only wrong" in seen.seen["matrix"]


def test_more_answers_come_below_the_first_four(drive):
    seen = drive("matrix").open()
    (more,) = (c for c in clicks(seen.seen["matrix"]) if set(c) == {"cards"})
    seen.change("cards", **more)
    assert seen.seen["matrix"].count("<li>") == 12
    for odd in ("0", "-3", "9" * 30, "\u00b2"):
        assert seen.change("cards", cards=odd).seen["matrix"].count("<li>") == 4


def test_another_set_shows_the_cell_that_was_chosen(drive):
    seen = drive("matrix").open()
    seen.change("set", set="replay", row="3", column="1")
    assert seen.shown.result.method != "sequential" and "after existence, counting" in seen.seen["matrix"]
    seen.change("set", set="nobody", row="99", column="x")
    assert seen.shown["set"] == "sequential" and "after captioning, naming" in seen.seen["matrix"]


def test_answers_that_became_something_stand_beside_their_number(drive):
    seen = drive("split").open()
    html = seen.seen["answers"]
    assert "all tasks, superficial at captioning" in html and html.count("<li>") == 4
    seen.change("task", task="grounding", part="essential")
    assert "grounding, essential at captioning" in seen.seen["answers"]
    seen.change("task", task="grounding", part="kept")
    assert "grounding, kept at captioning" in seen.seen["answers"] and "✓ kept" in seen.seen["answers"]
    assert seen.seen["flow"].data
    seen.change("after", after="existence", task="grounding")
    assert seen.shown is None and "Not measured yet" in seen.seen["told"]  # lost answers were asked again at the end
    assert "grounding" not in seen.seen["form"].partition('data-name="part"')[0].partition('data-name="task"')[2]


def test_methods_are_compared_as_soon_as_the_section_is_opened(drive):
    seen = drive("methods").open()
    assert len(seen.shown.result.rows) == 10 and not seen.shown.result.without
    assert [t.method for t in seen.shown.result.orders] == ["sequential", "sefe"]
    assert seen.seen["metric"].data and seen.seen["order"].data
    assert "mean of the runs, n = 1200 items" in seen.seen["metric"].layout.xaxis.title.text
    first, told = seen.shown.result, seen.seen["told"]
    seen.change("metric", metric="mfn")
    assert "forget less" in told and "know more" in seen.seen["told"]
    seen.change("metric", metric="superficial_of_lost")  # neither is better: in blue, and what is found comes first
    assert "methods lose a smaller share in form alone than" in seen.seen["told"]
    assert set(seen.seen["metric"].data[0].marker.color) == {IMAGE, NEUTRAL}
    seen.change("metric", metric="mfn")
    assert "Kept in the end (MFN)" in seen.seen["metric"].layout.xaxis.title.text
    seen.change("turned", turned="sefe")
    assert "sefe" in seen.seen["order"].layout.xaxis.title.text
    assert drive("methods").open().shown.result is first


@pytest.mark.parametrize("of", [MATRIX, SPLIT])
def test_headlines_are_short_for_every_set(of):
    for name in sets.offered():
        values = {c.name: c.first for c in of.offered({"set": name})} | {"set": name}
        said = of.sentence(of.kept(Asked("", "", None, "", None, values)))
        assert len(headline(said)[0].split()) <= 25, said
    found = METHODS.measure(Asked("", "", None, "", None, {}), lambda share, what: None)
    assert len(headline(METHODS.sentence(found))[0].split()) <= 25


@pytest.mark.parametrize("of", [MATRIX, SPLIT, METHODS])
def test_tries_and_predictions_are_on_offer(of):
    for tried in of.tries:
        controls = of.offered(tried.values)
        known = {c.name: c for c in controls}
        assert all(known[name].read(value) is not None for name, value in tried.values.items()), tried
    assert len(of.tries) == 4


def test_a_set_of_ones_own_is_measured_and_split(tmp_path, monkeypatch, drive):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    zoo.save_set("llava", tmp_path, ("colours", "shapes"), items=4)
    own, names = tmp_path / "my-set", ("base", "colours", "shapes")
    entry = catalog.Entry("mine", str(tmp_path / "my-model"), True, "", names, own)
    monkeypatch.setattr(sets, "offered", lambda: {"mine": entry})
    monkeypatch.setattr(catalog, "using", lambda name: _opened(MLLM.open(entry.source, "mine", own, device="cpu")))
    seen = drive("matrix").open()
    assert "press Measure" in seen.seen["told"] and seen.shown is None and seen.seen["course"] is None
    seen.press()
    assert seen.shown.result.tasks == ("colours", "shapes") and seen.seen["matrix"].count("<li>") == 4
    again = drive("split").open()
    if again.shown is None:
        again.press()
    assert again.shown.result.checkpoint == "shapes"
    shutil.rmtree(own / "shapes")
    assert "shapes" in drive("matrix").open().seen["told"]


class _opened:
    def __init__(self, model):
        self.model = model

    def __enter__(self):
        return self.model

    def __exit__(self, *error):
        return None


def test_answers_are_read_once_until_something_changes(monkeypatch, tmp_path):
    zoo.save_set("llava", tmp_path, ("colours", "shapes"), items=4)
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "my-set"
    entry = catalog.Entry("mine", str(tmp_path / "my-model"), True, "", ("base", "colours", "shapes"), own)
    monkeypatch.setattr(sets, "offered", lambda: {"mine": entry})
    with pytest.raises(CheckpointError, match="press Measure"):
        sets.answers("mine")
    evaluate(MLLM.open(entry.source, "mine", own, device="cpu"))
    first = sets.answers("mine")
    assert sets.answers("mine") is first
    text = (own / "shapes.jsonl").read_text()
    (own / "shapes.jsonl").write_text(text.replace('"red"', '"blue"'))
    assert sets.answers("mine") is not first
    assert {item.answer for item in sets.answers("mine").items["shapes"]} != {i.answer for i in first.items["shapes"]}
