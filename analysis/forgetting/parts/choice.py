"""What a visitor chose to see of the parts that forget, and its measurements one after another."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.parts.drift import drift
from analysis.forgetting.parts.measure import SINCE, key_overlap, movement, trained
from analysis.forgetting.parts.patching import DEFAULT, patching
from analysis.forgetting.parts.result import Parts
from analysis.result import Provenance
from models import catalog
from models.errors import CrosstalkError, InputError
from models.manifest import Manifest

if TYPE_CHECKING:
    from models.mllm import MLLM

ITEMS = 60
"""Items of a task that are asked, unless another number is chosen."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint set, an old task of it, two checkpoints, and how it is measured: what a task's change counts
    ``since``, ``n`` items of a task drawn by ``seed``, and the ``groups`` of parts that are put back.
    """

    method: str
    task: str
    before: str
    after: str
    since: str
    n: int
    seed: int
    groups: tuple[str, ...]


def first_choice(manifest: Manifest, method: str) -> Choice:
    """What is shown before anybody chooses: from the first task's checkpoint to that of the last."""
    own, (first, *_) = trained(manifest), manifest.order
    ends = own[first].name, own[manifest.order[-1]].name
    return Choice(method, first, *ends, SINCE[0], ITEMS, 0, DEFAULT)


def load(choice: Choice) -> Parts:
    """What was measured of a choice before, here or by whoever ships it, read without opening the model.

    Raises ``CheckpointError`` for an unknown set, or one that is not whole.
    """
    found = nothing(choice)
    for model in sets.unopened(sets.entry(choice.method)):
        for name, step in _steps(choice).items():
            if getattr(found, name) is None:
                with suppress(CrosstalkError):  # what is wrong is told when somebody measures
                    found = _with(found, name, step(model, found, only_kept=True))
    return found


def measured(choice: Choice, progress: kept.Progress = kept.quiet) -> Iterator[Parts]:
    """Measure what is missing of a choice: after each measurement what there is so far.

    Raises ``InputError`` where both checkpoints are the same one, and what the measurements raise.
    """
    if choice.before == choice.after:
        raise InputError("Both checkpoints are the same: choose two, to see what changed between them.")
    found, entry = nothing(choice), sets.entry(choice.method)
    for name, step in _steps(choice).items():
        with catalog.using(entry.name) as model:
            part = step(model, found, progress=progress)
        found = _with(found, name, part)
        yield found


def collected(model: "MLLM", choice: Choice, progress: kept.Progress = kept.quiet) -> Parts:
    """All measurements of a choice with the model at hand, without a page that watches."""
    found = nothing(choice)
    for name, step in _steps(choice).items():
        found = _with(found, name, step(model, found, progress=progress))
    return found


def _steps(choice: Choice) -> dict:
    """What is measured, in its order, each ``(model, found so far, **how) -> result``; None for what cannot be.

    A task without evaluation items has no drift, and nothing can be seen to return.
    """

    def put_back(model, found: Parts, **how):
        if not choice.groups or found.moved is None or not found.moved.change.any():
            return None
        return patching(model, found.moved, choice.task, choice.n, choice.seed, choice.groups, **how)

    steps = {
        "moved": lambda model, found, **how: movement(model, choice.before, choice.after, **how),
        "keys": lambda model, found, **how: key_overlap(model, choice.since, **how),
        "drift": lambda model, found, **how: drift(model, choice.task, choice.n, choice.seed, **how),
        "patching": put_back,
    }
    asked = trained(sets.manifest(choice.method)).get(choice.task)
    return steps if asked is None or asked.eval else {name: steps[name] for name in ("moved", "keys")}


def nothing(choice: Choice) -> Parts:
    """Of a choice, none of its measurements."""
    return Parts(provenance=Provenance("", "", "", ""), method=choice.method)


def _with(found: Parts, name: str, part) -> Parts:
    """``found`` with one more measurement; the seconds of all add up."""
    if part is None:
        return found
    seconds = found.provenance.seconds + part.provenance.seconds
    provenance = replace(part.provenance, checkpoint="all", seconds=seconds)
    return replace(found, **{name: part}, provenance=provenance)
