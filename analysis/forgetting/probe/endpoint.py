"""The endpoint of one question through time."""

from analysis.bar import open_upload
from analysis.forgetting import held
from analysis.forgetting.probe.measure import probe
from analysis.forgetting.probe.sentence import sentence
from models import catalog
from models.errors import InputError


def forgetting_probe(
    image: dict | None = None, question: str = "", method: str = "", truth: str = "", choices: list | None = None
) -> dict:
    """Put one question to every checkpoint of a set: answer, its style, probability of the truth, attention.

    ``image`` is an uploaded file or nothing; ``method`` names a checkpoint set (default: the embedded model's first).
    ``truth`` is the true answer as the model would write it: without it no answer is right or wrong, and
    ``probability_of_truth`` is null. ``choices`` are the options that the truth is compared with (default: those that
    the question lists, or yes and no, or the numbers next to it). ``verdict`` says whether a loss is superficial
    (another form, the true option still the likeliest) or essential.
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
