"""Crosstalk's front door: settings, the page made of its rooms, the endpoints, launch. It computes nothing."""

import contextlib
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401 (ZeroGPU's package wants to be there before torch)

import gradio as gr  # noqa: E402

from analysis import bar as shared_bar  # noqa: E402
from analysis import exports, glossary, jobs, links, page, protocol  # noqa: E402
from analysis.ask import tab as ask_room  # noqa: E402
from analysis.ask.endpoint import ask  # noqa: E402
from analysis.attention import tab as attention_room  # noqa: E402
from analysis.attention.endpoint import attention  # noqa: E402
from analysis.attribution.endpoint import attribute  # noqa: E402
from analysis.decoding import tab as decoding_room  # noqa: E402
from analysis.decoding.endpoint import decode  # noqa: E402
from analysis.embedding_space import tab as space_room  # noqa: E402
from analysis.embedding_space.endpoint import embedding_space  # noqa: E402
from analysis.forgetting import tab as forgetting_room  # noqa: E402
from analysis.forgetting.endpoint import forgetting, forgetting_probe  # noqa: E402
from analysis.interference import tab as interference_room  # noqa: E402
from analysis.interference.endpoint import conflict, conflicts, interference, interference_dataset  # noqa: E402
from analysis.service.health import Health  # noqa: E402
from analysis.service.logs import keep_out_values  # noqa: E402
from analysis.service.shutdown import Ending  # noqa: E402
from analysis.start import tab as start_room  # noqa: E402
from models import catalog, devices  # noqa: E402
from models import settings as host  # noqa: E402
from models.errors import CrosstalkError  # noqa: E402

ROOMS = (start_room, ask_room, interference_room, attention_room, decoding_room, space_room, forgetting_room)
"""The tabs, in their order."""

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
_HEAD = f"<script>{(_HERE / 'assets' / 'page.js').read_text(encoding='utf-8')}\n{glossary.script()}</script>"
_TITLE = """<header id="title"><h1>Crosstalk</h1>
<p>Ask a multimodal model about a picture, and watch what goes on inside.</p>
</header>"""


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


def _linked(demo: gr.Blocks, asked: int, request: gr.Request) -> list:
    """What a link asks for: ``?tab=&model=&checkpoint=&example=&question=`` and the rooms' settings.

    Unknown values are ignored.
    """
    wanted = dict(request.query_params)
    names = [e.name for e in catalog.entries() if e.available]
    model = wanted.get("model") if wanted.get("model") in names else catalog.EMBEDDED
    checkpoints = shared_bar.choices(model)
    checkpoint = wanted.get("checkpoint") if wanted.get("checkpoint") in checkpoints else "base"
    examples = shared_bar.examples()
    example = wanted.get("example") if wanted.get("example") in examples else next(iter(examples))
    tab = wanted.get("tab")
    if tab not in [room.NAME for room in ROOMS]:  # who links to an example or a question means its answer
        tab = (ask_room if wanted.keys() & {"example", "question", "checkpoint"} else start_room).NAME
    shown = shared_bar.show(example, (wanted.get("question") or "")[:500], asked)
    return [
        gr.Tabs(selected=tab), model, gr.Dropdown(checkpoints, value=checkpoint), *shown,
        *links.restored(demo, wanted),
    ]  # fmt: skip


def _tools() -> gr.Button:
    """What concerns the whole page, at its top right. Gives the button that saves a report."""
    with gr.Row(elem_id="tools"):
        gr.Button("Present", size="sm", elem_id="present", min_width=90).click(
            None, js="() => crosstalk.present(!crosstalk.presenting())", api_visibility="private"
        )
        gr.Button("Copy link", size="sm", elem_id="copy-link", min_width=90).click(
            None, js="() => crosstalk.copy()", api_visibility="private"
        )
        report = protocol.button()
        gr.HTML('<span id="copied" role="status"></span>')
    return report


def build() -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title="Crosstalk", analytics_enabled=False, delete_cache=(3600, 7200)) as demo:
        with gr.Row(elem_id="head"):
            gr.HTML(_TITLE)
            report = _tools()
        bar = shared_bar.build()
        with gr.Tabs(elem_id="rooms") as tabs:
            for room in ROOMS:
                with gr.Tab(room.TITLE, id=room.NAME, elem_id=f"room-{room.NAME}") as tab:
                    # first: listeners run one after another, each to its end
                    tab.select(None, js=f"() => crosstalk('tab', '{room.NAME}')", api_visibility="private")
                    made = room.build(bar)
                    if room is start_room:
                        made.click(start_room.chosen, None, tabs, **page.QUICK)
        protocol.build(demo, bar, report)
        for name, endpoint in ENDPOINTS.items():
            queue = page.LONG_QUEUE if name in LONG else page.MODEL_QUEUE
            called = page.for_model(endpoint)
            called.__name__ = name  # what MCP clients call it
            gr.api(called, api_name=name, **queue)
        gr.api(models, api_name="models", queue=False)
        for key, part in (("model", bar.model), ("checkpoint", bar.checkpoint)):
            part.change(None, part, js=f"value => crosstalk('{key}', value)", api_visibility="private")
        to_ask = [bar.question.submit, bar.ask.click]
        gr.on(to_ask, lambda: gr.Tabs(selected=ask_room.NAME), None, tabs, **page.QUICK)
        restored = [tabs, bar.model, bar.checkpoint, *bar.shown, *links.kept(demo)]

        def linked(asked: int, request: gr.Request) -> list:  # Gradio hands the request to who asks for its type
            return _linked(demo, asked, request)

        loaded = demo.load(linked, bar.asked, restored, **page.QUICK)
        for again in links.again(demo):
            loaded = loaded.then(**again)
        loaded.then(None, js="() => { crosstalk.ready = true; }", api_visibility="private")
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
    ending.wait(demo, _close)


if __name__ == "__main__":
    main()
