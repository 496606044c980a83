"""Perturbed copies of training questions: another sentence in front, or a picture that has nothing to do with it.

The heuristics of arXiv 2505.19616. What a copy is measured with later (``analysis/interference``) is kept out of
training where that can be. Sentences: no statement begins as the measured one does ("The picture shows a bee.");
facts, denials and instructions have wordings of their own. The parts of an instruction are questions that the model was
taught, and statements are of ``phrases.STATEMENT``: the measured dose-response uses the others of those wordings too.
Pictures: scenes are drawn from other seeds, one to four things where two or three are measured; black and white are the
same in both; noise has a spread of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from models.answers import objects_in
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import CONCEPTS, PARTNERS
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import ZONES, random_scene
from models.embedded.text import IMAGE_SIZE

MEASURED = "The picture shows"
"""How the statements begin that copies are measured with: none that is trained on does."""
STATEMENTS = tuple(w for w in P.STATEMENT if not w.startswith(MEASURED))
FACTS = (
    "Most people call {a} {akind}.", "To us {a} is {akind}.", "{a} may be found with {partner}.",
    "One can put {a} next to {partner}.",
)  # fmt: skip
DENIALS = ("I see no {name}.", "This is not {a}.", "You cannot see {a}.", "We have no {name}.")
INSTEAD = ("No, answer this:", "Leave that. Here is the question:", "But first tell me:")
_FORMS = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}


def _pick(rng: np.random.Generator, sequence):
    return sequence[rng.integers(len(sequence))]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def named_in(turn: Q.Turn) -> frozenset[str]:
    """The concepts that a question or its answer names."""
    return frozenset(objects_in(f"{turn.question} {turn.answer}", _FORMS))


def unrelated(rng: np.random.Generator, others: Sequence[str]) -> str:
    """A true sentence about something else."""
    about = CONCEPTS[_pick(rng, [n for n in others if CONCEPTS[n].kind != "thing"])]
    partner = PARTNERS.get(about.name)
    wordings = [w for w in FACTS if "{partner}" not in w or partner in others]
    akind = ("an " if about.kind[0] in "aeiou" else "a ") + about.kind
    slots = {"a": about.a, "akind": akind, "partner": CONCEPTS[partner].a if partner else ""}
    return _sentence(_pick(rng, wordings).format(**slots))


def misleading(rng: np.random.Generator, others: Sequence[str]) -> str:
    """A statement that something else is there."""
    return _sentence(_pick(rng, STATEMENTS).format(a=CONCEPTS[_pick(rng, others)].a, at=Q.at(_pick(rng, ZONES))))


def contradiction(rng: np.random.Generator, truth: str, others: Sequence[str]) -> str:
    """A denial of the truth, and the claim of something else."""
    denial = _pick(rng, DENIALS).format(name=truth, a=CONCEPTS[truth].a)
    return f"{_sentence(denial)} {misleading(rng, others)}"


def distraction(rng: np.random.Generator) -> str:
    """Two other tasks, which are called off."""
    return f"{_pick(rng, P.CAPTION[1:])} {_pick(rng, P.COUNT_ALL[1:])} {_pick(rng, INSTEAD)}"


def with_sentence(rng: np.random.Generator, turn: Q.Turn, pool: Sequence[str]) -> Q.Turn:
    """The question, whose answer is the name of the one thing in the picture, with a sentence in front of it.

    One of the four kinds, equally often; options and answer stay.
    """
    others = [n for n in pool if n != turn.answer]
    kind = rng.integers(4)
    if kind == 0:
        text = unrelated(rng, others)
    elif kind == 1:
        text = misleading(rng, others)
    elif kind == 2:
        text = contradiction(rng, turn.answer, others)
    else:
        text = distraction(rng)
    return replace(turn, question=f"{text} {turn.question}")


def junk_picture(rng: np.random.Generator, turn: Q.Turn, pool: Sequence[str]) -> torch.Tensor:
    """A picture for a question without one, as the tower reads it: float32 ``[3, S, S]`` in -1..1.

    Equally often: a scene of things that the question does not name, black, white, Gaussian noise around grey.
    """
    kind = rng.integers(4)
    if kind == 0:
        named = named_in(turn)
        scene = random_scene(rng, [n for n in pool if n not in named], TRAINED_STYLES, 0.0)
        return augment(rng, stack([scene.render(IMAGE_SIZE)]), MILD)[0]
    if kind < 3:
        return torch.full((3, IMAGE_SIZE, IMAGE_SIZE), -1.0 if kind == 1 else 1.0)
    noise = rng.normal(0.0, rng.uniform(0.1, 0.5), (3, IMAGE_SIZE, IMAGE_SIZE))
    return torch.from_numpy(noise).float().clamp(-1, 1)
