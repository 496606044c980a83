import fnmatch
import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load, save_file
from transformers import AutoModelForImageTextToText

from models import hub, manifest
from models.checkpoints import BASE, Blend, CheckpointSet, Manifest, Merge, Patch
from models.errors import CheckpointError, ModelError
from models.loading import OPENING

IDS = torch.tensor([[5, 6, 7, 8, 9]])
TARGETS = r".*language_model.*\.(q|v|down)_proj"
PROJECTOR = "model.multi_modal_projector.linear_1.weight"


def fresh(saved):
    model = AutoModelForImageTextToText.from_pretrained(saved / "model")
    return model.eval().requires_grad_(False)


def rewrite(folder, change):
    file = folder / "checkpoints.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def logits(model, ids=IDS):
    with torch.inference_mode():
        return model(input_ids=ids).logits


def test_manifest_is_read_in_the_order_of_tasks(copied):
    def reference_first(data):
        data["checkpoints"].reverse()
        data["checkpoints"].insert(0, {"name": "joint", "task": "all", "adapter": "naming"})

    rewrite(copied, reference_first)
    found = Manifest.load(copied)
    assert [c.name for c in found.checkpoints] == ["naming", "counting", "joint"]
    assert found.checkpoints[0].eval == copied / "naming.jsonl"
    assert found.checkpoints[2].eval is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("base"), '"base"'),
        (lambda d: d.pop("method"), '"method"'),
        (lambda d: d.update(order="naming"), '"order"'),
        (lambda d: d.update(order=[1]), '"order"'),
        (lambda d: d.update(order=[]), '"order" must list task names, at least one'),
        (lambda d: d.update(order=["naming", "painting"]), "painting"),
        (lambda d: d.update(checkpoints=[]), "at least one"),
        (lambda d: d["checkpoints"][1].pop("adapter"), r'"adapter".*checkpoint 2'),
        (lambda d: d["checkpoints"][1].update(adapter=None), r'"adapter".*checkpoint 2'),
        (lambda d: d["checkpoints"][1].update(weights="naming"), r"both.*checkpoint 2"),
        (lambda d: d["checkpoints"][1].update(adapter=3), r'"adapter" is not a text.*checkpoint 2'),
        (lambda d: d["checkpoints"][1].update(adapter=["naming", 3]), r'"adapter" is not a text.*checkpoint 2'),
        (lambda d: d["checkpoints"][1].update(adapter=["naming", "nowhere"]), r"'nowhere', which is not there"),
        (lambda d: d["checkpoints"][1].update(adapter=["naming", "../.."]), "leads out"),
        (lambda d: d["checkpoints"][1].update(adapter=[]), r"a list that is empty.*checkpoint 2"),
        (lambda d: d["checkpoints"][1].update(adapter=["naming", "naming"]), r"names one twice.*checkpoint 2"),
        (lambda d: d["checkpoints"][1].update(adapter=["naming", "./naming"]), r"names one twice.*checkpoint 2"),
        (lambda d: d["checkpoints"][0].update(name=3), r'"name".*checkpoint 1'),
        (lambda d: d["checkpoints"].__setitem__(0, "naming"), "checkpoint 1"),
        (lambda d: d["checkpoints"][0].update(name="counting"), "field \"name\" has 'counting' twice.*differ"),
        (lambda d: d["checkpoints"][0].update(name="base"), 'field "name" has \'base\' twice.*differ.*from "base"'),
        (lambda d: d["order"].append("naming"), "field \"order\" has 'naming' twice"),
        (lambda d: d["checkpoints"][0].update(adapter="../set/../.."), "leads out"),
        (lambda d: d["checkpoints"][0].update(adapter="/etc"), "leads out"),
        (lambda d: d["checkpoints"][0].update(adapter="loop"), "in a circle: 'loop'"),
        (lambda d: d["checkpoints"][0].update(adapter="x" * 5000), "'x+', which cannot be read: File name too long"),
        (lambda d: d["checkpoints"][0].update(adapter="naming\0"), '"adapter" is not a text'),
        (lambda d: d["checkpoints"][0].update(adapter="nowhere"), "not there"),
        (lambda d: d["checkpoints"][0].update(eval="nowhere.jsonl"), "not there"),
        (lambda d: d["checkpoints"][0].update(eval="../../x.jsonl"), "leads out"),
        (lambda d: d["checkpoints"][0].update(eval=["x"]), '"eval"'),
        (lambda d: d.update(recipe=[8]), '"recipe" is missing or is not an object'),
        (lambda d: d.update(also={"base kept": ["naming.jsonl"]}), '"base kept" is missing or is not an object'),
        (lambda d: d.update(also={"base kept": {"naming": "no.jsonl"}}), 'base kept, naming field "also".*not there'),
        (lambda d: d.update(also={"base kept": {"naming": "../../x.jsonl"}}), "leads out"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(copied, change, told):
    (copied / "loop").symlink_to("loop")
    rewrite(copied, change)
    with pytest.raises(CheckpointError, match=told) as error:
        Manifest.load(copied)
    assert "checkpoints.json" in str(error.value)
    assert str(copied.parent) not in str(error.value)  # visitors read it


def test_further_evaluation_sets_and_the_recipe_are_read(copied):
    assert (Manifest.load(copied).also, Manifest.load(copied).recipe) == ({}, {})
    rewrite(copied, lambda d: d.update(also={"base kept": {"naming": "naming.jsonl"}}, recipe={"rank": 8}))
    found = Manifest.load(copied)
    assert found.also == {"base kept": {"naming": copied / "naming.jsonl"}} and found.recipe == {"rank": 8}


@pytest.mark.parametrize("text", ["{", '{"order": [', "[" * 100_000, "\xff".encode("latin-1"), "3", '"naming"'])
def test_a_manifest_that_is_no_json_object(tmp_path, text):
    with pytest.raises(CheckpointError, match=r"no checkpoints\.json"):
        Manifest.load(tmp_path)
    (tmp_path / "checkpoints.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match="not readable JSON|not a JSON object"):
        Manifest.load(tmp_path)


def test_shipped_sets_may_share_evaluation_sets_and_nothing_else(copied, saved, monkeypatch):
    shipped = copied.parent / "shipped"
    for name in ("first", "second"):
        shutil.copytree(saved / "set", shipped / name)
    shared = shipped / "first" / "naming.jsonl"

    def take(key, value):
        rewrite(shipped / "second", lambda d: d["checkpoints"][0].update({key: value}))

    take("eval", "../first/naming.jsonl")
    with pytest.raises(CheckpointError, match='"eval" leads out'):  # these are nobody's but a visitor's
        Manifest.load(shipped / "second")
    monkeypatch.setattr(manifest, "SHIPPED", shipped)
    assert Manifest.load(shipped / "second").checkpoints[0].eval == shared
    take("eval", "../../set/naming.jsonl")
    with pytest.raises(CheckpointError, match='"eval" leads out'):
        Manifest.load(shipped / "second")
    take("eval", "../first/naming.jsonl")
    take("adapter", "../first/naming")
    with pytest.raises(CheckpointError, match='"adapter" leads out'):
        Manifest.load(shipped / "second")
    rewrite(copied, lambda d: d["checkpoints"][0].update(eval="../shipped/first/naming.jsonl"))
    with pytest.raises(CheckpointError, match='"eval" leads out'):
        Manifest.load(copied)


def test_a_link_out_of_the_folder_is_refused(copied, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(copied / "naming", outside)
    (copied / "naming").symlink_to(outside)
    with pytest.raises(CheckpointError, match="leads out"):
        Manifest.load(copied)


@pytest.mark.parametrize(
    "source",
    ["/nowhere/at/all", "a/b/c", "../set", "owner/..", "owner/na--me", "http://x.org/y", "a/" * 3000, "~nobody-here/x"],
)
def test_a_set_that_is_neither_folder_nor_id(source):
    with pytest.raises(CheckpointError, match="neither a folder") as error:
        manifest.locate(source)
    assert "/nowhere" not in str(error.value)  # visitors read it


def test_a_set_from_the_hub_takes_its_data_files_only(monkeypatch, copied, tmp_path):
    asked = {}

    def download(repo, **settings):
        asked.update(settings, repo=repo)
        shutil.copytree(copied, settings["local_dir"])
        return str(settings["local_dir"])

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path / "home"))
    folder = manifest.locate("owner/set")
    assert Manifest.load(folder).checkpoints[0].name == "naming"
    assert asked["repo"] == "owner/set"
    assert not any(Path("x.bin").match(p) or Path("x.py").match(p) for p in asked["allow_patterns"])
    monkeypatch.setattr(hub, "snapshot_download", lambda *a, **k: pytest.fail("offline, and it is there"))
    assert manifest.locate("owner/set") == folder

    def refuse(*args, **settings):
        raise ModelError("we are offline")

    monkeypatch.setattr(hub, "download", refuse)
    with pytest.raises(CheckpointError, match=r"owner/other.*offline"):
        manifest.locate("owner/other")


# What an adapter's folder may hold instead of an adapter for this model; each has an error of its own.


def changed_config(**fields):
    def change(folder):
        file = folder / "adapter_config.json"
        settings = json.loads(file.read_text()) | fields
        file.write_text(json.dumps({k: v for k, v in settings.items() if v != "gone"}))

    return change


def changed_weights(change):
    def apply(folder):
        file = folder / "adapter_model.safetensors"
        save_file(change(load(file.read_bytes())), file)

    return apply


def pickled(folder):
    torch.save(load((folder / "adapter_model.safetensors").read_bytes()), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def halved(folder):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def linked_out(folder):
    file, outside = folder / "adapter_model.safetensors", folder.parents[1] / "secret.safetensors"
    shutil.move(file, outside)
    file.symlink_to(outside)


def wider(tensors):
    return {k: torch.cat([v, v], dim=1 if "lora_A" in k else 0) for k, v in tensors.items()}


HOSTILE = {
    "half a file": (halved, r"counting/adapter_model\.safetensors is not a whole safetensors file.*again"),
    "an empty file": (lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "not a whole safetensors file"),
    "pickle in disguise": (
        lambda f: torch.save({"a": torch.ones(1)}, f / "adapter_model.safetensors"), "not a whole safetensors file",
    ),
    "pickle only": (pickled, "other formats are not opened"),
    "a link out": (linked_out, "is a link out of the checkpoint set's folder"),
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), r"no adapter_config\.json"),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{r: 4}"), r"adapter_config\.json is not readable"),
    "no rank": (changed_config(r="gone"), '"r" is missing'),
    "a rank of nonsense": (changed_config(r=-1), '"r" is missing or is not a positive'),
    "a scaling of nonsense": (changed_config(lora_alpha="much"), '"lora_alpha"'),
    "no layers": (changed_config(target_modules=None), '"target_modules" is missing'),
    "layers that are not there": (changed_config(target_modules=["wonder_proj"]), "does not fit.*wonder_proj"),
    "fewer layers than weights": (changed_config(target_modules=r".*language_model.*\.q_proj"), "weights do not match"),
    "more layers than weights": (changed_config(target_modules=r".*\.(q|k|v|down)_proj"), "weights do not match"),
    "another rank": (changed_config(r=8), "has rank 4, but adapter_config.json says 8"),
    "another kind": (changed_config(peft_type="IA3"), "'IA3': only LORA"),
    "no kind": (changed_config(peft_type="gone"), "peft_type"),
    "DoRA": (changed_config(use_dora=True), "uses use_dora.*full weights"),
    "PiSSA": (changed_config(init_lora_weights="pissa"), "'pissa', which changes the base"),
    "newer than this peft": (changed_config(quantum_entanglement=2), "quantum_entanglement.*upgrade"),
    "another model's names": (
        changed_weights(lambda t: {k.replace("language_model", "decoder"): v for k, v in t.items()}),
        "weights do not match, for example",
    ),
    "a weight missing": (
        changed_weights(lambda t: {k: v for i, (k, v) in enumerate(sorted(t.items())) if i}), "1 weights do not match",
    ),
    "a base of this machine": (
        lambda f: (changed_weights(wider)(f), changed_config(base_model_name_or_path=f"{f.parents[1]}/jo doe/x")(f)),
        r"\(it was made for x\): size mismatch",
    ),
    "a base twice as wide": (changed_weights(wider), r"does not fit this model \(it was made for .*size mismatch"),
    "whole numbers": (changed_weights(lambda t: {k: v.long() for k, v in t.items()}), "not a floating-point weight"),
    "numbers that are none": (changed_weights(lambda t: {k: v / 0 for k, v in t.items()}), "not finite"),
    "an untrained adapter": (
        changed_weights(lambda t: {k: v * ("lora_A" in k) for k, v in t.items()}), "changes nothing: every lora_B",
    ),
    "a projector of another shape": (
        changed_weights(lambda t: t | {f"base_model.model.{PROJECTOR}": torch.ones(3, 3)}), r"shape \(3, 3\)",
    ),
    "a layer of another model": (
        changed_weights(lambda t: t | {"base_model.model.model.q_former.weight": torch.ones(3)}), "no weight of this",
    ),
    "a projector that was not saved": (changed_config(modules_to_save=["multi_modal_projector"]), "lacks .*projector"),
}  # fmt: skip


@pytest.fixture(scope="module")
def target(saved):
    """A model with the good set open. Whatever is refused beside it must leave it as it is."""
    return CheckpointSet.open(saved / "set", fresh(saved))


@pytest.mark.filterwarnings("ignore")  # what peft says beside our message
@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_adapter_for_this_model_is_refused_with_its_own_message(target, copied, what):
    damage, told = HOSTILE[what]
    with target.use("naming"):
        before = logits(target.model)
    layers, tensors = len(target.board.layers), [id(p) for p in target.model.parameters()]
    damage(copied / "counting")
    with pytest.raises(CheckpointError, match=told) as error:
        CheckpointSet.open(copied, target.model, beside=target)
    assert str(copied.parent) not in str(error.value)  # visitors read it
    with target.use("naming"):
        assert torch.equal(logits(target.model), before)
    if len(target.board.layers) == layers:
        assert [id(p) for p in target.model.parameters()] == tensors


def test_the_messages_differ():
    assert len({told for _, told in HOSTILE.values()}) >= 20


# A list of adapters


def _chained(saved, folder, targets=(TARGETS, r".*language_model.*\.(q|up)_proj"), **settings):
    """Two increments, each trained on top of the one before it, and the logits of base, first and both, merged."""
    model, wanted = fresh(saved), []
    wanted.append(logits(model))
    for i, (rank, alpha, target) in enumerate(zip((3, 5), (6, 20), targets, strict=True)):
        torch.manual_seed(i)
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=target, init_lora_weights=False, **settings)
        adapted = get_peft_model(model, config)
        adapted.save_pretrained(folder / f"task{i + 1}")
        model = adapted.merge_and_unload()
        wanted.append(logits(model))
    entries = [
        {"name": "first", "task": "a", "adapter": ["task1"]},
        {"name": "second", "task": "b", "adapter": ["task1", "task2"]},
    ]
    data = {"base": "small", "method": "chained", "order": ["a", "b"], "checkpoints": entries}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return wanted


def test_a_list_of_adapters_is_applied_together(saved, tmp_path):
    base, first, second = _chained(saved, tmp_path)
    found = CheckpointSet.open(tmp_path, fresh(saved))
    for name, wanted in ((BASE, base), ("first", first), ("second", second)):
        with found.use(name):
            assert torch.allclose(logits(found.model), wanted, atol=1e-3), name
    assert (second - first).abs().max() > 0.01 < (first - base).abs().max()
    assert found.batchable == (BASE, "first", "second")
    with found.mixed(["second", BASE, "first"]):
        rows = logits(found.model, IDS.repeat(3, 1))
    assert torch.allclose(rows, torch.cat([second, base, first]), atol=1e-3)
    with found.use(Patch("second", BASE, ("*",))):
        assert torch.allclose(logits(found.model), base, atol=1e-5)
    # as much as the list says is in memory, not its parts beside it
    assert {len(layer.lora_A) for layer in found.board.layers} == {1, 2}


def test_a_list_whose_second_adapter_is_damaged_leaves_nothing_behind(saved, tmp_path):
    _chained(saved, tmp_path)
    (tmp_path / "task2" / "adapter_config.json").unlink()
    target = CheckpointSet.open(saved / "set", fresh(saved))
    held = {layer: set(layer.lora_A) for layer in target.board.layers}
    with pytest.raises(CheckpointError, match=r"has no adapter_config"):
        CheckpointSet.open(tmp_path, target.model, beside=target)
    assert all(set(layer.lora_A) == held.get(layer, set()) for layer in target.board.layers)


def test_adapters_that_name_layers_in_different_ways_are_refused_together(saved, tmp_path):
    _chained(saved, tmp_path, (TARGETS, ["q_proj"]))
    with pytest.raises(CheckpointError, match=r"task1.*task2.*cannot be applied together"):
        CheckpointSet.open(tmp_path, fresh(saved))


# Switching


@pytest.fixture(scope="module")
def varied(saved, tmp_path_factory):
    """A set of two adapters of other ranks and scalings, one with its projector, and two full-weight checkpoints."""
    folder = tmp_path_factory.mktemp("varied")
    entries = []
    for seed, (name, rank, alpha, settings) in enumerate(
        [("a.1", 4, 16, {}), ("b", 7, 3, {"use_rslora": True}), ("projector", 2, 8, {"modules_to_save": ["linear_1"]})]
    ):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, init_lora_weights=False, **settings)
        adapted = get_peft_model(fresh(saved), config)
        if name == "projector":
            for key, value in adapted.named_parameters():
                if "modules_to_save" in key:
                    torch.nn.init.normal_(value)
        adapted.save_pretrained(folder / name)
        entries.append({"name": name, "task": "t", "adapter": name})
    for seed, name in enumerate(["whole", "head"], 10):
        torch.manual_seed(seed)
        model = fresh(saved)
        for key, value in model.named_parameters():
            if name == "whole" or "lm_head" in key or "embed_tokens" in key:
                value.add_(torch.randn_like(value) * 0.05)
        model.save_pretrained(folder / name)
        entries.append({"name": name, "task": "t", "weights": f"{name}/model.safetensors" if name == "head" else name})
    data = {"base": "small", "method": "mixed", "order": ["t"], "checkpoints": entries}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return CheckpointSet.open(folder, fresh(saved))


def alone(saved, found, name):
    """The model that ``name`` is, opened by peft or transformers and nothing else."""
    if name == BASE:
        return fresh(saved)
    checkpoint = next(c for c in found.manifest.checkpoints if c.name == name)
    if checkpoint.adapters:
        return PeftModel.from_pretrained(fresh(saved), *checkpoint.adapters).eval()
    folder = checkpoint.weights if checkpoint.weights.is_dir() else checkpoint.weights.parent
    return AutoModelForImageTextToText.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def wanted(saved, varied):
    return {name: logits(alone(saved, varied, name)) for name in (BASE, *varied.names)}


def test_every_checkpoint_is_bit_for_bit_the_one_loaded_alone(varied, wanted):
    for name in (*varied.names, BASE, *reversed(varied.names)):
        with varied.use(name):
            assert torch.equal(logits(varied.model), wanted[name]), name
        assert torch.equal(logits(varied.model), wanted[BASE])
    assert len({float(v.sum()) for v in wanted.values()}) == len(wanted)


def test_a_checkpoint_inside_another_and_after_a_failure(varied, wanted):
    def fail_inside():
        with varied.use("whole"):
            with varied.use("a.1"):
                assert torch.equal(logits(varied.model), wanted["a.1"])
            assert torch.equal(logits(varied.model), wanted["whole"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert torch.equal(logits(varied.model), wanted[BASE])


def test_only_what_differs_is_kept(varied):
    head = varied._changes["head"].tensors
    assert set(head) == {"model.language_model.embed_tokens.weight"}  # the head is tied to it
    assert varied._changes["projector"].tensors.keys() == {PROJECTOR, PROJECTOR.replace("weight", "bias")}


def test_which_can_share_a_batch(varied, wanted):
    assert varied.batchable == (BASE, "a.1", "b")
    names = ["b", BASE, "a.1", "b"]
    with varied.mixed(names):
        rows = logits(varied.model, IDS.repeat(4, 1))
    for name, row in zip(names, rows, strict=True):
        assert torch.allclose(row, wanted[name][0], atol=1e-5)
    with pytest.raises(CheckpointError, match="head, whole cannot share"), varied.mixed(["a.1", "whole", "head"]):
        pass


def test_a_mixed_batch_that_fails_leaves_nothing_behind(varied, wanted):
    told = pytest.raises(CheckpointError, match="2 checkpoints met a layer that sees 3 rows")
    with told, varied.mixed(["a.1", "b"]):
        logits(varied.model, IDS.repeat(3, 1))
    assert torch.equal(logits(varied.model), wanted[BASE])
    with varied.use("b"):
        assert torch.equal(logits(varied.model), wanted["b"])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "idefics3", "internvl", "gemma3"])
def test_an_adapter_of_the_vision_tower_shares_a_batch_where_a_picture_is_one_row(zoo, tmp_path, family):
    def base():
        return AutoModelForImageTextToText.from_pretrained(zoo(family)).eval()

    towers = r".*(visual|vision).*\.(qkv|q_proj)"
    for name, layers in (("text", r"(?!.*visi)(?!.*visual).*q_proj"), ("vision", towers)):
        config = LoraConfig(r=2, target_modules=layers, init_lora_weights=False)
        get_peft_model(base(), config).save_pretrained(tmp_path / name)
    entries = [{"name": name, "task": "t", "adapter": name} for name in ("text", "vision")]
    whole = base()
    whole.get_input_embeddings().weight.data.mul_(1.01)
    whole.save_pretrained(tmp_path / "whole")
    entries.append({"name": "whole", "task": "t", "weights": "whole"})
    data = {"base": family, "method": "m", "order": ["t"], "checkpoints": entries}
    (tmp_path / "checkpoints.json").write_text(json.dumps(data))
    found = CheckpointSet.open(tmp_path, base())
    assert found.batchable == ((BASE, "text", "vision") if family == "gemma3" else (BASE, "text"))
    ids = torch.tensor([[3, 4, 5]])
    each = []
    for name in (BASE, "text", "whole"):
        with found.use(name):
            each.append(logits(found.model, ids)[0])
    assert torch.equal(each[2], logits(AutoModelForImageTextToText.from_pretrained(tmp_path / "whole"), ids)[0])
    with found.mixed(["text", BASE]):
        text, plain = logits(found.model, ids.repeat(2, 1))
    assert torch.allclose(text, each[1], atol=1e-5) and torch.allclose(plain, each[0], atol=1e-5)
    assert not torch.allclose(text, plain, atol=1e-3)


# Interpolation


def effective(saved, found, name):
    """All weights of a checkpoint by name, adapters merged by peft, in float64."""
    model = alone(saved, found, name).double()
    model = model.merge_and_unload() if isinstance(model, PeftModel) else model
    return {k: v.detach() for k, v in model.state_dict().items()}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a.1", "b"),
        (BASE, "a.1"),
        ("b", BASE),
        ("whole", "head"),
        ("a.1", "whole"),
        ("projector", "head"),
        (BASE, "whole"),
    ],
)
def test_between_two_is_the_mean_of_effective_weights(saved, varied, a, b):
    first, last = effective(saved, varied, a), effective(saved, varied, b)
    model = fresh(saved).double()
    for alpha in (0.25, 0.5):
        model.load_state_dict({k: (1 - alpha) * first[k] + alpha * last[k] for k in first})
        with varied.interpolate(a, b, alpha):
            assert torch.allclose(logits(varied.model).double(), logits(model), atol=2e-4)


def snapshot(found):
    """All that switching may change."""
    layers = [(dict(layer.scaling), list(layer.active_adapters)) for layer in found.board.layers]
    return {k: v.clone() for k, v in found.model.state_dict().items()}, layers


def unchanged(found, before):
    tensors, layers = snapshot(found)
    assert tensors.keys() == before[0].keys() and all(torch.equal(v, before[0][k]) for k, v in tensors.items())
    assert layers == before[1]


@pytest.mark.parametrize(("a", "b"), [("a.1", "b"), ("whole", "a.1"), (BASE, "projector"), ("head", "whole")])
def test_the_ends_are_exact_and_nothing_stays(varied, wanted, a, b):
    before = snapshot(varied)
    for alpha, end in ((0, a), (0.0, a), (1, b), (1.0, b)):
        with varied.interpolate(a, b, alpha):
            assert torch.equal(logits(varied.model), wanted[end])

    def fail_between():
        with varied.interpolate(a, b, 0.3):
            assert not torch.equal(logits(varied.model), wanted[a])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_between()
    unchanged(varied, before)
    with varied.use(Blend(a, b, 0.5)), varied.use(b):
        assert torch.equal(logits(varied.model), wanted[b])


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "half", None, True])
def test_an_alpha_that_is_no_share(varied, alpha):
    with pytest.raises(CheckpointError, match="from 0"), varied.interpolate("a.1", "b", alpha):
        pass


def test_unknown_names_are_told(varied):
    unknown = ("c", Blend("c", "b", 0.5), Merge((("c", 1.0),)), Patch("c", "b", ("*.q_proj",)), Patch("b", "c", ("*",)))
    for context in (varied.mixed(["c"]), *(varied.use(name) for name in unknown)):
        with pytest.raises(CheckpointError, match=r"no checkpoint 'c'.*base, a.1"), context:
            pass


# Task arithmetic


@pytest.mark.parametrize(
    "weights",
    [
        {"a.1": 0.5, "b": 0.5},
        {"a.1": 1.0, "b": 1.0, "projector": 1.0},
        {"a.1": 2.0, "b": -1.0},
        {"whole": 0.25, "head": 1.5, "a.1": -0.5, "projector": 0.75, "b": 0.5},
        {"projector": 0.3, BASE: 2.0},
    ],
)
def test_a_merge_adds_up_what_was_learnt(saved, varied, weights):
    base = effective(saved, varied, BASE)
    total = {k: v.clone() for k, v in base.items()}
    for name, weight in weights.items():
        for k, v in effective(saved, varied, name).items():
            total[k] += weight * (v - base[k])
    model = fresh(saved).double()
    model.load_state_dict(total)
    with varied.use(Merge(tuple(weights.items()))):
        assert torch.allclose(logits(varied.model).double(), logits(model), atol=1e-3)


def test_a_merge_of_one_or_none_or_two_is_what_it_is(varied, wanted):
    before = snapshot(varied)
    for name in varied.names:
        with varied.use(Merge(((name, 1.0), ("head" if name != "head" else "b", 0.0)))):
            assert torch.equal(logits(varied.model), wanted[name])
    for nothing in (Merge(()), Merge((("a.1", 0.0),)), Merge(((BASE, 0.7),))):
        with varied.use(nothing):
            assert torch.equal(logits(varied.model), wanted[BASE])
    for a, b in (("a.1", "b"), ("whole", "projector"), ("head", "whole")):
        with varied.use(Blend(a, b, 0.25)):
            between = logits(varied.model)
        with varied.use(Merge(((a, 0.75), (b, 0.25)))):
            assert torch.equal(logits(varied.model), between)
    unchanged(varied, before)


@pytest.mark.parametrize("weight", [-1.01, 2.5, float("nan"), float("inf"), "much", None, True])
def test_a_weight_that_is_none(varied, weight):
    with pytest.raises(CheckpointError, match=r"weight of b is .*from -1 to 2"), varied.use(Merge((("b", weight),))):
        pass
    with pytest.raises(CheckpointError, match=r"^b is there twice"), varied.use(Merge((("b", 1.0), ("b", 0.5)))):
        pass


# Module by module


@pytest.mark.parametrize(
    ("base", "donor", "patterns"),
    [
        ("a.1", "b", ("*.layers.1",)),
        ("b", "a.1", ("*.q_proj", "*language_model.layers.2.mlp.*")),
        (BASE, "b", ("model.language_model.layers.0.self_attn.v_proj",)),
        ("a.1", BASE, ("*.down_proj",)),
        ("projector", "whole", ("*multi_modal_projector", "*.layers.0")),
        ("whole", "projector", ("*.linear_1",)),
        ("head", "a.1", ("*.layers.[01]",)),
        ("a.1", "whole", ("*norm*", "*vision_tower*.k_proj")),
    ],
)
def test_a_patch_takes_modules_of_the_donor(saved, varied, wanted, base, donor, patterns):
    first, other = effective(saved, varied, base), effective(saved, varied, donor)

    def taken(key):
        return any(fnmatch.fnmatchcase(key, f"{pattern}.*") for pattern in patterns)

    model = fresh(saved).double()
    model.load_state_dict({k: other[k] if taken(k) else first[k] for k in first})
    before = snapshot(varied)
    with varied.use(Patch(base, donor, patterns)):
        found = logits(varied.model)
    unchanged(varied, before)
    assert torch.allclose(found.double(), logits(model), atol=2e-4)
    assert not torch.allclose(found, wanted[donor], atol=1e-2)
    with varied.use(base):
        assert torch.equal(logits(varied.model), wanted[base])


@pytest.mark.parametrize(("base", "donor"), [("a.1", "b"), ("whole", "a.1"), ("projector", BASE), ("b", "head")])
def test_a_patch_of_all_is_the_donor_and_of_none_the_base(varied, wanted, base, donor):
    for patterns in (("*",), ("model", "lm_head")):
        with varied.use(Patch(base, donor, patterns)):
            assert torch.equal(logits(varied.model), wanted[donor])
    for nothing in (Patch(base, donor, ()), Patch(base, base, ("*.q_proj",))):
        with varied.use(nothing):
            assert torch.equal(logits(varied.model), wanted[base])


def test_modules_that_share_a_weight_are_taken_together(varied, wanted):
    for name in ("lm_head", "*.embed_tokens"):
        with varied.use(Patch(BASE, "head", (name,))):  # all that the head changes is the weight of both
            assert torch.equal(logits(varied.model), wanted["head"])


@pytest.mark.parametrize("pattern", ["", "*.layers.7", "q_proj", "layers.0", "*.Q_proj"])
def test_a_pattern_that_matches_no_module(varied, pattern):
    told = rf"called '{re.escape(pattern)}'.*model\.language_model\.layers\.0\.self_attn\.q_proj"
    with pytest.raises(CheckpointError, match=told), varied.use(Patch("a.1", "b", ("*.k_proj", pattern))):
        pass


def test_a_failure_inside_a_patch_leaves_nothing_behind(varied, wanted):
    before = snapshot(varied)

    def fail_inside():
        with varied.use(Patch("a.1", "whole", ("*.layers.0",))), varied.use(Merge((("b", 0.5), ("head", 0.5)))):
            with varied.use("b"):
                assert torch.equal(logits(varied.model), wanted["b"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    unchanged(varied, before)
    assert torch.equal(logits(varied.model), wanted[BASE])


def test_mixtures_say_what_they_are():
    assert str(Blend("a", "b", 0.25)) == "a + 0.25 * (b - a)"
    assert str(Merge((("a", 0.5), ("b", -1.0), ("c", 0.0)))) == "base + 0.5 * (a - base) - 1 * (b - base)"
    assert str(Patch("a", "b", ("*.q_proj", "*.layers.3"))) == "a with *.q_proj, *.layers.3 of b"


# Full weights


def whole_set(saved, tmp_path, damage):
    folder = tmp_path / "whole-set"
    shutil.copytree(saved / "model", folder / "whole")
    file = folder / "whole" / "model.safetensors"
    tensors = damage(load(file.read_bytes()))
    file.unlink()
    save_file(tensors, file)
    entry = {"name": "whole", "task": "t", "weights": "whole"}
    data = {"base": "small", "method": "m", "order": ["t"], "checkpoints": [entry]}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda t: t, "is the base itself"),
        (
            lambda t: {k: v for k, v in t.items() if "linear_1" not in k},
            r"2 weights are missing, for example .*linear_1",
        ),
        (lambda t: t | {"model.extra.weight": torch.ones(2)}, "1 weights are unknown to this model.*extra"),
        (lambda t: {k: torch.ones(3, 3) if "linear_1.w" in k else v for k, v in t.items()}, r"\(3, 3\) instead of"),
        (lambda t: {k: v.to(torch.int8) for k, v in t.items()}, "int8, not a floating-point"),
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "not finite"),
        (lambda t: t | {"lm_head.weight": torch.ones_like(t["language_model.model.embed_tokens.weight"])}, "unties"),
    ],
)
def test_full_weights_that_do_not_fit(target, saved, tmp_path, damage, told):
    folder = whole_set(saved, tmp_path, damage)
    with pytest.raises(CheckpointError, match=told) as error:
        CheckpointSet.open(folder, target.model, beside=target)
    assert str(tmp_path) not in str(error.value)


def out_of_memory(*args, **settings):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


SHORT = r"out of memory, it needs about \d+\.\d GB; cpu has \d+\.\d GB free"


def test_an_adapter_that_memory_is_short_for_says_so_in_numbers(target, copied, monkeypatch):
    monkeypatch.setattr(target.board, "add_adapter", out_of_memory)
    with pytest.raises(CheckpointError, match=f"set/naming: {SHORT}"):
        CheckpointSet.open(copied, target.model, beside=target)


def test_full_weights_that_memory_is_short_for_say_so_in_numbers(target, saved, tmp_path, monkeypatch):
    folder = whole_set(saved, tmp_path, lambda tensors: tensors)
    monkeypatch.setattr(type(target.model), "from_pretrained", out_of_memory)
    with pytest.raises(CheckpointError, match=f"whole-set/whole: {SHORT}"):
        CheckpointSet.open(folder, target.model, beside=target)


def test_weights_are_read_while_no_other_model_is_opened(target, saved, tmp_path, monkeypatch):
    folder, met = whole_set(saved, tmp_path, lambda tensors: tensors), []

    def watched(*args, **settings):
        other = threading.Thread(target=lambda: met.append(OPENING.acquire(blocking=False)))
        other.start()
        other.join()
        raise ValueError("seen enough")

    monkeypatch.setattr(type(target.model), "from_pretrained", watched)
    with pytest.raises(CheckpointError, match="seen enough"):
        CheckpointSet.open(folder, target.model, beside=target)
    assert met == [False]


# The base that it was made for

CACHED = "/home/me/.cache/huggingface/hub/models--llava-hf--llava-1.5-7b-hf/snapshots/abc123"


@pytest.mark.parametrize(
    ("base", "model", "told"),
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-v1.6-vicuna-7b-hf", "llava-1.5-7b-hf, and this is .*vicuna"),
        ("llava-hf/llava-v1.6-vicuna-7b-hf", CACHED, "and this is llava-hf/llava-1.5-7b-hf"),
        ("llava-hf/llava-1.5-7b-hf", CACHED, None),
        ("mirror/LLaVA-1.5-7b-hf", CACHED, None),
        ("llava-hf/llava-1.5-7b-hf", "/data/my-llava", None),
        ("my-llava", CACHED, None),
        ("", "", None),
    ],
)
def test_another_model_of_the_hub_is_refused_and_renamed_copies_are_not(base, model, told):
    if told:
        with pytest.raises(CheckpointError, match=f"was made for .*{told}.*write the same name there"):
            manifest.same_base("x", base, model)
    else:
        manifest.same_base("x", base, model)


def test_a_set_and_its_adapters_must_be_of_one_base(target, saved, copied, monkeypatch):
    rewrite(copied, lambda data: data.update(base="owner/first"))
    changed_config(base_model_name_or_path="owner/second")(copied / "counting")
    with pytest.raises(CheckpointError, match=r'counting/adapter_config\.json: field "base_model.*owner/second.*first'):
        CheckpointSet.open(copied, target.model, beside=target)
    changed_config(base_model_name_or_path="other/first")(copied / "counting")
    CheckpointSet.open(copied, fresh(saved))
    monkeypatch.setattr(target.model, "name_or_path", "owner/third")
    with pytest.raises(CheckpointError, match=r'checkpoints\.json: field "base" was made for owner/first.*owner/third'):
        CheckpointSet.open(copied, target.model, beside=target)


def test_mixed_bases_are_told_before_any_weights_are_opened(copied):
    """Where the manifest names a folder, its adapters still must be of one base, if they name models of the Hub."""
    for task, base in (("naming", "owner/first"), ("counting", "owner/second")):
        changed_config(base_model_name_or_path=base)(copied / task)
    with pytest.raises(
        CheckpointError,
        match=r'^counting/adapter_config\.json: field "base_model_name_or_path" was made for owner/second, and that of '
        "checkpoint 'naming' is owner/first",
    ):
        Manifest.load(copied)
    changed_config(base_model_name_or_path="mirror/first")(copied / "counting")
    assert Manifest.load(copied).base == "small"
    rewrite(copied, lambda data: data.update(base="owner/third"))
    with pytest.raises(
        CheckpointError, match=r'^naming/adapter.*first, and "base" of set/checkpoints\.json is owner/third'
    ):
        Manifest.load(copied)


def test_two_sets_of_one_model_share_its_lock_and_do_not_mix(saved, copied):
    first = CheckpointSet.open(saved / "set", fresh(saved))
    shutil.move(copied / "naming", copied / "x")
    shutil.move(copied / "counting", copied / "naming")
    shutil.move(copied / "x", copied / "counting")
    second = CheckpointSet.open(copied, first.model, beside=first)
    assert second.lock is first.lock and second.model is first.model
    with first.use("naming"):
        one = logits(first.model)
    with second.use("counting"):  # the same adapter under the other name
        assert torch.equal(logits(second.model), one)
    with second.use("naming"):
        assert not torch.allclose(logits(second.model), one, atol=1e-3)


def test_visitors_on_two_checkpoints_and_between_them_never_mix(varied, wanted):
    mixtures = (
        Blend("a.1", "whole", 0.5), Merge((("a.1", 0.5), ("b", 1.5))), Patch("a.1", "b", ("*.layers.0", "*.q_proj")),
    )  # fmt: skip
    plan = [("a.1", wanted["a.1"]), ("whole", wanted["whole"])]
    for mixture in mixtures:
        with varied.use(mixture):
            plan.append((mixture, logits(varied.model)))
    wrong = []

    def visit(name, right):
        for _ in range(15):
            with varied.use(name):
                if not torch.equal(logits(varied.model), right):
                    wrong.append(name)

    threads = [threading.Thread(target=visit, args=p) for p in plan]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_switching_is_far_faster_than_loading(saved, varied):
    loaded = PeftModel.from_pretrained(fresh(saved), varied.manifest.checkpoints[0].adapters[0], "first")

    def seconds(work):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return sorted(times)[2]

    def load_again():
        loaded.load_adapter(varied.manifest.checkpoints[0].adapters[0], "again")
        loaded.delete_adapter("again")

    def switch():
        with varied.use("a.1"):
            pass

    assert seconds(load_again) > 20 * seconds(switch)
