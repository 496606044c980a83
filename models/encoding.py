"""A picture and a question as model inputs, and what each of their tokens is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from models.errors import InputError
from models.segments import Grid, question_span, segment, square_grids

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


class Encoder:
    """Writes prompts with one model's processor."""

    def __init__(self, processor, config):
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.image_token = getattr(config, "image_token_id", None)

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

    def continuation(self, encoded: Encoded, choice: str) -> list[int]:
        """Tokens of ``choice`` as the chat template writes it after the prompt, without the end of turn."""
        turn = {"role": "assistant", "content": [{"type": "text", "text": self._neutral(choice)}]}
        whole = self._prompt([*encoded.messages, turn], answer=False)
        tail = whole[len(encoded.prompt) :] if whole.startswith(encoded.prompt) else choice
        tail = tail[: tail.index(choice) + len(choice)] if choice in tail else choice
        return self.tokenizer(tail, add_special_tokens=False)["input_ids"]
