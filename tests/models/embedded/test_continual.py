import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from models.answers import options_in, style_of
from models.embedded import continual
from models.embedded import questions as Q
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.continual import METHODS, Method
from models.embedded.continual import train as T
from models.embedded.continual.course import Course
from models.embedded.continual.data import Batches, diversified, kept, shown
from models.embedded.continual.penalties import Elastic, KeyElements, distillation, fisher, moved_towards
from models.embedded.continual.styles import STYLES, rewritten
from models.embedded.evalsets import examples
from models.embedded.fit import generator
from models.manifest import Manifest


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
    w = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    elastic = Elastic([w])
    assert float(elastic.penalty().detach()) == 0
    elastic.hold([torch.tensor([4.0, 0.0], dtype=torch.float64)])
    assert float(elastic.penalty().detach()) == 0
    with torch.no_grad():
        w += torch.tensor([0.5, 7.0], dtype=torch.float64)
    assert float(elastic.penalty()) == pytest.approx(0.5 * 4 * 0.25)
    elastic.hold([torch.tensor([2.0, 1.0], dtype=torch.float64)])  # a second task, where the weights are now
    with torch.no_grad():
        w += torch.tensor([0.5, 1.0], dtype=torch.float64)
    wanted = 0.5 * (4 * 1.0**2 + 2 * 0.5**2 + 1 * 1.0**2)
    penalty = elastic.penalty()
    assert float(penalty.detach()) == pytest.approx(wanted)
    _close(torch.autograd.grad(penalty, w)[0], torch.tensor([4 * 1.0 + 2 * 0.5, 1.0], dtype=torch.float64))


def test_reglora_pulls_at_key_elements_alone():
    start = {"m": torch.zeros(10, 10, dtype=torch.float64)}
    keys = KeyElements(start)
    learnt = torch.zeros(10, 10, dtype=torch.float64)
    learnt[2, 3], learnt[7, 1], learnt[0, 0] = 5.0, -6.0, 0.1  # two of a hundred elements are 2 %
    keys.hold({"m": learnt})
    now = (learnt + 1.0).requires_grad_(True)
    penalty = keys.penalty({"m": now})
    assert float(penalty.detach()) == pytest.approx(2.0)
    gradient = torch.autograd.grad(penalty, now)[0]
    assert gradient.nonzero().tolist() == [[2, 3], [7, 1]]
    assert float(keys.penalty({"m": learnt})) == 0


def test_reglora_keeps_the_keys_of_all_tasks_before():
    keys = KeyElements({"m": torch.zeros(10, 10)})
    first = torch.zeros(10, 10)
    first[0, 0] = first[0, 1] = 3.0
    second = first.clone()
    second[5, 5] = second[5, 6] = -2.0
    keys.hold({"m": first})
    keys.hold({"m": second})
    now = (second + 1).requires_grad_(True)
    gradient = torch.autograd.grad(keys.penalty({"m": now}), now)[0]
    assert gradient.nonzero().tolist() == [[0, 0], [0, 1], [5, 5], [5, 6]]


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


def test_about_a_fifth_of_the_questions_is_rewritten():
    total = other = 0
    for i in range(100):
        one = shown(generator(0, "share", i), "naming")
        new = diversified(generator(1, "share", i), "naming", one, 0.2)
        assert new[0] == one[0]
        other += sum(a != b for a, b in zip(one[1], new[1], strict=True))
        total += len(one[1])
    assert 0.1 < other / total < 0.3


def test_every_method_draws_the_same_new_questions(tokenizer):
    rng = [generator(0, "naming", 3) for _ in range(3)]
    buffer = kept(0, ("counting",), 4)
    plain = Batches(tokenizer, Method("plain"), ("naming",))(rng[0])
    replayed = Batches(tokenizer, Method("replay", buffer=4, replayed=2), ("naming",), buffer)(rng[1])
    first = Batches(tokenizer, Method("replay", buffer=4, replayed=2), ("naming",))(rng[2])
    assert torch.equal(plain["pixel_values"], first["pixel_values"])
    n = min(plain["input_ids"].shape[1], replayed["input_ids"].shape[1])
    same = [torch.equal(a[:n], b[:n]) for a, b in zip(plain["input_ids"], replayed["input_ids"], strict=True)]
    assert same[2:] == [True] * 6 and not all(same[:2])


def test_half_of_the_layers_of_each_kind_are_frozen():
    names = [f"layers.{i}.{kind}" for i in range(4) for kind in ("q_proj", "up_proj")]
    first, second = (T.frozen_layers(names, 0.5, 0, task) for task in ("naming", "counting"))
    for chosen in (first, second):
        assert sum(n.endswith("q_proj") for n in chosen) == sum(n.endswith("up_proj") for n in chosen) == 2
    assert first != second and first == T.frozen_layers(names, 0.5, 0, "naming")
    assert T.frozen_layers(names, 0.0, 0, "naming") == set()


@pytest.fixture
def small(saved):
    from transformers import AutoModelForImageTextToText

    return lambda: AutoModelForImageTextToText.from_pretrained(saved / "model")


@pytest.fixture
def short(monkeypatch):
    """Two tasks, two rows, two steps, and methods as they are but for what needs more."""
    monkeypatch.setattr(T, "BATCH", 2)
    monkeypatch.setattr("models.embedded.continual.data.BATCH", 2)
    monkeypatch.setattr(T, "EXAMPLES", 2)
    monkeypatch.setattr("models.embedded.continual.course.ITEMS", 2)
    for name, method in METHODS.items():
        less = replace(method, buffer=min(method.buffer, 2), replayed=min(method.replayed, 1))
        monkeypatch.setitem(METHODS, name, replace(less, healing=min(method.healing, 1)))


def _adapters(folder, names):
    return [load_file(folder / name / "adapter_model.safetensors") for name in names]


def _moved(a, b):
    return sum(float((a[k].float() - b[k].float()).square().sum()) for k in a)


ORDER = ("naming", "choice")


@pytest.mark.parametrize("name", [n for n in METHODS if n != "joint"])
def test_each_method_goes_on_from_task_to_task_and_resumes(name, small, tokenizer, tmp_path, short):
    log: list[str] = []
    state = tmp_path / name
    out = T.train(state, name, small(), tokenizer, 0, ORDER, log.append, 2)
    first, second = _adapters(out, ORDER)
    assert first.keys() == second.keys() and all("language_model" in k for k in first)
    assert {v.dtype for v in first.values()} == {torch.float16}
    assert _moved(first, second) > 0
    log.clear()
    T.train(state, name, small(), tokenizer, 0, ORDER, log.append, 2)
    assert all(line.endswith("done before") for line in log) and len(log) >= 2
    again = _adapters(out, ORDER)
    assert _moved(first, again[0]) == _moved(second, again[1]) == 0


def test_what_is_frozen_does_not_move(small, tokenizer, tmp_path, short):
    run = T.learner(tmp_path, "hft", small(), tokenizer, 0, lambda line: None)
    before = run._products()
    run.learn("naming", (), 2)
    after = run._products()
    still = {n for n in before if torch.equal(before[n], after[n])}
    assert still == T.frozen_layers(list(before), 0.5, 0, "naming")


def test_healing_moves_the_movers_alone(small, tokenizer, tmp_path, short, monkeypatch):
    run = T.learner(tmp_path, "fpf", small(), tokenizer, 0, lambda line: None)
    run.learn("naming", (), 2)
    middle = {}
    chosen = []
    monkeypatch.setattr(T, "most_moved", lambda before, now, model, share: chosen.append(_first(now)) or chosen[-1])
    fit = run._fit

    def watched(stage, batches, steps, course):
        if stage.startswith("healing"):
            middle.update(run._products())
        fit(stage, batches, steps, course)

    monkeypatch.setattr(run, "_fit", watched)
    run.learn("choice", ("naming",), 2)
    after = run._products()
    assert {n for n in after if not torch.equal(middle[n], after[n])} == chosen[0]


def _first(products):
    return {next(iter(products))}


def test_the_layers_that_moved_most_are_found():
    class Layer:
        def __init__(self, size):
            self.base_layer = torch.nn.Linear(2, 2, bias=False)
            torch.nn.init.constant_(self.base_layer.weight, size)

    class Model:
        def get_submodule(self, name):
            return Layer(1.0 if name == "a" else 10.0)

    before = {n: torch.zeros(2, 2) for n in "abcd"}
    now = {"a": torch.ones(2, 2), "b": 5 * torch.ones(2, 2), "c": torch.zeros(2, 2), "d": torch.ones(2, 2)}
    assert T.most_moved(before, now, Model(), 0.25) == {"a"}
    assert T.most_moved(before, now, Model(), 0.5) == {"a", "b"}


def test_the_written_set_is_whole_and_the_joint_one_a_reference(small, tokenizer, tmp_path, short, monkeypatch):
    shared = tmp_path / "checkpoints"
    monkeypatch.setattr(T, "OUT", shared)
    (shared / "sequential" / "pictures").mkdir(parents=True)
    for task in ORDER:
        (shared / "sequential" / f"{task}.jsonl").write_text('{"question": "What?", "answer": "fox"}\n')
    for name in ("sequential", "joint"):
        T.train(tmp_path / name, name, small(), tokenizer, 0, ORDER, lambda line: None, 1)
        T.write(tmp_path / name, name, 0, ORDER)
    found = Manifest.load(shared / "sequential")
    assert found.order == ORDER and [c.name for c in found.checkpoints] == [*ORDER, "joint"]
    course = json.loads((shared / "sequential" / "course.json").read_text())
    assert [p["step"] for p in course["points"]] == [1, 2] and course["steps_per_task"] == 1
    own = tmp_path / "seed1" / "checkpoints" / "own"
    T.write(tmp_path / "sequential", "sequential", 1, ORDER, own)
    assert [c.eval.parent for c in Manifest.load(own).checkpoints] == [own, own]


def test_the_course_counts_exact_answers_and_good_boxes(small, tokenizer, tmp_path, monkeypatch):
    course = Course(tmp_path / "course.json", "sequential", 0, ("naming",), 1, tokenizer)
    words = [tokenizer(f" {t}", add_special_tokens=False)["input_ids"] for t in ("fox", "owl")]
    assert course._right(words[0], words[0]) and not course._right(words[0], words[1])
    boxes = [tokenizer(f" {t}", add_special_tokens=False)["input_ids"] for t in ("[10,10,50,50]", "[10,10,50,55]")]
    far = tokenizer(" [60,60,90,90]", add_special_tokens=False)["input_ids"]
    assert course._right(boxes[1], boxes[0]) and not course._right(far, boxes[0])


def test_settings_are_those_of_the_papers_where_they_transfer():
    assert METHODS["asd"].rewritten == METHODS["sefe"].rewritten == 0.2  # 10 to 20 % there
    assert METHODS["sefe"].protected == METHODS["reglora"].protected > 0
    assert METHODS["hft"].frozen == 0.5
    assert continual.STEPS > METHODS["fpf"].healing > 0
