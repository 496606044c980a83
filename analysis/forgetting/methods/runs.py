"""``python -m analysis.forgetting.methods.runs build/train``: measures the runs that do not ship, keeps their scores.

Looks for ``seed<N>/checkpoints/<method>`` and ``<method>-reversed`` in the given folder, and writes what comparing
needs into ``assets/embedded/checkpoints/<method>/runs.json``. What is there already, of the same weights and items, is
not measured again; a run that is killed goes on where it was. Run it whenever more seeds are trained.
"""

import argparse
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from analysis.forgetting.matrix import evaluate
from analysis.forgetting.methods.run import Run, load, of, save
from analysis.forgetting.split.measure import split
from models import fingerprint
from models.embedded import ASSETS, SHIPPED_DTYPE
from models.manifest import MANIFEST, Manifest
from models.mllm import MLLM

SETS = ASSETS / "checkpoints"
_BASE = ASSETS / "crosstalk-mini"
_SEED = re.compile(r"seed(\d+)")
_REVERSED = "-reversed"


def trained(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Every finished set below ``root``: its method, its seed, its folder."""
    for folder in sorted(root.glob(f"seed*/checkpoints/*/{MANIFEST}")):
        seed = _SEED.fullmatch(folder.parents[2].name)
        if seed:
            yield folder.parent.name.removesuffix(_REVERSED), int(seed[1]), folder.parent


def measure(root: Path, sets: Path = SETS, base: Path = _BASE, log: Callable[[str], None] = print) -> None:
    """Measure what is below ``root`` and not yet in the ``runs.json`` of the sets that ship in ``sets``.

    A run with the seed and order of the set that ships is that set, and one of a method that does not ship is told of
    and left out.
    """
    found = list(trained(root))
    if not found:
        log(f"{root}: there is no finished set (seed<N>/checkpoints/<method>/{MANIFEST}) to measure")
    for method, seed, folder in found:
        if not (sets / method / MANIFEST).is_file():
            log(f"{folder}: there is no set {method!r} among those that ship, so it is left out")
            continue
        order = Manifest.load(folder).order
        if seed == 0 and order == Manifest.load(sets / method).order:
            continue
        known = {(run.seed, run.order): run for run in load(sets / method, method)}
        made_by = _made_by(folder)
        if (seed, order) in known and known[seed, order].made_by == made_by:
            log(f"{folder}: measured before")
            continue
        known[seed, order] = _measured(method, seed, folder, base, made_by, log)
        save(sets / method, tuple(known[key] for key in sorted(known)))


def _made_by(folder: Path) -> str:
    """Fingerprint of the adapters and of the items: of what a run's scores are made."""
    manifest = Manifest.load(folder)
    own = [c for c in manifest.checkpoints if c.task in manifest.order]
    told = [fingerprint.of_path(path) for c in own for path in (c.adapter or c.weights, c.eval)]
    return hashlib.sha256("+".join(told).encode()).hexdigest()[:16]


def _measured(method: str, seed: int, folder: Path, base: Path, made_by: str, log: Callable[[str], None]) -> Run:
    mllm = MLLM.open(base, checkpoints=folder, dtype=SHIPPED_DTYPE)
    told = [""]

    def progress(share: float, what: str) -> None:
        if what.partition(",")[0] != told[0]:
            told[0] = what.partition(",")[0]
            log(f"{folder}: {share:.0%}, {what}")

    evaluation = evaluate(mllm, progress)
    return of(evaluation, split(evaluation, mllm, progress), method, seed, made_by)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[2].strip().splitlines()[0])
    parser.add_argument("root", type=Path, help="the folder of training runs, build/train")
    measure(parser.parse_args().root)
