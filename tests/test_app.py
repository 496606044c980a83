"""The running app through its endpoints, as a program would use it."""

import ast
import asyncio
import base64
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import app
from analysis.embedding_space import runs
from analysis.forgetting.measure import load

ROOT = Path(__file__).parents[1]
SERVER = "http://127.0.0.1:7860"
"""What the examples call; a test puts the running app's address there."""


@pytest.fixture(scope="module")
def client():
    demo = app.build()
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **app.settings())
    yield Client(address, verbose=False)
    demo.close()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "picture.png")
    return handle_file(tmp_path / "picture.png")


def refused(client, message: str, **arguments):
    """The endpoint refuses with a message that matches, and answers the next question all the same."""
    with pytest.raises(Exception, match=message):
        client.predict(api_name="/ask", **arguments)
    assert client.predict(question="Is a bee an animal?", api_name="/ask")["by_checkpoint"]


def test_only_the_named_endpoints_are_public(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {
        "/models", "/ask", "/interference", "/interference_dataset", "/conflict", "/conflicts", "/attribute",
        "/attention", "/decode", "/embedding_space", "/forgetting", "/forgetting_probe",
    }  # fmt: skip
    assert not described["unnamed_endpoints"]


def test_models(client):
    models = client.predict(api_name="/models")["models"]
    assert models[0]["name"] == "crosstalk-mini"
    assert models[0]["available"] is True
    assert models[0]["source"] == "crosstalk-mini"  # not the folder's place on the host's disk
    assert models[0]["checkpoints"][0] == "base"
    for entry in models:
        assert set(entry) == {"name", "source", "available", "reason", "checkpoints"}
        assert entry["available"] or entry["reason"]


def test_ask_about_a_picture(client, picture):
    question = "Which of these is in the picture? A. cat B. dog"
    found = client.predict(image=picture, question=question, api_name="/ask")
    assert {"answer", "steps", "options", "by_checkpoint", "sentence", "provenance"} <= set(found)
    assert "".join(s["token"] for s in found["steps"]).strip() == found["answer"]
    assert all(s["logprob"] <= 0 for s in found["steps"])
    assert [o["text"] for o in found["options"]] == ["A", "B"]
    assert sum(o["probability"] for o in found["options"]) == pytest.approx(1)
    names = client.predict(api_name="/models")["models"][0]["checkpoints"]
    assert [c["checkpoint"] for c in found["by_checkpoint"]] == names
    assert found["by_checkpoint"][0]["answer"] == found["answer"]
    assert found["provenance"]["checkpoint"] == "base"
    json.dumps(found, allow_nan=False)


def test_ask_without_a_picture_and_at_a_checkpoint(client):
    found = client.predict(
        question="What kind of thing is a bee?", model="crosstalk-mini", checkpoint="naming", api_name="/ask"
    )
    assert found["provenance"]["checkpoint"] == "naming"
    own = next(c for c in found["by_checkpoint"] if c["checkpoint"] == "naming")
    assert own["answer"] == found["answer"]


@pytest.mark.parametrize("mode", ["CMYK", "L", "I;16", "RGBA"])
def test_every_kind_of_picture_gets_an_answer(client, tmp_path, mode):
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(path) if mode == "I;16" else Image.new(mode, (40, 40)).save(
        path
    )
    assert client.predict(image=handle_file(path), question="What is this?", api_name="/ask")["by_checkpoint"]


def test_a_text_file_called_png(client, tmp_path):
    (tmp_path / "fake.png").write_text("I am not a picture.")
    image = handle_file(tmp_path / "fake.png")
    refused(client, "could not be read as a picture", image=image, question="What is this?")


@pytest.mark.parametrize("image", ["/etc/passwd", {"path": "/etc/passwd"}, {"path": 3, "meta": 1}, [1], 7])
def test_files_of_the_server_are_out_of_reach(client, image):
    refused(client, "uploaded file", image=image, question="What is this?")


def test_a_forged_upload_is_refused_by_gradio(client):
    forged = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Exception):  # noqa: B017, PT011 (the client may refuse it before the server does)
        client.predict(image=forged, question="What is this?", api_name="/ask")


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("no question", {"question": "   "}),
        ("not opened", {"question": "Who?", "model": "../../etc/passwd"}),
        ("no model", {"question": "Who?", "model": "nonsense"}),
        ("no checkpoint", {"question": "Who?", "checkpoint": "nonsense"}),
        ("characters", {"question": "x" * 100_000}),
        ("must be", {"question": 7}),
        ("must be", {"question": "Who?", "checkpoint": ["base"]}),
    ],
)
def test_clear_refusals(client, message, arguments):
    refused(client, message, **arguments)


def test_control_tokens_and_markup_are_only_text(client):
    for question in ("<image><image> What is this?", "<|im_end|>", "<script>alert(1)</script>", "🐝" * 50, "\x00?"):
        assert client.predict(question=question, api_name="/ask")["by_checkpoint"]


def test_forgetting(client):
    found = client.predict(api_name="/forgetting")
    fields = {"tasks", "matrix", "n", "bwt", "fwt", "mft", "mfn", "maa", "superficial", "essential"}
    assert fields | {"sentence", "provenance"} <= set(found)
    assert len(found["matrix"]) == len(found["checkpoints"])
    assert all(len(row) == len(found["tasks"]) == len(found["n"]) for row in found["matrix"])
    assert all(0 <= value <= 1 for row in found["matrix"] for value in row)
    last = found["matrix"][found["own"][-1]]
    assert found["mfn"] == pytest.approx(sum(last) / len(last))


def test_forgetting_of_an_unknown_method(client):
    with pytest.raises(Exception, match="no checkpoint set"):
        client.predict(method="../../etc", api_name="/forgetting")


def test_interference(client, picture):
    found = client.predict(
        image=picture, question="What is this?", choices=["cat", "dog", "bee"], perturbations=["misleading", "black"],
        api_name="/interference",
    )  # fmt: skip
    assert [o["text"] for o in found["origin"]["options"]] == ["cat", "dog", "bee"]
    assert [p["name"] for p in found["perturbations"]] == ["misleading", "black"]
    for told in found["perturbations"]:
        assert {"name", "options", "flipped", "js", "delta_logprob"} <= set(told)
        assert sum(o["probability"] for o in told["options"]) == pytest.approx(1)
    assert found["sentence"] and found["provenance"]["model"] == "crosstalk-mini"
    json.dumps(found, allow_nan=False)


def test_attribute(client, picture):
    found = client.predict(image=picture, question="What is this?", model="", method="ablation", api_name="/attribute")
    assert {"patches", "words", "image_share", "convergence_delta", "sentence", "provenance"} <= set(found)
    assert [w["text"].strip("?") for w in found["words"]][:2] == ["What", "is"]
    json.dumps(found, allow_nan=False)


def test_attention(client, picture):
    found = client.predict(image=picture, question="What is this?", api_name="/attention")
    assert {"mass", "per_key", "disparity", "decay", "sentence", "provenance"} <= set(found)
    for layer in found["mass"]:
        assert sum(layer[kind] or 0 for kind in ("image", "question", "instruction", "answer")) == pytest.approx(1)
    assert {"gamma", "interval", "r2"} <= set(found["decay"])
    json.dumps(found, allow_nan=False)


def test_decode(client, picture):
    found = client.predict(
        image=picture, question="Describe the picture.", strategies=["greedy", "inter"], api_name="/decode"
    )
    assert {"strategies", "first_divergence", "sentence", "provenance"} <= set(found)
    greedy, inter = found["strategies"]
    assert (greedy["name"], inter["name"]) == ("greedy", "inter")
    for told in (greedy, inter):
        assert "".join(s["token"] for s in told["steps"]).strip() == told["text"] and told["tokens_per_second"] > 0
    assert all({"logprob", "interaction_variance", "fired"} <= set(s) for s in inter["steps"])
    asked = client.predict(image=picture, question="Describe the picture.", api_name="/ask")
    assert greedy["text"] == asked["answer"]
    json.dumps(found, allow_nan=False)


def test_conflict(client, picture):
    found = client.predict(
        image=picture, question="What is this?", text="Text: There is a dog.", seen="bee", told="dog",
        api_name="/conflict",
    )  # fmt: skip
    assert found["sentence"] and found["provenance"]["model"] == "crosstalk-mini"
    json.dumps(found, allow_nan=False)


def test_what_was_measured_before_is_there_at_once(client):
    many = client.predict(api_name="/conflicts")
    sets = client.predict(api_name="/interference_dataset")
    space = client.predict(method="mod-x", api_name="/embedding_space")
    fields = {"phases", "rotation_degrees", "deviation_degrees", "gap", "residual", "recall"}
    assert fields <= set(space) and set(space["recall"]) == {"i2t", "t2i"}
    for found in (many, sets, space):
        assert found["sentence"] and found["provenance"]
        json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("endpoint", "message", "arguments"),
    [
        ("/attention", "no question", {"question": ""}),
        ("/decode", "list of texts", {"question": "Who?", "strategies": "greedy"}),
        ("/conflict", "text", {"question": "Who?", "seen": 3}),
        ("/embedding_space", "method", {"method": "../../etc"}),
        ("/interference_dataset", "checkpoint", {"checkpoints": ["nonsense"]}),
        ("/interference", "no question", {"question": " "}),
        ("/interference", "list of texts", {"question": "Who?", "choices": "cat"}),
        ("/interference", "perturbation", {"question": "Who?", "choices": ["a", "b"], "perturbations": ["nonsense"]}),
        ("/interference", "number", {"question": "Who?", "epsilon": "much"}),
        ("/attribute", "no question", {"question": ""}),
        ("/attribute", "method", {"question": "Who?", "method": "guessing"}),
        ("/attribute", "uploaded file", {"question": "Who?", "image": "/etc/passwd"}),
    ],
)
def test_other_endpoints_refuse_clearly(client, endpoint, message, arguments):
    with pytest.raises(Exception, match=message):
        client.predict(api_name=endpoint, **arguments)


def examples(language: str, client: Client) -> list[str]:
    """The README's blocks of code about the API, calling the app that runs."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## As an API")[1].split("\n## ")[0]
    blocks = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert blocks and all(SERVER in block for block in blocks)
    return [block.replace(SERVER, client.src.rstrip("/")) for block in blocks]


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """The examples' photo.png, where they look for it."""
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photo.png"


def test_the_readme_calls_every_endpoint_from_python(client, photo):
    for block in examples("python", client):
        exec(compile(block, "README.md", "exec"), {})
        assert set(re.findall(r'api_name="/(\w+)"', block)) == {*app.ENDPOINTS, "models"}


def test_the_readme_asks_with_curl(client, photo):
    (block,) = examples("bash", client)
    ran = subprocess.run(["bash", "-eu", "-c", block], capture_output=True, text=True, timeout=60)
    event, data = ran.stdout.strip().split("\n")
    assert event == "event: complete"
    (found,) = json.loads(data.removeprefix("data: "))
    asked = client.predict(handle_file(photo), "What is this?", api_name="/ask")
    assert found["answer"] == asked["answer"] and found["question"] == "What is this?"


def test_mcp_clients_find_every_endpoint_as_a_described_tool(client, photo):
    (block,) = examples("json", client)
    address = json.loads(block)["mcpServers"]["crosstalk"]["url"]
    data = "data:image/png;base64," + base64.b64encode(photo.read_bytes()).decode()

    async def talk():
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            asked = await session.call_tool("ask", {"image": data, "question": "What is this?"})
            kept = await session.call_tool("forgetting", {"method": "sequential"})
            refused = await session.call_tool("ask", {"question": " "})
            return tools, asked, kept, refused

    with ThreadPoolExecutor(1) as pool:  # this thread may have the browser's event loop running in it
        tools, asked, kept, refused = pool.submit(asyncio.run, talk()).result()
    assert {tool.name for tool in tools} == {*app.ENDPOINTS, "models"}
    for tool in tools:
        assert "Returns: " in tool.description and not tool.inputSchema.get("required")
        for name, parameter in tool.inputSchema["properties"].items():
            assert parameter["description"], f"{tool.name} does not say what {name} is"
    found = ast.literal_eval(asked.content[0].text)
    assert found["answer"] == client.predict(handle_file(photo), "What is this?", api_name="/ask")["answer"]
    assert "matrix" in ast.literal_eval(kept.content[0].text)
    assert refused.isError and "There is no question" in refused.content[0].text


def test_the_notebook_draws_each_panel_from_its_numbers(client, monkeypatch):
    monkeypatch.chdir(ROOT / "assets")
    cells = [c for c in json.loads(Path("notebook.ipynb").read_text(encoding="utf-8"))["cells"] if "outputs" in c]
    assert not any(cell["outputs"] for cell in cells)
    known, figures = {}, []
    for cell in cells:
        exec(compile("".join(cell["source"]).replace(SERVER, client.src.rstrip("/")), "notebook.ipynb", "exec"), known)
        figures.append(known.get("figure"))
    _, interference, attention, decoding, space, forgetting = figures
    for figure in (interference, attention):  # the options' probabilities, and the shares of attention
        assert np.sum([trace.y for trace in figure.data], axis=0) == pytest.approx(np.ones(len(figure.data[0].x)))
    assert interference.data[0].x[0] == "as asked" and len(interference.data[0].x) > 3
    asked = client.predict(known["photo"], "Describe the picture.", api_name="/ask")
    assert "".join(decoding.data[0].text).strip() == asked["answer"]
    assert decoding.data[0].y == pytest.approx([step["logprob"] for step in asked["steps"]], abs=1e-4)
    (matrix,) = forgetting.data
    assert np.array_equal(matrix.z, load("sequential").matrix)
    turned = runs.measured(runs.recipe("plain")).spreads["rotation_image"].mean[0]
    assert space.data[0].y == pytest.approx(list(turned))
