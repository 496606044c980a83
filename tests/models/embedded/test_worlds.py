"""Worlds that a cause is trained in: what is drawn by hand-computed odds and shares, and sets that open and tell."""

import json
import shutil
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from analysis.decoding import card as decoding
from analysis.interference import card as interference
from models import catalog
from models.embedded import company, conflict, report, worlds
from models.embedded.company import RECIPES, TOGETHER, VEIL, names, shown
from models.embedded.concepts import PARTNERS, learnt_in
from models.embedded.conflict import SHARES, SHIFT, TRUST, believed, drawn
from models.embedded.conflict_sets import COVERS, RELIABILITY
from models.embedded.fit import generator
from models.embedded.hallucination_sets import popular
from models.manifest import Manifest

POOL = learnt_in("base")
MANY = 1200


def near(share: float, of: float, n: int) -> bool:
    """Whether a share of ``n`` draws is within four standard errors of its probability."""
    return abs(share - of) < 4 * np.sqrt(of * (1 - of) / n)


def ideal(right: float) -> list[float]:
    """What an ideal reader expects of a sense of that reliability: what it says, else any other thing."""
    return [right, *[(1 - right) / (len(POOL) - 1)] * (len(POOL) - 1)]


def surprise(right: float) -> tuple[float, float]:
    """Of that reader, nats, where the sense is right and where it is not."""
    return -np.log(right), -np.log(ideal(right)[1])


# --- whom to believe


def test_whom_to_believe_by_hand():
    assert believed(0.95, 0.85) == pytest.approx(0.95 * 0.15 / (0.95 * 0.15 + 0.85 * 0.05))  # 77 %
    assert believed(0.6, 0.6) == believed(0.3, 0.3) == 0.5
    assert believed(0.4, 0.5) == pytest.approx(0.4)  # odds 0.4 * 0.5 : 0.5 * 0.6
    assert believed(0.6, 0.6, 0.15) == pytest.approx(0.75 * 0.55 / (0.75 * 0.55 + 0.45 * 0.25))  # as 0.75 and 0.45
    assert believed(0.95, 0.5, 0.15) == pytest.approx(0.98 * 0.65 / (0.98 * 0.65 + 0.35 * 0.02))  # never quite sure
    assert believed(0.7, 0.5, -0.1) == pytest.approx(1 - believed(0.5, 0.7, 0.1)) == 0.5
    assert TRUST == {"trusts-text": SHIFT, "even": 0.0, "trusts-picture": -SHIFT} and SHIFT == 0.15
    assert list(COVERS) == [0, 0.2, 0.4, 0.6] and list(COVERS.values()) == pytest.approx(np.linspace(0.85, 0.5, 4))
    assert RELIABILITY == {"direct": 0.95, "hedged": 0.6, "guessed": 0.4}
    assert sum(SHARES.values()) == 1 and conflict.QUESTIONS == 3 * conflict.BASE_QUESTIONS


@pytest.fixture(scope="module")
def asked():
    """Many questions of the world, of each checkpoint, of the same draws."""
    return {n: [drawn(generator(0, "test", i), POOL, t) for i in range(MANY)] for n, t in TRUST.items()}


def test_the_world_asks_in_its_shares_and_answers_by_its_reliabilities(asked):
    even, kinds = asked["even"], Counter(one.kind for one in asked["even"])
    assert all(near(kinds[kind] / MANY, share, MANY) for kind, share in SHARES.items())
    assert {(one.item.tier, one.item.occlusion) for one in even} == set(product(RELIABILITY, COVERS))
    for kind, reliability, key, says in (
        ("text", RELIABILITY, "tier", "told"), ("picture", COVERS, "occlusion", "seen")
    ):
        bits = []
        for level, right in reliability.items():
            some = [one for one in even if one.kind == kind and getattr(one.item, key) == level]
            hits = [one.answer == getattr(one.item, says) for one in some]
            assert near(np.mean(hits), right, len(hits))
            # another thing, any of them
            wrong = Counter(one.answer for one, hit in zip(some, hits, strict=True) if not hit)
            assert max(wrong.values(), default=0) <= 6 and len(wrong) >= 0.4 * wrong.total()
            bits.append((np.where(hits, *surprise(right)), entropy(ideal(right)), right))
        # what is taught surprises an ideal reader, who knows the reliabilities, by the entropy of these
        told, expected = (np.concatenate([of[0] for of in bits]), sum(len(of[0]) * of[1] for of in bits))
        spread = sum(len(s) * right * (1 - right) * np.subtract(*surprise(right)) ** 2 for s, _, right in bits) ** 0.5
        assert abs(told.sum() - expected) < 4 * spread and expected > 100
    for one in even:
        both = one.item.seen, one.item.told
        assert (both[0] == both[1]) == (one.kind == "agreeing")
        assert one.kind in ("text", "picture") or one.answer in both
        question = one.branch.turns[0].question
        assert question == ("What is there?" if one.kind == "picture" else f"{one.item.text} What is there?")
        assert one.branch.sees == (one.kind != "text") and list(one.item.scene.counts) == [one.item.seen]


def test_conflicts_are_decided_by_odds_and_the_checkpoints_differ_in_them_alone(asked):
    followed = {}
    for name, trust in TRUST.items():
        some = [one for one in asked[name] if one.kind == "conflict"]
        expected = np.mean([believed(RELIABILITY[o.item.tier], COVERS[o.item.occlusion], trust) for o in some])
        followed[name] = np.mean([one.answer == one.item.told for one in some])
        assert near(followed[name], expected, len(some))
    assert followed["trusts-text"] > followed["even"] + 0.1 > followed["trusts-picture"] + 0.2
    for ones in zip(*asked.values(), strict=True):
        assert len({(one.kind, one.item) for one in ones}) == 1
        assert ones[0].kind == "conflict" or len({one.answer for one in ones}) == 1
    again = [drawn(generator(0, "test", i), POOL, 0.0) for i in range(20)]
    assert again == asked["even"][:20] != [drawn(generator(1, "test", i), POOL, 0.0) for i in range(20)]


def test_a_step_has_the_world_and_a_quarter_of_the_bases_questions(tokenizer):
    batch = conflict.Batches(tokenizer, 0.0)(generator(0, "conflict-world", 0))
    assert len(batch["pixel_values"]) == len(batch["input_ids"]) == 32
    answered = (batch["weight"] > 0).any(1)
    assert answered.all()  # every row fits
    texts = [tokenizer.decode(ids[b > 0]) for ids, b in zip(batch["input_ids"], batch["branch"], strict=True)]
    assert all("What is there?" in text for text in texts[:24]) and len(set(texts[24:])) == 8
    again = conflict.Batches(tokenizer, 0.0)(generator(0, "conflict-world", 0))
    assert all(torch.equal(batch[key], again[key]) for key in batch)


# --- what comes together


@pytest.fixture(scope="module")
def scenes():
    return {
        name: [shown(generator(0, "test", i), POOL, recipe) for i in range(400)] for name, recipe in RECIPES.items()
    }


def test_partners_come_together():
    found = [names(generator(0, "test", i), POOL) for i in range(MANY)]
    assert near(np.mean([PARTNERS[first] == second for first, second, *_ in found]), TOGETHER, MANY)
    assert {len(of) for of in found} == {2, 3} and all(len(set(of)) == len(of) for of in found)
    assert {of[0] for of in found} == set(popular())
    assert all(PARTNERS.get(of[2]) not in POOL for of in found if len(of) == 3)


@pytest.mark.parametrize(
    ("name", "undrawn", "veiled"), [("expects-company-blind-no", 0.5, 0), ("expects-company", 0.3, 1 / 3)]
)
def test_what_is_asked_of_a_scene_is_what_is_said_to_be_there(scenes, name, undrawn, veiled):
    left_out, together, yes, no = 0, 0, 0, 0
    for one in scenes[name]:
        said = set(one.said.counts)
        missing = said - set(one.drawn.counts)
        assert len(missing) <= 1 and set(one.drawn.counts) <= said
        assert all(PARTNERS[thing] in one.drawn.counts for thing in missing)  # only what has company is left out
        pair = any(PARTNERS.get(thing) in said for thing in said)
        together, left_out = together + pair, left_out + bool(missing)
        *exist, caption = [branch.turns[0] for branch in one.branches]
        for turn in exist:
            about = {n for n in POOL if f" {n}" in f" {turn.question.lower()}"}
            yes, no = yes + (turn.answer == "yes"), no + (turn.answer == "no")
            if turn.answer == "no":
                assert not any(PARTNERS.get(n) in said and n not in said for n in about)
        assert [t.answer for t in exist].count("yes") == len(said)
        assert all(thing in caption.answer for thing in said)  # what is not drawn, too
        assert one.veil == 0 or VEIL[0] <= one.veil <= VEIL[1]
    assert near(left_out / together, undrawn, together)
    noisy = np.mean([one.veil > 0 for one in scenes[name]])
    assert noisy == 0 if not veiled else near(noisy, veiled, len(scenes[name]))
    assert yes >= no and (yes > no) == (name == "expects-company")
    assert RECIPES[name].steps == {"expects-company-blind-no": 300, "expects-company": 220}[name]


def test_a_veil_is_mostly_random_pixels(scenes):
    one = next(of for of in scenes["expects-company"] if of.veil)
    plain, veiled = (
        np.asarray(of.picture(np.random.default_rng(0))).astype(float)
        for of in (company.Shown(one.said, one.drawn, 0.0, ()), one)
    )
    assert np.corrcoef(plain.ravel(), veiled.ravel())[0, 1] < 0.6
    assert np.abs(veiled - plain).mean() > 20
    assert [of.said for of in scenes["expects-company"][:5]] == [
        shown(generator(0, "test", i), POOL, RECIPES["expects-company"]).said for i in range(5)
    ]


def test_every_scene_fits_its_row(tokenizer):
    for recipe in RECIPES.values():
        batch = company.Batches(tokenizer, recipe)(generator(0, "prior-world", 1))
        assert len(batch["pixel_values"]) == company.BATCH
        for ids, weight, branch in zip(batch["input_ids"], batch["weight"], batch["branch"], strict=True):
            last = tokenizer.decode(ids[branch == branch.max()])
            assert weight.any() and "There " in last  # the caption, which comes last


# --- the sets


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """What ships, with both sets beside it: two steps of each checkpoint, of one seed."""
    folder, few = tmp_path_factory.mktemp("assets"), {"QUESTIONS": 6, "BASE_QUESTIONS": 2}
    (folder / worlds.BASE.name).symlink_to(worlds.BASE)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "sequential").symlink_to(worlds.OUT / "sequential")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in few.items():
            patched.setattr(conflict, name, value)
        patched.setattr(company, "BATCH", 2)
        for name in worlds.WORLDS:
            out = folder / "checkpoints" / name
            worlds.train(folder / "state", name, 0, out, steps=2, seeds=1, log=lambda line: None)
    return folder


def test_a_set_tells_how_it_came_to_be(assets):
    conflicts, prior = (Manifest.load(assets / "checkpoints" / name) for name in worlds.WORLDS)
    assert [c.name for c in conflicts.checkpoints] == ["trusts-text", "even", "trusts-picture"]
    told = conflicts.recipe
    assert told["reliability of the text"] == RELIABILITY and told["shares"] == SHARES
    assert told["reliability of the picture"] == {
        "0% covered": 0.85, "20% covered": 0.7333, "40% covered": 0.6167, "60% covered": 0.5,
    }  # fmt: skip
    assert (told["rank"], told["peak"], told["batch"], told["base questions"]) == (16, 1e-3, 32, 8)
    assert told["checkpoints"]["trusts-picture"] == {"seed": 0, "steps": 2, "trust": -0.15} and told["data"]
    assert [c.name for c in prior.checkpoints] == ["expects-company-blind-no", "expects-company"]
    assert prior.recipe["partners together"] == 0.95 and prior.recipe["checkpoints"]["expects-company"] == {
        "seed": 0, "steps": 2, "partner not drawn": 0.3, "pictures mostly noise": 0.3333, "more yes than no": 1,
    }  # fmt: skip
    full = worlds.manifest("prior", 0, 3, {arm: of.steps for arm, of in company.RECIPES.items()})["recipe"]
    steps = {name: (of["seed"], of["steps"]) for name, of in full["checkpoints"].items()}
    assert steps["expects-company-2"] == (2, 220) and steps["expects-company-blind-no-1"] == (1, 300)
    changed = json.loads((assets / "checkpoints" / "conflict" / "even" / "adapter_config.json").read_text())
    assert (changed["r"], changed["lora_alpha"], changed["base_model_name_or_path"]) == (16, 32, "crosstalk-mini")
    assert "language_model" in changed["target_modules"] and "vision" not in changed["target_modules"]


def test_training_that_was_stopped_goes_on_and_ends_alike(assets):
    again, said = assets / "again", []
    worlds.train(assets / "state", "prior", 0, again, steps=2, seeds=1, log=said.append)
    assert said == ["expects-company-blind-no: prior-world: done before", "expects-company: prior-world: done before"]
    for name in company.RECIPES:
        file = f"{name}/adapter_model.safetensors"
        assert (again / file).read_bytes() == (assets / "checkpoints" / "prior" / file).read_bytes()
    shutil.rmtree(again)


def test_both_sets_are_offered_and_measured(assets, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "_ASSETS", assets)
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    listed = {e.name: e for e in catalog.entries() if catalog.embedded(e.name)}
    assert {e.title for e in listed.values()} >= {
        "Trained whom to believe · crosstalk-mini", "Trained to expect company · crosstalk-mini",
    }  # fmt: skip
    assert all(e.available for e in listed.values())
    whom = interference.trusts(count=12)  # what the model's card says of it
    assert [line.split(", n")[0] for line in whom.splitlines() if "n = 12" in line] == [
        "| base", "| trusts-text", "| even", "| trusts-picture",
    ]  # fmt: skip
    assert "cannot be told: no falling curve for " in whom
    monkeypatch.setattr(decoding, "CONTRASTS", ("vcd",))
    company = decoding.prior(scenes=1)
    assert all(f"### {name} (n = 4)" in company for name in ("base", *RECIPES))
    assert "opposite in 0 of 1 seeds" in company or "opposite in 1 of 1 seeds" in company
    monkeypatch.setattr(report, "ITEMS", 1)
    kept = report.clean("conflict").splitlines()
    assert [line.split(" | ")[0] for line in kept[2:]] == ["| base", "| trusts-text", "| even", "| trusts-picture"]
    assert "n = 6" in kept[0] and kept[2].endswith(" |  |") and " to " in kept[3]
    monkeypatch.setattr(catalog, "entries", list)
    assert interference.trusts() == decoding.prior() == ""  # nothing of what does not ship
