"""Interference: known answers of a model made of a rule, and tiny real models of two families."""

import inspect
import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, LlamaConfig

from analysis import bar as shared_bar
from analysis import page
from analysis.bar import Known
from analysis.interference import figure, scoring, tab
from analysis.interference.dose import KINDS, STEPS, Dose, respond
from analysis.interference.measure import Settings, ask, interfere, jensen_shannon, probability, scored
from analysis.interference.options import LONGEST, MOST, Options, _Begun, options_for, proposed
from analysis.interference.perturbations import (
    ALL,
    DEFAULT,
    SHOWS,
    Case,
    Unfit,
    contradiction,
    facts,
    misleading,
    noisy,
    occluded,
    other_picture,
    statement,
    statements,
    wrong_picture,
)
from analysis.interference.pgd import Attack, attack
from analysis.interference.scoring import logprobs, padded
from analysis.result import Provenance
from models.embedded import phrases
from models.embedded.questions import Turn
from models.encoding import Encoded
from models.errors import InputError, ModelError
from models.flow import OutOfMemory
from models.mllm import MLLM
from models.segments import Modality
from tests.models import conftest as small
from tests.models.zoo import save

tokenizer, saved = small.tokenizer, small.saved

WORDS = {"cat": [3], "dog": [4], "dog house": [4, 5], **{f"w{i}": [10 + i] for i in range(50)}}
VOCABULARY = 64
WHAT = "What is this?"


class HandMade(torch.nn.Module):
    """Next-token probabilities by ``rule(text, brightness)`` after a prompt, and by ``after[token]`` after a token."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, rule, after):
        super().__init__()
        self.rule, self.after, self.texts, self.forwards = rule, after, [], 0
        self.config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1)

    def get_decoder(self):
        return self

    def forward(self, input_ids, pixel_values=None, logits_to_keep=None, **_):
        self.forwards += 1
        if logits_to_keep is None:
            return SimpleNamespace(logits=torch.stack([self._row(self.after.get(int(i), {})) for i in input_ids[:, 0]]))
        light = [None] * len(input_ids) if pixel_values is None else pixel_values.mean((1, 2, 3)).tolist()
        texts = [self.texts[int(i) - 1000] for i in input_ids[:, -1]]
        return SimpleNamespace(logits=torch.stack([self._row(self.rule(*x)) for x in zip(texts, light, strict=True)]))

    def _row(self, chances):
        rest = (1 - sum(chances.values())) / (VOCABULARY - len(chances))
        return torch.tensor([chances.get(i, rest) for i in range(VOCABULARY)]).clamp_min(1e-9).log()[None]


class Ruled:
    """What the room asks of an ``MLLM``, around a ``HandMade`` model."""

    name, checkpoints, checkpoint_names, lock = "ruled", None, ("base",), threading.RLock()
    tokenizer = SimpleNamespace(pad_token_id=0)

    def __init__(self, rule, after=None):
        self.model = HandMade(rule, after or {})
        self.encoder = SimpleNamespace(
            width=8, inputs=self._inputs, continuation=lambda encoded, choice: list(WORDS[choice])
        )

    def _inputs(self, text, picture):
        if text not in self.model.texts:
            self.model.texts.append(text)
        ids = [0] * len(text.split()) + [1000 + self.model.texts.index(text)]
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if picture is not None:
            inputs["pixel_values"] = torch.full((1, 3, 2, 2), float(np.asarray(picture).mean() / 255))
        return inputs

    def encode(self, picture, text):
        inputs = self._inputs(text, picture)
        length = inputs["input_ids"].shape[1]
        kinds = torch.full((length,), int(Modality.QUESTION))
        size = picture.size if picture else None
        places = torch.arange(length)[None]
        return Encoded(inputs, kinds, (), (), text, places, length, size, encoder=self.encoder)

    @contextmanager
    def using(self, checkpoint):
        if checkpoint != "base":
            raise ModelError(f"no checkpoint {checkpoint!r}")
        yield

    def edits(self, checkpoint):
        return ()

    def provenance(self, checkpoint, seed=None, seconds=0.0):
        return {"model": "ruled", "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seed": seed}


def by_words(text, light):
    """A cat, unless the text names a dog; in the dark it is half as sure of either."""
    if "dog" in text:
        return {3: 0.3, 4: 0.7}
    return {3: 0.4, 4: 0.1} if light is not None and light < 0.05 else {3: 0.8, 4: 0.2}


@pytest.fixture
def grey():
    return Image.new("RGB", (40, 30), (128, 128, 128))


def last(results):
    *_, found = results
    return found


def entropy(p):
    return float(-(np.asarray(p) * np.log2(p)).sum())


# --- known answers


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
        "As asked, the answer is “cat” (80 %). Under “Misleading description” it flips to “dog” (70 %). 1 of 3 "
        "perturbations flips the answer: 1 of 2 in the text and 0 of 1 in the picture."
    )


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
    assert "None of the 6 perturbations changes it." in figure.sentence(found)


def test_as_long_as_attacks_wait_nothing_is_said_for_good(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["unrelated", "misleading"]))
    waiting = replace(found, waiting=("Attack on image tokens", "Attack on question tokens"))
    missing = " Not measured yet: attack on image tokens and attack on question tokens."
    assert figure.sentence(replace(waiting, effects=())) == f"As asked, the answer is “cat” (80 %).{missing}"
    assert "None of the 1 perturbations" not in figure.sentence(replace(waiting, effects=found.effects[:1]))
    assert "does not change it so far." in figure.sentence(replace(waiting, effects=found.effects[:1]))
    assert figure.sentence(waiting).endswith(f"1 of 2 perturbations flips the answer so far.{missing}")
    assert waiting.to_json()["waiting"] == list(waiting.waiting)
    assert "so far" not in figure.sentence(found)


def test_flips_are_marked_beside_the_plot(grey):
    names = ("unrelated", "misleading", "black")
    chart = figure.options(last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names)))
    (mark,) = chart.layout.annotations
    assert (mark.xref, mark.x, mark.xanchor, mark.y) == ("paper", 1, "left", 2)
    assert "⇄ dog" in mark.text
    assert chart.layout.margin.r > 100


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
    assert _Begun(0, (4,)).choose(logits, 1).token_id == 4  # later tokens are the model's own


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


# --- options


def test_one_option_cannot_flip(grey):
    names = ("misleading", "contradiction", "black")
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat"], names=names))
    assert [e.name for e in found.effects] == ["contradiction", "black"]
    assert found.effects[0].text == "There is no cat."
    assert found.left_out[0][0] == "Misleading description" and "at least two" in found.left_out[0][1]
    assert not any(e.flipped for e in found.effects)
    assert "With one option nothing can flip" in figure.sentence(found)
    assert figure.options(found).data


def test_fifty_options(grey):
    many = [f"w{i}" for i in range(50)]
    found = last(interfere(Ruled(lambda *_: {10: 0.5, 11: 0.2}), grey, WHAT, given=many))
    assert found.probability.sum() == pytest.approx(1)
    assert found.probability[:2] == pytest.approx(np.array([0.5, 0.2]) / (0.7 + 48 * 0.3 / 62), abs=1e-6)
    chart = figure.options(found)
    assert "other options" in chart.data[-1].name
    assert sum(bar.x[0] for bar in chart.data) == pytest.approx(100)


def test_too_many_options_and_none(grey):
    with pytest.raises(InputError, match="too many"):
        options_for(WHAT, [f"o{i}" for i in range(MOST + 1)], None, tuple)
    with pytest.raises(InputError, match="name the options"):
        options_for(WHAT, [" "], None, tuple)
    assert options_for(WHAT, ["x" * LONGEST], None, tuple).texts
    with pytest.raises(InputError, match="201 characters; at most 200"):
        options_for(WHAT, ["a", "x" * (LONGEST + 1)], None, tuple)


def test_where_options_come_from():
    turn = Turn("Which? A. cat B. dog", "B", "letter", ("A", "B"))
    given = options_for(turn.question, [" x ", "y", "", "x"], turn, tuple)
    assert (given.texts, given.source, given.truth) == (("x", "y"), "given", None)
    suggested = options_for(turn.question, (), turn, tuple)
    assert (suggested.labels, suggested.source, suggested.truth) == (("A: cat", "B: dog"), "suggested", 1)
    assert options_for(turn.question, (), None, tuple).source == "listed"
    added = options_for(WHAT, (), Turn(WHAT, "bee", "word"), lambda: ("cat", "dog"))
    assert (added.texts, added.source, added.truth) == (("bee", "cat", "dog"), "proposed", 0)
    there = options_for(WHAT, (), Turn(WHAT, "bee", "word"), lambda: ("cat", "A dog.", "Bee."))
    assert (there.texts, there.truth) == (("cat", "A dog.", "Bee."), 2)


def test_options_mean_what_is_known_by_that_name():
    found = options_for(WHAT, ["Cat", " dogs! ", "There is a bee.", "."], None, tuple)
    assert found.texts == ("Cat", "dogs!", "There is a bee.", ".")
    assert found.meanings == ("cat", "dog", "There is a bee", ".")
    assert found.labels == found.texts
    assert misleading(replace(case(), options=found, wrong=2)) == "The answer is There is a bee."
    assert misleading(replace(case(), options=found, wrong=0)) == "The picture shows a cat."


def test_the_right_option_is_found_by_what_its_letter_means():
    turn = Turn("Which? A. cat B. dog", "B", "letter", ("A", "B"))
    assert options_for(turn.question, ["cat", "dog"], turn, tuple).truth == 1
    assert options_for(turn.question, ["Dogs.", "cat"], turn, tuple).truth == 0
    assert options_for(turn.question, ["owl", "bee"], turn, tuple).truth is None
    word = Turn("Which? A. cat B. dog", "dog", "word")
    assert options_for(word.question, (), word, tuple).truth == 1


# --- perturbations


def case(question=WHAT, meanings=("cat", "dog"), picture=True, **more):
    options = Options(tuple(meanings), tuple(meanings), "given")
    shown = Image.new("RGB", (64, 48), "teal") if picture else None
    return Case(shown, question, options, 0, 0, 1 if len(meanings) > 1 else None, **more)


@pytest.mark.parametrize(
    ("question", "picture", "meaning", "said"),
    [
        (WHAT, True, "elephant", "The picture shows an elephant."),
        ("Is there a bee?", True, "yes", "There is a bee."),
        ("Are there any bees?", True, "no", "There is no bee."),
        ("How many mice are there?", True, "2", "There are two mice."),
        ("How many mice are there?", True, "1", "There is one mouse."),
        ("How many mice are there?", True, "17", "The answer is 17."),
        ("Is the bee left of the cat?", True, "yes", "The answer is yes."),
        ("What kind of thing is a bee?", False, "plant", "A bee is a plant."),
        ("What colour is the sky?", True, "deep blue", "The answer is deep blue."),
    ],
)
def test_statements_say_what_they_are_to_say(question, picture, meaning, said):
    assert statement(meaning, case(question, (meaning, "x"), picture)) == said


def test_wordings_are_those_that_were_taught():
    assert SHOWS in phrases.STATEMENT
    assert set(statements(case(), 5)) <= {w.replace("{a}", "a dog") for w in phrases.STATEMENT}
    assert len(statements(case(), 20)) == 20
    assert misleading(case()) == "The picture shows a dog."
    assert contradiction(case()) == "There is no cat. The picture shows a dog."
    assert contradiction(case("Why?", ("red", "blue"))) == "The answer is not red. The answer is blue."


def test_facts_have_nothing_to_do_with_the_question():
    asked = case("Which animal is this, a cat or a dog?")
    found = facts(asked, STEPS)
    assert len(set(found)) == STEPS
    assert not any(word in sentence for sentence in found for word in ("cat", "dog", "animal"))
    assert facts(asked, 3) == found[:3]
    assert facts(replace(asked, seed=1), STEPS) != found
    seen = replace(asked, contents=frozenset({found[0].split()[1]}))
    assert found[0] not in facts(seen, STEPS)
    kinds = ("animal", "plant", "food", "vehicle", "place", "instrument", "tool", "toy", "thing")
    named = " ".join(facts(case("What kind of thing is a bee?", kinds, False), 4))
    assert not any(kind in named.split() for kind in kinds)


def test_an_empty_own_sentence_is_left_out_and_another_goes_in_front(grey):
    names, given = ("own-sentence", "own-picture", "unrelated"), ["cat", "dog"]
    found = last(interfere(Ruled(by_words), grey, WHAT, given=given, names=names, settings=Settings(sentence="  ")))
    assert [e.name for e in found.effects] == ["unrelated"]
    assert dict(found.left_out).keys() == {"Your own sentence", "Your own picture"}
    assert "type one" in figure.table(found)
    model, dark = Ruled(by_words), Image.new("RGB", (90, 20))
    settings = Settings(sentence=" A dog! ", picture=dark)
    found = last(interfere(model, grey, WHAT, given=given, names=names[:2], settings=settings))
    assert f"A dog! {WHAT}" in model.model.texts
    assert [e.flipped for e in found.effects] == [True, False]
    assert found.effects[1].delta_logprob == pytest.approx(np.log(0.5), abs=1e-6)


def test_only_an_empty_sentence_leaves_nothing(grey):
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=["own-sentence"]))
    assert found.effects == ()
    assert "Nothing could be disturbed" in figure.sentence(found)
    for draw in (figure.options, figure.changes, figure.attacks):
        assert draw(found)


def test_without_a_picture_one_is_added_and_none_covered():
    model = Ruled(by_words)
    found = last(interfere(model, None, WHAT, given=["cat", "dog"], names=("black", "white", "occlusion", "pgd-image")))
    assert [e.name for e in found.effects] == ["black", "white"]
    assert found.effects[0].delta_logprob == pytest.approx(np.log(0.5), abs=1e-6)
    assert [title for title, _ in found.left_out] == ["Partly covered picture", "Attack on image tokens"]


def test_pictures():
    asked = case()
    assert other_picture(asked).size == wrong_picture(asked).size
    assert np.array_equal(other_picture(asked), other_picture(asked))
    with pytest.raises(Unfit, match="no drawing of “blue”"):
        wrong_picture(case("Why?", ("red", "blue")))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 64, 3), dtype=np.uint8))
    assert noisy(picture, 0) is picture
    assert occluded(picture, 0) is picture
    flat = [np.asarray(noisy(Image.new("RGB", (64, 64), c), 1.0, 3)) for c in ("black", "white")]
    assert np.array_equal(*flat)
    assert 120 < flat[0].mean() < 135
    covered = [(np.asarray(occluded(picture, s)) == 127).all(-1) for s in (0.25, 0.5, 1.0)]
    assert [c.mean() for c in covered] == pytest.approx([0.25, 0.5, 1.0], abs=0.002)
    assert (covered[0] <= covered[1]).all()


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


# --- dose and response


def test_flip_point_by_hand(grey):
    def rule(text, light):
        told = text.count("dog") / 10
        return {3: 0.85 - told, 4: 0.15 + told}

    found = last(respond(Ruled(rule), grey, WHAT, "statements", given=["cat", "dog"]))
    assert found.amount == pytest.approx(range(STEPS + 1))
    assert found.cue == pytest.approx(0.85 - np.arange(STEPS + 1) / 10, abs=1e-6)
    assert found.flip == pytest.approx(3.5 / STEPS, abs=1e-6)
    assert found.flipped == 4
    assert "flips to “dog” between 3 and 4 sentences." in figure.response_sentence(found)
    assert "flips between 3 and 4 sentences" in figure.response(found).layout.annotations[0].text
    json.dumps(found.to_json(), allow_nan=False)


def test_no_flip(grey):
    found = last(respond(Ruled(by_words), grey, WHAT, "facts", given=["cat", "dog"]))
    assert np.isnan(found.flip)
    assert "never flips" in figure.response_sentence(found)
    assert not found.gain.size
    one = last(respond(Ruled(by_words), grey, WHAT, "noise", given=["cat"]))
    assert "one option cannot flip" in figure.response_sentence(one)


def test_a_dose_that_cannot_be_given_is_refused(grey):
    model, given = Ruled(by_words), ["cat"]
    for picture, kind, message in (
        (None, "noise", "no picture"),
        (None, "pgd-image", "no picture"),
        (grey, "statements", "at least two"),
        (grey, "nonsense", "no dose"),
    ):
        with pytest.raises(InputError, match=message):
            last(respond(model, picture, WHAT, kind, given=given))


def dose(alone, helped):
    """A dose of two options with these probabilities of the first one."""
    both = [np.log([[p, 1 - p] for p in values]) for values in (alone, helped)]
    strength = np.linspace(0, 1, len(alone))
    return Dose(
        provenance=Provenance("m", "base", "float32", "cpu"), kind="noise", title="Noise", unit="share", question="?",
        checkpoint="base", options=("cat", "dog"), labels=("cat", "dog"), target=0, truth_known=True,
        strength=strength, amount=strength, logprob=both[0], helped=both[1], hint="A cat.", done=True,
    )  # fmt: skip


def test_inverse_effectiveness_by_hand():
    found = dose([0.9, 0.5], [0.95, 0.9])
    assert found.gain == pytest.approx([0.05, 0.4])
    assert found.odds_gain == pytest.approx([np.log(19 / 9), np.log(9)])
    assert "in this one question the weaker cue gains more" in figure.response_sentence(found)
    assert "no inverse effectiveness" in figure.response_sentence(dose([0.9, 0.5], [0.99, 0.5]))
    assert "the ceiling" in figure.response_sentence(dose([0.9, 0.5], [0.9889, 0.9]))
    hardly = dose([0.9, 0.5], [0.987, 0.9])  # 2.13 nats against 2.20
    assert 0 < hardly.odds_gain[1] - hardly.odds_gain[0] < 0.1
    assert "the ceiling" in figure.response_sentence(hardly)
    assert "does not weaken" in figure.response_sentence(dose([0.9, 0.9], [0.99, 0.99]))


def test_a_flip_between_two_strengths():
    found = dose([0.9, 0.7, 0.4, 0.6], [0.9] * 4)
    assert found.flipped == 2
    assert found.flip == pytest.approx((1 + 0.4 / 0.6) / 3)
    assert "flips to “dog” at strength 0.56 (0.556 share)." in figure.response_sentence(found)
    assert figure.response(found).layout.annotations[0].text == "flips at 0.56"


def test_the_chart_of_a_dose_draws_every_option_that_its_sentence_names():
    p = np.array([[0.6, 0.2, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7]])
    names = ("cat", "dog", "owl", "bee")
    found = replace(dose([0.5] * 4, [0.5] * 4), options=names, labels=names, logprob=np.log(p), helped=np.zeros((0, 4)))
    drawn = lambda found: [line.name for line in figure.response(found).data]  # noqa: E731
    assert "flips to “dog”" in figure.response_sentence(found)
    assert drawn(found) == ["cat", "dog", "bee"]
    assert drawn(replace(found, target=2)) == ["owl", "cat", "dog", "bee"]
    never = replace(found, logprob=np.log(p[[0, 0, 0, 0]]))
    assert drawn(never) == ["cat", "dog"]


def test_a_dose_tells_whose_option_it_is_about_and_how_far_it_got():
    found = dose([0.9, 0.8], [0.9, 0.8])
    assert "the right “cat” goes from 90 % to 80 %; the answer “cat” never flips." in figure.response_sentence(found)
    own = figure.response_sentence(replace(found, truth_known=False))
    assert "“cat”, the model's own answer, goes" in own and "right" not in own
    half = replace(found, strength=np.array([0, 0.5]), done=False)
    assert "From none to strength 0.50 (not yet more)" in figure.response_sentence(half)
    assert "has not flipped so far." in figure.response_sentence(half)


# --- tiny real models


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "paligemma2"])
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save(request.param, folder)
    return MLLM.open(folder, request.param, device="cpu")


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (36, 48, 3), dtype=np.uint8))


def test_prompts_scored_together_are_as_those_scored_alone(tiny, picture):
    options = ("yes", "a red apple", "a yellow bee", "a")
    asked = tiny.encode(picture, "What is it?")
    black = asked.with_image(Image.new("RGB", picture.size))
    other = tiny.encode(picture, "There are two of them in the picture. What is it?")
    found = logprobs(tiny, [asked, other, black, asked], options)
    alone = [tiny.score(p, options).logprob for p in (asked, other, black, asked)]
    assert found == pytest.approx(np.stack(alone), abs=2e-4)
    assert np.array_equal(found[0], found[3])


def test_many_options_are_scored_a_few_at_a_time(tiny, picture, monkeypatch):
    options = ("yes", "a red apple", "a", "a yellow bee", "no")
    asked, other = tiny.encode(picture, "What is it?"), tiny.encode(None, "What is it, in a word?")
    wanted = logprobs(tiny, [asked, other], options)
    rows, scored = [], scoring._scored
    monkeypatch.setattr(scoring, "_scored", lambda m, b, o, c: rows.append(len(b) * len(o)) or scored(m, b, o, c))
    monkeypatch.setattr(scoring, "_ROWS", 2)
    assert logprobs(tiny, [asked, other], options) == pytest.approx(wanted, abs=2e-4)
    assert rows == [2, 2, 1] * 2
    monkeypatch.setattr(scoring, "_TOKENS", 1)
    assert logprobs(tiny, [asked], options) == pytest.approx(wanted[:1], abs=2e-4)
    assert rows[6:] == [1] * 5


def test_where_memory_is_short_a_batch_is_halved(tiny, picture, monkeypatch):
    options = ("yes", "a red apple", "a", "no")
    prompts = [tiny.encode(picture, f"What is it{'?' * n}") for n in (1, 2, 3)]
    wanted, rows, read = logprobs(tiny, prompts, options), [], scoring._scored

    def short(model, batch, choices, checkpoint):
        rows.append(len(batch) * len(choices))
        if rows[-1] > 2:
            raise OutOfMemory("too many rows")
        return read(model, batch, choices, checkpoint)

    monkeypatch.setattr(scoring, "_scored", short)
    assert logprobs(tiny, prompts, options) == pytest.approx(wanted, abs=2e-4)
    assert rows[0] == 12 and sum(n for n in rows if n <= 2) == 12

    def full(model, batch, choices, checkpoint):
        raise OutOfMemory("not even one")

    monkeypatch.setattr(scoring, "_scored", full)
    with pytest.raises(OutOfMemory, match="not even one"):
        logprobs(tiny, prompts, options)


def test_what_does_not_fit_alone_is_left_out_and_the_rest_is_done(grey, monkeypatch):
    read = scoring._scored

    def short(model, batch, choices, checkpoint):
        if len(batch) > 1 or batch[0].length > 9:
            raise OutOfMemory("Out of memory on cpu with 1 prompt.")
        return read(model, batch, choices, checkpoint)

    monkeypatch.setattr(scoring, "_scored", short)
    names = ("misleading", "contradiction", "black")
    found = last(interfere(Ruled(by_words), grey, WHAT, given=["cat", "dog"], names=names))
    assert [e.name for e in found.effects] == ["misleading", "black"]
    assert found.left_out == (("Contradicting statement", "Out of memory on cpu with 1 prompt"),)
    assert found.effects[0].flipped and "1 of 2 perturbations flips" in figure.sentence(found)
    with pytest.raises(OutOfMemory):  # a dose with a hole in it would mislead
        last(respond(Ruled(by_words), grey, WHAT, "statements", given=["cat", "dog"]))


def test_padding_and_continuing_keep_what_was_there(tiny, picture):
    asked = tiny.encode(picture, "What is it?")
    noisy_prompt = asked.with_embedding_noise(torch.randn(asked.length, tiny.encoder.width) / 10)
    longer = padded(noisy_prompt, asked.length + 5, 0)
    for a, b in ((asked, padded(asked, asked.length + 5, 0)), (noisy_prompt, longer)):
        assert tiny.forward([b]).logits.numpy() == pytest.approx(tiny.forward([a]).logits.numpy(), abs=2e-4)
    first, second, *_ = tiny.encoder.continuation(asked, "a yellow bee")
    chances = [tiny.forward([p]).logits[0].log_softmax(-1) for p in (asked, asked.followed([first]))]
    text = tiny.tokenizer.decode([first, second])
    if tiny.encoder.continuation(asked, text) == [first, second]:
        (expected,) = logprobs(tiny, [asked], [text])[0]
        assert float(chances[0][first] + chances[1][second]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.QUESTION])
def test_an_attack_stays_in_its_ball_and_raises_the_loss(tiny, picture, modality):
    asked = tiny.encode(picture, "What is it?")
    options = ("bee a", "bee b", "cat")
    found = attack(tiny, asked, modality, options, 0, settings=Attack(0.2, 4, 0.08))
    assert found.radius > 0
    assert float(found.delta.abs().max()) <= found.radius * (1 + 1e-6)
    assert not found.delta[asked.segments != modality].any()
    assert found.delta[asked.segments == modality].any()
    assert len(found.loss) == 5
    assert found.loss.max() > found.loss[0]
    before, after = (logprobs(tiny, [p], options)[0][0] for p in (asked, found.encoded))
    assert found.loss[0] == pytest.approx(-before, abs=2e-4)  # "bee a" and "bee b" part at the last token
    assert found.loss.max() == pytest.approx(-after, abs=2e-4)


@pytest.fixture(scope="module")
def whole(saved, tmp_path_factory):
    """A model with a checkpoint that is all weights, and the model that these weights are."""
    folder = tmp_path_factory.mktemp("whole")
    weights = shutil.copytree(saved / "model", folder / "weights")
    other = AutoModelForImageTextToText.from_pretrained(weights)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in other.get_decoder().parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    other.save_pretrained(weights)
    entries = [{"name": "whole", "task": "t", "weights": "weights"}]
    data = {"base": "small", "method": "m", "order": ["t"], "checkpoints": entries}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return MLLM.open(saved / "model", checkpoints=folder, device="cpu"), MLLM.open(weights, device="cpu")


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.QUESTION])
def test_an_attack_takes_the_gradient_of_the_checkpoint_it_attacks(whole, picture, modality):
    several, alone = whole
    settings, options = Attack(0.2, 3, 0.08), ("bee a", "bee b", "cat")
    here = attack(several, several.encode(picture, WHAT), modality, options, 0, "whole", settings)
    wanted = attack(alone, alone.encode(picture, WHAT), modality, options, 0, settings=settings)
    assert here.loss == pytest.approx(wanted.loss, abs=1e-4)
    assert float((here.delta - wanted.delta).abs().max()) < 1e-4 * wanted.radius
    base = attack(several, several.encode(picture, WHAT), modality, options, 0, settings=settings)
    assert float((base.delta - wanted.delta).abs().max()) > 0.1 * wanted.radius
    assert not several.lock._is_owned()


def test_a_gradient_that_does_not_fit_is_told(tiny, picture, monkeypatch):
    asked = tiny.encode(picture, "What is it?")

    def full(*args):
        raise RuntimeError("MPS backend out of memory")

    monkeypatch.setattr(torch.autograd, "grad", full)
    with pytest.raises(ModelError, match=f"gradient of an attack on {asked.length} tokens. Leave the attacks out"):
        attack(tiny, asked, Modality.QUESTION, ("yes", "no"), 0)
    monkeypatch.setattr(torch.autograd, "grad", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attack(tiny, asked, Modality.QUESTION, ("yes", "no"), 0)


def test_zero_strength_changes_nothing_at_all(tiny, picture):
    asked = tiny.encode(picture, "What is it?")
    nothing = attack(tiny, asked, Modality.IMAGE, ("yes", "no"), 0, settings=Attack(epsilon=0))
    assert nothing.encoded is asked
    assert not nothing.delta.any()
    settings = Settings(occluded=0, attack=Attack(epsilon=0))
    found = last(
        interfere(tiny, picture, "What is it?", given=["yes", "no"], names=["occlusion", "pgd-text"], settings=settings)
    )
    for effect in found.effects:
        assert np.array_equal(effect.logprob, found.logprob)
        assert effect.js == effect.delta_logprob == 0
    for kind in KINDS:
        still = last(
            respond(tiny, picture, "What is it?", kind, given=["yes", "no"], settings=Settings(attack=Attack(0.1, 1)))
        )
        assert np.array_equal(still.logprob[0], found.logprob)
        assert len(still.logprob) == STEPS + 1 and still.done
        assert figure.response_sentence(still) and figure.response(still) and figure.effectiveness(still)


def test_every_perturbation_works_and_options_are_proposed(tiny, picture):
    settings = Settings("A bee is there.", picture.rotate(180), attack=Attack(steps=2))
    *early, found = interfere(tiny, picture, "What is in the picture?", names=list(ALL), settings=settings)
    assert len(early[0].waiting) == 2 and not found.waiting
    assert found.proposed and len(set(found.options)) == len(found.options)
    assert found.options[0] == proposed(tiny, tiny.encode(picture, "What is in the picture?"), "base")[0]
    assert len(found.effects) + len(found.left_out) == len(ALL)
    assert {title for title, _ in found.left_out} <= {"Picture of a wrong option", "Misleading description"}
    for effect in found.effects:
        assert np.isfinite(effect.logprob).all()
        assert probability(effect.logprob).sum() == pytest.approx(1)
    assert len(figure.attacks(found).data) == 2
    json.dumps(found.to_json(), allow_nan=False)


# --- the page


def test_the_endpoint(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    found = tab.endpoint(question="Is a bee red?", choices=["yes", "no"], perturbations=["unrelated"], dose="facts")
    assert {"origin", "perturbations", "sentence", "provenance", "dose"} <= set(found)
    assert found["dose"]["sentence"]
    json.dumps(found, allow_nan=False)
    for wrong in (
        {"question": 7},
        {"choices": "yes"},
        {"perturbations": [1]},
        {"steps": "many"},
        {"seed": 0.5},
        {"image": "/etc/passwd"},
    ):
        with pytest.raises(InputError, match="must be"):
            tab.endpoint(**{"question": "Who?", **wrong})


def test_the_room_is_built_measures_and_offers_examples(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    with gr.Blocks():
        bar = shared_bar.build()
        with gr.Tabs(), gr.Tab(tab.TITLE):
            tab.build(bar)
    numbers = (0.5, 0.1, 2, 0.03, 0)
    asked = "m", "base", None, "Is a bee red?"
    inputs = (*asked, None, "yes, no", ["misleading"], ["black"], ["pgd-text"], "", None, *numbers)
    *_, done = tab._opened(None, *inputs)
    assert done[0] == "" and done[-1] == asked
    assert all(value == gr.skip() for value in next(tab._opened(asked, *inputs)))
    *_, dosed = tab._dosed(*asked, None, "yes, no", "facts", "", None, *numbers)
    assert dosed[-1].done
    examples = shared_bar.examples()
    for name, question, _ in tab._TRY:
        assert examples[name].known.turn(question)


def test_options_of_every_number_and_an_empty_sentence_go_through_the_room(tiny, monkeypatch):
    @contextmanager
    def using(name):
        yield tiny

    monkeypatch.setattr(tab.catalog, "using", using)
    numbers = (0.5, 0.1, 2, 0.03, 0)

    def shown(options, text=("misleading",)):
        *_, done = tab._measured(
            "m", "base", None, "Is a bee red?", None, options, list(text), ["black"], [], " ", None, *numbers
        )
        return done[6]

    assert shown("").proposed
    one = shown("yes")
    assert one.options == ("yes",) and [t for t, _ in one.left_out] == ["Misleading description"]
    many = shown(",".join(f"thing {i}" for i in range(50)))
    assert len(many.options) == 50 and many.probability.sum() == pytest.approx(1)
    alike = shown("a red bee, a red bee house, a red")
    assert len(alike.effects) == 2 and len(set(alike.logprob.tolist())) == 3
    empty = shown("yes, no", ["own-sentence"])
    assert [t for t, _ in empty.left_out] == ["Your own sentence"] and [e.name for e in empty.effects] == ["black"]


@pytest.fixture
def room(monkeypatch):
    lent = []
    lend = page.for_model
    monkeypatch.setattr(page, "for_model", lambda handler: lent.append(handler.__name__) or lend(handler))
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        with gr.Tabs(), gr.Tab(tab.TITLE):
            tab.build(bar)
    return demo, bar, lent


def test_handlers_that_run_the_model_ask_for_the_gpu(room):
    assert set(room[2]) == {"_measured", "_dosed", "_opened", "_explained", "_put", "_kept", "_measured_own"}


def test_progress_goes_where_a_run_fails(room):
    demo, *_ = room
    runs = {i: f.name for i, f in demo.fns.items() if inspect.isgeneratorfunction(f.fn)}
    assert set(runs.values()) == {"_measured", "_dosed", "_opened", "_explained", "_put", "_measured_own"}
    assert set(runs) == {f.trigger_after for f in demo.fns.values() if f.trigger_only_on_failure}
    named = {f.outputs[0].elem_id for f in demo.fns.values() if f.trigger_only_on_failure}
    wanted = {"disturb", "attribute", "conflict", "conflicts", "dataset"}
    assert named == {f"{name}-progress" for name in wanted}


def test_an_example_is_shown_without_a_run_of_another_room(room):
    demo, bar, _ = room
    (tried,) = (f for f in demo.fns.values() if f.name == "_try")
    assert bar.asked not in tried.outputs
    for name, question, _ in tab._TRY:
        found = tab._try(gr.EventData(None, {"pick": name}))
        assert len(found) == len(tried.outputs)
        assert found[3] == question
    assert tab._try(gr.EventData(None, {"pick": "../x"}))[3] == tab._TRY[0][1]


def test_what_is_measured_is_shown_while_the_next_is_measured(monkeypatch):
    shown, stopped = threading.Event(), threading.Event()

    def measuring(progress):
        yield "first"
        assert shown.wait(10)
        yield "second"
        try:
            while True:
                progress(0.5, "more")
                stopped.wait(0.01)
        except InterruptedError:
            stopped.set()
            raise

    run = tab._beside(measuring)
    html, found = next(run)
    assert "starting" in html and found == "first"
    shown.set()
    assert [f for _, f in (next(run), next(run), next(run)) if f] == ["second"]
    run.close()  # the visitor stops
    assert stopped.wait(10)
    assert list(tab._beside(lambda progress: iter(["only"]))) == [("", "only")]
