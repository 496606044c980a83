"""What the model card says of modality conflict."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from analysis.interference.conflict.figure import tier_table
from analysis.interference.conflict.measure import ITEMS, Conflicts, measured
from analysis.interference.conflict.sentence import sentence
from analysis.table import Table
from analysis.wording import between, share, signed
from models import catalog

if TYPE_CHECKING:
    from models.mllm import MLLM


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """Conflicts of the embedded default's base. Measures what is not kept yet."""
    return told(measured(opened(catalog.EMBEDDED), count=ITEMS))


def told(found: Conflicts) -> str:
    """The section's Markdown, of any numbers."""
    numbers = [
        ["conflicts; counted", f"{len(found.seen)}; {int(found.counted.sum())}"],
        ["follows the text (TFR)", share(found.following_text)],
        ["balance point of relative uncertainty", _balance(found)],
        ["changes of the lead between layers, near and far", _inside(found)],
    ]
    return "\n\n".join(
        [
            "## Modality conflict",
            f"Picture and text name different things ({len(found.seen)} drawn scenes, checkpoint "
            f"{found.provenance.checkpoint}; a third each with 0, 30 and 60 % of the thing covered, crossed with three "
            "wordings of the text). An item *counts* where the text alone and the picture alone are both answered "
            "rightly and the answer from both names one of the two. Relative uncertainty is 2 (H_t − H_v) / (H_t + "
            "H_v), H the entropy of the next token from the text alone and the picture alone; the balance point is "
            "where a logistic fit of P(follow text) on it is 1/2 (arXiv 2511.02243). Brackets are 95 % intervals: "
            "Wilson for shares, Fieller for the balance point, bootstrap for near minus far.",
            Table(["", "measured"], numbers).markdown(),
            tier_table(found).markdown(),
            sentence(found),
        ]
    )


def _balance(found: Conflicts) -> str:
    curve = found.fitted
    if curve.reason:
        return f"none: {curve.reason}"
    if np.isnan(curve.balance.low):
        return "none: the slope could be zero"
    beyond = "; beyond what was measured" if curve.beyond else ""
    return f"{signed(curve.balance.value)} ({between(curve.balance, 2, sign=True, times=1)}{beyond})"


def _inside(found: Conflicts) -> str:
    compared = found.oscillation
    if compared is None:
        known = found.switches[found.counted & ~np.isnan(found.switches)]
        return f"not compared; {known.mean():.2f} on average (n = {len(known)})" if len(known) else "not measured"
    span = between(compared.difference, 2, sign=True, times=1)
    return f"{compared.near:.2f} and {compared.far:.2f} (near − far {span}; n = {compared.difference.n} each)"
