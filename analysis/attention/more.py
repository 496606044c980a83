"""The parts of the room that run only when asked: what carries the picture, what-if, checkpoints, MODA trained."""

from collections.abc import Callable
from html import escape

import gradio as gr

from analysis import exports, jobs, kept, page
from analysis.attention import across, effect, figure, probe, trained
from analysis.bar import Bar, open_picture
from analysis.charts import empty, source
from models import catalog
from models.errors import CheckpointError, InputError

_LASTS = 3600  # seconds that a visitor's state is kept
_WHO = {"the tokens that write the answer": "answering", "all text": "text"}


def build(bar: Bar, running: dict) -> None:
    """Four folded parts, wired to the bar; ``running`` are the arguments of events that run the model."""
    with gr.Accordion("Which layers carry the picture to the answer?", open=False, elem_id="attention-carry"):
        _carry(bar, running)
    with gr.Accordion("What if it attended differently?", open=False, elem_id="attention-what-if"):
        _what_if(bar, running)
    with gr.Accordion("Does forgetting change where it looks?", open=False, elem_id="attention-across"):
        _across(bar, running)
    with gr.Accordion("MODA, trained, against plain attention", open=False, elem_id="attention-moda") as folded:
        _trained(folded)


def _part(name: str, hint: str, charts: int, say: Callable, draw: Callable) -> tuple:
    """Empty charts side by side, a sentence, the result and its exports."""
    with gr.Row():
        plots = [
            gr.Plot(empty(hint, 160), show_label=False, container=False, elem_id=f"{name}-chart-{i + 1}")
            for i in range(charts)
        ]
    said = gr.HTML(elem_id=f"{name}-sentence", elem_classes="sentence")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(name, result, say, draw)
    return [*plots, said, result], result


def _told(found, text: str) -> str:
    return f"<p>{escape(text)}</p>{source(found.provenance)}"


def _asked(path, question):
    if not (question or "").strip():
        raise InputError("There is no question. Type one at the top.")
    return open_picture(path) if path else None


def _carry(bar: Bar, running: dict) -> None:
    gr.HTML(
        '<p class="key">In a window of layers, attention to the picture is cut: those tokens see the text alone there. '
        "Where the answer's probability falls, those layers carry the picture. What the question's tokens took in "
        "earlier can still reach the answer through them; cut it for all text, and that way is closed too. "
        "Solid line: nothing is cut. Dashed: cut in all layers.</p>"
    )
    with gr.Row(elem_classes="measure"):
        who = gr.Radio(list(_WHO), value=next(iter(_WHO)), label="Whose attention is cut", elem_id="carry-who")
        width = gr.Slider(
            0, 12, value=0, step=1, label="Layers cut together", info="0: a sixth of them", elem_id="carry-width",
            min_width=160,
        )  # fmt: skip
        start = gr.Button("Cut", elem_id="carry-start", min_width=80)
        stop = gr.Button("Stop", elem_id="carry-stop", min_width=80)
        progress = gr.HTML(elem_id="carry-progress")
    views, _ = _part(
        "attention-carry", "The answer's probability with layers cut, and by strength", 2, effect.carried_sentence,
        lambda found: [effect.carried(found), effect.scaled(found)],
    )  # fmt: skip
    run = start.click(page.for_model(_carried), [*bar.inputs, who, width], [progress, *views], **running)
    run.failure(lambda: "", None, progress, **page.QUICK)
    for button in (stop, bar.stop):
        button.click(lambda: "", None, progress, cancels=run, **page.QUICK)


def _carried(model, checkpoint, path, question, known, who, width):
    picture = _asked(path, question)

    def work(progress):
        with catalog.using(model) as mllm:
            return probe.carry(mllm, picture, question, checkpoint, known, int(width), _WHO[who], progress)

    for found in jobs.watched(work):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 4
    yield "", effect.carried(found), effect.scaled(found), _told(found, effect.carried_sentence(found)), found


def _what_if(bar: Bar, running: dict) -> None:
    gr.HTML(
        '<p class="key"><b>Pseudo-scores</b> (MODA, StableMask): what a token may not see yet holds a score of −(n β), '
        "n tokens after the prompt's beginning, and no value. It takes attention away and gives nothing back, so a "
        "token need not spend all of it on the little that it sees. <b>Temperature</b> above 1 spreads attention more "
        "evenly over the tokens of that kind, below 1 it sharpens it. No training: the model meets it unprepared.</p>"
    )
    with gr.Row(elem_classes="measure"):
        pseudo = gr.Checkbox(True, label="Pseudo-scores", elem_id="what-if-pseudo", min_width=120)
        beta = gr.Slider(0, 2, value=0.1, step=0.02, label="β", elem_id="what-if-beta", min_width=160)
        image = gr.Slider(
            0.25, 4, value=1, step=0.05, label="Temperature: picture", elem_id="what-if-image", min_width=160
        )
        text = gr.Slider(0.25, 4, value=1, step=0.05, label="Temperature: text", elem_id="what-if-text", min_width=160)
        start = gr.Button("Try it", elem_id="what-if-start", min_width=80)
    views, _ = _part(
        "attention-what-if", "Attention to the picture, before and after", 2, effect.what_if_sentence,
        lambda found: [effect.what_if(found), effect.what_if_links(found)],
    )  # fmt: skip
    settings = [pseudo, beta, image, text]
    run = start.click(page.for_model(_tried), [*bar.inputs, *settings], views, **running)
    bar.stop.click(None, None, None, cancels=run, api_visibility="private")


def _tried(model, checkpoint, path, question, known, pseudo, beta, image, text) -> tuple:
    picture = _asked(path, question)
    change = probe.Change(float(beta) if pseudo else None, float(image), float(text))
    with catalog.using(model) as mllm:
        found = probe.what_if(mllm, picture, question, change, checkpoint, known)
    return effect.what_if(found), effect.what_if_links(found), _told(found, effect.what_if_sentence(found)), found


def _across(bar: Bar, running: dict) -> None:
    start = gr.Button("Ask every checkpoint", elem_id="across-start", min_width=160)
    views, _ = _part(
        "attention-across", "Attention to the picture by layer, a line for each checkpoint", 1, across.sentence,
        lambda found: [_across_chart(found)],
    )  # fmt: skip
    run = start.click(page.for_model(_everyone), bar.inputs, views, **running)
    bar.stop.click(None, None, None, cancels=run, api_visibility="private")


def _everyone(model, checkpoint, path, question, known) -> tuple:
    picture = _asked(path, question)
    with catalog.using(model) as mllm:
        found = across.across(mllm, picture, question)
    return _across_chart(found), _told(found, across.sentence(found)), found


def _across_chart(found: across.Across):
    curves = {
        f"{name}: {begins.strip()}": share
        for name, begins, share in zip(found.checkpoints, found.begins, found.share, strict=True)
    }
    return figure.compared(curves, "Attention to the picture, %")


def _trained(folded: gr.Accordion) -> None:
    gr.HTML(
        '<p class="key">Two adapters for each seed, trained from the same base on the same batches: one with plain '
        "attention, one with MODA's. Questions are of the evaluation sets, the same for both. It reads what was "
        "measured before; what is missing is measured, which takes minutes.</p>"
    )
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Compare", elem_id="moda-start", min_width=120)
        stop = gr.Button("Stop", elem_id="moda-stop", min_width=80)
        progress = gr.HTML(elem_id="moda-progress")
    views, _ = _part(
        "attention-moda", "Attention and accuracy of both arms", 2, trained.sentence,
        lambda found: [effect.trained_attention(found), effect.trained_accuracy(found)],
    )  # fmt: skip
    table = gr.HTML(elem_id="moda-table")
    hidden = {**page.LONG_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    run = start.click(page.for_model(_compared), None, [progress, *views, table], **hidden)
    folded.expand(page.for_model(_before), views[-1], [*views, table], **hidden)
    run.failure(lambda: "", None, progress, **page.QUICK)
    stop.click(lambda: "", None, progress, cancels=run, **page.QUICK)


def _compared():
    for found in jobs.watched(_comparison):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 5
    yield "", *_comparing(found)


def _before(found: trained.Trained | None) -> tuple:
    """What was measured before, when the part is unfolded for the first time."""
    if found is None and trained.available():
        found = _comparison(only_kept=True)
        if found is not None:
            return _comparing(found)
    return (gr.skip(),) * 5


def _comparing(found: trained.Trained) -> tuple:
    drawn = effect.trained_attention(found), effect.trained_accuracy(found)
    return *drawn, _told(found, trained.sentence(found)), found, effect.trained_table(found)


def _comparison(progress: kept.Progress = kept.quiet, only_kept: bool = False) -> trained.Trained | None:
    if not trained.available():
        raise CheckpointError(
            f"{trained.MODEL} is not here: train it with and without MODA. Run: python -m models.embedded.moda"
        )
    with catalog.using(trained.MODEL) as mllm:
        return trained.trained(mllm, trained.sample(), progress, only_kept)
