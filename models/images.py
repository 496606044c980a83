"""One opener for every picture, of visitors and of evaluation sets: whatever a camera, a browser or a scanner writes
becomes plain RGB.
"""

import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

from PIL import Image, ImageOps

from models.errors import InputError

LONGEST_SIDE = 1024  # pixels kept
_MAX_PIXELS = 100_000_000  # more is taken for a decompression bomb
_MANY_PIXELS = 16_000_000  # more takes hundreds of MB while it is decoded: one at a time, then
_LARGE = threading.Lock()
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def open_picture(path: str | Path) -> Image.Image:
    """The picture in ``path`` as RGB, upright, on white where it is transparent, at most 1024 pixels a side.

    Raises ``InputError`` with a message for the visitor where it is no picture, is broken, or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
        if image.width * image.height > _MAX_PIXELS:
            raise InputError(
                f"This picture has {image.width} x {image.height} pixels; at most 100 million can be read."
            )
        image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a large JPEG is decoded small
        with _LARGE if image.width * image.height > _MANY_PIXELS else nullcontext():
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise InputError("This picture has far too many pixels; at most 100 million can be read.") from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError) as error:
        raise InputError(
            "This file could not be read as a picture. PNG, JPEG, WebP, GIF, BMP and TIFF files work."
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        low, high = image.convert("F").getextrema()
        scale = 255 / (65535 if high > 255 else 255 if high > 1 else 1)
        image = image.convert("F").point(lambda v: v * scale).convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
