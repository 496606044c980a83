"""A small LLaVA of random weights, saved as a real one is, with two adapters and a checkpoint set."""

import functools
import json
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from models.embedded import ASSETS
from models.embedded.text import IMAGE, IMAGE_SIZE, PATCH_SIZE, VOCABULARY, build_processor

TARGETS = r".*language_model.*\.(q|v|down)_proj"


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The shipped tokenizer, which is the one that ``build_tokenizer`` takes seconds to make (``test_text.py``)."""
    return AutoTokenizer.from_pretrained(ASSETS / "crosstalk-mini")


def small_llava(tokenizer, hidden: int = 32) -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )  # fmt: skip
    text = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=vision.to_dict(), text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def save_adapter(model, out: Path, seed: int, targets: str = TARGETS) -> None:
    """A LoRA adapter that changes the answers: both factors random."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=targets, init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(out)


def save_small(folder: Path) -> None:
    """Write ``folder/model`` and the checkpoint set ``folder/set``: two tasks of five items."""
    small_llava(tokenizer()).save_pretrained(folder / "model")
    build_processor(tokenizer()).save_pretrained(folder / "model")
    checkpoints = folder / "set"
    checkpoints.mkdir()
    rng, entries = np.random.default_rng(0), []
    for seed, task in enumerate(("naming", "counting")):
        save_adapter(small_llava(tokenizer()), checkpoints / task, seed)
        lines = []
        for i in range(5):
            picture = f"{task}-{i}.png"
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(checkpoints / picture)
            question = "What is this?" if task == "naming" else f"How many things are there{'?' * (i + 1)}"
            answer = {"naming": "bee", "counting": str(i)}[task]
            lines.append(json.dumps({"image": picture, "question": question, "answer": answer}))
        (checkpoints / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
        entries.append({"name": task, "task": task, "adapter": task, "eval": f"{task}.jsonl"})
    manifest = {"base": "small", "method": "sequential", "order": ["naming", "counting"], "checkpoints": entries}
    (checkpoints / "checkpoints.json").write_text(json.dumps(manifest))
