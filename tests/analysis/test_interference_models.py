"""Interference on tiny real models: scoring, memory, attacks."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from analysis.interference import figure, scoring
from analysis.interference.dose import KINDS, STEPS, respond
from analysis.interference.measure import Settings, interfere, probability
from analysis.interference.options import proposed
from analysis.interference.perturbations import (
    ALL,
)
from analysis.interference.pgd import Attack, attack
from analysis.interference.scoring import logprobs, padded
from models.errors import ModelError, OutOfMemory
from models.mllm import MLLM
from models.segments import Modality
from tests.analysis.handmade import WHAT, Ruled, by_words, last


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
    assert found.effects[0].flipped and "flips “cat” to “dog”, and should not." in figure.sentence(found)
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
        assert figure.response_sentence(still) and figure.response(still)
        assert (figure.effectiveness(still) is None) is (KINDS[kind].weaken is None)


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
