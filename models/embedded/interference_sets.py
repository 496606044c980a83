"""Evaluation sets for modality interference: what needs the picture alone, the text alone, or both.

As in arXiv 2505.19616: *image-heavy* (naming a drawing: a sentence beside it should not matter), *text-heavy*
(questions without a picture: a picture beside them should not matter) and *multimodal* (both are needed). Half of
what has a picture is drawn in a style that no training ever saw; ``segment`` says which.

Scenes and questions are drawn with seeds of their own. What a thing is, though, is a fact about sixty things: the
text-heavy questions ask for the same facts that every training does, so that set shows whether a picture disturbs what
is known, not what is new.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.embedded import ASSETS
from models.embedded import questions as Q
from models.embedded.concepts import learnt_in
from models.embedded.evalsets import choices_for, drawn
from models.embedded.fit import generator
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.scenes import Scene, random_scene
from models.embedded.tasks import COUNTS

INTERFERENCE = ASSETS / "interference"
ITEMS = 300
SEEN, UNSEEN = "drawings seen", "style never seen"
STYLES = {SEEN: TRAINED_STYLES, UNSEEN: (UNSEEN_STYLE,)}
TEXTS = {
    "kind of a thing": Q.kind_of, "is it a kind": Q.is_a, "choice by kind": Q.choice_kind,
    "reading a statement": Q.read,
}  # fmt: skip
"""What a question without a picture asks; also the segments of that set."""
BOTH = ("choice", "existence", "counting")
"""Tasks that need the picture and the question."""


def image_heavy(rng: np.random.Generator, pool, styles) -> tuple[Scene, Q.Turn]:
    """What is this? About a scene of one drawing; the answer is its name."""
    scene = random_scene(rng, pool, styles, 0.0, (1,))
    return scene, Q.name(rng, scene, pool)


def text_heavy(rng: np.random.Generator, kind: str, pool, truth: bool) -> Q.Turn:
    """A question without a picture, of one of ``TEXTS``; yes/no questions have the answer ``truth``.

    Only readings that ask for a name: whether the text says that there is a bee is a question that a picture may
    answer too.
    """
    while True:
        turn = TEXTS[kind](rng, pool)
        if kind == "is it a kind" and turn.answer == ("yes" if truth else "no"):
            return turn
        if kind != "is it a kind" and turn.style != "yes/no":
            return turn


def multimodal(
    rng: np.random.Generator, task: str, pool, styles, truth: bool, skew: float = 0.0
) -> tuple[Scene, Q.Turn]:
    """A scene and a question about it, of one of ``BOTH``; yes/no questions have the answer ``truth``.

    ``skew`` is how often a thing comes with its partner, see ``scenes.choose_names``.
    """
    scene = random_scene(rng, pool, styles, skew, COUNTS.get(task, (1, 2, 3, 4)))
    turn = Q.exist(rng, scene, pool, truth) if task == "existence" else Q.for_task(rng, task, scene, pool)
    return scene, turn


def items(name: str, seed: int) -> Iterator[tuple[str, str, Scene | None, Q.Turn]]:
    """(segment, what is asked, scene or None, question) of each of the ``ITEMS`` of a set; segments take turns."""
    pool, halves = learnt_in("base"), tuple(STYLES.items())
    for i in range(ITEMS):
        rng = generator(seed, f"interference-{name}", i)
        if name == "image-heavy":
            segment, styles = halves[i % 2]
            yield segment, "naming", *image_heavy(rng, pool, styles)
        elif name == "text-heavy":
            kind = tuple(TEXTS)[i % len(TEXTS)]
            yield kind, "naming", None, text_heavy(rng, kind, pool, i // len(TEXTS) % 2 == 0)
        else:
            task, turn = BOTH[i % len(BOTH)], i // len(BOTH)
            segment, styles = halves[turn % 2]
            yield segment, task, *multimodal(rng, task, pool, styles, turn // 2 % 2 == 0)


SETS = ("image-heavy", "text-heavy", "multimodal")


def write(out: Path, seed: int) -> None:
    """Write ``<set>.jsonl`` for each of ``SETS``, and the pictures they name, into ``out``."""
    pool = learnt_in("base")
    out.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        lines = []
        for i, (segment, task, scene, turn) in enumerate(items(name, seed)):
            item = {} if scene is None else {"image": drawn(scene, out, f"{name}-{i:03}")}
            item |= {"question": turn.question, "answer": turn.answer, "style": turn.style, "segment": segment}
            item["choices"] = choices_for(generator(seed, f"interference-options-{name}", i), task, turn, pool)
            lines.append(json.dumps(item, ensure_ascii=False))
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
