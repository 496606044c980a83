"""The runs of every set on offer: the one whose answers are kept, and those that ``runs.json`` tells of."""

from analysis.forgetting import held
from analysis.forgetting.methods import run
from analysis.forgetting.methods.run import Run
from analysis.forgetting.split import held as split
from models import catalog
from models.embedded.continual import METHODS
from models.errors import CrosstalkError
from models.evaluation import Evaluation

_known: dict[str, tuple[Evaluation, Run]] = {}
"""By set; good as long as its answers are the same object, and their losses were split."""


def sets() -> dict[str, catalog.Entry]:
    """The sets on offer, the embedded ones in the order of their settings."""
    offered = held.sets()
    ordered = [name for name in METHODS if name in offered] + [name for name in offered if name not in METHODS]
    return {name: offered[name] for name in ordered}


def runs() -> tuple[list[Run], dict[str, str]]:
    """Every run that can be read without opening a model; and why sets have none."""
    found, without = [], {}
    for name, entry in sets().items():
        try:
            found.append(_shipped(name))
            found += run.load(entry.checkpoint_folder, name)
        except CrosstalkError as error:
            without[name] = str(error)
    return found, without


def _shipped(name: str) -> Run:
    answers = held.evaluation(name)
    known = _known.get(name)
    if known is None or known[0] is not answers or known[1].superficial is None:
        tested = split.at_hand(name) if len(answers.tasks) > 1 else None
        _known[name] = answers, run.of(answers, tested, name)
    return _known[name][1]
