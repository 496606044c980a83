"""What each patch of a scene shows: dense labels, free where scenes are composed."""

import numpy as np

from models.embedded.scenes import Scene
from models.embedded.text import IMAGE_SIZE, PATCH_SIZE

BACKGROUND = "background"


def patch_labels(scene: Scene, index: dict[str, int]) -> np.ndarray:
    """Which drawing each patch's centre lies on: int64 ``[patches]``, row by row; the last drawn is on top."""
    side = IMAGE_SIZE // PATCH_SIZE
    centres = (np.arange(side) + 0.5) / side
    labels = np.full((side, side), index[BACKGROUND])
    for item in scene.items:
        left, top, right, bottom = item.box
        rows, columns = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
        labels[np.ix_(rows, columns)] = index[item.name]
    return labels.ravel()
