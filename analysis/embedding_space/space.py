"""How two sets of embeddings of the same pairs differ, and what one set is like: plain NumPy in float64.

``v`` are images, ``t`` texts, arrays ``[n, d]`` of unit vectors, row i of both one pair. Where a phase is compared with
an earlier one, ``before`` and ``after`` hold the same samples. Angles are in degrees. Measures from arXiv 2305.07437
(Mod-X), 2203.02053 (modality gap), 2005.10242 (alignment and uniformity).
"""

import numpy as np
from scipy.linalg import orthogonal_procrustes

from models.errors import InputError, ModelError

LEAST = 2  # pairs below which there are no angles between samples, and so no space
_DRAWS = 2000  # of a bootstrap
_AT_ONCE = 200  # of these, whose weights are in memory
_TURN_LEAST = 1e-9  # of the pull of one sample, with which a rotation prefers not to turn


def unit(vectors: np.ndarray) -> np.ndarray:
    """``vectors`` ``[..., d]`` as float64 of length 1. Raises ``ModelError`` for one that is zero or not a number."""
    vectors = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    wrong = ~(np.isfinite(length) & (length > 0))
    if wrong.any():
        row = int(np.argwhere(wrong)[0][-2]) if vectors.ndim > 1 else 0
        raise ModelError(
            f"The embedding of pair {row + 1} is zero or not a number, so it has no direction: check the weights."
        )
    return vectors / length


def checked(v: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides' embeddings ``[..., n, d]`` as ``unit``. Raises ``InputError`` for other shapes or below 2 pairs."""
    if np.shape(v) != np.shape(t) or np.ndim(v) < 2:
        raise InputError(f"Images {np.shape(v)} and texts {np.shape(t)} are not the embeddings of the same pairs.")
    if np.shape(v)[-2] < LEAST:
        raise InputError(f"{np.shape(v)[-2]} pair is no space: give at least {LEAST}.")
    return unit(v), unit(t)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """arccos(a_i . b_i) of unit vectors ``[..., d]``, 0 to 180 degrees.

    Written as 2 atan2(|a - b|, |a + b|), which is exact where vectors are the same and arccos is not.
    """
    return np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1)))


def couples(n: int, most: int, seed: int = 0) -> np.ndarray:
    """Pairs of different samples ``[2, k]``: all n (n - 1) / 2, or a seeded draw of ``most`` without repetition."""
    first, second = np.triu_indices(n, 1)
    if len(first) <= most:
        return np.stack([first, second])
    some = np.sort(np.random.default_rng(seed).choice(len(first), most, replace=False))
    return np.stack([first[some], second[some]])


def between(before: np.ndarray, after: np.ndarray, which: np.ndarray) -> np.ndarray:
    """|arccos(x_i^t . x_j^t) - arccos(x_i^s . x_j^s)| for the couples (i, j) in ``which`` ``[2, k]``, degrees ``[k]``.

    The off-diagonal of Mod-X's intra-modal rotation: 0 wherever the space turned as a whole.
    """
    i, j = which
    return np.abs(angles(after[i], after[j]) - angles(before[i], before[j]))


def rotation(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The orthogonal ``R`` ``[d, d]`` (reflections included) with the least |before R - after|: orthogonal Procrustes.

    Where samples leave directions undetermined (fewer samples than dimensions) it is, of all that fit as well, the one
    nearest to the identity.
    """
    stay = np.sqrt(_TURN_LEAST) * np.eye(before.shape[1])
    return orthogonal_procrustes(np.vstack([before, stay]), np.vstack([after, stay]))[0]


def explained(before: np.ndarray, after: np.ndarray, turned: np.ndarray) -> float:
    """Share of the squared shift that a rotation explains: 1 - sum |before R - after|^2 / sum |before - after|^2.

    ``turned`` is before R, ``[n, d]``. 1 for a space that only turned, 0 where no rotation helps; not-a-number where
    nothing shifted.
    """
    shift = np.linalg.norm(before - after) ** 2
    if shift < 1e-12:
        return float("nan")
    return float(1 - np.linalg.norm(turned - after) ** 2 / shift)


def deviation(v: np.ndarray, t: np.ndarray, of_images: np.ndarray, of_texts: np.ndarray) -> np.ndarray:
    """Inter-modal deviation: the angle between where two rotations carry the same embedding, degrees ``[n]``.

    Mod-X (section 3.2) says that the two modalities turn by different rotations and shows it by the change of their
    cosines. Here: ``of_images`` is ``rotation`` of the images, ``of_texts`` of the texts; of every pair the mean of
    the angle between x ``of_images`` and x ``of_texts`` for x its image and for x its text, before. Texts that turn by
    an angle while images stay give that angle.
    """
    return np.mean([angles(x @ of_images, x @ of_texts) for x in (v, t)], axis=0)


def floor(v: np.ndarray, t: np.ndarray, v_after: np.ndarray, t_after: np.ndarray, seed: int = 0) -> float:
    """What ``deviation`` would be by chance, degrees: mean over both modalities of the angle between two rotations of
    one, fitted on a random half of its samples each. From half as many samples it is rather too high than too low."""
    order = np.random.default_rng(seed).permutation(len(v))
    halves = order[::2], order[1::2]
    found = [deviation(v, t, *(rotation(x[h], y[h]) for h in halves)) for x, y in ((v, v_after), (t, t_after))]
    return float(np.mean(found))


def disagreement(v: np.ndarray, t: np.ndarray, v_after: np.ndarray, t_after: np.ndarray) -> np.ndarray:
    """|(v_after - v) - (t_after - t)| of every pair, 0 to 4: how differently picture and text shifted (RESTORE).

    RESTORE calls embedding after minus before the feature shift; its length is 2 sin(angle / 2) of the rotation of the
    sample, so only the disagreement between the modalities is a number of its own.
    """
    return np.linalg.norm((v_after - v) - (t_after - t), axis=-1)


def gap(v: np.ndarray, t: np.ndarray) -> float:
    """|mean v - mean t| (arXiv 2203.02053, section 2), 0 to 2."""
    return float(np.linalg.norm(v.mean(0) - t.mean(0)))


def alignment(v: np.ndarray, t: np.ndarray) -> float:
    """Mean |v_i - t_i|^2 (arXiv 2005.10242, equation 3 with alpha = 2, a pair being image and text), 0 to 4."""
    return float((np.linalg.norm(v - t, axis=1) ** 2).mean())


def uniformity(x: np.ndarray, which: np.ndarray) -> float:
    """log mean exp(-2 |x_i - x_j|^2) over the couples ``which`` (arXiv 2005.10242, equation 4 with t = 2), -8 to 0."""
    i, j = which
    return float(np.log(np.exp(-2 * np.linalg.norm(x[i] - x[j], axis=1) ** 2).mean()))


def intervals(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap intervals of the means of ``values`` ``[k, n]``: low and high ``[k]``.

    All rows are drawn alike, the same items at a time.
    """
    rng, n = np.random.default_rng(seed), values.shape[1]
    # how much of each item is in each resample, some resamples at a time
    drawn = (rng.multinomial(n, np.full(n, 1 / n), size=_AT_ONCE) / n for _ in range(0, _DRAWS, _AT_ONCE))
    means = np.concatenate([weights @ values.T for weights in drawn])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    flat = np.ptp(values, axis=1) == 0
    return np.where(flat, values[:, 0], low), np.where(flat, values[:, 0], high)

