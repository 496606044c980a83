import numpy as np
import pytest
import torch

from models.embedded import clip
from models.embedded.patches import BACKGROUND
from models.embedded.pictures import TRAINED_STYLES, table
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
