"""What stands behind an answer, as a section of the Interference room."""

from analysis.attribution import figure
from analysis.attribution.measure import Attribution, attribute
from analysis.form import RUN, One, Words
from analysis.section import Asked, Prediction, Section, Try, View

_METHODS = (
    ("hide one part at a time (ablation)", "ablation"),
    ("hide many at a time (Shapley values), slow", "shapley"),
    ("fade all in (integrated gradients), check the sum", "integrated_gradients"),
)
_ABLATION = {"explain": "ablation", "answer": ""}
_EXPLAINED = (
    ("Ablation", "One part at a time is hidden from the model, and its score is what the answer loses. Where two parts "
     "say the same, neither is missed, so the scores need not add up."),
    ("Shapley values", "Parts are shown one after another in many random orders, and a score is what a part adds on "
     "average. The scores add up exactly, and parts that say the same share the credit."),
    ("Integrated gradients", "All parts are faded in together from nothing, and at each step the slope tells how much "
     "each part adds. The scores add up to what all parts together do for the answer, but for an error that is told."),
    ("Nats", "A score is a change of the logarithm of the answer's probability, in nats. +0.7 nats makes the answer "
     "twice as likely, −0.7 half as likely."),
)


def _explained(asked: Asked, progress) -> Attribution:
    doing = "following the gradient" if asked["explain"] == "integrated_gradients" else "hiding, comparing"
    with asked.opened() as model:
        where = asked.picture, asked.question, asked.checkpoint, asked["answer"], asked["explain"]
        return attribute(model, *where, progress=lambda share: progress(share, doing))


WHY = Section(
    name="why", title="Why",
    question="Which parts of picture and question stand behind the answer?",
    about="Parts are hidden from the model: what the answer loses without one is what that part did for it.",
    label="as published", paper=("MM-SHAP", "https://arxiv.org/abs/2212.08158"), measure=_explained, quick=True,
    run="Explain", pictured=True, sentence=figure.sentence,
    views=(
        View("picture", lambda shown: figure.overlay(shown.result, shown.uri)),
        View("words", lambda shown: figure.words(shown.result), html=True),
        View("bars", lambda shown: figure.bars(shown.result), folded="The picture against each word"),
    ),
    controls=(
        One("explain", "Method", _METHODS, at=RUN),
        Words("answer", "Answer to explain", folded=True, info="Empty: the model's own.", hint="cat", most=200),
    ),
    tries=(
        Try("Above or below?", "helicopter", "Is the helicopter above the house?", _ABLATION),
        Try("No part alone is missed", "bee-and-flower", "What is at the top left?", _ABLATION),
        Try("A part that speaks against it", "snowman-unseen-style", "Is there a snowman in the picture?", _ABLATION),
        Try("A method that warns of itself", "bee-and-flower", "What is at the top left?",
            {**_ABLATION, "explain": "integrated_gradients"}),
    ),
    prediction=Prediction("what carries more of the answer?", figure.CARRIERS, figure.carrier),
    then="Next: picture and text that contradict each other. "
    '<button type="button" data-go="interference/conflict">Picture against text</button>',
    reading="".join(f"<p><b>{name}.</b> {text}</p>" for name, text in _EXPLAINED),
)
