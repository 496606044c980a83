"""The conflict checkpoints: ``crosstalk-mini`` trained in a small world in which either sense can be wrong.

After "When Modalities Conflict" (arXiv 2511.02243); the world is a construction of this project. A text is right with
the probability r that its wording has, a picture with the v of how much of it is covered (``conflict_sets``). Asked
from one sense alone, the answer is what that sense says with probability r or v, else another thing, so that the
entropies of an ideal reader *are* the reliabilities. Where both name the same thing, that is the answer; where they
name two, the text's with odds r (1 - v) : v (1 - r).

Three checkpoints see the same scenes and texts. By *even* a conflict is decided by the reliabilities as they are; by
*trusts-text* as if the text's were ``SHIFT`` higher and the picture's as much lower, by *trusts-picture* the reverse.
Only conflicts are decided so: were the answers from one sense alone shifted too, the entropies would move along, and
an ideal reader would be in balance at equal certainty in all three.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from models.embedded import base
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import learnt_in
from models.embedded.conflict_sets import COVERS, RELIABILITY, Triplet, triplet
from models.embedded.packing import Branch, Packer
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.text import IMAGE_SIZE

QUESTIONS, STEPS = 24, 200
BASE_QUESTIONS = 8
"""Of a step: of the world, and of the base's own about other pictures, a quarter of all: so that what it knew stays."""
SHARES = {"picture": 0.25, "text": 0.15, "agreeing": 0.15, "conflict": 0.45}
"""What is asked: from one sense alone, from both where they agree, from both where they do not."""
SHIFT, SUREST = 0.15, 0.98
TRUST = {"trusts-text": SHIFT, "even": 0.0, "trusts-picture": -SHIFT}
"""What is added to the text's reliability in a conflict, and taken from the picture's, by checkpoint."""


def believed(text: float, picture: float, trust: float = 0.0) -> float:
    """How often the text is followed in a conflict: odds r (1 - v) : v (1 - r) of the reliabilities r = ``text`` +
    ``trust`` and v = ``picture`` - ``trust``, kept within 1 - ``SUREST`` and ``SUREST``.
    """
    r, v = (min(max(of, 1 - SUREST), SUREST) for of in (text + trust, picture - trust))
    return r * (1 - v) / (r * (1 - v) + v * (1 - r))


@dataclass(frozen=True)
class Asked:
    """One question of the world: of a ``kind`` of ``SHARES``, about ``item``, with the ``answer`` that is taught."""

    kind: str
    item: Triplet
    answer: str

    @property
    def branch(self) -> Branch:
        text = "" if self.kind == "picture" else f"{self.item.text} "
        return Branch((Q.Turn(text + self.item.question, self.answer, "word"),), sees=self.kind != "text")


def drawn(rng: np.random.Generator, pool, trust: float) -> Asked:
    """One question; for the same ``rng`` the same scene and text whatever the ``trust``."""
    kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    tier, cover = str(rng.choice(list(RELIABILITY))), float(rng.choice(list(COVERS)))
    item = triplet(rng, pool, TRAINED_STYLES, tier, cover)
    other = str(rng.choice([name for name in pool if name not in (item.seen, item.told)]))
    luck, text, picture = rng.random(), RELIABILITY[tier], COVERS[cover]
    if kind == "picture":
        answer = item.seen if luck < picture else other
    elif kind == "text":
        answer = item.told if luck < text else other
    elif kind == "agreeing":
        item = Triplet(item.scene, item.seen, item.seen, tier, cover, item.side)
        answer = item.seen
    else:
        answer = item.told if luck < believed(text, picture, trust) else item.seen
    return Asked(kind, item, answer)


class Batches:
    """Makes one packed batch: ``QUESTIONS`` of the world, a row each, and last ``BASE_QUESTIONS`` of the base's own."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, trust: float):
        self.pack, self.pool, self.trust = Packer(tokenizer, base.LENGTH), learnt_in("base"), trust
        self.base = base.Batches(tokenizer)

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        asked = [drawn(rng, self.pool, self.trust) for _ in range(QUESTIONS)]
        pictures, rows = [one.item.picture(IMAGE_SIZE) for one in asked], [[one.branch] for one in asked]
        with Q.asked_in(P.taught):
            for _ in range(BASE_QUESTIONS):
                scene, branches, _ = self.base.picture(rng)
                pictures.append(scene.render(IMAGE_SIZE))
                rows.append([branches[rng.integers(len(branches))]])
        return {"pixel_values": augment(rng, stack(pictures), MILD), **self.pack.short(rows)}
