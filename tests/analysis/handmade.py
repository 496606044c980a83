"""A model whose answers are a rule over the prompt's words and the picture's brightness, and its prompts."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from transformers import LlamaConfig

from analysis.interference.options import Options
from analysis.interference.perturbations import Case
from models.encoding import Encoded
from models.errors import ModelError
from models.segments import Modality

WORDS = {"cat": [3], "dog": [4], "dog house": [4, 5], **{f"w{i}": [10 + i] for i in range(50)}}
VOCABULARY = 64
WHAT = "What is this?"


class HandMade(torch.nn.Module):
    """Next-token probabilities by ``rule(text, brightness)`` after a prompt, and by ``after[token]`` after a token."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, rule, after):
        super().__init__()
        self.rule, self.after, self.texts, self.forwards = rule, after, [], 0
        self.config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1)

    def get_decoder(self):
        return self

    def forward(self, input_ids, pixel_values=None, logits_to_keep=None, **_):
        self.forwards += 1
        if logits_to_keep is None:
            return SimpleNamespace(logits=torch.stack([self._row(self.after.get(int(i), {})) for i in input_ids[:, 0]]))
        light = [None] * len(input_ids) if pixel_values is None else pixel_values.mean((1, 2, 3)).tolist()
        texts = [self.texts[int(i) - 1000] for i in input_ids[:, -1]]
        return SimpleNamespace(logits=torch.stack([self._row(self.rule(*x)) for x in zip(texts, light, strict=True)]))

    def _row(self, chances):
        rest = (1 - sum(chances.values())) / (VOCABULARY - len(chances))
        return torch.tensor([chances.get(i, rest) for i in range(VOCABULARY)]).clamp_min(1e-9).log()[None]


class Prompts:
    """Prompts for a ``self.model`` that is handed each text by its number, and each picture by its brightness."""

    def _inputs(self, text, picture):
        if text not in self.model.texts:
            self.model.texts.append(text)
        ids = [0] * len(text.split()) + [1000 + self.model.texts.index(text)]
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if picture is not None:
            inputs["pixel_values"] = torch.full((1, 3, 2, 2), float(np.asarray(picture).mean() / 255))
        return inputs

    def encode(self, picture, text):
        inputs = self._inputs(text, picture)
        length = inputs["input_ids"].shape[1]
        kinds = torch.full((length,), int(Modality.QUESTION))
        size = picture.size if picture else None
        places = torch.arange(length)[None]
        return Encoded(inputs, kinds, (), (), text, places, length, size, encoder=self.encoder)

    def edits(self, checkpoint):
        return ()


class Ruled(Prompts):
    """What the room asks of an ``MLLM``, around a ``HandMade`` model."""

    name, checkpoints, checkpoint_names, lock = "ruled", None, ("base",), threading.RLock()
    tokenizer = SimpleNamespace(pad_token_id=0)

    def __init__(self, rule, after=None):
        self.model = HandMade(rule, after or {})
        self.encoder = SimpleNamespace(
            width=8, inputs=self._inputs, continuation=lambda encoded, choice: list(WORDS[choice])
        )

    @contextmanager
    def using(self, checkpoint):
        if checkpoint != "base":
            raise ModelError(f"no checkpoint {checkpoint!r}")
        yield

    def provenance(self, checkpoint, seed=None, seconds=0.0):
        return {"model": "ruled", "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seed": seed}


def by_words(text, light):
    """A cat, unless the text names a dog; in the dark it is half as sure of either."""
    if "dog" in text:
        return {3: 0.3, 4: 0.7}
    return {3: 0.4, 4: 0.1} if light is not None and light < 0.05 else {3: 0.8, 4: 0.2}


def last(results):
    *_, found = results
    return found


def case(question=WHAT, meanings=("cat", "dog"), picture=True, **more):
    options = Options(tuple(meanings), tuple(meanings), "given")
    shown = Image.new("RGB", (64, 48), "teal") if picture else None
    return Case(shown, question, options, 0, 0, 1 if len(meanings) > 1 else None, **more)
