"""How retrieval looks: recall by phase and domain, its course, methods side by side, and one query in every phase."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, SERIES, figure
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS

if TYPE_CHECKING:
    from analysis.embedding_space.retrieval import Compared, Recalls
    from analysis.embedding_space.search import Found
    from analysis.statistics import Difference

_WHITE_FROM = 0.87  # of full shade: where white text reads better than dark text


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
    lost = "".join(f"<td>{_points(-value)}</td>" for value in found.forgetting)
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}<th scope="col">mean</th></tr></thead>'
        f'<tbody>{rows}<tr class="reference"><th scope="row" title="At the end minus the best since its own phase">'
        f"lost, points</th>{lost}<td>{_points(-float(found.forgetting.mean()))}</td></tr></tbody></table></div>"
        f'<p class="key">{told(found)}, %, by phase (rows) and domain (columns). Outlined: a domain right after its '
        "own phase. Choose a cell to see which pictures were lost.</p>"
    )


def _cell(found: "Recalls", i: int, j: int, chosen: bool) -> str:
    value, own = found.matrix[i, j], found.own[j] == i
    label = escape(
        f"{found.phases[i]}, {found.domains[j]}: {100 * value:.0f} %, 95 % interval {100 * found.low[i, j]:.0f} to "
        f"{100 * found.high[i, j]:.0f} %, n = {found.n[j]}"
    )
    css = " ".join(c for c, on in (("own", own), ("chosen", chosen), ("full", value >= _WHITE_FROM)) if on)
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


def averages(found: dict[str, "Recalls"]) -> go.Figure:
    """Mean recall over domains, phase by phase, a line for each method; a method with other phases is a marker at the
    end."""
    longest = max((of.phases for of in found.values()), key=len)
    lines = []
    for i, (title, of) in enumerate(found.items()):
        x = list(of.phases) if of.phases == longest else [longest[0], longest[-1]]
        y = 100 * (of.average if of.phases == longest else of.average[[0, -1]])
        lines.append(
            go.Scatter(
                x=x, y=y, name=title, mode="lines+markers" if of.phases == longest else "markers",
                line={"color": SERIES[i % len(SERIES)], "width": 2.5, "dash": DASHES[i % len(DASHES)]},
                marker={"size": 8 if of.phases == longest else 13, "color": SERIES[i % len(SERIES)],
                        "symbol": "circle" if of.phases == longest else "diamond"},
                hovertemplate="%{y:.1f} %",
            )
        )  # fmt: skip
    first = next(iter(found.values()))
    return figure(
        360, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": f"Phase (n = {int(first.n.sum())} pairs)"},
        yaxis={"title": f"R@{first.k}, mean of domains, %", "rangemode": "tozero"},
    )  # fmt: skip


def methods(found: dict[str, "Recalls"], against: "dict[str, Compared]", base: str) -> str:
    """What each method reaches, loses, and how it compares with ``base`` pair by pair, points."""
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{100 * of.average[-1]:.1f}</td>'
        f"<td>{_points(-float(of.forgetting.mean()))}</td>"
        f"<td>{_points(of.backward) if not np.isnan(of.backward) else '–'}</td>"
        f"<td>{_difference(against[title].final) if title in against else '–'}</td></tr>"
        for title, of in found.items()
    )
    return (
        '<div class="scroll"><table class="plain"><thead><tr><th>method</th><th title="Mean over domains after the '
        'last phase">at the end, %</th><th title="At the end minus the best since its own phase, mean over domains">'
        'lost, points</th><th title="Backward transfer: at the end minus right after its own phase, mean over the '
        f'domains before the last">BWT, points</th><th title="All pairs after the last phase, paired bootstrap">minus '
        f"{escape(base)}, points (95 %)</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _difference(of: "Difference") -> str:
    return f"{_points(of.mean)} ({_points(of.low)} to {_points(of.high)})"


def _points(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


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
