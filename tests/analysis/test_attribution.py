"""Attribution: closed forms, completeness, and the same numbers by another way, on several families of models."""

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch

from analysis.attribution import figure, measure
from analysis.attribution.measure import (
    FEWEST_STEPS,
    METHODS,
    Attribution,
    Patches,
    Word,
    attribute,
    integrated_gradients,
    split,
    words_of,
)
from analysis.attribution.section import WHY
from analysis.bar import examples
from analysis.charts import data_uri
from analysis.interference import endpoint
from analysis.result import Provenance
from analysis.section import Asked, Shown, headline
from models import catalog
from models.errors import CheckpointError, InputError, ModelError
from models.segments import Grid, Modality

QUESTION, ANSWER = "Is there a bee?", "a cat"


@pytest.fixture(params=["small", "qwen2_5_vl", "paligemma2"])
def model(request, opened):
    return opened(request.param)


# closed forms


def test_a_linear_value_has_its_weights_for_scores():
    rng = np.random.default_rng(0)
    w, x, base = (torch.tensor(rng.normal(size=(5, 3)), dtype=torch.float32) for _ in range(3))
    found = integrated_gradients(lambda e: (w * e).sum((1, 2)) + 2, x, base, steps=7, rows=3)
    np.testing.assert_allclose(found.scores, (w * (x - base)).numpy(), atol=1e-5)
    assert abs(found.delta) < 1e-5
    assert (found.value, found.baseline) == pytest.approx((float((w * x).sum()) + 2, float((w * base).sum()) + 2))
    u = torch.tensor(rng.normal(size=6), dtype=torch.float32)
    for scores in (
        measure.ablation(lambda p: p @ u + 2, 6, rows=4),
        measure.shapley(lambda p: p @ u + 2, 6, orders=3, rows=4),
    ):
        np.testing.assert_allclose(scores, u.numpy(), atol=1e-5)


def test_integrated_gradients_of_squares_are_differences_of_squares():
    x, base = torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 2.0]])
    found = integrated_gradients(lambda e: (e**2).sum((1, 2)), x, base, steps=12)
    np.testing.assert_allclose(found.scores, [[8, -3]], atol=1e-5)
    assert abs(found.delta) < 1e-5


def test_points_go_where_much_is_missed_and_scores_are_those_of_captum_with_many():
    x, base = torch.tensor([[1.0, 2.0, -1.0]]), torch.zeros(1, 3)
    value = lambda e: torch.tanh(60 * e[..., 0] * e[..., 1] - 20).sum(1) + torch.exp(e[..., 2]).sum(1)  # noqa: E731
    found = integrated_gradients(value, x, base, steps=64)
    exact = captum.attr.IntegratedGradients(value).attribute(x[None], base[None], n_steps=800)[0].numpy()
    whole = float(value(x[None]) - value(base[None]))
    assert abs(found.delta) < 0.02 * abs(whole)
    np.testing.assert_allclose(found.scores, exact, atol=0.03 * abs(whole))
    assert FEWEST_STEPS < found.steps <= 64
    smooth = integrated_gradients(lambda e: torch.exp(e).sum((1, 2)), x, base, steps=64)
    assert smooth.steps < found.steps  # nothing is spent where nothing is missed


def test_two_parts_that_only_work_together():
    together = lambda p: p[:, 0] * p[:, 1]  # noqa: E731
    assert measure.ablation(together, 3).tolist() == [1, 1, 0]  # each is needed, so they do not add up
    found = measure.shapley(together, 3, orders=200)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, [0.5, 0.5, 0], atol=0.1)


def test_orders_are_drawn_by_seed():
    value = lambda p: p[:, 0] * p[:, 1] + 2 * p[:, 1] * p[:, 2] + 4 * p[:, 2] * p[:, 3]  # noqa: E731
    first, again, other = (measure.shapley(value, 4, orders=7, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_forward_and_backward_share_one_hold():
    held = []

    @contextmanager
    def hold():
        held.append(True)
        yield
        held[-1] = False

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, e):
            return e.sum((1, 2))

        @staticmethod
        def backward(ctx, grad):
            assert held[-1]
            return grad[:, None, None].expand(-1, 2, 2)

    integrated_gradients(Watched.apply, torch.ones(2, 2), torch.zeros(2, 2), steps=FEWEST_STEPS, rows=2, held=hold)
    assert held == [False] * 6  # six stretches of two points, two at once


# parts


class Spelt:
    """Tokens are numbers of pieces of text."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def decode(self, ids, **kwargs):
        return "".join(self.pieces[i] for i in ids)


@pytest.mark.parametrize(
    ("pieces", "words", "index"),
    [
        ((" Is", " there", " a", " be", "e", "?"), ("Is", "there", "a", "bee?"), [0, 1, 2, 3, 3, 3]),
        (("Which", "?", "\n", "A", ".", " cat"), ("Which?", "A.", "cat"), [0, 0, 0, 1, 1, 2]),
        (("这", "是", "猫", "?"), ("这", "是", "猫?"), [0, 1, 2, 2]),
        ((), (), []),
    ],
)
def test_words_of_tokens(pieces, words, index):
    found, of = words_of(range(len(pieces)), Spelt(*pieces))
    assert found == words
    assert of.tolist() == index


def test_many_words_are_joined():
    found, of = words_of(range(10), Spelt(*(f" w{i}" for i in range(10))), most=4)
    assert found == ("w0 w1 w2", "w3 w4 w5", "w6 w7 w8", "w9")
    assert of.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(("grids", "side"), [(1, 8), (1, 3), (4, 8)])
def test_blocks_cover_every_cell_once_and_stay_few(grids, side):
    rows, columns, gap = 7, 10, 2
    kinds = [Modality.INSTRUCTION] + [Modality.IMAGE] * (grids * rows * (columns + gap)) + [Modality.QUESTION] * 2
    made = tuple(Grid(1 + i * rows * (columns + gap), rows, columns, stride=columns + gap) for i in range(grids))
    encoded = SimpleNamespace(
        segments=torch.tensor(kinds), grids=made, inputs={"input_ids": torch.tensor([[0] * (len(kinds) - 2) + [0, 1]])}
    )
    parts = split(encoded, Spelt(" a", " b"), side)
    each = [np.unique(parts.part[cells]) for cells in parts.cells]
    assert parts.words == ("a", "b")
    assert sum(map(len, each)) <= side**2
    assert sorted({0, 1, *np.concatenate(each).tolist(), parts.count - 1}) == list(range(parts.count))
    assert (parts.part == parts.count - 1).sum() == grids * rows * gap  # tokens that see no cell
    assert (parts.part == -1).sum() == 1
    scores = np.random.default_rng(0).normal(size=parts.count)
    np.testing.assert_allclose(parts.sums(parts.spread(scores)), scores)


# models


def hidden(encoded, tokens):
    mask = encoded.inputs["attention_mask"].clone()
    mask[0, tokens] = 0
    return replace(encoded, inputs={**encoded.inputs, "attention_mask": mask})


def test_value_and_parts_agree_with_scores_of_hidden_prompts(model, picture):
    encoded = model.encode(picture, QUESTION)
    logprob = lambda e: model.score(e, [ANSWER]).logprob[0]  # noqa: E731
    found = attribute(model, picture, QUESTION, answer=ANSWER, method="ablation")
    assert found.answer == ANSWER
    assert found.value == pytest.approx(logprob(encoded), abs=2e-3)
    assert found.baseline == pytest.approx(logprob(encoded.without_image().without_text()), abs=2e-3)
    assert [p.values.shape for p in found.patches] == [(g.rows, g.columns) for g in encoded.grids]
    parts = split(encoded, model.tokenizer)
    for number in (0, parts.count - 1):
        tokens = np.flatnonzero(parts.part == number)
        lost = logprob(encoded) - logprob(hidden(encoded, tokens))
        score = found.words[0].score if number == 0 else found.patches[-1].values[-1, -1] * len(tokens)
        assert score == pytest.approx(lost, abs=4e-3)


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley"])
def test_scores_add_up_to_the_difference(model, picture, method):
    hooks = len(model.model.get_decoder()._forward_pre_hooks)
    found = attribute(model, picture, QUESTION, answer=ANSWER, method=method, steps=24, orders=2)
    gap = found.image + sum(w.score for w in found.words) - (found.value - found.baseline)
    if method == "shapley":
        assert np.isnan(found.convergence_delta)
        assert gap == pytest.approx(0, abs=1e-3)
    else:
        assert gap == pytest.approx(found.convergence_delta, abs=1e-3)
        assert FEWEST_STEPS <= found.effort <= 24
    assert 0 < found.image_share < 1
    assert found.value == pytest.approx(model.score(model.encode(picture, QUESTION), [ANSWER]).logprob[0], abs=2e-3)
    assert len(model.model.get_decoder()._forward_pre_hooks) == hooks


def test_what_happens_just_off_the_baseline_is_not_missed():
    x = torch.ones(1, 2)
    for scale in (3e-3, 3e-2, 0.3):  # a normalisation with this epsilon jumps at this share of the path

        def normed(e, scale=scale):
            return (e / (e.square().mean((1, 2), keepdim=True) + scale**2).sqrt()).sum((1, 2))

        found = integrated_gradients(normed, x, torch.zeros(1, 2), steps=64)
        assert found.scores.sum() == pytest.approx(float(normed(x[None])), rel=0.02)
        assert abs(found.delta) < 0.02 * found.value


def test_more_steps_close_the_gap(mllm, picture):
    found = [attribute(mllm, picture, QUESTION, answer="bee", steps=n) for n in (FEWEST_STEPS, 256)]
    few, many = (abs(f.convergence_delta) for f in found)
    assert many < min(few, 0.05 * abs(found[1].value - found[1].baseline))


def test_the_baseline_is_zero_embeddings_of_all_parts(mllm, picture):
    encoded = mllm.encode(picture, QUESTION)
    own = mllm.embeddings(encoded)
    text = encoded.segments != Modality.IMAGE
    table = mllm.model.get_input_embeddings().weight
    assert torch.equal(own[text], table[encoded.inputs["input_ids"][0, text]])
    parts = (encoded.segments == Modality.IMAGE) | (encoded.segments == Modality.QUESTION)
    silent = encoded.with_embedding_noise(-own * parts[:, None])
    found = attribute(mllm, picture, QUESTION, answer="bee", steps=FEWEST_STEPS)
    assert found.baseline == pytest.approx(mllm.score(silent, ["bee"]).logprob[0], abs=1e-3)


def test_own_answer_of_a_checkpoint(mllm, picture):
    found = attribute(mllm, picture, QUESTION, "naming", method="ablation")
    steps = list(mllm.generate(mllm.encode(picture, QUESTION), "naming", measure.MOST_TOKENS))
    assert found.value == pytest.approx(sum(s.logprob for s in steps), abs=5e-3)
    assert found.answer == "".join(s.token for s in steps).strip()
    assert found.provenance.checkpoint == "naming"
    text = "one two three four one two three four one"
    long = attribute(mllm, picture, QUESTION, answer=text, method="ablation")
    assert long.cut
    assert text.startswith(long.answer) and long.answer


def test_without_a_picture_words_carry_all(mllm):
    found = attribute(mllm, None, QUESTION, answer="bee", method="ablation")
    assert (found.patches, found.image, found.image_share) == ((), 0, 0)
    assert figure.sentence(found).startswith("There was no picture: words alone stand behind the answer “bee”.")
    assert figure.overlay(found, None) is None and figure.carrier(found) is None
    assert len(figure.bars(found).data[0].x) == 4


def test_progress_grows_and_can_stop_the_work(mllm, picture):
    for method in METHODS:
        seen = []
        attribute(
            mllm, picture, QUESTION, answer="bee", method=method, steps=FEWEST_STEPS, orders=1, progress=seen.append
        )
        assert seen == sorted(seen)
        assert seen[-2:] == [1, 1]  # all that was expected was done, and no more

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attribute(mllm, picture, QUESTION, answer="bee", progress=stop)


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"method": "magic"}, InputError, "no method 'magic'"),
        ({"steps": 0}, InputError, "steps is 0"),
        ({"orders": 100_000}, InputError, "orders is 100000"),
        ({"question": "  "}, InputError, "no question"),
        ({"checkpoint": "nobody"}, CheckpointError, "nobody"),
    ],
)
def test_what_cannot_be_explained(mllm, wrong, error, told):
    with pytest.raises(error, match=told):
        attribute(mllm, None, **{"question": QUESTION, "answer": "bee", **wrong})


def test_no_answer_and_no_memory(mllm, monkeypatch):
    monkeypatch.setattr(mllm, "generate", lambda *args: iter(()))
    with pytest.raises(InputError, match="answers nothing"):
        attribute(mllm, None, QUESTION)

    def full(*args):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(measure, "integrated_gradients", full)
    with pytest.raises(ModelError, match="Use ablation"):
        attribute(mllm, None, QUESTION, answer="bee")


# what is shown


@pytest.fixture
def found():
    grid = np.array([[0.0, 2.0], [-1.0, 0.5]])
    return Attribution(
        provenance=Provenance("tiny", "base", "float32", "cpu"), question="<b>Is it?", answer="yes", cut=False,
        method="integrated_gradients", effort=64, patches=(Patches((0.0, 0.0, 1.0, 1.0), grid),), rest=0.25,
        words=(Word("<b>Is", 0.75), Word("it?", -0.5)), image_share=0.75, convergence_delta=0.01, value=-0.1,
        baseline=-2.09, size=(200, 100),
    )  # fmt: skip


def test_json_and_csv(found):
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["patches"] == [{"box": [0, 0, 1, 1], "values": [[0, 2], [-1, 0.5]]}]
    assert data["words"] == [{"text": "<b>Is", "score": 0.75}, {"text": "it?", "score": -0.5}]
    assert (data["image_share"], data["convergence_delta"]) == (0.75, 0.01)
    lines = found.to_csv().splitlines()
    assert lines[0] == "part,grid,row,column,text,score"
    assert lines[1] == "word,,,,<b>Is,0.75"
    assert lines[4] == "patch,0,0,1,,2.0"
    assert lines[-1] == "image tokens without a place,,,,,0.25"


def test_overlay_puts_cells_where_the_patches_are(found):
    drawn = figure.overlay(replace(found, patches=(Patches((0.5, 0.0, 1.0, 1.0), found.patches[0].values),)), "data:")
    heat = drawn.data[0]
    assert (heat.x0, heat.dx, heat.y0, heat.dy) == (0.625, 0.25, 0.25, 0.5)
    assert (heat.zmax, heat.zmin) == (16, -16)  # 2 nats on an eighth of the picture
    assert drawn.layout.yaxis.range == (1, 0)
    assert drawn.layout.yaxis.scaleratio == 0.5
    assert drawn.layout.images[0].source == "data:"
    assert heat.colorscale[0][1].startswith("rgba(213,94,0")
    assert heat.colorscale[-1][1].startswith("rgba(86,180,233")


def test_words_are_shaded_and_escaped(found):
    html = figure.words(found)
    assert "<b>Is" not in html
    assert "&lt;b&gt;Is" in html
    assert "rgba(86,180,233,0.75)" in html
    assert "rgba(213,94,0,0.50)" in html
    bars = figure.bars(found).data[0]
    assert list(bars.x) == [1.75, 0.75, -0.5]
    assert list(bars.marker.color) == ["#0072B2", "#E69F00", "#E69F00"]


def test_sentence(found):
    assert figure.sentence(found) == (
        "Behind the answer “yes” the picture carries 75 % of the attribution, counting for and against alike, and the "
        "words the rest. Most for it is the picture's top right (+2.00 nats), most against it the picture's bottom "
        "left (−1.00 nats). Together they make +2.00 nats; the integral misses the whole by 0.01 nats."
    )
    astray = figure.sentence(replace(found, convergence_delta=0.5))
    assert astray.startswith("Beware: the scores add up to +2.00 nats where they should make ")
    assert "check them with ablation. Behind the answer “yes” the picture carries 75 %" in astray
    assert "need not add up" in figure.sentence(replace(found, method="ablation"))
    assert "64 random orders" in figure.sentence(replace(found, method="shapley"))
    assert "the beginning of the answer, “yes”, the picture" in figure.sentence(replace(found, cut=True))
    nothing = replace(found, image_share=float("nan"))
    assert figure.sentence(nothing) == "Neither the picture nor any word changes the probability of the answer “yes”."
    one_sided = replace(found, patches=(), words=(Word("it", 1.0),))
    assert "nothing is against it" in figure.sentence(one_sided)


def test_what_is_saved_shows_the_picture(mllm, picture, tmp_path, monkeypatch):
    @contextmanager
    def using(name):
        yield mllm

    monkeypatch.setattr(catalog, "using", using)
    picture.save(tmp_path / "p.png")
    for path in (str(tmp_path / "p.png"), None):
        chosen = {"answer": "bee", "explain": "ablation"}
        asked = Asked("m", "base", path, QUESTION, None, chosen)
        found = WHY.measure(asked, lambda share, what: None)
        drawn = WHY.drawn(Shown(found, asked, data_uri(asked.picture) if path else None))
        *overlay, bars = drawn
        assert [image.source[:16] for o in overlay for image in o.layout.images] == ["data:image/webp;"] * bool(path)
        assert bars.data


def test_ablation_comes_first_and_a_method_that_misses_its_sum_warns_in_its_headline(embedded):
    assert WHY.controls[0].first == "ablation"
    known = examples()["bee-and-flower"].known
    found = measure.attribute(embedded, known.picture(), "What is at the top left?", method="integrated_gradients")
    said = headline(figure.sentence(found))[0]
    assert said.startswith("Beware: the scores add up to") and len(said.split()) <= 25
    other = measure.attribute(embedded, known.picture(), "What is at the top left?", method="ablation")
    assert headline(figure.sentence(other))[0].startswith("Behind the answer “bee” the picture carries")


def test_endpoint(mllm, picture, tmp_path, monkeypatch):
    @contextmanager
    def using(name):
        assert name is None
        yield mllm

    monkeypatch.setattr(catalog, "using", using)
    picture.save(tmp_path / "p.png")
    image = {"path": str(tmp_path / "p.png"), "meta": {"_type": "gradio.FileData"}}
    data = endpoint.attribute(image, QUESTION, answer="bee", method="ablation")
    wanted = {"patches", "words", "image_share", "convergence_delta", "sentence", "provenance"}
    assert wanted <= set(data)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    with pytest.raises(InputError, match="question must be a text"):
        endpoint.attribute(None, 3)
    with pytest.raises(InputError, match="uploaded file"):
        endpoint.attribute({"path": "/etc/hostname"}, QUESTION)
