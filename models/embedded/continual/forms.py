"""The course *Forms*: six answer forms the base was never asked for, about the sixty concepts it knows.

Knowledge is never in question: what is lost from one task to the next is the form. Each question is one the base
answers, with a request for the new form behind it, so that both forms can be known at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.answers import options_in
from models.embedded import evalsets
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, learnt_in
from models.embedded.packing import Branch
from models.embedded.parent import varied
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import ZONES, Scene
from models.embedded.tasks import SKEW, scene_for

METHODS = ("sequential", "no-general", "replay", "sefe", "asd")
"""What is tried on it: forgetting that is nearly all superficial is what ASD is against."""

TASKS = ("capitals", "words", "presence", "zones", "options", "lists")
ASKED = dict(zip(TASKS, ("naming", "counting", "existence", "grounding", "choice", "captioning"), strict=True))
"""The kind of question whose answers a form is for."""

REQUESTS = {
    "capitals": (
        "In capitals, with a full stop.", "Use capital letters and a full stop.", "Capitals, please, and a full stop.",
    ),
    "words": ("In words, no digits.", "Write the number as a word.", "Spell the number out."),
    "presence": ("Say present or absent.", "Present or absent?", "Is it present or absent?"),
    "zones": ("Name the part of the picture.", "Say which part of the picture.", "In words, which part is it?"),
    "options": ("Repeat the option, not its letter.", "Write out the option.", "Say the option itself."),
    "lists": ("As a list with commas.", "Just list the things, with commas.", "A list, no sentence."),
}  # fmt: skip
"""How each form is asked for; none is a wording of ``phrases.FORMAT``."""

_WORDS = ("zero", *Q.NUMBERS[1:])
SCORES = {"capitals": "verbatim", "lists": "list"}
"""The rule of ``models.scoring`` that holds an answer to its form, where an exact match of words does not."""


@dataclass(frozen=True)
class Formed(Q.Turn):
    """A question in a new form; ``plain`` is the same as the base knows it."""

    plain: Q.Turn | None = None


def formed(rng: np.random.Generator, task: str, scene: Scene, turn: Q.Turn) -> Formed:
    """``turn``, of the kind ``ASKED[task]``, asked in the form of ``task``."""
    answer, choices = _answer(task, scene, turn), ()
    if task == "presence":
        choices = ("present", "absent")
    elif task == "options":
        choices = tuple(options_in(turn.question).values())
    requests = REQUESTS[task]
    question = f"{turn.question} {requests[rng.integers(len(requests))]}"
    style = {"lists": "other"}.get(task, "word")
    return Formed(question, answer, style, choices, turn)


def _answer(task: str, scene: Scene, turn: Q.Turn) -> str:
    if task == "capitals":
        return f"{turn.answer.upper()}."
    if task == "words":
        return _WORDS[int(turn.answer)]
    if task == "presence":
        return "present" if turn.answer == "yes" else "absent"
    if task == "zones":
        return next(item.zone for item in scene.items if Q.box_text(item.box) == turn.answer)
    if task == "options":
        return options_in(turn.question)[turn.answer]
    first = {item.name: ZONES.index(item.zone) for item in sorted(scene.items, key=lambda i: -ZONES.index(i.zone))}
    amounts = sorted(scene.counts.items(), key=lambda pair: first[pair[0]])
    return ", ".join(name if n == 1 else f"{_WORDS[n]} {CONCEPTS[name].plural}" for name, n in amounts)


def _turn(rng: np.random.Generator, task: str, scene: Scene, truth: bool | None = None) -> Formed | None:
    """One question of ``task`` about ``scene``; None where none fits, and of a place that is close to another."""
    pool, kind = learnt_in("base"), ASKED[task]
    turn = Q.exist(rng, scene, pool, truth) if kind == "existence" else Q.for_task(rng, kind, scene, pool)
    if turn is None:
        return None
    if task == "zones":
        item = next(item for item in scene.items if Q.box_text(item.box) == turn.answer)
        if not item.clearly_in_zone:
            return None
    return formed(rng, task, scene, turn)


def shown(rng: np.random.Generator, task: str) -> tuple[Scene, list[Branch]]:
    """A scene of base concepts, and one to four questions about it in the form of ``task``; half of the answers about
    presence are *present*."""
    while True:
        scene = scene_for(rng, ASKED[task], TRAINED_STYLES, SKEW, learnt_in("base"))
        many = {"lists": 1, "options": 2}.get(task, 4)
        turns = [_turn(rng, task, scene, i % 2 == 0) for i in range(many)]
        if branches := [Branch((varied(rng, turn),)) for turn in turns if turn is not None]:
            return scene, branches


def examples(task: str, styles, count: int, seed: int, stage: str) -> Iterator[tuple[Scene, Q.Turn]]:
    """``count`` scenes of base concepts with one question of ``task`` each, as ``evalsets.examples`` draws them."""

    def make(rng, scene, truth):
        return _turn(rng, task, scene, truth)

    return evalsets.fitting(ASKED[task], learnt_in("base"), styles, count, seed, stage, make)


def choices(rng: np.random.Generator, task: str, turn: Q.Turn) -> tuple[str, ...]:
    """Closed options of a turn, in its form; none for a list."""
    if turn.choices or task == "lists":
        return turn.choices
    if task == "words":
        return _WORDS
    if task == "zones":
        return ZONES
    wrong = [name for name in learnt_in("base") if f"{name.upper()}." != turn.answer]
    drawn = [f"{name.upper()}." for name in rng.permutation(wrong)[: evalsets.OPTIONS - 1]]
    return tuple(str(name) for name in rng.permutation([turn.answer, *drawn]))

