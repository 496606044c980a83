"""The endpoint of the Ask room."""

from analysis.ask import figure, measure
from analysis.bar import Upload
from analysis.endpoints import checked
from models import catalog
from models.checkpoints import BASE


@checked
def ask(image: Upload = None, question: str = "", model: str = "", checkpoint: str = "") -> dict:
    """Ask a multimodal language model about a picture; see how sure it is, and what every checkpoint of it answers.

    Checkpoints are the same model after each task that it was trained on, one after another: later ones have often
    forgotten how to answer.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask. Options may be part of it: "What is this? A. cat B. dog".
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.

    Returns:
        answer: what the model writes; steps: each of its tokens, with log-probability (nats)
        options: the probability of each option, where the question has any
        by_checkpoint: answer of each checkpoint, and its style (a word, a number, a box, ...)
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    with catalog.using(model or None) as mllm:
        *_, found = measure.ask(mllm, image, question, checkpoint or BASE)
    return {**found.to_json(), "sentence": figure.sentence(found)}
