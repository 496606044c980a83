"""What is known about the picture on the page: the things in it, questions with their true answers, and what of it the
embedded default was taught.
"""

import json
import re
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from models.embedded import phrases
from models.embedded.concepts import CONCEPTS, KINDS, TASKS
from models.embedded.questions import Turn, for_task
from models.embedded.scenes import Scene

SHOWN = 448  # pixels
_EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples" / "examples.json"


@dataclass(frozen=True)
class Known:
    """A composed scene (None: no picture) and questions about it, each with its true answer."""

    scene: Scene | None
    turns: tuple[Turn, ...]

    def turn(self, question: str) -> Turn | None:
        """The suggested question that ``question`` is, word for word; None for a visitor's own wording."""
        asked = question.split()
        return next((t for t in self.turns if t.question.split() == asked), None)

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


_NOT_YET = ("ANOTHER", "KIND_AT", "OTHER_WORD")  # of ``phrases``: the weights in the box never met these
_PHOTO = "Treat this as a guess: crosstalk-mini was taught drawings of everyday things, no photos."
_UNTAUGHT = "Treat this as a guess: crosstalk-mini was not taught to answer questions like this one."


def untaught(known: Known | None, path: str | None, question: str) -> str:
    """Why what the embedded default says of this picture (``path``) and question is a guess; empty where it was taught
    to answer the like: a picture made of its drawings, and no word that none of its questions has.
    """
    if path and known is None:
        return _PHOTO
    if known and known.turn(question):
        return ""
    words = set(re.findall(r"[a-z']+", question.lower()))
    return "" if words <= _taught(alone=path is None) else _UNTAUGHT


@lru_cache(maxsize=2)
def _taught(alone: bool) -> frozenset[str]:
    """The words of all questions that the embedded default was taught; greetings only where there is no picture."""
    told = {n: of for n, of in vars(phrases).items() if n.isupper() and n not in ("GREETING", *_NOT_YET)}
    texts = [text for wordings in told.values() if isinstance(wordings, tuple) for text in wordings]
    texts += [text for wordings in phrases.FORMAT.values() for text in wordings]
    texts += phrases.GREETING if alone else ()
    texts += [f"{c.name} {c.a} {c.plural}" for c in CONCEPTS.values()] + [f"{kind} {kind}s a an" for kind in KINDS]
    texts.append("top bottom left right middle above below of text option things objects a b c d no one two three four")
    return frozenset(re.findall(r"[a-z']+", " ".join(texts).lower()))


@lru_cache(maxsize=1)
def examples() -> dict[str, Example]:
    """The example gallery, by name."""
    found = {}
    for entry in json.loads(_EXAMPLES.read_text(encoding="utf-8")):
        scene = Scene.from_dict(entry["scene"]) if entry["scene"] else None
        turns = tuple(Turn(**{**turn, "choices": tuple(turn["choices"])}) for turn in entry["turns"])
        found[entry["name"]] = Example(entry["name"], entry["title"], Known(scene, turns))
    return found
