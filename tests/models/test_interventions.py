"""Edits of attention against the explicit softmax in float64, by hand, and through whole models."""

import json
import math
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from analysis.interference.scoring import logprobs, padded
from models.attention import EDITOR, LISTENER, NAME, Context
from models.checkpoints import CheckpointSet
from models.editing import editing
from models.errors import CheckpointError, InputError, ModelError
from models.flow import Flow
from models.instruments import PADDING, AttentionMap, AttentionMass, Rollout, decoder_of
from models.interventions import PseudoScores, Scale
from models.segments import Modality

IMAGE, QUESTION, INSTRUCTION, ANSWER = Modality
TEXT = (QUESTION, INSTRUCTION, ANSWER)
CUT = Scale(queries=TEXT, keys=[IMAGE], weight=0)
ASKED = "What is in the picture?"
BATCH, HEADS, GROUPS, TOKENS, WIDTH = 2, 4, 2, 9, 8
KINDS = torch.tensor([[2, 0, 0, 0, 1, 1, 2, 3, 3], [PADDING, PADDING, 2, 0, 0, 1, 2, 3, 3]])


class Fixed:
    """An ``Editor`` and a ``Listener`` of one call: of the last ``queries`` of ``KINDS``."""

    listens = True

    def __init__(self, edits, queries):
        places = (KINDS != PADDING).cumsum(1) - (KINDS != PADDING).long()
        self.edits, self.queries = edits, queries
        self.context = Context(KINDS, places, 0, TOKENS - queries, torch.nn.Identity())

    def edited(self, call, module, sliding):
        for edit in self.edits:
            call = edit(call, self.context)
        return call

    def columns(self, call, sliding):
        return (KINDS[..., None] == torch.arange(4)).float()

    def attend(self, call, mass):
        self.rows, self.mass = call.rows(torch.arange(self.queries).expand(BATCH, -1)), mass


def computed(query, key, value, mask, edits, softcap=None, listened=True):
    """Output [batch, queries, heads, d] of the registered attention under edits; and what a listener was told."""
    module, fixed = torch.nn.Identity(), Fixed(edits, query.shape[2])
    module.layer_idx, module.num_key_value_groups = 1, HEADS // GROUPS
    tokens = [EDITOR.set(fixed), LISTENER.set(fixed if listened else None)]
    try:
        output, _ = AttentionInterface()[NAME](module, query, key, value, mask, scaling=0.4, softcap=softcap)
    finally:
        EDITOR.reset(tokens[0])
        LISTENER.reset(tokens[1])
    return output, fixed


def explicit(query, key, value, mask, edits, softcap=None):
    """The same in float64, term by term: output, and weights [batch, heads, queries, keys]."""
    queries = query.shape[2]
    query, key, value = (x.double() for x in (query, key, value))
    key, value = (x.repeat_interleave(HEADS // GROUPS, 1) for x in (key, value))
    weights = torch.zeros(BATCH, HEADS, queries, TOKENS).double()
    for b, h, i, j in np.ndindex(*weights.shape):
        at = i + TOKENS - queries
        kinds = KINDS[b].tolist()
        bias, seen = 0.0, j <= at
        if mask is not None:
            seen, bias = (bool(mask[b, h % mask.shape[1], i, j]), 0.0) if mask.dtype == torch.bool else (
                mask[b, h, i, j] > -1e9, mask[b, h, i, j].double())  # fmt: skip
        if not seen:
            continue
        score, factor = query[b, h, i] @ key[b, h, j] * 0.4, 1.0
        for edit in (e for e in edits if isinstance(e, Scale)):
            following = kinds[at + 1] if at + 1 < TOKENS else None
            answering = kinds[at] == ANSWER or following in (None, ANSWER)
            asks = answering if edit.queries == "answering" else edit.queries is None or kinds[at] in edit.queries
            if asks and (edit.keys is None or kinds[j] in edit.keys):
                score, factor = score / edit.temperature, factor * edit.weight
        score = score if softcap is None else softcap * torch.tanh(score / softcap)
        weights[b, h, i, j] = factor * torch.exp(score + bias)
    total = weights.sum(-1)
    for edit in (e for e in edits if isinstance(e, PseudoScores)):
        for b, h, i in np.ndindex(*total.shape):
            for j in range(i + TOKENS - queries + 1, TOKENS):
                if KINDS[b, j] in (IMAGE, QUESTION, INSTRUCTION):
                    total[b, h, i] += math.exp(edit.base - int(places_of(b)[j]) * edit.beta)
    weights = weights / total.clamp(min=1e-300)[..., None]
    return (weights @ value).transpose(1, 2), weights


def places_of(row):
    return (KINDS[row] != PADDING).cumsum(0) - 1


def causal(queries=TOKENS):
    return torch.ones(TOKENS, TOKENS).tril().bool()[-queries:].expand(BATCH, 1, -1, -1)


def masks(name):
    """A mask and the number of queries."""
    late, drawn = ~causal(), torch.randn(BATCH, HEADS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(4))
    match name:
        case "causal":
            return None, TOKENS
        case "padded":
            return causal() & (KINDS != PADDING)[:, None, None], TOKENS
        case "window":
            return causal() & ~torch.ones(TOKENS, TOKENS).tril(-4).bool(), TOKENS
        case "biased":
            return drawn.masked_fill(late, torch.finfo(torch.float32).min), TOKENS
        case "each head":
            return (drawn > -1) & causal(), TOKENS
        case "one query":
            return None, 1
        case "two queries":
            return causal(2), 2


EDITS = {
    "cut": [Scale(queries=TEXT, keys=[IMAGE], weight=0)],
    "weaker": [Scale(queries=[ANSWER], keys=[IMAGE, QUESTION], weight=0.3)],
    "stronger": [Scale(queries="answering", keys=[IMAGE], weight=2)],
    "nothing left": [Scale(queries=[QUESTION], weight=0)],
    "softer": [Scale(queries="answering", keys=[IMAGE], temperature=2.5)],
    "softer queries": [Scale(queries=TEXT, temperature=3, weight=0.5)],
    "sharper keys": [Scale(keys=[IMAGE], temperature=0.5)],
    "pseudo": [PseudoScores(0.3, 1.5)],
    "all": [Scale("answering", [IMAGE], 0.4, 2), PseudoScores(0.1), Scale(TEXT, [INSTRUCTION], 0), PseudoScores(1, -1)],
}


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("mask", ["causal", "padded", "window", "biased", "each head", "one query", "two queries"])
@pytest.mark.parametrize("edits", EDITS)
def test_edits_equal_the_explicit_softmax(edits, mask, softcap):
    edits, (mask, queries) = EDITS[edits], masks(mask)
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(BATCH, HEADS, queries, WIDTH, generator=generator)
    key, value = torch.randn(2, BATCH, GROUPS, TOKENS, WIDTH, generator=generator)
    wanted, weights = explicit(query, key, value, mask, edits, softcap)
    there = (KINDS != PADDING)[:, TOKENS - queries :]  # a padding token's own output is nobody's
    for listened in (True, False):
        output, heard = computed(query, key, value, mask, edits, softcap, listened)
        assert not output[there].isnan().any()
        torch.testing.assert_close(output[there].double(), wanted[there], atol=1e-5, rtol=1e-5)
    output, heard = computed(query, key, value, mask, edits, softcap)
    at = there[:, None].expand(-1, HEADS, -1)
    torch.testing.assert_close(heard.rows[at].double(), weights[at], atol=1e-5, rtol=1e-5)
    mass = (weights @ heard.columns(None, False)[:, None].double()).transpose(1, 2)
    torch.testing.assert_close(heard.mass[there].double(), mass[there], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype, softcap):
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(BATCH, HEADS, TOKENS, WIDTH, generator=generator).to(dtype)
    key, value = torch.randn(2, BATCH, GROUPS, TOKENS, WIDTH, generator=generator).to(dtype)
    there = KINDS != PADDING
    for edits in EDITS.values():
        mask = masks("padded")[0]
        wanted, weights = explicit(query, key, value, mask, edits, softcap)
        closed = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
        for given in (mask, closed):
            output, heard = computed(query, key, value, given, edits, softcap)
            assert output.dtype == dtype
            torch.testing.assert_close(output[there].double(), wanted[there], atol=3e-2, rtol=3e-2)
            rows = heard.rows.transpose(1, 2)[there].double()
            torch.testing.assert_close(rows, weights.transpose(1, 2)[there], atol=1e-2, rtol=2e-2)


def test_queries_without_keys_give_nothing():
    query, key, value = torch.randn(3, BATCH, HEADS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))
    for softcap in (None, 1.5):
        output, heard = computed(query, key[:, :2], value[:, :2], None, EDITS["nothing left"], softcap)
        asked = KINDS == QUESTION
        assert not output[asked].any() and output[~asked].all()
        assert not heard.mass[asked].any() and not heard.rows.transpose(1, 2)[asked].any()


def test_pseudo_scores_by_hand(monkeypatch):
    # scores are 0, beta is log 2: the token with n before it holds 2^-n for those who may not see it
    edit, q = PseudoScores(math.log(2)), torch.zeros(1, 1, 4, 8)
    for kinds, wanted in (
        ([IMAGE, IMAGE, QUESTION, INSTRUCTION], [1 / (1 + 7 / 8), 1 / (2 + 3 / 8), 1 / (3 + 1 / 8), 1 / 4]),
        ([IMAGE, IMAGE, QUESTION, ANSWER], [1 / (1 + 3 / 4), 1 / (2 + 1 / 4), 1 / 3, 1 / 4]),
        ([PADDING, IMAGE, QUESTION, ANSWER], [None, 1 / (1 + 1 / 2), 1 / 2, 1 / 3]),
    ):
        monkeypatch.setattr("tests.models.test_interventions.KINDS", torch.tensor([kinds]))
        monkeypatch.setattr("tests.models.test_interventions.BATCH", 1)
        monkeypatch.setattr("tests.models.test_interventions.TOKENS", 4)
        mask = torch.ones(4, 4).tril().bool() & (torch.tensor(kinds) != PADDING)
        rows = computed(q, q, torch.ones_like(q), mask[None, None], [edit])[1].rows[0, 0]
        for i, weight in enumerate(wanted):
            if weight is not None:
                found = rows[i][mask[i]].tolist()
                assert found == pytest.approx([weight] * len(found), rel=1e-6)


def test_layers_bound_an_edit_and_what_changes_nothing_is_the_very_call():
    query, key, value = torch.randn(3, BATCH, HEADS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))
    key, value = key[:, :GROUPS], value[:, :GROUPS]
    plain = computed(query, key, value, None, [], listened=False)[0]
    for edit in (
        replace(CUT, layers=(2, 5)), replace(CUT, layers=(0, 0)), PseudoScores(0.1, layers=(0, 0)), Scale(),
        PseudoScores(0.1, -math.inf),
    ):  # fmt: skip
        assert torch.equal(computed(query, key, value, None, [edit], listened=False)[0], plain)
    for edit in (replace(CUT, layers=(1, 1)), PseudoScores(0.1, layers=(0, 1))):
        assert not torch.equal(computed(query, key, value, None, [edit], listened=False)[0], plain)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Scale(weight=-1), "weight is -1"), (lambda: Scale(weight=math.nan), "nan"),
        (lambda: Scale(weight=True), "True"), (lambda: Scale(temperature=0), "above 0"),
        (lambda: Scale(temperature="1"), "'1'"), (lambda: Scale(keys=[7]), "0 .image., 1 .question."),
        (lambda: Scale(keys=[]), "None for all"), (lambda: Scale(queries="last"), "Queries are 'last'"),
        (lambda: Scale(keys=3), "Keys are 3"), (lambda: Scale(layers=(3, 1)), "first and the last"),
        (lambda: Scale(layers=5), "Layers are 5"), (lambda: Scale(layers=(0.0, 1)), "both included"),
        (lambda: PseudoScores(-0.1), "beta is -0.1"), (lambda: PseudoScores(0.1, math.inf), "base is inf"),
        (lambda: PseudoScores(0.1, layers=(-1, 2)), "Layers"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_interventions_are_plain_numbers():
    for edit in (CUT, Scale("answering", [0], 0.5, 2, [1, 2]), PseudoScores(0.2), PseudoScores(0.2, -math.inf, (0, 1))):
        again = type(edit)(**json.loads(json.dumps(asdict(edit))))
        assert again == edit and hash(again) == hash(edit)


# Through whole models: tiles, a dynamic grid, a sliding window, softcapped scores of a prefix read in both directions.

SEVERAL = ("llava_next", "qwen2_5_vl", "gemma3", "paligemma2")


@pytest.mark.parametrize("name", SEVERAL)
def test_all_links_to_the_picture_cut_is_no_picture_in_attention(opened, picture, name):
    mllm = opened(name)
    encoded = mllm.encode(picture, ASKED)
    plain, hidden = (mllm.forward([e]).logits for e in (encoded, encoded.without_image()))
    cut = mllm.forward([encoded], interventions=[CUT]).logits
    torch.testing.assert_close(cut, hidden, atol=1e-5, rtol=1e-5)
    assert (plain - hidden).abs().max() > 1e-2
    each = [replace(CUT, layers=(i, i)) for i in range(3)]
    torch.testing.assert_close(mllm.forward([encoded], interventions=each).logits, hidden, atol=1e-5, rtol=1e-5)
    assert (mllm.forward([encoded], interventions=each[:1]).logits - hidden).abs().max() > 1e-3
    assert torch.equal(mllm.forward([encoded]).logits, plain)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize(
    "edit", [PseudoScores(0.05, 1), Scale("answering", [IMAGE], 0.3, 2), Scale([ANSWER], [IMAGE, ANSWER], 0)]
)
def test_cached_steps_equal_the_whole_forward(opened, picture, name, edit):
    mllm = opened(name)
    encoded = mllm.encode(picture, ASKED)
    steps = list(mllm.generate(encoded, max_new_tokens=4, interventions=[edit]))
    ids = [s.token_id for s in steps]
    assert len(ids) > 1
    plain = []
    for n, step in enumerate(steps):
        read = encoded.followed(ids[:n])
        whole = mllm.forward([read], interventions=[edit]).logits[0].log_softmax(-1)
        assert float(whole[ids[n]]) == pytest.approx(step.logprob, abs=1e-4)
        plain.append((mllm.forward([read]).logits[0].log_softmax(-1) - whole).abs().max())
    # the answer's own queries are none that predict its first token; PaliGemma sees its whole prompt, none is masked
    expected = [not (edit.__class__ is Scale and edit.queries == (ANSWER,))] + [True] * (len(steps) - 1)
    if name == "paligemma2" and isinstance(edit, PseudoScores):
        expected = [False] * len(steps)
    assert [bool(d > 1e-4) for d in plain] == expected
    score = mllm.score(encoded, ["a picture", "two"], interventions=[edit])
    for choice, found in zip(score.choices, score.logprob, strict=True):
        tail, total = mllm.encoder.continuation(encoded, choice), 0.0
        for n, token in enumerate(tail):
            logits = mllm.forward([encoded.followed(list(tail[:n]))], interventions=[edit]).logits
            total += float(logits[0].log_softmax(-1)[token])
        assert found == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("name", ["llava_next", "gemma3"])
def test_padded_rows_equal_each_alone(opened, picture, name):
    mllm, edits = opened(name), [PseudoScores(0.05, 1), Scale("answering", [IMAGE], 0.3, 2)]
    prompts = [mllm.encode(picture, q) for q in (ASKED, "How many things are there in it, one or two?")]
    longest = max(p.length for p in prompts)
    flow = Flow(mllm.model, [padded(p, longest, 0) for p in prompts], edits=edits)
    together = flow.begin()
    token = torch.tensor([[7]])
    flow.repeat(2)
    more = flow.more(token.expand(4, -1))[::2, -1]
    for i, prompt in enumerate(prompts):
        alone = Flow(mllm.model, [prompt], edits=edits)
        torch.testing.assert_close(alone.begin()[0], together[i], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.more(token)[0, -1], more[i], atol=1e-4, rtol=1e-4)


def test_instruments_read_the_changed_attention(mllm, picture):
    encoded, last = mllm.encode(picture, ASKED), len(decoder_of(mllm.model).layers) - 1
    asked = [AttentionMass("last"), AttentionMass(), AttentionMap(last)]
    found = mllm.forward([encoded], instruments=asked, interventions=[replace(CUT, layers=(last, last))]).readings
    plain = mllm.forward([encoded], instruments=asked).readings
    assert not found.rows.share[last, ..., IMAGE].any() and not found.rows.keys[last, ..., IMAGE].any()
    np.testing.assert_allclose(found.rows.share[last].sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.rows.share[:last], plain.rows.share[:last], atol=1e-5)
    assert not found.mass.share[last, 0, :, QUESTION, IMAGE].any()
    assert not found.maps[0].weights[0, :, encoded.segments == IMAGE].any()
    assert plain.maps[0].weights[0, :, encoded.segments == IMAGE].all()
    asked = [AttentionMass([1, -1]), Rollout(1)]
    drained = mllm.forward([encoded], instruments=asked, interventions=[PseudoScores(0.01, 2)]).readings
    sums, halves = drained.rows.share.sum(-1), mllm.forward([encoded], instruments=asked).readings.rollouts[0].weights
    assert 0.5**3 < drained.rollouts[0].weights.sum() < 0.8 and halves.sum() == pytest.approx(1, abs=1e-5)
    assert sums[..., 0].max() < 0.5 and sums[..., 1] == pytest.approx(1, abs=1e-5)


def test_instruments_do_not_change_what_an_intervention_does(mllm, picture):
    encoded, edits = mllm.encode(picture, ASKED), [Scale("answering", [IMAGE], 0.3, 2), PseudoScores(0.05)]
    plain = mllm.forward([encoded], interventions=edits).logits
    watched = mllm.forward([encoded], instruments=[AttentionMass(), AttentionMass("last")], interventions=edits).logits
    torch.testing.assert_close(watched, plain, atol=2e-5, rtol=0)
    rows = mllm.forward([encoded], instruments=[AttentionMass("last")], interventions=edits).logits
    assert torch.equal(rows, plain)


def test_gradients_flow_through_edits_and_not_through_what_is_cut(mllm, picture):
    encoded = mllm.encode(picture, ASKED)
    image = encoded.segments == IMAGE

    def gradient(interventions):
        noise = torch.zeros(encoded.length, mllm.encoder.width, requires_grad=True)
        prompt = encoded.with_embedding_noise(noise)
        with mllm.using("base"):
            logits = mllm.forward([prompt], grad=True, interventions=interventions).logits
            return torch.autograd.grad(logits[0].logsumexp(-1), noise)[0]

    assert gradient([])[image].abs().max() > 1e-4
    cut = gradient([CUT])
    assert not cut[image].any() and cut[~image].abs().max() > 1e-4
    for edits in ([Scale(TEXT, [IMAGE], 0.5, 2)], [PseudoScores(0.1)]):
        assert gradient(edits)[image].abs().max() > 1e-4


def test_two_threads_never_see_each_others_interventions(mllm, picture):
    encoded = mllm.encode(picture, ASKED)
    inputs = {**encoded.inputs, "position_ids": encoded.positions}
    edits = {"cut": [CUT], "pseudo": [PseudoScores(0.05)], "none": []}

    @torch.inference_mode()
    def run(name):  # without the model's lock: at the same time
        with editing(mllm.model, encoded.segments, edits[name]):
            return mllm.model(**inputs).logits[0, -1]

    with mllm.using("base"):
        alone, found, barrier = {name: run(name) for name in edits}, {name: [] for name in edits}, threading.Barrier(3)

        def visit(name):
            for _ in range(6):
                barrier.wait(60)
                found[name].append(run(name))

        threads = [threading.Thread(target=visit, args=(name,)) for name in edits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (alone["cut"] - alone["none"]).abs().max() > 1e-2 < (alone["pseudo"] - alone["none"]).abs().max()
    for name, logits in found.items():
        assert len(logits) == 6 and all(torch.allclose(x, alone[name], atol=1e-5) for x in logits)


def test_what_cannot_be_changed_is_refused_and_no_hook_stays(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, ASKED)
    before = sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in mllm.model.modules())
    with pytest.raises(InputError, match="no layers 1 to 3: this model has 0 to 2"):
        mllm.forward([encoded], interventions=[Scale(layers=(1, 3))])
    with pytest.raises(InputError, match="no intervention"):
        mllm.generate(encoded, interventions=["cut"])
    with pytest.raises(ModelError, match="2 rows, the segments 1"), editing(mllm.model, encoded.segments, [CUT]):
        mllm.model(input_ids=encoded.inputs["input_ids"][:, :1].expand(2, -1))
    decoder = decoder_of(mllm.model)
    monkeypatch.setattr(decoder.config, "_attn_implementation_internal", "sdpa")
    with pytest.raises(ModelError, match="call install first"):
        mllm.forward([encoded], interventions=[CUT])
    monkeypatch.undo()
    assert mllm.forward([encoded], interventions=[CUT]).logits.isfinite().all()
    assert before == sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in mllm.model.modules())


def test_a_checkpoints_own_edits_are_in_force_wherever_it_answers(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, ASKED)
    wanted = {
        "forward": mllm.forward([encoded], "naming", interventions=[CUT]).logits,
        "both": mllm.forward([encoded], "naming", interventions=[CUT, PseudoScores(0.2)]).logits,
        "ids": [s.token_id for s in mllm.generate(encoded, "naming", 5, interventions=[CUT])],
        "score": mllm.score(encoded, ["bee", "a cat"], "naming", [CUT]).logprob,
    }
    wanted["text"] = "".join(s.token for s in mllm.generate(encoded, "naming", 5, interventions=[CUT])).strip()
    before = mllm.forward([encoded], "naming").logits
    plain = CheckpointSet.edits
    monkeypatch.setattr(CheckpointSet, "edits", lambda self, name: (CUT,) if name == "naming" else plain(self, name))
    assert (before - wanted["forward"]).abs().max() > 1e-2
    assert torch.equal(mllm.forward([encoded], "naming").logits, wanted["forward"])
    both = mllm.forward([encoded], "naming", interventions=[PseudoScores(0.2)]).logits
    assert torch.equal(both, wanted["both"])
    assert [s.token_id for s in mllm.generate(encoded, "naming", 5)] == wanted["ids"]
    assert np.array_equal(mllm.score(encoded, ["bee", "a cat"], "naming").logprob, wanted["score"])
    assert mllm.answers([encoded], "naming", 5) == [wanted["text"]]
    scored = logprobs(mllm, [encoded], ["bee", "a cat"], "naming")[0]
    np.testing.assert_allclose(scored, wanted["score"], atol=1e-4)
    assert mllm.edits("base") == () and mllm.edits(["naming", "naming"]) == (CUT,)
    with pytest.raises(ModelError, match="run each alone"):
        mllm.forward([encoded] * 2, ["naming", "base"])
    with pytest.raises(CheckpointError, match="no checkpoint 'x'"):
        mllm.edits("x")
