"""One multimodal LLM behind one small surface: encode, generate, score. Knows no panel.

Everything that reads or switches the shared weights holds the model's lock, so two visitors on
different checkpoints never see each other's.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache

from models.checkpoints import BASE, CheckpointSet
from models.encoding import Encoded, Encoder
from models.errors import InputError, ModelError
from models.generation import Generator, Step, stacked, text_of


@dataclass(frozen=True)
class Scores:
    """Log-probability (nats) of each choice, summed over its ``tokens``."""

    choices: tuple[str, ...]
    logprob: np.ndarray
    tokens: np.ndarray

    @property
    def per_token(self) -> np.ndarray:
        """Length-normalised log-probability, nats per token."""
        return self.logprob / self.tokens

    @property
    def probability(self) -> np.ndarray:
        """Softmax of ``logprob`` over the choices: sums to one."""
        shifted = np.exp(self.logprob - self.logprob.max())
        return shifted / shifted.sum()


def best_device() -> torch.device:
    """CUDA, else MPS, else CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


class MLLM:
    """A model, its processor and, where it has some, its per-task checkpoints."""

    def __init__(self, name: str, model, processor, checkpoints: CheckpointSet | None = None):
        self.name, self.model, self.processor, self.checkpoints = name, model.eval(), processor, checkpoints
        self.tokenizer = processor.tokenizer
        self.lock = checkpoints.lock if checkpoints else threading.RLock()
        self.encoder = Encoder(processor, model.config)
        self.generator = Generator(self._runner, self.tokenizer)

    @classmethod
    def open(cls, source: str | Path, name=None, checkpoints=None, device="auto", dtype="auto") -> "MLLM":
        """Load a Hub id or a local folder; safetensors only, no remote code.

        ``checkpoints`` is the folder of a checkpoint set made for this model. ``dtype="auto"`` is float32
        on a CPU and the saved type elsewhere. Raises ``ModelError`` or ``CheckpointError``.
        """
        where = best_device() if device == "auto" else torch.device(device)
        if dtype == "auto" and where.type == "cpu":
            dtype = torch.float32
        try:
            processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
            model = AutoModelForImageTextToText.from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{source} cannot be opened as an image-text-to-text model: {error}") from error
        model = model.to(where)
        loaded = CheckpointSet.open(checkpoints, model) if checkpoints else None
        return cls(name or str(source), model, processor, loaded)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def checkpoint_names(self) -> tuple[str, ...]:
        """``"base"`` first, then the checkpoints in the order of their set."""
        return (BASE, *(self.checkpoints.names if self.checkpoints else ()))

    def provenance(self, checkpoint: str, seed: int | None = None, seconds: float = 0.0) -> dict:
        """What computed a result: the fields of ``Provenance``."""
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {
            "model": self.name, "checkpoint": checkpoint, "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.device), "seed": seed, "versions": versions, "seconds": round(seconds, 4),
        }  # fmt: skip

    def encode(self, image: Image.Image | None, text: str, history: Sequence[tuple[str, str]] = ()) -> Encoded:
        """The prompt for a question ``text`` about ``image`` (RGB, or none) after earlier (question, answer) turns.

        Raises ``InputError`` for an empty or far too long question.
        """
        return self.encoder.encode(image, text, history)

    @contextmanager
    def _using(self, checkpoint: str) -> Iterator[dict]:
        """Hold the lock with one checkpoint switched on; yields no extra forward arguments."""
        if self.checkpoints:
            with self.checkpoints.use(checkpoint):
                yield {}
        elif checkpoint == BASE:
            with self.lock:
                yield {}
        else:
            raise ModelError(f"{self.name} has no checkpoint {checkpoint!r}: it has no checkpoint set.")

    def generate(self, encoded: Encoded, checkpoint: str = BASE, max_new_tokens: int = 64) -> Iterator[Step]:
        """Greedy answer, token by token; stops before the end-of-turn token.

        The lock is held for one step at a time, so an iterator that is left behind blocks nobody and
        visitors take turns.
        """
        for (step,) in self.generator.steps([encoded], max_new_tokens, lambda: self._using(checkpoint)):
            yield step

    def generate_each(
        self, encoded: Encoded, checkpoints: Sequence[str], max_new_tokens: int = 64
    ) -> dict[str, list[Step]]:
        """Greedy answers of several checkpoints to one prompt, in one mixed-adapter batch."""
        if not self.checkpoints:
            return {name: list(self.generate(encoded, name, max_new_tokens)) for name in checkpoints}
        steps: dict[str, list[Step]] = {name: [] for name in checkpoints}
        batch = [encoded] * len(steps)
        for row in self.generator.steps(batch, max_new_tokens, lambda: self.checkpoints.mixed(list(steps))):
            for name, step in zip(steps, row, strict=True):
                if step is not None:
                    steps[name].append(step)
        return steps

    def answers(
        self, prompts: Sequence[Encoded], checkpoint: str = BASE, max_new_tokens: int = 64, batch: int = 32
    ) -> list[str]:
        """Greedy answers to many prompts, in their order. Prompts of one length share a batch: no padding."""
        texts = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: prompts[i].length)
        while order:
            length = prompts[order[0]].length
            same = [i for i in order[:batch] if prompts[i].length == length]
            order = order[len(same) :]
            found: list[list[Step]] = [[] for _ in same]
            chosen = [prompts[i] for i in same]
            for row in self.generator.steps(chosen, max_new_tokens, lambda: self._using(checkpoint)):
                for steps, step in zip(found, row, strict=True):
                    if step is not None:
                        steps.append(step)
            for i, steps in zip(same, found, strict=True):
                texts[i] = text_of(steps)
        return texts

    @property
    def _runner(self):
        return self.checkpoints.model if self.checkpoints else self.model

    @torch.inference_mode()
    def score(self, encoded: Encoded, choices: Sequence[str], checkpoint: str = BASE) -> Scores:
        """How likely each choice is as the beginning of the answer; the picture is read once.

        Raises ``InputError`` where there are no choices or one is empty.
        """
        choices = tuple(c.strip() for c in choices)
        if not choices or not all(choices):
            raise InputError("Options need at least one character each.")
        tails = [self.encoder.continuation(encoded, choice) for choice in choices]
        counts = torch.tensor([len(t) for t in tails])
        width = int(counts.max())
        ids = torch.full((len(tails), width), self.tokenizer.pad_token_id or 0)
        for row, tail in enumerate(tails):
            ids[row, : len(tail)] = torch.tensor(tail)
        with self._using(checkpoint):
            cache = DynamicCache(config=self.model.config.get_text_config())
            inputs = stacked([encoded], self.device)
            first = self._runner(**inputs, cache=cache, use_cache=True, logits_to_keep=1).logits
            logits = first[:, -1:].expand(len(tails), -1, -1)
            if width > 1:
                cache.batch_repeat_interleave(len(tails))
                mask = inputs["attention_mask"].new_ones(len(tails), encoded.length + width - 1)
                rest = ids[:, :-1].to(self.device)
                more = self._runner(input_ids=rest, attention_mask=mask, cache=cache).logits
                logits = torch.cat([logits, more], dim=1)
        picked = logits.float().log_softmax(-1).gather(2, ids[:, :, None].to(logits.device))[:, :, 0].cpu()
        picked = picked.masked_fill(torch.arange(width)[None] >= counts[:, None], 0.0)
        return Scores(choices, picked.sum(1).double().numpy(), counts.numpy())
