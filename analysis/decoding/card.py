"""What the model card says of object hallucination under each decoding strategy."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.decoding import strategies
from analysis.decoding.dataset.figure import HEADLINE, NAMES, beyond_chance, headline, points, sentence
from analysis.decoding.dataset.items import embedded
from analysis.decoding.dataset.measure import Hallucination, measure
from models import catalog

if TYPE_CHECKING:
    from analysis.decoding.dataset.scores import Estimate
    from analysis.statistics import Difference
    from models.mllm import MLLM


def section(opened: "Callable[[str], MLLM]" = catalog.open_model) -> str:
    """All strategies on the whole embedded set, base of the embedded default. Measures what is not kept yet."""
    return told(measure(opened(catalog.EMBEDDED), embedded(), {name: {} for name in strategies.ALL}))


def told(found: Hallucination) -> str:
    """The section's Markdown, of any numbers."""
    parts = [
        "## Object hallucination by decoding strategy (POPE and CHAIR)",
        f"Checkpoint {found.checkpoint}, drawn scenes of two or three things whose usual partners are absent, "
        "half of them in the art style never trained on. POPE (arXiv 2305.10355): as many questions about things that "
        "are there as about absent ones, which are any (random), often shown in training (popular), or the partners "
        "of what is there (adversarial). CHAIR (arXiv 1809.02156): objects named in captions that are not there, per "
        "mention (CHAIR_i) and per caption (CHAIR_s). Every strategy with its paper's defaults. Brackets are 95 % "
        "intervals over items: Wilson, and a bootstrap for F1, CHAIR_i and the recall of captions. Differences to "
        "greedy are paired; p is McNemar's exact test. Tokens/s: many items in one batch, searches one by one, "
        f"{found.provenance.device}.",
    ]
    for subset in found.subsets:
        parts += [f"### {subset} (n = {found.of(subset)[0].scores.n})", _table(found, subset), sentence(found, subset)]
    return "\n\n".join(parts)


def _table(found: Hallucination, subset: str) -> str:
    rows, name = found.of(subset), headline(found.of(subset))
    scores = [key for key in vars(rows[0].scores) if key != "n"]
    lines = [["strategy", *(NAMES[s] for s in scores), f"{NAMES[name]} minus greedy's, points", "tokens/s"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        cells = [_cell(getattr(row.scores, s)) for s in scores]
        change = _change(row.differences.get(name), HEADLINE[name])
        lines.append([found.titles[row.strategy], *cells, change, f"{row.tokens_per_second:.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(of: "Estimate") -> str:
    return "–" if math.isnan(of.value) else f"{of.value:.1%} ({of.low:.1%} to {of.high:.1%})"


def _change(of: "Difference | None", better: str) -> str:
    if of is None or math.isnan(of.value):
        return "–"
    p = "" if math.isnan(of.p) else f", p = {of.p:.2g}"
    verdict = "" if not beyond_chance(of) else " better" if (of.value > 0) == (better == "above") else " worse"
    return f"{points(of.value)} ({points(of.low)} to {points(of.high)}{p}){verdict}"
