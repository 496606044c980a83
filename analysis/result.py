"""What a measurement is: a frozen dataclass of NumPy arrays that knows what computed it."""

import csv
import io
import math
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np


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

    def table(self) -> tuple[list[str], list[list]]:
        """Column names and rows of the CSV."""
        raise NotImplementedError

    def to_json(self) -> dict:
        """Plain dictionaries, lists, numbers and texts; not-a-number becomes ``None``."""
        return plain(self)

    def to_csv(self) -> str:
        """The table as comma-separated values, header first; unknown numbers are empty."""
        header, rows = self.table()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([header, *([plain(cell) for cell in row] for row in rows)])
        return out.getvalue()


def plain(value):
    """``value`` in JSON's own types: arrays as lists, dataclasses as dictionaries, not-a-number as ``None``."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
