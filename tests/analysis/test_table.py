"""One table in four forms, and what a spreadsheet, a browser, Markdown and LaTeX must not take for their own."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from analysis.statistics import Estimate
from analysis.table import Head, Html, Table

HALF = Estimate(0.5, 0.4, 0.625, 8)
TABLE = Table(
    ["what", Head("right", "How often.", unit="%", digits=1), "n"],
    [["a|b", HALF, 8], [Head("c", below="2 seeds"), Estimate(), np.int64(9)], ["joint", 0.25, None]],
    {2: "reference"},
)


def test_the_same_numbers_in_every_form():
    assert TABLE.markdown() == (
        "| what | right, % | n |\n| --- | --- | --- |\n| a\\|b | 50.0 (40.0 to 62.5) | 8 |\n| c | – | 9 |\n"
        "| joint | 25.0 |  |"
    )
    assert TABLE.csv() == (
        'what,"right, %","right, %, low","right, %, high",n\na|b,0.5,0.4,0.625,8\nc,,,,9\njoint,0.25,,,\n'
    )
    assert TABLE.json()[0] == {
        "what": "a|b", "right, %": 0.5, "right, %, low": 0.4, "right, %, high": 0.625, "n": 8,
    }  # fmt: skip
    assert TABLE.json()[1]["right, %"] is None
    assert TABLE.latex() == "\n".join(
        [
            r"\begin{tabular}{lcc}", r"\toprule", r"what & right, \% & n \\", r"\midrule",
            r"a|b & $50.0$ {\scriptsize $[40.0, 62.5]$} & 8 \\", r"c & -- & 9 \\", r"\midrule",
            r"joint & 25.0 &  \\", r"\bottomrule", r"\end{tabular}",
        ]
    )  # fmt: skip


def test_html_scrolls_by_keyboard_tells_what_heads_mean_and_escapes():
    html = TABLE.html()
    assert html.startswith('<div class="scroll" tabindex="0"><table class="plain">') and html.endswith(
        '</table></div><p class="key">–: not measured, or nothing to divide by.</p>'
    )
    bare = Table(["a", "b"], [["x", Estimate(0.5, n=3)]], dash="no pairs")
    assert bare.html().endswith("No interval: fewer than 8 items are too few for a bootstrap.</p>")
    assert replace(bare, rows=[["x", Estimate()]]).html().endswith('<p class="key">–: no pairs.</p>')
    assert replace(bare, rows=[["x", Estimate(0.5, n=30)], ["y", HALF]]).why() == ""  # has none for another reason
    assert '<dfn class="term" tabindex="0">right, %<span role="tooltip">How often.</span></dfn>' in html
    assert '<th scope="row">a|b</th><td>50.0 <small>(40.0&nbsp;to&nbsp;62.5)</small></td><td>8</td>' in html
    assert "c<br><small>2 seeds</small></th><td>–</td>" in html
    assert '<tr class="reference"><th scope="row">joint' in html
    bad = Table(["<b>", Head("<i>", "<u>", "<s>")], [["&", "<script>"]]).html()
    assert not any(tag in bad for tag in ("<b>", "<i>", "<u>", "<s>", "<script>")) and "&amp;" in bad
    ready = Table(["x", "y"], [["a", Html("<b>1</b>", "one")]])
    assert "<td><b>1</b></td>" in ready.html() and ready.csv() == "x,y\na,one\n" and "| one |" in ready.markdown()


def test_a_rows_own_format_goes_first():
    rows = [[Head("γ", digits=2), 0.5], [Head("lost", unit="points", digits=0, sign=True), 0.5], ["plain", -0.5]]
    table = Table(["", Head("first", unit="%", digits=1)], rows)
    assert [line.split(" | ")[1] for line in table.markdown().split("\n")[2:]] == ["0.50 |", "+50 |", "−50.0 |"]
    assert table.csv() == ',"first, %"\nγ,0.5\n"lost, points",0.5\nplain,-0.5\n'


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+A1", "-2+3", "\t=1", "\r=1"])
def test_no_text_is_computed_by_a_spreadsheet(text):
    _, row = csv.reader(io.StringIO(Table(["t"], [[text]]).csv()))
    assert row == ["'" + text.replace("\r", "\n")]


@pytest.mark.parametrize("text", ["-5", "+1.5", "-", "+", "a=b", "", "−3"])
def test_texts_that_are_no_formulas_stay(text):
    _, row = csv.reader(io.StringIO(Table(["t", "u"], [[text, "x"]]).csv()))
    assert row == [text, "x"]


def test_markdown_and_latex_keep_a_text_in_its_cell():
    table = Table(["a_b"], [["x|y\nz"], [r"50% & $\a^b~#{}"], ["−1"]])
    assert table.markdown().split("\n")[2:] == [r"| x\|y z |", r"| 50% & $\a^b~#{} |", "| −1 |"]
    assert r"50\% \& \$\textbackslash{}a\textasciicircum{}b\textasciitilde{}\#\{\} \\" in table.latex()
    assert r"a\_b \\" in table.latex() and r"$-$1 \\" in table.latex()
    below = Table(["t", Head("x", digits=1)], [["a", Estimate(-0.5, -1.0, 0.0, 3)]]).latex()
    assert r"a & $-0.5$ {\scriptsize $[-1.0, 0.0]$} \\" in below


def test_numbers_without_a_format_keep_four_digits_that_count():
    table = Table(["x"], [[0.5321049], [123.456], [-0.000123456], [0.0], [98765.4], [float("nan")]])
    shown = [line.strip("| ") for line in table.markdown().split("\n")[2:]]
    assert shown == ["0.5321", "123.5", "−0.0001235", "0", "98765", "–"]


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        Table(["a", "b"], [["x"]]).html()
