"""What is known about the picture on the page: the things in it, questions with their true answers, and what of it the
embedded default was taught.
"""

import json
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.wording import listed
from models.catalog import EMBEDDED, NEXT
from models.embedded import taught
from models.embedded.concepts import CONCEPTS, TASKS
from models.embedded.questions import Turn, for_task, recognised
from models.embedded.scenes import Scene
from models.manifest import BASE

SHOWN = 448  # pixels
_NAMED = 3  # words that are told by name
_EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples" / "examples.json"


@dataclass(frozen=True)
class Known:
    """A composed scene (None: no picture) and questions about it, each with its true answer."""

    scene: Scene | None
    turns: tuple[Turn, ...]

    def turn(self, question: str) -> Turn | None:
        """The suggested question that ``question`` is, word for word, or one that its scene answers; else None."""
        asked = question.split()
        suggested = next((t for t in self.turns if t.question.split() == asked), None)
        return suggested or (recognised(question, self.scene) if self.scene else None)

    @property
    def contents(self) -> Counter | None:
        """How many of each thing are in the picture; None where there is no picture."""
        return self.scene.counts if self.scene else None

    def picture(self) -> Image.Image | None:
        return self.scene.render(SHOWN) if self.scene else None


@dataclass(frozen=True)
class Example:
    """A ready-made picture with questions. ``name`` is its place in a link, ``title`` what it shows."""

    name: str
    title: str
    known: Known


def questions_about(scene: Scene) -> Known:
    """One question of each kind that fits the scene, always the same for the same scene."""
    rng = np.random.default_rng(zlib.crc32(json.dumps(asdict(scene)).encode()))
    turns = (for_task(rng, task, scene, list(CONCEPTS)) for task in TASKS)
    return Known(scene, tuple(t for t in turns if t is not None))


def untaught(
    known: Known | None, path: str | None, question: str, checkpoint: str = BASE, model: str = EMBEDDED
) -> str:
    """Why what a checkpoint of an embedded ``model`` says of this picture (``path``) and question is a guess, every
    reason in one sentence; empty where it was taught to answer the like: a picture made of its drawings, and a
    question in words and in a form that its own have, about things that it was shown, the true answer among them.
    """
    why = ["was taught drawings of everyday things, no photos"] if path and known is None else []
    turn = known.turn(question) if known else None
    if path and (unseen := taught.unseen(f"{question} {turn.answer if turn else ''}", checkpoint)):
        why.append(f"was not yet shown {listed([thing.a for thing in unseen])} at the checkpoint {checkpoint}")
    if question.strip() and not turn and model != NEXT:  # which says itself what it does not know, and met more words
        if strange := taught.strange(question):
            told = [f"“{word}”" for word in strange[:_NAMED]] + ["others"] * (len(strange) > _NAMED)
            why.append(f"was not taught the word{'s' * (len(strange) > 1)} {listed(told)}")
        if taught.odd(question, alone=path is None):
            why.append("was not taught to answer questions like this one")
    return f"Treat this as a guess: {model.partition(' (')[0]} {'; it '.join(why)}." if why else ""


@cache
def examples() -> dict[str, Example]:
    """The example gallery, by name."""
    found = {}
    for entry in json.loads(_EXAMPLES.read_text(encoding="utf-8")):
        scene = Scene.from_dict(entry["scene"]) if entry["scene"] else None
        turns = tuple(Turn(**{**turn, "choices": tuple(turn["choices"])}) for turn in entry["turns"])
        found[entry["name"]] = Example(entry["name"], entry["title"], Known(scene, turns))
    return found
