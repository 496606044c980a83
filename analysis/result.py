"""What a measurement is: a frozen dataclass of NumPy arrays that knows what computed it."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.statistics import Estimate

if TYPE_CHECKING:
    from analysis.table import Table


@dataclass(frozen=True)
class Provenance:
    """What computed a result: ``versions`` maps library to version, ``seconds`` is wall-clock time."""

    model: str
    checkpoint: str
    dtype: str
    device: str
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of all results. A result says how it reads as a table; JSON and CSV follow."""

    provenance: Provenance

    def table(self) -> "Table":
        """All numbers, as the CSV holds them."""
        raise NotImplementedError

    def to_json(self) -> dict:
        """Plain dictionaries, lists, numbers and texts; not-a-number becomes ``None``."""
        return plain(self)

    def to_csv(self) -> str:
        """The table as comma-separated values, header first; unknown numbers are empty."""
        return self.table().csv()

    def to_latex(self) -> str:
        """The table for a paper, in the style of the package booktabs."""
        return self.table().latex()


def plain(value):
    """``value`` in JSON's own types: arrays as lists, dataclasses as dictionaries, not-a-number as ``None``."""
    if isinstance(value, Estimate):
        return plain(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        told = {f.name: getattr(value, f.name) for f in fields(value)}
        for name, ends in ((f.name, f.metadata["ends"]) for f in fields(value) if "ends" in f.metadata):
            of = told[name]
            told |= zip((name, *ends), (of.value, of.low, of.high, of.n), strict=False)
        return plain(told)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
