"""One multimodal LLM behind one small surface: encode, generate, score. Knows no panel.

Everything that reads or switches the shared weights holds the model's lock, so two visitors on
different checkpoints never see each other's.
"""

import threading
import time
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
from models.errors import InputError, ModelError
from models.segments import Grid, question_span, segment, square_grids

TOP = 5
MAX_QUESTION = 4000  # characters
_PLACEHOLDERS = ("0", "a b")  # two questions that share no token at either end


@dataclass(frozen=True)
class Encoded:
    """Model inputs of one prompt (batch of one), the modality of each token ``[T]``, the images' grids."""

    inputs: dict[str, torch.Tensor]
    segments: torch.Tensor
    grids: tuple[Grid, ...]
    messages: tuple[dict, ...]
    prompt: str

    @property
    def length(self) -> int:
        return self.inputs["input_ids"].shape[1]


@dataclass(frozen=True)
class Step:
    """One generated token. ``top`` are the likeliest tokens with their probabilities; ``seconds`` since the last."""

    token_id: int
    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]
    seconds: float


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


def text_of(steps: Sequence[Step]) -> str:
    """The answer that the steps spell."""
    return "".join(s.token for s in steps).strip()


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
        self.image_token = getattr(model.config, "image_token_id", None)
        ends = model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self.ends = frozenset(ends) | {self.tokenizer.eos_token_id} - {None}

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

    def _prompt(self, messages, answer: bool = True) -> str:
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)

    def encode(self, image: Image.Image | None, text: str, history: Sequence[tuple[str, str]] = ()) -> Encoded:
        """The prompt for a question ``text`` about ``image`` (RGB, or none) after earlier (question, answer) turns.

        Raises ``InputError`` for an empty or far too long question.
        """
        text = text.strip()
        if not text:
            raise InputError("There is no question. Type one, for example: What is in the picture?")
        if len(text) > MAX_QUESTION:
            raise InputError(f"The question has {len(text)} characters; at most {MAX_QUESTION} can be read.")
        clean = [self._neutral(t) for t in (*(part for turn in history for part in turn), text)]
        messages, asked = [], clean[::2]
        for i, question in enumerate(asked):
            content = [{"type": "text", "text": question}]
            if i == 0 and image is not None:
                content.insert(0, {"type": "image"})
            messages.append({"role": "user", "content": content})
            if i + 1 < len(asked):
                messages.append({"role": "assistant", "content": [{"type": "text", "text": clean[2 * i + 1]}]})
        prompt = self._prompt(messages)
        pictures = None if image is None else [image.convert("RGB")]
        inputs = dict(self.processor(text=[prompt], images=pictures, return_tensors="pt", add_special_tokens=False))
        span = self._question_span(messages, prompt)
        kinds = segment(inputs["input_ids"][0], self.image_token, span)
        return Encoded(inputs, kinds, square_grids(kinds), tuple(messages), prompt)

    def _neutral(self, text: str) -> str:
        """A visitor's text cannot write control tokens (an image placeholder, an end of turn)."""
        for token in self.tokenizer.all_special_tokens:
            text = text.replace(token, token[:1] + " " + token[1:])
        return text

    def _question_span(self, messages, prompt: str) -> tuple[int, int]:
        spans = []
        for placeholder in _PLACEHOLDERS:
            content = [*messages[-1]["content"][:-1], {"type": "text", "text": placeholder}]
            other = self._prompt([*messages[:-1], {"role": "user", "content": content}])
            if other != prompt:
                ids = [self.tokenizer(p, add_special_tokens=False)["input_ids"] for p in (prompt, other)]
                spans.append(question_span(*ids))
        return min(s[0] for s in spans), max(s[1] for s in spans)

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
        for (step,) in self._steps([encoded], max_new_tokens, lambda: self._using(checkpoint)):
            yield step

    def generate_each(
        self, encoded: Encoded, checkpoints: Sequence[str], max_new_tokens: int = 64
    ) -> dict[str, list[Step]]:
        """Greedy answers of several checkpoints to one prompt, in one mixed-adapter batch."""
        if not self.checkpoints:
            return {name: list(self.generate(encoded, name, max_new_tokens)) for name in checkpoints}
        steps: dict[str, list[Step]] = {name: [] for name in checkpoints}
        for row in self._steps([encoded] * len(steps), max_new_tokens, lambda: self.checkpoints.mixed(list(steps))):
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
            for row in self._steps([prompts[i] for i in same], max_new_tokens, lambda: self._using(checkpoint)):
                for steps, step in zip(found, row, strict=True):
                    if step is not None:
                        steps.append(step)
            for i, steps in zip(same, found, strict=True):
                texts[i] = text_of(steps)
        return texts

    def _inputs(self, batch: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        return {k: torch.cat([e.inputs[k] for e in batch]).to(self.device) for k in batch[0].inputs}

    @property
    def _runner(self):
        return self.checkpoints.model if self.checkpoints else self.model

    @torch.inference_mode()
    def _steps(self, batch: Sequence[Encoded], limit: int, using) -> Iterator[list[Step | None]]:
        """Greedy steps of prompts of one length; None for a row that has ended.

        ``using()`` holds the lock and gives extra arguments for each forward.
        """
        cache, clock = DynamicCache(config=self.model.config.get_text_config()), time.perf_counter()
        inputs, alive = self._inputs(batch), [True] * len(batch)
        mask = inputs["attention_mask"]
        inputs["logits_to_keep"] = 1
        for _ in range(limit):
            with using() as extra:
                logits = self._runner(**inputs, cache=cache, use_cache=True, **extra).logits
            logprobs = logits[:, -1].float().log_softmax(-1)
            best = logprobs.argmax(-1)
            alive = [a and int(t) not in self.ends for a, t in zip(alive, best, strict=True)]
            if not any(alive):
                return
            values, ids = logprobs.topk(min(TOP, logprobs.shape[-1]))
            now = time.perf_counter()
            yield [
                self._step(best[i], logprobs[i], ids[i], values[i], now - clock) if alive[i] else None
                for i in range(len(batch))
            ]
            clock = now
            mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
            inputs = {"input_ids": best[:, None], "attention_mask": mask}

    def _step(self, token, logprobs, ids, values, seconds: float) -> Step:
        decode = self.tokenizer.convert_ids_to_tokens
        spelled = [self.tokenizer.convert_tokens_to_string([t]) for t in decode([int(token), *ids.tolist()])]
        top = tuple(zip(spelled[1:], values.exp().tolist(), strict=True))
        return Step(int(token), spelled[0], float(logprobs[token]), top, seconds)

    @torch.inference_mode()
    def score(self, encoded: Encoded, choices: Sequence[str], checkpoint: str = BASE) -> Scores:
        """How likely each choice is as the beginning of the answer; the picture is read once.

        Raises ``InputError`` where there are no choices or one is empty.
        """
        choices = tuple(c.strip() for c in choices)
        if not choices or not all(choices):
            raise InputError("Options need at least one character each.")
        tails = [self._continuation(encoded, choice) for choice in choices]
        counts = torch.tensor([len(t) for t in tails])
        width = int(counts.max())
        ids = torch.full((len(tails), width), self.tokenizer.pad_token_id or 0)
        for row, tail in enumerate(tails):
            ids[row, : len(tail)] = torch.tensor(tail)
        with self._using(checkpoint):
            cache = DynamicCache(config=self.model.config.get_text_config())
            inputs = self._inputs([encoded])
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

    def _continuation(self, encoded: Encoded, choice: str) -> list[int]:
        """Tokens of ``choice`` as the chat template writes it after the prompt, without the end of turn."""
        turn = {"role": "assistant", "content": [{"type": "text", "text": self._neutral(choice)}]}
        whole = self._prompt([*encoded.messages, turn], answer=False)
        tail = whole[len(encoded.prompt) :] if whole.startswith(encoded.prompt) else choice
        tail = tail[: tail.index(choice) + len(choice)] if choice in tail else choice
        return self.tokenizer(tail, add_special_tokens=False)["input_ids"]
