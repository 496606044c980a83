"""Every odd picture is read, every broken one ends in an answer or in a message for people."""

import pytest
from PIL import Image

from tests.hostile.pictures import BROKEN, READABLE, saved

QUESTION = "What is this?"
NAMES = (
    "picture",
    "picture.png.html",
    "‮gnp.exe",
    "🐝.png",
    "a\u200bb.png",
    "-rf.png",
    "COM1.png",
    "%2e%2e%2f.png",
    "a b;c.png",
    "<img src=x onerror=hostile()>.png",
    "x" * 300 + ".png",
    "../../escape.png",
    "..\\escape.png",
    ".png",
    "con\n.png",
)


@pytest.mark.parametrize("name", READABLE)
def test_odd_pictures_are_answered(visitor, name):
    sent = visitor.upload("picture.png", READABLE[name]())
    found = visitor.call("ask", [sent, QUESTION, "", ""])
    assert found.answered, found.told


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_end_in_a_message(visitor, name):
    sent = visitor.upload("picture.png", BROKEN[name]())
    found = visitor.call("ask", [sent, QUESTION, "", ""])
    assert found.clear
    assert found.answered or "picture" in found.told


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_any_name(visitor, name):
    sent = visitor.upload(name, saved(Image.new("RGB", (8, 8), "teal"), "PNG"))
    found = visitor.call("ask", [sent, QUESTION, "", ""])
    assert found.answered, found.told
