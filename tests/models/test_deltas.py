"""Weight changes against explicit matrices, and key elements by hand."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from models.checkpoints import BASE, CheckpointSet
from models.deltas import Effective, changed, difference, distance, effective, key_elements, norm
from models.errors import CheckpointError
from tests.models.small import save_adapter, small_llava

EVERY_KIND = r".*(embed_tokens|patch_embedding|language_model.*\.q_proj)"


def test_key_elements_are_the_largest_by_absolute_value():
    delta = torch.tensor([[0.1, -9.0, 0.2, 0.3], [0.4, 0.5, 8.0, -0.6]])
    assert key_elements(delta, 0.25).tolist() == [[False, True, False, False], [False, False, True, False]]
    assert key_elements(delta, 1.0).all()
    assert key_elements(delta).sum() == 1  # 2 % of 8 elements, and at least one


def test_two_per_cent_of_a_product_equal_the_sorted_ones():
    torch.manual_seed(0)
    delta = torch.randn(50, 2) @ torch.randn(2, 40)
    key = key_elements(delta)
    assert key.sum() == 40 and key.shape == delta.shape and key.dtype == torch.bool
    assert delta.abs()[key].min() > delta.abs()[~key].max()


def test_of_equal_elements_the_first_are_key_and_zeros_never():
    assert key_elements(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), 0.5).tolist() == [[True, True], [False, False]]
    assert key_elements(torch.tensor([3.0, -2.0, 5.0, 2.0]), 0.75).tolist() == [True, True, True, False]
    assert key_elements(torch.tensor([0.0, 2.0, 0.0, 0.0]), 0.75).tolist() == [False, True, False, False]
    assert not key_elements(torch.zeros(6, 5)).any()
    assert key_elements(torch.empty(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_of_nonsense_is_refused(share):
    with pytest.raises(ValueError, match="share of key elements"):
        key_elements(torch.ones(3), share)


def test_a_change_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        key_elements(torch.tensor([1.0, float("nan")]))


@pytest.fixture(scope="module")
def opened(saved, tmp_path_factory):
    """The base, two adapters, a copy of the first, one of other kinds of layers, and one of full weights."""
    folder = shutil.copytree(saved / "set", tmp_path_factory.mktemp("deltas") / "set")
    shutil.copytree(folder / "naming", folder / "again")
    model = AutoModelForImageTextToText.from_pretrained(saved / "model")
    save_adapter(model, folder / "kinds", 3, EVERY_KIND)
    weights = load_file(saved / "model" / "model.safetensors")
    some = sorted(k for k in weights if k.endswith(("layers.1.self_attn.q_proj.weight", "layers.0.mlp.up_proj.weight")))
    torch.manual_seed(4)
    weights |= {key: weights[key] + torch.randn_like(weights[key]) for key in some}
    bias = next(k for k in weights if k.endswith("layers.1.self_attn.q_proj.bias"))
    weights[bias] = weights[bias] + 1.0
    save_file(weights, folder / "full.safetensors", {"format": "pt"})
    file = folder / "checkpoints.json"
    data = json.loads(file.read_text())
    data["checkpoints"] += [
        {"name": "again", "task": "again", "adapter": "again"},
        {"name": "kinds", "task": "kinds", "adapter": "kinds"},
        {"name": "full", "task": "full", "weights": "full.safetensors"},
    ]
    file.write_text(json.dumps(data))
    model = AutoModelForImageTextToText.from_pretrained(saved / "model").eval().requires_grad_(False)
    return CheckpointSet.open(folder, model)


def explicit(checkpoints, name):
    """Every weight of a checkpoint as one dense float64 matrix, by peft's own arithmetic."""
    found = {}
    with checkpoints.use(name):
        for key, tensor in checkpoints.board.base.items():
            found[key] = tensor.detach().double()
        for layer, module in checkpoints.board.layers.items():
            for adapter in layer.active_adapters:
                if adapter in layer.lora_A or adapter in layer.lora_embedding_A:
                    found[f"{module}.weight"] = found[f"{module}.weight"] + layer.get_delta_weight(adapter).double()
    return found


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (BASE, "naming"), ("naming", "counting"), ("counting", BASE), ("kinds", "naming"), (BASE, "full"),
        ("full", "counting"), ("kinds", "full"),
    ],
)  # fmt: skip
def test_norms_and_distances_equal_the_explicit_matrices(opened, a, b):
    before, after = explicit(opened, a), explicit(opened, b)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    found = changed(opened, (a, b))
    tied = {"lm_head.weight"}  # another name for the embeddings
    assert moved - tied == set(found) - tied
    with opened.use(BASE):
        for key in found:
            one, other = effective(opened, key, (a, b))
            assert norm(one) == pytest.approx(float(before[key].norm()), rel=1e-6)
            assert distance(one, other) == pytest.approx(float((after[key] - before[key]).norm()), rel=1e-6)
            assert distance(other, one) == pytest.approx(distance(one, other), rel=1e-12)
            gap = difference(one, other).reshape(before[key].shape).double() - (after[key] - before[key])
            assert float(gap.abs().max()) < 1e-5


def test_a_vector_is_a_matrix_of_one_column(opened):
    bias = next(key for key in changed(opened, ("full",)) if key.endswith("bias"))
    with opened.use(BASE):
        one, other = effective(opened, bias, (BASE, "full"))
        assert distance(one, other) == pytest.approx(len(one.base) ** 0.5, rel=1e-6)  # 1 was added to each element


def test_the_same_weights_are_no_distance_apart(opened):
    with opened.use(BASE):
        for key in changed(opened, ("naming", "again")):
            one, other, same = effective(opened, key, ("naming", "again", "naming"))
            assert distance(one, other) == distance(one, same) == distance(one, one) == 0.0
            assert not difference(one, other).any()
    assert changed(opened, (BASE,)) == ()


def test_a_small_distance_between_large_changes_is_not_lost():
    torch.manual_seed(0)
    left, right = torch.randn(60, 4, dtype=torch.float64), torch.randn(4, 50, dtype=torch.float64)
    base, nudge = torch.zeros(60, 50), 1e-10 * torch.randn(60, 4, dtype=torch.float64)
    found = distance(Effective(base, None, left, right), Effective(base, None, left + nudge, right))
    assert found == pytest.approx(float((nudge @ right).norm()), rel=1e-4)


def test_reading_changes_nothing_and_does_not_depend_on_what_was_on(opened):
    before = explicit(opened, BASE)
    with opened.use("full"):
        key = next(k for k in changed(opened, ("full",)) if k.endswith("q_proj.weight"))
        with opened.use(BASE):
            apart = distance(*effective(opened, key, (BASE, "full")))
    with opened.use(BASE):
        assert apart == distance(*effective(opened, key, (BASE, "full"))) > 0
    assert all(torch.equal(before[k], tensor) for k, tensor in explicit(opened, BASE).items())


def test_an_unknown_checkpoint_and_a_weight_out_of_reach_are_told(opened, tokenizer):
    with pytest.raises(CheckpointError, match="no checkpoint 'nobody'"):
        changed(opened, ("nobody",))
    key = changed(opened, ("full",))[0]
    whole = opened.board.base[key]
    opened.board.base[key] = small_llava(tokenizer).to("meta").state_dict()[key]
    try:
        with opened.use(BASE), pytest.raises(CheckpointError, match="outside of the GPUs"):
            effective(opened, key, (BASE,))
    finally:
        opened.board.base[key] = whole
