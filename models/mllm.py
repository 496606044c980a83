"""One multimodal LLM behind one small surface: encode, generate, score. Knows no panel.

Everything that reads or switches the shared weights holds the model's lock, so two visitors on
different checkpoints never see each other's.
"""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import transformers
from PIL import Image

from models import devices
from models.attention import Edit
from models.batches import TOKENS, batched, in_order
from models.checkpoints import BASE, CheckpointSet, Weights
from models.choices import Choices, Scores, joined
from models.devices import lent
from models.encoding import Encoded, Encoder
from models.errors import InputError, ModelError
from models.files import plain
from models.flow import Flow, common_length
from models.generation import TOP, Generator, Greedy, Run, Step, Strategy, Writing, text_of
from models.instruments import HEARD, Instrument, Recorder, decoder_of, install
from models.interventions import Intervention, fitting
from models.loading import load
from models.readings import Readings
from models.search import Search, searched


@dataclass(frozen=True)
class Forward:
    """One forward of a batch: ``logits`` ``[B, V]`` of the token after each prompt, float32 or finer."""

    logits: torch.Tensor
    readings: Readings


@dataclass(frozen=True)
class Examined:
    """One checkpoint's answer: its ``steps``, the ``scores`` of the choices (None without any), and the ``readings`` of
    the batch that it was written in, as row ``row``.
    """

    steps: tuple[Step, ...]
    scores: Scores | None
    readings: Readings
    row: int


class MLLM:
    """A model, its processor and, where it has some, its per-task checkpoints."""

    def __init__(self, name: str, model, processor, checkpoints: CheckpointSet | None = None):
        self.name, self.model, self.processor, self.checkpoints = name, model, processor, checkpoints
        model.eval().requires_grad_(False)
        self.tokenizer = processor.tokenizer
        try:
            install(model)
            self.unmeasurable = ""
        except ModelError as error:  # it still answers
            self.unmeasurable = str(error)
        self.lock = checkpoints.lock if checkpoints else threading.RLock()
        self.encoder = Encoder(processor, model)
        with self.lock:  # another set's adapters may go into the model just now
            text = set(model.get_decoder().modules()) if checkpoints else set()
            self._text_alone = text.issuperset(checkpoints.adapted if checkpoints else ())
        self.generator = Generator(self.model, self.tokenizer)

    @classmethod
    def open(cls, source: str | Path, name=None, checkpoints=None, device="auto", dtype="auto") -> "MLLM":
        """Load a Hub id or a local folder; safetensors only, no remote code.

        ``checkpoints`` is the folder of a checkpoint set made for this model. ``dtype="auto"`` is float32
        on a CPU and a type of half the size where a GPU computes it. Raises ``ModelError`` or ``CheckpointError``.
        """
        model, processor = load(source, device, dtype)
        loaded = CheckpointSet.open(checkpoints, model) if checkpoints else None
        opened = cls(name or str(source), model, processor, loaded)
        opened.try_out()
        return opened

    def try_out(self) -> None:
        """Read a tiny picture once: whether processor and weights agree on a picture's tokens shows only then.

        Where a GPU is lent for each call it is only made a prompt, for there is none to read it on. Raises
        ``ModelError`` where that fails.
        """
        try:
            encoded = self.encode(Image.new("RGB", (64, 64), "gray"), "What is this?")
            if not lent():
                self.forward([encoded])
        except ModelError:
            raise
        except Exception as error:  # processors of others fail in as many ways as there are
            raise ModelError(
                f"{self.name} cannot be used: it opens, but cannot read a picture ({plain(error)}). Its config.json "
                "and the files of its processor must come from the same model: copy them from its repository again."
            ) from error

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def checkpoint_names(self) -> tuple[str, ...]:
        """``"base"`` first, then the checkpoints in the order of their set."""
        return (BASE, *(self.checkpoints.names if self.checkpoints else ()))

    def provenance(self, checkpoint: Weights, seed: int | None = None, seconds: float = 0.0) -> dict:
        """What computed a result: the fields of ``Provenance``."""
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {
            "model": self.name, "checkpoint": str(checkpoint), "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.device), "seed": seed, "versions": versions, "seconds": round(seconds, 4),
            "bits": devices.bits(self.model.config),
        }  # fmt: skip

    def encode(self, image: Image.Image | None, text: str, history: Sequence[tuple[str, str]] = ()) -> Encoded:
        """The prompt for a question ``text`` about ``image`` (RGB, or none) after earlier (question, answer) turns.

        Raises ``InputError`` for an empty or far too long question.
        """
        return self.encoder.encode(image, text, history)

    @contextmanager
    def using(self, checkpoint: Weights | Sequence[str]) -> Iterator[None]:
        """Hold the lock with one checkpoint switched on, or one for each row.

        Raises ``CheckpointError`` or ``ModelError`` where it is not there.
        """
        each = isinstance(checkpoint, list | tuple)
        if self.checkpoints and each:
            with self.checkpoints.mixed(checkpoint):
                yield
        elif self.checkpoints:
            with self.checkpoints.use(checkpoint):
                yield
        elif set(checkpoint if each else [checkpoint]) == {BASE}:
            with self.lock:
                yield
        else:
            raise ModelError(f"{self.name} has no checkpoint {checkpoint!r}: it has no checkpoint set.")

    def _alike(self, checkpoint: Weights | Sequence[str]) -> bool:
        """Whether all rows see a picture alike: one checkpoint, or several that differ in the text decoder alone."""
        if not isinstance(checkpoint, list | tuple):
            return True
        return self._text_alone

    def edits(
        self, checkpoint: Weights | Sequence[str], interventions: Sequence[Intervention] = ()
    ) -> tuple[Edit, ...]:
        """What changes attention under a checkpoint (or one for each row): its own edits, then ``interventions``.

        Raises ``CheckpointError`` where it is not there, ``InputError`` for interventions that do not fit the model,
        ``ModelError`` for rows whose attention is changed in different ways.
        """
        own: tuple[Edit, ...] = ()
        if self.checkpoints:
            each = checkpoint if isinstance(checkpoint, list | tuple) else [checkpoint]
            own, *others = [self.checkpoints.edits(name) for name in dict.fromkeys(each)] or [()]
            if any(other != own for other in others):
                raise ModelError(
                    "Checkpoints that change attention in different ways cannot share a batch: run each alone."
                )
        return (*own, *fitting(interventions, len(decoder_of(self.model).layers))) if interventions else own

    def _recorder(self, batch: Sequence[Encoded], instruments: Sequence[Instrument]) -> Recorder | None:
        common_length(batch)
        if not instruments:
            return None
        if self.unmeasurable and any(isinstance(i, HEARD) for i in instruments):
            raise ModelError(self.unmeasurable)
        return Recorder(self.model, torch.stack([e.segments for e in batch]), instruments)

    def forward(
        self,
        batch: Sequence[Encoded],
        checkpoint: Weights | Sequence[str] = BASE,
        instruments: Sequence[Instrument] = (),
        grad: bool = False,
        interventions: Sequence[Intervention] = (),
    ) -> Forward:
        """One forward of prompts of one length; ``checkpoint`` is one for all, or a list of one a row.

        With ``grad`` the logits are differentiable in the prompts' noise (use ``torch.autograd.grad``). The backward
        pass reads weights, and the checkpoint is off again when this returns: hold ``using(checkpoint)`` around both.
        ``interventions`` change attention; instruments read it as changed. Raises ``InputError`` where lengths differ
        or an intervention does not fit, ``ModelError`` where memory is short or an instrument cannot read.
        """
        if isinstance(checkpoint, list | tuple) and len(checkpoint) != len(batch):
            raise InputError(f"{len(batch)} prompts and {len(checkpoint)} checkpoints: give one for each, or one name.")
        recorder = self._recorder(batch, instruments)
        edits = self.edits(checkpoint, interventions)
        flow = Flow(self.model, batch, cached=False, alike=self._alike(checkpoint), edits=edits)
        with self.using(checkpoint), recorder.active() if recorder else nullcontext():
            logits = flow.begin(grad)
        return Forward(logits, recorder.readings() if recorder else Readings())

    def embeddings(self, encoded: Encoded, checkpoint: Weights = BASE) -> torch.Tensor:
        """What the decoder reads of a prompt, image features included, before any noise: float32 ``[T, d]``.

        Raises ``ModelError`` where the model does not hand it over.
        """
        read: list[torch.Tensor] = []

        def keep(decoder, args, kwargs):
            if kwargs.get("inputs_embeds") is not None:
                read.append(kwargs["inputs_embeds"].detach())

        with self.lock:  # hooks hear every thread's forwards
            handle = self.model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
            try:
                self.forward([encoded], checkpoint)
            finally:
                handle.remove()
        if not read:
            raise ModelError(
                f"{self.name} does not hand its embeddings to its decoder, so they can be neither read nor changed: "
                "use what needs none (ablation, Shapley values, perturbations other than attacks)."
            )
        return read[0][0].float()

    def generate(
        self,
        encoded: Encoded,
        checkpoint: Weights = BASE,
        max_new_tokens: int = 64,
        strategy: Strategy | Search | None = None,
        instruments: Sequence[Instrument] = (),
        interventions: Sequence[Intervention] = (),
    ) -> Run:
        """The answer, step by step, as ``strategy`` chooses it (default: greedy); ends before the end-of-turn token.

        All contexts of a strategy are one batch, one forward a step; ``instruments`` read every forward, a row
        a context; ``interventions`` change the attention of all. The lock is held for one step at a time, so an
        iterator that is left behind blocks nobody and visitors take turns.
        A search gives all steps at its end, and no instruments can follow it. Raises ``InputError`` where they are to,
        or where a strategy's contexts differ in length, ``ModelError`` where memory is short.
        """
        strategy = copy.copy(strategy or Greedy())
        contexts, using = strategy.contexts(encoded), lambda: self.using(checkpoint)
        edits = self.edits(checkpoint, interventions)
        if isinstance(strategy, Search):
            if instruments:
                raise InputError("Instruments cannot follow a search, whose rows change places: decode greedily.")
            return Run(searched(self.generator, strategy, contexts, max_new_tokens, using, edits), None)
        recorder = self._recorder(contexts, instruments)
        steps = self.generator.steps([Writing(strategy, contexts)], max_new_tokens, using, recorder, edits=edits)
        return Run((step for (step,) in steps), recorder)

    def generate_each(
        self, encoded: Encoded, checkpoints: Sequence[str], max_new_tokens: int = 64
    ) -> dict[str, list[Step]]:
        """Greedy answers of several checkpoints to one prompt: those that can be are one mixed batch."""
        found = self.examine_each(encoded, checkpoints, max_new_tokens=max_new_tokens)
        return {name: list(examined.steps) for name, examined in found.items()}

    def examine_each(
        self,
        encoded: Encoded,
        checkpoints: Sequence[str],
        choices: Sequence[str] = (),
        max_new_tokens: int = 64,
        instruments: Sequence[Instrument] = (),
    ) -> dict[str, Examined]:
        """Greedy answers of several checkpoints to one prompt, read by ``instruments``, and how likely ``choices`` are
        to begin each.

        Checkpoints that can be are one mixed batch, and the prompt is read once for answer and choices. Raises what
        ``generate`` and ``score`` raise.
        """
        names = list(dict.fromkeys(checkpoints))
        together = [n for n in names if self.checkpoints and n in self.checkpoints.batchable]
        groups = [together, *([n] for n in names if n not in together)]
        found = {}
        for group in filter(None, groups):
            found |= self._examined(encoded, group, choices, max_new_tokens, instruments)
        return {name: found[name] for name in names}

    def _examined(self, encoded, names: list[str], choices, limit: int, instruments) -> dict[str, Examined]:
        def rows(each: int) -> str | list[str]:
            return [name for name in names for _ in range(each)] if len(names) > 1 else names[0]

        scores: list[list[Scores]] = [[] for _ in names]

        def score(flow: Flow, logits: torch.Tensor) -> None:
            most = max(TOKENS // (len(names) * flow.length), 1)
            for start in range(0, len(choices), most):
                part = Choices(self.encoder, encoded, choices[start : start + most])
                with self.using(rows(len(part))):
                    for of, new in zip(scores, part.scores(flow.fork(), logits), strict=True):
                        of.append(new)

        prompts = [encoded] * len(names)
        recorder = self._recorder(prompts, instruments)
        steps = self._greedy(prompts, limit, rows(1), recorder=recorder, aside=score if choices else None)
        readings = recorder.readings() if recorder else Readings()
        return {
            name: Examined(tuple(steps[i]), joined(scores[i]) if choices else None, readings, i)
            for i, name in enumerate(names)
        }

    def answers(
        self, prompts: Sequence[Encoded], checkpoint: Weights = BASE, max_new_tokens: int = 64, batch: int = 32
    ) -> list[str]:
        """Greedy answers to many prompts, in their order. Prompts of one length share a batch: no padding.

        A batch has at most ``batch`` prompts, fewer where they are long, and half of them where memory is short.
        Raises ``ModelError`` where it does not suffice for a single prompt.
        """
        write = partial(self._write, checkpoint, max_new_tokens)
        return in_order(prompts, write, rows=batch, new=max_new_tokens)

    def answers_each(
        self,
        places: Iterable[int],
        encode: Callable[[int], Encoded],
        checkpoint: Weights = BASE,
        alike: Callable[[int], object] | None = None,
        max_new_tokens: int = 64,
    ) -> Iterator[tuple[int, str]]:
        """``(place, greedy answer)`` of each of ``places``, whose prompt is ``encode(place)``, as soon as its batch is
        written; batches and ``alike`` are those of ``models.batches.batched``. Raises as ``answers`` does.
        """
        return batched(places, encode, partial(self._write, checkpoint, max_new_tokens), alike, new=max_new_tokens)

    def _write(self, checkpoint: Weights, limit: int, places: list[int], prompts: list[Encoded]) -> list[str]:
        """Greedy answers to prompts of one length, one batch."""
        return [text_of(steps) for steps in self._greedy(prompts, limit, checkpoint, top=0)]

    def _greedy(
        self, prompts: Sequence[Encoded], limit: int, checkpoint, top: int = TOP, recorder=None, aside=None
    ) -> list[list[Step]]:
        found: list[list[Step]] = [[] for _ in prompts]
        answers = [Writing(Greedy(), (prompt,)) for prompt in prompts]
        using, alike = lambda: self.using(checkpoint), self._alike(checkpoint)
        edits = self.edits(checkpoint)
        for row in self.generator.steps(answers, limit, using, recorder, top, alike, edits, aside):
            for steps, step in zip(found, row, strict=True):
                if step is not None:
                    steps.append(step)
        return found

    def score(
        self,
        encoded: Encoded,
        choices: Sequence[str],
        checkpoint: Weights = BASE,
        interventions: Sequence[Intervention] = (),
    ) -> Scores:
        """How likely each choice is as the beginning of the answer; the picture is read once.

        ``interventions`` change attention. Raises ``InputError`` where there are no choices, one is empty or an
        intervention does not fit, ``ModelError`` where memory is short.
        """
        wanted = Choices(self.encoder, encoded, choices)
        flow = Flow(self.model, [encoded], edits=self.edits(checkpoint, interventions))
        with self.using(checkpoint):
            return wanted.scores(flow, flow.begin())[0]
