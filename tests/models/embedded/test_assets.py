"""The committed model, adapters, evaluation sets and card: of one piece, and doing what the card says."""

import json
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.forgetting import sets
from analysis.forgetting.measure import measure
from models.catalog import open_model
from models.checkpoints import BASE, Manifest
from models.embedded import ASSETS, continual, evalsets, report
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.train import SEQUENTIAL
from models.evalset import load
from models.evaluation import Evaluation


@pytest.fixture(scope="module")
def mini():
    return open_model()


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return sets.answers("sequential")


def test_only_safetensors_and_small_enough():
    files = [f for f in ASSETS.rglob("*") if f.is_file()]
    assert {f.suffix for f in files} <= {".safetensors", ".json", ".jsonl", ".webp", ".md", ".parquet", ".jinja", ".gz"}
    assert sum(f.stat().st_size for f in files) < 95e6


def test_tasks_in_order_then_the_joint_reference():
    manifest = Manifest.load(SEQUENTIAL)
    assert manifest.order == TASKS
    assert [c.name for c in manifest.checkpoints] == [*TASKS, "joint"]


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_sets_are_those_of_the_recipe(task):
    unseen = SEQUENTIAL / evalsets.FOLDERS[evalsets.UNSEEN]
    items = load((unseen if unseen.exists() else SEQUENTIAL) / f"{task}.jsonl")  # what ships may be of an older recipe
    assert len(items) >= 200
    drawn = evalsets.examples(task, learnt_in(task), (UNSEEN_STYLE,), 8, 0, f"evaluation-{task}")
    for item, (scene, turn) in zip(items, drawn, strict=False):
        assert (item.question, item.answer, item.style) == (turn.question, turn.answer, turn.style)
        assert {i.style for i in scene.items} == {UNSEEN_STYLE}
        assert item.picture().size == (evalsets.PIXELS, evalsets.PIXELS)


@pytest.mark.parametrize("checkpoint", [BASE, "naming", "captioning", "joint"])
def test_kept_answers_are_what_the_model_answers(mini, found, checkpoint):
    for task in TASKS:
        items = found.items[task][:4]
        now = mini.answers([mini.encode(i.picture(), i.question) for i in items], checkpoint)
        kept = found.given[task][checkpoint][:4]
        assert sum(a == b for a, b in zip(now, kept, strict=True)) >= 3  # rounding may differ between processors


def test_the_base_sees():
    mllm = open_model()
    for task, least in (("counting", 0.7), ("existence", 0.85), ("naming", 0.85), ("grounding", 0.7)):
        drawn = islice(evalsets.examples(task, learnt_in("base"), TRAINED_STYLES, 40, 5, "test"), 40)
        assert report.measure(mllm, BASE, drawn).mean() > least


def test_the_base_needs_the_picture(mini):
    """The same questions beside another scene's picture: fewer right, so answers do come from the picture."""
    drawn = list(evalsets.examples("counting", learnt_in("base"), TRAINED_STYLES, 40, 6, "test"))
    right = report.measure(mini, BASE, drawn).mean()
    swapped = [(scene, turn) for (scene, _), (_, turn) in zip(drawn[1:] + drawn[:1], drawn, strict=True)]
    assert report.measure(mini, BASE, swapped).mean() < right


def test_the_card_is_of_these_answers(found):
    text = (ASSETS / "CARD.md").read_text(encoding="utf-8")
    for line in measure(found).matrix_table().markdown().splitlines():
        assert line in text


def test_no_task_of_a_recipe_rewrites_the_base():
    """Each set's increments, by what was written with them, and by themselves: on average over the decoder's matrices a
    task moves at most a quarter of their norm. (The first recipe, one adapter of rank 2 through all tasks, moved more.)
    """
    base = open_model().model.state_dict()
    for file in SEQUENTIAL.parent.glob("*/checkpoints.json"):
        manifest = Manifest.load(file.parent)
        for task, told in manifest.recipe.get("moved", {}).items():
            assert told <= continual.MOST_MOVED, (file, task)
            if task == "joint":
                continue
            checkpoint = next(c for c in manifest.checkpoints if c.task == task)
            # told against the weights that the task began with, which earlier ones have moved a little
            assert moved(checkpoint.adapters[-1], base) == pytest.approx(told, rel=0.25)


def _weight(base, module: str):
    return base.get(f"{module}.weight", base.get(f"{module}.base_layer.weight")).float()


def _tensors(adapter):
    return load_file(adapter / "adapter_model.safetensors")


def test_a_recipe_that_rewrites_is_told_apart(tmp_path):
    """The adapters of the first recipe, rank 2 at 4e-3, moved each matrix by more than a third of its norm."""
    base = open_model().model.state_dict()
    config = {"r": 2, "lora_alpha": 4}
    name = "model.language_model.layers.0.self_attn.q_proj"
    weight = _weight(base, name)
    down, up = torch.zeros(2, weight.shape[1]), torch.zeros(weight.shape[0], 2)
    down[0, 0], up[0, 0] = 1.0, 0.15 * weight.norm()  # times 2, the scale
    keys = (f"base_model.model.{name}.lora_{part}.weight" for part in "AB")
    save_file(dict(zip(keys, (down, up), strict=True)), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert moved(tmp_path, base) == pytest.approx(0.3) and moved(tmp_path, base) > continual.MOST_MOVED


def moved(adapter, base) -> float:
    """|B A| / |W|, the mean over the decoder's matrices, of one increment against the base's weights."""
    config, lora = json.loads((adapter / "adapter_config.json").read_text()), _tensors(adapter)
    scale, shares = config["lora_alpha"] / config["r"], []
    for key, down in lora.items():
        if "language_model" in key and key.endswith("lora_A.weight"):
            change = scale * lora[key.replace("lora_A", "lora_B")].float() @ down.float()
            weight = _weight(base, key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            shares.append(float(change.norm() / weight.norm()))
    return sum(shares) / len(shares)


def test_adapters_name_no_path_of_the_machine_they_were_made_on():
    for file in SEQUENTIAL.glob("*/adapter_config.json"):
        assert json.loads(file.read_text())["base_model_name_or_path"] == "crosstalk-mini"
