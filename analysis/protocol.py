"""One page of everything that a visitor has measured: to keep, to print or to hand in. It needs no network."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from analysis.table import Html, Table

_STYLE = Path(__file__).parents[1] / "assets" / "report.css"
# evaluated: Plotly's WebGL charts make their drawing functions that way
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
_plotly = cache(get_plotlyjs)  # some megabytes, read once
_CHARTS = {"displaylogo": False, "responsive": True}
_MOST_DATA = 50_000  # bytes of JSON
_MOST_NAMED = 12  # entries of a list that is told as one setting
_MEASURES = ("dtype", "bits", "device", "seed", "versions", "seconds", "note")


@dataclass(frozen=True)
class Part:
    """A result as the report shows it: ``data`` is its JSON, ``picture`` a ``data:`` address or None."""

    title: str
    sentence: str
    figures: Sequence[go.Figure]
    data: dict
    picture: str | None = None

    @property
    def provenance(self) -> dict:
        return self.data.get("provenance") or {}


def written(
    sections: Sequence[Part], question: str, picture: str | None, when: datetime,
    expected: Sequence[tuple[str, str, str, str]] = ()
) -> str:
    """The whole page; ``question`` and ``picture`` (a ``data:`` address or None) are those of the bar. Each of
    ``expected`` is a prediction: room, what was asked, predicted, measured.
    """
    listed = "".join(f'<li><a href="#result-{i}">{escape(s.title)}</a></li>' for i, s in enumerate(sections, 1))
    asked = f"<p><b>Question on the page:</b> {escape(question)}</p>" if question.strip() else ""
    predicted = Table(["Room", "Question", "Predicted", "Measured"], expected).html()
    predicted = f'<section id="predictions"><h2>Predicted, and measured</h2>{predicted}</section>' if expected else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Crosstalk: a report</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style><script>{_plotly()}</script></head><body><main>"
        f'<header><h1>Crosstalk</h1><p class="soft">What was measured, as of {when:%d %B %Y, %H:%M %Z}</p>'
        f"{_image(picture, 'The picture on the page')}{asked}</header>"
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{listed}<li><a href="#provenance">What computed it</a></li>'
        f"</ol></nav>{predicted}{''.join(_html(i, s) for i, s in enumerate(sections, 1))}"
        f'<section id="provenance"><h2>What computed it</h2>{_sources(sections).html()}</section></main></body></html>'
    )


def _html(number: int, section: Part) -> str:
    by = section.provenance
    whose = " · ".join(f"{key} {by[key]}" for key in ("model", "checkpoint") if by.get(key))
    drawn = [f for f in section.figures if f.data]  # others say only that there is nothing to draw
    charts = (f.to_html(_CHARTS, auto_play=False, include_plotlyjs=False, full_html=False) for f in drawn)
    data = json.dumps(section.data, ensure_ascii=False, indent=1)
    if not section.data or len(data.encode()) > _MOST_DATA:
        data = ""
    return (
        f'<section id="result-{number}"><h2>{escape(section.title)}</h2><p class="soft">{escape(whose)}</p>'
        f"{_image(section.picture, 'The picture that was measured')}{_settings(section.data)}"
        f'<p class="sentence">{escape(section.sentence)}</p>{"".join(f"<figure>{c}</figure>" for c in charts)}'
        f"{data and f'<details><summary>The data, as JSON</summary><pre>{escape(data)}</pre></details>'}</section>"
    )


def _settings(data: dict) -> str:
    """What the result tells of itself in a word, a number or a few names, its question first."""
    rows = {"question": data.get("question")} | data
    told = {key: _told(value) for key, value in rows.items()}
    lines = "".join(f"<dt>{escape(k.replace('_', ' '))}</dt><dd>{escape(v)}</dd>" for k, v in told.items() if v)
    return f"<dl>{lines}</dl>" if lines else ""


def _told(value) -> str:
    """A single value in words; nothing for what is no single value, or not known."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) <= _MOST_NAMED and all(isinstance(v, str) for v in value):
        return ", ".join(filter(None, value))
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _sources(sections: Sequence[Part]) -> Table:
    """What computed each result."""
    rows = []
    for i, section in enumerate(sections, 1):
        by, how = section.provenance, []
        for key in _MEASURES:
            value = by.get(key)
            if isinstance(value, dict):
                value = ", ".join(f"{library} {version}" for library, version in value.items())
            if value not in (None, ""):
                how.append(f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}")
        whose = " · ".join(str(by[key]) for key in ("model", "checkpoint") if by.get(key))
        rows.append([Html(f'<a href="#result-{i}">{escape(section.title)}</a>'), whose, "; ".join(how)])
    return Table(["Result", "Model · checkpoint", "How"], rows)


def _image(uri: str | None, alt: str) -> str:
    return f'<img src="{escape(uri)}" alt="{escape(alt)}">' if uri else ""
