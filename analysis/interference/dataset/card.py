"""What the model card says of interference and its remedies."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.interference.dataset import shipped
from analysis.interference.dataset.conditions import KINDS, ORIGIN
from analysis.interference.dataset.measure import measure
from analysis.interference.dataset.result import Accuracies, Row, accuracies, titled
from analysis.interference.dataset.sentence import sentence
from analysis.table import Head, Table
from analysis.wording import estimate
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM

_HEADLINE = "misleading"  # the condition that segments are told for


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Interference on the shipped sets, of the base and of every checkpoint of ``opened(shipped.MITIGATION)``.

    Measures what is not kept yet.
    """
    model = opened(shipped.MITIGATION)
    sets = [shipped.items(kind) for kind in KINDS]
    return told(accuracies(tuple(measure(model, sets, model.checkpoint_names))))


def told(found: Accuracies) -> str:
    """The section's Markdown, of any numbers."""
    counts = ", ".join(f"{p.n} {p.kind}" for p in found.panels)
    parts = [
        "## Modality interference, and what training against it gives",
        f"Items: {counts} (`assets/embedded/interference`). Each is asked as it is and "
        "with one thing changed in the modality that should not matter; the answer is the likeliest of the item's "
        "options (log-probabilities of their tokens, summed), and the wrong option that a perturbation names is the "
        "same for every checkpoint. *Drop*: accuracy as asked minus accuracy under the perturbation; *flips*: share of "
        "items with another answer than as asked; *recovery*: the base's drop minus the checkpoint's; *clean change*: "
        "the checkpoint's accuracy as asked minus the base's. Brackets are 95 % intervals: Wilson for shares, paired "
        "bootstrap over items for differences; one training seed.",
    ]
    for place, panel in enumerate(found.panels):
        rows = [r for r in found.rows if r.panel == place and r.segment is None]
        parts += [f"### {panel.title} (n = {panel.n}): {panel.about}", _accuracy(rows), _changes(rows)]
        parts += [t for t in (_recovered(found, place), _segments(found, place)) if t]
    parts.append(sentence(found))
    return "\n\n".join(parts)


def _accuracy(rows: list[Row]) -> str:
    conditions = list(dict.fromkeys(r.condition for r in rows))
    at = {(r.checkpoint, r.condition): r.accuracy for r in rows}
    heads = [Head(titled(c).lower() + _fewer(rows, c), shares=True) for c in conditions]
    cells = [[name, *(at.get((name, c)) for c in conditions)] for name in _checkpoints(rows)]
    return Table(["accuracy, %", *heads], cells).markdown()


def _changes(rows: list[Row]) -> str:
    conditions = [c for c in dict.fromkeys(r.condition for r in rows) if c != ORIGIN]
    at = {(r.checkpoint, r.condition): f"{estimate(r.drop, 1)}; {estimate(r.flip)}" for r in rows if r.drop}
    cells = [[name, *(at.get((name, c)) for c in conditions)] for name in _checkpoints(rows)]
    return Table(["drop, points; flips, %", *(titled(c).lower() for c in conditions)], cells).markdown()


def _recovered(found: Accuracies, place: int) -> str:
    some = [c for c in found.compared if c.panel == place]
    conditions = list(dict.fromkeys(c.condition for c in some))
    at = {(c.checkpoint, c.condition): c.difference for c in some}
    names = ["clean change" if c == ORIGIN else f"recovery, {titled(c).lower()}" for c in conditions]
    rows = [[n, *(at[n, c] for c in conditions)] for n in dict.fromkeys(c.checkpoint for c in some)]
    heads = [Head(name, digits=1, sign=True, shares=True) for name in names]
    return Table(["points against the base", *heads], rows).markdown() if rows else ""


def _segments(found: Accuracies, place: int) -> str:
    """Accuracy as asked and under the headline condition for each segment of the items."""
    rows = [r for r in found.rows if r.panel == place and r.segment is not None and r.condition in (ORIGIN, _HEADLINE)]
    at = {(r.segment, r.checkpoint, r.condition): r.accuracy for r in rows}
    cells = []
    for segment in dict.fromkeys(r.segment for r in rows):
        for name in _checkpoints(rows):
            both = [at.get((segment, name, condition)) for condition in (ORIGIN, _HEADLINE)]
            cells.append([f"{segment} (n = {both[0].n})", name, *both])
    heads = [Head(titled(c).lower(), shares=True) for c in (ORIGIN, _HEADLINE)]
    told = Table(["items", "accuracy, %", *heads], cells).markdown()
    return told if any(r.condition == _HEADLINE for r in rows) else ""


def _checkpoints(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(r.checkpoint for r in rows))


def _fewer(rows: list[Row], condition: str) -> str:
    """How many items a condition could be made of, where it was not all."""
    counts = {r.n for r in rows if r.condition == condition}
    return f" (n = {min(counts)})" if min(counts) < max(r.n for r in rows) else ""
