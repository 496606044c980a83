"""Instruments, reduced while a forward runs: attention by modality, maps and rollout, hidden states, logit lens.

``install(model)`` once routes the text decoder's attention through ``models.attention``. A ``Recorder`` listens to
the forwards that run inside its ``active()``, in its own thread only:

    recorder = Recorder(model, segments, [AttentionMass(), LogitLens()])
    with recorder.active():
        model(**inputs)
    recorder.readings().mass.share
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from transformers import PreTrainedModel

from models.attention import LISTENER, NAME, Call
from models.errors import ModelError
from models.readers import AverageReader, ForwardPass, HiddenReader, LensReader, MapReader, RowReader
from models.readings import Readings
from models.rollout import RolloutReader

PADDING = -1  # in segments: a token that is none, neither a query nor a key
_FEW = 8  # up to so many queries, recomputing their rows costs less than widening every cached value

Positions = Literal["last"] | Sequence[int] | torch.Tensor
"""Tokens of the prompt: ``"last"`` (of each row, padding aside), positions for all rows (negative ones count from
the end of ``segments``), or int64 ``[batch, tokens]``."""


@dataclass(frozen=True)
class AttentionMass:
    """Share of attention that queries put on each modality.

    ``queries=None`` averages over the queries of each modality; the answer's logits then agree with the plain
    forward's to rounding. Chosen ``queries`` give a row each, and every token after the prompt adds a row; the
    forward is then bit for bit the plain one. In half precision the averages carry its rounding, rows do not.

    ``value_norm``, for chosen queries, gives the share of ``sum_j |a_ij v_j|`` instead of that of ``sum_j a_ij``: what
    a modality contributes, where attention to a key of a small value does nothing (Kobayashi et al. 2020, eq. 5,
    before the output projection).
    """

    queries: Positions | None = None
    value_norm: bool = False


@dataclass(frozen=True)
class AttentionMap:
    """Attention of one query token over all keys in one ``layer``, or (None) in each; ``head=None`` keeps all heads.

    ``query`` is ``"last"``, a position (negative: from the end of the prompt), or one past the prompt for a token
    of the answer. ``value_norm`` weights each key by the norm of its value, ``|a_ij v_j|``, because a key with a
    small value gets attention without effect (Kobayashi et al. 2020, eq. 5, before the output projection); these
    weights do not sum to one.
    """

    layer: int | None
    query: int | Literal["last"] = "last"
    head: int | None = None
    value_norm: bool = False


@dataclass(frozen=True)
class Rollout:
    """Attention rollout (Abnar & Zuidema 2020, section 3): how much of each input token reaches the query's last state.

    In each layer a token keeps half of itself and takes half by attention, A' = 0.5 A + 0.5 I with A averaged over
    heads; the reading is the query's row of A'_L ... A'_1. It sums to 1, less where pseudo-scores drain attention.
    ``query`` as in ``AttentionMap``. Needs the whole sequence, from its first token on, and costs about as much as the
    attention of one more forward; no map of all tokens is kept.
    """

    query: int | Literal["last"] = "last"


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states of chosen tokens, and of every token after the prompt."""

    tokens: Positions = "last"


@dataclass(frozen=True)
class LogitLens:
    """What each layer would answer: final norm and head applied to its output (nostalgebraist 2020); top ``k``."""

    tokens: Positions = "last"
    k: int = 5


HEARD = AttentionMass | AttentionMap | Rollout  # those that listen to attention
Instrument = HEARD | HiddenStates | LogitLens


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
    """Route the attention of a model's text decoder through ``models.attention``; other parts keep theirs.

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


class Recorder:
    """Listens with ``instruments`` to the forwards of one batch of sequences: the prompt, then cached steps.

    ``model`` is bare or a ``PeftModel``; ``segments`` int64 ``[batch, T]`` (or ``[T]``) holds the ``Modality`` of
    each token, or ``PADDING``. Tokens past T are ``Modality.ANSWER``. A cache may have been filled before the
    first recorded forward. Raises ``ModelError`` for what cannot be measured.
    """

    def __init__(self, model, segments: torch.Tensor, instruments: Sequence[Instrument]):
        self.model, self.decoder = _base(model), decoder_of(model)
        self.segments = segments.detach().cpu().reshape(-1, segments.shape[-1])
        self._forward: ForwardPass | None = None
        self._ended: ForwardPass | None = None
        self._failed = False
        self._mass: AverageReader | None = None
        self._rows: RowReader | None = None
        self._contributions: RowReader | None = None
        self._maps: list[MapReader] = []
        self._rollouts: list[RolloutReader] = []
        self._hidden: HiddenReader | None = None
        self._lens: LensReader | None = None
        for instrument in instruments:
            self._add(instrument)
        readers = (self._mass, self._rows, self._contributions, *self._maps, *self._rollouts)
        self._attending = [r for r in readers if r is not None]
        if self._attending and self.decoder.config._attn_implementation != NAME:
            raise ModelError("The attention of this model is not routed through the instruments: call install first.")

    def _add(self, instrument: Instrument) -> None:
        match instrument:
            case AttentionMass(queries=None, value_norm=True):
                raise ModelError("Mass weighted by the norm of values is of chosen queries: name them.")
            case AttentionMass(queries=None):
                self._mass = AverageReader()
            case AttentionMass(queries=queries, value_norm=True):
                self._contributions = RowReader(_resolved(queries, self.segments, "Queries"), value_norm=True)
            case AttentionMass(queries=queries):
                self._rows = RowReader(_resolved(queries, self.segments, "Queries"))
            case AttentionMap(head=head, value_norm=value_norm):
                position = self._position(instrument.query, "A map's query")
                self._maps += [MapReader(layer, head, value_norm, position) for layer in self._layers(instrument)]
            case Rollout(query=query):
                self._rollouts.append(RolloutReader(self._position(query, "A rollout's query")))
            case HiddenStates(tokens=tokens):
                self._hidden = HiddenReader(_resolved(tokens, self.segments, "Tokens"))
            case LogitLens(tokens=tokens, k=k):
                self._lens = LensReader(self.model, self.decoder, k, _resolved(tokens, self.segments, "Tokens"))
            case _:
                raise ModelError(f"{instrument!r} is no instrument.")

    def _layers(self, asked: AttentionMap) -> Sequence[int]:
        layers, heads = len(self.decoder.layers), self.decoder.config.num_attention_heads
        wanted = range(layers) if asked.layer is None else [asked.layer]
        if not 0 <= wanted[0] < layers or not (asked.head is None or 0 <= asked.head < heads):
            raise ModelError(
                f"There is no layer {asked.layer}, head {asked.head}: layers are 0 to {layers - 1}, "
                f"heads 0 to {heads - 1}."
            )
        return wanted

    def _position(self, query: int | str, what: str) -> torch.Tensor:
        batch, length = self.segments.shape
        if isinstance(query, int) and query >= length:
            return torch.full((batch, 1), query)
        return _resolved(query if isinstance(query, str) else [query], self.segments, what)

    # What the registered attention asks of a Listener.

    @property
    def listens(self) -> bool:
        """Whether a forward runs whose attention is to be read."""
        return bool(self._attending) and self._forward is not None

    def columns(self, call: Call, sliding: bool) -> torch.Tensor | None:
        """One-hot modality of each key where all queries' mass is worth computing beside the answer, else None."""
        self._forward.check(call, sliding)
        return self._forward.keys(call.key) if self._mass and call.query.shape[2] > _FEW else None

    def attend(self, call: Call, mass: torch.Tensor | None) -> None:
        """Read one layer's attention."""
        for reader in self._attending:
            reader.attend(call, self._forward, mass)

    @contextmanager
    def active(self) -> Iterator["Recorder"]:
        """Record the forwards that run inside, in this thread; enter it again for the next one.

        Hooks are gone afterwards, whatever happened. Do not yield to a caller from inside.
        """
        token, hooks = LISTENER.set(self), []
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
            self._forward = None
            LISTENER.reset(token)

    # Hooks sit on modules that threads share: each hears every thread's forwards and answers to its own alone.
    # kwargs may be missing where another thread removes its hook just now.

    def _begin(self, decoder, args, kwargs=None) -> None:
        if LISTENER.get() is not self:
            return
        forward = ForwardPass.of(self.segments, args, kwargs)
        if forward is not None and self._ended is not None and forward.past != self._ended.total:
            raise ModelError(
                f"This forward starts at token {forward.past}, the one before ended at {self._ended.total}: "
                "a recorder follows one batch of sequences, make another for others."
            )
        self._forward = forward

    @torch.no_grad()
    def _state(self, level: int, module, args, kwargs=None) -> None:
        if LISTENER.get() is not self or self._forward is None:
            return
        hidden = args[0] if args else kwargs["hidden_states"]
        if self._hidden and level < len(self.decoder.layers):
            self._hidden.state(level, hidden, self._forward)
        if self._lens and level > 0:
            self._lens.state(level - 1, hidden, self._forward)

    @torch.no_grad()
    def _end(self, decoder, args, output) -> None:
        if LISTENER.get() is not self or self._forward is None:
            return
        if self._hidden:
            self._hidden.state(len(self.decoder.layers), output[0], self._forward)
        self._ended, self._forward = self._forward, None

    @torch.no_grad()
    def _check(self, model, args, kwargs, output=None) -> None:
        if LISTENER.get() is self and not isinstance(kwargs.get("logits_to_keep"), torch.Tensor):
            self._lens.check(self._ended, output.logits if hasattr(output, "logits") else output[0])

    def readings(self) -> Readings:
        """Everything read so far, as NumPy arrays. Raises ``ModelError`` where nothing was, or a forward failed."""
        if self._failed:
            raise ModelError("A recorded forward failed, so its readings are not whole: record again.")
        if self._ended is None:
            raise ModelError("No forward was recorded: run the model inside active().")
        readers = {
            "mass": self._mass, "rows": self._rows, "contributions": self._contributions, "hidden": self._hidden,
            "lens": self._lens,
        }  # fmt: skip
        found = {name: reader.reading() for name, reader in readers.items() if reader is not None}
        several = {"maps": self._maps, "rollouts": self._rollouts}
        return Readings(**found, **{name: tuple(r.reading() for r in readers) for name, readers in several.items()})
