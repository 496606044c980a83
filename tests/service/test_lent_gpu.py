"""Every endpoint where a GPU is lent for each call gives the same as where there is one."""

import math

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from PIL import Image

import app
from analysis import jobs, page
from models import catalog
from models.errors import InputError
from tests.lending import lend

_ASKED = {
    "ask": {"question": "Which of these is in the picture? A. cat B. dog"},
    "interference": {"question": "What is this?", "choices": ["cat", "bee"], "perturbations": ["misleading", "black"]},
    "interference_dataset": {},
    "conflict": {"question": "What is this?", "text": "Text: There is a dog.", "seen": "bee", "told": "dog"},
    "conflicts": {},
    "attribute": {"question": "What is this?", "method": "ablation"},
    "attention": {"question": "What is this?"},
    "decode": {"question": "Describe the picture.", "strategies": ["greedy", "nucleus", "inter"]},
    "embedding_space": {"method": "mod-x"},
    "forgetting": {},
    "forgetting_probe": {"question": "What is this?", "truth": "cat"},
}
_OF_TIME = ("seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def client():
    """Each endpoint twice: as it is, and as ``..._lent``."""
    catalog.open_model()
    with pytest.MonkeyPatch.context() as patch, gr.Blocks() as demo:
        for name, endpoint in app.ENDPOINTS.items():
            gr.api(page.for_model(endpoint), api_name=name)
            patch.setattr(page, "gpu", lend)
            gr.api(page.for_model(endpoint), api_name=f"{name}_lent")
            patch.undo()
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", run_history=False)
    yield Client(address, verbose=False)
    demo.close(verbose=False)


def _same(lent, plain) -> bool:
    """Whether both are the same, times apart and numbers to what another count of threads rounds otherwise."""
    if isinstance(plain, dict):
        return lent.keys() == plain.keys() and all(_same(lent[k], plain[k]) for k in plain.keys() - _OF_TIME)
    if isinstance(plain, list):
        return len(lent) == len(plain) and all(map(_same, lent, plain))
    return math.isclose(lent, plain, rel_tol=1e-3, abs_tol=1e-5) if isinstance(plain, float) else lent == plain


def test_every_endpoint_is_asked():
    assert set(_ASKED) == set(app.ENDPOINTS)


@pytest.mark.parametrize("name", app.ENDPOINTS)
def test_a_lent_gpu_gives_the_same(client, name, tmp_path):
    asked = dict(_ASKED[name])
    if "question" in asked:
        Image.new("RGB", (64, 48), "teal").save(tmp_path / "picture.png")
        asked["image"] = handle_file(tmp_path / "picture.png")
    plain = client.predict(**asked, api_name=f"/{name}")
    lent = client.predict(**asked, api_name=f"/{name}_lent")
    assert _same(lent, plain), (lent, plain)


def test_a_refusal_says_the_same(client):
    with pytest.raises(Exception, match="no question"):
        client.predict(question=" ", api_name="/ask_lent")


def test_long_work_tells_how_far_it_is_and_what_was_wrong(monkeypatch):
    def handler(count):
        def work(progress):
            for i in range(count):
                progress(i / count, "counting")
            raise InputError("It cannot be counted.")

        yield from jobs.watched(work)

    monkeypatch.setattr(page, "gpu", lend)
    with pytest.raises(gr.Error, match="cannot be counted"):
        list(page.for_model(handler)(3))
