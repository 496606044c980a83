"""The report of a visit: everything that was measured, on one page that asks nobody for anything."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import gradio as gr
import plotly.graph_objects as go
import pytest

from analysis import bar as shared_bar
from analysis import exports, protocol, section
from analysis.charts import data_uri, empty
from analysis.interference import figure
from analysis.interference.measure import interfere
from analysis.section import Asked, Room, Section, Shown, View
from models.errors import InputError
from tests.analysis.handmade import WHAT, Ruled, by_words, last
from tests.driving import Driven

PICTURE = "data:image/webp;base64,AAAA"
ASKED = Asked("m", "base", None, "", None, {})
HOSTILE = '</script><script>alert(1)</script><img src="http://evil/x.png">'


def _gone(found):
    raise InputError("It was given up.")


def part(name: str, title: str, **more) -> Section:
    whole = {"sentence": figure.sentence, "views": (View("bars", lambda s: figure.options(s.result)),), **more}
    return Section(name=name, title=title, question="Does it flip?", measure=lambda a, p: None, **whole)


ROOMS = (
    Room("interference", "Interference", (part("one", "One question"), part("sets", "Sets <all>")), lesson=False),
    Room("ask", "Ask", (part("answer", "Ask"), part("gone", "Form & fact", sentence=_gone)), lesson=False),
)


@pytest.fixture(scope="module")
def demo():
    """Two rooms of two sections each."""
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        with gr.Tabs():
            for room in ROOMS:
                for one in room.sections:
                    with gr.Tab(one.title):
                        section.build(room, one, bar)
        exports.build(demo, bar)
    return demo


@pytest.fixture
def save(demo):
    """``save(kind, results, places, ...)`` is the file that a visitor gets who has these results, by place."""
    saver = next(c for c in demo.blocks.values() if getattr(c, "elem_id", "") == "saver")
    (click,) = [f for f in demo.fns.values() if (saver._id, "click") in f.targets]

    def saved(kind, results, places=None, path=None, question="", predicted=()):
        states = [
            Shown(results[b.place], ASKED, PICTURE if b.place == "ask/answer" else None) if b.place in results else None
            for b in section.built(demo)
        ]
        data = {"kind": kind, "places": list(results) if places is None else places, "predicted": list(predicted)}
        return Path(click.fn(data, path, question, *states))

    return saved


@pytest.fixture
def write(save):
    return lambda *given, **more: without_plotly(save("report", *given, **more).read_text(encoding="utf-8"))


def without_plotly(text: str) -> str:
    return text.replace(protocol._plotly(), "")


@pytest.fixture(scope="module")
def found():
    return last(interfere(Ruled(by_words), None, WHAT, given=["cat", "dog"], names=("misleading",)))


def test_the_report_holds_what_was_ticked_and_nothing_else(write, found, grey, tmp_path):
    grey.save(tmp_path / "p.png")
    results = {"interference/one": found, "interference/sets": found}
    text = write(results, ["interference/one"], str(tmp_path / "p.png"), "Is it <b>grey</b>?")
    assert data_uri(grey) in text and "Is it &lt;b&gt;grey&lt;/b&gt;?" in text
    assert figure.sentence(found) in text and "Sets" not in text and "Ask" not in text
    assert text.count("Plotly.newPlot") == 1
    data = re.search(r"<pre>(.*?)</pre>", text, re.S)[1].replace("&quot;", '"').replace("&#x27;", "'")
    assert json.loads(data) == found.to_json()
    foot = text.split('id="provenance"')[1]
    for known in ("Interference", "ruled · base", "dtype float32", "device cpu", "seconds"):
        assert known in foot


def test_all_results_stand_in_the_order_of_the_page_and_one_that_is_gone_says_so(write, found):
    text = write({"ask/gone": found, "ask/answer": found, "interference/sets": found, "interference/one": found})
    assert re.findall(r"<h2>(.*?)</h2>", text)[1:-1] == [
        "Interference · One question", "Interference · Sets &lt;all&gt;", "Ask", "Ask · Form &amp; fact",
    ]  # fmt: skip
    assert text.count(f'src="{PICTURE}"') == 1
    assert "It was given up." in text


def test_predictions_stand_beside_what_was_measured_and_odd_ones_are_left_out(write, found):
    row = ["Interference", "Does it flip?", "<no>", "yes"]
    text = write({"interference/one": found}, predicted=[row, "nonsense", ["too", "short"], None])
    row = '<tr><th scope="row">Interference</th><td>Does it flip?</td><td>&lt;no&gt;</td><td>yes</td></tr>'
    assert row in text
    assert text.count("<td>Does it flip?") == 1
    assert 'id="predictions"' not in write({"interference/one": found})


@pytest.mark.parametrize("places", [[], ["../../etc"], ["ask/answer"]])
def test_nothing_measured_says_what_to_do(save, found, places):
    with pytest.raises(gr.Error, match="nothing to save yet"):
        save("report", {"interference/one": found}, places)


def test_one_result_is_saved_in_each_form(save, found):
    kinds = {kind: save(kind, {"interference/one": found}) for kind in ("csv", "json", "latex", "html")}
    assert {kind: file.name for kind, file in kinds.items()} == {
        "csv": "crosstalk-interference-one.csv", "json": "crosstalk-interference-one.json",
        "latex": "crosstalk-interference-one.tex", "html": "crosstalk-interference-one.html",
    }  # fmt: skip
    assert kinds["csv"].read_text() == found.to_csv()
    assert json.loads(kinds["json"].read_text()) == {**found.to_json(), "sentence": figure.sentence(found)}
    assert "\\toprule" in kinds["latex"].read_text()
    assert figure.sentence(found) in kinds["html"].read_text()
    with pytest.raises(gr.Error, match="CSV, JSON, HTML or LaTeX"):
        save("exe", {"interference/one": found})
    with pytest.raises(gr.Error, match="no chart in view"):  # the browser draws it where it has one
        save("png", {"interference/one": found})


def test_what_is_measured_of_an_input_can_be_saved_as_is_offered(page_blocks):
    opened = 0
    for built in section.built(page_blocks):
        if built.section.of != section.INPUT:
            continue
        driven = Driven(page_blocks, built.place).open("bee-and-flower", "Is there a bee?")
        if driven.shown is None:
            continue
        opened += 1
        assert driven.shown.result.table().csv() and driven.shown.result.to_json(), built.place
        charts = [driven.seen[v.name] for v in built.section.views if not v.html]
        assert ('data-save="png"' in driven.seen["told"]) == any(c is not None for c in charts), built.place
    assert opened > 10


def test_a_hostile_text_stays_text_and_nothing_is_loaded_from_anywhere():
    drawn = go.Figure(go.Bar(x=[1], y=[HOSTILE]))
    data = {"question": HOSTILE, "names": [HOSTILE], "provenance": {"model": HOSTILE, "versions": {HOSTILE: HOSTILE}}}
    told = protocol.Part(HOSTILE, HOSTILE, [drawn, empty("nothing")], data, 'data:"><script>')
    whole = protocol.written([told], HOSTILE, None, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert whole.count(protocol._plotly()) == 1 and "02 January 2026, 03:04 UTC" in whole
    text = without_plotly(whole)
    assert "<script>alert" not in text and "<img" in text and 'src="http' not in text
    assert not re.search(r"<(link|iframe|object|embed|base)\b|<script[^>]*\bsrc=|@import|url\(", text)
    assert all(src.startswith("data:") for src in re.findall(r'<img src="([^"]*)"', text))
    assert "default-src 'none'" in text


def test_large_data_are_left_out():
    small, large = ({"values": list(range(n))} for n in (10, 20_000))
    for data, shown in ((small, True), (large, False)):
        text = protocol.written([protocol.Part("Room", "Said.", [], data)], "", None, datetime.now(UTC))
        assert ("<pre>" in text) is shown
