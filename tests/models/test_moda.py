import copy
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, DynamicCache

from models.attention import Call, Context
from models.checkpoints import BASE, Blend, CheckpointSet, Merge, Patch
from models.editing import editing
from models.embedded.packing import attention_mask
from models.errors import CheckpointError
from models.instruments import AttentionMass, install
from models.mllm import MLLM
from models.moda import PICTURE, TEXT, Moda, Settings, aligned, fuser_shape
from models.segments import Modality
from models.weights import size

PLAIN = Settings(p_base=-math.inf)
HALVING = Settings(beta=math.log(2))
KINDS = torch.tensor([[Modality.INSTRUCTION, Modality.IMAGE, Modality.IMAGE, Modality.QUESTION]])


def rows(*numbers):
    """One batch row, one head."""
    return torch.tensor([[numbers]], dtype=torch.float64)


# Each equation by hand.

KEYS = rows((1, 0), (1, 1), (0, 3))  # two of the text, one of the picture
OWN = torch.tensor([[[True, True, False]]])


def spaces(first, second):
    """A fuser of both spaces: W = [first; second]."""
    return torch.tensor([*first, *second], dtype=torch.float64).expand(2, 1, 4, 2)


def times_picture(fuser):
    """What the text's query (2, -1) scores with the picture's key (0, 3)."""
    found = aligned(rows((2, -1)), KEYS, OWN, torch.tensor([[False]]), fuser)
    return float(found[0, 0, 0] @ KEYS[0, 0, 2])


def test_equation_5_the_gram_matrix_of_the_keys_of_one_modality():
    # (1,0)'(1,0) + (1,1)'(1,1) = [[2,1],[1,1]], its trace is 3; (2,-1) [[2,1],[1,1]] = (3,1)
    mapped = aligned(rows((2, -1)), KEYS, OWN, torch.tensor([[False]]), spaces(((0, 0), (0, 0)), ((1, 0), (0, 1))))
    torch.testing.assert_close(mapped, rows((1, 1 / 3)))


def test_equation_6_keys_of_the_other_modality_are_mapped_and_fused():
    # (0,3) [[2,1],[1,1]] / 3 = (1,1): mapped alone gives (2,-1).(1,1) = 1, the key alone (2,-1).(0,3) = -3
    assert times_picture(spaces(((0, 0), (0, 0)), ((1, 0), (0, 1)))) == pytest.approx(1)
    assert times_picture(spaces(((1, 0), (0, 1)), ((0, 0), (0, 0)))) == pytest.approx(-3)
    # (0,3) [[1,2],[0,1]] + (1,1) [[0,1],[0,0]] = (0,3) + (0,1) = (0,4), and (2,-1).(0,4) = -4
    assert times_picture(spaces(((1, 2), (0, 1)), ((0, 1), (0, 0)))) == pytest.approx(-4)


def test_each_space_has_a_fuser_of_its_own():
    fuser = torch.stack([spaces(((0, 0), (0, 0)), ((0, 0), (0, 0)))[0], spaces(((5, 0), (0, 5)), ((0, 0), (0, 0)))[0]])
    both = aligned(rows((1, 2), (1, 2)), KEYS, OWN.expand(1, 2, 3), torch.tensor([[False, True]]), fuser)
    torch.testing.assert_close(both, rows((0, 0), (5, 10)))
    assert (TEXT, PICTURE) == (0, 1)


def four_tokens(settings):
    """Text, picture, picture, text; keys log 2, log 3, log 1, log 2 and all queries 1; across modalities, twice."""
    key = rows((math.log(2),), (math.log(3),), (0,), (math.log(2),))
    call = Call(0, torch.ones_like(key), key, key, None, True, 1.0, None)
    double = torch.tensor([[2.0], [0.0]], dtype=torch.float64).expand(1, 2, 1, 2, 1)
    context = Context(KINDS, torch.arange(4)[None], 0, 0, torch.nn.Identity())
    return Moda(double, settings)(call, context).rows(torch.arange(4)[None])[0, 0].double()


def test_equations_7_to_9_the_parts_have_masks_of_their_own_and_one_softmax():
    expected = [
        [1, 0, 0, 0],
        [4 / 7, 3 / 7, 0, 0],  # across: 2 squared; within: 3
        [4 / 8, 3 / 8, 1 / 8, 0],
        [2 / 14, 9 / 14, 1 / 14, 2 / 14],  # across: 3 and 1 squared; within: 2 and 2
    ]
    torch.testing.assert_close(four_tokens(PLAIN), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_equation_10_pseudo_scores_drain():
    # with beta = log 2, what is masked after i holds 2^-i + 2^-(i+1) + ... = 2^(1-i)
    expected = torch.tensor(
        [
            [2 / 3, 0, 0, 0],
            [4 / 7.5, 3 / 7.5, 0, 0],
            [4 / 8.25, 3 / 8.25, 1 / 8.25, 0],
            [2 / 14.125, 9 / 14.125, 1 / 14.125, 2 / 14.125],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(four_tokens(HALVING), expected, atol=1e-6, rtol=0)
    higher = four_tokens(Settings(p_base=math.log(8), beta=math.log(2)))
    assert float(higher[3, 1]) == pytest.approx(9 / 15, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"beta": math.nan}, {"p_base": math.inf}, {"p_base": math.nan}])
def test_settings_that_make_no_sum(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


# In a decoder, against the keys' side of the equations written out query by query.


@pytest.fixture(scope="module")
def exact(saved):
    model = AutoModelForImageTextToText.from_pretrained(saved / "model").double().eval().requires_grad_(False)
    install(model)
    return model


@pytest.fixture(scope="module")
def moda(exact):
    found = Moda.start(exact.get_decoder().config, Settings(p_base=1.5, beta=0.05)).double().requires_grad_(False)
    torch.manual_seed(1)
    found.fuser += 0.3 * torch.randn_like(found.fuser)
    return found


SEGMENTS = torch.tensor([[2, 0, 0, 0, 0, 1, 1, 2, 3, 3], [0, 0, 2, 1, 0, 0, 0, 2, 3, 3]])
IDS = torch.arange(20).view(2, 10) + 5


def ran(model, segments, edits, ids=IDS, **inputs):
    with torch.no_grad(), editing(model, segments, edits):
        return model.get_decoder()(input_ids=ids, **inputs).last_hidden_state


def written_out(call, kinds, fuser, settings):
    """Attention's output ``[batch, queries, heads, d]``, each key fused anew for each query."""
    batch, heads, length, dim = call.query.shape
    output = torch.zeros(batch, length, heads, dim, dtype=torch.float64)
    seen = call.allowed(torch.arange(length).expand(batch, -1))
    for b in range(batch):
        for h in range(heads):
            group = h // (heads // call.key.shape[1])
            key, value = call.key[b, group], call.value[b, group]
            for i in range(length):
                visible = [j for j in range(length) if seen[b, i, j]]
                picture = bool(kinds[b, i] == Modality.IMAGE)
                own = [j for j in visible if bool(kinds[b, j] == Modality.IMAGE) == picture]
                gram = sum(torch.outer(key[t], key[t]) for t in own)
                gram = gram / gram.trace()
                weight = fuser[call.layer, int(picture), group]
                scores = []
                for j in visible:
                    k = key[j] if j in own else torch.cat([key[j], key[j] @ gram]) @ weight
                    scores.append(call.scale * call.query[b, h, i] @ k)
                pseudo = [settings.p_base - (j - 1) * settings.beta for j in range(len(visible) + 1, 1200)]
                share = torch.cat([torch.stack(scores), torch.tensor(pseudo, dtype=torch.float64)]).softmax(0)
                output[b, i, h] = share[: len(visible)] @ value[visible]
    return output


@pytest.mark.parametrize("packed", [False, True])
def test_a_decoder_attends_as_the_equations_written_out(exact, moda, packed):
    calls, outputs = [], []

    def keep(call, context):
        calls.append(call)
        return call

    def read(module, args):
        outputs.append(args[0])

    inputs = {}
    if packed:  # two dialogues that do not see each other
        closed = torch.zeros(2, 1, 10, 10, dtype=torch.bool)
        closed[:, :, 7:, 5:7] = True
        closed |= ~torch.ones(10, 10, dtype=torch.bool).tril()
        inputs["attention_mask"] = (
            torch.zeros(closed.shape).double().masked_fill(closed, torch.finfo(torch.float64).min)
        )
    hooks = [layer.self_attn.o_proj.register_forward_pre_hook(read) for layer in exact.get_decoder().layers]
    try:
        ran(exact, SEGMENTS, (keep, moda), **inputs)
    finally:
        for hook in hooks:
            hook.remove()
    assert [c.layer for c in calls] == [0, 1, 2]
    for call, output in zip(calls, outputs, strict=True):
        expected = written_out(call, SEGMENTS, moda.fuser, moda.settings)
        torch.testing.assert_close(output.view_as(expected), expected, atol=1e-10, rtol=0)


def test_without_alignment_and_pseudo_scores_it_is_plain_attention(exact):
    start = Moda.start(exact.get_decoder().config, PLAIN).double()
    torch.testing.assert_close(ran(exact, SEGMENTS, (start,)), ran(exact, SEGMENTS, ()), atol=1e-12, rtol=0)
    drained = Moda.start(exact.get_decoder().config, Settings()).double()
    assert (ran(exact, SEGMENTS, (drained,)) - ran(exact, SEGMENTS, ())).abs().max() > 1e-3


def test_cached_steps_give_what_the_whole_forward_gives(exact, moda):
    whole, prompt = ran(exact, SEGMENTS, (moda,)), SEGMENTS[:, :7]
    cache, parts = DynamicCache(config=exact.get_decoder().config), []
    with torch.no_grad(), editing(exact, prompt, (moda,)):  # what follows is the answer, text like the rest
        parts += [
            exact.get_decoder()(input_ids=part, cache=cache, use_cache=True).last_hidden_state
            for part in IDS.split([7, 1, 2], 1)
        ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-10, rtol=0)


def test_padding_changes_nothing(exact, moda):
    padded = torch.cat([torch.full((2, 3), 7), IDS], 1)
    kinds = torch.cat([torch.full((2, 3), -1), SEGMENTS], 1)
    mask = (kinds >= 0).long()
    found = ran(exact, kinds, (moda,), padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
    torch.testing.assert_close(found[:, 3:], ran(exact, SEGMENTS, (moda,)), atol=1e-10, rtol=0)


def test_no_token_learns_of_later_ones_or_of_other_dialogues(exact, moda):
    other = IDS.clone()
    other[:, 8:] += 100
    changed = (ran(exact, SEGMENTS, (moda,), other) - ran(exact, SEGMENTS, (moda,))).abs().amax((0, 2))
    assert changed[:8].max() < 1e-12 < 1e-3 < changed[8:].min()
    # packed as for training: the picture, then two dialogues
    length = 65 + 12
    branch, sees = torch.zeros(1, length, dtype=torch.uint8), torch.ones(1, length, dtype=torch.bool)
    branch[:, 65:71], branch[:, 71:] = 1, 2
    kinds = torch.full((1, length), int(Modality.QUESTION))
    kinds[:, 1:65] = int(Modality.IMAGE)
    ids = torch.arange(length)[None] + 5
    other = ids.clone()
    other[:, 65:71] += 100
    place = {
        "attention_mask": attention_mask(branch, sees, torch.float64),
        "position_ids": torch.cat([torch.arange(71), torch.arange(65, 71)])[None],
    }
    first, second = (ran(exact, kinds, (moda,), x, **place) for x in (ids, other))
    moved = (first - second).abs().amax((0, 2))
    assert moved[:65].max() < 1e-12
    assert moved[71:].max() < 1e-12 < 1e-3 < moved[65:71].min()
    # and the second dialogue is what it would be alone
    alone = ran(exact, kinds[:, :71], (moda,), torch.cat([ids[:, :65], ids[:, 71:]], 1))
    torch.testing.assert_close(first[:, 71:], alone[:, 65:], atol=1e-10, rtol=0)


def test_gradients_reach_both_halves_of_the_fuser(exact):
    start = Moda.start(exact.get_decoder().config, Settings()).double()
    with editing(exact, SEGMENTS, (start,)):
        exact.get_decoder()(input_ids=IDS).last_hidden_state.square().mean().backward()
    dim = start.fuser.shape[-1]
    for space in (TEXT, PICTURE):
        for half in start.fuser.grad[:, space].split(dim, 2):
            assert half.abs().amax((2, 3)).min() > 0  # in every layer and head


# As a checkpoint's attention.


@pytest.fixture
def withmoda(copied, exact, moda):
    """A copy of the checkpoint set whose "counting" attends with MODA."""
    Moda(moda.fuser, moda.settings).save(copied / "moda.safetensors")
    file = copied / "checkpoints.json"
    data = json.loads(file.read_text())
    data["checkpoints"][1]["attention"] = "moda.safetensors"
    file.write_text(json.dumps(data))
    return copied


def opened(saved, folder):
    model = AutoModelForImageTextToText.from_pretrained(saved / "model").eval().requires_grad_(False)
    return CheckpointSet.open(folder, model)


def test_a_checkpoint_brings_its_attention(saved, withmoda, moda):
    found = opened(saved, withmoda)
    assert found.edits(BASE) == found.edits("naming") == ()
    (own,) = found.edits("counting")
    assert own.settings == moda.settings
    torch.testing.assert_close(own.fuser, moda.fuser.float(), atol=1e-3, rtol=0)  # kept in half precision
    assert not own.fuser.requires_grad
    assert any(tensor is own.fuser for tensor in found.replacing)
    assert size(found.manifest.checkpoints[1]) > size(found.manifest.checkpoints[0])


def test_it_runs_alone(saved, withmoda):
    found = opened(saved, withmoda)
    assert found.batchable == (BASE, "naming")
    with pytest.raises(CheckpointError, match="counting cannot share a batch"), found.mixed(["naming", "counting"]):
        pass


def test_there_is_nothing_halfway_to_another_attention(saved, withmoda):
    found = opened(saved, withmoda)
    mixtures = (
        Blend("naming", "counting", 0.5), Blend("counting", BASE, 0.5), Merge((("counting", 0.5),)),
        Merge((("naming", 1.0), ("counting", 1.0))), Patch("naming", "counting", ("*.q_proj",)),
        Patch("counting", BASE, ("*.q_proj",)),
    )  # fmt: skip
    for mixture in mixtures:
        with pytest.raises(CheckpointError, match=r"^counting has another attention"), found.use(mixture):
            pass
        with pytest.raises(CheckpointError, match=r"^counting has another attention"):
            found.edits(mixture)
    for whole in (Merge((("naming", 0.0), ("counting", 1.0))), Patch("naming", "counting", ("*",))):
        assert found.edits(whole) == found.edits("counting")
    assert found.edits(Merge((("naming", 0.5), ("counting", 0.0)))) == ()
    assert found.edits(Blend("naming", "counting", 1)) == found.edits("counting")
    assert found.edits(Blend("naming", "counting", 0)) == ()


def test_an_answer_is_written_as_the_whole_text_is_read(saved, withmoda, picture):
    model = MLLM.open(saved / "model", checkpoints=withmoda, device="cpu", dtype="float32")
    prompt = model.encode(picture, "What is this?")
    steps = list(model.generate(prompt, "counting", 4))
    assert len(steps) > 1
    for i, step in enumerate(steps):
        whole = model.forward([prompt.followed([s.token_id for s in steps[:i]])], "counting").logits[0].log_softmax(0)
        assert step.token_id == int(whole.argmax())
        assert step.logprob == pytest.approx(float(whole.max()), abs=1e-4)
    moda = model.forward([prompt], "counting").logits
    with model.using("counting"), editing(model.model, prompt.segments[None], ()):
        plain = model.model(**prompt.inputs, logits_to_keep=1).logits[:, -1]
    assert (moda - plain).abs().max() > 1e-3
    assert model.generate_each(prompt, ["base", "counting"], 4)["counting"][0].token_id == steps[0].token_id


def test_instruments_read_the_attention_that_ran(saved, withmoda, picture):
    model = MLLM.open(saved / "model", checkpoints=withmoda, device="cpu", dtype="float32")
    prompt = model.encode(picture, "What is this?")
    plain, read = (
        model.forward([prompt], "counting", asked) for asked in ((), [AttentionMass(), AttentionMass("last")])
    )
    torch.testing.assert_close(read.logits, plain.logits, atol=1e-5, rtol=1e-5)
    seen = read.readings.rows.keys[0, 0, 0].sum()
    share = read.readings.rows.share.sum(-1)
    assert seen == prompt.length
    assert share.max() < 1 + 1e-6
    assert share.min() < 0.999  # the rest has drained


def rewritten(change, **metadata):
    def damage(file):
        texts = {"p_base": "0.0", "beta": "0.02"} | metadata
        save_file(change(load_file(file)), file, {k: v for k, v in texts.items() if v != "gone"})

    return damage


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (rewritten(lambda t: {}), "holds nothing; the fuser"),
        (rewritten(lambda t: t | {"more": t["fuser"].clone()}), "holds fuser.*, more"),
        (rewritten(lambda t: {"fuser": t["fuser"][:2].clone()}), r"holds fuser \[2, 2, 2, 16, 8\].*\[3, 2, 2, 16, 8\]"),
        (rewritten(lambda t: {"fuser": t["fuser"] * math.nan}), "not finite"),
        (rewritten(lambda t: {"fuser": t["fuser"].int()}), "not a floating-point"),
        (rewritten(lambda t: t, beta="gone"), "no number 'beta'"),
        (rewritten(lambda t: t, beta="-1"), "beta is -1.0"),
        (rewritten(lambda t: t, p_base="high"), "no number 'p_base'"),
        (rewritten(lambda t: t, p_base="inf"), "p_base is inf"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "not a whole safetensors file"),
        (lambda file: (file.unlink(), file.mkdir()), "is a folder"),
    ],
)
def test_a_damaged_fuser_says_what_is_wrong(saved, withmoda, damage, told):
    damage(withmoda / "moda.safetensors")
    with pytest.raises(CheckpointError, match=told) as error:
        opened(saved, withmoda)
    assert "moda.safetensors" in str(error.value)
    assert str(withmoda.parent) not in str(error.value)


def test_the_shape_follows_the_decoder(exact):
    config = copy.deepcopy(exact.get_decoder().config)
    assert fuser_shape(config) == (3, 2, 2, 16, 8)
    config.head_dim = 10
    assert fuser_shape(config) == (3, 2, 2, 20, 10)
