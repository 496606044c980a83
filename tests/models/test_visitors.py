"""Visitors at once, on different checkpoints of one model, in every family."""

import json
import threading

import pytest
from transformers import AutoModelForImageTextToText

from models.mllm import MLLM
from tests.models.small import save_adapter

NAMES = ("first", "second")


@pytest.fixture
def visited(family, zoo, tmp_path) -> MLLM:
    """A model of the family with two adapters on its decoder."""
    for seed, name in enumerate(NAMES):
        model = AutoModelForImageTextToText.from_pretrained(zoo(family))
        save_adapter(model, tmp_path / name, seed, r".*(language_model|text_model).*\.(q_proj|v_proj)")
    entries = [{"name": name, "task": name, "adapter": name} for name in NAMES]
    manifest = {"base": family, "method": "test", "order": list(NAMES), "checkpoints": entries}
    (tmp_path / "checkpoints.json").write_text(json.dumps(manifest))
    return MLLM.open(zoo(family), family, tmp_path, device="cpu")


def test_two_threads_on_two_checkpoints_give_the_serial_results(visited, picture):
    encoded = visited.encode(picture, "What is in the picture?")
    serial = {n: [s.token_id for s in visited.generate(encoded, n, 5)] for n in NAMES}
    found: dict[str, list] = {n: [] for n in NAMES}

    def visit(name):
        for _ in range(3):
            found[name].append([s.token_id for s in visited.generate(encoded, name, 5)])

    threads = [threading.Thread(target=visit, args=(n,)) for n in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [tokens] * 3 for n, tokens in serial.items()}


def test_all_checkpoints_in_one_batch_score_as_each_alone(visited, picture):
    encoded = visited.encode(picture, "What is in the picture?")
    names = visited.checkpoint_names
    together = visited.forward([encoded] * len(names), names).logits
    alone = [visited.forward([encoded], n).logits[0] for n in names]
    for row, wanted in zip(together, alone, strict=True):
        assert float((row - wanted).abs().max()) < 1e-3
    assert float((alone[1] - alone[2]).abs().max()) > 1e-3
