"""One question through time: verdicts by hand, a small model against each checkpoint alone, page and endpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest

import app
from analysis.bar.known import Known, examples
from analysis.forgetting.endpoint import forgetting_probe
from analysis.forgetting.probe import figure
from analysis.forgetting.probe.figure import sentence
from analysis.forgetting.probe.measure import KINDS, MOST, Probe, options_for, probe, truth_of
from analysis.forgetting.tab import PROBE
from analysis.result import Provenance
from analysis.section import headline
from models import catalog
from models.embedded.questions import Turn
from models.errors import CheckpointError, InputError, ModelError
from models.flow import Flow
from models.generation import text_of
from models.instruments import AttentionMass
from models.mllm import MLLM
from tests.driving import Driven
from tests.models.zoo import save_set

BY = Provenance("by hand", "all", "float32", "cpu")
TASKS = ("naming", "counting", "boxes")
QUESTION = "What is in the picture?"
LETTERS = "Which is it? A. dog B. tiger"


def by_hand(*answers, truth="bee", style="word", among=None, options=("bee", "cat"), references=0, **more):
    """A probe of the base and three tasks; forms and scores follow from the answers, which say their form."""
    given = tuple(text for text, _ in answers)
    n = len(given)
    among = np.array(among if among is not None else [[0.75, 0.25]] * n)
    fields = {
        "provenance": BY, "method": "by hand", "question": QUESTION, "picture": True,
        "checkpoints": ("base", *TASKS, "joint")[:n], "trained": n - references, "answers": given,
        "styles": tuple(form for _, form in answers), "logprob": np.zeros(n),
        "first": ((("be", 0.5), ("c", 0.25)),) * n, "truth": truth, "style": style,
        "scores": np.array([float(text == truth) if truth else np.nan for text in given]),
        "probability": np.linspace(0.9, 0.1, n) if truth else np.full(n, np.nan), "options": options,
        "among": among if options else np.zeros((n, 0)), "attention": np.array([[0.4, 0.3, 0.2, 0.1]] * n),
    }  # fmt: skip
    return Probe(**{**fields, **more})


BEE, CAT, SENTENCE = ("bee", "word"), ("cat", "word"), ("There is a cat.", "sentence")
NOT = [[0.75, 0.25]] * 3 + [[0.25, 0.75]]  # at the end another option is likelier
CASES = {
    "kept": (by_hand(BEE, BEE, BEE, BEE), "kept", None),
    "right again": (by_hand(BEE, CAT, CAT, BEE), "kept", None),
    "never": (by_hand(CAT, CAT, SENTENCE, CAT), "never right", None),
    "superficial": (by_hand(CAT, BEE, BEE, SENTENCE), "superficial", 3),
    "not even as a choice": (by_hand(BEE, BEE, SENTENCE, SENTENCE, among=NOT), "essential", 2),
    "a tie is no knowledge": (by_hand(BEE, BEE, BEE, SENTENCE, among=[[0.5, 0.5]] * 4), "essential", 3),
    "a wrong fact": (by_hand(BEE, BEE, SENTENCE, ("dog", "word")), "essential", 2),
    "nothing to choose from": (by_hand(BEE, BEE, BEE, SENTENCE, options=()), "open", 3),
    "a reference does not count": (by_hand(CAT, CAT, SENTENCE, BEE, references=1), "never right", None),
    "no truth": (by_hand(BEE, CAT, CAT, SENTENCE, truth="", style=""), "", None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_became_of_an_answer_by_hand(case):
    found, verdict, lost = CASES[case]
    assert (found.verdict, found.lost) == (verdict, lost)
    said = sentence(found)
    assert ("superficial" in said, "essential" in said) == (verdict == "superficial", verdict == "essential")
    assert said.startswith(
        {"kept": "Not lost: ", "never right": "No checkpoint of the training", "": "The base answers"}.get(
            verdict, "Last right "
        )
    )


def test_the_sentence_tells_when_to_which_form_and_how_likely_the_truth_stays():
    said = sentence(CASES["not even as a choice"][0])
    assert "Last right after naming and wrong since counting, which answers “There is a cat.” (sentence)." in said
    assert "At the end, after boxes, it is “There is a cat.” (sentence)." in said
    assert "with a probability of 10 % (63 % after naming)." in said
    assert "(sentence in place of word), and even among 2 options the true one (25 %) is not the likeliest" in said
    assert "looks at the picture with 40 % of its attention at the end, about as much as the base (40 %)." in said
    assert "though it is wrong after naming and after counting." in sentence(CASES["right again"][0])
    assert "give options" in sentence(CASES["nothing to choose from"][0])
    assert "Among 2 options the true one is still the likeliest (75 %), and its answer is none of them." in sentence(
        CASES["a wrong fact"][0]
    )
    told = sentence(CASES["no truth"][0])
    assert "The form changes with boxes (word to sentence)." in told and "Tell the true answer" in told


def test_attention_is_told_only_where_it_was_read():
    found = CASES["kept"][0]
    less = np.array([[0.4, 0.3, 0.2, 0.1]] * 3 + [[0.1, 0.6, 0.2, 0.1]])
    assert "with 10 % of its attention at the end, less than the base (40 %)." in sentence(
        replace(found, attention=less)
    )
    for unread in (replace(found, attention=np.full((4, 4), np.nan)), replace(found, picture=False)):
        assert "attention" not in sentence(unread)
    assert figure.attention(replace(found, attention=np.full((4, 4), np.nan))) is None


@pytest.mark.parametrize("case", CASES)
def test_the_headline_is_short_whatever_was_answered(case):
    found = CASES[case][0]
    long = tuple("There is a cat, and " * 9 + "a bee." if text.startswith("There") else text for text in found.answers)
    first, _ = headline(sentence(replace(found, answers=long)))
    assert len(first.split()) <= 25, first


# What is true, and what it is chosen from


def known(*turns):
    return Known(examples()["fox-and-mushroom"].known.scene, tuple(turns))


@pytest.mark.parametrize(
    ("question", "given", "turn", "wanted"),
    [
        (QUESTION, "", None, ("", "")),
        (QUESTION, " three ", None, ("three", "word")),
        (QUESTION, "[10,20,30,40]", None, ("[10,20,30,40]", "box")),
        (QUESTION, "", Turn(QUESTION, "fox", "word"), ("fox", "word")),
        (QUESTION, "The Fox.", Turn(QUESTION, "fox", "word"), ("fox", "word")),
        (QUESTION, "wolf", Turn(QUESTION, "fox", "word"), ("wolf", "word")),
        (LETTERS, "tiger", None, ("B", "letter")),
        (LETTERS, "b", None, ("B", "letter")),
    ],
)
def test_the_truth_is_the_visitors_or_what_is_known(question, given, turn, wanted):
    assert truth_of(question, given, known(turn) if turn else None) == wanted


@pytest.mark.parametrize(
    ("question", "truth", "style", "given", "wanted"),
    [
        (QUESTION, "yes", "yes/no", (), ("yes", "no")),
        (QUESTION, "No", "yes/no", (), ("no", "yes")),
        (QUESTION, "3", "numeral", (), ("3", "2", "4", "1")),
        (QUESTION, "0", "numeral", (), ("0", "1", "2", "3")),
        (QUESTION, "²", "numeral", (), ()),
        (LETTERS, "B", "letter", (), ("B", "A")),
        (LETTERS, "", "", (), ("A", "B")),
        (QUESTION, "fox", "word", ("dog", " fox ", "dog"), ("fox", "dog")),
        (QUESTION, "fox", "word", ("dog", "wolf"), ("fox", "dog", "wolf")),
        (QUESTION, "fox", "word", ("fox",), ()),
        (QUESTION, "fox", "word", (), ()),
        (QUESTION, "There is a fox.", "sentence", (), ()),
    ],
)
def test_the_options_have_the_truth_first(question, truth, style, given, wanted):
    assert options_for(question, truth, style, given) == wanted


def test_a_word_about_a_composed_scene_is_chosen_from_things_that_are_not_there():
    there = known()
    first = options_for(QUESTION, "fox", "word", known=there)
    assert first[0] == "fox" and len(set(first)) == 4
    assert not set(first[1:]) & set(there.contents)
    assert first == options_for(QUESTION, "fox", "word", known=there)
    assert first != options_for("Which animal is this?", "fox", "word", known=there)


def test_too_many_options_are_refused():
    with pytest.raises(InputError, match=f"{MOST + 1} options are too many"):
        options_for(QUESTION, "fox", "word", list(map(str, range(MOST + 1))))


# Measured on a small model, against each checkpoint alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and a set of three tasks with a reference, as a researcher brings them."""
    place = tmp_path_factory.mktemp("probe")
    save_set("llava", place, (*TASKS, "joint"), items=1)
    file = place / "my-set" / "checkpoints.json"
    data = json.loads(file.read_text())
    data["order"].remove("joint")
    file.write_text(json.dumps(data))
    return place


@pytest.fixture(scope="module")
def model(folder):
    """Its answers end where the base's third token stands: at another place in other answers, or nowhere."""
    mllm = MLLM.open(folder / "my-model", "small", folder / "my-set", device="cpu")
    whole = mllm.examine_each
    mllm.examine_each = lambda *args, **more: whole(*args, max_new_tokens=8, **more)
    return mllm


@pytest.fixture
def ending(model, picture, monkeypatch):
    third = [s.token_id for s in model.generate(model.encode(picture, QUESTION), "base", 8)][3]
    monkeypatch.setattr(model.generator, "ends", frozenset({third}))


def test_everything_is_what_each_checkpoint_alone_gives(model, picture, ending):
    found = probe(model, "small", picture, QUESTION, "bee", ("cat", "a red house"))
    assert found.checkpoints == ("base", *TASKS, "joint") and found.trained == 4
    assert found.options == ("bee", "cat", "a red house")
    prompt, lengths = model.encode(picture, QUESTION), set()
    for i, name in enumerate(found.checkpoints):
        run = model.generate(prompt, name, 8, instruments=[AttentionMass("last")])
        steps = list(run)
        lengths.add(len(steps))
        assert found.answers[i] == text_of(steps)
        assert found.logprob[i] == pytest.approx(sum(s.logprob for s in steps), abs=1e-3)
        assert [token for token, _ in found.first[i]] == [token for token, _ in steps[0].top]
        scores = model.score(prompt, found.options, name)
        assert np.log(found.probability[i]) == pytest.approx(scores.logprob[0], abs=1e-3)
        assert found.among[i] == pytest.approx(scores.probability, abs=1e-4)
        share = run.readings().rows.share[:, 0, :, : len(steps)]
        assert found.attention[i] == pytest.approx(share.mean((0, 1, 2)), abs=1e-4)
        assert found.attention[i].sum() == pytest.approx(1, abs=1e-4)
    assert len(lengths) > 1
    assert len({row.tobytes() for row in found.among.round(3)}) == 5  # no two checkpoints are the same


def test_the_prompt_is_read_once_and_the_picture_looked_at_once(model, picture, monkeypatch):
    begun, seen, begin = [], [], Flow.begin
    monkeypatch.setattr(Flow, "begin", lambda self, *args: begun.append(self.rows) or begin(self, *args))
    tower = model.model.model.vision_tower
    handle = tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    try:
        probe(model, "small", picture, QUESTION, "bee", ("cat",))
    finally:
        handle.remove()
    assert begun == [5] and seen == [1]


def test_without_a_truth_and_options_the_answers_are_still_told(model, picture):
    found = probe(model, "small", picture, QUESTION)
    assert found.truth == "" and found.options == () and np.isnan(found.probability).all()
    assert np.isnan(found.scores).all() and not found.right.any() and found.verdict == ""
    assert found.among.shape == (5, 0)
    assert sentence(found).startswith("The base answers “")
    told = json.loads(json.dumps(found.to_json()))
    assert told["truth"] is None and told["checkpoints"][0]["probability_of_truth"] is None


def test_a_model_whose_attention_cannot_be_read_still_answers(model, picture, monkeypatch):
    whole = probe(model, "small", picture, QUESTION, "bee")
    monkeypatch.setattr(model, "unmeasurable", "no")
    found = probe(model, "small", picture, QUESTION, "bee")
    assert found.answers == whole.answers and np.isnan(found.attention).all()
    assert not np.isnan(whole.attention).any()


def test_a_question_without_a_picture_has_no_attention_on_one(model):
    found = probe(model, "small", None, QUESTION, "bee")
    assert (found.attention[:, 0] == 0).all() and found.attention.sum(1) == pytest.approx(np.ones(5), abs=1e-4)
    with pytest.raises(InputError, match="no question"):
        probe(model, "small", None, " ")


# Drawn and saved


def test_the_strip_has_a_row_a_checkpoint_and_escapes_what_visitors_and_models_write():
    evil = by_hand(BEE, ("<b>", "other"), BEE, ("", "other"), BEE, references=1, question="<script>", truth="bee")
    html = figure.strip(evil)
    assert html.count("<tr") == 6 and html.count("✓&nbsp;right") == 3 and html.count("✗&nbsp;wrong") == 2
    assert "<script>" not in html and "<b>&lt;b&gt;" not in html and "&lt;b&gt;" in html and "<i>nothing</i>" in html
    assert html.index("after boxes") < html.index('class="reference"') < html.index(">joint<")
    assert "after naming" in html and "after joint" not in html
    bare = figure.strip(CASES["no truth"][0])
    assert "Likeliest option" in bare and "bee\u00a075\u00a0%" in bare and "✓" not in bare


def test_charts_show_the_numbers_and_what_they_are_of():
    found = by_hand(BEE, BEE, SENTENCE, BEE, BEE, references=1)
    chart = figure.course(found)
    training, reference, among, _ = chart.data
    assert list(training.y) == pytest.approx(100 * found.probability[:4])
    assert list(reference.y) == pytest.approx(100 * found.probability[4:]) and reference.mode == "markers"
    assert list(among.y) == pytest.approx([75] * 4)
    assert list(training.marker.symbol) == ["circle", "circle", "x", "circle"]
    assert "n = 1 question" in chart.layout.xaxis.title.text and "%" in chart.layout.yaxis.title.text
    bars = figure.attention(found)
    assert [bar.name for bar in bars.data] == ["the picture", "the question", "the template", "its earlier answer"]
    assert np.sum([bar.x for bar in bars.data], 0) == pytest.approx(np.full(5, 100))
    assert "n = 1 question" in bars.layout.xaxis.title.text
    assert figure.course(CASES["no truth"][0]) is None


def test_a_result_becomes_a_table_and_json():
    found = CASES["superficial"][0]
    header, rows = found.table().columns, found.table().rows
    assert len(rows) == 4 and all(len(row) == len(header) for row in rows)
    assert header[-2:] == ["among_options: bee", "among_options: cat"]
    told = json.loads(json.dumps(found.to_json()))
    assert told["verdict"] == "superficial" and told["provenance"]["model"] == "by hand"
    first = told["checkpoints"][0]
    assert {"name", "answer", "style", "probability_of_truth"} <= first.keys()
    assert first["attention"] == dict(zip(KINDS, [0.4, 0.3, 0.2, 0.1], strict=True))


# On the page, and as an endpoint


@pytest.fixture
def own(folder, monkeypatch):
    """The small model as the researcher's own, by the name of its checkpoint set."""
    monkeypatch.setenv("CROSSTALK_MODEL", str(folder / "my-model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(folder / "my-set"))
    whole = MLLM.examine_each
    monkeypatch.setattr(
        MLLM, "examine_each", lambda self, *args, **more: whole(self, *args, **{**more, "max_new_tokens": 4})
    )
    return "my-model"


@pytest.fixture(scope="module")
def page():
    return app.build()


def test_the_page_puts_the_visitors_question_to_every_checkpoint(own, page, picture, tmp_path):
    file = str(tmp_path / "picture.png")
    picture.save(file)
    asked = {"question": QUESTION, "path": file, "set": own}
    seen = Driven(page, "forgetting/probe").open(**asked, truth="bee", options="cat, dog, ")
    found = seen.shown.result
    assert found.options == ("bee", "cat", "dog") and found.method == own and found.picture
    assert QUESTION in seen.seen["checkpoints"] and "The true answer: <b>bee</b>" in seen.seen["checkpoints"]
    assert seen.seen["course"].data and seen.seen["attention"].data
    assert seen.start(**asked, truth="cat").shown.result.truth == "cat"
    seen.start(**asked)
    assert seen.shown.result.truth == "" and seen.seen["course"] is None


def test_examples_are_questions_whose_truth_is_known():
    for tried in PROBE.tries:
        assert examples()[tried.example].known.turn(tried.question)
    html = "".join(c.html(c.first) for c in PROBE.offered({}))
    assert html.count("data-passing") == 2  # a truth is told of one picture and question


def test_the_endpoint_tells_every_checkpoint(own):
    told = json.loads(json.dumps(forgetting_probe(None, QUESTION, own, "bee", ["cat"])))
    assert [c["name"] for c in told["checkpoints"]] == ["base", *TASKS, "joint"]
    assert [c["reference"] for c in told["checkpoints"]] == [False] * 4 + [True]
    assert all(0 <= c["probability_of_truth"] <= 1 for c in told["checkpoints"])
    assert told["sentence"] and told["provenance"]["model"] == own and told["method"] == own
    assert forgetting_probe(question=QUESTION, method=own)["truth"] is None


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"question": 3}, InputError, "question must be a text"),
        ({"method": ["x"]}, InputError, "method must be a text"),
        ({"truth": 1.5}, InputError, "truth must be a text"),
        ({"choices": "cat"}, InputError, "choices must be a list"),
        ({"choices": [1]}, InputError, "choices must be a list"),
        ({"choices": [""]}, InputError, "at least one character"),
        ({"method": "nowhere"}, CheckpointError, "no checkpoint set 'nowhere'"),
        ({"question": ""}, InputError, "no question"),
        ({"image": "/etc/passwd"}, InputError, "uploaded file"),
    ],
)
def test_the_endpoint_says_what_was_wrong(own, given, error, told):
    with pytest.raises(error, match=told):
        forgetting_probe(**{"question": QUESTION, "method": own, **given})


def test_a_model_that_cannot_be_opened_is_told(own, monkeypatch):
    def refuse(name):
        raise ModelError("not today")

    monkeypatch.setattr(catalog, "using", refuse)
    with pytest.raises(ModelError, match="not today"):
        forgetting_probe(question=QUESTION, method=own)
