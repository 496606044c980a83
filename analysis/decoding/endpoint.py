"""The endpoint of the Decoding room."""

from analysis.bar import Upload
from analysis.decoding import measure
from analysis.decoding.figure import sentence
from analysis.decoding.measure import LENGTH
from analysis.decoding.objects import truth_of
from analysis.endpoints import checked
from models import catalog
from models.checkpoints import BASE
from models.errors import InputError


@checked
def decode(
    image: Upload = None, question: str = "", strategies: list[str] | None = None, model: str = "",
    checkpoint: str = "", parameters: dict[str, dict[str, float | str]] | None = None, objects: str = "",
    length: int = LENGTH,
) -> dict:
    """Let a multimodal language model answer by several decoding strategies, and compare what they write.

    Strategies are: greedy, nucleus, nucleus-cut, beam, inter, inter-nucleus, vcd, m3id, dola, opera, cfg.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask.
        strategies: Up to four names from the list above; left out, greedy and inter.
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.
        parameters: Numbers by name, by strategy, such as {"inter": {"threshold": 1}}; left out, the papers' own.
        objects: What is in the picture, separated by commas; other things are then told as hallucinated.
        length: The most tokens of an answer.

    Returns:
        strategies: for each, text, tokens_per_second, hallucinated (what it invents) and steps
        each step: token, logprob (nats), interaction_variance (of picture and question), fired (whether it intervened)
        first_divergence: the first step at which they differ
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    names, given = list(dict.fromkeys(strategies or ("greedy", "inter"))), parameters or {}
    if unused := sorted(given.keys() - set(names)):
        raise InputError(f"There are parameters of {', '.join(unused)}, which is not among the strategies.")
    truth = truth_of(None, question, objects) if image else None
    with catalog.using(model or None) as mllm:
        wanted = {name: given.get(name, {}) for name in names}
        *_, found = measure.decode(mllm, image, question, wanted, checkpoint or BASE, length, truth)
    return {**found.to_json(), "sentence": sentence(found)}
