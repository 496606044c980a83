"""What the model's card says of the path between checkpoints, and of merging them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.forgetting.path import sentence
from analysis.forgetting.path.figure import merges
from analysis.forgetting.path.measure import Path, ends, measure, own, tasks_of
from analysis.forgetting.path.merge import AVERAGE, SUM, Merged, preset
from analysis.forgetting.path.merge import measure as measure_merges
from analysis.table import Head, Table
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """The line from the first task's checkpoint to the last's of the embedded default, and merges of all of them.

    Measures what is not kept yet.
    """
    model = opened(catalog.EMBEDDED)
    manifest = model.checkpoints.manifest
    a, b = ends(manifest)
    names = tuple(own(manifest).values())
    merges = [preset(names, chosen) for chosen in (AVERAGE, SUM)]
    return told(measure(model, a, b, tasks_of(manifest, a, b)), measure_merges(model, merges))


def told(path: Path, merged: Merged) -> str:
    """The section's Markdown, of any numbers."""
    heads: list[Head | str] = ["alpha"]
    for task in path.tasks:
        heads += [Head(f"accuracy, %, {task}", shares=True), Head(f"loss, nats, {task}", digits=2)]
    tasks = range(len(path.tasks))
    rows = [
        [f"{alpha:g}", *(of(t, i) for t in tasks for of in (path.scored, path.lost)), path.mean[i]]
        for i, alpha in enumerate(path.alpha)
    ]
    return "\n\n".join(
        [
            "## The path between checkpoints",
            f"Weights (1 - alpha) W_first + alpha W_second of the checkpoints {path.a} and {path.b} (linear mode "
            f"connectivity, arXiv 1912.05671), asked n = {path.n} items of each task, drawn by seed; greedy answers. "
            "Loss: -log p of the true answer. A barrier is the loss above the straight line between the ends' losses "
            "(arXiv 2110.06296). Brackets are 95 % intervals over items; those of the barrier and of the best point "
            "hold for all points at once.",
            Table([*heads, Head("mean", unit="%")], rows).markdown(),
            sentence.path(path),
            "### Merged by weights",
            "Task arithmetic (arXiv 2212.04089): base + sum of weight x (checkpoint - base) over the checkpoints of "
            f"all tasks; *{AVERAGE}*: 1/{len(merged.tasks)} each, *{SUM}*: 1 each. n = {merged.n} items of each task; "
            "the last column is against the last checkpoint on the same items, in points.",
            merges(merged).markdown(),
            sentence.merged(merged),
        ]
    )
