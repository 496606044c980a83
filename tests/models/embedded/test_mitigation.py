"""All arms see the same questions; copies keep their truth; attacks stay in their ball; consistency is a distance."""

import copy
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from transformers import LlavaForConditionalGeneration

from models.embedded import disturbances, mitigation
from models.embedded import questions as Q
from models.embedded.concepts import learnt_in
from models.embedded.fit import generator
from models.embedded.mitigation import ARMS, ATTACKED, HEURISTIC, ORIGIN, Batches, arm_loss
from models.embedded.packing import PREFIX
from models.manifest import Manifest
from models.mllm import MLLM

POOL = learnt_in("base")
ITEMS = 3 * 2


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(mitigation, "OF_EACH", 2)


@pytest.fixture(scope="module")
def model(saved):
    """A small LLaVA of random weights, large enough that logits differ widely."""
    found = LlavaForConditionalGeneration.from_pretrained(saved / "model", dtype=torch.float32)
    return found.eval().requires_grad_(False)


def batch_of(tokenizer, arm, step=0):
    return Batches(tokenizer, arm)(generator(0, "mitigation", step))


# --- data


def test_all_arms_draw_the_same_questions_and_pictures_for_a_step(tokenizer):
    for step in range(3):
        batches = [batch_of(tokenizer, arm, step) for arm in ARMS]
        length = batches[0]["input_ids"].shape[1]
        for batch in batches[1:]:
            for key in ("input_ids", "weight", "position_ids", "sees"):
                assert torch.equal(batch[key][:ITEMS, :length], batches[0][key]), key
            assert not batch["weight"][:ITEMS, length:].any()
            assert torch.equal(batch["pixel_values"][:4], batches[0]["pixel_values"])
            assert torch.equal(batch["picture"][:ITEMS], batches[0]["picture"])
    assert not torch.equal(batch_of(tokenizer, ARMS[0], 0)["pixel_values"], batches[0]["pixel_values"])


def test_an_arm_has_the_versions_it_names(tokenizer):
    for arm in ARMS:
        found = Counter(batch_of(tokenizer, arm)["version"].tolist())
        assert found == {ORIGIN: ITEMS} | dict.fromkeys(arm.copies, 4)  # no copies of multimodal questions


def test_copies_ask_for_the_answer_of_their_origin(tokenizer):
    batch = batch_of(tokenizer, ARMS[2])
    answers = [ids[w > 0].tolist() for ids, w in zip(batch["input_ids"], batch["weight"], strict=True)]
    rows = list(zip(batch["version"].tolist(), batch["item"].tolist(), answers, strict=True))
    assert [answers[item] for _, item, _ in rows] == answers
    asked = [tokenizer.decode(ids[b > 0]) for ids, b in zip(batch["input_ids"], batch["branch"], strict=True)]
    for row, (version, item, _) in enumerate(rows):
        disturbed = version == HEURISTIC and item < 2
        assert (asked[row] != asked[item]) == disturbed
        assert asked[row].endswith(asked[item].lstrip())
        assert bool(batch["sees"][row, PREFIX]) == (version != ORIGIN or item < 4)


def test_only_what_should_not_matter_is_attacked(tokenizer):
    batch = batch_of(tokenizer, ARMS[2])
    for row in (batch["version"] == ATTACKED).nonzero()[:, 0].tolist():
        told = tokenizer.decode(batch["input_ids"][row][batch["irrelevant"][row]])
        if batch["item"][row] < 2:
            question = tokenizer.decode(batch["input_ids"][row][batch["branch"][row] > 0])
            assert told == question.partition("<|end|>")[0]
        else:
            assert told.count("<image>") == PREFIX - 1 and not told.replace("<image>", "").strip()


def test_a_sentence_leaves_question_answer_and_options_and_never_states_the_truth():
    rng, seen = generator(0, "test-sentences", 0), set()
    turn = Q.Turn("What is this?", "bee", "word", ("bee", "cat"))
    for _ in range(300):
        found = disturbances.with_sentence(rng, turn, POOL)
        assert replace(found, question=turn.question) == turn
        sentence = found.question.removesuffix(" What is this?")
        assert sentence != found.question
        assert disturbances.MEASURED not in sentence
        denied = any(sentence.startswith(d.format(name="bee", a="a bee")) for d in disturbances.DENIALS)
        assert ("bee" in sentence) == denied
        seen.add(sentence.split()[0])
    assert len(seen) > 10


def test_a_picture_beside_a_text_shows_nothing_that_it_names(monkeypatch):
    pools, scene = [], disturbances.random_scene

    def noted(rng, pool, *rest):
        pools.append(set(pool))
        return scene(rng, pool, *rest)

    monkeypatch.setattr(disturbances, "random_scene", noted)
    turn = Q.Turn("Which one is an animal? A. bees B. house", "A", "letter", ("A", "B"))
    looks = Counter()
    for i in range(80):
        picture = disturbances.junk_picture(generator(0, "test-junk", i), turn, POOL)
        assert picture.shape == (3, 96, 96) and picture.dtype == torch.float32
        assert picture.min() >= -1 and picture.max() <= 1
        flat = picture.std() == 0
        looks["plain" if flat else "other", float(picture.mean()) if flat else 0] += 1
    assert set(looks) == {("plain", -1.0), ("plain", 1.0), ("other", 0)} and min(looks.values()) > 8
    assert pools and all(pool == set(POOL) - {"bee", "house"} for pool in pools)


def test_a_question_that_does_not_fit_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(mitigation, "LENGTH", PREFIX + 6)
    with pytest.raises(ValueError, match="more than 6 tokens"):
        batch_of(tokenizer, ARMS[0])


# --- attack


def test_attack_on_a_linear_loss_is_its_closed_form():
    slope = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    embeds = torch.full((2, 5, 3), 2.0, dtype=torch.float64)
    embeds[1] = 6.0
    where = torch.tensor([[False, True, True, False, False], [True, False, False, False, False]])
    delta = mitigation.attack(lambda x: (slope * x).sum(), embeds, where)
    # the steps reach the border of the ball, whose radius goes with the size of the embeddings
    radius = mitigation.EPSILON * torch.tensor([2.0, 6.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(delta, radius * slope.sign() * where[:, :, None], rtol=1e-12, atol=0)


def test_attack_stays_in_its_ball_and_raises_the_loss(model, tokenizer):
    batch = batch_of(tokenizer, ARMS[2])
    rows = batch["version"] == ATTACKED
    some = {k: v[rows] for k, v in batch.items() if k != "pixel_values"}
    embeds = mitigation.embeddings(model, batch)[rows]

    def losses(noisy):
        return mitigation.decode(model, noisy, some).losses(len(noisy))

    where = some["irrelevant"]
    delta = mitigation.attack(lambda x: losses(x).sum(), embeds, where)
    assert not delta[~where].any()
    for one, clean, tokens in zip(delta, embeds, where, strict=True):
        size = np.sqrt(np.square(clean[tokens].double().numpy()).mean())
        assert 0 < one.abs().max() <= mitigation.EPSILON * size * (1 + 1e-5)
    assert (losses(embeds + delta) > losses(embeds)).all()


# --- losses


def test_consistency_is_kl_and_js_of_the_answers():
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(7), 4) for _ in range(2))
    found = mitigation.consistency(torch.tensor(p).log() + 3, torch.tensor(q).log())
    expected = entropy(p, q, axis=1) + jensenshannon(p, q, axis=1) ** 2
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_consistency_of_the_same_is_zero_and_teaches_only_the_copy():
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(mitigation.consistency(logits, logits), torch.zeros(3, dtype=torch.float64))
    origin, other = logits.clone().requires_grad_(), (logits.flip(1)).requires_grad_()
    mitigation.consistency(origin, other).sum().backward()
    assert origin.grad is None
    assert other.grad.abs().sum() > 0


def alone(model, batch, row):
    """Mean cross-entropy of a row's answer in an ordinary forward of its own, and the log-probabilities there."""
    ids, sees = batch["input_ids"][row], bool(batch["sees"][row, PREFIX])
    used = batch["branch"][row] > 0
    prompt = ids[:PREFIX] if sees else ids[:1]
    whole = torch.cat([prompt, ids[used]])[None]
    seen = {"pixel_values": batch["pixel_values"][batch["picture"][row]][None]} if sees else {}
    logits = model(input_ids=whole, attention_mask=torch.ones_like(whole), **seen).logits[0]
    count = int((batch["weight"][row] > 0).sum())
    told = logits[-count - 1 : -1].log_softmax(-1)
    return -told.gather(1, whole[0, -count:, None]).mean(), told


def test_the_loss_is_the_mean_over_questions_of_the_mean_over_versions(model, tokenizer):
    batch = batch_of(tokenizer, ARMS[1])
    with torch.no_grad():
        value, numbers = arm_loss(model, batch)
        each = [alone(model, batch, row)[0] for row in range(len(batch["item"]))]
    versions = [[x for x, item in zip(each, batch["item"], strict=True) if item == i] for i in range(ITEMS)]
    assert [len(v) for v in versions] == [2, 2, 1, 1, 2, 2]
    expected = torch.stack([torch.stack(v).mean() for v in versions]).mean()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(numbers["origin"], torch.stack(each[:ITEMS]).mean(), rtol=1e-4, atol=1e-4)


def test_consistency_compares_each_copy_with_its_own_origin(model, tokenizer):
    batch = batch_of(tokenizer, ARMS[1])
    with torch.no_grad():
        plain, _ = arm_loss(model, batch)
        value, numbers = arm_loss(model, batch, 0.5)
        told = [alone(model, batch, row)[1] for row in range(len(batch["item"]))]
        pairs = [(told[int(batch["item"][r])], told[r]) for r in range(ITEMS, len(told))]
        expected = torch.stack([mitigation.consistency(*pair).mean() for pair in pairs]).mean()
    torch.testing.assert_close(numbers["consistency"], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(value, plain + 0.5 * expected, rtol=1e-3, atol=1e-4)


# --- training


def test_two_steps_of_all_arms_make_a_set_that_opens(saved, tokenizer, tmp_path):
    base, out, log = LlavaForConditionalGeneration.from_pretrained(saved / "model"), tmp_path / "set", []

    def train():
        mitigation.train(tmp_path / "state", lambda: copy.deepcopy(base), tokenizer, 0, out, log.append, 2)

    train()
    mllm = MLLM.open(saved / "model", "small", out, device="cpu")
    assert mllm.checkpoint_names == ("base", "plain", "heuristic", "adversarial", "consistent")
    weights = [load_file(out / arm.name / "adapter_model.safetensors") for arm in ARMS]
    for one, other in zip(weights, weights[1:], strict=False):
        assert one.keys() == other.keys()
        assert sum(float((one[k].float() - other[k].float()).abs().sum()) for k in one) > 0
    log.clear()
    train()
    assert log == [f"{arm.name}, mitigation: done before" for arm in ARMS]


def test_the_shipped_set_is_whole():
    manifest = Manifest.load(mitigation.MITIGATION)
    assert [c.name for c in manifest.checkpoints] == [arm.name for arm in ARMS]
    for checkpoint in manifest.checkpoints:
        config = json.loads((checkpoint.adapters[0] / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == manifest.base == "crosstalk-mini"
