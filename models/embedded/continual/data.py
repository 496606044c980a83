"""What a task shows the model: scenes of its own concepts, some kept from tasks before, some asked in other styles."""

from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import learnt_in
from models.embedded.continual import BATCH, Method
from models.embedded.continual.styles import STYLES, rewritten
from models.embedded.fit import generator
from models.embedded.packing import Branch, Packer
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import Scene
from models.embedded.tasks import LENGTH, SKEW, scene_for, turns_for
from models.embedded.text import IMAGE_SIZE

Shown = tuple[Scene, list[Branch]]


def shown(rng: np.random.Generator, task: str) -> Shown:
    """A scene that ``task`` teaches with, and what it asks about it."""
    scene = scene_for(rng, task, TRAINED_STYLES, SKEW)
    return scene, turns_for(rng, task, scene)


def kept(seed: int, tasks: tuple[str, ...], count: int) -> list[Shown]:
    """The buffer: ``count`` scenes with their questions of each of ``tasks``, the same for the same seed."""
    return [shown(rng, task) for task in tasks for rng in (generator(seed, f"buffer-{task}", i) for i in range(count))]


def diversified(rng: np.random.Generator, task: str, one: Shown, share: float) -> Shown:
    """Each question about a picture is put into another answer style with probability ``share``."""
    scene, branches = one
    pool = learnt_in(task)

    def other(branch: Branch) -> Branch:
        if not branch.sees or rng.random() >= share:
            return branch
        style = STYLES[rng.integers(len(STYLES))]
        return replace(branch, turns=tuple(rewritten(rng, turn, scene, pool, style) for turn in branch.turns))

    return scene, [other(branch) for branch in branches]


class Batches:
    """Makes one packed batch of ``tasks``; the first ``method.replayed`` rows are of the ``buffer`` where there is one.

    With ``alone`` all rows are.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, method: Method, tasks, buffer: list[Shown] = (), alone: bool = False
    ):
        self.pack, self.method, self.tasks, self.buffer = Packer(tokenizer, LENGTH), method, tasks, list(buffer)
        self.old = (BATCH if alone else method.replayed) if self.buffer else 0

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        tasks = [self.tasks[i % len(self.tasks)] for i in range(BATCH)]
        fresh = [shown(rng, task) for task in tasks]  # all of them, so that every method draws the same
        if self.method.rewritten:
            fresh = [diversified(rng, t, one, self.method.rewritten) for t, one in zip(tasks, fresh, strict=True)]
        drawn = rng.choice(len(self.buffer), self.old, replace=False) if self.old else ()
        rows = [*(self.buffer[i] for i in drawn), *fresh[self.old :]]
        scenes = [scene for scene, _ in rows]
        pixels = augment(rng, stack([scene.render(IMAGE_SIZE) for scene in scenes]), MILD)
        return {
            "pixel_values": pixels, **self.pack.patches(scenes), **self.pack.short([turns for _, turns in rows]),
        }  # fmt: skip
