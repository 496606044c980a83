"""Where every checkpoint of a set looks when it begins to answer the same question."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import InputError
from models.instruments import AttentionMass
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from PIL import Image

    from models.mllm import MLLM


@dataclass(frozen=True, kw_only=True)
class Across(Result):
    """Attention to the picture of the token that writes the answer's first, for each of ``checkpoints``.

    ``share`` float64 ``[checkpoints, layers]``, 0 to 1, mean over heads; ``per_key``: divided by the number of
    image tokens. ``begins``: the first token each would write, ``probability`` its probability.
    """

    question: str
    checkpoints: tuple[str, ...]
    share: np.ndarray
    per_key: np.ndarray
    begins: tuple[str, ...]
    probability: np.ndarray

    def table(self) -> Table:
        rows = [
            [name, layer + 1, self.share[i, layer], self.per_key[i, layer], self.begins[i], self.probability[i]]
            for i, name in enumerate(self.checkpoints)
            for layer in range(self.share.shape[1])
        ]
        return Table(["checkpoint", "layer", "image_share", "image_per_key", "begins_with", "probability"], rows)


def across(model: "MLLM", picture: "Image.Image | None", question: str) -> Across:
    """One forward for all checkpoints that can share a batch, one each for the others.

    Raises ``InputError`` without a picture.
    """
    began = time.perf_counter()
    if picture is None:
        raise InputError("There is no picture, so no checkpoint can look at one. Choose one at the top.")
    encoded = model.encode(picture, question)
    names = model.checkpoint_names
    together = [n for n in names if model.checkpoints and n in model.checkpoints.batchable]
    batches = [together] * bool(together) + [[n] for n in names if n not in together]
    found = {}
    for batch in batches:
        checkpoint = batch if len(batch) > 1 else batch[0]
        forward = model.forward([encoded] * len(batch), checkpoint, [AttentionMass("last")])
        rows = forward.readings.rows
        chances = forward.logits.softmax(-1).max(-1)
        for i, name in enumerate(batch):
            share = rows.share[:, i, :, 0, Modality.IMAGE].astype(float).mean(1)
            keys = rows.keys[:, i, 0, Modality.IMAGE]
            token = Spelling(model.tokenizer).add(int(chances.indices[i]))
            found[name] = (share, share / np.maximum(keys, 1), token, float(chances.values[i]))
    share, per_key, begins, probability = zip(*(found[n] for n in names), strict=True)
    return Across(
        provenance=Provenance(**model.provenance("all", seconds=time.perf_counter() - began)),
        question=question,
        checkpoints=tuple(names),
        share=np.stack(share),
        per_key=np.stack(per_key),
        begins=begins,
        probability=np.array(probability),
    )

