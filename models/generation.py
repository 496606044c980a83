"""Generation as an iterator of steps: one batched forward a step with a KV cache."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from models.encoding import Encoded

TOP = 5


@dataclass(frozen=True)
class Step:
    """One generated token. ``top`` are the likeliest tokens with their probabilities; ``seconds`` since the last."""

    token_id: int
    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]
    seconds: float


def text_of(steps: Sequence[Step]) -> str:
    """The answer that the steps spell."""
    return "".join(s.token for s in steps).strip()


def stacked(batch: Sequence[Encoded], device: torch.device) -> dict[str, torch.Tensor]:
    """Model inputs of prompts of one length, as one batch on ``device``."""
    return {k: torch.cat([e.inputs[k] for e in batch]).to(device) for k in batch[0].inputs}


class Generator:
    """Greedy steps of one model (bare, or a ``PeftModel`` around it). ``ends`` are the tokens that end an answer."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        ends = model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self.ends = frozenset(ends) | {tokenizer.eos_token_id} - {None}

    @torch.inference_mode()
    def steps(self, batch: Sequence[Encoded], limit: int, using) -> Iterator[list[Step | None]]:
        """Greedy steps of prompts of one length; None for a row that has ended.

        ``using()`` holds the lock and gives extra arguments for each forward.
        """
        cache, clock = DynamicCache(config=self.model.config.get_text_config()), time.perf_counter()
        inputs, alive = stacked(batch, self.model.device), [True] * len(batch)
        mask = inputs["attention_mask"]
        inputs["logits_to_keep"] = 1
        for _ in range(limit):
            with using() as extra:
                logits = self.model(**inputs, cache=cache, use_cache=True, **extra).logits
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
