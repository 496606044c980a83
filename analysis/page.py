"""What every room's page needs: the model's queue, errors for people, clickable HTML, exports, lessons."""

import errno
import functools
import html
import inspect
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import plotly.graph_objects as go
from gradio.context import Context

from analysis.result import Result
from models.devices import exhausted, freed, gpu
from models.errors import CrosstalkError, InputError

MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}
"""For every event that runs the model: one at a time on a device, in order of arrival."""

LONG_QUEUE = {"concurrency_id": "measure", "concurrency_limit": 1}
"""For what runs a model for minutes: one at a time, beside the quick ones."""

QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""For every event that only rearranges the page."""

TELLING = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
"""For quick events that may have something to tell the visitor: a message needs the queue."""

_KEPT = 600  # seconds
_NO_MEMORY = (
    "The memory does not suffice for this. Take a smaller picture, a shorter question or fewer at once, or a smaller "
    "model; then try again."
)
_NO_DISK = "The disk of this server is full, so nothing can be written. Tell its host, and try again later."
_running: dict[Future, threading.Event] = {}  # long work, and how it is told to stop

_PICK = """
element.addEventListener('click', event => {
  const target = event.target.closest('[data-pick]');
  if (!target) return;
  if (target.dataset.link) crosstalk(target.dataset.link, target.dataset.value || target.dataset.pick);
  trigger('click', {pick: target.dataset.pick});
});
"""
_EXPORTED = "_exported"  # of the page's Blocks: what it offers to save, gone with it
_CLICK = "() => setTimeout(() => document.querySelector('#{} a, #{}').click(), 300)"


def for_people(handler: Callable) -> Callable:
    """The handler, with every ``CrosstalkError``, and memory or a disk that is full, told to the visitor; the session
    goes on.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args, **kwargs):
            with _told():
                _readable([*args, *kwargs.values()])
                yield from handler(*args, **kwargs)

        return streaming

    @functools.wraps(handler)
    def plain(*args, **kwargs):
        with _told():
            _readable([*args, *kwargs.values()])
            return handler(*args, **kwargs)

    return plain


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
        return
    except CrosstalkError as error:
        message = str(error)
    except (RuntimeError, MemoryError) as error:  # outside of a forward, as in a backward pass
        if not exhausted(error):
            raise
        message = _NO_MEMORY
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = _NO_DISK
    # out of the handler, whose error holds what was computed so far
    if message == _NO_MEMORY:
        freed()
    raise gr.Error(message, print_exception=False)


def _readable(values) -> None:
    """Raise ``InputError`` where a text among a handler's arguments is no valid Unicode: nothing can be made of it."""
    for value in values:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    "A text has a broken character in it (half of a pair of surrogates), which is no valid Unicode. "
                    "Type it again."
                ) from error
        elif isinstance(value, dict):
            _readable([*value, *value.values()])
        elif isinstance(value, list):
            _readable(value)


def for_model(handler: Callable) -> Callable:
    """``for_people`` of a handler that runs a model: on ZeroGPU with a GPU lent for the call, elsewhere as it is.

    There it runs in a process of its own, from which nothing comes back but what it returns or yields, and of errors
    nothing but ``gr.Error``: so what is told to people is made inside.
    """
    return gpu(for_people(handler))


@dataclass(frozen=True)
class Progress:
    """How far a long work is: ``share`` 0 to 1, ``what`` it is at."""

    share: float = 0.0
    what: str = "starting"

    @property
    def html(self) -> str:
        """A bar with the share and what is being done."""
        return (
            f'<progress value="{self.share:.3f}" max="1"></progress> '
            f"<span>{self.share:.0%}: {html.escape(self.what)}</span>"
        )


def watched(work: Callable) -> Iterator:
    """Run ``work(progress)`` beside the page: yields ``Progress`` twice a second, then what it returns.

    ``progress(share, what)`` is for the work to call; when the visitor has left or stopped, it raises
    ``InterruptedError`` there.
    """
    left, told = threading.Event(), [Progress()]

    def progress(share: float, what: str) -> None:
        if left.is_set():
            raise InterruptedError
        told[0] = Progress(share, what)

    pool = ThreadPoolExecutor(1)
    try:
        running = pool.submit(work, progress)
        _running[running] = left
        running.add_done_callback(_running.pop)
        while not wait([running], timeout=0.5).done:
            yield told[0]
        yield running.result()
    finally:
        left.set()
        pool.shutdown(wait=False)


STOPPED = '<span class="key">Stopped. What was finished is kept: Measure goes on from there.</span>'
"""In the place of a progress bar whose run was stopped."""


def halted(shown: str | None, told: str = STOPPED):
    """What a run that failed leaves in its progress bar's place; where none is ``shown``, that stays.

    Gradio tells of a run that was stopped as failed, too, so this must not wipe what Stop has said.
    """
    return told if "<progress" in (shown or "") else gr.skip()


def close(seconds: float) -> None:
    """Tell all long work to stop, wait for it no longer than ``seconds``, and delete what was saved for visitors."""
    under_way = dict(_running)
    for left in under_way.values():
        left.set()
    wait(under_way, timeout=seconds)
    _files().cleanup()


def pickable(value: str = "", **kwargs) -> gr.HTML:
    """HTML whose elements with ``data-pick`` are clickable; the handler reads the value with ``picked``."""
    return gr.HTML(value, js_on_load=_PICK, **kwargs)


def picked(event: gr.EventData) -> str:
    """The ``data-pick`` of the clicked element."""
    return str(event._data.get("pick", ""))


def room_of(component) -> gr.Tab | None:
    """The tab that a component stands in; None where it stands in none."""
    while component is not None and not isinstance(component, gr.Tab):
        component = component.parent
    return component


def button(pick: str | int, inner: str, label: str = "", link: str = "") -> str:
    """A button for ``pickable``; ``inner`` is HTML, ``label`` is read out in its place.

    ``link`` is the name under which the choice goes into the page's address.
    """
    kept = f' data-link="{link}"' if link else ""
    aria = f' aria-label="{html.escape(label)}" title="{html.escape(label)}"' if label else ""
    return f'<button type="button" data-pick="{html.escape(str(pick))}"{kept}{aria}>{inner}</button>'


def heading(title: str, anchor: str) -> None:
    """The title of a part of a room, which ``contents`` leads to."""
    gr.HTML(f"<h3>{html.escape(title)}</h3>", elem_id=f"part-{anchor}")


def contents(parts: dict[str, str]) -> None:
    """Links to the parts of a long room: anchor and short title of each."""
    links = "".join(f'<a href="#part-{anchor}">{html.escape(title)}</a>' for anchor, title in parts.items())
    gr.HTML(f'<nav class="contents" aria-label="Parts of this room">{links}</nav>')


def tries(cards: Sequence[tuple[str, str, str]]) -> str:
    """The block of ready-made examples, for ``pickable`` and ``tried``; each (example picture or nothing, title, what
    to look for). The name of the picture goes into the page's address.
    """
    buttons = []
    for i, (name, title, why) in enumerate(cards):
        link = f' data-link="example" data-value="{html.escape(name)}"' if name else ""
        inner = f"<b>{html.escape(title)}</b><span>{html.escape(why)}</span>"
        buttons.append(f'<button type="button" data-pick="{i}"{link}>{inner}</button>')
    return f'<h3>Try this</h3><div class="tries">{"".join(buttons)}</div>'


def tried(count: int, event: gr.EventData) -> int:
    """Which of ``count`` ``tries`` was chosen; the first for a choice that is none."""
    index = picked(event)
    return int(index) if index.isdigit() and int(index) < count else 0


@dataclass(frozen=True)
class Pictured:
    """A result with the picture it is drawn on, a ``data:`` address or None: a saved page has to show it, too."""

    found: Result
    picture: str | None

    def to_csv(self) -> str:
        return self.found.to_csv()

    def to_json(self) -> dict:
        return self.found.to_json()


def lesson(room: str) -> None:
    """The room's ``lesson.md``, folded."""
    with gr.Accordion("The lesson", open=False, elem_classes="lesson"):
        gr.Markdown((Path(__file__).parent / room / "lesson.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Exported:
    """A result that can be saved: the titles of its room and of the part of it (nothing where there is none), the
    state that holds it, and, as of ``exports``, its sentence and its figures.
    """

    room: str
    part: str
    result: gr.State
    say: Callable
    draw: Callable


def exports(
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
    listed = Exported(room.label if room else "", _part_of(name, result, room), result, say, draw)
    vars(Context.root_block).setdefault(_EXPORTED, []).append(listed)
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


def exported(demo: gr.Blocks) -> list[Exported]:
    """Everything that ``exports`` offers on a page, in its order."""
    return vars(demo).get(_EXPORTED, [])


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
