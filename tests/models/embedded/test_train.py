"""Tower, text-parent and base: what is written is what the next one starts from, and is taken over whole."""

import json

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, LlavaForConditionalGeneration, Qwen2ForCausalLM

from models.embedded import TRAINING, base, clip, parent, probes, train
from models.embedded.pictures import STYLES
from tests.models.embedded.test_base import quiet, small_text, small_tower


def test_the_base_starts_from_tower_and_text_as_they_are_written_and_all_three_are_taken_over(
    tmp_path, tokenizer, monkeypatch
):
    given = []

    def tuned(folder, tower, text, tokenizer, seed, log):
        given.append((tower.state_dict(), text.state_dict()))
        return base.build(tower, text, tokenizer, seed)

    torch.manual_seed(0)
    monkeypatch.setattr(train, "build_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(clip, "train", lambda *_: small_tower())
    monkeypatch.setattr(clip, "recall", lambda *_: 0.25)
    monkeypatch.setattr(parent, "train", lambda *_: Qwen2ForCausalLM(small_text(tokenizer)))
    monkeypatch.setattr(base, "train", tuned)
    monkeypatch.setattr(probes, "cells", lambda *_: [])
    monkeypatch.setattr(probes, "measure", lambda *_: {"naming, plain": (0.5, 4)})
    for name in ("CLIP", "PARENT", "MINI"):
        monkeypatch.setattr(train, name, tmp_path / "shipped" / getattr(train, name).name)
    train.MINI.mkdir(parents=True)
    (train.MINI / "of the base before.txt").write_text("")

    with pytest.raises(ValueError, match="lacks crosstalk-clip, text-parent, crosstalk-mini"):
        train.take(tmp_path / "trained")
    assert train.MINI.exists()  # what ships is as it was

    train.train_base(tmp_path, 3, tmp_path / "trained", quiet)
    train.take(tmp_path / "trained")
    assert not (train.MINI / "of the base before.txt").exists()
    written = [
        kind.from_pretrained(folder, dtype=torch.float32).state_dict()
        for kind, folder in ((CLIPModel, train.CLIP), (Qwen2ForCausalLM, train.PARENT))
    ]
    for ours, theirs in zip(given[0], written, strict=True):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert LlavaForConditionalGeneration.from_pretrained(train.MINI).config.text_config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(train.MINI).get_vocab() == tokenizer.get_vocab()
    told = [json.loads((folder / TRAINING).read_text()) for folder in (train.CLIP, train.PARENT, train.MINI)]
    steps = (clip.STEPS + clip.BROAD_STEPS, parent.STEPS, base.STEPS)
    assert [(of["seed"], of["steps"]) for of in told] == [(3, n) for n in steps]
    assert told[0]["measured"] == {f"R@1 among all names, {style}": 0.25 for style in STYLES}
    assert told[2]["measured"] == {"naming, plain": {"right": 0.5, "n": 4}}
