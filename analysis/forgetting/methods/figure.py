"""How methods look side by side, and what they say: a metric with intervals, what another order of tasks changes, all
numbers in tables, and in plain words which forget less than plain training and what it costs."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis import charts
from analysis.charts import IMAGE, NEUTRAL, RIGHT, TEXT, WRONG, figure, reach
from analysis.forgetting.terms import BETTER, LARGER, NAMES, SAYS, SMALLER, WORSE
from analysis.table import Head, Html, Noted, Table
from analysis.wording import change, estimate, listed, number, percent, plural, points, share

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Methods, Row, Told, Turned

_ERRORS = {"thickness": 2, "width": 4}
_COLOURS = {BETTER: RIGHT, WORSE: WRONG, LARGER: IMAGE, SMALLER: IMAGE}
_ROW = 22  # pixels: ten methods stay below 360


def dots(found: "Methods", metric: str) -> go.Figure | None:
    """One metric of every method with its 95 % interval; small marks are seeds, the dotted line is plain training, in a
    band from its lowest to its highest seed."""
    rows = [row for row in found.rows if metric in row.estimates and row.estimates[metric].known]
    if not rows:
        return None
    name, told = NAMES[metric], []
    estimates = [row.estimates[metric] for row in rows]
    for row, of in zip(rows, estimates, strict=True):
        told.append(f"{escape(row.method)}, {name.title}: {estimate(of, 1)} {name.unit}")
        if (against := row.changes[metric]) is not None:
            told[-1] += f"<br>minus plain: {estimate(against, 1, sign=True)} points, {_seeds(row, found)}"
    marks = {"mode": "markers", "showlegend": False, "cliponaxis": False}
    means = go.Scatter(
        x=[100 * e.value for e in estimates], y=list(range(len(rows))), **marks,
        marker={"size": 11, "color": [_COLOURS.get(row.verdict(metric), NEUTRAL) for row in rows]},
        error_x={**reach(estimates), **_ERRORS, "color": NEUTRAL}, text=told, hovertemplate="%{text}<extra></extra>",
    )
    several = [(i, v) for i, e in enumerate(estimates) if len(e.seeds) > 1 for v in e.seeds]
    single = go.Scatter(
        x=[100 * v for _, v in several], y=[i + 0.34 for i, _ in several], **marks,
        marker={"size": 7, "symbol": "line-ns-open", "color": NEUTRAL, "line": {"width": 2}},
        hovertemplate="one seed: %{x:.1f}<extra></extra>",
    )
    beside = {r.method: r.estimates[metric].value for r in rows if r.method == found.plain}
    beside |= {n: e.value for n, e in found.references.items()} if metric == "mfn" else {}
    lines, notes = [], []
    for row in (row for row in rows if row.method == found.plain):
        ends = {"x0": 100 * min(row.estimates[metric].seeds), "x1": 100 * max(row.estimates[metric].seeds)}
        band = {"fillcolor": charts.tint(NEUTRAL, 0.15), "line": {"width": 0}, "layer": "below"}
        lines.append({"type": "rect", **ends, "y0": -0.6, "y1": len(rows) - 0.4, **band})
    for place, (label, at) in enumerate(beside.items()):
        dash = {"dash": "dot" if label == found.plain else "dash", "width": 1.5, "color": NEUTRAL}
        lines.append({"type": "line", "x0": 100 * at, "x1": 100 * at, "y0": -0.6, "y1": len(rows) - 0.4, "line": dash})
        notes.append({
            "x": 100 * at, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": escape(label),
            "yshift": 14 * (place % 2), "font": {"size": 12},
        })
    runs = {len(r.seeds) for r in rows}
    each = ["" if len(runs) == 1 else f" ({plural(len(r.seeds), 'seed')})" for r in rows]
    of = plural(runs.pop(), "run") if len(runs) == 1 else "the runs"
    title = [*wrap(name.text, 30), f"mean of {of}, n = {found.counted(metric)} items"]  # in lines that fit a phone
    methods = charts.rows((r.method + of for r, of in zip(rows, each, strict=True)), 0.6, 0.6, showgrid=True)
    return figure(
        136 + _ROW * len(rows), means, single, shapes=lines, annotations=notes, margin={"r": 24, "t": 34},
        xaxis={"title": "<br>".join(title), "zeroline": False}, yaxis=methods,
    )


def orders(found: "Methods", method: str | None = None) -> go.Figure | None:
    """Accuracy at the end of every task in the usual order and in another one, with 95 % intervals."""
    turned = next((t for t in found.orders if t.method == (method or t.method)), None)
    if turned is None:
        return None
    traces = [
        go.Scatter(
            x=[100 * e.value for e in ends], y=[p + shift for p in range(len(ends))], mode="markers", name=name,
            marker={"size": 12, "symbol": symbol, "color": colour}, cliponaxis=False,
            error_x={**reach(ends), **_ERRORS, "color": colour},
            text=[f"{escape(task)}, {name}: {share(e)}" for task, e in zip(found.order, ends, strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )
        for name, ends, shift, symbol, colour in (
            (f"usual: {found.order[0]} first", turned.usual, -0.14, "circle", IMAGE),
            (f"{turned.named(found.order)}: {turned.order[0]} first", turned.here, 0.14, "diamond", TEXT),
        )
    ]
    title = f"Accuracy at the end, %, {escape(turned.method)}, seed {turned.seeds[0]}"
    tasks = charts.rows((f"{t} (n = {n})" for t, n in zip(found.order, found.n, strict=True)), showgrid=True)
    return figure(
        130 + 34 * len(found.order), *traces, margin={"r": 24, "t": 64}, xaxis={"title": title, "range": [-2, 102]},
        yaxis=tasks,
    )


def seeds_table(found: "Methods") -> Table | None:
    """The lowest and the highest seed of methods that were trained more than once."""
    several = [row for row in found.rows if len(row.seeds) > 1]
    rows = []
    for r in several:
        each = [[number(100 * end(r.estimates[m].seeds), 1) for end in (min, max)] for m in found.shown]
        rows.append([r.method, ", ".join(map(str, r.seeds)), *map(" to ".join, each)])
    return Table(["Method", "Seeds", *(NAMES[m].title for m in found.shown)], rows) if rows else None


def numbers(found: "Methods") -> str:
    """All metrics, each explained, and the seeds."""
    several = seeds_table(found)
    spread = f'<p class="key">The lowest and the highest seed:</p>{several.html()}' if several else ""
    left = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.without.items())
    left = f'<p class="key">Not compared:</p><ul class="key">{left}</ul>' if left else ""
    return (
        f'<div class="card">{found.metrics().html()}'
        f'<p class="key">Brackets: 95 % intervals over items, drawn within tasks; {escape(counts(found))}. Better, '
        f"worse, larger or smaller than {escape(found.plain)}: {escape(rule(found))}. With so many comparisons one in "
        f"twenty would do so by chance.</p>{spread}{left}</div>"
    )


def counts(found: "Methods") -> str:
    """How many items each metric is of."""
    by = {}
    for metric in found.shown:
        by.setdefault(found.counted(metric), []).append(NAMES[metric].title)
    return "; ".join(f"n = {n} for {listed(names)}" for n, names in by.items())


def rule(found: "Methods") -> str:
    """When a method is told apart from plain training, in words."""
    items = "the interval of the difference over the same items leaves out zero"
    if all(len(row.seeds) == 1 for row in found.rows):
        return items
    return f"{items}, and every seed of the method lies beyond every seed of {found.plain}"


def _seeds(of: "Row | Turned", found: "Methods", against: str = "") -> str:
    """Of how many seeds its difference to a method (to plain training) is."""
    other = next(row for row in found.rows if row.method == (against or found.plain))
    return f"{plural(len(of.seeds), 'seed')} against {len(other.seeds)}"


def orders_table(found: "Methods") -> Table:
    """The metrics in either order, and their paired difference."""
    rows = []
    for turned in found.orders:
        who, names = turned.method, list(turned.changes)
        differs = [Noted(turned.changes[m], sign=True) for m in names]
        rows += [
            [who, len(turned.before[names[0]].seeds), "usual", *(turned.before[m] for m in names)],
            [who, len(turned.seeds), turned.named(found.order), *(turned.estimates[m] for m in names)],
            [who, _seeds(turned, found, who), "difference, points", *differs],
        ]
    return Table(["Method", "Seeds", "Order", *(NAMES[m] for m in found.orders[0].changes)], rows)


def orders_numbers(found: "Methods") -> str:
    """The same on the page."""
    if not found.orders:
        return ""
    return (
        f'<div class="card">{orders_table(found).html()}'
        f'<p class="key">Usual: {escape(", ".join(found.order))}. Differences are over the same items, other order '
        "minus usual, of the means over seeds; brackets are 95 % intervals over items.</p></div>"
    )


def about_table(methods: "Mapping[str, Told]") -> Table:
    """What each method does, how it was trained here, and where it comes from."""
    rows = []
    for name, of in methods.items():
        kind, _, number = of.paper.partition(" ")
        paper = escape(of.paper)
        if kind == "arXiv" and number:
            paper = f'<a href="https://arxiv.org/abs/{escape(number)}" target="_blank" rel="noopener">{paper}</a>'
        rows.append([Head(name, below=of.title), of.does, of.here, Html(paper, of.paper)])
    return Table(["Method", "What it does", "As trained here", "Paper"], rows)


def sentence(found: "Methods", metric: str = "bwt") -> str:
    """Which methods differ from plain training in a metric; of forgetting (BWT) also the price (MFT) and who knows
    more in the end (MFN)."""
    plain = next(row for row in found.rows if row.method == found.plain)
    at = plain.estimates
    if math.isnan(at["bwt"].value):
        return "A set of one task has nothing to forget, so there is nothing to compare."
    alone = (
        f"{found.plain.capitalize()} training reaches {percent(at['mft'].value)} right after each task (MFT) and "
        f"keeps {percent(at['mfn'].value)} in the end (MFN): later tasks change earlier ones by "
        f"{points(at['bwt'].value)} (BWT; mean of {plural(len(plain.seeds), 'training run')}, {at['bwt'].n} items)."
    )
    compared = [row for row in found.rows if row is not plain]
    others = [row for row in compared if row.changes[metric].known]
    if not compared:
        return f"{alone} No other method was measured on the same questions, so there is nothing to compare."

    def by(rows: "Sequence[Row]") -> str:
        return listed([f"{row.method} by {change(row.changes[metric])}" for row in rows])

    more, less = SAYS[metric]
    first, second = _apart(others, metric)
    if second and not first and second[0].verdict(metric) == SMALLER:  # neither is better: what is found comes first
        more, less, first, second = less, more, second, first
    same = [row.method for row in others if row not in first and row not in second]
    than = f"than {found.plain} training"
    said = [f"{NAMES[metric].title}: no difference can be told between {found.plain} training and the others.", alone]
    if second:
        said[0] = f"No method can be told to {more} {than}; {len(second)} {less}."
    if first:
        one = ", of one seed" if len(first[0].seeds) == 1 else ""
        said[0] = (
            f"{len(first)} of {plural(len(others), 'method')} {more} {than}, most of all {first[0].method}: "
            f"{change(first[0].changes[metric])}{one}."
        )
        said.append(f"These {more}: {by(first)}.")
    if second:
        said.append(f"These {less}: {by(second)}.")
    if same:
        said.append(f"No difference can be told for {listed(same)}.")
    if unknown := [row.method for row in compared if row not in others]:
        said.append(f"Not measured of {listed(unknown)}, or not of {found.plain} training.")
    if metric == "bwt":
        paid, (better, worse) = _apart(first, "mft")[1], _apart(others, "mfn")
        free = [row.method for row in first if row not in paid]
        said += [f"The price is in learning (MFT): {_told(paid, 'mft', '{} {}')}."] if paid else []
        said += [f"No price in MFT can be told for {listed(free)}."] if free else []
        ends = [f"these know more than plain training: {_told(better, 'mfn', '{} ({})')}"] if better else []
        ends += [f"these know less: {_told(worse, 'mfn', '{} ({})')}"] if worse else []
        end = f", {'; '.join(ends)}" if ends else ": none knows clearly more or less than plain training"
        said.append(f"In the end, of all tasks (MFN){end}.")
    if "base_kept" in found.before:
        told = [f"{r.method} {percent(e.value)}" for r in found.rows if (e := r.estimates["base_kept"]).known]
        said.append(f"Of what the base knew, {percent(found.before['base_kept'].value)} right, keep: {listed(told)}.")
    said.append(f"A difference is told where {rule(found)}.")
    several = [row for row in found.rows if len(row.seeds) > 1 and row.estimates[metric].known]
    if several:
        widest = max(several, key=lambda row: np.ptp(row.estimates[metric].seeds))
        single = [row.method for row in found.rows if len(row.seeds) == 1]
        apart = points(np.ptp(widest.estimates[metric].seeds), 1, False)
        said.append(
            f"Intervals are over items; seeds differ by up to {apart} ({widest.method}, {len(widest.seeds)} seeds)"
            f"{f'; one seed alone for {listed(single)}' if single else ''}."
        )
    else:
        said.append("One seed each: what another seed would change is not in these intervals.")
    if found.without:
        said.append(f"Not compared, for reasons below all numbers: {listed(list(found.without))}.")
    return " ".join(said)


def _apart(rows: "Sequence[Row]", metric: str) -> "tuple[list[Row], list[Row]]":
    """Those that ``SAYS`` calls by its first words beside plain training, and by its second, the farthest first."""
    far = sorted(rows, key=lambda row: -abs(row.changes[metric].value))
    return tuple([row for row in far if row.verdict(metric) in of] for of in ((BETTER, LARGER), (WORSE, SMALLER)))


def _told(rows: "Sequence[Row]", metric: str, form: str) -> str:
    return listed([form.format(row.method, points(row.changes[metric].value)) for row in rows])


def orders_said(found: "Methods") -> str:
    """How much the order of tasks matters, by method."""
    if not found.orders:
        return "No method was trained in another order of tasks, so what the order changes is not known."
    said = []
    for turned in found.orders:
        of, seeds = turned.changes["mfn"], _seeds(turned, found, turned.method)
        clearly = "changes" if of.clear else "does not clearly change"
        how = "The reversed order" if turned.order == found.order[::-1] else f"The order {', '.join(turned.order)}"
        said.append(f"{how} {clearly} how much {turned.method} knows in the end: {change(of)}, {seeds}.")
        clear = [i for i, end in enumerate(turned.ends) if end.clear]
        if not clear:
            said.append(f"In seed {turned.seeds[0]} no single task ends clearly higher or lower.")
            continue
        most = max(clear, key=lambda i: abs(turned.ends[i].value))
        said.append(
            f"In seed {turned.seeds[0]}, {len(clear)} of {len(found.order)} tasks end clearly higher or lower, most "
            f"{found.order[most]}: "
            f"{percent(turned.usual[most].value)} → {percent(turned.here[most].value)}."
        )
    return " ".join(said)
