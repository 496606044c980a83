"""The Decoding room: one question answered by several rules for the next word, step by step, and on whole sets."""

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from html import escape

import gradio as gr

from analysis.decoding import figure, strategies
from analysis.decoding.dataset import figure as sets_figure
from analysis.decoding.dataset import measure as sets
from analysis.decoding.dataset.measure import Hallucination, embedded, uploaded
from analysis.decoding.measure import BLOCKS, LENGTH, LONGEST, SIDE_BY_SIDE, Decoding, Played, decode, play
from analysis.decoding.objects import truth_of
from analysis.form import DRAW, RUN, Control, Number, One, Several, Words, pick
from analysis.kept import quiet
from analysis.section import MODEL, Asked, Prediction, Room, Section, Try, Upload, View
from models.embedded.hallucination_sets import CAPTIONS, EXISTENCE, SUBSETS
from models.errors import InputError

_FIRST = ("greedy", "inter", "vcd", "m3id")
_EVERY = 0.1  # seconds between two drawings of answers that are being written
_SIZES = {"whole": 1.0, "a quarter": 0.25, "a tenth": 0.1, "four times as many questions": 4.0}
_INTER = ("INTER, arXiv 2507.05056", "https://arxiv.org/abs/2507.05056")


def _name(strategy: str, parameter: str) -> str:
    """The control of a parameter; INTER's threshold is the room's ``k``."""
    return "k" if (strategy, parameter) == ("inter", "threshold") else f"{strategy}-{parameter}"


_PARAMETERS = tuple(
    One(_name(name, p.name), f"{kind.title}: {p.label}", offered=p.choices, value=p.default, folded=True) if p.choices
    else Number(
        _name(name, p.name), f"{kind.title}: {p.label}", low=p.minimum, high=p.maximum, value=p.default, step=p.step,
        folded=True,
    )
    for name, kind in strategies.ALL.items() for p in kind.parameters
)
_CHOSEN = Several(
    "strategies", "Strategies, up to four", offered=tuple((k.title, n) for n, k in strategies.ALL.items()),
    value=_FIRST, most=SIDE_BY_SIDE,
)
_THERE = Words(
    "there", "Objects that are there", hint="dog, ball", most=2000, folded=True,
    info="Separated by commas. Empty: those of an example or a composed scene.",
)
_LOOKED_FOR = Words(
    "looked-for", "Objects to look for in the answers", hint="cat, frisbee, person", most=4000, folded=True,
    info="Separated by commas. Empty: the things that the embedded model was taught.",
)
_LENGTH = Number("length", "Longest answer, tokens", low=1, high=LONGEST, value=LENGTH, step=1, folded=True)
_K = Number("k", "Threshold k of INTER's locator", low=0, high=20, value=1.0, step=0.1, at=DRAW)


def _given(values: Mapping, names) -> dict[str, dict]:
    """The parameters of strategies, as they are set."""
    return {n: {p.name: values[_name(n, p.name)] for p in strategies.ALL[n].parameters} for n in names}


def _decoded(asked: Asked, progress) -> Iterator[Decoding]:
    """All answers side by side; they grow at most ten times a second."""
    if not asked["strategies"]:
        raise InputError(f"Choose 1 to {SIDE_BY_SIDE} strategies.")
    given, drawn = _given(asked.values, (*asked["strategies"], "inter")), 0.0
    wanted, lists = {n: given[n] for n in asked["strategies"]}, (asked["there"], asked["looked-for"])
    truth = truth_of(asked.known, asked.question, *lists) if asked.picture else None
    with asked.opened() as model:
        for found in decode(
            model, asked.picture, asked.question, wanted, asked.checkpoint, asked["length"], truth, given["inter"]
        ):
            if found.done or time.monotonic() - drawn > _EVERY:
                drawn = time.monotonic()
                yield found


def _stepped(asked: Asked, progress) -> Decoding:
    """INTER's answer, read step by step."""
    with asked.opened() as model:
        given = _given({**{c.name: c.first for c in _PARAMETERS}, **asked.values}, ("greedy", "inter"))
        truth = truth_of(asked.known, asked.question) if asked.picture else None
        *_, found = decode(model, asked.picture, asked.question, given, asked.checkpoint, LENGTH, truth)
    return found


def _steps_of(draw):
    """A view of one answer's readings under the threshold that is set."""
    return lambda shown: draw(replace(shown.result, threshold=shown["k"]), shown["whose"])


def _played(asked: Asked, progress) -> Played:
    """One step as a game: that which is chosen, else the one that tells most."""
    with asked.opened() as model:
        truth = truth_of(asked.known, asked.question) if asked.picture else None
        return play(
            model, asked.picture, asked.question, asked.checkpoint, truth, pick(asked["step"], LONGEST),
            asked["side"], lambda share: progress(share, "covering blocks of the picture"),
        )


def _set(asked: Asked):
    """What strategies are measured on: the visitor's own set, or as much of the embedded one as is chosen."""
    if asked.upload:
        return uploaded(asked.upload)
    share = _SIZES[asked["size"]]
    return nullcontext(embedded(round(share * EXISTENCE), round(min(share, 1) * CAPTIONS)))


def _measured_sets(asked: Asked, progress, only_kept: bool = False) -> Hallucination | None:
    """Strategies on a set: those that are chosen, beside those that stand there of the same items."""
    if not asked["compared"]:
        raise InputError("Choose at least one strategy to compare with greedy.")
    with _set(asked) as data, asked.opened() as model:
        return sets.measure(model, data, {n: {} for n in asked["compared"]}, asked.checkpoint, progress, only_kept)


def _of_subset(draw):
    """A view of the subset that is chosen; of the first, where the set has none of that name."""
    return lambda shown: draw(
        shown.result, shown["subset"] if shown["subset"] in shown.result.subsets else shown.result.subsets[0]
    )


def _set_controls(raw: Mapping, result: Hallucination | None) -> tuple[Control, ...]:
    subsets = result.subsets if result else (*SUBSETS, sets.CAPTIONS)
    every = tuple((k.title, n) for n, k in strategies.ALL.items() if n != "greedy")
    return (
        One("subset", "Shown", offered=subsets, value=SUBSETS[-1], radio=True, at=DRAW),
        Several("compared", "Compared with greedy", offered=every, value=tuple(n for _, n in every), folded=True),
        One("size", "How much of the embedded set", offered=tuple(_SIZES), folded=True),
    )


CAPTION = Section(
    name="captions", title="Captions",
    question="Does another rule for the next word invent less?",
    label="as published", paper=_INTER, measure=_decoded, quick=True, run="Decode",
    sentence=lambda found: figure.sentence(found) if found.done else "",
    views=(View("answers", lambda shown: figure.side_by_side(shown.result), html=True),),
    figures=lambda shown: [f for f in [figure.strip(shown.result, shown.result.strategies[0].name)] if f],
    controls=(_CHOSEN, _THERE, _LOOKED_FOR, _LENGTH, *_PARAMETERS),
    prediction=Prediction("will INTER write something else than greedy?", figure.PREDICTED, figure.outcome),
    tries=(
        Try("A caption with invented things", "boat-penguin-drum", "Describe the picture."),
        Try("Overlooked in a new art style", "snowman-unseen-style", "Is there a snowman in the picture?"),
        Try("A key without its lock", "ghost-at-night", "Is there a lock?"),
        Try("No effect: the picture is clear", "bee-without-flower", "Is there a flower?"),
    ),
    then='Why did they part? <button type="button" data-go="decoding/steps">Step by step</button>',
    reading="".join(
        f"<p><b>{escape(k.title)}</b> ({escape(k.citation)}). {escape(k.sentence)}</p>" for k in strategies.ALL.values()
    ),
)

STEPS = Section(
    name="steps", title="Step by step",
    question="At which word do picture and question work together?",
    label="as published", paper=_INTER, measure=_stepped, quick=True, run="Decode",
    sentence=lambda found: figure.if_moved(found, "inter"),
    views=(
        View("timeline", _steps_of(figure.timeline), html=True),
        View("strip", lambda shown: _steps_of(figure.strip)(shown) if shown.result.picture else None),
        View("moved", _steps_of(lambda found, whose: f"<p>{escape(figure.if_moved(found, whose))}</p>"), html=True),
    ),
    controls=lambda raw, result: (
        One(
            "whose", "Whose answer", value="inter", at=DRAW,
            offered=tuple((w.title, w.name) for w in result.strategies) if result else (("INTER", "inter"),),
        ),
        _K,
    ),
    tries=(
        Try("Where INTER changes a word", "snowman-unseen-style", "Is there a snowman in the picture?"),
        Try("A whole caption", "boat-penguin-drum", "Describe the picture."),
        Try("Where the locator stays silent", "bee-without-flower", "Is there a flower?"),
    ),
    then='Press a step: <button type="button" data-go="decoding/game">its game</button> opens.',
    reading=(
        "<p>The variance of the interaction of picture and question over the vocabulary, at each step. Where it "
        "reaches k, INTER's locator fires and the interaction is added; elsewhere INTER is greedy.</p>"
    ),
)

GAME = Section(
    name="game", title="The game",
    question="Who is behind this word: the picture, the question, or both?",
    label="as published", paper=_INTER, measure=_played, quick=True, run="Play", pictured=True,
    sentence=lambda found: f"{figure.reading(found.moment)} {figure.where(found.regions)}" if found.moment else (
        "There is no picture, so this is no game of two: the question plays alone."
    ),
    views=(
        View("words", lambda shown: figure.words(shown.result), html=True),
        View("split", lambda shown: shown.result.moment and figure.split(shown.result.moment)),
        View(
            "worked", lambda shown: shown.result.moment and figure.worked(shown.result.moment),
            html=True, folded="The game worked with these numbers",
        ),
        View(
            "strongest", lambda shown: shown.result.moment and figure.strongest(shown.result.moment),
            folded="Words with the largest interaction",
        ),
        View("map", folded="Which part of the picture?", draw=lambda shown: shown.result.regions and figure.overlay(
            shown.result.regions, shown.uri, shown.asked.picture.size
        )),
    ),
    controls=(
        Words("step", hidden=True, at=RUN, most=4),
        One("side", "Map of the picture", offered=tuple((f"{s} × {s} blocks", s) for s in BLOCKS), at=RUN, folded=True),
    ),
    tries=(
        Try("A yes that needs both", "snowman-unseen-style", "Is there a snowman in the picture?"),
        Try("A word of a caption", "boat-penguin-drum", "Describe the picture."),
        Try("One player is missing", "no-picture", "What kind of thing is a bee?"),
    ),
    then="Press another word of the answer: its game is played.",
    reading=(
        "<p>The value of a coalition for a word is the logarithm of its probability when those take part; who stays "
        "away is a picture of random pixels, or a hidden question. Dividends and Shapley values are in nats: +0.7 "
        "makes a word twice as likely, −0.7 half as likely. Only whole words of the vocabulary are listed.</p>"
    ),
)

SETS = Section(
    name="sets", title="Whole sets",
    question="Over hundreds of pictures: does any rule invent less?",
    about="POPE asks whether a thing is there; CHAIR counts the things in captions that are not.",
    label="as published", paper=("POPE, arXiv 2305.10355", "https://arxiv.org/abs/2305.10355"), of=MODEL, long=True,
    measure=_measured_sets,
    kept=lambda asked: None if asked.upload else _measured_sets(asked, quiet, only_kept=True),
    costs="minutes for what was not measured yet",
    sentence=sets_figure.overall, shown_sentence=_of_subset(sets_figure.overall),
    views=(
        View("chart", _of_subset(sets_figure.spread)),
        View("table", _of_subset(sets_figure.table), html=True, folded="All scores"),
    ),
    figures=lambda shown: [sets_figure.spread(shown.result, s) for s in shown.result.subsets],
    controls=_set_controls,
    upload=Upload(
        "Your own set",
        lambda **settings: gr.File(
            label="One JSONL file and its pictures", file_count="multiple", height=140,
            file_types=[".jsonl", ".json", "image", ".zip"], **settings,
        ),
        "A line an item, of the project's format or POPE's: yes/no questions and captions. All files, or one <code>.zip"
        "</code> of them. Press Measure when they are there.",
    ),
    reading=(
        "<p>A dot is coloured where its difference to greedy is beyond chance: the interval leaves out zero and "
        "McNemar's test agrees. Yes-ratio: how often the answer is yes; half would be right.</p><p>AUC: how often "
        "log p(yes) − log p(no) at the first token is larger for a thing that is there than for one that is not, by "
        "the rule's scores without its plausibility cut; no threshold changes it. Where the cut does the work (DoLa), "
        "the rest ranks at chance. Rules that sample or search have no scores to rank by. <i>Threshold moved</i>: "
        "greedy, its threshold such that recall is the same. <i>Blind</i>: the picture taken away as the rule does it. "
        "M3ID never changes a yes or no: its weight is zero at the first token. Rules that sample draw item i with "
        "seed i: the same answers each time.</p>"
    ),
)

ROOM = Room("decoding", "Decoding", (CAPTION, STEPS, GAME, SETS))
