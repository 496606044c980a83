"""What-ifs about attention that need no training: links between modalities cut or softened, and pseudo-scores.

Each is an ``Edit`` (models/attention.py) of plain numbers: ``Scale(**json.loads(json.dumps(asdict(scale))))`` is the
same again. Several follow one another in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, log
from typing import Literal

import torch
from torch.nn.functional import pad

from models.attention import Call, Context, opened
from models.errors import InputError
from models.instruments import PADDING
from models.segments import Modality

ANSWERING = "answering"


def _number(value, what: str, low: float, above: bool = False) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good or value < low or (above and value == low):
        raise InputError(f"{what} is {value!r}: it must be a number {'above' if above else 'of at least'} {low:g}.")
    return float(value)


def _modalities(value, what: str) -> tuple[Modality, ...] | None:
    if value is None:
        return None
    try:
        found = tuple(sorted({Modality(kind) for kind in value}))
    except (TypeError, ValueError):
        found = ()
    if not found:
        names = ", ".join(f"{m.value} ({m.name.lower()})" for m in Modality)
        raise InputError(f"{what} are {value!r}: give None for all tokens, or some of the modalities {names}.")
    return found


def _window(value) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        first, last = value
    except (TypeError, ValueError):
        first = last = None
    if any(isinstance(x, bool) or not isinstance(x, int) for x in (first, last)) or not 0 <= first <= last:
        raise InputError(f"Layers are {value!r}: give the first and the last (from 0), both included, or None for all.")
    return (first, last)


def _reaches(layers: tuple[int, int] | None, call: Call) -> bool:
    return layers is None or layers[0] <= call.layer <= layers[1]


@dataclass(frozen=True)
class Scale:
    """Attention of some tokens to some tokens made weaker or stronger, or softened, in a window of layers.

    In the layers first to last (``layers``, from 0, both included; None: all) a query of ``queries`` gives a key of
    ``keys`` the unnormalised weight ``weight * exp(score / temperature)`` instead of ``exp(score)``; then its weights
    are normalised over all its keys. ``weight`` 0 cuts the link (knock-out: Geva et al. 2023, arXiv 2304.14767), below
    1 it weakens, above 1 it strengthens. ``temperature`` above 1 softens the differences between those keys. ``score``
    is ``q . k * scale``, before a softcap (Gemma 2) and the mask. A query that no key is left for attends to nothing:
    its attention's output is zero.

    ``queries`` and ``keys`` are modalities, None is every token. ``queries="answering"`` are the tokens whose output
    predicts the answer: the prompt's last token, which predicts the first token of the answer, and the answer's own.
    ``Modality.ANSWER`` alone would leave the answer's first token as it was. Raises ``InputError``.
    """

    queries: tuple[Modality, ...] | Literal["answering"] | None = None
    keys: tuple[Modality, ...] | None = None
    weight: float = 1.0
    temperature: float = 1.0
    layers: tuple[int, int] | None = None

    def __post_init__(self):
        queries = self.queries if self.queries == ANSWERING else _modalities(self.queries, "Queries")
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "keys", _modalities(self.keys, "Keys"))
        object.__setattr__(self, "weight", _number(self.weight, "The weight", 0.0))
        object.__setattr__(self, "temperature", _number(self.temperature, "The temperature", 0.0, above=True))
        object.__setattr__(self, "layers", _window(self.layers))

    def __call__(self, call: Call, context: Context) -> Call:
        """``call`` with the chosen links scaled; the same where there are none."""
        if not _reaches(self.layers, call) or (self.weight == 1 and self.temperature == 1):
            return call
        shared = (self, "tokens", context.start, call.key.device)
        if shared not in context.kept:
            asks = _asking(self.queries, context)[:, -call.query.shape[2] :]
            holds = _among(self.keys, context.kinds)
            context.kept[shared] = asks, holds, bool(asks.any() and holds.any())
        asks, holds, some = context.kept[shared]
        if not some:
            return call
        if self.temperature != 1:
            call = self._softened(call, asks, holds)
        return call if self.weight == 1 else self._weighted(call, asks, holds, context)

    def _softened(self, call: Call, asks: torch.Tensor, holds: torch.Tensor) -> Call:
        query, key, factor = call.query, call.key, 1 / self.temperature
        asks, holds = asks[:, None, :, None].to(query.dtype), holds[:, None, :, None].to(key.dtype)
        if self.keys is None:
            return replace(call, query=query * (1 + (factor - 1) * asks))
        if self.queries is None:
            return replace(call, key=key * (1 + (factor - 1) * holds))
        # q.k + (1/T - 1) (asks q).(holds k): one product of twice the width, so no scores need be written down
        query = torch.cat([query, (factor - 1) * asks * query], -1)
        return replace(call, query=query, key=torch.cat([key, holds * key], -1))

    def _weighted(self, call: Call, asks: torch.Tensor, holds: torch.Tensor, context: Context) -> Call:
        known = (self, "mask", id(call.mask), call.causal, context.start, call.key.device)
        if known not in context.kept:  # layers share their masks; the old one is held, so that no other takes its id
            added = log(self.weight) if self.weight else -inf
            bias = torch.zeros(1, device=asks.device).where(~(asks[:, :, None] & holds[:, None]), added)
            context.kept[known] = call.biased(bias[:, None]).mask, call.mask
        return replace(call, mask=context.kept[known][0], causal=False)


@dataclass(frozen=True)
class PseudoScores:
    """MODA's modular mask (arXiv 2507.04635, eqs. 7 to 10; StableMask, arXiv 2402.04779) on plain attention.

    Masked positions j > i of the prompt hold ``p_ij = base - (j - 1) * beta`` instead of minus infinity. They have no
    value: they enter the softmax's denominator alone, so early tokens, which must else spend all their attention on the
    few keys they see, may spend less. ``base = -inf`` is plain attention, exactly.

    j counts the tokens of the row from 1, padding aside, so a token with n tokens before it holds ``base - n * beta``
    for whoever may not see it: the farther from the beginning, the smaller. j ends with the prompt. Tokens of the
    answer hold no pseudo-scores, whether they are there already or still to come: how many tokens follow must not
    change what a token attends to, and a cached step gives what the whole forward gives. So the prompt's last token
    and the answer's attend plainly (to states that have changed). A later token that a query may see (the picture's in
    Gemma 3, the prompt's in PaliGemma) is not masked and holds none. ``layers`` as in ``Scale``. Raises ``InputError``.
    """

    beta: float
    base: float = 0.0
    layers: tuple[int, int] | None = None

    def __post_init__(self):
        object.__setattr__(self, "beta", _number(self.beta, "beta", 0.0))
        if self.base != -inf:
            object.__setattr__(self, "base", _number(self.base, "The base", -1e4))
        object.__setattr__(self, "layers", _window(self.layers))

    def __call__(self, call: Call, context: Context) -> Call:
        """``call`` with the drain that the pseudo-scores are; the same where no query has masked tokens ahead."""
        if self.base == -inf or not _reaches(self.layers, call) or call.query.shape[2] == 1:
            return call
        known = (self, "drain", id(call.mask), call.causal, context.start, call.key.device)
        if known not in context.kept:
            context.kept[known] = self._drain(call, context), call.mask
        drain = context.kept[known][0]
        return call if drain is None else call.drained(drain)

    def _drain(self, call: Call, context: Context) -> torch.Tensor | None:
        """Log of the sum of ``exp(p_ij)`` over j, float32 ``[batch, heads or 1, queries]``; None without any j."""
        queries = torch.arange(call.query.shape[2], device=call.key.device) + context.past
        keys = torch.arange(call.key.shape[2], device=call.key.device) + context.start
        ahead = keys > queries[:, None]
        ahead = ahead & ((context.kinds != PADDING) & (context.kinds != Modality.ANSWER))[:, None]
        masked = ahead[:, None] & ~opened(call.additive())
        if not masked.any():
            return None
        scores = self.base - context.places.float() * self.beta
        return scores[:, None, None].where(masked, -inf).logsumexp(-1)


Intervention = Scale | PseudoScores


def fitting(interventions: Sequence[Intervention], layers: int) -> tuple[Intervention, ...]:
    """The interventions, for a model of so many ``layers``. Raises ``InputError`` for one that does not fit it."""
    for one in interventions:
        if not isinstance(one, Intervention):
            raise InputError(f"{one!r} is no intervention: there are Scale and PseudoScores.")
        if one.layers is not None and one.layers[1] >= layers:
            raise InputError(
                f"There are no layers {one.layers[0]} to {one.layers[1]}: this model has 0 to {layers - 1}."
            )
    return tuple(interventions)


def _among(kinds: tuple[Modality, ...] | None, tokens: torch.Tensor) -> torch.Tensor:
    if kinds is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    return (tokens[..., None] == torch.tensor(kinds, device=tokens.device)).any(-1)


def _asking(queries: tuple[Modality, ...] | str | None, context: Context) -> torch.Tensor:
    """Which of the context's tokens are ``queries``, ``[batch, keys]``."""
    kinds = context.kinds
    if queries != ANSWERING:
        return _among(queries, kinds)
    following = pad(kinds[:, 1:], (0, 1), value=PADDING)
    ends = (following == Modality.ANSWER) | (following == PADDING)  # an answer comes next, or is what would
    return (kinds != PADDING) & (ends | (kinds == Modality.ANSWER))
