"""Instruments: attention by modality, one attention map, hidden states, logit lens; reduced while a forward runs.

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
import torch.nn.functional as F
from transformers import PreTrainedModel

from models.attention import LISTENER, NAME, Call
from models.errors import ModelError
from models.readers import AverageReader, ForwardPass, HiddenReader, LensReader, MapReader, RowReader
from models.readings import Readings
from models.segments import Modality

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
        self._maps: list[MapReader] = []
        self._hidden: HiddenReader | None = None
        self._lens: LensReader | None = None
        for instrument in instruments:
            self._add(instrument)
        self._attending = [r for r in (self._mass, self._rows, *self._maps) if r is not None]
        if self._attending and self.decoder.config._attn_implementation != NAME:
            raise ModelError("The attention of this model is not routed through the instruments: call install first.")

    def _add(self, instrument: Instrument) -> None:
        match instrument:
            case AttentionMass(queries=None):
                self._mass = AverageReader()
            case AttentionMass(queries=queries):
                self._rows = RowReader(_resolved(queries, self.segments, "Queries"))
            case AttentionMap(layer=layer, head=head, value_norm=value_norm):
                self._maps.append(MapReader(layer, head, value_norm, self._position(instrument)))
            case HiddenStates(tokens=tokens):
                self._hidden = HiddenReader(_resolved(tokens, self.segments, "Tokens"))
            case LogitLens(tokens=tokens, k=k):
                self._lens = LensReader(self.model, self.decoder, k, _resolved(tokens, self.segments, "Tokens"))
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
        self._forward = ForwardPass(past, total, prompt, kinds)

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
        readers = {"mass": self._mass, "rows": self._rows, "hidden": self._hidden, "lens": self._lens}
        found = {name: reader.reading() for name, reader in readers.items() if reader is not None}
        return Readings(maps=tuple(m.reading() for m in self._maps), **found)
