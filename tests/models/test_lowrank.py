"""Mixed batches as batched products: by hand in float64, and each row as its adapter alone gives it."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from models.checkpoints import BASE, CheckpointSet
from models.lowrank import Factors, blocks

pytestmark = pytest.mark.filterwarnings("ignore")  # what peft says of such adapters

IDS = torch.tensor([[5, 6, 7, 8, 9]])
TARGETS = {  # of each adapter: the layers it changes, its rank
    "decoder": (r".*language_model.*\.(q|v|down)_proj", 4),
    "others": (r".*language_model.*\.(q|gate)_proj", 7),
    "words": (["embed_tokens", "lm_head"], 3),
    "biased": (r".*language_model.*\.(q|up)_proj", 2),
}


@pytest.fixture(scope="module")
def folder(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowrank")
    for seed, (name, (targets, rank)) in enumerate(TARGETS.items()):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank, lora_alpha=3 * rank, target_modules=targets, init_lora_weights=False, lora_bias=name == "biased"
        )
        get_peft_model(fresh(saved), config).save_pretrained(folder / name, save_embedding_layers=False)
    entries = [{"name": name, "task": "t", "adapter": name} for name in TARGETS]
    data = {"base": "small", "method": "m", "order": ["t"], "checkpoints": entries}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return folder


def fresh(saved):
    return AutoModelForImageTextToText.from_pretrained(saved / "model").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def found(saved, folder):
    return CheckpointSet.open(folder, fresh(saved))


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids).logits


def each(found):
    """What every checkpoint alone answers."""
    rows = {}
    for name in (BASE, *found.names):
        with found.use(name):
            rows[name] = logits(found.model)[0]
    return rows


ROWS = [
    ["decoder", "others"],
    ["others", BASE, "decoder", "others"],
    ["decoder", "decoder", BASE, BASE, "others", "others"],
    ["words", "decoder", "biased", BASE],
    [BASE, BASE],
    ["others"] * 3,
]


@pytest.mark.parametrize("rows", ROWS, ids="+".join)
def test_every_row_is_what_its_adapter_alone_gives(found, rows):
    alone = each(found)
    with found.mixed(rows):
        together = logits(found.model, IDS.repeat(len(rows), 1))
        again = logits(found.model, IDS.repeat(len(rows), 1))
    for name, row in zip(rows, together, strict=True):
        assert torch.allclose(row, alone[name], atol=1e-4), name
    assert torch.equal(together, again)
    assert torch.equal(logits(found.model)[0], alone[BASE])
    assert len({round(float(v.sum()), 3) for v in alone.values()}) == len(alone)


def test_a_batch_after_another_is_not_mistaken_for_it(found):
    alone = each(found)
    for rows in (["decoder", "others"], ["others", "decoder"], ["decoder", "others"]):
        with found.mixed(rows):
            together = logits(found.model, IDS.repeat(2, 1))
        assert all(torch.allclose(row, alone[n], atol=1e-4) for row, n in zip(together, rows, strict=True))


def test_a_layers_change_by_hand(found):
    layer = next(x for x in found.board.layers if {"c0", "c1"} <= set(x.lora_A)).double()
    try:
        names, x = ["c1", None, "c0"], torch.randn(6, 5, layer.in_features, dtype=torch.float64)
        factors = Factors.of(layer, names)
        assert factors.down.shape[2] == 7 and factors.down[2, :, 4:].abs().max() == 0  # the smaller rank, padded
        base = layer.base_layer(x)
        changed = factors.added(x, base.clone())
        for row in range(6):
            name = names[row // 2]
            wanted = base[row]
            if name:
                wanted = wanted + x[row] @ (layer.lora_B[name].weight @ layer.lora_A[name].weight).T * 3
            assert torch.allclose(changed[row], wanted, atol=1e-10)
    finally:
        layer.float()


def test_gradients_reach_what_is_read_and_leave_the_output_alone(found):
    layer = next(x for x in found.board.layers if "c0" in x.lora_A)
    factors = Factors.of(layer, ["c0", None])
    x = torch.randn(2, 3, layer.in_features, requires_grad=True)
    base = layer.base_layer(x)
    before = base.detach().clone()
    changed = factors.added(x, base)
    assert torch.equal(base, before) and not torch.equal(changed, before)
    (slope,) = torch.autograd.grad(changed.sum(), x)
    effective = layer.base_layer.weight + 3 * layer.lora_B["c0"].weight @ layer.lora_A["c0"].weight
    assert torch.allclose(slope[0], effective.sum(0).expand(3, -1), atol=1e-4)


def test_finer_adapters_of_a_base_in_half_precision_are_added_before_rounding(saved, folder):
    half = CheckpointSet.open(folder, fresh(saved).bfloat16())
    layer = next(x for x in half.board.layers if "c0" in x.lora_A)
    layer.lora_A["c0"].float(), layer.lora_B["c0"].float()  # as those of a quantised base are
    x = torch.randn(1, 4, layer.in_features).bfloat16()
    with torch.no_grad():
        base = layer.base_layer(x)
        wanted = (base + x.float() @ layer.lora_A["c0"].weight.T @ layer.lora_B["c0"].weight.T * 3).bfloat16()
        found = Factors.of(layer, ["c0"]).added(x, base)
    assert found.dtype == torch.bfloat16 and torch.allclose(found, wanted, rtol=1e-2)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (["a", "b"], ("a", "b")),
        (["a", "a", "b", "b"], ("a", "b")),
        ([None, None], (None,)),
        (["a", "b", "a"], ("a", "b", "a")),
        (["a", "a", "b"], ("a", "a", "b")),
        (["a", "b", "a", "b"], ("a", "b", "a", "b")),
        ([], ()),
    ],
)
def test_rows_in_blocks(rows, wanted):
    assert blocks(rows) == wanted


def test_no_hook_stays(found):
    hooks = [layer._forward_hooks for layer in found.board.layers]
    with found.mixed(["decoder", "words"]):
        assert any(hooks)
    assert not any(hooks) and not any(layer._forward_pre_hooks for layer in found.board.layers)
