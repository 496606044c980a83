"""Which methods forget less than plain training, and what it costs: in plain words, true whatever the numbers are."""

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import change, listed, number, percent, plural, points

if TYPE_CHECKING:
    from analysis.forgetting.methods.estimates import Seeded
    from analysis.forgetting.methods.measure import Methods, Row, Turned


def sentence(found: "Methods") -> str:
    """Less and more forgetting (BWT) beyond intervals, its price (MFT), and who knows more in the end (MFN)."""
    plain = next(row for row in found.rows if row.method == found.plain)
    at = plain.estimates
    if math.isnan(at["bwt"].value):
        return "A set of one task has nothing to forget, so there is nothing to compare."
    alone = (
        f"{found.plain.capitalize()} training reaches {percent(at['mft'].value)} right after each task (MFT) and "
        f"keeps {percent(at['mfn'].value)} in the end (MFN): later tasks change earlier ones by "
        f"{points(at['bwt'].value)} (BWT; mean of {plural(len(plain.seeds), 'training run')}, {sum(found.n)} items)."
    )
    others = [row for row in found.rows if row.changes["bwt"] is not None]
    if not others:
        return f"{alone} No other method was measured on the same questions, so there is nothing to compare."
    less = _by([row for row in others if _above(row.changes["bwt"])], "bwt")
    more = _by([row for row in others if _below(row.changes["bwt"])], "bwt")[::-1]
    same = [row.method for row in others if row not in less and row not in more]
    said = [_headline(found, less, more, others), alone]
    if less:
        told = [f"{row.method} by {change(row.changes['bwt'])}" for row in less]
        said.append(f"Beyond their intervals, these forget less: {listed(told)}. {_price(less)}")
    if more:
        told = [f"{row.method} by {change(row.changes['bwt'])}" for row in more]
        said.append(f"These forget more: {listed(told)}.")
    if same:
        said.append(f"No difference in forgetting can be told for {listed(same)}.")
    left = f" Not compared, for reasons below all numbers: {listed(list(found.without))}." if found.without else ""
    return " ".join([*said, _end(others), _seeds(found)]) + left


def _headline(found: "Methods", less: "list[Row]", more: "list[Row]", others: "list[Row]") -> str:
    if less:
        return (
            f"{len(less)} of {plural(len(others), 'method')} forget less than {found.plain} training beyond their "
            f"intervals, most of all {less[0].method}: {change(less[0].changes['bwt'])}."
        )
    if more:
        return f"No method forgets less than {found.plain} training beyond its interval; {len(more)} forget more."
    return f"No difference in forgetting can be told between {found.plain} training and the others."


def _above(of: "Seeded") -> bool:
    return of.clear and of.value > 0


def _below(of: "Seeded") -> bool:
    return of.clear and of.value < 0


def _by(rows: "list[Row]", metric: str) -> "list[Row]":
    return sorted(rows, key=lambda row: -row.changes[metric].value)


def _price(rows: "list[Row]") -> str:
    """What those that forget less lose of what each task reaches."""
    paid = [row for row in rows if _below(row.changes["mft"])]
    free = [row for row in rows if row not in paid]
    told = []
    if paid:
        costs = [f"{row.method} {points(row.changes['mft'].value)}" for row in _by(paid, "mft")[::-1]]
        told.append(f"The price is in learning (MFT): {listed(costs)}.")
    if free:
        told.append(f"No price in MFT can be told for {listed([row.method for row in free])}.")
    return " ".join(told)


def _end(rows: "list[Row]") -> str:
    better = [row for row in rows if _above(row.changes["mfn"])]
    worse = [row for row in rows if _below(row.changes["mfn"])]
    if not better and not worse:
        return "In the end none knows clearly more or less than plain training (MFN)."
    told = []
    if better:
        names = [f"{row.method} ({points(row.changes['mfn'].value)})" for row in _by(better, "mfn")]
        told.append(f"these know more than plain training: {listed(names)}")
    if worse:
        names = [f"{row.method} ({points(row.changes['mfn'].value)})" for row in _by(worse, "mfn")[::-1]]
        told.append(f"these know less: {listed(names)}")
    return f"In the end, of all tasks (MFN), {'; '.join(told)}."


def _seeds(found: "Methods") -> str:
    """How many seeds there are, and how much they differ."""
    several = [row for row in found.rows if len(row.seeds) > 1]
    if not several:
        return "One seed each: what another seed would change is not in these intervals."
    widest = max(several, key=lambda row: np.ptp(row.estimates["bwt"].seeds))
    single = [row.method for row in found.rows if len(row.seeds) == 1]
    alone = f"; one seed alone for {listed(single)}" if single else ""
    apart = number(100 * np.ptp(widest.estimates["bwt"].seeds), 1)
    return (
        f"Intervals are over items; seeds differ by up to {apart} points of BWT ({widest.method}, "
        f"{len(widest.seeds)} seeds){alone}."
    )


def orders(found: "Methods") -> str:
    """How much the order of tasks matters, by method."""
    if not found.orders:
        return "No method was trained in another order of tasks, so what the order changes is not known."
    return " ".join(_order(found, turned) for turned in found.orders)


def _order(found: "Methods", turned: "Turned") -> str:
    of, seeds = turned.changes["mfn"], plural(len(turned.seeds), "seed")
    clearly = "changes" if of.clear else "does not clearly change"
    what = f"{clearly} how much {turned.method} knows in the end: {change(of)}, {seeds}."
    how = "The reversed order" if turned.order == found.order[::-1] else f"The order {', '.join(turned.order)}"
    clear = [i for i, end in enumerate(turned.ends) if end.clear]
    if not clear:
        return f"{how} {what} No single task ends clearly higher or lower."
    most = max(clear, key=lambda i: abs(turned.ends[i].value))
    return (
        f"{how} {what} But {len(clear)} of {len(found.order)} tasks end clearly higher or lower, most "
        f"{found.order[most]}: {percent(turned.usual[most].value)} → {percent(turned.here[most].value)}."
    )
