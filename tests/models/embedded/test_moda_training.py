"""MODA's training: the base's own but for the attention; what ships of it opens, and its control is what it says."""

import copy
import json
import math
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from models.attention import EDITOR
from models.checkpoints import BASE, CheckpointSet
from models.embedded import TRAINING, base, moda, parent, probes
from models.embedded.fit import device, generator, to
from models.manifest import Manifest
from models.moda import Moda, Settings
from models.segments import Modality
from tests.models.embedded.test_base import Killed, killed_at, quiet, shrunk, small_tower


@pytest.fixture
def start(monkeypatch, tmp_path, tokenizer):
    """Small recipes of two steps; tower, ``text-parent`` and tokenizer to start from."""
    shrunk(monkeypatch)
    monkeypatch.setattr(base, "STEPS", 2)
    return small_tower(), parent.train(tmp_path / "text", tokenizer, 0, quiet, 1), tokenizer


@pytest.fixture
def shipped(start, tmp_path):
    """The base, trained with its state in ``state``, as it ships."""
    model = base.train(tmp_path / "state", *start, 0, quiet, 2)
    copy.deepcopy(model).half().save_pretrained(tmp_path / "shipped")
    (tmp_path / "shipped" / TRAINING).write_text(json.dumps({"seed": 0, "steps": 2}))
    return tmp_path / "shipped"


def weights(folder):
    return load_file(folder / "moda" / "model.safetensors") | load_file(folder / "moda" / "moda.safetensors")


def test_moda_is_the_bases_training_with_another_attention_and_ships(start, shipped, tmp_path, monkeypatch):
    out, seen, original = tmp_path / "set", [], (base.answer_loss, probes.answered)

    def listening(model, batch, head):
        seen.append((batch["input_ids"], EDITOR.get() is not None, model.box_head.weight.detach().clone()))
        return original[0](model, batch, head)

    def probed(model, batch):
        asked.append(EDITOR.get() is not None)
        return original[1](model, batch)

    def train(state="state", log=quiet):
        moda.train(tmp_path / state, *start, 0, log, None, shipped, out)

    monkeypatch.setattr(base, "answer_loss", listening)
    monkeypatch.setattr(probes, "answered", probed)
    asked = []
    base.train(tmp_path / "again", *start, 0, quiet, 2)
    assert asked and not any(asked)
    asked = []
    train()
    assert asked and all(asked)  # on the way it is asked as it is trained
    plain, own = seen[:2], seen[2:]
    assert len(own) == 2 and all(torch.equal(a[0], b[0]) for a, b in zip(plain, own, strict=True))
    assert torch.equal(plain[0][2], own[0][2])  # what is random at the start is as in the base
    assert [edited for _, edited, _ in seen] == [False, False, True, True]

    model = AutoModelForImageTextToText.from_pretrained(shipped, dtype=torch.float32).eval().requires_grad_(False)
    found = CheckpointSet.open(out, model)
    assert found.names == ("moda",) and found.manifest.recipe["control"] == BASE
    assert found.manifest.recipe["steps"] == 2 and "2 steps" in found.manifest.recipe["about"]
    (fuser,) = found.edits("moda")
    begun = Moda.start(model.get_decoder().config, Settings())
    assert fuser.settings == begun.settings and (fuser.fuser - begun.fuser).abs().max() > 0
    assert found.edits(BASE) == ()
    assert sorted(f.name for f in (out / "moda").iterdir()) == ["moda.safetensors", "model.safetensors"]
    assert str(tmp_path) not in (out / "checkpoints.json").read_text()
    first, lines = weights(out), []
    train(log=lines.append)
    assert lines == ["moda: base: done before"]
    assert all(torch.equal(first[k], v) for k, v in weights(out).items())

    # killed after it had saved a state, and started again
    (tmp_path / "state" / "moda" / "moda" / "base.safetensors").unlink()
    monkeypatch.setattr(probes, "EVERY", 1)
    with pytest.raises(Killed):
        train(log=killed_at("moda: base 1/"))
    with pytest.raises(Killed):
        train(log=killed_at("moda: after 2"))
    del seen[:]
    train()
    assert len(seen) == 1  # the first step was not taken again
    assert all(torch.equal(first[k], v) for k, v in weights(out).items())


def test_a_base_of_another_training_is_no_control(start, shipped, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    for told in ({"seed": 1, "steps": 2}, {"seed": 0, "steps": 3}, None):
        (shipped / TRAINING).write_text(json.dumps(told)) if told else (shipped / TRAINING).unlink()
        with pytest.raises(ValueError, match="it is no control of MODA's. Train the base first"):
            moda.train(elsewhere, *start, 0, quiet, None, shipped, tmp_path / "set")

    # with steps of its own MODA has a control of its own, trained as long
    lines = []
    moda.train(elsewhere, *start, 0, lines.append, 1, shipped, tmp_path / "set")
    made = Manifest.load(tmp_path / "set")
    assert [c.name for c in made.checkpoints] == ["control", "moda"]
    assert (made.recipe["control"], made.recipe["steps"]) == ("control", 1)
    assert [bool(c.attention) for c in made.checkpoints] == [False, True]
    assert [line.split()[:3] for line in lines] == [["control:", "base", "1/1"], ["moda:", "base", "1/1"]]


def test_without_alignment_and_drain_it_is_what_eager_attention_gives(start, tmp_path, monkeypatch):
    tower, text, tokenizer = start
    batch = to(base.Batches(tokenizer)(generator(0, "base", 0)), device())
    monkeypatch.setattr(moda, "Settings", lambda: Settings(p_base=-math.inf))
    found = []
    for attention in (None, moda.duplex):
        model = base.build(tower, text, tokenizer, 0).to(device())
        model.set_attn_implementation("eager")
        model.box_head = torch.nn.Linear(16, 4)
        torch.nn.init.constant_(model.box_head.weight, 0.1)
        torch.nn.init.zeros_(model.box_head.bias)
        groups, within = attention(model) if attention else ([], nullcontext)
        with within(batch):
            value, _ = base.answer_loss(model, batch, model.box_head)
        value.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        fuser = gradients.pop("moda.fuser", None)
        found.append((value.detach(), torch.cat([gradient.flatten() for gradient in gradients.values()])))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)  # sums in another order
    (parameters, peak, decay), = groups
    assert list(parameters) == [model.moda.fuser] and peak == moda.FUSER_PEAK and decay == 0
    assert fuser.abs().sum() > 0


def test_pictures_and_text_are_told_apart_in_packed_rows(tokenizer, monkeypatch):
    monkeypatch.setattr(base, "BATCH", 2)
    batch = base.Batches(tokenizer)(generator(0, "base", 0))
    kinds = moda.kinds(batch, tokenizer.convert_tokens_to_ids("<image>"))
    assert (kinds[:, 1:65] == Modality.IMAGE).all()
    assert (kinds[:, 0] == Modality.QUESTION).all()
    assert (kinds[:, 65:] == Modality.QUESTION).all()


def test_what_is_shipped_is_of_both_arms():
    model = AutoModelForImageTextToText.from_pretrained(moda.SHIPPED).eval().requires_grad_(False)
    found = CheckpointSet.open(moda.OUT, model)
    made = found.manifest.recipe
    named = {f"{arm}-{seed}" if seed else arm for arm in ("control", "moda") for seed in range(made["seeds"])}
    assert set(found.names) == named - ({"control"} if made["control"] == BASE else set())
    assert made["layers"] == model.config.text_config.num_hidden_layers and made["about"] and made["how"]
    start = Moda.start(model.get_decoder().config, Settings())
    for name in found.names:
        assert bool(found.edits(name)) == name.startswith("moda")
        for own in found.edits(name):
            assert own.settings == Settings()
            assert (own.fuser - start.fuser).abs().max() > 0.01
