"""Controls: what a link, a browser or a program sends is read against what is on offer."""

import json

import pytest

from analysis import form
from analysis.form import Number, One, Several, Switch, Words

MENU = One("which", "Which", offered=("a", ("The second", 2), ("None", 0)), value=2)
CHIPS = Several("some", "Some", offered=("x", "y", "z"), value=("z", "x"), most=2)
SLIDER = Number("share", "Share", low=0, high=1, value=0.5, step=0.05)
WHOLE = Number("n", "Items", low=20, high=240, value=60, step=20)
TEXT = Words("said", "Said", most=5)
SWITCH = Switch("on", "On", value=True)


@pytest.mark.parametrize(
    ("control", "raw", "value"),
    [
        (MENU, "a", "a"), (MENU, "2", 2), (MENU, 2, 2), (MENU, "0", 0), (MENU, "b", None), (MENU, None, None),
        (MENU, ["a"], None), (MENU, {"a": 1}, None),
        (CHIPS, ["z", "x"], ("x", "z")), (CHIPS, "z,x", ("x", "z")), (CHIPS, [], ()), (CHIPS, "", ()),
        (CHIPS, ["x", "y", "z"], None), (CHIPS, ["q"], None), (CHIPS, 3, None), (CHIPS, {"x": 1}, None),
        (SLIDER, "0.25", 0.25), (SLIDER, 0.26, 0.25), (SLIDER, "1", 1), (SLIDER, "1.01", None),
        (SLIDER, "-0.1", None),
        (SLIDER, "nan", None), (SLIDER, "inf", None), (SLIDER, "", None), (SLIDER, True, None), (SLIDER, [0.2], None),
        (SLIDER, "²", None), (SLIDER, 10**400, None),
        (WHOLE, "41", 40), (WHOLE, 240, 240), (WHOLE, "260", None),
        (TEXT, "abcdefg", "abcde"), (TEXT, 3, None), (TEXT, None, None),
        (SWITCH, "false", False), (SWITCH, True, True), (SWITCH, "yes", None), (SWITCH, 1, None), (SWITCH, [], None),
    ],
)  # fmt: skip
def test_a_control_reads_what_it_offers_and_nothing_else(control, raw, value):
    found = control.read(raw)
    assert found == value


def test_whole_numbers_come_as_such():
    assert isinstance(WHOLE.read("41"), int)
    assert SLIDER.read("0.3") == 0.3  # and not 0.30000000000000004


def test_one_odd_value_leaves_the_others_as_they_are():
    controls, raw = (MENU, CHIPS, SLIDER, SWITCH), {"which": "b", "some": "y", "share": "0.9", "on": "maybe", "x": 1}
    assert form.values(controls, raw) == {"which": 2, "some": ("y",), "share": 0.9, "on": True}
    assert form.astray(controls, raw) == ["Which", "On"]


@pytest.mark.parametrize("raw", [None, [], "text", 3, {}])
def test_without_values_everything_is_at_its_first(raw):
    assert form.values((MENU, CHIPS, WHOLE), raw) == {"which": 2, "some": ("x", "z"), "n": 60}
    assert form.astray((MENU, CHIPS, WHOLE), raw) == []


def test_a_first_value_that_is_not_on_offer_gives_way():
    assert One("set", offered=("replay",), value="gone").first == "replay"
    assert One("set", offered=(), value="gone").first is None


@pytest.mark.parametrize(
    ("raw", "place"),
    [("0", 0), ("3", 3), (2, 2), ("4", None), ("-1", None), ("²", None), ("٣", None), ("", None), (None, None),
     ("1.0", None), (True, None), ("9" * 30, None)],
)  # fmt: skip
def test_the_one_parser_of_places(raw, place):
    assert form.pick(raw, 4) == place


def test_html_holds_what_was_chosen_and_nothing_that_was_written_becomes_markup():
    control = Words("said", '<b title="x">', hint="'\"<i>", most=99)
    html = control.html('"><script>')
    assert "<script>" not in html and "<i>" not in html and "<b " not in html
    assert 'value="&quot;&gt;&lt;script&gt;"' in html
    assert '<option value="2" selected>The second</option>' in MENU.html(2)
    assert CHIPS.html(("x",)).count("checked") == 1 and 'data-most="2"' in CHIPS.html(())


def test_first_values_as_a_browser_compares_them():
    written = json.loads(form.written((MENU, CHIPS, SLIDER, WHOLE, TEXT, SWITCH)))
    assert written == {"which": "2", "some": "x,z", "share": "0.5", "n": "60", "said": "", "on": "true"}


def test_words_of_one_picture_and_question_are_marked():
    assert "data-passing" in Words("truth", passing=True).html("fox")
    assert "data-passing" not in Words("words").html("data-passing"[5:])


def test_a_row_of_buttons_may_play_and_a_hidden_line_may_be_shared():
    still, playing = (One("phase", "Phase", offered=("a", "b"), radio=True, play=play) for play in (False, True))
    assert ("data-play" in still.html("a"), "data-play" in playing.html("a")) == (False, True)
    shared = 'data-name="whose" data-at="" data-shared><input type="hidden"'
    assert shared in Words("whose", hidden=True, shared=True).html("")
    assert "data-shared" not in Words("whose", hidden=True).html("")
