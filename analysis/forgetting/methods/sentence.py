"""Which methods forget less than plain training, and what it costs: in plain words, true whatever the numbers are."""

import math
from typing import TYPE_CHECKING

from analysis.wording import change, listed, percent, plural, points

if TYPE_CHECKING:
    from analysis.forgetting.methods.estimates import Seeded
    from analysis.forgetting.methods.measure import Methods, Row, Turned


def sentence(found: "Methods") -> str:
    """Less and more forgetting (BWT) beyond intervals, its price (MFT), and who knows more in the end (MFN)."""
    return " ".join(paragraphs(found))


def paragraphs(found: "Methods") -> list[str]:
    """The same, a text a thought."""
    plain = next(row for row in found.rows if row.method == found.plain)
    at = plain.estimates
    if math.isnan(at["bwt"].value):
        return ["A set of one task has nothing to forget, so there is nothing to compare."]
    said = [
        f"{found.plain.capitalize()} training reaches {percent(at['mft'].value)} right after each task (MFT) and "
        f"keeps {percent(at['mfn'].value)} in the end (MFN): later tasks change earlier ones by "
        f"{points(at['bwt'].value)} (BWT; {sum(found.n)} items)."
    ]
    others = [row for row in found.rows if row.changes["bwt"] is not None]
    if not others:
        return [*said, "No other method was measured on the same questions, so there is nothing to compare."]
    less = [row for row in others if _above(row.changes["bwt"])]
    more = [row for row in others if _below(row.changes["bwt"])]
    same = [row for row in others if row not in less and row not in more]
    if less:
        told = [f"{row.method} by {change(row.changes['bwt'])}" for row in _by(less, "bwt")]
        said.append(f"Beyond their intervals, these forget less: {listed(told)}. {_price(less)}")
    if more:
        told = [f"{row.method} by {change(row.changes['bwt'])}" for row in _by(more, "bwt")[::-1]]
        said.append(f"These forget more: {listed(told)}.")
    if same:
        said.append(f"No difference in forgetting can be told for {listed([row.method for row in same])}.")
    return [*said, _end(others), _seeds(found)]


def _above(change: "Seeded") -> bool:
    return change.clear and change.value > 0


def _below(change: "Seeded") -> bool:
    return change.clear and change.value < 0


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
    widest = max(several, key=lambda row: max(row.estimates["bwt"].seeds) - min(row.estimates["bwt"].seeds))
    values = widest.estimates["bwt"].seeds
    single = [row.method for row in found.rows if len(row.seeds) == 1]
    alone = f"; one seed alone for {listed(single)}" if single else ""
    return (
        f"Intervals are over items; seeds differ by up to {100 * (max(values) - min(values)):.1f} points of BWT "
        f"({widest.method}, {len(widest.seeds)} seeds){alone}."
    )


def orders(found: "Methods") -> str:
    """How much the order of tasks matters."""
    return " ".join(by_order(found))


def by_order(found: "Methods") -> list[str]:
    """The same, a text a method."""
    if not found.orders:
        return ["No method was trained in another order of tasks, so what the order changes is not known."]
    return [_order(found, turned) for turned in found.orders]


def _order(found: "Methods", turned: "Turned") -> str:
    of, seeds = turned.changes["mfn"], plural(len(turned.seeds), "seed")
    what = (
        f"changes how much {turned.method} knows in the end by {change(of)}" if of.clear else
        f"does not clearly change how much {turned.method} knows in the end: {change(of)}"
    )  # fmt: skip
    how = "The reversed order" if turned.order == found.order[::-1] else f"The order {', '.join(turned.order)}"
    clear = [i for i, end in enumerate(turned.ends) if end.clear]
    if not clear:
        return f"{how} {what}, {seeds}. No single task ends clearly higher or lower."
    most = max(clear, key=lambda i: abs(turned.ends[i].value))
    return (
        f"{how} {what}, {seeds}. But {len(clear)} of {len(found.order)} tasks end clearly higher or lower, most "
        f"{found.order[most]}: {percent(turned.usual[most].value)} → {percent(turned.here[most].value)}."
    )
