"""How retrieval looks: pairs that were lost, recall by phase and domain, its course, methods side by side; in words."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, SERIES, figure
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS, ranks_in, recalls, versus
from analysis.statistics import Estimate
from analysis.table import SCROLL, Head, Table
from analysis.wording import between, estimate, percent, signed

if TYPE_CHECKING:
    from analysis.embedding_space.retrieval import Over, Ranked, Recalls, Repeated, Versus
    from analysis.embedding_space.spaces import Whole


def told(found: "Recalls") -> str:
    """What is counted: ``R@1, image → text, candidates: its own domain``."""
    return f"R@{found.k}, {DIRECTIONS[found.direction]}, candidates: {AMONG[found.among]}"


def matrix(found: "Recalls", chosen: tuple[int, int] | None = None) -> str:
    """Recall as a table of buttons, rows phases, columns domains, which set ``after`` and ``domain``."""
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
    of, own = found.at(i, j), found.own[j] == i
    told = f"{found.phases[i]}, {found.domains[j]}: {percent(of.value)}, 95 % interval {between(of)} %, n = {of.n}"
    label = escape(told)
    css = " ".join(c for c, on in (("own", own), ("chosen", chosen)) if on)
    pressed = ' aria-pressed="true"' if chosen else ""
    return (
        f'<td><button type="button" class="{css}" style="--a:{of.value:.2f}" data-to="pairs"{pressed} '
        f'data-set=\'{{"after": "{i}", "domain": "{j}"}}\' aria-label="{label}" title="{label}">'
        f"{100 * of.value:.0f}</button></td>"
    )


def course(found: "Recalls", title: str) -> go.Figure:
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
    ]
    return figure(
        400, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 84, "b": 8},
        xaxis={"title": f"Phase of {title}, in the order of training"},
        yaxis={"title": f"R@{found.k}, %", "rangemode": "tozero"},
    )


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
        )
    first = next(iter(found.values())).each[0]
    return figure(
        360, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": f"Phase (n = {int(first.n.sum())} pairs)"},
        yaxis={"title": f"R@{first.k}, mean of domains, %", "rangemode": "tozero"},
    )


def methods(found: "dict[str, Repeated]", against: "dict[str, Versus]", base: str) -> str:
    """What each method reaches, loses, and how it compares with ``base`` pair by pair, points."""
    return Table(
        [
            "method",
            Head("seeds", "How often it was trained, each time from another seed."),
            Head("at the end", "Mean over domains after the last phase; smallest to largest of the seeds.", unit="%",
                 digits=1),
            Head("lost", "At the end minus the best since its own phase, mean over domains.", unit="points", digits=1,
                 sign=True),
            Head("since its own phase", "At the end minus right after its own phase, mean over the domains before the "
                 "last: backward transfer (BWT).", unit="points", digits=1, sign=True),
            Head(f"minus {base}", "All pairs after the last phase, paired bootstrap over pairs (95 %), over the seeds "
                 "that both have.", unit="points", digits=1, sign=True),
        ],
        [
            [title, of.seeds, _last(of.average), -float(of.forgetting.mean.mean()), float(of.backward.mean),
             against[title].pooled.final if title in against else None]
            for title, of in found.items()
        ],
    ).html()


def _last(of: "Over") -> Estimate:
    """A share after the last phase, with the smallest and the largest of several trainings in the interval's place."""
    ends = (of.least[-1], of.most[-1]) if of.n > 1 else (np.nan, np.nan)
    return Estimate(float(of.mean[-1]), *map(float, ends), of.n)


_DIFFERENCES = {
    "final": "all domains, at the end",
    "earlier": "domains before the last, at the end",
    "kept": "of these, what they lost or gained since their own phase",
}
"""What is compared (fields of ``Compared``), in words."""


def training_by_training(found: "Versus", title: str, base: str) -> str:
    """One method minus another, seed by seed and of all seeds, with what each interval covers; points."""
    n, earlier, count = found.pooled.n, found.pooled.n_earlier, len(found.each)
    in_points = {"unit": "points", "digits": 1, "sign": True}
    rows = [
        [name, *(getattr(of, which) for of in found.each.values()), getattr(found.pooled, which),
         "{} to {}".format(*(points(end) for end in found.between(which)))]
        for which, name in _DIFFERENCES.items()
        if getattr(found.pooled, which) is not None
    ]
    seeds = [*found.each, f"mean of {count} seeds, over pairs"]
    table = Table(["", *(Head(label, **in_points) for label in seeds), "over seeds, points"], rows).html()
    return (
        f"<h4>{escape(title)} minus {escape(base)}, training by training</h4>{table}"
        f'<p class="key">n = {n} pairs, {earlier} of them in domains before the last. {covers(count)}</p>'
    )


def covers(seeds: int) -> str:
    """What the two kinds of interval say, and what they do not."""
    return (
        "Intervals over pairs (paired bootstrap) tell what other drawings would change, with these very trainings. "
        f"What another training would change only the seeds tell: the last interval is Student's t over {seeds} of "
        f"them ({seeds - 1} degree{'s' if seeds > 2 else ''} of freedom), wide because they are few. All start from "
        "the same base."
    )


def points(value: float) -> str:
    """A share as points with its sign; none where it is rounded to zero."""
    return signed(100 * float(value), 1)


def cards(
    pairs: "Sequence[tuple[str, str, str]]", ranks: Sequence[Sequence[tuple[int, int]]], titles: Sequence[str], k: int
) -> str:
    """Named pairs (text, domain, picture's address) with the rank of the right answer before and after, by method."""
    listed = []
    for (text, domain, uri), each in zip(pairs, ranks, strict=True):
        rows = "".join(
            f'<p><small>{escape(title)}</small> {then} → <b class="{"right" if now <= k else "wrong"}">{now}</b></p>'
            for title, (then, now) in zip(titles, each, strict=True)
        )
        listed.append(
            f'<li><img src="{uri}" alt=""><div><p><b>{escape(text)}</b> <span class="kind">{escape(domain)}</span></p>'
            f"{rows}</div></li>"
        )
    return f'<ul class="items ranks">{"".join(listed)}</ul>'


def before_and_now(of: "Ranked", place: int, direction: str, among: str, phase: int) -> tuple[int, int]:
    """Ranks of a pair's right answer: when its own domain was just trained (or before any), and in ``phase``."""
    ranks = ranks_in(of, direction, among)[:, place]
    phase = min(phase, len(ranks) - 1)
    own = of.trained.index(of.domains[place]) if of.domains[place] in of.trained else 0
    return int(ranks[own if own < phase else 0]), int(ranks[phase])


# --- in words


def sentence(found: "Sequence[Whole]", direction: str, k: int, among: str) -> str:
    """What is left of the domains before the last, plain beside another method where there are two."""
    (name, own), every = _earlier(found[0], direction, k, among), [of.title for of in found]
    if not name:
        return "There is only one phase here, so nothing was lost yet."
    what, of = ("names", "pictures") if direction == "i2t" else ("pictures", "names")
    near = "" if k == 1 else f" among the first {k}"
    shares = [percent(_earlier(one, direction, k, among)[1][1]) for one in found]
    n = int(own[2])
    more = (
        f"Counted are the domains before the last, n = {n} pairs, candidates: {AMONG[among]}. Right after the training "
        "of its own domain it was "
        + ", ".join(f"{percent(_earlier(one, direction, k, among)[1][0])} with {one.title}" for one in found)
        + "."
    )
    if len(found) == 1 or not all(one.runs for one in found):
        told = ", ".join(f"{title} still finds {share}" for title, share in zip(every, shares, strict=True))
        return f"Of earlier domains' {of}, {told} of the {what}{near}. {more}"
    against = versus(found[1].runs, found[0].runs, direction, k, among)
    return (
        f"Of earlier domains' {of}, {every[0]} still finds {shares[0]} of the {what}{near}, {every[1]} {shares[1]}: "
        f"{verdict(against)}. {more} {every[1]} minus {every[0]}: {estimate(against.pooled.earlier, 1, True)} points "
        f"over pairs{_over_seeds(against)}."
    )


def _earlier(of: "Whole", direction: str, k: int, among: str) -> tuple[bool, tuple[float, float, int]]:
    """Whether there are domains before the last, and of their pairs: found right after their own phase, at the end, n.
    """
    found = recalls(of.space, direction, k, among)
    old = [j for j, own in enumerate(found.own) if own < len(found.phases) - 1]
    if not old:
        return False, (np.nan, np.nan, 0)
    first, last = (
        float(np.average([found.matrix[row(j), j] for j in old], weights=found.n[old]))
        for row in (lambda j: found.own[j], lambda j: -1)
    )
    return True, (first, last, int(found.n[old].sum()))


def verdict(of: "Versus") -> str:
    """Whether the first of two methods keeps more of the domains before the last, in a few words. Of several trainings
    the interval over seeds decides, as it alone covers another training."""
    seeds, pooled = len(of.each), of.pooled.earlier
    low, high = of.between("earlier") if seeds > 1 else (pooled.low, pooled.high)
    if not (low > 0 or high < 0):
        return "no difference can be told"
    which = "more" if low > 0 else "fewer"
    return f"{which}, over {seeds} trainings" if seeds > 1 else f"{which}, in one training"


def _over_seeds(of: "Versus") -> str:
    low, high = of.between("earlier")
    if np.isnan(low):
        return "; one training of each, so nothing is known of others"
    return f", {points(low)} to {points(high)} over {len(of.each)} trainings"
