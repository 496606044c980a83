"""Answers that are searched for: several are open at once, and which one it is shows at the end.

The prompt is read once. Open answers are rows of one batch: each step a search says which rows go on and with which
token, rows may be dropped, doubled and exchanged, and one forward continues all of them.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F

from models.attention import LISTENER, NAME, Call, Edit
from models.encoding import Encoded
from models.errors import ModelError
from models.flow import Flow
from models.generation import TOP, Choice, Generator, Step, step_of
from models.instruments import decoder_of
from models.spelling import Spelling


@dataclass(frozen=True)
class Move:
    """How a search goes on: the rows to continue, each as often as it is named, and a token for each."""

    rows: Sequence[int]
    tokens: Sequence[int]


@dataclass(frozen=True)
class Return:
    """How a search starts over: open answers of one length (at least 1), read anew from the prompt."""

    answers: Sequence[Sequence[int]]


@runtime_checkable
class Search(Protocol):
    """How an answer is searched for. ``MLLM.generate`` works on a copy: ``begin`` starts one answer.

    ``attends``: whether ``advance`` is to be told the attention of the newest tokens.
    """

    attends: bool

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        """The one prompt to read."""

    def begin(self, limit: int, ends: frozenset[int]) -> None:
        """Start an answer of at most ``limit`` tokens (1 or more); any of ``ends`` ends one."""

    def advance(self, logits: torch.Tensor, attention: torch.Tensor | None) -> Move | Return | None:
        """The next move, None when the search is over.

        ``logits`` ``[rows, V]``, float32, of the token after each row: the prompt alone at first, then one row for
        each of the last ``Move`` or ``Return``. ``attention`` ``[rows, heads, keys]``, float32: what the newest token
        of each row pays to the prompt's and answer's tokens in the decoder's last layer.
        """

    def answer(self) -> Sequence[int]:
        """The tokens of the answer that was found, without the one that ended it."""

    def told(self, logits: torch.Tensor) -> Sequence[Choice]:
        """The same with details; ``logits`` ``[tokens, V]`` are the model's own, of each of its places."""


class _Attention:
    """A ``Listener`` that keeps the last layer's attention of each row's newest token, ``[rows, heads, keys]``."""

    listens = True

    def __init__(self, model):
        decoder = decoder_of(model)
        self.last, self.rows = len(decoder.layers) - 1, None
        if decoder.config._attn_implementation != NAME:
            raise ModelError("The attention of this model cannot be read, which this strategy needs: use beam search.")

    def columns(self, call: Call, sliding: bool) -> None:
        return None

    def attend(self, call: Call, mass: torch.Tensor | None) -> None:
        if call.layer == self.last:
            newest = torch.full((len(call.query), 1), call.query.shape[2] - 1, device=call.query.device)
            self.rows = call.rows(newest)[:, :, 0]

    def newest(self, length: int) -> torch.Tensor:
        """``[rows, heads, length]``: keys that a sliding window has left behind get 0."""
        return F.pad(self.rows, (length - self.rows.shape[-1], 0))


@contextmanager
def _heard(using, listener: _Attention | None) -> Iterator[None]:
    token = LISTENER.set(listener)
    try:
        with using():
            yield
    finally:
        LISTENER.reset(token)


def searched(
    generator: Generator, search: Search, contexts: Sequence[Encoded], limit: int, using, edits: Sequence[Edit] = ()
) -> Iterator[Step]:
    """Steps of the answer that ``search`` finds; they all come at its end, the first with the seconds of the search.

    ``using()`` is entered for each forward and holds the lock: between two it is free. ``edits`` as in ``Flow``.
    Raises ``ModelError`` where memory does not suffice or the attention cannot be read.
    """
    if limit < 1:
        return
    clock, model = time.perf_counter(), generator.model
    listener = _Attention(model) if search.attends else None
    prompt = flow = Flow(model, contexts, edits=edits)
    search.begin(limit, generator.ends)
    with _heard(using, listener):
        logits = first = flow.begin()
    while (move := search.advance(logits, listener.newest(flow.length) if listener else None)) is not None:
        match move:
            case Move(rows=rows, tokens=tokens):
                flow = prompt.fork() if flow is prompt else flow
                ids = torch.tensor(tokens)[:, None]
            case Return(answers=answers):
                flow, rows, ids = prompt.fork(), [0] * len(answers), torch.tensor(answers)
        flow.pick(torch.tensor(rows))
        with _heard(using, listener):
            logits = flow.more(ids)[:, -1]
    found, flow = search.answer(), None
    if len(found) > 1:
        with using():
            rest = prompt.more(torch.tensor([found[:-1]]))[0]
        first = torch.cat([first, rest])
    yield from _steps(generator, search.told(first[: len(found)]), first, clock)


def _steps(generator: Generator, choices: Sequence[Choice], logits: torch.Tensor, clock: float) -> Iterator[Step]:
    spelling = Spelling(generator.tokenizer)
    for choice, own in zip(choices, logits, strict=False):  # an empty answer leaves the prompt's logits
        logprobs = own.log_softmax(-1)
        values, ids = logprobs.topk(min(TOP, len(logprobs)))
        now = time.perf_counter()
        yield step_of(choice, spelling, logprobs, ids.tolist(), values, now - clock)
        clock = time.perf_counter()
