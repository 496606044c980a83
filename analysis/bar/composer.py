"""The scene composer: a visitor puts up to four drawings on a background, so the truth is known."""

import colorsys
from html import escape

import numpy as np

from models.embedded.backgrounds import BACKGROUNDS, Background
from models.embedded.concepts import CONCEPTS
from models.embedded.pictures import STYLES, UNSEEN_STYLE
from models.embedded.scenes import MAX_ITEMS, ZONES, Item, Scene, covered, placed

SIZES = {"small": 0.28, "medium": 0.4, "large": 0.58}
COLOURS = {
    "white": (255, 255, 255), "sky": (190, 220, 245), "sand": (246, 232, 206), "mint": (205, 235, 215),
    "rose": (246, 214, 220), "night": (44, 52, 84),
}
NOTHING = "–"
BETWEEN = "~"
"""Between the settings of a scene, in a link."""

_NAMES = (NOTHING, *sorted(CONCEPTS))
_OFFERED = (("Drawing", _NAMES), ("Art style", STYLES), ("Place", ZONES), ("Size", tuple(SIZES))) * MAX_ITEMS + (
    ("Background", BACKGROUNDS), ("Colour", tuple(COLOURS)),
)
START = (
    "bee", "fluent", "top left", "medium", "flower", "fluent", "bottom right", "medium",
    NOTHING, STYLES[0], "bottom left", "medium", NOTHING, STYLES[0], "top right", "medium", "plain", "sand",
)


def read(settings) -> tuple[str, ...] | None:
    """The composer's settings: name, art style, zone, size of each drawing, then background and colour; of a list, or
    of what a link holds. None where one is not on offer.
    """
    found = settings.split(BETWEEN) if isinstance(settings, str) else settings
    if not isinstance(found, list | tuple) or len(found) != len(_OFFERED):
        return None
    return tuple(found) if all(v in offered for v, (_, offered) in zip(found, _OFFERED, strict=True)) else None


def _items(rows: tuple[str, ...]) -> list[Item]:
    items = []
    for i in range(0, len(rows), 4):
        name, style, zone, size = rows[i : i + 4]
        if name != NOTHING:
            row, column = divmod(ZONES.index(zone), 3)
            items.append(placed(name, style, ((column + 0.5) / 3, (row + 0.5) / 3), SIZES[size]))
    return items


def scene_of(settings: tuple[str, ...]) -> Scene | None:
    """The scene of settings that ``read`` gave; None where something is ``wrong`` with them."""
    *rows, kind, colour = settings
    return None if wrong(settings) else Scene(tuple(_items(rows)), background(kind, colour))


def wrong(settings: tuple[str, ...]) -> str:
    """Why the truth of settings that ``read`` gave would not be what one sees, with the remedy; else empty."""
    items = _items(settings[:-2])
    if not items:
        return "No drawing is chosen, so there is no picture."
    pairs = ((under, over) for i, under in enumerate(items) for over in items[i + 1 :])
    hidden = next((pair for pair in pairs if covered(pair[0].box, pair[1].box) > 0.5), None)
    if hidden is None:
        return ""
    return f"Most of the {hidden[0].name} would lie under the {hidden[1].name}: choose another place, or another size."


def background(kind: str, colour: str) -> Background:
    """A background of ``kind`` in a named colour and a shade of it."""
    hue, light, strength = colorsys.rgb_to_hls(*(v / 255 for v in COLOURS[colour]))
    shade = colorsys.hls_to_rgb(hue, light - 0.07 if light > 0.5 else light + 0.07, strength)
    return Background(kind, (COLOURS[colour], tuple(round(255 * v) for v in shade)), 6, 1)


def surprise(rng: np.random.Generator) -> tuple[str, ...]:
    """Random settings: one to four drawings in different zones, one art style."""
    count = int(rng.integers(1, MAX_ITEMS + 1))
    names, style = rng.permutation(list(CONCEPTS))[:count], str(rng.choice(STYLES))
    corners = [ZONES[i] for i in (0, 2, 6, 8)]
    zones = ["middle"] if count == 1 else [str(z) for z in rng.permutation(corners)]
    rows = [(str(n), style, z, "large" if count == 1 else "medium") for n, z in zip(names, zones, strict=False)]
    spare = [(NOTHING, style, z, "medium") for z in corners[count:]]
    flat = [value for row in [*rows, *spare] for value in row]
    return (*flat, str(rng.choice(BACKGROUNDS)), str(rng.choice(list(COLOURS))))


def html(settings: tuple[str, ...] = START) -> str:
    """The drawer with its menus. Those of the first drawing hold all that is on offer; the browser gives it to the same
    menus of the others (``data-like``), whose list is not sent again.
    """
    menus = [
        f'<label><span>{title}{f" {i // 4 + 1}" if title == "Drawing" else ""}</span>'
        f'<select{f" data-like={i % 4}" if 4 <= i < 4 * MAX_ITEMS else ""}>'
        + "".join(
            f"<option{' selected' if v == chosen else ''} value=\"{escape(v)}\">"
            f"{escape(v)}{' (never trained on)' if v == UNSEEN_STYLE else ''}</option>"
            for v in ((chosen,) if 4 <= i < 4 * MAX_ITEMS else offered)
        )
        + "</select></label>"
        for i, ((title, offered), chosen) in enumerate(zip(_OFFERED, settings, strict=True))
    ]
    rows = "".join(f'<div class="drawing">{"".join(menus[i : i + 4])}</div>' for i in range(0, len(menus), 4))
    return (
        "<details><summary>Compose a scene: its truth is then known</summary>"
        f'{rows}<button type="button" data-surprise>Surprise me</button></details>'
    )
