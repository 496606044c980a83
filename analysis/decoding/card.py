"""What the model card says of object hallucination under each decoding strategy."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.decoding import strategies
from analysis.decoding.dataset.figure import sampling, scores_table, sentence, shift
from analysis.decoding.dataset.measure import Hallucination, embedded, measure
from models import catalog

if TYPE_CHECKING:
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
        "mention (CHAIR_i) and per caption (CHAIR_s). Settings are those of the table. Brackets are 95 % "
        "intervals over items: Wilson, and a bootstrap for F1, CHAIR_i and the recall of captions. Differences to "
        "greedy are paired; p is McNemar's exact test. AUC: of log p(yes) - log p(no) at the first token by the rule's "
        "scores without its cut (DeLong's interval): DoLa's rank what early layers find least likely, so at chance; a "
        "rule that draws ranks nothing. Greedy's threshold is moved on the same items (bootstrap, moved anew in each "
        "draw). Blind: its picture is taken away as the rule does it. Sampling: item i with seed i. Tokens/s: many "
        f"items in one batch, searches one by one, {found.provenance.device}.",
    ]
    for subset in found.subsets:
        head = f"### {subset} (n = {found.of(subset)[0].scores.n})"
        said = " ".join(filter(None, (tell(found, subset) for tell in (sentence, shift, sampling)))).replace("\n", " ")
        parts += [head, scores_table(found, subset).markdown(), said]
    return "\n\n".join(parts)
