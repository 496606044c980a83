"""The endpoint of one question through time."""

from analysis.bar import Upload, open_upload
from analysis.forgetting import held
from analysis.forgetting.probe.measure import probe
from analysis.forgetting.probe.sentence import sentence
from models import catalog
from models.errors import InputError


def forgetting_probe(
    image: Upload = None,
    question: str = "",
    method: str = "",
    truth: str = "",
    choices: list[str] | None = None,
) -> dict:
    """Put one question to every checkpoint of a set, in the order of training, and tell where the answer was lost.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask.
        method: A checkpoint set, such as "sequential", "replay" or "sefe"; left out, the embedded model's first.
        truth: The true answer, as the model would write it; left out, no answer is right or wrong.
        choices: What the truth is compared with; left out, what the question lists, yes and no, or nearby numbers.

    Returns:
        checkpoints: for each, answer, style, score, probability_of_truth (null without a truth) and attention by kind
        verdict: whether a loss is superficial (another form, the true option is still the likeliest) or essential
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    for name, value in {"question": question, "method": method, "truth": truth}.items():
        if not isinstance(value, str | None):
            raise InputError(f"The {name} must be a text.")
    if choices is not None and not (isinstance(choices, list) and all(isinstance(c, str) for c in choices)):
        raise InputError("The choices must be a list of texts.")
    name = method or next(iter(held.sets()))
    entry, picture = held.entry(name), open_upload(image)
    with catalog.using(entry.name) as mllm:
        found = probe(mllm, name, picture, question or "", truth or "", choices or ())
    return {**found.to_json(), "sentence": sentence(found)}
