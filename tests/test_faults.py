"""What goes wrong around an answer is told, nothing of it stays, and the next one is as it would have been."""

import errno
import re
from types import SimpleNamespace

import gradio as gr
import pytest
import torch

import app
from analysis import exports, jobs, page
from analysis.bar import composer, view
from models import catalog, devices

ASK = page.for_people(app.ENDPOINTS["ask"])
ATTRIBUTE = page.for_people(app.ENDPOINTS["attribute"])


@pytest.fixture
def returned(monkeypatch):
    """Times that memory was given back."""
    times = []
    monkeypatch.setattr(page, "freed", lambda: times.append(1))
    return times


def _short(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_forward_that_memory_is_short_for(monkeypatch):
    model = catalog.open_model().model
    before = ASK(question="Is a bee an animal?")
    with monkeypatch.context() as full:
        full.setattr(type(model), "forward", _short)
        with pytest.raises(gr.Error, match=r"Out of memory on .*2\.00 GiB more were needed.*Take a smaller picture"):
            ASK(question="Is a bee an animal?")
    after = ASK(question="Is a bee an animal?")
    assert (after["answer"], after["steps"]) == (before["answer"], before["steps"])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_backward_pass_that_memory_is_short_for(monkeypatch, error):
    def short(*args, **kwargs):
        raise error

    with monkeypatch.context() as full:
        full.setattr(torch.autograd, "grad", short)
        full.setattr(torch.Tensor, "backward", short)
        with pytest.raises(gr.Error, match="memory"):
            ATTRIBUTE(question="Is a bee an animal?")
    assert ATTRIBUTE(question="Is a bee an animal?", method="ablation")["words"]


def test_memory_that_is_short_elsewhere_is_told_and_given_back(returned):
    def failing(error):
        raise error

    for short in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")):
        with pytest.raises(gr.Error, match="memory does not suffice"):
            page.for_people(failing)(short)
    assert len(returned) == 3
    with pytest.raises(gr.Error, match="not foreseen"):
        page.for_people(failing)(RuntimeError("size mismatch"))
    assert len(returned) == 3


def test_a_full_disk_is_told_and_other_faults_of_files_are_not_mistaken_for_it(returned):
    def failing(number):
        raise OSError(number, "as the system calls it")
        yield

    with pytest.raises(gr.Error, match="disk of this server is full"):
        list(page.for_people(failing)(errno.ENOSPC))
    with pytest.raises(gr.Error, match="not foreseen"):
        list(page.for_people(failing)(errno.EIO))
    assert not returned


def _number(message: str) -> str:
    return re.search(r"was not foreseen \(([0-9a-f]{6})\)", message)[1]


@pytest.mark.parametrize("error", [KeyError("patch_size"), TypeError("no None"), AssertionError(), OSError("odd")])
def test_what_nobody_foresaw_is_told_with_a_number_that_the_log_has(caplog, error):
    def failing():
        yield "begun"
        raise error

    running = page.for_people(failing)()
    assert next(running) == "begun"
    with pytest.raises(gr.Error) as told:
        next(running)
    (logged,) = caplog.records
    assert _number(told.value.message) in logged.getMessage() and logged.exc_info[1] is error
    assert repr(error) not in told.value.message  # it may name the host's files


def test_what_a_handler_tells_itself_is_left_as_it_is(caplog):
    def refusing():
        raise gr.Error("Not so.")

    with pytest.raises(gr.Error, match="^'Not so.'$"):
        page.for_people(refusing)()
    assert not caplog.records


def test_every_handler_of_the_page_tells_its_errors(monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("nobody foresaw this")

    demo = app.build()
    handlers = {event.name: event.fn for event in demo.fns.values() if event.fn}
    assert all(hasattr(handler, "__wrapped__") for handler in handlers.values())
    monkeypatch.setattr(composer, "surprise", broken)
    monkeypatch.setattr(catalog, "entries", broken)
    surprise, link = (None, {"number": 1, "surprise": True}), (SimpleNamespace(query_params={}),)
    for name, given in {"_picked": surprise, "linked": link, "models": ()}.items():
        with pytest.raises(gr.Error) as told:
            handlers[name](*given)
        assert _number(told.value.message)


def test_a_model_that_fails_in_a_way_nobody_foresaw_leaves_the_one_before(monkeypatch, caplog):
    def broken(name):
        raise KeyError("patch_size")

    said = []
    monkeypatch.setattr(catalog, "open_model", broken)
    monkeypatch.setattr(gr, "Warning", said.append)
    assert view._choose("owner/odd", "crosstalk-mini")[:2] == ("crosstalk-mini", "crosstalk-mini")
    assert _number(said[0]) in caplog.text and said[0].endswith("crosstalk-mini stays.")


def test_memory_is_really_given_back(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    devices.freed()
    assert emptied


def test_long_work_is_stopped_and_files_are_deleted_at_the_end(monkeypatch, tmp_path):
    files = exports.tempfile.TemporaryDirectory(dir=tmp_path)
    monkeypatch.setattr(exports, "_files", lambda: files)
    exports._saved("crosstalk.csv", "a visitor's numbers")
    ended = []

    def work(progress):
        try:
            while True:
                progress(0.5, "measuring")
        except InterruptedError:
            ended.append(True)
            raise

    running = jobs.watched(work)
    assert next(running).share in (0.0, 0.5)
    jobs.stop(10)
    exports.close()
    assert ended and not jobs._running and not list(tmp_path.iterdir())
    with pytest.raises(InterruptedError):
        list(running)
