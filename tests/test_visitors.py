"""Many visitors at once: each gets the answer that is hers."""

import pytest
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
