"""Clouds that can be compared: the same pairs in every phase, by PCA, or as maps of neighbourhoods.

By PCA everything is seen with the ruler of phase 0: its mean and its principal axes draw every phase, as it is and
turned back, so both begin with the same picture and a cloud that leaves the plane is seen to shrink.

AlignedUMAP and t-SNE look at distances alone, which no rotation changes: a space has one map, raw or turned back. They
are made in a process of their own and kept on disk: umap-learn takes seconds to import and to compile and cannot be
interrupted, so none of it runs in the page's process: ``analysis.embedding_space.mapmaker`` does the work, and is ended
when the visitor stops.
"""

import base64
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from analysis import kept
from analysis.embedding_space import mapmaker
from analysis.embedding_space.mapmaker import NEIGHBOURS, PERPLEXITY, SEED
from analysis.embedding_space.space import rotation
from models.errors import InputError, ModelError

LEAST = 3  # pairs: of fewer there is no cloud
METHODS = {"umap": "AlignedUMAP", "tsne": "t-SNE"}
_LIBRARY = {"umap": "umap-learn", "tsne": "scikit-learn"}
_ROOM, _VERSION = "embedding_space-maps", 1
_DONE = {"umap": "Finished embedding", "tsne": "phase done"}  # in a line for every phase; the first is umap-learn's
_EPOCHS = re.compile(r"Epochs completed: +(\d+)%")  # how umap-learn tells how far an optimisation is
_EVERY = 0.25  # seconds between two looks at whether to go on


@dataclass(frozen=True)
class Cloud:
    """Where every pair lies in every phase: ``images`` and ``words`` are float64 ``[phases, pairs, 2 or 3]``.

    ``method`` drew it (``"pca"``, ``"umap"``, ``"tsne"``). ``explained`` ``[phases]`` is the share of each phase's
    variance that the picture holds, 0 to 1; not-a-number for methods that have none. ``note``: what must be told with
    a map that was made, as in ``Provenance``.
    """

    method: str
    images: np.ndarray
    words: np.ndarray
    explained: np.ndarray
    note: str = ""

    @property
    def dimensions(self) -> int:
        return self.images.shape[2]


def aligned(images: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each phase turned onto the phase before it by the rotation (or reflection) about the origin that fits best.

    ``images`` and ``words`` are ``[phases, pairs, d]``. One rotation for both, by orthogonal Procrustes (Schoenemann
    1966): min over orthogonal R of ||X_t R - X'_{t-1}||_F, X' being aligned already. What is left is no rotation of the
    whole: disorder within a modality, and the modalities turning differently. Float64, same shapes.
    """
    clouds = _turned_back(np.concatenate([images, words], axis=1, dtype=np.float64))
    return clouds[:, : images.shape[1]], clouds[:, images.shape[1] :]


def pca(images: np.ndarray, words: np.ndarray, dimensions: int = 2) -> tuple[Cloud, Cloud]:
    """The raw and the aligned cloud on the principal axes of phase 0, images and words together.

    ``images`` and ``words`` are ``[phases, pairs, d]``, ``dimensions`` is 2 or 3. Raises ``InputError`` for fewer than
    three pairs, or embeddings that are no numbers.
    """
    checked(images, words)
    clouds = np.concatenate([images, words], axis=1, dtype=np.float64)  # [phases, 2 * pairs, d]
    fitted = PCA(dimensions, svd_solver="covariance_eigh").fit(clouds[0])
    drawn = []
    for of in (clouds, _turned_back(clouds)):
        seen, n = of @ fitted.components_.T - fitted.mean_ @ fitted.components_.T, of.shape[1] // 2
        total = np.einsum("tnd,tnd->t", of, of) / of.shape[1] - (of.mean(axis=1) ** 2).sum(axis=1)
        held = np.divide(seen.var(axis=1).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 1e-12)
        drawn.append(Cloud("pca", seen[:, :n], seen[:, n:], held))
    return drawn[0], drawn[1]


def checked(images: np.ndarray, words: np.ndarray) -> None:
    """Raises ``InputError`` where there is nothing to draw: fewer than three pairs, or not-a-number."""
    if images.shape[1] < LEAST:
        raise InputError(f"A cloud needs at least {LEAST} pairs; there are {images.shape[1]}.")
    if not (np.isfinite(images).all() and np.isfinite(words).all()):
        raise InputError("Some embeddings are not numbers, so they cannot be drawn: the model's weights are broken.")


def _turned_back(clouds: np.ndarray) -> np.ndarray:
    """``clouds`` ``[phases, points, d]`` with each phase turned onto the one before; the first as it is."""
    turned = [clouds[0]]
    for cloud in clouds[1:]:
        turned.append(cloud @ rotation(cloud, turned[-1]))
    return np.stack(turned)


def embedded(
    images: np.ndarray, words: np.ndarray, method: str, dimensions: int = 2,
    progress: Callable[[float, str], None] | None = lambda share, what: None
) -> Cloud | None:
    """The map of all phases, images and words together; from disk where the same was made before. None where it was
    not, and there is no ``progress`` to tell of the work.

    ``images`` and ``words`` are ``[phases, pairs, d]``; ``method`` is one of ``METHODS``. AlignedUMAP (McInnes 2018)
    keeps each point near its place in the phases before and after; t-SNE (van der Maaten 2008) starts every phase from
    the map before. ``progress(share, what)`` is told while it runs; what it raises ends the work. Raises ``InputError``
    where there is nothing to draw, ``ModelError`` where the work failed.
    """
    checked(images, words)
    # in half precision, as embeddings are kept: those measured just now and those read from disk make the same map
    clouds = np.concatenate([images, words], axis=1).astype(np.float16).astype(np.float32)
    made_of = {
        "version": _VERSION, "method": method, "dimensions": dimensions, "neighbours": NEIGHBOURS,
        "perplexity": PERPLEXITY, "seed": SEED, "shape": clouds.shape,
        "library": importlib.metadata.version(_LIBRARY[method]),
        "data": hashlib.sha256(np.ascontiguousarray(clouds)).hexdigest()[:24],
    }  # fmt: skip
    found = kept.load(_ROOM, made_of)
    if found is None and progress is None:
        return None
    if found is None:
        flat = _made(clouds, method, dimensions, progress).astype("<f2")
        packed = base64.b64encode(flat.tobytes()).decode()
        found = {"base64": packed, "shape": flat.shape, "provenance": {}}
        kept.save(_ROOM, made_of, found)  # where it cannot be kept, the provenance says so
    flat = np.frombuffer(base64.b64decode(found["base64"]), "<f2").reshape(found["shape"]).astype(np.float64)
    n, note = images.shape[1], found.get("provenance", {}).get("note", "")
    return Cloud(method, flat[:, :n], flat[:, n:], np.full(len(flat), np.nan), note)


def _made(clouds: np.ndarray, method: str, dimensions: int, progress: Callable[[float, str], None]) -> np.ndarray:
    """Run the work in another process, listening to how far it is."""
    with tempfile.TemporaryDirectory(prefix="crosstalk-map-") as folder:
        given, made = Path(folder) / "input.npz", Path(folder) / "output.npy"
        np.savez(given, clouds=clouds, method=method, dimensions=dimensions)
        command = [sys.executable, "-u", "-W", "ignore", "-m", mapmaker.__name__, str(given), str(made)]
        root = Path(__file__).resolve().parents[2]
        running = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(running.stdout), daemon=True)
        reader.start()
        try:
            while running.poll() is None:
                share, at = _how_far(method, list(lines), len(clouds))
                progress(share, f"{METHODS[method]} of {len(clouds)} phases of {clouds.shape[1]} points, {at}")
                reader.join(_EVERY)
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()
            reader.join(5)
            running.stdout.close()
        if running.returncode or not made.is_file():
            last = next((line.strip() for line in reversed(lines) if line.strip()), "no reason was given")
            raise ModelError(f"{METHODS[method]} could not draw these embeddings: {last[:300]}")
        return np.load(made)


def _how_far(method: str, lines: list[str], phases: int) -> tuple[float, str]:
    """The share done and what is done now, from what the work has said so far.

    UMAP is compiled, fits each phase, and then moves all of them together, which takes most of the time.
    """
    ends = [i for i, line in enumerate(lines) if _DONE[method] in line]
    if method != "umap":
        return min(0.95, (len(ends) + 0.5) / (phases + 0.5)), f"phase {min(len(ends) + 1, phases)}"
    if not ends:
        return 0.05, "compiled first, which takes a moment"
    if len(ends) < phases:
        return 0.1 + 0.3 * len(ends) / phases, f"phase {len(ends) + 1}"
    epochs = [int(found[1]) for line in lines[ends[-1] :] if (found := _EPOCHS.search(line))]
    return 0.4 + 0.55 * (epochs[-1] if epochs else 0) / 100, "all phases together"
