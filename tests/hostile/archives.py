"""Sets that a visitor might upload: archives that lie, lead out or burst, and lines that are none."""

import io
import json
import stat
import zipfile
from collections.abc import Callable

from PIL import Image

from tests.hostile.pictures import BROKEN, saved
from tests.hostile.texts import MARKUP

_PICTURE = saved(Image.new("RGB", (16, 16), "teal"), "PNG")
LINE = {"image": "a.png", "question": "What is this?", "answer": "cat", "choices": ["cat", "dog"], "text": "a cat"}


def line(**other) -> str:
    """A line that fits both kinds of sets, with ``other`` fields in it."""
    return json.dumps(LINE | other)


def packed(*files: tuple[str | zipfile.ZipInfo, bytes | str]) -> bytes:
    """A ``.zip`` of (name, content)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def _of(*lines: str) -> bytes:
    return packed(("a.png", _PICTURE), ("set.jsonl", "\n".join(lines)))


def _link(target: str) -> bytes:
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return packed((info, target), ("set.jsonl", line()))


def _named(name: str) -> bytes:
    return packed((name, _PICTURE), ("set.jsonl", line()))


def _lying() -> bytes:
    """Tells of every file that it has three bytes."""
    data = bytearray(packed(("a.png", bytes(5_000_000)), ("set.jsonl", line())))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (3).to_bytes(4, "little")
    return bytes(data)


def _encrypted() -> bytes:
    data = bytearray(_of(line()))
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    **{f"name {name!r}": lambda name=name: _named(name) for name in (
        "../a.png", "/tmp/crosstalk-escaped.png", "x/../../a.png", "..\\a.png", "C:/a.png", "a\n.png",
        "a" * 300 + ".png", "<img src=x onerror=hostile()>.png", "\u202egnp.a.png", "con.png/a.png", ".png", "x.py",
    )},
    "a link to passwd": lambda: _link("/etc/passwd"),
    "a link up": lambda: _link("../../secret.png"),
    "a link to itself": lambda: _link("a.png"),
    "an archive in it": lambda: packed(("a.zip", _of(line())), ("set.jsonl", line())),
    "a gigabyte": lambda: packed(("a.png", bytes(600_000_000)), ("set.jsonl", line())),
    "lying sizes": _lying,
    "many files": lambda: packed(*((f"{i}.png", b"") for i in range(11_000))),
    "twice the same name": lambda: packed(("a.png", _PICTURE), ("a.png", _PICTURE), ("set.jsonl", line())),
    "a file as folder": lambda: packed(("a.png", _PICTURE), ("a.png/b.png", _PICTURE), ("set.jsonl", line())),
    "a password": _encrypted,
    "cut": lambda: _of(line())[:-40],
    "empty": lambda: b"",
    "no archive": lambda: b"PK\x03\x04 and then nothing",
    "nothing in it": lambda: packed(),
    "no list": lambda: packed(("a.png", _PICTURE)),
    "two lists": lambda: packed(("a.png", _PICTURE), ("a.jsonl", line()), ("b.jsonl", line())),
    "a bomb as picture": lambda: packed(("a.png", BROKEN["30,000 x 30,000"]()), ("set.jsonl", line())),
    "svg as picture": lambda: packed(("a.png", BROKEN["svg with script"]()), ("set.jsonl", line())),
    "lines of no json": lambda: _of("{", "nonsense"),
    "lines of numbers": lambda: _of("7", "null", "[]"),
    "a deep line": lambda: _of("[" * 100_000 + "]" * 100_000),
    "no utf-8": lambda: packed(("a.png", _PICTURE), ("set.jsonl", b"\xff\xfe{\x00")),
    "image out of it": lambda: _of(line(image="../../../../etc/passwd")),
    "image absolute": lambda: _of(line(image="/etc/passwd")),
    "image at an address": lambda: _of(line(image="http://169.254.169.254/x.png")),
    "image with a zero": lambda: _of(line(image="a\0.png")),
    "image of a list": lambda: _of(line(image=["a.png"])),
    "numbers as text": lambda: _of(line(question=7, answer=True, text=7)),
    "surrogates": lambda: _of(line(question="\ud800", answer="\ud800", text="\ud800", choices=["\ud800", "x"])),
    "a megabyte of question": lambda: _of(line(question="x" * 1_000_000, text="")),
    "choices without the answer": lambda: _of(line(choices=["x", "y"], text=None)),
    "nested choices": lambda: _of(line(choices=[["cat"], {}], text=[])),
    "markup": lambda: _of(line(segment=MARKUP, question=MARKUP, answer=MARKUP, text=MARKUP, choices=[MARKUP, "dog"],
       domain=MARKUP)),
}  # fmt: skip
