"""What the model card says of methods side by side, and of the order of tasks."""

from typing import TYPE_CHECKING

from analysis.forgetting.methods.about import COMMON
from analysis.forgetting.methods.about import told as about
from analysis.forgetting.methods.sentence import orders, sentence
from analysis.forgetting.methods.terms import NAMES, count, order_name, points, seeds, value, verdict

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Methods, Row


def told(found: "Methods") -> str:
    """The section's Markdown, of any numbers."""
    parts = [
        "### Methods side by side",
        f"{COMMON} n = {sum(found.n)} items. Brackets: 95 % intervals, a bootstrap over items within tasks, of the "
        f"mean over seeds; *better*, *worse*, *larger*, *smaller*: than {found.plain}, where the interval of the "
        "difference over the same items and seeds leaves out zero and all seeds agree. With so many comparisons one in "
        "twenty would do so by chance. *Superficial* and *essential*: of what was right after its own task, the share "
        "lost in form alone and in fact.",
        _table(
            ["method", "seeds", *(f"{name}, {unit}" for name, unit, _ in NAMES.values())],
            [
                *([row.method, str(len(row.seeds)), *(_cell(row, m) for m in NAMES)] for row in found.rows),
                *(
                    [n, "reference", *(value(e) if m == "mfn" else "" for m in NAMES)]
                    for n, e in found.references.items()
                ),
            ],
        ),
        sentence(found),
    ]
    if several := [row for row in found.rows if len(row.seeds) > 1]:
        parts += ["The lowest and the highest seed:", _table(
            ["method", "seeds", *(name for name, _, _ in NAMES.values())],
            [[r.method, ", ".join(map(str, r.seeds)), *(seeds(r.estimates[m]) for m in NAMES)] for r in several],
        )]  # fmt: skip
    own = about({row.method: "" for row in found.rows})
    parts.append(_table(
        ["method", "what it does", "as trained here", "paper"],
        [[name, of.does, of.here, of.paper] for name, of in own.items()],
    ))  # fmt: skip
    return "\n\n".join([*parts, *_orders(found)])


def _cell(row: "Row", metric: str) -> str:
    return f"{value(row.estimates[metric])} {verdict(row, metric)}".strip()


def _orders(found: "Methods") -> list[str]:
    if not found.orders:
        return []
    names = list(found.orders[0].changes)
    rows = []
    for turned in found.orders:
        who = [turned.method, count(len(turned.seeds))]
        rows += [
            [*who, "usual", *(value(turned.before[m]) for m in names)],
            [*who, order_name(turned.order, found.order), *(value(turned.estimates[m]) for m in names)],
            [*who, "difference, points", *(points(turned.changes[m]) for m in names)],
        ]
    ends = []
    for turned in found.orders:
        usual, here = (
            [f"{100 * value:.0f} ({100 * low:.0f} to {100 * high:.0f})" for value, low, high in shares]
            for shares in (turned.usual, turned.here)
        )
        ends += [[turned.method, "usual", *usual], [turned.method, order_name(turned.order, found.order), *here]]
    return [
        "### The order of tasks",
        f"Usual: {', '.join(found.order)}. The same items and seeds in either order.",
        _table(["method", "", "order", *(f"{NAMES[m][0]}, {NAMES[m][1]}" for m in names)], rows),
        "Accuracy at the end, %, of the first seed:",
        _table(["method", "order", *(f"{t} (n = {n})" for t, n in zip(found.order, found.n, strict=True))], ends),
        orders(found),
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
