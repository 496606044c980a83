"""The committed model, adapters, evaluation sets and card: of one piece, and doing what the card says."""

import json
from itertools import islice

import pytest

from analysis.forgetting import sets
from analysis.forgetting.measure import measure
from models.catalog import open_model
from models.checkpoints import BASE, Manifest
from models.embedded import ASSETS, evalsets, report
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
    assert sum(f.stat().st_size for f in files) < 75e6


def test_tasks_in_order_then_the_joint_reference():
    manifest = Manifest.load(SEQUENTIAL)
    assert manifest.order == TASKS
    assert [c.name for c in manifest.checkpoints] == [*TASKS, "joint"]


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_sets_are_those_of_the_recipe(task):
    items = load(SEQUENTIAL / f"{task}.jsonl")
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


def test_adapters_name_no_path_of_the_machine_they_were_made_on():
    for file in SEQUENTIAL.glob("*/adapter_config.json"):
        assert json.loads(file.read_text())["base_model_name_or_path"] == "crosstalk-mini"
