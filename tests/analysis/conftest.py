"""What several tests of the rooms share."""

import tempfile

import pytest
from PIL import Image


@pytest.fixture
def grey():
    return Image.new("RGB", (40, 30), (128, 128, 128))


@pytest.fixture(params=["llava", "qwen2_5_vl", "paligemma2"])
def tiny(request, opened):
    return opened(request.param)


@pytest.fixture
def unpacking(tmp_path, monkeypatch):
    """Where archives are unpacked in a test: empty again afterwards, whatever happened."""
    place = tmp_path / "unpacking"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []
