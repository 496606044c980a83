"""What several tests of the models share; models that are opened once are in ``tests/conftest.py``."""

import shutil

import pytest

from tests.models.zoo import FAMILIES


@pytest.fixture
def copied(saved, tmp_path):
    """A copy of the checkpoint set that a test may damage."""
    return shutil.copytree(saved / "set", tmp_path / "set")


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    """The name of each family in turn; ``zoo(family)`` is its checkpoint, ``opened(family)`` its model."""
    return request.param
