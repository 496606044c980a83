"""Decoding strategies: each rule by hand, each reduction to its base decoder, each batch against separate runs."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from analysis.decoding import strategies
from analysis.decoding.strategies import (
    ALL,
    Beam,
    Guidance,
    Inter,
    LayerContrast,
    MutualInformation,
    Nucleus,
    Opera,
    VisualContrast,
    dividends,
    four_contexts,
    modified,
)
from analysis.decoding.strategies.stepwise import Draw, candidates, contrasted
from analysis.interference.scoring import padded
from models.errors import InputError
from models.generation import Greedy, Writing
from models.segments import Modality

QUESTIONS = ("What is at the top left?", "Which?", "How many things are there in the picture, and where?")
LENGTH = 8


@pytest.fixture
def llava(opened):
    """A LLaVA of the zoo: its decoder has three layers, its head is not tied."""
    return opened("llava")


def tokens(mllm, encoded, strategy=None, checkpoint="base", length=LENGTH):
    return [s.token_id for s in mllm.generate(encoded, checkpoint, length, strategy)]


# --- INTER's rule


def rule(z, k, beta):
    """The update rule in plain numbers: which tokens stay, and the scores of those."""
    every, no_picture, no_question, nothing = z
    together = [a - b - c + d for a, b, c, d in zip(every, no_picture, no_question, nothing, strict=True)]
    mean = sum(together) / len(together)
    variance = sum((t - mean) ** 2 for t in together) / len(together)
    if variance < k:
        together = [0.0] * len(together)
    floor = max(every) + math.log(beta)
    return variance, [a + t if a >= floor else -math.inf for a, t in zip(every, together, strict=True)]


@pytest.mark.parametrize("scale", [0.1, 0.5, 3.0])
def test_a_step_equals_the_rule_on_random_logits(scale):
    fired = set()
    for seed in range(20):
        z = np.random.default_rng(seed).normal(0, scale, (4, 60))
        found = modified(torch.tensor(z), 1.0, 0.1)
        variance, scores = rule(z.tolist(), 1.0, 0.1)
        assert found.scores.dtype == torch.float64
        assert found.variance == pytest.approx(variance, rel=1e-12)
        assert found.scores.tolist() == pytest.approx(scores, rel=1e-12)
        assert found.fired == (variance >= 1.0)
        assert found.if_fired.tolist() == pytest.approx(rule(z.tolist(), 0.0, 0.1)[1], rel=1e-12)
        fired.add(found.fired)
    assert fired == ({False} if scale < 0.5 else {True} if scale > 0.5 else {False, True})


def test_a_step_worked_by_hand():
    z = torch.tensor(
        [[2.0, 1.5, 0.0, -4.0], [1.0, -1.0, 0.0, 0.0], [1.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]], dtype=torch.float64
    )
    found = modified(z, 1.0, 0.1)  # I = 0, 2, 0, -4: variance 4.75
    assert found.interaction.tolist() == [0, 2, 0, -4] and found.variance == 4.75 and found.fired
    assert found.scores.tolist() == [2, 3.5, 0, -math.inf]  # 2 + log 0.1 = -0.3
    assert not modified(z, 4.76, 0.1).fired and modified(z, 4.76, 0.1).scores.tolist() == [2, 1.5, 0, -math.inf]
    assert modified(z, 4.75, 0.1).fired  # below k, not at it, it stays quiet
    assert modified(z, 1.0, 1.0).scores.tolist() == [2] + [-math.inf] * 3  # the likeliest always stays
    assert modified(z, 1.0, 0.7).scores.tolist() == [2] + [-math.inf] * 3
    assert modified(z, 1.0, 0.6).scores.tolist() == [2, 3.5, -math.inf, -math.inf]


def test_ties_go_to_the_first_token():
    z = torch.zeros(4, 5, dtype=torch.float64)
    z[0] = torch.tensor([0.0, 3.0, 2.0, 3.0, 3.0])
    z[1] = torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0])  # I = 0, 3, 3, 3, 3: token 2 comes to 5, the others to 6
    assert modified(z, 0.0, 0.1).scores.tolist() == [-math.inf, 6, 5, 6, 6]
    assert Draw(0, 1, 0)(modified(z, 0.0, 0.1).scores) == 1
    assert Draw(0, 1, 0)(modified(z, math.inf, 0.1).scores) == 1


def test_dividends_are_those_of_the_game_and_sum_to_the_whole():
    z = np.random.default_rng(3).normal(0, 5, (4, 30))
    value = {frozenset("pq"): z[0], frozenset("q"): z[1], frozenset("p"): z[2], frozenset(): z[3]}
    subsets = list(value)
    wanted = [
        sum((-1) ** (len(whole) - len(part)) * value[part] for part in subsets if part <= whole) for whole in subsets
    ]
    found = dividends(torch.tensor(z)).numpy()
    assert found == pytest.approx(np.stack(wanted), rel=1e-12)
    assert found.sum(0) == pytest.approx(z[0], rel=1e-12)


# --- INTER in a model


def test_the_four_contexts(mllm, picture):
    encoded = mllm.encode(picture, QUESTIONS[0])
    both, question, alone, neither = four_contexts(encoded, 5)
    assert both is encoded and len({c.length for c in (both, question, alone, neither)}) == 1
    hidden = [(c.inputs["attention_mask"][0] == 0) for c in (both, question, alone, neither)]
    asked = encoded.segments == Modality.QUESTION
    assert [torch.equal(h, asked) for h in hidden] == [False, False, True, True]
    assert not hidden[0].any() and not hidden[1].any() and asked.any()
    pixels = [c.inputs["pixel_values"] for c in (both, question, alone, neither)]
    assert torch.equal(pixels[0], pixels[2]) and torch.equal(pixels[1], pixels[3])
    assert not torch.equal(pixels[0], pixels[1])
    for c in (question, alone, neither):
        assert torch.equal(c.positions, encoded.positions) and torch.equal(c.segments, encoded.segments)
    again, other = (four_contexts(encoded, seed)[1].inputs["pixel_values"] for seed in (5, 6))
    assert torch.equal(again, pixels[1]) and not torch.equal(other, pixels[1])


def by_hand(mllm, encoded, checkpoint, strategy, length):
    """INTER with four separate forwards a step and no cache."""
    found = []
    for _ in range(length):
        contexts = [c.followed(found) for c in four_contexts(encoded, strategy.image_seed)]
        logits = torch.cat([mllm.forward([c], checkpoint).logits for c in contexts])
        token = int(modified(logits, strategy.threshold, strategy.beta).scores.argmax())
        if token in mllm.generator.ends:
            break
        found.append(token)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_batch_equals_four_separate_runs_token_for_token(mllm, picture, question):
    encoded, differs = mllm.encode(picture, question), False
    for checkpoint in mllm.checkpoint_names:
        for strategy in (Inter(), Inter(threshold=0.0, beta=0.01, image_seed=3)):
            found = tokens(mllm, encoded, strategy, checkpoint)
            assert found == by_hand(mllm, encoded, checkpoint, strategy, LENGTH)
            differs |= found != tokens(mllm, encoded, None, checkpoint)
    assert differs


@pytest.mark.parametrize("side", ["left", "right"])
def test_prompts_of_different_length_in_one_batch_equal_their_own_runs(mllm, picture, side, monkeypatch):
    monkeypatch.setattr(mllm.tokenizer, "padding_side", side)  # whatever the tokenizer would pad, prompts are whole
    prompts = [mllm.encode(picture, q) for q in QUESTIONS]
    assert len({p.length for p in prompts}) == 3
    longest = max(p.length for p in prompts)
    alone, writings = [tokens(mllm, p, Inter(beta=0.01)) for p in prompts], []
    for prompt in prompts:
        strategy = Inter(beta=0.01)
        contexts = [padded(c, longest, mllm.tokenizer.pad_token_id) for c in strategy.contexts(prompt)]
        writings.append(Writing(strategy, contexts))
    steps = mllm.generator.steps(writings, LENGTH, lambda: mllm.using("base"))
    together = [[s.token_id for s in row if s is not None] for row in zip(*steps, strict=True)]
    assert together == alone


def test_one_forward_a_step_and_two_pictures(mllm, picture):
    encoded, rows, looks = mllm.encode(picture, QUESTIONS[0]), [], []
    hooks = [
        mllm.model.register_forward_pre_hook(
            lambda m, a, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        ),
        mllm.model.model.vision_tower.register_forward_pre_hook(
            lambda m, args, kwargs: looks.append(len(args[0] if args else kwargs["pixel_values"])), with_kwargs=True
        ),
    ]
    try:
        assert len(tokens(mllm, encoded, Inter(), length=4)) == 4
    finally:
        for hook in hooks:
            hook.remove()
    assert rows == [(4, encoded.length)] + [(4, 1)] * 3
    assert looks == [2]


def test_details_tell_the_step(mllm, picture):
    encoded = mllm.encode(picture, QUESTIONS[0])
    steps = list(mllm.generate(encoded, max_new_tokens=4, strategy=Inter(threshold=2.0)))
    own = [s.token_id for s in steps]
    assert len(steps) == 4
    for n, step in enumerate(steps):
        z, told = mllm.forward([c.followed(own[:n]) for c in four_contexts(encoded, 0)]).logits, step.details
        found = modified(z, 2.0)
        assert told["interaction_variance"] == pytest.approx(found.variance, abs=1e-3)
        assert told["fired"] == found.fired
        assert told["greedy_id"] == int(z[0].argmax()) and told["modified_id"] == int(found.if_fired.argmax())
        assert own[n] == told["modified_id" if told["fired"] else "greedy_id"]


def test_inter_draws_by_seed(mllm, picture):
    encoded = mllm.encode(picture, QUESTIONS[0])
    drawn = [tokens(mllm, encoded, Inter(temperature=2.0, beta=0.01, seed=seed)) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len({tuple(d) for d in drawn}) > 1


# --- reductions


def last_layer(mllm):
    return mllm.model.config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("checkpoint", ["base", "counting"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_strategies_reduce_to_their_base_decoder(mllm, picture, checkpoint, question):
    encoded = mllm.encode(picture, question)
    greedy = tokens(mllm, encoded, Greedy(), checkpoint)
    for strategy in (
        VisualContrast(alpha=0.0), MutualInformation(decay=0.0), Guidance(scale=1.0), Nucleus(1.5, 0.0),
        LayerContrast((last_layer(mllm),)), Inter(threshold=math.inf), Beam(1), Opera(1, 3, weight=0.0),
    ):  # fmt: skip
        assert tokens(mllm, encoded, strategy, checkpoint) == greedy, strategy
    for beams in (2, 4):
        beam = tokens(mllm, encoded, Beam(beams), checkpoint)
        assert tokens(mllm, encoded, Opera(beams, beams + 1, weight=0.0), checkpoint) == beam


def test_strategies_do_differ_from_greedy(mllm, picture):
    for strategy in (
        VisualContrast(3.0, 0.01), MutualInformation(0.5, 1.0), Guidance(3.0), Nucleus(1.5, 1.0), LayerContrast((1, 2)),
        Inter(threshold=0.0, beta=0.01), Nucleus(2.0, 1.0, beta=0.5), Beam(4), Opera(4, 5, weight=20.0),
    ):  # fmt: skip
        pairs = [(tokens(mllm, e, strategy), tokens(mllm, e)) for e in (mllm.encode(picture, q) for q in QUESTIONS)]
        assert any(a != b for a, b in pairs), strategy


# --- the rules of the others


def test_contrasts_are_their_formulas(mllm, picture):
    encoded = mllm.encode(picture, QUESTIONS[0])
    own, less = np.random.default_rng(0).normal(0, 2, (2, 40))
    z, z0 = torch.tensor(own), torch.tensor(less)
    shade = math.exp(-0.02 * 7)
    amplified = own + (1 - shade) / shade * (own - less)
    assert MutualInformation(sure=1.0).contrast(z, z0, 7).numpy() == pytest.approx(amplified)
    assert Guidance(2.5).contrast(z, z0, 3).numpy() == pytest.approx(less + 2.5 * (own - less))
    wanted = np.where(own >= own.max() + math.log(0.1), (1 + 0.7) * own - 0.7 * less, -np.inf)
    assert VisualContrast(0.7).contrast(z, z0, 3).numpy() == pytest.approx(wanted)
    for strategy in (MutualInformation(), Guidance()):
        _, blind = strategy.contexts(encoded)
        assert torch.equal(blind.inputs["attention_mask"][0] == 0, encoded.segments == Modality.IMAGE)


def test_m3id_acts_only_where_the_model_is_unsure_and_never_at_the_first_token():
    own, less = torch.tensor([0.6, 0.3, 0.1]).log(), torch.tensor([0.9, 0.05, 0.05]).log()
    assert torch.equal(MutualInformation(0.5, sure=0.6).contrast(own, less, 4), own)  # 0.6 is sure enough
    acting = MutualInformation(0.5, sure=0.61).contrast(own, less, 4)
    assert acting.numpy() == pytest.approx((own + (math.exp(2) - 1) * (own - less)).numpy(), rel=1e-5)
    assert int(acting.argmax()) == 1
    for sure in (0.0, 1.0):  # e^0 - 1 is nothing: a yes or no of one token is greedy's
        assert torch.equal(MutualInformation(0.5, sure).contrast(own, less, 0), own)


def test_noise_is_that_of_the_diffusion(mllm, picture):
    encoded = mllm.encode(picture, QUESTIONS[0])
    betas = 1 / (1 + np.exp(-np.linspace(-6, 6, 1000))) * (0.5e-2 - 1e-5) + 1e-5
    pixels = encoded.inputs["pixel_values"].double().numpy()
    for steps in (0, 500, 999):
        kept = np.prod(1 - betas[: steps + 1])
        _, noised = VisualContrast(noise_steps=steps, seed=4).contexts(encoded)
        noise = (noised.inputs["pixel_values"].double().numpy() - np.sqrt(kept) * pixels) / np.sqrt(1 - kept)
        drawn = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(4)).numpy()
        assert noise == pytest.approx(drawn, abs=2e-3)
        assert torch.equal(noised.inputs["input_ids"], encoded.inputs["input_ids"])
    other = VisualContrast(seed=5).contexts(encoded)[1].inputs["pixel_values"]
    assert not torch.equal(other, VisualContrast(seed=4).contexts(encoded)[1].inputs["pixel_values"])


def test_layers_to_contrast_with():
    assert candidates("low", 32, False) == tuple(range(0, 16, 2))
    assert candidates("high", 32, False) == tuple(range(16, 32, 2))
    assert candidates("low", 32, True) == tuple(range(2, 16, 2))
    assert candidates("low", 80, False) == tuple(range(0, 20, 2))
    assert candidates("high", 80, True) == tuple(range(60, 80, 2))
    assert candidates("low", 4, True) == (2,) and candidates("high", 4, True) == (2,)
    assert candidates("low", 3, False) == (0,) and candidates("high", 3, False) == (1,)
    assert candidates("low", 2, True) == (1,) and candidates("low", 1, True) == (0,)


def dola(mllm, encoded, layers, beta, length):
    """DoLa from the hidden states of whole forwards: token, layer and divergence of each step."""
    found = []
    for _ in range(length):
        full = encoded.followed([t for t, _, _ in found])
        inputs = {**full.inputs, "position_ids": full.positions}
        with torch.no_grad():
            output = mllm.model(**inputs, output_hidden_states=True, use_cache=False)
            heads = [mllm.model.lm_head(output.hidden_states[i][0, -1]) for i in layers]
        final = output.logits[0, -1].double().numpy()
        p, early = softmax(final), [softmax(h.double().numpy()) for h in heads]
        far = [jensenshannon(p, q) ** 2 for q in early]
        pick = int(np.argmax(far))
        scores = np.where(p >= beta * p.max(), log_softmax(final) - np.log(early[pick]), -np.inf)
        token = int(scores.argmax())
        if token in mllm.generator.ends:
            break
        found.append((token, layers[pick], far[pick]))
    return found


@pytest.mark.parametrize(("layers", "indices"), [("low", (0,)), ("high", (1,)), ((0, 1, 2), (0, 1, 2))])
def test_layer_contrast_equals_doing_it_from_hidden_states(llava, picture, layers, indices):
    for question in QUESTIONS:
        encoded = llava.encode(picture, question)
        steps = list(llava.generate(encoded, max_new_tokens=6, strategy=LayerContrast(layers)))
        wanted = dola(llava, encoded, indices, 0.1, 6)
        assert [s.token_id for s in steps] == [t for t, _, _ in wanted] != []
        assert [s.details["layer"] for s in steps] == [layer for _, layer, _ in wanted]
        assert [s.details["divergence"] for s in steps] == pytest.approx([d for _, _, d in wanted], abs=1e-4)
    assert not any(layer._forward_pre_hooks for layer in llava.model.get_decoder().layers)


def test_layers_that_say_the_same_leave_the_models_own_order():
    final = torch.tensor([1.0, 3.0, 2.9, 0.0], dtype=torch.float64)
    layer, far, scores = contrasted(final, {4: final + 7}, 0.1)
    assert layer == 4 and far == pytest.approx(0) and scores.tolist() == pytest.approx([0, 0, 0, -math.inf], abs=1e-12)
    other = torch.tensor([0.0, 0.0, -5.0, 0.0], dtype=torch.float64)
    assert contrasted(final, {1: final, 2: other}, 0.1)[0] == 2


def test_nucleus_draws_what_it_should():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    draw = Draw(1.0, 0.75, 0)
    counts = np.bincount([draw(logits) for _ in range(2000)], minlength=4) / 2000
    assert counts == pytest.approx([0.625, 0.375, 0, 0], abs=0.04)
    sharp = Draw(0.5, 1.0, 0)
    counts = np.bincount([sharp(logits) for _ in range(2000)], minlength=4) / 2000
    assert counts == pytest.approx(np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365, abs=0.04)
    again = [[Draw(1.0, 0.9, seed)(logits) for _ in range(20)] for seed in (1, 1)]
    assert again[0] == again[1]


def test_the_cut_alone_takes_what_is_far_less_likely_out_of_the_nucleus():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()

    def shares(top_p, beta):
        strategy = Nucleus(1.0, top_p, beta=beta)
        strategy.contexts(None)
        return np.bincount([strategy.choose(logits, 0).token_id for _ in range(2000)], minlength=4) / 2000

    assert shares(1.0, 0.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.04)
    assert shares(1.0, 0.4) == pytest.approx([0.625, 0.375, 0, 0], abs=0.04)  # 0.15 is less than 0.4 times 0.5
    assert shares(0.9, 0.2) == pytest.approx(np.array([0.5, 0.3, 0.15, 0]) / 0.95, abs=0.04)
    assert shares(0.9, 1.0).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("question", QUESTIONS)
def test_inter_that_samples_reduces_to_its_controls_draw_for_draw(mllm, picture, question):
    encoded = mllm.encode(picture, question)
    drawn = lambda strategy: tokens(mllm, encoded, strategy)  # noqa: E731
    for seed in (0, 1):
        silent = {"threshold": math.inf, "temperature": 2.0, "top_p": 0.9, "seed": seed}
        assert drawn(Inter(beta=1e-30, **silent)) == drawn(Nucleus(2.0, 0.9, seed))
        assert drawn(Inter(beta=0.5, **silent)) == drawn(Nucleus(2.0, 0.9, seed, beta=0.5))
        assert drawn(Inter(beta=1.0, **silent)) == drawn(Greedy())
        offered = [strategies.make("inter-nucleus", {"seed": seed, "temperature": 2.0}) for _ in range(2)]
        assert offered[0].top_p == 0.9 and drawn(offered[0]) == drawn(offered[1])


def test_nucleus_is_reproducible_and_shared_objects_do_not_mix(mllm, picture):
    encoded, shared = mllm.encode(picture, QUESTIONS[0]), Nucleus(2.0, 1.0, 3)
    alone = tokens(mllm, encoded, Nucleus(2.0, 1.0, 3))
    runs = [mllm.generate(encoded, max_new_tokens=LENGTH, strategy=shared) for _ in range(2)]
    found = [[s.token_id for s in pair] for pair in zip(*runs, strict=True)]
    assert [list(column) for column in zip(*found, strict=True)] == [alone, alone]
    assert any(tokens(mllm, encoded, Nucleus(2.0, 1.0, seed)) != alone for seed in (4, 5))


# --- what cannot be


def test_without_a_picture_they_say_so_and_are_greedy(mllm):
    encoded = mllm.encode(None, QUESTIONS[0])
    greedy = tokens(mllm, encoded)
    for strategy in (Inter(), VisualContrast(), MutualInformation(), Guidance()):
        steps = list(mllm.generate(encoded, max_new_tokens=LENGTH, strategy=strategy))
        assert [s.token_id for s in steps] == greedy
        assert all("There is no picture" in s.details["note"] for s in steps)
    steps = list(mllm.generate(encoded, max_new_tokens=LENGTH, strategy=Inter()))
    assert all(math.isnan(s.details["interaction_variance"]) and not s.details["fired"] for s in steps)
    with pytest.raises(InputError, match="cannot interact"):
        four_contexts(encoded, 0)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("inter", {"threshold": -1}, "threshold k is -1: it must be at least 0"),
        ("inter", {"threshold": math.nan}, "threshold k is nan"),
        ("inter", {"beta": 0}, "Beta is 0: it must be above 0 and at most 1"),
        ("inter", {"beta": 1.5}, "Beta is 1.5"),
        ("inter", {"beta": math.nan}, "Beta is nan"),
        ("inter", {"threshold": "1"}, "threshold k is 1"),
        ("inter", {"k": 1}, "no parameter 'k'.*threshold"),
        ("inter", {"image_seed": 0.5}, "whole number"),
        ("vcd", {"alpha": -0.1}, "Alpha"),
        ("vcd", {"noise_steps": 1000}, "at most 999"),
        ("m3id", {"decay": -1}, "decay"),
        ("m3id", {"sure": 1.1}, "left alone is 1.1"),
        ("nucleus-cut", {"beta": 2}, "Beta is 2"),
        ("cfg", {"scale": -1}, "guidance scale"),
        ("cfg", {"scale": math.inf}, "guidance scale"),
        ("nucleus", {"temperature": 0}, "above 0"),
        ("nucleus", {"top_p": 1.1}, "Top-p"),
        ("beam", {"num_beams": 0}, "number of beams is 0"),
        ("beam", {"num_beams": 1000}, "at most 16"),
        ("opera", {"candidates": 1}, "candidates is 1"),
        ("opera", {"weight": math.nan}, "penalty weight is nan"),
        ("dola", {"layers": "middle"}, "low"),
        ("dola", {"layers": ()}, "at least one layer"),
        ("greedy", {"k": 1}, "It has: none"),
        ("magic", {}, "no strategy 'magic'. There are: greedy, nucleus"),
    ],
)
def test_what_cannot_be_is_told(name, settings, told):
    with pytest.raises(InputError, match=told):
        strategies.make(name, settings)


def test_a_layer_that_the_model_lacks_is_told(mllm, picture):
    with pytest.raises(InputError, match="A layer is 9: it must be at least 0 and at most 3"):
        next(mllm.generate(mllm.encode(picture, "Which?"), strategy=LayerContrast((1, 9))))


@pytest.mark.parametrize("name", ALL)
def test_what_is_offered_is_what_is_built(name):
    kind = ALL[name]
    own = {f.name: f.default for f in fields(kind.make)} if name != "greedy" else {}
    varied = {"nucleus-cut": {"beta": 0.1}, "inter-nucleus": {"temperature": 1.0, "top_p": 0.9}}.get(name, {})
    assert vars(kind.build()) == own | varied
    assert kind.defaults == {n: v for n, v in (own | varied).items() if (name, n) != ("nucleus", "beta")}
    assert kind.title and kind.citation and kind.sentence.endswith(".")
    for parameter in kind.parameters:
        for value in parameter.choices or (parameter.minimum, parameter.maximum):
            assert getattr(kind.build({parameter.name: value}), parameter.name) == value
        if not parameter.choices:
            assert parameter.minimum <= parameter.default <= parameter.maximum and parameter.step > 0
