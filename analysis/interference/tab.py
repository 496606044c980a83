"""The Interference room: one question disturbed, a dose, what stands behind an answer, conflicts, whole sets."""

from collections.abc import Iterator

from analysis.attribution.section import WHY
from analysis.bar import open_picture
from analysis.bar.pictures import picture_input
from analysis.form import RUN, Number, One, Several, Words
from analysis.interference import figure
from analysis.interference.conflict.section import CONFLICT, CONFLICTS, why_text
from analysis.interference.dataset.section import SETS
from analysis.interference.dose import KINDS, Dose, respond
from analysis.interference.measure import Interference, Settings, interfere
from analysis.interference.perturbations import ALL
from analysis.interference.pgd import Attack
from analysis.section import Asked, Prediction, Room, Section, Try, Upload, View

_PAPER = ("Diagnosing and Mitigating Modality Interference", "https://arxiv.org/abs/2505.19616")
_OWN = ("own-sentence", "own-picture")  # made as soon as there is one
_TEXT, _IMAGE = ("misleading", "contradiction"), ("other-picture", "occlusion")
_ATTACK = Attack()
_UNIT = "× the root mean square of what the decoder reads"

_OPTIONS = Words(
    "options", "Options", folded=True, hint="cat, dog, bee", most=2000,
    info="Separated by commas. Empty: the question's, or the model's own likeliest answers.",
)
_SEED = Number("seed", "Seed of noise, covered cells, facts and scenes", folded=True, low=0, high=20, value=0)
_STRENGTH = (
    Number("epsilon", "Attack: largest noise", folded=True, low=0.0, high=1.0, value=_ATTACK.epsilon, step=0.01,
           info=_UNIT),
    Number("steps", "Attack: steps", folded=True, low=1, high=30, value=_ATTACK.steps),
    Number("size", "Attack: size of a step", folded=True, low=0.005, high=0.5, value=_ATTACK.step_size, step=0.005,
           info=_UNIT),
)
_MORE = tuple(
    Several(f"change-{side}", f"More disturbances: {title}", [
        (p.title, p.name) for p in ALL.values() if p.side == side and p.name not in _OWN
    ], first, folded=True)
    for side, title, first in (("text", "the text", _TEXT), ("image", "the picture", _IMAGE),
                               ("adversarial", "attacks on what the decoder reads", ()))
)


def _how(asked: Asked, **more) -> dict:
    """What both sections hand on: the options that are given, settings, and what is known of the picture."""
    attack = Attack(asked["epsilon"], asked["steps"], asked["size"])
    given = [option.strip() for option in asked["options"].split(",") if option.strip()]
    return {"given": given, "settings": Settings(attack=attack, seed=asked["seed"], **more), "known": asked.known}


def _disturbed(asked: Asked, progress) -> Iterator[Interference]:
    """Shown at once without the attacks, then again after each."""
    own = open_picture(asked.upload) if asked.upload else None
    how = _how(asked, sentence=asked["sentence"], picture=own, occluded=asked["covered"])
    names = [name for side in ("text", "image", "adversarial") for name in asked[f"change-{side}"]]
    names += [name for name, there in zip(_OWN, (asked["sentence"].strip(), own), strict=True) if there]
    with asked.opened() as model:
        where = asked.picture, asked.question, asked.checkpoint
        yield from interfere(model, *where, names=names, progress=progress, **how)


def _dosed(asked: Asked, progress) -> Iterator[Dose]:
    with asked.opened() as model:
        where = asked.picture, asked.question, asked["dose"], asked.checkpoint
        yield from respond(model, *where, progress=progress, **_how(asked))


ONE = Section(
    name="one", title="One question",
    question="What flips an answer that should stay?",
    about="The question is asked again with one thing changed: a sentence in front of it, or another picture.",
    label="as published", paper=_PAPER, measure=_disturbed, quick=True, run="Disturb", sentence=figure.sentence,
    views=(
        View("chart", lambda shown: figure.options(shown.result)),
        # what was put in the picture's place, and why a text after *Text:* is no remark
        View("beside", lambda shown: figure.put_in(shown.result) + why_text(
            shown.result.provenance, *(e.text for e in shown.result.effects)
        ), html=True),
        View("table", lambda shown: figure.table(shown.result), html=True, folded="All numbers, and what was said"),
        View("changes", lambda shown: figure.changes(shown.result), folded="How far the bars moved"),
        View("attacks", lambda shown: figure.attacks(shown.result), folded="How the attacks went"),
    ),
    controls=(
        Words("sentence", "Your own sentence in front of the question", most=2000, hint="My aunt says: a dog."),
        *_MORE,
        _OPTIONS,
        Number("covered", "Covered share of the picture", folded=True, low=0.0, high=1.0, value=0.5, step=0.05),
        _SEED, *_STRENGTH,
    ),
    upload=Upload(
        "Your own picture in its place", lambda **settings: picture_input(height=180, show_label=False, **settings),
        "The question is asked about this picture, too, at the next Disturb.",
    ),
    tries=(
        Try("A sentence against the eyes", "three-penguins", "What is this?",
            {"sentence": "", "change-text": _TEXT, "change-image": _IMAGE}),
        Try("The same claim after “Text:”", "bee-and-flower", "What is at the top left?",
            {"sentence": "Text: There is a flower.", "change-text": _TEXT, "change-image": ()}),
        Try("A true fact about lions", "bee-without-flower", "Is there a flower?",
            {"sentence": "", "change-text": ("unrelated", *_TEXT), "change-image": _IMAGE}),
        Try("A picture nobody asked about", "no-picture", "What kind of thing is a bee?",
            {"sentence": "", "change-text": _TEXT, "change-image": ("other-picture", "black", "noise")}),
    ),
    prediction=Prediction(
        "how many changes that should not matter will flip the answer?", figure.PREDICTED, figure.outcome
    ),
    then="Next: how much of a change it takes. "
    '<button type="button" data-go="interference/dose">Raise the dose</button>',
    reading="<p>Each row is the same question. The options share 100 %; the dashed line is where the right one (the "
    "first answer, where that is not known) ends as asked. ⇄ marks a <b>flip</b>: another option leads.</p><p>What is "
    "said beside a picture should not win over what is seen. Another picture takes the evidence away: there the answer "
    "<i>should</i> change, unless it is a “no” or a “0”, which is right of most pictures. A picture that is covered in "
    "part may keep enough. Is your question about words alone, read the second group as the first.</p>",
)

DOSE = Section(
    name="dose", title="Dose",
    question="How much of a disturbance does the answer stand?",
    about="One change from nothing, exactly the question as asked, to full strength.",
    label="as published", paper=_PAPER, measure=_dosed, quick=True, run="Raise the dose",
    sentence=figure.response_sentence,
    views=(
        View("chart", lambda shown: figure.response(shown.result)),
        View("gain", lambda shown: figure.effectiveness(shown.result),
             folded="What a sentence adds while the picture fades"),
    ),
    controls=(One("dose", "Dose", [(k.title, k.name) for k in KINDS.values()], at=RUN), _OPTIONS, _SEED, *_STRENGTH),
    tries=(
        Try("Noise, more and more", "three-penguins", "What is this?", {"dose": "noise"}),
        Try("One misleading sentence is enough", "three-penguins", "What is this?", {"dose": "statements"}),
        Try("True, and beside the point", "bee-without-flower", "Is there a flower?", {"dose": "facts"}),
        Try("Covered bit by bit", "bee-and-flower", "What is at the top left?", {"dose": "occlusion"}),
    ),
    prediction=Prediction("when will the answer flip?", figure.DOSES, figure.flips_at),
    then="Next: what the answer rests on when nothing is disturbed. "
    '<button type="button" data-go="interference/why">Why</button>',
    reading="<p>The <b>flip point</b> is the strength at which another option first leads, between two measured "
    "strengths by a straight line.</p><p>While the picture fades, a sentence that names the right option (the model's "
    "first answer, where the right one is not known) is put in front as well. Where a weaker picture gains more from "
    "it, the senses are said to show <b>inverse effectiveness</b>; one question can hint at it, not show it. Nothing "
    "can be added to 100 %: log-odds have no such ceiling, so they are told, too.</p>",
)

ROOM = Room("interference", "Interference", (ONE, DOSE, WHY, CONFLICT, CONFLICTS, SETS))
