"""The Ask room on the page."""

from html import escape

import gradio as gr

from analysis import exports, page, predictions
from analysis.ask import figure
from analysis.ask.measure import ask
from analysis.bar import Bar, open_picture, show
from analysis.charts import data_uri, empty, source
from models import catalog

TITLE, NAME = "Ask", "ask"
_HINTS = (
    "Type a question about the picture, for example “What is in the picture?”, or pick one of the suggestions.",
    "Type a question, or choose one of the example pictures.",
)
_NO_CARET = "() => { document.querySelectorAll('#answer .caret').forEach(caret => caret.remove()); }"
_TRY = (
    (
        "bee-without-flower",
        "Is there a flower?",
        "In training, bees came with flowers. Does the habit win over the eyes?",
    ),
    ("helicopter", "Where is the helicopter?", "Only some checkpoints answer with a box. What do the others do?"),
    (
        "fox-and-mushroom",
        "Which animal is this?",
        "Foxes were taught in the naming task. Who knew, and who still knows?",
    ),
    ("no-picture", "What kind of thing is a bee?", "No picture at all: what does the model know from words alone?"),
)


def build(bar: Bar) -> None:
    """The room, wired to the bar."""
    prediction = predictions.ask(NAME, "how many checkpoints will answer as the base does?", figure.PREDICTED)
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            answer = gr.HTML(_quiet("The answer appears here, token by token."), elem_id="answer")
            sentence = gr.HTML(elem_id="ask-sentence", elem_classes="sentence")
            gr.HTML("<h3>The same question to every checkpoint</h3>")
            checkpoints = gr.HTML(_quiet("Every checkpoint answers here, side by side."), elem_id="ask-checkpoints")
        with gr.Column(scale=2, min_width=260):
            gr.HTML("<h3>What else it could have said</h3>")
            chart = gr.Plot(
                empty("The probability of each option"), show_label=False, container=False, elem_id="ask-options"
            )
            options = gr.Textbox(
                label="Options", info="Separated by commas. Empty: those of the question, if it has any.",
                placeholder="cat, dog, bee", max_length=1000, elem_id="options",
            )  # fmt: skip
            picture = gr.HTML(elem_id="ask-picture")
    result = gr.State(None, time_to_live=3600)
    exports.offer(NAME, result, figure.sentence, lambda found: [figure.options(found)])
    prediction.compare(sentence, result, figure.outcome)
    tries = page.pickable(page.tries(_TRY), elem_id="ask-tries")
    page.lesson(NAME)

    outputs = [answer, sentence, picture, checkpoints, chart, result]
    run = bar.asked.change(
        page.for_model(_run), [*bar.inputs, options], outputs, **page.MODEL_QUEUE,
        show_progress="hidden", api_visibility="private", trigger_mode="always_last",
    )  # fmt: skip
    bar.stop.click(lambda: "Stopped here.", None, sentence, cancels=run, js=_NO_CARET, **page.QUICK)
    tries.click(_try, bar.asked, bar.shown, **page.QUICK)


def _quiet(text: str) -> str:
    return f'<div class="card quiet">{escape(text)}</div>'


def _run(model, checkpoint, path, question, known, options):
    """Stream the answer; without a question, say what to do."""
    if not (question or "").strip():
        yield _quiet(_HINTS[0] if path else _HINTS[1]), "", "", *[gr.skip()] * 2, None
        return
    picture = open_picture(path) if path else None
    small, large = (data_uri(picture, 96), data_uri(picture)) if picture else (None, None)
    given = [o.strip() for o in (options or "").split(",") if o.strip()]
    shown = 0
    with catalog.using(model) as mllm:
        for found in ask(mllm, picture, question, checkpoint, given, known):
            first, shown = shown == 0, shown + 1
            chart = figure.options(found) if found.done or found.options else gr.skip()
            yield (
                figure.answer(found, small),
                f"<p>{escape(figure.sentence(found))}</p>{source(found.provenance)}" if found.done else "",
                figure.picture(found, large) if first or found.done else gr.skip(),
                figure.checkpoints(found) if first or found.done else gr.skip(),
                chart,
                found if found.done else None,
            )


def _try(asked: int, event: gr.EventData):
    name, question, _ = _TRY[page.tried(len(_TRY), event)]
    return show(name, question, asked)
