"""Many visitors at once: each gets the answer that is hers."""

import time

import httpx
import pytest
from gradio_client import Client
from PIL import Image

from benchmarks.visitors import crowd, mixed, visit


@pytest.fixture
def calls(tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (96, 96), "teal").save(photo)
    return mixed(str(photo))


def test_every_visitor_gets_the_answer_that_she_would_get_alone(served, calls):
    alone = {which: answer for which, answer, _ in visit(served.address, calls, [*range(len(calls))])}
    found = crowd(served.address, calls, visitors=5, each=3)
    assert [len(one) for one in found] == [3] * 5
    for one in found:
        for which, answer, _ in one:
            assert answer == alone[which], calls[which]


def test_long_work_of_a_program_ends_when_it_hangs_up(served):
    asked = {"data": ["", "", 1800, 18, "base"]}  # minutes of work, with a seed that is not kept
    where = f"{served.address}/gradio_api/call/conflicts"
    number = httpx.post(where, json=asked).json()["event_id"]
    with httpx.stream("GET", f"{where}/{number}", timeout=30) as told:
        assert told.status_code == 200
        time.sleep(2)
        assert not told.is_closed
    other = Client(served.address, verbose=False)  # of the long ones, one at a time
    assert other.submit(method="mod-x", api_name="/embedding_space").result(timeout=60)["phases"]
