import json
import math
import threading

import numpy as np
import pytest
import torch

from models.checkpoints import Blend, CheckpointSet
from models.embedded.text import IMAGE_TOKENS
from models.errors import CheckpointError, InputError, ModelError, OutOfMemory
from models.mllm import MLLM, Scores, text_of
from models.segments import Grid, Modality

QUESTION = "What is at the top left?"


def spelled(mllm, encoded, modality):
    return mllm.tokenizer.decode(encoded.inputs["input_ids"][0][encoded.segments == modality])


@pytest.mark.parametrize("question", [QUESTION, "0", "a b", "<|end|>", "x <image> y", "¿Qué? 猫 🐝", "Answer: Answer:"])
def test_every_token_has_its_modality(mllm, picture, question):
    encoded = mllm.encode(picture, question)
    assert (encoded.segments == Modality.IMAGE).sum() == IMAGE_TOKENS
    assert encoded.grids == (Grid(1, 8, 8),)
    written = spelled(mllm, encoded, Modality.QUESTION).strip()
    assert written in (question, question.replace("<", "< "))
    control = spelled(mllm, encoded, Modality.INSTRUCTION)
    assert control.replace(" ", "") == "<|user|><|end|><|assistant|>"


def test_question_without_a_picture(mllm):
    encoded = mllm.encode(None, QUESTION)
    assert "pixel_values" not in encoded.inputs
    assert not (encoded.segments == Modality.IMAGE).any()
    assert text_of(list(mllm.generate(encoded, max_new_tokens=3))) is not None


def test_earlier_turns_are_read_and_are_not_the_question(mllm, picture):
    encoded = mllm.encode(picture, "And where?", history=[("What is it?", "bee")])
    assert spelled(mllm, encoded, Modality.QUESTION).strip() == "And where?"
    assert "bee" in mllm.tokenizer.decode(encoded.inputs["input_ids"][0])
    assert (encoded.segments == Modality.IMAGE).sum() == IMAGE_TOKENS


@pytest.mark.parametrize(("question", "told"), [("", "no question"), ("  \n", "no question"), ("x" * 4001, "4001")])
def test_questions_that_cannot_be_read(mllm, picture, question, told):
    with pytest.raises(InputError, match=told):
        mllm.encode(picture, question)


@pytest.mark.parametrize("checkpoint", ["base", "naming"])
def test_greedy_equals_transformers_generate(mllm, picture, checkpoint):
    encoded = mllm.encode(picture, QUESTION)
    steps = list(mllm.generate(encoded, checkpoint, max_new_tokens=12))
    with mllm.checkpoints.use(checkpoint), torch.inference_mode():
        wanted = mllm.model.generate(**encoded.inputs, do_sample=False, max_new_tokens=12)[0, encoded.length :]
    wanted = [t for t in wanted.tolist() if t not in mllm.generator.ends]
    assert [s.token_id for s in steps] == wanted
    assert len(steps) > 1


def test_a_step_tells_its_probability_and_its_rivals(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    step = next(mllm.generate(encoded))
    with mllm.checkpoints.use("base"), torch.inference_mode():
        logprobs = mllm.model(**encoded.inputs).logits[0, -1].log_softmax(-1)
    assert step.logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
    assert step.top[0][0] == step.token
    assert math.exp(step.logprob) == pytest.approx(step.top[0][1], abs=1e-4)
    chances = [p for _, p in step.top]
    assert chances == sorted(chances, reverse=True)
    assert len(chances) == 5


def test_checkpoints_differ_and_the_mixed_batch_equals_each_alone(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    names = mllm.checkpoint_names
    assert names == ("base", "naming", "counting")
    alone = {n: [s.token_id for s in mllm.generate(encoded, n, 8)] for n in names}
    assert len({tuple(v) for v in alone.values()}) == 3
    mixed = mllm.generate_each(encoded, names, 8)
    assert {n: [s.token_id for s in steps] for n, steps in mixed.items()} == alone


def test_checkpoints_that_cannot_share_a_batch_answer_one_by_one(mllm, picture, monkeypatch):
    encoded, names = mllm.encode(picture, QUESTION), mllm.checkpoint_names
    wanted = {n: [s.token_id for s in mllm.generate(encoded, n, 5)] for n in names}
    mixed, batches = mllm.checkpoints.mixed, []
    monkeypatch.setattr(mllm.checkpoints, "mixed", lambda rows: batches.append(list(rows)) or mixed(rows))
    monkeypatch.setattr(CheckpointSet, "batchable", ("base", "counting"))
    found = mllm.generate_each(encoded, names, 5)
    assert list(found) == list(names)
    assert {n: [s.token_id for s in steps] for n, steps in found.items()} == wanted
    assert batches and all(rows == ["base", "counting"] for rows in batches)


def test_a_point_between_checkpoints_answers_as_a_checkpoint(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    ends = [mllm.score(encoded, ["a", "bee"], n).logprob for n in ("naming", "counting")]
    at = [mllm.score(encoded, ["a", "bee"], Blend("naming", "counting", a)).logprob for a in (0, 0.5, 1)]
    assert np.array_equal(at[0], ends[0]) and np.array_equal(at[2], ends[1])
    assert not np.allclose(at[1], ends[0]) and not np.allclose(at[1], ends[1])


def test_a_point_between_checkpoints_is_a_text_in_what_is_recorded(mllm):
    told = mllm.provenance(Blend("naming", "counting", 0.25))
    assert json.loads(json.dumps(told))["checkpoint"] == "naming + 0.25 * (counting - naming)"


def test_a_mixed_batch_reads_no_modules_that_may_change_meanwhile(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, QUESTION)
    monkeypatch.setattr(mllm.model, "modules", lambda: pytest.fail("adapters may go into the model just now"))
    assert len(mllm.generate_each(encoded, mllm.checkpoint_names, 2)) == 3


def test_embeddings_are_what_the_decoder_reads(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    found = mllm.embeddings(encoded, "naming")
    text = encoded.segments != Modality.IMAGE
    table = mllm.model.get_input_embeddings().weight
    assert torch.equal(found[text], table[encoded.inputs["input_ids"][0, text]])
    assert found.shape == (encoded.length, mllm.encoder.width)
    assert not mllm.model.get_decoder()._forward_pre_hooks


def test_many_prompts_are_answered_as_one_by_one(mllm, picture):
    prompts = [mllm.encode(picture if i % 2 else None, "What" + " is" * i + " it?") for i in range(6)]
    together = mllm.answers(prompts, "naming", 6, batch=2)
    assert together == [text_of(list(mllm.generate(p, "naming", 6))) for p in prompts]


@pytest.fixture
def batches(mllm, monkeypatch):
    """How many answers were written at once, batch by batch."""
    steps, seen = mllm.generator.steps, []
    monkeypatch.setattr(
        mllm.generator, "steps", lambda a, *args, **more: seen.append(len(a)) or steps(a, *args, **more)
    )
    return seen


def test_long_prompts_make_small_batches(mllm, picture, monkeypatch, batches):
    encoded = mllm.encode(picture, QUESTION)
    wanted = mllm.answers([encoded] * 7, "naming", 4)
    monkeypatch.setattr("models.batches.TOKENS", 3 * (encoded.length + 4))
    assert mllm.answers([encoded] * 7, "naming", 4) == wanted
    monkeypatch.setattr("models.batches.TOKENS", 1)
    assert mllm.answers([encoded] * 2, "naming", 4) == wanted[:2]
    assert batches == [7, 3, 3, 1, 1, 1]


def test_a_batch_that_does_not_fit_is_halved(mllm, picture, monkeypatch, batches):
    encoded = mllm.encode(picture, QUESTION)
    wanted = mllm.answers([encoded] * 5, "naming", 4)
    steps, room = mllm.generator.steps, 2

    def short(answers, *args, **more):
        yield from steps(answers, *args, **more)
        if len(answers) > room:
            raise OutOfMemory("full")

    monkeypatch.setattr(mllm.generator, "steps", short)
    assert mllm.answers([encoded] * 5, "naming", 4) == wanted
    assert batches == [5, 5, 2, 2, 1]
    room = 0
    with pytest.raises(ModelError, match="full"):
        mllm.answers([encoded] * 5, "naming", 4)
    assert batches[-3:] == [5, 2, 1]


def test_score_equals_the_plain_forward(mllm, picture):
    encoded, choices = mllm.encode(picture, QUESTION), ("bee", "a red apple, I think", "7")
    scores = mllm.score(encoded, choices, "counting")
    for choice, given, count in zip(choices, scores.logprob, scores.tokens, strict=True):
        tail = mllm.tokenizer(" " + choice, add_special_tokens=False, return_tensors="pt")["input_ids"]
        ids = torch.cat([encoded.inputs["input_ids"], tail], dim=1)
        inputs = {**encoded.inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with mllm.checkpoints.use("counting"), torch.inference_mode():
            logprobs = mllm.model(**inputs).logits[0].log_softmax(-1)
        wanted = logprobs[encoded.length - 1 : -1].gather(1, tail[0][:, None]).sum()
        assert given == pytest.approx(float(wanted), abs=1e-3)
        assert count == tail.shape[1]


def test_probabilities_of_choices():
    scores = Scores(("a", "b"), np.log([0.3, 0.1]), np.array([1, 2]))
    assert scores.probability == pytest.approx([0.75, 0.25])
    assert scores.per_token == pytest.approx([math.log(0.3), math.log(0.1) / 2])


@pytest.mark.parametrize("choices", [[], ["a", " "]])
def test_empty_choices_are_refused(mllm, choices):
    with pytest.raises(InputError):
        mllm.score(mllm.encode(None, QUESTION), choices)


def test_unknown_checkpoint_is_named(mllm):
    with pytest.raises(CheckpointError, match=r"no checkpoint 'painting'.*naming"):
        next(mllm.generate(mllm.encode(None, QUESTION), "painting"))


def test_a_model_without_checkpoints(saved):
    bare = MLLM.open(saved / "model", device="cpu")
    assert bare.checkpoint_names == ("base",)
    encoded = bare.encode(None, QUESTION)
    assert list(bare.generate_each(encoded, ["base"], 3)) == ["base"]
    with pytest.raises(ModelError, match="no checkpoint set"):
        next(bare.generate(encoded, "naming"))


def test_the_base_is_the_model_without_adapters(mllm, saved, picture):
    bare, encoded = MLLM.open(saved / "model", device="cpu"), mllm.encode(picture, QUESTION)
    choices = ["bee", "two"]
    assert mllm.score(encoded, choices).logprob == pytest.approx(bare.score(encoded, choices).logprob, abs=1e-6)


def test_an_abandoned_answer_blocks_nobody(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    abandoned = mllm.generate(encoded, "naming")
    next(abandoned)
    other: list[str] = []
    thread = threading.Thread(target=lambda: other.extend(mllm.answers([encoded], "counting", 2)), daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert other


def test_two_visitors_on_two_checkpoints_never_mix(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    wanted = {n: [s.token_id for s in mllm.generate(encoded, n, 6)] for n in ("naming", "counting")}
    found: dict[str, list] = {"naming": [], "counting": []}

    def visit(name):
        for _ in range(6):
            found[name].append([s.token_id for s in mllm.generate(encoded, name, 6)])

    threads = [threading.Thread(target=visit, args=(n,)) for n in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [tokens] * 6 for n, tokens in wanted.items()}


@pytest.mark.parametrize("source", ["/nowhere/at/all", "no-such-owner/no-such-model"])
def test_what_is_not_a_model_is_named(source):
    with pytest.raises(ModelError, match="cannot be opened"):
        MLLM.open(source, device="cpu")


def test_pickled_weights_are_not_opened(saved, tmp_path):
    import shutil

    folder = shutil.copytree(saved / "model", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError):
        MLLM.open(folder, device="cpu")
