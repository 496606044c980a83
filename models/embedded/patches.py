"""What each patch of a scene shows: dense labels, free where scenes are composed."""

from dataclasses import replace

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


def patch_boxes(scene: Scene) -> np.ndarray:
    """The box (left, top, right, bottom, in 0..1) of the drawing each patch's centre lies on: float32
    ``[patches, 4]``, zeros on the background.
    """
    boxes = np.array([(0.0,) * 4, *(item.box for item in scene.items)], dtype=np.float32)
    numbered = Scene(tuple(replace(item, name=str(i)) for i, item in enumerate(scene.items, 1)))
    return boxes[patch_labels(numbered, {BACKGROUND: 0} | {str(i): i for i in range(1, len(boxes))})]


def box_loss(head: torch.nn.Linear, states: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Mean L1 distance, on patches with a drawing, of the box that ``head`` reads off a patch's state.

    ``states`` ``[N, patches, width]``, ``boxes`` ``[N, patches, 4]`` as ``patch_boxes``. Every patch
    telling the extent of its drawing is dense detection as in FCOS (arXiv 1904.01355); ``head`` is only
    of use in training.
    """
    shown = boxes[..., 2] > 0
    return (head(states[shown]).float().sigmoid() - boxes[shown]).abs().mean()


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
