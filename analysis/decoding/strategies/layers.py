"""DoLa: what the last layer says against what an early layer says already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from analysis.decoding.strategies.checks import number, whole
from analysis.decoding.strategies.contrast import plausible
from analysis.decoding.strategies.telling import Teller
from models.encoding import Encoded
from models.errors import InputError
from models.generation import Choice

_DEEP = 40  # layers: of a deeper decoder the lowest or highest 20 are candidates, not half of them


def candidates(part: str, count: int, tied: bool) -> tuple[int, ...]:
    """Every second layer of the ``"low"`` or ``"high"`` part of ``count`` layers (0 is the embeddings).

    As in transformers' DoLa. Embeddings tied to the head only repeat the token before, so the low part then begins
    with layer 2.
    """
    half = count <= _DEEP
    if part == "high":
        return tuple(range(count // 2 if half else count - 20, count, 2))
    first = 0 if not tied else 2 if count > 2 else count - 1
    return tuple(range(first, count // 2 if half else 20, 2)) or (min(first, count - 1),)


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence (nats, 0 to log 2) of log-probabilities ``[..., V]``."""
    mean = torch.logaddexp(first, second) - torch.log(torch.tensor(2.0, dtype=first.dtype))
    parts = [(p.exp() * (p - mean)).sum(-1) for p in (first, second)]
    return sum(parts) / 2


def contrasted(final: torch.Tensor, early: Mapping[int, torch.Tensor], beta: float) -> tuple[int, float, torch.Tensor]:
    """The candidate layer that diverges most from the final logits ``[V]``, its divergence (nats), and the scores.

    Scores ``[V]`` are log p(final) - log p(that layer), -inf for tokens below ``beta`` times the likeliest's
    probability (eq. 3, 4 and 6 of arXiv 2309.03883).
    """
    own = final.log_softmax(-1)
    found = {layer: logits.log_softmax(-1) for layer, logits in early.items()}
    far = {layer: float(divergence(own, logprobs)) for layer, logprobs in found.items()}
    layer = max(far, key=far.get)
    return layer, far[layer], (own - found[layer]).masked_fill(~plausible(final, beta), -torch.inf)


@dataclass
class LayerContrast:
    """DoLa, decoding by contrasting layers (Chuang et al. 2024, arXiv 2309.03883).

    ``layers``: ``"low"``, ``"high"`` (see ``candidates``) or indices into the hidden states (0: the embeddings; the
    number of layers: the final output). Of these, each step contrasts with the one whose Jensen-Shannon divergence
    from the final distribution is the largest. As in the paper and its code, early states go to the vocabulary head
    as they are, without the final norm. ``beta`` is the plausibility (the paper's alpha, above 0, at most 1). Tokens
    that score the same, the model's own logits decide. Details: ``layer``, ``divergence`` (nats), ``greedy``,
    ``greedy_id``. Raises ``InputError``.
    """

    layers: str | Sequence[int] = "high"
    beta: float = 0.1

    def __post_init__(self):
        number("Beta", self.beta, 0, 1, above=True)
        if isinstance(self.layers, str) and self.layers not in ("low", "high"):
            raise InputError(f'Layers are "low", "high" or a list of numbers, not {self.layers!r}.')
        if not len(self.layers):
            raise InputError("Give at least one layer to contrast with.")

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        config = encoded.encoder.model.config
        count = config.get_text_config(decoder=True).num_hidden_layers
        if isinstance(self.layers, str):
            self.layers = candidates(self.layers, count, config.tie_word_embeddings)
        else:
            self.layers = tuple(whole("A layer", layer, 0, count) for layer in self.layers)
        self._teller = Teller(encoded)
        return (encoded,)

    def choose(self, logits: torch.Tensor, step: int, early: Mapping[int, torch.Tensor]) -> Choice:
        """``early``: logits ``[contexts, V]`` of each of ``layers``."""
        own = logits[0]
        layer, far, scores = contrasted(own, {i: early[i][0] for i in self.layers}, self.beta)
        best = own.masked_fill(scores < scores.max(), -torch.inf)
        return self._teller.choice(int(best.argmax()), own, layer=layer, divergence=far)
