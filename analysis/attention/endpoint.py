"""The endpoint of the Attention room."""

from analysis.attention import sentence
from analysis.attention.measure import attend
from analysis.attention.where import MODES, look
from analysis.bar import Upload
from analysis.endpoints import checked
from models import catalog
from models.checkpoints import BASE
from models.errors import InputError

BEGINS = -1
"""In the place of a token: whatever writes the answer's first token."""


@checked
def attention(
    image: Upload = None, question: str = "", model: str = "", checkpoint: str = "", token: int = BEGINS,
    layer: int = 0, head: int = 0, weighting: str = MODES[0],
) -> dict:
    """Measure how much a multimodal language model attends to the picture while it answers, layer by layer.

    Args:
        image: The picture, an uploaded file (over MCP its http, https or data address); left out, there is none.
        question: What to ask.
        model: A name that the endpoint models lists; left out, the embedded crosstalk-mini.
        checkpoint: One of the checkpoints that models lists for it, such as "naming"; left out, its base.
        token: Place, from 0, in prompt and answer of the token that attends; -1: what writes the answer's first token.
        layer: Adds a map over patches and words of this layer, from 1; 0: no map.
        head: The map's attention head, from 1; 0: the mean of all.
        weighting: Of the map: raw, value_norm (by the size of what is read) or rollout (through all layers).

    Returns:
        mass: for each layer, the share of attention on image, question, instruction and answer
        per_key: the same for one token of each kind; disparity: text against image, per layer and on average
        decay: how attention to the picture changes from layer to layer (gamma, 95 % interval, r2)
        by_token: the picture's share for each written token
        sentence: what was found, in words; provenance: model, checkpoint, precision, seed, versions, seconds
    """
    if weighting not in MODES:
        raise InputError(f"There is no weighting {weighting!r}. There are: {', '.join(MODES)}.")
    with catalog.using(model or None) as mllm:
        name = checkpoint or BASE
        found = attend(mllm, image, question, name, None if token == BEGINS else token)
        told = {**found.to_json(), "sentence": sentence.headline(found)}
        told["decay"]["sentence"] = sentence.decay(found)
        if layer or weighting == "rollout":
            token, word = (found.position, found.written_ids), found.written_word
            where = look(mllm, image, question, *token, name, layer or 1, head, weighting)
            told["map"] = {**where.to_json(), "sentence": sentence.where(where, word.text if word else "")}
    return told
