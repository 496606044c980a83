"""How a split looks: bars, a flow from right then to now, tables, the items behind a part, and how the parser reads."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import NEUTRAL, figure, ink_on, tint
from analysis.forgetting.figure import CARDS, FATES, MEANS, button, card, listing
from analysis.table import SCROLL, Head, Table
from analysis.wording import percent, share

if TYPE_CHECKING:
    from analysis.forgetting.split.reading import Reading
    from analysis.forgetting.split.result import Became, Lost, Split

_VERDICTS = {"kept": "✓ kept", "superficial": "◐ superficial", "essential": "✗ essential"}
_FLOW, _LABEL = 260, 42  # pixels: of all answers together, of a label of two lines
_BESIDE = (
    {"x": 0, "xanchor": "right", "xshift": -8, "align": "right"},
    {"x": 1, "xanchor": "left", "xshift": 8, "align": "left"},
)
_CSS = {"kept": "right", "superficial": "partly", "essential": "wrong"}


def bars(found: "Split") -> go.Figure | None:
    """For each task, what became of the answers that were right after it, in per cent of those; counts are written."""
    rows = [b for b in found.tasks if b.right]
    if not rows:
        return None
    places = list(range(len(rows)))
    traces = [
        go.Bar(
            x=[100 * b.parts[part].value for b in rows],
            y=places,
            name=part,
            orientation="h",
            marker={"color": colour},
            text=[str(b.parts[part].count or "") for b in rows],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"color": ink_on(colour)},
            customdata=[[escape(b.task), share(b.parts[part])] for b in rows],
            hovertemplate=f"%{{customdata[0]}}, {part}: %{{customdata[1]}}<extra></extra>",
        )
        for part, colour in FATES.items()
    ]
    again = [i for i, b in enumerate(rows) if b.other_form]
    corrected = go.Scatter(
        x=[100 * (rows[i].kept.value + rows[i].known.value) for i in again],
        y=again,
        mode="markers",
        showlegend=False,
        cliponaxis=False,
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 3, "color": "#111"}},
        customdata=[share(rows[i].known) for i in again],
        hovertemplate="superficial, corrected for guessing: %{customdata}<extra></extra>",
    )
    title = f"% of the n answers right after their own task, at {escape(found.checkpoint)}"
    if again:
        title += "<br>dark line: superficial, corrected for guessing"
    return figure(
        120 + 36 * len(rows),
        *traces,
        corrected,
        barmode="stack",
        bargap=0.3,
        uniformtext={"minsize": 11, "mode": "hide"},
        margin={"l": 8, "r": 20, "t": 36, "b": 8},
        xaxis={"title": title, "range": [0, 100], "zeroline": False},
        yaxis={
            "tickvals": places,
            "ticktext": [f"{escape(b.task)} (n = {b.right})" for b in rows],
            "autorange": "reversed",
            "showgrid": False,
        },
        legend={"traceorder": "normal"},
    )


def flow(found: "Split") -> go.Figure | None:
    """A Sankey from each task's right answers to what they are now, lost ones by the form of the answer."""
    if not found.all.right:
        return None
    links = Counter({(b.task, ("kept", "")): b.kept.count for b in found.tasks if b.kept.count})
    links.update((x.task, (x.verdict, x.form if x.options else "")) for x in found.lost)
    left = {b.task: b.right for b in found.tasks if b.right}
    right: Counter = Counter()
    for (_, end), count in links.items():
        right[end] += count
    ends = sorted(right, key=lambda end: (list(FATES).index(end[0]), end[1]))
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
            "color": [NEUTRAL] * len(left) + [FATES[part] for part, _ in ends],
        },
        link={
            "source": [at[task] for task, _ in order], "target": [at[end] for _, end in order],
            "value": [links[link] for link in order], "color": [tint(FATES[end[0]], 0.4) for _, end in order],
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
    """For each task a bar of what became of right answers, and the counts as buttons that choose ``task`` and ``part``;
    ``chosen`` is marked.
    """
    heads = "".join(f'<th scope="col"><i style="background:{colour}"></i>{part}</th>' for part, colour in FATES.items())
    body = "".join(
        f'<tr><th scope="row">{escape(_name(b))}<small>n = {b.right}</small></th><td>{_bar(b)}</td>'
        + "".join(_button(b, part, chosen == (b.task, part)) for part in FATES)
        + "</tr>"
        for b in (*found.tasks, found.all)
    )
    again = " Dark line: superficial, corrected for guessing." if found.all.other_form else ""
    return (
        f'{SCROLL}<table class="matrix fates"><thead><tr><th></th><th></th>{heads}</tr></thead><tbody>{body}</tbody>'
        f'</table></div><p class="key">Answers right after their own task (n), at {escape(found.checkpoint)}.{again} '
        "Click a number for the answers.</p>"
    )


def _name(b: "Became") -> str:
    return "all tasks" if b.task == "all" else b.task


def _bar(b: "Became") -> str:
    if not b.right:
        return ""
    parts = "".join(f'<i style="width:{100 * b.parts[p].value:.1f}%;background:{c}"></i>' for p, c in FATES.items())
    tick = f'<b style="left:{100 * (b.kept.value + b.known.value):.1f}%"></b>' if b.other_form else ""
    return f'<div class="bar" aria-hidden="true">{parts}{tick}</div>'


def _button(b: "Became", part: str, chosen: bool) -> str:
    of = b.parts[part]
    label = f"{_name(b)}, {part}: {share(of) if b.right else 'nothing was right'}"
    chooses = {"task": b.task, "part": part, "cards": str(CARDS)}
    return button(str(b.parts[part].count), of.value if b.right else 0, chooses, label, chosen, to="items")


def numbers_table(rows: "Sequence[Became]", head: str) -> Table:
    """All numbers of a split, a row a task or a method, by the names of ``rows``."""
    heads = [
        Head("Right then", "Right after its own training, of all items."),
        *(Head(part.capitalize(), why, unit="%") for part, why in MEANS.items()),
        Head("Superficial, corrected", "Less what guessing among the options would put on top.", unit="%"),
        Head("In another form", "Lost answers in another form than asked: those were asked again."),
        Head("By luck", "How many of them a guess among the options would call superficial.", digits=1),
        Head("Back with form spelled out", "Of them, right when the question says which form is wanted."),
        Head("Both tests agree", "True option on top and back, or neither."),
        Head("Gained", "Right now, of the items that were wrong right after the task's training.", unit="%"),
    ]
    cells = [
        [
            _name(b),
            f"{b.right} of {b.n}",
            *b.parts.values(),
            b.known,
            b.other_form,
            b.luck,
            int(b.agreement[:, 1].sum()),
            f"{b.agreement.trace()} of {b.other_form}",
            b.gained,
        ]
        for b in rows
    ]
    return Table([head, *heads], cells)


def numbers(found: "Split") -> str:
    """All numbers of a split on the page."""
    return (
        f'{numbers_table((*found.tasks, found.all), "").html()}<p class="key">Brackets: 95 % intervals (Wilson; a '
        "bootstrap over items for the corrected share). A guess among k options puts the true one on top once in k; "
        "the correction takes that many away.</p>"
    )


def items(shown: "Sequence[Lost]", uris: Sequence[str | None], where: str, total: int) -> str:
    """The first items behind a part, of ``total``: answers then and now, and when asked again."""
    return listing([_card(x, uri) for x, uri in zip(shown, uris, strict=True)], where, total)


def _card(x: "Lost", uri: str | None) -> str:
    inner = (
        f'<div class="answers"><p><small>then</small>{_said(x.then)}</p><p><small>now</small>{_said(x.now)}'
        f'<span><span class="kind">{escape(x.form)}</span> <span class="{_CSS[x.verdict]}">{_VERDICTS[x.verdict]}'
        "</span></span></p></div>"
    )
    if x.options:
        others = ", ".join(map(escape, x.options[1:]))
        inner += (
            f"<p><small>as a choice</small> <b>{escape(x.top)}</b> <small>(truth {percent(x.probability)}, beside "
            f"{others})</small></p><p><small>form spelled out</small> {_said(x.again)} "
            f"<small>{'right' if x.back else 'wrong'}</small></p>"
        )
    return card(uri, x.question, x.truth, x.style, inner)


def _said(answer: str) -> str:
    return f"<b>{escape(answer)}</b>" if answer.strip() else "<i>nothing</i>"


def reading(of: "Reading") -> str:
    """How well the style parser reads labelled answers."""
    heads = (Head("Precision", unit="%"), Head("Recall", unit="%"))
    rows = [[r.style, r.recall.n, r.precision, r.recall] for r in of.styles]
    wrong = "".join(
        f"<li><b>{escape(answer)}</b>: {escape(seen)}, labelled {escape(true)}</li>"
        for answer, true, seen in of.misread
    )
    missed = f"<p class='key'>Misread:</p><ul class='key'>{wrong}</ul>" if wrong else ""
    return (
        f"<p class='key'>The style parser on {of.n} answers that were labelled by hand. Precision: of the answers read "
        "as a style, those that have it; recall: of those that have it, those read as it; 95 % intervals (Wilson).</p>"
        f"{Table(['', 'n', *heads], rows).html()}{missed}"
    )
