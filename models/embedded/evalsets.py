"""The evaluation sets: JSONL files of scenes never trained on, each with one question.

Of a course there are three kinds, each a file a task: on drawings of the art styles seen in training (``<task>.jsonl``,
on which methods are compared), on a style that no training ever saw (``unseen/``), and of what the base could do before
(``base/``: the six question types on base concepts, the same for all courses).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.embedded import questions as Q
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.fit import generator
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.scenes import Scene, random_scene
from models.embedded.tasks import COUNTS

if TYPE_CHECKING:
    from models.embedded.continual.course import Course

ITEMS = 240
PIXELS = 224
OPTIONS = 4
UNSEEN, BASE_KEPT, ORIGINAL = "style never seen", "base kept", "original forms"
FOLDERS = {UNSEEN: "unseen", BASE_KEPT: "base", ORIGINAL: "base"}
"""The kinds of sets that stand beside a course's own, and the folder of each. ``ORIGINAL`` are those of ``BASE_KEPT``
where a course teaches new forms for them: then they are asked after every task."""

Items = Iterator[tuple[Scene, Q.Turn]]


def fitting(kind: str, pool, styles, count: int, seed: int, stage: str, make: Callable[..., Q.Turn | None]) -> Items:
    """``count`` scenes of ``pool``, with as many drawings as questions of ``kind`` have, each with the turn that
    ``make(rng, scene, truth)`` gives: balanced co-occurrence, as many true as not; None where none fits a scene.
    """
    made = attempt = 0
    while made < count:
        rng = generator(seed, stage, attempt)
        attempt += 1
        scene = random_scene(rng, pool, styles, 0.0, COUNTS.get(kind, (1, 2, 3, 4)))
        turn = make(rng, scene, made % 2 == 0)
        if turn is not None:
            made += 1
            yield scene, turn


def examples(task: str, pool, styles, count: int, seed: int, stage: str) -> Items:
    """``count`` scenes with one question of ``task`` each: as many yes as no."""

    def make(rng, scene, truth):
        return Q.exist(rng, scene, pool, truth) if task == "existence" else Q.for_task(rng, task, scene, pool)

    return fitting(task, pool, styles, count, seed, stage, make)


def choices_for(rng: np.random.Generator, task: str, turn: Q.Turn, pool) -> tuple[str, ...]:
    """Closed options of a turn: its own, or drawn from the pool for a name, or the numerals."""
    if turn.choices:
        return turn.choices
    if task == "naming":
        wrong = [n for n in pool if n != turn.answer]
        return tuple(str(n) for n in rng.permutation([turn.answer, *rng.permutation(wrong)[: OPTIONS - 1]]))
    return ("0", "1", "2", "3", "4") if task == "counting" else ()


def drawn(scene: Scene, out: Path, name: str) -> str:
    """Write the picture of a scene into ``out``; how a set in there names it."""
    path = f"pictures/{name}.webp"
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    scene.render(PIXELS).save(out / path, "WEBP", quality=80, method=6)
    return path


def write(out: Path, seed: int, course: "Course") -> None:
    """Write the sets of a course, and the pictures they name, into ``out``; ``write_base`` those of the base."""
    styles = {out: (TRAINED_STYLES, "evaluation-seen")}
    if course.unseen:
        styles[out / FOLDERS[UNSEEN]] = (UNSEEN_STYLE,), "evaluation"
    for task in course.tasks:
        options = lambda rng, turn, task=task: course.choices(rng, task, turn)  # noqa: E731
        for folder, (drawn_in, stage) in styles.items():
            found = course.examples(task, drawn_in, ITEMS, seed, f"{stage}-{task}")
            _write(folder, task, found, options, seed, course.scores.get(task))


def write_base(out: Path, seed: int) -> None:
    """Write the sets of what the base could do into ``out``, the folder of a course's sets."""
    pool = learnt_in("base")
    for task in TASKS:
        found = examples(task, pool, TRAINED_STYLES, ITEMS, seed, f"evaluation-base-{task}")
        options = lambda rng, turn, task=task: choices_for(rng, task, turn, pool)  # noqa: E731
        _write(out / FOLDERS[BASE_KEPT], task, found, options, seed)


def _write(out: Path, task: str, found: Items, options: Callable, seed: int, rule: str | None = None) -> None:
    lines = []
    for i, (scene, turn) in enumerate(found):
        image = drawn(scene, out, f"{task}-{i:03}")
        item = {"image": image, "question": turn.question, "answer": turn.answer, "style": turn.style}
        if choices := options(generator(seed, f"options-{task}", i), turn):
            item["choices"] = choices
        lines.append(json.dumps(item | ({"score": rule} if rule else {}), ensure_ascii=False))
    (out / f"{task}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
