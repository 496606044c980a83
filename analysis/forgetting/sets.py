"""The checkpoint sets that the room offers: what each says of itself, its answers, and whatever else is kept of it.

Answers are kept cell by cell of the accuracy matrix: a checkpoint on a task. A cell is known by the weights that answer
(``models.fingerprint``) and by what they are asked, pictures and questions, not by names: the base, and checkpoints
that several sets share, are asked once. Truths are no part of it: an evaluation set whose truths or scores were mended
is scored anew without asking again.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from analysis import kept
from analysis.form import One
from analysis.result import together
from models import catalog, devices, fingerprint, hub
from models.embedded import SHIPPED_DTYPE
from models.embedded.continual import METHODS
from models.embedded.evalsets import ORIGINAL
from models.errors import CheckpointError, CrosstalkError, ModelError
from models.evalset import EvalItem
from models.evaluation import Evaluation, given
from models.files import folder_at, read_json
from models.fingerprint import Unopened
from models.manifest import BASE, MANIFEST, Checkpoint, Manifest
from models.mllm import MLLM

ROOM = "forgetting"
_VERSION = 1  # of how a checkpoint is asked: another number makes kept cells stale
_REMEMBERED = 64  # results of one kind
Found = TypeVar("Found")


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


def drawings(of: Manifest) -> str:
    """What the items of an embedded set show: where its recipe has general data, the styles that these show too."""
    return "styles seen in training" if "general" in of.recipe else "a style never seen in training"


def trained(of: Manifest) -> dict[str, Checkpoint]:
    """Every task of the order, with the checkpoint that was trained on it last."""
    own = {c.task: c for c in of.checkpoints}
    return {task: own[task] for task in of.order}


def named(raw) -> Manifest | None:
    """The manifest of the set that controls name, of the first on offer where they name none; None where it cannot be
    read, which is told when it is asked for."""
    try:
        return manifest(control().read(raw.get("set")) or control().first)
    except CrosstalkError:
        return None


def _has_items(folder: Path) -> bool:
    """Whether a set has evaluation sets; its manifest is read once for each time that it changes."""
    found = (folder / MANIFEST).stat()
    return _evaluates(folder, found.st_mtime_ns, found.st_size)


_evaluates = lru_cache(64)(lambda folder, changed, size: any(c.eval for c in Manifest.load(folder).checkpoints))


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
    stats = []
    for place in places:
        with suppress(OSError):  # gone meanwhile
            stats.append((str(place), (found := place.stat()).st_mtime_ns, found.st_size))
    return (kept.folder(), devices.quantization(), *stats)


def stamps() -> tuple:
    """Another one as soon as something of any set on offer has changed."""
    return tuple((name, *_stamp(of)) for name, of in offered().items())


def evaluate(
    model: MLLM | Unopened, progress: kept.Progress = kept.quiet, only_kept: bool = False, also: str = "",
    checkpoints: tuple[str, ...] = (),
) -> Evaluation:  # fmt: skip
    """What every checkpoint of ``model`` (or those named) answers to every item of its set, or of the further sets that
    its manifest calls ``also``.

    Cells measured before, here or by whoever ships them, are loaded; every other one is measured and kept, so that a
    run that was stopped or killed goes on where it was. ``progress`` is told the share done of what is missing, and
    what comes next; what it raises stops the work. With ``only_kept`` nothing is asked, and cells that are not kept
    have no answers. Raises ``CheckpointError`` or ``EvalSetError`` for a set that is not whole.
    """
    if not model.checkpoints:
        raise CheckpointError(f"{model.name} has no checkpoint set to measure.")
    found, by = Evaluation.unanswered(model.checkpoints.manifest, also, checkpoints), {}
    for task, items in found.items.items():
        data = fingerprint.of_items([EvalItem(item.image, item.question, "") for item in items])
        by[task] = {"measurement": "cell", "data": data}
    plan = [
        kept.Cell(name, by[task], f"{task}, {name}", len(items), task)
        for name in found.checkpoints for task, items in found.items.items()
    ]

    def measure(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        answers = given(model, found.items[cell.of], cell.weights, places)
        return ((place, {"given": answer}) for place, answer in answers)

    values = kept.gathered(ROOM, _VERSION, model, plan, measure, progress, only_kept)
    for cell, value in zip(plan, values, strict=True):
        if value:
            found.given[cell.of][cell.weights] = value["given"]
    return replace(found, provenance=together([v["provenance"] for v in values if v], model.name, "all"))


def beside(
    model: MLLM | Unopened, progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> dict[str, Evaluation]:
    """What the base and the last task's checkpoint answer to the further evaluation sets of their manifest, by what
    these are for, and the checkpoints of all tasks to the original forms; with ``only_kept`` those alone that are
    wholly kept."""
    own, found = model.checkpoints.manifest, {}
    every = BASE, *(checkpoint.name for checkpoint in trained(own).values())
    for kind in own.also:
        names = every if kind == ORIGINAL else (every[0], every[-1])
        asked = evaluate(model, progress, only_kept, kind, names)
        if all(len(given) == len(names) for given in asked.given.values()):
            found[kind] = asked
    return found


@remembered
def answers(name: str) -> Evaluation:
    """The answers of a set, read without opening its model.

    Raises ``CheckpointError`` for an unknown set, one that is not whole, and one not or not wholly measured.
    """
    of = entry(name)
    if of.hub_set and not (of.checkpoint_folder / MANIFEST).is_file():
        raise CheckpointError(f"The set {of.hub_set} was not downloaded yet: press Measure, which does that first.")
    there = total = 0
    for model in unopened(of):
        found = evaluate(model, only_kept=True)
        there, total = sum(map(len, found.given.values())), len(found.tasks) * len(found.checkpoints)
        if there == total:
            return found
    work = "It asks every checkpoint every question."
    if there:
        work = f"{there} of {total} cells are there; it goes on from those."
    raise CheckpointError(f"The set {of.checkpoint_folder.name} has not been measured: press Measure. {work}")


def load(name: str, work: Callable[..., Found | None]) -> Found | None:
    """What ``work(model, only_kept=True)`` returns of a set where all that it measures is kept, without opening the
    model; else None. Raises ``CheckpointError`` as ``work`` does."""
    found = (work(model, only_kept=True) for model in unopened(entry(name)))
    return next((one for one in found if one is not None), None)


def measured(name: str, work: Callable[..., Found], progress: kept.Progress) -> Found:
    """``work(model, progress=progress)``: what is missing is asked of the model, which is opened for it."""
    with catalog.using(entry(name).name) as mllm:
        return work(mllm, progress=progress)


def unopened(of: catalog.Entry) -> list[Unopened]:
    """What to look for kept measurements of a set with, in this order: its model as the device here would open it, and
    an embedded one as it was where it ships from."""
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
