"""Instruments: attention by modality, one attention map, hidden states, logit lens; reduced while a forward runs.

``install(model)`` once routes the text decoder's attention through a function registered with transformers
under ``NAME``, masks included. Without an active recorder it is transformers' SDPA and nothing else. A
``Recorder`` listens to the forwards that run inside its ``active()``, in its own thread only:

    recorder = Recorder(model, segments, [AttentionMass(), LogitLens()])
    with recorder.active():
        model(**inputs)
    recorder.readings().mass.share

The mass that a query puts on a modality is attention applied to an indicator: with one-hot modality columns
beside the values, ``SDPA(q, k, [v | onehot])`` gives answer and mass in one fused call, whatever the mask,
the window or the grouping of heads. No T x T matrix is made. Where only some queries matter, their rows are
recomputed in float32 beside the untouched SDPA.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.errors import ModelError
from models.segments import Modality

NAME = "crosstalk"
PADDING = -1  # in segments: a token that is none, neither a query nor a key
MODALITIES = len(Modality)
_FEW = 8  # up to so many queries, recomputing their rows costs less than widening every cached value
_CHUNK = 256  # queries whose mask or scores are looked at together
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")

Positions = Literal["last"] | Sequence[int] | torch.Tensor
"""Tokens of the prompt: ``"last"`` (of each row, padding aside), positions for all rows (negative ones count from
the end of ``segments``), or int64 ``[batch, tokens]``."""


@dataclass(frozen=True)
class AttentionMass:
    """Share of attention that queries put on each modality.

    ``queries=None`` averages over the queries of each modality; the answer's logits then agree with the plain
    forward's to rounding. Chosen ``queries`` give a row each, and every token after the prompt adds a row; the
    forward is then bit for bit the plain one. In half precision the averages carry its rounding, rows do not.
    """

    queries: Positions | None = None


@dataclass(frozen=True)
class AttentionMap:
    """Attention of one query token over all keys in one layer; ``head=None`` keeps all heads.

    ``query`` is ``"last"``, a position (negative: from the end of the prompt), or one past the prompt for a token
    of the answer. ``value_norm`` weights each key by the norm of its value, ``|a_ij v_j|``, because a key with a
    small value gets attention without effect (Kobayashi et al. 2020, eq. 5, before the output projection); these
    weights do not sum to one.
    """

    layer: int
    query: int | Literal["last"] = "last"
    head: int | None = None
    value_norm: bool = False


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states of chosen tokens, and of every token after the prompt."""

    tokens: Positions = "last"


@dataclass(frozen=True)
class LogitLens:
    """What each layer would answer: final norm and head applied to its output (nostalgebraist 2020); top ``k``."""

    tokens: Positions = "last"
    k: int = 5


Instrument = AttentionMass | AttentionMap | HiddenStates | LogitLens


@dataclass(frozen=True)
class ModalityMass:
    """Attention by modality, averaged over the queries of each modality. Axes of modalities follow ``Modality``.

    ``share`` ``[layers, batch, heads, query modality, key modality]`` sums to 1 over the last axis; NaN where
    ``queries`` ``[batch, query modality]``, the number of queries, is 0. ``keys`` ``[layers, batch, query
    modality, key modality]``: the mean number of keys that a query may attend to, for attention per key.
    ``layers``: indices of the layers.
    """

    share: np.ndarray
    keys: np.ndarray
    queries: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True)
class QueryMass:
    """Attention by modality of single queries: chosen tokens of the prompt, then the answer's.

    ``share`` ``[layers, batch, heads, queries, key modality]`` sums to 1 over the last axis (0 for a padding
    token). ``keys`` ``[layers, batch, queries, key modality]``: how many keys the query may attend to.
    ``positions`` ``[batch, queries]``. ``layers``: indices of the layers.
    """

    share: np.ndarray
    keys: np.ndarray
    positions: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True)
class Map:
    """``weights`` ``[batch, heads or 1, keys]`` of the query at ``position`` ``[batch]`` in ``layer``.

    Keys are all tokens up to that forward's end; those that the query may not attend to have 0.
    """

    weights: np.ndarray
    position: np.ndarray
    layer: int


@dataclass(frozen=True)
class Hidden:
    """``states`` ``[layers + 1, batch, tokens, d]`` of the tokens at ``positions`` ``[batch, tokens]``.

    As in transformers the first is the embedding and the last is the final norm's output; the others are what the
    next layer reads, so where features are added between layers (Qwen3-VL) they are in.
    """

    states: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Lens:
    """``ids`` (int64) and ``logprobs`` (nats) ``[layers, batch, tokens, k]``, likeliest first; ``entropy`` (nats)
    ``[layers, batch, tokens]``; of the tokens at ``positions`` ``[batch, tokens]``."""

    ids: np.ndarray
    logprobs: np.ndarray
    entropy: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Readings:
    """What the instruments of a recorder read; None for an instrument that was not asked for. float32."""

    mass: ModalityMass | None = None
    rows: QueryMass | None = None
    maps: tuple[Map, ...] = ()
    hidden: Hidden | None = None
    lens: Lens | None = None


_active: ContextVar["Recorder | None"] = ContextVar("recorder", default=None)


def _base(model):
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_of(model):
    """The text decoder of a model (bare, or within a ``PeftModel``): the module that has ``layers``.

    Raises ``ModelError`` where there is none.
    """
    decoder = _base(model).get_decoder()
    while not hasattr(decoder, "layers"):
        inner = getattr(decoder, "model", None) or getattr(decoder, "decoder", None)
        if inner is None:
            raise ModelError(f"{type(_base(model)).__name__} has no decoder with layers: instruments cannot read it.")
        decoder = inner
    return decoder


def install(model) -> None:
    """Route the attention of a model's text decoder through this module; other parts keep theirs.

    Answers stay those of SDPA bit for bit, and those of eager attention to rounding for decoders with softcapped
    attention (Gemma 2), which transformers runs eagerly. Raises ``ModelError`` for a decoder whose attention
    SDPA cannot compute (attention sinks, for example) or that does not ask transformers for its attention.
    """
    decoder = decoder_of(model)
    name = type(decoder).__name__
    if not isinstance(decoder, PreTrainedModel) or not decoder._can_set_attn_implementation():
        raise ModelError(f"{name} does not ask transformers for its attention, so it cannot be measured.")
    if not decoder._supports_sdpa and not hasattr(decoder.config, "attn_logit_softcapping"):
        raise ModelError(f"{name} computes attention that SDPA cannot, so its attention cannot be measured.")
    decoder.set_attn_implementation(NAME)


@dataclass
class _Call:
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
        scores = scores.view(batch, heads, n, -1) * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        rows = self.mask_rows(index)
        if rows is None:
            return scores.softmax(-1)
        scores = scores.masked_fill(~rows, -torch.inf) if rows.dtype == torch.bool else scores + rows.float()
        return scores.softmax(-1).masked_fill(~_open(rows).any(-1, keepdim=True), 0.0)


def _open(rows: torch.Tensor) -> torch.Tensor:
    """Where a mask lets through. Additive masks close with the type's minimum or -inf; a bias is far from both."""
    return rows if rows.dtype == torch.bool else rows > torch.finfo(rows.dtype).min / 2


def _attention(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, softcap=None, **kwargs
):
    """The registered attention: ``[batch, queries, heads, d]`` and None, as ``sdpa_attention_forward`` returns."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    recorder = _active.get()
    forward = recorder.forward if recorder is not None and recorder.reads_attention else None
    if forward is not None and kwargs.get("position_bias") is not None:
        raise ModelError(f"{type(module).__name__} adds a position bias to its attention; it cannot be measured.")
    call = _Call(getattr(module, "layer_idx", -1), query, key, value, attention_mask, causal, scale, softcap)
    columns = None
    if forward is not None:
        forward.check(call, kwargs.get("sliding_window") is not None)
        if recorder.averages and query.shape[2] > _FEW:
            columns = forward.keys(key)
    if softcap is not None:
        output, mass = _softcapped(call, dropout, columns)
    else:
        plain = partial(sdpa_attention_forward, module, dropout=dropout, is_causal=is_causal, **kwargs)
        if columns is None:
            output, mass = plain(query, key, value, attention_mask, scaling=scaling)[0], None
        else:
            output, mass = _widened(plain, call, columns)
    if forward is not None:
        with torch.no_grad():
            recorder.attend(call, forward, mass)
    return output, None


def _widened(plain, call: _Call, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and mass ``[batch, queries, heads, modalities]`` in one call; ``columns`` ``[batch, keys, modalities]``.

    Query and key are padded with zeros to the width of the widened value, a multiple of 8: fused kernels ask for
    equal widths, and fall back to a path several times slower without.
    """
    dim, own = call.query.shape[-1], call.value.shape[-1]
    width = -(-max(dim, own + MODALITIES) // 8) * 8
    value = call.value.new_zeros(*call.value.shape[:-1], width)
    value[..., :own] = call.value
    value[..., own : own + MODALITIES] = columns[:, None].to(value.dtype)
    query, key = (F.pad(x, (0, width - dim)) for x in (call.query, call.key))
    output, _ = plain(query, key, value, call.mask, scaling=call.scale)
    return output[..., :own].contiguous(), output[..., own : own + MODALITIES]


def _softcapped(call: _Call, dropout: float, columns) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention with ``softcap * tanh(scores / softcap)``, which SDPA lacks: eager's steps, some queries at a time."""
    groups = call.query.shape[1] // call.key.shape[1]
    key, value = repeat_kv(call.key, groups), repeat_kv(call.value, groups)
    batch, _, queries, _ = call.query.shape
    outputs, masses = [], []
    for start in range(0, queries, _CHUNK):
        query = call.query[:, :, start : start + _CHUNK]
        scores = torch.matmul(query, key.transpose(2, 3)) * call.scale
        scores = torch.tanh(scores / call.softcap) * call.softcap
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


@dataclass
class _Forward:
    """One forward: tokens ``past`` to ``total`` are computed; ``kinds`` ``[batch, total]`` on the CPU."""

    past: int
    total: int
    prompt: int
    kinds: torch.Tensor
    _kept: dict = field(default_factory=dict)

    def check(self, call: _Call, sliding: bool) -> None:
        rows, queries, keys = call.query.shape[0], call.query.shape[2], call.key.shape[2]
        length = self.total - self.past
        if rows != len(self.kinds) or queries != length or keys > self.total or (keys < self.total and not sliding):
            raise ModelError(
                f"Layer {call.layer} attends with {queries} queries to {keys} keys in {rows} rows; this forward has "
                f"{length} tokens, {self.total} with the cached, in {len(self.kinds)} rows. Static caches, "
                "cross-attention and prompt tuning cannot be measured."
            )

    def _onehot(self, start: int, device: torch.device) -> torch.Tensor:
        if (start, device) not in self._kept:
            kinds = self.kinds[:, start:]
            columns = kinds[..., None] == torch.arange(MODALITIES)
            self._kept[start, device] = columns.to(device, torch.float32)
        return self._kept[start, device]

    def queries(self, like: torch.Tensor) -> torch.Tensor:
        """One-hot modality of each query, ``[batch, queries, modalities]``; zeros for padding."""
        return self._onehot(self.past, like.device)

    def keys(self, key: torch.Tensor) -> torch.Tensor:
        """One-hot modality of each key, ``[batch, keys, modalities]``: a sliding cache holds the last tokens."""
        return self._onehot(self.total - key.shape[2], key.device)

    def everyone(self, like: torch.Tensor) -> torch.Tensor:
        return torch.arange(self.total - self.past, device=like.device).expand(len(self.kinds), -1)

    def reach(self, call: _Call) -> torch.Tensor:
        """Keys in reach of the queries, summed over those of each modality: ``[batch, modalities, modalities]``.

        Layers share their masks, so this is counted once a mask.
        """
        known = ("reach", id(call.mask), call.key.shape[2], call.causal, call.key.device)
        if known not in self._kept:
            queries, keys, total = self.queries(call.key), self.keys(call.key), 0.0
            everyone = self.everyone(call.key)
            for start in range(0, self.total - self.past, _CHUNK):
                part = slice(start, start + _CHUNK)
                counts = call.allowed(everyone[:, part]).float() @ keys
                total = total + queries[:, part].transpose(1, 2) @ counts
            self._kept[known] = (total, call.mask)  # the mask is held so that no other takes its id
        return self._kept[known][0]

    def wanted(self, positions: torch.Tensor) -> torch.Tensor | None:
        """Which of this forward's tokens to read, ``[batch, n]``: those at ``positions`` and all past the prompt."""
        inside = (positions >= self.past) & (positions < self.total)
        columns = inside.any(0)
        if not inside[:, columns].all():
            raise ModelError("One column of chosen tokens lies in different forwards: read the prompt in one.")
        new = torch.arange(max(self.past, self.prompt), max(self.total, self.prompt)).expand(len(positions), -1)
        found = torch.cat([positions[:, columns], new], 1) - self.past
        return found if found.shape[1] else None


def _resolved(positions: Positions, segments: torch.Tensor, what: str) -> torch.Tensor:
    batch, length = segments.shape
    if isinstance(positions, str):
        if positions != "last":
            raise ModelError(f'{what} are "last" or positions, not {positions!r}.')
        return length - 1 - (segments != PADDING).flip(1).int().argmax(1, keepdim=True)
    found = torch.as_tensor(positions, dtype=torch.long, device="cpu")
    found = found.expand(batch, -1) if found.ndim == 1 else found
    found = torch.where(found < 0, found + length, found)
    if found.ndim != 2 or len(found) != batch or ((found < 0) | (found >= length)).any():
        raise ModelError(f"{what} must be positions in a prompt of {length} tokens, for all or each of {batch} rows.")
    return found


def _picked(hidden: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    index = index.to(hidden.device)
    return hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[-1]))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


class _Kept:
    """Tensors ``[batch, ..., tokens, x]`` by layer, joined over forwards; and the positions of those tokens."""

    def __init__(self):
        self.tensors: dict[tuple[str, int], list[torch.Tensor]] = {}
        self.at: dict[int, torch.Tensor] = {}

    def add(self, forward: _Forward, index: torch.Tensor, layer: int, **tensors: torch.Tensor) -> None:
        self.at[forward.past] = index + forward.past
        for name, tensor in tensors.items():
            self.tensors.setdefault((name, layer), []).append(tensor)

    @property
    def layers(self) -> list[int]:
        return sorted({layer for _, layer in self.tensors})

    @property
    def positions(self) -> np.ndarray:
        return _numpy(torch.cat(list(self.at.values()), 1))

    def stacked(self, name: str) -> np.ndarray:
        return np.stack([_numpy(torch.cat([t.cpu() for t in self.tensors[name, i]], -2)) for i in self.layers])


class _Averages:
    def __init__(self):
        self.sums: dict[int, torch.Tensor] = {}
        self.reach: dict[int, torch.Tensor] = {}
        self.counts: dict[int, torch.Tensor] = {}

    def attend(self, call: _Call, forward: _Forward, mass) -> None:
        queries = forward.queries(call.query)
        if mass is None:
            rows = call.rows(forward.everyone(call.query))
            mass = (rows @ forward.keys(call.key)[:, None]).transpose(1, 2)
        # padding queries have no keys, which some kernels answer with NaN
        summed = torch.einsum("bqhk,bqm->bhmk", mass.float().nan_to_num(), queries)
        self.counts[forward.past] = queries.sum(1)
        self.sums[call.layer] = self.sums.get(call.layer, 0.0) + summed
        self.reach[call.layer] = self.reach.get(call.layer, 0.0) + forward.reach(call)

    def reading(self) -> ModalityMass:
        counts = _numpy(sum(c.cpu() for c in self.counts.values()))
        layers = sorted(self.sums)
        share = np.stack([_numpy(self.sums[i]) for i in layers])
        keys = np.stack([_numpy(self.reach[i]) for i in layers])
        some = np.where(counts > 0, counts, np.nan)
        return ModalityMass(share / some[:, None, :, None], keys / some[:, :, None], counts, np.array(layers))


class _Rows:
    def __init__(self, positions: torch.Tensor):
        self.wanted, self.kept = positions, _Kept()

    def attend(self, call: _Call, forward: _Forward, mass) -> None:
        found = forward.wanted(self.wanted)
        if found is not None:
            index, keys = found.to(call.key.device), forward.keys(call.key)
            share, reach = call.rows(index) @ keys[:, None], call.allowed(index).float() @ keys
            self.kept.add(forward, found, call.layer, share=share, keys=reach)

    def reading(self) -> QueryMass:
        kept = self.kept
        return QueryMass(kept.stacked("share"), kept.stacked("keys"), kept.positions, np.array(kept.layers))


class _Map:
    def __init__(self, asked: AttentionMap, position: torch.Tensor):
        self.asked, self.position, self.weights = asked, position, None

    def attend(self, call: _Call, forward: _Forward, mass) -> None:
        at = self.position - forward.past
        if call.layer != self.asked.layer or not ((at >= 0) & (self.position < forward.total)).all():
            return
        weights = call.rows(at.to(call.key.device))[:, :, 0]
        if self.asked.value_norm:
            norms = call.value.float().norm(dim=-1)
            weights = weights * norms.repeat_interleave(weights.shape[1] // norms.shape[1], 1)
        if self.asked.head is not None:
            weights = weights[:, self.asked.head, None]
        self.weights = _numpy(F.pad(weights, (forward.total - weights.shape[-1], 0)))

    def reading(self) -> Map:
        if self.weights is None:
            where = _numpy(self.position[:, 0]).tolist()
            raise ModelError(f"The query {where} of the map of layer {self.asked.layer} was in no recorded forward.")
        return Map(self.weights, _numpy(self.position[:, 0]), self.asked.layer)


class _Hidden:
    def __init__(self, positions: torch.Tensor):
        self.wanted, self.kept = positions, _Kept()

    def state(self, level: int, hidden: torch.Tensor, forward: _Forward) -> None:
        index = forward.wanted(self.wanted)
        if index is not None:
            self.kept.add(forward, index, level, states=_picked(hidden, index).float())

    def reading(self) -> Hidden:
        return Hidden(self.kept.stacked("states"), self.kept.positions)


class _Lens:
    def __init__(self, asked: LogitLens, positions: torch.Tensor, model):
        self.asked, self.wanted, self.kept, self.model = asked, positions, _Kept(), model
        self.head, decoder = model.get_output_embeddings(), decoder_of(model)
        norm = next((n for n in _NORMS if hasattr(decoder, n)), None)
        if self.head is None or norm is None:
            raise ModelError(f"{type(model).__name__} has no final norm and head of its own: no logit lens.")
        self.norm, self.last = getattr(decoder, norm), len(decoder.layers) - 1
        self.softcap = getattr(decoder.config, "final_logit_softcapping", None)

    def state(self, layer: int, hidden: torch.Tensor, forward: _Forward) -> None:
        index = forward.wanted(self.wanted)
        if index is None:
            return
        found = [self._read(part) for part in _picked(hidden, index).split(_CHUNK, 1)]
        ids, logprobs, entropy = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        self.kept.add(forward, index, layer, ids=ids, logprobs=logprobs, entropy=entropy)

    def _read(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # .forward, not a call: the norm's own hook is what led here
        logits = self.head.forward(self.norm.forward(hidden)).float()
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        logprobs = logits.log_softmax(-1)
        values, ids = logprobs.topk(min(self.asked.k, logprobs.shape[-1]))
        return ids, values, -(logprobs.exp() * logprobs).sum(-1, keepdim=True)

    def check(self, forward: _Forward, logits: torch.Tensor) -> None:
        """Raise ``ModelError`` where the last layer's lens is not what the model itself says of the last token."""
        index = forward.wanted(self.wanted)
        first = forward.total - forward.past - logits.shape[1]  # a model may keep its last logits alone
        if index is None or (index[:, -1] < first).any():
            return
        own = _picked(logits, index[:, -1:] - first)[:, 0].float().log_softmax(-1)
        ids, lens = (self.kept.tensors[name, self.last][-1][:, -1] for name in ("ids", "logprobs"))
        off = (own.gather(1, ids.to(own.device)) - lens.to(own.device)).abs().max().item()
        if not off < (0.02 if logits.dtype in (torch.float32, torch.float64) else 0.5):
            raise ModelError(
                f"{type(self.model).__name__} does more than its final norm and head before it answers "
                f"(log-probabilities are off by {off:.2f} nats): a logit lens would mislead."
            )

    def reading(self) -> Lens:
        ids, logprobs, entropy = (self.kept.stacked(name) for name in ("ids", "logprobs", "entropy"))
        return Lens(ids, logprobs, entropy[..., 0], self.kept.positions)


class Recorder:
    """Listens with ``instruments`` to the forwards of one batch of sequences: the prompt, then cached steps.

    ``model`` is bare or a ``PeftModel``; ``segments`` int64 ``[batch, T]`` (or ``[T]``) holds the ``Modality`` of
    each token, or ``PADDING``. Tokens past T are ``Modality.ANSWER``. A cache may have been filled before the
    first recorded forward. Raises ``ModelError`` for what cannot be measured.
    """

    def __init__(self, model, segments: torch.Tensor, instruments: Sequence[Instrument]):
        self.model, self.decoder = _base(model), decoder_of(model)
        self.segments = segments.detach().cpu().reshape(-1, segments.shape[-1])
        self.forward: _Forward | None = None
        self._ended: _Forward | None = None
        self._failed = False
        self._mass: _Averages | None = None
        self._rows: _Rows | None = None
        self._maps: list[_Map] = []
        self._hidden: _Hidden | None = None
        self._lens: _Lens | None = None
        for instrument in instruments:
            self._add(instrument)
        self._attending = [r for r in (self._mass, self._rows, *self._maps) if r is not None]
        if self._attending and self.decoder.config._attn_implementation != NAME:
            raise ModelError("The attention of this model is not routed through the instruments: call install first.")

    def _add(self, instrument: Instrument) -> None:
        match instrument:
            case AttentionMass(queries=None):
                self._mass = _Averages()
            case AttentionMass(queries=queries):
                self._rows = _Rows(_resolved(queries, self.segments, "Queries"))
            case AttentionMap():
                self._maps.append(_Map(instrument, self._position(instrument)))
            case HiddenStates(tokens=tokens):
                self._hidden = _Hidden(_resolved(tokens, self.segments, "Tokens"))
            case LogitLens(tokens=tokens):
                self._lens = _Lens(instrument, _resolved(tokens, self.segments, "Tokens"), self.model)
            case _:
                raise ModelError(f"{instrument!r} is no instrument.")

    def _position(self, asked: AttentionMap) -> torch.Tensor:
        layers, heads = len(self.decoder.layers), self.decoder.config.num_attention_heads
        if not 0 <= asked.layer < layers or not (asked.head is None or 0 <= asked.head < heads):
            raise ModelError(
                f"There is no layer {asked.layer}, head {asked.head}: layers are 0 to {layers - 1}, "
                f"heads 0 to {heads - 1}."
            )
        batch, length = self.segments.shape
        if isinstance(asked.query, int) and asked.query >= length:
            return torch.full((batch, 1), asked.query)
        return _resolved(asked.query if isinstance(asked.query, str) else [asked.query], self.segments, "A map's query")

    @property
    def reads_attention(self) -> bool:
        return bool(self._attending)

    @property
    def averages(self) -> bool:
        return self._mass is not None

    def attend(self, call: _Call, forward: _Forward, mass: torch.Tensor | None) -> None:
        """Called by the registered attention, once a layer."""
        for reader in self._attending:
            reader.attend(call, forward, mass)

    @contextmanager
    def active(self) -> Iterator["Recorder"]:
        """Record the forwards that run inside, in this thread; enter it again for the next one.

        Hooks are gone afterwards, whatever happened. Do not yield to a caller from inside.
        """
        token, hooks = _active.set(self), []
        try:
            hooks.append(self.decoder.register_forward_pre_hook(self._begin, with_kwargs=True))
            if self._hidden or self._lens:
                for level, layer in enumerate(self.decoder.layers):
                    hook = partial(self._state, level)
                    hooks.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
            if self._lens:
                hook = partial(self._state, len(self.decoder.layers))
                hooks.append(self._lens.norm.register_forward_pre_hook(hook, with_kwargs=True))
            hooks.append(self.decoder.register_forward_hook(self._end))
            if self._lens and self.model is not self.decoder:
                hooks.append(self.model.register_forward_hook(self._check, with_kwargs=True))
            yield self
        except BaseException:
            self._failed = True
            raise
        finally:
            for hook in hooks:
                hook.remove()
            self.forward = None
            _active.reset(token)

    # Hooks sit on modules that threads share: each hears every thread's forwards and answers to its own alone.
    # kwargs may be missing where another thread removes its hook just now.

    def _begin(self, decoder, args, kwargs=None) -> None:
        if _active.get() is not self:
            return
        inputs = next((x for x in (kwargs.get("inputs_embeds"), kwargs.get("input_ids"), *args) if x is not None), None)
        if inputs is None:
            return  # the decoder itself complains
        batch, length = inputs.shape[:2]
        cache = kwargs.get("cache")
        past = cache.get_seq_length() if cache is not None else 0
        if batch != len(self.segments):
            raise ModelError(f"The forward has {batch} rows, the segments {len(self.segments)}.")
        if self._ended is not None and past != self._ended.total:
            raise ModelError(
                f"This forward starts at token {past}, the one before ended at {self._ended.total}: "
                "a recorder follows one batch of sequences, make another for others."
            )
        prompt, total = self.segments.shape[1], past + length
        kinds = F.pad(self.segments, (0, max(total - prompt, 0)), value=int(Modality.ANSWER))[:, :total]
        self.forward = _Forward(past, total, prompt, kinds)

    @torch.no_grad()
    def _state(self, level: int, module, args, kwargs=None) -> None:
        if _active.get() is not self or self.forward is None:
            return
        hidden = args[0] if args else kwargs["hidden_states"]
        if self._hidden and level < len(self.decoder.layers):
            self._hidden.state(level, hidden, self.forward)
        if self._lens and level > 0:
            self._lens.state(level - 1, hidden, self.forward)

    @torch.no_grad()
    def _end(self, decoder, args, output) -> None:
        if _active.get() is not self or self.forward is None:
            return
        if self._hidden:
            self._hidden.state(len(self.decoder.layers), output[0], self.forward)
        self._ended, self.forward = self.forward, None

    @torch.no_grad()
    def _check(self, model, args, kwargs, output=None) -> None:
        if _active.get() is self and not isinstance(kwargs.get("logits_to_keep"), torch.Tensor):
            self._lens.check(self._ended, output.logits if hasattr(output, "logits") else output[0])

    def readings(self) -> Readings:
        """Everything read so far, as NumPy arrays. Raises ``ModelError`` where nothing was, or a forward failed."""
        if self._failed:
            raise ModelError("A recorded forward failed, so its readings are not whole: record again.")
        if self._ended is None:
            raise ModelError("No forward was recorded: run the model inside active().")
        readers = {"mass": self._mass, "rows": self._rows, "hidden": self._hidden, "lens": self._lens}
        found = {name: reader.reading() for name, reader in readers.items() if reader is not None}
        return Readings(maps=tuple(m.reading() for m in self._maps), **found)
