"""What the model card says of methods side by side, and of the order of tasks."""

from typing import TYPE_CHECKING

from analysis.forgetting.methods.about import COMMON
from analysis.forgetting.methods.about import told as about
from analysis.forgetting.methods.sentence import orders, sentence
from analysis.forgetting.methods.tables import about_table, metrics_table, orders_table, seeds_table
from analysis.forgetting.methods.terms import order_name
from analysis.table import Head, Table

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Methods


def told(found: "Methods") -> str:
    """The section's Markdown, of any numbers."""
    parts = [
        "### Methods side by side",
        f"{COMMON} n = {sum(found.n)} items. Brackets: 95 % intervals, a bootstrap over items within tasks, of the "
        f"mean over seeds; *better*, *worse*, *larger*, *smaller*: than {found.plain}, where the interval of the "
        "difference over the same items and seeds leaves out zero and all seeds agree. With so many comparisons one in "
        "twenty would do so by chance. *Superficial* and *essential*: of what was right after its own task, the share "
        "lost in form alone and in fact.",
        metrics_table(found).markdown(),
        sentence(found),
    ]
    if several := seeds_table(found):
        parts += ["The lowest and the highest seed:", several.markdown()]
    parts.append(about_table(about({row.method: "" for row in found.rows})).markdown())
    return "\n\n".join([*parts, *_orders(found)])


def _orders(found: "Methods") -> list[str]:
    if not found.orders:
        return []
    ends = []
    for turned in found.orders:
        ends += [
            [turned.method, "usual", *turned.usual],
            [turned.method, order_name(turned.order, found.order), *turned.here],
        ]
    heads = [Head(f"{task} (n = {n})", shares=True) for task, n in zip(found.order, found.n, strict=True)]
    return [
        "### The order of tasks",
        f"Usual: {', '.join(found.order)}. The same items and seeds in either order.",
        orders_table(found).markdown(),
        "Accuracy at the end, %, of the first seed:",
        Table(["Method", "Order", *heads], ends).markdown(),
        orders(found),
    ]
