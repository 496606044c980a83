"""The split of a checkpoint set: what is kept of it, read without opening its model; or measured."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from analysis import kept
from analysis.forgetting import held
from analysis.forgetting.split.measure import split
from analysis.forgetting.split.result import Split
from models import catalog
from models.errors import InputError


def at_hand(name: str, checkpoint: str | None = None) -> Split | None:
    """The split of the set ``name`` at ``checkpoint`` (default: the last task's), where nothing has to be asked for it;
    None where it has, or has but cannot be.

    Raises ``CheckpointError`` as ``held.evaluation`` and ``split`` do.
    """
    evaluation = held.evaluation(name)
    for model in held.stand_ins(held.entry(name)):
        work = partial(split, evaluation, model, checkpoint=checkpoint)
        with suppress(InputError):  # an item without options: told to who wants it asked
            if found := kept.at_hand(work):
                return found
    return None


def measured(
    name: str,
    progress: Callable[[float, str], None] = lambda share, what: None,
    checkpoint: str | None = None,
) -> Split:
    """The same, and what is missing is asked of the model, which is opened for it."""
    if found := at_hand(name, checkpoint):
        return found
    with catalog.using(held.entry(name).name) as mllm:
        return split(held.evaluation(name), mllm, progress, checkpoint)
