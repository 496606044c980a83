"""The Ask room: one question, answered token by token, and by every checkpoint."""

from collections.abc import Iterator

from analysis.ask import figure
from analysis.ask.measure import Answer, ask
from analysis.form import Words
from analysis.section import KEEP, Asked, Prediction, Room, Section, Try, View


def _measured(asked: Asked, progress) -> Iterator[Answer]:
    given = [o.strip() for o in asked["options"].split(",") if o.strip()]
    with asked.opened() as model:
        yield from ask(model, asked.picture, asked.question, asked.checkpoint, given, asked.known)


def _when_done(draw):
    """A view of a whole answer: until then what is there stays."""
    return lambda shown: draw(shown) if shown.result.done else KEEP


ANSWER = Section(
    name="answer", title="Ask",
    question="What does it answer, and how sure is it?",
    measure=_measured, quick=True, run="Ask", pictured=True,
    sentence=lambda found: figure.sentence(found) if found.done else "",
    views=(
        View("answer", lambda shown: figure.answer(shown.result), html=True),
        View("checkpoints", _when_done(lambda shown: figure.checkpoints(shown.result)), html=True),
        View("picture", _when_done(lambda shown: figure.picture(shown.result, shown.uri)), html=True),
        # what else it could have said; where the first is nearly certain there is nothing to see
        View("options", _when_done(lambda s: None if figure.certain(s.result) else figure.options(s.result))),
    ),
    figures=lambda shown: [figure.options(shown.result)],
    controls=(
        Words(
            "options", "Options", folded=True, hint="cat, dog, bee",
            info="Separated by commas. Empty: those of the question, if it has any.",
        ),
    ),
    prediction=Prediction("how many checkpoints will answer as the base does?", figure.PREDICTED, figure.outcome),
    tries=(
        Try("Does a habit win over the eyes?", "bee-without-flower", "Is there a flower?"),
        Try("Who answers with a box?", "helicopter", "Where is the helicopter?"),
        Try("Who knew the fox, and who still does?", "fox-and-mushroom", "Which animal is this?"),
        Try("No picture at all", "no-picture", "What kind of thing is a bee?"),
    ),
    reading="<p>The shade of a token is its probability: point at one, or tab to it, for the alternatives. A "
    "checkpoint is the same model after one more task; base is before any.</p>",
)

ROOM = Room("ask", "Ask", (ANSWER,))
