import copy

import pytest
import torch
from safetensors.torch import load_file

from models.embedded import tasks
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.evalsets import examples
from models.embedded.fit import generator


@pytest.fixture
def small(saved):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(saved / "model")


def test_the_sequence_goes_on_from_task_to_task(small, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "BATCH", 2)
    monkeypatch.setattr(tasks, "TASKS", ("naming", "choice"))
    out = tmp_path / "set"
    log: list[str] = []

    def train():
        tasks.train(tmp_path / "state", lambda: copy.deepcopy(small), tokenizer, 0, out, log.append, 2, 1)

    train()
    first, second, joint = (load_file(out / n / "adapter_model.safetensors") for n in ("naming", "choice", "joint"))
    assert first.keys() == second.keys() == joint.keys()
    assert any("projector" in k for k in first)
    assert any("vision_tower" in k for k in first)

    def moved(a, b):
        return sum(float((a[k].float() - b[k].float()).square().sum()) for k in a)

    assert moved(first, second) > 0
    assert {v.dtype for v in first.values()} == {torch.float16}
    log.clear()
    train()
    assert log == ["sequential-naming: done before", "sequential-choice: done before", "joint: done before"]
    again = load_file(out / "choice" / "adapter_model.safetensors")
    assert moved(second, again) == 0


@pytest.mark.parametrize("task", TASKS)
def test_a_task_asks_about_its_own_concepts_in_its_own_style(task):
    styles = {"naming": "word", "counting": "numeral", "existence": "yes/no", "grounding": "box", "choice": "letter"}
    own = set(learnt_in(task))
    for scene, turn in examples(task, learnt_in(task), ("noto",), 20, 0, "test"):
        assert set(scene.counts) <= own
        assert turn.style == styles.get(task, "sentence")


def test_yes_and_no_are_balanced():
    answers = [t.answer for _, t in examples("existence", learnt_in("existence"), ("noto",), 20, 0, "test")]
    assert answers.count("yes") == 10


def test_training_rows_fit_and_are_balanced():
    scene = tasks.scene_for(generator(0, "test", 0), "existence", ("fluent",), 0.5)
    turns = [b.turns[0] for b in tasks.turns_for(generator(0, "test", 1), "existence", scene)]
    assert sorted(t.answer for t in turns) == ["no", "no", "yes", "yes"]
    choice = tasks.turns_for(generator(0, "test", 2), "choice", scene)
    assert [b.sees for b in choice] == [True, True, False]
