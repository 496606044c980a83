"""Prompts on their way through a model: one batch, explicit positions, embedding noise, a key-value cache."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from models.attention import Edit
from models.devices import exhausted
from models.editing import editing
from models.encoding import Encoded
from models.errors import InputError, ModelError, OutOfMemory
from models.pictures import looked_at_once, of_prompt

_NEEDED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
_FREE = re.compile(r"of which ([\d.]+ \w+) is free")


def common_length(batch: Sequence[Encoded]) -> int:
    """The number of tokens that all prompts have. Raises ``InputError`` where they differ or there are none."""
    lengths = sorted({e.length for e in batch})
    if len(lengths) != 1:
        raise InputError(
            f"Prompts of {', '.join(map(str, lengths)) or 'no'} tokens cannot share one forward: they need one length. "
            "Hide tokens instead of removing them."
        )
    return lengths[0]


def stacked(batch: Sequence[Encoded], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Model inputs of prompts of one length as one batch, with ``position_ids`` ``[B, T]`` or ``[3, B, T]``.

    Prompts with and without a picture may share a batch: pictures belong to the rows that have image
    tokens. Floating-point inputs become ``dtype``. Raises ``InputError`` where lengths differ.
    """
    length = common_length(batch)
    inputs = {}
    for key in dict.fromkeys(key for e in batch for key in e.inputs):
        found = [e.inputs.get(key) for e in batch]
        held = [v for v in found if v is not None]
        if held[0].shape == (1, length):  # one value a token, and 0 is plain text
            held = [torch.zeros_like(held[0]) if v is None else v for v in found]
        inputs[key] = _joined(held)
    inputs["position_ids"] = torch.cat([e.positions for e in batch], dim=-2)
    return {k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in inputs.items()}


def _joined(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows one after another; pictures of different size or number of tiles are padded with zeros, as processors do."""
    sizes = [max(r.shape[d] for r in rows) for d in range(1, rows[0].ndim)]
    missing = [[n for d in range(r.ndim - 1, 0, -1) for n in (0, sizes[d - 1] - r.shape[d])] for r in rows]
    return torch.cat([pad(r, by) if any(by) else r for r, by in zip(rows, missing, strict=True)])


def _noise(batch: Sequence[Encoded]) -> torch.Tensor | None:
    """Embedding noise of a batch ``[B, T, d]``, zero for the prompts without; None where no prompt has any."""
    given = [e.noise for e in batch]
    some = next((n for n in given if n is not None), None)
    return None if some is None else torch.stack([torch.zeros_like(some) if n is None else n for n in given])


@contextmanager
def _disturbed(decoder: torch.nn.Module, noise: torch.Tensor | None) -> Iterator[None]:
    """Add ``noise`` to what the decoder reads, after the image features were merged in."""
    if noise is None:
        yield
        return

    def add(module, args, kwargs):
        embeds = kwargs.get("inputs_embeds")
        if embeds is None or embeds.shape != noise.shape:
            raise ModelError(
                f"Noise of shape {tuple(noise.shape)} does not fit the embeddings that {type(module).__name__} reads: "
                f"{'they are not handed over' if embeds is None else tuple(embeds.shape)}."
            )
        return args, {**kwargs, "inputs_embeds": embeds + noise.to(embeds)}

    handle = decoder.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _without_picture(encoded: Encoded) -> dict[str, torch.Tensor]:
    picture = of_prompt(encoded)
    return {k: v for k, v in encoded.inputs.items() if k not in picture}


class Flow:
    """A batch of prompts of one length in one model: ``begin`` reads them, ``more`` appends tokens to each.

    Whoever calls holds the model's lock. Every position is given to the model, which else computes it: the
    Qwen-VL models keep what they computed for one prompt (``rope_deltas``), where the next visitor's would find
    it. Without ``cached`` there is no key-value cache and no ``more``. A picture that rows share is looked at once,
    unless rows have weights of their own that see it differently (``alike=False``). ``edits`` change the attention of
    every forward.
    """

    def __init__(
        self, model, batch: Sequence[Encoded], cached: bool = True, alike: bool = True, edits: Sequence[Edit] = ()
    ):
        self.model, self.rows, self.length = model, len(batch), common_length(batch)
        self._batch: Sequence[Encoded] | None = batch
        self._alike, self._edits = alike, edits
        self._segments = torch.stack([e.segments for e in batch])
        self._cache = DynamicCache(config=model.config.get_text_config(decoder=True)) if cached else None

    def begin(self, grad: bool = False) -> torch.Tensor:
        """Read the prompts: logits of the token after each ``[B, V]``, float32 or finer.

        With ``grad`` they are differentiable in the prompts' noise.
        """
        return self._within_memory(self._begin, grad)

    def more(self, ids: torch.Tensor) -> torch.Tensor:
        """Append tokens ``[B, n]`` to the prompts: logits after each of them ``[B, n, V]``."""
        return self._within_memory(self._more, ids)

    def repeat(self, times: int) -> None:
        """Make ``times`` rows of each prompt that was read."""
        self.pick(torch.arange(self.rows).repeat_interleave(times))

    def pick(self, rows: torch.Tensor) -> None:
        """Go on with ``rows`` ``[n]`` of those that were read, in that order; a row may be named several times."""
        self._within_memory(self._pick, rows)

    def fork(self) -> "Flow":
        """Another flow from here on, independent of this one. What was read is shared until either goes on."""
        twin = copy(self)
        twin._cache = copy(self._cache)
        twin._cache.layers = [copy(layer) for layer in self._cache.layers]  # they grow by new tensors, never in place
        return twin

    def _begin(self, grad: bool) -> torch.Tensor:
        device = self.model.device
        seen = looked_at_once(self.model, self._batch) if self._alike else {}
        batch = [e if not seen else replace(e, inputs=_without_picture(e)) for e in self._batch]
        inputs = stacked(batch, device, self.model.dtype)
        self._mask, self._axes = inputs["attention_mask"], inputs["position_ids"].shape[:-2]  # () or (3,)
        self._next = torch.tensor([[e.next_position] for e in self._batch], device=device)
        with _disturbed(self.model.get_decoder(), _noise(self._batch)):
            logits = self._forward(grad, **inputs, **seen, logits_to_keep=1)
        self._batch = None
        return logits[:, -1]

    def _more(self, ids: torch.Tensor) -> torch.Tensor:
        ids = ids.to(self._mask.device)
        positions = (self._next + torch.arange(ids.shape[1], device=ids.device)).expand(*self._axes, -1, -1)
        self._mask = torch.cat([self._mask, self._mask.new_ones(ids.shape)], dim=1)
        self._next, self.length = self._next + ids.shape[1], self.length + ids.shape[1]
        return self._forward(False, input_ids=ids, attention_mask=self._mask, position_ids=positions)

    def _pick(self, rows: torch.Tensor) -> None:
        self.rows, there = len(rows), rows.to(self._mask.device)
        self._cache.batch_select_indices(there)
        self._mask, self._next, self._segments = self._mask[there], self._next[there], self._segments[rows]

    def _forward(self, grad: bool, **inputs) -> torch.Tensor:
        cache = {} if self._cache is None else {"cache": self._cache}
        with editing(self.model, self._segments, self._edits), torch.set_grad_enabled(grad):
            logits = self.model(**inputs, use_cache=bool(cache), **cache).logits
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _within_memory(self, work: Callable, *args):
        """Do ``work``; what does not fit becomes ``OutOfMemory``, and nothing of it stays in memory."""
        try:
            return work(*args)
        except (RuntimeError, MemoryError) as error:
            if not exhausted(error):
                raise
            told = str(error)
        # out of the handler, whose error holds what the forward had allocated
        self._cache = self._batch = None
        raise _out_of_memory(told, self.model.device, self.rows, self.length)


def _out_of_memory(told: str, device: torch.device, rows: int, length: int) -> OutOfMemory:
    """Give cached memory back and say in numbers what did not fit."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).empty_cache()
    needed, free = _NEEDED.search(told), _FREE.search(told)
    numbers = f"; {needed[1]} more were needed" if needed else ""
    numbers += f", {free[1]} were free" if free else ""
    return OutOfMemory(
        f"Out of memory on {device} with {rows} prompt{'s' * (rows > 1)} of {length} tokens at once{numbers}. "
        "Take a smaller picture, a shorter question or fewer prompts at once, or open a smaller or quantised model."
    )
