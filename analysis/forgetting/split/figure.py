"""How a split looks, and what it says: bars, a flow from right then to now, tables, the items behind a part, and how
the parser reads."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import NEUTRAL, figure, ink_on, rows, said, tint
from analysis.forgetting.figure import CARDS, FATES, button, card, listing
from analysis.forgetting.terms import ESSENTIAL, KEPT, MEANS, SUPERFICIAL
from analysis.table import SCROLL, Head, Table
from analysis.wording import listed, percent, share

if TYPE_CHECKING:
    from analysis.forgetting.split.measure import Became, Lost, Reading, Split

_SHOWN = {KEPT: ("right", "✓"), SUPERFICIAL: ("partly", "◐"), ESSENTIAL: ("wrong", "✗")}  # CSS class and sign
_FLOW, _LABEL = 260, 42  # pixels: of all answers together, of a label of two lines
_BESIDE = (
    {"x": 0, "xanchor": "right", "xshift": -8, "align": "right"},
    {"x": 1, "xanchor": "left", "xshift": 8, "align": "left"},
)
_FEW = 10  # items below which a share says little


def bars(found: "Split") -> go.Figure | None:
    """For each task, what became of the answers that were right after it, in per cent of those; counts are written."""
    some = [b for b in found.tasks if b.right]
    if not some:
        return None
    traces = [
        go.Bar(
            x=[100 * b.parts[part].value for b in some], y=list(range(len(some))), name=part, orientation="h",
            marker={"color": colour}, text=[str(b.parts[part].count or "") for b in some], textposition="inside",
            insidetextanchor="middle", textfont={"color": ink_on(colour)},
            customdata=[[escape(b.task), share(b.parts[part])] for b in some],
            hovertemplate=f"%{{customdata[0]}}, {part}: %{{customdata[1]}}<extra></extra>",
        )
        for part, colour in FATES.items()
    ]
    again = [i for i, b in enumerate(some) if b.other_form]
    corrected = go.Scatter(
        x=[100 * (some[i].kept.value + some[i].known.value) for i in again], y=again, mode="markers", showlegend=False,
        cliponaxis=False, marker={"symbol": "line-ns", "size": 24, "line": {"width": 3, "color": "#111"}},
        customdata=[share(some[i].known) for i in again],
        hovertemplate="superficial, corrected for guessing: %{customdata}<extra></extra>",
    )
    title = f"% of the n answers right after their own task, at {escape(found.checkpoint)}"
    if again:
        title += "<br>dark line: superficial, corrected for guessing"
    return figure(
        120 + 36 * len(some), *traces, corrected, barmode="stack", bargap=0.3, margin={"r": 20, "t": 36},
        uniformtext={"minsize": 11, "mode": "hide"}, legend={"traceorder": "normal"},
        xaxis={"title": title, "range": [0, 100], "zeroline": False},
        yaxis=rows(f"{b.task} (n = {b.right})" for b in some),
    )


def flow(found: "Split") -> go.Figure | None:
    """A Sankey from each task's right answers to what they are now, lost ones by the form of the answer."""
    if not found.all.right:
        return None
    links = Counter({(b.task, (KEPT, "")): b.kept.count for b in found.tasks if b.kept.count})
    links.update((x.task, (x.verdict, x.form if x.options else "")) for x in found.lost)
    left = {b.task: b.right for b in found.tasks if b.right}
    right = Counter()
    for (_, end), count in links.items():
        right[end] += count
    ends = sorted(right, key=lambda end: (list(FATES).index(end[0]), end[1]))
    at = {place: i for i, place in enumerate([*left, *ends])}
    order = sorted(links, key=lambda link: (at[link[0]], at[link[1]]))
    centres = [_centres(list(left.values())), _centres([right[end] for end in ends])]
    high = max(bottom for _, bottom in centres)
    names = [f"{escape(task)}<br>{count}" for task, count in left.items()]
    for part, form in ends:
        how = "" if part == KEPT else f"as {escape(form)}: " if form else "asked form: "
        names.append(f"{part}<br>{how}{right[part, form]}")
    y = [(centre + (high - bottom) / 2) / high for middles, bottom in centres for centre in middles]
    pad = (high - _FLOW) / max(len(left) - 1, len(ends) - 1, 1)
    sankey = go.Sankey(
        arrangement="fixed",
        node={
            "label": names, "thickness": 16, "line": {"width": 0}, "pad": pad,
            "x": [0.01] * len(left) + [0.99] * len(ends), "y": y, "hovertemplate": "%{label}<extra></extra>",
            "color": [NEUTRAL] * len(left) + [FATES[part] for part, _ in ends],
        },
        link={
            "source": [at[task] for task, _ in order], "target": [at[end] for _, end in order],
            "value": [links[link] for link in order], "color": [tint(FATES[end[0]], 0.4) for _, end in order],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:.0f} answers<extra></extra>",
        },
        textfont={"color": "rgba(0,0,0,0)", "shadow": "none"},  # labels stand beside the flow, not on it
    )
    beside = {"xref": "paper", "yref": "paper", "showarrow": False}
    sides, above = [_BESIDE[i >= len(left)] for i in range(len(names))], {"y": 1, "yanchor": "bottom", "yshift": 10}
    places = zip(names, y, sides, strict=True)
    notes = [{**beside, "text": name, "y": 1 - v, "yanchor": "middle", **side} for name, v, side in places]
    heads = ("<b>right then</b><br>(answers)", f"<b>at {escape(found.checkpoint)}</b><br>(answers)")
    notes += [{**beside, "text": head, **above, **side} for head, side in zip(heads, _BESIDE, strict=True)]
    return figure(high + 76, sankey, annotations=notes, margin={"l": 96, "r": 136, "t": 60, "b": 16})


def _centres(counts: Sequence[int]) -> tuple[list[float], float]:
    """Where nodes of these sizes stand one below the other, each with room for its label, and how far down that goes;
    pixels."""
    rooms = [max(_FLOW * count / sum(counts) + 6, _LABEL) for count in counts]
    ends = list(accumulate(rooms))
    return [end - room / 2 for end, room in zip(ends, rooms, strict=True)], ends[-1]


def table(found: "Split", chosen: tuple[str, str]) -> str:
    """For each task a bar of what became of right answers, and the counts as buttons that choose ``task`` and ``part``;
    ``chosen`` is marked."""
    heads = "".join(f'<th scope="col"><i style="background:{colour}"></i>{part}</th>' for part, colour in FATES.items())
    body = ""
    for b in (*found.tasks, found.all):
        bar, buttons = "", ""
        for part, of in b.parts.items():
            label = f"{_name(b)}, {part}: {share(of) if b.right else 'nothing was right'}"
            chooses = {"task": b.task, "part": part, "cards": str(CARDS)}
            shade = of.value if b.right else 0
            buttons += button(str(of.count), shade, chooses, label, chosen == (b.task, part), to="items")
            bar += f'<i style="width:{100 * shade:.1f}%;background:{FATES[part]}"></i>'
        if b.other_form:
            bar += f'<b style="left:{100 * (b.kept.value + b.known.value):.1f}%"></b>'
        bar = f'<div class="bar" aria-hidden="true">{bar}</div>' if b.right else ""
        body += f'<tr><th scope="row">{escape(_name(b))}<small>n = {b.right}</small></th><td>{bar}</td>{buttons}</tr>'
    again = " Dark line: superficial, corrected for guessing." if found.all.other_form else ""
    return (
        f'{SCROLL}<table class="matrix fates"><thead><tr><th></th><th></th>{heads}</tr></thead><tbody>{body}</tbody>'
        f'</table></div><p class="key">Answers right after their own task (n), at {escape(found.checkpoint)}.{again} '
        "Click a number for the answers.</p>"
    )


def _name(b: "Became") -> str:
    return "all tasks" if b.task == "all" else b.task


def numbers_table(of: "Sequence[Became]", head: str) -> Table:
    """All numbers of a split, a row a task or a method, by the names of ``of``."""
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
        [_name(b), f"{b.right} of {b.n}", *b.parts.values(), b.known, b.other_form, b.luck,
         int(b.agreement[:, 1].sum()), f"{b.agreement.trace()} of {b.other_form}", b.gained]
        for b in of
    ]
    return Table([head, *heads], cells)


def numbers(found: "Split") -> str:
    """All numbers of a split on the page."""
    return (
        f'{numbers_table((*found.tasks, found.all), "").html()}<p class="key">Brackets: 95 % intervals (Wilson; a '
        "bootstrap over items for the corrected share). A guess among k options puts the true one on top once in k; "
        "the correction takes that many away.</p>"
    )


def items(shown: "Sequence[Lost]", pictures: Sequence, where: str, total: int) -> str:
    """The first items behind a part, of ``total``, with their pictures or None: answers then and now, and when asked
    again."""
    cards = []
    for x, picture in zip(shown, pictures, strict=True):
        css, sign = _SHOWN[x.verdict]
        inner = (
            f'<div class="answers"><p><small>then</small><b>{said(x.then)}</b></p><p><small>now</small>'
            f'<b>{said(x.now)}</b><span><span class="kind">{escape(x.form)}</span> '
            f'<span class="{css}">{sign} {x.verdict}</span></span></p></div>'
        )
        if x.options:
            others = ", ".join(map(escape, x.options[1:]))
            inner += (
                f"<p><small>as a choice</small> <b>{escape(x.top)}</b> <small>(truth {percent(x.probability)}, beside "
                f"{others})</small></p><p><small>form spelled out</small> <b>{said(x.again)}</b> "
                f"<small>{'right' if x.back else 'wrong'}</small></p>"
            )
        cards.append(card(picture, x.question, x.truth, x.style, inner))
    return listing(cards, where, total)


def reading(of: "Reading") -> str:
    """How well the style parser reads labelled answers."""
    heads = (Head("Precision", unit="%"), Head("Recall", unit="%"))
    styles = [[r.style, r.recall.n, r.precision, r.recall] for r in of.styles]
    told = "<li><b>{}</b>: {}, labelled {}</li>"
    wrong = "".join(told.format(*map(escape, (answer, seen, true))) for answer, true, seen in of.misread)
    missed = f"<p class='key'>Misread:</p><ul class='key'>{wrong}</ul>" if wrong else ""
    return (
        f"<p class='key'>The style parser on {of.n} answers that were labelled by hand. Precision: of the answers read "
        "as a style, those that have it; recall: of those that have it, those read as it; 95 % intervals (Wilson).</p>"
        f"{Table(['', 'n', *heads], styles).html()}{missed}"
    )


def sentence(found: "Split") -> str:
    """How much was lost, how much of it in form alone, and how sure that is."""
    whole, where = found.all, f"After {found.checkpoint}"
    if not whole.right:
        return "No answer was right after its own task, so none could be lost."
    if not whole.lost:
        return f"{where} all {whole.right} answers that were right after their own task are still right."
    lost = f"{where}, {whole.lost} of {whole.right} right answers are lost"
    if not whole.other_form:
        return f"{lost}, all in fact: each comes in the asked form, so every loss is essential, none superficial."
    hits = whole.superficial.count
    known = percent(whole.known.value * whole.right / whole.lost)
    said = f"{lost}: {percent(hits / whole.lost)} of them in form alone (superficial), the others in fact (essential)."
    comes, forms = "comes" if whole.other_form == 1 else "come", Counter(x.form for x in found.lost if x.options)
    form, most = forms.most_common(1)[0]
    form = f"most often: {form}, {most}" if len(forms) > 1 else form
    said += (
        f" {whole.other_form} {comes} in another form than asked ({form}); asked again as a choice, the true "
        f"option is still the likeliest for {hits} (guesses would give {whole.luck:.0f}; corrected for that, {known} "
        "of all losses)."
    )
    if whole.other_form < _FEW:
        said += " So few say little about form."
    some = [b for b in found.tasks if b.lost >= _FEW]
    mostly = [b.task for b in some if b.superficial.count > b.lost / 2]
    if 0 < len(mostly) < len(some):
        said += f" Mostly {SUPERFICIAL} is what {listed(mostly)} lost."
    back, both = int(whole.agreement[:, 1].sum()), int(whole.agreement.trace())
    return (
        f"{said} The choice is our test, not SEFE's; by a second one, the asked form spelled out, {back} of the "
        f"{whole.other_form} come back right, and the two agree on {percent(both / whole.other_form)} of them."
    )
