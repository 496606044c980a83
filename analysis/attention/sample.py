"""Attention of several checkpoints: over many items, kept on disk, what the model's card and the comparison of MODA
rest on; and to one question, where every checkpoint of a set looks when it begins to answer it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.attention.measure import NAMES, Decay, disparity, fit, links
from analysis.result import Provenance, Result, together
from analysis.statistics import Estimate, spread
from analysis.table import Table
from models import fingerprint
from models.answers import score
from models.batches import batched
from models.errors import CheckpointError, InputError
from models.evalset import load
from models.instruments import AttentionMass
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from PIL import Image

    from models.evalset import EvalItem
    from models.manifest import Manifest
    from models.mllm import MLLM

ITEMS = 120
LINKS = ("text-to-image", "image-to-image", "image-to-text")
_ROOM, _VERSION = "attention", 1
_AT_ONCE = 16  # prompts of a batch
_TEXT = [Modality.QUESTION, Modality.INSTRUCTION, Modality.ANSWER]


@dataclass(frozen=True)
class Sample:
    """Questions about pictures, each with the task that it belongs to, and a text that says which they are: equal texts
    mean equal items. Pictures are opened when they are asked about."""

    items: tuple["EvalItem", ...]
    tasks: tuple[str, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class Looks(Result):
    """How checkpoints attend to the same items. All float64.

    ``share`` and ``keys`` ``[checkpoints, items, layers, kinds]``: of the token that writes the answer's first, mean
    over heads. ``scores`` of a link: ``[checkpoints, items, layers]``, what one key gets. ``right``
    ``[checkpoints, items]``: how right the answer is, 0 to 1.
    """

    checkpoints: tuple[str, ...]
    tasks: tuple[str, ...]
    share: np.ndarray
    keys: np.ndarray
    scores: dict[str, np.ndarray]
    right: np.ndarray

    def image(self, checkpoint: int) -> np.ndarray:
        """Share of the attention on the picture: ``[items, layers]``."""
        return self.share[checkpoint, :, :, Modality.IMAGE]

    def disparity(self, checkpoint: int, per_key: bool = False) -> np.ndarray:
        """|self - cross| / max(self, cross), mean over layers: ``[items]``."""
        sides = []
        for kinds in (_TEXT, [Modality.IMAGE]):
            side = self.share[checkpoint][..., kinds].sum(-1)
            sides.append(side / self.keys[checkpoint][..., kinds].sum(-1) if per_key else side)
        return disparity(*sides).mean(-1)

    def decay(self, checkpoint: int, link: str) -> Decay:
        """The fit of the items' geometric mean."""
        known = self._logs(checkpoint, link)
        return fit(np.exp(known.mean(0)) if len(known) else np.full(known.shape[1], np.nan))

    def gamma(self, checkpoint: int, link: str) -> Estimate:
        """The gamma of ``decay``, with an interval over items (bootstrap)."""
        known, value = self._logs(checkpoint, link), self.decay(checkpoint, link).gamma.value
        if not len(known):
            return Estimate(value)
        layers = np.arange(known.shape[1]) - (known.shape[1] - 1) / 2
        ends = spread(known @ layers / (layers @ layers))  # the slope of each item's line
        return Estimate(value, *(float(np.exp(end)) for end in ends), len(known))

    def _logs(self, checkpoint: int, link: str) -> np.ndarray:
        """Logarithms of the scores of items that have one in every layer: ``[items, layers]``."""
        curves = self.scores[link][checkpoint]
        return np.log(curves[(np.nan_to_num(curves) > 0).all(1)])

    def accuracy(self, checkpoint: int, task: str) -> np.ndarray:
        """How right the answers to one task's items are: ``[items of it]``."""
        return self.right[checkpoint, np.array(self.tasks) == task]

    def table(self) -> Table:
        rows = [
            [self.checkpoints[c], self.tasks[i], i, layer + 1, share, self.right[c, i]]
            for (c, i, layer), share in np.ndenumerate(self.share[..., Modality.IMAGE])
        ]
        return Table(["checkpoint", "task", "item", "layer", "image_share", "score"], rows)


@dataclass(frozen=True, kw_only=True)
class Across(Result):
    """Attention to the picture of the token that writes the answer's first, for each of ``checkpoints``.

    ``share`` float64 ``[checkpoints, layers]``, 0 to 1, mean over heads; ``per_key``: divided by the number of
    image tokens. ``begins``: the first token each would write, ``probability`` its probability.
    """

    question: str
    checkpoints: tuple[str, ...]
    share: np.ndarray
    per_key: np.ndarray
    begins: tuple[str, ...]
    probability: np.ndarray

    def table(self) -> Table:
        rows = [
            [self.checkpoints[i], layer + 1, share, self.per_key[i, layer], self.begins[i], self.probability[i]]
            for (i, layer), share in np.ndenumerate(self.share)
        ]
        return Table(["checkpoint", "layer", "image_share", "image_per_key", "begins_with", "probability"], rows)


def of_sets(manifest: "Manifest", count: int = ITEMS) -> Sample:
    """``count`` items with a picture of a checkpoint set's evaluation sets: the first ones, as many of each task.

    Raises ``CheckpointError`` where there is no evaluation set.
    """
    own = {c.task: c.eval for c in manifest.checkpoints if c.eval}
    if not own:
        raise CheckpointError(f"The set {manifest.folder.name} has no evaluation sets to measure attention on.")
    each = max(count // len(own), 1)
    chosen: list[tuple[str, EvalItem]] = []
    for task, file in own.items():
        chosen += [(task, item) for item in load(file) if item.image][:each]
    tasks, items = zip(*chosen, strict=True)
    return Sample(items, tasks, fingerprint.of_items(items))


def looks(
    model: "MLLM | fingerprint.Unopened", checkpoints: Sequence[str], sample: Sample,
    progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> Looks | None:
    """How ``checkpoints`` of ``model`` attend to ``sample`` and what they answer: kept, or measured and kept.

    ``progress(share, what)`` is called between batches; what it raises stops the work. With ``only_kept`` nothing is
    measured, and None stands for what is not all there. Raises ``ModelError`` where memory is short or attention cannot
    be read.
    """
    by = {"measurement": "attention by item", "data": sample.source}
    plan = [kept.Cell(name, by, f"attention of {name}", len(sample.items)) for name in checkpoints]
    measure = lambda cell, places: _looked(model, cell.weights, sample, places)  # noqa: E731
    raw = kept.gathered(_ROOM, _VERSION, model, plan, measure, progress, only_kept)
    if None in raw:
        return None
    right = [[score(a, i.answer, i.style, NAMES) for a, i in zip(r["answers"], sample.items, strict=True)] for r in raw]
    return Looks(
        provenance=Provenance(**together([r["provenance"] for r in raw], model.name, ", ".join(checkpoints))),
        checkpoints=tuple(checkpoints), tasks=sample.tasks,
        share=np.array([r["share"] for r in raw], dtype=float),
        keys=np.array([r["keys"] for r in raw], dtype=float),
        scores={name: np.array([r["scores"][name] for r in raw], dtype=float) for name in raw[0]["scores"]},
        right=np.array(right, dtype=float),
    )


def _looked(model: "MLLM", checkpoint: str, sample: Sample, places: Sequence[int]) -> Iterator[tuple[int, dict]]:
    items = sample.items

    def look(places: list[int], prompts: list) -> list[dict]:
        read = model.forward(prompts, checkpoint, [AttentionMass(), AttentionMass("last")]).readings
        return [
            {
                "share": _short(read.rows.share[:, row, :, 0].astype(float).mean(1)),
                "keys": read.rows.keys[:, row, 0].astype(int),
                "scores": {link.name: _short(link.score) for link in links(read.mass, row)},
                "answers": answer,
            }
            for row, answer in enumerate(model.answers(prompts, checkpoint))
        ]

    encode = lambda i: model.encode(items[i].picture(), items[i].question)  # noqa: E731
    return batched(places, encode, look, alike=lambda i: items[i].question, rows=_AT_ONCE)


def _short(values: np.ndarray) -> list:
    """Six digits are more than float32 computes, and half of what JSON would write."""
    return np.array([float(f"{v:.6g}") for v in values.ravel()]).reshape(values.shape).tolist()


def across(model: "MLLM", picture: "Image.Image | None", question: str) -> Across:
    """One forward for all checkpoints that can share a batch, one each for the others.

    Raises ``InputError`` without a picture.
    """
    began = time.perf_counter()
    if picture is None:
        raise InputError("There is no picture, so no checkpoint can look at one. Choose one at the top.")
    encoded = model.encode(picture, question)
    names = model.checkpoint_names
    together = [n for n in names if model.checkpoints and n in model.checkpoints.batchable]
    batches = [together] * bool(together) + [[n] for n in names if n not in together]
    found = {}
    for batch in batches:
        checkpoint = batch if len(batch) > 1 else batch[0]
        forward = model.forward([encoded] * len(batch), checkpoint, [AttentionMass("last")])
        rows = forward.readings.rows
        chances = forward.logits.softmax(-1).max(-1)
        for i, name in enumerate(batch):
            share = rows.share[:, i, :, 0, Modality.IMAGE].astype(float).mean(1)
            keys = rows.keys[:, i, 0, Modality.IMAGE]
            token = Spelling(model.tokenizer).add(int(chances.indices[i]))
            found[name] = (share, share / np.maximum(keys, 1), token, float(chances.values[i]))
    share, per_key, begins, probability = zip(*(found[n] for n in names), strict=True)
    return Across(
        provenance=Provenance(**model.provenance("all", seconds=time.perf_counter() - began)),
        question=question, checkpoints=tuple(names), share=np.stack(share), per_key=np.stack(per_key),
        begins=begins, probability=np.array(probability),
    )  # fmt: skip
