"""Instruments against the explicit attention of the same model, eager, in float64."""

import threading

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    DynamicCache,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    StaticCache,
)

from models.attention import NAME
from models.errors import ModelError
from models.instruments import (
    PADDING,
    AttentionMap,
    AttentionMass,
    HiddenStates,
    LogitLens,
    Recorder,
    Rollout,
    decoder_of,
    install,
)
from models.mllm import MLLM
from models.segments import Modality

IMAGE, QUESTION, INSTRUCTION, ANSWER = Modality
GEMMA = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 12, "query_pre_attn_scalar": 20, "initializer_range": 0.4, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 1,
}  # fmt: skip
SLIDING = {**GEMMA, "num_hidden_layers": 3, "sliding_window": 5,
           "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}  # fmt: skip
SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "vision_use_head": False,
}  # fmt: skip


def seeded(kind, config):
    torch.manual_seed(0)
    return kind(config).eval()


def gemma3(**changes):
    text = Gemma3TextConfig(**{**SLIDING, **changes})
    config = Gemma3Config(text_config=text, vision_config=SIGLIP, mm_tokens_per_image=16, image_token_id=60)
    return seeded(Gemma3ForConditionalGeneration, config)


def paligemma2():
    text = {"model_type": "gemma2", **SLIDING, "num_hidden_layers": 2, "attn_logit_softcapping": 2.0,
            "layer_types": ["sliding_attention", "full_attention"], "final_logit_softcapping": 3.0}  # fmt: skip
    vision = {**SIGLIP, "projection_dim": 32}
    config = PaliGemmaConfig(text_config=text, vision_config=vision, image_token_id=60, projection_dim=32)
    return seeded(PaliGemmaForConditionalGeneration, config)


def drawn(*shape, seed=1, high=55):
    return torch.randint(3, high, shape, generator=torch.Generator().manual_seed(seed))


def prompt(image_token, images, side, rows=1):
    """A picture of ``images`` tokens, seven of a question, three of an instruction."""
    ids = torch.cat([drawn(rows, 1), torch.full((rows, images), image_token), drawn(rows, 10, seed=2)], 1)
    segments = torch.tensor([INSTRUCTION] + [IMAGE] * images + [QUESTION] * 7 + [INSTRUCTION] * 3).expand(rows, -1)
    pixels = torch.randn(rows, 3, side, side, generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}, segments


@pytest.fixture(scope="module")
def llava(saved):
    return AutoModelForImageTextToText.from_pretrained(saved / "model", dtype=torch.float32).eval()


def llava_prompt(model, rows=1):
    vision = model.config.vision_config
    return prompt(model.config.image_token_id, (vision.image_size // vision.patch_size) ** 2, vision.image_size, rows)


def case(name, llava):
    """Model, inputs, segments. The models are made anew, but for the LLaVA, whose attention is put back."""
    if name.startswith("llava"):
        inputs, segments = llava_prompt(llava, 2)
        if name == "llava padded":  # the second row is five tokens shorter
            fill = torch.zeros(1, 5, dtype=torch.long)
            segments = torch.stack([segments[0], torch.cat([fill[0] + PADDING, segments[1, :-5]])])
            inputs["input_ids"] = torch.cat(
                [inputs["input_ids"][:1], torch.cat([fill, inputs["input_ids"][1:, :-5]], 1)]
            )
            inputs["attention_mask"] = (segments != PADDING).long()
        if name == "llava biased":  # an additive mask that differs from head to head
            length = segments.shape[1]
            bias = torch.randn(2, 4, length, length, generator=torch.Generator().manual_seed(5))
            late = torch.ones(length, length).triu(1).bool()
            inputs["attention_mask"] = bias.masked_fill(late, torch.finfo(torch.float32).min)
        return llava, inputs, segments
    if name == "gemma 3 text":
        segments = torch.tensor([[IMAGE] * 4 + [QUESTION] * 9 + [INSTRUCTION] * 7])
        return seeded(Gemma3ForCausalLM, Gemma3TextConfig(**SLIDING)), {"input_ids": drawn(1, 20)}, segments
    inputs, segments = prompt(60, 16, 32)
    if name == "gemma 3":
        return gemma3(), {**inputs, "token_type_ids": (segments == IMAGE).long()}, segments
    return paligemma2(), {**inputs, "token_type_ids": torch.zeros_like(segments)}, segments


CASES = ["llava", "llava padded", "llava biased", "gemma 3 text", "gemma 3", "paligemma 2"]
CACHED = ["llava", "llava padded", "gemma 3 text", "gemma 3", "paligemma 2"]


@torch.inference_mode()
def run(model, inputs, recorder=None, steps=()):
    """Logits of the prompt and of cached ``steps`` [batch, n] of tokens; with the attentions if the model has them."""
    cache, logits, attentions = DynamicCache(config=model.config.get_text_config()), [], []
    extra = {} if recorder else {"output_attentions": True}
    for ids in (None, *steps):
        if ids is not None:
            mask = inputs.get("attention_mask")
            grown = None if mask is None else torch.cat([mask, torch.ones_like(ids)], 1)
            inputs = {"input_ids": ids, **({} if mask is None else {"attention_mask": grown})}
        if recorder:
            with recorder.active():
                output = model(**inputs, cache=cache, use_cache=True)
        else:
            output = model(**inputs, cache=cache, use_cache=True, **extra)
        logits.append(output.logits)
        attentions.append(output.attentions)
    return logits, attentions


def eager(model, inputs, steps=()):
    """Attentions of each forward, each layer, float64."""
    before = decoder_of(model).config._attn_implementation
    decoder_of(model).set_attn_implementation("eager")
    attentions = run(model, inputs, None, steps)[1]
    decoder_of(model).set_attn_implementation(before)
    return [[a.double() for a in layers] for layers in attentions]


def by_modality(attentions, segments):
    """Explicit share [layers, batch, heads, 4, 4], keys [layers, batch, 4, 4], rows [layers, batch, heads, T, 4]."""
    share, keys, rows = [], [], []
    for layer in range(len(attentions[0])):
        batch, heads = attentions[0][layer].shape[:2]
        mass, reach, past = [], [], 0
        for forward in attentions:
            total = past + forward[layer].shape[2]
            kinds = torch.nn.functional.pad(segments, (0, max(total - segments.shape[1], 0)), value=ANSWER)[:, :total]
            held = kinds[:, total - forward[layer].shape[3] :]
            onehot = torch.stack([held == m for m in Modality], -1).double()
            mass.append(forward[layer] @ onehot[:, None])
            reach.append((forward[layer] > 0).any(1).double() @ onehot)
            past = total
        mass, reach = torch.cat(mass, 2), torch.cat(reach, 1)
        share.append(torch.full((batch, heads, 4, 4), torch.nan).double())
        keys.append(torch.full((batch, 4, 4), torch.nan).double())
        for row in range(batch):
            for m in Modality:
                if (chosen := kinds[row] == m).any():
                    share[-1][row, :, m] = mass[row][:, chosen].mean(1)
                    keys[-1][row, m] = reach[row, chosen].mean(0)
        rows.append(mass)
    return [torch.stack(x).numpy() for x in (share, keys, rows)]


@pytest.fixture
def measured(request, llava):
    """A case with its attention routed through the instruments; the shared model gets its own back."""
    model, inputs, segments = case(request.param, llava)
    before = decoder_of(model).config._attn_implementation
    install(model)
    yield model, inputs, segments
    decoder_of(model).set_attn_implementation(before)


@pytest.mark.parametrize("measured", CASES, indirect=True)
def test_mass_and_map_equal_the_explicit_softmax(measured):
    model, inputs, segments = measured
    explicit = eager(model, inputs)
    share, keys, rows = by_modality(explicit, segments)
    chosen = [9, -1, 12]
    asked = [AttentionMass(), AttentionMass(chosen), AttentionMap(1), AttentionMap(0, 14, head=2)]
    recorder = Recorder(model, segments, asked)
    run(model, inputs, recorder)
    found = recorder.readings()
    np.testing.assert_allclose(found.mass.share, share, atol=1e-4)
    np.testing.assert_allclose(found.mass.keys, keys, rtol=1e-5)
    counts = [[(row == m).sum().item() for m in Modality] for row in segments]
    assert found.mass.queries.tolist() == counts
    there = ~np.isnan(share).any(-1)
    np.testing.assert_allclose(found.mass.share.sum(-1)[there], 1, atol=1e-5)
    np.testing.assert_allclose(found.rows.share, rows[:, :, :, chosen], atol=1e-4)
    np.testing.assert_allclose(found.rows.share.sum(-1), 1, atol=1e-5)
    assert (found.rows.positions == np.array(chosen) % segments.shape[1]).all()
    last, picked = (torch.stack(explicit[0])[layer].numpy() for layer in (1, 0))
    np.testing.assert_allclose(found.maps[0].weights, last[:, :, -1], atol=1e-5)
    np.testing.assert_allclose(found.maps[1].weights, picked[:, 2:3, 14], atol=1e-5)


@pytest.mark.parametrize("measured", CACHED, indirect=True)
def test_cached_decoding_adds_a_row_for_each_token(measured):
    model, inputs, segments = measured
    steps, length = [drawn(len(segments), 1, seed=i) for i in range(10, 14)], segments.shape[1]
    explicit = eager(model, inputs, steps)
    share, keys, rows = by_modality(explicit, segments)
    asked = [AttentionMass(), AttentionMass("last"), AttentionMap(0, length + 3)]
    recorder = Recorder(model, segments, asked)
    run(model, inputs, recorder, steps)
    found = recorder.readings()
    np.testing.assert_allclose(found.mass.share, share, atol=1e-4)
    np.testing.assert_allclose(found.mass.keys, keys, rtol=1e-5)
    np.testing.assert_allclose(found.rows.share, rows[:, :, :, length - 1 :], atol=1e-4)
    assert found.rows.positions.tolist() == [list(range(length - 1, length + 4))] * len(segments)
    assert found.rows.share[..., 1:, ANSWER].min() > 0
    window = explicit[-1][0].shape[-1]  # a sliding layer's cache holds the last keys alone
    np.testing.assert_allclose(found.maps[0].weights[..., -window:], explicit[-1][0][:, :, 0].numpy(), atol=1e-5)
    assert found.maps[0].weights.shape[-1] == length + 4
    assert not found.maps[0].weights[..., :-window].any()


@pytest.mark.parametrize("measured", CACHED, indirect=True)
def test_instruments_do_not_change_the_answer(measured):
    model, inputs, segments = measured
    steps = [drawn(len(segments), 1, seed=i) for i in range(10, 13)]
    silent = run(model, inputs, Recorder(model, segments, []), steps)[0]
    rows = [AttentionMass("last"), AttentionMap(1), HiddenStates([3, 5]), LogitLens()]
    for plain, seen in zip(silent, run(model, inputs, Recorder(model, segments, rows), steps)[0], strict=True):
        assert torch.equal(plain, seen)
    for plain, seen in zip(
        silent, run(model, inputs, Recorder(model, segments, [AttentionMass()]), steps)[0], strict=True
    ):
        torch.testing.assert_close(plain, seen, atol=2e-5, rtol=0)
    decoder = decoder_of(model)
    decoder.set_attn_implementation("sdpa" if decoder._supports_sdpa else "eager")
    for plain, seen in zip(run(model, inputs, Recorder(model, segments, []), steps)[0], silent, strict=True):
        if decoder._supports_sdpa:
            assert torch.equal(plain, seen)
        torch.testing.assert_close(plain, seen, atol=2e-5, rtol=0)


@pytest.mark.parametrize("measured", ["llava", "gemma 3", "paligemma 2"], indirect=True)
def test_same_greedy_tokens_within_generate(measured):
    model, inputs, segments = measured
    greedy = {"do_sample": False, "max_new_tokens": 8, "min_new_tokens": 8}
    wanted = model.generate(**inputs, **greedy)
    recorder = Recorder(model, segments, [AttentionMass(), AttentionMass("last"), LogitLens(k=1)])
    with recorder.active():
        assert torch.equal(model.generate(**inputs, **greedy), wanted)
    found = recorder.readings()
    assert found.rows.share.shape[3] == 8
    # the lens at the last layer foretells each token; the end of the answer was forbidden to generate
    assert (found.lens.ids[-1, :, :, 0] == wanted[:, -8:].numpy()).mean() > 0.6
    layers = len(decoder_of(model).layers)
    assert found.mass.layers.tolist() == list(range(layers))
    assert found.mass.queries[:, ANSWER].tolist() == [7] * len(segments)


@pytest.mark.parametrize("measured", CACHED, indirect=True)
def test_hidden_states_and_lens(measured):
    model, inputs, segments = measured
    step, length = drawn(len(segments), 1, seed=10), segments.shape[1]
    recorder = Recorder(model, segments, [HiddenStates([8, -1]), LogitLens([8, -1], k=3)])
    logits = run(model, inputs, recorder, [step])[0]
    found, places = recorder.readings(), [8, length - 1, length]
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.inference_mode():
        own = [model(**inputs, cache=cache, output_hidden_states=True).hidden_states]
        mask = inputs.get("attention_mask")
        mask = {} if mask is None else {"attention_mask": torch.cat([mask, torch.ones_like(step)], 1)}
        own.append(model(input_ids=step, **mask, cache=cache, output_hidden_states=True).hidden_states)
    states = torch.cat([torch.stack(o) for o in own], 2)[:, :, places]
    np.testing.assert_allclose(found.hidden.states, states.numpy(), atol=1e-5)
    assert found.hidden.positions.tolist() == found.lens.positions.tolist() == [places] * len(segments)

    logprobs = torch.cat(logits, 1)[:, places].log_softmax(-1)
    best = logprobs.topk(3)
    assert (found.lens.ids[-1] == best.indices.numpy()).all()
    np.testing.assert_allclose(found.lens.logprobs[-1], best.values.numpy(), atol=1e-5)
    entropy = torch.distributions.Categorical(logits=logprobs).entropy()
    np.testing.assert_allclose(found.lens.entropy[-1], entropy.numpy(), atol=1e-5)
    decoder = decoder_of(model)
    assert len(found.lens.ids) == len(decoder.layers)
    with torch.inference_mode():  # one layer before the last, by hand
        early = model.get_output_embeddings()(decoder.norm(states[-2]))
        cap = getattr(decoder.config, "final_logit_softcapping", None)
        early = (early if cap is None else cap * torch.tanh(early / cap)).log_softmax(-1)
    np.testing.assert_allclose(found.lens.logprobs[-2], early.topk(3).values.numpy(), atol=1e-5)


def test_every_family(zoo, family, picture):
    mllm = MLLM.open(zoo(family), device="cpu")
    encoded = mllm.encode(picture, "What is in the picture?")
    model, segments = mllm.model, encoded.segments[None]
    # with a mask, Qwen-VL wants positions of a step to be given
    inputs = {k: v for k, v in encoded.inputs.items() if k != "attention_mask"}
    step = segments[:, :1] * 0 + 5
    install(model)
    share, keys, rows = by_modality(eager(model, inputs, [step]), segments)
    plain = run(model, inputs, Recorder(model, segments, []), [step])[0]
    asked = [AttentionMass("last"), AttentionMap(1, 0), HiddenStates(), LogitLens(k=1)]
    recorder, averaging = Recorder(model, segments, asked), Recorder(model, segments, [AttentionMass()])
    for own, seen in zip(plain, run(model, inputs, recorder, [step])[0], strict=True):
        assert torch.equal(own, seen)
    for own, seen in zip(plain, run(model, inputs, averaging, [step])[0], strict=True):
        torch.testing.assert_close(own, seen, atol=1e-3, rtol=0)
    mass, found = averaging.readings().mass, recorder.readings()
    np.testing.assert_allclose(mass.share, share, atol=1e-4)
    np.testing.assert_allclose(mass.keys, keys, rtol=1e-5)
    assert mass.queries[0, IMAGE] > 0 and mass.queries[0, ANSWER] == 1
    np.testing.assert_allclose(mass.share.sum(-1)[~np.isnan(share).any(-1)], 1, atol=1e-5)
    np.testing.assert_allclose(found.rows.share, rows[:, :, :, -2:], atol=1e-4)
    np.testing.assert_allclose(found.rows.share.sum(-1), 1, atol=1e-5)
    with torch.inference_mode():
        states = torch.stack(model(**inputs, output_hidden_states=True).hidden_states)
    np.testing.assert_allclose(found.hidden.states[:, :, 0], states[:, :, -1], atol=1e-4)
    assert found.lens.ids[-1, 0, :, 0].tolist() == [own[0, -1].argmax().item() for own in plain]


def test_attention_weighted_by_the_norm_of_values(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    values, layers = [], decoder_of(model).layers
    hooks = [x.self_attn.v_proj.register_forward_hook(lambda m, args, output: values.append(output)) for x in layers]
    asked = [AttentionMap(None, -2), AttentionMap(None, -2, value_norm=True), AttentionMap(2, -2, head=1)]
    recorder = Recorder(model, segments, [*asked, AttentionMass([3, -2], value_norm=True), AttentionMass([-2])])
    run(model, inputs, recorder)
    for hook in hooks:
        hook.remove()
    found = recorder.readings()
    assert [m.layer for m in found.maps] == [0, 1, 2, 0, 1, 2, 2]
    assert np.array_equal(found.maps[6].weights[:, 0], found.maps[2].weights[:, 1])
    assert found.contributions.positions[0].tolist() == [3, segments.shape[1] - 2]
    onehot = (segments[0, :, None] == torch.tensor(list(Modality))).numpy()
    for layer, value in enumerate(values):
        plain, weighted = found.maps[layer].weights, found.maps[3 + layer].weights
        norms = value.unflatten(-1, (2, -1)).norm(dim=-1).numpy()  # [batch, keys, kv heads]: heads 0, 1 share the first
        for head in range(4):
            np.testing.assert_allclose(weighted[:, head], plain[:, head] * norms[:, :, head // 2], rtol=1e-4, atol=1e-7)
        share = weighted @ onehot / weighted.sum(-1, keepdims=True)
        np.testing.assert_allclose(found.contributions.share[layer, :, :, 1], share, atol=1e-5)
        assert np.abs(found.contributions.share[layer, :, :, 1] - found.rows.share[layer, :, :, 0]).max() > 1e-3


@pytest.mark.parametrize("measured", CACHED, indirect=True)
def test_rollout_is_a_row_of_the_product_of_all_layers(measured):
    model, inputs, segments = measured
    steps, length = [drawn(len(segments), 1, seed=i) for i in (10, 11)], segments.shape[1]
    explicit, own = eager(model, inputs, steps), torch.eye(length + 2).double()
    product = own.expand(len(segments), -1, -1)
    for layer in range(len(explicit[0])):
        whole, past = torch.zeros_like(product), 0
        for forward in explicit:
            mean = forward[layer].mean(1)
            end = past + mean.shape[1]
            whole[:, past:end, end - mean.shape[2] : end], past = mean, end
        product = (whole + own) / 2 @ product
    recorder = Recorder(model, segments, [Rollout(), Rollout(9), Rollout(length + 1), AttentionMass("last")])
    run(model, inputs, recorder, steps)
    for found, at in zip(recorder.readings().rollouts, (length - 1, 9, length + 1), strict=True):
        assert found.position.tolist() == [at] * len(segments)
        width = found.weights.shape[1]
        assert width == (length + 2 if at > length else length) and not product[:, at, width:].any()
        np.testing.assert_allclose(found.weights, product[:, at, :width], atol=1e-5)
        np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)


def test_a_rollout_needs_every_forward_up_to_its_query(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    early = Recorder(model, segments, [Rollout(segments.shape[1])])
    run(model, inputs, early)
    with pytest.raises(ModelError, match="needs all forwards"):
        early.readings()
    cache = DynamicCache(config=model.config.get_text_config())
    late = Recorder(model, segments, [Rollout(segments.shape[1])])
    with torch.inference_mode():
        model(**inputs, cache=cache)
        with late.active():
            model(input_ids=drawn(2, 1), cache=cache)
    with pytest.raises(ModelError, match="from the first token"):
        late.readings()


def test_first_token_sees_itself_alone(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    recorder = Recorder(model, segments, [AttentionMass([0, 1])])
    run(model, inputs, recorder)
    first, second = np.moveaxis(recorder.readings().rows.share, 3, 0)
    assert (first == np.eye(4)[INSTRUCTION]).all()
    np.testing.assert_allclose(second[..., [IMAGE, INSTRUCTION]].sum(-1), 1, rtol=1e-6)
    keys = recorder.readings().rows.keys
    assert keys[:, 0].tolist() == [[[0, 0, 1, 0], [1, 0, 1, 0]]] * 3


def test_through_a_peft_model(llava, saved):
    model = AutoModelForImageTextToText.from_pretrained(saved / "model", dtype=torch.float32).eval()
    config = LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
    torch.manual_seed(0)
    wrapped = get_peft_model(model, config).eval()
    inputs, segments = llava_prompt(model)
    install(wrapped)
    assert model.config.vision_config._attn_implementation == "sdpa"
    recorder = Recorder(wrapped, segments, [AttentionMass(), LogitLens(), HiddenStates()])
    logits = run(wrapped, inputs, recorder)[0][0]
    found = recorder.readings()
    np.testing.assert_allclose(found.mass.share, by_modality(eager(model, inputs), segments)[0], atol=1e-4)
    best = logits[:, -1].log_softmax(-1).topk(5)
    np.testing.assert_allclose(found.lens.logprobs[-1, :, 0], best.values.numpy(), atol=1e-5)


def test_two_threads_do_not_mix(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    others = [torch.where(segments == IMAGE, inputs["input_ids"], drawn(*segments.shape, seed=i)) for i in (20, 21)]
    prompts = [{**inputs, "input_ids": ids} for ids in others]
    asked = [AttentionMass(), AttentionMass("last"), AttentionMap(1), HiddenStates(), LogitLens()]

    def flat(recorder):
        found = recorder.readings()
        kept = found.mass.share, found.rows.share, found.maps[0].weights, found.hidden.states, found.lens.entropy
        return np.concatenate([np.nan_to_num(x).ravel() for x in kept])

    def read(mine):
        recorder = Recorder(model, segments, asked)
        run(model, mine, recorder)
        return flat(recorder)

    alone = [read(p) for p in prompts]
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    found, barrier = [[], []], threading.Barrier(3, timeout=60)

    def visit(i):
        for _ in range(6):
            barrier.wait()
            found[i].append(read(prompts[i]))

    def stranger():  # runs the same model without a recorder
        for _ in range(6):
            barrier.wait()
            run(model, prompts[0], Recorder(model, segments, []))

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(2)] + [threading.Thread(target=stranger)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, wanted in zip(found, alone, strict=True):
        assert len(mine) == 6
        for reading in mine:
            np.testing.assert_allclose(reading, wanted, atol=1e-5)


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_nothing_stays_after_a_failure(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    before, asked = hooks(model), [AttentionMass(), HiddenStates(), LogitLens()]
    recorder = Recorder(model, segments, asked)
    mute = Recorder(model, segments, asked)
    with recorder.active():
        assert hooks(model) > before
    assert hooks(model) == before

    def fail(*args):
        raise RuntimeError("out of memory")

    broken = decoder_of(model).layers[1].mlp.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(model, inputs, recorder)
    broken.remove()
    assert hooks(model) == before
    with pytest.raises(ModelError, match="failed"):
        recorder.readings()
    run(model, inputs, Recorder(model, segments, []))
    with pytest.raises(ModelError, match="No forward"):
        mute.readings()


def test_what_cannot_be_measured_is_refused(llava):
    model, inputs, segments = case("llava", llava)
    decoder_of(model).set_attn_implementation("sdpa")
    with pytest.raises(ModelError, match="call install"):
        Recorder(model, segments, [AttentionMass()])
    install(model)
    for asked, told in [
        (AttentionMap(3), "layers are 0 to 2"), (AttentionMap(0, head=4), "heads 0 to 3"),
        (AttentionMass([500]), r"prompt of \d+ tokens"), (AttentionMass("first"), "first"),
        (HiddenStates(torch.zeros(3, 1)), "each of 2 rows"), ("mass", "no instrument"),
        (AttentionMass(value_norm=True), "name them"), (Rollout("first"), "rollout's query"),
        (AttentionMap(None, head=4), "heads 0 to 3"),
    ]:  # fmt: skip
        with pytest.raises(ModelError, match=told):
            Recorder(model, segments, [asked])
    with pytest.raises(ModelError, match="2 rows, the segments 1"):
        run(model, inputs, Recorder(model, segments[0], [AttentionMass()]))
    recorder = Recorder(model, segments, [AttentionMass()])
    run(model, inputs, recorder)
    with pytest.raises(ModelError, match="one batch of sequences"):
        run(model, inputs, recorder)
    late = Recorder(model, segments, [AttentionMap(0, 300)])
    run(model, inputs, late)
    with pytest.raises(ModelError, match="300"):
        late.readings()
    static = StaticCache(config=model.config.get_text_config(), max_cache_len=200)
    with pytest.raises(ModelError, match="Static caches"), Recorder(model, segments, [AttentionMass()]).active():
        model(**inputs, cache=static)


def test_attention_with_sinks_is_refused():
    config = GptOssConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
        num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1, pad_token_id=0,
    )  # fmt: skip
    model = GptOssForCausalLM(config)
    with pytest.raises(ModelError, match="SDPA cannot"):
        install(model)
    assert model.config._attn_implementation != NAME


def test_a_lens_that_would_mislead_is_refused():
    # the multimodal Gemma 3 leaves out the final softcap that its text config asks for
    model = gemma3(final_logit_softcapping=0.5)
    inputs, segments = prompt(60, 16, 32)
    recorder = Recorder(model, segments, [LogitLens()])
    with pytest.raises(ModelError, match="does more than its final norm"):
        run(model, {**inputs, "token_type_ids": (segments == IMAGE).long()}, recorder)


def test_last_token_of_rows_padded_on_the_right(llava):
    model, inputs, segments = case("llava", llava)
    install(model)
    segments = segments.clone()
    segments[1, -4:] = PADDING
    recorder = Recorder(model, segments, [AttentionMass("last")])
    run(model, {**inputs, "attention_mask": (segments != PADDING).long()}, recorder)
    length = segments.shape[1]
    assert recorder.readings().rows.positions.tolist() == [[length - 1], [length - 5]]
