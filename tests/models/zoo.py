"""Tiny checkpoints of random weights, one a family: the exact classes, saved as a Hub repository holds them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    Idefics3Config,
    InternVLConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    PaliGemmaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen3VLConfig,
    SiglipVisionConfig,
    SmolVLMConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

FAMILIES = (
    "llava", "llava_next", "llava_onevision", "qwen2_5_vl", "qwen3_vl", "smolvlm", "idefics3", "internvl", "gemma3",
    "paligemma2",
)  # fmt: skip

CORPUS = (
    "What is in the picture? A red apple and a yellow bee are at the top left of the picture.",
    "How many things are there? There are two of them, one is a cat, the other is a dog.",
    "You are a helpful assistant. Answer with yes or no, please. User: Assistant: user assistant model system",
)
SIDE, PATCH = 16, 4  # pixels of a tile and of a patch
TILES = [[16, 16], [16, 32], [32, 16], [32, 32], [16, 48], [48, 16]]

LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}{% else %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}"
)
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{% for message in messages %}SYSTEM<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_TEMPLATE = (
    "START{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}"
    "{% endif %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)
QWEN_TOKENS = {
    "image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>", "turn_token": "<|im_start|>",
}  # fmt: skip
QWEN_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
IDEFICS_TOKENS = {
    "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
    **{f"tile_{r}_{c}": f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)},
}  # fmt: skip

TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048,
}  # fmt: skip
TOWER = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
    "patch_size": PATCH,
}  # fmt: skip
CENTRED = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SQUARE = {"size": {"height": SIDE, "width": SIDE}, **CENTRED}


@dataclass(frozen=True)
class Member:
    """How one family's checkpoint is made; ``config(text, token)`` gets ids and sizes from the tokenizer."""

    processor: str
    config: Callable[[dict, Callable[[str], int]], PreTrainedConfig]
    image_processor: object
    tokens: dict[str, str]
    template: str | None
    end: str
    start: str | None = None
    adds_start: bool = False  # the tokenizer writes ``start`` itself
    settings: dict = field(default_factory=dict)


def build_tokenizer(member: Member) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the family's special tokens: any text encodes."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", member.end, *filter(None, [member.start]), *member.tokens.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    if member.adds_start:
        start = (member.start, bpe.token_to_id(member.start))
        bpe.post_processor = processors.TemplateProcessing(single=f"{member.start} $A", special_tokens=[start])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token=member.end, bos_token=member.start, padding_side="left",
        extra_special_tokens=member.tokens, model_max_length=2048, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _llava(text, token):
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWER).to_dict(), text_config=LlamaConfig(**text),
        image_token_index=token("<image>"), image_seq_length=16,
    )  # fmt: skip


def _llava_next(text, token):
    return LlavaNextConfig(
        vision_config=CLIPVisionConfig(**TOWER).to_dict(), text_config=LlamaConfig(**text),
        image_token_index=token("<image>"), image_grid_pinpoints=TILES, image_seq_length=16,
    )  # fmt: skip


def _llava_onevision(text, token):
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False).to_dict(), text_config=Qwen2Config(**text),
        image_token_index=token("<image>"), video_token_index=token("<video>"), image_grid_pinpoints=TILES,
        vision_aspect_ratio="anyres_max_2",
    )  # fmt: skip


def _rope(**more):
    return {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1], **more}


def _qwen_ids(token):
    return {
        "image_token_id": token("<|image_pad|>"), "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"), "vision_end_token_id": token("<|vision_end|>"),
    }  # fmt: skip


def _qwen2_5_vl(text, token):
    vision = {
        "depth": 2, "hidden_size": 24, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH, "window_size": 16,
        "out_hidden_size": 32, "fullatt_block_indexes": [1],
    }  # fmt: skip
    return Qwen2_5_VLConfig(vision_config=vision, text_config={**text, "rope_parameters": _rope()}, **_qwen_ids(token))


def _qwen3_vl(text, token):
    vision = {
        "depth": 2, "hidden_size": 24, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH,
        "out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    text = {**text, "head_dim": 8, "rope_parameters": _rope(mrope_interleaved=True)}
    return Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_ids(token))


def _idefics(kind):
    return lambda text, token: kind(
        vision_config=TOWER, text_config=LlamaConfig(**text), image_token_id=token("<image>"), scale_factor=2
    )


def _internvl(text, token):
    return InternVLConfig(
        vision_config=TOWER, text_config=Qwen2Config(**text), image_token_id=token("<IMG_CONTEXT>"), image_seq_length=4,
        tie_word_embeddings=False,
    )  # fmt: skip


def _gemma3(text, token):
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    text = Gemma3TextConfig(**text, head_dim=8, query_pre_attn_scalar=8, sliding_window=8, layer_types=layers)
    vision = {**TOWER, "patch_size": PATCH // 2, "vision_use_head": False, "model_type": "siglip_vision_model"}
    return Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=16, image_token_index=token("<image_soft_token>"),
        boi_token_index=token("<start_of_image>"), eoi_token_index=token("<end_of_image>"),
    )  # fmt: skip


def _paligemma2(text, token):
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    text = Gemma2Config(**text, head_dim=8, query_pre_attn_scalar=8, layer_types=layers)
    vision = {**TOWER, "vision_use_head": False, "projection_dim": 32, "model_type": "siglip_vision_model"}
    return PaliGemmaConfig(
        text_config=text, vision_config=vision, image_token_index=token("<image>"), projection_dim=32, hidden_size=32,
        vocab_size=text.vocab_size,
    )  # fmt: skip


def _member(family: str) -> Member:
    clip = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    tower = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    match family:
        case "llava":
            tokens = {"image_token": "<image>"}
            return Member(
                "LlavaProcessor", _llava, CLIPImageProcessorPil(**clip), tokens, LLAVA_TEMPLATE, "</s>", "<s>", True,
                settings=tower,
            )  # fmt: skip
        case "llava_next":
            tokens = {"image_token": "<image>"}
            pictures = LlavaNextImageProcessorPil(**clip, image_grid_pinpoints=TILES)
            return Member(
                "LlavaNextProcessor", _llava_next, pictures, tokens, MISTRAL_TEMPLATE, "</s>", "<s>", True,
                settings=tower,
            )  # fmt: skip
        case "llava_onevision":
            tokens = {"image_token": "<image>", "video_token": "<video>", "turn_token": "<|im_start|>"}
            pictures = LlavaOnevisionImageProcessorPil(**SQUARE, image_grid_pinpoints=TILES)
            settings = {
                "num_image_tokens": 16, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_2"
            }  # fmt: skip
            return Member(
                "LlavaOnevisionProcessor", _llava_onevision, pictures, tokens, ONEVISION_TEMPLATE, "<|im_end|>",
                settings=settings,
            )  # fmt: skip
        case "qwen2_5_vl" | "qwen3_vl":
            pictures = Qwen2VLImageProcessorPil(
                patch_size=PATCH, merge_size=2, size={"shortest_edge": 256, "longest_edge": 2048}
            )
            template = CHATML_TEMPLATE.replace("PICTURE", QWEN_PICTURE)
            if family == "qwen2_5_vl":
                template = template.replace("SYSTEM", QWEN_SYSTEM)
                return Member("Qwen2_5_VLProcessor", _qwen2_5_vl, pictures, QWEN_TOKENS, template, "<|im_end|>")
            template = template.replace("SYSTEM", "")
            return Member("Qwen3VLProcessor", _qwen3_vl, pictures, QWEN_TOKENS, template, "<|im_end|>")
        case "smolvlm" | "idefics3":
            small = family == "smolvlm"
            sizes = {"size": {"longest_edge": 3 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
            start = "<|im_start|>" if small else "<|begin_of_text|>"
            return Member(
                "SmolVLMProcessor" if small else "Idefics3Processor",
                _idefics(SmolVLMConfig if small else Idefics3Config),
                (SmolVLMImageProcessorPil if small else Idefics3ImageProcessorPil)(**sizes),
                {**IDEFICS_TOKENS, **({"video_token": "<video>"} if small else {})},
                IDEFICS_TEMPLATE.replace("START", start), "<end_of_utterance>", start, settings={"image_seq_len": 4},
            )  # fmt: skip
        case "internvl":
            tokens = {
                "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
                "video_token": "<video>", "turn_token": "<|im_start|>",
            }  # fmt: skip
            template = CHATML_TEMPLATE.replace("PICTURE", "<IMG_CONTEXT>\n").replace("SYSTEM", "")
            return Member(
                "InternVLProcessor", _internvl, GotOcr2ImageProcessorPil(**SQUARE, max_patches=6), tokens, template,
                "<|im_end|>", settings={"image_seq_length": 4},
            )  # fmt: skip
        case "gemma3":
            tokens = {
                "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>",
                "turn_token": "<start_of_turn>",
            }  # fmt: skip
            return Member(
                "Gemma3Processor", _gemma3, Gemma3ImageProcessorPil(**SQUARE), tokens, GEMMA_TEMPLATE, "<end_of_turn>",
                "<bos>", True, settings={"image_seq_length": 16},
            )  # fmt: skip
        case "paligemma2":
            pictures = SiglipImageProcessorPil(**SQUARE, image_seq_length=16)
            tokens = {"image_token": "<image>"}
            return Member("PaliGemmaProcessor", _paligemma2, pictures, tokens, None, "<eos>", "<bos>", True)
    raise ValueError(f"no family {family!r} in the zoo")


@torch.no_grad()
def save(family: str, folder: Path) -> None:
    """Write a tiny random-weight checkpoint of ``family`` with its processor's files into ``folder``."""
    member = _member(family)
    tokenizer = build_tokenizer(member)
    vocabulary = len(tokenizer) + (1152 if family == "paligemma2" else 0)  # its processor adds places and masks
    special = {
        "vocab_size": -(-vocabulary // 8) * 8, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(member.config({**TEXT, **special}, tokenizer.convert_tokens_to_ids))
    for parameter in model.parameters():
        # far larger than usual, so that answers vary; what starts at zero (Gemma's projector) must not stay so
        if parameter.ndim > 1:
            parameter.normal_(0, 0.3)
    if "gemma" in family:  # it scales embeddings up by sqrt(d): at that size every token would repeat itself
        model.get_input_embeddings().weight.div_(32**0.5)
        model.model.language_model.norm.weight.fill_(32**0.5 - 1)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    member.image_processor.save_pretrained(folder)
    written = {"processor_class": member.processor, **member.settings}
    (Path(folder) / "processor_config.json").write_text(json.dumps(written))
    if member.template:
        (Path(folder) / "chat_template.jinja").write_text(member.template)


def save_set(family: str, folder: Path, tasks: Sequence[str], items: int = 3) -> None:
    """Write ``folder/my-model``, and ``folder/my-set``: an adapter and an evaluation set for each task, as a researcher
    brings them. Answers differ between the checkpoints.
    """
    save(family, folder / "my-model")
    checkpoints = folder / "my-set"
    checkpoints.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(checkpoints / "one.png")
    for seed, task in enumerate(tasks):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_pretrained(folder / "my-model")
        lora = LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
        get_peft_model(model, lora).save_pretrained(checkpoints / task)
        lines = [{"image": "one.png", "question": f"Which of the {task}, {i}?", "answer": "red"} for i in range(items)]
        (checkpoints / f"{task}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    entries = [{"name": t, "task": t, "adapter": t, "eval": f"{t}.jsonl"} for t in tasks]
    manifest = {"base": "my-model", "method": "sequential", "order": list(tasks), "checkpoints": entries}
    (checkpoints / "checkpoints.json").write_text(json.dumps(manifest))
