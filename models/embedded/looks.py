"""Two more looks of the same drawings, made by rule: an outline, and a poster of two colours."""

import numpy as np
from PIL import Image, ImageFilter

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_PAPER, _INK, _EDGE = 252, 40, 44  # lightness of the filling, of a line, and the step in lightness that is one
_SHADOW, _LIGHT = 0.55, 0.6  # how much darker and lighter the two colours of a poster are than what they stand for


def outline(drawing: Image.Image) -> Image.Image:
    """``drawing`` (RGBA) as dark lines on white: a line where a colour or the drawing ends; RGBA, the same alpha."""
    pixels = np.asarray(drawing).astype(float)
    shown = pixels[..., 3:] / 255
    flat = pixels[..., :3] * shown + 255 * (1 - shown)
    step = np.zeros(flat.shape[:2])
    for part in (flat, 160 * shown):
        across, down = np.diff(part, axis=1, append=part[:, -1:]), np.diff(part, axis=0, append=part[-1:])
        step = np.maximum(step, np.maximum(np.abs(across).max(2), np.abs(down).max(2)))
    border = np.zeros(step.shape, bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    lines = Image.fromarray((((step > _EDGE) | border & (shown[..., 0] > 0.5)) * 255).astype(np.uint8))
    lines = lines.filter(ImageFilter.MaxFilter(3)) if min(drawing.size) > 40 else lines
    drawn = Image.new("RGB", drawing.size, (_PAPER,) * 3)
    drawn.paste((_INK,) * 3, mask=lines)
    drawn.putalpha(drawing.getchannel("A"))
    return drawn


def poster(drawing: Image.Image) -> Image.Image:
    """``drawing`` (RGBA) in two colours, parted at its middle lightness; RGBA, the same alpha.

    Each colour is the mean of what it stands for, the dark one darker and the light one lighter.
    """
    pixels = np.asarray(drawing).astype(float)
    light, shown = pixels[..., :3] @ _LUMINANCE, pixels[..., 3] > 128
    low, high = np.percentile(light[shown], (5, 95))
    bright = light >= (low + high) / 2
    out = np.empty(pixels.shape, np.uint8)
    out[..., 3] = pixels[..., 3]
    for part, ends, share in ((~bright, 0, 1 - _SHADOW), (bright, 255, _LIGHT)):
        inside = part & shown
        mean = pixels[..., :3][inside].mean(0) if inside.any() else np.full(3, ends)
        out[part, :3] = mean + (ends - mean) * share
    return Image.fromarray(out)
