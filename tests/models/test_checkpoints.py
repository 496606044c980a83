import json
import shutil

import pytest
import torch

from models.checkpoints import CheckpointSet, Manifest
from models.errors import CheckpointError
from models.mllm import MLLM


def rewrite(folder, change):
    file = folder / "checkpoints.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_manifest_is_read_in_the_order_of_tasks(copied):
    def reference_first(data):
        data["checkpoints"].reverse()
        data["checkpoints"].insert(0, {"name": "joint", "task": "all", "adapter": "naming"})

    rewrite(copied, reference_first)
    manifest = Manifest.load(copied)
    assert [c.name for c in manifest.checkpoints] == ["naming", "counting", "joint"]
    assert manifest.checkpoints[0].eval == copied / "naming.jsonl"
    assert manifest.checkpoints[2].eval is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("base"), '"base"'),
        (lambda d: d.pop("method"), '"method"'),
        (lambda d: d.update(order="naming"), '"order"'),
        (lambda d: d.update(order=[1]), '"order"'),
        (lambda d: d.update(order=["naming", "painting"]), "painting"),
        (lambda d: d.update(checkpoints=[]), "at least one"),
        (lambda d: d["checkpoints"][1].pop("adapter"), r'"adapter".*checkpoint 2'),
        (lambda d: d["checkpoints"][0].update(name=3), r'"name".*checkpoint 1'),
        (lambda d: d["checkpoints"].__setitem__(0, "naming"), "checkpoint 1"),
        (lambda d: d["checkpoints"][0].update(name="counting"), "differ"),
        (lambda d: d["checkpoints"][0].update(name="base"), "differ"),
        (lambda d: d["checkpoints"][0].update(adapter="../set/../.."), "leads out"),
        (lambda d: d["checkpoints"][0].update(adapter="/etc"), "leads out"),
        (lambda d: d["checkpoints"][0].update(adapter="nowhere"), "not there"),
        (lambda d: d["checkpoints"][0].update(eval="nowhere.jsonl"), "not there"),
        (lambda d: d["checkpoints"][0].update(eval=["x"]), '"eval"'),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(copied, change, told):
    rewrite(copied, change)
    with pytest.raises(CheckpointError, match=told) as error:
        Manifest.load(copied)
    assert "checkpoints.json" in str(error.value)


def test_no_manifest_and_no_json(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoints\.json"):
        Manifest.load(tmp_path)
    (tmp_path / "checkpoints.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        Manifest.load(tmp_path)


def test_a_link_out_of_the_folder_is_refused(copied, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(copied / "naming", outside)
    (copied / "naming").symlink_to(outside)
    with pytest.raises(CheckpointError, match="leads out"):
        Manifest.load(copied)


def opened(saved, folder):
    model = MLLM.open(saved / "model", device="cpu").model
    return CheckpointSet.open(folder, model)


def test_adapters_that_do_not_fit(saved, copied, tokenizer):
    from safetensors.torch import load, save_file

    file = copied / "counting" / "adapter_model.safetensors"
    whole = file.read_bytes()
    tensors = load(whole)  # not load_file: that maps the file which is rewritten below

    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="counting.*does not fit"):
        opened(saved, copied)

    save_file({k.replace("language_model", "decoder"): v for k, v in tensors.items()}, file)
    with pytest.raises(CheckpointError, match="weights do not match"):
        opened(saved, copied)

    save_file({k: v for i, (k, v) in enumerate(tensors.items()) if i}, file)
    with pytest.raises(CheckpointError, match="1 weights do not match"):
        opened(saved, copied)

    save_file({k: torch.cat([v, v], dim=1 if "lora_A" in k else 0) for k, v in tensors.items()}, file)
    with pytest.raises(CheckpointError, match="does not fit"):
        opened(saved, copied)

    file.unlink()
    torch.save(tensors, copied / "counting" / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="other formats are not opened"):
        opened(saved, copied)


def test_after_a_checkpoint_the_base_is_back(saved, copied):
    loaded = opened(saved, copied)
    with loaded.use("naming"):
        assert loaded.model.active_adapter == "naming"
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode(), loaded.use("base"):
        first = loaded.model(input_ids=ids).logits
    with torch.inference_mode(), loaded.use("counting"):
        assert not torch.allclose(loaded.model(input_ids=ids).logits, first, atol=1e-3)
    with torch.inference_mode(), loaded.use("base"):
        assert torch.equal(loaded.model(input_ids=ids).logits, first)
