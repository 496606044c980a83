"""What the model card says of forgetting, task after task."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analysis.forgetting import sets
from analysis.forgetting.figure import sentence
from analysis.forgetting.gap import figure as gap
from analysis.forgetting.gap import measure as gaps
from analysis.forgetting.measure import Forgetting, measure
from analysis.forgetting.methods import figure as methods
from analysis.forgetting.methods import measure as compared
from analysis.forgetting.methods import runs
from analysis.forgetting.parts import figure as parts
from analysis.forgetting.parts.measure import KeyOverlap, Parts, first_choice, key_overlap, measured
from analysis.forgetting.path import figure as path
from analysis.forgetting.path import measure as paths
from analysis.forgetting.path.measure import AVERAGE, SUM, Merged, Path
from analysis.forgetting.split import figure as kinds
from analysis.forgetting.split.measure import Split, labelled, read, split
from analysis.table import Head, Table
from analysis.wording import estimate, percent
from models import catalog
from models.mllm import MLLM

_PLAIN = "sequential"  # the set whose parts are told one by one


def section(opened: Callable[[str], MLLM] = catalog.open_model) -> str:
    """Forgetting by every embedded set: the matrix of plain training, what was lost, methods side by side, and what
    happens inside a task. Measures what is not kept yet."""
    found, lost, every = {}, [], []
    for name, entry in ((name, entry) for name, entry in sets.offered().items() if catalog.embedded(entry.name)):
        model = opened(entry.name)
        answers = sets.evaluate(model)
        lost.append(split(answers, model))
        found[name] = measure(answers, lost[-1])
        every += [runs.of(answers, lost[-1], name, more=sets.beside(model)), *runs.load(entry.checkpoint_folder, name)]
    logged = {name: course for name, course in gaps.courses()[0].items() if name in found}
    fits = [curve for name in logged for curve in gaps.curves(name)]
    for name in logged:
        points = gaps.in_tasks(found[name].tasks, found[name].matrix[list(found[name].own)])
        fits.append(gaps.curve(name, points, found[name].provenance))
    plain = next(iter(found))
    head = told(found[plain], sets.drawings(sets.manifest(plain)))
    said = head, split_told(lost), methods_told(compared.measure(every))
    return "\n\n".join([*said, gap_told(gaps.measure(list(logged.values())) if logged else None, fits)])


def told(plain: Forgetting, drawings: str) -> str:
    """The head of the section, of any numbers of plain training; ``drawings`` says what its items show."""
    return "\n\n".join([
        "## Forgetting: one task after another",
        f"Tasks in order: {', '.join(plain.tasks)}; new concepts, drawings in {drawings}. Accuracy "
        "in %: exact match in the asked form; boxes with an IoU above 0.5; captions by the F1 of the things they name. "
        "Brackets are 95 % intervals: of a cell Wilson's, of captions and of summary numbers a bootstrap over items; "
        "they cover the items, not the training.",
        f"### Accuracy matrix of {plain.method}",
        plain.matrix_table().markdown(),
        sentence(plain),
    ])


def split_told(found: Sequence[Split]) -> str:
    """The section's Markdown, of any numbers; ``found`` are the splits of the methods, that of plain training first."""
    plain, forms = found[0], read(labelled())
    return "\n\n".join([
        "### Superficial or essential",
        "Of the answers that were right after their own task, at the last task's end: *superficial* are those in "
        "another form than asked whose true option is still the likeliest when asked as a choice (log-probability of "
        "its tokens, summed; of captions the mean), *essential* all other lost ones. *Corrected*: less what guessing "
        "among the options would put on top. *Back*: lost answers in another form that are right once the form is "
        "spelled out. Brackets are 95 % intervals (Wilson; a bootstrap for the corrected share); one training seed. "
        f"The style parser reads {forms.n - len(forms.misread)} of {forms.n} labelled answers as labelled.",
        kinds.numbers_table([replace(of.all, task=of.method) for of in found], "Method").markdown(),
        f"By task, {plain.method}:",
        kinds.numbers_table(plain.tasks, "Task").markdown(),
        kinds.sentence(plain),
    ])


def methods_told(found: compared.Methods) -> str:
    """Methods side by side and the order of tasks, of any numbers."""
    made = compared.manifests()
    said = [
        "### Methods side by side",
        f"{compared.common(made)} Items: {methods.counts(found)}. Brackets: 95 % intervals, a bootstrap over items "
        f"within tasks, of the mean over seeds; *better*, *worse*, *larger*, *smaller*: than {found.plain}, where "
        f"{methods.rule(found)}. With so many comparisons one in twenty would do so by chance. *Superficial* and "
        "*essential*: of what was right after its own task, the share lost in form alone and in fact.",
        found.metrics().markdown(),
        methods.sentence(found),
    ]
    if several := methods.seeds_table(found):
        said += ["The lowest and the highest seed:", several.markdown()]
    made = {row.method: made[row.method] for row in found.rows if row.method in made}
    said.append(methods.about_table(compared.told(made)).markdown())
    if found.orders:
        ends = []
        for t in found.orders:
            ends += [[t.method, "usual", *t.usual], [t.method, t.named(found.order), *t.here]]
        heads = [Head(f"{task} (n = {n})", shares=True) for task, n in zip(found.order, found.n, strict=True)]
        said += [
            "### The order of tasks",
            f"Usual: {', '.join(found.order)}. The same items in either order; differences are of means over seeds.",
            methods.orders_table(found).markdown(),
            "Accuracy at the end, %, of the first seed of both:",
            Table(["Method", "Order", *heads], ends).markdown(),
            methods.orders_said(found),
        ]
    return "\n\n".join(said)


def gap_told(inside: gaps.Gaps | None, found: Sequence[gaps.ForgettingCurve]) -> str:
    """What the model card says of the stability gap and of forgetting curves, of any numbers; without a logged course
    it says so."""
    said = ["### Inside a task: the stability gap"]
    if inside is None:
        said.append("No course was logged.")
    else:
        first = inside.gaps[0].course
        said += [
            f"Continual evaluation (arXiv 2205.13452) during training, seed {first.seed}, n = {first.items} items a "
            f"task. {first.definition} All in %, drops in points. *min-ACC*: mean over old tasks of the lowest "
            "accuracy since learnt; *WC-ACC*: worst-case accuracy; *WF*: the largest drop within so many steps, mean "
            "over tasks; *dip*: level of the old tasks at a switch minus their lowest in the first "
            f"{percent(inside.first)} of the new task's steps; *comes back*: level at its end minus the lowest; both "
            "are means over switches. Clear: beyond a 95 % interval of the difference.",
            gap.numbers_table(inside).markdown(),
            gap.gaps_said(inside),
        ]
    if found:
        fits = [Head("AICc", digits=1), Head("R²", digits=2)]
        heads = [
            "method", "task", "time in", "n", "power law: a, b, c", *fits, "exponential: a, b, c", *fits,
            Head("AICc of no change", digits=1), "better",
        ]
        rows = []
        for f in found:
            laws = [
                cell for fit in (f.power, f.exponential)
                for cell in (", ".join(f"{p:.3g}" for p in fit.parameters), fit.aicc, fit.r2)
            ]
            better = f.better.law if f.better else "cannot be told" if f.falls else "no decay"
            rows.append([f.method, f.points.task, f.points.unit, f.n, *laws, f.flat.aicc, better])
        said += [
            "### Forgetting curves",
            "Accuracy since a task's own training (of all tasks together, the share kept of what each then had): "
            "a (1 + t)^-b + c and a exp(-b t) + c, a, b, c >= 0, least squares; lower AICc is better (Gaussian "
            "residuals), and below a difference of 2 it cannot be told. Points of one run depend on each other, so "
            "AICc makes somewhat too much of them.",
            Table(heads, rows).markdown(),
            " ".join(gap.curve_said(f) for f in found if f.points.together),
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


def path_section(opened: Callable[[str], MLLM] = catalog.open_model) -> str:
    """The line from the first task's checkpoint to the last's of the embedded default, and merges of all of them.

    Measures what is not kept yet.
    """
    model = opened(catalog.EMBEDDED)
    manifest = model.checkpoints.manifest
    names = [c.name for c in sets.trained(manifest).values()]
    a, b = paths.first_and_last(manifest)
    line = paths.measure(model, a, b, paths.tasks_of(manifest, a, b))
    return path_told(line, paths.measure_merges(model, [paths.preset(names, chosen) for chosen in (AVERAGE, SUM)]))


def path_told(line: Path, merged: Merged) -> str:
    """The section's Markdown, of any numbers."""
    heads: list[Head | str] = ["alpha"]
    for task in line.tasks:
        heads += [Head(f"accuracy, %, {task}", shares=True), Head(f"loss, nats, {task}", digits=2)]
    tasks = range(len(line.tasks))
    rows = [
        [f"{alpha:g}", *(of(t, i) for t in tasks for of in (line.scored, line.lost)), line.mean[i]]
        for i, alpha in enumerate(line.alpha)
    ]
    return "\n\n".join([
        "## The path between checkpoints",
        f"Weights (1 - alpha) W_first + alpha W_second of the checkpoints {line.a} and {line.b} (linear mode "
        f"connectivity, arXiv 1912.05671), asked n = {line.n} items of each task, drawn by seed; greedy answers. "
        "Loss: -log p of the true answer. A barrier is the loss above the straight line between the ends' losses "
        "(arXiv 2110.06296). Brackets are 95 % intervals over items; those of the barrier and of the best point hold "
        "for all points at once.",
        Table([*heads, Head("mean", unit="%")], rows).markdown(),
        path.path_said(line),
        "### Merged by weights",
        "Task arithmetic (arXiv 2212.04089): base + sum of weight x (checkpoint - base) over the checkpoints of all "
        f"tasks; *{AVERAGE}*: 1/{len(merged.tasks)} each, *{SUM}*: 1 each. n = {merged.n} items of each task; the last "
        "column is against the last checkpoint on the same items, in points.",
        path.merges(merged).markdown(),
        path.merged_said(merged),
    ])
