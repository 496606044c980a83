"""A researcher's own model, two LoRA checkpoints and evaluation sets, through the running app."""

import pytest
from gradio_client import Client, handle_file

import app
from tests.driving import Driven
from tests.models import zoo

TASKS = ("colours", "shapes")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Folder with ``my-model``, ``my-set`` and a picture, as the README describes them."""
    folder = tmp_path_factory.mktemp("own")
    zoo.save_set("qwen2_5_vl", folder, TASKS)
    return folder


@pytest.fixture(scope="module")
def demo(own):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSTALK_MODEL", str(own / "my-model"))
        patch.setenv("CROSSTALK_CHECKPOINTS", str(own / "my-set"))
        yield app.build()


@pytest.fixture(scope="module")
def client(demo):
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


def test_measuring_the_set_is_done_once_and_shows_its_own_items(client, demo, own):
    seen = Driven(demo, "forgetting/matrix").open(set="my-model")
    assert seen.shown is None and "press Measure" in seen.seen["told"]
    seen.press(set="my-model", show="all, wrong first")
    assert "after shapes, colours" in seen.seen["matrix"] and "Which of the colours, 0?" in seen.seen["matrix"]
    again = Driven(demo, "forgetting/matrix").open(set="my-model")
    assert again.shown.result.provenance == seen.shown.result.provenance
    assert not [f for f in (own / "my-set").iterdir() if "answers" in f.name]
    found = client.predict("my-model", api_name="/forgetting")
    assert found["tasks"] == list(TASKS) and found["n"] == [3, 3]
    assert client.predict("sequential", api_name="/forgetting")["tasks"] != list(TASKS)


@pytest.mark.parametrize("gone", ["my-model", "my-set"])
def test_a_folder_that_is_taken_away_and_brought_back(client, own, gone):
    asked = {"question": "What is it?", "checkpoint": "shapes", "api_name": "/ask"}
    before = client.predict(model="my-model", **asked)["answer"]
    (own / gone).rename(own / "elsewhere")
    try:
        with pytest.raises(Exception, match=f"my-model.*(CROSSTALK_MODEL|{gone})") as told:
            client.predict(model="my-model", **asked)
        assert str(own) not in str(told.value)
        assert client.predict(question="Is a bee an animal?", api_name="/ask")["answer"]
    finally:
        (own / "elsewhere").rename(own / gone)
    assert client.predict(model="my-model", **asked)["answer"] == before


def test_other_rooms_work_on_it(client, own):
    image = handle_file(own / "my-set" / "one.png")
    asked = {"image": image, "question": "What is it?", "model": "my-model", "checkpoint": "colours"}
    found = client.predict(**asked, choices=["red", "blue"], perturbations=["black"], api_name="/interference")
    assert [p["name"] for p in found["perturbations"]] == ["black"]
    told = client.predict(**asked, method="ablation", api_name="/attribute")
    assert told["provenance"]["checkpoint"] == "colours" and told["patches"]
