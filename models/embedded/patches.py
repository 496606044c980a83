"""What each patch of a scene shows: dense labels, free where scenes are composed."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from models.embedded.scenes import Scene
from models.embedded.text import IMAGE_SIZE, PATCH_SIZE

BACKGROUND, BACKGROUND_WEIGHT = "background", 0.2


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


def patch_loss(logits: torch.Tensor, labels: torch.Tensor, background: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted cross-entropy of naming patches, and the share of patches with a drawing that are named right.

    ``logits`` ``[N, patches, names]``, ``labels`` int64 ``[N, patches]``; ``background`` is that label.
    """
    logits, labels = logits.float().flatten(0, 1), labels.flatten()
    shown = (labels != background).float()
    weight = shown + BACKGROUND_WEIGHT * (1 - shown)
    losses = cross_entropy(logits, labels, reduction="none")
    named = ((logits.argmax(1) == labels).float() * shown).sum() / shown.sum()
    return (losses * weight).sum() / weight.sum(), named
