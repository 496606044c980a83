"""How much the base can do, cell by cell: fixed questions about scenes that no training drew.

Backgrounds (photographs that are in no training, and the kind of background kept out of it), the art style never seen,
wordings kept out, honest answers where it cannot know, and harder variants beside the easy questions. The same cells
tell a training early whether it works, and in the end whether it did.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from models.embedded import photographs
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.augment import stack
from models.embedded.backgrounds import BUSY, KEPT_OUT, any_background, busy_background
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.fit import device, generator, to
from models.embedded.honesty import NOTHING, small_talk, unknown_scene
from models.embedded.packing import PREFIX, Branch, Packer, answered
from models.embedded.pictures import LOOKS, TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.scenes import Scene, random_scene
from models.embedded.tasks import COUNTS
from models.embedded.text import IMAGE_SIZE

Item = tuple[Scene | None, Q.Turn]
Within = Callable[[dict[str, torch.Tensor]], AbstractContextManager]
"""In what a model reads a packed batch; an attention of its own, for example."""
FEW, EVERY = 48, 250  # questions a cell while training, and after how many steps they are asked
_LONGEST, _ROWS = PREFIX + 127, 48
_VARIANTS = {
    "existence": (Q.exist, (1, 2, 3)), "existence among look-alikes": (Q.exist_alike, (1, 2, 3)),
    "choice": (Q.choice, (1, 2, 3)), "choice among look-alikes": (Q.choice_alike, (1, 2, 3)),
    "reading": (Q.read_caption, (2, 3)), "reading in two steps": (Q.read_twice, (2, 3)),
}  # fmt: skip
"""Easy questions, each with its harder variant, and how many drawings their scenes have."""


def _fitting(count: int, seed: int, cell: str, make) -> list[Item]:
    """``count`` items of ``make(rng, number)``, which may give None where a scene does not fit."""
    found: list[Item] = []
    attempt = 0
    while len(found) < count:
        item = make(generator(seed, f"probe-{cell}", attempt), len(found))
        attempt += 1
        if item is not None and item[1] is not None:
            found.append(item)
    return found


def _asked(task: str, styles, kind: str | None, counts, photos=photographs.KEPT_OUT):
    """Makes a scene in ``styles`` on a background of ``kind`` (None: a plain one) with a question of ``task``. Counting
    takes turns: one name, and all things, where what is no thing must not be counted.
    """
    pool = learnt_in("base")

    def make(rng, number):
        scene = random_scene(rng, pool, styles, 0.0, counts)
        if kind:
            scene = replace(scene, background=busy_background(rng, kind, photos))
        if task == "existence":
            return scene, Q.exist(rng, scene, pool, number % 2 == 0)
        if task == "counting" and number % 2:
            return scene, Q.count_all(rng, scene, pool)
        return scene, Q.for_task(rng, task, scene, pool)

    return make


def _nothing(rng, number) -> Item:
    kinds = (*BUSY, None)
    scene = unknown_scene(rng, P.kept_out)
    kind = kinds[number % len(kinds)]
    ground = busy_background(rng, kind, photographs.KEPT_OUT) if kind else any_background(rng, 0.0)
    return replace(scene, background=ground), Q.Turn(Q.ask(rng, (P.NAME, P.CAPTION)[number % 2]), NOTHING, "sentence")


def _talk(rng, number) -> Item:
    scene = random_scene(rng, learnt_in("base"), TRAINED_STYLES, 0.0, (1, 2)) if number % 2 else None
    return scene, small_talk(rng, P.kept_out)


def _variant(maker, counts):
    """Makes a scene with a question of ``maker``; yes and no take turns; a text is read without its picture."""
    pool = learnt_in("base")

    def make(rng, number):
        scene = random_scene(rng, pool, TRAINED_STYLES, 0.0, counts)
        if maker in (Q.exist, Q.exist_alike):
            return scene, maker(rng, scene, pool, number % 2 == 0)
        return None if maker in (Q.read_caption, Q.read_twice) else scene, maker(rng, scene, pool)

    return make


def cells(count: int, seed: int = 0) -> Iterator[tuple[str, list[Item]]]:
    """(name, ``count`` questions with their scenes, or None for no picture), cell by cell, always the same for the same
    seed.
    """
    for kind in (None, *BUSY, KEPT_OUT):
        for task in ("naming", "counting"):
            cell = f"{task}, {kind or 'plain'}"
            yield cell, _fitting(count, seed, cell, _asked(task, TRAINED_STYLES, kind, (1, 2)))
    cell = "naming, crops of trained photographs"
    yield cell, _fitting(count, seed, cell, _asked("naming", TRAINED_STYLES, "photo", (1, 2), photographs.TRAINED))
    for task in ("naming", "counting"):
        cell = f"{task}, style never seen"
        yield cell, _fitting(count, seed, cell, _asked(task, (UNSEEN_STYLE,), None, (1, 2)))
    cell = "naming, rendered looks"
    yield cell, _fitting(count, seed, cell, _asked("naming", LOOKS[len(TRAINED_STYLES) :], None, (1, 2)))
    for name, part in (("taught", P.taught), ("kept out", P.kept_out)):
        with Q.asked_in(part):
            items = []
            for task in TASKS:
                make = _asked(task, TRAINED_STYLES, None, COUNTS.get(task, (1, 2, 3, 4)))
                items += _fitting(max(1, count // len(TASKS)), seed, f"wordings-{task}", make)
            yield f"wordings {name}", items
    yield "small talk", _fitting(count, seed, "small talk", _talk)
    yield "nothing known", _fitting(count, seed, "nothing known", _nothing)
    for name, (maker, counts) in _VARIANTS.items():
        yield name, _fitting(count, seed, name, _variant(maker, counts))


@torch.no_grad()
def answers(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, items: list[Item],
    within: Within = nullcontext,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which questions ``model`` answers right to the letter when it answers greedily, and which with ``NOTHING``: two
    bool arrays. Read off one pass over the true answers: all of their tokens are the most likely ones.
    """
    pack = Packer(tokenizer, _LONGEST)
    nothing = tokenizer(f" {NOTHING}", add_special_tokens=False)["input_ids"][0]
    empty = Scene(())
    right, refused = [], []
    for start in range(0, len(items), _ROWS):
        some = items[start : start + _ROWS]
        batch = pack.short([[Branch((turn,), sees=scene is not None)] for scene, turn in some])
        pixels = stack([(scene or empty).render(IMAGE_SIZE) for scene, _ in some])
        batch = to({**batch, "pixel_values": pixels.float() / 127.5 - 1}, device())
        with within(batch):
            said = answered(model, batch)
        wrong = torch.zeros(len(some), device=said.row.device).index_add(0, said.row, 1 - said.right)
        first = torch.searchsorted(said.row, torch.arange(len(some), device=said.row.device))
        right.append((wrong == 0).cpu().numpy())
        refused.append((said.logits[first].argmax(1) == nothing).cpu().numpy())
    return np.concatenate(right), np.concatenate(refused)


def measure(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, asked: Iterable[tuple[str, list[Item]]],
    within: Within = nullcontext,
) -> dict[str, tuple[float, int]]:  # fmt: skip
    """(share right, number of questions) of every cell of ``asked`` (see ``cells``), and the share of ``NOTHING`` where
    known things are named or counted.
    """
    found, refused = {}, []
    for name, items in asked:
        right, nothing = answers(model, tokenizer, items, within)
        found[name] = float(right.mean()), len(right)
        if name.startswith(("naming", "counting")):
            refused.append(nothing)
    refused = np.concatenate(refused)
    return found | {'false "nothing"': (float(refused.mean()), len(refused))}


class Teller:
    """Called with the number of steps done; every ``EVERY`` steps it logs what the model can do."""

    def __init__(self, model, tokenizer: PreTrainedTokenizerFast, seed: int, log, within: Within = nullcontext):
        self.model, self.tokenizer, self.log, self.within = model, tokenizer, log, within
        self.cells = list(cells(FEW, seed))

    def __call__(self, step: int) -> None:
        if step % EVERY:
            return
        self.model.eval()
        found = measure(self.model, self.tokenizer, self.cells, self.within)
        self.model.train()
        self.log(f"after {step}: " + ", ".join(f"{name} {share:.0%}" for name, (share, _) in found.items()))
