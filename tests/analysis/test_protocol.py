"""The report of a visit: everything that was measured, on one page that asks nobody for anything."""

import json
import re
from datetime import UTC, datetime

import gradio as gr
import plotly.graph_objects as go
import pytest

from analysis import bar as shared_bar
from analysis import exports, page, predictions, protocol
from analysis.charts import data_uri, empty
from analysis.interference import figure
from analysis.interference.measure import interfere
from models.errors import InputError
from tests.analysis.handmade import WHAT, Ruled, by_words, last

PICTURE = "data:image/webp;base64,AAAA"
HOSTILE = '</script><script>alert(1)</script><img src="http://evil/x.png">'


@pytest.fixture(scope="module")
def demo():
    """Two rooms: one with a result of its own and one in a folded part, the other with one below a heading."""
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        report = protocol.button()
        with gr.Tabs():
            with gr.Tab("Interference", id="interference"):
                own = gr.State(None)
                predictions.ask("interference", "Does it flip?", ["yes", "no"])
                exports.offer("interference", own, figure.sentence, lambda r: [figure.options(r), figure.attacks(r)])
                with gr.Accordion("Folded <away>"):
                    exports.offer("folded", gr.State(None), lambda r: figure.sentence(r.found), lambda r: [])
            with gr.Tab("Forgetting", id="forgetting"):
                page.heading("Form & fact", "form")
                exports.offer("gone", gr.State(None), _gone, lambda r: [])
        protocol.build(demo, bar, report)
    return demo


def _gone(found):
    raise InputError("It was given up.")


@pytest.fixture
def write(demo):
    """What a click on the button calls: path of a picture, question, a result of each part, what was predicted."""
    (click,) = [f for f in demo.fns.values() if f.targets and f.targets[0][0] == _button(demo)._id and f.fn]
    return lambda *inputs: open(click.fn(*inputs), encoding="utf-8").read()


def _button(demo):
    return next(b for b in demo.blocks.values() if b.elem_id == "report")


def without_plotly(text: str) -> str:
    return text.replace(protocol._plotly(), "")


@pytest.fixture(scope="module")
def found():
    return last(interfere(Ruled(by_words), None, WHAT, given=["cat", "dog"], names=("misleading",)))


def test_results_are_known_by_their_rooms_and_parts(demo):
    listed = [(e.room, e.part) for e in exports.offered(demo)]
    assert listed == [("Interference", ""), ("Interference", "Folded <away>"), ("Forgetting", "Form & fact")]
    with gr.Blocks() as other:
        assert exports.offered(other) == []


def test_the_report_holds_whatever_was_measured_and_nothing_else(write, found, grey, tmp_path):
    grey.save(tmp_path / "p.png")
    text = without_plotly(write(str(tmp_path / "p.png"), "Is it <b>grey</b>?", found, None, None, None))
    assert data_uri(grey) in text and "Is it &lt;b&gt;grey&lt;/b&gt;?" in text
    assert figure.sentence(found) in text and "Folded" not in text and "Forgetting" not in text
    assert text.count("Plotly.newPlot") == 1  # of the two figures, one has nothing to draw
    data = re.search(r"<pre>(.*?)</pre>", text, re.S)[1].replace("&quot;", '"').replace("&#x27;", "'")
    assert json.loads(data) == found.to_json()
    foot = text.split('id="provenance"')[1]
    for known in ("Interference", "ruled · base", "dtype float32", "device cpu", "seconds"):
        assert known in foot


def test_all_results_stand_in_the_order_of_the_page_and_one_that_is_gone_says_so(write, found):
    text = without_plotly(write(None, None, found, exports.Pictured(found, PICTURE), found, None))
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles[1:-1] == ["Interference", "Interference · Folded &lt;away&gt;", "Forgetting · Form &amp; fact"]
    assert text.count(f'src="{PICTURE}"') == 1
    assert "It was given up." in text


def test_predictions_stand_beside_what_was_measured(write, found):
    text = without_plotly(write(None, None, found, None, None, ("Does it flip?", "<no>", "yes")))
    assert "<tr><td>Interference</td><td>Does it flip?</td><td>&lt;no&gt;</td><td>yes</td></tr>" in text
    assert 'id="predictions"' not in without_plotly(write(None, None, found, None, None, None))


def test_nothing_measured_says_what_to_do(write):
    with pytest.raises(gr.Error, match="Ask a question at the top"):
        write(None, "What is this?", None, None, None, None)


def test_a_hostile_text_stays_text_and_nothing_is_loaded_from_anywhere():
    drawn = go.Figure(go.Bar(x=[1], y=[HOSTILE]))
    data = {"question": HOSTILE, "names": [HOSTILE], "provenance": {"model": HOSTILE, "versions": {HOSTILE: HOSTILE}}}
    section = protocol.Section(HOSTILE, HOSTILE, [drawn, empty("nothing")], data, 'data:"><script>')
    whole = protocol.written([section], HOSTILE, None, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert whole.count(protocol._plotly()) == 1 and "02 January 2026, 03:04 UTC" in whole
    text = without_plotly(whole)
    assert "<script>alert" not in text and "<img" in text and 'src="http' not in text
    assert not re.search(r"<(link|iframe|object|embed|base)\b|<script[^>]*\bsrc=|@import|url\(", text)
    assert all(src.startswith("data:") for src in re.findall(r'<img src="([^"]*)"', text))
    assert "default-src 'none'" in text


def test_large_data_are_left_out():
    small, large = ({"values": list(range(n))} for n in (10, 20_000))
    for data, shown in ((small, True), (large, False)):
        text = protocol.written([protocol.Section("Room", "Said.", [], data)], "", None, datetime.now(UTC))
        assert ("<pre>" in text) is shown
