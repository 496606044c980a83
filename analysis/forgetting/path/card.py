"""What the model's card says of the path between checkpoints, and of merging them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.forgetting.path import sentence
from analysis.forgetting.path.figure import gain
from analysis.forgetting.path.measure import Path, ends, measure, own, tasks_of
from analysis.forgetting.path.merge import AVERAGE, SUM, Merged, preset
from analysis.forgetting.path.merge import measure as measure_merges
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
    head = ["alpha", *(f"{kind}, {task}" for task in path.tasks for kind in ("accuracy, %", "loss, nats")), "mean, %"]
    rows = []
    for i, alpha in enumerate(path.alpha):
        each = []
        for t in range(len(path.tasks)):
            low, high = 100 * path.accuracy_bounds[:, t, i]
            each.append(f"{100 * path.accuracy[t, i]:.0f} ({low:.0f} to {high:.0f})")
            low, high = path.loss_bounds[:, t, i]
            each.append(f"{path.loss[t, i]:.2f} ({low:.2f} to {high:.2f})")
        rows.append([f"{alpha:g}", *each, f"{100 * path.mean[i]:.0f}"])
    return "\n\n".join(
        [
            "## The path between checkpoints",
            f"Weights (1 - alpha) W_first + alpha W_second of the checkpoints {path.a} and {path.b} (linear mode "
            f"connectivity, arXiv 1912.05671), asked n = {path.n} items of each task, drawn by seed; greedy answers. "
            "Loss: -log p of the true answer. A barrier is the loss above the straight line between the ends' losses "
            "(arXiv 2110.06296). Brackets are 95 % intervals over items; those of the barrier and of the best point "
            "hold for all points at once.",
            _table(head, rows),
            sentence.path(path),
            "### Merged by weights",
            "Task arithmetic (arXiv 2212.04089): base + sum of weight x (checkpoint - base) over the checkpoints of "
            f"all tasks; *{AVERAGE}*: 1/{len(merged.tasks)} each, *{SUM}*: 1 each. n = {merged.n} items of each task; "
            "the last column is against the last checkpoint on the same items, in points.",
            _merges(merged),
            sentence.merged(merged),
        ]
    )


def _merges(found: Merged) -> str:
    rows = []
    for row in found.rows:
        each = [f"{100 * value:.0f}" for value in row.accuracy]
        rows.append(
            [row.label, *each, f"{100 * row.mean:.0f} ({100 * row.low:.0f} to {100 * row.high:.0f})", gain(row)]
        )
    return _table(["accuracy, %", *found.tasks, "all", f"against {found.rows[0].label}"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
