"""What a decoder would answer after fewer layers: its vocabulary head on the states between them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from models.attention import capped
from models.errors import ModelError
from models.instruments import decoder_of


class EarlyExits:
    """Logits of the last token from the states of chosen ``layers``, without the final norm.

    Layers are counted as transformers counts hidden states: 0 is the embeddings, i the output of layer i - 1, and the
    number of layers is the model's own output, its norm included. Raises ``ModelError`` where the model has no head.
    """

    def __init__(self, model, layers: Sequence[int]):
        decoder = decoder_of(model)
        self._layers, self._between = decoder.layers, [i for i in layers if i < len(decoder.layers)]
        self._final = len(decoder.layers) in layers
        self._head, self._read = model.get_output_embeddings(), {}
        self._softcap = getattr(decoder.config, "final_logit_softcapping", None)
        if self._head is None:
            raise ModelError(
                f"{type(model).__name__} has no vocabulary head of its own: its layers cannot be compared."
            )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Read the forward that runs inside; the caller holds the model's lock."""
        hooks = [
            self._layers[i].register_forward_pre_hook(partial(self._keep, i), with_kwargs=True) for i in self._between
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _keep(self, layer: int, module, args, kwargs) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        self._read[layer] = hidden[:, -1].detach()

    def logits(self, final: torch.Tensor) -> dict[int, torch.Tensor]:
        """Logits ``[B, V]`` of each layer after the last forward, whose own logits were ``final`` ``[B, V]``."""
        with torch.no_grad():
            found = {i: capped(self._head(self._read[i]).to(final), self._softcap) for i in self._between}
        return found | ({len(self._layers): final} if self._final else {})
