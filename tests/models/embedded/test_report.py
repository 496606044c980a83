"""What the card says of its own making."""

import json

import torch
from safetensors.torch import save_file

from models.embedded import ASSETS, TRAINING, report

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


def test_the_card_has_what_the_next_base_was_measured_to_do(monkeypatch, tmp_path):
    told = report.following()
    assert "\n\n".join(told) in (ASSETS / "CARD.md").read_text(encoding="utf-8")
    measured = json.loads((ASSETS / "next" / "crosstalk-mini" / TRAINING).read_text())["measured"]
    rows = told[-1].splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows[: len(measured)]] == list(measured)
    assert all(" % to " in row.replace("%", " %") and int(row.split(" | ")[-1].rstrip(" |")) >= 300 for row in rows)
    monkeypatch.setattr(report, "ASSETS", tmp_path)
    assert report.following() == []
