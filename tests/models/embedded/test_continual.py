import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration

from models.answers import options_in, style_of
from models.checkpoints import CheckpointSet
from models.deltas import KEY_SHARE
from models.embedded import ASSETS, continual, evalsets
from models.embedded import questions as Q
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.continual import METHODS, Method, data, forms
from models.embedded.continual import train as T
from models.embedded.continual.course import COURSES, thing
from models.embedded.continual.data import Batches, diversified, kept
from models.embedded.continual.penalties import (
    Elastic,
    KeyElements,
    consistency,
    degrees_of_freedom,
    distillation,
    fisher,
    low_rank,
    moved_towards,
)
from models.embedded.continual.progress import Progress
from models.embedded.continual.styles import STYLES, rewritten
from models.embedded.evalsets import examples
from models.embedded.fit import generator
from models.embedded.packing import answer_loss
from models.embedded.scenes import Scene, placed
from models.evalset import EvalItem, load
from models.manifest import Manifest
from models.mixtures import some_of_each_kind

THINGS = COURSES["things"]


def _close(a, b, tolerance=1e-9):
    assert torch.allclose(a, b, atol=tolerance, rtol=tolerance), (a, b)


def test_fisher_of_a_linear_model_has_its_closed_form():
    # logistic regression: F = E[x x' p (1 - p)]; with p = 1/2 each label once is the model's own distribution
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    losses = [
        cross_entropy(torch.stack([torch.zeros((), dtype=torch.float64), row @ w])[None], torch.tensor([label]))
        for row in x
        for label in (0, 1)
    ]
    (found,) = fisher([w], losses)
    _close(found, 0.25 * x.square().mean(0))


def test_ewc_holds_each_weight_as_firmly_as_it_mattered():
    w = torch.tensor([[1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    elastic = Elastic()
    assert elastic.penalty({"m": w}) == 0
    elastic.hold({"m": torch.tensor([[4.0, 0.0]], dtype=torch.float64)}, {"m": w})
    assert float(elastic.penalty({"m": w}).detach()) == 0
    with torch.no_grad():
        w += torch.tensor([[0.5, 7.0]], dtype=torch.float64)
    assert float(elastic.penalty({"m": w}).detach()) == pytest.approx(0.5 * 4 * 0.25)
    elastic.hold({"m": torch.tensor([[2.0, 1.0]], dtype=torch.float64)}, {"m": w})  # where the weights are now
    with torch.no_grad():
        w += torch.tensor([[0.5, 1.0]], dtype=torch.float64)
    wanted = 0.5 * (4 * 1.0**2 + 2 * 0.5**2 + 1 * 1.0**2)
    penalty = elastic.penalty({"m": w})
    assert float(penalty.detach()) == pytest.approx(wanted)
    _close(torch.autograd.grad(penalty, w)[0], torch.tensor([[4 * 1.0 + 2 * 0.5, 1.0]], dtype=torch.float64))


def test_reglora_is_the_mean_size_of_a_product_at_its_keys():
    """B A = [[2, -4], [1, -2]] by hand; with a key share of 2 % one element of four is key to the first task: 5."""
    keys = KeyElements()
    keys.hold({"m": torch.tensor([[0.0, 5.0], [1.0, 0.0]]), "n": torch.tensor([[0.0, 0.0], [0.0, -3.0]])})
    assert keys.held == 2
    b, a = torch.tensor([[2.0], [1.0]], requires_grad=True), torch.tensor([[1.0, -2.0]], requires_grad=True)
    penalty = keys.penalty({"m": b @ a, "n": b @ a})
    assert float(penalty.detach()) == pytest.approx((4 + 2) / 2)  # |-4| of m, |-2| of n
    to_b, to_a = torch.autograd.grad(penalty, (b, a))
    _close(to_b, torch.tensor([[2.0], [2.0]]) / 2)  # each key element is of the second column: a = -2
    _close(to_a, torch.tensor([[0.0, -3.0]]) / 2)


def test_reglora_pulls_at_key_elements_alone_and_keeps_those_of_all_tasks_before():
    keys = KeyElements()
    first, second = torch.zeros(10, 10), torch.zeros(10, 10)
    first[0, 0] = first[0, 1] = 3.0  # two of a hundred elements are 2 %
    second[5, 5] = second[5, 6] = -2.0
    second[0, 0] = 0.1
    keys.hold({"m": first})
    keys.hold({"m": second})
    now = torch.ones(10, 10, requires_grad=True)
    penalty = keys.penalty({"m": now})
    assert keys.held == 4 and float(penalty.detach()) == pytest.approx(1.0)
    gradient = torch.autograd.grad(penalty, now)[0]
    assert gradient.nonzero().tolist() == [[0, 0], [0, 1], [5, 5], [5, 6]]
    assert float(keys.penalty({"m": torch.zeros(10, 10)})) == 0


def test_a_change_of_low_rank_has_few_degrees_of_freedom():
    assert degrees_of_freedom([(2, 3)], 1) == 4  # a column and a row, and one number that both scale by
    assert degrees_of_freedom([(256, 256), (128, 256)], 2) == 2 * (510 + 382)


def test_the_second_task_keeps_more_freedom_than_is_held_from_it():
    """Of the decoder that ships and of the next one, 12 layers x 160 (parent.py): elements held over degrees of freedom
    after one task. Above 1 nothing could be learnt without touching what is held."""
    shipped = json.loads((ASSETS / "crosstalk-mini" / "config.json").read_text())["text_config"]
    for of in (shipped, {**shipped, "hidden_size": 160, "intermediate_size": 400}):
        wide, inner = of["hidden_size"], of["intermediate_size"]
        few = wide * of["num_key_value_heads"] // of["num_attention_heads"]
        shapes = [(wide, wide)] * 2 + [(few, wide)] * 2 + [(inner, wide)] * 2 + [(wide, inner)]
        held = sum(round(KEY_SHARE * a * b) for a, b in shapes)
        assert held / degrees_of_freedom(shapes, continual.RANK) < 1


def test_consistency_counts_where_the_working_model_is_below_the_slow_one():
    working = torch.tensor([[[1.0, 5.0], [0.0, 0.0]]], requires_grad=True)
    slow = torch.tensor([[[3.0, 2.0], [9.0, 9.0]]], requires_grad=True)
    real = torch.tensor([[True, False]])  # the second token is padding
    term = consistency([working, working], [slow, slow], real)
    assert float(term.detach()) == pytest.approx((2.0**2 + 0) / 2)
    to_working, to_slow = torch.autograd.grad(term, (working, slow), allow_unused=True)
    assert to_slow is None and to_working.nonzero().tolist() == [[0, 0, 0]]
    assert float(to_working[0, 0, 0]) == pytest.approx(-2.0)  # upwards


def test_a_matrix_of_low_rank_is_its_own_approximation():
    change = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    up, down, share = low_rank(change, 1)
    _close(up @ down, torch.tensor([[0.0, 0.0], [0.0, 4.0]]), 1e-6)
    assert share == pytest.approx(16 / 25)
    up, down, share = low_rank(change, 8)
    _close(up @ down, change, 1e-5)
    assert share == pytest.approx(1) and low_rank(torch.zeros(2, 3), 2)[2] == 1


def test_distillation_is_the_softened_divergence():
    old = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    new = torch.tensor([[2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    p = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    wanted = 4 * (p * (np.log(p) - np.log(p[::-1]))).sum()
    assert float(distillation(old, new).detach()) == pytest.approx(wanted)
    assert float(distillation(old, old).detach()) == pytest.approx(0, abs=1e-12)


def test_slow_weights_follow_by_one_minus_decay():
    slow, fast = {"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])}
    for _ in range(3):
        moved_towards(slow, fast, 0.9)
    assert float(slow["w"]) == pytest.approx(1 - 0.9**3)


@pytest.mark.parametrize("task", TASKS)
def test_a_rewritten_question_keeps_its_truth(task):
    pool = learnt_in(task)
    wanted = {"yes/no": "yes/no", "multiple choice": "letter"}
    changed = 0
    for i, (scene, turn) in enumerate(examples(task, pool, ("noto",), 30, 0, "test-styles")):
        for style in STYLES:
            found = rewritten(generator(i, style, 0), turn, scene, pool, style)
            changed += found != turn
            if found == turn:
                continue
            assert found.style == style_of(found.answer) == wanted.get(style, found.style)
            if found.style == "letter":
                texts = options_in(found.question)
                truth = options_in(turn.question).get(turn.answer, turn.answer)
                assert texts[found.answer].rstrip(".") == truth.rstrip(".")
                assert len(set(texts.values())) == len(texts)
            if style == "detailed explanation" and task != "captioning":
                assert Q.caption_text(scene) in found.answer
    assert changed > 30


def test_a_claim_is_as_often_true_as_not():
    scene, turn = next(examples("naming", learnt_in("naming"), ("noto",), 1, 0, "test-styles"))
    said = [rewritten(generator(i, "claim", 0), turn, scene, learnt_in("naming"), "yes/no") for i in range(200)]
    assert 70 < sum(t.answer == "yes" for t in said) < 130
    for t in said:
        assert (turn.answer in t.question.split("Is it this:")[1]) == (t.answer == "yes")


@pytest.mark.parametrize("task", ["naming", "existence", "choice"])
def test_a_fifth_of_the_questions_is_rewritten_into_another_style(task, tokenizer):
    total = other = 0
    for i in range(100):
        one = thing(generator(0, "share", i), task)
        new = diversified(generator(1, "share", i), learnt_in(task), one, 0.2)
        assert new[0] == one[0]
        other += sum(a != b for a, b in zip(one[1], new[1], strict=True))
        total += sum(branch.sees for branch in one[1])
    assert 0.12 < other / total < 0.28
    for i in range(20):  # the own style is never drawn
        scene, branches = thing(generator(0, "share", i), task)
        _, always = diversified(generator(1, "share", i), learnt_in(task), (scene, branches), 1.0)
        assert not any(a == b for a, b in zip(always, branches, strict=True) if b.sees)


def test_the_effective_share_is_that_of_the_batches(tokenizer, monkeypatch):
    monkeypatch.setattr(data, "SAMPLED", 8)
    asd = Batches(tokenizer, METHODS["asd"], THINGS, ("naming",), 0)
    found = data.effective_share(asd, 0, "naming")
    assert 0.1 < found < 0.3
    assert data.effective_share(Batches(tokenizer, Method("plain"), THINGS, ("naming",), 0), 0, "naming") == 0


def _same_rows(a, b):
    n = min(a["input_ids"].shape[1], b["input_ids"].shape[1])
    return [torch.equal(x[:n], y[:n]) for x, y in zip(a["input_ids"], b["input_ids"], strict=False)]


def test_every_method_draws_the_same_new_questions_and_the_same_general_ones(tokenizer):
    buffer = kept(THINGS, 0, ("counting",), 4)
    made = {
        name: Batches(tokenizer, method, THINGS, ("naming",), 0, buffer)(generator(0, "naming", 3))
        for name, method in (
            ("plain", Method("plain")), ("none", Method("none", general=0)),
            ("replay", Method("replay", buffer=4, replayed=2)), ("asd", Method("asd", rewritten=0.2)),
        )
    }  # fmt: skip
    assert {name: len(batch["input_ids"]) for name, batch in made.items()} == {
        "plain": 11, "none": 8, "replay": 13, "asd": 11
    }  # fmt: skip
    for name, same in (("none", 8), ("replay", 11)):
        assert all(_same_rows(made["plain"], made[name])), name
        assert torch.equal(made["plain"]["pixel_values"][:same], made[name]["pixel_values"][:same]), name
    assert torch.equal(made["plain"]["pixel_values"], made["asd"]["pixel_values"])
    rewritten = _same_rows(made["plain"], made["asd"])
    assert all(rewritten[8:]) and not all(rewritten[:8])


def test_three_in_eleven_scenes_show_what_the_base_knows(tokenizer):
    plain = Batches(tokenizer, METHODS["sequential"], THINGS, ("naming",), 0)
    assert len(plain.general) == 64
    new, some, old = plain.parts(generator(0, "naming", 0))
    assert (len(new), len(some), len(old)) == (8, 3, 0)
    assert all(set(scene.counts) <= set(learnt_in("base")) for scene, _ in plain.general)
    assert all(set(scene.counts) <= set(learnt_in("naming")) for scene, _ in new)
    assert {m.general for name, m in METHODS.items() if name != "no-general"} == {3}
    assert METHODS["no-general"].general == 0


def test_i_lora_replays_as_much_as_is_new_and_its_rows_come_last(tokenizer):
    buffer = kept(THINGS, 0, ("counting",), 16)
    batches = Batches(tokenizer, METHODS["i-lora"], THINGS, ("naming",), 0, buffer)
    new, _, old = batches.parts(generator(0, "naming", 0))
    assert len(new) == len(old) == batches.old == 8
    assert all(set(scene.counts) <= set(learnt_in("counting")) for scene, _ in old)


def test_half_of_the_matrices_of_each_kind_are_drawn_anew_for_each_task():
    names = [f"layers.{i}.{kind}" for i in range(4) for kind in ("q_proj", "up_proj")]
    first, second, again = (
        some_of_each_kind(names, 0.5, generator(0, f"frozen-{task}", 0)) for task in ("naming", "counting", "naming")
    )
    for chosen in (first, second):
        assert sum(n.endswith("q_proj") for n in chosen) == sum(n.endswith("up_proj") for n in chosen) == 2
    assert first != second and first == again
    assert some_of_each_kind(names, 0.0, generator(0, "x", 0)) == set()


def test_methods_that_agree_on_the_first_task_say_so():
    alike = {name for name, method in METHODS.items() if method.first == METHODS["sequential"].first}
    assert alike == {"sequential", "replay", "ewc", "lwf", "reglora"}
    assert METHODS["asd"].first == METHODS["sefe"].first and METHODS["fpf"].first == METHODS["whole"].first
    assert METHODS["hft"].first != METHODS["full"].first


@pytest.fixture
def small(saved):
    return lambda: AutoModelForImageTextToText.from_pretrained(saved / "model")


@pytest.fixture
def short(monkeypatch):
    """Two rows a batch, and methods as they are but for what needs more."""
    for module in (T, data):
        monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(data, "KEPT", 4)
    monkeypatch.setattr(data, "GENERAL", 1)
    monkeypatch.setattr(data, "SAMPLED", 1)
    monkeypatch.setattr(T, "EXAMPLES", 2)
    monkeypatch.setattr("models.embedded.continual.progress.ITEMS", 2)
    for name, method in METHODS.items():
        less = replace(method, buffer=min(method.buffer, 2), replayed=min(method.replayed, 1))
        monkeypatch.setitem(METHODS, name, replace(less, healing=min(method.healing, 2)))


ORDER = ("naming", "choice")
ONE_BY_ONE = [name for name, method in METHODS.items() if not method.together]


def _quiet(line):
    pass


def _adapters(folder, names=ORDER):
    return [load_file(folder / "adapters" / name / "adapter_model.safetensors") for name in names]


def _equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _without_pictures(monkeypatch, tmp_path):
    """A place for sets whose evaluation sets are a line each."""
    shared = tmp_path / "checkpoints"
    monkeypatch.setattr(T, "OUT", shared)
    for folder, tasks in (("", ORDER), ("unseen", ORDER), ("base", TASKS)):
        (shared / "sequential" / folder).mkdir(parents=True, exist_ok=True)
        for task in tasks:
            file = shared / "sequential" / folder / f"{task}.jsonl"
            file.write_text('{"question": "What?", "answer": "fox"}\n')
    return shared


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_each_method_killed_anywhere_goes_on_as_if_never_killed(name, small, tokenizer, tmp_path, short, monkeypatch):
    """And what it wrote, opened as a checkpoint set, is the model that was trained."""
    models = []
    monkeypatch.setattr(T, "learner", lambda *a, of=T.learner: models.append(of(*a)) or models[-1])
    made = T.train(tmp_path / "whole" / name, name, small(), tokenizer, 0, ORDER, _quiet, 2)
    first, second = _adapters(tmp_path / "whole" / name)
    assert {v.dtype for v in first.values()} == {torch.float16} and not _equal(first, second)

    monkeypatch.setattr("models.embedded.fit.SAVE_EVERY", 0)
    loss, taken = T.Learner._loss, []

    def killed(self, batch):
        taken.append(1)
        if len(taken) in (2, 5):
            raise KeyboardInterrupt
        return loss(self, batch)

    monkeypatch.setattr(T.Learner, "_loss", killed)
    state = tmp_path / "killed" / name
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            T.train(state, name, small(), tokenizer, 0, ORDER, _quiet, 2)
    again = T.train(state, name, small(), tokenizer, 0, ORDER, _quiet, 2)
    assert all(map(_equal, _adapters(state), (first, second))) and again == made

    shared = _without_pictures(monkeypatch, tmp_path)
    monkeypatch.setattr("models.manifest.SHIPPED", shared)
    T.write(state, name, made, ORDER)
    opened = CheckpointSet.open(shared / name, small().eval())
    assert opened.manifest.recipe == json.loads(json.dumps(made))
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode(), opened.use("choice"):
        here, there = (model(input_ids=ids).logits for model in (opened.model, models[0].model.eval()))
    assert torch.allclose(here, there, atol=1e-3)


def test_a_killed_learner_leaves_the_first_task_to_who_trains_it_alike(small, tokenizer, tmp_path, short):
    T.train(tmp_path / "sequential", "sequential", small(), tokenizer, 0, ORDER, _quiet, 2)
    log: list[str] = []
    T.train(tmp_path / "reglora", "reglora", small(), tokenizer, 0, ORDER, log.append, 2)
    assert "naming: done before" in log
    assert _equal(_adapters(tmp_path / "reglora")[0], _adapters(tmp_path / "sequential")[0])
    log.clear()
    T.train(tmp_path / "asd", "asd", small(), tokenizer, 0, ORDER, log.append, 2)
    assert "naming: done before" not in log


def test_what_is_frozen_does_not_move(small, tokenizer, tmp_path, short):
    run = T.learner(tmp_path, "hft", small(), tokenizer, 0, _quiet)
    run.learn("naming", (), 2, tmp_path / "naming")
    still = {name for name, change in run.changes.items() if not change.any()}
    assert still == some_of_each_kind(run.names, 0.5, generator(0, "frozen-naming", 0))
    assert 0 < len(still) < len(run.names)
    assert 0 < run.record["energy kept"]["naming"] <= 1


def test_healing_moves_the_movers_alone(small, tokenizer, tmp_path, short, monkeypatch):
    run = T.learner(tmp_path, "k-fpf", small(), tokenizer, 0, _quiet)
    norm = next(n for n, _ in run._decoder_norms())
    movers, seen = {run.names[0], norm}, []
    monkeypatch.setattr(T, "most_moved", lambda moved, share: seen.append(moved) or movers)
    fit, middle = run._fit, {}

    def watched(stage, batches, steps, progress=None):
        if stage.startswith("healing"):
            middle.update(run._change(dict.fromkeys(seen[-1], 0)))
            assert {frozenset(scene.counts) <= set(learnt_in("naming")) for scene, _ in batches.buffer} == {True}
        fit(stage, batches, steps, progress)
        if stage.startswith("healing"):
            after = run._change(dict.fromkeys(seen[-1], 0))
            assert {name for name in after if not torch.equal(middle[name], after[name])} == movers

    monkeypatch.setattr(run, "_fit", watched)
    run.learn("naming", (), 2, tmp_path / "naming")  # after the first task too: the buffer has the present one
    assert middle and run.record["movers"] == {"naming": {"norm": 1, run.names[0].rpartition(".")[2]: 1}}
    assert {n for n in seen[0] if n.endswith("norm.weight")} and T.HEAD in seen[0]


def test_fpf_heals_at_the_end_and_k_fpf_after_every_task(small, tokenizer, tmp_path, short):
    for name, wanted in (("fpf", {"choice"}), ("k-fpf", {"naming", "choice"}), ("whole", set())):
        made = T.train(tmp_path / name, name, small(), tokenizer, 0, ORDER, _quiet, 2)
        assert set(made.get("movers", {})) == wanted


def test_the_modules_that_moved_most_are_found():
    moved = {"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.1}
    assert T.most_moved(moved, 0.25) == {"a"} and T.most_moved(moved, 0.5) == {"a", "b"}
    assert T.by_kind(["l.0.q_proj", "l.1.q_proj", "l.0.input_layernorm.weight", "norm.weight", "lm_head"]) == {
        "lm_head": 1, "norm": 2, "q_proj": 2
    }  # fmt: skip


def test_slow_weights_are_what_is_kept(small, tokenizer, tmp_path, short, monkeypatch):
    decays = []
    monkeypatch.setattr(T, "moved_towards", lambda *a, of=T.moved_towards: decays.append(a[2]) or of(*a))
    run = T.learner(tmp_path, "i-lora", small(), tokenizer, 0, _quiet)
    run.learn("naming", (), 3, tmp_path / "naming")
    assert decays == [0, 0.25, 0.25, 0.0]  # min(1 - 1/step, 1/4); then slow takes the place of fast


def test_the_written_set_is_whole_and_the_joint_one_a_reference(small, tokenizer, tmp_path, short, monkeypatch):
    shared = _without_pictures(monkeypatch, tmp_path)
    for name in ("sequential", "joint"):
        made = T.train(tmp_path / name, name, small(), tokenizer, 0, ORDER, _quiet, 1)
        T.write(tmp_path / name, name, made, ORDER)
    found = Manifest.load(shared / "sequential")
    assert found.order == ORDER and [c.name for c in found.checkpoints] == [*ORDER, "joint"]
    assert [[a.name for a in c.adapters] for c in found.checkpoints] == [["naming"], [*ORDER], ["joint"]]
    assert {kind: tuple(by) for kind, by in found.also.items()} == {"style never seen": ORDER, "base kept": TASKS}
    assert found.recipe["rank"] == continual.RANK and set(found.recipe["moved"]) == set(ORDER)
    course = json.loads((shared / "sequential" / "course.json").read_text())
    assert [p["step"] for p in course["points"]] == [1, 2] and course["steps_per_task"] == 1
    own = tmp_path / "seed1" / "checkpoints" / "sequential"
    T.write(tmp_path / "sequential", "sequential", made, ORDER, THINGS, own)
    assert [c.eval.parent for c in Manifest.load(own).checkpoints] == [own, own]
    assert Manifest.load(own).also["base kept"]["naming"].parent == own / "base"
    T.write(tmp_path / "joint", "joint", made, ORDER, THINGS, own.with_name("joint"))
    assert [c.name for c in Manifest.load(own).checkpoints] == [*ORDER, "joint"]


def test_seeds_that_do_not_ship_stand_apart_and_open_alone(saved, tmp_path, short, monkeypatch):
    """The first seed ships, its sets sharing evaluation sets; another's are whole in a folder of their own."""
    monkeypatch.setattr(evalsets, "ITEMS", 1)
    monkeypatch.setattr(T, "BASE", saved / "model")
    monkeypatch.setattr(T, "OUT", tmp_path / "checkpoints")
    monkeypatch.setattr("models.manifest.SHIPPED", tmp_path / "checkpoints")
    monkeypatch.setattr(T, "train", partial(T.train, steps=1))
    course = replace(COURSES["things"], tasks=ORDER)
    monkeypatch.setitem(COURSES, "things", course)
    evalsets.write(T.OUT / course.shared, 0, course)
    evalsets.write_base(T.OUT / course.shared, 0)
    log: list[str] = []
    T.run(tmp_path / "state", (0, 1), ("sequential", "asd", "joint"), log=log.append)
    own = tmp_path / "state" / "seed1" / "checkpoints"
    for root in (T.OUT, own):
        assert [c.name for c in Manifest.load(root / "sequential").checkpoints] == [*ORDER, "joint"]
        found = Manifest.load(root / "asd")
        assert [c.name for c in found.checkpoints] == [*ORDER] and set(found.also) == {"style never seen", "base kept"}
    assert not (T.OUT / "asd" / "pictures").exists() and (own / "asd" / "base" / "pictures").is_dir()
    first, second = (load_file(root / "asd" / "naming" / "adapter_model.safetensors") for root in (T.OUT, own))
    assert not _equal(first, second)
    assert log[0].startswith("seed 0, sequential: ") and log[-1].startswith("seed 1, joint: ")
    CheckpointSet.open(own / "asd", AutoModelForImageTextToText.from_pretrained(saved / "model").eval())


def test_sets_of_the_other_course_share_what_the_base_is_asked(tmp_path, monkeypatch):
    for name, ships, shared in (("sequential", True, ""), ("asd", True, "../forms-sequential/"), ("asd", False, "")):
        found = T.manifest(name, ("lists",), {}, COURSES["forms"], ships)
        assert found["checkpoints"][0]["eval"] == f"{shared}lists.jsonl"
        assert found["also"]["original forms"]["naming"] == f"{'../sequential/' if ships else ''}base/naming.jsonl"
        assert "style never seen" not in found["also"]
        assert found["method"].startswith("new forms, ")  # menus tell it from the other course's


def test_the_log_counts_exact_answers_and_good_boxes(tokenizer, tmp_path):
    progress = Progress(tmp_path / "course.json", "sequential", 0, THINGS, ("naming",), 1, tokenizer)
    words = [tokenizer(f" {t}", add_special_tokens=False)["input_ids"] for t in ("fox", "owl")]
    assert progress._right(words[0], words[0]) and not progress._right(words[0], words[1])
    boxes = [tokenizer(f" {t}", add_special_tokens=False)["input_ids"] for t in ("[10,10,50,50]", "[10,10,50,55]")]
    far = tokenizer(" [60,60,90,90]", add_special_tokens=False)["input_ids"]
    assert progress._right(boxes[1], boxes[0]) and not progress._right(far, boxes[0])


@pytest.mark.parametrize("name", ["joint", "sequential", "full", "ewc", "lwf", "reglora", "i-lora"])  # each term once
def test_a_pilot_on_the_shipped_base_learns(name, tokenizer, tmp_path, short, monkeypatch):
    """A few steps of two tasks: every term is finite, those that act in a second task do, and the loss falls."""
    base = LlavaForConditionalGeneration.from_pretrained(T.BASE, dtype=torch.float32)
    run, steps, terms = T.learner(tmp_path, name, base, tokenizer, 0, _quiet), 4, {}
    loss = T.Learner._loss

    def watched(self, batch):
        value, numbers = loss(self, batch)
        assert torch.isfinite(value) and all(map(torch.isfinite, numbers.values()))
        terms.update(numbers)
        return value, numbers

    monkeypatch.setattr(T.Learner, "_loss", watched)
    tasks = THINGS.tasks if run.method.together else ("naming",)
    batch = Batches(tokenizer, replace(run.method, rewritten=0.0), THINGS, tasks, 0)(generator(0, tasks[0], 1))
    before = float(answer_loss(run.model, batch)[0].detach())
    if run.method.together:
        run.learn_together(steps, tmp_path / "joint")
    else:
        run.learn("naming", (), steps, tmp_path / "naming")
    assert float(answer_loss(run.model, batch)[0].detach()) < before
    assert all(0 < moved < continual.MOST_MOVED for moved in run.record["moved"].values())
    if run.method.together:
        return
    run.learn("choice", ("naming",), steps, tmp_path / "choice", last=True)
    acting = {
        "ewc": run.method.ewc, "old answers": run.method.distilled, "key elements": run.method.protected,
        "slow": run.method.consistent,
    }  # fmt: skip
    assert {term for term, weight in acting.items() if weight} == terms.keys() & acting.keys()
    assert all(float(terms[term]) > 0 for term, weight in acting.items() if weight and term != "ewc")
    if run.method.protected:
        assert run.record["held elements per degree of freedom"]["choice"] < 1


def test_settings_are_those_of_the_papers_where_they_transfer():
    assert METHODS["asd"].rewritten == METHODS["sefe"].rewritten == 0.2  # 10 to 20 % there
    assert METHODS["sefe"].protected == METHODS["reglora"].protected > 0
    assert METHODS["hft"].frozen == 0.5 and METHODS["hft"].full == METHODS["full"].full > 0
    assert METHODS["i-lora"].consistent == 1 and METHODS["i-lora"].replayed == continual.BATCH
    assert METHODS["fpf"].replayed and not METHODS["k-fpf"].replayed and METHODS["k-fpf"].healing < continual.STEPS


# The other course


@pytest.mark.parametrize("task", forms.TASKS)
def test_a_new_form_keeps_the_truth_and_is_no_form_the_base_knows(task):
    seen = set()
    for scene, turn in forms.examples(task, ("noto",), 40, 0, "test-forms"):
        item = EvalItem(None, turn.question, turn.answer, turn.choices, turn.style, None, forms.SCORES.get(task))
        assert item.scored(turn.answer) == 1 and item.in_form(turn.answer)
        assert item.scored(turn.plain.answer) < 0.5, (turn.answer, turn.plain.answer)
        assert turn.question.startswith(turn.plain.question) and len(turn.question) > len(turn.plain.question)
        assert set(scene.counts) <= set(learnt_in("base"))
        if options := forms.choices(generator(0, "options", len(seen)), task, turn):
            assert turn.answer in options and sum(item.scored(option) == 1 for option in options) == 1
        seen.add(turn.answer)
    assert len(seen) >= 2


def test_forms_are_told_by_hand():
    items = tuple(placed(n, "noto", c, 0.3) for n, c in (("bee", (0.2, 0.2)), ("dog", (0.8, 0.8)), ("dog", (0.5, 0.8))))
    scene = Scene(items)
    for task, plain, wanted in (
        ("capitals", Q.Turn("What is at the top left?", "bee", "word"), "BEE."),
        ("words", Q.Turn("How many dogs are there?", "2", "numeral"), "two"),
        ("words", Q.Turn("How many cats are there?", "0", "numeral"), "zero"),
        ("presence", Q.Turn("Is there a bee?", "yes", "yes/no"), "present"),
        ("zones", Q.Turn("Where is the bee?", Q.box_text(items[0].box), "box"), "top left"),
        ("options", Q.Turn("Which one do you see? A. cat B. bee", "B", "letter"), "bee"),
        ("lists", Q.Turn("Describe the picture.", Q.caption_text(scene), "sentence"), "bee, two dogs"),
    ):
        assert forms.formed(generator(0, "hand", 0), task, scene, plain).answer == wanted


def test_the_forms_are_taught_by_the_same_loop(small, tokenizer, tmp_path, short):
    course, order = COURSES["forms"], ("capitals", "lists")
    made = T.train(tmp_path / "asd", "asd", small(), tokenizer, 0, order, _quiet, 1, course)
    first, second = _adapters(tmp_path / "asd", order)
    assert not _equal(first, second) and set(made["moved"]) == set(order) == set(made["rewritten"])


def test_evaluation_sets_of_a_course_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(evalsets, "ITEMS", 2)
    evalsets.write_base(tmp_path / "things", 0)
    for name, course in COURSES.items():
        evalsets.write(tmp_path / name, 0, course)
        kinds = {"": course.tasks} | ({"unseen": course.tasks, "base": TASKS} if name == "things" else {})
        assert {path.parent.name for path in tmp_path.glob(f"{name}/**/*.jsonl")} == {name, *kinds} - {""}
        for folder, tasks in kinds.items():
            for task in tasks:
                items = load(tmp_path / name / folder / f"{task}.jsonl")
                assert len(items) == 2 and all(item.picture().size == (224, 224) for item in items)
                assert all(item.scored(item.answer) == 1 for item in items)
