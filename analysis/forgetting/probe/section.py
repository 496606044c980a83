"""Your question: the section of the room that puts one question to every checkpoint of a set."""

from analysis.forgetting import sets
from analysis.forgetting.probe import figure
from analysis.forgetting.probe.figure import sentence
from analysis.forgetting.probe.measure import Probe, probe
from analysis.forgetting.terms import ESSENTIAL, KEPT, NEVER, SUPERFICIAL
from analysis.form import RUN, Words
from analysis.section import Asked, Prediction, Section, Try, View
from models import catalog

_ENDS = (KEPT, NEVER, SUPERFICIAL, ESSENTIAL)


def _measured(asked: Asked, progress) -> Probe:
    given = [option for option in asked["options"].split(",") if option.strip()]
    with catalog.using(sets.entry(asked["set"]).name) as mllm:
        return probe(mllm, asked["set"], asked.picture, asked.question, asked["truth"], given, asked.known)


PROBE = Section(
    name="probe",
    title="Your question",
    question="When does one answer get lost, and is the truth still there?",
    about="Your picture and question, put to every checkpoint. One question shows how it happens, not how often.",
    label="small",
    paper=("SEFE", "https://arxiv.org/abs/2505.02486"),
    quick=True,
    run="Ask every checkpoint",
    measure=_measured,
    controls=lambda raw, result: (
        sets.control(at=RUN),
        Words(
            "truth", "The true answer", hint="fox", passing=True, folded=True,
            info="As the model would write it. Empty: as it is known of a suggested question.",
        ),
        Words(
            "options", "Options", hint="fox, wolf, dog", passing=True, folded=True,
            info="Separated by commas. Empty: the question's, or near ones where the truth is known.",
        ),
    ),
    sentence=sentence,
    views=(
        View("checkpoints", lambda shown: figure.strip(shown.result), html=True),
        View("course", lambda shown: figure.course(shown.result)),
        View("attention", lambda shown: figure.attention(shown.result), folded="Where it looks while it answers"),
    ),
    prediction=Prediction(
        "what becomes of the answer by the end of training?", _ENDS,
        lambda found: found.verdict if found.verdict in _ENDS else None,
    ),
    tries=(
        Try("Who takes the fox away?", "fox-and-mushroom", "Which animal is this?", {"set": "sequential"}),
        Try("The same with replay", "fox-and-mushroom", "Which animal is this?", {"set": "replay"}),
        Try("A box that ends as a caption", "fox-and-mushroom", "Where is the fox?", {"set": "sequential"}),
        Try("Not the form, the fact", "bee-without-flower", "Is there a bee?", {"set": "sequential"}),
    ),
    then="Which part of the model lost it? <button type='button' data-go='forgetting/parts'>Which part</button>",
    reading=(
        "<p>The curve is the probability that the answer begins with the true one (circles: the answer is right, "
        "crosses: wrong), and how likely it is where the model has to choose among options. Lost in form alone "
        "(superficial): the answer has another form than asked, and the true option is still the likeliest.</p>"
    ),
)
