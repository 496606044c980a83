"""A researcher's own model, two LoRA checkpoints and evaluation sets, through the running app."""

import json

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText

import app
from analysis.forgetting import tab as forgetting
from tests.models import zoo

TASKS = ("colours", "shapes")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Folder with ``my-model``, ``my-set`` and a picture, as the README describes them."""
    folder = tmp_path_factory.mktemp("own")
    zoo.save("qwen2_5_vl", folder / "my-model")
    checkpoints = folder / "my-set"
    checkpoints.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(checkpoints / "one.png")
    for seed, task in enumerate(TASKS):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_pretrained(folder / "my-model")
        lora = LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
        get_peft_model(model, lora).save_pretrained(checkpoints / task)
        lines = [{"image": "one.png", "question": f"What is it, {i}?", "answer": "red"} for i in range(3)]
        (checkpoints / f"{task}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    entries = [{"name": t, "task": t, "adapter": t, "eval": f"{t}.jsonl"} for t in TASKS]
    manifest = {"base": "my-model", "method": "sequential", "order": list(TASKS), "checkpoints": entries}
    (checkpoints / "checkpoints.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def client(own):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSTALK_MODEL", str(own / "my-model"))
        patch.setenv("CROSSTALK_CHECKPOINTS", str(own / "my-set"))
        demo = app.build()
        _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **app.settings())
        yield Client(address, verbose=False)
        demo.close()


def test_the_model_is_listed_with_its_checkpoints_and_without_its_place_on_disk(client):
    listed = {m["name"]: m for m in client.predict(api_name="/models")["models"]}
    assert listed["my-model"]["available"], listed["my-model"]["reason"]
    assert listed["my-model"]["checkpoints"] == ["base", *TASKS]
    assert "/" not in listed["my-model"]["source"]


def test_ask_answers_with_every_checkpoint(client, own):
    image = handle_file(own / "my-set" / "one.png")
    found = client.predict(image=image, question="What is it?", model="my-model", checkpoint="shapes", api_name="/ask")
    assert found["provenance"]["model"] == "my-model"
    assert [c["checkpoint"] for c in found["by_checkpoint"]] == ["base", *TASKS]
    assert found["by_checkpoint"][2]["answer"] == found["answer"]
    assert len({c["answer"] for c in found["by_checkpoint"]}) > 1


def test_a_set_that_was_never_measured_says_what_to_do(client):
    with pytest.raises(Exception, match=r"measure|Measure"):
        client.predict("my-model", api_name="/forgetting")


def test_measuring_the_set_keeps_its_answers_in_its_folder_and_shows_its_own_items(client, own):
    *_, last = forgetting._measured("my-model")
    assert "Measured again" in last[0]
    assert json.loads((own / "my-set" / "answers.json").read_text(encoding="utf-8"))
    found = client.predict("my-model", api_name="/forgetting")
    assert found["tasks"] == list(TASKS) and found["n"] == [3, 3]
    items = forgetting._changed("my-model")[7]
    assert "What is it, 0?" in items and "after shapes, colours" in items
    assert client.predict("sequential", api_name="/forgetting")["tasks"] != list(TASKS)


def test_other_rooms_work_on_it(client, own):
    image = handle_file(own / "my-set" / "one.png")
    asked = {"image": image, "question": "What is it?", "model": "my-model", "checkpoint": "colours"}
    found = client.predict(**asked, choices=["red", "blue"], perturbations=["black"], api_name="/interference")
    assert [p["name"] for p in found["perturbations"]] == ["black"]
    told = client.predict(**asked, method="ablation", api_name="/attribute")
    assert told["provenance"]["checkpoint"] == "colours" and told["patches"]
