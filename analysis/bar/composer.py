"""The scene composer: a visitor puts up to four drawings on a background, so the truth is known."""

import colorsys

import gradio as gr
import numpy as np

from models.embedded.concepts import CONCEPTS
from models.embedded.pictures import STYLES, UNSEEN_STYLE
from models.embedded.scenes import BACKGROUNDS, MAX_ITEMS, ZONES, Background, Scene, placed

SIZES = {"small": 0.28, "medium": 0.4, "large": 0.58}
COLOURS = {
    "white": (255, 255, 255), "sky": (190, 220, 245), "sand": (246, 232, 206), "mint": (205, 235, 215),
    "rose": (246, 214, 220), "night": (44, 52, 84),
}  # fmt: skip
_NOTHING = "–"
_STYLES = [(s.title() + (" (never trained on)" if s == UNSEEN_STYLE else ""), s) for s in STYLES]
_START = (("bee", "fluent", "top left", "medium"), ("flower", "fluent", "bottom right", "medium"))


def scene_of(*settings) -> Scene | None:
    """The scene of the composer's settings: name, art style, zone, size of each drawing, then background, colour.

    None where no drawing is chosen.
    """
    *rows, kind, colour = settings
    items = []
    for i in range(0, len(rows), 4):
        name, style, zone, size = rows[i : i + 4]
        if name != _NOTHING:
            row, column = divmod(ZONES.index(zone), 3)
            items.append(placed(name, style, ((column + 0.5) / 3, (row + 0.5) / 3), SIZES[size]))
    return Scene(tuple(items), background(kind, colour)) if items else None


def background(kind: str, colour: str) -> Background:
    """A background of ``kind`` in a named colour and a shade of it."""
    hue, light, strength = colorsys.rgb_to_hls(*(v / 255 for v in COLOURS[colour]))
    shade = colorsys.hls_to_rgb(hue, light - 0.07 if light > 0.5 else light + 0.07, strength)
    return Background(kind, (COLOURS[colour], tuple(round(255 * v) for v in shade)), 6, 1)


def surprise(rng: np.random.Generator) -> list[str]:
    """Random settings: one to four drawings in different zones, one art style."""
    count = int(rng.integers(1, MAX_ITEMS + 1))
    names, style = rng.permutation(list(CONCEPTS))[:count], str(rng.choice(STYLES))
    corners = [ZONES[i] for i in (0, 2, 6, 8)]
    zones = ["middle"] if count == 1 else rng.permutation(corners)[:count]
    size = "large" if count == 1 else "medium"
    rows = [(str(n), style, str(z), size) for n, z in zip(names, zones, strict=True)]
    return [*_flat(rows), str(rng.choice(BACKGROUNDS)), str(rng.choice(list(COLOURS)))]


def _flat(rows) -> list[str]:
    spare = [(_NOTHING, STYLES[0], ZONES[i], "medium") for i in (0, 2, 6, 8)]
    return [value for row in [*rows, *spare[len(rows) :]] for value in row]


def widgets() -> list[gr.Dropdown]:
    """The composer's dropdowns, in the order of ``scene_of``."""
    start, found = _flat(_START), []
    names = [_NOTHING, *sorted(CONCEPTS)]
    for i in range(MAX_ITEMS):
        name, style, zone, size = start[4 * i : 4 * i + 4]
        with gr.Row(elem_classes="composer-row"):
            found += [
                gr.Dropdown(names, value=name, label=f"Drawing {i + 1}", min_width=120),
                gr.Dropdown(_STYLES, value=style, label="Art style", min_width=120),
                gr.Dropdown(list(ZONES), value=zone, label="Place", min_width=150),
                gr.Dropdown(list(SIZES), value=size, label="Size", min_width=80),
            ]
    with gr.Row(elem_classes="composer-row"):
        found += [
            gr.Dropdown(list(BACKGROUNDS), value="plain", label="Background", min_width=120),
            gr.Dropdown(list(COLOURS), value="sand", label="Colour", min_width=120),
        ]
    return found
