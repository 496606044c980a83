"""Modality conflicts of the embedded world, by seed: a picture of one thing, a text that names another, one question.

Either side is made harder: more of the thing is covered, the text is worded with more doubt or takes two steps. Nothing
is stored: a scene is drawn again when its picture is asked for.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageDraw

from models.embedded.concepts import CONCEPTS, learnt_in
from models.embedded.evalsets import PIXELS
from models.embedded.fit import generator
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import Scene, random_scene

OCCLUSIONS = (0.0, 0.3, 0.6)  # share of the thing's box that is covered
TEXTS = {
    "direct": "Text: There is {a}.",
    "hedged": "Text: Perhaps this is {a}.",
    "two-step": "Text: There is what you can see. You can see {a}.",
    "guessed": "Text: Somebody guessed {a}.",
}
WORDINGS = ("direct", "hedged", "two-step")
"""The tiers of ``TEXTS`` that conflicts have where no others are asked for."""
RELIABILITY = {"direct": 0.95, "hedged": 0.6, "guessed": 0.4}
COVERS = {0.0: 0.85, 0.2: 0.85 - 0.35 / 3, 0.4: 0.85 - 0.7 / 3, 0.6: 0.5}
"""How often a text so worded, and a picture so covered, is right in the world that the conflict checkpoints are trained
in (``models.embedded.conflict``)."""
SIDES = ("left", "right", "top", "bottom")
QUESTION = "What is there?"
_GREY = (127, 127, 127)


@dataclass(frozen=True)
class Triplet:
    """A picture of ``seen``, a ``text`` that says ``told``, and one question. ``occlusion`` and ``tier`` are the
    difficulty of either side: share of the thing that ``side`` covers, and a key of ``TEXTS``."""

    scene: Scene
    seen: str
    told: str
    tier: str
    occlusion: float = 0.0
    side: str = "left"
    question: str = QUESTION

    @property
    def text(self) -> str:
        return TEXTS[self.tier].format(a=CONCEPTS[self.told].a)

    def picture(self, size: int = PIXELS) -> Image.Image:
        """The scene with a share of its thing's box covered in grey from one side; RGB, ``size`` x ``size``."""
        image = self.scene.render(size)
        left, top, right, bottom = (size * v for v in self.scene.items[0].box)
        across, down = self.occlusion * (right - left), self.occlusion * (bottom - top)
        box = {
            "left": (left, top, left + across, bottom), "right": (right - across, top, right, bottom),
            "top": (left, top, right, top + down), "bottom": (left, bottom - down, right, bottom),
        }[self.side]  # fmt: skip
        x0, y0, x1, y1 = (round(v) for v in box)
        if x1 > x0 and y1 > y0:
            ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill=_GREY)
        return image


def triplet(rng: np.random.Generator, pool: Sequence[str], styles: Sequence[str], tier: str, cover: float) -> Triplet:
    """One conflict of that difficulty: a scene of one thing of ``pool`` in one of ``styles``, a text of another."""
    scene = random_scene(rng, pool, styles, 0.0, (1,))
    (seen,) = scene.counts
    told = str(rng.choice([name for name in pool if name != seen]))
    return Triplet(scene, seen, told, tier, cover, str(rng.choice(SIDES)))


def triplets(
    count: int, seed: int = 0, stage: str = "base", tiers: Sequence[str] = WORDINGS,
    covers: Sequence[float] = OCCLUSIONS, styles: Sequence[str] = TRAINED_STYLES,
) -> list[Triplet]:  # fmt: skip
    """``count`` conflicts about the concepts of ``stage``, all pairs of difficulty equally often; the same for the same
    seed.
    """
    pool, found = learnt_in(stage), []
    for i in range(count):
        cover, tier = covers[i % len(covers)], tiers[i // len(covers) % len(tiers)]
        found.append(triplet(generator(seed, "conflict", i), pool, styles, tier, cover))
    return found


def digest(items: Sequence[Triplet]) -> str:
    """A short text that is the same for the same scenes, texts and questions."""
    told = [{**asdict(item), "text": item.text} for item in items]
    return hashlib.sha256(json.dumps(told, default=float).encode()).hexdigest()[:16]
