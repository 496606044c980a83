"""What a task shows the model: new scenes, base concepts, some kept from tasks before, some asked in other styles."""

from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from models.embedded import base
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import learnt_in
from models.embedded.continual import BATCH, GENERAL, KEPT, Method
from models.embedded.continual.course import Course, Shown
from models.embedded.continual.styles import STYLES, rewritten
from models.embedded.fit import generator
from models.embedded.packing import Branch, Packer
from models.embedded.scenes import dressed, random_scene
from models.embedded.tasks import LENGTH
from models.embedded.text import IMAGE_SIZE

QUESTIONS = 4  # about a scene of base concepts: as many as most tasks ask about theirs
SAMPLED = 64  # batches that the share of rewritten questions is told of


def kept(course: Course, seed: int, tasks: tuple[str, ...], count: int) -> list[Shown]:
    """The buffer: ``count`` scenes with their questions of each of ``tasks``, the same for the same seed."""
    drawn = ((task, generator(seed, f"buffer-{task}", i)) for task in tasks for i in range(count))
    return [course.shown(rng, task) for task, rng in drawn]


def general(seed: int) -> list[Shown]:
    """``KEPT`` scenes of base concepts on the base's own backgrounds, with some of the base's own questions about
    each: what a model that is tuned further is still shown of what it was tuned on.
    """
    pool, found = learnt_in("base"), []
    with Q.asked_in(P.taught):
        for i in range(KEPT):
            rng = generator(seed, "general", i)
            scene = dressed(rng, random_scene(rng, pool, base.DRAWN, base.SKEW, base.COUNTS), base.BUSY)
            found.append((scene, base.about_picture(rng, scene, pool)[:QUESTIONS]))
    return found


def diversified(rng: np.random.Generator, pool, one: Shown, share: float) -> Shown:
    """Each question about a picture is put into another answer style with probability ``share``: the first that fits of
    the five styles in random order (ASD, arXiv 2505.02486). ``pool``: the names that wrong answers are drawn from.
    """
    scene, branches = one

    def other(branch: Branch) -> Branch:
        if not branch.sees or rng.random() >= share:
            return branch
        return replace(branch, turns=tuple(_in_another_style(rng, turn, scene, pool) for turn in branch.turns))

    return scene, [other(branch) for branch in branches]


def _in_another_style(rng: np.random.Generator, turn: Q.Turn, scene, pool) -> Q.Turn:
    plain = getattr(turn, "plain", turn)  # a question in a new form is rewritten from what the base knows of it
    for i in rng.permutation(len(STYLES)):
        found = rewritten(rng, plain, scene, pool, STYLES[i])
        if found != turn:
            return found
    return turn


class Batches:
    """Makes one packed batch of ``tasks``: ``BATCH`` new scenes, ``method.general`` of base concepts, and, last,
    ``method.replayed`` of the ``buffer`` where there is one. With ``alone`` all ``BATCH`` are of the buffer.

    The new and the general scenes and how they look are the same for every method; all rows count alike in the loss, by
    their answers' tokens.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, method: Method, course: Course, tasks, seed: int,
        buffer: list[Shown] = (), alone: bool = False,
    ):  # fmt: skip
        self.pack, self.method, self.course, self.tasks = Packer(tokenizer, LENGTH), method, course, tasks
        self.buffer, self.alone, self.general = list(buffer), alone, general(seed) if method.general else []
        self.old = (BATCH if alone else method.replayed) if self.buffer else 0

    def new(self, rng: np.random.Generator) -> list[Shown]:
        """The scenes of the tasks themselves, some questions rewritten by ASD."""
        tasks = [self.tasks[i % len(self.tasks)] for i in range(BATCH)]
        fresh, share = [self.course.shown(rng, task) for task in tasks], self.method.rewritten
        if share:
            other = rng.spawn(1)[0]
            pools = map(self.course.pool, tasks)
            fresh = [diversified(other, pool, one, share) for pool, one in zip(pools, fresh, strict=True)]
        return fresh

    def parts(self, rng: np.random.Generator) -> list[list[Shown]]:
        """The rows: new, general, of the buffer."""
        fresh = self.new(rng)
        # drawn whatever the method is, and the buffer from a generator of its own, so that all that follows is alike
        chosen, own = rng.choice(KEPT, GENERAL, replace=False), rng.spawn(1)[0]
        some = [self.general[i] for i in chosen[: self.method.general]]
        old = [self.buffer[i] for i in own.choice(len(self.buffer), self.old, replace=False)] if self.old else []
        return [old] if self.alone else [fresh, some, old]

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        parts = [part for part in self.parts(rng) if part]
        looks = [augment(rng, stack([scene.render(IMAGE_SIZE) for scene, _ in part]), MILD) for part in parts]
        rows = [one for part in parts for one in part]
        return {
            "pixel_values": torch.cat(looks), **self.pack.patches([scene for scene, _ in rows]),
            **self.pack.short([turns for _, turns in rows]),
        }  # fmt: skip


def effective_share(batches: Batches, seed: int, task: str) -> float:
    """The share of a task's new questions that ASD rewrote, over its first ``SAMPLED`` batches: below the share that is
    drawn by those without a picture and those that no other style fits.
    """
    plain = Batches(batches.pack.tokenizer, replace(batches.method, rewritten=0.0), batches.course, batches.tasks, seed)
    changed = total = 0
    for step in range(SAMPLED):
        pairs = zip(*(of.new(generator(seed, task, step)) for of in (plain, batches)), strict=True)
        for (_, before), (_, after) in pairs:
            changed += sum(a != b for a, b in zip(before, after, strict=True))
            total += len(before)
    return changed / total
