"""The endpoints of the Interference room."""

from analysis import jobs
from analysis.attribution import figure as of_attribution
from analysis.attribution import measure as attribution
from analysis.bar import Upload
from analysis.endpoints import checked
from analysis.interference import figure
from analysis.interference.conflict import figure as of_conflicts
from analysis.interference.conflict import single
from analysis.interference.conflict.measure import ITEMS, THINGS, measured
from analysis.interference.dataset import figure as of_sets
from analysis.interference.dataset.measure import CONDITIONS, KINDS, chosen, measure
from analysis.interference.dataset.result import accuracies
from analysis.interference.dose import respond
from analysis.interference.measure import Settings, interfere
from analysis.interference.perturbations import DEFAULT
from analysis.interference.pgd import Attack
from models import catalog
from models.checkpoints import BASE


@checked
def interference(
    image: Upload = None, question: str = "", choices: list[str] | None = None, perturbations: list[str] | None = None,
    model: str = "", checkpoint: str = "", own_sentence: str = "", own_image: Upload = None,
    occluded: float = Settings.occluded, epsilon: float = Attack.epsilon, steps: int = Attack.steps,
    step_size: float = Attack.step_size, seed: int = 0, dose: str = "",
) -> dict:
    """Disturb a question about a picture, and see whether a multimodal language model changes its answer.

    A sentence is put in front of the question, or the picture is covered, replaced or made noisy. Perturbations are:
    unrelated, misleading, contradiction, distraction, own-sentence, other-picture, black, white, noise, wrong-picture,
    occlusion, own-picture, pgd-image, pgd-text (the last two attack what the decoder reads).

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask.
        choices: Answers to compare; left out, those that the question lists, or the model's likeliest ones.
        perturbations: Names from the list above; left out, six of them.
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.
        own_sentence: The sentence that own-sentence puts in front of the question.
        own_image: The picture that own-picture shows in place of the first, an uploaded file.
        occluded: Share of the picture that occlusion covers, 0 to 1.
        epsilon: How far an attack may move an embedding; 1 is the embeddings' root mean square.
        steps: Steps of an attack, at most 100.
        step_size: Size of a step, in the unit of epsilon.
        seed: Seed of noise, covered cells, sentences and other pictures.
        dose: Adds what a rising dose does: noise, occlusion, facts, statements, pgd-image or pgd-text.

    Returns:
        origin: probability of each option as asked
        perturbations: for each, the options' probabilities, flipped (another answer wins)
        js (divergence, bits) and delta_logprob (change for the first answer, nats) of each
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    settings = Settings(own_sentence, own_image, occluded, Attack(epsilon, steps, step_size), seed)
    asked = checkpoint or BASE, choices or ()
    with catalog.using(model or None) as mllm:
        *_, found = interfere(mllm, image, question, *asked, perturbations or DEFAULT, settings)
        told = {**found.to_json(), "sentence": figure.sentence(found)}
        if dose:
            *_, response = respond(mllm, image, question, dose, *asked, settings)
            told["dose"] = {**response.to_json(), "sentence": figure.response_sentence(response)}
    return told


@checked
def interference_dataset(
    model: str = "", checkpoints: list[str] | None = None, kinds: list[str] | None = None,
    conditions: list[str] | None = None,
) -> dict:
    """Measure how often whole sets of questions are answered rightly, as they are and disturbed.

    What was measured before is not measured again; of the embedded model's base all of it is there at once. Anything
    else takes minutes.

    Args:
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoints: Which of its checkpoints to measure; left out, the base.
        kinds: What answers depend on: image-heavy, text-heavy, multimodal; left out, all three.
        conditions: Names of perturbations, such as "misleading" or "black"; left out, all that a kind has.

    Returns:
        panels: the sets
        rows: for each set, checkpoint and condition, n, accuracy with its 95 % interval (low to high), drop
        flip (share of answers that changed), js (divergence, bits), delta_logprob (nats)
        compared: what trained remedies give back and cost
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    sets = chosen(list(KINDS) if kinds is None else kinds)
    with catalog.using(model or None) as mllm:
        wanted = [BASE] if checkpoints is None else checkpoints
        asked = CONDITIONS if conditions is None else conditions
        found = accuracies(tuple(measure(mllm, sets, wanted, asked, jobs.for_caller())))
    return {**found.to_json(), "sentence": of_sets.sentence(found)}


@checked
def conflict(
    image: Upload = None, question: str = "", text: str = "", seen: str = "", told: str = "", model: str = "",
    checkpoint: str = "",
) -> dict:
    """Set a picture against a text that says something else, and see which a multimodal language model believes.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask, such as "What is this?".
        text: The text that contradicts the picture, such as "Text: There is a dog."; left out, one is made.
        seen: The answer that the picture gives; left out, the model's own.
        told: The answer that the text gives; left out, a likely other one.
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.

    Returns:
        followed: text, picture or neither
        from: for text alone, picture alone and both, the answer, its entropy (nats), the probability of seen and told
        relative_uncertainty: above 0 where the text alone leaves the model less sure than the picture alone
        margin: lead of the text's answer after each layer (nats)
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    with catalog.using(model or None) as mllm:
        found = single.conflict(mllm, image, question, text, seen, told, checkpoint or BASE)
    return {**found.to_json(), "sentence": of_conflicts.single(found)}


@checked
def conflicts(
    model: str = "", checkpoint: str = "", n: int = ITEMS, seed: int = 0, things: str = THINGS[0], tiers: str = "usual",
) -> dict:
    """Measure over many drawn scenes whether a model follows the picture or a text against it, and what decides that.

    What was measured before is there at once; anything else takes a minute or more.

    Args:
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.
        n: How many conflicts are drawn.
        seed: What they are drawn from.
        things: Which things they show: "base" or the name of a task, such as "naming".
        tiers: Wordings and covers: "usual", or "trained", those of the world that the set conflict is trained in.

    Returns:
        following_text: share that follows the text, of those (counted) answered rightly from either side, with interval
        fitted: logistic curve of following against relative uncertainty; balance: where both are followed equally often
        by_tier: shares by difficulty; bins: shares by relative uncertainty
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    with catalog.using(model or None) as mllm:
        found = measured(mllm, checkpoint or BASE, n, seed, things, jobs.for_caller(), tiers=tiers)
    return {**found.to_json(), "sentence": of_conflicts.sentence(found)}


@checked
def attribute(
    image: Upload = None, question: str = "", model: str = "", checkpoint: str = "", answer: str = "",
    method: str = attribution.METHODS[0],
) -> dict:
    """Tell which patches of a picture and which words of a question stand behind a multimodal language model's answer.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask.
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.
        answer: The answer to explain; left out, what the model answers.
        method: integrated_gradients, ablation (take parts away one by one) or shapley (in random orders).

    Returns:
        answer: what is explained
        patches: for each part of the picture, its box and a grid of scores (nats of log-probability)
        words: score of each word of the question (nats)
        image_share: share of all scores' size on the picture, 0 to 1
        convergence_delta: error of the integral (nats), null for other methods
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    with catalog.using(model or None) as mllm:
        found = attribution.attribute(mllm, image, question, checkpoint or BASE, answer, method)
    return {**found.to_json(), "sentence": of_attribution.sentence(found)}
