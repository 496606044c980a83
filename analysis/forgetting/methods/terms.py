"""How metrics are called and written, the same in charts, tables and the card."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Row

NAMES = {
    "mft": ("MFT", "%", "Mean fine-tune accuracy: each task right after its own training; the mean over tasks."),
    "mfn": ("MFN", "%", "Mean final accuracy: all tasks after the last one."),
    "maa": ("MAA", "%", "Mean average accuracy: after each task the mean over the tasks so far; the mean of those."),
    "bwt": (
        "BWT", "points", "Backward transfer: accuracy at the end minus accuracy right after a task's own training; "
        "the mean over all tasks but the last. Negative is forgetting.",
    ),
    "fwt": (
        "FWT", "points", "Forward transfer: accuracy on a task just before it is trained minus the base's; the mean "
        "over all tasks but the first.",
    ),
    "superficial": (
        "Superficial", "% of right", "Of the items that were right after their own task: lost in form alone. Asked as "
        "a choice, the model still knows.",
    ),
    "essential": ("Essential", "% of right", "Of the items that were right after their own task: lost in fact."),
    "superficial_of_lost": (
        "Superficial of lost", "%", "Of the items that were lost: the share lost in form alone. The rest is essential.",
    ),
}  # fmt: skip
"""Each metric's short name, its unit, and what it is."""

_BETTER = {"mft": 1, "mfn": 1, "maa": 1, "bwt": 1, "fwt": 1, "superficial": -1, "essential": -1}
"""On which side of plain training a method is better; nothing for a share that is neither."""

BETTER, WORSE, LARGER, SMALLER = "better", "worse", "larger", "smaller"


def verdict(row: "Row", metric: str) -> str:
    """Whether a method is better or worse than plain training beyond the interval; of a share that is neither,
    whether it is larger or smaller. Nothing where no difference can be told.
    """
    change, better = row.changes[metric], _BETTER.get(metric, 0)
    if change is None or not change.clear:
        return ""
    if not better:
        return LARGER if change.value > 0 else SMALLER
    return BETTER if change.value * better > 0 else WORSE


def order_name(order: tuple[str, ...], usual: tuple[str, ...]) -> str:
    """``"reversed"``, or the tasks."""
    return "reversed" if order == usual[::-1] else ", ".join(order)
