"""The sections that show a map: of the embedded default's trainings beside each other, and of a visitor's own space."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from html import escape

import gradio as gr
import numpy as np

from analysis.embedding_space import maps, runs, spaces
from analysis.embedding_space.figure import LINES, animated, draw, names, spans
from analysis.embedding_space.pairs import MOST_PAIRS
from analysis.embedding_space.result import sentence
from analysis.embedding_space.spaces import GO, PLAIN, Key, Spaces, Whole, loaded, noted, phase_of, place_of, uri
from analysis.form import DRAW, Control, One, Words
from analysis.section import SET, Asked, Section, Shown, Try, Upload, View
from models import dual_catalog, hub

MANY = 600  # pairs above which lines hide everything
_PROJECTIONS = {"PCA": "pca", "AlignedUMAP": "umap", "t-SNE": "tsne"}
_SEEN = {"turned": "turned back: what still moves", "raw": "as it is"}

_LOOK = (
    One("seen", "Each phase", at=DRAW, offered=[(title, name) for name, title in _SEEN.items()]),
    One("lines", "Lines", at=DRAW, folded=True, offered=[(title, name) for name, title in LINES.items()]),
    Words("pair", "A pair, by its name", at=DRAW, hint="or click a mark"),
)


def moved(seen: maps.Cloud, whole: tuple[np.ndarray, np.ndarray], phase: int) -> float:
    """Share of the squared way from the first phase to ``phase`` that the picture holds; ``whole`` are images and words
    in all dimensions, ``[phases, pairs, d]``. Not-a-number where nothing moved."""
    ways = [np.concatenate(of, axis=1) for of in ((seen.images, seen.words), whole)]
    flat, full = (float(((of[phase] - of[0]) ** 2).sum()) for of in ways)
    return flat / full if full > 1e-12 else float("nan")


def _mapped(asked: Asked, progress=None) -> Spaces | None:
    """As it is and turned back by PCA; one map where distances alone count, which takes time where it is not kept."""
    found = loaded(asked, progress, True)
    if found is None:
        return None
    clouds, method, count = [], _PROJECTIONS[asked["drawn"]], int(asked["dimensions"][0])
    for space in (of.space for of in found.whole):
        if method == "pca":
            clouds.append(maps.pca(space.images, space.words, count))
        elif (seen := maps.embedded(space.images, space.words, method, count, progress)) is None:
            return None
        else:
            clouds.append((seen,))
    by = noted(found.provenance, (found.provenance.note, *(seen.note for each in clouds for seen in each)))
    return replace(found, clouds=tuple(clouds), provenance=by)


def _panel(shown: Shown, which: int):
    """One training at the phase that all share; None where there is no such training."""
    result = shown.result
    if which >= len(result.keys):
        return None
    of, clouds = result.whole[which], result.clouds[which]
    turned = shown["seen"] == "turned" and len(clouds) > 1
    seen, phase = clouds[1 if turned else 0], place_of(of, shown["phase"])
    lines = shown["lines"] if len(of.space.shown) <= MANY else "none"
    # maps of neighbours are made for each space alone: no ruler is the same for both
    both = [c for each in result.clouds for c in each] if seen.method == "pca" else clouds
    if seen.method == "pca":
        full = of.space.images, of.space.words
        share = moved(seen, maps.aligned(*full) if turned else full, phase)
        way = "" if np.isnan(share) else f" and {share:.0%} of what moved"
        holds = f"holds {seen.explained[phase]:.0%} of the spread{way}"
    else:
        holds = f"{maps.METHODS[seen.method]}: neighbours alone count"
    title = (
        f"<b>{escape(of.title)}</b>, {escape(of.space.phases[phase])}, n = {len(of.space.shown)} pairs"
        f"<br><span style='font-size:12px'>{holds}</span>"
    )
    return draw(of.space, seen, spans(*both), title, phase, lines, _chosen(of, shown["pair"]))


def _chosen(of: Whole, name: str) -> int:
    """The place of the pair called so among those shown, by its name in any case; -1 for none."""
    called = [each.casefold() for each in names(of.space)]
    return called.index(name.strip().casefold()) if name.strip().casefold() in called else -1


def _pair(shown: Shown) -> str:
    """A pair's picture and name, and where its name ranks, phase by phase, in each training."""
    name, every, keys = shown["pair"], shown.result.whole, shown.result.keys
    if not name.strip():
        return '<div class="card quiet">Click a mark, or type a name, to see its picture and where it ranks.</div>'
    at = _chosen(every[0], name)
    if at < 0:
        few = ", ".join(names(every[0].space)[:3])
        return f'<div class="card quiet">No pair drawn here is called “{escape(name)}”. There are {escape(few)} …</div>'
    place, space = int(every[0].space.shown[at]), every[0].space
    rows = "".join(
        f"<p><small>{escape(of.title)}</small> {' → '.join(map(str, of.space.ranks['i2t'][:, place]))}</p>"
        for of in every
    )
    return (
        f'<ul class="items"><li><img src="{uri(keys[0], place, 160)}" alt=""><div><p><b>{escape(space.texts[place])}'
        f'</b> <span class="kind">{escape(space.domains[place])}</span></p><p><small>rank of its name among all '
        f"{len(set(space.texts))}, phase by phase</small></p>{rows}</div></li></ul>"
    )


def _shares(shown: Shown) -> str:
    """How much of each phase's variance each picture holds, in words."""
    told = []
    for of, clouds in zip(shown.result.whole, shown.result.clouds, strict=True):
        for i, seen in enumerate(clouds):
            if not np.isnan(seen.explained).any():
                shares = map("{} {:.0%}".format, of.space.phases, seen.explained)
                text = f"Share of the variance that the picture holds: {', '.join(shares)}."
                told.append(f"<p>{escape(of.title)}, {_SEEN['turned' if i else 'raw']}: {escape(text)}</p>")
    return "".join(told) or (
        "<p>This map looks at distances alone, which no rotation changes: raw and turned back are one and the same. "
        "Distances far apart, and the sizes of islands, mean nothing here.</p>"
    )


def _map_sentence(found: Spaces) -> str:
    """What still moves after one rotation of each modality, by training; then each training's own sentence."""
    every, first = found.whole, found.whole[0].space
    if len(first.phases) < 2 or len(every) == 1:
        return sentence(first)
    left = [f"{of.space.spreads['residual_image'].mean[0, -1]:.1f}°" for of in every]
    told = f"Turned back, pictures still move by {left[0]} with {every[0].title}, by {left[1]} with {every[1].title}"
    return (
        f"{told}: that is disorder, no turn of the whole. Those are angles in all dimensions, from {first.phases[0]} "
        "to the last phase. " + " ".join(f"{of.title}: {sentence(of.space)}" for of in every)
    )


def _animated(shown: Shown) -> list:
    result = shown.result
    return [
        animated(of.space, seen, spans(*clouds), f"{of.title}, {'turned back' if i else 'as it is'}")
        for of, clouds in zip(result.whole, result.clouds, strict=True) for i, seen in enumerate(clouds)
    ]


_MAP_READING = (
    "<p>● a picture, ◇ its name, coloured by domain; thin lines are their ways through the phases, thick ones that of "
    "the middle of a domain's pictures. <b>Turned back</b>: each phase is turned as a whole onto the phase before "
    "(orthogonal Procrustes); what still moves is no rotation: it is disorder. <b>As it is</b> shows the rotation too, "
    "which changes no distance and so no answer. The plane is that of the first phase. A flat picture of many "
    "dimensions hides most of them: each title says how much it holds, and all numbers are measured in the full "
    "space.</p>"
)

_VIEWS = (
    View("first", lambda shown: _panel(shown, 0)),
    View("pair", _pair, html=True),
    View("shares", _shares, html=True, folded="How much the picture holds, phase by phase"),
)

MAP = Section(
    name="map", title="The map",
    question="Did the space turn as a whole, or come apart?",
    about="Where a space turns as a whole, every distance stays and nothing is lost. Step through the phases, or play.",
    label="small", paper=spaces.PAPER, of=SET, long=True,
    costs="a minute for a style or a map that nobody has measured yet, else a moment",
    measure=_mapped, kept=_mapped, sentence=_map_sentence,
    controls=lambda raw, result: (
        spaces.trained(raw, True),
        phase_of(raw, True, "phase", "Phase", at=DRAW, radio=True, play=True),
        *_LOOK,
        One("drawn", "Drawn by", folded=True, offered=list(_PROJECTIONS)),
        One("dimensions", "Dimensions", folded=True, radio=True, offered=["2-D", "3-D"]),
        spaces.STYLE,
    ),
    views=(_VIEWS[0], View("second", lambda shown: _panel(shown, 1)), *_VIEWS[1:]),
    figures=_animated,
    tries=(
        Try("What still moves", values={"seen": "turned"}),
        Try("As it is, turned and all", values={"seen": "raw"}),
        Try("Halfway back to the base", values={"trained": "interpolation"}),
        Try("No effect: a map of neighbours", values={"drawn": "AlignedUMAP"}),
    ),
    then=GO.format("angles", "How far, in degrees"), reading=_MAP_READING,
)


_FORMAT = (
    "Pairs come as one <code>.zip</code>: pictures with captions of the same name (<code>cat.png</code>, "
    "<code>cat.txt</code>; a folder is a domain), or pictures and a <code>.jsonl</code>, a line a pair: "
    '<code>{"image": "cat.png", "text": "a cat", "domain": "animals"}</code>. '
    f"{maps.LEAST} to {MOST_PAIRS} pairs; without, the drawings are measured."
)


def _own_controls(raw: Mapping, result) -> Sequence[Control]:
    methods = [(of.title, name) for name, of in runs.recipes().items()]
    first = methods[0][1] if methods else ""
    which = (
        One("model", "Dual encoder", offered=dual_catalog.listed()),
        One("phases", "Phases", offered=[("none", ""), *methods], value=first),
    ) if hub.public() else (
        Words("model", "Dual encoder", value=dual_catalog.EMBEDDED, info="or a folder, or a Hub id"),
        Words("phases", "Phases", value=first, info="a method, a checkpoint set or none"),
    )  # fmt: skip
    phases = [(label, i) for i, label in enumerate(result.space.phases)] if result else []
    return (
        *which,
        One("phase", "Phase", at=DRAW, radio=True, play=True, offered=phases, value=len(phases) - 1),
        *_LOOK,
        Words("trained", at=DRAW, shared=True, hidden=True),
    )


def _pictured(key: Key, progress=None) -> Spaces | None:
    of = spaces.whole(key, progress)
    clouds = of and maps.pca(of.space.images, of.space.words)
    return of and Spaces(provenance=of.space.provenance, keys=(key,), clouds=(clouds,))


def _elsewhere(shown: Shown) -> str:
    """Where else a visitor's space can be looked at: all sections then show it."""
    (key,) = shown.result.keys
    if not key.own:
        return '<div class="card quiet">An example: plain, on the drawings. Press Measure for yours.</div>'
    titles = {"lost": "what was lost", "map": "other maps", "angles": "angles", "matrix": "matrix", "search": "search"}
    button = f"""<button type="button" data-set='{{"trained": "own-{key.own}"}}' data-go="embedding_space/"""
    buttons = " ".join(f'{button}{place}">{title}</button>' for place, title in titles.items())
    return (
        f'<div class="card">Yours in the other sections: {buttons}<p class="key">For two hours, and for whoever has a '
        "link to it.</p></div>"
    )


OWN = Section(
    name="own", title="Your CLIP, phases or pairs",
    question="How does your own CLIP move, on your own pairs?",
    about="Any CLIP or SigLIP, its checkpoints in the order of training, and pairs of picture and text.",
    label="as published", paper=spaces.PAPER, of=SET, long=True,
    costs="a second for a hundred pairs and phase on the small model, minutes for a large one",
    measure=lambda asked, progress: _pictured(spaces.own_key(
        asked["model"], "" if asked["phases"].strip() == "none" else asked["phases"], asked.upload, progress
    ), progress),
    controls=_own_controls,
    # until something is measured, the plain training of the drawings is shown
    kept=lambda asked: None if asked.upload or asked["model"] != dual_catalog.EMBEDDED else _pictured(Key(PLAIN)),
    upload=Upload("Your pairs (.zip)", partial(gr.File, file_types=[".zip"], height=140, show_label=False), _FORMAT),
    sentence=lambda found: sentence(found.space),
    views=(_VIEWS[0], View("elsewhere", _elsewhere, html=True), *_VIEWS[1:]),
    figures=_animated,
    reading=_MAP_READING + "<p>Phases are a checkpoint set: a folder, or a Hub repository, with a "
    "<code>checkpoints.json</code>, as for every model here (see the README).</p>",
)
