"""A base model and its ordered per-task checkpoints: LoRA adapters kept resident, switched in no time.

A set is a folder with ``checkpoints.json``:

    {"base": "...", "method": "...", "order": ["naming", ...],
     "checkpoints": [{"name": "naming", "task": "naming", "adapter": "naming", "eval": "naming.jsonl"}]}

Checkpoints whose task is not in ``order`` are references (for example one trained on all tasks jointly).
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from models.errors import CheckpointError

BASE = "base"
MANIFEST = "checkpoints.json"
_WEIGHTS = "adapter_model.safetensors"
_PEFT_BASE = "__base__"  # how peft's mixed batches name the model without an adapter


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: what it was trained on last, its adapter's folder, its task's evaluation set."""

    name: str
    task: str
    adapter: Path
    eval: Path | None


@dataclass(frozen=True)
class Manifest:
    """``checkpoints.json``, read and checked."""

    folder: Path
    base: str
    method: str
    order: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read the manifest of ``folder``. Raises ``CheckpointError`` naming the file and the field."""
        folder = Path(folder).resolve()
        file = folder / MANIFEST
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{folder} has no {MANIFEST}. The README shows its format.") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{file} is not readable JSON: {error}.") from error
        order = tuple(_field(file, data, "order", list))
        entries = _field(file, data, "checkpoints", list)
        if not all(isinstance(task, str) for task in order) or not entries:
            raise CheckpointError(f'{file}: "order" must list task names and "checkpoints" at least one checkpoint.')
        found = tuple(_checkpoint(file, folder, i, entry) for i, entry in enumerate(entries))
        names = [c.name for c in found]
        if len(set(names)) < len(names) or BASE in names:
            raise CheckpointError(f'{file}: checkpoint names must differ from each other and from "{BASE}".')
        missing = [task for task in order if task not in {c.task for c in found}]
        if missing:
            raise CheckpointError(f'{file}: "order" names {", ".join(missing)}, but no checkpoint has that task.')
        base, method = _field(file, data, "base", str), _field(file, data, "method", str)
        found = tuple(sorted(found, key=lambda c: order.index(c.task) if c.task in order else len(order)))
        return cls(folder, base, method, order, found)


def _field(file: Path, data, key: str, kind: type):
    if not isinstance(data, dict) or not isinstance(data.get(key), kind):
        name = {str: "a text", list: "a list"}[kind]
        raise CheckpointError(f'{file}: field "{key}" is missing or is not {name}.')
    return data[key]


def _inside(file: Path, folder: Path, where: str, relative: str) -> Path:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder):
        raise CheckpointError(f"{file}: {where} leads out of the checkpoint set's folder: {relative!r}.")
    if not path.exists():
        raise CheckpointError(f"{file}: {where} names {relative!r}, which is not there.")
    return path


def _checkpoint(file: Path, folder: Path, index: int, entry) -> Checkpoint:
    where = f"checkpoint {index + 1}"
    try:
        name, task, adapter = (_field(file, entry, key, str) for key in ("name", "task", "adapter"))
    except CheckpointError as error:
        raise CheckpointError(f"{error} ({where})") from None
    evaluation = entry.get("eval")
    if evaluation is not None and not isinstance(evaluation, str):
        raise CheckpointError(f'{file}: field "eval" is not a text. ({where})')
    return Checkpoint(
        name,
        task,
        _inside(file, folder, f'{where} field "adapter"', adapter),
        _inside(file, folder, f'{where} field "eval"', evaluation) if evaluation else None,
    )


class CheckpointSet:
    """All adapters of a manifest, loaded into one model."""

    def __init__(self, manifest: Manifest, model: PeftModel):
        self.manifest, self.model, self.lock = manifest, model, threading.RLock()

    @classmethod
    def open(cls, folder: str | Path, model) -> "CheckpointSet":
        """Load every adapter into ``model`` (which is changed in place). Raises ``CheckpointError``."""
        manifest, wrapped = Manifest.load(folder), None
        for checkpoint in manifest.checkpoints:
            file = checkpoint.adapter / _WEIGHTS
            if not file.is_file():
                raise CheckpointError(f"{checkpoint.adapter} has no {_WEIGHTS}; other formats are not opened.")
            try:
                with safe_open(file, "pt") as saved:
                    held = set(saved.keys())
                if wrapped is None:
                    wrapped = PeftModel.from_pretrained(model, checkpoint.adapter, checkpoint.name)
                else:
                    wrapped.load_adapter(checkpoint.adapter, checkpoint.name)
            except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
                raise CheckpointError(f"{file} does not fit this model: {error}") from error
            embeddings = any("embed" in key for key in held)  # "auto" would ask the Hub about the base
            state = get_peft_model_state_dict(wrapped, adapter_name=checkpoint.name, save_embedding_layers=embeddings)
            wanted = set(state)
            if held != wanted:
                odd = sorted(held ^ wanted)
                raise CheckpointError(
                    f"{file} was made for another model or under older names: {len(odd)} weights do not match, "
                    f"for example {odd[0]}."
                )
        return cls(manifest, wrapped.eval())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.manifest.checkpoints)

    def _check(self, name: str) -> None:
        if name != BASE and name not in self.names:
            raise CheckpointError(f"There is no checkpoint {name!r}. There are: {', '.join((BASE, *self.names))}.")

    @contextmanager
    def use(self, name: str) -> Iterator[None]:
        """Hold the model's lock with checkpoint ``name`` (or ``"base"``) switched on."""
        self._check(name)
        with self.lock:
            if name == BASE:
                with self.model.disable_adapter():
                    yield
            else:
                self.model.set_adapter(name)
                yield

    @contextmanager
    def mixed(self, names: Sequence[str]) -> Iterator[dict]:
        """Hold the lock; yields the forward argument that gives row *i* of a batch checkpoint ``names[i]``."""
        for name in names:
            self._check(name)
        with self.lock:
            yield {"adapter_names": [_PEFT_BASE if name == BASE else name for name in names]}
