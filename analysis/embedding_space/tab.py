"""The Embedding space room on the page: the clouds, phase by phase, and everything that hangs on them."""

from collections import Counter
from functools import lru_cache, partial
from html import escape
from pathlib import Path

import gradio as gr

from analysis import exports, jobs, links, page, predictions
from analysis.bar import Bar
from analysis.charts import data_uri, empty, source
from analysis.embedding_space import angles_view, cloud, contrast_view, held, maps, retrieval_view, search_view, shipped
from analysis.embedding_space import figure as figures
from analysis.embedding_space.held import Held, Key
from analysis.embedding_space.own_view import STOPPED, own_pairs
from analysis.embedding_space.project import Cloud, pca
from analysis.embedding_space.sentence import PREDICTED, outcome, sentence
from models.embedded.pictures import STYLES, UNSEEN_STYLE

__all__ = ["NAME", "TITLE", "build"]

TITLE, NAME = "Embedding space", "embedding_space"
_HERE = Path(__file__).parent
_LASTS = 3600  # seconds that a visitor's state is kept
_PROJECTIONS = {"PCA": "pca", "AlignedUMAP": "umap", "t-SNE": "tsne"}
_HINT = "Open this room, or choose a method: the pairs of picture and name appear here"
_KEY = (
    "● a picture, ◇ its name, coloured by domain; a line joins what belongs together. <b>Raw</b>: as the model embeds "
    "them. <b>Turned back</b>: each phase turned as a whole onto the phase before (orthogonal Procrustes). What still "
    "moves there is no rotation: it is disorder."
)
_NO_PAIR = '<div class="card quiet">Point at a mark, or choose a name, to see the picture and its text.</div>'
_ONE_MAP = (
    "This map looks at distances alone, which no rotation changes: raw and turned back are one and the same. Distances "
    "far apart, and the sizes of islands, mean nothing here; the numbers below are measured in the full space."
)
_TRY = (
    ("plain", "PCA", "", "", "Train on one domain after another",
     "Press Play. What turns in the raw cloud, and what still moves when it is turned back?"),
    ("plain", "PCA", "animals", "", "Who takes the animals' names?",
      "The contrastive matrix of animals at the end: which rows went wrong, and whose names are preferred?"),
    ("plain", "PCA", "", "sandwich", "Search for “sandwich” in every phase",
      "The same word, phase by phase: when does the sandwich leave the list?"),
    ("plain", "AlignedUMAP", "", "", "No effect: turn a map of neighbours",
     "Distances do not change when a space turns as a whole, so there is nothing to turn back here. What still "
     "moves?"),
)  # fmt: skip
"""Method, projection, domain of the matrix, words to search for, title, what to look for."""


def build(bar: Bar) -> None:
    """The room, wired to the bar's picture."""
    offered = shipped.recipes()
    first = next(iter(offered), None)
    with gr.Row(elem_classes="measure"):
        method = gr.Dropdown(
            [(r.title, name) for name, r in offered.items()], value=first, label="Trained by",
            elem_id="space-method", min_width=150, scale=2,
        )  # fmt: skip
        projection = gr.Radio(
            list(_PROJECTIONS), value="PCA", label="Drawn by", elem_id="space-projection", min_width=330, scale=4
        )
        dimensions = gr.Radio(
            ["2-D", "3-D"], value="2-D", label="Dimensions", elem_id="space-dimensions", min_width=150, scale=2
        )
        style = gr.Dropdown(
            [(f"{s}{' (never trained on)' if s == UNSEEN_STYLE else ''}", s) for s in reversed(STYLES)],
            value=UNSEEN_STYLE, label="Drawings in style", elem_id="space-style", min_width=240, scale=3,
        )  # fmt: skip
    prediction = predictions.ask(NAME, "what turns further by the last phase?", PREDICTED)
    links.keep(trained=method, drawn=projection, dimensions=dimensions, style=style)
    with gr.Row(elem_classes="measure"):
        progress = gr.HTML(elem_id="space-progress")
        stop = gr.Button("Stop", size="sm", elem_id="space-stop", min_width=80, visible=False)
    with gr.Row(equal_height=False):
        raw = gr.Plot(empty(_HINT, 300), show_label=False, container=False, elem_id="space-raw", min_width=300)
        turned = gr.Plot(
            empty("Turned back, phase onto phase", 300), show_label=False, container=False, elem_id="space-aligned",
            min_width=300,
        )  # fmt: skip
    player = gr.HTML(js_on_load=(_HERE / "player.js").read_text(encoding="utf-8"), elem_id="space-player")
    with gr.Row(equal_height=False):
        name = gr.Dropdown([], label="A pair, by its name", elem_id="space-name", min_width=220, filterable=True)
        with gr.Column(min_width=280):
            pair = gr.HTML(_NO_PAIR, elem_id="space-pair", min_height=136)
    said = gr.HTML(elem_id="space-sentence", elem_classes="sentence")
    note = gr.HTML(f'<p class="key">{_KEY}</p>', elem_id="space-note")

    key = gr.State(None, time_to_live=_LASTS)
    with gr.Accordion("Angles: what turned, and what broke", open=False, elem_id="space-angles"):
        angles = angles_view.build(key)
    with gr.Accordion("The contrastive matrix: rows that went wrong", open=False, elem_id="space-contrast") as rows:
        contrast = contrast_view.build(key)
    with gr.Accordion("Retrieval: what was lost, by method", open=False, elem_id="space-retrieval"):
        retrieval = retrieval_view.build(key)
    with gr.Accordion(
        "Search by your own picture or words, in every phase", open=False, elem_id="space-search"
    ) as searching:
        search = search_view.build(key, bar)
    with gr.Accordion("Your own CLIP, phases or pairs", open=False, elem_classes="advanced", elem_id="space-own"):
        own = own_pairs(key, offered)
    exports.offer(NAME, key, _said, _figures)
    prediction.compare(said, key, lambda key: outcome(held.of(key).space))
    tries = page.pickable(page.tries([("", title, why) for *_, title, why in _TRY]), elem_id="space-tries")
    page.lesson(NAME)

    running = {**page.LONG_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    drawing = {**running, "concurrency_id": "maps", "concurrency_limit": 2}
    busy = [progress, stop]
    choose, inputs = page.for_model(_chosen), [method, style]
    runs = [part.input(choose, inputs, [*busy, key], **running) for part in (method, style)]
    if room := page.room_of(raw):
        runs.append(room.select(page.for_model(_opened), [key, *inputs], [*busy, key], **running))
    settings = [method, projection, contrast.domain, search.words, rows, searching]
    tried = tries.click(_try, None, settings, **page.QUICK)
    runs.append(tried.then(choose, inputs, [*busy, key], **running))
    found = runs[-1].success(page.for_people(contrast.refresh), contrast.inputs, contrast.outputs, **page.QUICK)
    search.runs.append(found.then(page.for_model(search_view.tried), search.inputs, search.outputs, **running))
    views = [*busy, raw, turned, player, said, note]
    draw, wanted = page.for_people(_drawn), [key, projection, dimensions]
    draws = [key.change(draw, wanted, views, **drawing)]
    draws += [part.input(draw, wanted, views, **drawing) for part in (projection, dimensions)]
    draws.append(tried.then(draw, wanted, views, **drawing))
    for run in (*runs, *draws):
        run.failure(lambda shown: _stopped(jobs.halted(shown, STOPPED)), progress, busy, **page.QUICK)
    key.change(page.for_people(_names), key, [name, pair], **page.QUICK)
    for part in (angles, contrast, retrieval):
        key.change(page.for_people(part.refresh), part.inputs, part.outputs, **page.QUICK)
    picked = player.click(_picked, key, name, **page.QUICK)
    shown = page.for_people(_pair)
    picked.then(shown, [key, name], pair, **page.QUICK)
    name.input(shown, [key, name], pair, **page.QUICK).then(
        None, name, js="pair => window.crosstalkPair && window.crosstalkPair(pair)", api_visibility="private"
    )
    stop.click(_stopped, None, busy, cancels=[*runs, *draws], **page.QUICK)
    bar.stop.click(_stopped, None, busy, cancels=[*runs, *draws, *search.runs, *own], **page.QUICK)


def _stopped(told=STOPPED) -> tuple:
    return told, gr.Button(visible=False)


def _opened(key: Key | None, method: str, style: str):
    """The first space, when the room is opened for the first time."""
    if key is not None or not method:
        yield gr.skip(), gr.skip(), gr.skip()
        return
    yield from _chosen(method, style)


def _chosen(method: str, style: str):
    """A space of the embedded default; measured, with progress, where nobody has yet."""
    wanted = Key(method or "", style or UNSEEN_STYLE)
    for found in jobs.watched(partial(held.of, wanted)):
        if isinstance(found, jobs.Progress):
            yield found.html, gr.Button(visible=True), gr.skip()
    yield "", gr.Button(visible=False), wanted


def _drawn(key: Key | None, projection: str, dimensions: str):
    """Both clouds, the player, the sentence and what the picture holds; with progress where a map must be made."""
    if key is None:
        yield (gr.skip(),) * 7
        return
    shown, count, method = held.of(key), int(dimensions[0]), _PROJECTIONS[projection]
    for found in jobs.watched(partial(_clouds, shown, method, count)):
        if isinstance(found, jobs.Progress):
            yield found.html, gr.Button(visible=True), *[gr.skip()] * 5
    yield "", gr.Button(visible=False), *_views(key, shown, found)


def _clouds(shown: Held, method: str, dimensions: int, progress) -> tuple[Cloud, ...]:
    """Raw and aligned by PCA; one map where distances alone count."""
    space = shown.space
    if method == "pca":
        return pca(space.images, space.words, dimensions)
    return (maps.embedded(space.images, space.words, method, dimensions, progress),)


def _views(key: Key, shown: Held, clouds: tuple[Cloud, ...]) -> tuple:
    plots = _plots(key, shown, clouds, cloud.draw)
    second = gr.Plot(plots[1], visible=True) if len(plots) > 1 else gr.Plot(visible=False)
    told = f"<p>{escape(sentence(shown.space))}</p>{source(shown.space.provenance)}"
    more = _ONE_MAP if len(plots) == 1 else escape(cloud.held(clouds[1], shown.space.phases))
    about = _about(shown.space.method)
    return plots[0], second, _player(key, shown), told, f'{about}<p class="key">{_KEY}</p><p class="key">{more}</p>'


def _about(method: str) -> str:
    """What a method of the embedded default is."""
    recipe = shipped.recipes().get(method)
    return f'<p class="key"><b>{escape(recipe.title)}</b>: {escape(recipe.about)}.</p>' if recipe else ""


def _plots(key: Key, shown: Held, clouds: tuple[Cloud, ...], draw) -> list:
    span = cloud.spans(*clouds)
    whose = shown.pairs.name if key.own else shipped.recipe(key.method).title
    seen_as = ("Raw", "Turned back") if len(clouds) > 1 else (maps.METHODS[clouds[0].method],)
    titles = [f"{seen}, {whose}" for seen in seen_as]
    return [draw(shown.space, seen, span, title) for seen, title in zip(clouds, titles, strict=True)]


def _player(key: Key, shown: Held) -> str:
    """Play button, slider over phases and the switch of lines, for ``player.js``; another text for another space."""
    phases, token = shown.space.phases, escape(" ".join((key.method, key.style, key.own)))
    joined = " checked" if cloud.joined(len(shown.space.shown)) else ""
    return (
        f'<div class="player" data-space="{token}"><button type="button" data-play>▶ Play</button><label>Phase '
        f'<input type="range" min="0" max="{len(phases) - 1}" value="0" step="1" aria-label="Phase" '
        f'aria-valuetext="{escape(phases[0])}"></label>'
        f'<output>{escape(phases[0])}</output><label><input type="checkbox" data-join{joined}> join true pairs</label>'
        '<div class="pointed" aria-hidden="true" hidden></div></div>'
    )


def _names(key: Key | None) -> tuple:
    """The pairs shown, by name; those that share a name by their number too."""
    if key is None:
        return gr.Dropdown([], value=None), _NO_PAIR
    space = held.of(key).space
    texts = [space.texts[i] for i in space.shown]
    often = Counter(texts)
    choices = [(f"{text} ({i + 1})" if often[text] > 1 else text, i) for i, text in enumerate(texts)]
    return gr.Dropdown(choices, value=None), _NO_PAIR


def _picked(key: Key | None, event: gr.EventData):
    place = page.picked(event)
    if key is None or not place.isdigit() or int(place) >= len(held.of(key).space.shown):
        return gr.skip()
    return int(place)


def _pair(key: Key | None, place: int | None) -> str:
    """A pair's picture and text, and where its own text ranks, phase by phase."""
    if key is None or place is None:
        return _NO_PAIR
    shown = held.of(key)
    at = int(shown.space.shown[int(place)])
    ranks = " → ".join(f"{rank}" for rank in shown.space.ranks["i2t"][:, at])
    return (
        f'<ul class="items"><li><img src="{_uri(key, at)}" alt=""><div><p><b>{escape(shown.space.texts[at])}</b> '
        f'<span class="kind">{escape(shown.space.domains[at])}</span></p><p><small>rank of its text among all '
        f"{len(set(shown.space.texts))}, phase by phase</small> {ranks}</p></div></li></ul>"
    )


@lru_cache(maxsize=512)
def _uri(key: Key, place: int) -> str:
    return data_uri(held.of(key).pairs.picture(place), 160)


def _said(key: Key) -> str:
    return sentence(held.of(key).space)


def _figures(key: Key) -> list:
    shown = held.of(key)
    clouds = pca(shown.space.images, shown.space.words)
    angles = [figures.angles(shown.space, kind) for kind in figures.ANGLES]
    plots = _plots(key, shown, clouds, cloud.animated)
    return [*plots, *angles, contrast_view.chart(key), *retrieval_view.charts(key)]


def _try(event: gr.EventData):
    """Settings of an example: method, projection, the domain of the matrix, words to search for, and what to unfold."""
    method, projection, domain, words, *_ = _TRY[page.tried(len(_TRY), event)]
    unfolded = [gr.Accordion(open=True) if part else gr.skip() for part in (domain, words)]
    return method, projection, domain or gr.skip(), words, *unfolded
