"""The contrastive matrix of a few chosen pairs, before and after, and the rows that went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space

MOST = 40
"""Chosen pairs above which a matrix cannot be read."""

_SAME = 1e-6  # of a cosine, below which two are as near


@dataclass(frozen=True)
class Contrast:
    """Cosines M = V T' ``[k, k]`` of k chosen pairs, rows pictures, columns texts, in two phases.

    ``chosen`` are places among the pairs shown. ``right_before`` and ``right_after``: whether a row's largest entry is
    its own text's (or that of a pair with the same text); ties count as wrong. ``wrong``: rows that were right before
    and are not after. ``preferred[i]``: columns now at least as near to picture i as its own text, nearest first.
    ``diagonal`` and ``off_diagonal``: mean change of the cosine of true pairs, and of all others.
    """

    phases: tuple[str, str]
    chosen: tuple[int, ...]
    texts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    right_before: np.ndarray
    right_after: np.ndarray
    wrong: tuple[int, ...]
    preferred: tuple[tuple[int, ...], ...]
    diagonal: float
    off_diagonal: float


def contrast(space: "Space", chosen: Sequence[int], before: int = 0, after: int = -1) -> Contrast:
    """The matrices of the pairs at places ``chosen`` of those shown.

    Raises ``InputError`` for fewer than 2 pairs, more than ``MOST``, the same one twice, or one that is not shown.
    """
    places = [int(c) for c in chosen]
    if not 2 <= len(places) <= MOST or len(set(places)) < len(places):
        raise InputError(f"Choose 2 to {MOST} different pairs, not {len(places)}.")
    if not all(0 <= p < len(space.shown) for p in places):
        raise InputError(f"There are {len(space.shown)} pairs to choose from, numbered from 0.")
    texts = tuple(space.texts[space.shown[p]] for p in places)
    old, new = (space.images[phase, places] @ space.words[phase, places].T.astype(float) for phase in (before, after))
    names = np.asarray(texts, dtype=str)
    own = names[:, None] == names[None, :]
    nearer = [_nearer(matrix, own) for matrix in (old, new)]
    right = [~n.any(1) for n in nearer]
    pairs = zip(new, nearer[1], strict=True)
    true = np.eye(len(places), dtype=bool)
    return Contrast(
        (space.phases[before], space.phases[after]), tuple(places), texts, old, new, *right,
        tuple(np.flatnonzero(right[0] & ~right[1]).tolist()),
        tuple(tuple(j for j in np.argsort(-row, kind="stable").tolist() if n[j]) for row, n in pairs),
        float((new - old)[true].mean()), float((new - old)[~true].mean()),
    )  # fmt: skip


def _nearer(matrix: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which wrong columns are at least as near as the best right one."""
    best = np.where(own, matrix, -np.inf).max(1, keepdims=True)
    return (matrix >= best - _SAME) & ~own
