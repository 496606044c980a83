"""The endpoint of the room: the embedded default's phases as numbers."""

from analysis.embedding_space import runs
from analysis.embedding_space.pairs import drawings
from analysis.embedding_space.result import LIKENESS, OF_A_PHASE, sentence
from analysis.embedding_space.retrieval import DIRECTIONS, recalls
from analysis.endpoints import checked
from analysis.result import plain
from models.errors import InputError


@checked
def embedding_space(method: str = "plain", phase: str = "") -> dict:
    """Tell how the embedding space of a CLIP model turned while it was trained on one domain after another.

    Lists have an entry for each of phases; null where a phase is earlier than the one compared with. Angles are in
    degrees, means over pictures and over texts. trainings has the last phase of other seeds beside what ships.

    Args:
        method: How it was trained: plain, mod-x, replay, interpolation or joint; left out, plain.
        phase: The phase that others are compared with; left out, base, before any domain.

    Returns:
        phases: their names; rotation_degrees: angle by which embeddings turned, of image and text
        deviation_degrees: angle between the rotations of the two; residual: what is left after the best rotation
        gap: distance between the means of pictures and texts
        recall: matrices (phase, domain) of how often the right partner is found first, i2t and t2i
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    recipe = runs.recipe(method)
    found = runs.measured(recipe)
    if phase and phase not in found.phases:
        raise InputError(f"There is no phase {phase!r}. There are: {', '.join(found.phases)}.")
    s = found.phases.index(phase) if phase else 0
    recall = {name: recalls(found, name) for name in DIRECTIONS}
    kinds, sides = ("rotation", "between", "residual"), ("image", "text")
    means = {kind: {side: found.spreads[f"{kind}_{side}"].mean[s] for side in sides} for kind in kinds}
    return plain({
        "method": found.method, "against": found.phases[s], "phases": found.phases, "domains": found.domain_names,
        "n": found.n, "rotation_degrees": means["rotation"], "between_degrees": means["between"],
        "deviation_degrees": found.spreads["deviation"].mean[s], "pair_degrees": found.spreads["pair"].mean[s],
        "shift_disagreement": found.spreads["disagreement"].mean[s], "residual": means["residual"],
        **{name: found.likeness[name][s] for name in LIKENESS},
        **{name: found.numbers[name] for name in OF_A_PHASE},
        "recall": {name: of.matrix for name, of in recall.items()},
        "forgetting": {name: of.forgetting for name, of in recall.items()},
        "trainings": [
            {
                "training": run.label, "recall": {name: recalls(run, name).average[-1] for name in DIRECTIONS},
                "rotation_degrees": {side: run.angles[f"rotation_{side}"][-1] for side in ("image", "text")},
                "deviation_degrees": run.angles["deviation"][-1],
            }
            for run in (runs.of_space(found), *runs.load(recipe, drawings()))
        ],
        "sentence": sentence(found, s), "provenance": found.provenance,
    })  # fmt: skip
