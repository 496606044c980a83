"""What the model card says of object hallucination under each decoding strategy."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from analysis.decoding import strategies
from analysis.decoding.dataset.figure import company, sampling, scores_table, sentence, shift
from analysis.decoding.dataset.measure import Hallucination, embedded, measure
from analysis.wording import listed, points
from models import catalog
from models.embedded.company import RECIPES
from models.embedded.hallucination_sets import EXISTENCE, SUBSETS

if TYPE_CHECKING:
    from models.mllm import MLLM

EXPECTS = f"{catalog.EMBEDDED} (prior)"  # as the catalog calls those checkpoints that were trained to expect company
CONTRASTS = ("inter", "vcd", "cfg")  # those that can change a first token: M3ID cannot, and DoLa contrasts layers


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
        said = [tell(found, subset) for tell in (sentence, shift, sampling, company)]
        parts += [head, scores_table(found, subset).markdown(), " ".join(filter(None, said)).replace("\n", " ")]
    return "\n\n".join(parts)


def prior(opened: "Callable[[str], MLLM]" = catalog.open_model, scenes: int = 4 * EXISTENCE) -> str:
    """What contrasts do to the checkpoints that were trained to expect company; nothing while these do not ship."""
    if EXPECTS not in {entry.name for entry in catalog.entries()}:
        return ""
    model, data, wanted = opened(EXPECTS), embedded(scenes, 0), {name: {} for name in CONTRASTS}
    return prior_told({name: measure(model, data, wanted, name) for name in model.checkpoint_names})


def prior_told(found: Mapping[str, Hallucination]) -> str:
    """The section's Markdown, of any numbers by checkpoint."""
    about = (
        "The prior was put there by training, and so was what is said blind: yes by one recipe, no by the other. A "
        "blind yes, taken away, should lower false alarms, a blind no raise them. -1, -2: other training seeds."
    )
    parts = ["## A prior, learnt, and what contrasts do to it", about, opposed(found)]
    for name, of in found.items():
        said = f"{company(of, SUBSETS[-1])} {shift(of, SUBSETS[-1])}".replace("\n", " ")
        parts += [f"### {name} (n = {of.of(SUBSETS[-1])[0].scores.n})", scores_table(of, SUBSETS[-1]).markdown(), said]
    return "\n\n".join(parts)


def opposed(found: Mapping[str, Hallucination]) -> str:
    """In how many training seeds a contrast changes false alarms for absent partners in opposite directions."""
    no, yes = RECIPES
    seeds, parts = [name.removeprefix(no) for name in found if name.startswith(no)], []
    for rule in CONTRASTS:
        pairs = [[found[arm + seed].company[rule].more for arm in (yes, no)] for seed in seeds]
        turned = [a.clear and b.clear for a, b in pairs if a.value * b.value < 0]
        told = listed([f"{points(a.value, 1)} and {points(b.value, 1)}" for a, b in pairs])
        how = f"opposite in {len(turned)} of {len(pairs)} seeds, {sum(turned)} beyond chance"
        parts.append(f"{found[yes].titles[rule]}: {how} ({told})")
    return f"Change of false alarms for absent partners where the blind answer is yes, and no: {'; '.join(parts)}."
