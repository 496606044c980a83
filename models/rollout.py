"""Attention rollout while forwards run: what is kept of each layer, and the product that is made of it in the end."""

import torch

from models.attention import Call
from models.errors import ModelError
from models.readers import ForwardPass
from models.readings import Flowing

_ROWS = 64  # queries whose attention in all heads is held at a time
_Seen = tuple[ForwardPass, Call | torch.Tensor]  # a call, or its rows averaged over heads, [batch, queries, keys]


class RolloutReader:
    """Attention rollout of the query at ``position`` ``[batch, 1]``: its row of the product of all layers' A'.

    The row is carried from the last layer to the first, through the maps of all tokens below. Of a prompt, queries and
    keys are kept and the maps recomputed from them, some rows at a time: T x T for each head would be far larger. Of a
    cached step the rows are kept, as its keys are the whole cache once more.
    """

    def __init__(self, position: torch.Tensor):
        self.position = position
        self.seen: dict[int, list[_Seen]] = {}  # by layer, in the order of the forwards

    def attend(self, call: Call, forward: ForwardPass, mass: torch.Tensor | None) -> None:
        """Keep what one layer attends with, where tokens up to the query are computed."""
        if (forward.past <= self.position).any():
            few = call.query.shape[2] <= _ROWS
            kept = call.rows(forward.everyone(call.query)).mean(1) if few else call
            self.seen.setdefault(call.layer, []).append((forward, kept))

    @torch.inference_mode()
    def reading(self) -> Flowing:
        """Raises ``ModelError`` where the forwards do not reach from the first token to the query."""
        layers = [self.seen[layer] for layer in sorted(self.seen, reverse=True)]
        if not layers or layers[0][0][0].past > 0 or (self.position >= layers[0][-1][0].total).any():
            where = self.position[:, 0].tolist()
            raise ModelError(
                f"A rollout of the query {where} needs all forwards from the first token up to it recorded."
            )
        total = layers[0][-1][0].total
        row = (torch.arange(total) == self.position).float()
        for layer in layers:
            taken = torch.zeros_like(row)
            for forward, kept in layer:
                share = _carried(row[:, forward.past : forward.total], kept).cpu()
                taken[:, forward.total - share.shape[1] : forward.total] += share  # a window has the last keys
            row = (row + taken) / 2
        return Flowing(row.numpy(), self.position[:, 0].numpy())


def _carried(row: torch.Tensor, kept: Call | torch.Tensor) -> torch.Tensor:
    """``row`` ``[batch, queries]`` times the attention of a layer, averaged over heads: ``[batch, keys]``."""
    if isinstance(kept, torch.Tensor):
        return (row.to(kept.device)[:, None] @ kept)[:, 0]
    row, taken = row.to(kept.key.device), 0.0
    for index in torch.arange(row.shape[1], device=row.device).split(_ROWS):
        taken = taken + row[:, None, index] @ kept.rows(index.expand(len(row), -1)).mean(1)
    return taken[:, 0]
