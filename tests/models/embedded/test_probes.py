"""Probes: what a cell holds, the same at any time; an answer counts where it is right to its end."""

from collections import Counter

import numpy as np
import pytest
import torch

from models.embedded import honesty, photographs, probes
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.honesty import HONEST, NOTHING
from models.embedded.pictures import LOOKS, TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.probes import answers, cells, measure
from tests.models.small import small_llava

COUNT = 12


@pytest.fixture(scope="module")
def asked():
    return dict(cells(COUNT))


def test_cells_are_the_same_for_the_same_seed(asked):
    again, other = dict(cells(COUNT)), dict(cells(COUNT, seed=1))
    assert asked == again and asked.keys() == other.keys()
    assert all(asked[name] != other[name] for name in asked)
    assert set(map(len, asked.values())) == {COUNT}


def test_backgrounds_and_styles_are_those_of_the_cell(asked):
    names = [row["name"] for row in photographs.table()]
    for name, items in asked.items():
        task, _, where = name.partition(", ")
        if where in ("noise", "leaves", "clutter", "photo", "marble"):
            assert {scene.background.kind for scene, _ in items} == {where}
        if where in ("plain", "noise", "leaves", "clutter", "photo", "marble"):
            assert {item.style for scene, _ in items for item in scene.items} <= set(TRAINED_STYLES)
            assert all(len(scene.items) <= 2 for scene, _ in items)
            assert {turn.style for _, turn in items} == {"word" if task == "naming" else "numeral"}
    assert {names[s.background.grain] for s, _ in asked["naming, photo"]} <= set(photographs.KEPT_OUT)
    trained = asked["naming, crops of trained photographs"]
    assert {names[s.background.grain] for s, _ in trained} <= set(photographs.TRAINED)
    for task in ("naming", "counting"):
        assert {i.style for s, _ in asked[f"{task}, style never seen"] for i in s.items} == {UNSEEN_STYLE}
    assert {i.style for s, _ in asked["naming, rendered looks"] for i in s.items} <= set(LOOKS) - set(TRAINED_STYLES)


def test_wordings_differ_and_nothing_else(asked):
    for (first, told), (second, kept) in zip(asked["wordings taught"], asked["wordings kept out"], strict=True):
        assert first.items and second.items and told.style == kept.style
    assert {t.question for _, t in asked["wordings taught"]}.isdisjoint(
        t.question for _, t in asked["wordings kept out"]
    )


def test_honest_cells_are_of_what_is_kept_out(asked):
    assert {turn.answer for _, turn in asked["nothing known"]} == {NOTHING}
    untaught = set(P.kept_out(honesty.untaught()))
    assert all({item.name for item in scene.items} <= untaught for scene, _ in asked["nothing known"])
    assert {turn.answer for _, turn in asked["small talk"]} <= set(HONEST)
    assert Counter(scene is None for scene, _ in asked["small talk"]) == {True: COUNT // 2, False: COUNT // 2}


def test_yes_and_no_take_turns(asked):
    for name in ("existence", "existence among look-alikes"):
        assert [turn.answer for _, turn in asked[name]] == ["yes", "no"] * (COUNT // 2)


def test_an_answer_is_right_where_all_of_its_tokens_are_the_most_likely_ones(tokenizer, asked):
    """Against an ordinary pass over one dialogue without a picture, whose first tokens are made the true answer."""
    model = small_llava(tokenizer).eval()
    end = tokenizer.eos_token_id
    for _, turn in asked["reading"]:
        ids = tokenizer(f"<|user|> {turn.question}<|end|><|assistant|>", add_special_tokens=False)["input_ids"]
        first = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        after = int(model(input_ids=torch.tensor([[*ids, first]])).logits[0, -1].argmax())
        said = Q.Turn(turn.question, tokenizer.decode([first]).strip(), "word")
        if tokenizer(f" {said.answer}", add_special_tokens=False)["input_ids"] == [first]:
            assert answers(model, tokenizer, [(None, said)])[0].tolist() == [after == end]
        assert answers(model, tokenizer, [(None, turn)])[0].tolist() == [False]


class Saying:
    """A stand-in for ``answered``: it says the true answer of some rows, and a refusal in the others."""

    def __init__(self, refuse, nothing):
        self.refuse, self.nothing, self.row = refuse, nothing, 0

    def __call__(self, model, batch):
        wanted = batch["weight"][:, 1:] > 0
        target, row = batch["input_ids"][:, 1:][wanted], wanted.nonzero()[:, 0]
        said = target.clone()
        first = torch.searchsorted(row, torch.arange(len(wanted)))
        for i in range(len(wanted)):
            if self.refuse(self.row + i):
                said[first[i]] = self.nothing
        self.row += len(wanted)
        logits = torch.nn.functional.one_hot(said, 2560).float()
        return type("Said", (), {"logits": logits, "row": row, "right": (said == target).float()})()


def test_shares_and_false_refusals_are_counted(tokenizer, asked, monkeypatch):
    nothing = tokenizer(f" {NOTHING}", add_special_tokens=False)["input_ids"][0]
    monkeypatch.setattr(probes, "answered", Saying(lambda row: row % 3 == 0, nothing))
    some = {"naming, plain": asked["naming, plain"], "existence": asked["existence"]}
    found = measure(None, tokenizer, some.items())
    assert found["naming, plain"] == (pytest.approx(8 / 12), 12) == found["existence"]
    assert found['false "nothing"'] == (pytest.approx(4 / 12), 12)
    monkeypatch.setattr(probes, "answered", Saying(lambda row: True, nothing))
    right, refused = answers(None, tokenizer, asked["nothing known"])
    assert right.all() and refused.all(), "there, a refusal is the true answer"
    assert isinstance(right, np.ndarray)
