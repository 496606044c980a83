"""Attention that can be changed and listened to: registered with transformers under ``NAME``, masks included.

Without an editor and a listener it is transformers' SDPA and nothing else. An ``Editor`` set in ``EDITOR`` changes each
layer's ``Call`` before it is computed; a ``Listener`` set in ``LISTENER`` hears it as it then is, and may ask for the
mass on each modality. Both see the forwards that run in their own thread alone.

The mass that a query puts on a modality is attention applied to an indicator: with one-hot modality columns
beside the values, ``SDPA(q, k, [v | onehot])`` gives answer and mass in one fused call, whatever the mask,
the window or the grouping of heads. No T x T matrix is made.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
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
    one, ``causal`` aligns the first query with the first key, as SDPA does. ``drain`` ``[batch, heads or 1, queries]``
    is the log of a term more in the softmax's denominator, attention that goes nowhere: rows then sum to less than 1.
    """

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    causal: bool
    scale: float
    softcap: float | None
    drain: torch.Tensor | None = None

    def additive(self) -> torch.Tensor:
        """The mask as numbers to add to the scores ``[batch or 1, heads or 1, queries or 1, keys]``, of the query's
        type: its minimum closes."""
        like, mask = self.query, self.mask
        low = torch.finfo(like.dtype).min
        if mask is not None and mask.dtype != torch.bool:
            return mask.to(like.dtype).clamp(min=low)
        if mask is None:
            mask = torch.ones(1, 1, like.shape[2], self.key.shape[2], dtype=torch.bool, device=like.device)
            mask = mask.tril() if self.causal else mask
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill_(~mask, low)

    def biased(self, bias: torch.Tensor) -> "Call":
        """The call with ``bias`` (broadcast to ``[batch, heads, queries, keys]``) added to its scores; -inf closes."""
        mask = self.additive()
        return replace(self, mask=(mask + bias.to(mask)).clamp(min=torch.finfo(mask.dtype).min), causal=False)

    def drained(self, drain: torch.Tensor) -> "Call":
        """The call with ``exp(drain)`` added to what its softmax's denominator has beside the keys."""
        return replace(self, drain=drain if self.drain is None else torch.logaddexp(self.drain, drain))

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
        return opened(rows).any(1)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Attention ``[batch, heads, n, keys]`` of the queries ``index`` ``[batch, n]``, in float32."""
        batch, heads, _, dim = self.query.shape
        kv, n = self.key.shape[1], index.shape[1]
        query = self.query.gather(2, index[:, None, :, None].expand(-1, heads, -1, dim)).float()
        scores = query.reshape(batch, kv, -1, dim) @ self.key.float().transpose(2, 3)
        scores = capped(scores.view(batch, heads, n, self.key.shape[2]) * self.scale, self.softcap)
        rows = self.mask_rows(index)
        if rows is not None:
            scores = scores.masked_fill(~rows, -torch.inf) if rows.dtype == torch.bool else scores + rows.float()
        if self.drain is not None:
            drain = self.drain.gather(2, index[:, None].expand(-1, self.drain.shape[1], -1))
            scores = torch.cat([scores, drain[..., None].float().expand(-1, heads, -1, -1)], -1)
        found = scores.softmax(-1)[..., : self.key.shape[2]]
        return found if rows is None else found.masked_fill(~opened(rows).any(-1, keepdim=True), 0.0)


def opened(rows: torch.Tensor) -> torch.Tensor:
    """Where a mask lets through. Additive masks close with the type's minimum or -inf; a bias is far from both."""
    return rows if rows.dtype == torch.bool else rows > torch.finfo(rows.dtype).min / 2


@dataclass(frozen=True)
class Context:
    """What an edit knows of the forward whose attention it changes.

    ``kinds`` int64 ``[batch, keys]``: the ``Modality`` of each of the call's keys, another number (``PADDING``, -1) for
    padding; the queries are the last of them. ``places`` int64 ``[batch, keys]``: how many tokens of its row stand
    before each key, padding aside. ``start`` and ``past`` are the places of the first key and the first query in the
    batch's sequences, padding included (a sliding layer's cache begins late). ``module`` is the attention layer.
    ``kept`` is one for all layers of a forward: for what they share.
    """

    kinds: torch.Tensor
    places: torch.Tensor
    start: int
    past: int
    module: torch.nn.Module
    kept: dict = field(default_factory=dict)

    def queries(self, call: Call) -> torch.Tensor:
        """The ``Modality`` of each query, ``[batch, queries]``."""
        return self.kinds[:, self.kinds.shape[1] - call.query.shape[2] :]


Edit = Callable[[Call, Context], Call]
"""Changes a layer's attention: another ``Call``, or the very same where it has nothing to change."""


class Editor(Protocol):
    """Changes the attention of each layer before it is computed."""

    def edited(self, call: Call, module: torch.nn.Module, sliding: bool) -> Call:
        """The call to compute; ``sliding``: the layer has a window, so its cache may hold the last keys alone."""


EDITOR: ContextVar[Editor | None] = ContextVar("editor", default=None)


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
    own = call = Call(getattr(module, "layer_idx", -1), query, key, value, attention_mask, causal, scale, softcap)
    sliding, listener, columns = kwargs.get("sliding_window") is not None, LISTENER.get(), None
    heard, editor = listener is not None and listener.listens, EDITOR.get()
    if (heard or editor is not None) and kwargs.get("position_bias") is not None:
        name = type(module).__name__
        raise ModelError(f"{name} adds a position bias to its attention; it can be neither measured nor changed.")
    if editor is not None:
        call = editor.edited(call, module, sliding)
    if heard:
        columns = listener.columns(call, sliding)
    plain = partial(sdpa_attention_forward, module, dropout=dropout, is_causal=call.causal, **kwargs)
    if call is not own:
        output, mass = _changed(plain, call, dropout, columns)
    elif softcap is not None:
        output, mass = _softcapped(call, dropout, columns)
    elif columns is not None:
        output, mass = _widened(plain, call, columns)
    else:
        output, mass = plain(query, key, value, attention_mask, scaling=scaling)[0], None
    if heard:
        with torch.no_grad():
            listener.attend(call, mass)
    return output, None


def _changed(plain, call: Call, dropout: float, columns) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Output and mass of a call that was edited: with its drain, and 0 for queries that no key is left for."""
    asked = call if call.drain is None else _with_drain(call)
    if columns is not None and asked is not call:
        columns = F.pad(columns, (0, 0, 0, 1))
    if call.softcap is not None:
        output, mass = _softcapped(asked, dropout, columns)
    else:
        output, mass = _widened(plain, asked, columns)
    if call.mask is None:
        return output, mass
    lost = ~opened(call.mask).any(-1)[..., None].transpose(1, 2)  # [batch or 1, queries or 1, heads or 1, 1]
    return output.masked_fill(lost, 0.0), None if mass is None else mass.masked_fill(lost, 0.0)


def _with_drain(call: Call) -> Call:
    """The drain as one key more, of a vector and a value that are zero: its score is what the mask adds."""
    batch, _, queries, _ = call.query.shape
    mask, drain = call.additive(), call.drain.to(call.query.dtype)[..., None]
    drain = drain.clamp(min=torch.finfo(drain.dtype).min)
    heads = max(mask.shape[1], drain.shape[1])
    parts = [part.expand(batch, heads, queries, -1) for part in (mask, drain)]
    key, value = (F.pad(x, (0, 0, 0, 1)) for x in (call.key, call.value))
    return replace(call, key=key, value=value, mask=torch.cat(parts, -1), causal=False, drain=None)


def _widened(plain, call: Call, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Output and mass ``[batch, queries, heads, modalities]`` in one call; ``columns`` ``[batch, keys, modalities]``.

    Query and key are padded with zeros to the width of the widened value, a multiple of 8: fused kernels ask for
    equal widths, and fall back to a path several times slower without.
    """
    dim, own = call.query.shape[-1], call.value.shape[-1]
    if columns is None and dim == own:
        return plain(call.query, call.key, call.value, call.mask, scaling=call.scale)[0], None
    both = own + (0 if columns is None else columns.shape[-1])
    width = -(-max(dim, both) // 8) * 8
    value = F.pad(call.value, (0, width - own))
    if columns is not None:
        value[..., own:both] = columns[:, None].to(value.dtype)
    query, key = (F.pad(x, (0, width - dim)) for x in (call.query, call.key))
    output, _ = plain(query, key, value, call.mask, scaling=call.scale)
    return output[..., :own].contiguous(), None if columns is None else output[..., own:both]


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
