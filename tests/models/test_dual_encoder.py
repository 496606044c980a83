"""Dual encoders of the exact classes, random weights: what they embed is what transformers computes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from models.dual_encoder import DualEncoder
from models.errors import InputError, ModelError

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIDE = {"height": 32, "width": 32}


def _tokenizer():
    vocabulary = {w: i for i, w in enumerate(["<pad>", "<end>", "<unk>", "bee", "cat", "dog", "a"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", model_max_length=8
    )


def _clip(folder):
    text = SHAPE | {"vocab_size": 7, "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}
    vision = SHAPE | {"image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    CLIPImageProcessorPil(size=SIDE, do_center_crop=False).save_pretrained(folder)
    return model


def _siglip(folder):
    text = SHAPE | {"vocab_size": 7, "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}
    vision = SHAPE | {"image_size": 32, "patch_size": 8}
    SiglipImageProcessorPil(size=SIDE).save_pretrained(folder)
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


@pytest.fixture(scope="module", params=[_clip, _siglip])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dual") / "mine"
    torch.manual_seed(0)
    request.param(folder).eval().save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _pictures(count: int = 3):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)) for _ in range(count)]


def test_embeddings_are_the_models_own_whatever_the_batch(saved, monkeypatch):
    opened = DualEncoder.open(saved)
    pictures = _pictures()
    inputs = opened.processor.image_processor(pictures, return_tensors="pt")
    with torch.inference_mode():
        own = opened.model.get_image_features(**inputs).pooler_output
    wanted = (own / own.norm(dim=-1, keepdim=True)).numpy()
    assert np.abs(opened.images(pictures)[0] - wanted).max() < 1e-5
    texts = opened.texts(["a bee", "cat", "a dog a cat"])
    monkeypatch.setattr("models.dual_encoder._BATCH", 1)
    assert np.abs(opened.images(pictures)[0] - wanted).max() < 1e-5
    assert np.abs(opened.texts(["a bee", "cat", "a dog a cat"]) - texts).max() < 1e-5  # padding does not count
    assert opened.name == "mine" and opened.phase_names == ("base",)


def test_where_memory_is_short_fewer_are_embedded_at_once(saved, monkeypatch):
    encoder, texts = DualEncoder.open(saved, device="cpu"), ["a bee", "cat", "dog", "a", "bee cat"]
    wanted, features, sizes = encoder.texts(texts), encoder.model.get_text_features, []

    def short(**inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return features(**inputs)

    most = 2
    monkeypatch.setattr(encoder.model, "get_text_features", short)
    np.testing.assert_allclose(encoder.texts(texts), wanted, atol=1e-6)
    assert sizes == [5, 2, 3, 1, 2]
    most = 0
    with pytest.raises(ModelError, match="Out of memory on cpu with a single one: open a smaller model") as error:
        encoder.texts(texts)
    assert error.value.__context__ is None  # it would keep what was allocated


def test_what_cannot_be_embedded_is_told(saved):
    opened = DualEncoder.open(saved)
    with pytest.raises(InputError, match="no pictures"):
        opened.images([])
    with pytest.raises(ModelError, match="no phase 'animals'"):
        opened.texts(["bee"], ["animals"])
    long = opened.texts(["bee " * 500])
    assert np.isfinite(long).all()


def test_broken_weights_are_told(saved, tmp_path):
    import shutil

    copy = shutil.copytree(saved, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    name = next(n for n in weights if "vision" in n and "post_layernorm.weight" in n)
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, copy / "model.safetensors.new", {"format": "pt"})
    (copy / "model.safetensors.new").replace(copy / "model.safetensors")
    with pytest.raises(ModelError, match="number 1 of the pictures as not-a-number"):
        DualEncoder.open(copy).images(_pictures())


def test_a_model_that_writes_is_no_dual_encoder(saved, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "architectures": ["Llava"]}))
    with pytest.raises(ModelError, match="other cannot be opened: it is Llava, not a CLIP or SigLIP model"):
        DualEncoder.open(folder)


def test_stopping_between_batches(saved, monkeypatch):
    monkeypatch.setattr("models.dual_encoder._BATCH", 1)
    told = []

    def progress(share, what):
        told.append((round(share, 2), what))
        if len(told) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        DualEncoder.open(saved).images(_pictures(), progress=progress)
    assert told == [(0.0, "pictures"), (0.33, "pictures")]
