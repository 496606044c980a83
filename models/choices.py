"""How likely each of several choices is to begin an answer, after prompts that were read before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.encoding import Encoded, Encoder
from models.errors import InputError
from models.flow import Flow


@dataclass(frozen=True)
class Scores:
    """Log-probability (nats) of each choice, summed over its ``tokens``."""

    choices: tuple[str, ...]
    logprob: np.ndarray
    tokens: np.ndarray

    @property
    def per_token(self) -> np.ndarray:
        """Length-normalised log-probability, nats per token."""
        return self.logprob / self.tokens

    @property
    def probability(self) -> np.ndarray:
        """Softmax of ``logprob`` over the choices: sums to one."""
        shifted = np.exp(self.logprob - self.logprob.max())
        return shifted / shifted.sum()


class Choices:
    """Texts that the answer to a prompt may begin with, as tokens; the end of turn is none of them.

    Raises ``InputError`` where there are none or one is empty.
    """

    def __init__(self, encoder: Encoder, encoded: Encoded, texts: Sequence[str]):
        self.texts = tuple(text.strip() for text in texts)
        if not self.texts or not all(self.texts):
            raise InputError("Options need at least one character each.")
        tails = [encoder.continuation(encoded, text) for text in self.texts]
        self._counts = torch.tensor([len(tail) for tail in tails])
        self._ids = torch.full((len(tails), int(self._counts.max())), encoder.tokenizer.pad_token_id or 0)
        for row, tail in enumerate(tails):
            self._ids[row, : len(tail)] = torch.tensor(tail)

    def __len__(self) -> int:
        return len(self.texts)

    def scores(self, flow: Flow, logits: torch.Tensor) -> list[Scores]:
        """Of each row of a ``flow`` whose prompts were read, with ``logits`` ``[rows, V]`` after them.

        One forward, in which each row is as many as there are choices, one after another; ``flow`` is used up.
        """
        rows, each = flow.rows, len(self)
        after = logits[:, None, None].expand(-1, each, -1, -1)
        if self._ids.shape[1] > 1:
            flow.repeat(each)
            more = flow.more(self._ids[:, :-1].repeat(rows, 1))
            after = torch.cat([after, more.unflatten(0, (rows, each))], dim=2)
        ids = self._ids.expand(rows, -1, -1)[..., None].to(after.device)
        picked = after.log_softmax(-1).gather(3, ids)[..., 0].cpu()
        past = torch.arange(self._ids.shape[1]) >= self._counts[:, None]
        sums = picked.masked_fill(past, 0.0).sum(2).double().numpy()
        return [Scores(self.texts, row, self._counts.numpy()) for row in sums]


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of choices one after another."""
    texts = tuple(text for part in parts for text in part.choices)
    return Scores(texts, *(np.concatenate([getattr(p, name) for p in parts]) for name in ("logprob", "tokens")))
