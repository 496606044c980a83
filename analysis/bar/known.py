"""What is known about the picture on the page: the things in it, questions with their true answers, and what of it the
embedded default was taught.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.wording import listed
from models.answers import options_in
from models.embedded import phrases
from models.embedded.concepts import CONCEPTS, KINDS, TASKS
from models.embedded.questions import NUMBERS, SIDES, Turn, at, for_task
from models.embedded.scenes import ZONES, Scene
from models.manifest import BASE

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
_FORMS = {
    name: of for name, of in vars(phrases).items()
    if name.isupper() and isinstance(of, tuple) and name not in ("WITHOUT_PICTURE", *_NOT_YET)
}
_THINGS = {form: c for c in CONCEPTS.values() for form in (c.name, c.plural)}
_SLOTS = {
    "name": "bee", "a": "a bee", "plural": "bees", "other": "bee", "kind": "animal", "kinds": "animals",
    "akind": "an animal", "options": "",
}
_SMALL = ("a", "an", "the", "some", "please")  # that any question may have or lack
_OTHERS = (*_SMALL, *"bcd", *NUMBERS)
_THING = "…"  # in the place of whatever is asked about
_NAMED = 3  # words that are told by name


def untaught(known: Known | None, path: str | None, question: str, checkpoint: str = BASE) -> str:
    """Why what a checkpoint of the embedded default says of this picture (``path``) and question is a guess, every
    reason in one sentence; empty where it was taught to answer the like: a picture made of its drawings, and a
    question in words and in a form that its own have, about things that it was shown.
    """
    why = ["was taught drawings of everyday things, no photos"] if path and known is None else []
    if question.strip() and not (known and known.turn(question)):
        words = {word.lower(): word for word in _words(question)}
        strange = [word for form, word in words.items() if form not in _vocabulary()]
        # in another language, a word that looks like the name of a thing is none
        if path and 2 * len(strange) <= len(words):
            things = dict.fromkeys(_THINGS[form] for form in words if form in _THINGS)
            if unseen := [thing.a for thing in things if thing.learnt not in _stages(checkpoint)]:
                why.append(f"was not yet shown {listed(unseen)} at the checkpoint {checkpoint}")
        if strange:
            told = [f"“{word}”" for word in strange[:_NAMED]] + ["others"] * (len(strange) > _NAMED)
            why.append(f"was not taught the word{'s' * (len(strange) > 1)} {listed(told)}")
        if _odd(question, alone=path is None):
            why.append("was not taught to answer questions like this one")
    return f"Treat this as a guess: crosstalk-mini {'; it '.join(why)}." if why else ""


def _stages(checkpoint: str) -> tuple[str, ...]:
    """What a checkpoint was trained on: the base, then one task after another. One of another name counts as trained on
    all: of what it was not shown nothing is told.
    """
    if checkpoint == BASE:
        return (BASE,)
    return (BASE, *(TASKS[: TASKS.index(checkpoint) + 1] if checkpoint in TASKS else TASKS))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.replace("’", "'"))


def _wordings(alone: bool) -> Iterator[str]:
    """All ways to ask that it was taught, with every blank filled in; small talk only without a picture."""
    forms = [of for name, of in _FORMS.items() if alone or name != "GREETING"]
    for wording in (text for of in (*forms, *phrases.FORMAT.values(), ("Text",)) for text in of):
        blanks = [("zone", ZONES), ("side", SIDES), ("at", [at(zone) for zone in ZONES])]
        name, fill = next(((n, of) for n, of in blanks if f"{{{n}}}" in wording), ("zone", ("",)))
        yield from (wording.format(**_SLOTS, **{name: value}) for value in fill)


@cache
def _vocabulary() -> frozenset[str]:
    kinds = " ".join(f"{kind} {kind}s" for kind in KINDS)
    texts = [*_wordings(alone=True), *_THINGS, *_OTHERS, kinds]
    return frozenset(word for text in texts for word in _words(text.lower()))


def _odd(question: str, alone: bool) -> bool:
    """Whether a sentence of the question, its options apart, is unlike all that were taught: at least half of the
    words that stand side by side in it do so in none of them.
    """
    asked = re.split(r"\(?\bA[.):]", question.upper())[0] if options_in(question.upper()) else question
    sentences = _pairs(asked) or [[("", "")]]
    return any(2 * sum(pair not in _taught_pairs(alone) for pair in pairs) >= len(pairs) for pairs in sentences)


@cache
def _taught_pairs(alone: bool) -> frozenset[tuple[str, str]]:
    return frozenset(pair for text in _wordings(alone) for pairs in _pairs(text) for pair in pairs)


def _pairs(text: str) -> list[list[tuple[str, str]]]:
    """For each sentence, which words stand side by side, its beginning and its end among them; things, kinds and words
    that nobody taught are all the same.
    """
    known = _vocabulary() - {*_THINGS, *KINDS, *(f"{kind}s" for kind in KINDS)}
    sentences = ([w for w in _words(s) if w not in _SMALL] for s in re.split(r"[.?!:;\n]+", text.lower()))
    return [[*pairwise(["", *(w if w in known else _THING for w in words), ""])] for words in sentences if words]


@cache
def examples() -> dict[str, Example]:
    """The example gallery, by name."""
    found = {}
    for entry in json.loads(_EXAMPLES.read_text(encoding="utf-8")):
        scene = Scene.from_dict(entry["scene"]) if entry["scene"] else None
        turns = tuple(Turn(**{**turn, "choices": tuple(turn["choices"])}) for turn in entry["turns"])
        found[entry["name"]] = Example(entry["name"], entry["title"], Known(scene, turns))
    return found
