"""What the model card says of forgetting, task after task."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.forgetting import sets
from analysis.forgetting.figure import sentence
from analysis.forgetting.gap import card as gap
from analysis.forgetting.gap import courses
from analysis.forgetting.gap.curves import curve as fitted
from analysis.forgetting.gap.curves import in_tasks
from analysis.forgetting.matrix import evaluate
from analysis.forgetting.measure import Forgetting, measure
from analysis.forgetting.methods import about, runs
from analysis.forgetting.methods import figure as methods
from analysis.forgetting.methods.measure import Methods
from analysis.forgetting.methods.measure import measure as compare
from analysis.forgetting.parts import figure as parts
from analysis.forgetting.parts.measure import Parts, first_choice, measured
from analysis.forgetting.parts.weights import KeyOverlap, key_overlap
from analysis.forgetting.split import figure as kinds
from analysis.forgetting.split.measure import Split, labelled, read, split
from analysis.table import Head, Table
from analysis.wording import estimate, percent
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM

_PLAIN = "sequential"  # the set whose parts are told one by one


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Forgetting by every embedded set: the matrix of plain training, what was lost, methods side by side, and what
    happens inside a task. Measures what is not kept yet.
    """
    found, lost, every = {}, [], []
    for name, entry in ((name, entry) for name, entry in sets.offered().items() if catalog.embedded(entry.name)):
        model = opened(entry.name)
        answers = evaluate(model)
        lost.append(split(answers, model))
        found[name] = measure(answers, lost[-1])
        every += [runs.of(answers, lost[-1], name), *runs.load(entry.checkpoint_folder, name)]
    logged = [name for name in courses.courses()[0] if name in found]
    curves = [curve for name in logged for curve in courses.curves(name)]
    for name in logged:
        points = in_tasks(found[name].tasks, found[name].matrix[list(found[name].own)])
        curves.append(fitted(name, points, found[name].provenance))
    said = (
        told(next(iter(found.values()))), split_told(lost), methods_told(compare(every)),
        gap.told(courses.gaps(logged), curves),
    )
    return "\n\n".join(said)


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


def split_told(found: Sequence[Split]) -> str:
    """The section's Markdown, of any numbers; ``found`` are the splits of the methods, that of plain training first."""
    plain = found[0]
    forms = read(labelled())
    right = forms.n - len(forms.misread)
    return "\n\n".join(
        [
            "### Superficial or essential",
            "Of the answers that were right after their own task, at the last task's end: *superficial* are those in "
            "another form than asked whose true option is still the likeliest when asked as a choice (log-probability "
            "of its tokens, summed; of captions the mean), *essential* all other lost ones. *Corrected*: less what "
            "guessing among the options would put on top. *Back*: lost answers in another form that are right once the "
            "form is spelled out. Brackets are 95 % intervals (Wilson; a bootstrap for the corrected share); one "
            f"training seed. The style parser reads {right} of {forms.n} labelled answers as labelled.",
            kinds.numbers_table([replace(of.all, task=of.method) for of in found], "Method").markdown(),
            f"By task, {plain.method}:",
            kinds.numbers_table(plain.tasks, "Task").markdown(),
            kinds.sentence(plain),
        ]
    )


def methods_told(found: Methods) -> str:
    """Methods side by side and the order of tasks, of any numbers."""
    said = [
        "### Methods side by side",
        f"{about.COMMON} n = {sum(found.n)} items. Brackets: 95 % intervals, a bootstrap over items within tasks, of "
        f"the mean over seeds; *better*, *worse*, *larger*, *smaller*: than {found.plain}, where the interval of the "
        "difference over the same items and seeds leaves out zero and all seeds agree. With so many comparisons one in "
        "twenty would do so by chance. *Superficial* and *essential*: of what was right after its own task, the share "
        "lost in form alone and in fact.",
        found.metrics().markdown(),
        methods.sentence(found),
    ]
    if several := methods.seeds_table(found):
        said += ["The lowest and the highest seed:", several.markdown()]
    said.append(methods.about_table(about.told({row.method: "" for row in found.rows})).markdown())
    if found.orders:
        ends = []
        for turned in found.orders:
            ends.append([turned.method, "usual", *turned.usual])
            ends.append([turned.method, turned.named(found.order), *turned.here])
        heads = [Head(f"{task} (n = {n})", shares=True) for task, n in zip(found.order, found.n, strict=True)]
        said += [
            "### The order of tasks",
            f"Usual: {', '.join(found.order)}. The same items and seeds in either order.",
            methods.orders_table(found).markdown(),
            "Accuracy at the end, %, of the first seed:",
            Table(["Method", "Order", *heads], ends).markdown(),
            methods.orders_said(found),
        ]
    return "\n\n".join(said)


def parts_section() -> str:
    """The parts of plain sequential training, and how far key elements meet in every embedded set.

    Measures what is not kept yet.
    """
    overlaps, found = {}, None
    for method, entry in sets.offered().items():
        if catalog.embedded(entry.name):
            with catalog.using(entry.name) as model:
                overlaps[method] = key_overlap(model)
            if method == _PLAIN:
                *_, found = measured(first_choice(sets.manifest(method), method))
    return parts_told(found, overlaps)


def parts_told(found: Parts | None, overlaps: dict[str, KeyOverlap]) -> str:
    """The section's Markdown, of any numbers."""
    said = [
        "## Which part forgets",
        "*Movement*: |dW| / |W|, Frobenius norms. *Key elements*: the 2 % of each matrix that a task changed most "
        "since the checkpoint before it (RegLoRA, SEFE); *in common*: mean over matrices and pairs of tasks; *by "
        "chance*: what independent sets of these sizes would share (hypergeometric). *Put back*: one part of the older "
        "checkpoint in the newer one, change of the mean score with its paired 95 % interval; each interval is of one "
        "part.",
    ]
    if found is not None:
        said.append(parts.sentence(found))
        if (back := found.patching) is not None:
            heads = [f"{task}, points (n = {n})" for task, n, _ in back.told]
            titles = "everything", *(p.title for p in back.portions)
            columns = [
                [f"{estimate(r.change, sign=True)}, to {percent(r.score)}" for r in each] for _, _, each in back.told
            ]
            rows = list(zip(titles, *columns, strict=True))
            said.append(Table([f"put back from {back.donor} into {back.base}", *heads], rows).markdown())
    if overlaps:
        rows = []
        for method, keys in overlaps.items():
            each = [[of[0, i, j] for i, j in keys.pairs] for of in (keys.overlap, keys.expected)]
            above = f"{keys.above} of {len(keys.pairs)}"
            rows.append([method, *(float(np.nanmean(of)) for of in each), above, int(keys.matrices[0])])
        shares = [Head(name, unit="%", digits=1) for name in ("in common", "by chance")]
        said.append(Table(["checkpoint set", *shares, "pairs of tasks above chance", "matrices"], rows).markdown())
    return "\n\n".join(said)
