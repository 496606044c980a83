"""Fingerprints: the same for the same contents, another for others."""

import os
import shutil
from types import SimpleNamespace

import pytest
from transformers import BitsAndBytesConfig

from models import fingerprint
from models.checkpoints import Blend, Merge, Patch
from models.errors import CheckpointError
from models.evalset import EvalItem
from models.manifest import Checkpoint, Manifest
from models.mllm import MLLM


@pytest.fixture(scope="module")
def opened(saved):
    return MLLM.open(saved / "model", checkpoints=saved / "set")


def test_checkpoints_differ_and_copies_do_not(opened, saved, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    os.utime(copy / "model" / "model.safetensors", (1, 1))
    again = MLLM.open(copy / "model", checkpoints=copy / "set")
    names = opened.checkpoint_names
    found = [fingerprint.of(opened, name) for name in names]
    assert len(set(found)) == len(names)
    assert found == [fingerprint.of(again, name) for name in names]
    mixtures = (
        *(Blend(*names[:2], alpha) for alpha in (0.25, 0.5)), Merge(((names[1], 0.5),)), Merge(((names[1], 0.25),)),
        Merge(((names[1], 0.5), (names[2], 0.5))), Patch(*names[:2], ("*.q_proj",)), Patch(*names[:2], ("*.v_proj",)),
        Patch(names[1], names[0], ("*.q_proj",)),
    )  # fmt: skip
    mixed = [fingerprint.of(opened, mixture) for mixture in mixtures]
    assert len({*found, *mixed}) == len(found) + len(mixtures)
    assert mixed == [fingerprint.of(again, mixture) for mixture in mixtures]


def test_bits_and_type_of_weights_tell_models_apart(opened, saved, monkeypatch):
    whole = fingerprint.of(opened, "naming")
    monkeypatch.setattr(
        opened.model.config, "quantization_config", BitsAndBytesConfig(load_in_4bit=True), raising=False
    )
    four = fingerprint.of(opened, "naming")
    assert opened.provenance("naming")["bits"] == 4
    monkeypatch.setattr(opened.model.config, "quantization_config", {"quant_method": "gptq", "bits": 8})
    assert opened.provenance("naming")["bits"] == 8
    half = Blend("base", "naming", 0.5)
    found = {whole, four, fingerprint.of(opened, "naming"), fingerprint.of(opened, half)}
    monkeypatch.undo()
    assert opened.provenance("naming")["bits"] is None
    assert len(found) == 4 and fingerprint.of(opened, half) not in found

    def unopened(dtype="float32", bits=None):
        manifest = Manifest.load(saved / "set")
        return fingerprint.of(fingerprint.Unopened("any", str(saved / "model"), dtype, bits, manifest), "naming")

    assert (unopened(), unopened(bits=4)) == (whole, four) and unopened("float16") not in (whole, four)


def test_a_checkpoints_own_attention_is_part_of_it(tmp_path):
    """A checkpoint of MODA, whose fuser stands in a file beside its adapter."""
    files = [tmp_path / name for name in ("adapter.safetensors", "attention.safetensors", "other.safetensors")]
    for file in files:
        file.write_bytes(file.name.encode())
    adapter, attention, other = files

    def of(**parts):
        checkpoint = Checkpoint("moda", "moda", **{"adapters": (), "eval": None, **parts})
        manifest = SimpleNamespace(checkpoints=(checkpoint,))
        return fingerprint.of(fingerprint.Unopened("any", "a/model", "float32", None, manifest), "moda")

    plain, fused = of(adapters=(adapter,)), of(adapters=(adapter,), attention=attention)
    full = of(weights=adapter)
    others = of(adapters=(adapter,), attention=other), of(adapters=(attention,)), of(weights=other)
    assert len({plain, fused, *others}) == 5
    assert full == plain  # the same tensors in a file of the same name
    attention.write_bytes(b"trained longer")
    assert of(adapters=(adapter,), attention=attention) != fused and of(adapters=(adapter,)) == plain
    assert of(adapters=(adapter, other)) not in (plain, of(adapters=(other, adapter)))


def test_unknown_checkpoints_are_told(opened):
    with pytest.raises(CheckpointError, match="no checkpoint 'nobody'. There are: base, naming"):
        fingerprint.of(opened, "nobody")
    alone = fingerprint.Unopened("any", "a/model", "float32", None, None)
    assert fingerprint.of(alone) == "a/model@unknown:float32"
    with pytest.raises(CheckpointError, match="There are: base."):
        fingerprint.of(alone, "naming")


def test_one_changed_byte_is_another_model(saved, tmp_path):
    copy = shutil.copytree(saved / "model", tmp_path / "model")
    before = fingerprint.of_path(copy)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert fingerprint.of_path(copy) != before


def test_large_weights_are_told_apart_by_size_and_time(monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprint, "_WHOLE", 3)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    before = fingerprint.of_path(tmp_path)
    os.utime(file, (1, 1))
    assert fingerprint.of_path(tmp_path) != before


def test_items_are_told_apart_by_every_field(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"pixels")
    item = EvalItem(picture, "What?", "bee", ("bee", "cat"), "word", None)
    found = {fingerprint.of_items([item])}
    changes = (
        {"image": None}, {"question": "Who?"}, {"answer": "cat"}, {"choices": ()}, {"segment": "near"},
        {"score": "token f1"},
    )  # fmt: skip
    for change in changes:
        found.add(fingerprint.of_items([EvalItem(**{**vars(item), **change})]))
    moved = tmp_path / "b.png"
    moved.write_bytes(b"pixels")
    assert fingerprint.of_items([EvalItem(**{**vars(item), "image": moved})]) in found
    moved.write_bytes(b"pixelz")
    assert fingerprint.of_items([EvalItem(**{**vars(item), "image": moved})]) not in found
    assert len(found) == 7
