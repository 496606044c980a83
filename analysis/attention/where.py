"""One token's attention over the patches of the picture and the words, in one layer and head."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.attention.measure import Attention, Token, prompt_tokens
from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import InputError
from models.instruments import AttentionMap, Rollout, decoder_of
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM
    from models.segments import Box

MODES = ("raw", "value_norm", "rollout")


@dataclass(frozen=True)
class Patches:
    """Share of the attention, 0 to 1, on each cell of one grid, float64 ``[rows, columns]``; ``box`` is what the grid
    covers of the picture: (left, top, right, bottom) in fractions of it."""

    box: "Box"
    values: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """The shares by area: as if the whole picture were one cell."""
        left, top, right, bottom = self.box
        return self.values / ((right - left) * (bottom - top) / self.values.size)


@dataclass(frozen=True, kw_only=True)
class Where(Result):
    """Attention of the token at ``position`` over all tokens before it; all of it adds up to 1.

    ``layer`` counts from 1, ``head`` too; 0 is the mean over all heads. ``mode``: "raw" is the attention itself;
    "value_norm" weighs each key by the norm of its value, |a_ij v_j|, then divides by the sum (Kobayashi et al. 2020);
    "rollout" follows it through all layers, half of each staying with the token itself (Abnar and Zuidema 2020, section
    3); it has no ``layer`` and no ``head`` (0). ``rest`` is the share of image tokens that see no patch.
    ``words`` are the other tokens with their ``weights``; the first image token is number ``picture_at`` (-1: there is
    none). ``size``: the picture's (width, height).
    """

    question: str
    position: int
    token: str
    layer: int
    head: int
    mode: str
    patches: tuple[Patches, ...]
    rest: float
    words: tuple[Token, ...]
    weights: np.ndarray
    picture_at: int
    size: tuple[int, int] | None

    @property
    def image(self) -> float:
        """Share of the attention on the picture, 0 to 1."""
        return float(sum(p.values.sum() for p in self.patches) + self.rest)

    def table(self) -> Table:
        rows = [[w.kind, w.position, w.text, None, None, s] for w, s in zip(self.words, self.weights, strict=True)]
        for i, found in enumerate(self.patches, 1):
            rows += [["image", None, f"grid {i}", *place, share] for place, share in np.ndenumerate(found.values)]
        if self.rest:
            rows.append(["image", None, "no patch", None, None, self.rest])
        return Table(["kind", "token", "text", "row", "column", "share"], rows)


@dataclass(frozen=True, kw_only=True)
class Looked(Result):
    """Where one token looks: ``attention`` by layer and kind, and ``where`` on the picture in one layer.

    ``of`` is the input with the token: model, checkpoint, picture's path, question, token.
    """

    of: tuple
    attention: Attention
    where: Where

    def table(self) -> Table:
        return self.attention.table()

    def to_json(self) -> dict:
        return {**self.attention.to_json(), "map": self.where.to_json()}


class Spot(Looked):
    """The same for a layer and head that were chosen: its table is that of the map."""

    def table(self) -> Table:
        return self.where.table()


def patches(encoded: "Encoded", weights: np.ndarray) -> tuple[tuple[Patches, ...], float]:
    """``weights`` of tokens ``[T]`` laid out on the picture's own grids, and the sum over image tokens in none."""
    found, placed = [], set()
    for grid in encoded.grids:
        cells = [token for token, _, _ in grid.cells()]
        placed |= set(cells)
        found.append(Patches(grid.box, weights[cells].reshape(grid.rows, grid.columns)))
    rest = [i for i in np.flatnonzero(encoded.segments.numpy() == Modality.IMAGE) if i not in placed]
    return tuple(found), float(weights[rest].sum())


def look(
    model: "MLLM", picture: Image.Image | None, question: str, position: int, written: Sequence[int] = (),
    checkpoint: str = "base", layer: int = 1, head: int = 0, mode: str = MODES[0], interventions: Sequence = ()
) -> Where:
    """Where the token at ``position`` of prompt and answer looks in ``layer`` (from 1) and ``head`` (0: all).

    ``written`` are the ids of the answer's tokens. One forward. Raises ``InputError`` for a token, layer, head or mode
    that is not there.
    """
    began = time.perf_counter()
    decoder = decoder_of(model.model)
    layers, heads = len(decoder.layers), decoder.config.num_attention_heads
    if not 1 <= layer <= layers or not 0 <= head <= heads:
        raise InputError(f"There is no layer {layer}, head {head}: layers are 1 to {layers}, heads 1 to {heads}.")
    if mode not in MODES:
        raise InputError(f"There is no mode {mode!r}. There are: {', '.join(MODES)}.")
    prompt = model.encode(picture, question)
    total = prompt.length + len(written)
    if not 0 <= position < total:
        raise InputError(f"There is no token {position}: prompt and answer have tokens 0 to {total - 1}.")
    encoded = prompt.followed(list(written)[: max(position + 1 - prompt.length, 0)])
    asked = AttentionMap(layer - 1, position, head - 1 if head else None, value_norm=mode == "value_norm")
    if mode == "rollout":
        asked = Rollout(position)
    read = model.forward([encoded], checkpoint, [asked], interventions=interventions).readings
    weights = (read.rollouts if mode == "rollout" else read.maps)[0].weights[0].astype(float)
    if mode == "value_norm":
        weights = weights / weights.sum(-1, keepdims=True)
    if mode != "rollout":
        weights = weights.mean(0)  # of [heads or 1, keys]
    weights = np.pad(weights, (0, encoded.length - len(weights)))
    found, rest = patches(encoded, weights)
    words = [t for t in prompt_tokens(prompt, model.tokenizer) if t.kind != "image"]
    spelling = Spelling(model.tokenizer)
    answered = written[: encoded.length - prompt.length]
    words += [Token(place, spelling.add(token), "answer") for place, token in enumerate(answered, prompt.length)]
    words = [w for w in words if w.position <= position]
    return Where(
        provenance=Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began)),
        question=question, position=position, mode=mode, patches=found, rest=rest, words=tuple(words), size=prompt.size,
        token=next((w.text for w in words if w.position == position), "a patch of the picture"),
        layer=0 if mode == "rollout" else layer, head=0 if mode == "rollout" else head,
        weights=weights[[w.position for w in words]],
        picture_at=next(iter(np.flatnonzero(prompt.segments.numpy() == Modality.IMAGE).tolist()), -1),
    )  # fmt: skip
