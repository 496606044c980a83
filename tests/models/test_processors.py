import json
import shutil

import pytest
import torch
from transformers import AutoProcessor

from models.errors import ModelError
from models.processors import open_processor


def test_pictures_are_read_by_pil_everywhere(zoo, family):
    processor = open_processor(zoo(family))
    assert type(processor.image_processor).__name__.endswith("Pil")
    named = json.loads((zoo(family) / "processor_config.json").read_text())["processor_class"]
    assert type(processor).__name__ == named
    assert type(processor).__mro__[1].__module__.startswith("transformers.models")


@pytest.mark.parametrize("name", ["llava", "llava_next", "idefics3", "gemma3", "paligemma2"])
def test_same_inputs_as_the_processor_of_transformers(zoo, picture, name):
    mine, theirs = open_processor(zoo(name)), AutoProcessor.from_pretrained(zoo(name))
    text = theirs.image_token + "What is it?"
    given = [dict(p(text=[text], images=[picture], return_tensors="pt")) for p in (mine, theirs)]
    assert given[0].keys() == given[1].keys()
    assert all(torch.equal(given[0][key], given[1][key]) for key in given[0])
    assert mine.chat_template == theirs.chat_template


def test_a_repository_that_names_no_processor_gets_the_usual_one(zoo, tmp_path):
    folder = shutil.copytree(zoo("qwen3_vl"), tmp_path / "model")
    (folder / "processor_config.json").unlink()
    assert type(open_processor(folder)).__name__ == "Qwen3VLProcessor"


def test_a_model_that_reads_no_pictures_is_named(zoo, tmp_path):
    folder = shutil.copytree(zoo("llava"), tmp_path / "model")
    (folder / "processor_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="^model is a llama model.*no processor"):
        open_processor(folder)


def test_a_package_that_is_missing_is_named(zoo, monkeypatch):
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    with pytest.raises(ModelError, match="num2words") as error:
        open_processor(zoo("smolvlm"))
    assert str(zoo("smolvlm").parent) not in str(error.value)
