"""The repository as a download without git: running it leaves nothing that fails its own checks."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINKED = ("assets", ".venv")  # large, and read alone


def test_building_the_page_writes_nothing_beside_the_sources(tmp_path):
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.pyi", "build", *LINKED)
    copy = shutil.copytree(ROOT, tmp_path / "crosstalk", ignore=left_out)
    for name in LINKED:
        (copy / name).symlink_to(ROOT / name)
    before = {path for path in copy.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    code = "import app; app.build()"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, timeout=120)
    after = {path for path in copy.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    assert after == before
    ruff = Path(sys.executable).with_name("ruff")
    checked = subprocess.run([ruff, "check", "--no-cache", "."], cwd=copy, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
