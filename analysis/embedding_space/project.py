"""Clouds that can be compared: the same pairs in every phase, turned onto each other or as they are, by PCA.

Everything is seen with the ruler of phase 0: its mean and its principal axes draw every phase, raw and aligned, so both
views begin with the same picture and a cloud that leaves the plane is seen to shrink.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from analysis.embedding_space.space import rotation
from models.errors import InputError

LEAST = 3  # pairs: of fewer there is no cloud


@dataclass(frozen=True)
class Cloud:
    """Where every pair lies in every phase: ``images`` and ``words`` are float64 ``[phases, pairs, 2 or 3]``.

    ``method`` drew it (``"pca"``, ``"umap"``, ``"tsne"``). ``explained`` ``[phases]`` is the share of each phase's
    variance that the picture holds, 0 to 1; not-a-number for methods that have none.
    """

    method: str
    images: np.ndarray
    words: np.ndarray
    explained: np.ndarray

    @property
    def dimensions(self) -> int:
        return self.images.shape[2]


def aligned(images: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each phase turned onto the phase before it by the rotation (or reflection) about the origin that fits best.

    ``images`` and ``words`` are ``[phases, pairs, d]``. One rotation for both, by orthogonal Procrustes (Schoenemann
    1966): min over orthogonal R of ||X_t R - X'_{t-1}||_F, X' being aligned already. What is left is no rotation of the
    whole: disorder within a modality, and the modalities turning differently. Float64, same shapes.
    """
    clouds = _together(images, words)
    for t in range(1, len(clouds)):
        clouds[t] = clouds[t] @ rotation(clouds[t], clouds[t - 1])
    return clouds[:, : images.shape[1]], clouds[:, images.shape[1] :]


def pca(images: np.ndarray, words: np.ndarray, dimensions: int = 2) -> tuple[Cloud, Cloud]:
    """The raw and the aligned cloud on the principal axes of phase 0, images and words together.

    ``images`` and ``words`` are ``[phases, pairs, d]``, ``dimensions`` is 2 or 3. Raises ``InputError`` for fewer than
    three pairs, or embeddings that are no numbers.
    """
    checked(images, words)
    fitted = PCA(dimensions, svd_solver="covariance_eigh").fit(_together(images[:1], words[:1])[0])
    return _drawn(fitted, images, words), _drawn(fitted, *aligned(images, words))


def checked(images: np.ndarray, words: np.ndarray) -> None:
    """Raises ``InputError`` where there is nothing to draw: fewer than three pairs, or not-a-number."""
    if images.shape[1] < LEAST:
        raise InputError(f"A cloud needs at least {LEAST} pairs; there are {images.shape[1]}.")
    if not (np.isfinite(images).all() and np.isfinite(words).all()):
        raise InputError("Some embeddings are not numbers, so they cannot be drawn: the model's weights are broken.")


def _together(images: np.ndarray, words: np.ndarray) -> np.ndarray:
    """All embeddings of each phase, float64 ``[phases, 2 * pairs, d]``, images first."""
    return np.concatenate([images, words], axis=1, dtype=np.float64)


def _drawn(fitted: PCA, images: np.ndarray, words: np.ndarray) -> Cloud:
    clouds = _together(images, words)
    seen = (clouds - fitted.mean_) @ fitted.components_.T
    total = clouds.var(axis=1).sum(axis=1)
    held = np.divide(seen.var(axis=1).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    return Cloud("pca", seen[:, : images.shape[1]], seen[:, images.shape[1] :], held)
