import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from models.encoding import Encoder
from models.errors import InputError, ModelError
from models.families import FAMILIES, Sight, family_of, one_square
from models.mllm import MLLM
from models.segments import WHOLE, Grid, Modality, image_runs

QUESTION = "¿Qué is\nit? 猫 <image> <|im_end|> 0"
SIZE = (210, 380)  # width, height
SINGLE = ("llava", "gemma3", "paligemma2", "qwen2_5_vl", "qwen3_vl")  # one grid a picture


def noise(seed: int, size=SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def mllm(opened, family):
    return opened(family)


@pytest.fixture
def encoded(mllm):
    return mllm.encode(noise(0), QUESTION)


@torch.inference_mode()
def features(model, inputs) -> torch.Tensor:
    """Image features in the order of the image tokens, ``[N, d]``."""
    text = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
    found = model.model.get_image_features(**{k: v for k, v in inputs.items() if k not in text}).pooler_output
    found = torch.cat(list(found)) if isinstance(found, (list, tuple)) else found
    return found.reshape(-1, found.shape[-1])


@torch.inference_mode()
def logits(mllm, encoded, **more) -> torch.Tensor:
    return mllm.model(**encoded.inputs, **{"position_ids": encoded.positions, **more}).logits[0]


def image_tokens(encoded) -> list[int]:
    return (encoded.segments == Modality.IMAGE).nonzero()[:, 0].tolist()


def cells(encoded) -> list[int]:
    return [token for grid in encoded.grids for token, _, _ in grid.cells()]


def test_image_tokens_are_those_that_processor_and_model_count(mllm, encoded):
    inputs = mllm.processor(text=[encoded.prompt], images=[noise(0)], return_tensors="pt", add_special_tokens=False)
    ids = inputs["input_ids"][0]
    if encoded.length == len(ids) + 1:  # where the tokenizer writes the start token
        ids = torch.cat([torch.tensor([mllm.tokenizer.bos_token_id]), ids])
    assert encoded.inputs["input_ids"][0].tolist() == ids.tolist()
    count = len(features(mllm.model, encoded.inputs))
    assert len(image_tokens(encoded)) == count > 11
    assert {int(ids[i]) for i in image_tokens(encoded)} == {mllm.model.config.image_token_id}


def test_a_prompt_begins_once(mllm, encoded):
    start = mllm.tokenizer.bos_token_id
    if start is not None:
        assert encoded.inputs["input_ids"][0].tolist().count(start) == 1


def test_every_token_has_its_modality(mllm, encoded):
    ids = encoded.inputs["input_ids"][0]
    question = mllm.tokenizer.decode(ids[encoded.segments == Modality.QUESTION]).strip()
    rest = mllm.tokenizer.decode(ids[encoded.segments == Modality.INSTRUCTION])
    assert question.replace("< ", "<") == QUESTION
    assert "¿" not in rest and "猫" not in rest
    template = encoded.prompt.replace(question, "").replace(mllm.processor.image_token, "")
    for word in re.findall(r"[A-Za-z]{3,}", template):
        assert word in rest


def test_every_cell_has_one_token_and_separators_none(mllm, encoded, family):
    tokens = cells(encoded)
    assert len(tokens) == len(set(tokens))
    without = sorted(set(image_tokens(encoded)) - set(tokens))
    newlines = encoded.grids[-1].rows if family in ("llava_next", "llava_onevision") else 0
    assert set(tokens) <= set(image_tokens(encoded)) and len(without) == newlines
    if newlines:
        weights = mllm.model.model.image_newline
        found = features(mllm.model, encoded.inputs)
        first = image_tokens(encoded)[0]
        assert all(torch.allclose(found[token - first], weights) for token in without)


@pytest.mark.parametrize("size", [SIZE, (380, 210), (200, 200), (400, 90)])
def test_rectangles_tile_what_the_model_sees(mllm, family, size):
    encoded = mllm.encode(noise(1, size), "What?")
    whole = [grid for grid in encoded.grids if grid.box == WHOLE]
    parts = [grid for grid in encoded.grids if grid.box != WHOLE]
    if family in SINGLE:
        assert len(encoded.grids) == 1
    elif size != (200, 200):
        assert len(whole) == 1 and parts
    for group in [[grid] for grid in whole] + ([parts] if parts else []):
        boxes = np.array([grid.rectangle(token) for grid in group for token, _, _ in grid.cells()])
        x, y = np.meshgrid((np.arange(61) + 0.503) / 61, (np.arange(59) + 0.507) / 59)
        left, top, right, bottom = boxes.T[:, :, None, None]
        times = ((left <= x) & (x < right) & (top <= y) & (y < bottom)).sum(0)
        assert times.max() == 1
        seen = (boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())
        inside = (seen[0] <= x) & (x < seen[2]) & (seen[1] <= y) & (y < seen[3])
        assert (times[inside] == 1).all()
        if family == "llava":  # the middle of the longer side
            short = min(size) / max(size)
            assert np.ptp(seen[::2]) * np.ptp(seen[1::2]) == pytest.approx(short)
        elif family in ("llava_next", "llava_onevision"):  # less than a row of cells may be lost with the padding
            assert min(np.ptp(seen[::2]), np.ptp(seen[1::2])) > 1 - 2 / min(group[0].rows, group[0].columns)
        else:
            assert seen == pytest.approx(WHOLE)


def without_mixing(model):
    """A copy whose vision tower lets no patch see another, so that a feature tells of its own pixels only."""
    model = copy.deepcopy(model)
    mixing = r"(vision_tower|vision_model|visual)\..*(out_proj|attn\.proj|projection_layer)\.(weight|bias)$"
    muted = [p for name, p in model.named_parameters() if re.search(mixing, name)]
    assert len(muted) >= 2
    with torch.no_grad():
        for parameter in muted:
            parameter.zero_()
    return model


@pytest.mark.parametrize("size", [SIZE, (390, 230), (330, 220)])
def test_a_token_sees_the_pixels_of_its_rectangle(mllm, size):
    check_sight(mllm, size)


def check_sight(mllm, size):
    model, grey = without_mixing(mllm.model), Image.new("RGB", size, (100, 100, 100))
    plain = mllm.encode(grey, "What?")
    before, order = features(model, plain.inputs), image_tokens(plain)
    for painted in plain.grids:
        chosen = list(painted.cells())
        for token, _, _ in chosen[:: max(1, len(chosen) // 7)]:
            left, top, right, bottom = painted.rectangle(token)
            if (right - left) * (bottom - top) < 0.3 * (1 / painted.rows) * (1 / painted.columns) * area(painted):
                continue  # nearly all of this cell is padding
            inner = [
                left + (right - left) / 4,
                top + (bottom - top) / 4,
                right - (right - left) / 4,
                bottom - (bottom - top) / 4,
            ]
            box = [round(v * size[i % 2]) for i, v in enumerate(inner)]
            picture = grey.copy()
            picture.paste((250, 250, 250), box)
            change = (features(model, plain.with_image(picture).inputs) - before).norm(dim=1)
            centre = ((left + right) / 2, (top + bottom) / 2)
            mine = {t: float(change[order.index(t)]) for t, _, _ in painted.cells()}
            assert max(mine, key=mine.get) == token
            for grid in plain.grids:  # other grids show the same place, or do not see it
                seen = {t: float(change[order.index(t)]) for t, _, _ in grid.cells()}
                most = max(seen, key=seen.get)
                if grid.box == WHOLE and seen[most] > 1e-3 and (right - left) * (bottom - top) < 0.2:
                    there = grid.rectangle(most)
                    assert there[0] - 0.02 <= centre[0] <= there[2] + 0.02
                    assert there[1] - 0.02 <= centre[1] <= there[3] + 0.02


def area(grid) -> float:
    return (grid.box[2] - grid.box[0]) * (grid.box[3] - grid.box[1])


def test_pan_and_scan_of_gemma_gives_each_crop_its_place(zoo):
    mllm = MLLM.open(zoo("gemma3"), device="cpu")
    mllm.processor.images_kwargs = {
        "do_pan_and_scan": True, "pan_and_scan_min_crop_size": 16, "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    }  # fmt: skip
    encoded = mllm.encode(noise(0, (600, 200)), "What?")
    assert [grid.box for grid in encoded.grids] == [WHOLE, *((i / 3, 0.0, (i + 1) / 3, 1.0) for i in range(3))]
    check_sight(mllm, (600, 200))
    check_sight(mllm, (200, 430))


def test_explicit_positions_are_the_models_own(mllm, encoded, family):
    with torch.inference_mode():
        own = mllm.model(**encoded.inputs).logits[0]
    assert torch.allclose(logits(mllm, encoded), own, atol=1e-5)
    assert not torch.allclose(logits(mllm, encoded, position_ids=2 * encoded.positions), own, atol=1e-3)
    if family.startswith("qwen"):
        assert encoded.positions.shape == (3, 1, encoded.length)
        assert encoded.next_position == encoded.length + int(mllm.model.model.rope_deltas)
        assert encoded.next_position < encoded.length
    else:
        assert encoded.positions.shape == (1, encoded.length)
        assert encoded.next_position == encoded.length + (family == "paligemma2")


def test_a_hidden_picture_leaves_no_trace(mllm, encoded):
    text = encoded.segments != Modality.IMAGE
    blind = logits(mllm, encoded.without_image())[text]
    assert blind.isfinite().all()
    for seed in (5, 6):
        other = encoded.with_image(noise(seed))
        assert not torch.allclose(logits(mllm, other)[-1], logits(mllm, encoded)[-1], atol=1e-2)
        assert torch.allclose(logits(mllm, other.without_image())[text], blind, atol=1e-5)


def test_a_hidden_question_leaves_no_trace(mllm, encoded):
    asked = encoded.segments == Modality.QUESTION
    ids = encoded.inputs["input_ids"].clone()
    ids[0, asked] = ids[0, asked].flip(0)
    other = copy.copy(encoded)
    object.__setattr__(other, "inputs", {**encoded.inputs, "input_ids": ids})
    assert not torch.allclose(logits(mllm, other)[-1], logits(mllm, encoded)[-1], atol=1e-2)
    hidden = [logits(mllm, e.without_text())[-1] for e in (encoded, other)]
    assert torch.allclose(*hidden, atol=1e-5)


def test_counterfactuals_keep_every_place(mllm, encoded):
    delta = torch.full((encoded.length, encoded.encoder.width), 0.5)
    made = {
        "image": encoded.without_image(), "text": encoded.without_text(), "noise": encoded.with_embedding_noise(delta),
        "other": encoded.with_image(noise(3, (77, 50))), "all": encoded.without_image().without_text(),
    }  # fmt: skip
    for other in made.values():
        assert torch.equal(other.inputs["input_ids"], encoded.inputs["input_ids"])
        assert torch.equal(other.positions, encoded.positions) and torch.equal(other.segments, encoded.segments)
        assert other.next_position == encoded.next_position and other.grids == encoded.grids
        assert {k: v.shape for k, v in other.inputs.items()} == {k: v.shape for k, v in encoded.inputs.items()}
    hidden = {name: other.inputs["attention_mask"][0] == 0 for name, other in made.items()}
    assert torch.equal(hidden["image"], encoded.segments == Modality.IMAGE)
    assert torch.equal(hidden["text"], encoded.segments == Modality.QUESTION)
    assert torch.equal(hidden["all"], hidden["image"] | hidden["text"])
    assert not hidden["other"].any() and not hidden["noise"].any()
    assert not torch.equal(made["other"].inputs["pixel_values"], encoded.inputs["pixel_values"])
    assert torch.equal(made["noise"].with_embedding_noise(delta).noise, 2 * delta)
    kept = made["image"].with_image(noise(4))
    assert torch.equal(kept.inputs["attention_mask"], made["image"].inputs["attention_mask"])


def test_noise_of_another_shape_and_no_picture_to_replace(opened):
    encoded = opened("llava").encode(None, "What?")
    with pytest.raises(InputError, match=r"shape \[2, 32\].*needs \[\d+, 32\]"):
        encoded.with_embedding_noise(torch.zeros(2, 32))
    with pytest.raises(InputError, match="finite"):
        encoded.with_embedding_noise(torch.full((encoded.length, 32), torch.nan))
    with pytest.raises(InputError, match="no picture"):
        encoded.with_image(noise(0))


def test_other_architectures_are_read_as_most_are(opened):
    model, processor = copy.copy(opened("llava").model), opened("llava").processor
    config = copy.copy(model.config)
    model.config = config
    config.__class__ = type("Unheard", (type(config),), {"model_type": "unheard_of"})
    other = MLLM("other", model, processor).encode(noise(0), "What?")
    wanted = opened("llava").encode(noise(0), "What?")
    assert other.grids == wanted.grids and torch.equal(other.segments, wanted.segments)


def unheard_of(config=None, text=None, **base):
    text = SimpleNamespace(hidden_size=4, **(text or {}))
    config = SimpleNamespace(model_type="unheard_of", get_text_config=lambda: text, **(config or {}))
    return SimpleNamespace(config=config, base_model=SimpleNamespace(**base))


def test_what_cannot_be_read_says_what_it_lacks(opened):
    with pytest.raises(ModelError, match=r"unheard_of.*image_token_id"):
        Encoder(opened("llava").processor, unheard_of())
    for model in (unheard_of({"is_encoder_decoder": True}), unheard_of(text={"cross_attention_layers": [3]})):
        with pytest.raises(ModelError, match=r"unheard_of.*cross-attention"):
            family_of(model)
    with pytest.raises(ModelError, match=r"unheard_of.*get_rope_index"):
        family_of(unheard_of(get_rope_index=lambda input_ids: None))


def test_positions_in_space_are_found_in_architectures_beside_the_table(opened):
    qwen = opened("qwen2_5_vl").model.base_model
    assert family_of(unheard_of(get_rope_index=qwen.get_rope_index)) is FAMILIES["qwen2_5_vl"]
    assert family_of(unheard_of()) is FAMILIES["llava"]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_a_picture_that_the_processor_refuses(opened, name):
    with pytest.raises(InputError, match=r"1 x 300 pixels.*aspect ratio"):
        opened(name).encode(noise(0, (1, 300)), "What?")


@pytest.mark.parametrize("size", [(1, 150), (150, 1), (1, 1)])
def test_odd_pictures_are_read(mllm, size):
    encoded = mllm.encode(noise(0, size), "What?")
    assert set(cells(encoded)) <= set(image_tokens(encoded))
    assert logits(mllm, encoded).isfinite().all()


def sight(kinds, strategy="default") -> Sight:
    config = SimpleNamespace(vision_feature_select_strategy=strategy)
    processor = SimpleNamespace(image_processor=SimpleNamespace(do_center_crop=False))
    return Sight(SimpleNamespace(config=config), processor, {}, image_runs(torch.tensor(kinds)), (10, 10))


def test_rows_that_end_in_a_text_token_are_one_grid():
    i, n = int(Modality.IMAGE), int(Modality.INSTRUCTION)
    assert one_square(sight([n, i, i, i, i, n, i, i, i, i, n])) == (Grid(1, 2, 4, stride=5),)  # Pixtral's breaks
    assert one_square(sight([i] * 4 + [n, n] + [i] * 4)) == (Grid(0, 2, 2), Grid(6, 2, 2))


def test_a_class_token_sees_no_cell():
    i, n = int(Modality.IMAGE), int(Modality.INSTRUCTION)
    assert one_square(sight([n] + [i] * 5, "full")) == (Grid(2, 2, 2),)
    assert one_square(sight([n] + [i] * 5)) == ()
