"""Picture against text, as sections of the Interference room: one conflict of the visitor's, and many drawn ones."""

import json
from functools import partial
from html import escape

from analysis import kept
from analysis.form import Number, One, Words
from analysis.interference.conflict import figure
from analysis.interference.conflict.measure import ITEMS, MOST, THINGS, TRAINED, Conflicts, measured
from analysis.interference.conflict.single import Conflict, conflict
from analysis.result import Provenance
from analysis.section import MODEL, Asked, Prediction, Section, Shown, Try, View
from models.catalog import embedded
from models.checkpoints import BASE

_STEP = 30  # conflicts between two places of the slider
_PAPER = ("When Modalities Conflict", "https://arxiv.org/abs/2511.02243")
_READS = (
    "Why “Text:” makes a difference: this model was trained to answer from what stands after <b>Text:</b>, and never "
    "met a picture that says otherwise. With it a sentence is an order to read; without it, a remark."
)
_TRUSTS = "Whom this checkpoint believes was put there: it was trained where either side can be wrong, by known odds."
_TRY = {"seen": "", "told": "", "text": ""}


def why_text(by: Provenance, *texts: str) -> str:
    """Why the embedded model follows a text that begins with *Text:*; nothing for other models, or other texts."""
    read = embedded(by.model) and any(text.startswith("Text:") for text in texts)
    trusts = by.model == TRAINED and by.checkpoint != BASE
    return f'<p class="key">{_TRUSTS if trusts else _READS}</p>' if read else ""


def _put(asked: Asked, progress) -> Conflict:
    with asked.opened() as model:
        said = asked["text"], asked["seen"], asked["told"]
        return conflict(model, asked.picture, asked.question, *said, asked.checkpoint, asked.known, progress)


def _wording(shown: Shown) -> str:
    """What either side alone says, and the same text said as something to read, or as a remark."""
    found = shown.result
    told = found.text.removeprefix("Text:").strip()
    other, how = (told, "without") if found.text.startswith("Text:") else (f"Text: {told}", "with")
    asking = {"seen": found.seen, "told": found.told, "text": other}
    again = (
        f'<p class="then"><button type="button" data-try data-example="" data-question="" '
        f"data-set='{escape(json.dumps(asking))}'>Ask again {how} “Text:”</button></p>"
    )
    return figure.sides(found) + why_text(found.provenance, found.text) + again


def _controls(raw, result: Conflict | None) -> tuple:
    """Empty fields are filled in by measuring; what was filled in stands there in grey."""
    seen, told, text = (result.seen, result.told, result.text) if result else ("cat", "dog", "Text: There is a dog.")
    return (
        Words("text", "The text, in front of the question", hint=text, most=2000),
        Words("seen", "The picture says", hint=seen, most=200, folded=True),
        Words("told", "The text says", hint=told, most=200, folded=True),
    )


def _many(asked: Asked, progress=kept.quiet, only_kept: bool = False) -> Conflicts | None:
    with asked.opened() as model:
        if only_kept and asked.checkpoint not in model.checkpoint_names:
            return None  # the model was changed, the checkpoint is about to be
        chosen = asked["count"], asked["seed"], asked["things"]
        return measured(model, asked.checkpoint, *chosen, progress, only_kept, asked["tiers"])


CONFLICT = Section(
    name="conflict", title="Picture against text",
    question="When the text says one thing and the picture another, who is believed?",
    about="Asked three times: from the text alone, from the picture alone, and from both.",
    label="as published", paper=_PAPER, measure=_put, quick=True, run="Put them in conflict", sentence=figure.single,
    views=(View("sides", _wording, html=True), View("chart", lambda shown: figure.oscillation(shown.result))),
    controls=_controls,
    tries=(
        Try("The text wins", "bee-and-flower", "What is at the top left?", _TRY),
        Try("The same words without “Text:”", "bee-and-flower", "What is at the top left?",
            {**_TRY, "text": "The picture shows a flower."}),
        Try("The lead changes twice", "apples-and-banana", "What is at the bottom left?",
            {**_TRY, "text": "The picture shows a key."}),
        Try("The picture wins", "ghost-at-night", "What tool is it?", _TRY),
    ),
    prediction=Prediction("which side will the answer follow?", figure.SIDES,
                          lambda found: figure.SIDES[found.followed]),
    then="Next: one input can be odd, so here are hundreds. "
    '<button type="button" data-go="interference/conflicts">Many conflicts</button>',
    reading="<p><b>Unsure</b> is the entropy of the first token: 0 nats is certain, 0.69 is a toss-up between two. "
    "<b>Relative uncertainty</b> is 2 (text − picture) / (text + picture): −2 is sure of the text and lost in the "
    "picture, +2 the other way round.</p><p>The chart reads the model between its layers (<i>logit lens</i>): each "
    "layer's output is put through the last norm and the vocabulary, as if the model had to answer there. Above the "
    "line the text's answer leads, below it the picture's; rings mark where the lead changes.</p>",
)

CONFLICTS = Section(
    name="conflicts", title="Many conflicts",
    question="Does the side that the model is surer of win?",
    about="Drawn scenes of one thing, more or less of it covered, and texts that name another, some "
    "plainly, some harder to read or to believe. They are drawings whatever the model: one trained on photos may "
    "know fewer.",
    label="as published", paper=_PAPER, of=MODEL, long=True, measure=_many, kept=partial(_many, only_kept=True),
    run="Measure many", costs="a minute or more where it was not measured before", sentence=figure.sentence,
    views=(
        View("chart", lambda shown: figure.law(shown.result)),
        View("tiers", lambda shown: figure.tiers(shown.result), html=True, folded="By difficulty"),
        View("inside", lambda shown: figure.inside(shown.result), folded="What happens between the layers"),
    ),
    controls=(
        Number("count", "Conflicts", low=_STEP, high=MOST, value=ITEMS, step=_STEP),
        Number("seed", "Seed of the scenes", folded=True, low=0, high=20, value=0),
        One("things", "Things that are drawn", folded=True, offered=[
            ("those of the base model", THINGS[0]), *((f"those of the task {t}", t) for t in THINGS[1:])
        ]),
        One("tiers", "Wordings and covers", folded=True, offered=[
            ("the usual ones", "usual"), ("those that conflict checkpoints are trained with", "trained")
        ]),
    ),
    prediction=Prediction("whom will the answers follow?", figure.LEANS, figure.lean),
    then="Next: how often a disturbance costs an answer, and what training against it gives back. "
    '<button type="button" data-go="interference/sets">Sets and remedies</button>',
    reading="<p>An item counts where the text alone and the picture alone are both answered rightly, and the answer "
    "from both names one of the two: who cannot read has no conflict. A falling curve says that the model listens to "
    "whom it is surer of; its <b>balance point</b> is where either side wins as often. Below zero it leans to the "
    "picture, above zero to the text. A flat curve far up or down says that it follows one side however sure it is of "
    "the other.</p><p>The embedded base was trained to answer from what stands after <b>Text:</b>, and never met a "
    "picture that says otherwise: that it follows such texts nearly always was put there. So it is with "
    "whom a checkpoint believes that was trained where either side can be wrong.</p>",
)
