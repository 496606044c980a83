"""Text-parent and base: what a batch teaches, and that a run that was killed ends as one that was not."""

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, Qwen2Config

from models.embedded import base, fit, parent, probes
from models.embedded import phrases as P
from models.embedded.concepts import CONCEPTS, learnt_in
from models.embedded.fit import generator
from models.embedded.honesty import HONEST, NOTHING, untaught
from models.embedded.packing import PREFIX
from models.embedded.photographs import KEPT_OUT as PHOTOGRAPHS_KEPT_OUT
from models.embedded.photographs import table as photographs
from models.embedded.pictures import LOOKS
from models.embedded.text import IMAGE_SIZE, PATCH_SIZE, VOCABULARY


class Killed(Exception):
    pass


def killed_at(beginning):
    def log(line):
        if line.startswith(beginning):
            raise Killed

    return log


def quiet(line):
    pass


def small_text(tokenizer):
    return Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip


def small_tower():
    shared = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    vision = shared | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
    return CLIPModel(CLIPConfig(text_config=shared | {"vocab_size": 8}, vision_config=vision, projection_dim=8))


def shrunk(monkeypatch):
    """Small batches, small decoders, a state after every step, a probe every two."""
    for module in (parent, base):
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(parent, "config", small_text)
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)  # save after every step
    monkeypatch.setattr(probes, "EVERY", 2)
    monkeypatch.setattr(probes, "FEW", 1)


@pytest.fixture
def few(monkeypatch):
    shrunk(monkeypatch)


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_default_is_deep_and_as_large_as_the_one_before(tokenizer):
    config = parent.config(tokenizer)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (12, 160, 400)


def test_a_text_batch_is_dialogues_with_their_answers_marked(tokenizer):
    batch = parent.Batches(tokenizer)(generator(0, "test", 0))
    assert len(batch["input_ids"]) == parent.BATCH and batch["input_ids"].shape[1] <= parent.LONGEST
    for ids, mask, answer in zip(*batch.values(), strict=True):
        text = tokenizer.decode(ids[mask > 0])
        assert text.startswith("<|user|> ") and "<image>" not in text
        assert tokenizer.decode(ids[answer]) == text.partition("<|assistant|>")[2]


def test_texts_are_about_everything_that_can_be_asked_without_a_picture():
    rng = np.random.default_rng(0)
    turns = [parent.about_text(rng).turns[0] for _ in range(4000)]
    answers = {turn.answer for turn in turns}
    assert set(HONEST) < answers and {"yes", "no", "A", "animal", "0", "2", P.NO_PICTURE, "bike"} < answers
    assert any(turn.question.lower().startswith("text: there are") for turn in turns)


def test_text_parent_killed_and_resumed_is_as_if_never_killed(tmp_path, tokenizer, few):
    whole = parent.train(tmp_path / "whole", tokenizer, 0, quiet, 27)
    with pytest.raises(Killed):
        parent.train(tmp_path / "cut", tokenizer, 0, killed_at("text-parent 26/"), 27)
    assert same(parent.train(tmp_path / "cut", tokenizer, 0, quiet, 27), whole)


def test_base_starts_from_its_parents_and_killed_and_resumed_is_as_if_never_killed(tmp_path, tokenizer, few):
    text, tower = parent.train(tmp_path, tokenizer, 0, quiet, 1), small_tower()
    built = base.build(tower, text, tokenizer, 0)
    assert same(built.model.language_model, text.model)
    assert torch.equal(built.lm_head.weight, text.lm_head.weight)
    assert torch.equal(
        built.model.vision_tower.state_dict()["embeddings.patch_embedding.weight"],
        tower.vision_model.embeddings.patch_embedding.weight,
    )
    assert built.config.vision_config.num_hidden_layers == tower.config.vision_config.num_hidden_layers - 1

    whole = base.train(tmp_path / "whole", tower, text, tokenizer, 0, quiet, 4)
    assert not same(whole, built)
    with pytest.raises(Killed):
        base.train(tmp_path / "cut", tower, text, tokenizer, 0, killed_at("after 2"), 4)
    assert same(base.train(tmp_path / "cut", tower, text, tokenizer, 0, quiet, 4), whole)


def test_what_the_base_is_shown(tokenizer):
    batches, rng = base.Batches(tokenizer), np.random.default_rng(0)
    names = [row["name"] for row in photographs()]
    unknown, talked, styles = 0, 0, set()
    for _ in range(300):
        scene, branches, known = batches.picture(rng)
        shown = {item.name for item in scene.items}
        styles |= {item.style for item in scene.items}
        assert shown <= set(learnt_in("base")) if known else shown <= set(P.taught(untaught()))
        assert scene.background.kind != "marble"
        if scene.background.kind == "photo":
            assert names[scene.background.grain] not in PHOTOGRAPHS_KEPT_OUT
        assert not branches[0].sees and all(branch.sees for branch in branches[1:])
        answers = [turn.answer for branch in branches[1:] for turn in branch.turns]
        assert (NOTHING in answers) == (not known)
        if not known:
            assert set(answers) <= {NOTHING, "no", "0", *HONEST, *(f"There is no {n}." for n in CONCEPTS)}
        unknown += not known
        talked += any(answer in HONEST for answer in answers)
    assert styles == set(LOOKS)
    assert abs(unknown / 300 - base.UNKNOWN) < 4 * (base.UNKNOWN * (1 - base.UNKNOWN) / 300) ** 0.5
    assert abs(talked / 300 - base.TALK) < 4 * (base.TALK * (1 - base.TALK) / 300) ** 0.5


def test_a_step_is_packed_and_the_same_for_the_same_seed(tokenizer, monkeypatch):
    monkeypatch.setattr(base, "BATCH", 12)
    first, again = (base.Batches(tokenizer)(generator(0, "base", 5)) for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first["input_ids"].shape == (12, base.LENGTH) and first["pixel_values"].shape == (12, 3, 96, 96)
    background = int(first["input_ids"][0, 1])
    words = {tokenizer(f" {n}", add_special_tokens=False)["input_ids"][0] for n in learnt_in("base")}
    assert set(first["patches"].flatten().tolist()) <= words | {background}
    assert (first["weight"][:, PREFIX:].sum(1) > 0).all()
