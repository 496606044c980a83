import copy

import pytest
import torch

from models.encoding import Encoder
from models.errors import InputError, ModelError
from models.processors import open_processor
from models.segments import Modality

QUESTION = "What is at the top left?"
PLAIN_STRINGS = (
    "{% for message in messages %}{{ '[' + message['role'] + '] ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


@pytest.fixture
def mllm(opened, family):
    return opened(family)


def spelled(encoded, *kinds) -> str:
    chosen = sum((encoded.segments == kind for kind in kinds), torch.zeros_like(encoded.segments)).bool()
    return encoded.encoder.tokenizer.decode(encoded.inputs["input_ids"][0][chosen])


@pytest.mark.parametrize("question", [QUESTION, "0", "a b", "00 0", "User: Assistant: user\nmodel", "🐝", "[/INST] x"])
def test_the_question_is_marked_exactly(mllm, picture, question):
    encoded = mllm.encode(picture, question)
    assert spelled(encoded, Modality.QUESTION).strip() == question
    places = (encoded.segments == Modality.QUESTION).nonzero()[:, 0].tolist()
    assert places == list(range(places[0], places[-1] + 1))


def test_nobody_writes_control_tokens(mllm, picture):
    tokens = [t for t in mllm.tokenizer.added_tokens_decoder.values() if t.special]
    written = " ".join(t.content for t in tokens) + " why?"
    encoded, plain = mllm.encode(picture, written), mllm.encode(picture, "why?")
    ids = {t.content: mllm.tokenizer.convert_tokens_to_ids(t.content) for t in tokens}
    assert len(ids) > 3
    for name, token in ids.items():
        counts = [int((e.inputs["input_ids"] == token).sum()) for e in (encoded, plain)]
        assert counts[0] == counts[1], name
    assert (
        spelled(encoded, Modality.QUESTION).strip()
        == " ".join(t.content[:1] + " " + t.content[1:] for t in tokens) + " why?"
    )


def test_earlier_turns_are_read_and_are_not_the_question(mllm, picture):
    encoded = mllm.encode(picture, "And where?", history=[("What is it?", "bee"), ("And where?", "left")])
    assert spelled(encoded, Modality.QUESTION).strip() == "And where?"
    rest = spelled(encoded, Modality.INSTRUCTION)
    assert rest.index("What is it?") < rest.index("bee") < rest.index("And where?") < rest.index("left")
    alone = mllm.encode(picture, "And where?")
    assert (encoded.segments == Modality.IMAGE).sum() == (alone.segments == Modality.IMAGE).sum()


def test_a_question_without_a_picture(mllm, picture, family):
    encoded = mllm.encode(None, QUESTION)
    assert "pixel_values" not in encoded.inputs and encoded.grids == ()
    assert not (encoded.segments == Modality.IMAGE).any()
    assert spelled(encoded, Modality.QUESTION).strip() == QUESTION
    with torch.inference_mode():
        own = mllm.model(**encoded.inputs).logits
        mine = mllm.model(**encoded.inputs, position_ids=encoded.positions).logits
    assert torch.allclose(own, mine, atol=1e-5)
    seen = mllm.encode(picture, QUESTION)
    assert seen.prompt.endswith(encoded.prompt[-len(QUESTION) :])


@pytest.mark.parametrize(("question", "told"), [("", "no question"), ("  \n", "no question"), ("x" * 4001, "4001")])
def test_questions_that_cannot_be_read(mllm, picture, question, told):
    with pytest.raises(InputError, match=told):
        mllm.encode(picture, question)


def test_an_answer_continues_the_prompt(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    tokens = mllm.encoder.continuation(encoded, "a red apple <|im_end|>")
    assert mllm.tokenizer.decode(tokens).strip().replace("< |", "<|") == "a red apple <|im_end|>"
    assert not set(tokens) & mllm.generator.ends


def test_system_prompts_of_templates_are_instructions(opened, picture):
    encoded = opened("qwen2_5_vl").encode(picture, QUESTION)
    assert "You are a helpful assistant." in spelled(encoded, Modality.INSTRUCTION)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "paligemma2"])
@pytest.mark.parametrize("shown", [True, False])
def test_a_prompt_followed_by_an_answer_goes_on_as_the_answer_does(opened, picture, family, shown):
    mllm = opened(family)
    encoded = mllm.encode(picture if shown else None, "What is it?")
    ids = mllm.encoder.continuation(encoded, "a red apple")
    logprobs = [mllm.forward([encoded.followed(ids[:n])]).logits[0].log_softmax(-1)[ids[n]] for n in range(len(ids))]
    assert float(sum(logprobs)) == pytest.approx(mllm.score(encoded, ["a red apple"]).logprob[0], abs=2e-3)
    longer = encoded.with_embedding_noise(torch.ones(encoded.length, mllm.encoder.width)).followed(ids)
    assert longer.length == len(longer.segments) == longer.positions.shape[-1] == len(longer.noise)
    assert longer.segments[-len(ids) :].tolist() == [Modality.ANSWER] * len(ids)
    assert not longer.noise[-len(ids) :].any()
    assert longer.next_position == encoded.next_position + len(ids)
    assert encoded.followed([]) is encoded


def test_what_paligemma_reads_is_what_its_processor_writes(opened, picture):
    mllm = opened("paligemma2")
    seen, blind = mllm.encode(picture, QUESTION), mllm.encode(None, QUESTION)
    assert spelled(seen, Modality.QUESTION, Modality.INSTRUCTION) == f"<bos>{QUESTION}\n"
    assert spelled(blind, Modality.QUESTION, Modality.INSTRUCTION) == f"<bos>{QUESTION}\n"
    assert "labels" not in seen.inputs
    assert set(seen.inputs) - {"pixel_values"} == set(blind.inputs)


def with_template(mllm, template, tokenizer_template=None) -> Encoder:
    processor = copy.copy(mllm.processor)
    processor.tokenizer = copy.copy(mllm.tokenizer)
    processor.chat_template, processor.tokenizer.chat_template = template, tokenizer_template
    return Encoder(processor, mllm.model)


@pytest.mark.parametrize("where", ["processor", "tokenizer"])
def test_templates_of_plain_strings(opened, picture, where):
    given = (PLAIN_STRINGS, None) if where == "processor" else (None, PLAIN_STRINGS)
    encoder = with_template(opened("llava"), *given)
    encoded = encoder.encode(picture, "And where?", history=[("What is it?", "bee")])
    assert encoded.prompt == "[user] <image>\nWhat is it?\n[assistant] bee\n[user] And where?\n[assistant]"
    assert spelled(encoded, Modality.QUESTION).strip() == "And where?"
    assert len(encoded.grids) == 1
    alone = encoder.encode(picture, "0")
    assert spelled(alone, Modality.QUESTION).strip() == "0"
    assert encoder.tokenizer.decode(encoder.continuation(alone, "bee")) == " bee"


def test_no_template_at_all(opened, picture):
    encoded = with_template(opened("llava"), None).encode(picture, "And where?", history=[("What is it?", "bee")])
    assert encoded.prompt == "<image>\nWhat is it?\nbee\nAnd where?\n"
    assert spelled(encoded, Modality.QUESTION).strip() == "And where?"


@pytest.mark.parametrize(
    ("template", "told"),
    [("{{ raise_exception('only for tools') }}", "only for tools"), ("{{ messages[0]['role'] }}", "leaves out")],
)
def test_templates_that_cannot_be_used_say_why(opened, template, told):
    with pytest.raises(ModelError, match=f"chat template of this llava model.*{told}"):
        with_template(opened("llava"), template)


def test_tokens_after_a_prompt_are_those_of_the_whole_text(opened, zoo, picture):
    """A tokenizer that begins every text with a space, as SentencePiece ones do, must not add one to an answer."""
    mllm = opened("llava")
    from tokenizers import normalizers

    processor = open_processor(zoo("llava"))
    processor.tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("▁")
    encoder = Encoder(processor, mllm.model)
    encoded = encoder.encode(picture, QUESTION)
    tokens = encoder.continuation(encoded, "bee")
    assert encoder.tokenizer.decode(tokens) == " bee"
    assert encoder.tokenizer.decode(encoder.tokenizer(" bee", add_special_tokens=False)["input_ids"]) != " bee"
