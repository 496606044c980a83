"""What comes with the embedded default: its evaluation sets, its trained remedies, and their measured answers."""

from collections.abc import Sequence
from functools import lru_cache

from analysis.interference.dataset.conditions import KINDS, ORIGIN, ItemSet, item_set, lines_of
from analysis.interference.dataset.measure import Block, measure
from models import catalog, evalset, fingerprint
from models.checkpoints import BASE, Manifest
from models.embedded import ASSETS, SHIPPED_DTYPE
from models.errors import CrosstalkError, InputError

MITIGATION = f"{catalog.EMBEDDED} (mitigation)"
"""The name under which the catalog offers the embedded default with the checkpoints of the paper's remedies."""


@lru_cache(maxsize=len(KINDS))
def items(kind: str) -> ItemSet:
    """The set of ``kind`` that comes with the embedded default. Raises ``EvalSetError`` where it is not whole."""
    file = ASSETS / "interference" / f"{kind}.jsonl"
    return item_set(kind, file.name, evalset.load(file), lines_of(file))


def chosen(kinds: Sequence[str]) -> list[ItemSet]:
    """The sets of these kinds. Raises ``InputError`` for an unknown kind, or none."""
    if unknown := [k for k in kinds if k not in KINDS]:
        raise InputError(f"There is no kind of set {unknown[0]!r}. There are: {', '.join(KINDS)}.")
    if not kinds:
        raise InputError(f"No set was chosen. There are: {', '.join(KINDS)}.")
    return [items(kind) for kind in dict.fromkeys(kinds)]


def measured() -> tuple[Block, ...]:
    """The answers of the base and the remedies that ship, or were measured here before: read, without opening a model.

    Empty where there are none for these weights and sets.
    """
    entry = next((e for e in catalog.entries() if e.name == MITIGATION and e.checkpoint_folder), None)
    if entry is None:
        return ()
    try:
        manifest = Manifest.load(entry.checkpoint_folder)
        model = fingerprint.Unopened(entry.name, entry.source, SHIPPED_DTYPE, None, manifest)
        found = measure(model, [items(kind) for kind in KINDS], (BASE, *entry.checkpoints), only_kept=True)
    except (CrosstalkError, OSError):  # what is missing is told when somebody measures
        return ()
    against = {(block.panel, block.checkpoint) for block in found if block.condition == ORIGIN}
    return tuple(block for block in found if (block.panel, block.checkpoint) in against)
