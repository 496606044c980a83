"""Maps of neighbourhoods: AlignedUMAP and t-SNE, made in a process of their own and kept on disk.

umap-learn takes seconds to import and to compile and cannot be interrupted, so none of it runs in the page's process:
``python -m analysis.embedding_space.maps <input.npz> <output.npy>`` does the work, and is ended when the visitor stops.
Both methods look at distances alone, which no rotation changes: a raw and an aligned space have the same map.
"""

import base64
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from analysis import kept
from analysis.embedding_space.project import Cloud, checked
from models.errors import ModelError

METHODS = {"umap": "AlignedUMAP", "tsne": "t-SNE"}
NEIGHBOURS, PERPLEXITY, SEED = 15, 30.0, 0
_LIBRARY = {"umap": "umap-learn", "tsne": "scikit-learn"}
_ROOM, _VERSION = "embedding_space-maps", 1
_DONE = {"umap": "Finished embedding", "tsne": "phase done"}  # in a line for every phase; the first is umap-learn's
_EPOCHS = re.compile(r"Epochs completed: +(\d+)%")  # how umap-learn tells how far an optimisation is
_EVERY = 0.25  # seconds between two looks at whether to go on


def embedded(
    images: np.ndarray,
    words: np.ndarray,
    method: str,
    dimensions: int = 2,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Cloud:
    """The map of all phases, images and words together; from disk where the same was made before.

    ``images`` and ``words`` are ``[phases, pairs, d]``; ``method`` is one of ``METHODS``. AlignedUMAP (McInnes 2018)
    keeps each point near its place in the phases before and after; t-SNE (van der Maaten 2008) starts every phase from
    the map before. ``progress(share, what)`` is told while it runs; what it raises ends the work. Raises ``InputError``
    where there is nothing to draw, ``ModelError`` where the work failed.
    """
    checked(images, words)
    clouds = _together(images, words)
    made_of = _made_of(clouds, method, dimensions)
    if found := kept.load(_ROOM, made_of):
        flat = np.frombuffer(base64.b64decode(found["base64"]), "<f2").reshape(found["shape"])
    else:
        flat = _made(clouds, method, dimensions, progress).astype("<f2")
        kept.save(_ROOM, made_of, {"base64": base64.b64encode(flat.tobytes()).decode(), "shape": flat.shape})
    flat = flat.astype(np.float64)
    n = images.shape[1]
    return Cloud(method, flat[:, :n], flat[:, n:], np.full(len(flat), np.nan))


def _together(images: np.ndarray, words: np.ndarray) -> np.ndarray:
    """All points of each phase, images first; in half precision, as embeddings are kept, so that those measured just
    now and those read from disk make the same map."""
    return np.concatenate([images, words], axis=1).astype(np.float16).astype(np.float32)


def _made_of(clouds: np.ndarray, method: str, dimensions: int) -> dict:
    return {
        "version": _VERSION, "method": method, "dimensions": dimensions, "neighbours": NEIGHBOURS,
        "perplexity": PERPLEXITY, "seed": SEED, "shape": clouds.shape,
        "library": importlib.metadata.version(_LIBRARY[method]),
        "data": hashlib.sha256(np.ascontiguousarray(clouds)).hexdigest()[:24],
    }  # fmt: skip


def _made(clouds: np.ndarray, method: str, dimensions: int, progress: Callable[[float, str], None]) -> np.ndarray:
    """Run the work in another process, listening to how far it is."""
    with tempfile.TemporaryDirectory(prefix="crosstalk-map-") as folder:
        given, made = Path(folder) / "input.npz", Path(folder) / "output.npy"
        np.savez(given, clouds=clouds, method=method, dimensions=dimensions)
        command = [sys.executable, "-u", "-W", "ignore", "-m", __name__, str(given), str(made)]
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


def _umap(clouds: np.ndarray, dimensions: int) -> np.ndarray:
    from umap import UMAP, AlignedUMAP, aligned_umap

    # AlignedUMAP does not ask its last and longest part to tell how far it is
    aligned_umap.optimize_layout_aligned_euclidean = partial(
        aligned_umap.optimize_layout_aligned_euclidean, verbose=True
    )
    few = min(NEIGHBOURS, clouds.shape[1] - 1)
    if len(clouds) == 1:
        return UMAP(n_neighbors=few, n_components=dimensions, random_state=SEED, verbose=True).fit_transform(clouds[0])[
            None
        ]
    same = {i: i for i in range(clouds.shape[1])}
    fit = AlignedUMAP(n_neighbors=few, n_components=dimensions, random_state=SEED, verbose=True)
    return np.stack(fit.fit_transform(list(clouds), relations=[same] * (len(clouds) - 1)))


def _tsne(clouds: np.ndarray, dimensions: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (clouds.shape[1] - 1) / 3)
    maps: list[np.ndarray] = []
    for cloud in clouds:
        # scaled as scikit-learn scales its own start
        start = maps[-1] / maps[-1][:, 0].std() * 1e-4 if maps else "pca"
        maps.append(TSNE(dimensions, perplexity=perplexity, init=start, random_state=SEED).fit_transform(cloud))
        print("phase done", flush=True)
    return np.stack(maps)


def _main(arguments: Iterable[str]) -> None:
    given, made = arguments
    with np.load(given) as read:
        clouds, method, dimensions = read["clouds"], str(read["method"]), int(read["dimensions"])
    found = {"umap": _umap, "tsne": _tsne}[method](clouds, dimensions)
    # a point that umap-learn cannot place, without any neighbour, goes to the middle
    found = np.where(np.isfinite(found), found, np.nanmean(found, axis=1, keepdims=True))
    np.save(made, found.astype(np.float32))


if __name__ == "__main__":
    _main(sys.argv[1:])
