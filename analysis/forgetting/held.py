"""The checkpoint sets that the room offers, and the answers of each that were measured before."""

from functools import lru_cache
from pathlib import Path

from models import catalog
from models.errors import CheckpointError
from models.evaluation import Evaluation
from models.manifest import Manifest

_fresh: dict[str, Evaluation] = {}
"""What was measured again since the start; by checkpoint set, the same for every visitor."""


def sets() -> dict[str, catalog.Entry]:
    """The checkpoint sets on offer: embedded ones by their method's name, the researcher's by her model's.

    An embedded set without evaluation sets was not made to show forgetting.
    """
    offered = [e for e in catalog.entries() if e.checkpoint_folder]
    found = {e.checkpoint_folder.name if catalog.embedded(e.name) else e.name: e for e in offered}
    return {name: e for name, e in found.items() if not catalog.embedded(e.name) or _has_items(e.checkpoint_folder)}


def entry(name: str) -> catalog.Entry:
    """A set on offer. Raises ``CheckpointError`` for an unknown one."""
    if name not in sets():
        raise CheckpointError(f"There is no checkpoint set {name!r}. There are: {', '.join(sets())}.")
    return sets()[name]


def _has_items(folder: Path) -> bool:
    return any(c.eval for c in Manifest.load(folder).checkpoints)


@lru_cache(maxsize=8)
def _saved(folder: Path) -> Evaluation:
    return Evaluation.load(folder)


def evaluation(name: str) -> Evaluation:
    """The answers of a set. Raises ``CheckpointError`` for an unknown one, or one never measured."""
    return _fresh.get(name) or _saved(entry(name).checkpoint_folder)


def keep(name: str, found: Evaluation) -> None:
    """Show ``found`` from now on as the answers of a set."""
    _fresh[name] = found
