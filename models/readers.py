"""How each instrument reads a forward while it runs, layer by layer, and what it makes of all forwards in the end.

Where only some queries matter, their rows are recomputed in float32 beside the untouched SDPA: kilobytes, where
the attention of a whole prompt is hundreds of megabytes.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from models.attention import CHUNK, Call, capped
from models.errors import ModelError
from models.readings import Hidden, Lens, Map, ModalityMass, QueryMass
from models.segments import Modality

_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


@dataclass
class ForwardPass:
    """One forward: tokens ``past`` to ``total`` are computed, those before are cached.

    ``prompt``: how many tokens belong to the prompt. ``kinds`` ``[batch, total]``, on the CPU: the ``Modality``
    of each token, or another number for padding.
    """

    past: int
    total: int
    prompt: int
    kinds: torch.Tensor
    _kept: dict = field(default_factory=dict)

    @classmethod
    def of(cls, segments: torch.Tensor, args, kwargs) -> "ForwardPass | None":
        """The forward that a decoder is called for with ``args`` and ``kwargs``; None where it has no input.

        ``segments`` ``[batch, T]``, on the CPU, are the kinds of the prompt's tokens; those past T are the answer's.
        Raises ``ModelError`` for another number of rows.
        """
        kwargs = kwargs or {}  # missing where another thread removes its hook just now
        inputs = next((x for x in (kwargs.get("inputs_embeds"), kwargs.get("input_ids"), *args) if x is not None), None)
        if inputs is None:
            return None  # the decoder itself complains
        batch, length = inputs.shape[:2]
        cache, prompt = kwargs.get("cache"), segments.shape[1]
        past = cache.get_seq_length() if cache is not None else 0
        if batch != len(segments):
            raise ModelError(f"The forward has {batch} rows, the segments {len(segments)}.")
        total = past + length
        kinds = F.pad(segments, (0, max(total - prompt, 0)), value=int(Modality.ANSWER))[:, :total]
        return cls(past, total, prompt, kinds)

    def check(self, call: Call, sliding: bool) -> None:
        """Raise ``ModelError`` unless the queries are this forward's tokens and the keys all tokens so far.

        A layer with a ``sliding`` window may have the last keys alone.
        """
        rows, queries, keys = call.query.shape[0], call.query.shape[2], call.key.shape[2]
        length = self.total - self.past
        if rows != len(self.kinds) or queries != length or keys > self.total or (keys < self.total and not sliding):
            raise ModelError(
                f"Layer {call.layer} attends with {queries} queries to {keys} keys in {rows} rows; this forward has "
                f"{length} tokens, {self.total} with the cached, in {len(self.kinds)} rows. Static caches, "
                "cross-attention and prompt tuning can be neither measured nor changed."
            )

    def _onehot(self, start: int, device: torch.device) -> torch.Tensor:
        if (start, device) not in self._kept:
            kinds = self.kinds[:, start:]
            columns = kinds[..., None] == torch.arange(len(Modality))
            self._kept[start, device] = columns.to(device, torch.float32)
        return self._kept[start, device]

    def queries(self, like: torch.Tensor) -> torch.Tensor:
        """One-hot modality of each query, ``[batch, queries, modalities]``; zeros for padding."""
        return self._onehot(self.past, like.device)

    def keys(self, key: torch.Tensor) -> torch.Tensor:
        """One-hot modality of each key, ``[batch, keys, modalities]``: a sliding cache holds the last tokens."""
        return self._onehot(self.total - key.shape[2], key.device)

    def everyone(self, like: torch.Tensor) -> torch.Tensor:
        """Indices ``[batch, queries]`` of all queries of a call."""
        return torch.arange(self.total - self.past, device=like.device).expand(len(self.kinds), -1)

    def mass(self, call: Call, index: torch.Tensor) -> torch.Tensor:
        """Attention by modality of the queries ``index`` ``[batch, n]``: ``[batch, heads, n, modalities]``."""
        return call.rows(index) @ self.keys(call.key)[:, None]

    def reach(self, call: Call, index: torch.Tensor) -> torch.Tensor:
        """How many keys the queries ``index`` ``[batch, n]`` may attend to: ``[batch, n, modalities]``."""
        return call.allowed(index).float() @ self.keys(call.key)

    def summed_reach(self, call: Call) -> torch.Tensor:
        """``reach`` summed over the queries of each modality: ``[batch, modalities, modalities]``.

        Layers share their masks, so this is counted once a mask.
        """
        known = ("reach", id(call.mask), call.key.shape[2], call.causal, call.key.device)
        if known not in self._kept:
            queries, everyone, total = self.queries(call.key), self.everyone(call.key), 0.0
            for part, index in zip(queries.split(CHUNK, 1), everyone.split(CHUNK, 1), strict=True):
                total = total + part.transpose(1, 2) @ self.reach(call, index)
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

    def add(self, forward: ForwardPass, index: torch.Tensor, layer: int, **tensors: torch.Tensor) -> None:
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


def _by_value(weights: torch.Tensor, call: Call) -> torch.Tensor:
    """Attention ``[batch, heads, n, keys]`` times the norm of each key's value."""
    norms = call.value.float().norm(dim=-1)
    return weights * norms.repeat_interleave(weights.shape[1] // norms.shape[1], 1)[:, :, None]


class AverageReader:
    """Attention by modality, averaged over the queries of each modality."""

    def __init__(self):
        self.sums: dict[int, torch.Tensor] = {}
        self.reach: dict[int, torch.Tensor] = {}
        self.counts: dict[int, torch.Tensor] = {}

    def attend(self, call: Call, forward: ForwardPass, mass: torch.Tensor | None) -> None:
        """Add one layer; ``mass`` ``[batch, queries, heads, modalities]`` is recomputed where None."""
        queries = forward.queries(call.query)
        if mass is None:
            mass = forward.mass(call, forward.everyone(call.query)).transpose(1, 2)
        # padding queries have no keys, which some kernels answer with NaN
        summed = torch.einsum("bqhk,bqm->bhmk", mass.float().nan_to_num(), queries)
        self.counts[forward.past] = queries.sum(1)
        self.sums[call.layer] = self.sums.get(call.layer, 0.0) + summed
        self.reach[call.layer] = self.reach.get(call.layer, 0.0) + forward.summed_reach(call)

    def reading(self) -> ModalityMass:
        counts = _numpy(sum(c.cpu() for c in self.counts.values()))
        layers = sorted(self.sums)
        share = np.stack([_numpy(self.sums[i]) for i in layers])
        keys = np.stack([_numpy(self.reach[i]) for i in layers])
        some = np.where(counts > 0, counts, np.nan)
        return ModalityMass(share / some[:, None, :, None], keys / some[:, :, None], counts, np.array(layers))


class RowReader:
    """Attention by modality of the queries at ``positions`` ``[batch, n]`` and of every one past the prompt; with
    ``value_norm`` each key's weighted by the norm of its value, as a share of all that is so weighted."""

    def __init__(self, positions: torch.Tensor, value_norm: bool = False):
        self.wanted, self.value_norm, self.kept = positions, value_norm, _Kept()

    def attend(self, call: Call, forward: ForwardPass, mass: torch.Tensor | None) -> None:
        """Add one layer; rows are recomputed, whatever ``mass``."""
        found = forward.wanted(self.wanted)
        if found is not None:
            index = found.to(call.key.device)
            if self.value_norm:
                share = _by_value(call.rows(index), call) @ forward.keys(call.key)[:, None]
                share = share / share.sum(-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
            else:
                share = forward.mass(call, index)
            keys = forward.reach(call, index)
            self.kept.add(forward, found, call.layer, share=share, keys=keys)

    def reading(self) -> QueryMass:
        kept = self.kept
        return QueryMass(kept.stacked("share"), kept.stacked("keys"), kept.positions, np.array(kept.layers))


class MapReader:
    """Attention over all keys of the query at ``position`` ``[batch, 1]`` in one ``layer``, of one ``head`` or (None)
    all; with ``value_norm`` weighted by the norm of each key's value."""

    def __init__(self, layer: int, head: int | None, value_norm: bool, position: torch.Tensor):
        self.layer, self.head, self.value_norm, self.position = layer, head, value_norm, position
        self.weights: np.ndarray | None = None

    def attend(self, call: Call, forward: ForwardPass, mass: torch.Tensor | None) -> None:
        """Read the query where this is its layer and its forward."""
        at = self.position - forward.past
        if call.layer != self.layer or not ((at >= 0) & (self.position < forward.total)).all():
            return
        weights = call.rows(at.to(call.key.device))
        weights = (_by_value(weights, call) if self.value_norm else weights)[:, :, 0]
        if self.head is not None:
            weights = weights[:, self.head, None]
        self.weights = _numpy(F.pad(weights, (forward.total - weights.shape[-1], 0)))

    def reading(self) -> Map:
        """Raises ``ModelError`` where the query was in no forward."""
        if self.weights is None:
            where = _numpy(self.position[:, 0]).tolist()
            raise ModelError(f"The query {where} of the map of layer {self.layer} was in no recorded forward.")
        return Map(self.weights, _numpy(self.position[:, 0]), self.layer)


class HiddenReader:
    """Hidden states of the tokens at ``positions`` ``[batch, n]`` and of every one past the prompt."""

    def __init__(self, positions: torch.Tensor):
        self.wanted, self.kept = positions, _Kept()

    def state(self, level: int, hidden: torch.Tensor, forward: ForwardPass) -> None:
        """Add ``hidden`` ``[batch, tokens, d]`` of a level: 0 is the embedding."""
        index = forward.wanted(self.wanted)
        if index is not None:
            self.kept.add(forward, index, level, states=_picked(hidden, index).float())

    def reading(self) -> Hidden:
        return Hidden(self.kept.stacked("states"), self.kept.positions)


class LensReader:
    """The ``k`` likeliest tokens of each layer's output, for the tokens at ``positions`` ``[batch, n]`` and past the
    prompt. Raises ``ModelError`` for a model without a final norm and a head of its own."""

    def __init__(self, model, decoder, k: int, positions: torch.Tensor):
        self.model, self.k, self.wanted, self.kept = model, k, positions, _Kept()
        self.head = model.get_output_embeddings()
        norm = next((n for n in _NORMS if hasattr(decoder, n)), None)
        if self.head is None or norm is None:
            raise ModelError(f"{type(model).__name__} has no final norm and head of its own: no logit lens.")
        self.norm, self.last = getattr(decoder, norm), len(decoder.layers) - 1
        self.softcap = getattr(decoder.config, "final_logit_softcapping", None)

    def state(self, layer: int, hidden: torch.Tensor, forward: ForwardPass) -> None:
        """Add ``hidden`` ``[batch, tokens, d]``, the output of a layer."""
        index = forward.wanted(self.wanted)
        if index is None:
            return
        found = [self._read(part) for part in _picked(hidden, index).split(CHUNK, 1)]
        ids, logprobs, entropy = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        self.kept.add(forward, index, layer, ids=ids, logprobs=logprobs, entropy=entropy)

    def _read(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # .forward, not a call: the norm's own hook is what led here
        logits = capped(self.head.forward(self.norm.forward(hidden)).float(), self.softcap)
        logprobs = logits.log_softmax(-1)
        values, ids = logprobs.topk(min(self.k, logprobs.shape[-1]))
        return ids, values, -(logprobs.exp() * logprobs).sum(-1, keepdim=True)

    def check(self, forward: ForwardPass, logits: torch.Tensor) -> None:
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
