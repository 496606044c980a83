"""How a split looks: bars, a flow from right then to now, tables, the items behind a part, and how the parser reads."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import NEUTRAL, RIGHT, SCROLL, SERIES, WRONG, empty, figure, ink_on, tint
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.forgetting.split.reading import Reading
    from analysis.forgetting.split.result import Became, Lost, Share, Split

COLOURS = {"kept": RIGHT, "superficial": SERIES[5], "essential": WRONG}
_MEANINGS = {
    "kept": "Right after its own task, and right now.",
    "superficial": "Wrong now and in another form than asked, but as a choice among options the true one is likeliest.",
    "essential": "Wrong now: in the asked form, or in another with the true option not the likeliest.",
}
_VERDICTS = {"kept": "✓ kept", "superficial": "◐ superficial", "essential": "✗ essential"}
_FLOW, _LABEL = 260, 42  # pixels: of all answers together, of a label of two lines
_BESIDE = (
    {"x": 0, "xanchor": "right", "xshift": -8, "align": "right"},
    {"x": 1, "xanchor": "left", "xshift": 8, "align": "left"},
)
_CSS = {"kept": "right", "superficial": "partly", "essential": "wrong"}


def bars(found: "Split | None", hint: str = "Kept, superficial and essential appear here") -> go.Figure:
    """For each task, what became of the answers that were right after it, in per cent of those; counts are written."""
    if found is None:
        return empty(hint)
    rows = [b for b in found.tasks if b.right]
    if not rows:
        return empty("No answer was right after its own task")
    places = list(range(len(rows)))
    traces = [
        go.Bar(
            x=[100 * b.parts[part].share for b in rows], y=places, name=part, orientation="h", marker={"color": colour},
            text=[str(b.parts[part].count or "") for b in rows], textposition="inside", insidetextanchor="middle",
            textfont={"color": ink_on(colour)}, customdata=[[escape(b.task), _told(b.parts[part])] for b in rows],
            hovertemplate=f"%{{customdata[0]}}, {part}: %{{customdata[1]}}<extra></extra>",
        )
        for part, colour in COLOURS.items()
    ]  # fmt: skip
    again = [i for i, b in enumerate(rows) if b.other_form]
    corrected = go.Scatter(
        x=[100 * (rows[i].kept.share + rows[i].known.share) for i in again], y=again, mode="markers",
        showlegend=False, cliponaxis=False,
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 3, "color": "#111"}},
        customdata=[_told(rows[i].known, "estimated ") for i in again],
        hovertemplate="superficial, corrected for guessing: %{customdata}<extra></extra>",
    )  # fmt: skip
    labels = [f"{escape(b.task)}<br>n = {b.right} of {b.n}" for b in rows]
    title = f"% of the n answers right<br>after their own task,<br>at {escape(found.checkpoint)}"
    if again:
        title += "<br>dark line: superficial,<br>corrected for guessing"
    return figure(
        190 + 52 * len(rows), *traces, corrected, barmode="stack", bargap=0.3,
        uniformtext={"minsize": 11, "mode": "hide"}, margin={"l": 8, "r": 20, "t": 40, "b": 8},
        xaxis={"title": title, "range": [0, 100], "zeroline": False},
        yaxis={"tickvals": places, "ticktext": labels, "autorange": "reversed", "showgrid": False},
        legend={"traceorder": "normal"},
    )  # fmt: skip


def _told(of: "Share", how: str = "") -> str:
    return f"{of.share:.0%} ({how}{of.count:.0f} of {of.of}; 95 %: {of.low:.0%} to {of.high:.0%})"


def flow(found: "Split | None") -> go.Figure:
    """A Sankey from each task's right answers to what they are now, lost ones by the form of the answer."""
    if found is None or not found.all.right:
        return empty("The way from right then to now appears here")
    links = Counter({(b.task, ("kept", "")): b.kept.count for b in found.tasks if b.kept.count})
    links.update((x.task, (x.verdict, x.form if x.options else "")) for x in found.lost)
    left = {b.task: b.right for b in found.tasks if b.right}
    right: Counter = Counter()
    for (_, end), count in links.items():
        right[end] += count
    ends = sorted(right, key=lambda end: (list(COLOURS).index(end[0]), end[1]))
    at = {place: i for i, place in enumerate([*left, *ends])}
    order = sorted(links, key=lambda link: (at[link[0]], at[link[1]]))
    centres = [_centres(list(left.values())), _centres([right[end] for end in ends])]
    high = max(bottom for _, bottom in centres)
    names = [f"{escape(task)}<br>{count}" for task, count in left.items()]
    names += [f"{_end(*end)}{right[end]}" for end in ends]
    y = [(centre + (high - bottom) / 2) / high for middles, bottom in centres for centre in middles]
    most = max(len(left), len(ends))
    sankey = go.Sankey(
        arrangement="fixed",
        node={
            "label": names, "thickness": 16, "line": {"width": 0}, "pad": (high - _FLOW) / max(most - 1, 1),
            "x": [0.01] * len(left) + [0.99] * len(ends), "y": y, "hovertemplate": "%{label}<extra></extra>",
            "color": [NEUTRAL] * len(left) + [COLOURS[part] for part, _ in ends],
        },
        link={
            "source": [at[task] for task, _ in order], "target": [at[end] for _, end in order],
            "value": [links[link] for link in order], "color": [tint(COLOURS[end[0]], 0.4) for _, end in order],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:.0f} answers<extra></extra>",
        },
        textfont={"color": "rgba(0,0,0,0)", "shadow": "none"},  # labels stand beside the flow, not on it
    )  # fmt: skip
    beside = {"xref": "paper", "yref": "paper", "showarrow": False}
    notes = [
        {**beside, "text": name, "y": 1 - y[i], "yanchor": "middle", **_BESIDE[i >= len(left)]}
        for i, name in enumerate(names)
    ]
    heads = ("<b>right then</b><br>(answers)", f"<b>at {escape(found.checkpoint)}</b><br>(answers)")
    notes += [
        {**beside, "text": head, "y": 1, "yanchor": "bottom", "yshift": 10, **side}
        for head, side in zip(heads, _BESIDE, strict=True)
    ]
    return figure(high + 76, sankey, annotations=notes, margin={"l": 96, "r": 136, "t": 60, "b": 16})


def _centres(counts: Sequence[int]) -> tuple[list[float], float]:
    """Where nodes of these sizes stand one below the other, each with room for its label, and how far down that goes;
    pixels."""
    rooms = [max(_FLOW * count / sum(counts) + 6, _LABEL) for count in counts]
    ends = list(accumulate(rooms))
    return [end - room / 2 for end, room in zip(ends, rooms, strict=True)], ends[-1]


def _end(part: str, form: str) -> str:
    if part == "kept":
        return f"{part}<br>"
    return f"{part}<br>as {escape(form)}: " if form else f"{part}<br>asked form: "


def table(found: "Split", chosen: tuple[str, str]) -> str:
    """Counts by task and part as buttons, ``data-pick`` ``"task number,part"`` (``-1`` for all); ``chosen`` is marked
    (task, part)."""
    head = "".join(
        f'<th scope="col" style="font-size: 0.8rem" title="{escape(_MEANINGS[p])}">{p}</th>' for p in COLOURS
    )
    numbered = [*enumerate(found.tasks), (-1, found.all)]
    body = "".join(
        f'<tr><th scope="row" style="width: 84px">{escape(_name(b))}<small>n = {b.right}</small></th>'
        + "".join(_button(i, b, part, chosen == (b.task, part)) for part in COLOURS)
        + "</tr>"
        for i, b in numbered
    )
    return (
        f'{SCROLL}<table class="matrix" style="min-width: 0"><thead><tr><th style="width: 84px"></th>'
        f'{head}</tr></thead><tbody>{body}</tbody></table></div><p class="key">Number of answers, by task (rows; n: '
        "right after its own training) and by what became of them. Choose one to see its answers.</p>"
    )


def _name(b: "Became") -> str:
    return "all tasks" if b.task == "all" else b.task


def _button(number: int, b: "Became", part: str, chosen: bool) -> str:
    of = b.parts[part]
    label = escape(f"{_name(b)}, {part}: {_told(of) if b.right else 'nothing was right'}")
    pressed = ' class="chosen" aria-pressed="true"' if chosen else ""
    shade = of.share if b.right else 0
    return (
        f'<td><button type="button" style="--a:{shade:.2f}" data-pick="{number},{part}"{pressed} '
        f'aria-label="{label}" title="{label}">{of.count}</button></td>'
    )


def numbers(found: "Split") -> str:
    """All numbers of a split as a table."""
    head = "".join(
        f'<th scope="col" title="{escape(why)}">{name}</th>'
        for name, why in (
            ("Right then", "Right after its own training, of all items."),
            *((f"{part.capitalize()}, %", why) for part, why in _MEANINGS.items()),
            ("Superficial, corrected, %", "Less what guessing among the options would put on top."),
            ("In another form", "Lost answers in another form than asked: those were asked again."),
            ("By luck", "How many of them a guess among the options would call superficial."),
            ("Back with form spelled out", "Of them, right when the question says which form is wanted."),
            ("Both tests agree", "True option on top and back, or neither."),
            ("Gained, %", "Right now, of the items that were wrong right after the task's training."),
        )
    )
    body = "".join(
        f'<tr><th scope="row">{escape(_name(b))}</th><td>{b.right} of {b.n}</td>'
        + "".join(f"<td>{_cell(of)}</td>" for of in (*b.parts.values(), b.known))
        + f"<td>{b.other_form}</td><td>{b.luck:.1f}</td><td>{b.agreement[:, 1].sum()}</td>"
        f"<td>{b.agreement.trace()} of {b.other_form}</td><td>{_cell(b.gained)}</td></tr>"
        for b in (*found.tasks, found.all)
    )
    return (
        f'{SCROLL}<table class="plain"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'
        '</div><p class="key">Brackets: 95 % intervals (Wilson; a bootstrap over items for the corrected share). A '
        "guess among k options puts the true one on top once in k; the correction takes that many away.</p>"
    )


def _cell(of: "Share") -> str:
    return f"{100 * of.share:.0f} <small>({100 * of.low:.0f} to {100 * of.high:.0f})</small>" if of.of else "–"


def items(shown: "Sequence[Lost]", uris: Sequence[str | None], where: str, first: int, total: int) -> str:
    """One page of the items behind a part: picture, question, truth, answers then and now, and when asked again."""
    if not shown:
        return f'<div class="card quiet">{escape(where)}: no answer here.</div>'
    cards = "".join(_card(x, uri) for x, uri in zip(shown, uris, strict=True))
    heading = f"{escape(where)}: {first + 1} to {first + len(shown)} of {total}"
    return f'<p class="key" aria-live="polite">{heading}</p><ul class="items">{cards}</ul>'


def _card(x: "Lost", uri: str | None) -> str:
    picture = f'<img src="{uri}" alt="">' if uri else '<div class="none">text only</div>'
    lines = [
        f"<p>{escape(x.question)}</p>",
        f"<p><small>truth</small> <b>{escape(x.truth)}</b> <small>({escape(x.style)})</small></p>",
        f"<p><small>then</small> {_said(x.then)}</p><p><small>now</small> {_said(x.now)}</p>",
    ]
    if x.options:
        others = ", ".join(map(escape, x.options[1:]))
        lines += [
            f"<p><small>as a choice</small> <b>{escape(x.top)}</b> <small>likeliest; the true one has "
            f"{percent(x.probability)} beside {others}</small></p>",
            f"<p><small>form spelled out</small> {_said(x.again)} <small>{'right' if x.back else 'wrong'}</small></p>",
        ]
    tag = f'<span class="kind">{escape(x.form)}</span> <span class="{_CSS[x.verdict]}">{_VERDICTS[x.verdict]}</span>'
    return f"<li>{picture}<div>{''.join(lines)}<p>{tag}</p></div></li>"


def _said(answer: str) -> str:
    return f"<b>{escape(answer)}</b>" if answer.strip() else "<i>nothing</i>"


def reading(of: "Reading") -> str:
    """How well the style parser reads labelled answers."""
    body = "".join(
        f'<tr><th scope="row">{escape(r.style)}</th><td>{r.recall.of}</td><td>{_cell(r.precision)}</td>'
        f"<td>{_cell(r.recall)}</td></tr>"
        for r in of.styles
    )
    wrong = "".join(
        f"<li><b>{escape(answer)}</b>: {escape(seen)}, labelled {escape(true)}</li>"
        for answer, true, seen in of.misread
    )
    return (
        f"<p class='key'>The style parser on {of.n} answers that were labelled by hand. Precision: of the answers read "
        "as a style, those that have it; recall: of those that have it, those read as it; 95 % intervals (Wilson).</p>"
        f'{SCROLL}<table class="plain"><thead><tr><th></th><th>n</th><th>Precision, %</th><th>Recall, %</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
        + (
            f"<details><summary>The {len(of.misread)} that it misreads</summary><ul>{wrong}</ul></details>"
            if wrong
            else ""
        )
    )
