"""What the model card says of forgetting, task after task."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.forgetting import sets
from analysis.forgetting.gap import card as gap
from analysis.forgetting.gap import courses
from analysis.forgetting.gap.curves import curve as fitted
from analysis.forgetting.gap.curves import in_tasks
from analysis.forgetting.matrix import evaluate
from analysis.forgetting.measure import Forgetting, measure
from analysis.forgetting.methods import card as methods
from analysis.forgetting.methods import run
from analysis.forgetting.methods.measure import measure as compare
from analysis.forgetting.sentence import sentence
from analysis.forgetting.split import card as kinds
from analysis.forgetting.split.measure import split
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Forgetting by every embedded set: the matrix of plain training, what was lost, methods side by side, and what
    happens inside a task. Measures what is not kept yet.
    """
    found, lost, runs = {}, [], []
    for name, entry in ((name, entry) for name, entry in sets.offered().items() if catalog.embedded(entry.name)):
        model = opened(entry.name)
        answers = evaluate(model)
        lost.append(split(answers, model))
        found[name] = measure(answers, lost[-1])
        runs += [run.of(answers, lost[-1], name), *run.load(entry.checkpoint_folder, name)]
    logged = [name for name in courses.courses()[0] if name in found]
    curves = [curve for name in logged for curve in courses.curves(name)]
    for name in logged:
        points = in_tasks(found[name].tasks, found[name].matrix[list(found[name].own)])
        curves.append(fitted(name, points, found[name].provenance))
    parts = (
        told(next(iter(found.values()))), kinds.told(lost), methods.told(compare(runs)),
        gap.told(courses.gaps(logged), curves),
    )  # fmt: skip
    return "\n\n".join(parts)


def told(plain: Forgetting) -> str:
    """The head of the section, of any numbers of plain training."""
    return "\n\n".join(
        [
            "## Forgetting: one task after another",
            f"Tasks in order: {', '.join(plain.tasks)}; new concepts, drawings in a style never seen in training. "
            "Accuracy in %: exact match in the asked form; boxes with an IoU above 0.5; captions by the F1 of the "
            "things they name. Brackets are 95 % intervals: of a cell Wilson's, of captions and of summary numbers a "
            "bootstrap over items; they cover the items, not the training.",
            f"### Accuracy matrix of {plain.method}",
            plain.matrix_table().markdown(),
            sentence(plain),
        ]
    )
