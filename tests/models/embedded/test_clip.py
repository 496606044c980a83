import numpy as np
import pytest
import torch

from models.embedded import clip, fit
from models.embedded.backgrounds import BUSY, KEPT_OUT
from models.embedded.patches import BACKGROUND
from models.embedded.pictures import LOOKS, TRAINED_STYLES, table
from models.embedded.text import caption_tokenizer


@pytest.fixture(scope="module")
def batches(tokenizer):
    return clip.Batches(caption_tokenizer(tokenizer))


def test_no_two_single_drawings_of_a_batch_have_one_name(batches):
    scenes, texts = batches.scenes(np.random.default_rng(0))
    single = [s.items[0].name for s in scenes if len(s.items) == 1]
    assert len(scenes) == len(texts) == clip.BATCH
    assert len(single) == len(set(single)) == clip.BATCH - clip.EVERYDAY - clip.ANYTHING
    assert {i.style for s in scenes for i in s.items} <= set(TRAINED_STYLES)


def test_a_single_drawing_is_called_by_its_name_or_a_synonym(batches):
    rows = {row["name"]: row for row in table()}
    for scene, text in zip(*batches.scenes(np.random.default_rng(1)), strict=True):
        if len(scene.items) == 1:
            row = rows[scene.items[0].name]
            assert text in (row["name"], *row["synonyms"])


def test_patches_are_labelled_with_the_names_of_the_batch(batches):
    rng = np.random.default_rng(2)
    scenes, _ = batches.scenes(np.random.default_rng(2))
    batch = batches(rng)
    names = [BACKGROUND, *sorted({i.name for s in scenes for i in s.items})]
    assert len(batch["names"]["input_ids"]) == len(names)
    assert batch["patches"].shape == (clip.BATCH, 64) and batch["boxes"].shape == (clip.BATCH, 64, 4)
    for scene, labels in zip(scenes, batch["patches"], strict=True):
        assert {names[i] for i in labels.tolist()} <= {BACKGROUND, *(i.name for i in scene.items)}
    assert torch.equal(batch["boxes"][..., 2] > 0, batch["patches"] > 0)


def test_the_second_part_has_busy_backgrounds_all_looks_and_more_names(tokenizer):
    batches = clip.Batches(caption_tokenizer(tokenizer), broad=True)
    scenes, texts = batches.scenes(np.random.default_rng(0))
    assert len(scenes) == len(texts) == clip.BATCH
    assert {i.style for s in scenes for i in s.items} == set(LOOKS)
    busy = sum(s.background.kind in BUSY for s in scenes) / len(scenes)
    assert abs(busy - clip.BUSY) < 4 * (clip.BUSY * (1 - clip.BUSY) / len(scenes)) ** 0.5
    assert not any(s.background.kind == KEPT_OUT for s in scenes)
    batch = batches(np.random.default_rng(0))
    single = [s.items[0].name for s in scenes if len(s.items) == 1]
    names = [BACKGROUND, *sorted({i.name for s in scenes for i in s.items})]
    assert [names[i] for i in batch["own"].tolist()] == single and len(single) > clip.BATCH / 2


class Killed(Exception):
    pass


def test_both_parts_killed_and_resumed_are_as_if_never_killed(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)
    for name, value in (("BATCH", 8), ("EVERYDAY", 2), ("ANYTHING", 2), ("BROAD_EVERYDAY", 1), ("BROAD_ANYTHING", 1)):
        monkeypatch.setattr(clip, name, value)
    monkeypatch.setattr(clip, "EVERY", 2)
    monkeypatch.setattr(clip, "recall", lambda model, tokenizer, style: 0.5)
    captions = caption_tokenizer(tokenizer)

    def killed(line):
        if line.startswith("after 2"):
            raise Killed

    whole = clip.train(tmp_path / "whole", captions, 0, lambda line: None, 2, 3)
    with pytest.raises(Killed):
        clip.train(tmp_path / "cut", captions, 0, killed, 2, 3)
    again = clip.train(tmp_path / "cut", captions, 0, lambda line: None, 2, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
