"""How retrieval looks: recall by phase and domain, its course, methods side by side, and one query in every phase."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, SCROLL, SERIES, figure
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS
from analysis.wording import signed

if TYPE_CHECKING:
    from analysis.embedding_space.retrieval import Recalls
    from analysis.embedding_space.search import Found
    from analysis.embedding_space.seeds import Over, Repeated, Versus
    from analysis.statistics import Difference


def told(found: "Recalls") -> str:
    """What is counted: ``R@1, image → text, candidates: its own domain``."""
    return f"R@{found.k}, {DIRECTIONS[found.direction]}, candidates: {AMONG[found.among]}"


def matrix(found: "Recalls", chosen: tuple[int, int] | None = None) -> str:
    """Recall as a table of buttons, rows phases, columns domains, ``data-pick`` ``"row,column"``; ``chosen`` marked."""
    head = "".join(
        f'<th scope="col">{escape(d)}<small>n = {n}</small></th>' for d, n in zip(found.domains, found.n, strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(phase)}</th>'
        + "".join(_cell(found, i, j, chosen == (i, j)) for j in range(len(found.domains)))
        + f"<td><b>{100 * found.average[i]:.0f}</b></td></tr>"
        for i, phase in enumerate(found.phases)
    )
    lost = "".join(f"<td>{points(-value)}</td>" for value in found.forgetting)
    return (
        f'{SCROLL}<table class="matrix"><thead><tr><th></th>{head}<th scope="col">mean</th></tr></thead>'
        f'<tbody>{rows}<tr class="reference"><th scope="row" title="At the end minus the best since its own phase">'
        f"lost, points</th>{lost}<td>{points(-float(found.forgetting.mean()))}</td></tr></tbody></table></div>"
        f'<p class="key">{told(found)}, %, by phase (rows) and domain (columns). Outlined: a domain right after its '
        "own phase. Choose a cell to see which pictures were lost.</p>"
    )


def _cell(found: "Recalls", i: int, j: int, chosen: bool) -> str:
    value, own = found.matrix[i, j], found.own[j] == i
    label = escape(
        f"{found.phases[i]}, {found.domains[j]}: {100 * value:.0f} %, 95 % interval {100 * found.low[i, j]:.0f} to "
        f"{100 * found.high[i, j]:.0f} %, n = {found.n[j]}"
    )
    css = " ".join(c for c, on in (("own", own), ("chosen", chosen)) if on)
    pressed = ' aria-pressed="true"' if chosen else ""
    return (
        f'<td><button type="button" class="{css}" style="--a:{value:.2f}" data-pick="{i},{j}"{pressed} '
        f'aria-label="{label}" title="{label}">{100 * value:.0f}</button></td>'
    )


def course(found: "Recalls") -> go.Figure:
    """Recall of each domain phase by phase, per cent; the large marker is the domain's own phase."""
    lines = [
        go.Scatter(
            x=list(found.phases), y=100 * found.matrix[:, j], name=f"{domain} (n = {found.n[j]})", mode="lines+markers",
            line={"color": SERIES[j % len(SERIES)], "width": 2.5, "dash": DASHES[j % len(DASHES)]},
            marker={"size": [13 if i == found.own[j] else 6 for i in range(len(found.phases))]},
            customdata=100 * np.stack([found.low[:, j], found.high[:, j]], 1),
            hovertemplate="%{y:.0f} % (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})",
        )
        for j, domain in enumerate(found.domains)
    ]  # fmt: skip
    return figure(
        400, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 84, "b": 8},
        xaxis={"title": "Phase, in the order of training"}, yaxis={"title": f"R@{found.k}, %", "rangemode": "tozero"},
    )  # fmt: skip


def averages(found: "dict[str, Repeated]") -> go.Figure:
    """Mean recall over domains, phase by phase, a line for each method; a method with other phases is a marker at the
    end. Of a method trained more than once: the mean over its seeds, with bars from the smallest to the largest."""
    longest = max((of.each[0].phases for of in found.values()), key=len)
    lines = []
    for i, (title, of) in enumerate(found.items()):
        whole = of.each[0].phases == longest
        at = slice(None) if whole else [0, -1]
        mean, least, most = (100 * side[at] for side in (of.average.mean, of.average.least, of.average.most))
        colour = SERIES[i % len(SERIES)]
        lines.append(
            go.Scatter(
                x=list(longest) if whole else [longest[0], longest[-1]], y=mean,
                name=title if of.seeds == 1 else f"{title} ({of.seeds} seeds)",
                mode="lines+markers" if whole else "markers",
                line={"color": colour, "width": 2.5, "dash": DASHES[i % len(DASHES)]},
                marker={"size": 8 if whole else 13, "color": colour, "symbol": "circle" if whole else "diamond"},
                error_y={"visible": of.seeds > 1, "symmetric": False, "array": most - mean, "arrayminus": mean - least,
                         "thickness": 1.5, "width": 5},
                hovertemplate="%{y:.1f} %",
            )
        )  # fmt: skip
    first = next(iter(found.values())).each[0]
    return figure(
        360, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": f"Phase (n = {int(first.n.sum())} pairs)"},
        yaxis={"title": f"R@{first.k}, mean of domains, %", "rangemode": "tozero"},
    )  # fmt: skip


def methods(found: "dict[str, Repeated]", against: "dict[str, Versus]", base: str) -> str:
    """What each method reaches, loses, and how it compares with ``base`` pair by pair, points."""
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{of.seeds}</td><td>{_over(of.average, -1)}</td>'
        f"<td>{points(-float(of.forgetting.mean.mean()))}</td>"
        f"<td>{points(float(of.backward.mean)) if not np.isnan(of.backward.mean) else '–'}</td>"
        f"<td>{_difference(against[title].pooled.final) if title in against else '–'}</td></tr>"
        for title, of in found.items()
    )
    return (
        f'{SCROLL}<table class="plain"><thead><tr><th>method</th><th title="How often it was trained, each '
        'time from another seed">seeds</th><th title="Mean over domains after the last phase; smallest to largest of '
        'the seeds">at the end, %</th><th title="At the end minus the best since its own phase, mean over domains">'
        'lost, points</th><th title="Backward transfer: at the end minus right after its own phase, mean over the '
        f'domains before the last">BWT, points</th><th title="All pairs after the last phase, paired bootstrap over '
        f'pairs, over the seeds that both have">minus {escape(base)}, points (95 %)</th></tr></thead><tbody>{rows}'
        "</tbody></table></div>"
    )


_DIFFERENCES = {
    "final": "all domains, at the end",
    "earlier": "domains before the last, at the end",
    "kept": "of these, what they lost or gained since their own phase",
}
"""What is compared (fields of ``Compared``), in words."""


def versus(found: "Versus", title: str, base: str) -> str:
    """One method minus another, seed by seed and of all seeds, with what each interval covers; points."""
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in found.each)
    rows = []
    for which, name in _DIFFERENCES.items():
        if getattr(found.pooled, which) is None:
            continue
        cells = "".join(f"<td>{_difference(getattr(of, which))}</td>" for of in found.each.values())
        low, high = found.between(which)
        rows.append(
            f'<tr><th scope="row">{name}</th>{cells}<td><b>{_difference(getattr(found.pooled, which))}</b></td>'
            f"<td>{points(low)} to {points(high)}</td></tr>"
        )
    n, earlier, count = found.pooled.n, found.pooled.n_earlier, len(found.each)
    return (
        f"<h4>{escape(title)} minus {escape(base)}, training by training</h4>"
        f'{SCROLL}<table class="plain"><thead><tr><th>points (95 %)</th>{head}<th scope="col">mean of '
        f'{count} seeds, over pairs</th><th scope="col">over seeds</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        f'</table></div><p class="key">n = {n} pairs, {earlier} of them in domains before the last. {covers(count)}</p>'
    )


def covers(seeds: int) -> str:
    """What the two kinds of interval say, and what they do not."""
    return (
        "Intervals over pairs (paired bootstrap) tell what other drawings would change, with these very trainings. "
        f"What another training would change only the seeds tell: the last interval is Student's t over {seeds} of "
        f"them ({seeds - 1} degree{'s' if seeds > 2 else ''} of freedom), wide because they are few. All start from "
        "the same base."
    )


def _difference(of: "Difference") -> str:
    return f"{points(of.value)} ({points(of.low)} to {points(of.high)})"


def _over(of: "Over", place: int) -> str:
    """A share over trainings, per cent, with the smallest and the largest where there are several."""
    mean = f"{100 * of.mean[place]:.1f}"
    return mean if of.n == 1 else f"{mean} ({100 * of.least[place]:.1f} to {100 * of.most[place]:.1f})"


def points(value: float) -> str:
    """A share as points with its sign; none where it is rounded to zero."""
    return signed(100 * float(value), 1)


def lost(texts: Sequence[str], ranks: Sequence[tuple[int, int]], uris: Sequence[str], where: str, total: int) -> str:
    """Pictures that were found and no longer are; ``ranks`` of the right answer then and now."""
    if not texts:
        return f'<div class="card quiet">{escape(where)}: nothing that was found is lost.</div>'
    cards = "".join(
        f'<li><img src="{uri}" alt=""><div><p><b>{escape(text)}</b></p><p><small>rank of the right answer</small> '
        f'{then} → <span class="wrong">{now}</span></p></div></li>'
        for text, (then, now), uri in zip(texts, ranks, uris, strict=True)
    )
    shown = "" if total == len(texts) else f", the {len(texts)} worst"
    return f'<p class="key" aria-live="polite">{escape(where)}: {total} lost{shown}</p><ul class="items">{cards}</ul>'


def answers(found: Sequence["Found"], uris: dict[int, str] | None = None) -> str:
    """The nearest to one query in every phase, side by side; ``uris`` are pictures by place, where those are sought."""
    columns = []
    before: tuple[str, ...] = ()
    for of in found:
        rows = "".join(
            f"<li>{_thumb(uris, place)}<span>{escape(text)}</span> <small>{cosine:.2f}</small>"
            f"{' <em>new</em>' if before and text not in before else ''}</li>"
            for place, text, cosine in zip(of.places, of.texts, of.cosines, strict=True)
        )
        columns.append(f"<section><h4>{escape(of.phase)}</h4><ol>{rows}</ol></section>")
        before = of.texts
    key = f"The nearest of {found[0].among} candidates in every phase, with their cosine; new: not there before."
    return f'<div class="by-phase">{"".join(columns)}</div><p class="key">{key}</p>'


def _thumb(uris: dict[int, str] | None, place: int) -> str:
    return f'<img src="{uris[place]}" alt="">' if uris else ""


def answers_sentence(found: Sequence["Found"], query: str) -> str:
    """How the answer to one query changes, in plain words."""
    first, last = found[0], found[-1]
    kept = len(set(first.texts) & set(last.texts))
    if len(found) == 1:
        return f"For {query} the nearest is “{first.texts[0]}”."
    top = (
        f"stays “{first.texts[0]}”" if first.texts[0] == last.texts[0]
        else f"goes from “{first.texts[0]}” to “{last.texts[0]}”"
    )  # fmt: skip
    return f"For {query} the nearest {top}; {kept} of the first {len(first.texts)} are still there after {last.phase}."
