"""What several tests of the rooms share."""

import tempfile

import numpy as np
import pytest
from PIL import Image

from models.mllm import MLLM
from tests.models.zoo import save


@pytest.fixture
def grey():
    return Image.new("RGB", (40, 30), (128, 128, 128))


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "paligemma2"])
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save(request.param, folder)
    return MLLM.open(folder, request.param, device="cpu")


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (36, 48, 3), dtype=np.uint8))


@pytest.fixture
def unpacking(tmp_path, monkeypatch):
    """Where archives are unpacked in a test: empty again afterwards, whatever happened."""
    place = tmp_path / "unpacking"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []
