"""The tables of methods side by side: all metrics, either order of tasks, and what each method does."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from analysis.charts import SCROLL
from analysis.forgetting.methods.terms import (
    BETTER,
    LARGER,
    NAMES,
    SMALLER,
    WORSE,
    count,
    order_name,
    points,
    seeds,
    value,
    verdict,
)

if TYPE_CHECKING:
    from analysis.forgetting.methods.about import Told
    from analysis.forgetting.methods.measure import Methods, Row, Turned

_SIGNS = {BETTER: "▲", WORSE: "▼", LARGER: "●", SMALLER: "●"}


def metrics(found: "Methods | None") -> str:
    """All metrics of all methods, each explained on hover, with what seeds make of them."""
    if found is None:
        return ""
    head = "".join(f'<th scope="col" title="{escape(hint)}">{name}, {unit}</th>' for name, unit, hint in NAMES.values())
    body = "".join(
        f'<tr><th scope="row">{escape(row.method)}<br><small>{count(len(row.seeds))}</small></th>'
        f"{''.join(_cell(row, metric) for metric in NAMES)}</tr>"
        for row in found.rows
    )
    for name, estimate in found.references.items():
        cells = "".join(f"<td>{_stacked(value(estimate)) if metric == 'mfn' else ''}</td>" for metric in NAMES)
        body += f'<tr class="reference"><th scope="row">{escape(name)}<br><small>reference</small></th>{cells}</tr>'
    left = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.without.items())
    left = f'<p class="key">Not compared:</p><ul class="key">{left}</ul>' if left else ""
    return (
        f'<div class="card">{_table(f"<th></th>{head}", body)}'
        f'<p class="key">Brackets: 95 % intervals over items (n = {sum(found.n)}, drawn within tasks). ▲ better, ▼ '
        f"worse than {escape(found.plain)}, ● different from it: the interval of the difference over the same items "
        "leaves out zero, and all seeds agree. With so many comparisons one in twenty would do so by chance. Beneath: "
        f"the lowest and the highest seed.</p>{left}</div>"
    )


def _cell(row: "Row", metric: str) -> str:
    change, spread = row.changes[metric], seeds(row.estimates[metric])
    hint = "" if change is None else f' title="minus plain: {points(change)} points"'
    beneath = f"<br><small>seeds&nbsp;{_whole(spread)}</small>" if spread else ""
    return f"<td{hint}>{_stacked(value(row.estimates[metric]), _SIGNS.get(verdict(row, metric), ''))}{beneath}</td>"


def _stacked(told: str, sign: str = "") -> str:
    """A number with its sign, and its interval beneath, neither broken over lines."""
    number, _, interval = told.partition(" ")
    beneath = f"<br><small>{_whole(interval)}</small>" if interval else ""
    return f"{number}&nbsp;{sign}{beneath}" if sign else f"{number}{beneath}"


def _whole(text: str) -> str:
    return text.replace(" ", "&nbsp;")


def orders(found: "Methods | None") -> str:
    """The metrics in either order, and their paired difference."""
    if found is None or not found.orders:
        return ""
    names = list(found.orders[0].changes)
    head = "".join(f'<th scope="col" title="{escape(NAMES[m][2])}">{NAMES[m][0]}, {NAMES[m][1]}</th>' for m in names)
    body = "".join(_order_rows(found, turned, names) for turned in found.orders)
    return (
        f'<div class="card">{_table(f"<th></th><th>Order</th>{head}", body)}'
        f'<p class="key">Usual: {escape(", ".join(found.order))}. Differences are over the same items and seeds, other '
        "order minus usual; brackets are 95 % intervals over items.</p></div>"
    )


def _order_rows(found: "Methods", turned: "Turned", names: list[str]) -> str:
    head = f'<th scope="row">{escape(turned.method)}<br><small>{count(len(turned.seeds))}</small></th>'
    rows = (
        ("usual", [value(turned.before[m]) for m in names]),
        (order_name(turned.order, found.order), [value(turned.estimates[m]) for m in names]),
        ("difference, points", [points(turned.changes[m]) for m in names]),
    )
    return "".join(
        f"<tr>{head}<td>{escape(what)}</td>{''.join(f'<td>{_stacked(c)}</td>' for c in cells)}</tr>"
        for what, cells in rows
    )


def explained(methods: "Mapping[str, Told]") -> str:
    """What each method does, how it was trained here, and where it comes from."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}<br><small>{escape(of.title)}</small></th>'
        f"<td>{escape(of.does)}</td><td>{escape(of.here)}</td><td>{_paper(of.paper)}</td></tr>"
        for name, of in methods.items()
    )
    head = "<th></th><th>What it does</th><th>As trained here</th><th>Paper</th>"
    return f'<div class="card">{_table(head, body)}</div>'


def _paper(told: str) -> str:
    kind, _, number = told.partition(" ")
    if kind == "arXiv" and number:
        return f'<a href="https://arxiv.org/abs/{escape(number)}" target="_blank" rel="noopener">{escape(told)}</a>'
    return escape(told)


def _table(head: str, body: str) -> str:
    return f'{SCROLL}<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
