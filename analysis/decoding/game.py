"""Every step of an answer as a game of two players, picture and question; and where in the picture the game is won.

The value of a coalition for a token is the token's log-probability (nats) with the players that take part; who stays
away is a picture of random pixels, or a hidden question (``strategies.inter``). Log-probabilities differ from logits by
one number for each context, so interactions differ from INTER's by one number for the whole vocabulary: their variance
and their order are the same, and here they can be read as nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from analysis.decoding.strategies.inter import dividends, four_contexts, modified, random_picture
from analysis.wording import ninth
from models.errors import InputError
from models.flow import Flow
from models.generation import TOP
from models.spelling import Spelling

if TYPE_CHECKING:
    from PIL import Image

    from models.encoding import Encoded
    from models.mllm import MLLM

TOGETHER = 8  # tokens of the vocabulary whose interaction is told
BLOCKS = (4, 8)  # a side: of the picture, when regions are covered
_SEARCHED = 64  # tokens among which whole words are looked for
_CHUNK = 32  # tokens of an answer read at once
_ROWS = 32  # covered pictures read at once


@dataclass(frozen=True)
class Moment:
    """One step of an answer in the four contexts, in the order of ``strategies.four_contexts``.

    ``variance`` (nats squared) of the interaction over the vocabulary. ``values``: the chosen token's log-probability
    in each context. ``tops``: in each, the likeliest tokens with their probability. ``interactions``: of all those
    tokens, nats. ``strongest``: the whole words of the vocabulary with the largest interaction, nats. ``greedy`` is
    the token that the prompt's own logits take, ``modified`` the one that INTER takes where its locator fires.
    """

    token: str
    variance: float
    values: tuple[float, float, float, float]
    tops: tuple[tuple[tuple[str, float], ...], ...]
    interactions: dict[str, float]
    strongest: tuple[tuple[str, float], ...]
    greedy: str
    modified: str

    @property
    def dividends(self) -> dict[str, float]:
        """Harsanyi dividends of the chosen token, nats; with ``neither`` they sum to its log-probability."""
        both, question, picture, neither = self.values
        return {
            "neither": neither, "picture": picture - neither, "question": question - neither,
            "together": both - question - picture + neither,
        }

    @property
    def shapley(self) -> dict[str, float]:
        """Each player's Shapley value, nats: its own dividend and half of what both make together."""
        shares = self.dividends
        return {player: shares[player] + shares["together"] / 2 for player in ("picture", "question")}


def read(
    model: "MLLM", encoded: "Encoded", ids: Sequence[int], checkpoint: str, beta: float, image_seed: int
) -> list[Moment]:
    """Each step of the answer ``ids`` as a game: one forward of the four contexts, whoever wrote the answer.

    Raises ``InputError`` where the prompt has no picture, ``ModelError`` where memory is short.
    """
    if not ids:
        return []
    flow = Flow(model.model, four_contexts(encoded, image_seed), edits=model.edits(checkpoint))
    spelling = Spelling(model.tokenizer)
    with model.using(checkpoint):
        found = [_moment(flow.begin(), ids[0], spelling, beta)]
        for first in range(0, len(ids) - 1, _CHUNK):
            chunk = ids[first : min(first + _CHUNK, len(ids) - 1)]
            logits, after = flow.more(torch.tensor(chunk).repeat(4, 1)), ids[first + 1 : first + 1 + len(chunk)]
            found += [_moment(logits[:, i], token, spelling, beta) for i, token in enumerate(after)]
    return found


def _moment(logits: torch.Tensor, token: int, spelling: Spelling, beta: float) -> Moment:
    """``logits`` ``[4, V]`` of the step that chose ``token``."""
    logprobs = logits.double().log_softmax(-1)
    step = modified(logits, 0.0, beta)
    together = dividends(logprobs)[0]
    values, ids = logprobs.topk(min(TOP, logprobs.shape[-1]))
    named = list(dict.fromkeys(ids.flatten().tolist()))
    texts = dict(zip(named, spelling.rivals(named), strict=True))
    strong, strong_ids = together.topk(min(_SEARCHED, len(together)))
    spelt = zip(spelling.rivals(strong_ids.tolist()), strong.tolist(), strict=True)
    whole = [(text, value) for text, value in spelt if _is_word(text)][:TOGETHER]
    greedy, moved = spelling.rivals([int(logits[0].argmax()), int(step.if_fired.argmax())])
    return Moment(
        variance=step.variance,
        values=tuple(logprobs[:, token].tolist()),
        tops=tuple(
            tuple((texts[i], p) for i, p in zip(row, chances, strict=True))
            for row, chances in zip(ids.tolist(), values.exp().tolist(), strict=True)
        ),
        interactions={texts[i]: float(together[i]) for i in named},
        strongest=tuple(whole),
        greedy=greedy,
        modified=moved,
        token=spelling.add(token),
    )


def _is_word(text: str) -> bool:
    """Whether a token is a whole word or number, and no piece of one: pieces that go on begin without a space."""
    return text.strip().isalnum() and (text[0].isspace() or text.isdecimal())


@dataclass(frozen=True)
class Regions:
    """What the interaction for ``token`` loses (nats) where one block of the picture becomes random pixels: float64
    ``[side, side]``; ``whole`` is the interaction with nothing covered."""

    token: str
    whole: float
    losses: np.ndarray

    @property
    def strongest(self) -> tuple[str, float]:
        """The block that changes most when it is covered: the ninth of the picture that it is in, and its loss."""
        row, column = np.unravel_index(np.abs(self.losses).argmax(), self.losses.shape)
        place = ninth((column + 0.5) / len(self.losses), (row + 0.5) / len(self.losses))
        return place, float(self.losses[row, column])


def regions(
    model: "MLLM", encoded: "Encoded", picture: "Image.Image", answer: Sequence[int], step: int, checkpoint: str,
    image_seed: int, side: int = BLOCKS[0], progress: Callable[[float], None] = lambda share: None
) -> Regions:
    """Which part of the picture carries the interaction for the token at ``step`` (from 0) of an answer.

    Each of ``side`` x ``side`` blocks in turn is filled with the pixels that the masked picture has there, so that with
    all of them filled the picture is the masked one. Raises ``InputError`` for another step or side.
    """
    if side not in BLOCKS or not 0 <= step < len(answer):
        raise InputError(f"There is no step {step + 1} of {len(answer)}, or no map of {side} blocks a side.")
    prefix, token = answer[:step], answer[step]

    def values(contexts: Sequence["Encoded"]) -> np.ndarray:
        logits = model.forward([c.followed(prefix) for c in contexts], checkpoint).logits
        return logits.double().log_softmax(-1)[:, token].cpu().numpy()

    both, question, alone, neither = values(four_contexts(encoded, image_seed))
    random = random_picture(picture.size, image_seed)
    edges = [[round(i * length / side) for i in range(side + 1)] for length in picture.size]
    boxes = [
        (edges[0][c], edges[1][r], edges[0][c + 1], edges[1][r + 1]) for r in range(side) for c in range(side)
    ]

    def covered(box: tuple[int, int, int, int]) -> "Encoded":
        filled = picture.convert("RGB")
        filled.paste(random.crop(box), box)
        return encoded.with_image(filled)

    left: list[float] = []
    for first in range(0, len(boxes), _ROWS // 2):
        progress(first / len(boxes))
        some = [covered(box) for box in boxes[first : first + _ROWS // 2]]
        found = values([*some, *(c.without_text() for c in some)])
        left += (found[: len(some)] - question - found[len(some) :] + neither).tolist()
    whole = both - question - alone + neither
    spelling = Spelling(model.tokenizer)
    for before in prefix:
        spelling.add(before)
    return Regions(spelling.rivals([token])[0], float(whole), (whole - np.array(left)).reshape(side, side))
