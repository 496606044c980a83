"""Scenes: one to four drawings on a background, with exact ground truth.

A scene is a plain description in fractions of its side, so it renders at any pixel size; the same
scene is shown to people at 448 px and read by the model at its own size.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from models.embedded.backgrounds import Background, any_background, random_background
from models.embedded.concepts import PARTNERS
from models.embedded.pictures import picture

MAX_ITEMS = 4
ANGLES = (-20, -10, 0, 10, 20)
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")
ZONES = tuple(f"{r} {c}".strip() or "middle" for r in _ROWS for c in _COLUMNS)
_SMALL_RENDER, _SMALL_SIDE, _LARGE_SIDE = 128, 64, 160
_SQUEEZED = 0.8  # of a side, at least: shapes are learnt more broadly than their art style has them


@dataclass(frozen=True)
class Item:
    """One drawing in a scene. ``box`` is (left, top, right, bottom) of what is drawn, in 0..1."""

    name: str
    style: str
    box: tuple[float, float, float, float]
    angle: int = 0
    flip: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def zone(self) -> str:
        """Which ninth of the picture holds the centre: ``"top left"``, ``"middle"``, ..."""
        column, row = (min(int(3 * c), 2) for c in self.centre)
        return ZONES[3 * row + column]

    @property
    def clearly_in_zone(self) -> bool:
        """True when the centre is not close to the border between two zones."""
        return all(abs(3 * c - round(3 * c)) > 0.15 or not 0 < round(3 * c) < 3 for c in self.centre)


@dataclass(frozen=True)
class Scene:
    """Drawings on a background, first drawn first."""

    items: tuple[Item, ...]
    background: Background = Background()

    @property
    def counts(self) -> Counter:
        """How many of each concept are in the scene."""
        return Counter(item.name for item in self.items)

    def render(self, size: int) -> Image.Image:
        """The scene as an RGB image of ``size`` x ``size`` pixels."""
        image = self.background.render(size)
        side = _SMALL_SIDE if size <= _SMALL_RENDER else _LARGE_SIDE
        for item in self.items:
            left, top, right, bottom = (round(size * v) for v in item.box)
            drawn = _drawing(item.name, item.style, item.angle, item.flip, side)
            drawn = drawn.resize((max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BICUBIC)
            image.paste(drawn, (left, top), drawn)
        return image

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "Scene":
        """The inverse of ``to_dict``; raises ``KeyError`` or ``TypeError`` on other dictionaries."""
        items = tuple(Item(**{**item, "box": tuple(item["box"])}) for item in data["items"])
        background = dict(data["background"])
        background["colours"] = tuple(tuple(c) for c in background["colours"])
        return cls(items, Background(**background))


@lru_cache(maxsize=60_000)
def _drawing(name: str, style: str, angle: int, flip: bool, side: int) -> Image.Image:
    drawn = picture(name, style)
    if flip:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if angle:
        drawn = drawn.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        drawn = drawn.crop(drawn.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
    if max(drawn.size) > side:
        drawn = drawn.copy()
        drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    return drawn


def placed(name: str, style: str, centre, extent: float, angle: int = 0, flip: bool = False) -> Item:
    """An item whose longer side is ``extent`` (fraction of the scene) around ``centre``, kept inside."""
    width, height = _drawing(name, style, angle, flip, _SMALL_SIDE).size
    w, h = extent * width / max(width, height), extent * height / max(width, height)
    left = min(max(centre[0] - w / 2, 0.0), 1 - w)
    top = min(max(centre[1] - h / 2, 0.0), 1 - h)
    return Item(name, style, (left, top, left + w, top + h), angle, flip)


def covered(a, b) -> float:
    """The share of box ``a`` that lies in box ``b``, 0 to 1."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0) / ((a[2] - a[0]) * (a[3] - a[1]))


def _overlap(a, b) -> float:
    """Shared area as a fraction of the smaller box."""
    return max(covered(a, b), covered(b, a))


def choose_names(rng: np.random.Generator, pool, count: int, skew: float, repeat: float = 0.3) -> list[str]:
    """``count`` concept names from ``pool``.

    With probability ``repeat`` a name is one already chosen (so that there is something to count);
    otherwise with probability ``skew`` it is the partner of one already chosen, where the partner is
    in the pool; otherwise uniform. Evaluation scenes use ``skew=0``: balanced co-occurrence.
    """
    names = [pool[rng.integers(len(pool))]]
    while len(names) < count:
        partners = [p for p in map(PARTNERS.get, names) if p in pool and p not in names]
        if rng.random() < repeat:
            names.append(names[rng.integers(len(names))])
        elif partners and rng.random() < skew:
            names.append(partners[rng.integers(len(partners))])
        else:
            names.append(pool[rng.integers(len(pool))])
    return names


def arrange(rng: np.random.Generator, names, styles) -> Scene:
    """A scene of ``names`` at random places, sizes, angles; each item's art style is one of ``styles``.

    Boxes overlap by less than a tenth of the smaller one. Two scenes in three keep to one art style.
    """
    largest = {1: 0.85, 2: 0.6, 3: 0.5, 4: 0.45}[len(names)]
    smallest = {1: 0.4, 2: 0.34, 3: 0.3, 4: 0.3}[len(names)]
    one_style = styles[rng.integers(len(styles))] if rng.random() < 2 / 3 else None
    while True:
        items: list[Item] = []
        for name in names:
            style = one_style or styles[rng.integers(len(styles))]
            angle, flip = ANGLES[rng.integers(len(ANGLES))], bool(rng.random() < 0.5)
            for _ in range(30):
                item = placed(name, style, rng.random(2), rng.uniform(smallest, largest), angle, flip)
                if all(_overlap(item.box, other.box) < 0.1 for other in items):
                    items.append(item)
                    break
        if len(items) == len(names):
            return Scene(tuple(items), random_background(rng))
        largest = max(smallest, largest * 0.95)


def random_scene(rng: np.random.Generator, pool, styles, skew: float, counts=(1, 2, 3, 4)) -> Scene:
    """A scene of one to four concepts from ``pool``; see ``choose_names`` and ``arrange``."""
    count = counts[rng.integers(len(counts))]
    return arrange(rng, choose_names(rng, pool, count, skew), styles)


def dressed(rng: np.random.Generator, scene: Scene, busy: float) -> Scene:
    """``scene`` on another background, busy with that probability, its drawings squeezed to as little as ``_SQUEEZED``
    of a side: what the training of tower and base shows of it.
    """
    return Scene(tuple(_squeezed(rng, item) for item in scene.items), any_background(rng, busy))


def _squeezed(rng: np.random.Generator, item: Item) -> Item:
    left, top, right, bottom = item.box
    share = rng.uniform(_SQUEEZED, 1)
    if rng.random() < 0.5:
        cut = (right - left) * (1 - share) / 2
        return replace(item, box=(left + cut, top, right - cut, bottom))
    cut = (bottom - top) * (1 - share) / 2
    return replace(item, box=(left, top + cut, right, bottom - cut))
