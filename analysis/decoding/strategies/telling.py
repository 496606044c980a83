"""What the strategies tell about a step, in texts and plain numbers."""

from collections.abc import Sequence

import torch

from models.encoding import Encoded
from models.generation import TOP, Choice
from models.spelling import Spelling


class Teller:
    """Spells an answer's tokens for the details of its steps; one object an answer.

    Every step has ``greedy`` and ``greedy_id``: the token that the prompt's own logits would have taken, as text and
    id; and ``note`` where the strategy has something to say about the whole answer.
    """

    def __init__(self, encoded: Encoded, note: str = ""):
        self._spelling, self._note = Spelling(encoded.encoder.tokenizer), note

    def choice(self, token: int, own: torch.Tensor, **details: object) -> Choice:
        """The choice of ``token``, where the prompt's own logits were ``own`` ``[V]``."""
        greedy = int(own.argmax())
        told = {"greedy": self.texts([greedy])[0], "greedy_id": greedy, **details}
        if self._note:
            told["note"] = self._note
        self._spelling.add(token)
        return Choice(token, told)

    def texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """What each of ``ids`` would add to the answer as its next token."""
        return self._spelling.rivals(ids)

    def top(self, logits: torch.Tensor) -> list[dict]:
        """Likeliest tokens of ``logits`` ``[V]``, the best first: ``token``, ``id``, ``logit``, ``probability``."""
        values, ids = logits.topk(min(TOP, logits.shape[-1]))
        chances = (values - logits.logsumexp(-1)).exp().tolist()
        rows = zip(self.texts(ids.tolist()), ids.tolist(), values.tolist(), chances, strict=True)
        return [{"token": t, "id": i, "logit": z, "probability": p} for t, i, z, p in rows]
