"""Whole sets of questions and trained remedies, as a section of the Interference room."""

from contextlib import ExitStack
from dataclasses import replace
from html import escape

import gradio as gr

from analysis.form import DRAW, One, Several, Switch
from analysis.interference.dataset import figure
from analysis.interference.dataset import measure as sets
from analysis.interference.dataset.measure import CONDITIONS, KINDS, TITLES, Block, measure
from analysis.interference.dataset.result import Accuracies, accuracies
from analysis.section import SET, Asked, Prediction, Section, Shown, Try, Upload, View
from models import catalog, own
from models.checkpoints import BASE

_ALL = "all items"
_TRAINED = catalog.recipe(sets.MITIGATION)
_FORMAT = (
    "While a set stands here, <i>Measure</i> measures it. A line an item: <code>{\"image\": \"cat.png\", \"question\": "
    "\"What is this?\", \"answer\": \"cat\", \"choices\": [\"cat\", \"dog\"], \"segment\": \"photos\"}</code>. Without "
    "pictures give the <code>.jsonl</code> alone (leave <code>image</code> out); with pictures a <code>.zip</code> of "
    "the <code>.jsonl</code> and the files it names. What its answers depend on is one of the <i>Further controls</i>."
)


def _plain(block: Block) -> Block:
    """The block under a readable name: the embedded model is one model, whichever of its checkpoint sets is open."""
    if not catalog.embedded(block.model) or block.model == catalog.NEXT:
        return block
    of = block.model.removeprefix(catalog.EMBEDDED).strip(" ()")
    whose = "" if block.checkpoint == BASE or block.model == sets.MITIGATION or not of else f" ({of})"
    return replace(block, model=catalog.EMBEDDED, checkpoint=block.checkpoint + whose)


def _kept(asked: Asked) -> Accuracies | None:
    """What is shown; at first, what comes with the embedded model."""
    return asked.shown or accuracies(tuple(map(_plain, sets.shipped_answers())))


def _measured(asked: Asked, progress) -> Accuracies:
    """The model on the left, beside all that is shown."""
    with ExitStack() as stack:
        if asked.upload:
            mine = stack.enter_context(own.opened(asked.upload))
            chosen = [sets.item_set(asked["own"], mine.name, mine.items, mine.lines)]
        else:
            chosen = sets.chosen(asked["kinds"])
        model = stack.enter_context(asked.opened())
        names = model.checkpoint_names if asked["every"] else (BASE, asked.checkpoint)
        new = tuple(map(_plain, measure(model, chosen, names, asked["conditions"], progress)))
    before = _kept(asked)
    return replace(accuracies(sets.together(before.blocks if before else (), new)), newest=accuracies(new))


def _places(found: Accuracies) -> dict[str, int]:
    """The place of each panel by how it is called in links: by its kind, a second one of a kind by its set, too."""
    kinds = [p.kind for p in found.panels]
    return {k if k not in kinds[:i] else f"{k}: {found.panels[i].set}": i for i, k in enumerate(kinds)}


def _chosen(shown: Shown) -> int | None:
    return _places(shown.result).get(shown["items"])


def _controls(raw, result: Accuracies | None) -> tuple:
    kinds = [(k.title, k.name) for k in KINDS.values()]
    panels = {key: result.panels[i] for key, i in _places(result).items()} if result else {}
    own_sets = [(f"{p.title} ({p.set[:30]})", key) for key, p in panels.items() if key != p.kind]
    items = One("items", "Items", [*kinds, *own_sets], at=DRAW)
    chosen = items.read(raw.get("items")) or items.first
    under = [(TITLES[c], c) for c in KINDS[chosen.split(":")[0]].conditions]
    segments = panels[chosen].segments if chosen in panels else ()
    return (
        items,
        One("under", "Disturbance", under, "misleading", at=DRAW),
        *([One("segment", "Of them", [_ALL, *segments], at=DRAW)] if segments else []),
        Several("kinds", "Sets to measure", [(f"{k.title}: {k.about}", k.name) for k in KINDS.values()], tuple(KINDS),
                folded=True),
        Several("conditions", "Disturbances to measure", [(TITLES[c], c) for c in CONDITIONS], CONDITIONS, folded=True),
        Switch("every", "All checkpoints of the model", info="else the chosen one and its base", folded=True),
        One("own", "What the answers of a set of yours depend on", kinds, folded=True,
            info="the picture alone, the words alone, or both"),
    )


def _segment(shown: Shown) -> str | None:
    segment = shown.asked.values.get("segment", _ALL)
    return None if segment == _ALL else segment


SETS = Section(
    name="sets", title="Sets and remedies",
    question="How often does an answer fall, and does training against it help?",
    about="Whole sets, each question as asked and disturbed where it should not matter, by the base and by checkpoints "
    "that were trained alike: <i>plain</i> on questions as asked, each other one against this.",
    label="small", paper=("Diagnosing and Mitigating Modality Interference", "https://arxiv.org/abs/2505.19616"),
    of=SET, long=True, measure=_measured, kept=_kept,
    costs="the model on the left, in a few minutes; it joins what is shown", sentence=figure.sentence,
    shown_sentence=lambda shown: figure.sentence(shown.result, _chosen(shown), shown["under"]),
    views=(
        View("chart", lambda shown: figure.remedies(shown.result, _chosen(shown), shown["under"], _segment(shown))),
        View("all", lambda shown: figure.accuracy(shown.result, _segment(shown)), folded="All sets and disturbances"),
        View("table", lambda shown: figure.table(shown.result, _segment(shown)), html=True,
             folded="All numbers: drops and flips"),
        View("recovery", lambda shown: figure.recovery(shown.result), html=True, folded="What is got back, and lost"),
    ),
    figures=lambda shown: [
        figure.accuracy(shown.result, segment)
        for segment in dict.fromkeys((None, *(s for panel in shown.result.panels for s in panel.segments)))
    ],
    controls=_controls,
    upload=Upload(
        "Measure a set of your own",
        lambda **settings: gr.File(file_types=[".jsonl", ".zip"], height=120, show_label=False, **settings), _FORMAT,
    ),
    tries=(
        Try("What a misleading sentence costs", values={"items": "image-heavy", "under": "misleading"}),
        Try("Words that need no picture", values={"items": "text-heavy", "under": "wrong-picture"}),
        Try("What the remedies cost as asked", values={"items": "multimodal", "under": "misleading"}),
    ),
    prediction=Prediction("which remedy will give most back of what a misleading sentence costs?",
                          tuple(_TRAINED.get("arms", ())), lambda found: figure.outcome(found, _TRAINED["arms"])),
    then="Next: how much of an answer comes from the picture at all. "
    '<button type="button" data-go="attention">Attention</button>',
    reading="<p><b>Image-heavy</b>: the picture answers, so a sentence should not matter. <b>Text-heavy</b>: the words "
    "answer, so a picture should not. <b>Multimodal</b>: it takes both, and the picture stays right.</p><p>An answer "
    "is right where the likeliest of the item's options is the right one. Which wrong option a disturbance names is "
    "drawn once an item, so every model is told the same thing; in <i>One question</i> it is the likeliest wrong one, "
    "a harder test. Two marks of the same items may differ clearly although their intervals overlap: for drops and "
    "recoveries read the paired intervals in the folds below. A checkpoint that is bad at everything recovers too: "
    f"read recovery beside cost.</p><p>{escape(_TRAINED.get('about', ''))}</p>",
)
