"""Predict, then run: what a visitor expects of a measurement, kept beside what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr
from gradio.context import Context

from analysis.page import QUICK, noted, room_of

_KIND = "predictions"
_LASTS = 3600  # seconds


@dataclass(frozen=True, eq=False)
class Prediction:
    """A question about the next result of a room, and the place where what came of it is told.

    ``told`` holds (question, predicted, measured) once both are there.
    """

    question: str
    choice: gr.Radio
    line: gr.HTML
    told: gr.State

    @property
    def room(self) -> str:
        """The title of the room that it stands in."""
        return getattr(room_of(self.choice), "label", "")

    def compare(self, said: gr.HTML, result: gr.State, measured: Callable, run: str = "") -> None:
        """Hold it against each new result, which comes with its sentence ``said``.

        ``measured(result)`` is one of the options, or None where the result does not decide. ``run`` names the button
        to press where no result is shown before; else what is shown is held against a prediction at once.
        """

        def compared(choice: str | None, told: tuple | None, found) -> tuple:
            if told:  # that one was about an earlier result
                return None, "", None
            outcome = measured(found) if choice and found is not None else None
            if outcome is None:
                return gr.skip(), _waiting(choice, run), None
            return gr.skip(), line(choice, outcome), (self.question, choice, outcome)

        def chosen(choice: str | None, found) -> tuple:
            return (_waiting(choice, run), None) if run else compared(choice, None, found)[1:]

        outputs = [self.choice, self.line, self.told]
        said.change(compared, [self.choice, self.told, result], outputs, **QUICK)
        self.choice.input(chosen, [self.choice, result], outputs[1:], **QUICK)


def ask(name: str, question: str, options: Sequence[str]) -> Prediction:
    """Put the question on the page that is being built; ``name`` is the room's."""
    with gr.Row(elem_classes="prediction"):
        choice = gr.Radio(
            list(options), label=f"Predict: {question}", elem_id=f"predict-{name}", min_width=300, scale=3
        )
        told = gr.HTML(elem_id=f"predicted-{name}", min_width=220)
    made = Prediction(question, choice, told, gr.State(None, time_to_live=_LASTS))
    noted(Context.root_block, _KIND).append(made)
    return made


def made(demo: gr.Blocks) -> list[Prediction]:
    """All predictions of a page, in its order."""
    return list(noted(demo, _KIND))


def line(predicted: str, measured: str) -> str:
    """Both beside each other, marked."""
    css, sign = ("right", "✓ as predicted") if predicted == measured else ("wrong", "✗ otherwise than predicted")
    return (
        f"<p>You predicted: <b>{escape(predicted)}</b>; measured: <b>{escape(measured)}</b>. "
        f'<span class="{css}">{sign}</span></p>'
    )


def _waiting(choice: str | None, run: str) -> str:
    if not choice:
        return ""
    if run:
        return f"<p>You predicted: <b>{escape(choice)}</b>. Now press {escape(run)}.</p>"
    return f"<p>You predicted: <b>{escape(choice)}</b>. What is shown does not decide it yet.</p>"
