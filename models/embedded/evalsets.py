"""The evaluation sets: one JSONL file a task, on drawings in an art style that no training ever saw."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.embedded import questions as Q
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.fit import generator
from models.embedded.pictures import UNSEEN_STYLE
from models.embedded.scenes import Scene, random_scene
from models.embedded.tasks import COUNTS

ITEMS = 240
PIXELS = 224
OPTIONS = 4


def examples(task: str, pool, styles, count: int, seed: int, stage: str) -> Iterator[tuple[Scene, Q.Turn]]:
    """``count`` scenes with one question of ``task`` each: balanced co-occurrence, as many yes as no."""
    made = attempt = 0
    while made < count:
        rng = generator(seed, stage, attempt)
        attempt += 1
        scene = random_scene(rng, pool, styles, 0.0, COUNTS.get(task, (1, 2, 3, 4)))
        turn = Q.exist(rng, scene, pool, made % 2 == 0) if task == "existence" else Q.for_task(rng, task, scene, pool)
        if turn is not None:
            made += 1
            yield scene, turn


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


def write(out: Path, seed: int) -> None:
    """Write ``<task>.jsonl`` and the pictures they name into ``out``."""
    for task in TASKS:
        pool, lines = learnt_in(task), []
        found = examples(task, pool, (UNSEEN_STYLE,), ITEMS, seed, f"evaluation-{task}")
        for i, (scene, turn) in enumerate(found):
            image = drawn(scene, out, f"{task}-{i:03}")
            item = {"image": image, "question": turn.question, "answer": turn.answer, "style": turn.style}
            if options := choices_for(generator(seed, f"options-{task}", i), task, turn, pool):
                item["choices"] = options
            lines.append(json.dumps(item, ensure_ascii=False))
        (out / f"{task}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
