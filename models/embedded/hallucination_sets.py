"""What measures object hallucination in the embedded world: POPE's questions and CHAIR's captions, by seed.

Scenes show two or three things, each the usual partner of something that is *not* there (training scenes show a thing
with its partner half of the time), every other scene in the art style never trained on. Nothing is stored: a scene is
drawn again when its picture is asked for.

POPE (Li et al. 2023, arXiv 2305.10355) asks as many questions about things that are there as about things that are
not, and draws the absent ones three ways: any thing (``random``), one that training shows more often than others
(``popular``), the one that training shows most often beside what is there (``adversarial``).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.embedded.concepts import CONCEPTS, PARTNERS, learnt_in
from models.embedded.evalsets import PIXELS
from models.embedded.fit import generator
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.questions import caption_text
from models.embedded.scenes import Scene, arrange

SUBSETS = ("random", "popular", "adversarial")
SEEN, UNSEEN = "drawings seen", "style never seen"
EXISTENCE, CAPTIONS = 126, 320  # scenes: 504 questions a subset, and as many captions
A_SCENE = 2  # questions about things that are there; as many about absent ones, for each subset
CAPTION = "Describe the picture."


@dataclass(frozen=True)
class Probe:
    """One question about a scene with its true answer, the ``subsets`` of POPE that ask it, and its art (``segment``).

    Things that are there are asked for in all three subsets, and an absent one may be drawn by several.
    """

    scene: Scene
    question: str
    answer: str
    style: str
    segment: str
    subsets: tuple[str, ...] = ()

    @property
    def usual(self) -> bool:
        """Whether it asks for an absent thing that is the partner of one that is there."""
        partners = (CONCEPTS[PARTNERS[name]].a for name in self.scene.counts)
        return self.answer == "no" and any(f" {a} " in self.question for a in partners)

    def picture(self) -> Image.Image:
        """The scene as RGB, as large as those of the evaluation sets."""
        return self.scene.render(PIXELS)


def popular() -> list[str]:
    """Base concepts that training scenes show more often than the others: exactly those with a base partner.

    Names are drawn uniformly there, except for the partners of what was drawn before.
    """
    pool = learnt_in("base")
    return [name for name in pool if PARTNERS.get(name) in pool]


def scene(seed: int, number: int) -> Scene:
    """Two or three things, none of which is there with its partner; even numbers in the art styles of training."""
    rng = generator(seed, "hallucination", number)
    names: list[str] = []
    for name in rng.permutation(popular()):
        if PARTNERS[name] not in names:
            names.append(str(name))
        if len(names) == A_SCENE + number // 2 % 2:
            break
    return arrange(rng, names, (UNSEEN_STYLE,) if number % 2 else TRAINED_STYLES)


def existence(scenes: int = EXISTENCE, seed: int = 0) -> list[Probe]:
    """POPE's questions: for each scene two that are there and two that are not, the latter for each subset."""
    found = []
    for number in range(scenes):
        shown, rng = scene(seed, number), generator(seed, "hallucination-questions", number)
        there = [str(n) for n in rng.permutation(list(shown.counts))[:A_SCENE]]
        asked = dict.fromkeys(there, SUBSETS)
        for subset, names in _absent(rng, shown, there).items():
            for name in names:
                asked[name] = (*asked.get(name, ()), subset)
        for name, subsets in asked.items():
            question = f"Is there {CONCEPTS[name].a} in the picture?"
            answer = "yes" if name in there else "no"
            found.append(Probe(shown, question, answer, "yes/no", _segment(number), subsets))
    return found


def captions(scenes: int = CAPTIONS, seed: int = 0) -> list[Probe]:
    """CHAIR's items: a request for a sentence, and the true one, which names all that is there."""
    shown = [scene(seed, number) for number in range(scenes)]
    return [Probe(s, CAPTION, caption_text(s), "sentence", _segment(i)) for i, s in enumerate(shown)]


def fingerprint(probes: Sequence[Probe]) -> str:
    """A short text that changes when a scene, a question or an answer does."""
    told = [[p.scene.to_dict(), p.question, p.answer, p.subsets] for p in probes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _segment(number: int) -> str:
    return UNSEEN if number % 2 else SEEN


def _absent(rng: np.random.Generator, shown: Scene, there: Sequence[str]) -> dict[str, list[str]]:
    """For each subset the absent things that are asked for."""

    def drawn(names) -> list[str]:
        return [str(n) for n in rng.permutation([n for n in names if n not in shown.counts])[:A_SCENE]]

    partners = [PARTNERS[name] for name in there]
    return {"random": drawn(learnt_in("base")), "popular": drawn(popular()), "adversarial": partners}
