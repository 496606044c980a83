"""The endpoint of attribution."""

from analysis.attribution import figure, measure
from analysis.bar import Upload
from analysis.endpoints import checked
from models import catalog
from models.checkpoints import BASE


@checked
def attribute(
    image: Upload = None,
    question: str = "",
    model: str = "",
    checkpoint: str = "",
    answer: str = "",
    method: str = measure.METHODS[0],
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
        found = measure.attribute(mllm, image, question, checkpoint or BASE, answer, method)
    return {**found.to_json(), "sentence": figure.sentence(found)}
