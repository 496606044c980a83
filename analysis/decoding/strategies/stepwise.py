"""Rules that choose one token after the other: drawn from the likeliest, or by contrast with a prompt that sees less,
or with an early layer; and what all strategies share: what their numbers must be, and the plausibility cut."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from models.encoding import Encoded
from models.errors import InputError
from models.generation import Choice
from models.pictures import of_prompt

ALONE = "There is no picture to contrast with: this is the answer to the question alone."
_STEPS = 1000  # of VCD's diffusion
_DEEP = 40  # layers: of a deeper decoder DoLa's candidates are the lowest or highest 20, not half of them


def number(name: str, value: float, low: float, high: float | None = None, above: bool = False) -> float:
    """``value`` where it lies in [low, high], or (low, high] with ``above``; without ``high`` any finite one will do.

    Raises ``InputError``; so does NaN.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    fits = fits and (low < value if above else low <= value)
    if fits and (math.isfinite(value) if high is None else value <= high):
        return value
    least = f"above {low:g}" if above else f"at least {low:g}"
    most = " and finite" if high is None else "" if high == math.inf else f" and at most {high:g}"
    raise InputError(f"{name} is {value}: it must be {least}{most}.")


def whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """``value`` where it is a whole number in [low, high]. Raises ``InputError``."""
    if number(name, value, low, high) != int(value):
        raise InputError(f"{name} is {value}: it must be a whole number.")
    return int(value)


def cut(scores: torch.Tensor, own: torch.Tensor, beta: float) -> torch.Tensor:
    """The plausibility cut (Li et al. 2023, arXiv 2210.15097, eq. 2): ``scores`` ``[V]``, -inf where the logit ``own``
    is below the largest + log ``beta``. A ``beta`` of 0 cuts nothing."""
    return scores.masked_fill(own < own.max() + np.log(beta), -torch.inf) if beta else scores


def choice(token: int, own: torch.Tensor, **details: object) -> Choice:
    """``token`` with what is told of the step: ``greedy_id``, the token that the prompt's own logits ``own`` ``[V]``
    would have taken, and ``details``."""
    return Choice(token, {"greedy_id": int(own.argmax()), **details})


class Draw:
    """Takes tokens from scores ``[V]``: the best where ``temperature`` is 0, else drawn from the nucleus by ``seed``.

    Drawn on the CPU, so that every device draws the same.
    """

    def __init__(self, temperature: float, top_p: float, seed: int):
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 and top_p > 0 else None
        self._warpers = [TemperatureLogitsWarper(float(temperature))] if temperature not in (0, 1) else []
        self._warpers += [TopPLogitsWarper(float(top_p))] if top_p < 1 else []

    def __call__(self, scores: torch.Tensor) -> int:
        if self._generator is None:
            return int(scores.argmax())
        scores = scores.cpu()[None]
        for warper in self._warpers:
            scores = warper(None, scores)
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self._generator))


@dataclass
class Nucleus:
    """Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751).

    The logits are divided by ``temperature`` (above 0); a token is drawn from the smallest set of likeliest tokens
    whose probabilities sum to ``top_p`` [0 to 1] or more: 0 leaves the likeliest token alone, which is greedy.
    A ``beta`` above 0 makes the plausibility cut first, which alone keeps sampling away from what is unlikely: INTER's
    control. The same ``seed`` draws the same answer. Details: ``greedy_id``. Raises ``InputError``.
    """

    temperature: float = 1.0
    top_p: float = 0.9
    seed: int = 0
    beta: float = 0.0

    def __post_init__(self):
        number("The temperature", self.temperature, 0, above=True)
        number("Top-p", self.top_p, 0, 1)
        number("Beta", self.beta, 0, 1)
        self.seed = whole("The seed", self.seed, 0)

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        self._draw = Draw(self.temperature, self.top_p, self.seed)
        return (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        return choice(self._draw(cut(logits[0], logits[0], self.beta)), logits[0])


class Contrast:
    """Two contexts: the prompt and one that sees less. Says so in ``note`` where there is no picture to take away,
    and is then greedy. Details: ``greedy_id``. A subclass has ``contrast(own, less, step)``: ``[V]`` of the token at
    ``step`` (from 0) from the logits of both contexts; the best is taken."""

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        return (encoded, self.less(encoded)) if encoded.size else (encoded,)

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        note = {"note": ALONE} if len(logits) == 1 else {}
        return choice(int(self.scores(logits, step).argmax()), logits[0], **note)

    def scores(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        return self.contrast(*logits, step) if len(logits) > 1 else logits[0]

    def less(self, encoded: Encoded) -> Encoded:
        """The context to contrast with: here the prompt without its picture."""
        return encoded.without_image()


@dataclass
class VisualContrast(Contrast):
    """VCD, visual contrastive decoding (Leng et al. 2024, arXiv 2311.16922, eq. 3 and 6): (1 + a) z - a z(noised).

    The noised picture is step ``noise_steps`` of 1000 of a diffusion of the processor's normalised pixels, with
    betas on a sigmoid from 1e-5 to 0.005, as in the authors' code; noise drawn by ``seed``. ``alpha`` is a (0 or
    more), ``beta`` the plausibility (above 0, at most 1). Raises ``InputError``.
    """

    alpha: float = 1.0
    beta: float = 0.1
    noise_steps: int = 500
    seed: int = 0

    def __post_init__(self):
        number("Alpha", self.alpha, 0)
        number("Beta", self.beta, 0, 1, above=True)
        self.noise_steps = whole("The number of noise steps", self.noise_steps, 0, _STEPS - 1)
        self.seed = whole("The seed", self.seed, 0)

    def less(self, encoded: Encoded) -> Encoded:
        kept = torch.cumprod(1 - (torch.linspace(-6, 6, _STEPS).sigmoid() * (0.5e-2 - 1e-5) + 1e-5), 0)
        kept, generator = kept[self.noise_steps], torch.Generator().manual_seed(self.seed)
        noised = {
            key: kept.sqrt() * value + (1 - kept).sqrt() * torch.randn(value.shape, generator=generator)
            for key, value in of_prompt(encoded).items()
            if value.is_floating_point()
        }
        return replace(encoded, inputs={**encoded.inputs, **noised})

    def contrast(self, own, less, step):
        return cut((1 + self.alpha) * own - self.alpha * less, own, self.beta)


@dataclass
class MutualInformation(Contrast):
    """M3ID (Favero et al. 2024, arXiv 2403.14003): z + (1 - l) / l (z - z(no picture)), l = exp(-``decay`` t).

    t counts the tokens written before: the longer the answer, the more the picture is held against forgetting it.
    ``decay`` 0 keeps l at 1, which is greedy; so is every first token (t = 0), and with it a yes or no. Where the
    likeliest token has a probability of ``sure`` [0 to 1] or more, the step is left alone, as in Algorithm 1; that rule
    and both defaults are told from memory of the paper, not read again. Raises ``InputError``.
    """

    decay: float = 0.02
    sure: float = 0.3

    def __post_init__(self):
        number("The decay", self.decay, 0)
        number("The probability from which on a step is left alone", self.sure, 0, 1)

    def contrast(self, own, less, step):
        if own.softmax(-1).max() >= self.sure:
            return own
        return own + np.expm1(self.decay * step) * (own - less)  # (1 - l) / l


@dataclass
class Guidance(Contrast):
    """Classifier-free guidance (Sanchez et al. 2023, arXiv 2306.17806) by the picture: z0 + s (z - z0).

    z0 are the logits without the picture; ``scale`` is s (0 or more): 1 is greedy, 0 answers without the picture.
    Raises ``InputError``.
    """

    scale: float = 1.5

    def __post_init__(self):
        number("The guidance scale", self.scale, 0)

    def contrast(self, own, less, step):
        return less + self.scale * (own - less)


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
    return layer, far[layer], cut(own - found[layer], final, beta)


@dataclass
class LayerContrast:
    """DoLa, decoding by contrasting layers (Chuang et al. 2024, arXiv 2309.03883).

    ``layers``: ``"low"``, ``"high"`` (see ``candidates``) or indices into the hidden states (0: the embeddings; the
    number of layers: the final output). Of these, each step contrasts with the one whose Jensen-Shannon divergence
    from the final distribution is the largest. As in the paper and its code, early states go to the vocabulary head
    as they are, without the final norm. ``beta`` is the plausibility (the paper's alpha, above 0, at most 1). Tokens
    that score the same, the model's own logits decide. Details: ``layer``, ``divergence`` (nats),
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
        return (encoded,)

    def choose(self, logits: torch.Tensor, step: int, early: Mapping[int, torch.Tensor]) -> Choice:
        """``early``: logits ``[contexts, V]`` of each of ``layers``."""
        own = logits[0]
        layer, far, scores = contrasted(own, {i: early[i][0] for i in self.layers}, self.beta)
        best = own.masked_fill(scores < scores.max(), -torch.inf)
        return choice(int(best.argmax()), own, layer=layer, divergence=far)

    def scores(self, logits: torch.Tensor, step: int, early: Mapping[int, torch.Tensor]) -> torch.Tensor:
        return contrasted(logits[0], {i: early[i][0] for i in self.layers}, self.beta)[2]
