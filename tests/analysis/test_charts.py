"""What every chart shares."""

from dataclasses import replace

import pytest

from analysis import charts
from analysis.result import Provenance


@pytest.mark.parametrize(("colour", "ink"), [("#FFFFFF", "#000"), ("#000000", "#fff"), ("#0072B2", "#fff")])
def test_ink_by_hand(colour, ink):
    assert charts.ink_on(colour) == ink


@pytest.mark.parametrize("colour", sorted({*charts.SERIES, charts.WRONG, charts.NEUTRAL}))
def test_ink_reads_on_every_colour_of_the_house(colour):
    def light(of: str) -> float:
        of = of if len(of) == 7 else "#" + "".join(2 * c for c in of[1:])
        parts = [int(of[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((light(colour), light(charts.ink_on(colour))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_what_computed_a_result_is_told_with_its_bits_and_what_else_must_be_known():
    whole = Provenance("m", "base", "float32", "cpu", versions={"torch": "2"}, seconds=1.234)
    assert charts.source(whole) == '<p class="key">Measured: m · cpu · float32 · torch 2 · 1.23 s</p>'
    four = charts.source(replace(whole, bits=4, note="not kept, as CROSSTALK_CACHE cannot be written (<full>)"))
    assert four == (
        '<p class="key">Measured: m · cpu · float32, 4 bits a weight · torch 2 · 1.23 s · not kept, as CROSSTALK_CACHE '
        "cannot be written (&lt;full&gt;)</p>"
    )


def test_bars_stand_from_top_to_bottom_under_names_that_are_escaped_and_cut():
    drawn = charts.bars(["<b>", "a" * 40], [1.0, -2.0], charts.IMAGE, "Nats", "%{x} nats", axis={"range": [-3, 3]})
    bar, layout = drawn.data[0], drawn.layout
    assert layout.yaxis.autorange == "reversed" and layout.yaxis.ticktext == ("&lt;b&gt;", "a" * 32)
    assert bar.customdata[0] == "&lt;b&gt;" and bar.hovertemplate == "%{customdata}: %{x} nats<extra></extra>"
    assert layout.xaxis.title.text == "Nats" and layout.xaxis.range == (-3, 3) and layout.height == 150
