"""Attention edits in force: the forwards that run within ``editing`` have their attention changed, in one thread.

with editing(model, segments, [Scale(keys=[Modality.IMAGE], weight=0.0)]):
    model(**inputs)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from models.attention import EDITOR, NAME, Call, Context, Edit
from models.errors import ModelError
from models.instruments import PADDING, decoder_of
from models.readers import ForwardPass


class _Editing:
    """The ``Editor`` of one batch of sequences: knows where each forward stands in them."""

    def __init__(self, segments: torch.Tensor, edits: Sequence[Edit]):
        self.segments, self.edits = segments.detach().cpu().reshape(-1, segments.shape[-1]), edits
        self._forward: ForwardPass | None = None
        self._kept: dict = {}

    def begin(self, decoder, args, kwargs=None) -> None:
        # the hook sits on a module that threads share: it answers to its own thread's forwards alone
        if EDITOR.get() is self:
            self._forward, self._kept = ForwardPass.of(self.segments, args, kwargs), {}

    def end(self, decoder, args, output) -> None:
        if EDITOR.get() is self:
            self._forward, self._kept = None, {}

    def edited(self, call: Call, module: torch.nn.Module, sliding: bool) -> Call:
        """The call after all edits, in their order."""
        if self._forward is None:  # not the text decoder's
            return call
        self._forward.check(call, sliding)
        kinds, places = self._tokens(call.key.device)
        start = self._forward.total - call.key.shape[2]
        context = Context(kinds[:, start:], places[:, start:], start, self._forward.past, module, self._kept)
        for edit in self.edits:
            call = edit(call, context)
        return call

    def _tokens(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Modality and place of every token so far, ``[batch, total]``."""
        if device not in self._kept:
            kinds = self._forward.kinds
            places = (kinds != PADDING).cumsum(1) - (kinds != PADDING).long()
            self._kept[device] = kinds.to(device), places.to(device)
        return self._kept[device]


@contextmanager
def editing(model, segments: torch.Tensor, edits: Sequence[Edit]) -> Iterator[None]:
    """Change the attention of the forwards of one batch of sequences that run inside, in this thread; gradients flow.

    ``model`` is bare or a ``PeftModel``, with ``install(model)`` done; ``segments`` int64 ``[batch, T]`` (or ``[T]``)
    holds the ``Modality`` of each token of the prompt (of a training batch: of all tokens), or ``PADDING``. Tokens past
    T are ``Modality.ANSWER``; a cache tells how many tokens came before. ``edits`` follow one another. Within another
    ``editing`` the inner one alone is in force; without edits nothing is. Recomputation in the backward pass
    (gradient checkpointing) needs the backward pass inside, too. Raises ``ModelError`` for attention out of reach.
    """
    if not edits:
        token = EDITOR.set(None)
        try:
            yield
        finally:
            EDITOR.reset(token)
        return
    decoder = decoder_of(model)
    if decoder.config._attn_implementation != NAME:
        raise ModelError(
            f"The attention of {type(decoder).__name__} is not routed through models.attention, so it cannot be "
            "changed: call install first, or take a model whose attention SDPA computes."
        )
    editor = _Editing(segments, tuple(edits))
    token, hooks = EDITOR.set(editor), []
    try:
        hooks.append(decoder.register_forward_pre_hook(editor.begin, with_kwargs=True))
        hooks.append(decoder.register_forward_hook(editor.end))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        EDITOR.reset(token)
