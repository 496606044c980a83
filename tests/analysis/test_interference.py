"""Interference: known answers of a model made of a rule."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.bar import Known
from analysis.interference import figure
from analysis.interference.dose import respond
from analysis.interference.measure import Settings, ask, interfere, jensen_shannon, scored
from analysis.interference.options import _Begun, proposed
from analysis.interference.perturbations import ALL, DEFAULT, should_change
from analysis.interference.pgd import Attack, attack
from analysis.interference.scoring import logprobs
from models.embedded.questions import Turn
from models.errors import InputError, ModelError
from models.segments import Modality
from tests.analysis.handmade import WHAT, Ruled, by_words, case, last


def entropy(p):
    return float(-(np.asarray(p) * np.log2(p)).sum())


def test_flips_divergence_and_change_by_hand(grey):
    names = ("unrelated", "misleading", "black")
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names))
    assert found.probability == pytest.approx([0.8, 0.2])
    assert [e.flipped for e in found.effects] == [False, True, False]
    fact, misled, dark = found.effects
    assert misled.text == "The picture shows a dog."
    assert misled.probability == pytest.approx([0.3, 0.7])
    middle = entropy([0.55, 0.45]) - (entropy([0.8, 0.2]) + entropy([0.3, 0.7])) / 2
    assert misled.js == pytest.approx(middle, abs=1e-6)
    assert misled.delta_logprob == pytest.approx(np.log(0.3 / 0.8), abs=1e-6)
    assert fact.js == pytest.approx(0, abs=1e-9)
    assert dark.js == pytest.approx(0, abs=1e-9)  # the same split of half the mass
    assert dark.delta_logprob == pytest.approx(np.log(0.5), abs=1e-6)
    assert figure.sentence(found) == (
        "“Misleading description” flips “cat” to “dog”: 1 of 2 changes that should not matter flips it. As asked, the "
        "answer is “cat” (80 %). The probabilities move most under “Misleading description” (0.19 bits): “cat” goes to "
        "30 %, “dog” has 70 %. Of the other changes, the answer is changed by 0 of 1 that should."
    )
    assert figure.outcome(found) == "some of them"


def test_changes_are_told_of_the_right_option_where_it_is_known(grey):
    known = Known(None, (Turn(WHAT, "dog", "word", ("cat", "dog")),))
    found = last(interfere(Ruled(by_words), grey, WHAT, names=["misleading"], known=known))
    assert found.options == ("cat", "dog")
    assert found.options[found.target] == "dog"
    assert found.effects[0].text == "The picture shows a cat."
    assert "the right one is “dog”" in figure.sentence(found)


def test_nothing_changes_and_the_sentence_says_so(grey):
    found = last(interfere(Ruled(lambda *_: {3: 0.8, 4: 0.2}), grey, WHAT, given=["cat", "dog"]))
    assert len(found.effects) == len(DEFAULT)
    assert all(e.delta_logprob == pytest.approx(0, abs=1e-6) and not e.flipped for e in found.effects)
    said = figure.sentence(found)
    assert said.startswith("None of the 3 changes that should not matter flips the answer “cat”.")
    assert said.endswith("Of the other changes, the answer is changed by 0 of 2 that should and 0 of 1 that may.")
    assert figure.outcome(found) == "none of them"


def test_as_long_as_attacks_wait_nothing_is_said_for_good(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["unrelated", "misleading"]))
    waiting = replace(found, waiting=("Attack on image tokens", "Attack on question tokens"))
    missing = " Not measured yet: attack on image tokens and attack on question tokens."
    assert figure.sentence(replace(waiting, effects=())) == f"As asked, the answer is “cat” (80 %).{missing}"
    alone = figure.sentence(replace(waiting, effects=found.effects[:1]))
    assert alone.startswith("The change that should not matter does not flip the answer “cat” so far.")
    assert "1 of 2 changes that should not matter flips it so far." in figure.sentence(waiting)
    assert figure.sentence(waiting).endswith(missing) and figure.outcome(waiting) is None
    assert waiting.to_json()["waiting"] == list(waiting.waiting)
    assert "so far" not in figure.sentence(found)


def test_rows_tell_what_was_said_and_flips_are_marked(grey):
    names = ("unrelated", "misleading", "black", "occlusion")
    chart = figure.options(last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names)))
    rows = [re.sub("<[^>]*>", " ", title) for title in chart.layout.yaxis.ticktext]
    assert ["⇄" in row for row in rows[:5]] == [False, False, True, False, False]
    assert "Misleading: “The picture shows a dog.”" in " ".join(rows[2].split())
    assert rows[3] == "Black picture" and "(may)" in rows[4]
    lines = re.sub("<[^>]*>", "\n", "\n".join(chart.layout.yaxis.ticktext)).split("\n")
    assert all(len(line) <= 25 for line in lines)


def test_what_should_change_the_answer_stands_apart(grey):
    names = ("misleading", "black", "occlusion")
    chart = figure.options(last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names)))
    places, ticks = list(chart.data[0].y), chart.layout.yaxis
    at = dict(zip(ticks.ticktext, ticks.tickvals, strict=True))
    idle, others = at["<b>Should not change it:</b>"], at["<b>Should or may change it:</b>"]
    assert places[0] < idle < places[1] < others < places[2] < places[3]
    assert chart.layout.height <= 360


@pytest.mark.parametrize(
    ("name", "wanted", "of_no", "without"),
    [
        ("misleading", False, False, False),
        ("pgd-image", False, False, False),
        ("own-sentence", False, False, None),
        ("other-picture", True, False, False),
        ("black", True, False, False),
        ("occlusion", None, None, None),
        ("own-picture", None, None, None),
    ],
)
def test_which_changes_should_change_a_right_answer(name, wanted, of_no, without):
    assert should_change(ALL[name], case()) is wanted
    assert should_change(ALL[name], case(meanings=("no", "yes"))) is of_no
    assert should_change(ALL[name], case(picture=False)) is without
    kind = case("What kind of thing is a bee?", ("animal", "plant"))
    assert should_change(ALL[name], kind) is (None if wanted is None else False)  # the words answer


def test_what_the_model_cannot_read_is_left_out_and_the_rest_is_done(grey):
    class Narrow(Ruled):
        def encode(self, picture, text):
            if len(text) > 100:
                raise InputError("The question is too long.")
            if picture is not None and picture.size[0] > 4 * picture.size[1]:
                raise ModelError("Crop it.")
            return super().encode(picture, text)

    settings = Settings("so " * 50, Image.new("RGB", (90, 20)))
    names = ("own-sentence", "own-picture", "unrelated")
    found = last(interfere(Narrow(by_words), None, WHAT, given=["cat", "dog"], names=names, settings=settings))
    assert [e.name for e in found.effects] == ["unrelated"]
    wanted = (("Your own sentence", "The question is too long"), ("Your own picture", "Crop it"))
    assert found.left_out == wanted


def test_a_picture_is_shown_as_the_model_saw_it(grey):
    settings = Settings(picture=Image.new("RGB", (20, 90)))
    names = ("own-picture", "other-picture")
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names, settings=settings))
    assert [e.picture.size for e in found.effects] == [grey.size] * 2
    added = last(interfere(Ruled(by_words), None, WHAT, given=["cat", "dog"], names=names[:1], settings=settings))
    assert added.effects[0].picture.size == (20, 90)


def test_the_origin_is_not_read_again_and_others_keep_their_order(grey):
    model = Ruled(by_words)
    asked = ask(model, grey, WHAT, "base", ["cat", "dog"], Settings(), None)
    texts = [f"{'no ' * n}{'dog' if n % 3 == 0 else 'cow'}" for n in range(20, 0, -1)]
    prompts = [model.encode(grey, text) for text in texts]
    prompts.insert(5, asked.origin)
    told = []
    values = scored(model, asked, prompts, "base", told.append)
    assert np.array_equal(values[5], asked.logprob)
    alone = np.stack([logprobs(model, [p], ("cat", "dog"))[0] for p in prompts])
    assert values == pytest.approx(alone, abs=1e-6)
    assert told == [0, 0.4, 0.8]
    assert scored(model, asked, [], "base").shape == (0, 2)


def test_work_stops_where_its_progress_raises(grey):
    def until(most):
        heard = []

        def progress(share, what):
            heard.append(share)
            if len(heard) > most:
                raise InterruptedError

        return progress, heard

    for work in (interfere, respond):
        progress, heard = until(100)
        list(work(Ruled(by_words), grey, WHAT, given=["cat", "dog"], progress=progress))
        assert heard == sorted(heard) and heard[0] == 0 and heard[-1] < 1
        model, (stop, _) = Ruled(by_words), until(1)
        with pytest.raises(InterruptedError):
            list(work(model, grey, WHAT, given=["cat", "dog"], progress=stop))
        assert model.model.forwards == 1  # the question as it was asked, and no more


def test_proposing_options_and_attacks_stop_between_two_of_their_steps(tiny, picture, monkeypatch):

    def until(most):
        heard = []

        def told(share):
            heard.append(share)
            if len(heard) > most:
                raise InterruptedError

        return told, heard

    asked = tiny.encode(picture, WHAT)
    told, heard = until(100)
    proposed(tiny, asked, "base", told=told)
    attack(tiny, asked, Modality.IMAGE, ("yes", "no"), 0, settings=Attack(steps=6), told=told)
    assert len(heard) > 15 and heard[-7:] == pytest.approx(np.arange(7) / 7)
    assert heard[:-7] == sorted(heard[:-7]) and heard[-8] < 1
    told, heard = until(2)
    with pytest.raises(InterruptedError):
        proposed(tiny, asked, "base", told=told)
    stop, _ = until(3)
    read, forwards = tiny.forward, []
    monkeypatch.setattr(tiny, "forward", lambda *a, **k: forwards.append(k.get("grad", False)) or read(*a, **k))
    with pytest.raises(InterruptedError):
        attack(tiny, asked, Modality.IMAGE, ("yes", "no"), 0, settings=Attack(steps=9), told=stop)
    assert sum(forwards) == 3  # and no further one


def test_no_token_of_the_template_is_proposed():
    logits = torch.tensor([[0.0, 5.0, 4.0, 3.0, 6.0]])
    assert [_Begun(rank, (4, 1, 99)).choose(logits, 0).token_id for rank in (0, 1)] == [2, 3]
    assert [_Begun(1, (4,)).choose(logits, step).token_id for step in (0, 1)] == [2, 1]  # then the likeliest


def test_a_visitor_stops_inside_an_attack_and_while_options_are_proposed(tiny, picture):
    for work, more in ((interfere, {"names": ["pgd-image"]}), (respond, {"kind": "pgd-image"})):
        settings = Settings(attack=Attack(steps=9))
        heard = []
        list(work(tiny, picture, WHAT, settings=settings, progress=lambda s, w: heard.append((s, w)), **more))  # noqa: B023
        shares = [share for share, _ in heard]
        assert shares == sorted(shares) and shares[-1] < 1
        assert sum(what == "finding options" for _, what in heard) > 8
        attacked = [what for _, what in heard if "attack" in what or "strength 1.00" in what]
        assert len(attacked) >= 10


def test_jensen_shannon_is_a_divergence_in_bits():
    p, q = np.array([0.7, 0.3, 0.0]), np.array([0.1, 0.2, 0.7])
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert 0 < jensen_shannon(p, q) < 1


def test_options_that_share_a_beginning_are_told_apart_by_the_rest(grey):
    model = Ruled(lambda *_: {3: 0.5, 4: 0.4}, after={4: {5: 0.25}})
    (found,) = logprobs(model, [model.encode(grey, WHAT)], ["cat", "dog", "dog house"])
    assert found == pytest.approx(np.log([0.5, 0.4, 0.4 * 0.25]), abs=1e-6)


def test_all_six_are_read_together(grey):
    model = Ruled(by_words)
    found = last(interfere(model, grey, WHAT + " Look well and say what it is in a word.", given=["cat", "dog"]))
    assert len(found.effects) == 6
    assert model.model.forwards <= 3


def test_names_and_settings_are_checked(grey):
    for names, message in ((["nonsense"], "There is no perturbation 'nonsense'"), ([], "No perturbation")):
        with pytest.raises(InputError, match=message):
            last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names))
    for wrong in ({"epsilon": -1}, {"epsilon": float("nan")}, {"steps": 0}, {"steps": 2.5}, {"step_size": 0}):
        with pytest.raises(InputError):
            Attack(**wrong)
    with pytest.raises(InputError, match="from 0 to 1"):
        Settings(occluded=2)
    with pytest.raises(ModelError, match="no checkpoint"):
        last(interfere(Ruled(by_words), grey, WHAT, "naming", ["cat", "dog"]))


def test_json_and_csv(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["misleading"]))
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [o["text"] for o in data["origin"]["options"]] == ["cat", "dog"]
    assert {"name", "options", "flipped", "js", "delta_logprob"} <= set(data["perturbations"][0])
    assert data["provenance"]["model"] == "ruled"
    assert len(found.to_csv().splitlines()) == 1 + 2 + 2


def test_what_visitors_and_models_say_is_escaped(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["misleading"]))
    found = replace(found, labels=("<b>", "<i>x</i>"), left_out=(("<u>", "<script>"),))
    odd = figure.options(replace(found, labels=("50%{y}", "x"))).data[0]
    assert "%{y}" not in odd.hovertemplate and odd.customdata[0] == "50%{y}"
    drawn = figure.table(found) + figure.options(found).to_json() + figure.changes(found).to_json()
    assert not any(bad in drawn for bad in ("<i>x", "<u>", "<script>", "“<b>”"))
