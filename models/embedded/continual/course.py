"""What a course teaches: its tasks, the scenes and questions of each, and what it is asked afterwards."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from models.embedded import evalsets
from models.embedded import questions as Q
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.continual import METHODS, forms
from models.embedded.packing import Branch
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import Scene
from models.embedded.tasks import SKEW, scene_for, turns_for

Shown = tuple[Scene, list[Branch]]
Items = Iterator[tuple[Scene, Q.Turn]]


@dataclass(frozen=True)
class Course:
    """Tasks taught one after another from the same base.

    ``shown(rng, task)`` is a scene that a task teaches with and what it asks about it; ``pool(task)`` the names of the
    concepts it is about; ``examples(task, styles, count, seed, stage)`` are scenes in those art styles with one
    question each, to ask afterwards, ``choices(rng, task, turn)`` the closed options of one and ``scores`` the rules of
    ``models.scoring`` that some tasks' answers are scored by. ``methods`` are taught in it; ``prefix`` is what the
    folders of its sets begin with, and ``shared`` the one that holds the evaluation sets, that of plain training.
    ``unseen``: whether it is asked in the style never seen too.
    """

    tasks: tuple[str, ...]
    shown: Callable[[np.random.Generator, str], Shown]
    pool: Callable[[str], list[str]]
    examples: Callable[..., Items]
    choices: Callable[[np.random.Generator, str, Q.Turn], tuple[str, ...]]
    scores: dict[str, str]
    methods: tuple[str, ...] = tuple(METHODS)
    prefix: str = ""
    unseen: bool = True

    @property
    def shared(self) -> str:
        return f"{self.prefix}sequential"


def thing(rng: np.random.Generator, task: str) -> Shown:
    """A scene of the ten concepts that ``task`` teaches, asked about in its one form."""
    scene = scene_for(rng, task, TRAINED_STYLES, SKEW)
    return scene, turns_for(rng, task, scene)


def _things(task: str, styles, count: int, seed: int, stage: str) -> Items:
    return evalsets.examples(task, learnt_in(task), styles, count, seed, stage)


def _thing_choices(rng: np.random.Generator, task: str, turn: Q.Turn) -> tuple[str, ...]:
    return evalsets.choices_for(rng, task, turn, learnt_in(task))


def _base(task: str) -> list[str]:
    return learnt_in("base")


COURSES = {
    "things": Course(TASKS, thing, learnt_in, _things, _thing_choices, {}),
    "forms": Course(
        forms.TASKS, forms.shown, _base, forms.examples, forms.choices, forms.SCORES, forms.METHODS, "forms-", False
    ),
}
"""*Things*: new things, each task in another form. *Forms*: things the base knows, in forms it was never asked for."""
