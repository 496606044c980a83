"""What a checkpoint set says of itself: ``checkpoints.json``, read and checked without opening any weights.

    {"base": "...", "method": "...", "order": ["naming", ...],
     "checkpoints": [{"name": "naming", "task": "naming", "adapter": "naming", "eval": "naming.jsonl"}],
     "also": {"style never seen": {"naming": "unseen/naming.jsonl"}}, "recipe": {"rank": 8, ...}}

A checkpoint is a LoRA adapter (``"adapter"``: a folder) or all weights of the model (``"weights"``: a safetensors
file, or a folder with ``model.safetensors`` or its shards). Where ``"adapter"`` is a list of folders they are applied
together, W = W_base + sum of their changes: the increments of one task after another. One trained with modular duplex
attention also names its fuser (``"attention"``: a safetensors file, ``models.moda``). Checkpoints whose task is not in
``order`` are references (for example one trained on all tasks jointly).

``"also"``, which may be left out, names further evaluation sets that all checkpoints are asked, by what they are for
and task; ``"recipe"`` tells how the checkpoints were trained, in the words of who trained them.

Every path stays in the set's folder. Only the sets that Crosstalk ships, side by side in one folder, may take their
evaluation sets from each other (``"eval": "../sequential/naming.jsonl"``).

``base`` is compared by ``same_base`` where it is a Hub id; a folder's name proves nothing, since copies are renamed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models import hub
from models.errors import CheckpointError, ModelError
from models.files import folder_at, inside, is_file, nameless, plain, read_json, told

BASE = "base"
SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "embedded" / "checkpoints"
MANIFEST = "checkpoints.json"
ADAPTER_CONFIG = "adapter_config.json"
_SET_FILES = ("*.json", "*.jsonl", "*.safetensors", "*.png", "*.jpg", "*.jpeg", "*.webp")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: the task it was trained on last, that task's evaluation set, either adapters (several are applied
    together) or weights, and the fuser of its own attention where it has one.
    """

    name: str
    task: str
    adapters: tuple[Path, ...]
    eval: Path | None
    weights: Path | None = None
    attention: Path | None = None

    @property
    def places(self) -> list[Path]:
        """The files and folders of its own weights."""
        return [*self.adapters, *(path for path in (self.weights, self.attention) if path)]


@dataclass(frozen=True)
class Manifest:
    """``checkpoints.json``, read and checked."""

    folder: Path
    base: str
    method: str
    order: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    also: dict[str, dict[str, Path]] = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read the manifest of ``folder``. Raises ``CheckpointError`` naming the file and the field."""
        folder = Path(folder).resolve()
        file = folder / MANIFEST
        if not file.exists():
            raise CheckpointError(f"{folder.name} has no {MANIFEST}. The README shows its format.")
        data = read_json(file, CheckpointError)
        order = tuple(_field(file, data, "order", list))
        entries = _field(file, data, "checkpoints", list)
        if not order or not all(isinstance(task, str) for task in order) or not entries:
            raise CheckpointError(
                f'{told(file)}: "order" must list task names, at least one, and "checkpoints" at least one checkpoint.'
            )
        found = tuple(_checkpoint(file, i, entry) for i, entry in enumerate(entries, 1))
        _once(file, "name", [BASE, *(c.name for c in found)])
        _once(file, "order", order)
        missing = [task for task in order if task not in {c.task for c in found}]
        if missing:
            raise CheckpointError(f'{told(file)}: "order" names {", ".join(missing)}, but no checkpoint has that task.')
        base, method = _field(file, data, "base", str), _field(file, data, "method", str)
        _one_base(file, base, found)
        found = tuple(sorted(found, key=lambda c: order.index(c.task) if c.task in order else len(order)))
        return cls(folder, base, method, order, found, _also(file, data), _objects(file, data, "recipe"))


def _once(file: Path, field: str, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CheckpointError(
            f'{told(file)}: field "{field}" has {twice[0]!r} twice: names must differ from each other'
            + (f', and checkpoints from "{BASE}".' if field == "name" else ".")
        )


def _one_base(file: Path, base: str, checkpoints: Sequence[Checkpoint]) -> None:
    """Raises ``CheckpointError`` where an adapter was made for another model than ``base``, or than another adapter."""
    made_for = {}
    for checkpoint, adapter in ((c, adapter) for c in checkpoints for adapter in c.adapters):
        config = adapter / ADAPTER_CONFIG
        if not inside(file.parent, config) or not is_file(config):
            continue
        try:
            named = str(read_json(config, CheckpointError).get("base_model_name_or_path") or "")
        except CheckpointError:  # told when it is opened
            continue
        where = f'{told(config)}: field "base_model_name_or_path"'
        same_base(where, named, base, f'"base" of {told(file)}')
        for name, other in made_for.items():
            same_base(where, named, other, f"that of checkpoint {name!r}")
        made_for[checkpoint.name] = named


def _field(file: Path, data, key: str, kind: type):
    if not isinstance(data, dict) or not isinstance(data.get(key), kind):
        name = {str: "a text", list: "a list", dict: "an object with fields"}[kind]
        raise CheckpointError(f'{told(file)}: field "{key}" is missing or is not {name}.')
    return data[key]


def _objects(file: Path, data: dict, key: str) -> dict:
    return _field(file, data, key, dict) if key in data else {}


def _also(file: Path, data: dict) -> dict[str, dict[str, Path]]:
    found, shared = _objects(file, data, "also"), _shared(file)
    named = {kind: _field(file, found, kind, dict) for kind in found}
    return {
        kind: {task: _place(file, f"{kind}, {task}", "also", path, shared) for task, path in by.items()}
        for kind, by in named.items()
    }


def _shared(file: Path) -> Path:
    """The folder that evaluation sets of the set of ``file`` lie in."""
    return SHIPPED if file.parent.parent == SHIPPED else file.parent


def _place(file: Path, of: str, key: str, value, within: Path) -> Path:
    """The path that the field ``key`` names, checked; ``of`` says whose field it is."""
    if not isinstance(value, str) or "\0" in value:
        raise CheckpointError(f'{told(file)}: field "{key}" is not a text. ({of})')
    where, shown = f'{told(file)}: {of} field "{key}"', nameless(value)[:200]
    if not inside(within, file.parent / value):
        raise CheckpointError(f"{where} leads out of the checkpoint set's folder, or in a circle: {shown!r}.")
    try:
        there = (file.parent / value).exists()
    except OSError as error:  # a name longer than a file's may be
        raise CheckpointError(f"{where} names {shown!r}, which cannot be read: {plain(error)}.") from error
    if not there:
        raise CheckpointError(f"{where} names {shown!r}, which is not there.")
    return (file.parent / value).resolve()


def _checkpoint(file: Path, number: int, entry) -> Checkpoint:
    def path(key: str, within: Path = file.parent) -> Path | None:
        value = entry.get(key)
        return None if value is None else _place(file, f"checkpoint {number}", key, value, within)

    try:
        name, task = _field(file, entry, "name", str), _field(file, entry, "task", str)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (checkpoint {number})") from None
    named, weights = entry.get("adapter"), path("weights")
    adapters = () if named is None else named if isinstance(named, list) else (named,)
    adapters = tuple(_place(file, f"checkpoint {number}", "adapter", part, file.parent) for part in adapters)
    if isinstance(named, list) and len(set(adapters)) < max(len(named), 1):
        raise CheckpointError(
            f'{told(file)}: field "adapter" is a list that is empty or names one twice: list each adapter that is '
            f"applied once. (checkpoint {number})"
        )
    if bool(adapters) == (weights is not None):
        raise CheckpointError(
            f'{told(file)}: one of the fields "adapter" and "weights" is needed, not '
            f"{'both' if adapters else 'none'}. (checkpoint {number})"
        )
    return Checkpoint(name, task, adapters, path("eval", _shared(file)), weights, path("attention"))


def locate(source: str | Path) -> Path:
    """The folder of a checkpoint set: ``source`` itself, or the copy of a Hub repository, downloaded where it is new.

    Raises ``CheckpointError`` for what is neither, and for what cannot be downloaded.
    """
    if path := folder_at(source):
        return path
    if not hub.is_id(str(source)):
        name = Path(source).name[:200]
        raise CheckpointError(f"{name!r} is neither a folder with a checkpoint set nor a Hub id (owner/name).")
    folder = hub.sets_folder(str(source))
    if hub.offline() and (folder / MANIFEST).is_file():
        return folder
    try:
        return hub.download(str(source), _SET_FILES, folder=folder)
    except ModelError as error:
        raise CheckpointError(f"The checkpoint set {source} cannot be had: {error}") from error


def same_base(where: str, base: str, model: str | Path, whose: str = "this") -> None:
    """Raises ``CheckpointError`` where what ``where`` says it was made for and ``model`` are two models of the Hub.

    Both must be Hub ids (or copies in the Hub's cache): then their names must agree, owners apart, for a mirror is the
    same model. Another base of the same shape under a local folder's name is not caught: nothing there tells.
    ``whose`` says in the message what ``model`` is.
    """
    ids = hub.id_of(base), hub.id_of(model)
    if all(ids) and len({name.split("/")[1].lower() for name in ids}) > 1:
        raise CheckpointError(
            f"{where} was made for {ids[0]}, and {whose} is {ids[1]}: its changes would be added to other weights. "
            "Where both are the same model, write the same name there."
        )
