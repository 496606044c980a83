"""Pictures with their texts: what a space is measured on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from PIL import Image

from models import fingerprint
from models.embedded.phases import DOMAINS
from models.embedded.pictures import DRAWN, PAGE, PARQUET, STYLES, UNSEEN_STYLE, alone, table
from models.errors import InputError


@dataclass(frozen=True, eq=False)
class Pairs:
    """``texts`` ``[n]`` with ``picture(i)`` of each, and the domain of each; ``data`` is the fingerprint of all."""

    name: str
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    picture: Callable[[int], Image.Image]
    data: str

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def pictures(self) -> Sequence[Image.Image]:
        """All pictures, each opened when it is asked for."""
        return _Pictures(self)

    def sample(self, most: int | None, seed: int = 0) -> np.ndarray:
        """Places of at most ``most`` pairs of each domain, sorted: a seeded draw; of all pairs where it is None."""
        if most is None:
            return np.arange(len(self))
        rng, domains = np.random.default_rng(seed), np.asarray(self.domains)
        places = [np.flatnonzero(domains == d) for d in dict.fromkeys(self.domains)]
        return np.sort(np.concatenate([p if len(p) <= most else rng.choice(p, most, replace=False) for p in places]))


class _Pictures(Sequence):
    def __init__(self, pairs: Pairs):
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self._pairs.picture(i) for i in range(*place.indices(len(self)))]
        return self._pairs.picture(range(len(self))[place])


def _drawing(rows: tuple[int, ...], place: int) -> Image.Image:
    return alone(rows[place])


@lru_cache(maxsize=len(STYLES))
def drawings(style: str = UNSEEN_STYLE) -> Pairs:
    """Every drawing of the embedded default in one art style, alone on white, with its name, by domain.

    The default style was never trained on. Raises ``InputError`` for an unknown one.
    """
    if style not in STYLES:
        raise InputError(f"There is no art style {style!r}. There are: {', '.join(STYLES)}.")
    of = {group: domain for domain, groups in DOMAINS.items() for group in groups}
    rows = [i for i, row in enumerate(table()) if row["style"] == style]
    rows.sort(key=lambda i: (list(DOMAINS).index(of[table()[i]["group"]]), table()[i]["name"]))
    texts = tuple(table()[i]["name"] for i in rows)
    domains = tuple(of[table()[i]["group"]] for i in rows)
    data = json.dumps([fingerprint.of_path(PARQUET), style, PAGE, DRAWN, DOMAINS])
    return Pairs(f"drawings, {style}", texts, domains, partial(_drawing, tuple(rows)), data)
