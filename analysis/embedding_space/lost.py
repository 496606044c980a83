"""The section about what was lost: named pairs before and after, recall of every training, and methods side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import product

import numpy as np

from analysis.embedding_space import retrieval, runs, spaces
from analysis.embedding_space.figure import averages, course
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS, KS, ranks_in, recalls, repeated, versus
from analysis.embedding_space.spaces import BESIDE, GO, PLAIN, Key, Spaces, phase_of, place_of, uri
from analysis.form import DRAW, Control, One
from analysis.section import SET, Prediction, Section, Shown, Try, View
from analysis.statistics import Estimate
from analysis.table import SCROLL, Head, Table
from analysis.wording import between, estimate, percent, signed
from models.embedded.phases import told

_CARDS = 12  # pairs shown


@dataclass(frozen=True, kw_only=True)
class Lost(Spaces):
    """Retrieval of one or two trainings: its table is recall, of every direction, k and phase."""

    def table(self) -> Table:
        rows = [
            [whole.title, title, name, k, phase, domain, of.matrix[i, j], of.low[i, j], of.high[i, j], of.n[j]]
            for whole in self.whole
            for (direction, title), (among, name), k in product(DIRECTIONS.items(), AMONG.items(), KS)
            for of in [recalls(whole.space, direction, k, among)]
            for i, phase in enumerate(of.phases)
            for j, domain in enumerate(of.domains)
        ]
        return Table(["method", "direction", "candidates", "k", "after", "domain", "recall", "low", "high", "n"], rows)


_loaded = partial(spaces.loaded, beside=True, names=("direction", "k", "among"), kind=Lost)


def _lost_controls(raw: Mapping, result) -> Sequence[Control]:
    domains = spaces.domains(spaces.keys_of(raw, True)[0])
    return (
        spaces.trained(raw, True),
        One("domain", "Pairs of", at=DRAW, offered=[("all domains", -1), *((d, j) for j, d in enumerate(domains))]),
        phase_of(raw, True, "after", "After", at=DRAW),
        One("direction", "Direction", folded=True, offered=[(title, name) for name, title in DIRECTIONS.items()]),
        One("k", "Found is who is among the first", folded=True, radio=True, offered=KS),
        One("among", "Candidates", folded=True, offered=[(title, name) for name, title in AMONG.items()]),
        spaces.STYLE,
    )


def _how(found: Lost) -> tuple[str, int, str]:
    return found.asked["direction"], found.asked["k"], found.asked["among"]


def _cards(shown: Shown) -> str:
    """Pairs that were lost, the worst of each training in turn, with the rank of the right answer in all: when its own
    domain was just trained (or before any), and now."""
    (direction, k, among), every, after = _how(shown.result), shown.result.whole, int(shown["after"])
    first, place = every[0].space, int(shown["domain"])
    domain = first.domain_names[place] if 0 <= place < len(first.domain_names) else ""
    gone = [retrieval.lost(of.space, direction, k, among, after, domain) for of in every]
    turns = [int(row[i]) for i in range(_CARDS) for row in gone if i < len(row)]
    worst = list(dict.fromkeys(turns))[:_CARDS]
    phase = first.phases[place_of(every[0], after)]
    counts = ", ".join(f"{len(row)} with {of.title}" for row, of in zip(gone, every, strict=True))
    where = f"{domain or 'All domains'}, after {phase}"
    if not worst:
        return f'<div class="card quiet">{escape(where)}: nothing that was found is lost.</div>'
    cards = []
    for i in worst:
        told = []
        for of in every:
            ranks, now = ranks_in(of.space, direction, among)[:, i], place_of(of, after)
            own = of.space.trained.index(first.domains[i]) if first.domains[i] in of.space.trained else 0
            css = "right" if ranks[now] <= k else "wrong"
            then = ranks[own if own < now else 0]
            told.append(f'<p><small>{escape(of.title)}</small> {then} → <b class="{css}">{ranks[now]}</b></p>')
        cards.append(
            f'<li><img src="{uri(shown.result.keys[0], i)}" alt=""><div><p><b>{escape(first.texts[i])}</b> '
            f'<span class="kind">{escape(first.domains[i])}</span></p>{"".join(told)}</div></li>'
        )
    chosen = f"the {len(worst)} worst" + (", in turn" if len(every) > 1 else "")
    return (
        f'<p class="key" aria-live="polite">{escape(where)}: lost are {escape(counts)}; {chosen}. The rank of the '
        f"right answer, just after its own domain was trained → after {escape(phase)}.</p>"
        f'<ul class="items ranks">{"".join(cards)}</ul>'
    )


def matrix(found: retrieval.Recalls, chosen: tuple[int, int] | None = None) -> str:
    """Recall as a table of buttons, rows phases, columns domains, which set ``after`` and ``domain``."""
    head = "".join(
        f'<th scope="col">{escape(d)}<small>n = {n}</small></th>' for d, n in zip(found.domains, found.n, strict=True)
    )
    rows = []
    for i, phase in enumerate(found.phases):
        cells = []
        for j, domain in enumerate(found.domains):
            of = found.at(i, j)
            label = escape(f"{phase}, {domain}: {percent(of.value)}, 95 % interval {between(of)} %, n = {of.n}")
            css = " ".join(c for c, on in (("own", found.own[j] == i), ("chosen", chosen == (i, j))) if on)
            pressed = ' aria-pressed="true"' if chosen == (i, j) else ""
            cells.append(
                f'<td><button type="button" class="{css}" style="--a:{of.value:.2f}" data-to="pairs"{pressed} '
                f'data-set=\'{{"after": "{i}", "domain": "{j}"}}\' aria-label="{label}" title="{label}">'
                f"{100 * of.value:.0f}</button></td>"
            )
        mean = f"<td><b>{100 * found.average[i]:.0f}</b></td>"
        rows.append(f'<tr><th scope="row">{escape(phase)}</th>{"".join(cells)}{mean}</tr>')
    lost = "".join(f"<td>{points(-value)}</td>" for value in found.forgetting)
    return (
        f'{SCROLL}<table class="matrix"><thead><tr><th></th>{head}<th scope="col">mean</th></tr></thead><tbody>'
        f'{"".join(rows)}<tr class="reference"><th scope="row" title="At the end minus the best since its own phase">'
        f"lost, points</th>{lost}<td>{points(-float(found.forgetting.mean()))}</td></tr></tbody></table></div>"
        f'<p class="key">R@{found.k}, {DIRECTIONS[found.direction]}, candidates: {AMONG[found.among]}, %, by phase '
        "(rows) and domain (columns). Outlined: a domain right after its own phase. Choose a cell to see which "
        "pictures were lost.</p>"
    )


def _everyone(shown: Shown) -> dict[str, tuple]:
    """The trainings of every method that was measured on the same drawings, by title; none for a visitor's own."""
    if shown.result.keys[0].own:
        return {}
    every = [spaces.whole(Key(name, shown.result.keys[0].style)) for name in runs.recipes()]
    return {of.title: of.runs for of in every if of}


def methods(found: dict[str, retrieval.Repeated], against: dict[str, retrieval.Versus], base: str) -> str:
    """What each method reaches, loses, and how it compares with ``base`` pair by pair, points. Of several trainings the
    smallest and the largest share stand in the interval's place."""
    told = {"unit": "points", "digits": 1, "sign": True}
    end = "Mean over domains after the last phase; smallest to largest of the seeds."
    since = "At the end minus right after its own phase, mean over the domains before the last: backward transfer (BWT)"
    minus = "All pairs after the last phase, paired bootstrap over pairs (95 %), over the seeds that both have."
    heads = [
        "method", Head("seeds", "How often it was trained, each time from another seed."),
        Head("at the end", end, unit="%", digits=1),
        Head("lost", "At the end minus the best since its own phase, mean over domains.", **told),
        Head("since its own phase", f"{since}.", **told), Head(f"minus {base}", minus, **told),
    ]  # fmt: skip
    rows = []
    for title, of in found.items():
        shares = of.average
        ends = (float(shares.least[-1]), float(shares.most[-1])) if shares.n > 1 else ()
        last, change = Estimate(float(shares.mean[-1]), *ends), against.get(title)
        lost, back = -float(of.forgetting.mean.mean()), float(of.backward.mean)
        rows.append([title, of.seeds, last, lost, back, change and change.pooled.final])
    return Table(heads, rows).html()


_DIFFERENCES = {
    "final": "all domains, at the end",
    "earlier": "domains before the last, at the end",
    "kept": "of these, what they lost or gained since their own phase",
}
"""What is compared (fields of ``Compared``), in words."""


def _methods_told(shown: Shown) -> str:
    """Every method against the plain one, pair by pair; and where there are several trainings, seed by seed and of all
    seeds, with what each interval covers, points."""
    trained, how = _everyone(shown), _how(shown.result)
    base = next((title for title, runs in trained.items() if runs[0].method == PLAIN), None)
    if base is None:
        return ""
    against = {title: versus(runs, trained[base], *how) for title, runs in trained.items() if title != base}
    told = [methods({title: repeated(runs, *how) for title, runs in trained.items()}, against, base)]
    for title, of in against.items():
        if (count := len(of.each)) > 1:
            labels = [*of.each, f"mean of {count} seeds, over pairs"]
            heads = [Head(label, unit="points", digits=1, sign=True) for label in labels]
            rows = [
                [name, *(getattr(one, which) for one in of.each.values()), getattr(of.pooled, which),
                 "{} to {}".format(*(points(end) for end in of.between(which)))]
                for which, name in _DIFFERENCES.items() if getattr(of.pooled, which) is not None
            ]
            told.append(
                f"<h4>{escape(title)} minus {escape(base)}, training by training</h4>"
                f'{Table(["", *heads, "over seeds, points"], rows).html()}<p class="key">n = {of.pooled.n} pairs, '
                f"{of.pooled.n_earlier} of them in domains before the last. {covers(count)}</p>"
            )
    return "".join(told)


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


def sentence(found: Sequence[spaces.Whole], direction: str, k: int, among: str) -> str:
    """What is left of the domains before the last, plain beside another method where there are two."""
    every = [recalls(of.space, direction, k, among) for of in found]
    (old, *_, n), titles = every[0].earlier(), [of.title for of in found]
    if not old:
        return "There is only one phase here, so nothing was lost yet."
    what, of = ("names", "pictures") if direction == "i2t" else ("pictures", "names")
    near = "" if k == 1 else f" among the first {k}"
    _, before, after, _ = zip(*(one.earlier() for one in every), strict=True)
    shares, then = map(percent, after), map(percent, before)
    more = (
        f"Counted are the domains before the last, n = {n} pairs, candidates: {AMONG[among]}. Right after the training "
        f"of its own domain it was {', '.join(map('{} with {}'.format, then, titles))}."
    )
    if len(found) == 1 or not all(one.runs for one in found):
        told = ", ".join(map("{} still finds {}".format, titles, shares))
        return f"Of earlier domains' {of}, {told} of the {what}{near}. {more}"
    (plain, beside), against = shares, versus(found[1].runs, found[0].runs, direction, k, among)
    low, high = against.between("earlier")
    seeds = "; one training of each, so nothing is known of others"
    if not np.isnan(low):
        seeds = f", {points(low)} to {points(high)} over {len(against.each)} trainings"
    return (
        f"Of earlier domains' {of}, {titles[0]} still finds {plain} of the {what}{near}, {titles[1]} {beside}: "
        f"{verdict(against)}. {more} {titles[1]} minus {titles[0]}: {estimate(against.pooled.earlier, 1, True)} points "
        f"over pairs{seeds}."
    )


def verdict(of: retrieval.Versus) -> str:
    """Whether the first of two methods keeps more of the domains before the last, in a few words. Of several trainings
    the interval over seeds decides, as it alone covers another training."""
    seeds, pooled = len(of.each), of.pooled.earlier
    low, high = of.between("earlier") if seeds > 1 else (pooled.low, pooled.high)
    if not (low > 0 or high < 0):
        return "no difference can be told"
    which = "more" if low > 0 else "fewer"
    return f"{which}, over {seeds} trainings" if seeds > 1 else f"{which}, in one training"


_KEEPS = {"more": "Mod-X", "fewer": "plain", "no": "no difference can be told"}


def _keeps(result: Lost) -> str | None:
    """Which of plain and Mod-X keeps more of the domains before the last; None where other trainings are shown."""
    every = result.whole
    if [of.space.method for of in every] != [PLAIN, BESIDE]:
        return None
    return _KEEPS[verdict(versus(every[1].runs, every[0].runs, *_how(result))).split()[0].rstrip(",")]


LOST = Section(
    name="lost", title="What was lost",
    question="Whose names does it no longer find?",
    about="A small CLIP learnt many drawings, then animals, food, travel, objects, symbols: one after another. With "
    "<b>Mod-X</b> it also keeps how pictures and names stood to each other.",
    label="small", paper=spaces.PAPER, of=SET, costs=spaces.COSTS,
    measure=_loaded, kept=_loaded, controls=_lost_controls, sentence=lambda found: sentence(found.whole, *_how(found)),
    views=(
        View("pairs", _cards, html=True),
        View(
            "matrices", html=True, folded="All numbers: recall by phase and domain", draw=lambda shown: "".join(
                f"<h4>{escape(of.title)}</h4>"
                + matrix(recalls(of.space, *_how(shown.result)), (place_of(of, shown["after"]), int(shown["domain"])))
                for of in shown.result.whole
            ),
        ),
        View(
            "methods", folded="Methods side by side", draw=lambda shown: averages(
                {title: repeated(runs, *_how(shown.result)) for title, runs in _everyone(shown).items()}
            ),
        ),
        View(
            "course", folded="Each domain, phase by phase", draw=lambda shown: course(
                recalls(shown.result.whole[-1].space, *_how(shown.result)), shown.result.whole[-1].title
            ),
        ),
        View("table", _methods_told, html=True, folded="Methods side by side, in numbers"),
    ),
    prediction=Prediction("after all five, who still finds more of the earlier names?", tuple(_KEEPS.values()), _keeps),
    tries=(
        Try("Every domain", values={"domain": -1}),
        Try("The animals, trained first", values={"domain": 1}),
        Try("Food, the most lost", values={"domain": 2}),
        Try("Can rehearsal do it?", values={"trained": "replay"}),
    ),
    then="Distances or names? " + GO.format("map", "See what moved") + " "
    + GO.format("matrix", "See whose name took their place"),
    reading=f"<p>A rank of 1: of all names of its domain the right one is nearest to the picture. Shown are the worst "
    "of what each training lost, in turn: the cards say how it looks, the sentence how often it happens. Between "
    f"trainings from other seeds numbers differ, too; only what all show counts.</p><p>{escape(told(BESIDE))}</p>",
)
