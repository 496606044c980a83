"""What is kept of the path and of merges of a checkpoint set, read without opening its model; or measured."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from analysis import kept
from analysis.forgetting import held
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM

Found = TypeVar("Found")
Progress = Callable[[float, str], None]


def at_hand(name: str, work: "Callable[[MLLM, Progress], Found]") -> Found | None:
    """What ``work(model, progress)`` returns of the set ``name`` where all that it measures is kept; else None.

    Raises ``CheckpointError`` as ``work`` does.
    """
    for model in held.stand_ins(held.entry(name)):
        if found := kept.at_hand(partial(work, model)):
            return found
    return None


def measured(name: str, work: "Callable[[MLLM, Progress], Found]", progress: Progress) -> Found:
    """The same, and what is missing is asked of the model, which is opened for it."""
    with catalog.using(held.entry(name).name) as mllm:
        return work(mllm, progress)
