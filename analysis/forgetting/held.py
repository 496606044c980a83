"""The checkpoint sets that the room offers, and the answers of each that are kept."""

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from analysis.forgetting.matrix import at_hand
from models import catalog, devices, hub
from models.embedded import SHIPPED_DTYPE
from models.errors import CheckpointError
from models.evaluation import Evaluation
from models.manifest import MANIFEST, Manifest


def sets() -> dict[str, catalog.Entry]:
    """The checkpoint sets on offer: embedded ones by their method's name, the researcher's by her model's.

    An embedded set without evaluation sets was not made to show forgetting.
    """
    offered = [e for e in catalog.entries() if e.checkpoint_folder]
    found = {e.checkpoint_folder.name if catalog.embedded(e.name) else e.name: e for e in offered}
    return {name: e for name, e in found.items() if not catalog.embedded(e.name) or _has_items(e.checkpoint_folder)}


def entry(name: str) -> catalog.Entry:
    """A set on offer. Raises ``CheckpointError`` for an unknown one."""
    offered = sets()
    if name not in offered:
        raise CheckpointError(f"There is no checkpoint set {name!r}. There are: {', '.join(offered)}.")
    return offered[name]


def manifest(name: str | None) -> Manifest:
    """What a set on offer says of itself. Raises ``CheckpointError`` for an unknown one, or one that is not whole."""
    return Manifest.load(entry(name or "").checkpoint_folder)


def _has_items(folder: Path) -> bool:
    found = (folder / MANIFEST).stat()
    return _evaluates(folder, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _evaluates(folder: Path, changed: int, size: int) -> bool:
    """Whether a set, whose manifest ``changed`` last at that time, has evaluation sets."""
    return any(c.eval for c in Manifest.load(folder).checkpoints)


def evaluation(name: str) -> Evaluation:
    """The answers of a set, read without opening its model.

    Raises ``CheckpointError`` for an unknown set, one that is not whole, and one not or not wholly measured.
    """
    return _read(entry(name))


@lru_cache(maxsize=32)  # what raises is not kept: it is looked for again
def _read(entry: catalog.Entry) -> Evaluation:
    if entry.hub_set and not (entry.checkpoint_folder / MANIFEST).is_file():
        raise CheckpointError(f"The set {entry.hub_set} was not downloaded yet: press Measure, which does that first.")
    missing = total = 0
    for model in stand_ins(entry):
        found, lacking = at_hand(model)
        if not lacking:
            return found
        missing, total = len(lacking), len(found.tasks) * len(found.checkpoints)
    work = "It asks every checkpoint every question."
    if missing < total:
        work = f"{total - missing} of {total} cells are there; it goes on from those."
    raise CheckpointError(f"The set {entry.checkpoint_folder.name} has not been measured: press Measure. {work}")


def stand_ins(entry: catalog.Entry) -> list[SimpleNamespace]:
    """What to look for kept measurements of a set with, in this order: its model as the device here would open it, and
    an embedded one as it was where it ships from.
    """
    here = str(devices.dtype_on(devices.pick())).removeprefix("torch.")
    return [closed(entry, d) for d in dict.fromkeys([here, SHIPPED_DTYPE] if catalog.embedded(entry.name) else [here])]


def closed(entry: catalog.Entry, dtype: str) -> SimpleNamespace:
    """What names and fingerprints of a model need, without opening it; ``dtype`` is what its weights would have."""
    source = str(hub.snapshot(entry.source) or entry.source) if hub.is_id(entry.source) else entry.source
    return SimpleNamespace(
        name=entry.name,
        model=SimpleNamespace(name_or_path=source, dtype=dtype),
        checkpoints=SimpleNamespace(manifest=Manifest.load(entry.checkpoint_folder)),
    )
