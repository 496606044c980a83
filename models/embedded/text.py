"""The tokenizer, chat template and processor that the embedded default is saved with.

Byte-level BPE: any text encodes. Digits stay single tokens, so that a box is spelled digit by digit.
"""

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, TASKS
from models.embedded.pictures import table
from models.embedded.scenes import random_scene

VOCABULARY = 2560
PAD, END, USER, ASSISTANT, IMAGE = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<image>"
IMAGE_SIZE, PATCH_SIZE = 96, 12
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|user|>' if message['role'] == 'user' else '<|assistant|>' }}"
    "{% if message['content'] is string %} {{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %} {{ part['text'] }}{% endfor %}"
    "{% endif %}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def corpus(rng: np.random.Generator, size: int = 12_000):
    """Texts to learn the vocabulary from: every question type, and the names and keywords of all drawings."""
    names = list(CONCEPTS)
    text_only = (Q.kind_of, Q.is_a, Q.choice_kind, Q.goes_with, Q.read, Q.greeting, Q.no_picture)
    for i in range(size):
        scene = random_scene(rng, names, ("fluent",), skew=0.0)
        turn = Q.for_task(rng, TASKS[i % len(TASKS)], scene, names)
        for t in (turn, text_only[i % len(text_only)](rng, names)):
            if t is not None:
                yield f" {Q.vary(rng, t.question)}"
                yield f" {t.answer}"
    for row in table()[::3]:
        for word in (row["name"], row["label"], *row["synonyms"]):
            yield f" {word}"


def build_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the byte-level BPE tokenizer (2,560 entries) from seeded texts."""
    bpe = Tokenizer(models.BPE())
    words = Regex(r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, USER, ASSISTANT, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(np.random.default_rng(seed)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE, "user_token": USER, "assistant_token": ASSISTANT},
        model_max_length=2048,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def caption_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same vocabulary for the contrastive model: a text ends with ``<|end|>``, whose state is pooled.

    Every text begins with one space, because the vocabulary has its words as they are within a text.
    """
    bpe = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    bpe.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Prepend(" ")])
    bpe.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.convert_tokens_to_ids(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, model_max_length=48, clean_up_tokenization_spaces=False
    )


def build_image_processor() -> CLIPImageProcessorPil:
    """Resizes to 96 x 96 without cropping, so that a box in fractions means the same on the original picture."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return CLIPImageProcessorPil(
        size=size, do_center_crop=False, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5], do_convert_rgb=True
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """The processor saved beside the model."""
    return LlavaProcessor(
        image_processor=build_image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )
