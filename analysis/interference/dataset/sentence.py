"""One plain reading of a data-set view, true whatever the numbers are."""

from typing import TYPE_CHECKING

from analysis.wording import listed, number, percent

if TYPE_CHECKING:
    from analysis.interference.dataset.result import Accuracies, Compared, Row
    from analysis.statistics import Estimate

_FEW = 30  # items: fewer are told to be few
_WHAT = {
    "unrelated": "An unrelated fact",
    "misleading": "A sentence that names a wrong answer",
    "contradiction": "A sentence that denies the right answer",
    "distraction": "An instruction for another task",
    "other-picture": "Another picture",
    "black": "A black picture",
    "white": "A white picture",
    "noise": "A picture of noise",
    "wrong-picture": "A picture of a wrong answer",
}
_FIRST = ("image-heavy", "misleading")  # of all that is measured, the case the reading begins with


def sentence(found: "Accuracies") -> str:
    """What the headline perturbation costs, what the best checkpoint gets back of it and costs, and what pictures do.

    The headline is misleading text on image-heavy items, or where that was not measured the largest drop. It is told
    of the first column's model, of its base where there is one. What was measured last is told first, alone.
    """
    said = _told(found)
    if found.newest is None or (new := _told(found.newest)) == said:
        return said
    return f"Measured now: {new} All that is shown: {said}"


def _told(found: "Accuracies") -> str:
    who = _who(found)
    rows = [r for r in found.rows if (r.model, r.checkpoint) == who and r.segment is None]
    disturbed = [r for r in rows if r.drop is not None]
    if not disturbed:
        told = [f"{percent(r.accuracy.value)} of {r.n} {r.kind} items ({_range(r.accuracy)})" for r in rows]
        return f"As asked, {_called(found, who)} answers {listed(told)} correctly; nothing was disturbed."
    head = next((r for r in disturbed if (r.kind, r.condition) == _FIRST), None)
    head = head or max(disturbed, key=lambda r: r.drop.value)
    parts = [_costs(found, head, rows)]
    if head.drop.low > 0:
        parts.append(_recovered(found, head))
    parts.append(_pictures(found, head, disturbed))
    few = min(r.n for r in disturbed)
    if few < _FEW:
        parts.append(f"With as few as {few} items these intervals say little.")
    return " ".join(p for p in parts if p)


def _who(found: "Accuracies") -> tuple[str, str]:
    model, checkpoint = found.columns[0]
    return (model, "base") if (model, "base") in found.columns else (model, checkpoint)


def _called(found: "Accuracies", column: tuple[str, str]) -> str:
    """A checkpoint in a sentence: with its model where there are several."""
    model, checkpoint = column
    name = "the base" if checkpoint == "base" else f"“{checkpoint}”"
    return name if len({m for m, _ in found.columns}) == 1 else f"{name} of {model}"


def _costs(found: "Accuracies", row: "Row", rows: list["Row"]) -> str:
    who, drop, what = _called(found, (row.model, row.checkpoint)), row.drop, _WHAT[row.condition]
    where = f"on {row.kind} items"
    before = next(r.accuracy.value for r in rows if r.panel == row.panel and r.drop is None)
    went = f"As asked {percent(before)} of {row.n} items are right, then {percent(row.accuracy.value)}."
    if drop.low > 0:
        return f"{what} costs {who} {_points(drop.value)} {where} ({_range(drop)}). {went}"
    if drop.high < 0:
        return f"{what} costs {who} nothing {where}: {_points(-drop.value)} more are right ({_range(-drop)}). {went}"
    if row.n < _FEW:
        told = f"{_signed(-drop.value)} points ({_range(drop)})"
        return f"{row.n} {row.kind} items cannot tell whether {what.lower()} matters to {who}: {told}. {went}"
    return f"{what} has no clear effect on {who} {where}: {_signed(-drop.value)} points ({_range(-drop)}). {went}"


def _recovered(found: "Accuracies", head: "Row") -> str:
    """Of the checkpoint that recovers most of a clear drop; empty where none was measured beside the base."""
    tried = [
        c for c in found.compared
        if (c.panel, c.model, c.condition, c.reference) == (head.panel, head.model, head.condition, head.checkpoint)
    ]  # fmt: skip
    if not tried:
        return ""
    best = max(tried, key=lambda c: c.difference.value)
    change, name = best.difference, f"“{best.checkpoint}”"
    of = f"of {len(tried)} checkpoints {name} gets most back" if len(tried) > 1 else f"{name} gets back"
    if change.low > 0:
        said = f"{of[0].upper()}{of[1:]}: {_points(change.value)} ({_range(change)})"
    elif change.high < 0:
        who = "No checkpoint gets any of it back" if len(tried) > 1 else f"{name} gets none of it back"
        least = f"the best, {name}, loses" if len(tried) > 1 else "it loses"
        lost = f"{_points(-change.value)} more ({_range(-change)})"
        said = f"{who}: {least} {lost}"
    else:
        who = "No checkpoint clearly gets it back" if len(tried) > 1 else f"{name} does not clearly get it back"
        best_of = f"the best, {name}, changes" if len(tried) > 1 else "it changes"
        said = f"{who}: {best_of} the drop by {_signed(-change.value)} points ({_range(-change)})"
    return f"{said}{_cost(found, best)}."


def _cost(found: "Accuracies", best: "Compared") -> str:
    """What the checkpoint costs on undisturbed multimodal items."""
    clean = next(
        (
            c.difference for c in found.compared
            if (c.kind, c.model, c.checkpoint) == ("multimodal", best.model, best.checkpoint) and c.title == "As asked"
        ),
        None,
    )  # fmt: skip
    if clean is None:
        return ""
    told = f"{_points(abs(clean.value))} on clean multimodal items"
    if clean.high < 0:
        return f"; it loses {told} ({_range(-clean)})"
    if clean.low > 0:
        return f"; it gains {told} ({_range(clean)})"
    return (
        f"; on clean multimodal items it neither clearly loses nor gains: {_signed(clean.value)} points "
        f"({_range(clean)})"
    )


def _pictures(found: "Accuracies", head: "Row", rows: list["Row"]) -> str:
    """What pictures do to text-heavy items; empty where the reading began with it, or it was not measured."""
    tried = [r for r in rows if r.kind == "text-heavy"]
    if not tried or head.kind == "text-heavy":
        return ""
    who = _called(found, (head.model, head.checkpoint))
    clear = [r for r in tried if r.drop.low > 0]
    worst = max(clear or tried, key=lambda r: r.drop.value)
    what = _WHAT[worst.condition].lower()
    amount = f"({_range(worst.drop)}; {worst.n} items)"
    if len(tried) == 1:
        has = f"costs {who} {_points(worst.drop.value)}" if clear else f"does not clearly cost {who} accuracy"
        told = "" if clear else f": the drop is {_signed(worst.drop.value)} points"
        return f"On text-heavy items {what} {has}{told} {amount}."
    if clear:
        return f"On text-heavy items, of {len(tried)} pictures {what} costs most: {_points(worst.drop.value)} {amount}."
    return (
        f"On text-heavy items none of {len(tried)} pictures clearly costs {who} accuracy; the largest drop is "
        f"{_signed(worst.drop.value)} points under {what} {amount}."
    )


def _points(share: float) -> str:
    value = _number(share)
    return f"{value} point{'' if value == '1' else 's'}"


def _number(share: float, sign: bool = False) -> str:
    """Percentage points, a decimal where a whole number would hide them."""
    return number(100 * share, int(abs(100 * share) < 2), sign).removesuffix(".0")


def _signed(share: float) -> str:
    return _number(share, sign=True)


def _range(of: "Estimate") -> str:
    return f"95 % {_number(of.low)} to {_number(of.high)}"


PREDICTED = ("plain", "heuristic", "adversarial", "consistent")
"""What ``outcome`` can be."""


def outcome(found: "Accuracies") -> str | None:
    """The remedy that gets most back of the drop by misleading text on image-heavy items; None where it is none of
    them, or nothing is clearly got back.
    """
    tried = [c for c in found.compared if (c.kind, c.condition) == _FIRST and c.checkpoint in PREDICTED]
    best = max(tried, key=lambda c: c.difference.value, default=None)
    return best.checkpoint if best and best.difference.low > 0 else None
