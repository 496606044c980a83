"""The accuracy matrix as LaTeX: tables for a paper, in the style of the package booktabs."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from analysis.forgetting.figure import row_label
from analysis.forgetting.measure import SUMMARY

if TYPE_CHECKING:
    from analysis.forgetting.measure import Forgetting

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def escaped(text: str) -> str:
    """``text`` with what LaTeX would read as a command written out; lines and tabs become spaces."""
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


def latex(found: "Forgetting") -> str:
    """Two tables: every checkpoint's accuracy on every task, in %, with forgetting in points; and the summary numbers.

    Brackets are 95 % intervals. Whoever includes the file needs ``\\usepackage{booktabs}``.
    """
    by = found.provenance
    head = ["Checkpoint", *(f"{escaped(task)} ($n={n}$)" for task, n in zip(found.tasks, found.n, strict=True))]
    rows = [
        [escaped(row_label(found, i)), *map(_share, found.matrix[i], found.low[i], found.high[i])]
        for i in range(len(found.checkpoints))
    ]
    lost = ["forgetting", *map(_share, found.forgetting, found.forgetting_low, found.forgetting_high)]
    summary = [_share(getattr(found, name), *found.intervals[name]) for name in SUMMARY]
    return (
        "\n\n".join(
            [
                f"% Accuracy in %, forgetting and transfer in points; brackets: 95 % intervals over items.\n"
                f"% Set {escaped(found.method)}, model {escaped(by.model)}, {escaped(by.device)}, {escaped(by.dtype)}.",
                _table(head, [rows, [lost]]),
                _table([name.upper() for name in SUMMARY], [[summary]], "c"),
            ]
        )
        + "\n"
    )


def _share(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "--"
    return f"${100 * value:.1f}$ {{\\scriptsize $[{100 * low:.1f}, {100 * high:.1f}]$}}"


def _table(head: Sequence[str], parts: Iterable[Sequence[Sequence[str]]], first: str = "l") -> str:
    lines = [f"\\begin{{tabular}}{{{first}{'c' * (len(head) - 1)}}}", "\\toprule", _row(head)]
    for rows in parts:
        lines += ["\\midrule", *map(_row, rows)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
