"""Beam search against transformers', OPERA against its formulas, and how searches run."""

import numpy as np
import pytest
import torch

from analysis.decoding.strategies import Beam, Opera
from analysis.decoding.strategies.searches import Beams
from models.errors import InputError, ModelError
from models.generation import Choice, text_of
from models.instruments import LogitLens
from models.mllm import MLLM
from models.search import Move, Return
from models.segments import Modality
from tests.models.zoo import save

QUESTION = "What is at the top left?"


@pytest.fixture(params=["llava", "gemma3", "qwen2_5_vl"])
def model(request, opened):
    return opened(request.param)


@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (3, 0.0), (5, 2.0), (4, -1.0)])
def test_beam_search_is_that_of_transformers(model, picture, beams, penalty, monkeypatch):
    lengths = set()
    for question in (QUESTION, "Which?", "How many things?"):
        encoded = model.encode(picture, question)
        later = list(model.generate(encoded, max_new_tokens=6))[3:]
        for ends in ({model.tokenizer.eos_token_id}, {model.tokenizer.eos_token_id, *(s.token_id for s in later)}):
            monkeypatch.setattr(model.generator, "ends", frozenset(ends))
            with torch.no_grad():
                wanted = model.model.generate(
                    **encoded.inputs, num_beams=beams, length_penalty=penalty, do_sample=False, max_new_tokens=10,
                    eos_token_id=sorted(ends), early_stopping=False,
                )[0, encoded.length :].tolist()  # fmt: skip
            wanted = wanted[: next((i for i, t in enumerate(wanted) if t in ends), len(wanted))]
            found = list(model.generate(encoded, max_new_tokens=10, strategy=Beam(beams, penalty)))
            assert [s.token_id for s in found] == wanted
            lengths.add(len(wanted))
    assert 10 in lengths and (len(lengths) > 1 or penalty > 1)  # some were cut, some ended; long ones are favoured


def test_steps_tell_the_models_own_numbers(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    steps = list(mllm.generate(encoded, "naming", 6, Beam(3)))
    ids = [s.token_id for s in steps]
    assert len(ids) == 6 and text_of(steps) == mllm.tokenizer.decode(ids).strip()
    for n, step in enumerate(steps):
        logprobs = mllm.forward([encoded.followed(ids[:n])], "naming").logits[0].log_softmax(-1)
        assert step.logprob == pytest.approx(float(logprobs[ids[n]]), abs=1e-4)
        assert step.details["greedy_id"] == int(logprobs.argmax())
        assert [p for _, p in step.top] == pytest.approx(logprobs.topk(5).values.exp().tolist(), abs=1e-4)
    assert steps[0].details["score"] == pytest.approx(np.mean([s.logprob for s in steps]), abs=1e-4)
    assert steps[0].seconds > steps[1].seconds


def test_a_search_is_no_worse_than_greedy(mllm, picture):
    for question in (QUESTION, "Which?"):
        encoded = mllm.encode(picture, question)
        sums = [
            sum(s.logprob for s in mllm.generate(encoded, "base", 8, strategy)) for strategy in (None, Beam(8, 0.0))
        ]
        assert sums[1] >= sums[0] - 1e-4


def test_beams_worked_by_hand():
    beams = Beams(2, 1.0, 3, frozenset({0}))
    first = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert beams.extend(first) == ([0, 0], [1, 2])  # the end is third: not among the best two
    assert beams.finished == [] and beams.open == [(1,), (2,)]
    # .5 x (.6, .3, .1) and .3 x (.1, .1, .8): end .30 and 2 after 2 .24 are the best two
    assert beams.extend(torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).log()) == ([1, 0], [2, 1])
    assert beams.open == [(2, 2), (1, 1)]
    assert beams.finished == [(pytest.approx(np.log(0.30) / 2), (1, 0))]
    # the third token is the last: .24 x .9 and .15 x .7 are the best two, and both are answers
    assert beams.extend(torch.tensor([[0.05, 0.9, 0.05], [0.2, 0.1, 0.7]]).log()) is None
    assert [tokens for _, tokens in beams.finished] == [(2, 2, 1), (1, 0)]
    assert beams.best == (pytest.approx(np.log(0.216) / 3), (2, 2, 1))


# --- OPERA


def test_penalties_are_those_of_the_attention(picture, tmp_path):
    save("llava", tmp_path)
    model = MLLM.open(tmp_path, "llava", device="cpu")
    encoded = model.encode(picture, QUESTION)
    scale = 400.0
    steps = list(model.generate(encoded, max_new_tokens=14, strategy=Opera(2, 3, scale, 50, 0.5)))
    ids = [s.token_id for s in steps]
    assert len(ids) == 14
    model.model.set_attn_implementation("eager")
    full = encoded.followed(ids)
    with torch.no_grad():
        output = model.model(**full.inputs, position_ids=full.positions, output_attentions=True, use_cache=False)
    weights = output.attentions[-1][0].amax(0).double().numpy()
    weights /= weights.sum(-1, keepdims=True)
    n, shown = encoded.length, (encoded.segments == Modality.IMAGE).numpy()
    own = weights[n:, n:]
    for t, step in enumerate(steps):
        if t < 10:
            wanted = -weights[n + t, :n][shown].sum()
        else:
            wanted = 1e-7 * max(np.prod(scale * own[j : t + 1, j]) for j in range(t + 1))
            assert wanted > 1e-3
        assert step.details["penalty"] == pytest.approx(min(wanted, 1e4), rel=1e-3, abs=1e-6)


def leaning(rows: int, length: int, keys: int, place: int) -> torch.Tensor:
    """Attention ``[rows, 1, keys]`` that lies on the prompt's first token, and on the answer's token at ``place``."""
    attention = torch.full((rows, 1, keys), 1e-4)
    attention[:, :, 0] = 0.5
    if keys > length + place:
        attention[:, :, length + place] = 0.4
    return attention


def test_it_returns_to_the_word_that_all_answers_lean_on(mllm, picture):
    encoded, place, threshold = mllm.encode(picture, QUESTION), 11, 4
    search = Opera(2, 3, threshold=threshold, weight=1.0)
    search.contexts(encoded)
    search.begin(40, frozenset({29}))
    logits, rows, length, returns = torch.linspace(0, -3, 30), 1, 0, []
    tried: dict[tuple, set] = {}
    for _ in range(400):
        attention = leaning(rows, encoded.length, encoded.length + length, place)
        move = search.advance(logits.repeat(rows, 1), attention)
        match move:
            case None:
                break
            case Move(tokens=tokens):
                rows, length = len(tokens), len(search._beams.open[0]) + 1
                for i, answer in enumerate(search._beams.open):
                    proposed = tokens[3 * i : 3 * i + 3]
                    assert not tried.get(answer, set()) & set(proposed)
            case Return(answers=answers):
                before = search._banned
                tried = {answer: set(banned) for answer, banned in before.items()}
                rows, length = len(answers), len(answers[0])
                returns.append(length)
    assert returns == [place + 1] * 3 + [place] * 3  # at most as often as there are candidates, then the word itself
    assert len(search.answer()) == 40


def test_what_is_returned_to_is_read_anew(mllm, picture):
    """A search that starts over gets the logits of just these answers."""
    encoded, seen = mllm.encode(picture, QUESTION), []

    class Once(Beam):
        def advance(self, logits, attention):
            seen.append(logits)
            moves = [
                Move([0, 0], [40, 41]),
                Move([1, 0, 1], [50, 51, 52]),
                Return([(40, 51), (41, 50)]),
                Move([1], [60]),
            ]
            return moves[len(seen) - 1] if len(seen) <= len(moves) else None

        def answer(self):
            return (41, 50, 60)

        def told(self, logits):
            return [Choice(t) for t, _ in zip(self.answer(), logits, strict=True)]

    steps = list(mllm.generate(encoded, "naming", 9, Once()))
    assert [s.token_id for s in steps] == [41, 50, 60]
    rows = [[()], [(40,), (41,)], [(41, 50), (40, 51), (41, 52)], [(40, 51), (41, 50)], [(41, 50, 60)]]
    for logits, answers in zip(seen, rows, strict=True):
        alone = torch.cat([mllm.forward([encoded.followed(a)], "naming").logits for a in answers])
        assert (logits - alone).abs().max() < 1e-4


# --- how searches run


def test_no_instruments_no_tokens_and_no_attention(mllm, picture, monkeypatch):
    encoded = mllm.encode(picture, QUESTION)
    with pytest.raises(InputError, match="cannot follow a search"):
        mllm.generate(encoded, strategy=Beam(2), instruments=[LogitLens()])
    assert list(mllm.generate(encoded, max_new_tokens=0, strategy=Beam(2))) == []
    assert len(list(mllm.generate(encoded, max_new_tokens=1, strategy=Opera(2, 3)))) == 1
    decoder = mllm.model.get_decoder()
    monkeypatch.setattr(decoder.config, "_attn_implementation", "sdpa")
    with pytest.raises(ModelError, match="attention of this model cannot be read"):
        next(mllm.generate(encoded, strategy=Opera(2, 3)))


def test_the_lock_is_free_between_forwards_and_afterwards(mllm, picture):
    encoded, owned = mllm.encode(picture, QUESTION), []

    class Watching(Beam):
        def advance(self, logits, attention):
            owned.append(mllm.lock._is_owned())
            return super().advance(logits, attention)

    list(mllm.generate(encoded, "naming", 4, Watching(2)))
    assert owned == [False] * 4 and not mllm.lock._is_owned()
