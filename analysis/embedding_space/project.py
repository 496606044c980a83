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
    clouds = _turned_back(_together(images, words))
    return clouds[:, : images.shape[1]], clouds[:, images.shape[1] :]


def pca(images: np.ndarray, words: np.ndarray, dimensions: int = 2) -> tuple[Cloud, Cloud]:
    """The raw and the aligned cloud on the principal axes of phase 0, images and words together.

    ``images`` and ``words`` are ``[phases, pairs, d]``, ``dimensions`` is 2 or 3. Raises ``InputError`` for fewer than
    three pairs, or embeddings that are no numbers.
    """
    checked(images, words)
    clouds = _together(images, words)
    fitted = PCA(dimensions, svd_solver="covariance_eigh").fit(clouds[0])
    return _drawn(fitted, clouds), _drawn(fitted, _turned_back(clouds))


def checked(images: np.ndarray, words: np.ndarray) -> None:
    """Raises ``InputError`` where there is nothing to draw: fewer than three pairs, or not-a-number."""
    if images.shape[1] < LEAST:
        raise InputError(f"A cloud needs at least {LEAST} pairs; there are {images.shape[1]}.")
    if not (np.isfinite(images).all() and np.isfinite(words).all()):
        raise InputError("Some embeddings are not numbers, so they cannot be drawn: the model's weights are broken.")


def _together(images: np.ndarray, words: np.ndarray) -> np.ndarray:
    """All embeddings of each phase, float64 ``[phases, 2 * pairs, d]``, images first."""
    return np.concatenate([images, words], axis=1, dtype=np.float64)


def _turned_back(clouds: np.ndarray) -> np.ndarray:
    """``clouds`` ``[phases, points, d]`` with each phase turned onto the one before; the first as it is."""
    turned = [clouds[0]]
    for cloud in clouds[1:]:
        turned.append(cloud @ rotation(cloud, turned[-1]))
    return np.stack(turned)


def _drawn(fitted: PCA, clouds: np.ndarray) -> Cloud:
    seen = clouds @ fitted.components_.T - fitted.mean_ @ fitted.components_.T
    total = np.einsum("tnd,tnd->t", clouds, clouds) / clouds.shape[1] - (clouds.mean(axis=1) ** 2).sum(axis=1)
    held = np.divide(seen.var(axis=1).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 1e-12)
    n = clouds.shape[1] // 2
    return Cloud("pca", seen[:, :n], seen[:, n:], held)
