"""The words of the page in plain sentences: a list, and what ``page.js`` needs to explain them where they stand."""

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Term:
    """A word, what it means in a sentence or two, and its other spellings."""

    name: str
    means: str
    also: tuple[str, ...] = ()


@cache
def terms() -> tuple[Term, ...]:
    """All words, by alphabet."""
    found = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    listed = [Term(name, told["means"], tuple(told.get("also", ()))) for name, told in found.items()]
    return tuple(sorted(listed, key=lambda term: term.name.lower()))


def script() -> str:
    """JavaScript that hands the words to ``page.js``: every spelling with the word's name and meaning."""
    spelt = {word: [term.name, term.means] for term in terms() for word in (term.name, *term.also)}
    words = json.dumps(spelt, ensure_ascii=False).replace("<", "\\u003c")  # nothing in it ends the page's script
    return f"crosstalk.words = {words};"


def html() -> str:
    """All words as a list of definitions."""
    rows = "".join(f"<dt>{escape(term.name)}</dt><dd>{escape(term.means)}</dd>" for term in terms())
    return f'<dl class="words">{rows}</dl>'
