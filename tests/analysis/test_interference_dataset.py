"""The data-set view: known numbers of a model made of a rule, real families, a run that was stopped, hostile files."""

import csv
import io
import json
import multiprocessing
import os
import re
import signal
import stat
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binom
from transformers import LlamaConfig

from analysis import jobs, kept
from analysis.interference import card, scoring
from analysis.interference.dataset import figure
from analysis.interference.dataset import measure as dataset
from analysis.interference.dataset import section as page
from analysis.interference.dataset.figure import outcome, sentence
from analysis.interference.dataset.measure import (
    CONDITIONS,
    KINDS,
    MITIGATION,
    ORIGIN,
    Block,
    Panel,
    disturbed,
    item_set,
    measure,
    together,
)
from analysis.interference.dataset.result import accuracies
from analysis.interference.dataset.section import SETS
from analysis.interference.endpoint import interference_dataset
from analysis.interference.scoring import logprobs_each, pose
from analysis.section import Shown
from models import catalog, own
from models.checkpoints import Checkpoint
from models.errors import CheckpointError, EvalSetError, InputError, ModelError
from models.evalset import EvalItem
from models.manifest import SHIPPED, Manifest
from models.mllm import MLLM
from tests.analysis.handmade import Prompts
from tests.analysis.written import written
from tests.driving import asked

WORDS = {"cat": 3, "dog": 4, "yes": 5, "no": 6, "A": 7, "B": 8}
N = 40
EFFECT = {"base": 24, "mended": 4}  # of N items, those that a misleading sentence flips


class HandMade(torch.nn.Module):
    """Next-token probabilities by ``rule(checkpoint, text, brightness)``."""

    device, dtype, name_or_path = torch.device("cpu"), torch.float32, "hand/made"

    def __init__(self, rule):
        super().__init__()
        self.rule, self.texts, self.rows, self.checkpoint = rule, [], [], "base"
        self.config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1)

    def get_decoder(self):
        return self

    def forward(self, input_ids, pixel_values=None, **_):
        light = [None] * len(input_ids) if pixel_values is None else pixel_values.mean((1, 2, 3)).tolist()
        texts = [self.texts[int(i) - 1000] for i in input_ids[:, -1]]
        self.rows += [(self.checkpoint, *row) for row in zip(texts, light, strict=True)]
        logits = torch.full((len(texts), 1, 16), 1e-9)
        for i, row in enumerate(zip(texts, light, strict=True)):
            for word, chance in self.rule(self.checkpoint, *row).items():
                logits[i, 0, WORDS[word]] = chance
        return SimpleNamespace(logits=logits.log())


class Ruled(Prompts):
    """What the view asks of an ``MLLM``, around a ``HandMade`` model with checkpoints ``names``."""

    def __init__(self, rule, names=(), name="ruled", folder=None):
        self.model, self.name, self.lock = HandMade(rule), name, threading.RLock()
        self.tokenizer = SimpleNamespace(pad_token_id=0)
        self.checkpoint_names = ("base", *names)
        listed = [Checkpoint(n, "a task", (_written(folder, n),), None) for n in names]
        self.checkpoints = SimpleNamespace(manifest=SimpleNamespace(checkpoints=listed, recipe={"about": "Gently."}))
        self.encoder = SimpleNamespace(
            width=8, inputs=self._inputs, continuation=lambda encoded, choice: [WORDS[choice]]
        )

    @contextmanager
    def using(self, checkpoint):
        if checkpoint not in self.checkpoint_names:
            raise ModelError(f"no checkpoint {checkpoint!r}")
        self.model.checkpoint = checkpoint
        yield

    def provenance(self, checkpoint, seed=None, seconds=0.0):
        return {
            "model": self.name, "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seed": seed,
            "versions": {"torch": "2"}, "seconds": seconds,
        }  # fmt: skip


def _written(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "adapter.safetensors").write_text(name)
    return folder / name


def by_number(checkpoint, text, light):
    """A cat (0.8); where a dog is named, a dog (0.7) for the first items. The mended one errs on the last, as asked."""
    number = int(text.split()[-1])
    if checkpoint == "mended" and number == N - 1:
        return {"cat": 0.3, "dog": 0.7}
    return {"cat": 0.3, "dog": 0.7} if "dog" in text and number < EFFECT[checkpoint] else {"cat": 0.8, "dog": 0.2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No test reads or writes what another, or the repository, keeps."""
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "cache"


@pytest.fixture
def grey(tmp_path):
    file = tmp_path / "grey.png"
    Image.new("RGB", (20, 16), (128, 128, 128)).save(file)
    return file


@pytest.fixture
def model(tmp_path):
    return Ruled(by_number, ("mended",), folder=tmp_path)


def cats(image, count=N, kind="image-heavy", segments=True):
    """Items that ask the same of the same picture; the second half is of another segment."""
    items = [
        EvalItem(image, f"What is this? {i}", "cat", ("cat", "dog"), "word",
                 ("first half" if i < count // 2 else "second half") if segments else None)
        for i in range(count)
    ]  # fmt: skip
    return item_set(kind, "cats.jsonl", items)


def wilson(right, n):
    """Wilson's score interval as in his paper, 95 %."""
    z, p = 1.959963984540054, right / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def entropy(*p):
    return -sum(q * np.log2(q) for q in p)


def rows_of(found, **wanted):
    return [r for r in found.rows if all(getattr(r, k) == v for k, v in wanted.items())]


# --- numbers


def test_known_answers_give_hand_computed_numbers(model, grey):
    blocks = measure(model, [cats(grey)], ["base", "mended"], ["misleading"])
    found = accuracies(tuple(blocks))
    assert found.columns == (("ruled", "base"), ("ruled", "mended"))
    (clean,) = rows_of(found, checkpoint="base", condition=ORIGIN, segment=None)
    assert (clean.n, clean.accuracy.value, clean.chance, clean.drop) == (N, 1.0, 0.5, None)
    assert (clean.accuracy.low, clean.accuracy.high) == pytest.approx(wilson(N, N))
    (row,) = rows_of(found, checkpoint="base", condition="misleading", segment=None)
    assert row.accuracy.value == pytest.approx(16 / 40) and row.drop.value == pytest.approx(24 / 40) == row.flip.value
    assert (row.accuracy.low, row.accuracy.high) == pytest.approx(wilson(16, N))
    assert (row.flip.low, row.flip.high) == pytest.approx(wilson(24, N))
    divergence = entropy(0.55, 0.45) - (entropy(0.8, 0.2) + entropy(0.3, 0.7)) / 2
    assert row.js == pytest.approx(24 / 40 * divergence, abs=1e-4)
    assert row.delta_logprob == pytest.approx(24 / 40 * np.log(0.3 / 0.8), abs=1e-3)
    # the bootstrap of items that do (24) or do not (16) drop draws binomial numbers
    bounds = binom.ppf([0.025, 0.975], N, 24 / 40) / N
    assert (row.drop.low, row.drop.high) == pytest.approx(bounds, abs=1.01 / N)
    assert row.drop.p == pytest.approx(2 * 0.5**24)  # 24 items right as asked alone, none the other way
    halves = {r.segment: (r.n, r.drop.value) for r in rows_of(found, checkpoint="base", condition="misleading")}
    assert halves == {None: (40, pytest.approx(0.6)), "first half": (20, 1.0), "second half": (20, pytest.approx(0.2))}
    (mended,) = rows_of(found, checkpoint="mended", condition="misleading", segment=None)
    assert (mended.accuracy.value, mended.flip.value) == pytest.approx((35 / 40, 4 / 40))


def test_recovery_and_cost_are_paired_differences(model, grey):
    found = accuracies(tuple(measure(model, [cats(grey)], ["base", "mended"], ["misleading"])))
    assert [(c.checkpoint, c.reference, c.condition, c.n) for c in found.compared] == [
        ("mended", "base", ORIGIN, N), ("mended", "base", "misleading", N)
    ]  # fmt: skip
    cost, gain = (c.difference for c in found.compared)
    assert cost.value == pytest.approx(-1 / 40) and cost.p == 1.0
    assert gain.value == pytest.approx(24 / 40 - 4 / 40)  # 20 items drop in the base alone
    bounds = binom.ppf([0.025, 0.975], N, 20 / 40) / N
    assert (gain.low, gain.high) == pytest.approx(bounds, abs=1.01 / N)
    alone = accuracies(tuple(measure(model, [cats(grey)], ["mended"], ["misleading"])))
    assert alone.compared == ()  # there is no base to compare with


def test_every_checkpoint_is_told_the_same(model, grey):
    sets = [cats(grey, 6), cats(None, 6, "text-heavy")]
    measure(model, sets, ["base", "mended"])
    told = {
        name: sorted(map(str, {row[1:] for row in model.model.rows if row[0] == name})) for name in ("base", "mended")
    }
    assert told["base"] == told["mended"]
    texts = [text for _, text, _ in model.model.rows]
    assert any(t.startswith("The picture shows a dog. What") for t in texts)
    assert not any("shows a cat." in t for t in texts)
    lights = [light for _, _, light in model.model.rows]
    assert None in lights and 0.0 in lights and 1.0 in lights  # text-heavy: as asked without a picture, black, white


def test_what_cannot_be_made_of_an_item_is_left_out(tmp_path):
    def rule(checkpoint, text, light):
        return {"yes": 0.9, "no": 0.1} if "sour" in text else {"cat": 0.9, "dog": 0.1}

    items = [
        EvalItem(None, "Which one meows?", "cat", ("cat", "dog")),
        EvalItem(None, "Is a lemon sour?", "yes", ("yes", "no")),
    ]
    model = Ruled(rule)
    blocks = measure(model, [item_set("text-heavy", "mixed.jsonl", items)], conditions=["wrong-picture", "noise"])
    counts = {b.condition: [row is not None for row in b.logprob] for b in blocks}
    assert counts == {ORIGIN: [True, True], "noise": [True, True], "wrong-picture": [True, False]}
    found = accuracies(tuple(blocks))
    assert [(r.condition, r.n) for r in found.rows] == [(ORIGIN, 2), ("noise", 2), ("wrong-picture", 1)]
    only = measure(model, [item_set("text-heavy", "no.jsonl", items[1:])], conditions=["wrong-picture"])
    assert [r.condition for r in accuracies(tuple(only)).rows] == [ORIGIN]
    assert "nothing was disturbed" in sentence(accuracies(tuple(only)))


def test_the_wrong_option_comes_from_the_items_number_alone():
    choices = tuple("abcdef")
    items = [EvalItem(None, f"Which? {i}", "b", choices) for i in range(30)]
    found = item_set("text-heavy", "x", items)
    wrong = [q.wrong for q in found.questions]
    assert wrong == [q.wrong for q in item_set("text-heavy", "x", items).questions]
    assert 1 not in wrong and len(set(wrong)) > 3


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (EvalItem(None, "What is this?", "cat"), r'set.jsonl, item 1: field "choices" is missing'),
        (EvalItem(None, "What is this?", "cat", ("bee", "dog")), r"item 1: the answer 'cat' is not among"),
        (EvalItem(None, "What is this?", "cat", ("cat", "Cats.")), r"item 1: .*at least two different"),
        (EvalItem(None, "What is this?", "0", tuple(map(str, range(101)))), r"item 1: 101 options are too many"),
    ],
)
def test_items_that_cannot_be_scored_are_told(item, message):
    with pytest.raises(EvalSetError, match=message):
        item_set("image-heavy", "set.jsonl", [item])


def test_options_listed_in_the_question_need_no_choices():
    question = "Which one is a tool? (A) mouse\n(B) hammer"
    (found,) = item_set("text-heavy", "x", [EvalItem(None, question, "B")]).questions
    assert (found.options.texts, found.options.truth, found.wrong) == (("A", "B"), 1, 0)


# --- real models


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_options_of_each_prompt_are_scored_as_alone(zoo, name, grey, monkeypatch):
    mllm = MLLM.open(zoo(name), device="cpu")
    picture = Image.open(grey).convert("RGB")
    asked = [
        (mllm.encode(picture, "What is it?"), ("a red apple", "a bee")),
        (mllm.encode(None, "How many of them are there in the picture, one or two?"), ("one", "two", "three of them")),
        (mllm.encode(picture, "There are two of them. What is in the picture?"), ("yes", "no")),
        (mllm.encode(None, "Is a bee yellow?"), ("yes, it is", "no")),
    ]
    posed = [pose(mllm, prompt, options) for prompt, options in asked]
    wanted = [mllm.score(prompt, options).logprob for prompt, options in asked]
    for rows in (64, 2):
        monkeypatch.setattr(scoring, "_ROWS", rows)
        for found, alone in zip(logprobs_each(mllm, posed), wanted, strict=True):
            assert found == pytest.approx(alone, abs=3e-4)
    items = [EvalItem(grey, "What is it?", "apple", ("apple", "bee")), EvalItem(None, "A dog?", "yes", ("yes", "no"))]
    for kind in KINDS:
        some = item_set(kind, kind, items)
        for block in measure(mllm, [some]):
            for i, (row, question) in enumerate(zip(block.logprob, some.questions, strict=True)):
                prompt = disturbed(mllm, question, i, block.condition)
                if prompt is None:
                    assert row is None
                elif block.condition in (ORIGIN, "misleading", "black"):
                    assert row == pytest.approx(mllm.score(prompt, question.options.texts).logprob, abs=3e-4)


def test_what_was_measured_is_found_without_opening_a_model(saved, monkeypatch):
    mllm = MLLM.open(saved / "model", MITIGATION, saved / "set", device="cpu")
    sets = {
        kind: item_set(kind, f"{kind}.jsonl", [EvalItem(None, f"Is a {kind} bee red?", "no", ("yes", "no"))] * 2)
        for kind in KINDS
    }
    names = ("naming", "counting")
    entry = catalog.Entry(MITIGATION, str(saved / "model"), True, "", names, saved / "set")
    monkeypatch.setattr(catalog, "entries", lambda: [entry])
    monkeypatch.setattr(dataset, "shipped_set", sets.__getitem__)
    assert dataset.shipped_answers() == ()
    assert SETS.kept(asked(SETS)) is None  # nothing to show
    made = measure(mllm, list(sets.values()), ("base", "counting"))
    found = dataset.shipped_answers()
    assert set(found) == set(made) and len(found) == len(made)
    assert {b.provenance["seconds"] for b in found} == {b.provenance["seconds"] for b in made}
    shown = SETS.kept(asked(SETS))
    assert len(shown.blocks) == len(found)
    assert shown.columns == ((catalog.EMBEDDED, "base"), (catalog.EMBEDDED, "counting"))


# --- a run that was stopped


def test_a_stopped_run_goes_on_where_it_was(model, grey):
    sets, calls = [cats(grey, 10)], []

    def stopping(share, what):
        calls.append((share, what))
        if "misleading" in what and what.startswith("mended"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        measure(model, sets, ["base", "mended"], progress=stopping)
    assert [share for share, _ in calls] == sorted(share for share, _ in calls)
    assert calls[0] == (0.0, "base on image-heavy, origin: 0 of 10 items")
    done = model.model.rows[:]
    assert len(done) == 2 * 2 * 10 + 10  # origin and one fact, both checkpoints; misleading: base alone, not finished
    model.model.rows.clear()
    blocks = measure(model, sets, ["base", "mended"])
    assert len(model.model.rows) == 5 * 10  # misleading of the mended one; contradiction, distraction
    model.model.rows.clear()
    told = []
    again = measure(model, sets, ["base", "mended"], progress=lambda *step: told.append(step))
    assert again == blocks and not model.model.rows and not told
    measure(model, sets, ["base"], ["misleading"])
    assert not model.model.rows
    changed = [replace(cats(grey, 10), questions=cats(grey, 11).questions)]
    measure(model, changed, ["base"], ["misleading"])
    assert len(model.model.rows) == 2 * 11  # other data: origin and misleading anew


def test_a_killed_run_loses_no_block_that_was_whole(model, grey):
    sets = [cats(grey, 10)]

    def killed(share, what):
        if "misleading" in what and what.startswith("mended"):
            os.kill(os.getpid(), signal.SIGKILL)

    def work():
        torch.set_num_threads(1)
        measure(model, sets, ["base", "mended"], progress=killed)

    run = multiprocessing.get_context("fork").Process(target=work)
    run.start()
    run.join(60)
    assert run.exitcode == -signal.SIGKILL
    whole = measure(model, sets, ["base", "mended"])
    assert len(model.model.rows) == 5 * 10  # misleading of the mended one; contradiction, distraction
    assert measure(model, sets, ["base", "mended"]) == whole


def test_other_weights_are_measured_anew(tmp_path, grey):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    first = Ruled(by_number, ("mended",), folder=tmp_path / "a")
    second = Ruled(by_number, ("mended",), folder=tmp_path / "b")
    (tmp_path / "b" / "mended" / "adapter.safetensors").write_text("trained longer")
    for model, rows in ((first, 4), (second, 2)):
        measure(model, [cats(grey, 2)], ["base", "mended"], [])
        assert len(model.model.rows) == rows  # of the second, the base is the same


def test_bad_requests_are_told(model, grey):
    with pytest.raises(InputError, match="no condition 'louder'"):
        measure(model, [cats(grey, 2)], conditions=["louder"])
    with pytest.raises(InputError, match="No checkpoint"):
        measure(model, [cats(grey, 2)], [])
    with pytest.raises(CheckpointError, match="missing"):
        measure(model, [cats(grey, 2)], ["missing"])
    assert not model.model.rows
    with pytest.raises(InputError, match="no kind of set 'sound'"):
        item_set("sound", "x", [])


# --- the sentence


def block(kind, checkpoint, condition, right, model="m"):
    """A block of two options a item, of which the right one is likelier where ``right``."""
    panel = Panel(kind, f"{kind}.jsonl", kind, (0,) * len(right), (2,) * len(right), (None,) * len(right))
    rows = tuple((-0.1, -2.0) if r else (-2.0, -0.1) for r in right)
    by = {"model": model, "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seconds": 1.0}
    return Block(panel, model, checkpoint, condition, rows, by)


def right(count, n=100, start=0):
    """``count`` of ``n`` items, from ``start`` on."""
    return [start <= i < start + count for i in range(n)]


def told_of(**accuracy):
    """The sentence of blocks ``<checkpoint>_<condition>=items``, on image-heavy items."""
    blocks = [block("image-heavy", *key.split("_"), value) for key, value in accuracy.items()]
    return sentence(accuracies(tuple(blocks)))


def test_the_sentence_of_an_effect_and_its_remedy():
    blocks = [
        block("image-heavy", "base", ORIGIN, right(90)), block("image-heavy", "base", "misleading", right(60)),
        block("image-heavy", "consistent", ORIGIN, right(90)),
        block("image-heavy", "consistent", "misleading", right(80)),
        block("image-heavy", "plain", ORIGIN, right(90)), block("image-heavy", "plain", "misleading", right(60)),
        block("multimodal", "base", ORIGIN, right(95)), block("multimodal", "consistent", ORIGIN, right(75)),
        block("text-heavy", "base", ORIGIN, right(99)), block("text-heavy", "base", "black", right(99)),
        block("text-heavy", "base", "noise", right(98)),
    ]  # fmt: skip
    found = accuracies(tuple(blocks))
    said = sentence(found)
    assert said.startswith("A sentence that names a wrong answer costs the base 30 points on image-heavy items (95 % ")
    assert "As asked 90 % of 100 items are right, then 60 %." in said
    assert "Of 2 checkpoints “consistent” gets most back: 20 points" in said
    assert "it loses 20 points on clean multimodal items" in said
    assert "none of 2 pictures clearly costs the base accuracy; the largest drop is +1 points under a picture" in said
    text_heavy = next(r.panel for r in found.rows if r.kind == "text-heavy")
    shown = sentence(found, text_heavy, "noise")
    assert shown.startswith("A picture of noise") and "on text-heavy items: −1 points" in shown
    assert sentence(found, text_heavy, "misleading") == said  # not measured there
    drop = next(r.drop for r in found.rows if r.condition == "misleading" and r.checkpoint == "base")
    assert f"(95 % {100 * drop.low:.0f} to {100 * drop.high:.0f})." in said


def test_the_sentence_of_no_effect_promises_no_recovery():
    said = told_of(base_origin=right(50), base_misleading=right(50, start=1), mended_origin=right(50),
                   mended_misleading=right(50))  # fmt: skip
    assert said.startswith("A sentence that names a wrong answer has no clear effect on the base on image-heavy items")
    assert "image-heavy items: 0 points" in said and "back" not in said


def test_the_sentence_of_the_opposite_effect():
    said = told_of(base_origin=right(50), base_misleading=right(80))
    assert "costs the base nothing on image-heavy items: 30 points more are right (95 % 2" in said


def test_the_sentence_where_nothing_is_got_back():
    effect = {"base_origin": right(90), "base_misleading": right(60)}
    worse = told_of(**effect, mended_origin=right(90), mended_misleading=right(20))
    assert "“mended” gets none of it back: it loses 40 points more (95 % " in worse
    same = told_of(**effect, mended_origin=right(90), mended_misleading=right(61))
    assert "“mended” does not clearly get it back: it changes the drop by −1 points (95 % " in same
    assert "With as few" not in same
    unclear = told_of(base_origin=right(4, 5), base_misleading=right(4, 5))
    assert unclear.startswith("5 image-heavy items cannot tell whether a sentence that names a wrong answer matters")
    unclear = told_of(base_origin=right(8, 10), base_misleading=right(7, 10, start=1))  # of 10, 2 lost and 1 won
    told = re.search(r": (\S+) points \(95 % (\S+) to (\S+)\)", unclear.replace("−", "-"))
    change, low, high = map(int, told.groups())
    assert low <= change == -10 <= high and abs(low) > abs(high)
    few = told_of(base_origin=right(4, 5), base_misleading=right(2, 5))
    assert few.endswith("With as few as 5 items these intervals say little.")


def test_models_side_by_side_are_named():
    blocks = [
        block("image-heavy", "base", c, right(n), m)
        for m, numbers in (("small", (90, 60)), ("large", (95, 94)))
        for c, n in zip((ORIGIN, "misleading"), numbers, strict=True)
    ]
    found = accuracies(tuple(blocks))
    assert "the base of small 30 points" in sentence(found)
    assert found.provenance.model == "small, large" and found.provenance.seconds == 4.0
    names = [t.name for t in figure.accuracy(found).data]
    assert names == ["small: base", "large: base"]


# --- what is shown


def test_the_chart_shows_the_numbers(model, grey):
    blocks = measure(
        model, [cats(grey), cats(None, 8, "text-heavy", segments=False)], ["base"], ["misleading", "noise"]
    )
    blocks += measure(model, [cats(None, 8, "text-heavy", segments=False)], ["mended"], ["noise"])
    found = accuracies(tuple(blocks))
    drawn = figure.accuracy(found)
    assert [(t.name, t.showlegend) for t in drawn.data] == [("base", True), ("base", False), ("mended", True)]
    base = drawn.data[0]
    assert list(base.x) == pytest.approx([100, 40])
    low, high = wilson(16, N)
    assert base.error_x.array[1] == pytest.approx(100 * high - 40)
    assert base.error_x.arrayminus[1] == pytest.approx(40 - 100 * low)
    assert [note.text.rsplit("<br>")[-1] for note in drawn.layout.annotations] == ["n = 40", "n = 8"]
    tops = [drawn.layout.yaxis.domain, drawn.layout.yaxis2.domain]
    assert tops[0][0] > tops[1][1] and tops[1][0] >= 0 and tops[0][1] <= 1
    half = figure.accuracy(found, "first half")
    assert len(half.data) == 1 and list(half.data[0].x) == pytest.approx([100, 0])
    assert figure.accuracy(found, "nowhere") is None
    html = figure.table(found)
    assert "60.0 (45.0 to 75.0)" in written(html) and "40 (26 to 55)" in written(html) and "<td>−0.59</td>" in html


def test_exports_hold_every_number(model, grey):
    found = accuracies(tuple(measure(model, [cats(grey)], ["base", "mended"], ["misleading"])))
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == len(found.rows) == 2 * 2 * 3
    mended = next(r for r in rows if (r["checkpoint"], r["condition"], r["segment"]) == ("mended", "misleading", "all"))
    assert float(mended["recovery"]) == pytest.approx(0.5) and mended["clean_change"] == ""
    assert float(mended["drop"]) == pytest.approx(4 / 40)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["compared"][1]["difference"]["mean"] == pytest.approx(0.5)
    assert told["rows"][0]["accuracy"] == 1.0 and told["provenance"]["model"] == "ruled"


def test_names_of_sets_are_no_html():
    bad = "<img src=x>"
    panels = [
        replace(b.panel, name=bad + str(i), data=str(i))
        for i, b in enumerate([block("multimodal", "base", ORIGIN, [1])] * 2)
    ]
    blocks = [replace(block("multimodal", bad, ORIGIN, [1]), panel=panel) for panel in panels]
    found = accuracies(tuple(blocks))
    drawn = figure.accuracy(found).to_json()
    assert bad not in figure.table(found) + figure.recovery(found) + drawn and "&lt;img" in figure.table(found)


@pytest.fixture
def offered(model, grey, monkeypatch):
    """The page's catalog and shipped sets are the stub's."""

    @contextmanager
    def using(name=None):
        yield {"ruled": model, "": model, None: model, "other": Ruled(by_number, name="other")}[name]

    sets = {
        "image-heavy": cats(grey, 12), "text-heavy": cats(None, 12, "text-heavy"),
        "multimodal": cats(grey, 12, "multimodal"),
    }  # fmt: skip
    monkeypatch.setattr(catalog, "using", using)
    monkeypatch.setattr(dataset, "shipped_answers", tuple)
    monkeypatch.setattr(dataset, "shipped_set", sets.__getitem__)
    return model


def quiet(share, what):
    """Nobody is told."""


def test_measuring_adds_to_what_is_shown(offered):
    settings = {"conditions": ["misleading"], "kinds": ["image-heavy"]}
    first = SETS.measure(asked(SETS, "ruled", every=True, **settings), quiet)
    assert first.columns == (("ruled", "base"), ("ruled", "mended"))
    assert "costs the base" in sentence(first) and "Measured now" not in sentence(first)  # it is all there is
    assert "recovery under" in figure.recovery(first) and "Misleading description" in figure.table(first)
    both = SETS.measure(asked(SETS, "other", shown=first, **settings), quiet)
    assert both.columns == (("ruled", "base"), ("ruled", "mended"), ("other", "base"))
    assert set(first.blocks) < set(both.blocks)
    said = sentence(both)
    assert said.startswith("Measured now: ") and "All that is shown: A sentence" in said
    assert together(both.blocks, first.blocks) == both.blocks  # measured again, it takes its own place
    assert SETS.kept(asked(SETS, shown=both)) is both  # a control that is changed takes nothing away
    more = SETS.measure(asked(SETS, "other", shown=both, kinds=["multimodal"], conditions=["misleading"]), quiet)
    assert [p.kind for p in more.panels] == ["image-heavy", "multimodal"]
    with pytest.raises(InputError, match="No set was chosen"):
        SETS.measure(asked(SETS, "ruled", kinds=[]), quiet)


def test_only_the_chosen_checkpoint_and_its_base_are_measured(offered):
    found = SETS.measure(asked(SETS, "ruled", "mended", kinds=["image-heavy"], conditions=["misleading"]), quiet)
    assert found.columns == (("ruled", "base"), ("ruled", "mended"))
    alone = SETS.measure(asked(SETS, "ruled", kinds=["image-heavy"], conditions=["misleading"]), quiet)
    assert alone.columns == (("ruled", "base"),)


def test_the_chart_shows_one_set_under_one_disturbance(offered):
    found = SETS.measure(asked(SETS, "ruled", every=True), quiet)

    def drawn(**values):
        given = asked(SETS, shown=found, **values)
        return SETS.views[0].draw(Shown(found, replace(given, shown=None)))

    chart = drawn()
    before, after = chart.data
    assert list(before.x) == pytest.approx([100, 100]) and list(after.x) == pytest.approx([0, 100 * 8 / 12])
    low, high = wilson(8, 12)
    assert after.error_x.array[1] == pytest.approx(100 * high - 100 * 8 / 12)
    assert after.error_x.arrayminus[1] == pytest.approx(100 * 8 / 12 - 100 * low)
    assert chart.layout.yaxis.ticktext[0].startswith("base<br>−") and "n = 12" in chart.layout.xaxis.title.text
    assert after.name == "Misleading description" and chart.layout.height <= 360
    assert drawn(items="text-heavy").data[1].name == "Another picture"  # the first that such a set has
    assert drawn(items="text-heavy", under="black").data[1].name == "Black picture"
    half = drawn(segment="first half")
    assert "n = 6" in half.layout.xaxis.title.text and list(half.data[1].x)[0] == 0
    offers = {c.name for c in SETS.offered({"items": "text-heavy"}, found)}
    assert {"items", "under", "segment"} <= offers


def test_the_embedded_model_is_one_model_under_readable_names():
    def named(model, checkpoint):
        block = page._plain(Block(None, model, checkpoint, ORIGIN, (), {}))
        return block.model, block.checkpoint

    assert named(MITIGATION, "base") == named("crosstalk-mini (ewc)", "base") == ("crosstalk-mini", "base")
    assert named(MITIGATION, "plain") == ("crosstalk-mini", "plain")
    assert named("crosstalk-mini", "naming") == ("crosstalk-mini", "naming")
    assert named("crosstalk-mini (ewc)", "naming") == ("crosstalk-mini", "naming (ewc)")
    assert named(catalog.NEXT, "base") == (catalog.NEXT, "base")  # another base: its numbers are its own
    assert named("owner/name", "base") == ("owner/name", "base")


def test_the_remedy_that_gives_most_back_is_what_is_predicted():
    blocks = [
        block("image-heavy", name, condition, right(count))
        for name, (clean, then) in {"base": (90, 60), "plain": (90, 62), "adversarial": (90, 88)}.items()
        for condition, count in ((ORIGIN, clean), ("misleading", then))
    ]
    remedies = ("plain", "adversarial")
    assert outcome(accuracies(tuple(blocks)), remedies) == "adversarial"
    assert outcome(accuracies(tuple(blocks[:4])), remedies) is None  # what plain gives back is not clear
    assert outcome(accuracies(tuple(blocks)), ("plain",)) is None  # another one is no answer on offer


def test_what_is_told_of_the_remedies_is_what_was_written_down_with_those_that_ship():
    manifest = Manifest.load(SHIPPED / "mitigation")
    assert SETS.prediction.options == tuple(c.name for c in manifest.checkpoints)
    assert escape(manifest.recipe["about"]) in SETS.reading
    assert f"for {manifest.recipe['steps']} steps" in manifest.recipe["about"]


def test_a_stop_reaches_the_measurement(offered, monkeypatch):
    begun, stopped = threading.Event(), threading.Event()

    def endless(mllm, sets, checkpoints, conditions, progress):
        begun.set()
        try:
            while True:
                progress(0.5, "more")
                stopped.wait(0.01)
        except InterruptedError:
            stopped.set()
            raise

    monkeypatch.setattr(page, "measure", endless)
    run = jobs.watched(partial(SETS.measure, asked(SETS, "ruled")))
    next(run)
    assert begun.wait(10)
    run.close()
    assert stopped.wait(10)


def test_the_endpoint(offered):
    found = interference_dataset(checkpoints=["base", "mended"], kinds=["image-heavy"], conditions=["misleading"])
    assert found["sentence"].startswith("A sentence that names a wrong answer costs the base")
    assert {"panels", "rows", "compared", "provenance", "sentence"} == set(found)
    json.dumps(found, allow_nan=False)
    whole = interference_dataset()
    assert {r["condition"] for r in whole["rows"]} == {ORIGIN, *CONDITIONS}
    for wrong in ({"kinds": "image-heavy"}, {"checkpoints": [1]}, {"model": 3}, {"kinds": ["sound"]}, {"kinds": []},
                  {"conditions": ["louder"]}):  # fmt: skip
        with pytest.raises(InputError):
            interference_dataset(**wrong)


def test_the_card_tells_what_was_measured(offered):
    text = card.sets(lambda name: offered)
    assert text.startswith("## ") and text.endswith(f"{sentence(_whole(offered))}\n\nGently.")  # how it was trained
    assert "| base | 100 (76 to 100) |" in text  # as asked
    assert "| mended | +0.0 (0.0 to 0.0) | +66.7 (" not in text  # the first perturbation is the unrelated fact:
    assert "| mended | 0.0 (0.0 to 0.0) | 0.0 (0.0 to 0.0) | +66.7 (" in text  # it changes nothing
    assert "recovery, misleading description" in text and "first half (n = 6)" in text
    offered.model.rows.clear()
    assert card.sets(lambda name: offered) == text and not offered.model.rows  # the second time it is read


def _whole(model):
    return accuracies(tuple(measure(model, [dataset.shipped_set(kind) for kind in KINDS], model.checkpoint_names)))


# --- a visitor's own set


def png(colour="red", size=(8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


ITEM = {"image": "pictures/cat.png", "question": "What is this? 0", "answer": "cat", "choices": ["cat", "dog"]}


def packed(file: Path, **members) -> Path:
    """A .zip; a member is text, bytes, or (ZipInfo, data)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            info, data = data if isinstance(data, tuple) else (name, data)
            out.writestr(info, data)
    return file


def test_a_set_of_ones_own_with_pictures(tmp_path, unpacking, model):
    lines = [ITEM, {**ITEM, "question": "What is this? 1", "segment": "mine"}]
    wide = png(size=(2000, 10))
    file = packed(
        tmp_path / "mine.zip",
        **{"mine/set.jsonl": "\n\n".join(map(json.dumps, lines)), "mine/pictures/cat.png": wide, "__MACOSX/._x": b"x"},
    )
    with own.opened(file) as mine:
        items = dataset.item_set("image-heavy", mine.name, mine.items, mine.lines)
        assert [q.where for q in items.questions] == ["set.jsonl, line 1", "set.jsonl, line 3"]
        assert items.questions[0].item.picture().size == (1024, 5)  # as large as any picture on the page
        assert items.questions[1].item.segment == "mine"
        (first, *_) = measure(model, [items], conditions=[])
        assert first.panel.name == "set.jsonl" and len(first.logprob) == 2


def test_a_set_of_text_alone(tmp_path, unpacking, offered):
    file = tmp_path / "text.jsonl"
    file.write_text(json.dumps({**ITEM, "image": None}) + "\n")
    mine = asked(SETS, "ruled", upload=str(file), own="text-heavy", conditions=["black"])
    found = SETS.measure(mine, quiet)
    assert [(p.set, p.n) for p in found.panels] == [("text.jsonl", 1)]
    assert [r.condition for r in found.rows] == [ORIGIN, "black"]
    file.write_text(json.dumps(ITEM))
    with pytest.raises(EvalSetError, match=r"text.jsonl, line 1: .*is not there. Pictures come with .* in one .zip"):
        SETS.measure(mine, quiet)
    file.write_text("\n" + json.dumps({"question": "What?", "answer": "cat"}))
    with pytest.raises(EvalSetError, match=r'text.jsonl, line 2: field "choices" is missing'):
        SETS.measure(mine, quiet)
    line = json.dumps({**ITEM, "image": None, "question": "What\u2028is it?"}, ensure_ascii=False)
    file.write_text(f"\ufeff{line}\n{line}\n", encoding="utf-8")  # a mark of the encoding; a line's end within a text
    with own.opened(file) as read:
        assert read.lines == (1, 2) and read.items[0].question == "What\u2028is it?"


def _link(name="pictures/cat.png"):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, "/etc/passwd"


SET = json.dumps(ITEM)
HOSTILE = {
    "absolute": ({"set.jsonl": SET, "/tmp/evil.png": png()}, "leads out"),
    "dots": ({"set.jsonl": SET, "a/../../evil.png": png()}, "leads out"),
    "backslashes": ({"set.jsonl": SET, "..\\evil.png": png()}, "leads out"),
    "drive": ({"set.jsonl": SET, "c:evil.png": png()}, "leads out"),
    "link": ({"set.jsonl": SET, "link": _link()}, "a link"),
    "script": ({"set.jsonl": SET, "run.py": "print()"}, "neither a picture"),
    "two sets": ({"a.jsonl": SET, "b.jsonl": SET}, "2 .jsonl files"),
    "no set": ({"pictures/cat.png": png()}, "0 .jsonl files"),
    "no picture": ({"set.jsonl": SET}, "is not there"),
    "picture outside": ({"set.jsonl": json.dumps({**ITEM, "image": "../../grey.png"})}, "leads out of the set"),
    "no real picture": ({"set.jsonl": SET, "pictures/cat.png": b"GIF89a but not really"}, "could not be read"),
    "bomb": ({"set.jsonl": SET, "pictures/cat.png": bytes(300_000)}, "larger than 0 MB"),
    "file as folder": ({"set.jsonl": SET, "pictures.png": png(), "pictures.png/cat.png": png()}, "cannot be written"),
    "long name": ({"set.jsonl": SET, f"{'x' * 300}.png": png()}, "cannot be written"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(case, tmp_path, unpacking, grey, monkeypatch):
    members, message = HOSTILE[case]
    monkeypatch.setattr(own, "MOST_BYTES", 200_000)
    before = sorted(tmp_path.rglob("*"))
    file = packed(tmp_path / "own.zip", **members)
    with pytest.raises(EvalSetError, match=message) as told, own.opened(file):
        pass
    assert "crosstalk-set" not in str(told.value) and str(tmp_path) not in str(told.value)
    assert sorted(p for p in tmp_path.rglob("*") if p != file) == before
    assert not Path("/tmp/evil.png").exists()


def test_archives_that_are_none_or_hold_too_much_are_refused(tmp_path, unpacking, monkeypatch):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    cut = packed(tmp_path / "cut.zip", **{"set.jsonl": SET, "pictures/cat.png": np.random.default_rng(0).bytes(5000)})
    data = bytearray(cut.read_bytes())
    data[200:400] = bytes(200)
    cut.write_bytes(data)
    for file in (broken, cut):
        with pytest.raises(EvalSetError, match="cannot be unpacked"), own.opened(file):
            pass
    with pytest.raises(EvalSetError, match="is no set"), own.opened(tmp_path / "set.csv"):
        pass
    monkeypatch.setattr(own, "MOST_FILES", 1)
    many = packed(tmp_path / "many.zip", **{"set.jsonl": SET, "pictures/cat.png": png()})
    with pytest.raises(EvalSetError, match="at most 1"), own.opened(many):
        pass
    monkeypatch.setattr(own, "MOST_ITEMS", 1)
    long = tmp_path / "long.jsonl"
    long.write_text(f"{json.dumps({**ITEM, 'image': None})}\n" * 2)
    with pytest.raises(EvalSetError, match="has 2 items; at most 1"), own.opened(long):
        pass
