"""Attention of several checkpoints: over many items, kept on disk, what the model's card rests on; MODA against plain
attention, both trained on the same data from the same start; and to one question, where every checkpoint of a set looks
when it begins to answer it."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis import kept
from analysis.attention.measure import NAMES, Decay, disparity, fit, links
from analysis.result import Provenance, Result, together
from analysis.statistics import Difference, Estimate, difference, spread
from analysis.table import Table
from analysis.wording import between, number, plural, points
from models import catalog, fingerprint
from models.answers import score
from models.batches import batched
from models.errors import CheckpointError, InputError
from models.evalset import load
from models.instruments import AttentionMass
from models.manifest import BASE, Manifest
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.evalset import EvalItem
    from models.mllm import MLLM

MODEL = "crosstalk-mini (moda)"
ARMS = ("control", "moda")
_NAME = re.compile(r"(control|moda)(?:-(\d+))?")
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


def of_sets(manifest: Manifest, count: int = ITEMS) -> Sample:
    """``count`` items with a picture of a checkpoint set's evaluation sets: the first ones, as many of each task.

    Raises ``CheckpointError`` where there is no evaluation set.
    """
    own = {c.task: c.eval for c in manifest.checkpoints if c.eval}
    if not own:
        raise CheckpointError(f"The set {manifest.folder.name} has no evaluation sets to measure attention on.")
    each = max(count // len(own), 1)
    chosen = [(task, item) for task, file in own.items() for item in [i for i in load(file) if i.image][:each]]
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


def across(model: "MLLM", picture: Image.Image | None, question: str) -> Across:
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


@dataclass(frozen=True, kw_only=True)
class Trained(Result):
    """Two arms, ``ARMS``, over ``seeds`` of training. Float64, means over the same items.

    ``image`` ``[arms, seeds, layers]``: share of the attention on the picture when the answer begins. ``apart`` and
    ``apart_per_key`` ``[arms, seeds]``: disparity of self- and cross-modal attention, 0 to 1, mean over layers.
    ``gamma[link]`` ``[arms, seeds]``. ``accuracy`` ``[arms, seeds, tasks]``, 0 to 1, on ``n`` items a task. ``gains``:
    of each task, then of all items: MODA minus control over the same items, each item's mean over seeds.
    """

    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    n: tuple[int, ...]
    image: np.ndarray
    apart: np.ndarray
    apart_per_key: np.ndarray
    gamma: dict[str, np.ndarray]
    accuracy: np.ndarray
    gains: tuple[Difference, ...]

    def table(self) -> Table:
        rows = []
        for a, s in np.ndindex(self.apart.shape):
            told = [("accuracy", task, self.accuracy[a, s, i]) for i, task in enumerate(self.tasks)]
            told += [("image share", i + 1, share) for i, share in enumerate(self.image[a, s])]
            told += [("gamma", link, values[a, s]) for link, values in self.gamma.items()]
            told += [("disparity", "mass", self.apart[a, s]), ("disparity", "per key", self.apart_per_key[a, s])]
            rows += [[ARMS[a], self.seeds[s], *row] for row in told]
        return Table(["arm", "seed", "what", "where", "value"], rows)


def seeds_of(checkpoints) -> dict[int, tuple[str, str]]:
    """The seeds that both arms were trained with, and the names of their checkpoints: control, then MODA. Where the
    first has no control of its own, the base is that."""
    names = {("control", 0): BASE} if BASE in checkpoints else {}
    for name in checkpoints:
        if match := _NAME.fullmatch(name):
            names[match[1], int(match[2] or 0)] = name
    seeds = sorted({seed for _, seed in names if all((a, seed) in names for a in ARMS)})
    return {seed: (names["control", seed], names["moda", seed]) for seed in seeds}


def compare(found: Looks) -> Trained:
    """The comparison, from how each checkpoint looks and answers. Raises ``CheckpointError`` without a pair."""
    pairs = seeds_of(found.checkpoints)
    if not pairs:
        raise CheckpointError(f"There is no pair of control and moda among the checkpoints {found.checkpoints}.")
    rows = np.array([[found.checkpoints.index(pair[a]) for pair in pairs.values()] for a in range(len(ARMS))])
    tasks = tuple(dict.fromkeys(found.tasks))
    of = np.array(found.tasks)
    right = found.right[rows].mean(1)  # [arms, items]
    parts = [of == task for task in tasks]
    each = lambda measure: np.array([[measure(i) for i in row] for row in rows])  # noqa: E731
    return Trained(
        provenance=found.provenance, seeds=tuple(pairs), tasks=tasks, n=tuple(int(p.sum()) for p in parts),
        image=each(lambda i: found.image(i).mean(0)),
        apart=each(lambda i: np.nanmean(found.disparity(i))),
        apart_per_key=each(lambda i: np.nanmean(found.disparity(i, per_key=True))),
        gamma={link: each(lambda i, link=link: found.decay(i, link).gamma.value) for link in LINKS},
        accuracy=each(lambda i: [found.right[i, p].mean() for p in parts]),
        gains=tuple(difference(right[1, p], right[0, p]) for p in [*parts, np.ones(len(of), dtype=bool)]),
    )


def sample(count: int = ITEMS) -> Sample:
    """The first ``count`` items of each task's evaluation set of the embedded model: a style that no arm has seen."""
    embedded = next(e for e in catalog.entries() if e.name == catalog.EMBEDDED)
    if embedded.checkpoint_folder is None:
        raise CheckpointError(f"{embedded.name} {embedded.reason}")
    manifest = Manifest.load(embedded.checkpoint_folder)
    return of_sets(manifest, count * len(manifest.order))


def available() -> bool:
    """Whether a trained pair is on offer, under the name ``MODEL``."""
    return any(e.name == MODEL and e.available and seeds_of((BASE, *e.checkpoints)) for e in catalog.entries())


def trained(
    model: "MLLM", items: Sample, progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> Trained | None:
    """The comparison of the pairs of ``model`` on ``items``: from what is kept, or measured and kept; with
    ``only_kept`` None where something would have to be measured. Raises ``CheckpointError`` where it has no pair."""
    names = [name for pair in seeds_of(model.checkpoint_names).values() for name in pair]
    if not names:
        raise CheckpointError(f"{model.name} has no pair of checkpoints control and moda.")
    found = looks(model, names, items, progress, only_kept)
    return found and compare(found)


def sentence(found: Trained) -> str:
    """What MODA changed in training, and whether seeds agree."""
    count, total = len(found.seeds), found.gains[-1]
    change = f"{points(total.value, 1)} ({between(total, 1, sign=True)}, {sum(found.n)} items)"
    if not total.clear:
        said = f"MODA changes accuracy by {change}: no difference can be told."
    else:
        said = f"MODA is {'more' if total.value > 0 else 'less'} accurate by {change}, over items; seeds are few."
    image = 100 * found.image.mean(2)
    said += (
        f" Trained the same way for {plural(count, 'seed')}, plain attention puts {image[0].mean():.0f} % on the "
        f"picture when it begins to answer and MODA {image[1].mean():.0f} %"
    )
    if count > 1:
        by_seed = image[1] - image[0]
        said += f" ({number(by_seed.min(), 1, sign=True)} to {number(by_seed.max(), 1, sign=True)} points by seed)"
    apart = 100 * found.apart_per_key.mean(1)
    return f"{said}; self- and cross-modal attention per token are {apart[0]:.0f} % and {apart[1]:.0f} % apart."
