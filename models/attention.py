"""Attention that can be listened to: registered with transformers under ``NAME``, masks included.

Without a listener it is transformers' SDPA and nothing else. A ``Listener`` set in ``LISTENER`` hears each layer's
attention, of the forwards that run in its own thread, as a ``Call``; and may ask for the mass on each modality.

The mass that a query puts on a modality is attention applied to an indicator: with one-hot modality columns
beside the values, ``SDPA(q, k, [v | onehot])`` gives answer and mass in one fused call, whatever the mask,
the window or the grouping of heads. No T x T matrix is made.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.errors import ModelError

NAME = "crosstalk"
CHUNK = 256  # queries whose mask, scores or logits are looked at together


def capped(scores: torch.Tensor, softcap: float | None) -> torch.Tensor:
    """``softcap * tanh(scores / softcap)``, the bounded scores and logits of Gemma 2; ``scores`` where it is None."""
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


@dataclass
class Call:
    """One layer's attention: query ``[batch, heads, queries, d]``, key and value ``[batch, kv heads, keys, d]``.

    ``mask`` is boolean (True: may attend) or additive, ``[batch or 1, heads or 1, queries or 1, keys]``; without
    one, ``causal`` aligns the first query with the first key, as SDPA does.
    """

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    causal: bool
    scale: float
    softcap: float | None

    def mask_rows(self, index: torch.Tensor) -> torch.Tensor | None:
        """Rows ``[batch, heads or 1, n, keys]`` of the mask for the queries ``index`` ``[batch, n]``."""
        batch, queries, keys = self.query.shape[0], self.query.shape[2], self.key.shape[2]
        if self.mask is None:
            if not self.causal:
                return None
            return torch.arange(keys, device=index.device) <= index[:, None, :, None]
        mask = self.mask.expand(batch, -1, queries, keys).transpose(1, 2)
        return mask[torch.arange(batch, device=index.device)[:, None], index].transpose(1, 2)

    def allowed(self, index: torch.Tensor) -> torch.Tensor:
        """Which keys the queries ``index`` ``[batch, n]`` may attend to in any head, ``[batch, n, keys]``."""
        rows = self.mask_rows(index)
        if rows is None:
            return torch.ones(*index.shape, self.key.shape[2], dtype=torch.bool, device=index.device)
        return _open(rows).any(1)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Attention ``[batch, heads, n, keys]`` of the queries ``index`` ``[batch, n]``, in float32."""
        batch, heads, _, dim = self.query.shape
        kv, n = self.key.shape[1], index.shape[1]
        query = self.query.gather(2, index[:, None, :, None].expand(-1, heads, -1, dim)).float()
        scores = query.reshape(batch, kv, -1, dim) @ self.key.float().transpose(2, 3)
        scores = capped(scores.view(batch, heads, n, -1) * self.scale, self.softcap)
        rows = self.mask_rows(index)
        if rows is None:
            return scores.softmax(-1)
        scores = scores.masked_fill(~rows, -torch.inf) if rows.dtype == torch.bool else scores + rows.float()
        return scores.softmax(-1).masked_fill(~_open(rows).any(-1, keepdim=True), 0.0)


def _open(rows: torch.Tensor) -> torch.Tensor:
    """Where a mask lets through. Additive masks close with the type's minimum or -inf; a bias is far from both."""
    return rows if rows.dtype == torch.bool else rows > torch.finfo(rows.dtype).min / 2


class Listener(Protocol):
    """Hears the attention of each layer while a forward runs."""

    @property
    def listens(self) -> bool:
        """Whether the attention that runs now is to be heard."""

    def columns(self, call: Call, sliding: bool) -> torch.Tensor | None:
        """One-hot modality of each key, float32 ``[batch, keys, modalities]``, to be given all queries' mass; or None.

        ``sliding``: the layer has a window, so its cache may hold the last keys alone. Raises ``ModelError`` for
        a call that cannot be measured.
        """

    def attend(self, call: Call, mass: torch.Tensor | None) -> None:
        """The attention is computed; ``mass`` ``[batch, queries, heads, modalities]`` where columns were given."""


LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


def _attention(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, softcap=None, **kwargs
):
    """The registered attention: ``[batch, queries, heads, d]`` and None, as ``sdpa_attention_forward`` returns."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    call = Call(getattr(module, "layer_idx", -1), query, key, value, attention_mask, causal, scale, softcap)
    listener, columns = LISTENER.get(), None
    heard = listener is not None and listener.listens
    if heard:
        if kwargs.get("position_bias") is not None:
            raise ModelError(f"{type(module).__name__} adds a position bias to its attention; it cannot be measured.")
        columns = listener.columns(call, kwargs.get("sliding_window") is not None)
    if softcap is not None:
        output, mass = _softcapped(call, dropout, columns)
    else:
        plain = partial(sdpa_attention_forward, module, dropout=dropout, is_causal=is_causal, **kwargs)
        if columns is None:
            output, mass = plain(query, key, value, attention_mask, scaling=scaling)[0], None
        else:
            output, mass = _widened(plain, call, columns)
    if heard:
        with torch.no_grad():
            listener.attend(call, mass)
    return output, None


def _widened(plain, call: Call, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and mass ``[batch, queries, heads, modalities]`` in one call; ``columns`` ``[batch, keys, modalities]``.

    Query and key are padded with zeros to the width of the widened value, a multiple of 8: fused kernels ask for
    equal widths, and fall back to a path several times slower without.
    """
    dim, own = call.query.shape[-1], call.value.shape[-1]
    both = own + columns.shape[-1]
    width = -(-max(dim, both) // 8) * 8
    value = call.value.new_zeros(*call.value.shape[:-1], width)
    value[..., :own] = call.value
    value[..., own:both] = columns[:, None].to(value.dtype)
    query, key = (F.pad(x, (0, width - dim)) for x in (call.query, call.key))
    output, _ = plain(query, key, value, call.mask, scaling=call.scale)
    return output[..., :own].contiguous(), output[..., own:both]


def _softcapped(call: Call, dropout: float, columns) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention with softcapped scores, which SDPA lacks: eager's steps, some queries at a time."""
    groups = call.query.shape[1] // call.key.shape[1]
    key, value = repeat_kv(call.key, groups), repeat_kv(call.value, groups)
    batch, _, queries, _ = call.query.shape
    outputs, masses = [], []
    for start in range(0, queries, CHUNK):
        query = call.query[:, :, start : start + CHUNK]
        scores = capped(torch.matmul(query, key.transpose(2, 3)) * call.scale, call.softcap)
        index = torch.arange(start, start + query.shape[2], device=query.device).expand(batch, -1)
        rows = call.mask_rows(index)
        if rows is not None:
            low = torch.finfo(scores.dtype).min  # not -inf: a query without keys must not become NaN
            scores = scores.masked_fill(~rows, low) if rows.dtype == torch.bool else scores + rows
        weights = scores.softmax(-1, dtype=torch.float32)
        if columns is not None:
            masses.append((weights @ columns[:, None]).transpose(1, 2))
        weights = F.dropout(weights.to(query.dtype), dropout, training=dropout > 0)
        outputs.append(torch.matmul(weights, value).transpose(1, 2))
    return torch.cat(outputs, 1).contiguous(), torch.cat(masses, 1) if masses else None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # without it, padding would be ignored in silence
