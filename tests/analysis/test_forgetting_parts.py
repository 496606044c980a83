"""Which part forgets: every number on planted weights, planted answers, or against explicit matrices."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import hypergeom, ortho_group
from transformers import AutoModelForImageTextToText

from analysis.forgetting import card
from analysis.forgetting.parts import figure
from analysis.forgetting.parts import measure as parts
from analysis.forgetting.parts.figure import sentence
from analysis.forgetting.parts.measure import (
    DECODER,
    OTHER,
    PROJECTOR,
    TOWER,
    Choice,
    KeyOverlap,
    Movement,
    Parts,
    Place,
    Portion,
    drift,
    key_overlap,
    load,
    measured,
    meetings,
    movement,
    of_states,
    of_task,
)  # fmt: skip
from analysis.forgetting.tab import PARTS
from analysis.form import values
from analysis.result import Provenance
from analysis.section import Asked, Shown, headline
from models.checkpoints import BASE, Patch
from models.deltas import KEY_SHARE, key_elements
from models.errors import CheckpointError, InputError
from models.manifest import Manifest
from models.mllm import MLLM
from tests.models.zoo import save

TARGETS = r".*(language_model.*\.(q|v|down)_proj|projector\.linear_1|vision_tower.*\.fc1)"
TASKS = ("naming", "counting", "existence")
SOURCE = Provenance("tiny", "all", "float32", "cpu", 0, {}, 1.0)


def save_adapter(model: Path, out: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=6, target_modules=TARGETS, init_lora_weights=False)
    get_peft_model(AutoModelForImageTextToText.from_pretrained(model), config).save_pretrained(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny LLaVA and a set of three tasks, the last without items, and a copy of the first as a reference."""
    folder = tmp_path_factory.mktemp("parts")
    save("llava", folder / "model")
    checkpoints = folder / "set"
    checkpoints.mkdir()
    rng, entries = np.random.default_rng(0), []
    for seed, task in enumerate(TASKS):
        save_adapter(folder / "model", checkpoints / task, seed)
        entries.append({"name": task, "task": task, "adapter": task})
        if task == "existence":
            continue
        lines = []
        for i in range(8):
            picture = f"{task}-{i}.png"
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(checkpoints / picture)
            asked = f"What is in the picture{'?' * (i % 2 + 1)}"
            lines.append(json.dumps({"image": picture, "question": asked, "answer": "bee"}))
        (checkpoints / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
        entries[-1]["eval"] = f"{task}.jsonl"
    shutil.copytree(checkpoints / "naming", checkpoints / "again")
    entries.append({"name": "again", "task": "reference", "adapter": "again"})
    data = {"base": "tiny", "method": "sequential", "order": list(TASKS), "checkpoints": entries}
    (checkpoints / "checkpoints.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return MLLM.open(folder / "model", "tiny", folder / "set", device="cpu")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Nothing is kept from one test to the next."""
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "kept"))


def explicit(folder, name):
    """scaling * B A of every module of an adapter, float64, from its file."""
    if name == BASE:
        return {}
    file = load_file(folder / "set" / name / "adapter_model.safetensors")
    modules = {k.removeprefix("base_model.model.").partition(".lora_")[0] for k in file}
    return {
        m: 3.0
        * file[f"base_model.model.{m}.lora_B.weight"].double()
        @ file[f"base_model.model.{m}.lora_A.weight"].double()
        for m in modules
    }


@pytest.mark.parametrize(
    ("module", "layers", "expected", "told"),
    [
        ("model.language_model.layers.3.self_attn.q_proj", "model.language_model.layers",
         Place(DECODER, 3, "q_proj", "attention"), "query (attention) of layer 4 of the text decoder"),
        ("model.layers.0.mlp.experts.7.down_proj", "model.layers", Place(DECODER, 0, "down_proj", "MLP"),
         "down (MLP) of layer 1 of the text decoder"),
        ("model.layers.11.input_layernorm", "model.layers", Place(DECODER, 11, "input_layernorm", ""),
         "input_layernorm of layer 12 of the text decoder"),
        ("model.vision_tower.encoder.layers.2.mlp.fc1", "model.language_model.layers", Place(TOWER, 2, "fc1", "MLP"),
         "up (MLP) of layer 3 of the vision tower"),
        ("model.vision_tower.encoder.layer.2.attention.projection_layer", "x",
         Place(TOWER, 2, "projection_layer", "attention"),
         "projection_layer (attention) of layer 3 of the vision tower"),
        ("model.visual.blocks.1.attn.qkv", "x", Place(TOWER, 1, "qkv", "attention"),
         "query, key, value (attention) of layer 2 of the vision tower"),
        ("model.visual.merger.mlp.0", "x", Place(PROJECTOR, None, "mlp", ""), "mlp of the projector"),
        ("model.multi_modal_projector.linear_2", "x", Place(PROJECTOR, None, "linear_2", ""),
         "linear_2 of the projector"),
        ("model.connector.modality_projection.proj", "x", Place(PROJECTOR, None, "proj", ""), "proj of the projector"),
        ("model.language_model.norm", "model.language_model.layers", Place(OTHER, None, "norm", ""),
         "norm of the rest"),
    ],
)  # fmt: skip
def test_places_in_plain_words(module, layers, expected, told):
    found = parts.place(module, layers)
    assert found == expected and str(found) == told


def test_the_layers_of_the_decoder_are_found(model):
    assert parts.layers_of(model.model) == "model.language_model.layers"


@pytest.mark.parametrize(("before", "after"), [(BASE, "naming"), ("naming", "existence")])
def test_movement_equals_the_explicit_matrices(folder, model, before, after):
    found = movement(model, before, after)
    start, end = explicit(folder, before), explicit(folder, after)
    base = {k.rpartition(".")[0]: t.detach().double() for k, t in model.checkpoints.board.base.items() if "weight" in k}
    assert sum(map(len, found.modules)) == len(end) == 3 * 3 + 1 + 2
    for place, modules, change, norm in zip(found.places, found.modules, found.change, found.norm, strict=True):
        (module,) = modules
        none = torch.zeros_like(end[module])
        assert change == pytest.approx(float((end[module] - start.get(module, none)).norm()), rel=1e-6)
        assert norm == pytest.approx(float((base[module] + start.get(module, none)).norm()), rel=1e-6)
        assert place == parts.place(module, "model.language_model.layers")
    assert found.relative == pytest.approx(found.change / found.norm)
    assert {p.part for p in found.places} == {DECODER, TOWER, PROJECTOR}


def test_the_same_weights_have_not_moved(model):
    found = movement(model, "naming", "again")
    assert not found.change.any() and (found.norm > 0).all()
    assert sentence(Parts(provenance=SOURCE, method="m", moved=found)) == "No weight differs between naming and again."


def test_movement_is_kept_and_an_unknown_checkpoint_is_told(model):
    assert movement(model, BASE, "naming", only_kept=True) is None
    found = movement(model, BASE, "naming")
    again = movement(model, BASE, "naming", only_kept=True)
    assert again.places == found.places and again.modules == found.modules
    assert np.array_equal(again.change, found.change) and again.provenance == found.provenance
    with pytest.raises(CheckpointError, match="no checkpoint 'nobody'"):
        movement(model, BASE, "nobody")


def test_meetings_by_hand():
    a = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], dtype=torch.bool)
    b = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=torch.bool)
    c = torch.tensor([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], dtype=torch.bool)
    share, mean, variance = meetings([a, b, c, torch.zeros(10, dtype=torch.bool)])
    assert share[0, 1] == 1.0 and share[0, 2] == share[1, 2] == 0.5 and share[0, 0] == 1.0
    assert np.isnan(share[0, 3])
    law = hypergeom(10, 2, 4)
    assert mean[0, 1] == mean[1, 0] == pytest.approx(law.mean() / 2)
    assert variance[0, 1] == pytest.approx(law.var() / 4)


def test_independent_random_masks_meet_as_often_as_chance_says():
    rng = np.random.default_rng(0)
    keys = [key_elements(torch.from_numpy(rng.normal(size=(400, 300)))).flatten() for _ in range(6)]
    share, mean, variance = meetings(keys)
    off = ~np.eye(6, dtype=bool)
    assert mean[off] == pytest.approx(0.02)
    assert share[off].mean() == pytest.approx(0.02, abs=0.002)
    assert (abs(share - mean)[off] < 4 * np.sqrt(variance[off])).all()
    assert share[off].std() == pytest.approx(np.sqrt(variance[0, 1]), rel=0.5)


@pytest.mark.parametrize("since", ["previous", "base"])
def test_key_overlap_equals_the_explicit_matrices(folder, model, since):
    found = key_overlap(model, since)
    ends = [explicit(folder, name) for name in TASKS]
    starts = [{m: torch.zeros_like(d) for m, d in ends[0].items()}, *ends[:-1]]
    deltas = ends if since == "base" else [{m: e[m] - s[m] for m in e} for s, e in zip(starts, ends, strict=True)]
    shares = []
    for module in ends[0]:
        keys = [torch.topk(d[module].abs().flatten(), round(0.02 * d[module].numel())).indices.tolist() for d in deltas]
        shares.append([[len({*a} & {*b}) / len(a) for b in keys] for a in keys])
    assert found.overlap[0] == pytest.approx(np.mean(shares, axis=0))
    assert found.kinds == ("all", "query", "value", "down", "vision tower: up", "projector: linear_1")
    assert found.matrices.tolist() == [12, 3, 3, 3, 2, 1]
    assert (found.low <= found.expected).all() and (found.expected <= found.high).all()
    assert found.expected[0, 1, 0] == pytest.approx(0.02, rel=0.15)  # small matrices: 2 % of them is rounded


def test_tasks_that_change_the_same_elements_share_all_of_them(folder, model, tmp_path):
    shutil.copytree(folder / "set", tmp_path / "set")
    file = tmp_path / "set" / "counting" / "adapter_model.safetensors"
    naming = load_file(tmp_path / "set" / "naming" / "adapter_model.safetensors")
    save_file({k: 3 * v if "lora_B" in k else v for k, v in naming.items()}, file, {"format": "pt"})
    other = MLLM.open(folder / "model", "tiny", tmp_path / "set", device="cpu")
    found = key_overlap(other)  # counting changed twice what naming did, at the same places
    assert found.overlap[:, 1, 0] == pytest.approx(1.0)
    assert (found.overlap[0, 2, :2] < 0.9).all()
    said = sentence(Parts(provenance=SOURCE, method="m", keys=found))
    assert "most of all counting and naming" in said and "12 matrices" in said


def test_since_what_is_told(model):
    with pytest.raises(InputError, match="previous or base"):
        key_overlap(model, "yesterday")


def test_identical_states_and_rotated_ones_have_a_cka_of_one():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 20, 8))
    turned = np.stack([states[0], 5 * states[1] @ ortho_group.rvs(8, random_state=0), rng.normal(size=(20, 8))])
    cka, chance = of_states(states, turned)
    assert cka[:2] == pytest.approx([1, 1]) and cka[2] < 0.7
    assert ((chance > 0.05) & (chance < 0.7)).all()
    assert cka[2] == pytest.approx(chance[2], abs=0.2)  # unrelated states are as alike as shuffled ones


def test_drift_follows_the_order_of_tasks(folder, model):
    found = drift(model, "naming", 6)
    assert found.checkpoints == TASKS and found.n == 6 and found.cka.shape == (3, 3)
    assert found.cka[0] == pytest.approx(1.0) and (found.cka[1:] < 0.9999).all()
    again = drift(model, "naming", 6, only_kept=True)
    assert np.array_equal(again.cka, found.cka)
    assert drift(model, "counting", 5).n == 5


def test_a_copy_has_not_drifted(folder, model, tmp_path):
    shutil.copytree(folder / "set", tmp_path / "set")
    for name in ("counting", "existence"):
        shutil.copy(tmp_path / "set/naming/adapter_model.safetensors", tmp_path / "set" / name)
    other = MLLM.open(folder / "model", "tiny", tmp_path / "set", device="cpu")
    assert drift(other, "naming", 6).cka == pytest.approx(1.0)
    assert drift(other, "naming", 6).chance.max() < 1


def test_items_are_drawn_by_seed(folder):
    manifest = Manifest.load(folder / "set")
    some = of_task(manifest, "naming", 4, 1)
    assert len(some) == 4 == len({i.image for i in some})
    assert some == of_task(manifest, "naming", 4, 1)
    assert any(of_task(manifest, "naming", 4, seed) != some for seed in range(5))
    assert len(of_task(manifest, "naming", 100)) == 8
    for task, told in (("nothing", "no task 'nothing'"), ("existence", "no evaluation set")):
        with pytest.raises(InputError, match=told):
            of_task(manifest, task, 4)
    with pytest.raises(InputError, match="says nothing"):
        of_task(manifest, "naming", 1)


def moved(*entries):
    """A movement of modules ``(module, relative change)`` of a decoder at ``d.layers``."""
    found = [(parts.place(module, "d.layers"), module, change) for module, change in entries]
    return Movement(
        provenance=SOURCE, before="naming", after="counting", places=tuple(p for p, *_ in found),
        modules=tuple((m,) for _, m, _ in found), change=np.array([c for *_, c in found]), norm=np.ones(len(found)),
    )  # fmt: skip


def test_portions_by_layer_kind_block_and_module():
    names = [f"d.layers.{i}.{m}" for i in range(2) for m in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")]
    some = moved(*[(n, 0.1) for n in [*names, "vision.layers.0.mlp.fc1", "vision.norm", "merger.linear", "d.norm"]])
    found = {p.title: p.modules for p in parts.portions(some)}
    assert found == {
        "layer 1": tuple(names[:3]), "layer 2": tuple(names[3:]),
        "the vision tower": ("vision.layers.0.mlp.fc1", "vision.norm"), "the projector": ("merger.linear",),
        "query, all layers": (names[0], names[3]), "up, all layers": (names[1], names[4]),
    }  # fmt: skip  # attention is the queries here, and the MLP is up: each is tried once
    assert [p.title for p in parts.portions(some, ["modules"])] == [
        "query, layer 1", "up, layer 1", "input_layernorm, layer 1", "query, layer 2", "up, layer 2",
        "input_layernorm, layer 2",
    ]  # fmt: skip
    blocks = parts.portions(moved(*[(f"d.layers.0.mlp.{m}", 1) for m in ("up_proj", "down_proj")]), ["blocks"])
    assert blocks == (Portion("MLP, all layers", "blocks", ("d.layers.0.mlp.up_proj", "d.layers.0.mlp.down_proj")),)
    with pytest.raises(InputError, match="no group of parts 'halves'"):
        parts.portions(some, ["halves"])


def test_a_module_around_others_does_not_take_them_along():
    some = moved(("vision.layers.0", 0.1), ("vision.layers.0.mlp.fc1", 0.1))
    assert [p.modules for p in parts.portions(some)] == [("vision.layers.0.mlp.fc1",)]


def test_patching_all_modules_equals_the_donor_exactly(folder, model):
    found = parts.portions(movement(model, "naming", "counting"), ["layers"])
    assert [p.title for p in found] == ["layer 1", "layer 2", "layer 3", "the vision tower", "the projector"]
    everything = tuple(m for p in found for m in p.modules)
    item = of_task(model.checkpoints.manifest, "naming", 2)[0]
    prompt = model.encode(item.picture(), item.question)

    def logits(weights):
        return model.forward([prompt], weights).logits

    assert torch.equal(logits(Patch("counting", "naming", everything)), logits("naming"))
    one = logits(Patch("counting", "naming", found[1].modules))
    assert not torch.equal(one, logits("naming")) and not torch.equal(one, logits("counting"))


@pytest.fixture
def planted(monkeypatch):
    """Answers by rule: right on the old task for the donor and wherever layer 2 is put back; what layer 2 brings back
    costs half of the last task's items. Counts the runs.
    """
    runs = []

    def given(model, items, weights, places):
        runs.append((weights, len(places)))
        second = isinstance(weights, Patch) and any("language_model.layers.1." in m for m in weights.modules)
        old = "naming" in items[0].image.name
        right = [weights == "naming" or second] * len(items) if old else [
            not (second and i % 2) and weights != "naming" for i in range(len(items))
        ]  # fmt: skip
        return [(i, "bee" if right[i] else "owl") for i in places]

    monkeypatch.setattr(parts, "given", given)
    return runs


def test_patching_on_planted_answers(folder, model, planted):
    found = parts.patching(model, movement(model, "naming", "counting"), "naming", 8, groups=["layers"])
    titles = [p.title for p in found.portions]
    assert (found.base, found.donor, found.task, found.last) == ("counting", "naming", "naming", "counting")
    assert (found.score, found.whole.score, found.score_last, found.whole_last.score) == (0.0, 1.0, 1.0, 0.0)
    assert [r.change.value for r in found.returned] == [float(t == "layer 2") for t in titles]
    assert [r.change.value for r in found.cost] == [-0.5 * (t == "layer 2") for t in titles]
    assert titles[found.best] == "layer 2" and (found.n, found.n_last) == (8, 8)
    said = sentence(Parts(provenance=SOURCE, method="m", patching=found))
    assert said.startswith("Of 5 parts put back alone, “layer 2” returns most: +100 points (95 % +100 to +100), 100 %")
    assert "costs −50 points" in said and "on 8 items of counting" in said and "a sample of those of the matrix" in said
    assert len(headline(said)[0].split()) <= 25
    rows = found.table().rows
    assert len(rows) == 2 * 6 and rows[2][:2] == ["put back", "layer 2"] and rows[2][7] == 1.0
    chart = figure.patching(found)
    assert list(chart.data[0].x) == [100, 0, 100, 0, 0, 0] and chart.data[0].name == "naming (n = 8)"
    assert chart.layout.yaxis.ticktext[0] == "everything (= naming)"


def test_a_stopped_run_goes_on_where_it_was(folder, model, planted):
    way = movement(model, "naming", "counting")

    def stop(share, what):
        if len(planted) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        parts.patching(model, way, "naming", 6, groups=["layers"], progress=stop)
    first = len(planted)
    parts.patching(model, way, "naming", 6, groups=["layers"])
    assert first == 3 and planted[3] == (planted[2][0], 5)  # after the first of its items it was stopped
    assert len(planted) == 2 * 7 + 1  # none of the finished ones again
    parts.patching(model, way, "naming", 6, groups=["layers"])
    assert len(planted) == 2 * 7 + 1


def test_nothing_to_put_back(folder, model, planted):
    with pytest.raises(InputError, match="nothing to put back"):
        parts.patching(model, movement(model, "naming", "again"), "naming", 6)
    same = parts.patching(model, movement(model, BASE, "counting"), "naming", 8, groups=["kinds"])
    said = sentence(Parts(provenance=SOURCE, method="m", patching=same))
    assert "base scores not clearly more than counting on naming" in said and "nothing to bring back" in said


def test_no_part_alone_brings_it_back(folder, model, planted):
    found = parts.patching(model, movement(model, "naming", "counting"), "naming", 8, groups=["layers"])
    none = replace(found, portions=found.portions[:1], returned=found.returned[:1], cost=found.cost[:1])
    assert none.best is None
    said = sentence(Parts(provenance=SOURCE, method="m", patching=none))
    assert (
        "No part put back alone clearly brings anything back: of 1 tried, most returns with “layer 1”, 0 points" in said
    )


def test_what_moved_is_drawn_where_it_is():
    some = moved(("d.layers.0.self_attn.q_proj", 0.02), ("d.layers.1.self_attn.q_proj", 0.5), ("merger.linear", 0.1))
    chart = figure.movement(some)
    decoder, outside = chart.data
    assert decoder.z.tolist() == [[2.0, 50.0]] and list(decoder.x) == ["1", "2"] and list(decoder.y) == ["query"]
    assert outside.z.tolist() == [[10.0]] and list(outside.y) == ["linear"] and outside.zmax == 50
    assert [a.text for a in chart.layout.annotations] == [
        "<b>Text decoder</b> (n = 2 modules)", "<b>Projector</b> (n = 1 module)",
    ]  # fmt: skip
    said = sentence(Parts(provenance=SOURCE, method="m", moved=some))
    assert "query (attention) of layer 2 of the text decoder moved most: by 50 % of the size" in said
    assert "3 modules is 10 %" in said and len(headline(said)[0].split()) <= 25


def test_a_deep_model_has_a_scale_in_place_of_numbers():
    deep = figure.movement(moved(*[(f"d.layers.{i}.mlp.up_proj", 0.01 * i) for i in range(30)])).data[0]
    assert deep.showscale and deep.text is None and len(deep.x) == 30 and deep.zmax == pytest.approx(29)


def overlapping(share):
    both = np.array([[[1.0, share], [share, 1.0]]])
    return KeyOverlap(
        provenance=SOURCE, tasks=("a<b>", "c"), checkpoints=("a", "c"), since="base", share=KEY_SHARE, kinds=("all",),
        matrices=np.array([7.0]), overlap=both, expected=np.full((1, 2, 2), 0.02), low=np.full((1, 2, 2), 0.01),
        high=np.full((1, 2, 2), 0.03),
    )  # fmt: skip


def test_overlap_is_told_against_chance():
    said = sentence(Parts(provenance=SOURCE, method="m", keys=overlapping(0.024)))
    assert "share 2.4 % of their key elements on average, where independent ones would share 2.0 %." in said
    assert "Of 1 pair of tasks none shares more" in said and "(7 matrices)" in said and "press Measure" in said
    assert "Of 1 pair of tasks 1 share more than chance" in sentence(
        Parts(provenance=SOURCE, method="m", keys=overlapping(0.3))
    )
    assert "none shares more than chance explains, and 1 fewer." in sentence(
        Parts(provenance=SOURCE, method="m", keys=overlapping(0.001))
    )
    chart = figure.overlap(overlapping(0.3))
    assert chart.data[0].z.tolist() == [[30.0]] and list(chart.data[0].x) == ["a&lt;b&gt;"]
    assert "n = 7 matrices" in chart.layout.xaxis.title.text


def test_what_was_not_measured_is_not_drawn():
    nothing = Parts(provenance=SOURCE, method="m")
    asked = Asked("", "", None, "", None, {"kind": "all"})
    assert [view.draw(Shown(nothing, asked)) for view in PARTS.views] == [None] * 4
    assert sentence(nothing) == "" and PARTS.drawn(Shown(nothing, asked)) == []


@pytest.fixture
def offered(folder, model, monkeypatch):
    """The set on offer in the room, and its model open."""
    entry = SimpleNamespace(name="tiny", source=str(folder / "model"), checkpoint_folder=folder / "set")

    @contextmanager
    def using(name):
        yield model

    monkeypatch.setattr(parts.sets, "offered", lambda: {"set": entry})
    monkeypatch.setattr(parts.catalog, "using", using)
    return entry


def ask(**changes):
    given = {
        "method": "set", "task": "naming", "before": "naming", "after": "counting", "since": "previous", "n": 6,
        "seed": 0, "groups": ("blocks",),
    }  # fmt: skip
    return Choice(**given | changes)


def test_all_is_measured_once_and_then_at_hand(offered):
    assert load(ask()).moved is None
    found = list(measured(ask()))
    assert [f.patching is not None for f in found] == [False, False, False, True]
    again = load(ask())
    assert sentence(again) == sentence(found[-1]) and again.provenance.seconds == pytest.approx(
        found[-1].provenance.seconds
    )
    assert again.to_csv() == found[-1].to_csv() and json.dumps(again.to_json(), allow_nan=False)
    assert load(ask(seed=1, n=4)).patching is None and load(ask(seed=1, n=4)).moved is not None
    with pytest.raises(InputError, match="the same"):
        list(measured(ask(after="naming")))


def test_a_task_without_items_still_shows_what_moved(offered):
    *_, found = measured(ask(task="existence", before="counting", after="existence"))
    assert found.moved is not None and found.keys is not None and found.drift is None and found.patching is None


def asking(**chosen):
    return Asked("", "", None, "", None, values(PARTS.offered(chosen), {"n": 20, **chosen}))


def test_the_section_shows_what_is_there_and_measures_the_rest(offered):
    asked = asking(task="naming", after="counting")
    assert (asked["set"], asked["before"]) == ("set", "own") and PARTS.kept(asked) is None
    *_, found = PARTS.measure(asked, lambda share, what: None)
    assert (found.moved.before, found.moved.after, found.patching.task) == ("naming", "counting", "naming")
    assert PARTS.kept(asked).to_json() == found.to_json()
    shown = Shown(found, asked)
    assert all(view.draw(shown).data for view in PARTS.views)
    assert len(PARTS.drawn(shown)) == 3 + len(found.keys.kinds)
    kinds = next(c for c in PARTS.offered({}, found) if c.name == "kind")
    assert kinds.offered == list(found.keys.kinds)
    assert PARTS.prediction.outcome(found) in (*PARTS.prediction.options, None)
    others = PARTS.kept(asking(task="counting", after="existence"))
    assert others.patching is None and "press Measure" in sentence(others) and len(PARTS.drawn(Shown(others, asked)))


def test_what_ships_opens_on_what_returns():
    asked = Asked("", "", None, "", None, values(PARTS.offered({}), {}))
    for tried in PARTS.tries:
        found = PARTS.kept(replace(asked, values=values(PARTS.offered({}), tried.values)))
        assert (found.patching is not None) == (tried.values["set"] == "sequential")
        assert len(headline(sentence(found))[0].split()) <= 25, sentence(found)
    found = PARTS.kept(asked)
    assert PARTS.prediction.outcome(found) == "half or more"
    assert PARTS.views[0].draw(Shown(found, asked)).layout.height <= 360


def test_the_card_tells_any_numbers(offered, folder, model):
    *_, found = measured(ask())
    text = card.parts_told(found, {"set": found.keys, "lone": overlapping(0.5)})
    assert (
        sentence(found) in text
        and "| attention, all layers |" in text
        and "| lone | 50.0 | 2.0 | 1 of 1 | 7 |" in text
    )
    assert card.parts_told(None, {}).startswith("## Which part forgets")


def test_a_set_that_cannot_be_read_is_told(offered, monkeypatch):
    def refuse(name):
        raise CheckpointError("set has no <checkpoints.json>")

    monkeypatch.setattr(parts.sets, "entry", refuse)
    asked = asking()
    assert asked["task"] is None
    with pytest.raises(CheckpointError, match="has no <checkpoints.json>"):
        PARTS.kept(asked)
