"""What is behind the drawings of a scene: a plain description that renders the same at any size, from its seed.

``BACKGROUNDS`` are flat or simply patterned. ``BUSY`` ones are what photographs and cluttered pages have: soft coloured
noise, dead leaves (overlapping shapes of power-law sizes, as surfaces hide each other in the world), clutter of
nameless shapes, lines and letters, crops of photographs. ``KEPT_OUT`` is in no training: veins of marble.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.embedded import photographs

BACKGROUNDS = ("plain", "gradient", "stripes", "checks", "dots", "blobs")
BUSY = ("noise", "leaves", "clutter", "photo")
KEPT_OUT = "marble"
"""Smooth and sharp, coloured and in many sizes at once, as the busy kinds are, and of a form that none of them has."""
WHITE = (255, 255, 255)
_GRAIN = 96  # cells of the finest noise along a side, so that it is the same at any size
_ROUND = 16  # points that an ellipse is drawn with
_SAMPLES = 2  # pixels drawn along each side of one that is kept, for smooth edges
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghkmnpqrstuvwxyz0123456789&?#%"


@dataclass(frozen=True)
class Background:
    """``kind`` is one of ``BACKGROUNDS``, ``BUSY`` or ``KEPT_OUT``; ``colours`` are RGB, for ``BACKGROUNDS`` alone;
    ``grain`` is the number of repeats, or which photograph; all else follows from ``seed``.
    """

    kind: str = "plain"
    colours: tuple[tuple[int, int, int], ...] = (WHITE, WHITE)
    grain: int = 4
    seed: int = 0

    def render(self, size: int) -> Image.Image:
        """RGB, ``size`` x ``size`` pixels."""
        if self.kind in _BUSY_RENDERERS:
            return _BUSY_RENDERERS[self.kind](self, np.random.default_rng(self.seed), size)
        first, second = self.colours[:2]
        image = Image.new("RGB", (size, size), first)
        draw, step = ImageDraw.Draw(image), size / self.grain
        if self.kind == "gradient":
            ramp = Image.linear_gradient("L").rotate(90 * (self.grain % 4)).resize((size, size))
            image.paste(second, mask=ramp)
        elif self.kind == "stripes":
            for i in range(0, self.grain, 2):
                draw.rectangle((0, i * step, size, (i + 1) * step - 1), fill=second)
            image = image.rotate(90 * (self.seed % 2))
        elif self.kind == "checks":
            for i in range(self.grain):
                for j in range(i % 2, self.grain, 2):
                    draw.rectangle((j * step, i * step, (j + 1) * step - 1, (i + 1) * step - 1), fill=second)
        elif self.kind == "dots":
            for i in range(self.grain):
                for j in range(self.grain):
                    x, y = (j + 0.3) * step, (i + 0.3) * step
                    draw.ellipse((x, y, x + 0.4 * step, y + 0.4 * step), fill=second)
        elif self.kind == "blobs":
            noise = np.random.default_rng(self.seed).random((4, 4, 1))
            mix = noise * np.array(first) + (1 - noise) * np.array(second)
            image = Image.fromarray(mix.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        return image


def random_background(rng: np.random.Generator) -> Background:
    """A varied background of ``BACKGROUNDS``: mostly light, sometimes dark; one in eight is plain white."""
    if rng.random() < 1 / 8:
        return Background()
    light = rng.random() < 0.7
    base = rng.integers(150, 256, 3) if light else rng.integers(0, 256, 3)
    other = np.clip(base + rng.integers(-60, 61, 3), 0, 255)
    colours = tuple(tuple(int(v) for v in c) for c in (base, other))
    kind = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    return Background(kind, colours, int(rng.integers(3, 9)), int(rng.integers(2**31)))


def busy_background(rng: np.random.Generator, kind: str, photos: tuple[str, ...] = photographs.TRAINED) -> Background:
    """A background of ``kind``, one of ``BUSY`` or ``KEPT_OUT``; a photo is a crop of one of ``photos``."""
    names = [row["name"] for row in photographs.table()]
    grain = names.index(photos[rng.integers(len(photos))]) if kind == "photo" else 4
    return Background(kind, grain=grain, seed=int(rng.integers(2**31)))


def any_background(rng: np.random.Generator, busy: float) -> Background:
    """With probability ``busy`` one of the ``BUSY`` kinds, each equally often; else as ``random_background``."""
    if rng.random() < busy:
        return busy_background(rng, BUSY[rng.integers(len(BUSY))])
    return random_background(rng)


def _fractal(rng: np.random.Generator, octaves: int, channels: int, size: int) -> np.ndarray:
    """Sum of smooth noises, each twice as fine as the one before: float32 ``[size, size, channels]`` around 0, its
    standard deviation 1.
    """
    cells, weight = int(rng.integers(2, 5)), 1.0
    fade = rng.uniform(0.45, 0.95)
    total = np.zeros((size, size, channels), np.float32)
    for _ in range(octaves):
        grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(smooth, np.float32)[..., :channels] - 127.5)
        cells, weight = cells * 2, weight * fade
    return total / (total.std() + 1e-6)


def _coloured(rng: np.random.Generator, octaves: int, size: int) -> np.ndarray:
    """Fractal noise around a random colour, of random contrast and saturation: float32 RGB."""
    noise = _fractal(rng, octaves, 3, size)
    noise += (noise.mean(2, keepdims=True) - noise) * rng.uniform(0, 1)
    return rng.uniform(40, 220, 3).astype(np.float32) + rng.uniform(12, 100) * noise


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _noise(background: Background, rng: np.random.Generator, size: int) -> Image.Image:
    return _picture(_coloured(rng, int(rng.integers(1, 6)), size))


def _palette(rng: np.random.Generator) -> np.ndarray:
    """Three to seven colours around a few hues: uint8 ``[colours, 3]``."""
    hues = rng.uniform(0, 256, (int(rng.integers(1, 4)), 3))
    hues += (hues.mean(1, keepdims=True) - hues) * rng.uniform(0, 1)
    spread = rng.uniform(10, 70)
    colours = hues[rng.integers(len(hues), size=int(rng.integers(3, 8)))]
    shade = rng.uniform(0.5, 1.35, (len(colours), 1))
    return np.clip((colours + rng.normal(0, spread, colours.shape)) * shade, 0, 255).astype(np.uint8)


def _sizes(rng: np.random.Generator, count: int, smallest: float, largest: float, power: float) -> np.ndarray:
    """``count`` sizes with a density falling as size to the ``-power`` between the two, in 0..1."""
    low, high = smallest ** (1 - power), largest ** (1 - power)
    return (low + rng.random(count) * (high - low)) ** (1 / (1 - power))


def _shapes(rng: np.random.Generator, centres: np.ndarray, radii: np.ndarray) -> list[list[tuple[float, float]]]:
    """The outline of an ellipse, box or polygon, flattened and turned at random, around each of ``centres``: points.

    ``centres`` ``[shapes, 2]`` and ``radii`` ``[shapes]`` in pixels.
    """
    count = len(centres)
    corners = np.where(rng.random(count) < 0.6, rng.integers(3, 8, count), _ROUND)[:, None]
    corner = np.arange(_ROUND) % corners  # a corner that comes twice changes nothing
    angles = 2 * np.pi * (rng.random((count, 1)) + corner / corners)
    uneven = np.take_along_axis(rng.uniform(0.5, 1.1, (count, _ROUND)), corner, 1)
    reach = radii[:, None] * np.where(corners < _ROUND, uneven, 1.0)
    flat, turn = rng.uniform(0.35, 1.0, (count, 1)), np.pi * rng.random((count, 1))
    x, y = reach * np.cos(angles), reach * np.sin(angles) * flat
    across, down = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    points = np.stack([across, down], 2) + centres[:, None]
    return [[tuple(p) for p in shape] for shape in points.tolist()]


def _grained(rng: np.random.Generator, values: np.ndarray, size: int) -> np.ndarray:
    """``values`` with a fine texture of lightness on them."""
    fine = rng.integers(0, 256, (_GRAIN, _GRAIN), dtype=np.uint8)
    fine = np.asarray(Image.fromarray(fine).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    return values + rng.uniform(0.05, 0.25) * (fine[..., None] - 127.5)


def _softened(rng: np.random.Generator, image: Image.Image, size: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.003, 0.025) * size))


def _leaves(background: Background, rng: np.random.Generator, size: int) -> Image.Image:
    side, count = size * _SAMPLES, int(rng.integers(40, 140))
    canvas = _picture(_coloured(rng, 2, size)).resize((side, side))
    draw, palette = ImageDraw.Draw(canvas), _palette(rng)
    shapes = _shapes(rng, rng.random((count, 2)) * side, _sizes(rng, count, 0.03, 0.45, 2.2) * side)
    colours = palette[rng.integers(len(palette), size=count)] + rng.normal(0, 14, (count, 3))
    for shape, colour in zip(shapes, np.clip(colours, 0, 255).astype(int).tolist(), strict=True):
        draw.polygon(shape, fill=tuple(colour))
    image = canvas.reduce(_SAMPLES)
    if rng.random() < 0.4:
        image = _softened(rng, image, size)
    values = np.asarray(image, np.float32)
    if rng.random() < 0.7:
        values = values + rng.uniform(4, 22) * _fractal(rng, int(rng.integers(3, 6)), 1, size)
    if rng.random() < 0.5:
        values = _grained(rng, values, size)
    return _picture(values)


@lru_cache(maxsize=256)
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(pixels)


def _clutter(background: Background, rng: np.random.Generator, size: int) -> Image.Image:
    side = size * _SAMPLES
    ground = _coloured(rng, int(rng.integers(1, 5)), size) if rng.random() < 0.5 else None
    canvas = (
        Image.new("RGB", (side, side), tuple(rng.integers(0, 256, 3).tolist()))
        if ground is None
        else _picture(ground).resize((side, side))
    )
    draw, palette = ImageDraw.Draw(canvas), _palette(rng)
    count = int(np.exp(rng.uniform(np.log(5), np.log(140))))
    centres, radii = rng.random((count, 2)) * side, _sizes(rng, count, 0.02, 0.35, 2.0) * side
    shapes, kinds = _shapes(rng, centres, radii), rng.random(count)
    colours = palette[rng.integers(len(palette), size=count)].tolist()
    for (x, y), radius, kind, shape, rgb in zip(centres.tolist(), radii.tolist(), kinds, shapes, colours, strict=True):
        colour, width = tuple(rgb), max(1, round(rng.uniform(0.004, 0.025) * side))
        if kind < 0.5:
            draw.polygon(shape, fill=colour)
        elif kind < 0.65:
            turn, reach = rng.random() * 2 * np.pi, 2.5 * radius
            dx, dy = reach * np.cos(turn), reach * np.sin(turn)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=width)
        elif kind < 0.8:
            start = rng.uniform(0, 360)
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.arc(box, start, start + rng.uniform(60, 360), fill=colour, width=width)
        else:
            text = "".join(_LETTERS[i] for i in rng.integers(len(_LETTERS), size=int(rng.integers(1, 5))))
            draw.text((x, y), text, fill=colour, font=_font(max(4, round(radius * 1.2))))
    image = canvas.reduce(_SAMPLES)
    if rng.random() < 0.5:
        image = _softened(rng, image, size)
    values = np.asarray(image, np.float32)
    return _picture(_grained(rng, values, size) if rng.random() < 0.5 else values)


def _photo(background: Background, rng: np.random.Generator, size: int) -> Image.Image:
    """A square crop of a photograph, mirrored and turned by quarters at random, of another tint and contrast."""
    image = photographs.photograph(photographs.table()[background.grain]["name"])
    side = min(image.size) * rng.uniform(0.25, 1.0)
    left, top = (rng.uniform(0, extent - side) for extent in image.size)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=2)
    values = np.rot90(np.asarray(crop, np.float32), int(rng.integers(4)))
    values = values[:, ::-1] if rng.random() < 0.5 else values
    contrast, middle = rng.normal(1, 0.12, 3) * rng.uniform(0.7, 1.6), rng.uniform(90, 165)
    return _picture((values - values.mean()) * contrast + middle)


def _marble(background: Background, rng: np.random.Generator, size: int) -> Image.Image:
    """Bands of two or three colours along a direction, bent by fractal noise, some with sharp borders."""
    bend = _fractal(rng, 4, 1, size)[..., 0]
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    turn = rng.random() * np.pi
    along = x * np.cos(turn) + y * np.sin(turn)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1.5, 5) * along + rng.uniform(0.8, 2.5) * bend)
    wave = np.clip(0.5 + (wave ** rng.uniform(0.6, 2.0) - 0.5) * rng.uniform(1, 6), 0, 1)[..., None]
    first, second, third = rng.uniform(0, 255, (3, 3))
    veins = (first * wave + second * (1 - wave)) * (1 - y[..., None]) + (third * wave + second * (1 - wave)) * y[
        ..., None
    ]
    return _picture(veins + rng.uniform(3, 24) * _fractal(rng, 5, 1, size))


_BUSY_RENDERERS = {"noise": _noise, "leaves": _leaves, "clutter": _clutter, "photo": _photo, KEPT_OUT: _marble}
