"""What the page shows: a space of the embedded default, or a visitor's own, found again by a small key."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

from analysis.embedding_space import runs, shipped
from analysis.embedding_space.measure import Phase, measure
from analysis.embedding_space.pairs import Pairs, drawings
from analysis.embedding_space.result import Space
from analysis.embedding_space.runs import Run
from analysis.result import plain
from models import dual_catalog
from models.checkpoints import BASE
from models.embedded.pictures import UNSEEN_STYLE
from models.errors import InputError

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder

Progress = Callable[[float, str], None]
_MOST = 3  # spaces of visitors that are kept: those of thousands of pairs take hundreds of MB
_MOST_EMBEDDED = 10
_LARGE = ("images", "words", "gallery")  # thousands of embeddings, which no saved file needs


@dataclass(frozen=True, eq=False)
class Held:
    """A space, the pairs it was measured on, its phases, how its encoder is opened, and, of a method of the embedded
    default, its training and those of other seeds that were measured on the same pairs."""

    space: Space
    pairs: Pairs
    phases: tuple[Phase, ...]
    opened: "Callable[[], AbstractContextManager[DualEncoder]]"
    runs: tuple[Run, ...] = ()

    def picture(self, shown: int):
        """The picture of a pair by its place among those shown."""
        return self.pairs.picture(int(self.space.shown[shown]))


@dataclass(frozen=True)
class Key:
    """Which space: a method of the embedded default on drawings of a style, or ``own``, a visitor's."""

    method: str = ""
    style: str = UNSEEN_STYLE
    own: str = ""

    def to_csv(self) -> str:
        return of(self).space.to_csv()

    def to_json(self) -> dict:
        space = of(self).space
        return {f.name: plain(getattr(space, f.name)) for f in fields(space) if f.name not in _LARGE}


_own: "OrderedDict[str, Held]" = OrderedDict()
_embedded: "OrderedDict[tuple, Held]" = OrderedDict()
_lock = threading.Lock()


def of(key: Key, progress: Progress = lambda share, what: None) -> Held:
    """The space that ``key`` stands for; one of the embedded default is measured where nobody has yet.

    Raises ``InputError`` for one that is no longer kept, and what ``shipped.recipe`` raises.
    """
    if key.own:
        with _lock:
            if key.own not in _own:
                raise InputError("This space was given up for newer ones. Measure it again.")
            _own.move_to_end(key.own)
            return _own[key.own]
    recipe = shipped.recipe(key.method)
    return known(key) or _kept(key, shipped.measured(recipe, key.style, progress))


def known(key: Key) -> Held | None:
    """A space of the embedded default that was measured before; None where it was not."""
    recipe = shipped.recipe(key.method)
    with _lock:
        if found := _embedded.get((recipe, key.style)):
            return found
    space = shipped.known(recipe, key.style)
    return space and _kept(key, space)


def _kept(key: Key, space: Space) -> Held:
    recipe = shipped.recipe(key.method)
    pairs = drawings(key.style)
    trained = runs.of_space(space), *runs.load(recipe, pairs)
    found = Held(space, pairs, recipe.phases, partial(shipped.opened, recipe), trained)
    with _lock:
        _embedded[recipe, key.style] = found
        while len(_embedded) > _MOST_EMBEDDED:
            _embedded.popitem(last=False)
    return found


def measured(
    model: str, phases: str, pairs: Pairs | None = None, progress: Progress = lambda share, what: None
) -> Held:
    """Measure a space that a visitor asks for; ``keep`` then gives its key.

    ``model`` as in ``dual_catalog.using``, of which ``phases`` is the checkpoint set: for the embedded default one of
    its methods. ``pairs`` are those of ``own.opened``, or None for the embedded drawings.
    """
    shown = None if pairs else shipped.SHOWN
    pairs = pairs or drawings()
    if model.strip() in ("", dual_catalog.EMBEDDED):
        recipe = shipped.recipe(phases.strip() or next(iter(shipped.recipes()), ""))
        opened, steps, method = partial(shipped.opened, recipe), recipe.phases, recipe.method
    else:
        opened, steps, method = partial(dual_catalog.using, model, phases), None, phases.strip()
    with opened() as encoder:
        steps = steps or _steps(encoder)
        return Held(measure(encoder, pairs, steps, method, shown, progress), pairs, steps, opened)


def keep(found: Held) -> Key:
    """The key of a visitor's space, which is kept until newer ones take its place."""
    token = token_hex(8)
    with _lock:
        _own[token] = found
        while len(_own) > _MOST:
            _own.popitem(last=False)
    return Key(own=token)


def _steps(encoder: "DualEncoder") -> tuple[Phase, ...]:
    return Phase.of_set(encoder.phases.manifest) if encoder.phases else (Phase(BASE, "", BASE),)
