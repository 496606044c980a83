"""Weights made of several checkpoints of one base: between two, several added up, or put together module by module.

Each way of writing them is a list of parts. With W_base the base's weights and W_i the effective weights of checkpoint
i, the weights of module m are W = W_base + sum of share_i (W_i - W_base) over the parts that reach m.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from models.errors import CheckpointError
from models.manifest import BASE

LEAST, MOST = -1.0, 2.0
"""Bounds of a checkpoint's weight in a ``Merge``: beyond them nothing is left of what it was trained to do."""

Share = tuple[str, float, frozenset[str] | None]
"""A checkpoint's name, its share, and the modules that the part reaches (None: all)."""


@dataclass(frozen=True)
class Blend:
    """A point between two checkpoints: effective weights (1 - alpha) * W_a + alpha * W_b. Stands for a checkpoint."""

    a: str
    b: str
    alpha: float

    def __str__(self) -> str:
        return f"{self.a} + {self.alpha:g} * ({self.b} - {self.a})"

    def parts(self, modules: "Modules") -> list[Share]:
        """Raises ``CheckpointError`` for an alpha outside of 0 to 1."""
        if not _is_number(self.alpha) or not 0 <= self.alpha <= 1:
            raise CheckpointError(
                f"alpha is {self.alpha!r}: it must be a number from 0 (all {self.a}) to 1 (all {self.b})."
            )
        if self.a == self.b:
            return [(self.a, 1.0, None)]
        return [(self.a, 1.0 - self.alpha, None), (self.b, float(self.alpha), None)]


@dataclass(frozen=True)
class Merge:
    """Several checkpoints added up: W_base + sum of w_i (W_i - W_base). Stands for a checkpoint.

    Task arithmetic (Ilharco et al., arXiv 2212.04089, ICLR 2023), whose task vectors are W_i - W_base. ``weights``
    holds (name, w_i); what is left out has none, and the base's own changes nothing. Shares 1 - alpha and alpha of two
    are their ``Blend``.
    """

    weights: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return BASE + "".join(
            f" {'-' if w < 0 else '+'} {abs(w):g} * ({name} - {BASE})" for name, w in self.weights if w
        )

    def parts(self, modules: "Modules") -> list[Share]:
        """Raises ``CheckpointError`` for weights outside of ``LEAST`` to ``MOST``, and for a name that comes twice."""
        names = [name for name, _ in self.weights]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CheckpointError(f"{', '.join(twice)} is there twice: give each checkpoint one weight.")
        for name, weight in self.weights:
            if not _is_number(weight) or not LEAST <= weight <= MOST:
                raise CheckpointError(
                    f"The weight of {name} is {weight!r}: it must be a number from {LEAST:g} to {MOST:g}."
                )
        return [(name, float(weight), None) for name, weight in self.weights]


@dataclass(frozen=True)
class Patch:
    """Checkpoint ``base`` with some ``modules`` of checkpoint ``donor`` in it. Stands for a checkpoint.

    ``modules`` are patterns over the names of the base model's modules with weights, such as
    ``model.language_model.layers.3.self_attn.q_proj``: ``*`` stands for any letters, dots too, and what stands inside
    a module that matches is taken with it. ``*.layers.3`` is a whole layer (of every stack that has one),
    ``*.q_proj`` a kind of them. A weight that two modules share (a tied head) is taken for both.
    """

    base: str
    donor: str
    modules: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.base} with {', '.join(self.modules) or 'nothing'} of {self.donor}"

    def parts(self, modules: "Modules") -> list[Share]:
        """Raises ``CheckpointError`` for a pattern that matches nothing."""
        chosen = modules.matching(self.modules)
        rest = modules.names - chosen
        if self.base == self.donor or not chosen:
            return [(self.base, 1.0, None)]
        return [(self.base, 1.0, rest), (self.donor, 1.0, chosen)] if rest else [(self.donor, 1.0, None)]


def some_of_each_kind(names: Iterable[str], share: float, rng: np.random.Generator) -> set[str]:
    """A random ``share`` of the modules of each kind (``q_proj``, ``up_proj``, ...), which their last name tells: the
    draw of half fine-tuning (HFT, arXiv 2404.18466).
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    drawn = (rng.choice(group, round(share * len(group)), replace=False) for group in kinds.values())
    return {str(name) for group in drawn for name in group}


Weights = str | Blend | Merge | Patch
"""What can be switched on: a checkpoint by its name (``"base"`` too), or weights made of several."""


class Modules:
    """The names of a model's modules with weights of their own, of its ``tensors`` by name."""

    def __init__(self, tensors: Mapping[str, object]):
        owners: dict[int, set[str]] = {}
        for key, tensor in tensors.items():
            owners.setdefault(id(tensor), set()).add(key.rpartition(".")[0])
        self._tied = [group for group in owners.values() if len(group) > 1]
        self.names = frozenset(key.rpartition(".")[0] for key in tensors)

    def matching(self, patterns: tuple[str, ...]) -> frozenset[str]:
        """The modules that some pattern matches, and those that share a weight with one of them.

        Raises ``CheckpointError`` for a pattern that matches none.
        """
        chosen: set[str] = set()
        for pattern in patterns:
            found = set(self._matching(pattern))
            if not found:
                raise CheckpointError(
                    f"No module with weights is called {pattern!r}. Names are such as {min(self.names, key=_plainly)}"
                    "; * stands for any letters."
                )
            chosen |= found
        for group in self._tied:
            if group & chosen:
                chosen |= group
        return frozenset(chosen)

    def _matching(self, pattern: str) -> Iterator[str]:
        return (name for name in self.names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*"))


def _plainly(name: str) -> tuple[bool, str]:
    """Order of names as examples: a projection inside a layer first."""
    return not name.endswith("q_proj"), name


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
