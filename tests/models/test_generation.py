import json
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from models.embedded.text import build_processor
from models.errors import InputError, ModelError
from models.flow import Flow
from models.generation import Choice, Greedy, Step, Writing, text_of
from models.instruments import AttentionMass, LogitLens
from models.mllm import MLLM
from models.segments import Modality
from models.spelling import BROKEN
from tests.models.small import small_llava

QUESTION = "What is at the top left?"


def hidden(encoded, modality):
    """The prompt with the tokens of one kind hidden."""
    mask = encoded.inputs["attention_mask"].clone()
    mask[0, encoded.segments == modality] = 0
    return replace(encoded, inputs={**encoded.inputs, "attention_mask": mask})


def disturbed(encoded, width, seed=0, dtype=torch.float32):
    """The prompt with noise on its image tokens."""
    noise = torch.randn(encoded.length, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    noise[encoded.segments != Modality.IMAGE] = 0
    return replace(encoded, noise=noise)


def width_of(mllm):
    return mllm.model.config.get_text_config().hidden_size


class Average:
    """Toy strategy: the likeliest token of the mean log-probability over four contexts."""

    def __init__(self, width):
        self.width = width

    def contexts(self, encoded):
        self.used = [
            encoded, hidden(encoded, Modality.IMAGE), hidden(encoded, Modality.QUESTION), disturbed(encoded, self.width)
        ]  # fmt: skip
        self.chosen = 0
        return self.used

    def choose(self, logits, step):
        assert logits.dtype == torch.float32 and logits.shape[0] == 4 and step == self.chosen
        self.chosen += 1
        mean = logits.log_softmax(-1).mean(0)
        return Choice(int(mean.argmax()), {"mean": float(mean.max())})


def without_cache(mllm, encoded, answer):
    """Logits of the token after prompt and ``answer``: one plain forward of everything, no cache, no ``Flow``."""
    model, inputs, n = mllm.model, dict(encoded.inputs), len(answer)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer], dtype=torch.int64)], 1)
    inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, n), value=1)
    for key in ("token_type_ids", "mm_token_type_ids"):
        if key in inputs:  # PaliGemma's 1 is what it reads causally, elsewhere 1 is an image
            inputs[key] = torch.nn.functional.pad(inputs[key], (0, n), value=model.config.model_type == "paligemma")
    rest = (encoded.next_position + torch.arange(n)).expand(*encoded.positions.shape[:-1], n)
    inputs["position_ids"] = torch.cat([encoded.positions, rest], -1)
    handle = None
    if encoded.noise is not None:
        noise = torch.nn.functional.pad(encoded.noise, (0, 0, 0, n))

        def add(module, args, kwargs):
            return args, {**kwargs, "inputs_embeds": kwargs["inputs_embeds"] + noise}

        handle = model.get_decoder().register_forward_pre_hook(add, with_kwargs=True)
    try:
        with torch.no_grad():
            return model(**inputs, use_cache=False).logits[0, -1].float()
    finally:
        if handle:
            handle.remove()


def test_greedy_equals_transformers_generate_in_every_family(opened, family, picture):
    mllm = opened(family)
    encoded = mllm.encode(picture, QUESTION)
    with torch.no_grad():
        wanted = mllm.model.generate(**encoded.inputs, do_sample=False, max_new_tokens=20)[0, encoded.length :].tolist()
    ended = next((i for i, t in enumerate(wanted) if t in mllm.generator.ends), 20)
    steps = list(mllm.generate(encoded, max_new_tokens=20))
    assert [s.token_id for s in steps] == wanted[:ended]
    assert text_of(steps) == mllm.tokenizer.decode(wanted[:ended]).rstrip(BROKEN).strip()
    assert len({s.token_id for s in steps}) > 1
    assert all(s.details == {} for s in steps)


def test_contexts_are_read_as_if_alone_in_every_family(opened, family, picture):
    mllm = opened(family)
    contexts = Average(width_of(mllm)).contexts(mllm.encode(picture, QUESTION))
    answer = [60, 75, 90, 110, 65]  # plain words
    flow = Flow(mllm.model, contexts)
    found = [flow.begin(), *(flow.more(torch.full((4, 1), token))[:, -1] for token in answer)]
    for row, context in enumerate(contexts):
        for n, logits in enumerate(found):
            assert (logits[row] - without_cache(mllm, context, answer[:n])).abs().max() < 1e-4
    assert all((found[0][0] - found[0][row]).abs().max() > 1e-3 for row in (1, 2, 3))


def test_scores_equal_plain_forwards_in_every_family(opened, family, picture):
    mllm = opened(family)
    encoded, choices = mllm.encode(picture, QUESTION), ("a", "two of them", "a cat")
    scores = mllm.score(encoded, choices)
    for choice, logprob, count in zip(choices, scores.logprob, scores.tokens, strict=True):
        tail = mllm.encoder.continuation(encoded, choice)
        each = [without_cache(mllm, encoded, tail[:n]).log_softmax(-1)[token] for n, token in enumerate(tail)]
        assert logprob == pytest.approx(float(sum(each)), abs=1e-3)
        assert count == len(tail)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_a_strategy_of_four_contexts_equals_doing_it_by_hand(opened, name, picture):
    mllm = opened(name)
    encoded, answer, means = mllm.encode(picture, QUESTION), [], []
    contexts = Average(width_of(mllm)).contexts(encoded)
    for _ in range(6):
        each = [without_cache(mllm, c, answer).log_softmax(-1) for c in contexts]
        mean = torch.stack(each).mean(0)
        if int(mean.argmax()) in mllm.generator.ends:
            break
        answer.append(int(mean.argmax()))
        means.append((float(mean.max()), float(each[0][answer[-1]])))
    steps = list(mllm.generate(encoded, max_new_tokens=6, strategy=Average(width_of(mllm))))
    assert [s.token_id for s in steps] == answer
    assert len(answer) > 1
    assert [s.details["mean"] for s in steps] == pytest.approx([m for m, _ in means], abs=1e-3)
    assert [s.logprob for s in steps] == pytest.approx([p for _, p in means], abs=1e-3)  # of the first context


class Blind(Greedy):
    """Answers from the question alone."""

    def contexts(self, encoded):
        return (hidden(encoded, Modality.IMAGE),)


def test_one_forward_a_step_whatever_the_number_of_contexts(mllm, picture):
    encoded, rows = mllm.encode(picture, QUESTION), []
    handle = mllm.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        assert len(list(mllm.generate(encoded, "naming", 5, Average(width_of(mllm))))) == 5
        assert rows == [(4, encoded.length)] + [(4, 1)] * 4
        rows.clear()
        assert len(list(mllm.generate(encoded, "naming", 5))) == 5
        assert rows == [(1, encoded.length)] + [(1, 1)] * 4
    finally:
        handle.remove()


def looks(mllm, run):
    """How many pictures the vision tower saw during ``run()``."""
    seen = []
    handle = mllm.model.model.vision_tower.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(args[0] if args else kwargs["pixel_values"])), with_kwargs=True
    )
    try:
        run()
    finally:
        handle.remove()
    return sum(seen)


def test_a_picture_that_rows_share_is_looked_at_once(mllm, picture):
    encoded, other = mllm.encode(picture, QUESTION), mllm.encode(picture.rotate(90), QUESTION)
    again = mllm.encode(picture, QUESTION)  # equal, not the same tensors
    assert looks(mllm, lambda: list(mllm.generate(encoded, "naming", 3, Average(width_of(mllm))))) == 1
    assert looks(mllm, lambda: mllm.forward([encoded, again])) == 1
    assert looks(mllm, lambda: mllm.generate_each(encoded, mllm.checkpoint_names, 2)) == 1
    assert looks(mllm, lambda: mllm.forward([encoded, other, encoded])) == 2
    assert looks(mllm, lambda: mllm.forward([encoded, other])) == 2


def test_rows_of_two_pictures_are_read_as_if_alone_in_every_family(opened, family, picture):
    mllm = opened(family)
    encoded = mllm.encode(picture, QUESTION)
    other = encoded.with_image(picture.rotate(180))
    blind = hidden(encoded, Modality.IMAGE)
    batch = [encoded, other, hidden(other, Modality.QUESTION), encoded, blind]
    together = mllm.forward(batch).logits
    alone = torch.cat([mllm.forward([prompt]).logits for prompt in batch])
    assert (together - alone).abs().max() < 1e-4
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_rows_change_places_and_flows_fork(mllm, picture):
    first, second = mllm.encode(picture, QUESTION), mllm.encode(picture.rotate(90), QUESTION)
    flow = Flow(mllm.model, [first, second])
    with mllm.using("naming"):
        flow.begin()
        fork = flow.fork()
        fork.pick(torch.tensor([1, 0, 1]))
        found = [fork.more(torch.tensor([[40], [41], [42]]))[:, 0], flow.more(torch.tensor([[50], [51]]))[:, 0]]
        fork.pick(torch.tensor([2]))
        found.append(fork.more(torch.tensor([[60, 61]]))[:, 1])
    assert (fork.rows, flow.rows, fork.length, flow.length) == (1, 2, first.length + 3, first.length + 1)
    answers = [
        [(second, [40]), (first, [41]), (second, [42])],
        [(first, [50]), (second, [51])],
        [(second, [42, 60, 61])],
    ]
    for logits, rows in zip(found, answers, strict=True):
        with mllm.using("naming"):
            alone = torch.stack([without_cache(mllm, prompt, answer) for prompt, answer in rows])
        assert (logits - alone).abs().max() < 1e-4


def test_a_strategy_that_asks_for_layers_is_given_them(mllm, picture):
    encoded, told = mllm.encode(picture, QUESTION), []

    class Layered(Greedy):
        layers = (0, 2, 3)

        def choose(self, logits, step, early):
            told.append((logits, early))
            return super().choose(logits, step)

    found = [s.token_id for s in mllm.generate(encoded, "naming", 3, Layered())]
    assert found == [s.token_id for s in mllm.generate(encoded, "naming", 3)]
    for n, (logits, early) in enumerate(told):
        full = encoded.followed(found[:n])
        with mllm.using("naming"), torch.no_grad():
            output = mllm.model(**full.inputs, position_ids=full.positions, output_hidden_states=True, use_cache=False)
            wanted = {i: mllm.model.lm_head(output.hidden_states[i][0, -1]) for i in (0, 2)} | {3: output.logits[0, -1]}
        assert list(early) == [0, 2, 3] and torch.equal(early[3], logits)
        assert all((early[i][0] - wanted[i]).abs().max() < 1e-4 for i in early)


def test_checkpoints_that_see_differently_look_each(tokenizer, picture, tmp_path):
    small_llava(tokenizer).save_pretrained(tmp_path / "model")
    build_processor(tokenizer).save_pretrained(tmp_path / "model")
    entries = [{"name": n, "task": n, "adapter": n} for n in ("a", "b")]
    for seed, entry in enumerate(entries):
        model = small_llava(tokenizer)
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=64, target_modules=r".*vision_tower.*fc1", init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(tmp_path / "set" / entry["adapter"])
    manifest = {"base": "small", "method": "x", "order": ["a", "b"], "checkpoints": entries}
    (tmp_path / "set" / "checkpoints.json").write_text(json.dumps(manifest))
    mllm = MLLM.open(tmp_path / "model", "small", tmp_path / "set", device="cpu")
    encoded = mllm.encode(picture, QUESTION)
    mixed = mllm.forward([encoded] * 3, mllm.checkpoint_names).logits
    for row, name in enumerate(mllm.checkpoint_names):
        assert (mixed[row] - mllm.forward([encoded], name).logits[0]).abs().max() < 1e-4
    assert (mixed[0] - mixed[1]).abs().max() > 1e-2 < (mixed[1] - mixed[2]).abs().max()


def test_one_strategy_object_serves_two_answers_at_once(mllm, picture):
    shared, first, second = Average(width_of(mllm)), mllm.encode(picture, QUESTION), mllm.encode(picture, "Which?")
    wanted = [[s.token_id for s in mllm.generate(e, "naming", 4, Average(width_of(mllm)))] for e in (first, second)]
    runs = [mllm.generate(e, "naming", 4, shared) for e in (first, second)]
    found = [[step.token_id for step in pair] for pair in zip(*runs, strict=True)]
    assert [list(column) for column in zip(*found, strict=True)] == wanted
    assert not hasattr(shared, "chosen")


def test_visitors_with_strategies_and_checkpoints_never_mix(mllm, picture):
    encoded, width = mllm.encode(picture, QUESTION), width_of(mllm)
    jobs = {("naming", Average): None, ("counting", Blind): None}

    def answer(job):
        name, kind = job
        strategy = kind(width) if kind is Average else kind()
        return [s.token_id for s in mllm.generate(encoded, name, 6, strategy)]

    wanted = {job: answer(job) for job in jobs}
    assert wanted["counting", Blind] != [s.token_id for s in mllm.generate(encoded, "counting", 6)]
    found: dict = {job: [] for job in jobs}
    threads = [
        threading.Thread(target=lambda job=job: found[job].extend(answer(job) for _ in range(5)), daemon=True)
        for job in jobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {job: [tokens] * 5 for job, tokens in wanted.items()}


class Several:
    def __init__(self, *contexts):
        self.given = contexts

    def contexts(self, encoded):
        return self.given

    def choose(self, logits, step):
        return Choice(int(logits[0].argmax()))


def test_contexts_of_different_length_are_refused(mllm, picture):
    first, second = mllm.encode(picture, QUESTION), mllm.encode(picture, QUESTION + " And where?")
    with pytest.raises(InputError, match=f"{first.length}, {second.length} tokens"):
        next(mllm.generate(first, strategy=Several(first, second)))
    with pytest.raises(InputError, match="no tokens"):
        next(mllm.generate(first, strategy=Several()))
    assert not mllm.lock._is_owned()


def test_noise_of_zero_changes_nothing(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    zero = replace(encoded, noise=torch.zeros(encoded.length, width_of(mllm)))
    assert torch.equal(mllm.forward([zero]).logits, mllm.forward([encoded]).logits)


def test_noise_on_the_image_equals_disturbing_the_embeddings_by_hand(mllm, picture):
    encoded = disturbed(mllm.encode(picture, QUESTION), width_of(mllm))
    model, ids = mllm.model, encoded.inputs["input_ids"]
    with torch.no_grad(), mllm.checkpoints.use("naming"):
        embeds = model.get_input_embeddings()(ids)
        features = model.model.get_image_features(encoded.inputs["pixel_values"]).pooler_output
        embeds[0, encoded.segments == Modality.IMAGE] = torch.cat(list(features)).reshape(-1, embeds.shape[-1])
        wanted = model(inputs_embeds=embeds + encoded.noise).logits[0, -1]
    found = mllm.forward([encoded], "naming").logits[0]
    assert (found - wanted).abs().max() < 1e-5
    assert (found - mllm.forward([replace(encoded, noise=None)], "naming").logits[0]).abs().max() > 1e-2


def test_noise_that_does_not_fit_is_refused_and_the_hook_is_gone(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    with pytest.raises(ModelError, match=rf"\(1, {encoded.length}, 3\) does not fit"):
        mllm.forward([replace(encoded, noise=torch.zeros(encoded.length, 3))])
    assert not mllm.model.get_decoder()._forward_pre_hooks
    mllm.forward([disturbed(encoded, width_of(mllm))])
    assert not mllm.model.get_decoder()._forward_pre_hooks


def test_gradient_by_noise_equals_finite_differences(saved, picture):
    mllm = MLLM.open(saved / "model", device="cpu", dtype=torch.float64)
    for module in mllm.model.get_decoder().modules():
        if type(module).__name__ == "Qwen2RMSNorm":  # rounds to float32, which finite differences would see
            module.forward = lambda x, m=module: m.weight * x / (x.square().mean(-1, True) + m.variance_epsilon).sqrt()
    encoded = mllm.encode(picture, QUESTION)
    noise = disturbed(encoded, width_of(mllm), 1, torch.float64).noise.mul_(0.1).requires_grad_()

    def margin(noise):
        logits = mllm.forward([encoded, replace(encoded, noise=noise)], grad=True).logits
        return logits[1, 20] - logits[1, 40]

    (gradient,) = torch.autograd.grad(margin(noise), noise)
    assert gradient[encoded.segments == Modality.IMAGE].abs().max() > 1e-4
    direction = torch.randn(noise.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        step = 1e-5 * direction
        slope = (margin(noise + step) - margin(noise - step)) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)
    assert all(p.grad is None for p in mllm.model.parameters())
    assert not mllm.forward([replace(encoded, noise=noise)]).logits.requires_grad


def test_a_forward_equals_each_prompt_alone(mllm, picture):
    batch = [mllm.encode(p, QUESTION) for p in (picture, picture.rotate(90))]
    for name in ("base", "counting"):
        logits = mllm.forward(batch, name).logits
        with mllm.checkpoints.use(name):
            alone = torch.stack([without_cache(mllm, e, []) for e in batch])
        assert (logits - alone).abs().max() < 1e-4
    with pytest.raises(InputError, match="one length"):
        mllm.forward([batch[0], mllm.encode(None, QUESTION)])


def test_prompts_with_and_without_a_picture_share_a_batch(mllm, picture):
    shown = mllm.encode(picture, "Is it?")
    words = next(n for n in range(200) if mllm.encode(None, "it" + " is" * n).length == shown.length)
    told = mllm.encode(None, "it" + " is" * words)
    alone = [mllm.answers([prompt], "naming", 5)[0] for prompt in (told, shown)]
    assert mllm.answers([told, shown], "naming", 5) == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_nothing_of_a_prompt_stays_on_the_model(opened, name, picture):
    mllm = opened(name)
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 150, 3), dtype=np.uint8))
    prompts = [mllm.encode(picture, QUESTION), mllm.encode(wide, "Which?"), mllm.encode(None, QUESTION)]
    offsets = [p.next_position - p.length for p in prompts]
    assert len(set(offsets)) > 1  # else another prompt's offset would do
    mllm.model.model.rope_deltas = None
    wanted = [[s.token_id for s in mllm.generate(p, max_new_tokens=5)] for p in prompts]
    assert mllm.model.model.rope_deltas is None
    mllm.model.model.rope_deltas = torch.tensor([[1000]])
    runs = [mllm.generate(p, max_new_tokens=5) for p in prompts]
    found: list[list[int]] = [[] for _ in prompts]
    for _ in range(5):
        for run, tokens in zip(runs, found, strict=True):
            tokens.extend(s.token_id for s in (next(run, None),) if s)
    assert found == wanted
    assert mllm.model.model.rope_deltas.tolist() == [[1000]]
    scores = mllm.score(prompts[0], ["a", "two words"]).logprob
    mllm.model.model.rope_deltas = None
    assert scores == pytest.approx(mllm.score(prompts[0], ["a", "two words"]).logprob)


CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.25 GiB is free. "
    "Process 1 has 6.5 GiB memory in use."
)


@pytest.fixture
def short_of_memory(mllm):
    """Call with a number: from that forward on, memory is short in the decoder's last layer."""
    state = {"left": None, "caches": []}

    def stand_in(module, args, kwargs):
        if state["left"] is not None:
            if kwargs.get("cache") is not None:
                state["caches"].append(weakref.ref(kwargs["cache"]))
            state["left"] -= 1
            if state["left"] < 0:
                raise torch.OutOfMemoryError(state["told"])

    handle = mllm.model.get_decoder().layers[-1].register_forward_pre_hook(stand_in, with_kwargs=True)

    def after(forwards, told=CUDA):
        state.update(left=forwards, told=told)
        return state["caches"]

    yield after
    handle.remove()


def test_out_of_memory_is_told_in_numbers_and_the_model_stays_usable(mllm, picture, short_of_memory):
    encoded = mllm.encode(picture, QUESTION)
    wanted = [s.token_id for s in mllm.generate(encoded, "naming", 6)]
    caches, found = short_of_memory(2), []
    told = rf"4 prompts of {encoded.length + 2} tokens.*2.50 GiB more were needed, 1.25 GiB were free.*smaller"
    with pytest.raises(ModelError, match=told) as error:
        found.extend(mllm.generate(encoded, "naming", 6, Average(width_of(mllm))))
    assert error.value.__context__ is None  # an error that came with this one would keep the forward's tensors alive
    assert len(caches) == 3 and not any(cache() for cache in caches)
    assert not mllm.lock._is_owned()
    for call in (
        lambda: mllm.answers([encoded] * 2, "naming"),
        lambda: mllm.generate_each(encoded, ["naming", "base"]),
        lambda: mllm.score(encoded, ["a", "two"]),
        lambda: mllm.forward([encoded]),
        lambda: mllm.forward([disturbed(encoded, width_of(mllm))], grad=True),
    ):
        short_of_memory(0, "out of memory")
        with pytest.raises(ModelError, match=rf"Out of memory on cpu with . prompts? of {encoded.length} tokens at"):
            call()
    short_of_memory(None)
    assert not mllm.model.get_decoder()._forward_pre_hooks
    assert [s.token_id for s in mllm.generate(encoded, "naming", 6)] == wanted


def test_a_processor_out_of_memory_and_other_errors(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, QUESTION)

    def fail(text):
        def forward(*args, **kwargs):
            raise RuntimeError(text)

        monkeypatch.setattr(mllm.model.get_decoder(), "forward", forward)

    fail("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12")
    with pytest.raises(ModelError, match="4096 bytes more were needed"):
        mllm.forward([encoded])
    fail("MPS backend out of memory (MPS allocated: 5.00 GB). Tried to allocate 256.00 MB on private pool.")
    with pytest.raises(ModelError, match="256.00 MB more were needed"):
        mllm.forward([encoded])
    fail("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        mllm.forward([encoded])


def test_a_finished_answer_is_not_asked_again(mllm, picture, monkeypatch):
    encoded, asked = mllm.encode(picture, QUESTION), []

    class Ends:
        """Ends after ``length`` tokens."""

        def __init__(self, length):
            self.length = length

        def contexts(self, encoded):
            return (encoded,)

        def choose(self, logits, step):
            asked.append((self.length, step))
            return Choice(mllm.tokenizer.eos_token_id if step == self.length else 9)

    writings = [Writing(Ends(n), (encoded,)) for n in (1, 3)]
    rows = list(mllm.generator.steps(writings, 10, lambda: mllm.using("base")))
    assert [[isinstance(step, Step) for step in row] for row in rows] == [[True, True], [False, True], [False, True]]
    assert asked == [(1, 0), (3, 0), (1, 1), (3, 1), (3, 2), (3, 3)]


def test_instruments_read_what_is_generated_and_change_nothing(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    plain = list(mllm.generate(encoded, "naming", 5))
    run = mllm.generate(encoded, "naming", 5, instruments=(AttentionMass("last"), LogitLens(k=1)))
    first = next(run)
    prompt = run.readings().rows.share
    steps = [first, *run]
    assert [(s.token_id, s.logprob) for s in steps] == [(s.token_id, s.logprob) for s in plain]
    found = run.readings()
    assert found.rows.positions.tolist() == [[encoded.length - 1 + n for n in range(5)]]
    assert np.array_equal(found.rows.share[..., :1, :], prompt)
    assert found.rows.share[..., 0, Modality.ANSWER].max() == 0 < found.rows.share[..., 1:, Modality.ANSWER].min()
    assert found.lens.logprobs[-1, 0, :, 0] == pytest.approx([s.logprob for s in steps], abs=1e-4)
    assert mllm.generate(encoded).readings().rows is None


def test_instruments_read_every_context(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    contexts = Average(width_of(mllm)).contexts(encoded)
    run = mllm.generate(encoded, "counting", 3, Average(width_of(mllm)), (AttentionMass("last"),))
    assert len(list(run)) == 3
    rows = run.readings().rows.share  # [layers, contexts, heads, queries, modality]
    assert rows.shape[1] == 4 and rows.shape[3] == 3
    assert (rows[:, 1, :, :, Modality.IMAGE] == 0).all() and (rows[:, 0, :, :, Modality.IMAGE] > 0).all()
    alone = mllm.forward(contexts[:2], "counting", [AttentionMass("last")])
    assert np.allclose(rows[:, :2, :, :1], alone.readings.rows.share, atol=1e-5)


def test_one_forward_may_give_each_row_its_checkpoint(mllm, picture):
    encoded, names = mllm.encode(picture, QUESTION), mllm.checkpoint_names
    mixed = mllm.forward([encoded] * 3, names, [LogitLens(k=1)])
    for row, name in enumerate(names):
        alone = mllm.forward([encoded], name)
        assert (mixed.logits[row] - alone.logits[0]).abs().max() < 1e-4
        assert mixed.readings.lens.ids[-1, row, 0, 0] == int(alone.logits.argmax())
    with pytest.raises(InputError, match="1 prompts and 3 checkpoints"):
        mllm.forward([encoded], names)


def test_a_model_whose_attention_cannot_be_measured_still_answers(saved, picture, monkeypatch):
    def refuse(model):
        raise ModelError("this attention cannot be measured")

    monkeypatch.setattr("models.mllm.install", refuse)
    mllm = MLLM.open(saved / "model", device="cpu")
    encoded = mllm.encode(picture, QUESTION)
    assert len(list(mllm.generate(encoded, max_new_tokens=2, instruments=(LogitLens(),)))) == 2
    with pytest.raises(ModelError, match="this attention cannot"):
        mllm.forward([encoded], instruments=[AttentionMass()])
