"""How metrics are called and written, the same in charts, tables and the card."""

from typing import TYPE_CHECKING

from analysis.table import Head

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Row

NAMES = {
    "bwt": Head(
        "Earlier tasks changed by (BWT)",
        "Backward transfer: accuracy at the end minus accuracy right after a task's own training; the mean over all "
        "tasks but the last. Negative is forgetting.",
        unit="points",
        digits=1,
    ),
    "mft": Head("Learnt (MFT)", "Mean fine-tune accuracy: each task right after its own training.", unit="%", digits=1),
    "mfn": Head("Kept in the end (MFN)", "Mean final accuracy: all tasks after the last one.", unit="%", digits=1),
    "maa": Head(
        "Mean on the way (MAA)",
        "Mean average accuracy: after each task the mean over the tasks so far; the mean of those.",
        unit="%",
        digits=1,
    ),
    "fwt": Head(
        "New tasks helped by (FWT)",
        "Forward transfer: accuracy on a task just before it is trained minus the base's; the mean over all tasks but "
        "the first.",
        unit="points",
        digits=1,
    ),
    "superficial": Head(
        "Lost in form (superficial)",
        "Of the items that were right after their own task: asked as a choice, the model still knows.",
        unit="% of right",
        digits=1,
    ),
    "essential": Head(
        "Lost in fact (essential)", "Of the items that were right after their own task.", unit="% of right", digits=1
    ),
    "superficial_of_lost": Head(
        "Form alone, of what was lost",
        "Of the items that were lost: the share lost in form alone. The rest is essential.",
        unit="%",
        digits=1,
    ),
}
"""Each metric as the head of a column, in plain words and as the field calls it."""

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
