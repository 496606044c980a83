"""The endpoint of attribution."""

from analysis.attribution import figure, measure
from analysis.bar import open_upload
from models import catalog
from models.errors import InputError


def attribute(
    image: dict | None = None,
    question: str = "",
    model: str = "",
    checkpoint: str = "",
    answer: str = "",
    method: str = measure.METHODS[0],
) -> dict:
    """Tell which patches of a picture and which words of a question stand behind an answer, in nats.

    ``image`` is an uploaded file or nothing; ``model`` and ``checkpoint`` default to the embedded model's base;
    ``answer`` to what the model answers; ``method`` is integrated_gradients, ablation or shapley.
    """
    given = {"question": question, "model": model, "checkpoint": checkpoint, "answer": answer, "method": method}
    for name, value in given.items():
        if not isinstance(value, str | None):
            raise InputError(f"The {name} must be a text.")
    picture = open_upload(image)
    with catalog.using(model or None) as mllm:
        found = measure.attribute(
            mllm, picture, question or "", checkpoint or "base", answer or "", method or measure.METHODS[0]
        )
    return {**found.to_json(), "sentence": figure.sentence(found)}
