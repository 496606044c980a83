"""The checkpoint sets that the room offers: what each says of itself, its answers, and whatever else is kept of it."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from analysis import kept
from analysis.forgetting import matrix
from analysis.form import One
from models import catalog, devices, hub
from models.embedded import SHIPPED_DTYPE
from models.embedded.continual import METHODS
from models.errors import CheckpointError, CrosstalkError, ModelError
from models.evaluation import Evaluation
from models.files import folder_at, read_json
from models.fingerprint import Unopened
from models.manifest import MANIFEST, Checkpoint, Manifest

Found = TypeVar("Found")
_REMEMBERED = 64  # results of one kind


def offered() -> dict[str, catalog.Entry]:
    """The checkpoint sets on offer: embedded ones by their method's name in the order of ``METHODS``, then the
    researcher's by her model's.

    An embedded set without evaluation sets was not made to show forgetting.
    """
    found = {}
    for of in (e for e in catalog.entries() if e.checkpoint_folder):
        if not catalog.embedded(of.name):
            found[of.name] = of
        elif _has_items(of.checkpoint_folder):
            found[of.checkpoint_folder.name] = of
    ordered = [name for name in METHODS if name in found] + [name for name in found if name not in METHODS]
    return {name: found[name] for name in ordered}


def control(at: str = "") -> One:
    """The choice of a set, one for all sections of the room; ``at`` as of any control."""
    return One("set", "Checkpoint set", offered=list(offered()), shared=True, at=at)


def entry(name: str | None) -> catalog.Entry:
    """A set on offer. Raises ``CheckpointError`` for an unknown one."""
    known = offered()
    if name not in known:
        raise CheckpointError(f"There is no checkpoint set {name!r}. There are: {', '.join(known)}.")
    return known[name]


def manifest(name: str | None) -> Manifest:
    """What a set on offer says of itself. Raises ``CheckpointError`` for an unknown one, or one that is not whole."""
    return Manifest.load(entry(name).checkpoint_folder)


def trained(of: Manifest) -> dict[str, Checkpoint]:
    """Every task of the order, with the checkpoint that was trained on it last."""
    own = {c.task: c for c in of.checkpoints}
    return {task: own[task] for task in of.order}


def named(raw) -> Manifest | None:
    """The manifest of the set that controls name, of the first on offer where they name none; None where it cannot be
    read, which is told when it is asked for.
    """
    try:
        return manifest(control().read(raw.get("set")) or control().first)
    except CrosstalkError:
        return None


def _has_items(folder: Path) -> bool:
    found = (folder / MANIFEST).stat()
    return _evaluates(folder, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _evaluates(folder: Path, changed: int, size: int) -> bool:
    """Whether a set, whose manifest ``changed`` last at that time, has evaluation sets."""
    return any(c.eval for c in Manifest.load(folder).checkpoints)


def remembered(work: Callable) -> Callable:
    """``work(name, ...)`` of the set ``name``, whose result is the same object until something changes on disk.

    None, and what raises, is looked for again each time.
    """
    known: dict[tuple, tuple] = {}

    @wraps(work)
    def found(name: str, *more):
        now = _stamp(entry(name))
        before, value = known.get((name, *more), (None, None))
        if before != now:
            value = work(name, *more)
            if value is not None:
                known[name, *more] = now, value
            while len(known) > _REMEMBERED:
                known.pop(next(iter(known)), None)
        return value

    return found


def _stamp(of: catalog.Entry) -> tuple:
    """Another one as soon as files of a set, of its model, or what is kept of sets have changed.

    What is in the box stays as it is, but for what its sets say of themselves.
    """
    places = [folder for root in (kept.SHIPPED, kept.folder()) for folder in sorted(root.glob("forgetting*"))]
    if catalog.embedded(of.name):
        places += sorted(of.checkpoint_folder.glob("*.json"))
    else:
        for folder in filter(None, (of.checkpoint_folder, folder_at(of.source))):
            places += sorted(folder.rglob("*"))
    stats = [(str(place), stat.st_mtime_ns, stat.st_size) for place in places if (stat := _stat(place))]
    return (kept.folder(), devices.quantization(), *stats)


def stamps() -> tuple:
    """Another one as soon as something of any set on offer has changed."""
    return tuple((name, *_stamp(of)) for name, of in offered().items())


def _stat(place: Path):
    try:
        return place.stat()
    except OSError:  # gone meanwhile
        return None


@remembered
def answers(name: str) -> Evaluation:
    """The answers of a set, read without opening its model.

    Raises ``CheckpointError`` for an unknown set, one that is not whole, and one not or not wholly measured.
    """
    of = entry(name)
    if of.hub_set and not (of.checkpoint_folder / MANIFEST).is_file():
        raise CheckpointError(f"The set {of.hub_set} was not downloaded yet: press Measure, which does that first.")
    missing = total = 0
    for model in unopened(of):
        found, lacking = matrix.load(model)
        if not lacking:
            return found
        missing, total = len(lacking), len(found.tasks) * len(found.checkpoints)
    work = "It asks every checkpoint every question."
    if missing < total:
        work = f"{total - missing} of {total} cells are there; it goes on from those."
    raise CheckpointError(f"The set {of.checkpoint_folder.name} has not been measured: press Measure. {work}")


def load(name: str, work: Callable[..., Found | None]) -> Found | None:
    """What ``work(model, only_kept=True)`` returns of a set where all that it measures is kept, without opening the
    model; else None. Raises ``CheckpointError`` as ``work`` does.
    """
    found = (work(model, only_kept=True) for model in unopened(entry(name)))
    return next((one for one in found if one is not None), None)


def measured(name: str, work: Callable[..., Found], progress: kept.Progress) -> Found:
    """``work(model, progress=progress)``: what is missing is asked of the model, which is opened for it."""
    with catalog.using(entry(name).name) as mllm:
        return work(mllm, progress=progress)


def unopened(of: catalog.Entry) -> list[Unopened]:
    """What to look for kept measurements of a set with, in this order: its model as the device here would open it, and
    an embedded one as it was where it ships from.
    """
    embedded = catalog.embedded(of.name)
    here = str(devices.dtype_on(devices.pick())).removeprefix("torch.")
    source = str(hub.snapshot(of.source) or of.source) if hub.is_id(of.source) else of.source
    bits, config = None, (folder_at(source) or Path(source)) / "config.json"
    if not embedded:
        stored = devices.bits(read_json(config, ModelError)) if config.is_file() else None  # of its weights
        bits = devices.quantization() or stored
    own = Manifest.load(of.checkpoint_folder)
    dtypes = dict.fromkeys([here, SHIPPED_DTYPE] if embedded else [here])
    return [Unopened(of.name, source, dtype, bits, own) for dtype in dtypes]
