"""Photometric augmentation of a batch: colours, contrast, blur and noise that an art style could have."""

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

MILD = 0.3
_LUMINANCE = torch.tensor([0.299, 0.587, 0.114])


def augment(rng: np.random.Generator, images: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """uint8 ``[N, 3, H, W]`` to float32 in -1..1, each image with its own change of look.

    A random 3 x 3 colour mixing, sometimes greyscale, inverted lightness, blurred, with noise; sizes and
    odds of all of them go with ``strength``. At full strength colour tells little, and learning is slow.
    """
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def uniform(*shape):
        return torch.rand(*shape, generator=torch_rng)

    def chosen(p):
        return uniform(n) < p * strength

    n = len(images)
    x = images.float() / 127.5 - 1
    mixing = torch.eye(3) + 0.22 * strength * torch.randn(n, 3, 3, generator=torch_rng) * (uniform(n, 1, 1) < 0.8)
    grey = chosen(0.15)
    mixing[grey] = _LUMINANCE.expand(3, 3)
    mixing = mixing / mixing.sum(2, keepdim=True).clamp(min=0.5)
    contrast = 1 + 0.6 * strength * (uniform(n, 1, 1, 1) - 0.5)
    shift = 0.4 * strength * (uniform(n, 1, 1, 1) - 0.5)
    x = torch.einsum("nij,njhw->nihw", mixing, x) * contrast + shift
    inverted = chosen(0.04)
    x[inverted] = -x[inverted]
    blurred = chosen(0.2)
    x[blurred] = avg_pool2d(x[blurred], 3, 1, 1)
    noisy = chosen(0.3)
    x[noisy] += 0.12 * strength * torch.randn(x[noisy].shape, generator=torch_rng)
    return x.clamp(-1, 1)


def stack(pictures) -> torch.Tensor:
    """PIL RGB images of one size as uint8 ``[N, 3, H, W]``."""
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
