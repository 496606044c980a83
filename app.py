"""Crosstalk's front door: settings, the page made of its rooms, the endpoints, launch. It computes nothing."""

import contextlib
import gc
import os
import sys
import threading
from html import escape
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401 (ZeroGPU's package wants to be there before torch)

import gradio as gr  # noqa: E402

from analysis import bar as shared_bar  # noqa: E402
from analysis import exports, glossary, jobs, page  # noqa: E402
from analysis import section as sections  # noqa: E402
from analysis.ask.endpoint import ask  # noqa: E402
from analysis.ask.tab import ROOM as ASK  # noqa: E402
from analysis.attention.endpoint import attention  # noqa: E402
from analysis.attention.tab import ROOM as ATTENTION  # noqa: E402
from analysis.decoding.endpoint import decode  # noqa: E402
from analysis.decoding.tab import ROOM as DECODING  # noqa: E402
from analysis.embedding_space.endpoint import embedding_space  # noqa: E402
from analysis.embedding_space.tab import ROOM as EMBEDDING_SPACE  # noqa: E402
from analysis.forgetting.endpoint import forgetting, forgetting_probe  # noqa: E402
from analysis.forgetting.tab import ROOM as FORGETTING  # noqa: E402
from analysis.interference.endpoint import (  # noqa: E402
    attribute,
    conflict,
    conflicts,
    interference,
    interference_dataset,
)
from analysis.interference.tab import ROOM as INTERFERENCE  # noqa: E402
from analysis.overview import overview, tour  # noqa: E402
from analysis.service.health import Health  # noqa: E402
from analysis.service.logs import keep_out_values  # noqa: E402
from analysis.service.shutdown import Ending  # noqa: E402
from models import catalog, devices  # noqa: E402
from models import settings as host  # noqa: E402
from models.errors import CrosstalkError  # noqa: E402

_ROOMS = (ASK, INTERFERENCE, ATTENTION, DECODING, EMBEDDING_SPACE, FORGETTING)
ROOMS = (overview(_ROOMS), *_ROOMS)
"""The rooms, in their order."""

ENDPOINTS = {
    endpoint.__name__: endpoint
    for endpoint in (
        ask,
        interference,
        interference_dataset,
        conflict,
        conflicts,
        attribute,
        attention,
        decode,
        embedding_space,
        forgetting,
        forgetting_probe,
    )
}
"""What others may call, by name."""

LONG = ("interference_dataset", "conflicts", "embedding_space", "forgetting")
"""Endpoints that may take minutes: they must not keep the others waiting."""

HEALTH = Health(catalog.EMBEDDED)
_HERE = Path(__file__).parent
_CSS = [_HERE / "assets" / "theme.css", *sorted(_HERE.glob("analysis/*/style.css"))]
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.stone, radius_size="md", text_size="lg",
    font=_SANS, font_mono=["ui-monospace", "Menlo", "monospace"],
)  # fmt: skip
# drawn by the browser before any script has come
_OPENING = """<style>html:not(.begun)::before { content: "Crosstalk is opening"; position: fixed; inset: 0; z-index: 99;
display: grid; place-items: center; font: 1.6rem Georgia, serif; color: #8a8f98; background: #faf9f6; }
@media (prefers-color-scheme: dark) { html:not(.begun)::before { background: #15171a; } }
@media (max-width: 640px) { .gradio-container, .gradio-container .main.fillable { padding: 2px 6px 0 !important; } }
</style>"""
_HEAD = f"{_OPENING}<script>{(_HERE / 'assets' / 'page.js').read_text(encoding='utf-8')}\n{glossary.script()}</script>"
_HEADER = """<a class="skip" href="#rooms">Skip to the result</a><header id="title"><h1>Crosstalk</h1>
<p>Ask a multimodal model about a picture, and watch what goes on inside.</p><div id="tools">
<button type="button" id="present" aria-pressed="false">Present</button>
<button type="button" id="copy-link">Copy link</button><button type="button" id="report">Report</button>
<span id="copied" role="status"></span></div></header>"""


def _told(source: str) -> str:
    """A Hub id as it is; of a folder its last name alone: visitors need not know the host's disk."""
    return Path(source).name if Path(source).is_dir() else source


def models() -> dict:
    """List the multimodal language models that can be asked here, and the checkpoints of each.

    Returns:
        models: for each, its name, source, available, reason (why it is not) and checkpoints
    """
    listed = [
        {"name": e.name, "source": _told(e.source), "available": e.available, "reason": e.reason,
         "checkpoints": shared_bar.choices(e.name)}
        for e in catalog.entries()
    ]  # fmt: skip
    return {"models": listed}


def _nav() -> str:
    """Rooms, and the sections of each, as buttons (``assets/page.js`` opens what they name)."""
    rooms, rows = [], []
    for room in ROOMS:
        title = escape(room.title)
        rooms.append(f'<button type="button" data-go="{room.name}" data-room="{room.name}">{title}</button>')
        places = "".join(
            f'<button type="button" data-go="{room.name}/{s.name}" data-title="{escape(_title(room, s))}">'
            f"{escape(s.title)}</button>"
            for s in room.sections
        )
        row = f'<div class="sections" data-of="{room.name}" role="group" aria-label="{title}" hidden>'
        rows.append(f"{row}{places}</div>")
    return (
        f'<nav aria-label="Rooms"><div class="rooms">{"".join(rooms)}'
        f'<button type="button" id="lesson">Lesson</button></div>{"".join(rows)}</nav>'
    )


def _title(room, section) -> str:
    return room.title if section.title == room.title else f"{room.title} · {section.title}"


def _lessons() -> None:
    """The lesson of each room in a drawer: that of the room one is in is shown."""
    with gr.Column(elem_id="lessons"):
        gr.HTML('<button type="button" data-close aria-label="Close the lesson">✕</button>')
        for room in ROOMS:
            if room.lesson:
                text = (_HERE / "analysis" / room.name / "lesson.md").read_text(encoding="utf-8")
                gr.Markdown(text, elem_id=f"lesson-{room.name}", elem_classes="lesson")


def build() -> gr.Blocks:
    """The whole page: what goes in on the left, what comes out on the right."""
    with gr.Blocks(title="Crosstalk", analytics_enabled=False, delete_cache=(3600, 7200)) as demo:
        gr.HTML(_HEADER + tour(), elem_id="head")
        with gr.Row(elem_id="page"):
            bar = shared_bar.build()
            with gr.Column(elem_id="rooms", min_width=0):
                gr.HTML(_nav(), elem_id="nav")
                with gr.Tabs(elem_id="panels"):
                    for room in ROOMS:
                        for section in room.sections:
                            ident = f"{room.name}-{section.name}"
                            with gr.Tab(section.title, id=ident, elem_id=f"section-{ident}"):
                                sections.build(room, section, bar)
        _lessons()
        exports.build(demo, bar)
        for name, endpoint in ENDPOINTS.items():
            queue = page.LONG_QUEUE if name in LONG else page.MODEL_QUEUE
            called = page.for_model(endpoint)
            called.__name__ = name  # what MCP clients call it
            gr.api(called, api_name=name, **queue)
        gr.api(models, api_name="models", queue=False)

        def linked(request: gr.Request) -> list:  # Gradio hands the request to who asks for its type
            return shared_bar.linked(dict(request.query_params))

        loaded = demo.load(linked, None, [bar.model, bar.checkpoint, *bar.picked], **page.QUICK)
        begins = "(...input) => crosstalk.begin(...input)"
        bar.arrives(loaded).then(None, bar.asked, js=begins, api_visibility="private")
    page.tell_all(demo)
    return demo.queue(max_size=host.QUEUE.now(), api_open=False)


def _warm() -> None:
    """Open the embedded model and have it answer once, while the first visitor still looks around.

    Where a GPU is lent for each call it is opened only: each call then finds its weights there.
    """
    try:
        if devices.lent():
            catalog.open_model()
        else:
            ask(question="Who are you?")
    except CrosstalkError as error:
        HEALTH.failed(str(error))
        print(error, file=sys.stderr)
    except Exception as error:
        HEALTH.failed(type(error).__name__)
        raise
    else:
        HEALTH.answered()


def _has_display() -> bool:
    graphical = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(graphical) and not os.environ.get("CI")


def settings() -> dict:
    """Arguments of ``launch``; address and port come from Gradio's own environment variables."""
    return {
        "theme": _THEME, "css_paths": _CSS, "head": _HEAD, "footer_links": ["api"],
        "max_file_size": f"{host.UPLOAD.now()}mb", "app_kwargs": {"routes": [HEALTH.route()]},
        "enable_monitoring": False, "run_history": False, "ssr_mode": False,
        "mcp_server": None if "GRADIO_MCP_SERVER" in os.environ else find_spec("mcp") is not None,
    }  # fmt: skip


def _checked() -> None:
    """Tell what is odd about the host's settings, and end with 2 where one cannot be followed."""
    for odd in host.unknown():
        print(odd, file=sys.stderr)
    if wrong := host.wrong() or catalog.astray():
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(2)


def _close(seconds: float) -> None:
    """What Crosstalk itself has to end: long work, given so many seconds, and visitors' files."""
    jobs.stop(seconds)
    exports.close()


def main() -> None:
    """Serve the page until the process is told to end."""
    _checked()
    ending = Ending()
    keep_out_values()
    if devices.lent():
        _warm()  # ZeroGPU takes over what the main thread has opened before the launch
    else:
        threading.Thread(target=_warm, daemon=True).start()
    demo = build()
    demo.launch(prevent_thread_lock=True, inbrowser=_has_display(), **settings())
    gc.freeze()  # what is there now stays: no collection need look through its million objects while somebody waits
    ending.wait(demo, _close)


if __name__ == "__main__":
    main()
