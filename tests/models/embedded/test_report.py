"""What the card says of its own making."""

import json

import torch
from safetensors.torch import save_file

from models.embedded import report

BEFORE = """## Training cost

| stage | steps | minutes | device |
| --- | --- | --- | --- |
| continual/ewc/naming | 160 | 1.7 | cpu |
| continual/sefe/naming | 160 | 2.2 | cpu |

| method | seeds |
| sefe | 3 |
"""


def test_stages_of_another_machine_keep_their_cost(tmp_path):
    state = {k: json.dumps(v) for k, v in {"step": 160, "steps": 160, "seconds": 90.0, "device": "cuda"}.items()}
    (tmp_path / "continual" / "sefe").mkdir(parents=True)
    save_file({"w": torch.zeros(1)}, tmp_path / "continual" / "sefe" / "naming.safetensors", state)
    unfinished = state | {"step": "80"}
    save_file({"w": torch.zeros(1)}, tmp_path / "continual" / "sefe" / "counting.safetensors", unfinished)
    rows = report._cost(tmp_path, BEFORE).splitlines()[4:]
    assert rows == ["| continual/ewc/naming | 160 | 1.7 | cpu |", "| continual/sefe/naming | 160 | 1.5 | cuda |"]


def test_without_any_state_it_says_so(tmp_path):
    assert "No training state" in report._cost(tmp_path, "")
