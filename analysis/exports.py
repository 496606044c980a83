"""What visitors take home: results as files, and a report of everything that was measured."""

import functools
import html
import json
import tempfile
import time
from datetime import datetime
from pathlib import Path

import gradio as gr

from analysis import page, protocol, section
from analysis.bar import Bar, open_picture
from analysis.charts import data_uri
from analysis.section import Built, Shown
from models.errors import CrosstalkError

_KEPT = 600  # seconds
_READY = "saved-file"
_CLICK = f"() => setTimeout(() => document.querySelector('#{_READY} a, #{_READY}').click(), 300)"
_SAVER = "crosstalk.saver = asked => crosstalk.order('save', asked, () => trigger('click'))"
_DIALOG = """<dialog id="report-dialog" aria-label="Report"><h3>One page of what you measured</h3>
<p>With charts that still move, to keep or to hand in.</p><div id="report-list"></div>
<p><button type="button" id="report-save" class="run">Save</button>
<button type="button" data-close>Close</button></p></dialog>"""
_NOTHING = "There is nothing to save yet: ask a question, or press the button of a section; then save again."


def build(demo: gr.Blocks, bar: Bar) -> None:
    """The report's dialog, and what hands a file to the visitor whichever section asked for it."""
    saver = gr.HTML(_DIALOG, js_on_load=_SAVER, elem_id="saver")
    ready = gr.DownloadButton(visible="hidden", elem_id=_READY)
    built = section.built(demo)

    @page.for_people
    def save(asked, path: str | None, question: str, *shown: Shown | None) -> str:
        asked = page.sent(asked)
        kind, places = str(asked.get("kind")), asked.get("places")
        places = places if isinstance(places, list) else []
        chosen = [(b, s) for b, s in zip(built, shown, strict=True) if s is not None and b.place in places]
        if not chosen:
            raise gr.Error(_NOTHING, print_exception=False)
        if kind == "report":
            listed = asked["predicted"][:100] if isinstance(asked.get("predicted"), list) else []
            whole = (row for row in listed if isinstance(row, list) and len(row) == 4)
            predicted = [tuple(str(text)[:300] for text in row) for row in whole]
            picture, parts = data_uri(open_picture(path)) if path else None, [_part(of, what) for of, what in chosen]
            text = protocol.written(parts, question or "", picture, datetime.now().astimezone(), predicted)
            return _saved("crosstalk-report.html", text)
        (of, what), *_ = chosen
        name = of.place.replace("/", "-").replace("_", "-")
        ending, text = written(kind, of, what)
        return _saved(f"crosstalk-{name}.{ending}", text)

    saved = saver.click(
        save, [saver, bar.picture, bar.question, *(b.state for b in built)], ready, concurrency_limit=2,
        js="(saver, ...others) => [crosstalk.taken('save'), ...others]", trigger_mode="always_last",
        show_progress="hidden", api_visibility="private",
    )
    saved.success(None, js=_CLICK, api_visibility="private")


def written(kind: str, of: Built, what: Shown) -> tuple[str, str]:
    """The ending and the text of a result as a file of that kind. Raises ``gr.Error`` for an unknown kind."""
    result, said = what.result, of.section.said(what)
    if kind == "csv":
        return "csv", result.to_csv()
    if kind == "json":
        return "json", json.dumps({**result.to_json(), "sentence": said}, ensure_ascii=False, indent=2)
    if kind == "latex":
        return "tex", result.to_latex()
    if kind == "html":
        drawn = [f.to_html(full_html=False, include_plotlyjs=i == 0) for i, f in enumerate(of.section.drawn(what))]
        head = "<!doctype html><meta charset='utf-8'><title>Crosstalk</title><body style='font-family: system-ui'>"
        return "html", f"{head}<h1>Crosstalk</h1><p>{html.escape(said)}</p>{''.join(drawn)}"
    if kind == "png":  # the browser draws it, of charts that it shows
        raise gr.Error("There is no chart in view here to save: unfold one, and save again.", print_exception=False)
    raise gr.Error("Files are saved as CSV, JSON, HTML or LaTeX.", print_exception=False)


def close() -> None:
    """Delete what was saved for visitors; no more can be saved."""
    _files().cleanup()


def _part(of: Built, what: Shown) -> protocol.Part:
    """One result; where what it shows can't be drawn any more, that is said in its place."""
    title = of.room.title if of.section.title == of.room.title else f"{of.room.title} · {of.section.title}"
    try:
        drawn, said = of.section.drawn(what), of.section.said(what)
        return protocol.Part(title, said, drawn, what.result.to_json(), what.uri)
    except CrosstalkError as error:
        return protocol.Part(title, str(error), (), {})


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
