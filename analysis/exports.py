"""What visitors take home: results as files, and everything that a page offers to save."""

import functools
import html
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import plotly.graph_objects as go
from gradio.context import Context

from analysis.page import QUICK, for_people, noted, room_of
from analysis.result import Result

_KEPT = 600  # seconds
_CLICK = "() => setTimeout(() => document.querySelector('#{} a, #{}').click(), 300)"
_KIND = "exports"


@dataclass(frozen=True)
class Pictured:
    """A result with the picture it is drawn on, a ``data:`` address or None: a saved page has to show it, too."""

    found: Result
    picture: str | None

    def to_csv(self) -> str:
        return self.found.to_csv()

    def to_json(self) -> dict:
        return self.found.to_json()


@dataclass(frozen=True)
class Export:
    """A result that can be saved: the titles of its room and of the part of it (nothing where there is none), the
    state that holds it, and, as of ``offer``, its sentence and its figures.
    """

    room: str
    part: str
    result: gr.State
    say: Callable
    draw: Callable


def offer(
    name: str, result: gr.State, say: Callable, draw: Callable, more: Mapping[str, tuple[str, Callable]] | None = None
) -> None:
    """Buttons that save the current result as CSV, JSON, or a page that works without a network.

    ``say(result)`` is its sentence, ``draw(result)`` the list of its Plotly figures; ``more`` are further kinds of
    file, by the button's text: (ending, function from the result to the file's text).
    """
    writers = {
        "CSV": ("csv", lambda found: found.to_csv()),
        "JSON": (
            "json",
            lambda found: json.dumps({**found.to_json(), "sentence": say(found)}, ensure_ascii=False, indent=2),
        ),
        "HTML": ("html", lambda found: _page(say(found), draw(found))),
        **(more or {}),
    }
    room = room_of(result)
    listed = Export(room.label if room else "", _part_of(name, result, room), result, say, draw)
    noted(Context.root_block, _KIND).append(listed)
    with gr.Row(elem_classes="exports"):
        gr.HTML("<span>Save as</span>")
        for kind, (ending, write) in writers.items():
            asked = gr.Button(kind, size="sm", variant="secondary", elem_id=f"{name}-{kind.lower()}", min_width=64)

            def text(found, write=write) -> str:
                if found is None:
                    raise gr.Error("There is nothing to save yet.", print_exception=False)
                return write(found)

            saves(asked, f"crosstalk-{name}.{ending}", result, text, **QUICK)
        gr.HTML("<span>PNG: the camera on a chart</span>")


def offered(demo: gr.Blocks) -> list[Export]:
    """Everything that a page offers to save, in its order."""
    return list(noted(demo, _KIND))


def _part_of(name: str, result: gr.State, room: gr.Tab | None) -> str:
    """The title of the folded part that a result stands in, or else of the heading that it stands below; nothing for
    the room's own.
    """
    if room is None or room.id == name:
        return ""
    part = result.parent
    while not isinstance(part, gr.Accordion | gr.Tab):
        part = part.parent
    if isinstance(part, gr.Accordion):
        return part.label
    above = [b.value for b in room.children if isinstance(b, gr.HTML) and str(b.value).endswith("</h3>")]
    return html.unescape(above[-1].removeprefix("<h3>").removesuffix("</h3>")) if above else ""


def saves(asked: gr.Button, name: str, inputs: gr.State | list, write: Callable[..., str], **event) -> None:
    """A click on ``asked`` hands the visitor a file called ``name`` with the text ``write(*inputs)``; ``event`` are
    further arguments of the click.
    """
    file = f"{asked.elem_id}-file"
    ready = gr.DownloadButton(visible="hidden", elem_id=file)

    @for_people
    def save(*found) -> str:
        return _saved(name, write(*found))

    saved = asked.click(save, inputs, ready, **event)
    saved.success(None, js=_CLICK.replace("{}", file), api_visibility="private")


def close() -> None:
    """Delete what was saved for visitors; no more can be saved."""
    _files().cleanup()


@functools.cache
def _files() -> tempfile.TemporaryDirectory:
    """Where files for visitors go. Made with the first one, in what is then the folder for temporary files: Gradio
    passes on those of no other.
    """
    return tempfile.TemporaryDirectory(prefix="crosstalk-")


def _saved(name: str, text: str) -> str:
    """Path of a new file called ``name``; those of earlier visitors are deleted, Gradio has its own copy."""
    for old in Path(_files().name).glob("*/*"):
        if time.time() - old.stat().st_mtime > _KEPT:
            old.unlink(missing_ok=True)
    file = Path(tempfile.mkdtemp(dir=_files().name)) / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def _page(sentence: str, figures: list[go.Figure]) -> str:
    parts = [f.to_html(full_html=False, include_plotlyjs=i == 0) for i, f in enumerate(figures)]
    head = "<!doctype html><meta charset='utf-8'><title>Crosstalk</title><body style='font-family: system-ui'>"
    return f"{head}<h1>Crosstalk</h1><p>{html.escape(sentence)}</p>{''.join(parts)}"
