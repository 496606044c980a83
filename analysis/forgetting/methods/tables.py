"""The tables of methods side by side: all metrics, either order of tasks, and what each method does."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from analysis.forgetting.methods.terms import NAMES, order_name, verdict
from analysis.table import Head, Html, Noted, Table
from analysis.wording import number

if TYPE_CHECKING:
    from analysis.forgetting.methods.about import Told
    from analysis.forgetting.methods.measure import Methods


def metrics_table(found: "Methods") -> Table:
    """All metrics of all methods, and whether they differ from plain training."""
    rows: list[list] = [
        [row.method, len(row.seeds), *(Noted(row.estimates[m], verdict(row, m)) for m in NAMES)] for row in found.rows
    ]
    marks = {len(rows) + i: "reference" for i in range(len(found.references))}
    rows += [[name, "reference", *(of if m == "mfn" else None for m in NAMES)] for name, of in found.references.items()]
    return Table(["Method", "Seeds", *NAMES.values()], rows, marks)


def seeds_table(found: "Methods") -> Table | None:
    """The lowest and the highest seed of methods that were trained more than once."""
    several = [row for row in found.rows if len(row.seeds) > 1]
    rows = [
        [row.method, ", ".join(map(str, row.seeds)), *(_span(row.estimates[m].seeds) for m in NAMES)] for row in several
    ]
    return Table(["Method", "Seeds", *(head.title for head in NAMES.values())], rows) if rows else None


def _span(seeds: tuple[float, ...]) -> str:
    return " to ".join(number(100 * end(seeds), 1) for end in (min, max))


def metrics(found: "Methods") -> str:
    """Both, each metric explained."""
    several = seeds_table(found)
    spread = f'<p class="key">The lowest and the highest seed:</p>{several.html()}' if several else ""
    left = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.without.items())
    left = f'<p class="key">Not compared:</p><ul class="key">{left}</ul>' if left else ""
    return (
        f'<div class="card">{metrics_table(found).html()}'
        f'<p class="key">Brackets: 95 % intervals over items (n = {sum(found.n)}, drawn within tasks). Better, worse, '
        f"larger or smaller than {escape(found.plain)}: the interval of the difference over the same items leaves out "
        "zero, and all seeds agree. With so many comparisons one in twenty would do so by chance.</p>"
        f"{spread}{left}</div>"
    )


def orders_table(found: "Methods") -> Table:
    """The metrics in either order, and their paired difference."""
    rows = []
    for turned in found.orders:
        who, names = [turned.method, len(turned.seeds)], list(turned.changes)
        rows += [
            [*who, "usual", *(turned.before[m] for m in names)],
            [*who, order_name(turned.order, found.order), *(turned.estimates[m] for m in names)],
            [*who, "difference, points", *(Noted(turned.changes[m], sign=True) for m in names)],
        ]
    return Table(["Method", "Seeds", "Order", *(NAMES[m] for m in found.orders[0].changes)], rows)


def orders(found: "Methods") -> str:
    """The same on the page."""
    if not found.orders:
        return ""
    return (
        f'<div class="card">{orders_table(found).html()}'
        f'<p class="key">Usual: {escape(", ".join(found.order))}. Differences are over the same items and seeds, other '
        "order minus usual; brackets are 95 % intervals over items.</p></div>"
    )


def about_table(methods: "Mapping[str, Told]") -> Table:
    """What each method does, how it was trained here, and where it comes from."""
    rows = [[Head(name, below=of.title), of.does, of.here, _paper(of.paper)] for name, of in methods.items()]
    return Table(["Method", "What it does", "As trained here", "Paper"], rows)


def explained(methods: "Mapping[str, Told]") -> str:
    """The same on the page."""
    return f'<div class="card">{about_table(methods).html()}</div>'


def _paper(told: str) -> Html:
    kind, _, number = told.partition(" ")
    if kind != "arXiv" or not number:
        return Html(escape(told), told)
    address = f"https://arxiv.org/abs/{escape(number)}"
    return Html(f'<a href="{address}" target="_blank" rel="noopener">{escape(told)}</a>', told)
