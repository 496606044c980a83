"""A dual encoder's space in every phase of its training, measured on pairs of pictures and texts; kept on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.embedding_space import space as sp
from analysis.embedding_space.pairs import Pairs
from analysis.embedding_space.result import BETWEEN_PHASES, LIKENESS, PERCENTILES, Space, Spread, packed, unpacked
from analysis.embedding_space.retrieval import all_ranks
from analysis.result import Provenance
from analysis.statistics import cka
from models.checkpoints import BASE, Blend

if TYPE_CHECKING:
    from models import fingerprint
    from models.dual_encoder import DualEncoder

ROOM = "embedding_space"
COUPLES = 2000  # pairs of samples, at most, for changes between samples
_OF_COUPLES = ("between_image", "between_text")  # measures over pairs of samples, the others are over pairs
_SPREAD_OUT = 20000  # pairs of samples, at most, for uniformity
_VERSION = 2  # of what is measured: another number makes kept entries stale
_SEED = 0  # of which pairs are shown, which samples are compared, and of the bootstrap
_EMBEDDING = 0.8  # of the time, about; the rest is measuring


@dataclass(frozen=True)
class Phase:
    """One phase: how it is called, the domain that it trained on (empty: none, or all), and its checkpoint."""

    label: str
    trained: str
    checkpoint: str | Blend

    @classmethod
    def of_set(cls, manifest) -> "tuple[Phase, ...]":
        """``"base"`` and every checkpoint of a set, in order; called by their tasks where these are all different."""
        tasks = [c.task for c in manifest.checkpoints]
        labels = tasks if len({*tasks, BASE}) == len(tasks) + 1 else [c.name for c in manifest.checkpoints]
        named = zip(labels, manifest.checkpoints, strict=True)
        return (cls(BASE, "", BASE), *(cls(label, c.task, c.name) for label, c in named))


def measure(
    encoder: "DualEncoder | fingerprint.Unopened", pairs: Pairs, phases: Sequence[Phase], method: str = "",
    shown: int | None = None, progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> Space | None:
    """The space of ``encoder`` in every one of ``phases`` on ``pairs``; loaded where it is kept.

    ``shown`` pairs of each domain keep their embeddings (default: all). ``progress`` is told the share done; what it
    raises stops the work. With ``only_kept`` nothing is measured, and None stands for what is missing. Raises
    ``ModelError`` for embeddings that are not numbers, ``CheckpointError`` for an unknown phase, ``InputError`` for
    fewer than 2 pairs.
    """
    by = {"measurement": "space", "seed": _SEED, "data": pairs.data, "shown": shown, "couples": COUPLES}
    checkpoints, called = [phase.checkpoint for phase in phases], f"{phases[0].label} to {phases[-1].label}"
    fresh: list[Space] = []

    def work() -> dict:
        n = len(pairs)
        early = lambda done, what: progress(_EMBEDDING * 0.1 * done, f"{n} {what}")  # noqa: E731
        late = lambda done, what: progress(_EMBEDDING * (0.1 + 0.9 * done), f"{n} {what}")  # noqa: E731
        rest = lambda done, what: progress(_EMBEDDING + (1 - _EMBEDDING) * done, what)  # noqa: E731
        words, images = encoder.texts(pairs.texts, checkpoints, early), encoder.images(pairs, checkpoints, late)
        fresh.append(space_of(images, words, pairs, phases, Provenance("", "", "", ""), method, shown, rest))
        return packed(replace(fresh[0], gallery=None))  # it is a megabyte: searches then take those shown

    cell = kept.Cell(checkpoints, by, f"{len(pairs)} pairs", seed=_SEED, called=called)
    value = kept.single(ROOM, _VERSION, encoder, cell, work, progress, only_kept)
    if value is None:
        return None
    if fresh:
        return replace(fresh[0], provenance=Provenance(**value["provenance"]))
    return unpacked(value, **_given(pairs, phases, method))


def _given(pairs: Pairs, phases: Sequence[Phase], method: str) -> dict:
    labels, trained = (tuple(getattr(phase, name) for phase in phases) for name in ("label", "trained"))
    return {"method": method, "phases": labels, "trained": trained, "texts": pairs.texts, "domains": pairs.domains}


def space_of(
    images: np.ndarray, words: np.ndarray, pairs: Pairs, phases: Sequence[Phase], provenance: Provenance,
    method: str = "", shown: int | None = None, progress: Callable[[float, str], None] = lambda share, what: None
) -> Space:
    """Everything that is measured of embeddings ``[phases, n, d]``. Raises as ``space.checked``."""
    count, n = len(phases), len(pairs)
    v, t = sp.checked(images, words)
    few, many = sp.couples(n, COUPLES, _SEED), sp.couples(n, _SPREAD_OUT, _SEED)
    steps = [(a, b) for b in range(count) for a in range(b + 1)]
    values: dict[str, list] = {name: [] for name in BETWEEN_PHASES}
    likeness = {name: np.full((count, count), np.nan) for name in LIKENESS}
    for done, (a, b) in enumerate(steps):
        progress(0.6 * done / len(steps), f"angles, {phases[b].label} against {phases[a].label}")
        if a == b:  # nothing has turned, so there is no share of it that a rotation explains
            spread = {name: np.zeros(few.shape[1] if name in _OF_COUPLES else n) for name in BETWEEN_PHASES}
            single = {"floor": 0.0, "cka_image": 1.0, "cka_text": 1.0}
        else:
            spread, single = _between(v[a], t[a], v[b], t[b], few)
        for name, of in spread.items():
            values[name].append(of)
        for name, number in single.items():
            likeness[name][a, b] = number
    places = []
    for i, phase in enumerate(phases):
        progress(0.6 + 0.4 * i / count, f"retrieval, {phase.label}")
        places.append(all_ranks(v[i], t[i], pairs.texts, pairs.domains))
    at, where, gallery = pairs.sample(shown, _SEED), tuple(np.array(steps).T), None
    if len(at) < n:  # in a byte a number: the largest of each picture is 127, and its length is lost
        gallery = np.round(127 * v / np.abs(v).max(-1, keepdims=True)).astype(np.int8)
    spreads = {}
    stacked = {name: np.stack(of) for name, of in values.items()}
    single = [name for name in stacked if name not in _OF_COUPLES]
    # couples of samples share samples, so their mean gets no interval
    ends = sp.intervals(np.concatenate([stacked[name] for name in single]), _SEED)
    ends = dict(zip(single, zip(*(np.split(side, len(single)) for side in ends), strict=True), strict=True))
    for name, of in stacked.items():
        mean, low, high = (np.full((count, count), np.nan) for _ in range(3))
        percentiles = np.full((count, count, len(PERCENTILES)), np.nan)
        mean[where], percentiles[where] = of.mean(1), np.percentile(of, PERCENTILES, axis=1).T
        low[where], high[where] = ends.get(name, (np.nan, np.nan))
        spreads[name] = Spread(mean, low, high, percentiles, of.shape[1])
    return Space(
        provenance=provenance, **_given(pairs, phases, method), shown=at, images=v[:, at].astype(np.float32),
        words=t[:, at].astype(np.float32), gallery=gallery, likeness=likeness,
        spreads=spreads,
        numbers={
            "angle": np.array([sp.angles(x, y).mean() for x, y in zip(v, t, strict=True)]),
            "gap": np.array([sp.gap(x, y) for x, y in zip(v, t, strict=True)]),
            "alignment": np.array([sp.alignment(x, y) for x, y in zip(v, t, strict=True)]),
            "uniformity_image": np.array([sp.uniformity(x, many) for x in v]),
            "uniformity_text": np.array([sp.uniformity(x, many) for x in t]),
        },
        ranks={name: np.stack([of[name] for of in places]) for name in places[0]},
    )  # fmt: skip


def _between(v, t, v_after, t_after, which: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """``BETWEEN_PHASES`` and ``LIKENESS`` of a phase against an earlier one."""
    turns = sp.rotation(v, v_after), sp.rotation(t, t_after)
    spread = {
        "deviation": sp.deviation(v, t, *turns), "pair": sp.angles(v_after, t_after) - sp.angles(v, t),
        "disagreement": sp.disagreement(v, t, v_after, t_after),
    }  # fmt: skip
    single = {"floor": sp.floor(v, t, v_after, t_after, _SEED)}
    for side, before, after, turn in zip(("image", "text"), (v, t), (v_after, t_after), turns, strict=True):
        turned = before @ turn
        spread[f"rotation_{side}"], spread[f"residual_{side}"] = sp.angles(before, after), sp.angles(turned, after)
        spread[f"between_{side}"] = sp.between(before, after, which)
        single |= {f"rigid_{side}": sp.explained(before, after, turned), f"cka_{side}": cka(before, after)}
    return spread, single
