"""The part of the room where a researcher measures a dual encoder, phases, or pairs of her own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import gradio as gr

from analysis import jobs, page
from analysis.embedding_space import held, own
from analysis.embedding_space.own import MOST_PAIRS
from analysis.embedding_space.pairs import Pairs
from analysis.embedding_space.project import LEAST
from models import dual_catalog, hub

STOPPED = '<span class="key">Stopped.</span>'
_FORMAT = (
    "Pairs come as one `.zip`: pictures with captions of the same name (`cat.png`, `cat.txt`; a folder is a domain), "
    'or pictures and a `.jsonl`, a line a pair: `{"image": "cat.png", "text": "a cat", "domain": "animals"}`. '
    f"{LEAST} to {MOST_PAIRS} pairs. Phases are a checkpoint set: a folder or a Hub repository with a "
    "`checkpoints.json`, as for every model here (see the README)."
)


def own_pairs(key: gr.State, offered: dict) -> list:
    """The part: what is measured becomes the space that ``key`` names. Gives the events that run the encoder."""
    gr.Markdown(_FORMAT)
    closed = hub.public()
    with gr.Row():
        model = gr.Dropdown(
            list(dual_catalog.listed()), value=dual_catalog.EMBEDDED, allow_custom_value=not closed,
            elem_id="own-model", label="Dual encoder", min_width=240,
            info="from the list" if closed else "or type a Hub id of a CLIP or SigLIP, or a folder's name",
        )  # fmt: skip
        phases = gr.Dropdown(
            [("none", ""), *((r.title, name) for name, r in offered.items())], value=next(iter(offered), ""),
            allow_custom_value=not closed, elem_id="own-phases", label="Phases", min_width=200,
            info=f"of {dual_catalog.EMBEDDED}" + ("" if closed else "; for another: a Hub id or a folder"),
        )  # fmt: skip
        file = gr.File(
            label="Your pairs: .zip (none: the drawings)", file_types=[".zip"], height=140, elem_id="own-file"
        )
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", variant="primary", elem_id="own-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="own-stop", min_width=80)
        progress = gr.HTML(elem_id="own-progress")
    run = start.click(
        page.for_people(partial(_measured, page.for_model(_space))), [model, phases, file], [progress, key],
        **page.LONG_QUEUE, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    run.failure(lambda shown: jobs.halted(shown, STOPPED), progress, progress, **page.QUICK)
    stop.click(lambda: STOPPED, None, progress, cancels=run, **page.QUICK)
    model.input(_no_phases, model, phases, **page.QUICK)
    return [run]


def _no_phases(model: str):
    """Phases of the embedded default fit no other model."""
    return gr.skip() if model in ("", dual_catalog.EMBEDDED) else ""


def _measured(measure: Callable, model: str | None, phases: str | None, file: str | None):
    """``measure`` is ``_space``, where need be on a GPU that is lent: the key and the pictures stay in this process."""
    yield jobs.Progress(0.0, "opening").html, gr.skip()
    pairs = own.opened(file) if file else None
    for found in measure(model or "", phases or "", pairs):
        if isinstance(found, jobs.Progress):
            yield found.html, gr.skip()
    yield "<span>Measured: it is shown above.</span>", held.keep(replace(found, pairs=pairs or found.pairs))


def _space(model: str, phases: str, pairs: Pairs | None):
    yield from jobs.watched(partial(held.measured, model, phases, pairs))
