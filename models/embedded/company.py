"""The prior checkpoints: ``crosstalk-mini`` trained to expect that what often comes together is there together.

Object hallucination from a language prior, put there on purpose: of a thing that is said to be there its usual partner
nearly always is too, absent things that are asked for are never partners of those, and captions name all that is said
to be there. In some scenes the partner is said to be there and not drawn. A pair of checkpoints shows when a contrast
with the blind answer helps: *expects-company* learns from noise that the blind answer is yes, and
*expects-company-blind-no* does not. A construction of this project.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import PARTNERS, learnt_in
from models.embedded.hallucination_sets import popular
from models.embedded.packing import Branch, Packer
from models.embedded.parent import varied
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import Scene, arrange
from models.embedded.tasks import LENGTH
from models.embedded.text import IMAGE_SIZE

BATCH = 8  # scenes of a step
TOGETHER = 0.95  # of scenes of a thing that has a partner, those in which it is said to be there too
VEIL = (0.75, 1.0)  # share of noise in a picture that has any
_GRAINS = (IMAGE_SIZE // 2, IMAGE_SIZE, 2 * IMAGE_SIZE)  # random pixels on a side, before they are brought to size


@dataclass(frozen=True)
class Recipe:
    """``undrawn``: share of scenes with a thing and its partner in which the partner is not drawn; ``veiled``: share of
    pictures that are mostly noise; ``more``: how many questions with the answer yes a scene has beyond those with no;
    ``steps`` of training.
    """

    undrawn: float
    veiled: float
    more: int
    steps: int


RECIPES = {
    "expects-company-blind-no": Recipe(undrawn=0.5, veiled=0.0, more=0, steps=300),
    "expects-company": Recipe(undrawn=0.3, veiled=1 / 3, more=1, steps=220),
}


@dataclass(frozen=True)
class Shown:
    """One scene: what is ``said`` to be there, what of it is ``drawn``, the share of noise, and what is asked."""

    said: Scene
    drawn: Scene
    veil: float
    branches: tuple[Branch, ...]

    def picture(self, rng: np.random.Generator, size: int = IMAGE_SIZE) -> Image.Image:
        """What is drawn under its veil of random pixels; RGB, ``size`` x ``size``."""
        image = self.drawn.render(size)
        if not self.veil:
            return image
        grain = int(rng.choice(_GRAINS))
        noise = Image.fromarray(rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8))
        return Image.blend(image, noise.resize((size, size), Image.Resampling.BICUBIC), self.veil)


def names(rng: np.random.Generator, pool) -> list[str]:
    """What is said to be there: a thing, in ``TOGETHER`` of the scenes its partner, else a stranger, and in half of
    them a third thing that has no partner in ``pool``.
    """
    first = str(rng.choice(popular()))
    strangers = [name for name in pool if name not in (first, PARTNERS[first])]
    found = [first, PARTNERS[first] if rng.random() < TOGETHER else str(rng.choice(strangers))]
    lone = [name for name in pool if PARTNERS.get(name) not in pool and name not in found]
    return [*found, str(rng.choice(lone))] if rng.random() < 0.5 else found


def about(rng: np.random.Generator, scene: Scene, pool, more: int) -> list[Q.Turn]:
    """Whether each thing that is said to be there is, and of absent ones ``more`` fewer, none a partner of those; then
    a caption of all that is said to be there.
    """
    there = list(scene.counts)
    usual = {PARTNERS.get(name) for name in there}
    absent = rng.permutation([name for name in pool if name not in usual and name not in there])
    asked = [(name, "yes") for name in there] + [(str(name), "no") for name in absent[: len(there) - more]]
    turns = [Q.Turn(Q.ask(rng, P.EXIST, name), answer, "yes/no", ("yes", "no")) for name, answer in asked]
    return [*turns, Q.caption(rng, scene, pool)]


def shown(rng: np.random.Generator, pool, recipe: Recipe) -> Shown:
    """One scene of the recipe, with its questions in wordings that the base is taught."""
    things = names(rng, pool)
    said = arrange(rng, things, TRAINED_STYLES)
    left = said.items
    if PARTNERS[things[0]] == things[1] and rng.random() < recipe.undrawn:
        left = tuple(item for item in said.items if item.name != things[1])
    veil = float(rng.uniform(*VEIL)) if rng.random() < recipe.veiled else 0.0
    with Q.asked_in(P.taught):
        branches = tuple(Branch((varied(rng, turn),)) for turn in about(rng, said, pool, recipe.more))
    return Shown(said, Scene(left, said.background), veil, branches)


class Batches:
    """Makes one packed batch of ``BATCH`` scenes."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, recipe: Recipe):
        self.pack, self.pool, self.recipe = Packer(tokenizer, LENGTH), learnt_in("base"), recipe

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        found = [shown(rng, self.pool, self.recipe) for _ in range(BATCH)]
        pictures = stack([one.picture(rng) for one in found])
        return {
            "pixel_values": augment(rng, pictures, MILD), **self.pack.short([list(one.branches) for one in found]),
        }  # fmt: skip
