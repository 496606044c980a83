import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from models.embedded import questions as Q
from models.embedded.packing import Branch
from models.embedded.text import (
    ASSISTANT,
    END,
    IMAGE,
    IMAGE_SIZE,
    IMAGE_TOKENS,
    PAD,
    USER,
    VOCABULARY,
    build_processor,
    build_tokenizer,
    caption_tokenizer,
)
from tests.models.small import tokenizer as shipped

TEXTS = (
    " What is at the top left?",
    "  spaces   and\ttabs\r\n\n and lines ",
    " Wie viele Bären? Où est l’abeille? ¿Cuántas?",
    " 蜜蜂はどこ？ Где пчела? أين النحلة؟ मधुमक्खी",
    " 🐝👩🏽‍🚀🇩🇪 e\u0301 \u00e9 \u200b\ufeff\x00\x1f",
    " Ⅳ ٣ ½ ² 1,000.5",
    "".join(map(chr, range(1, 0x250))),
)


@pytest.fixture(scope="module")
def tokenizer():
    """Made from its seed; everywhere else it is the shipped one."""
    return build_tokenizer()


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_random_unicode_comes_back(tokenizer):
    rng = np.random.default_rng(0)
    points = [p for p in rng.integers(1, 0x110000, 3000) if not 0xD800 <= p < 0xE000]
    text = "".join(map(chr, points))
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_every_digit_is_one_token(tokenizer):
    box = "[10,20,57,99]"
    assert [tokenizer.decode([i]) for i in ids(tokenizer, box)] == list(box)
    pieces = [tokenizer.decode([i]) for i in ids(tokenizer, " 2024")]
    assert [p for p in pieces if p.strip()] in (["2", "0", "2", "4"], [" 2", "0", "2", "4"])
    assert not [t for t in tokenizer.get_vocab() if sum(c.isdigit() for c in t) > 1]


def test_answers_that_are_compared_are_short(tokenizer):
    """Options of closed questions are one token, so their probabilities are read off one step."""
    assert all(len(ids(tokenizer, f" {word}")) == 1 for word in ("yes", "no", *"ABCD", *"01234"))


def test_special_tokens_are_one_token_each(tokenizer):
    text = f"{USER}{IMAGE} Hi{END}{ASSISTANT} Hello{END}{PAD}"
    names = tokenizer.convert_ids_to_tokens(ids(tokenizer, text))
    assert [n for n in names if n in (USER, IMAGE, END, ASSISTANT, PAD)] == [USER, IMAGE, END, ASSISTANT, END, PAD]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.image_token) == (END, PAD, IMAGE)


def test_the_shipped_tokenizer_is_that_of_the_seed(tokenizer):
    assert len(tokenizer) == VOCABULARY
    assert shipped().backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_captions_end_in_the_token_that_is_pooled(tokenizer):
    captions = caption_tokenizer(tokenizer)
    coded = captions(["a bee", " a bee at the top left"], padding=True, return_tensors="pt")
    plain = ids(tokenizer, " a bee")
    assert coded["input_ids"][0, : len(plain) + 1].tolist() == [*plain, captions.eos_token_id]
    assert coded["input_ids"][1, -1] == captions.eos_token_id
    assert coded["attention_mask"].sum(1).tolist() == [len(plain) + 1, coded["input_ids"].shape[1]]


DIALOGUE = (Q.Turn("What is this?", "bee", "word"), Q.Turn("Where is it?", "[10,20,50,99]", "box"))


@pytest.fixture(scope="module")
def processor(tokenizer, tmp_path_factory):
    """As others get it: saved to a folder and loaded by ``AutoProcessor``."""
    folder = tmp_path_factory.mktemp("processor")
    build_processor(tokenizer).save_pretrained(folder)
    return AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize("turns", [DIALOGUE[:1], DIALOGUE])
@pytest.mark.parametrize("sees", [True, False])
def test_chat_template_writes_what_was_trained(tokenizer, processor, turns, sees):
    messages = []
    for i, turn in enumerate(turns):
        image = [{"type": "image", "image": Image.new("RGB", (448, 448))}] if sees and i == 0 else []
        messages.append({"role": "user", "content": [*image, {"type": "text", "text": turn.question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    coded = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    opening = [USER] + [IMAGE] * (IMAGE_TOKENS if sees else 0)
    trained = tokenizer.convert_tokens_to_ids(opening) + ids(tokenizer, Branch(turns, sees).text)
    assert coded["input_ids"][0].tolist() == trained

    prompt = processor.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert prompt.endswith(f"{END}{ASSISTANT}")
    whole = processor.apply_chat_template(messages, tokenize=False)
    assert whole == f"{prompt} {turns[-1].answer}{END}"


def test_pictures_are_resized_without_cropping(processor):
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (200, 0, 300, 100))
    values = processor.image_processor(wide, return_tensors="np")["pixel_values"]
    assert values.shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
    row = values[0, 0, IMAGE_SIZE // 2]
    assert np.allclose(row[: IMAGE_SIZE * 2 // 3 - 3], -1) and np.allclose(row[IMAGE_SIZE * 2 // 3 + 3 :], 1)
