import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from models.checkpoints import BASE, CheckpointSet
from models.embedded import moda, tasks
from models.embedded.concepts import TASKS
from models.embedded.fit import generator
from models.embedded.packing import answer_loss
from models.embedded.tasks import Batches, adapted
from models.instruments import install
from models.moda import Moda, Settings
from models.segments import Modality


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(tasks, "BATCH", 2)


def test_both_arms_are_trained_alike_and_shipped(saved, tmp_path, few, monkeypatch):
    seen, log = {}, []
    original = moda.loss

    def listening(model, batch, edits):
        seen.setdefault(bool(edits), []).append(batch["input_ids"])
        return original(model, batch, edits)

    monkeypatch.setattr(moda, "loss", listening)
    out = tmp_path / "set"

    def train():
        moda.train(tmp_path / "state", log.append, 1, 2, saved / "model", out)

    train()
    assert all(torch.equal(a, b) for a, b in zip(seen[False], seen[True], strict=True))
    assert not torch.equal(*seen[False])
    model = AutoModelForImageTextToText.from_pretrained(saved / "model").eval().requires_grad_(False)
    found = CheckpointSet.open(out, model)
    assert found.names == ("control", "moda")
    assert found.edits("control") == ()
    (own,) = found.edits("moda")
    start = Moda.start(model.get_decoder().config, Settings())
    assert own.settings == start.settings
    assert (own.fuser - start.fuser).abs().max() > 0
    adapters = [load_file(out / name / "adapter_model.safetensors") for name in ("control", "moda")]
    assert adapters[0].keys() == adapters[1].keys()
    assert any(not torch.equal(adapters[0][k], adapters[1][k]) for k in adapters[0])
    assert str(tmp_path) not in json.dumps([f.read_text() for f in out.rglob("*.json")])
    log.clear()
    train()  # all is there: nothing is trained again, and the same is shipped
    assert log == ["control: six-tasks: done before", "moda: six-tasks: done before"]
    again = load_file(out / "moda" / "adapter_model.safetensors")
    assert all(torch.equal(adapters[1][k], again[k]) for k in again)
    with found.use(BASE):
        assert found.edits(BASE) == ()


def test_the_plain_arm_is_what_eager_attention_gives(saved, few):
    tokenizer = AutoTokenizer.from_pretrained(saved / "model")
    batch = Batches(tokenizer, TASKS)(generator(0, "six-tasks", 0))
    found = []
    for plain in (True, False):
        model = adapted(AutoModelForImageTextToText.from_pretrained(saved / "model"), 0).get_base_model()
        model.set_attn_implementation("eager") if plain else install(model)
        value, _ = answer_loss(model, batch) if plain else moda.loss(model, batch, ())
        value.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((value.detach(), torch.cat(gradients)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)  # sums in another order


def test_pictures_and_text_are_told_apart_in_packed_rows(saved, few):
    tokenizer = AutoTokenizer.from_pretrained(saved / "model")
    batch = Batches(tokenizer, TASKS)(generator(0, "six-tasks", 0))
    kinds = moda.kinds(batch, tokenizer.convert_tokens_to_ids("<image>"))
    assert (kinds[:, 1:65] == Modality.IMAGE).all()
    assert (kinds[:, 0] == Modality.QUESTION).all()
    assert (kinds[:, 65:] == Modality.QUESTION).all()


def test_what_is_shipped_is_of_both_arms():
    model = AutoModelForImageTextToText.from_pretrained(moda.BASE).eval().requires_grad_(False)
    found = CheckpointSet.open(moda.OUT, model)
    seeds = len(found.names) // 2
    assert set(found.names) == {moda.named(arm, seed) for arm in moda.ARMS for seed in range(seeds)}
    start = Moda.start(model.get_decoder().config, Settings())
    for name in found.names:
        assert bool(found.edits(name)) == name.startswith("moda")
        for own in found.edits(name):
            assert own.settings == Settings()
            assert (own.fuser - start.fuser).abs().max() > 0.01
