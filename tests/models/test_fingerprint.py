"""Fingerprints: the same for the same contents, another for others."""

import os
import shutil

import pytest

from models import fingerprint
from models.checkpoints import Blend, Merge, Patch
from models.evalset import EvalItem
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
