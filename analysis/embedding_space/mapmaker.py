"""Makes the maps of ``maps``: ``python -m analysis.embedding_space.mapmaker <input.npz> <output.npy>``. It imports no
more than that takes: torch alone would be seconds.
"""

import sys
from functools import partial

import numpy as np

NEIGHBOURS, PERPLEXITY, SEED = 15, 30.0, 0


def _umap(clouds: np.ndarray, dimensions: int) -> np.ndarray:
    from umap import UMAP, AlignedUMAP, aligned_umap

    # AlignedUMAP does not ask its last and longest part to tell how far it is
    aligned_umap.optimize_layout_aligned_euclidean = partial(
        aligned_umap.optimize_layout_aligned_euclidean, verbose=True
    )
    few, same = min(NEIGHBOURS, clouds.shape[1] - 1), {i: i for i in range(clouds.shape[1])}
    settings = {"n_neighbors": few, "n_components": dimensions, "random_state": SEED, "verbose": True}
    if len(clouds) == 1:
        return UMAP(**settings).fit_transform(clouds[0])[None]
    return np.stack(AlignedUMAP(**settings).fit_transform(list(clouds), relations=[same] * (len(clouds) - 1)))


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


if __name__ == "__main__":
    given, made = sys.argv[1:]
    with np.load(given) as read:
        found = {"umap": _umap, "tsne": _tsne}[str(read["method"])](read["clouds"], int(read["dimensions"]))
    # a point that umap-learn cannot place, without any neighbour, goes to the middle
    found = np.where(np.isfinite(found), found, np.nanmean(found, axis=1, keepdims=True))
    np.save(made, found.astype(np.float32))
