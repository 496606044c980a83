"""The part of the room where a visitor searches by a picture or by words, in every phase side by side."""

from dataclasses import dataclass, field
from html import escape

import gradio as gr

from analysis import jobs, page
from analysis.bar import Bar, open_picture
from analysis.charts import data_uri
from analysis.embedding_space import held, search
from analysis.embedding_space import retrieval_figure as figure
from analysis.embedding_space.held import Key
from models.errors import InputError


@dataclass(frozen=True)
class SearchPart:
    """The words, what ``tried`` reads, what an answer fills, and the events that run the encoder."""

    words: gr.Textbox
    inputs: list
    outputs: list
    runs: list = field(default_factory=list)


def build(key: gr.State, bar: Bar) -> SearchPart:
    """The part, wired to the space that ``key`` names and to the picture at the top."""
    gr.HTML(
        '<p class="key">Words are searched among all pictures, a picture among all names. The picture is the one at '
        "the top of the page: upload your own there, or choose an example.</p>"
    )
    with gr.Row(elem_classes="measure"):
        words = gr.Textbox(
            label="Words", placeholder="a cat", max_length=500, elem_id="search-words", min_width=200, scale=3
        )
        by_words = gr.Button("Search by words", elem_id="search-by-words", min_width=140)
        by_picture = gr.Button("Search by the picture at the top", elem_id="search-by-picture", min_width=220)
    progress = gr.HTML(elem_id="search-progress")
    said = gr.HTML(elem_id="search-sentence", elem_classes="sentence")
    answers = gr.HTML(elem_id="search-answers")
    running = {**page.MODEL_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    inputs, outputs = [key, words], [progress, said, answers]
    runs = [
        gr.on([words.submit, by_words.click], page.for_model(asked), inputs, outputs, **running),
        by_picture.click(page.for_model(_seen), [key, bar.picture], outputs, **running),
    ]
    for run in runs:
        run.failure(lambda: "", None, progress, **page.QUICK)
    return SearchPart(words, inputs, outputs, runs)


def tried(key: Key | None, words: str):
    """``asked`` for an example that has words; nothing for one that has none."""
    if not words or key is None:
        yield (gr.skip(),) * 3
    else:
        yield from asked(key, words)


def asked(key: Key | None, words: str):
    """The pictures nearest to words, in every phase."""
    if key is None:
        raise InputError("There is no space yet: choose a method at the top of this room.")
    if not (words or "").strip():
        raise InputError("There are no words to search by: write some.")
    shown = held.of(key)

    def work(progress):
        with shown.opened() as encoder:
            return search.by_words(encoder, shown.space, shown.phases, words)

    for found in jobs.watched(work):
        if isinstance(found, jobs.Progress):
            yield found.html, gr.skip(), gr.skip()
    places = {place for of in found for place in of.places}
    uris = {place: data_uri(shown.pairs.picture(place), 72) for place in places}
    yield "", _told(found, f"“{words.strip()}”"), figure.answers(found, uris)


def _seen(key: Key | None, path: str | None):
    """The names nearest to the picture at the top, in every phase."""
    if key is None:
        raise InputError("There is no space yet: choose a method at the top of this room.")
    if not path:
        raise InputError("There is no picture at the top of the page: upload one there, or choose an example.")
    shown, picture = held.of(key), open_picture(path)

    def work(progress):
        with shown.opened() as encoder:
            return search.by_picture(encoder, shown.pairs, shown.phases, picture, progress)

    for found in jobs.watched(work):
        if isinstance(found, jobs.Progress):
            yield found.html, gr.skip(), gr.skip()
    yield "", _told(found, "this picture"), figure.answers(found)


def _told(found: list, query: str) -> str:
    return f"<p>{escape(figure.answers_sentence(found, query))}</p>"
