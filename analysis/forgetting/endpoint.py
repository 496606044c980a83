"""The endpoints of the Forgetting room."""

from analysis.bar import Upload
from analysis.endpoints import checked
from analysis.forgetting import sets
from analysis.forgetting.figure import sentence
from analysis.forgetting.measure import load
from analysis.forgetting.probe.figure import sentence as probe_sentence
from analysis.forgetting.probe.measure import probe
from models import catalog


@checked
def forgetting(method: str = "") -> dict:
    """Tell what a model forgot: the accuracy of each checkpoint on each task, and measures of transfer and forgetting.

    A checkpoint set is one model trained on one task after another by one method of continual learning.

    Args:
        method: A checkpoint set, such as "sequential", "replay" or "sefe"; left out, the embedded model's first.

    Returns:
        tasks, checkpoints, n: their names, and the items of each task
        matrix: accuracy, a row a checkpoint, a column a task (low, high: 95 % intervals)
        mft: accuracy right after training; mfn: at the end; maa: mean on the way; bwt, fwt: backward, forward transfer
        superficial, essential: for each task, lost answers whose fact is still known, or not; null where not measured
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    found = load(method or next(iter(sets.offered())))
    return {**found.to_json(), "sentence": sentence(found)}


@checked
def forgetting_probe(
    image: Upload = None, question: str = "", method: str = "", truth: str = "", choices: list[str] | None = None
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
    name = method or next(iter(sets.offered()))
    with catalog.using(sets.entry(name).name) as mllm:
        found = probe(mllm, name, image, question, truth, choices or ())
    return {**found.to_json(), "sentence": probe_sentence(found)}
