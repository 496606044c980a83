"""One training run of a method, as far as comparing needs it: scores item by item, and which losses were superficial.

``runs.json`` beside a set's checkpoints is a list of runs with other seeds or in another order, whose weights do not
ship. Of each it has numbers to read (``matrix``, ``base``, ``n``, ``metrics``, ``superficial``, ``essential``) and
what they are made of, ``items``: for each task and checkpoint (the base first) one score an item. Where scores are 0 or
1 they are bits, written as hexadecimal digits, the first item's bit first; otherwise one digit an item, its place in
``levels``. ``superficial_items`` are bits too. ``also`` are scores of the base and of the last checkpoint on further
evaluation sets (what the base could do, the style never seen), by what these are for and task. Reading takes the items
alone, so numbers can't disagree with them.

``python -m analysis.forgetting.methods.runs build/train`` measures the runs that do not ship. It looks for
``seed<N>/checkpoints/<method>`` and ``<method>-reversed`` in the given folder, and writes what comparing needs into
``assets/embedded/checkpoints/<method>/runs.json``. What is there already, of the same weights and items, is not
measured again; a run that is killed goes on where it was. Run it whenever more seeds are trained.
"""

import argparse
import hashlib
import json
import os
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.forgetting.measure import numbers
from analysis.forgetting.sets import beside, evaluate
from analysis.forgetting.split.measure import Split
from analysis.forgetting.split.measure import split as split_of
from analysis.forgetting.terms import RIGHT, SUPERFICIAL
from analysis.result import Provenance, plain
from models import fingerprint
from models.embedded import ASSETS, SHIPPED_DTYPE
from models.errors import CheckpointError
from models.evaluation import Evaluation
from models.files import plain as briefly
from models.files import told
from models.manifest import MANIFEST, Manifest
from models.mllm import MLLM

SETS = ASSETS / "checkpoints"
FILE = "runs.json"
_DIGITS = string.digits + string.ascii_letters
_REVERSED = "-reversed"


@dataclass(frozen=True, eq=False)
class Run:
    """``scores[task]``: float64 ``[T + 1, items]``, 0 to 1: by the base, then after each of the T tasks of ``order``.

    ``superficial[task]``: bool ``[items]``, which of the items lost of a task, but of the last one, are lost in form
    alone (``analysis.forgetting.split``); None where that was not tested. ``references``: scores ``[items]`` by task,
    of checkpoints that are no step of the sequence. ``data`` is the fingerprint of the items, whatever their order of
    tasks; ``made_by`` that of the weights. ``also[kind][task]``: float64 ``[2, items]``, 0 to 1, by the base and by the
    last checkpoint, on further evaluation sets; of original forms ``[T + 1, items]``, as ``scores``.
    """

    method: str
    seed: int
    order: tuple[str, ...]
    scores: dict[str, np.ndarray]
    superficial: dict[str, np.ndarray] | None
    references: dict[str, dict[str, np.ndarray]]
    data: str
    made_by: str
    provenance: Provenance
    also: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def matrix(self) -> np.ndarray:
        """A[i, j], the accuracy on task j after task i: float64 ``[T, T]``, in this run's order."""
        return np.stack([self.scores[task][1:].mean(1) for task in self.order], 1)

    @cached_property
    def base(self) -> np.ndarray:
        """The base's accuracy on each task: float64 ``[T]``."""
        return np.array([self.scores[task][0].mean() for task in self.order])

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """Which items were right after their own task: bool ``[items]`` by task, the last one left out."""
        return {task: self.scores[task][place + 1] >= RIGHT for place, task in enumerate(self.order[:-1])}

    @cached_property
    def lost(self) -> dict[str, np.ndarray]:
        """Which of those are wrong at the end."""
        return {task: right & (self.scores[task][-1] < RIGHT) for task, right in self.right.items()}

    def to_json(self) -> dict:
        """What ``runs.json`` keeps of it."""
        lost, split, summary = self.lost, self.superficial, numbers(self.matrix, self.base)
        return plain({
            "seed": self.seed, "order": self.order, "matrix": self.matrix.round(4), "base": self.base.round(4),
            "n": {task: self.scores[task].shape[1] for task in self.order},
            "metrics": {name: np.round(value, 4) for name, value in summary.items()},
            "superficial": None if split is None else {t: int(split[t].sum()) for t in lost},
            "essential": None if split is None else {t: int((lost[t] & ~split[t]).sum()) for t in lost},
            "items": {task: _packed(self.scores[task]) for task in self.order},
            "superficial_items": None if split is None else {t: _bits(split[t]) for t in lost},
            **({"also": {kind: {t: {"rows": len(of), "n": of.shape[1], **_packed(of)} for t, of in by.items()}
                         for kind, by in self.also.items()}} if self.also else {}),
            "data": self.data, "made_by": self.made_by, "provenance": self.provenance,
        })


def of(
    found: Evaluation, split: Split | None, method: str, seed: int = 0, made_by: str = "",
    more: Mapping[str, Evaluation] | None = None,
) -> Run:  # fmt: skip
    """A run from the answers of a set, from what became of them in the end, and from those to further sets.

    Raises ``CheckpointError`` where an answer of the sequence is missing.
    """
    rows = ["base", *(found.trained[task] for task in found.tasks)]
    missing = [f"{name} on {task}" for task in found.tasks for name in rows if name not in found.scores[task]]
    if missing:
        raise CheckpointError(f"{method} is not wholly measured: {missing[0]} is missing.")
    others = [n for n in found.checkpoints if n not in rows and all(n in found.scores[task] for task in found.tasks)]
    references = {name: {task: found.scores[task][name] for task in found.tasks} for name in others}
    superficial = None
    if split is not None:
        superficial = {task: np.zeros(len(found.items[task]), dtype=bool) for task in found.tasks[:-1]}
        for lost in split.lost:
            superficial[lost.task][lost.place] = lost.verdict == SUPERFICIAL
    items = [item for task in sorted(found.tasks) for item in found.items[task]]
    also = {
        kind: {task: np.stack([of.scores[task][name] for name in of.checkpoints]) for task in of.tasks}
        for kind, of in (more or {}).items()
    }
    by = {key: value for key, value in found.provenance.items() if key in Provenance.__dataclass_fields__}
    return Run(
        method, seed, tuple(found.tasks), {t: np.stack([found.scores[t][name] for name in rows]) for t in found.tasks},
        superficial, references, fingerprint.of_items(items), made_by, Provenance(**by), also,
    )


def load(folder: Path, method: str) -> tuple[Run, ...]:
    """The runs that ``runs.json`` of a set's folder keeps; none where there is no such file.

    Raises ``CheckpointError`` naming the file and the run that cannot be read.
    """
    file = folder / FILE
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{told(file)} cannot be read as JSON: {briefly(error)}.") from error
    if not isinstance(rows, list):
        raise CheckpointError(f"{told(file)} is not a list of runs.")
    found = []
    for number, row in enumerate(rows, 1):
        try:
            order, n, split = tuple(row["order"]), row["n"], row["superficial_items"]
            found.append(Run(
                method, int(row["seed"]), order,
                {task: _unpacked(row["items"][task], n[task], len(order) + 1) for task in order},
                None if split is None else {task: _unbits(split[task], n[task]) for task in order[:-1]}, {},
                row["data"], row["made_by"], Provenance(**row["provenance"]),
                {kind: {task: _unpacked(of, of["n"], of["rows"]) for task, of in by.items()}
                 for kind, by in row.get("also", {}).items()},
            ))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"{told(file)}: run {number} cannot be read ({type(error).__name__}: {briefly(error)}). Measure it "
                "again, or delete the file."
            ) from error
    return tuple(found)


def save(folder: Path, runs: tuple[Run, ...]) -> None:
    """Write ``runs.json`` of a set's folder, a run a line, in the place of an older one."""
    file = folder / FILE
    lines = ",\n".join(json.dumps(run.to_json(), ensure_ascii=False) for run in runs)
    draft = file.with_suffix(".part")
    draft.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(draft, file)


def _packed(scores: np.ndarray) -> dict:
    levels = np.unique(scores)
    if np.isin(levels, (0, 1)).all():
        return {"bits": [_bits(row == 1) for row in scores]}
    if len(levels) > len(_DIGITS):
        levels = np.linspace(0, 1, len(_DIGITS))  # scores finer than a digit can tell are rounded to the nearest
    nearest = np.abs(scores[..., None] - levels).argmin(-1)
    return {"levels": levels, "digits": ["".join(_DIGITS[i] for i in row) for row in nearest]}


def _unpacked(data: dict, n: int, rows: int) -> np.ndarray:
    if "bits" in data:
        found = np.stack([_unbits(row, n).astype(float) for row in data["bits"]])
    else:
        levels = np.array(data["levels"], dtype=float)
        found = np.array([[levels[_DIGITS.index(digit)] for digit in row] for row in data["digits"]])
    if found.shape != (rows, n) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"scores of {rows} checkpoints on {n} items are needed, not {found.shape}")
    return found


def _bits(flags: np.ndarray) -> str:
    return np.packbits(flags).tobytes().hex()


def _unbits(text: str, n: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))
    if not n <= len(bits) < n + 8:
        raise ValueError(f"{len(bits)} bits are not those of {n} items")
    return bits[:n].astype(bool)


def measure(root: Path, sets: Path = SETS, base: Path = ASSETS / "crosstalk-mini", log: Callable = print) -> None:
    """Measure what is below ``root`` and not yet in the ``runs.json`` of the sets that ship in ``sets``.

    A run with the seed and order of the set that ships is that set, and one of a method that does not ship is told of
    and left out.
    """
    runs = [f.parent for f in sorted(root.glob(f"seed*/checkpoints/*/{MANIFEST}")) if f.parents[2].name[4:].isdecimal()]
    if not runs:
        log(f"{root}: there is no finished set (seed<N>/checkpoints/<method>/{MANIFEST}) to measure")
    for folder in runs:
        method, seed = folder.name.removesuffix(_REVERSED), int(folder.parents[1].name.removeprefix("seed"))
        if not (sets / method / MANIFEST).is_file():
            log(f"{folder}: there is no set {method!r} among those that ship, so it is left out")
            continue
        manifest = Manifest.load(folder)
        order, own = manifest.order, [c for c in manifest.checkpoints if c.task in manifest.order]
        if seed == 0 and order == Manifest.load(sets / method).order:
            continue
        known = {(run.seed, run.order): run for run in load(sets / method, method)}
        # what a run's scores are made of: the adapters and the items
        more = [path for by in manifest.also.values() for path in by.values()]
        made_of = [fingerprint.of_path(path) for path in [*(p for c in own for p in (*c.places, c.eval)), *more]]
        made_by = hashlib.sha256("+".join(made_of).encode()).hexdigest()[:16]
        if (seed, order) in known and known[seed, order].made_by == made_by:
            log(f"{folder}: measured before")
            continue
        known[seed, order] = _measured(method, seed, folder, base, made_by, log)
        save(sets / method, tuple(known[key] for key in sorted(known)))


def _measured(method: str, seed: int, folder: Path, base: Path, made_by: str, log: Callable[[str], None]) -> Run:
    mllm, last = MLLM.open(base, checkpoints=folder, dtype=SHIPPED_DTYPE), [""]

    def progress(share: float, what: str) -> None:
        if what.partition(",")[0] != last[0]:
            last[0] = what.partition(",")[0]
            log(f"{folder}: {share:.0%}, {what}")

    answers = evaluate(mllm, progress)
    lost = split_of(answers, mllm, progress)
    return of(answers, lost, method, seed, made_by, beside(mllm, progress))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measures the runs that do not ship, keeps their scores.")
    parser.add_argument("root", type=Path, help="the folder of training runs, build/train")
    measure(parser.parse_args().root)
