"""How the data-set view looks: every strategy's score beside its speed, a table with intervals, one sentence."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import ANSWER, NEUTRAL, WRONG, figure, reach
from analysis.table import Head, Table
from analysis.wording import UNKNOWN, change, estimate, listed, number, plural, points, verdict

if TYPE_CHECKING:
    from analysis.decoding.dataset.measure import Hallucination, Row
    from analysis.statistics import Difference, Estimate

NAMES = {
    "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "yes": "Yes-ratio",
    "alarms": "False alarms", "moved": "Greedy’s, threshold moved to this recall", "blind": "Yes, blind", "auc": "AUC",
    "objects": "CHAIR_i", "sentences": "CHAIR_s",
}
HEADLINE = {"accuracy": "above", "objects": "below"}
"""The score that a subset is judged by, and on which side of greedy it is better."""

_DASHES = {
    "accuracy": "precision takes a yes; AUC two true and two false items, and scores of the rule that rank them, as a "
    "moved threshold and a blind answer do",
    "objects": "CHAIR_i takes an object that is named, recall one that is there",
}
_HARDEST = "adversarial"  # of POPE's subsets
_P = 0.05


def headline(rows: "Sequence[Row]") -> str:
    """The name of the score that rows of one subset are judged by."""
    return next(name for name in HEADLINE if hasattr(rows[0].scores, name))


def beyond_chance(of: "Difference") -> bool:
    """Whether a difference's interval leaves out zero and, where McNemar's exact test applies, p is at most 0.05.

    The interval alone makes too much of few items that differ.
    """
    return of.clear and not of.p > _P


def _side(row: "Row", name: str) -> int:
    """1 where a strategy is better than greedy beyond chance, -1 where it is worse, else 0."""
    change = row.differences.get(name)
    if change is None or not beyond_chance(change):
        return 0
    return 1 if (change.value > 0) == (HEADLINE[name] == "above") else -1


def spread(found: "Hallucination", subset: str) -> go.Figure:
    """A subset's headline score of each strategy, with its 95 % interval; speed is written beside."""
    rows = found.of(subset)
    name = headline(rows)
    values, titles = [getattr(row.scores, name) for row in rows], [escape(_title(found, row)) for row in rows]
    speeds = ["" if math.isnan(s) else f"{s:.0f} tokens/s" for s in (row.tokens_per_second for row in rows)]
    places = list(range(len(rows)))
    dots = go.Scatter(
        x=[100 * v.value for v in values], y=places, mode="markers", customdata=titles, cliponaxis=False,
        marker={"size": 12, "color": [(NEUTRAL, ANSWER, WRONG)[_side(row, name)] for row in rows]},
        error_x={**reach(values), "thickness": 2, "width": 5, "color": NEUTRAL},
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
    )
    labels = [f"{title}<br>{speed}" for title, speed in zip(titles, speeds, strict=True)]
    title = f"{NAMES[name]}, %, 95 % intervals<br>({subset}, n = {rows[0].scores.n})"
    return figure(
        110 + 46 * len(rows), dots, margin={"l": 8, "r": 24, "t": 8, "b": 8},
        xaxis={"title": title}, yaxis={"tickvals": places, "ticktext": labels, "autorange": "reversed"},
    )


def _title(found: "Hallucination", row: "Row") -> str:
    title = found.titles[row.strategy]
    return title.partition("(")[2].rstrip(")") or title


def scores_table(found: "Hallucination", subset: str) -> Table:
    """All scores of a subset, the difference to greedy with its test, and the speed."""
    rows = found.of(subset)
    name, scores = headline(rows), [key for key in vars(rows[0].scores) if key != "n"]
    cells = []
    for row in rows:
        of, side = row.differences.get(name), ("", " better", " worse")[_side(row, name)]
        against = estimate(of, 1, sign=True, p=True) + side if of is not None and of.known else UNKNOWN
        told = [found.titles[row.strategy], *(getattr(row.scores, s) for s in scores), against, row.tokens_per_second]
        cells.append(told)
    heads = [Head(NAMES[s], digits=3) if s == "auc" else Head(NAMES[s], unit="%", digits=1) for s in scores]
    heads = [*heads, f"{NAMES[name]} minus greedy’s, points"]
    dash = f"{_DASHES[name]}; greedy is what others are compared with"
    return Table(["Strategy", *heads, Head("Tokens/s", digits=0)], cells, dash=dash)


def table(found: "Hallucination", subset: str) -> str:
    """The same on the page."""
    if not found.of(subset):
        return ""
    return (
        f"{scores_table(found, subset).html()}"
        f'<p class="key">{escape(subset)}, n = {found.of(subset)[0].scores.n}. Brackets: 95 % intervals (Wilson; a '
        "bootstrap for F1, CHAIR_i and the recall of captions). Differences are paired over the same items; p is "
        "McNemar’s exact test. Items about one picture count as independent.</p>"
    )


def overall(found: "Hallucination", subset: str = _HARDEST) -> str:
    """How many rules help on a subset (without such, the first), whether by more than a shift, then each in full."""
    order = sorted(found.subsets, key=lambda name: name != subset)
    rows = [row for row in found.of(order[0]) if row.differences]
    sides = [_side(row, headline(rows)) for row in rows]
    better, worse = sides.count(1), sides.count(-1)
    first = (
        f"On {order[0]}{' items' * (order[0] != 'captions')} {better or 'none'} of {len(rows)} rules "
        f"{'is' if better == 1 else 'are'} better than greedy beyond chance, {worse or 'none'} worse "
        f"(n = {rows[0].scores.n})."
    )
    controls = [shift(found, order[0]), company(found, order[0])]
    controls += [sampling(found, s) for s in dict.fromkeys((order[0], found.subsets[-1]))]
    return "\n".join([first, *filter(None, controls), *(sentence(found, subset) for subset in order)])


def shift(found: "Hallucination", subset: str) -> str:
    """Whether what rules change is more than a shift of greedy's threshold, and what the model says with the picture
    taken away; nothing where no margins are known."""
    told, blind = {}, []
    for row in found.of(subset):
        of = row.differences.get("alarms")
        if of and of.known and row.differences["yes"].reach != (0, 0):  # not where every answer is greedy's
            pair = f"{_title(found, row)} ({_share(row.scores.alarms)} against {_share(row.scores.moved)})"
            how = verdict(of, "more", "fewer, so more than a shift", "no difference can be told")
            told.setdefault(how, []).append(pair)
            if row.scores.blind.known and not row.strategy.startswith("inter"):  # INTER subtracts more than that
                blind.append((row.scores.blind, _title(found, row)))
    said = "; ".join(f"{how}: {listed(pairs)}" for how, pairs in told.items())
    said = f"False alarms, against greedy with its threshold moved to the same recall: {said}." if told else ""
    if blind:
        low, high = min(of.low for of, _ in blind), max(of.high for of, _ in blind)
        to = "yes" if high < 0.5 else "no" if low > 0.5 else ""
        way = f", so subtracting that pushes towards {to}" if to else ""
        shares = listed([f"{_share(of)} ({title})" for of, title in blind])
        said += f"\nWith the picture taken away, the model says yes to {shares}{way}."
    return said


def company(found: "Hallucination", subset: str = _HARDEST) -> str:
    """Greedy's false alarms for absent partners of what is there beside those for other things, once for a set."""
    for of in [*found.company.values()][: subset == _HARDEST]:
        usual, others = (f"{_share(e)} of {e.n}" for e in (of.partners, of.others))
        how = f"{change(of.apart, digits=1)}, {verdict(of.apart, 'more', 'fewer', 'no difference can be told')}"
        return f"Greedy says yes to {usual} absent partners of what is there, and {others} other absent things: {how}."
    return ""


def sampling(found: "Hallucination", subset: str) -> str:
    """What INTER gains over sampling, beside what its plausibility cut alone gains; nothing where that is not there."""
    over = {row.strategy: row.over for row in found.of(subset)}
    if len(inter := over.get("inter-nucleus", {})) < 2:
        return ""
    whole, cut, beyond = inter["nucleus"], over["nucleus-cut"]["nucleus"], inter["nucleus-cut"]
    return (
        f"{NAMES[headline(found.of(subset))]} against nucleus sampling ({subset}): INTER that samples "
        f"{change(whole, digits=1)}, the plausibility cut alone {change(cut, digits=1)}; INTER beyond the cut "
        f"{change(beyond, digits=1)}, {verdict(beyond, 'more', 'less', 'no difference can be told')}."
    )


def sentence(found: "Hallucination", subset: str) -> str:
    """Which strategies are better or worse than greedy on a subset, beyond chance; in plain words."""
    rows = found.of(subset)
    if not rows:
        return "Nothing was measured on this subset."
    name, of = headline(rows), next(row for row in rows if not row.differences).scores
    if name == "accuracy":
        said = (
            f"On {subset} questions (n = {of.n}) greedy decoding is right in {_share(of.accuracy)} and says yes to "
            f"{_share(of.yes)}."
        )
    else:
        said = (
            f"In {plural(of.n, 'caption')}, {_share(of.objects)} of the objects that greedy decoding names are not "
            f"there (CHAIR_i), in {_share(of.sentences)} of the captions at least one (CHAIR_s)."
        )
    parts = []
    for side, how in ((1, "better"), (-1, "worse"), (0, "no clear difference")):
        which = [row for row in rows if row.differences and _side(row, name) == side]
        told = [_title(found, r) + (f" ({points(r.differences[name].value, 1)})" if side else "") for r in which]
        parts += [f"{how}: {listed(told)}"] if told else []
    return f"{said} Against it, {'; '.join(parts)}." if parts else said


def _share(of: "Estimate") -> str:
    return f"{number(100 * of.value, 1)} %" if of.known else UNKNOWN
