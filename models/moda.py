"""Modular duplex attention (MODA, arXiv 2507.04635, ICML 2025) as an edit of a decoder's attention.

For the query i of modality m (picture, or text: question, template and answer), with the keys k_j of its layer and
key-value head as rows and "seen" as the causal mask, packing and padding allow it:

    eq. 5   G_i = sum over the seen keys t of modality m of k_t' k_t;    ||G_i|| = G_i / trace G_i
    eq. 6   k_j -> k_j ||G_i||, for the keys j of the other modality;    fused: [k_j | k_j ||G_i||] W, W is 2d x d
    7 to 9  score_ij = q_i . k_j within a modality, q_i . fused_ij across, each where its own mask lets i see j
    10      one softmax over both parts and over the pseudo-scores of the masked tokens to come, which carry no value:
            p_ij = p_base - (j - 1) beta for j > i, so that what a query has no use for drains away

W, the fuser, starts as [I, 0]: the alignment is then off, and with p_base = -inf all of it is plain attention.

Where the paper leaves room:

- The Gram matrix is divided by its trace, so its eigenvalues are shares and the scale of the keys falls out.
- It is over the keys that the query itself sees. Over a whole sequence, as in the authors' released code (which maps
  the picture's keys alone, by the text's K'V, and leaves cached steps out), keys of the picture would be told the
  answer that the decoder is to find, and a cached step could not give what the whole forward gives.
- i counts the keys that a query sees, itself included, and j runs on without end: the drain of a query is then the
  same in a prompt, in a cached step and in a training row packed with other dialogues, and the answer's queries have
  one. (``PseudoScores`` of models/interventions.py, the mask alone on any model, ends with the prompt.) beta is ours.
- One W for each layer, key-value head and space (of text, of the picture).
- Both spaces are built, but in a template that has the picture before the text, queries of the picture see of the text
  the opening tokens alone: there the duplex comes down to the picture's keys in the text's space.

No key is rewritten and no d x d matrix is made for a query, because G_i is symmetric: with W = [W1; W2],

    q_i . fused_ij = (q_i W1' + (q_i W2') ||G_i||) . k_j,    u G_i = sum over t of (u . k_t) k_t,

linear attention under the same mask. A query then has two versions, for keys of its own and of the other modality,
held side by side in twice the width; a key fills one half of it and leaves zeros in the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from models.attention import Call, Context
from models.segments import Modality

TEXT, PICTURE = 0, 1
FUSER = "fuser"


@dataclass(frozen=True)
class Settings:
    """``p_base``, the pseudo-score of the first position (the paper's 0; -inf: none), and ``beta``, how much each
    further one has less, both in units of a scaled score (nats).

    ``beta`` is ours: at 0.02 a query that sees the picture's 64 keys has pseudo-scores worth about 13 keys of score 0.
    """

    p_base: float = 0.0
    beta: float = 0.02

    def __post_init__(self):
        if not self.p_base < math.inf:  # nor not a number
            raise ValueError(f"p_base is {self.p_base}, not a finite number or -inf")
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta is {self.beta}, not a positive number")

    @classmethod
    def parsed(cls, texts: Mapping[str, str]) -> "Settings":
        """Settings as ``Moda.save`` wrote them. Raises ``ValueError`` for what is missing or is no such number."""
        found = {}
        for name in ("p_base", "beta"):
            try:
                found[name] = float(texts[name])
            except (KeyError, ValueError):
                raise ValueError(f"its metadata has no number {name!r}") from None
        return cls(**found)

    def drain(self, seen: torch.Tensor) -> torch.Tensor:
        """Log of the sum over j > ``seen`` of exp(p_ij), shaped as ``seen``: how many keys a query sees."""
        return self.p_base - self.beta * seen - math.log(-math.expm1(-self.beta))


def fuser_shape(config) -> tuple[int, int, int, int, int]:
    """Layers, 2 (the space of text, of the picture), key-value heads, 2 d, d of a decoder with this configuration."""
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return config.num_hidden_layers, 2, heads, 2 * dim, dim


def aligned(
    query: torch.Tensor, key: torch.Tensor, own: torch.Tensor, picture: torch.Tensor, fuser: torch.Tensor
) -> torch.Tensor:
    """What each query multiplies with the keys of the other modality, ``q W1' + (q W2') ||G||``, shaped as ``query``.

    ``query`` ``[batch, heads, queries, d]``, ``key`` ``[batch, kv heads, keys, d]``; ``own`` ``[batch, queries, keys]``
    is true for the keys that a query sees and shares its modality with, of which G is made (0 without any);
    ``picture`` ``[batch, queries]`` is true for queries of the picture, whose W is ``fuser[PICTURE]``: ``fuser`` is
    ``[2, kv heads, 2 d, d]``.
    """
    batch, heads, queries, dim = query.shape
    groups = heads // key.shape[1]
    grouped = query.reshape(batch, key.shape[1], -1, dim)  # the heads of one key-value head, one after another
    in_picture = picture.repeat(1, groups)[:, None, :, None]
    first, second = fuser.to(query.dtype).mT.split(dim, -1)

    def through(weight: torch.Tensor) -> torch.Tensor:
        return torch.where(in_picture, grouped @ weight[PICTURE], grouped @ weight[TEXT])

    wide = torch.promote_types(key.dtype, torch.float32)
    own = own[:, None].to(wide)
    trace = own @ key.to(wide).square().sum(-1, keepdim=True)
    share = own / trace.clamp_min(torch.finfo(wide).tiny)
    scores = through(second) @ key.mT
    weights = scores * share.to(scores.dtype).repeat(1, 1, groups, 1)
    return (through(first) + weights @ key).reshape(batch, heads, queries, dim)


class Moda(nn.Module):
    """An ``Edit`` of a decoder's attention; ``fuser`` float ``[layers, 2, kv heads, 2 d, d]`` as ``fuser_shape``."""

    def __init__(self, fuser: torch.Tensor, settings: Settings):
        super().__init__()
        self.fuser, self.settings = nn.Parameter(fuser), settings

    @classmethod
    def start(cls, config, settings: Settings) -> "Moda":
        """Without any alignment yet, W = [I; 0], for a decoder with this configuration."""
        shape = fuser_shape(config)
        return cls(torch.eye(*shape[-2:]).expand(shape).clone(), settings)

    def save(self, file: Path) -> None:
        """Write the fuser in half precision, with the settings as metadata."""
        texts = {"p_base": repr(self.settings.p_base), "beta": repr(self.settings.beta)}
        save_file({FUSER: self.fuser.detach().half().cpu().contiguous()}, file, texts)

    def forward(self, call: Call, context: Context) -> Call:
        """The call with both versions of its queries side by side, and its drain."""
        own, picture, drain = self._shared(call, context)
        pictured = (context.kinds == Modality.IMAGE)[:, None, :, None]
        fuser = self.fuser[call.layer].to(call.query.device)
        other, inside = aligned(call.query, call.key, own, picture, fuser), picture[:, None, :, None]
        sides = torch.where(inside, call.query, other), torch.where(inside, other, call.query)
        keys = call.key.masked_fill(~pictured, 0.0), call.key.masked_fill(pictured, 0.0)
        changed = replace(call, query=torch.cat(sides, -1), key=torch.cat(keys, -1))
        return changed if drain is None else changed.drained(drain)

    def _shared(self, call: Call, context: Context) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """What layers of one mask have in common: ``own`` and ``picture`` as ``aligned`` takes them, and the drain."""
        known = ("moda", id(call.mask), call.causal, call.key.shape[2], call.query.device)
        if known not in context.kept:
            batch, _, queries, _ = call.query.shape
            seen = call.allowed(torch.arange(queries, device=call.query.device).expand(batch, -1))
            pictured, picture = context.kinds == Modality.IMAGE, context.queries(call) == Modality.IMAGE
            own = seen & (picture[:, :, None] == pictured[:, None])
            drain = None
            if self.settings.p_base > -math.inf:
                wide = torch.promote_types(call.query.dtype, torch.float32)
                drain = self.settings.drain(seen.sum(-1).to(wide))[:, None]
            context.kept[known] = own, picture, drain, call.mask  # the mask is held so that no other takes its id
        return context.kept[known][:3]
