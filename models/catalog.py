"""What the app offers: the embedded default, presets from the Hub, and the researcher's own model.

``CROSSTALK_MODEL`` names the researcher's model (a folder or a Hub id), ``CROSSTALK_CHECKPOINTS`` its checkpoint sets
(folders or Hub ids, several separated as in ``PATH``). ``CROSSTALK_FOLDERS`` names folders whose models may be asked
for by name on the page. In public mode only what is listed here opens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from models import hub, settings
from models.errors import CheckpointError, ModelError
from models.files import folder_at, inside, parameters, weight_files
from models.manifest import Manifest
from models.shelf import Shelf

if TYPE_CHECKING:
    from models.mllm import MLLM

EMBEDDED = "crosstalk-mini"
NEXT = "crosstalk-mini-2"  # its next base, whose checkpoints are still to be trained
_TASKS = "sequential"  # its checkpoint set of one task after another
_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "embedded"
_PRESETS = {
    "HuggingFaceTB/SmolVLM-500M-Instruct": 0.5,
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": 0.9,
    "OpenGVLab/InternVL3-1B-hf": 0.9,
    "Qwen/Qwen3-VL-2B-Instruct": 2.1,
    "google/paligemma2-3b-mix-224": 3.0,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.8,
    "google/gemma-3-4b-it": 4.3,
    "Qwen/Qwen3-VL-4B-Instruct": 4.4,
    "llava-hf/llava-1.5-7b-hf": 7.1,
    "llava-hf/llava-v1.6-mistral-7b-hf": 7.6,
}
"""Hub id: billions of parameters."""

_SHARE = 0.8  # of the device's memory, the rest is for everything that is not a model


@dataclass(frozen=True)
class Entry:
    """One model on offer; where it is not available, ``reason`` says why in a sentence.

    ``parameters`` is how many numbers its weights hold, 0 where that is known only after it is downloaded. ``hub_set``
    is the Hub id that its checkpoints come from; they are downloaded when it is opened, and named from then on.
    ``title`` is what a menu calls it.
    """

    name: str
    source: str
    available: bool
    reason: str
    checkpoints: tuple[str, ...]
    checkpoint_folder: Path | None = None
    parameters: float = 0.0
    hub_set: str = ""
    title: str = ""


def _memory() -> float:
    """Bytes of the devices that models run on."""
    from models import devices

    return devices.capacity()


def need(billions: float, bits: int = 0) -> float:
    """Bytes that a model of so many billions of parameters takes here, quantised to ``bits`` or in its usual type."""
    from models import devices

    return devices.bytes_needed(billions * 1e9, devices.dtype_on(devices.pick()), bits or None)


def _bits(name: str) -> int:
    """Bits that the weights of a model are quantised to, 0 for none: the embedded one, which is tiny, never is.

    Raises ``ModelError`` where ``CROSSTALK_QUANTIZE`` cannot be followed here.
    """
    from models import devices

    bits = 0 if embedded(name) else devices.quantization() or 0
    if bits:
        device = devices.pick()
        devices.quantization_config(bits, device, devices.dtype_on(device))
    return bits


def _unsettled(name: str) -> str:
    """Why no such model can be opened with the host's settings; empty where it can."""
    try:
        _bits(name)
        _budget()
    except ModelError as error:
        return f"cannot be opened: {error}"
    return ""


def embedded(name: str) -> bool:
    """Whether an entry is the embedded model, with any of its checkpoint sets, or its next base."""
    return name in (EMBEDDED, NEXT) or name.startswith(f"{EMBEDDED} (")


@cache
def _embedded(assets: Path) -> list[Entry]:
    """The embedded model, once for each of its checkpoint sets: the tasks' first, under the model's own name; and its
    next base, which has none. Read once: what is in the box stays as it is.
    """
    source, tasks = assets / EMBEDDED, assets / "checkpoints" / _TASKS
    held = _counted(source)
    found = []
    for folder in (tasks, *sorted(f for f in tasks.parent.glob("*") if f.is_dir() and f != tasks)):
        name = EMBEDDED if folder == tasks else f"{EMBEDDED} ({folder.name})"
        try:
            manifest = Manifest.load(folder)
        except CheckpointError as error:
            found.append(Entry(name, str(source), False, f"is not whole: {error} Run: make train", ()))
        else:
            names, how = tuple(c.name for c in manifest.checkpoints), manifest.method.split(":")[0]
            title = name if folder == tasks else f"{how[0].upper()}{how[1:]} · {EMBEDDED}"
            found.append(Entry(name, str(source), True, "", names, folder, held, title=title))
    if (following := assets / "next" / EMBEDDED).is_dir():
        title = f"Reads busier pictures, no checkpoints yet · {NEXT}"
        found.append(Entry(NEXT, str(following), True, "", (), parameters=_counted(following), title=title))
    return found


def recipe(name: str) -> dict:
    """How the checkpoints of the embedded model called ``name`` were trained, as it was written down with them; empty
    where that was not, or they are not whole.
    """
    folder = next((entry.checkpoint_folder for entry in _embedded(_ASSETS) if entry.name == name), None)
    return Manifest.load(folder).recipe if folder else {}


def _counted(folder: Path) -> float:
    try:
        return float(parameters(weight_files(folder, ModelError), ModelError))
    except (ModelError, OSError):  # what is wrong with it is told when it is opened
        return 0.0


def _own() -> list[Entry]:
    """The researcher's model, once for each of its checkpoint sets; all of them share its weights when opened."""
    source = settings.MODEL.now()
    if not source:
        return []
    folder = folder_at(source)
    name = Path(source).name or (folder.resolve().name if folder else source)
    held = _counted(folder) if folder else 0.0
    if not folder and not hub.is_id(source):
        reason = "is neither a folder nor a Hub id such as owner/name: set CROSSTALK_MODEL to one"
        return [Entry(name, name, False, reason, ())]
    source = str(folder.resolve()) if folder else source
    sets = settings.CHECKPOINTS.now()
    wrong = _unsettled(name)
    if not sets:
        return [Entry(name, source, not wrong, wrong, (), None, held)]
    found: list[Entry] = []
    for named in sets:
        own = name if not found else f"{name} ({Path(named).name})"
        found.append(_with_set(Entry(own, source, not wrong, wrong, (), None, held), named))
    return found


def _with_set(entry: Entry, named: str) -> Entry:
    """``entry`` with the checkpoint set ``named``. The Hub is not asked here: that waits until it is opened."""
    folder = folder_at(named)
    from_hub = not folder and hub.is_id(named)
    try:
        if not folder and not from_hub:
            raise CheckpointError(f"{Path(named).name!r} is neither a folder nor a Hub id (owner/name).")
        manifest = Manifest.load(folder or hub.sets_folder(named))
    except CheckpointError as error:
        if from_hub:  # not downloaded yet, or not all of it
            return replace(entry, checkpoint_folder=hub.sets_folder(named), hub_set=named)
        return replace(entry, available=False, reason=f"cannot have its checkpoints: {error}")
    names = tuple(c.name for c in manifest.checkpoints)
    return replace(entry, checkpoints=names, checkpoint_folder=manifest.folder, hub_set=named if from_hub else "")


def _from_hub(name: str, billions: float) -> Entry:
    if wrong := _unsettled(name):
        return Entry(name, name, False, wrong, (), None, billions * 1e9)
    takes, there = need(billions, _bits(name)), _budget()
    if takes > there:
        reason = f"needs about {takes / 1e9:.0f} GB of memory; models may take {there / 1e9:.0f} GB here"
        return Entry(name, name, False, reason, (), None, billions * 1e9)
    if hub.offline() and not hub.cached(name):
        return Entry(name, name, False, "comes from the Hugging Face Hub, and HF_HUB_OFFLINE=1 is set", ())
    return Entry(name, name, True, "", (), None, billions * 1e9)


def entries() -> list[Entry]:
    """Everything on offer, the embedded default first, then the researcher's own, then Hub presets."""
    return [*_embedded(_ASSETS), *_own(), *(_from_hub(*p) for p in _PRESETS.items())]


def astray() -> list[str]:
    """What the host's settings name and is not there, a message for each."""
    named = [(settings.MODEL, settings.MODEL.now())]
    named += [(setting, text) for setting in (settings.CHECKPOINTS, settings.FOLDERS) for text in setting.now()]
    return [
        f"{setting.name}: {text!r} is {setting.allowed}."
        for setting, text in named
        if text and not folder_at(text) and (setting is settings.FOLDERS or not hub.is_id(text))
    ]


def parse(spec: str) -> Entry:
    """The model that ``spec`` asks for: the name of one on offer, or else a Hub id, or a folder below one of
    ``CROSSTALK_FOLDERS``.

    Raises ``ModelError`` for what is none of these, leads out of these folders, or is not listed in public mode.
    """
    listed = entries()
    if found := next((e for e in listed if e.name == spec), None):
        return found
    names = ", ".join(e.name for e in listed)
    if hub.public():
        raise ModelError(f"This public server opens listed models only, not {spec!r}: {names}.")
    if folder := allowed_folder(spec):
        wrong = _unsettled(spec)
        return Entry(spec, str(folder), not wrong, wrong, (), None, _counted(folder))
    if hub.is_id(spec):
        return _from_hub(spec, hub.parameters_of(spec) / 1e9)
    raise ModelError(
        f"There is no model {spec!r}. There are: {names}. A Hub id is owner/name; a folder of yours is opened with "
        "CROSSTALK_MODEL."
    )


def allowed_folder(spec: str) -> Path | None:
    """The folder ``spec`` below one that the host named; None where there is none.

    Raises ``ModelError`` for a place that leads out of these folders.
    """
    roots = [root for root in map(folder_at, settings.FOLDERS.now()) if root]
    parts = Path(spec).parts
    if not parts or "\0" in spec:
        return None
    if Path(spec).is_absolute() or ".." in parts or spec.startswith("~"):
        raise ModelError(f"{spec!r} is not opened: name a folder as it is called below one of CROSSTALK_FOLDERS.")
    for root in roots:
        if folder := folder_at(root / spec):
            if not all(inside(root, path) for path in (folder, *folder.rglob("*"))):
                raise ModelError(
                    f"{spec!r} is not opened: it, or a file in it, is a link out of the host's folder, or to itself."
                )
            return folder.resolve()
    return None


def _budget() -> float:
    given = settings.MEMORY.now()
    return _memory() * _SHARE if given is None else given * 1e9


def _freed() -> None:
    from models import devices

    devices.freed()


_shelf = Shelf(_budget, _freed)


def shelf() -> Shelf:
    """Where everything that was opened stands, whatever kind of model it is: all share one memory budget."""
    return _shelf


class _Opened:
    """One model's weights, and an ``MLLM`` for each of its checkpoint sets that somebody asked for."""

    def __init__(self, entry: Entry):
        from models.checkpoints import CheckpointSet
        from models.loading import load
        from models.mllm import MLLM

        folder = Path(entry.source)  # a Hub id is a text, and not looked for on the disk
        model, processor = load(folder if folder.is_absolute() else entry.source, quantize=_bits(entry.name))
        checkpoints = CheckpointSet.open(_set_of(entry), model) if entry.checkpoint_folder else None
        self.first = MLLM(entry.name, model, processor, checkpoints)
        self.first.try_out()
        self.by_name = {entry.name: self.first}
        self.bytes = self._weighed()

    def named(self, entry: Entry) -> "MLLM":
        from models.checkpoints import CheckpointSet
        from models.mllm import MLLM

        with self.first.lock:
            if entry.name not in self.by_name:
                first, more = self.first, None
                if entry.checkpoint_folder:
                    more = CheckpointSet.open(_set_of(entry), first.model, first.checkpoints)
                other = MLLM(entry.name, first.model, first.processor, more)
                other.lock = first.lock  # without a set it would have a lock of its own, for the same weights
                self.by_name[entry.name] = other
                self.bytes = self._weighed()
            return self.by_name[entry.name]

    def _weighed(self) -> float:
        """Bytes of all that is held, checkpoints included, with the room that running it takes."""
        from models.devices import OVERHEAD

        sets = [m.checkpoints for m in self.by_name.values() if m.checkpoints]
        model = self.first.model
        held = [*model.parameters(), *model.buffers(), *(tensor for s in sets for tensor in s.replacing)]
        return sum({id(tensor): tensor.nbytes for tensor in held}.values()) * OVERHEAD


def _set_of(entry: Entry) -> str | Path:
    """Where ``CheckpointSet.open`` finds the checkpoints of an entry."""
    return entry.hub_set or entry.checkpoint_folder


@contextmanager
def using(name: str | None = None) -> Iterator["MLLM"]:
    """The model called ``name`` (default: embedded; else as in ``parse``), not given up for another while in here.

    Opened where it is not open; the least recently used is closed where ``CROSSTALK_MEMORY`` (GB, default 80 % of the
    device's) is short. Raises ``ModelError`` with the reason.
    """
    entry = parse(name or EMBEDDED)
    if not entry.available:
        raise ModelError(f"{entry.name} {entry.reason.rstrip('.')}.")
    # without checkpoints a model has a lock of its own, so it cannot share weights with one that switches them
    key = entry.source if entry.checkpoint_folder else f"{entry.source} alone"
    takes = need(entry.parameters / 1e9, _bits(entry.name))
    with _shelf.using(key, entry.name, takes, lambda: _Opened(entry)) as opened:
        mllm = opened.named(entry)
        _shelf.weigh(key, opened.bytes)
        yield mllm


def open_model(name: str | None = None) -> "MLLM":
    """The model called ``name`` as ``using`` gives it, without a hold on it: it stays usable for the caller, but may be
    opened anew for the next.
    """
    with using(name) as mllm:
        return mllm
