"""The matrix cell by cell: kept as it goes, never asked twice, and whole again after a kill."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis import kept
from analysis.charts import source
from analysis.forgetting import sets
from analysis.forgetting.measure import measure
from models import catalog
from models.errors import CheckpointError, EvalSetError
from models.mllm import MLLM
from tests.models import zoo

TASKS = ("colours", "shapes")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    zoo.save_set("llava", folder, TASKS, items=4)
    return folder


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")


@pytest.fixture(scope="module")
def mllm(folder):
    return MLLM.open(folder / "my-model", "my-model", folder / "my-set", device="cpu")


def missing(mllm):
    """The cells, a checkpoint and a task, of which no answers are kept."""
    found = sets.evaluate(mllm, only_kept=True)
    return [(name, task) for name in found.checkpoints for task in found.tasks if name not in found.given[task]]


@pytest.fixture
def asked(monkeypatch):
    """The checkpoints that were asked, in their order, and how many items."""
    seen, given = [], sets.given

    def counted(mllm, items, name, places):
        seen.append((name, len(places)))
        return given(mllm, items, name, places)

    monkeypatch.setattr(sets, "given", counted)
    return seen


def test_every_cell_is_asked_once(mllm, asked):
    shares = []
    found = sets.evaluate(mllm, lambda share, what: shares.append((share, what)))
    assert asked == [(name, 4) for name in ("base", *TASKS) for _ in TASKS]
    assert [share for share, _ in shares] == pytest.approx([i / 24 for i in range(24)])
    assert shares[13][1] == "shapes, colours: 1 of 4 items"
    item = found.items["shapes"][2]
    alone = mllm.answers([mllm.encode(item.picture(), item.question)], "colours")
    assert found.given["shapes"]["colours"][2] == alone[0]
    assert found.provenance["model"] == "my-model" and found.provenance["checkpoint"] == "all"
    assert sets.evaluate(mllm, pytest.fail) == found
    assert len(asked) == 6
    assert sets.evaluate(mllm, only_kept=True) == found and missing(mllm) == []


def test_further_sets_are_asked_of_the_base_and_the_last_checkpoint(folder, tmp_path, asked):
    shutil.copytree(folder, tmp_path / "also")
    own, file = tmp_path / "also" / "my-set", tmp_path / "also" / "my-set" / "checkpoints.json"
    data = json.loads(file.read_text())
    evals = {entry["task"]: entry["eval"] for entry in data["checkpoints"]}
    also = {"base kept": evals, "style never seen": {"shapes": evals["shapes"]}, "original forms": evals}
    file.write_text(json.dumps(data | {"also": also}))
    mllm = MLLM.open(tmp_path / "also" / "my-model", "my-model", own, device="cpu")
    assert sets.beside(mllm, only_kept=True) == {}
    found = sets.beside(mllm)
    assert {kind: (of.tasks, of.checkpoints) for kind, of in found.items()} == {
        "base kept": (TASKS, ("base", "shapes")), "style never seen": (("shapes",), ("base", "shapes")),
        "original forms": (TASKS, ("base", *TASKS)),
    }  # fmt: skip
    # the same items are not asked twice
    assert asked == [(name, 4) for name in ("base", "shapes", "colours") for _ in TASKS]
    assert sets.beside(mllm, only_kept=True) == found
    assert found["base kept"].scores["shapes"]["base"].shape == (4,)


KILLED = """
import sys, time
from analysis import kept
from analysis.forgetting import sets
from models.mllm import MLLM

kept._ITEMS = 2
folder = sys.argv[1]

def progress(share, what):
    print(what, flush=True)
    if what.startswith("colours, colours: 2"):  # in the middle of the third cell
        time.sleep(600)

sets.evaluate(MLLM.open(folder + "/my-model", "my-model", folder + "/my-set", device="cpu"), progress)
"""


def test_a_killed_run_loses_no_more_than_the_items_since_it_last_kept_some(folder, mllm, asked):
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        told = []
        while not told or not told[-1].startswith("colours, colours: 2"):
            told.append(run.stdout.readline())
            assert told[-1], "the run ended by itself"
    finally:
        run.kill()
    assert run.wait() == -9
    assert missing(mllm) == [("colours", "colours"), ("colours", "shapes"), ("shapes", "colours"), ("shapes", "shapes")]
    found = sets.evaluate(mllm)
    assert asked == [("colours", 2), ("colours", 4), ("shapes", 4), ("shapes", 4)]  # nothing finished is asked again
    assert not list(kept.folder().rglob("*.parts"))
    whole = sets.evaluate(MLLM.open(folder / "my-model", "my-model", folder / "my-set", device="cpu"), pytest.fail)
    assert whole.given == found.given
    assert all(len(found.given[task][name]) == 4 for task in TASKS for name in found.checkpoints)


def test_half_a_file_is_asked_again_and_no_other(mllm, asked):
    found = sets.evaluate(mllm)
    file = sorted(kept.folder().rglob("*.gz"))[2]
    file.write_bytes(file.read_bytes()[:-20])
    assert len(missing(mllm)) == 1
    assert sets.evaluate(mllm).given == found.given
    assert len(asked) == 7


def test_a_stopped_run_goes_on_where_it_was(mllm, asked):
    def stop(share, what):
        if share >= 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sets.evaluate(mllm, stop)
    assert len(asked) == 3 and len(missing(mllm)) == 3
    sets.evaluate(mllm)
    assert len(asked) == 6


def test_the_same_weights_share_their_cells_whatever_they_are_called(folder, mllm, asked, tmp_path):
    sets.evaluate(mllm)
    other = shutil.copytree(folder / "my-set", tmp_path / "other")
    data = json.loads((other / "checkpoints.json").read_text())
    data["checkpoints"][0]["name"] = "first"
    shutil.move(other / "colours", other / "elsewhere")
    data["checkpoints"][0]["adapter"] = "elsewhere"
    (other / "checkpoints.json").write_text(json.dumps(data))
    again = MLLM.open(folder / "my-model", "another name", other, device="cpu")
    found = sets.evaluate(again, pytest.fail)
    assert found.checkpoints == ("base", "first", "shapes") and found.provenance["model"] == "another name"
    shutil.copytree(other / "shapes", other / "elsewhere", dirs_exist_ok=True)  # other weights under the same name
    asked.clear()
    changed = sets.evaluate(MLLM.open(folder / "my-model", "my-model", other, device="cpu"))
    assert asked == []  # now it is the other checkpoint of the set
    assert changed.given["colours"]["first"] == changed.given["colours"]["shapes"]


def test_mended_truths_are_scored_anew_and_new_questions_asked(folder, mllm, asked, tmp_path):
    sets.evaluate(mllm)
    other = shutil.copytree(folder / "my-set", tmp_path / "other")
    text = (other / "shapes.jsonl").read_text()
    (other / "shapes.jsonl").write_text(text.replace('"red"', '"blue"'))
    again = MLLM.open(folder / "my-model", "my-model", other, device="cpu")
    found = sets.evaluate(again, pytest.fail)
    assert {item.answer for item in found.items["shapes"]} == {"blue"}
    asked.clear()
    (other / "shapes.jsonl").write_text(text.replace("Which of the shapes, 0", "Which shape, 0"))
    sets.evaluate(again)
    assert asked == [("base", 4), ("colours", 4), ("shapes", 4)]


def entry(folder):
    return catalog.Entry("my-model", str(folder / "my-model"), True, "", ("base", *TASKS), folder / "my-set")


def test_what_is_at_hand_is_read_without_opening_the_model(folder, mllm, monkeypatch):
    monkeypatch.setattr(sets, "offered", lambda: {"my-model": entry(folder)})
    with pytest.raises(CheckpointError, match="my-set has not been measured: press Measure. It asks every checkpoint"):
        sets.answers("my-model")

    def stop(share, what):
        if share >= 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sets.evaluate(mllm, stop)
    with pytest.raises(CheckpointError, match="press Measure. 3 of 6 cells are there; it goes on from those"):
        sets.answers("my-model")
    found = sets.evaluate(mllm)
    monkeypatch.setattr(MLLM, "open", pytest.fail)
    assert sets.answers("my-model").given == found.given
    with pytest.raises(CheckpointError, match="no checkpoint set 'nobody'.*my-model"):
        sets.answers("nobody")


def test_a_model_quantised_otherwise_is_asked_itself(folder, mllm, monkeypatch):
    whole = sets.evaluate(mllm)
    assert whole.provenance["bits"] is None
    monkeypatch.setattr(sets, "offered", lambda: {"my-model": entry(folder)})
    assert sets.answers("my-model").given == whole.given
    monkeypatch.setenv("CROSSTALK_QUANTIZE", "4")
    with pytest.raises(CheckpointError, match="has not been measured"):
        sets.answers("my-model")
    monkeypatch.setattr(mllm.model.config, "quantization_config", {"load_in_4bit": True}, raising=False)
    assert len(missing(mllm)) == 6
    assert sets.evaluate(mllm).provenance["bits"] == 4
    assert sets.answers("my-model").provenance["bits"] == 4


def test_what_cannot_be_kept_is_shown_all_the_same_and_says_so(folder, mllm, asked, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(sets, "offered", lambda: {"my-model": entry(folder)})
    monkeypatch.setattr(catalog, "using", lambda name: nullcontext(mllm))
    with pytest.raises(CheckpointError, match="has not been measured"):
        sets.answers("my-model")
    found = sets.measured("my-model", sets.evaluate, lambda share, what: None)
    again = sets.answers("my-model")
    assert again.given == found.given and len(asked) == 6
    told = source(measure(again).provenance)
    assert "not kept, as CROSSTALK_CACHE cannot be written (Not a directory)" in told and str(tmp_path) not in told


def test_what_is_no_whole_set_is_refused(folder, tmp_path):
    plain = MLLM.open(folder / "my-model", "my-model", device="cpu")
    with pytest.raises(CheckpointError, match="my-model has no checkpoint set to measure"):
        sets.evaluate(plain)
    other = shutil.copytree(folder / "my-set", tmp_path / "other")
    lines = (other / "shapes.jsonl").read_text().splitlines()
    (other / "shapes.jsonl").write_text("\n".join([lines[0], json.dumps({"question": "What?"})]))
    with pytest.raises(EvalSetError, match=r'other/shapes\.jsonl, line 2: field "answer" is missing'):
        sets.evaluate(MLLM.open(folder / "my-model", "my-model", other, device="cpu"))


def test_a_sets_manifest_is_read_again_only_when_it_changed(folder, tmp_path, monkeypatch):
    own, load, read = tmp_path / "set", sets.Manifest.load, []
    shutil.copytree(folder / "my-set", own)
    monkeypatch.setattr(sets.Manifest, "load", lambda path: read.append(path) or load(path))
    assert sets._has_items(own) and sets._has_items(own) and len(read) == 1
    without = json.loads((own / "checkpoints.json").read_text(encoding="utf-8"))
    for checkpoint in without["checkpoints"]:
        del checkpoint["eval"]
    (own / "checkpoints.json").write_text(json.dumps(without), encoding="utf-8")
    assert not sets._has_items(own)
