"""Decoding: answers side by side, what they invent, steps as games, and sentences that say what is there."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from analysis.bar import examples
from analysis.decoding import figure, measure, tab
from analysis.decoding.endpoint import decode as decode_endpoint
from analysis.decoding.figure import sentence
from analysis.decoding.measure import Decoding, Moment, Regions, Written, decode, divergence
from analysis.decoding.objects import EMBEDDED, Mention, Truth, forms_of, invented, mentions, truth_of
from analysis.decoding.strategies import ALL, four_contexts
from analysis.result import Provenance
from analysis.section import headline
from models import catalog
from models.errors import CheckpointError, InputError, ModelError
from models.generation import Step
from models.mllm import MLLM
from models.spelling import BROKEN, Spelling
from tests.driving import Driven

QUESTION = "Is there a bee?"


@pytest.fixture(params=["small", "qwen2_5_vl", "paligemma2"])
def model(request, opened):
    return opened(request.param)


def last(*args, **kwargs) -> Decoding:
    *_, found = decode(*args, **kwargs)
    return found


# objects


def test_objects_are_named_as_often_as_they_are_said_and_not_where_they_are_denied():
    text = "There are two mice, no bee, a cat without a dog, and another Mouse; not the lion."
    assert [m.name for m in mentions(text, EMBEDDED)] == ["mouse", "cat", "mouse"]
    assert [text[m.start : m.end] for m in mentions(text, EMBEDDED)] == ["mice", "cat", "Mouse"]
    assert mentions("", EMBEDDED) == mentions("a cat", {}) == []


def test_the_longest_name_wins():
    forms = forms_of(["traffic light", "light", "Bees"])
    assert [m.name for m in mentions("a traffic light, traffic lights and a light", forms)] == [
        "traffic light", "traffic light", "light",
    ]  # fmt: skip
    assert forms["bee"] == "bee" and "beeses" not in forms


def test_truth_is_the_visitors_list_before_that_of_the_scene():
    known = examples()["bee-without-flower"].known
    assert truth_of(None, QUESTION) is None
    assert truth_of(known, "Is there a flower?").answer == "no"
    assert truth_of(known, "Is there any flower here?").answer is None
    assert truth_of(known, QUESTION).there == {"bee", "cheese"}
    own = truth_of(known, QUESTION, "frisbee, two cats", "person")
    assert own.there == {"frisbee", "cat"}
    assert own.forms["persons"] == "person"
    assert "bee" not in own.forms
    assert truth_of(examples()["no-picture"].known, QUESTION) is None
    with pytest.raises(InputError, match="201 objects"):
        truth_of(None, QUESTION, ",".join(map(str, range(201))))


def test_a_wrong_yes_is_an_invention_and_a_right_one_is_not():
    truth = Truth(frozenset({"bee"}), EMBEDDED)
    assert invented(" yes", "Is there a flower?", truth) == [Mention("flower", 1, 4)]
    assert invented("Yes.", QUESTION, truth) == []
    assert invented("no", "Is there a flower?", truth) == []
    assert invented("yes", "Is the bee left of the flower?", truth) == []  # two things: not asked whether one is there
    assert invented("yes", QUESTION, replace(truth, answer="no")) == [Mention("bee", 0, 3)]
    assert invented("Yes, there is a flower.", "Is there a flower?", truth) == [Mention("flower", 16, 22)]
    assert [m.name for m in invented("a bee and two flowers", "Describe.", truth)] == ["flower"]


# steps


def test_first_divergence_by_hand():
    assert divergence([[1, 2, 3], [1, 2, 3]]) is None
    assert divergence([[1, 2, 3], [1, 5, 3]]) == 1
    assert divergence([[1, 2], [1, 2, 3]]) == 2
    assert divergence([[], [1]]) == 0
    assert divergence([[1, 2], [1, 2, 3]], 2) is None
    assert divergence([]) is None


def test_a_game_by_hand():
    moment = made_moment(values=(-1.0, -2.0, -4.0, -7.0))
    assert moment.dividends == {"neither": -7.0, "picture": 3.0, "question": 5.0, "together": -2.0}
    assert sum(moment.dividends.values()) == moment.values[0]
    assert moment.shapley == {"picture": 2.0, "question": 4.0}


def test_a_games_values_are_those_of_four_separate_forwards(model, picture):
    encoded = model.encode(picture, QUESTION)
    steps = list(model.generate(encoded, max_new_tokens=5))
    ids = [s.token_id for s in steps]
    moments = measure.read(model, encoded, ids, "base", 0.1, 3)
    assert [m.token for m in moments] == [s.token for s in steps]
    assert [m.greedy for m in moments] == [s.token or BROKEN for s in steps]
    for i, moment in enumerate(moments):
        each = [model.forward([c.followed(ids[:i])]).logits[0].double() for c in four_contexts(encoded, 3)]
        expected = [float(z.log_softmax(-1)[ids[i]]) for z in each]
        np.testing.assert_allclose(moment.values, expected, atol=2e-4)
        both, question, alone, neither = (z.numpy() for z in each)
        assert moment.variance == pytest.approx(np.var(both - question - alone + neither), rel=1e-3)
        assert sum(moment.dividends.values()) == pytest.approx(steps[i].logprob, abs=2e-4)
        both, question, alone, neither = (z.log_softmax(-1).numpy() for z in each)
        strong, listed = both - question - alone + neither, [value for _, value in moment.strongest]
        assert listed == sorted(listed, reverse=True)
        assert all(np.abs(strong - value).min() < 2e-4 for value in listed)  # of whole words alone, so not all in a row


def test_long_answers_are_read_in_pieces(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, QUESTION)
    ids = [s.token_id for s in mllm.generate(encoded, max_new_tokens=7)]
    whole = measure.read(mllm, encoded, ids, "base", 0.1, 0)
    monkeypatch.setattr(measure, "_CHUNK", 3)
    for a, b in zip(whole, measure.read(mllm, encoded, ids, "base", 0.1, 0), strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-4)
    assert measure.read(mllm, encoded, [], "base", 0.1, 0) == []


def test_regions_lose_what_hiding_the_block_loses(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    ids = [s.token_id for s in mllm.generate(encoded, max_new_tokens=3)]
    found = measure.regions(mllm, encoded, picture, ids, 1, "base", 0, 4)
    read = measure.read(mllm, encoded, ids, "base", 0.1, 0)[1]
    assert found.losses.shape == (4, 4)
    assert found.whole == pytest.approx(read.dividends["together"], abs=2e-4)
    covered = picture.copy()
    width, height = picture.size
    random = measure.random_picture(picture.size, 0)
    box = (round(width / 4), 0, round(width / 2), round(height / 4))  # row 0, column 1
    covered.paste(random.crop(box), box)
    other = encoded.with_image(covered)
    z = [mllm.forward([c.followed(ids[:1])]).logits[0].double().log_softmax(-1)[ids[1]] for c in (
        other, *four_contexts(encoded, 0)[1:2], other.without_text(), four_contexts(encoded, 0)[3]
    )]  # fmt: skip
    assert found.losses[0, 1] == pytest.approx(found.whole - float(z[0] - z[1] - z[2] + z[3]), abs=2e-4)
    with pytest.raises(InputError, match="step 5 of 3"):
        measure.regions(mllm, encoded, picture, ids, 4, "base", 0, 4)


def test_the_block_that_matters_most():
    losses = np.zeros((4, 4))
    losses[3, 0], losses[0, 3] = -1.0, 0.5
    found = Regions("a", -2.0, losses)
    assert found.strongest == ("bottom left", -1.0)
    assert "is −2.00 nats. Of 16 blocks, one at the bottom left matters most: covered, it leaves −1.00 nats" in (
        figure.where(found)
    )
    assert "changes nothing" in figure.where(Regions("a", 1.0, np.zeros((4, 4))))


# decoding


def test_strategies_take_turns_and_greedy_is_generate(model, picture):
    seen = list(decode(model, picture, QUESTION, {"greedy": {}, "inter": {"threshold": 1e9}}, length=4))
    grown = [[len(w.steps) for w in found.strategies] for found in seen]
    assert grown[0] == [1, 1]
    assert [found.done for found in seen] == [False] * (len(seen) - 1) + [True]
    found = seen[-1]
    steps = list(model.generate(model.encode(picture, QUESTION), max_new_tokens=4))
    assert found.of("greedy").ids == tuple(s.token_id for s in steps)
    assert found.first_divergence is None or found.of("inter").ids != found.of("greedy").ids
    assert not any(found.of("inter").fired(found.threshold))


def test_fired_and_variance_are_what_inter_itself_told(mllm, picture):
    found = last(mllm, picture, QUESTION, {"inter": {"threshold": 0.5, "image_seed": 2}}, length=6)
    inter = found.of("inter")
    told = [s.details["interaction_variance"] for s in inter.steps]
    np.testing.assert_allclose([m.variance for m in inter.moments], told, rtol=1e-3)
    assert inter.fired(found.threshold) == [s.details["fired"] for s in inter.steps]
    spelling = Spelling(mllm.tokenizer)
    for moment, step in zip(inter.moments, inter.steps, strict=True):
        names = spelling.rivals([step.details["greedy_id"], step.details["modified_id"]])
        assert (moment.greedy, moment.modified) == tuple(names)
        spelling.add(step.token_id)
    cut = replace(found, threshold=float(np.median(told)))
    assert sum(inter.fired(cut.threshold)) == sum(v >= cut.threshold for v in told)


def test_a_search_waits_until_the_others_have_written(mllm, picture):
    seen = list(decode(mllm, picture, QUESTION, {"beam": {"num_beams": 2}, "greedy": {}}, length=4))
    begun = next(i for i, found in enumerate(seen) if found.of("beam").steps or found.of("beam").ended)
    assert all(found.of("greedy").ended for found in seen[begun - 1 :])
    assert seen[-1].of("beam").ended


def test_without_a_picture_inter_says_so_and_is_greedy(mllm):
    found = last(mllm, None, QUESTION, {"greedy": {}, "inter": {}}, length=4)
    assert found.first_divergence is None
    assert found.of("inter").moments == ()
    assert "no picture" in found.of("inter").note
    assert "There is no picture, so picture and question cannot interact" in sentence(found)
    assert figure.strip(found, "inter") is None
    assert "no picture" in figure.timeline(found, "inter")
    assert [s["interaction_variance"] for s in found.to_json()["strategies"][1]["steps"]] == [None] * 4


@pytest.mark.parametrize("length", [0, 10_000, -1, 2.5, True])
def test_lengths_that_cannot_be(mllm, picture, length):
    with pytest.raises(InputError, match="1 to 256"):
        last(mllm, picture, QUESTION, {"greedy": {}}, length=length)


def test_bad_input_has_a_message(mllm, picture):
    with pytest.raises(InputError, match="threshold k"):
        last(mllm, picture, QUESTION, {"inter": {"threshold": -1}})
    with pytest.raises(InputError, match="no strategy 'best'"):
        last(mllm, picture, QUESTION, {"best": {}})
    with pytest.raises(InputError, match="no parameter"):
        last(mllm, picture, QUESTION, {"inter": {"kk": 1}})
    with pytest.raises(InputError, match="0 strategies"):
        last(mllm, picture, QUESTION, {})
    with pytest.raises(InputError, match="5 strategies"):
        last(mllm, picture, QUESTION, dict.fromkeys(("greedy", "inter", "vcd", "m3id", "cfg"), {}))
    with pytest.raises(InputError, match="characters"):
        last(mllm, picture, "word " * 4000, {"greedy": {}})
    with pytest.raises(CheckpointError):
        last(mllm, picture, QUESTION, {"greedy": {}}, "nowhere")
    found = last(mllm, picture, "What is <image> here?", {"inter": {}}, length=2)
    assert len(found.of("inter").moments) == len(found.of("inter").steps)


def test_a_strategy_that_a_model_does_not_allow_leaves_the_others(mllm, picture, monkeypatch):
    class Refused:
        def contexts(self, encoded):
            return (encoded,)

        def choose(self, logits, step):
            raise ModelError("It cannot be done here.")

    make = measure.strategies.make
    monkeypatch.setattr(measure.strategies, "make", lambda n, p: Refused() if n == "cfg" else make(n, p))
    found = last(mllm, picture, QUESTION, {"greedy": {}, "cfg": {}}, length=3)
    assert found.of("cfg").note == "It cannot be done here."
    assert len(found.of("greedy").steps) == 3
    assert "It cannot be done here." in sentence(found)
    with pytest.raises(ModelError, match="cannot be done"):
        last(mllm, picture, QUESTION, {"cfg": {}}, length=3)


# sentences and drawings of made-up answers


def made_moment(token="a", variance=0.5, values=(-1.0, -2.0, -3.0, -4.0), greedy="a", modified="a") -> Moment:
    tops = (((token, 0.5), ("<b>", 0.2)),) * 4
    return Moment(token, variance, values, tops, {token: 1.0, "<b>": -1.0}, ((token, 1.0),), greedy, modified)


def written(name, tokens, wrong=(), moments=()) -> Written:
    steps = tuple(Step(i, t, -0.1, ((t, 0.9),), 0.1) for i, t in enumerate(tokens, 10 * len(name)))
    found = Written(name, name.upper(), {}, steps, moments or tuple(made_moment(t) for t in tokens), (), 1.0, True)
    marks = tuple(Mention(w, found.written.index(w), found.written.index(w) + len(w)) for w in wrong)
    return replace(found, invented=marks)


def made(*answers, there=("bee",), threshold=1.0) -> Decoding:
    return Decoding(
        provenance=Provenance("tiny", "base", "float32", "cpu"), question="Q?", checkpoint="base", picture=True,
        threshold=threshold, there=there, strategies=answers, done=True,
        first_divergence=divergence([w.ids for w in answers]),
    )  # fmt: skip


def test_the_sentence_tells_an_effect_none_and_the_opposite():
    fires = made_moment("flower", 2.0, greedy="flower", modified="cheese")
    good, bad = written("inter", ["cheese"], moments=(fires,)), written("greedy", ["flower"], ["flower"])
    effect = made(bad, good)
    assert "The answers part at word piece 1: GREEDY with “flower”; INTER with “cheese”." in sentence(effect)
    assert "not: by GREEDY (flower); by INTER, nothing." in sentence(effect)
    assert "fires at 1 of 1 step (k = 1) and changes the choice at 1 of them, which takes back flower" in sentence(
        effect
    )
    none = made(good, replace(good, name="greedy", title="GREEDY"))
    assert "All 2 strategies write the same: “cheese”." in sentence(none)
    assert "None of them says" in sentence(none)
    harm = made(written("greedy", ["no"]), written("inter", ["flower"], ["flower"], (fires,)))
    assert "which brings in flower, not there" in sentence(harm)
    quiet = made(written("inter", ["no"]))
    assert "never fires" in sentence(quiet) and "largest: 0.5" in sentence(quiet)
    same = made(written("inter", ["no"], moments=(made_moment("no", 2.0),)))
    assert "changes no word" in sentence(same)
    assert "not known here" in sentence(replace(same, there=None))


def test_another_threshold_is_read_from_the_measured_variances():
    moments = (made_moment(variance=0.5), made_moment(variance=2.0, greedy="x", modified="y"))
    found = made(written("inter", ["a", "b"], moments=moments))
    assert "fires at 1 of 2 steps" in figure.if_moved(replace(found, threshold=1.0), "inter")
    assert "at step 2: “y” for “x”" in figure.if_moved(replace(found, threshold=0.1), "inter")
    silent = figure.if_moved(replace(found, threshold=3.0), "inter")
    assert "fires at 0 of 2 steps of this answer: INTER would be greedy" in silent
    assert found.of("inter").fired(2.0) == [False, True]  # at the threshold it fires
    colours = figure.strip(replace(found, threshold=0.1), "inter").data[0].marker.color
    assert set(colours) == {figure.TOGETHER}


def test_what_is_not_there_is_underlined_in_every_piece_of_its_name():
    w = written("greedy", ["There is", " a", " tra", "ctor", " here"], ["tractor"])
    assert [w.touched(i) for i in range(5)] == [(), (), ("tractor",), ("tractor",), ()]
    html = figure.side_by_side(made(w, written("inter", ["There is", " none"])))
    assert html.count("dec-wrong") == 2
    assert html.count("dec-apart") == 2


def test_what_a_model_says_is_escaped():
    found = made(written("inter", ["<b>", "<script>"], moments=(made_moment("<b>"), made_moment("<script>"))))
    worked = figure.worked(found.strategies[0].moments[1])
    for html in (figure.side_by_side(found), figure.timeline(found, "inter"), worked):
        assert "<script>" not in html and "<b><" not in html


def test_the_worked_game_has_the_numbers_of_the_step():
    html = figure.worked(made_moment("bee", values=(-1.0, -2.0, -4.0, -7.0)))
    for part in ("= −1.00", "<b>+3.00 nats</b>", "<b>+5.00 nats</b>", "<b>−2.00 nats</b>", "picture +2.00 nats"):
        assert part in html
    assert "likelier (+5.00 nats)" in figure.reading(made_moment("bee", values=(-1.0, -2.0, -4.0, -7.0)))
    assert "changes how likely" in figure.reading(made_moment(values=(-1.0,) * 4))


def test_the_step_to_look_at_first():
    moments = (made_moment(variance=0.1), made_moment(variance=0.9), made_moment(variance=0.2))
    plain = made(written("inter", ["a", "b", "c"], moments=moments))
    assert plain.of("inter").telling(1.0) == 1
    wrong = made(written("inter", ["a", "b", "c"], ["c"], moments))
    assert wrong.of("inter").telling(1.0) == 2
    changed = (replace(moments[0], variance=2.0, modified="z"), *moments[1:])
    changed = made(written("inter", ["a", "b", "c"], ["c"], changed))
    assert changed.of("inter").telling(1.0) == 0
    empty = made(replace(written("inter", ["a"]), steps=(), moments=()))
    assert empty.of("inter").telling(1.0) == 0


def test_json_and_csv(mllm, picture):
    found = last(mllm, picture, QUESTION, {"greedy": {}, "inter": {}}, length=2)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["strategies"][0]["tokens_per_second"] > 0
    assert {"token", "logprob", "interaction_variance", "fired"} <= data["strategies"][1]["steps"][0].keys()
    assert len(found.to_csv().splitlines()) == 1 + sum(len(w.steps) for w in found.strategies)


# the endpoint and the examples, on the embedded model


@pytest.fixture
def upload(picture, tmp_path):
    picture.save(tmp_path / "p.png")
    return {"path": str(tmp_path / "p.png"), "meta": {"_type": "gradio.FileData"}}


def test_the_endpoint_on_the_embedded_model(upload):
    found = decode_endpoint(upload, "Describe the picture.", ["greedy", "inter", "vcd"], objects="bee", length=8)
    assert [s["name"] for s in found["strategies"]] == ["greedy", "inter", "vcd"]
    assert found["sentence"] and found["provenance"]["model"] == catalog.EMBEDDED
    assert found["objects"] == ["bee"]
    assert "first_divergence" in found


def test_the_endpoint_on_other_families(upload, zoo):
    for name in ("qwen2_5_vl", "smolvlm"):
        with pytest.MonkeyPatch.context() as patched:
            mllm = MLLM.open(zoo(name), device="cpu")
            patched.setattr(catalog, "using", lambda _, mllm=mllm: nullcontext(mllm))
            found = decode_endpoint(upload, QUESTION, model="other", length=2)
        assert [len(s["steps"]) for s in found["strategies"]] == [2, 2]


def test_the_endpoint_refuses_what_it_cannot_read(upload):
    for bad, told in (
        ({"strategies": "greedy"}, "list of texts"), ({"strategies": [1]}, "list of texts"),
        ({"parameters": [1]}, "numbers by name"), ({"parameters": {"vcd": {"alpha": 1}}}, "not among"),
        ({"parameters": {"inter": {"threshold": "high"}}}, "threshold k"), ({"length": 0}, "1 to 256"),
        ({"question": 3}, "must be a text"), ({"objects": 3}, "must be a text"), ({"question": ""}, "no question"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=told):
            decode_endpoint(**{"image": upload, "question": QUESTION, **bad})


# the page


@pytest.fixture
def room(page_blocks):
    return lambda name: Driven(page_blocks, f"decoding/{name}")


def test_every_parameter_of_every_strategy_has_a_control():
    names = [c.name for c in tab.CAPTION.offered({})]
    wanted = [f"{name}-{p.name}" for name, kind in ALL.items() for p in kind.parameters]
    assert sorted(set(wanted) - set(names)) == ["inter-threshold"] and "k" in names
    assert len(names) == len(set(names))


def test_answers_are_written_side_by_side_with_the_parameters_that_are_set(room):
    chosen = {"strategies": ["greedy", "inter"], "k": 0.2, "inter-beta": 0.3, "length": 8}
    shown = room("captions").press("ghost-at-night", "Is there a lock?", **chosen).shown
    assert shown.result.done and [w.name for w in shown.result.strategies] == ["greedy", "inter"]
    assert shown.result.of("inter").parameters["threshold"] == 0.2 == shown.result.threshold
    assert shown.result.of("inter").parameters["beta"] == 0.3


def test_the_locator_of_a_greedy_answer_has_the_threshold_that_is_set(room):
    shown = room("captions").press("ghost-at-night", "Is there a lock?", strategies=["greedy"], k=0.3).shown
    assert shown.result.threshold == 0.3


def test_another_threshold_is_read_from_what_was_measured(room):
    steps = room("steps").open("snowman-unseen-style", "Is there a snowman in the picture?")
    found = steps.shown.result
    steps.change("k", k=20, whose="inter")
    assert steps.shown.result is found and "INTER would be greedy" in steps.seen["moved"]
    assert steps.seen["strip"].layout.shapes[0].y0 == 20
    steps.change("whose", k=1, whose="greedy")
    assert 'aria-label="Step 1: no' in steps.seen["timeline"]


def test_a_step_is_played_and_found_in_the_picture(room):
    game = room("game").open("boat-penguin-drum", "Describe the picture.")
    first = game.shown.result
    assert first.regions.losses.shape == (4, 4) and game.seen["map"].data[0].type == "heatmap"
    other = (first.step + 1) % len(first.written.steps)
    game.press("boat-penguin-drum", "Describe the picture.", step=str(other), side=8)
    assert game.shown.result.step == other and game.shown.result.regions.losses.shape == (8, 8)
    assert f'"step": "{other}"' in game.seen["words"]
    for odd in ("99", "-1", "²", "x"):
        assert game.press("boat-penguin-drum", "Describe the picture.", step=odd).shown.result.step == first.step


def test_without_a_picture_the_question_plays_alone(room):
    game = room("game").open("no-picture", "What kind of thing is a bee?")
    assert game.shown.result.moment is None and "plays alone" in game.seen["told"] and game.seen["map"] is None


def test_only_whole_words_are_listed_in_a_game(embedded):
    picture = examples()["boat-penguin-drum"].known.picture()
    found = last(embedded, picture, "Describe the picture.", {"inter": {}})
    texts = [text for moment in found.strategies[0].moments for text, _ in moment.strongest]
    assert len(texts) > 8 and all(measure._is_word(text) for text in texts)
    spelt = {" bee": True, "3": True, " b3": True, "ing": False, " .": False, "\ufffd": False}
    assert {text: measure._is_word(text) for text in spelt} == spelt


@pytest.mark.parametrize("section", [tab.CAPTION, tab.STEPS, tab.GAME], ids=lambda s: s.name)
def test_what_the_examples_promise_is_seen(room, section):
    first = section.tries[0]
    driven = room(section.name).open(first.example, first.question)
    words, _ = headline(section.sentence(driven.shown.result))
    assert len(words.split()) <= 25
    if section is tab.CAPTION:  # a caption with invented things, of which INTER takes some back
        greedy, inter = (driven.shown.result.of(n).invented for n in ("greedy", "inter"))
        assert {m.name for m in inter} < {m.name for m in greedy}
    elif section is tab.STEPS:
        assert driven.shown.result.of("inter").changed(1.0)
    else:
        assert driven.shown.result.moment.dividends["together"] > 1
