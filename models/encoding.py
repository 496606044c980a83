"""A picture and a question as model inputs, what each of their tokens is, and counterfactuals of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jinja2 import TemplateError
from PIL import Image
from torch.nn.functional import pad

from models.errors import InputError, ModelError
from models.families import Sight, family_of
from models.files import plain
from models.segments import Grid, Modality, image_runs, question_span, segment

MAX_QUESTION = 4000  # characters
MAX_TOKENS = 1024  # of a question
_PLACEHOLDERS = ("0", "a b")  # two questions that share no token at either end


@dataclass(frozen=True)
class Encoded:
    """Model inputs of one prompt (batch of one), the modality of each token ``[T]``, the images' grids.

    ``positions`` are the explicit positions of all tokens, ``[1, T]``, or ``[3, 1, T]`` (time, row, column)
    where the model has them; the first answer token stands at ``next_position``. Hidden tokens are 0 in
    ``inputs["attention_mask"]``. ``noise`` ``[T, d]`` is added to what the decoder reads, image features included.
    ``size`` is the picture's (width, height).

    The counterfactuals (``without_image`` ...) keep ids, length, segments, grids and the position of every token,
    so that what changes in the answer comes from what was hidden, not from tokens that moved. They may be combined.
    """

    inputs: dict[str, torch.Tensor]
    segments: torch.Tensor
    grids: tuple[Grid, ...]
    messages: tuple[dict, ...]
    prompt: str
    positions: torch.Tensor
    next_position: int
    size: tuple[int, int] | None = None
    noise: torch.Tensor | None = None
    encoder: "Encoder | None" = field(default=None, repr=False, compare=False)

    @property
    def length(self) -> int:
        return self.inputs["input_ids"].shape[1]

    def without_image(self) -> "Encoded":
        """The same prompt with its image tokens hidden from all others."""
        return self._hiding(Modality.IMAGE)

    def without_text(self) -> "Encoded":
        """The same prompt with the question's tokens hidden from all others; the template stays."""
        return self._hiding(Modality.QUESTION)

    def with_image(self, image: Image.Image) -> "Encoded":
        """The same prompt with another picture, stretched to the size of the one it replaces.

        Stretched, because many families take more tokens for a larger picture and split it by its shape: at the
        same size every token sees the same part. Raises ``InputError`` where the prompt has no picture.
        """
        if self.size is None:
            raise InputError("This prompt has no picture that another could replace. Encode it with a picture.")
        picture = image.convert("RGB").resize(self.size, Image.Resampling.BICUBIC)
        inputs = self.encoder.inputs(self.prompt, picture)
        if not torch.equal(inputs["input_ids"], self.inputs["input_ids"]):
            raise ModelError(
                "The model's processor writes other tokens for another picture of the same size, so the two cannot "
                "be compared token by token. Use without_image instead."
            )
        return replace(self, inputs={**inputs, "attention_mask": self.inputs["attention_mask"]})

    def with_embedding_noise(self, delta: torch.Tensor) -> "Encoded":
        """The same prompt with ``delta`` ``[T, d]`` added to what the decoder reads, after the image's features.

        Noise adds up. Raises ``InputError`` for another shape or numbers that are not finite.
        """
        wanted = (self.length, self.encoder.width)
        if tuple(delta.shape) != wanted:
            raise InputError(
                f"Embedding noise has shape {list(delta.shape)}; this prompt needs {list(wanted)}: tokens x width."
            )
        if not delta.is_floating_point() or not bool(delta.isfinite().all()):
            raise InputError("Embedding noise must be finite floating-point numbers.")
        return replace(self, noise=delta if self.noise is None else self.noise + delta)

    def followed(self, ids: Sequence[int]) -> "Encoded":
        """The same prompt with the answer's first tokens ``ids`` after it, read in one direction."""
        if not ids:
            return self
        more = len(ids)
        # PaliGemma reads type 0, its prompt, in both directions: there the prompt would see its own answer
        fill = {"attention_mask": 1, "token_type_ids": int(self.encoder.family.prefix_types)}
        inputs = {
            key: pad(value, (0, more), value=fill.get(key, 0)) if value.shape == (1, self.length) else value
            for key, value in self.inputs.items()
        }
        inputs["input_ids"][0, -more:] = torch.tensor(ids)
        places = (self.next_position + torch.arange(more)).expand(*self.positions.shape[:-1], more)
        return replace(
            self,
            inputs=inputs,
            segments=pad(self.segments, (0, more), value=int(Modality.ANSWER)),
            positions=torch.cat([self.positions, places.to(self.positions)], dim=-1),
            next_position=self.next_position + more,
            noise=None if self.noise is None else pad(self.noise, (0, 0, 0, more)),
        )

    def _hiding(self, kind: Modality) -> "Encoded":
        mask = self.inputs["attention_mask"].masked_fill(self.segments[None] == kind, 0)
        return replace(self, inputs={**self.inputs, "attention_mask": mask})


class Encoder:
    """Writes prompts with one model's processor. Raises ``ModelError`` where the two do not say enough."""

    def __init__(self, processor, model):
        self.processor, self.tokenizer, self.model = processor, processor.tokenizer, model
        self.family, self.width = family_of(model), model.config.get_text_config().hidden_size
        self.image_token = getattr(model.config, "image_token_id", None) or getattr(
            model.config, "image_token_index", None
        )
        # what stands for a picture in a prompt, before the processor expands it (Gemma 3: its begin token)
        self.picture = getattr(processor, "image_token", None)
        if self.image_token is None or self.picture is None:
            raise ModelError(
                f"A {model.config.model_type} model cannot be read token by token: its configuration has no "
                "image_token_id, or its processor no image_token, so nothing tells which tokens are the picture."
            )
        self._control = _control_tokens(processor)
        self._templates = next((p for p in (processor, self.tokenizer) if getattr(p, "chat_template", None)), None)
        self._parts = self._takes_parts() if self._templates else True
        self.needs_picture = self._refusal()
        """Why a prompt without a picture cannot be written; empty where one can."""

    def encode(self, image: Image.Image | None, text: str, history: Sequence[tuple[str, str]] = ()) -> Encoded:
        """The prompt for a question ``text`` about ``image`` (RGB, or none) after earlier (question, answer) turns.

        Raises ``InputError`` for an empty or far too long question, for a picture that cannot be read, and for none
        where the model needs one.
        """
        if image is None and self.needs_picture:
            raise InputError(
                f"This model cannot be asked without a picture: its chat template refuses ({self.needs_picture}). "
                "Choose a picture."
            )
        text = text.strip()
        if not text:
            raise InputError("There is no question. Type one, for example: What is in the picture?")
        if len(text) > MAX_QUESTION:
            raise InputError(f"The question has {len(text)} characters; at most {MAX_QUESTION} can be read.")
        count = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if count > MAX_TOKENS:  # rare letters take several tokens each, and time grows with tokens
            raise InputError(f"The question has {count} tokens; at most {MAX_TOKENS} can be read: shorten it.")
        clean = [self._neutral(t) for t in (*(part for turn in history for part in turn), text)]
        messages = [self._message(i, t, image is not None) for i, t in enumerate(clean)]
        prompt = self._prompt(messages)
        picture = None if image is None else image.convert("RGB")
        inputs = self.inputs(prompt, picture)
        kinds = segment(inputs["input_ids"][0], self.image_token, self._question_span(messages, prompt))
        grids, size = (), None
        if picture is not None:
            size = picture.size
            grids = self.family.grids(Sight(self.model, self.processor, inputs, image_runs(kinds), size))
        positions = self.family.positions(self.model, inputs)
        end = int(positions.max()) + 1
        return Encoded(inputs, kinds, grids, tuple(messages), prompt, positions, end, size, encoder=self)

    def inputs(self, prompt: str, picture: Image.Image | None) -> dict[str, torch.Tensor]:
        """What the model reads for a written prompt and its picture (RGB).

        Raises ``InputError`` for a picture that the processor refuses (Qwen-VL: one far longer than wide).
        """
        special = self._adds_special(prompt)
        if picture is not None:
            try:
                found = self.processor(text=[prompt], images=[picture], return_tensors="pt", add_special_tokens=special)
            except (ValueError, ZeroDivisionError) as error:
                size = " x ".join(map(str, picture.size))
                raise InputError(f"This model cannot read a picture of {size} pixels: {error}. Crop it.") from error
        else:
            found = self.tokenizer([self._written(prompt)], return_tensors="pt", add_special_tokens=special)
            found.pop("token_type_ids", None)
            if self.family.prefix_types:
                found["token_type_ids"] = torch.zeros_like(found["input_ids"])
        return {k: v for k, v in found.items() if k not in self.family.unread}

    def continuation(self, encoded: Encoded, choice: str) -> list[int]:
        """Tokens of ``choice`` as the chat template writes it after the prompt, without the end of turn.

        Raises ``InputError`` for a far too long one.
        """
        if len(choice) > MAX_QUESTION:
            raise InputError(f"An answer or option has {len(choice)} characters; at most {MAX_QUESTION} can be read.")
        choice = self._neutral(choice)
        tail = choice
        if self._templates:
            turn = self._message(len(encoded.messages), choice, False)
            whole = self._prompt([*encoded.messages, turn], answer=False)
            if whole.startswith(encoded.prompt):
                after = whole[len(encoded.prompt) :]
                tail = after[: after.index(choice) + len(choice)] if choice in after else choice
        return self._continued(encoded.prompt, tail)

    def _continued(self, prompt: str, tail: str) -> list[int]:
        """Tokens of ``tail`` after ``prompt``; tokenized together, since some tokenizers begin a text with a space."""
        written = self._written(prompt)
        special = self._adds_special(prompt)
        before, both = (self.tokenizer(t, add_special_tokens=special)["input_ids"] for t in (written, written + tail))
        if both[: len(before)] == before:
            return both[len(before) :]
        return self.tokenizer(tail, add_special_tokens=False)["input_ids"]

    def _written(self, prompt: str) -> str:
        """The text that is tokenized for a prompt, its image placeholder not yet expanded."""
        return prompt if self._templates else self.family.plain.written(prompt, self.tokenizer, self.picture)

    def _adds_special(self, prompt: str) -> bool:
        """Whether the tokenizer is to add its start token: not where the template writes it."""
        start = self.tokenizer.bos_token
        return start is None or start not in self._written(prompt)

    def _message(self, turn: int, text: str, picture: bool) -> dict:
        """Turn number ``turn`` (even: the user's); the first may show a picture."""
        shows, role = picture and turn == 0, "assistant" if turn % 2 else "user"
        if not self._parts:
            return {"role": role, "content": f"{self.picture}\n{text}" if shows else text}
        image = [{"type": "image"}] if shows else []
        return {"role": role, "content": [*image, {"type": "text", "text": text}]}

    def _prompt(self, messages, answer: bool = True) -> str:
        if self._templates:
            return self._templates.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)
        turns = [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]
        shows = any(part["type"] == "image" for message in messages for part in message["content"])
        return self.family.plain.prompt(turns, self.picture if shows else "")

    def _takes_parts(self) -> bool:
        """Whether the chat template takes lists of parts (else plain strings). Raises ``ModelError`` for neither."""
        why = "it leaves out the picture or the question"
        for parts in (True, False):
            self._parts = parts
            try:
                prompt = self._prompt([self._message(0, "question", True)])
            except (TemplateError, TypeError, ValueError, KeyError) as error:
                why = str(error)
                continue
            if prompt.count(self.picture) == 1 and "question" in prompt and "'type'" not in prompt:
                return parts
        raise ModelError(f"The chat template of this {self.model.config.model_type} model cannot be used: {why}.")

    def _refusal(self) -> str:
        try:
            self._prompt([self._message(0, "question", False)])
        except Exception as error:  # templates of others refuse in ways of their own
            return plain(error)
        return ""

    def _neutral(self, text: str) -> str:
        """A visitor's text cannot write control tokens (an image placeholder, an end of turn)."""
        for token in self._control:
            text = text.replace(token, token[:1] + " " + token[1:])
        return text

    def _question_span(self, messages, prompt: str) -> tuple[int, int]:
        spans = []
        for placeholder in _PLACEHOLDERS:
            last = self._message(len(messages) - 1, placeholder, self._shows(messages))
            other = self._prompt([*messages[:-1], last])
            if other != prompt:
                texts = (self._written(p) for p in (prompt, other))
                ids = [self.tokenizer(t, add_special_tokens=self._adds_special(prompt))["input_ids"] for t in texts]
                spans.append(question_span(*ids))
        return min(s[0] for s in spans), max(s[1] for s in spans)

    def _shows(self, messages) -> bool:
        """Whether the first message shows a picture."""
        content = messages[0]["content"]
        return content[0]["type"] == "image" if self._parts else content.startswith(self.picture)


def _control_tokens(processor) -> tuple[str, ...]:
    """Every token that means more than its letters, to the tokenizer or to the processor; longest first."""
    tokenizer = processor.tokenizer
    tokens = set(tokenizer.all_special_tokens)
    tokens |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for name in ("image_token", "video_token", "audio_token", "boi_token", "eoi_token"):
        tokens.add(getattr(processor, name, None))
    return tuple(sorted((t for t in tokens if t and t.strip()), key=lambda t: (-len(t), t)))
