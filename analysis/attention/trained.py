"""MODA against plain attention, both trained on the same data from the same start: attention, decay and accuracy."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.attention.sample import ITEMS, LINKS, Looks, Sample, looks, of_sets
from analysis.result import Result
from analysis.statistics import Difference, difference
from analysis.table import Table
from analysis.wording import between, number, plural, points
from models import catalog
from models.errors import CheckpointError
from models.manifest import Manifest

if TYPE_CHECKING:
    from models.mllm import MLLM

MODEL = "crosstalk-mini (moda)"
ARMS = ("control", "moda")
_NAME = re.compile(r"(control|moda)(?:-(\d+))?")


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
        for a, arm in enumerate(ARMS):
            for s, seed in enumerate(self.seeds):
                rows += [[arm, seed, "accuracy", t, self.accuracy[a, s, i]] for i, t in enumerate(self.tasks)]
                rows += [[arm, seed, "image share", i + 1, v] for i, v in enumerate(self.image[a, s])]
                rows += [[arm, seed, "gamma", link, v[a, s]] for link, v in self.gamma.items()]
                rows += [[arm, seed, "disparity", "mass", self.apart[a, s]]]
                rows += [[arm, seed, "disparity", "per key", self.apart_per_key[a, s]]]
        return Table(["arm", "seed", "what", "where", "value"], rows)


def seeds_of(checkpoints) -> dict[int, tuple[str, str]]:
    """The seeds that both arms were trained with, and the names of their checkpoints: control, then MODA."""
    names: dict[tuple[str, int], str] = {}
    for name in checkpoints:
        if match := _NAME.fullmatch(name):
            names[match[1], int(match[2] or 0)] = name
    seeds = sorted({seed for arm, seed in names if all((a, seed) in names for a in ARMS)})
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
        provenance=found.provenance,
        seeds=tuple(pairs),
        tasks=tasks,
        n=tuple(int(p.sum()) for p in parts),
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
    return any(e.name == MODEL and e.available and seeds_of(e.checkpoints) for e in catalog.entries())


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
