"""Generation as an iterator of steps. A strategy chooses each token from the logits of one or several contexts."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import torch

from models.attention import Edit
from models.early import EarlyExits
from models.encoding import Encoded
from models.flow import Flow
from models.instruments import Recorder
from models.readings import Readings
from models.spelling import Spelling

TOP = 5


@dataclass(frozen=True)
class Step:
    """One generated token.

    ``logprob`` (nats) and ``top``, the likeliest tokens with their probabilities, are the model's own for the
    answer's context, whatever the strategy chose; ``seconds`` since the last step; ``details`` are the strategy's.
    """

    token_id: int
    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]
    seconds: float
    details: Mapping[str, object] = field(default_factory=dict)


def text_of(steps: Sequence[Step]) -> str:
    """The answer that the steps spell."""
    return "".join(s.token for s in steps).strip()


@dataclass(frozen=True)
class Choice:
    """The next token, and what a strategy has to tell about it: numbers by name."""

    token_id: int
    details: Mapping[str, object] = field(default_factory=dict)


class Strategy(Protocol):
    """How an answer is chosen. ``MLLM.generate`` works on a copy: what ``contexts`` sets belongs to one answer.

    One that has ``layers`` (indices as ``EarlyExits`` counts them) when ``contexts`` returns is given a third argument
    by each ``choose``: the logits ``[contexts, V]`` of each of these layers.
    """

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        """Begin an answer: the prompts to read side by side, all of one length. The first is the answer's own."""

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        """The token after step ``step`` (from 0), appended to all contexts. ``logits`` ``[contexts, V]``, float32."""


class Greedy:
    """The likeliest token of the prompt itself: the argmax of the model's own logits.

    Penalties that a checkpoint's ``generation_config`` may carry are not applied.
    """

    def contexts(self, encoded: Encoded) -> Sequence[Encoded]:
        return (encoded,)

    def scores(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        return logits[0]

    def choose(self, logits: torch.Tensor, step: int) -> Choice:
        return Choice(int(logits[0].argmax()))


class Run(Iterator[Step]):
    """An answer while it is written: iterate for its steps."""

    def __init__(self, steps: Iterator[Step], recorder: Recorder | None):
        self._steps, self._recorder = steps, recorder

    def __next__(self) -> Step:
        return next(self._steps)

    def readings(self) -> Readings:
        """What the instruments have read so far: the prompt and the tokens that were appended to it.

        The newest token is appended, and read, when the next step is asked for.
        """
        return self._recorder.readings() if self._recorder else Readings()


@dataclass(frozen=True)
class Writing:
    """An answer to be written: its strategy and the contexts that it asked for."""

    strategy: Strategy
    contexts: Sequence[Encoded]


class Generator:
    """Writes answers with one model. ``ends`` are the tokens that end one."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        ends = model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        self.ends = frozenset(ends | {tokenizer.eos_token_id}) - {None}

    def steps(
        self,
        answers: Sequence[Writing],
        limit: int,
        using,
        recorder: Recorder | None = None,
        top: int = TOP,
        alike: bool = True,
        edits: Sequence[Edit] = (),
        aside: Callable[[Flow, torch.Tensor], None] | None = None,
    ) -> Iterator[list[Step | None]]:
        """Steps of several answers at once, None for one that has ended: all their contexts are one batch.

        ``using()`` is entered for each forward and holds the lock: between two steps it is free. ``recorder``
        sees every forward; steps tell their ``top`` likeliest tokens; ``alike`` and ``edits`` as in ``Flow``. ``aside``
        is called once the prompts are read, with a fork of their flow and the logits after them: what else it asks
        costs no second reading. Raises ``InputError`` where contexts differ in length and ``ModelError`` where memory
        does not suffice.
        """
        flow = Flow(self.model, [context for a in answers for context in a.contexts], alike=alike, edits=edits)
        layers = sorted({layer for a in answers for layer in getattr(a.strategy, "layers", ())})
        exits = EarlyExits(self.model, layers) if layers else None
        widths = torch.tensor([len(a.contexts) for a in answers])
        firsts = (widths.cumsum(0) - widths).to(self.model.device)
        spellings = [Spelling(self.tokenizer) for _ in answers]
        tokens, clock = [None] * len(answers), time.perf_counter()
        for number in range(limit):
            with using(), ExitStack() as stack:
                for reader in filter(None, (recorder, exits)):
                    stack.enter_context(reader.active())
                if number == 0:
                    logits = flow.begin()
                else:
                    logits = flow.more(torch.tensor(tokens).repeat_interleave(widths)[:, None])[:, -1]
                early = exits.logits(logits) if exits else {}
            if number == 0 and aside is not None:
                aside(flow.fork(), logits)
            rows = torch.arange(len(logits)).split(widths.tolist())
            choices = [
                None if token in self.ends else _chosen(answer.strategy, logits[own], number, early, own)
                for answer, token, own in zip(answers, tokens, rows, strict=True)
            ]
            tokens = [token if c is None else c.token_id for token, c in zip(tokens, choices, strict=True)]
            if self.ends.issuperset(tokens):
                return
            logprobs = logits[firsts].log_softmax(-1)
            values, ids = logprobs.topk(min(top, logprobs.shape[-1]))
            now = time.perf_counter()
            yield [
                None
                if tokens[i] in self.ends
                else step_of(choices[i], spellings[i], logprobs[i], ids[i].tolist(), values[i], now - clock)
                for i in range(len(answers))
            ]
            clock = now


def _chosen(strategy: Strategy, logits: torch.Tensor, number: int, early: Mapping[int, torch.Tensor], rows) -> Choice:
    wanted = getattr(strategy, "layers", ())
    return strategy.choose(logits, number, *([{i: early[i][rows] for i in wanted}] if wanted else []))


def step_of(choice: Choice, spelling: Spelling, logprobs, ids: list[int], values, seconds: float) -> Step:
    """The step of a ``choice``: ``ids`` and ``values`` are the likeliest tokens and their ``logprobs`` (of ``[V]``)."""
    top = tuple(zip(spelling.rivals(ids), values.exp().tolist(), strict=True))
    token = spelling.add(choice.token_id)
    return Step(choice.token_id, token, float(logprobs[choice.token_id]), top, seconds, choice.details)
