"""The Forgetting room."""

from analysis.forgetting import figure, sets
from analysis.forgetting.matrix import evaluate
from analysis.forgetting.measure import Forgetting, load, measure
from analysis.forgetting.sentence import PREDICTED, outcome, sentence
from analysis.section import SET, Asked, Prediction, Room, Section, View


def _measured(asked: Asked, progress) -> Forgetting:
    return measure(sets.measured(asked["set"], evaluate, progress))


MATRIX = Section(
    name="matrix",
    title="Matrix",
    question="What did each task teach, and what did it cost the others?",
    of=SET,
    long=True,
    measure=_measured,
    kept=lambda asked: load(asked["set"]),
    controls=lambda raw, result: (sets.control(),),
    sentence=sentence,
    views=(View("matrix", lambda shown: figure.matrix(shown.result), html=True),),
    figures=lambda shown: [figure.heat_map(shown.result), figure.course(shown.result)],
    prediction=Prediction("how much of the first task will be left after the last one?", PREDICTED, outcome),
)

ROOM = Room("forgetting", "Forgetting", (MATRIX,))
