"""Superficial or essential: constructed losses in every style, by a scripted model and by a real small one."""

import json
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from analysis.forgetting import card, sets
from analysis.forgetting.measure import measure
from analysis.forgetting.split import figure
from analysis.forgetting.split.figure import sentence
from analysis.forgetting.split.measure import (
    PLAIN,
    TUNED,
    Asked,
    Lost,
    again,
    became,
    kept_items,
    labelled,
    load,
    measured,
    options_of,
    read,
    split,
)  # fmt: skip
from models.answers import STYLES, score, style_of
from models.errors import CheckpointError, InputError
from models.evalset import EvalItem
from models.evaluation import Evaluation
from models.mllm import MLLM, Scores
from tests.models.zoo import save_set

SOURCE = {"model": "scripted", "checkpoint": "all", "dtype": "float32", "device": "cpu", "versions": {}}
BOXES = ("[00,00,30,30]", "[60,60,99,99]", "[00,60,30,99]", "[60,00,99,30]")
CAPTIONS = ("There is a bee.", "There is a cat.", "There is a dog.", "There is a fox.")
TASKS = {  # truths of four items, their choices, an answer in another form, a wrong one in the asked form
    "word": (("bee", "cat", "dog", "fox"), ("bee", "cat", "dog", "fox"), "There is a bed on the left.", "bed"),
    "numeral": (("1", "2", "3", "4"), ("1", "2", "3", "4"), "bed", "9"),
    "yes/no": (("yes", "no", "yes", "no"), ("yes", "no"), "[10,10,20,20]", ""),
    "box": (BOXES, (), "three", "[40,40,50,50]"),
    "letter": (("A", "B", "C", "A"), ("A", "B", "C"), "a cat", "D"),
    "sentence": (CAPTIONS, (), "no", "There is a bed."),
}


class Scripted:
    """A model that prefers the true option for ``known`` questions, and answers as ``said``; it notes what is asked."""

    def __init__(self, folder, known=(), said=None, name="scripted"):
        (folder / "last").write_text("weights")
        adapter = SimpleNamespace(name="last", places=[folder / "last"])
        self.name, self.known, self.said, self.asked = name, known, said or {}, []
        self.model = SimpleNamespace(name_or_path="scripted/scripted", dtype="float32", config=None)
        self.checkpoints = SimpleNamespace(manifest=SimpleNamespace(checkpoints=[adapter]))

    def encode(self, picture, question):
        return question

    def score(self, question, options, checkpoint):
        assert checkpoint == "last"
        self.asked.append((question, options))
        top = 0 if question in self.known else 1
        logprob = np.array([-1.0 if i == top else -3.0 for i in range(len(options))])
        return Scores(tuple(options), logprob, np.ones(len(options), dtype=int))

    def answers_each(self, places, encode, checkpoint, alike):
        return ((place, self.said.get(encode(place), "no idea")) for place in places)

    def provenance(self, checkpoint, seed=None, seconds=0.0):
        return {**SOURCE, "checkpoint": checkpoint, "seconds": seconds}


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def evaluation():
    """A task of four items for each style, all right then. At the end the first is kept, the second and third come in
    another form, and the fourth is wrong in the asked form. The last task has nothing after it."""
    items, given = {}, {}
    for style, (truths, choices, other, wrong) in TASKS.items():
        items[style] = [EvalItem(None, f"{style} {i}?", t, choices, style) for i, t in enumerate(truths)]
        wrong = wrong or "yes"  # the fourth yes/no question is answered no
        given[style] = {style: list(truths), "last": [truths[0], other, other, wrong]}
    items["last"] = [EvalItem(None, "last?", "end", ("end", "start"), "word")]
    given["last"] = {"last": ["end"]}
    tasks = tuple(items)
    return Evaluation("by hand", tasks, ("base", *tasks, "joint"), {task: task for task in tasks}, items, given, SOURCE)


@pytest.mark.parametrize("style", TASKS)
def test_every_style_by_hand(evaluation, tmp_path, style):
    model = Scripted(tmp_path, known=[f"{s} 1?" for s in TASKS])
    found = split(evaluation, model)
    of = found.of(style)
    assert (of.right, of.kept.count, of.superficial.count, of.essential.count) == (4, 1, 1, 2)
    assert [x.verdict for x in found.lost if x.task == style] == ["superficial", "essential", "essential"]
    assert [x.form == x.style for x in found.lost if x.task == style] == [False, False, True]
    first, second, third = (x for x in found.lost if x.task == style)
    truths = TASKS[style][0]
    assert first.top == first.options[0] == truths[1]
    assert second.top == second.options[1] != truths[2]
    others = len(first.options) - 1
    assert first.probability == pytest.approx(1 / (1 + others * np.exp(-2)))
    assert third.options == () and third.top == "" and np.isnan(third.probability)
    asked = dict(model.asked)
    assert {q for q in asked if q.startswith(style)} == {f"{style} 1?", f"{style} 2?"}
    assert set(asked[f"{style} 1?"]) == set(truths)  # all four, its own or those drawn of the others


def test_all_tasks_together(evaluation, tmp_path):
    found = split(evaluation, Scripted(tmp_path, known=[f"{s} 1?" for s in TASKS]))
    assert found.checkpoint == "last" and [b.task for b in found.tasks] == list(TASKS)
    assert (found.all.right, found.all.lost, found.all.other_form) == (24, 18, 12)
    assert (found.all.superficial.count, found.all.essential.count) == (6, 12)
    assert found.all.luck == pytest.approx(2 * (1 / 4 * 4 + 1 / 2 + 1 / 3))


def test_gained_are_counted_of_the_wrong_ones(evaluation, tmp_path):
    evaluation.given["word"]["word"][0] = "wasp"
    of = split(evaluation, Scripted(tmp_path)).of("word")
    assert (of.right, of.gained.count, of.gained.n) == (3, 1, 1)


def test_a_tie_is_no_knowledge_and_sentences_count_by_the_token(evaluation, tmp_path):
    model = Scripted(tmp_path)

    def scored(question, options, checkpoint):
        many = question.startswith(("sentence", "word"))
        logprob = np.array([-6.0 if many else -4.0, *[-4.0] * (len(options) - 1)])
        return Scores(tuple(options), logprob, np.array([6 if many else 2, *[2] * (len(options) - 1)]))

    model.score = scored
    found = split(evaluation, model)
    by_task = {b.task: b.superficial.count for b in found.tasks}
    assert by_task["sentence"] == 2  # -6 / 6 against -4 / 2
    assert by_task["word"] == 0  # -6 against -4
    assert by_task["numeral"] == 0  # the same score


def test_correction_for_guessing_by_hand():
    then, now = np.ones(8, bool), np.array([True] * 4 + [False] * 4)
    judged = [("superficial", True)] * 2 + [("superficial", False), ("essential", True)]
    asked = Lost("t", 0, "?", "yes", "yes/no", "yes", "bee", "word", "", ("yes", "no"))
    lost = [replace(asked, place=i, verdict=verdict, back=back) for i, (verdict, back) in enumerate(judged)]
    of = became("t", then, now, lost)
    assert of.luck == 2
    assert of.known.value == pytest.approx((3 - 1) / 8)  # a hit is (1 - 1/2) / (1 - 1/2), a miss -1
    assert of.agreement.tolist() == [[0, 1], [1, 2]]
    assert of.superficial.value + of.essential.value + of.kept.value == pytest.approx(1)
    misses = became("t", then, now, [replace(x, verdict="essential") for x in lost])
    assert misses.known.value == 0  # never below


def test_correction_finds_how_many_know():
    rng = np.random.default_rng(0)
    knows, options = rng.random(1000) < 0.3, tuple("abcd")
    hit = knows | (rng.random(1000) < 1 / 4)
    asked = Lost("t", 0, "?", "a", "word", "a", "?", "other", "superficial", options)
    lost = [replace(asked, place=i, verdict="superficial" if h else "essential") for i, h in enumerate(hit)]
    of = became("t", np.ones(1000, bool), np.zeros(1000, bool), lost)
    assert of.superficial.value == pytest.approx(hit.mean()) and hit.mean() > 0.42
    assert of.known.value == pytest.approx(knows.mean(), abs=0.04)
    assert of.known.low < 0.3 < of.known.high


def test_nothing_right_is_not_zero_per_cent():
    of = became("t", np.zeros(3, bool), np.array([True, False, False]), [])
    assert not of.kept.known and not of.known.known
    assert of.gained.count == 1


def test_asked_with_the_form_spelled_out(evaluation, tmp_path):
    said = {f"word 1? {PLAIN['word']}": "A cat.", f"numeral 2? {PLAIN['numeral']}": "3"}
    found = split(evaluation, Scripted(tmp_path, known=["word 1?"], said=said))
    assert [(x.task, x.place, x.again) for x in found.lost if x.back] == [("word", 1, "A cat."), ("numeral", 2, "3")]
    assert found.of("word").agreement.tolist() == [[1, 0], [0, 1]]
    assert found.of("numeral").agreement.tolist() == [[1, 1], [0, 0]]


def test_the_embedded_default_is_told_in_words_it_was_tuned_on(tmp_path):
    asked = [Asked("t", (EvalItem(None, "What?", "bee", (), "word"),), (("bee", "cat"),))]
    for name, wording in (("scripted", PLAIN), ("crosstalk-mini", TUNED)):
        model = Scripted(tmp_path, name=name, said={f"What? {wording['word']}": "bee"})
        assert again(model, "last", asked)[0]["answers"] == ["bee"]
    assert set(TUNED) == set(PLAIN) == set(STYLES) - {"other"}


def test_what_was_asked_is_kept_and_a_stopped_run_goes_on(evaluation, tmp_path):
    assert split(evaluation, Scripted(tmp_path), only_kept=True) is None

    def stop(share, what):
        if "box" in what:
            raise InterruptedError

    model = Scripted(tmp_path, known=["word 1?"])
    with pytest.raises(InterruptedError):
        split(evaluation, model, stop)
    before = len(model.asked)
    assert before == 6  # of three whole tasks
    shares = []
    first = split(evaluation, model, lambda share, what: shares.append(share))
    assert len(model.asked) == 12 and shares == sorted(shares) and shares[0] >= 0 and shares[-1] < 1
    again = split(evaluation, model, only_kept=True)
    assert len(model.asked) == 12
    assert plainly(again) == plainly(first)
    (tmp_path / "last").write_text("other weights")
    split(evaluation, model)
    assert len(model.asked) == 24


def plainly(found):
    return json.dumps({**found.to_json(), "provenance": None}, sort_keys=True)


def test_any_later_checkpoint(evaluation, tmp_path):
    with pytest.raises(CheckpointError, match=f"Choose one of: {', '.join((*list(TASKS)[1:], 'last'))}."):
        split(evaluation, Scripted(tmp_path), checkpoint="word")
    evaluation.given["word"]["numeral"] = ["bee", "cat", "dog", "owl"]
    found = split(evaluation, Scripted(tmp_path), checkpoint="numeral")
    assert [b.task for b in found.tasks] == ["word"]
    assert [(x.place, x.verdict) for x in found.lost] == [(3, "essential")]
    assert found.provenance.checkpoint == "numeral" and found.provenance.seconds == 0
    assert [x.place for x in kept_items(evaluation, "word", "numeral")] == [0, 1, 2]


@pytest.mark.parametrize(("checkpoint", "told"), [
    ("joint", "No task came before checkpoint 'joint'. Choose one of: numeral"),
    ("word", "No task came before"), ("base", "No task came before"),
    ("sentence", "No task before sentence was measured"),
])  # fmt: skip
def test_checkpoints_without_a_split(evaluation, tmp_path, checkpoint, told):
    with pytest.raises(CheckpointError, match=told):
        split(evaluation, Scripted(tmp_path), checkpoint=checkpoint)


def test_one_task_and_missing_answers(evaluation, tmp_path):
    with pytest.raises(CheckpointError, match="single task"):
        split(replace(evaluation, tasks=("word",)), Scripted(tmp_path))
    del evaluation.given["box"]["last"]
    found = split(evaluation, Scripted(tmp_path))
    assert found.of("box") is None and len(found.tasks) == 5


def test_options():
    def item(answer, style, choices=(), question="What?"):
        return EvalItem(None, question, answer, choices, style)

    assert options_of([item("Cat", "word", ("dog", "cat.", "dog"))], 0) == ("cat.", "dog")
    assert options_of([item("cat", "word", ("dog", "owl"))], 0) == ("cat", "dog", "owl")  # the truth is not among them
    assert options_of([item("no", "yes/no")], 0) == ("no", "yes")
    assert options_of([item("B", "letter", question="A. cat B. dog C. bee")], 0) == ("B", "A", "C")
    words = [item(a, "word") for a in ("bee", "bee.", "cat", "dog", "fox", "owl")]
    drawn = options_of(words, 0)
    assert drawn[0] == "bee" and len(drawn) == 4 and "bee." not in drawn and len(set(drawn)) == 4
    assert options_of(words, 0) == drawn
    assert len({frozenset(options_of(words, i)[1:]) for i in range(2, 6)}) > 1
    near = [item("[00,00,50,50]", "box"), item("[05,00,55,50]", "box"), item("[60,60,99,99]", "box")]
    assert options_of(near, 0) == ("[00,00,50,50]", "[60,60,99,99]")
    long = "There is a cat and a dog and a fox and an owl."
    told = [item(f"There is {thing}.", "sentence") for thing in ("a bee", "a cat", "an owl", "a fox")]
    told.append(item(long, "sentence"))
    assert long not in options_of(told, 0)
    assert len(options_of(told, 4)) == 4
    with pytest.raises(InputError, match=r'nothing to choose from for "What\?" \(item 2.*"choices"'):
        options_of([item("red", "word"), item("red", "word")], 1)


def test_sentence_says_what_there_is(evaluation, tmp_path):
    found = split(evaluation, Scripted(tmp_path, known=[f"{s} 1?" for s in TASKS]))
    said = sentence(found)
    assert said.startswith("After last, 18 of 24 right answers are lost: 33 % of them in form alone (superficial)")
    assert "12 come in another form than asked" in said and "likeliest for 6 (guesses would give 4" in said
    for answers in evaluation.given.values():
        answers["last"] = next(iter(answers.values()))
    vars(evaluation).pop("scores")
    assert "all 24 answers that were right after their own task are still right" in sentence(
        split(evaluation, Scripted(tmp_path))
    )


def test_sentence_of_losses_in_the_asked_form_alone(evaluation, tmp_path):
    for task in TASKS:
        truths = list(TASKS[task][0])
        evaluation.given[task]["last"] = [*truths[:3], evaluation.given[task]["last"][3]]
    said = sentence(split(evaluation, Scripted(tmp_path)))
    assert "6 of 24 right answers are lost, all in fact" in said and "every loss is essential, none superficial" in said


def test_figures_and_tables(evaluation, tmp_path):
    evaluation.items["word"][1] = replace(evaluation.items["word"][1], question="word 1? <b>&")
    evaluation.given["word"]["last"][1] = "<script> is here now"
    found = split(evaluation, Scripted(tmp_path, known=[f"{s} 1?" for s in TASKS]))
    bars = figure.bars(found)
    assert [t.name for t in bars.data[:3]] == ["kept", "superficial", "essential"]
    assert sum(np.array(t.x) for t in bars.data[:3]) == pytest.approx(100)
    assert bars.layout.yaxis.ticktext[0] == "word (n = 4)"
    flow = figure.flow(found).data[0]
    assert sum(flow.link.value) == 24
    assert flow.node.label[0] == "word<br>4" and "kept<br>6" in flow.node.label
    assert "essential<br>asked form: 6" in flow.node.label
    html = figure.table(found, ("word", "superficial"))
    assert html.count("data-set=") == 3 * 7 and html.count('aria-pressed="true"') == 1
    assert escape('{"task": "all", "part": "essential"') in html and html.count('class="bar"') == 7
    cards = figure.items(found.lost[:3], [None] * 3, "here", 3)
    assert "<script>" not in cards and "word 1? <b>&" not in cards and "&lt;script&gt;" in cards
    assert "4 of 4" in figure.numbers(found)
    table = card.split_told([found])
    assert "| by hand | 24 of 24 | 25 (" in table and "| word | 4 of 4 |" in table


def test_exports(evaluation, tmp_path):
    found = split(evaluation, Scripted(tmp_path, known=["word 1?"]))
    lines = found.to_csv().splitlines()
    assert len(lines) == 1 + 18 and lines[0].startswith("task,item,question,truth,asked_form,answer_then")
    assert lines[1].startswith("word,2,word 1?,cat,word,cat,There is a bed on the left.,sentence,superficial,cat | bee")
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["tasks"][0]["superficial"]["value"] == 0.25 and data["tasks"][0]["superficial"]["n"] == 4
    assert found.to_latex().startswith("\\begin{tabular}") and data["lost"][2]["probability"] is None


def test_the_matrix_takes_what_was_tested(evaluation, tmp_path):
    numbers = measure(evaluation)
    assert np.isnan(numbers.superficial).all() and np.isnan(numbers.essential).all()
    found = split(evaluation, Scripted(tmp_path, known=["word 1?"]))
    numbers = measure(evaluation, found)
    assert numbers.superficial == pytest.approx([0.25, 0, 0, 0, 0, 0, 0])
    assert numbers.essential == pytest.approx([0.5, *[0.75] * 5, 0])
    evaluation.given["word"]["numeral"] = ["bee", "cat", "dog", "owl"]
    vars(evaluation).pop("scores")
    assert np.isnan(measure(evaluation, split(evaluation, Scripted(tmp_path), checkpoint="numeral")).essential).all()


def test_what_is_kept_is_read_without_a_model(evaluation, tmp_path, monkeypatch):
    model = Scripted(tmp_path)
    of = SimpleNamespace(name="scripted", source=str(tmp_path), checkpoint_folder=tmp_path)
    monkeypatch.setattr(sets, "answers", lambda name: evaluation)
    monkeypatch.setattr(sets, "entry", lambda name: of)
    unopened = SimpleNamespace(name="scripted", model=model.model, checkpoints=model.checkpoints)
    monkeypatch.setattr(sets, "unopened", lambda entry: [unopened])
    assert load("any") is None
    found = split(evaluation, model)
    assert plainly(load("any")) == plainly(found) == plainly(measured("any"))
    assert load("any") is load("any")
    item = evaluation.items["word"][1]
    evaluation.items["word"] = [replace(item, answer="bee", choices=()) for _ in range(4)]
    evaluation.given["word"]["word"] = ["bee"] * 4
    vars(evaluation).pop("scores")
    (tmp_path / "word.jsonl").write_text("mended")
    assert load("any") is None  # an item without options


def test_a_real_model_is_asked_as_it_scores_and_answers(tmp_path):
    save_set("llava", tmp_path, ("one", "two"))
    mllm = MLLM.open(tmp_path / "my-model", "small", tmp_path / "my-set", device="cpu")
    noise = tmp_path / "my-set" / "one.png"
    items = [
        EvalItem(noise, f"What is it, {i}?", a, ("red", "apple", "bee"), "word") for i, a in enumerate(("red", "bee"))
    ]
    given = {"one": {"one": ["red", "bee"], "two": ["It is a yellow cat."] * 2}, "two": {"two": ["bee", "cat"]}}
    made = Evaluation("by hand", ("one", "two"), ("base", "one", "two"), {"one": "one", "two": "two"},
                      {"one": items, "two": items}, given, SOURCE)  # fmt: skip
    found = split(made, mllm)
    picture = Image.open(noise).convert("RGB")
    for x, item in zip(found.lost, items, strict=True):
        scores = mllm.score(mllm.encode(picture, item.question), x.options, "two")
        assert x.options[0] == item.answer and len(x.options) == 3
        assert x.top == x.options[int(scores.logprob.argmax())]
        assert x.verdict == ("superficial" if scores.logprob.argmax() == 0 else "essential")
        assert x.probability == pytest.approx(scores.probability[0], abs=1e-3)
        (said,) = mllm.answers([mllm.encode(picture, f"{item.question} {PLAIN['word']}")], "two")
        assert x.again == said
    assert found.provenance.device == "cpu" and found.provenance.checkpoint == "two"


def test_the_parser_reads_labelled_answers():
    rows = labelled()
    assert len(rows) == len({a for a, _ in rows}) >= 150
    found = read(rows)
    for of in found.styles:
        assert of.recall.n >= 15
        assert of.precision.value >= (0.75 if of.style == "other" else 0.9), of
        assert of.recall.value >= 0.85, of
    assert figure.reading(found).count("<tr>") == 1 + len(STYLES)


def test_precision_and_recall_by_hand():
    rows = [("bee", "word"), ("3", "word"), ("4", "numeral"), ("cat", "numeral")]
    of = {r.style: r for r in read(rows).styles}
    assert (of["word"].precision.value, of["word"].recall.value) == (0.5, 0.5)
    assert (of["box"].precision.n, of["box"].recall.n) == (0, 0)
    found = read(rows, lambda answer: "word")
    word = next(r for r in found.styles if r.style == "word")
    assert (word.precision.count, word.precision.n, word.recall.value) == (2, 4, 1)
    assert found.misread == (("4", "numeral", "word"), ("cat", "numeral", "word"))


@pytest.mark.parametrize(("answer", "style", "truth"), [
    ("**Bee.**", "word", "bee"), ("The answer is a bee.", "word", "bee"), ("(B) cat", "letter", "B"),
    ("The correct answer is (C).", "letter", "C"), ("B\n\nThe picture shows a cat.", "letter", "b"),
    ("Final answer: YES", "yes/no", "yes"), ("“3”", "numeral", "3"), ("[0.1, 0.2, 0.5, 0.9]", "box", "[10,20,50,90]"),
    ('```json\n[{"bbox_2d": [12, 30, 50, 99]}]\n```', "box", "[12,30,50,99]"),
])  # fmt: skip
def test_an_answer_that_has_a_style_can_be_scored_in_it(answer, style, truth):
    """Else a right answer would be called an essential loss."""
    assert style_of(answer) == style and score(answer, truth, style) == 1
