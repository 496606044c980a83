"""The Attention room on the page."""

from html import escape

import gradio as gr
import numpy as np

from analysis import exports, links, page, predictions
from analysis.attention import figure, more, place, sentence
from analysis.attention.endpoint import BEGINS
from analysis.attention.measure import Attention, attend
from analysis.attention.where import MODES, look
from analysis.bar import Bar, open_picture, show
from analysis.charts import data_uri, empty, source
from models import catalog
from models.errors import InputError

TITLE, NAME = "Attention", "attention"
_LASTS = 3600  # seconds that a visitor's state is kept
_SCALES = ("share of attention", "per key token")
_MODES = {"raw": "as it is", "value_norm": "weighted by the values' norms", "rollout": "rollout through all layers"}
_HINT = "Type a question at the top, or pick one of the suggestions, then press Look."
_EXPLAINED = (
    "<b>Share</b>: of all the attention that the token gives in a layer, how much lands on each kind of token; shares "
    "add up to 100 %. <b>Per key token</b>: the same divided by the number of tokens of that kind that it may look at. "
    "The two can tell opposite stories: hundreds of image tokens can hold much of the attention, each next to nothing."
)
_TRY = (
    ("bee-and-flower", "What is at the top left?", "One word. In which layer does the answer look at the picture?"),
    (
        "ghost-at-night",
        "Describe the picture.",
        "A sentence with things that are not there. Does it look at the picture while it invents them?",
    ),
    (
        "three-penguins",
        "Which of these is in the picture? A. cat B. penguin C. car",
        "The letter is right, and hardly looks at the picture. Who looked? Cut it for all text, and see.",
    ),
    ("no-picture", "What kind of thing is a bee?", "Nothing to look at: where does the attention go then?"),
)


def build(bar: Bar) -> None:
    """The room, wired to the bar."""
    with gr.Row(elem_classes="measure"):
        token = gr.Dropdown(
            [("the one that writes the answer's first", BEGINS)], value=BEGINS, label="Token that looks",
            elem_id="attention-token", min_width=260, filterable=True,
        )  # fmt: skip
        scale = gr.Radio(list(_SCALES), value=_SCALES[0], label="Shown as", elem_id="attention-scale")
        start = gr.Button("Look", variant="primary", elem_id="attention-look", min_width=100)
    prediction = predictions.ask(
        NAME, "how does the picture's share go, from the first layer to the last?", sentence.PREDICTED
    )
    chart = gr.Plot(empty(_HINT), show_label=False, container=False, elem_id="attention-chart")
    said = gr.HTML(elem_id="attention-sentence", elem_classes="sentence")
    gr.HTML(f'<p class="key">{_EXPLAINED}</p>')
    with gr.Accordion("Self- against cross-modal attention", open=False, elem_id="attention-disparity"):
        apart = gr.Plot(empty("Nothing was measured yet", 160), show_label=False, container=False)
        gr.HTML(
            '<p class="key">A text token looks at text (self) and at the picture (cross), an image token the other way '
            "round. Disparity is |self − cross| / max(self, cross): 0 %, both get the same; 100 %, one gets all.</p>"
        )
    with gr.Accordion("Does it fade from layer to layer?", open=False, elem_id="attention-decay"):
        fading = gr.Plot(empty("Nothing was measured yet", 160), show_label=False, container=False)
        fading_said = gr.HTML(elem_id="attention-decay-sentence", elem_classes="sentence")
        gr.HTML(
            '<p class="key">All tokens of the prompt together. If a link decays exponentially, its points lie on a '
            "falling line here; γ is the factor from one layer to the next, R² says how straight the points are. "
            "Dashed: the fit.</p>"
        )
    gr.HTML("<h3>Which heads look at the picture, and where</h3>")
    with gr.Row():
        with gr.Column(min_width=300):
            heads = page.pickable(elem_id="attention-heads")
            with gr.Row():
                layer = gr.Dropdown([], label="Layer", elem_id="attention-layer", min_width=90)
                head = gr.Dropdown([], label="Head", elem_id="attention-head", min_width=90)
                spot = gr.Textbox(visible="hidden", max_length=9)  # layer and head that the visitor chose, for links
            mode = gr.Radio(
                [(_MODES[m], m) for m in MODES], value=MODES[0], label="Attention", elem_id="attention-mode"
            )
        with gr.Column(min_width=300):
            overlay = gr.Plot(
                empty("The picture, shaded by attention", 160), show_label=False, container=False,
                elem_id="attention-overlay",
            )  # fmt: skip
            words = gr.HTML(elem_id="attention-words")
    seen_said = gr.HTML(elem_id="attention-where-sentence", elem_classes="sentence")
    seen = gr.State(None, time_to_live=_LASTS)
    exports.offer(
        f"{NAME}-where", seen, lambda s: place.sentence(s.found), lambda s: [place.overlay(s.found, s.picture)]
    )
    gr.HTML("<h3>While it answers</h3>")
    writing = gr.Plot(
        empty("Attention to the picture, token by token", 160), show_label=False, container=False,
        elem_id="attention-tokens",
    )  # fmt: skip
    gr.HTML('<p class="key">Thick: the mean of all layers. Thin: each layer.</p>')
    writing_said = gr.HTML(elem_id="attention-tokens-sentence", elem_classes="sentence")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence.headline, _figures)
    prediction.compare(said, result, sentence.outcome)
    running = {**page.MODEL_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    more.build(bar, running)
    links.keep(scale=scale, attention=mode, spot=spot)
    tries = page.pickable(page.tries(_TRY), elem_id="attention-tries")
    page.lesson(NAME)

    shown = gr.State(None, time_to_live=_LASTS)
    main = [chart, said, apart, fading, fading_said, writing, writing_said, token, layer, head, result, shown, spot]
    spots = [heads, overlay, words, seen_said, seen]
    measure, where = page.for_model(_measured), [shown, result, layer, head, mode]
    inputs = [*bar.inputs, token, scale, mode, spot, shown]
    runs = [start.click(measure, inputs, [*main, *spots], **running)]
    # without bar.asked, whose change runs the Ask room first
    tried = tries.click(_try, None, bar.shown[:4], **page.QUICK)
    tried.then(None, bar.question, js="question => crosstalk('question', question)", api_visibility="private")
    runs.append(tried.then(measure, inputs, [*main, *spots], **running))
    runs.append(token.input(measure, inputs, [*main, *spots], **running))
    if room := page.room_of(chart):
        runs.append(room.select(page.for_model(_opened), inputs, [*main, *spots], **running))
    scale.input(_scaled, [result, scale], chart, **page.QUICK)
    picked = heads.click(_picked, result, [layer, head], **page.QUICK)
    looking = page.for_model(_seen)
    runs += [event(looking, where, spots, **running) for event in (picked.then, layer.input, head.input, mode.input)]
    for event in (picked.then, layer.input, head.input):
        event(None, [layer, head], spot, js="(layer, head) => `${layer},${head}`", api_visibility="private")
    bar.stop.click(None, None, None, cancels=runs, api_visibility="private")


def _opened(*inputs):
    """Measure when the room is opened, unless what it shows is what is asked."""
    model, checkpoint, path, question, *_, shown = inputs
    if (model, checkpoint, path, question) == shown or not (question or "").strip():
        return [gr.skip()] * 18
    return _measured(*inputs)


def _measured(model, checkpoint, path, question, known, token, scale, mode, spot, shown):
    """Everything about one question; token, layer and head that were chosen belong to it, and not to the next."""
    if not (question or "").strip():
        raise InputError(_HINT)
    asked = (model, checkpoint, path, question)
    chosen = None if token in (None, BEGINS) or asked != shown else token
    picture = open_picture(path) if path else None
    with catalog.using(model) as mllm:
        found = attend(mllm, picture, question, checkpoint, chosen, known)
        spot = _chosen(found, spot) if shown in (None, asked) else None  # with None it is a link's
        where = spot or _strongest(found)
        spots = _spots(mllm, asked, found, picture, *where, mode)
    kept = ",".join(map(str, spot or ()))
    return *_main(found, scale, BEGINS if chosen is None else chosen, *where), found, asked, kept, *spots


def _main(found: Attention, scale: str, token: int, layer: int, head: int) -> tuple:
    layers = gr.Dropdown([(_layer(found, i), i + 1) for i in range(found.layers)], value=layer)
    heads = gr.Dropdown(
        [("all, averaged", 0), *((str(i + 1), i + 1) for i in range(found.heads))], value=head
    )
    return (
        _scaled(found, scale),
        f"<p>{escape(sentence.headline(found))}</p>{source(found.provenance)}",
        figure.disparity(found),
        figure.decay(found),
        f"<p>{escape(sentence.decay(found))}</p>",
        figure.by_token(found),
        f"<p>{escape(sentence.by_token(found))}</p>",
        gr.Dropdown(_choices(found), value=token),
        layers,
        heads,
    )


def _strongest(found: Attention) -> tuple[int, int]:
    """Layer and head, from 1, that look at the picture most."""
    layer, head = np.unravel_index(int(found.share[:, :, 0].argmax()), found.share.shape[:2])
    return int(layer) + 1, int(head) + 1


def _layer(found: Attention, i: int) -> str:
    return f"{i + 1} ({found.layer_types[i].replace('_', ' ')})" if found.layer_types else str(i + 1)


def _choices(found: Attention) -> list[tuple[str, int]]:
    """The tokens to choose from, by what they spell; those that write the answer by what they write."""
    last = max(t.position for t in found.tokens if t.kind != "answer")  # writes the first: it is listed as that
    listed = [("the one that writes the answer's first", BEGINS)]
    for token in found.tokens:
        text = token.text.strip() or "␣"
        named = f"{token.kind}: {text}" if token.kind == "image" else f"“{text}” ({token.kind})"
        if token.position != last:
            listed.append((f"{token.position} · {named}", token.position))
    return listed


def _scaled(found: Attention | None, scale: str):
    return gr.skip() if found is None else figure.headline(found, scale == _SCALES[1])


def _figures(found: Attention) -> list:
    return [
        figure.headline(found), figure.headline(found, per_key=True), figure.disparity(found), figure.decay(found),
        figure.by_token(found),
    ]  # fmt: skip


def _spots(mllm, asked, found: Attention, picture, layer: int, head: int, mode: str) -> tuple:
    """The heat map with the chosen cell, the overlay, the words, their sentence and what is saved."""
    _, checkpoint, _, question = asked
    where = look(mllm, picture, question, found.position, found.written_ids, checkpoint, layer, head, mode)
    seen = exports.Pictured(where, data_uri(picture) if picture else None)
    chosen = (0, 0) if mode == "rollout" else (layer, head)
    heads = figure.heads(found, *chosen, by_value=mode == "value_norm")
    overlay, said = place.overlay(where, seen.picture), f"<p>{escape(place.sentence(where))}</p>"
    return heads, overlay, place.words(where), said, seen


def _picked(found: Attention | None, event: gr.EventData):
    return (found and _chosen(found, page.picked(event))) or (gr.skip(), gr.skip())


def _chosen(found: Attention, spot: str | None) -> tuple[int, int] | None:
    """Layer (from 1) and head (0: all) that ``spot`` names, as in "3,2"; None where there is no such."""
    layer, _, head = (spot or "").partition(",")
    if not (layer.isdecimal() and head.isdecimal()):
        return None
    there = 1 <= int(layer) <= found.layers and 0 <= int(head) <= found.heads
    return (int(layer), int(head)) if there else None


def _seen(asked, found: Attention | None, layer, head, mode) -> tuple:
    """Where the same token looks in another layer, head or way."""
    if found is None or layer is None or head is None:
        return (gr.skip(),) * 5
    picture = open_picture(asked[2]) if asked[2] else None
    with catalog.using(asked[0]) as mllm:
        return _spots(mllm, asked, found, picture, int(layer), int(head), mode)


def _try(event: gr.EventData):
    name, question, _ = _TRY[page.tried(len(_TRY), event)]
    return show(name, question, 0)[:4]
