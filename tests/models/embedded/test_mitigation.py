"""All arms see the same questions; copies keep their truth; attacks stay in their ball; distances are what they say."""

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

from models.embedded import disturbances, fit, mitigation
from models.embedded import questions as Q
from models.embedded.concepts import learnt_in
from models.embedded.fit import generator
from models.embedded.mitigation import (
    ARMS,
    ATTACKED,
    HEURISTIC,
    ORIGIN,
    PUBLISHED,
    STRONG,
    Arm,
    Attack,
    Batches,
    arm_loss,
    attack,
    js,
    kl,
)
from models.embedded.packing import PREFIX
from models.manifest import Manifest
from models.mllm import MLLM

POOL = learnt_in("base")
ITEMS = 4 * 2
BY_NAME = {arm.name: arm for arm in ARMS}


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
            assert torch.equal(batch["pixel_values"][:6], batches[0]["pixel_values"])
            assert torch.equal(batch["picture"][:ITEMS], batches[0]["picture"])
        assert len({int(batch["start"]) for batch in batches[1:]}) == 1  # attacks begin at the same place, too
    assert not torch.equal(batch_of(tokenizer, ARMS[0], 0)["pixel_values"], batches[0]["pixel_values"])


def test_a_batch_is_one_two_one_of_image_heavy_multimodal_and_text_heavy(tokenizer):
    batch = batch_of(tokenizer, ARMS[0])
    sees = batch["sees"][:, PREFIX]
    assert sees.tolist() == [True] * 6 + [False] * 2
    asked = [tokenizer.decode(ids[b > 0]) for ids, b in zip(batch["input_ids"], batch["branch"], strict=True)]
    counts = mitigation.recipe({"words": 1.0}, 1)["batch"]
    assert counts == {"image-heavy": 2, "text-heavy": 2, "multimodal": 4}
    copied = batch_of(tokenizer, BY_NAME["heuristic"])
    both = set(range(ITEMS)) - set(copied["item"][ITEMS:].tolist())  # what both senses are needed for has no copies
    assert both == {2, 3, 4, 5} and any("How many" in asked[i] or "Which" in asked[i] for i in both)


def test_arms_are_the_papers_and_a_strong_attack():
    assert tuple(BY_NAME) == (
        "plain", "heuristic", "adversarial", "strong-attack", "kl-0.01", "kl-0.1", "js-0.01", "js-0.1",
    )  # fmt: skip
    for name, arm in BY_NAME.items():
        how, _, weight = name.partition("-0")
        assert (arm.distance, arm.weight) == ({"kl": kl, "js": js}.get(how), float(f"0{weight}" if weight else 0))
        assert arm.attack == {"plain": None, "heuristic": None, "strong-attack": STRONG}.get(name, PUBLISHED)
    assert Attack(1e-3, 0.1, 2) == PUBLISHED
    told = mitigation.recipe({"words": 0.5, "picture": 0.1}, 7)
    assert told["arms"]["js-0.1"] == {
        "copies": ["heuristic", "attacked"], "distance": "js", "weight": 0.1,
        "attack": {"epsilon": 1e-3, "step": 0.1, "steps": 2, "signed": False},
    }  # fmt: skip
    assert json.loads(json.dumps(told)) == told
    assert "7 steps" in told["about"] and "0.2% (words) and 1.0% (picture) of its root mean square" in told["about"]


def test_an_arm_has_the_versions_it_names(tokenizer):
    for arm in ARMS:
        found = Counter(batch_of(tokenizer, arm)["version"].tolist())
        assert found == {ORIGIN: ITEMS} | dict.fromkeys(arm.copies, 4)  # no copies of multimodal questions


def test_copies_ask_for_the_answer_of_their_origin(tokenizer):
    batch = batch_of(tokenizer, BY_NAME["adversarial"])
    answers = [ids[w > 0].tolist() for ids, w in zip(batch["input_ids"], batch["weight"], strict=True)]
    rows = list(zip(batch["version"].tolist(), batch["item"].tolist(), answers, strict=True))
    assert [answers[item] for _, item, _ in rows] == answers
    asked = [tokenizer.decode(ids[b > 0]) for ids, b in zip(batch["input_ids"], batch["branch"], strict=True)]
    for row, (version, item, _) in enumerate(rows):
        disturbed = version == HEURISTIC and item < 2
        assert (asked[row] != asked[item]) == disturbed
        assert asked[row].endswith(asked[item].lstrip())
        assert bool(batch["sees"][row, PREFIX]) == (version != ORIGIN or item < 6)


def test_only_what_should_not_matter_is_attacked(tokenizer):
    batch = batch_of(tokenizer, BY_NAME["adversarial"])
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


def test_attacks_on_a_linear_loss_are_their_closed_form():
    slope = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    embeds = torch.full((2, 5, 3), 2.0, dtype=torch.float64)
    embeds[1] = 6.0
    where = torch.tensor([[False, True, True, False, False], [True, False, False, False, False]])
    mask = where[:, :, None]

    def loss(noisy):
        return (slope * noisy).sum()

    # the steps reach the border of the ball, whose radius goes with the size of the embeddings
    radius = STRONG.epsilon * torch.tensor([2.0, 6.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(attack(STRONG, loss, embeds, where), radius * slope.sign() * mask, rtol=1e-12, atol=0)
    # along the gradient itself, as long as the border is not met: where it began and twice a step of the slope
    wide = Attack(10.0, 0.1, 2)
    began = attack(replace(wide, steps=0), loss, embeds, where, 3)
    torch.testing.assert_close(attack(wide, loss, embeds, where, 3), (began + 2 * 0.1 * slope * mask).clamp(-10, 10))
    assert began.abs().max() <= 10 and began[where].std() > 3 and not began[~where].any()
    assert torch.equal(began, attack(replace(wide, steps=0), loss, embeds, where, 3))
    assert not torch.equal(began, attack(replace(wide, steps=0), loss, embeds, where, 4))


def test_attacks_stay_in_their_ball_and_raise_the_loss(model, tokenizer):
    batch = batch_of(tokenizer, BY_NAME["adversarial"])
    rows = batch["version"] == ATTACKED
    some = {k: v[rows] for k, v in batch.items() if k not in ("pixel_values", "start")}
    embeds, where = mitigation.embeddings(model, batch)[rows], some["irrelevant"]

    def losses(noisy):
        return mitigation.decode(model, noisy, some).losses(len(noisy))

    for how in (PUBLISHED, STRONG):
        delta = attack(how, lambda x: losses(x).sum(), embeds, where, int(batch["start"]))
        assert not delta[~where].any()
        for one, clean, tokens in zip(delta, embeds, where, strict=True):
            unit = np.sqrt(np.square(clean[tokens].double().numpy()).mean()) if how.signed else 1.0
            assert 0 < one.abs().max() <= how.epsilon * unit * (1 + 1e-5)
        if how.signed:
            assert (losses(embeds + delta) > losses(embeds)).all()
        else:  # from where it began it went up
            began = attack(replace(how, steps=0), losses, embeds, where, int(batch["start"]))
            assert losses(embeds + delta).sum() > losses(embeds + began).sum()


# --- losses


def test_distances_by_hand_and_by_scipy():
    half, quarter = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    # of the copy from the origin: the copy's shares weigh the logarithms
    assert float(kl(half, quarter)) == pytest.approx(0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5), abs=1e-6)
    assert float(kl(quarter, half)) == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75), abs=1e-6)
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(7), 4) for _ in range(2))
    origin, other = torch.tensor(p).log() + 3, torch.tensor(q).log()
    np.testing.assert_allclose(kl(origin, other).numpy(), entropy(q, p, axis=1), rtol=1e-9)
    np.testing.assert_allclose(js(origin, other).numpy(), jensenshannon(p, q, axis=1) ** 2, rtol=1e-9)
    np.testing.assert_allclose(js(origin, other).numpy(), js(other, origin).numpy(), rtol=1e-9)
    apart = torch.tensor([[50.0, -50.0]])
    assert float(js(apart, -apart)) == pytest.approx(np.log(2), abs=1e-6)  # they share nothing: it is never more


@pytest.mark.parametrize("distance", [kl, js])
def test_distance_of_the_same_is_zero_and_teaches_only_the_copy(distance):
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(distance(logits, logits), torch.zeros(3, dtype=torch.float64))
    origin, other = logits.clone().requires_grad_(), (logits.flip(1)).requires_grad_()
    distance(origin, other).sum().backward()
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
    batch = batch_of(tokenizer, BY_NAME["heuristic"])
    with torch.no_grad():
        value, numbers = arm_loss(model, batch)
        each = [alone(model, batch, row)[0] for row in range(len(batch["item"]))]
    versions = [[x for x, item in zip(each, batch["item"], strict=True) if item == i] for i in range(ITEMS)]
    assert [len(v) for v in versions] == [2, 2, 1, 1, 1, 1, 2, 2]
    expected = torch.stack([torch.stack(v).mean() for v in versions]).mean()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(numbers["origin"], torch.stack(each[:ITEMS]).mean(), rtol=1e-4, atol=1e-4)


def test_each_copy_is_compared_with_its_own_origin(model, tokenizer):
    batch = batch_of(tokenizer, BY_NAME["heuristic"])
    with torch.no_grad():
        plain, _ = arm_loss(model, batch)
        value, numbers = arm_loss(model, batch, Arm("test", True, None, kl, 0.5))
        told = [alone(model, batch, row)[1] for row in range(len(batch["item"]))]
        pairs = [(told[int(batch["item"][r])], told[r]) for r in range(ITEMS, len(told))]
        expected = torch.stack([kl(*pair).mean() for pair in pairs]).mean()
    torch.testing.assert_close(numbers["apart"], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(value, plain + 0.5 * expected, rtol=1e-3, atol=1e-4)


# --- training


def test_two_steps_of_all_arms_make_a_set_that_opens(saved, tokenizer, tmp_path, monkeypatch):
    base, out, log = LlavaForConditionalGeneration.from_pretrained(saved / "model"), tmp_path / "set", []

    def train(state="state", out=out):
        mitigation.train(tmp_path / state, lambda: copy.deepcopy(base), tokenizer, 0, out, log.append, 2)

    train()
    mllm = MLLM.open(saved / "model", "small", out, device="cpu")
    assert mllm.checkpoint_names == ("base", *BY_NAME)
    weights = [load_file(out / arm.name / "adapter_model.safetensors") for arm in ARMS]
    for one, other in zip(weights, weights[1:], strict=False):
        assert one.keys() == other.keys()
        assert sum(float((one[k].float() - other[k].float()).abs().sum()) for k in one) > 0
    told = Manifest.load(out).recipe
    assert told["steps"] == 2 and set(told["arms"]) == set(BY_NAME) and min(told["read"].values()) > 0
    log.clear()
    train()
    assert log == [f"{arm.name}, mitigation: done before" for arm in ARMS]

    # killed in the second step and started again, an attack with its random start ends where it did; what the set
    # does not name any longer is gone
    monkeypatch.setattr(mitigation, "ARMS", (BY_NAME["kl-0.1"],))
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)  # a state after every step
    calls, original = [], mitigation.arm_loss

    def killed(*batch, **how):
        calls.append(batch)
        if len(calls) == 2:
            raise InterruptedError
        return original(*batch, **how)

    monkeypatch.setattr(mitigation, "arm_loss", killed)
    with pytest.raises(InterruptedError):
        train("cut")
    train("cut")
    assert len(calls) == 3 and [f.name for f in out.iterdir() if f.is_dir()] == ["kl-0.1"]
    again = load_file(out / "kl-0.1" / "adapter_model.safetensors")
    assert all(torch.equal(again[k], weights[ARMS.index(BY_NAME["kl-0.1"])][k]) for k in again)


def test_the_shipped_set_is_whole():
    manifest = Manifest.load(mitigation.MITIGATION)
    assert [c.name for c in manifest.checkpoints] == list(manifest.recipe["arms"]) and manifest.recipe["about"]
    assert manifest.recipe["arms"].keys() == BY_NAME.keys() or "consistent" in manifest.recipe["arms"]  # of the first
    for checkpoint in manifest.checkpoints:
        config = json.loads((checkpoint.adapters[0] / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == manifest.base == "crosstalk-mini"
