"""What the model card says of the stability gap and of forgetting curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.forgetting.gap import sentence
from analysis.forgetting.gap.figure import numbers_table
from analysis.table import Head, Table
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.forgetting.gap.curves import Fit, ForgettingCurve
    from analysis.forgetting.gap.measure import Gaps


def told(gaps: "Gaps | None", curves: "Sequence[ForgettingCurve]") -> str:
    """The section's Markdown, of any numbers; without a logged course it says so."""
    parts = ["### Inside a task: the stability gap"]
    parts += ["No course was logged."] if gaps is None else _gaps(gaps)
    return "\n\n".join([*parts, *_curves(curves)])


def _gaps(found: "Gaps") -> list[str]:
    first = found.gaps[0].course
    return [
        f"Continual evaluation (arXiv 2205.13452) during training, seed {first.seed}, n = {first.items} items a task. "
        f"{first.definition} All in %, drops in points. *min-ACC*: mean over old tasks of the lowest accuracy since "
        "learnt; *WC-ACC*: worst-case accuracy; *WF*: the largest drop within so many steps, mean over tasks; *dip*: "
        f"level of the old tasks at a switch minus their lowest in the first {percent(found.first)} of the new task's "
        "steps; *comes back*: level at its end minus the lowest; both are means over switches. Clear: beyond a 95 % "
        "interval of the difference.",
        numbers_table(found).markdown(),
        sentence.gaps(found),
    ]


def _curves(found: "Sequence[ForgettingCurve]") -> list[str]:
    if not found:
        return []
    fits = [Head("AICc", digits=1), Head("R²", digits=2)]
    heads = [
        "method", "task", "time in", "n", "power law: a, b, c", *fits, "exponential: a, b, c", *fits,
        Head("AICc of no change", digits=1), "better",
    ]  # fmt: skip
    rows = [
        [
            f.method, f.points.task, f.points.unit, f.n, *_fit(f.power), *_fit(f.exponential), f.flat.aicc,
            f.better.law if f.better else "cannot be told" if f.falls else "no decay",
        ] for f in found
    ]  # fmt: skip
    return [
        "### Forgetting curves",
        "Accuracy since a task's own training (of all tasks together, the share kept of what each then had): "
        "a (1 + t)^-b + c and a exp(-b t) + c, a, b, c >= 0, least squares; lower AICc is better (Gaussian residuals), "
        "and below a difference of 2 it cannot be told. Points of one run depend on each other, so AICc makes somewhat "
        "too much of them.",
        Table(heads, rows).markdown(),
        " ".join(sentence.curve(f) for f in found if f.points.together),
    ]


def _fit(fit: "Fit") -> list:
    return [", ".join(f"{p:.3g}" for p in fit.parameters), fit.aicc, fit.r2]
