"""The part of the room about angles: their distributions, and every number with what it means."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from analysis import page
from analysis.charts import empty
from analysis.embedding_space import figure, held
from analysis.embedding_space.held import Key


@dataclass(frozen=True)
class Part:
    """What a part of the room does when another space is shown: ``outputs`` = ``refresh(*inputs)``."""

    refresh: Callable
    inputs: list
    outputs: list


def build(key: gr.State) -> Part:
    """The part, wired to the space that ``key`` names."""
    with gr.Row(elem_classes="measure"):
        kind = gr.Dropdown(
            [(title, name) for name, title in figure.ANGLES.items()], value=next(iter(figure.ANGLES)), label="Show",
            elem_id="angles-kind", min_width=260,
        )  # fmt: skip
        against = gr.Dropdown([], label="Against phase", elem_id="angles-against", min_width=140)
    chart = gr.Plot(empty("Nothing was measured yet", 160), show_label=False, container=False, elem_id="angles-chart")
    numbers = gr.HTML(elem_id="angles-numbers")
    with gr.Accordion("What each number means", open=False):
        gr.HTML(figure.meanings())
    inputs, outputs = [key, kind, against], [chart, numbers]
    gr.on([kind.input, against.input], page.for_people(_shown), inputs, outputs, **page.QUICK)
    return Part(_refreshed, [key, kind], [*outputs, against])


def _shown(key: Key | None, kind: str, against: int | None) -> tuple:
    if key is None:
        return gr.skip(), gr.skip()
    space = held.of(key).space
    return figure.angles(space, kind, against or 0), figure.numbers(space, against or 0)


def _refreshed(key: Key | None, kind: str) -> tuple:
    if key is None:
        return (gr.skip(),) * 3
    phases = held.of(key).space.phases
    earlier = [(name, i) for i, name in enumerate(phases[:-1] or phases)]
    return *_shown(key, kind, 0), gr.Dropdown(earlier, value=0)
