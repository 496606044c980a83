"""``text-parent``: the decoder of the base before it ever saw a picture, trained as a language model on texts alone.

Questions without a picture about any of the 120 concepts, small talk, and scenes told in words with questions about
them; the base starts from it, as multimodal LLMs do.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, learnt_in
from models.embedded.fit import Fit, device
from models.embedded.honesty import small_talk
from models.embedded.packing import Branch
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import random_scene
from models.embedded.text import ASSISTANT, END, USER, VOCABULARY

BATCH, STEPS, PEAK = 64, 1000, 2e-3
LONGEST = 96  # tokens of a dialogue; what is longer is cut
REWORDED = 0.12  # share of questions in which things are called by a synonym, where they have one
_MAKERS = (Q.kind_of, Q.is_a, Q.choice_kind, Q.goes_with, Q.read, Q.no_picture, Q.another_word)
_ODDS = np.array([2, 2, 2, 1, 2, 1.5, 0.7, 2.3, 2]) / 15.5  # of each of them, of small talk, of a scene in words


def config(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """12 layers x 160 with 4 heads on 2 key-value heads: deep enough to see what fades from layer to layer."""
    return Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=160, intermediate_size=400, num_hidden_layers=12, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10_000.0,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def varied(rng: np.random.Generator, turn: Q.Turn) -> Q.Turn:
    """The turn with its question as a visitor might type it."""
    return replace(turn, question=Q.vary(rng, turn.question))


def reworded(rng: np.random.Generator, turn: Q.Turn) -> Q.Turn:
    """``varied``, now and then with synonyms in the question."""
    if rng.random() < REWORDED:
        turn = Q.Turn(Q.reworded(rng, turn.question), turn.answer, turn.style, turn.choices)
    return varied(rng, turn)


def about_text(rng: np.random.Generator) -> Branch:
    """One question without a picture, about any of the 120 concepts, or small talk."""
    kind = int(rng.choice(len(_ODDS), p=_ODDS))
    if kind == len(_MAKERS):
        return Branch((varied(rng, small_talk(rng)),), sees=False)
    if kind > len(_MAKERS):
        return Branch((reworded(rng, _told(rng)),), sees=False)
    turn = _MAKERS[kind](rng, list(CONCEPTS))
    change = varied if _MAKERS[kind] is Q.another_word else reworded
    return Branch((change(rng, turn),), sees=False)


def _told(rng: np.random.Generator) -> Q.Turn:
    """A scene in words with a question about it."""
    pool, turn = learnt_in("base"), None
    while turn is None:
        turn = Q.read_caption(rng, random_scene(rng, pool, TRAINED_STYLES, 0.0), pool)
    return turn


class Batches:
    """Makes one batch of dialogues, padded on the right to the longest: int64 ``input_ids``, ``attention_mask`` and
    bool ``answer`` (the tokens of the answers, with the one that ends them), all ``[BATCH, T]``.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        self.assistant, self.end = (tokenizer.convert_tokens_to_ids(t) for t in (ASSISTANT, END))

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        with Q.asked_in(P.taught):
            texts = [f"{USER}{about_text(rng).text}" for _ in range(BATCH)]
        coded = self.tokenizer(
            texts, padding=True, padding_side="right", truncation=True, max_length=LONGEST, return_tensors="pt",
            add_special_tokens=False,
        )  # fmt: skip
        ids, mask = coded["input_ids"], coded["attention_mask"]
        begun = (ids == self.assistant).cumsum(1)
        answer = (begun > 0) & (ids != self.assistant) & (mask > 0)
        return {"input_ids": ids, "attention_mask": mask, "answer": answer}


def train(
    folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int, log=print, steps: int = STEPS
) -> Qwen2ForCausalLM:
    """A language model of such dialogues from random weights: every next token counts the same."""
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(config(tokenizer)).to(device())
    model.set_attn_implementation("eager")  # for so short sequences faster to train on a CPU
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id

    def loss(batch):
        found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        logits, target = found.logits[:, :-1].float(), batch["input_ids"][:, 1:]
        wanted, answer = batch["attention_mask"][:, 1:] > 0, batch["answer"][:, 1:]
        right = (logits[answer].argmax(1) == target[answer]).float().mean()
        return torch.nn.functional.cross_entropy(logits[wanted], target[wanted]), {"answer tokens": right}

    Fit(folder, "text-parent", model, [(model.parameters(), PEAK)], steps, seed).run(Batches(tokenizer), loss, log)
    return model.eval()
