"""The embedded default's ways of training one domain after another, and their measured spaces."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.embedding_space.measure import Phase, measure
from analysis.embedding_space.pairs import drawings
from analysis.embedding_space.result import Space
from analysis.kept import Progress, quiet
from models import dual_catalog
from models.checkpoints import BASE, Blend, Manifest
from models.embedded import ASSETS, SHIPPED_DTYPE
from models.embedded.phases import SET
from models.embedded.pictures import UNSEEN_STYLE
from models.errors import InputError, ModelError
from models.fingerprint import Unopened

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder


MODEL = ASSETS / "crosstalk-clip"
SHOWN = 24
"""Pairs of a domain whose embeddings ship."""

_HALF = 0.5  # how far an interpolated phase is from the base to the plain one


@dataclass(frozen=True)
class Recipe:
    """A way of training: its checkpoint set and the phases that are measured of it."""

    method: str
    title: str
    about: str
    folder: Path
    phases: tuple[Phase, ...]


_METHODS = {
    "plain": ("Plain", "one domain after another, with the contrastive loss alone", "plain"),
    "mod-x": ("Mod-X", "plain, and the contrastive matrix of the phase before is kept (arXiv 2305.07437)", "mod-x"),
    "replay": ("Replay", "plain, with a few pairs of the earlier domains in every batch", "replay"),
    "interpolation": (
        "Interpolation", "the weights halfway between the base and each phase of plain: no training", "plain"
    ),
    "joint": ("Joint", "all domains at once: the upper bound", "joint"),
}
"""Method: title, what it is, and the checkpoint set that it is made of."""


def recipes(root: Path = SET) -> dict[str, Recipe]:
    """Every method whose checkpoint set lies in ``root``, by name."""
    found = {}
    for method, (title, about, folder) in _METHODS.items():
        if (root / folder / "checkpoints.json").exists():
            phases = Phase.of_set(Manifest.load(root / folder))
            if method == "interpolation":
                blends = [p.checkpoint if p.checkpoint == BASE else Blend(BASE, p.checkpoint, _HALF) for p in phases]
                phases = tuple(Phase(p.label, p.trained, blend) for p, blend in zip(phases, blends, strict=True))
            found[method] = Recipe(method, title, about, root / folder, phases)
    return found


def recipe(method: str, root: Path = SET) -> Recipe:
    """The recipe called ``method``. Raises ``InputError`` for an unknown one, ``ModelError`` where none are here."""
    offered = recipes(root)
    if not offered:
        raise ModelError("The phases of crosstalk-clip are not here: make train makes them.")
    if method not in offered:
        raise InputError(f"There is no method {method!r}. There are: {', '.join(offered)}.")
    return offered[method]


def opened(chosen: Recipe) -> "AbstractContextManager[DualEncoder]":
    """The encoder with the checkpoints of a recipe, not given up for another while in here."""
    return dual_catalog.using(phases=chosen.folder.name)


def kept_space(chosen: Recipe, style: str = UNSEEN_STYLE) -> Space | None:
    """The space of a recipe that ships, or was measured here before: read, without opening a model."""
    model = Unopened(MODEL.name, str(MODEL), SHIPPED_DTYPE, None, Manifest.load(chosen.folder))
    return measure(model, drawings(style), chosen.phases, chosen.method, SHOWN, only_kept=True)


def measured(
    chosen: Recipe, style: str = UNSEEN_STYLE, progress: Progress = quiet,
    encoder: "Callable[[Recipe], AbstractContextManager[DualEncoder]]" = opened
) -> Space:
    """The space of a recipe on the drawings of one style: read where it was measured before, else measured by
    ``encoder``."""
    if found := kept_space(chosen, style):
        return found
    with encoder(chosen) as clip:
        return measure(clip, drawings(style), chosen.phases, chosen.method, SHOWN, progress)
