"""A base model and its ordered per-task checkpoints, kept resident and switched in no time.

Weights of a checkpoint are those of the base plus a low-rank change (LoRA, arXiv 2106.09685), or tensors in the place
of the base's, or both (an adapter that also saved a projector). Switching replaces no modules: all LoRA layers share
one list of active adapters (while a ``Patch`` is on, each has its own), and tensors are exchanged by reference, so the
base comes back bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models import devices
from models.attention import Edit
from models.errors import CheckpointError
from models.files import told
from models.manifest import BASE, MANIFEST, Checkpoint, Manifest, locate, same_base
from models.mixtures import Blend, Merge, Patch, Weights
from models.switchboard import Change, Part, State, Switchboard
from models.weights import load_adapters, load_attention, load_full, size

__all__ = ["BASE", "MANIFEST", "Blend", "Checkpoint", "CheckpointSet", "Manifest", "Merge", "Patch", "Weights"]


class CheckpointSet:
    """The checkpoints of a manifest, resident in one model.

    ``board`` has the base's weights and the layers that each adapter changes: read it under ``lock``, and leave
    switching to ``use`` and ``mixed``.
    """

    def __init__(self, manifest: Manifest, board: Switchboard, changes: dict[str, Change]):
        self.manifest, self.board = manifest, board
        self._changes = {BASE: Change(), **changes}

    @classmethod
    def open(cls, source: str | Path, model, beside: "CheckpointSet | None" = None) -> "CheckpointSet":
        """Load every checkpoint of a set, a folder or a Hub id, into ``model``, which is changed in place.

        ``beside`` is a set opened for the same model before: both then share its lock. Raises ``CheckpointError``
        naming the file, what is wrong with it and the remedy; the set ``beside`` stays as it was.
        """
        manifest = Manifest.load(locate(source))
        same_base(f'{told(manifest.folder / MANIFEST)}: field "base"', manifest.base, model.name_or_path)
        board = beside.board if beside else Switchboard(model)
        changes: dict[str, Change] = {}
        with board.switched(()):
            try:
                for checkpoint in manifest.checkpoints:
                    load = load_adapters if checkpoint.adapters else load_full
                    change = changes[checkpoint.name] = load(board, manifest, checkpoint)
                    if checkpoint.attention:
                        own = load_attention(board, manifest, checkpoint)
                        changes[checkpoint.name] = replace(change, attention=own, batchable=False)
                return cls(manifest, board, changes)
            except Exception as error:
                for change in changes.values():
                    if change.adapter:
                        board.remove_adapter(change.adapter)
                if not devices.exhausted(error):
                    raise
                short, need = told(checkpoint.places[0]), size(checkpoint)
        # out of the handler, whose error holds what was read so far
        changes.clear()
        raise CheckpointError(f"{short}: out of memory, {devices.shortage(model.device, need)}")

    @property
    def model(self):
        """The model that all this is about, with whatever is switched on."""
        return self.board.model

    @property
    def replacing(self) -> list:
        """The tensors kept beside the model's own parameters, to take their place or to fuse keys."""
        changes = self._changes.values()
        fusers = [change.attention.fuser for change in changes if change.attention]
        return [*fusers, *(tensor for change in changes for tensor in change.tensors.values())]

    @property
    def lock(self):
        """Held (by one thread, as often as it likes) while weights are read or switched."""
        return self.board.lock

    @property
    def names(self) -> tuple[str, ...]:
        """The checkpoints in their order, without the base."""
        return tuple(c.name for c in self.manifest.checkpoints)

    @property
    def batchable(self) -> tuple[str, ...]:
        """Names, ``"base"`` included, that can share a mixed batch; the others run one by one."""
        return tuple(name for name, change in self._changes.items() if change.batchable)

    @property
    def adapted(self) -> list:
        """The layers that adapters of this set change."""
        names = [change.adapter for change in self._changes.values() if change.adapter]
        return list(dict.fromkeys(layer for name in names for layer in self.board.holding(name)))

    def change(self, name: str) -> Change:
        """What a checkpoint changes of the base. Raises ``CheckpointError`` for an unknown one."""
        if name not in self._changes:
            raise CheckpointError(f"There is no checkpoint {name!r}. There are: {', '.join(self._changes)}.")
        return self._changes[name]

    def _state(self, name: Weights) -> State:
        shares = [(name, 1.0, None)] if isinstance(name, str) else name.parts(self.board.modules)
        parts = {own: Part(self.change(own), share, modules) for own, share, modules in shares}
        parts = {own: part for own, part in parts.items() if own != BASE and part.share}
        mixed = not all(part.whole for part in parts.values()) or len(parts) > 1
        if mixed and (own := [n for n, part in parts.items() if part.change.attention]):
            raise CheckpointError(
                f"{', '.join(own)} has another attention than the base, and attention cannot be mixed, so there is no "
                f"{name}: take checkpoints with the base's attention."
            )
        return tuple(parts.values())

    def edits(self, name: Weights) -> tuple[Edit, ...]:
        """How checkpoint ``name`` changes attention, beside its weights. Raises ``CheckpointError`` as ``use`` does."""
        return tuple(part.change.attention for part in self._state(name) if part.change.attention)

    @contextmanager
    def use(self, name: Weights) -> Iterator[None]:
        """Hold the model's lock with ``name`` on; then what was on before.

        ``name`` is a checkpoint's, ``"base"``, or a ``Blend``, ``Merge`` or ``Patch``. Weights are exact where one
        checkpoint is whole, else rounded once. Raises ``CheckpointError`` for an unknown name, for values that make no
        weights, and for a mixture with a checkpoint whose attention is not the base's.
        """
        with self.board.switched(self._state(name)):
            yield

    def interpolate(self, a: str, b: str, alpha: float):
        """``use`` of weights on the straight line between two checkpoints (linear mode connectivity, arXiv 1912.05671).

        Effective weights are (1 - alpha) * W_a + alpha * W_b, for adapters of any rank, full weights and the
        base; at 0 and 1 exactly those of ``a`` and ``b``. Raises ``CheckpointError`` for an alpha outside of 0 to 1.
        """
        return self.use(Blend(a, b, alpha))

    @contextmanager
    def mixed(self, names: Sequence[str]) -> Iterator[None]:
        """Hold the lock with row *i* of every batch in here seen by checkpoint ``names[i]``.

        Raises ``CheckpointError`` for names that are not ``batchable``.
        """
        changes = [self.change(name) for name in names]
        if alone := sorted({n for n, c in zip(names, changes, strict=True) if not c.batchable}):
            raise CheckpointError(f"{', '.join(alone)} cannot share a batch with other checkpoints: run each alone.")
        with self.board.mixed([change.adapter for change in changes]):
            yield
