"""Phases of the dual encoder: Mod-X's term by hand, what replay keeps, and a whole run on a tiny model."""

from html import escape

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from analysis.embedding_space.lost import LOST
from models.dual_encoder import DualEncoder
from models.embedded import fit
from models.embedded import phases as P
from models.embedded.pictures import table
from models.embedded.text import IMAGE_SIZE, PATCH_SIZE, VOCABULARY, build_image_processor, caption_tokenizer
from models.manifest import Manifest


def test_every_drawing_is_in_one_domain():
    names = [name for domain in P.DOMAINS for name in P.names_of(domain)]
    assert len(names) == len(set(names)) == len({row["name"] for row in table()})
    assert all(len(P.names_of(phase)) >= P.BATCH for phase in P.PHASES)


def test_mod_x_equals_its_formula_on_three_pairs():
    # the second picture is wrong, and so are the first and the third text: their rows are replaced
    old = torch.tensor([[0.6, 0.1, 0.0], [0.7, 0.5, 0.8], [0.1, 0.0, 0.7]])
    new = torch.tensor([[0.6, 0.5, 0.1], [0.0, 0.3, 0.8], [0.2, 0.1, 0.9]])
    scale = 5.0

    def row(olds, news):
        p, q = (np.exp(scale * np.array(side)) / np.exp(scale * np.array(side)).sum() for side in (olds, news))
        return float((p * np.log(p / q)).sum())

    images = (row([0.6, 0.1, 0.0], [0.6, 0.5, 0.1]) + 0.0 + row([0.1, 0.0, 0.7], [0.2, 0.1, 0.9])) / 3
    texts = (0.0 + row([0.1, 0.5, 0.0], [0.5, 0.3, 0.1]) + 0.0) / 3
    assert abs(images - texts) > 0.01
    found = P.distillation(old, new, torch.tensor(scale))
    assert float(found) == pytest.approx((images + texts) / 2, abs=1e-6)
    swapped = P.distillation(old.T, new.T, torch.tensor(scale))  # which tower is called the image's does not matter
    assert float(swapped) == pytest.approx(float(found), abs=1e-7)


def test_mod_x_is_zero_where_nothing_changed_and_pulls_the_new_side_alone():
    same = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) + torch.eye(4)
    assert float(P.distillation(same, same, torch.tensor(10.0))) == pytest.approx(0, abs=1e-6)
    old, new = same.clone().requires_grad_(True), (same + 0.1 * torch.eye(4).flip(0)).requires_grad_(True)
    P.distillation(old, new, torch.tensor(10.0)).backward()
    assert old.grad is None and new.grad.abs().sum() > 0
    tied = torch.full((3, 3), 0.5, requires_grad=True)
    assert float(P.distillation(torch.ones(3, 3), tied, torch.tensor(10.0))) == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="module")
def words(tokenizer):
    return caption_tokenizer(tokenizer)


def test_replay_mixes_old_pairs_in_and_no_others(words):
    kept = P.buffer(0, ("broad", "animals"))
    assert kept == P.buffer(0, ("broad", "animals")) and len(kept) == 2 * P.BUFFER
    batches = P.Batches(words, ["food"], kept)
    batch = batches(np.random.default_rng(0))
    texts = [t.strip() for t in words.batch_decode(batch["input_ids"], skip_special_tokens=True)]
    assert len(set(texts)) == len(texts) == P.BATCH
    old = {name for name, _ in kept}
    assert sum(t in old for t in texts) == P.REPLAYED
    assert {t for t in texts if t not in old} <= set(P.names_of("food"))


def test_phases_go_on_from_each_other_and_open_as_checkpoints(words, tmp_path, monkeypatch):
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = shape | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
    text = shape | {"vocab_size": VOCABULARY, "eos_token_id": words.eos_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    clip.save_pretrained(tmp_path / "clip")
    words.save_pretrained(tmp_path / "clip")
    build_image_processor().save_pretrained(tmp_path / "clip")
    monkeypatch.setattr(P, "PHASES", ("food", "symbols"))
    log: list[str] = []
    P.train(tmp_path / "state", clip, words, 0, log=log.append, steps=1)
    P.write(tmp_path / "state", tmp_path / "sets", steps=1)
    pictures = [P._scene(np.random.default_rng(i), "bee").render(96) for i in range(2)]
    for method in P.METHODS:
        opened = DualEncoder.open(tmp_path / "clip", phases=tmp_path / "sets" / method)
        assert len(opened.phase_names) == (2 if method == "joint" else 3)
        made = Manifest.load(tmp_path / "sets" / method).recipe
        assert made["steps"] == (2 if method == "joint" else 1) and ("alpha" in made["settings"]) == (method == "mod-x")
        assert ("both directions" in made.get("about", "")) == (method == "mod-x")
        seen = opened.images(pictures, opened.phase_names)
        assert all(np.abs(a - b).max() > 1e-6 for a, b in zip(seen, seen[1:], strict=False))
        assert np.allclose(np.linalg.norm(seen, axis=-1), 1, atol=1e-5)
    log.clear()
    P.train(tmp_path / "state", clip, words, 0, log=log.append, steps=1)
    assert len(log) == 7 and all("done before" in line for line in log)

    # Mod-X killed in the second phase and started again: the model before it is the one that it was
    monkeypatch.setattr(P, "BATCH", 6)
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)  # a state after every step
    calls, original = [], P.distillation

    def killed(*matrices):
        calls.append(matrices[0])
        if len(calls) == 8:  # four of the whole run, two of the first phase, one of the second
            raise InterruptedError
        return original(*matrices)

    monkeypatch.setattr(P, "distillation", killed)
    P.train(tmp_path / "whole", clip, words, 0, ["mod-x"], log.append, 2)
    with pytest.raises(InterruptedError):
        P.train(tmp_path / "cut", clip, words, 0, ["mod-x"], log.append, 2)
    P.train(tmp_path / "cut", clip, words, 0, ["mod-x"], log.append, 2)
    assert len(calls) == 9 and torch.equal(calls[8], calls[3])
    for phase in ("food", "symbols"):
        one, other = (
            load_file(tmp_path / state / "phases" / f"mod-x-{phase}" / "adapter_model.safetensors")
            for state in ("whole", "cut")
        )
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_is_told_of_mod_x_is_what_was_written_down_with_what_ships():
    made = Manifest.load(P.SET / "mod-x").recipe
    assert ("both directions" in made["about"]) == (len(made["settings"]["directions"]) == 2)
    assert P.told("mod-x") == made["about"] and escape(made["about"]) in LOST.reading
