"""What a measurement is: a frozen dataclass of NumPy arrays that knows what computed it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.statistics import Estimate

if TYPE_CHECKING:
    from analysis.table import Table


@dataclass(frozen=True)
class Provenance:
    """What computed a result: ``versions`` maps library to version, ``seconds`` is wall-clock time.

    ``bits`` a weight where the model is quantised, else None; ``note``: what else must be told with its numbers.
    """

    model: str
    checkpoint: str
    dtype: str
    device: str
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    bits: int | None = None
    note: str = ""


def together(sources: Sequence[dict], model: str = "", checkpoint: str = "", seed: int | None = None) -> dict:
    """Fields of one ``Provenance`` for what several measurements made; ``sources`` are theirs. Where these differ, as
    those of several machines do, all are named. ``model`` and ``checkpoint``: what things are called here, if given.
    """

    def each(name: str) -> str:
        return ", ".join(dict.fromkeys(str(source[name]) for source in sources if source.get(name)))

    versions = {library: None for source in sources for library in source.get("versions", {})}
    for library in versions:
        versions[library] = ", ".join(dict.fromkeys(s.get("versions", {}).get(library, "unknown") for s in sources))
    bits, notes = {source.get("bits") for source in sources}, [each("note")] if each("note") else []
    if len(bits) > 1:
        notes.insert(0, f"{each('bits')} bits a weight in some")
    return {
        "model": model or each("model"),
        "checkpoint": checkpoint or each("checkpoint"),
        "dtype": each("dtype"),
        "device": each("device"),
        "seed": seed,
        "versions": dict(sorted(versions.items())),
        "seconds": round(sum(source["seconds"] for source in sources), 4),
        "bits": bits.pop() if len(bits) == 1 else None,
        "note": ", ".join(notes),
    }


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
