"""The repository as a download without git: running it leaves nothing that fails its own checks."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import sources


def test_serving_the_page_writes_nothing_beside_the_sources(served):
    assert sources(served.folder) == served.before
    ruff = Path(sys.executable).with_name("ruff")
    checked = subprocess.run([ruff, "check", "--no-cache", "."], cwd=served.folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
