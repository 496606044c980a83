"""What the model card says of interference and its remedies, and of modality conflict."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from analysis.interference.conflict import figure as of_conflicts
from analysis.interference.conflict.measure import ITEMS, TRAINED, Conflicts, measured
from analysis.interference.dataset import figure as of_sets
from analysis.interference.dataset.measure import KINDS, MITIGATION, ORIGIN, TITLES, chosen, measure
from analysis.interference.dataset.result import Accuracies, accuracies
from analysis.table import Head, Table
from analysis.wording import between, estimate, listed, share, signed
from models import catalog
from models.embedded.conflict import TRUST

if TYPE_CHECKING:
    from models.mllm import MLLM

_HEADLINE = "misleading"  # the condition that segments are told for


def sets(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Interference on the shipped sets, of the base and of every checkpoint of ``opened(MITIGATION)``.

    Measures what is not kept yet.
    """
    model = opened(MITIGATION)
    found = accuracies(tuple(measure(model, chosen([*KINDS]), model.checkpoint_names)))
    return "\n\n".join([sets_told(found), model.checkpoints.manifest.recipe.get("about", "")])


def sets_told(found: Accuracies) -> str:
    """The section's Markdown, of any numbers."""
    counts = ", ".join(f"{p.n} {p.kind}" for p in found.panels)
    parts = [
        "## Modality interference, and what training against it gives",
        f"Items: {counts} (`assets/embedded/interference`). Each is asked as it is and "
        "with one thing changed in the modality that should not matter; the answer is the likeliest of the item's "
        "options (log-probabilities of their tokens, summed), and the wrong option that a perturbation names is the "
        "same for every checkpoint. *Drop*: accuracy as asked minus accuracy under the perturbation; *flips*: share of "
        "items with another answer than as asked; *recovery*: the base's drop minus the checkpoint's; *clean change*: "
        "the checkpoint's accuracy as asked minus the base's. Brackets are 95 % intervals: Wilson for shares, paired "
        "bootstrap over items for differences; one training seed.",
    ]
    for place, panel in enumerate(found.panels):
        all_rows = [r for r in found.rows if r.panel == place]
        rows, some = [r for r in all_rows if r.segment is None], [c for c in found.compared if c.panel == place]
        called = {r.condition: r.title.lower() for r in rows}
        least = {c: min(r.n for r in rows if r.condition == c) for c in called}
        fewer = {c: f" (n = {n})" if n < max(r.n for r in rows) else "" for c, n in least.items()}
        heads = {c: Head(name + fewer[c], shares=True) for c, name in called.items()}
        at = {(r.checkpoint, r.condition): r for r in rows}
        changes = {key: f"{estimate(r.drop, 1)}; {estimate(r.flip)}" for key, r in at.items() if r.drop}
        parts += [
            f"### {panel.title} (n = {panel.n}): {panel.about}",
            _grid("accuracy, %", heads, {key: r.accuracy for key, r in at.items()}),
            _grid("drop, points; flips, %", {c: name for c, name in called.items() if c != ORIGIN}, changes, at),
        ]
        if some:
            names = {c.condition: f"recovery, {c.title.lower()}" for c in some} | {ORIGIN: "clean change"}
            heads = {c.condition: Head(names[c.condition], digits=1, sign=True, shares=True) for c in some}
            differences = {(c.checkpoint, c.condition): c.difference for c in some}
            parts.append(_grid("points against the base", heads, differences))
        both = (ORIGIN, _HEADLINE)
        pieces = [r for r in all_rows if r.segment is not None and r.condition in both]
        if any(r.condition == _HEADLINE for r in pieces):
            at = {(r.segment, r.checkpoint, r.condition): r.accuracy for r in pieces}
            cells = [
                [f"{segment} (n = {at[segment, name, ORIGIN].n})", name, *(at.get((segment, name, c)) for c in both)]
                for segment in dict.fromkeys(r.segment for r in pieces)
                for name in dict.fromkeys(r.checkpoint for r in pieces)
            ]
            heads = [Head(TITLES[c].lower(), shares=True) for c in both]
            parts.append(Table(["items", "accuracy, %", *heads], cells).markdown())
    return "\n\n".join([*parts, of_sets.sentence(found)])


def _grid(corner: str, columns: Mapping[str, str | Head], at: Mapping, rows: Mapping | None = None) -> str:
    """A row a checkpoint, a column a condition: ``at[checkpoint, condition]``."""
    names = dict.fromkeys(name for name, _ in rows or at)
    return Table([corner, *columns.values()], [[n, *(at.get((n, c)) for c in columns)] for n in names]).markdown()


def conflicts(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Conflicts of the embedded default's base. Measures what is not kept yet."""
    return conflicts_told(measured(opened(catalog.EMBEDDED), count=ITEMS))


def conflicts_told(found: Conflicts) -> str:
    """The section's Markdown, of any numbers."""
    curve, compared = found.fitted, found.oscillation
    if curve.reason or np.isnan(curve.balance.low):
        balance = f"none: {curve.reason or 'the slope could be zero'}"
    else:
        beyond = "; beyond what was measured" if curve.beyond else ""
        balance = f"{signed(curve.balance.value)} ({between(curve.balance, 2, sign=True, times=1)}{beyond})"
    known = found.switches[found.counted & ~np.isnan(found.switches)]
    if compared:
        span = f"near − far {between(compared.difference, 2, sign=True, times=1)}; n = {compared.difference.n} each"
        inside = f"{compared.near:.2f} and {compared.far:.2f} ({span})"
    else:
        inside = f"not compared; {known.mean():.2f} on average (n = {len(known)})" if len(known) else "not measured"
    numbers = [
        ["conflicts; counted", f"{len(found.seen)}; {int(found.counted.sum())}"],
        ["follows the text (TFR)", share(found.following_text)],
        ["balance point of relative uncertainty", balance],
        ["changes of the lead between layers, near and far", inside],
    ]
    about = (
        f"Picture and text name different things ({len(found.seen)} drawn scenes, checkpoint "
        f"{found.provenance.checkpoint}; a third each with 0, 30 and 60 % of the thing covered, crossed with three "
        "wordings of the text). An item *counts* where the text alone and the picture alone are both answered "
        "rightly and the answer from both names one of the two. Relative uncertainty is 2 (H_t − H_v) / (H_t + "
        "H_v), H the entropy of the next token from the text alone and the picture alone; the balance point is "
        "where a logistic fit of P(follow text) on it is 1/2 (arXiv 2511.02243). Brackets are 95 % intervals: "
        "Wilson for shares, Fieller for the balance point, bootstrap for near minus far."
    )
    tables = [Table(["", "measured"], numbers).markdown(), of_conflicts.tier_table(found).markdown()]
    return "\n\n".join(["## Modality conflict", about, *tables, of_conflicts.sentence(found)])


def trusts(opened: "Callable[[str], MLLM]" = catalog.open_model, count: int = 2 * ITEMS) -> str:
    """As ``conflicts``, of the checkpoints that were trained whom to believe; nothing while these do not ship."""
    if TRAINED not in {entry.name for entry in catalog.entries()}:
        return ""
    model = opened(TRAINED)
    return trusts_told({name: measured(model, name, count, tiers="trained") for name in model.checkpoint_names})


def trusts_told(found: Mapping[str, Conflicts]) -> str:
    """The section's Markdown, of any numbers by checkpoint."""
    rows = []
    for name, of in found.items():
        least, place = min(of.by_tier, key=lambda tier: tier.right.value), estimate(of.fitted.balance, 2, True, 1)
        told = share(of.following_text), place, f"{least.name}: {share(least.right)}"
        rows.append([f"{name}, n = {len(of.seen)}", int(of.counted.sum()), *told])
    heads = ["checkpoint, conflicts", "count", "follow the text", "balance point", "least right alone"]
    about = (
        "Trained where a text is right as often as its wording says, a picture as its cover leaves it; in conflicts "
        "the text counts for more, as much or less than that. The odds of that world put there what is seen here."
    )
    return "\n\n".join(["## Whom to believe, learnt", about, Table(heads, rows).markdown(), in_order(found)])


def in_order(found: Mapping[str, Conflicts]) -> str:
    """Whether the balance points of the checkpoints of ``TRUST`` come in the order taught, in a sentence."""
    curves = {name: found[name].fitted for name in TRUST}
    # Fieller's interval has ends exactly where the slope's leaves out zero
    if lost := [name for name, of in curves.items() if of.reason or np.isnan(of.balance.low) or of.slope > 0]:
        return f"Whether balance points are in order cannot be told: no falling curve for {listed(lost)}."
    first, middle, last = (of.balance for of in curves.values())
    order = "" if first.value > middle.value > last.value else "not "
    said = listed([f"{name} {signed(of.balance.value)}" for name, of in curves.items()])
    outer = f"the intervals of the outer two {'are apart' if first.low > last.high else 'overlap'}"
    return f"Every curve falls beyond chance. Balance points, {said}, are {order}in the order taught; {outer}."
