"""What processor, template and weights do not agree on is told when a model is opened, or mended there."""

import json
import shutil

import pytest
import torch

from models import catalog, devices
from models.errors import InputError, ModelError
from models.mllm import MLLM

QUESTION = "What is this?"


@pytest.fixture
def changed(zoo, tmp_path):
    """``changed(family, **settings)`` is a copy with these settings of its processor; None takes one away."""

    def copied(family, **settings):
        folder = shutil.copytree(zoo(family), tmp_path / family)
        file = folder / "processor_config.json"
        written = json.loads(file.read_text()) | settings
        file.write_text(json.dumps({key: value for key, value in written.items() if value is not None}))
        return folder

    return copied


@pytest.mark.parametrize("family", ["llava", "llava_next"])
def test_what_an_old_processor_leaves_out_is_taken_from_the_model(zoo, changed, picture, family):
    left_out = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")
    old = MLLM.open(changed(family, **dict.fromkeys(left_out)), device="cpu")
    new = MLLM.open(zoo(family), device="cpu")
    read, wanted = old.encode(picture, QUESTION), new.encode(picture, QUESTION)
    assert read.inputs["input_ids"].tolist() == wanted.inputs["input_ids"].tolist()
    assert torch.equal(old.forward([read]).logits, new.forward([wanted]).logits)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llava", {"num_additional_image_tokens": 0}),
        ("llava_onevision", {"num_image_tokens": None}),
        ("gemma3", {"image_seq_length": 15}),
        ("internvl", {"image_seq_length": 3}),
    ],
)
def test_a_processor_of_another_model_is_told_when_it_is_opened(changed, monkeypatch, family, settings):
    folder = changed(family, **settings)
    with pytest.raises(ModelError, match="cannot read a picture .* must come from the same model"):
        MLLM.open(folder, device="cpu")
    monkeypatch.setenv("CROSSTALK_MODEL", str(folder))
    with pytest.raises(ModelError, match=f"{family} cannot be used"):
        catalog.open_model(family)


def test_a_template_that_refuses_a_prompt_without_a_picture(zoo, tmp_path, picture):
    folder = shutil.copytree(zoo("llava"), tmp_path / "llava")
    template = (folder / "chat_template.jinja").read_text()
    refusing = "{% if messages[0]['content'][0]['type'] != 'image' %}{{ raise_exception('Show me one.') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusing + template)
    model = MLLM.open(folder, device="cpu")
    assert model.encode(picture, QUESTION).prompt
    with pytest.raises(InputError, match=r"without a picture: .*\(Show me one\)\. Choose a picture"):
        model.encode(None, QUESTION)


def test_where_a_gpu_is_lent_for_each_call_nothing_runs_before_one_is(zoo, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert devices.lent()
    monkeypatch.setattr(MLLM, "forward", lambda *_: pytest.fail("there is no GPU yet"))
    assert MLLM.open(zoo("llava"), device="cpu")


