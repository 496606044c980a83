"""Attention against the explicit softmax of the same model in float64; decay and disparity by hand; grids on pixels."""

import base64
import copy
import io
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.attention import figure, probe, sentence, where
from analysis.attention.measure import KINDS, Attention, Token, attend, disparity, fit, invented, pieces, telling
from analysis.attention.sample import across
from analysis.bar import Known
from analysis.section import headline
from models.embedded.questions import Turn
from models.embedded.scenes import Scene, placed
from models.errors import InputError, ModelError
from models.flow import stacked
from models.mllm import MLLM
from models.segments import Modality

QUESTION = "Is there a bee?"
TEXT = [Modality.QUESTION, Modality.INSTRUCTION]


@pytest.fixture(params=["small", "llava_next", "qwen2_5_vl"])
def model(request, opened):
    return opened(request.param)


@torch.no_grad()
def explicit(model: MLLM, encoded) -> np.ndarray:
    """The attention matrices of a prompt by eager attention in float64: ``[layers, heads, T, T]``."""
    double = copy.deepcopy(model.model).double()
    double.set_attn_implementation("eager")
    inputs = stacked([encoded], torch.device("cpu"), torch.float64)
    return torch.stack(double(**inputs, output_attentions=True, use_cache=False).attentions)[:, 0].numpy()


def by_kind(row: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Attention ``[..., T]`` added up by kind, ``[..., kinds]``."""
    return np.stack([row[..., kinds[: row.shape[-1]] == k].sum(-1) for k in range(len(KINDS))], -1)


# what is measured, against the explicit softmax


def test_mass_per_key_and_tokens_agree_with_explicit_attention(model, picture):
    found = attend(model, picture, QUESTION)
    prompt = model.encode(picture, QUESTION)
    encoded = prompt.followed(list(found.written_ids))
    kinds, last = encoded.segments.numpy(), prompt.length - 1
    whole = explicit(model, encoded)
    np.testing.assert_allclose(found.share, by_kind(whole[:, :, last, : last + 1], kinds), atol=1e-5)
    counts = np.array([(kinds[: last + 1] == k).sum() for k in range(4)])
    np.testing.assert_array_equal(found.keys, np.tile(counts, (found.layers, 1)))
    known = counts > 0
    each = by_kind(whole[:, :, last, : last + 1], kinds).mean(1)[:, known] / counts[known]
    np.testing.assert_allclose(found.per_key[:, known], each, atol=1e-5)
    assert np.isnan(found.per_key[:, ~known]).all()
    for i in range(len(found.written)):
        row = by_kind(whole[:, :, last + i, : last + i + 1], kinds).mean(1)
        np.testing.assert_allclose(found.written_share[:, i], row, atol=1e-5)
    np.testing.assert_allclose(found.share.sum(-1), 1, atol=1e-5)


def test_links_are_means_over_pairs_that_may_see_each_other(model, picture):
    found = attend(model, picture, QUESTION)
    prompt = model.encode(picture, QUESTION)
    whole, kinds = explicit(model, prompt).mean(1), prompt.segments.numpy()
    sides = {"image": kinds == Modality.IMAGE, "text": np.isin(kinds, TEXT)}
    seen = np.tril(np.ones((len(kinds),) * 2, dtype=bool))
    for link in found.links:
        pairs = seen & sides[link.query][:, None] & sides[link.key][None]
        queries = sides[link.query].sum()
        np.testing.assert_allclose(link.share, (whole * pairs).sum((1, 2)) / queries, atol=1e-5)
        np.testing.assert_allclose(link.visible, pairs.sum() / queries, rtol=1e-5)
        np.testing.assert_allclose(link.score, whole[:, pairs].mean(1), atol=1e-5)
        assert link.decay == fit(link.score)


def test_another_token_may_look(model, picture):
    prompt = model.encode(picture, QUESTION)
    whole, kinds = explicit(model, prompt), prompt.segments.numpy()
    for kind in (Modality.IMAGE, Modality.QUESTION):
        position = int(np.flatnonzero(kinds == kind)[-1])
        found = attend(model, picture, QUESTION, token=position)
        assert (found.position, found.kind, found.writing) == (position, KINDS[kind], "")
        row = by_kind(whole[:, :, position, : position + 1], kinds)
        np.testing.assert_allclose(found.share, row, atol=1e-5)
        both = np.stack([row.mean(1)[:, 0], row.mean(1)[:, 1:].sum(1)])
        np.testing.assert_allclose(found.disparity(), np.abs(both[0] - both[1]) / both.max(0), atol=1e-4)
        assert found.sides == (("image", "text") if kind == Modality.IMAGE else ("text", "image"))
    answered = attend(model, picture, QUESTION, token=prompt.length)
    assert (answered.kind, answered.writing) == ("answer", answered.written[1])
    np.testing.assert_allclose(answered.mass, answered.written_share[:, 1], atol=1e-7)


def test_maps_and_rollout_agree_with_explicit_attention(model, picture):
    found = attend(model, picture, QUESTION)
    prompt = model.encode(picture, QUESTION)
    position = prompt.length + 1  # a token of the answer
    encoded = prompt.followed(list(found.written_ids[:2]))
    whole, kinds = explicit(model, encoded), encoded.segments.numpy()
    flow = np.eye(encoded.length)
    for layer in whole.mean(1):
        flow = (layer + np.eye(encoded.length)) / 2 @ flow
    for expected, asked in (
        (whole[1, 2, position], {"layer": 2, "head": 3}),
        (whole[0, :, position].mean(0), {"layer": 1, "head": 0}),
        (flow[position], {"mode": "rollout"}),
    ):
        got = where.look(model, picture, QUESTION, position, found.written_ids, **asked)
        rest = set(np.flatnonzero(kinds == Modality.IMAGE).tolist())
        for grid, patches in zip(encoded.grids, got.patches, strict=True):
            for token, row, column in grid.cells():
                assert patches.values[row, column] == pytest.approx(expected[token], abs=1e-5)
                rest.discard(token)
        np.testing.assert_allclose(got.weights, expected[kinds != Modality.IMAGE], atol=1e-5)
        assert got.rest == pytest.approx(expected[sorted(rest)].sum(), abs=1e-5)
        assert got.image + got.weights.sum() == pytest.approx(1, abs=1e-5)
        assert got.token == found.written[1]


def test_value_norms_weigh_what_is_handed_over(opened, picture):
    model = opened("small")
    found = attend(model, picture, QUESTION)
    prompt = model.encode(picture, QUESTION)
    whole, last = explicit(model, prompt), prompt.length - 1
    read = []
    value = model.model.get_decoder().layers[1].self_attn.v_proj
    hook = value.register_forward_hook(lambda module, args, output: read.append(output[0].double()))
    model.forward([prompt])
    hook.remove()
    norms = read[0].view(prompt.length, 2, -1).norm(dim=-1).T.repeat_interleave(2, 0).numpy()  # [heads, T]
    weighted = whole[1, :, last] * norms
    weighted /= weighted.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.contribution[1], by_kind(weighted, prompt.segments.numpy()), atol=1e-5)
    got = where.look(model, picture, QUESTION, last, layer=2, head=0, mode="value_norm")
    np.testing.assert_allclose(got.weights, weighted.mean(0)[[w.position for w in got.words]], atol=1e-5)


def test_looking_at_an_answer_token_leaves_the_links_of_the_prompt_alone(model, picture):
    prompt = model.encode(picture, QUESTION)
    first, later = (attend(model, picture, QUESTION, token=prompt.length + i) for i in (-1, 2))
    for before, after in zip(first.links, later.links, strict=True):
        np.testing.assert_allclose(after.score, before.score, atol=1e-6)
        np.testing.assert_allclose(after.visible, before.visible, rtol=1e-6)
    ids, position = list(later.written_ids), prompt.length + 2
    got = [
        where.look(model, picture, QUESTION, position, ids, layer=2, head=head, mode="value_norm").image
        for head in range(1, 5)
    ]
    np.testing.assert_allclose(later.contribution[1, :, Modality.IMAGE], got, atol=1e-5)


def test_instruments_do_not_change_the_answer(model, picture):
    found = attend(model, picture, QUESTION)
    plain = list(model.generate(model.encode(picture, QUESTION)))
    assert [s.token_id for s in plain] == list(found.written_ids)
    assert [s.logprob for s in plain] == found.logprob.tolist()


def test_without_a_picture(model):
    found = attend(model, None, QUESTION)
    assert not found.picture
    assert not found.share[:, :, Modality.IMAGE].any()
    assert np.isnan(found.disparity()).all() and np.isnan(found.per_key[:, 0]).all()
    assert sentence.headline(found).startswith("There is no picture, so nothing can look at one: when “")
    assert sentence.decay(found) == "There is no picture, so no link to it or from it can fade."
    assert sentence.by_word(found) == ""
    assert sentence.over(found).startswith("There is no picture to look at")
    assert (figure.by_word(found), figure.disparity(found), figure.decay(found)) == (None, None, None)
    assert len(figure.layers(found).data) == 2
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["decay"]["gamma"] is None
    got = where.look(model, None, QUESTION, found.position)
    assert (got.patches, got.image, got.size) == ((), 0, None)
    assert "has no picture to look at." in sentence.where(got)
    assert figure.overlay(got, None).layout.annotations[0].text.startswith("No picture")
    looked = where.Looked(provenance=found.provenance, of=(), attention=found, where=got)
    html = figure.words(looked, None)
    assert "<img" not in html and "%" not in re.sub("style=\"[^\"]*\"", "", html) and html.count("data-set") >= 1
    for refused in (lambda: probe.carry(model, None, QUESTION), lambda: across(model, None, QUESTION)):
        with pytest.raises(InputError, match="no picture"):
            refused()


@pytest.mark.parametrize("token", [-1, 10_000])
def test_a_token_that_is_not_there(opened, picture, token):
    with pytest.raises(InputError, match=f"no token {token}: the prompt has tokens 0 to"):
        attend(opened("small"), picture, QUESTION, token=token)
    with pytest.raises(InputError, match=f"no token {token}"):
        where.look(opened("small"), picture, QUESTION, token)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"layer": 0}, "layers are 1 to 3"),
        ({"layer": 4}, "layers are 1 to 3"),
        ({"head": 5}, "heads 1 to 4"),
        ({"mode": "magic"}, "no mode 'magic'"),
    ],
)
def test_a_layer_head_or_mode_that_is_not_there(opened, picture, wrong, told):
    with pytest.raises(InputError, match=told):
        where.look(opened("small"), picture, QUESTION, 3, **wrong)


# patches on pixels


@pytest.mark.parametrize("name", ["small", "llava_next", "qwen2_5_vl"])
@pytest.mark.parametrize("spot", [(0.12, 0.15), (0.85, 0.4), (0.4, 0.88)])
def test_a_planted_patch_is_shaded_where_it_is(opened, name, spot):
    """Where the features of tokens change most when a spot is planted, as drawn, is the spot."""
    model, size, side = opened(name), (96, 64), 48
    plain = Image.new("RGB", size, (90, 90, 90))
    x, y = int(spot[0] * size[0]), int(spot[1] * size[1])
    before, changed = model.embeddings(model.encode(plain, QUESTION)), 0.0
    for colour in ("red", "lime", "blue", "white", "black", "yellow"):  # random weights may overlook one
        planted = plain.copy()
        planted.paste(colour, (x - 4, y - 4, x + 4, y + 4))
        prompt = model.encode(planted, QUESTION)
        changed = changed + (model.embeddings(prompt) - before).norm(dim=1)
    patches, _ = where.patches(prompt, changed.double().numpy())
    drawn = figure.overlay(replace(one_map(), patches=patches), None).data
    shade, cells = np.zeros((side, side)), []
    for heat in drawn:
        # towers let all patches talk to one another, so all change a little: what is above a grid's mean counts
        z = np.maximum(np.array(heat.z) - np.mean(heat.z), 0)
        for (row, column), value in np.ndenumerate(z / (z.max() or 1)):
            left, top = heat.x0 + (column - 0.5) * heat.dx, heat.y0 + (row - 0.5) * heat.dy
            across, down = (
                slice(max(round(side * a), 0), max(round(side * (a + d)), 0))
                for a, d in ((left, heat.dx), (top, heat.dy))
            )
            shade[down, across] += value
        cells.append((heat.dx, heat.dy))
    rows, columns = np.nonzero(shade >= shade.max() - 1e-9)
    assert abs((columns + 0.5).mean() / side - spot[0]) < max(dx for dx, _ in cells)
    assert abs((rows + 0.5).mean() / side - spot[1]) < max(dy for _, dy in cells)


def one_map() -> where.Where:
    return where.Where(
        provenance=None, question="", position=3, token="<b>", layer=2, head=1, mode="raw",
        patches=(where.Patches((0.5, 0.0, 1.0, 1.0), np.array([[0.1, 0.3], [0.0, 0.0]])),), rest=0.1,
        words=(Token(0, "<s>", "instruction"), Token(3, "<b>", "question")), weights=np.array([0.35, 0.15]),
        picture_at=1, size=(200, 100),
    )  # fmt: skip


def test_overlay_words_and_sentence_of_one_map():
    found = one_map()
    heat = figure.overlay(found, "data:").data[0]
    assert (heat.x0, heat.dx, heat.y0, heat.dy) == (0.625, 0.25, 0.25, 0.5)
    assert heat.zmax == pytest.approx(0.3 / 0.125)
    html = figure.tokens(found)
    assert "<b><" not in html and "&lt;b&gt;" in html
    assert html.index("&lt;s&gt;<span") < html.index("the picture<span") < html.index("&lt;b&gt;<span")
    assert html.count('role="tooltip"') == 3 and "50.0 % of the attention" in html  # the picture: 0.1 + 0.3 + 0.1
    assert sentence.where(found, "bee") == (
        "When “bee” is written, head 1 of layer 2 has 50 % of its attention on the picture, 30 % at the top right. "
        "Of the text, “<s>” gets most (35 %), the prompt's first token: often a sink that means nothing."
    )
    assert sentence.where(replace(found, head=0)).startswith("Seen from the token “<b>”, layer 2 as a whole has 50 %")
    assert [row[0] for row in found.table().rows] == ["instruction", "question", *["image"] * 5]


def test_a_picture_is_dark_where_nothing_looks():
    """The mask over it, pixel by pixel: nothing over the patch that gets most, all over those that get none."""
    source = figure.overlay(one_map(), "data:").layout.images[1].source
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))[..., 1] / 255
    assert mask.shape == (96, 96)
    np.testing.assert_allclose(mask[:48, 72:], 0)
    dark = mask[:, :48]
    assert dark.min() == dark.max() > 0.5  # outside of the grid
    np.testing.assert_allclose(mask[:48, 48:72], dark[0, 0] * 2 / 3, atol=0.01)  # a third of the most
    two = replace(one_map(), patches=(*one_map().patches, where.Patches((0.0, 0.0, 1.0, 1.0), np.array([[4.0]]))))
    both = figure._mask(two)
    assert both != source  # grids over each other are added up


# decay and disparity


def test_gamma_of_an_exact_exponential():
    for gamma in (0.7, 1.3):
        found = fit(0.3 * gamma ** np.arange(1, 13))
        assert (found.gamma.value, found.gamma.low, found.gamma.high) == pytest.approx((gamma,) * 3, abs=1e-9)
        assert (found.start, found.r2, found.layers) == pytest.approx((0.3, 1, 12))
        assert found.kind == ("fading" if gamma < 1 else "growing")
        np.testing.assert_allclose(found.at(np.array([1, 5])), 0.3 * gamma ** np.array([1, 5]))


def test_three_layers_by_hand():
    """Logarithms 0, -2, -1: the slope is -1/2; residuals 1/2, -1, 1/2 make 1.5 of 2, so R2 is 1/4."""
    found = fit(np.exp([0.0, -2.0, -1.0]))
    assert found.gamma.value == pytest.approx(np.exp(-0.5))
    assert found.r2 == pytest.approx(0.25)
    error = np.sqrt(1.5 / 1 / 2)  # residual variance over one degree of freedom, over the spread of 1, 2, 3
    assert found.gamma.high == pytest.approx(np.exp(-0.5 + 12.7062 * error), rel=1e-4)
    assert found.gamma.low == pytest.approx(np.exp(-0.5 - 12.7062 * error), rel=1e-4)
    assert found.kind == "flat"


def test_the_interval_holds_the_planted_gamma_as_often_as_it_says():
    rng, gamma, layers = np.random.default_rng(0), 0.9, np.arange(1, 25)
    found = [fit(0.2 * gamma**layers * np.exp(rng.normal(0, 0.3, 24))) for _ in range(400)]
    assert 0.92 < np.mean([f.gamma.low <= gamma <= f.gamma.high for f in found]) < 0.98
    assert np.mean([f.gamma.value for f in found]) == pytest.approx(gamma, abs=0.003)


def test_what_has_no_fit():
    assert fit(np.zeros(5)).kind == "none"
    assert fit(np.array([np.nan, 0.2])).kind == "none"
    assert fit(np.array([0.4, 0.2])).kind == "open"
    level = fit(np.full(6, 0.25))
    assert (level.kind, level.r2, level.gamma.value) == ("flat", 1.0, pytest.approx(1))
    gap = fit(np.array([0.4, 0.0, 0.1, 0.05]))  # a layer without attention is left out
    assert gap.layers == 3 and gap.gamma.value == pytest.approx(0.5)


def test_disparity_by_hand():
    found = disparity(np.array([0.8, 0.3, 0.5, 0.0, 1.0]), np.array([0.2, 0.6, 0.5, 0.0, 0.0]))
    np.testing.assert_allclose(found, [0.75, 0.5, 0, np.nan, 1])


# sentences and charts


@pytest.fixture(scope="module")
def found(opened, picture) -> Attention:
    return attend(opened("small"), picture, QUESTION)


def with_scores(found, name, scores, visible=None):
    links = tuple(
        replace(k, score=scores, decay=fit(scores), visible=k.visible if visible is None else visible)
        if k.name == name
        else k
        for k in found.links
    )
    return replace(found, links=links)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (0.3 * 0.8 ** np.arange(12), "attention per key fades by 20 % a layer, γ = 0.80"),
        (0.01 * 1.5 ** np.arange(12), "does not fade but grows by 50 % a layer"),
        (np.array([0.2, 0.21, 0.19, 0.2, 0.2, 0.21, 0.19, 0.2]), "no decay can be told: γ = 1.00"),
        (np.array([9.0, 1, 9, 1, 9, 1, 1, 1, 1, 1, 1, 1]) / 90, "but it is not exponential: the line explains"),
        (np.array([0.2, 0.1]), "from two layers, which a line fits whatever they are"),
        (np.zeros(3), "too few layers"),
    ],
)
def test_decay_in_words(found, scores, said):
    assert said in sentence.decay(with_scores(found, "text-to-image", scores))


def test_half_life_missing_links_and_few_layers_in_words(found):
    assert "halving every 3.1 layers." in sentence.decay(with_scores(found, "text-to-image", 0.8 ** np.arange(12.0)))
    few = "Three layers cannot tell whether attention fades"
    assert sentence.decay(found).startswith(f"{few}: a fit has 1 degree of freedom, and intervals of γ up to ")
    assert "times wide. What it can tell is the disparity. Text-to-image:" in sentence.decay(found)
    assert figure.decay(found, few).layout.title.text == few and figure.decay(found).layout.title.text is None
    assert "sees only 1 text token here" in sentence.decay(found)
    blind = with_scores(found, "image-to-text", np.full(3, np.nan), np.zeros(3))
    assert "Image-to-text: there is no such link" in sentence.decay(blind)


def test_whether_layers_can_tell_is_asked_of_freedom_and_intervals():
    """Logarithms 0, -1, -1, -2: slope -0.6; residuals 0.1, -0.3, 0.3, -0.1 make an error of sqrt(0.2 / 2 / 5)."""
    loose, steady = fit(np.exp([0.0, -1, -1, -2])), fit(0.3 * 0.8 ** np.arange(4))
    wide = np.exp(2 * 4.30265 * np.sqrt(0.02))
    assert wide == pytest.approx(3.38, abs=0.01)
    assert sentence.few(4, [steady, loose]) == (
        "Four layers cannot tell whether attention fades: a fit has 2 degrees of freedom, and intervals of γ up to 3.4 "
        "times wide"
    )
    assert sentence.few(4, [steady]) == ""  # a straight line can be told from four layers, whatever the model
    assert sentence.few(12, [loose]) == ""
    assert sentence.few(2, [fit(np.array([0.2, 0.1]))]) == "Two layers cannot tell whether attention fades"


def test_all_about_a_word_in_words(found):
    share = np.zeros((3, 4, 4))
    share[..., 0], share[..., 1], share[..., 2] = np.array([0.6, 0.3, 0.6])[:, None], 0.3, 0.1
    share[1, :, 2] = 0.4
    keys = np.tile([50.0, 6, 4, 0], (3, 1))
    known = replace(
        found, share=share, keys=keys, written=(" bee", " and"), written_share=np.zeros((3, 2, 4)), invented=()
    )
    # shares of text 0.4, 0.7, 0.4 against 0.6, 0.3, 0.6: apart by 1/3, 4/7, 1/3; a tenth of the text each, so per token
    # 0.04, 0.07, 0.04 against 0.012, 0.006, 0.012: apart by 0.7, 0.914, 0.7
    assert sentence.headline(known) == (
        "When “bee” is written, the token that writes it gives 50 % to the picture (50 tokens), 30 % to the question "
        "(6 tokens) and 20 % to the template (4 tokens), averaged over 3 layers and 4 heads. Layer 1 looks at the "
        "picture most (60 %). One token of the picture gets 1.0 %, one of the text 5.0 %: 5.0 times less for the "
        "picture's. Self- and cross-modal attention are 41 % apart as shares and 77 % per token."
    )
    pieces = replace(known, written=(" be", "e"))
    assert sentence.headline(pieces).startswith("When “bee” is written, the token that writes its first piece gives")
    blind = replace(known, keys=np.tile([0.0, 0, 4, 0], (3, 1)), kind="instruction", position=0, token="<s>")
    assert "Token 0, “<s>”, stands before the picture and cannot see it" in sentence.headline(blind)


def written(found, words, image, invented=(), position=None):
    """``found`` with another answer, and the share of attention on the picture at each token, in all layers alike."""
    share = np.zeros((3, len(words), 4))
    share[:, :, 0] = image
    last = max(t.position for t in found.tokens if t.kind != "answer")
    at = last if position is None else last + position
    return replace(
        found, written=tuple(words), written_share=share, invented=tuple(invented), position=at,
        written_ids=(1,) * len(words),
    )


@pytest.mark.parametrize(
    ("words", "image", "invented", "said"),
    [
        ((" bee",), [0.7], (), "“bee” is written with 70 % of the attention on the picture, and with 70 % in layer 1."),
        (
            (" A", " bee", "."), [0.2, 0.7, 0.1], (),
            "It looks at the picture most while it writes “bee” (70 %), and least at “A” (20 %).",
        ),
        (
            (" dog", " and", " bee"), [0.8, 0.1, 0.6], (True, False, False),
            "Not in the picture: “dog”, written with 80 % of the attention on it; true names, with 60 %.",
        ),
        (
            (" dog", " and", " cat"), [0.8, 0.1, 0.6], (True, False, True),
            "Not in the picture: “dog” and “cat”, written with 70 % of the attention on it; other words, with 10 %.",
        ),
        (
            (" dog", " cat", " pig", " cow", " cat"), [0.8] * 5, (True,) * 5,
            "Not in the picture: “dog”, “cat” and 2 more, written with 80 % of the attention on it: looking is not "
            "seeing.",
        ),
        ((), [], (), "The model answers nothing, so no word of its answer looks anywhere."),
    ],
)
def test_the_headline_over_an_answer(found, words, image, invented, said):
    first, _ = headline(sentence.over(written(found, words, image, invented)))
    assert first == said and len(first.split()) <= 25


def test_words_of_an_answer(found):
    answer = (" There", " is", " a", " d", "og", ",", " no", " cat", " at", " 4", "2", ".")
    known = written(found, answer, np.arange(12) / 20, invented(answer, Counter(bee=2)), position=4)
    assert [w.text for w in known.words] == ["There", "is", "a", "dog", ",", "no", "cat", "at", "42", "."]
    dog, cat = known.words[3], known.words[6]
    assert (dog.first, dog.last, dog.invented, dog.right) == (3, 4, True, False)
    assert dog.image == pytest.approx((3 + 4) / 2 / 20)
    assert known.written_word == dog
    assert (cat.invented, cat.right) == (False, True)  # "no cat" is true
    assert not any(w.right or w.invented for w in replace(known, invented=()).words)
    looked = where.Looked(provenance=None, of=(), attention=known, where=one_map())
    html = figure.words(looked, "data:x")
    last = max(t.position for t in found.tokens if t.kind != "answer")
    assert html.count("<button") == 10 and html.count('class="word invented"') == 1
    assert html.count('aria-pressed="true"') == 1 and f'{{"token": "{last + 3}:d"}}' in html
    chart = figure.by_word(known)
    assert list(chart.layout.xaxis.ticktext) == [w.text for w in known.words]
    np.testing.assert_allclose(chart.data[0].y[3], 100 * dog.image)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("a", "", "", "é", "b", " c"), ["aéb", " c"]),  # bytes of a character, within a word
        (("", "", "鬼", "屋", "が"), ["鬼", "屋", "が"]),  # a script without spaces
        (("", "👍", "!", ""), ["👍", "!"]),
        (("[", "4", "4", ",", "5"), ["[", "44", ",", "5"]),
        ((), []),
        (("",), []),
    ],
)
def test_pieces_and_bytes_are_put_together(tokens, words):
    found = pieces(tokens)
    assert ["".join(tokens[w.start : w.stop]) for w in found] == words
    if words:
        assert [i for w in found for i in w] == list(range(len(tokens)))  # each token in one word


def test_the_word_that_tells_the_most_comes_first():
    answer = (" There", " is", " a", " b", "ee", " and", " a", " dog")
    assert telling(answer, (False,) * 7 + (True,)) == 7
    assert telling(answer, ()) == telling(answer, (False,) * 8) == 3
    assert telling((" yes",), ()) == telling((), ()) == 0


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ([0.8, 0.8, 0.2, 0.2], "80 % of the attention is on the picture, in the second 20 %: it looks less and less."),
        ([0.2, 0.2, 0.8, 0.8], "it looks more and more"),
        ([0.5, 0.6, 0.5, 0.6], "it does not stop looking. Most is at “dog” (60 %), least at “A” (50 %)."),
    ],
)
def test_while_it_answers_in_words(found, image, said):
    known = written(found, ("A", " dog", " and", " bee"), image, (False,) * 4)
    assert said in sentence.by_word(known)
    assert sentence.by_word(known).endswith("All that it names is in the picture.")
    wrong = replace(known, invented=(False, True, False, False))
    assert f"Named, but not there: “dog”, written with {100 * image[1]:.0f} % on the picture" in sentence.by_word(wrong)
    marks = figure.by_word(wrong).data[-1]
    assert (list(marks.x), list(marks.y)) == ([2], [pytest.approx(100 * image[1])])
    assert figure.by_word(written(found, ("A",), [0.5])) is None  # a chart of one dot


def test_invented_things_are_marked_token_by_token():
    written = ("There", " is", " a", " d", "og", ",", " no", " cat", " and", " two", " bees", ".")
    marked = invented(written, Counter(bee=2))
    assert [w for w, bad in zip(written, marked, strict=True) if bad] == [" d", "og"]
    assert not any(invented(written, Counter(bee=1, dog=1)))


def cell(html: str, spot: str) -> str:
    return html.split(f'"spot": "{spot}"')[1].split("</button>")[0]


def test_heat_map_has_a_button_a_cell_and_marks_the_chosen(found):
    html, steps = figure.heads(found, 2, 3).split("steps")
    assert html.count("<button") == 12
    assert html.count("class=chosen") == 1 and html.count("tabindex=-1") == 11  # Tab stops at one of them
    assert "class=chosen" in cell(html, "2,3") and f">{100 * found.share[1, 2, 0]:.0f}" in cell(html, "2,3")
    there = {"1,3": "‹ layer", "3,3": "layer ›", "2,2": "‹ head", "2,4": "head ›", "2,0": "all heads"}
    assert all(told in cell(steps, spot) for spot, told in there.items())
    assert '"spot": "0,' not in figure.heads(found, 1, 4) and '"spot": "1,5' not in figure.heads(found, 1, 4)
    by_value = cell(figure.heads(found, 2, 3, "value_norm"), "2,3")
    assert by_value.endswith(f">{100 * found.contribution[1, 2, 0]:.0f}")
    rollout = figure.heads(found, 0, 0, "rollout")  # a cell leads back from there
    assert "class=chosen" not in rollout and rollout.count('"attention": "raw"') == 12


def test_charts_show_what_was_measured(found):
    share, each = figure.layers(found), figure.layers(found, per_key=True)
    np.testing.assert_allclose(share.data[0].y, 100 * found.mass[:, 0])
    np.testing.assert_allclose(each.data[0].y, 100 * found.per_key[:, 0])
    assert each.layout.yaxis.type == "log"
    bars = figure.disparity(found).data
    np.testing.assert_allclose(bars[1].y, 100 * found.disparity(per_key=True))
    drawn = {t.name: t.y for t in figure.decay(found).data if t.name}
    np.testing.assert_allclose(drawn["image-to-image"], 100 * found.link("image-to-image").score)
    assert len(figure.by_word(found).data) == found.layers + 1


def test_json_and_csv(found):
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert len(data["mass"]) == len(data["per_key"]) == 3
    assert set(data["mass"][0]) == set(KINDS)
    assert sum(data["mass"][0].values()) == pytest.approx(1, abs=1e-5)
    assert {"gamma", "interval", "r2", "links"} <= set(data["decay"])
    assert data["decay"]["gamma"] == found.link("text-to-image").decay.gamma.value
    assert data["disparity"]["mass"]["mean"] == pytest.approx(100 * found.disparity().mean())
    assert found.to_csv().splitlines()[0] == "layer,head,kind,share,value_norm_share,keys"
    assert len(found.to_csv().splitlines()) == 1 + 3 * 4 * 4


def test_what_a_model_says_is_escaped(found):
    bad = replace(found, written=("<i>",) * 2, written_share=found.written_share[:, :2], invented=())
    assert list(figure.by_word(bad).layout.xaxis.ticktext) == ["&lt;i&gt;"] * 2
    looked = where.Looked(provenance=None, of=(), attention=bad, where=one_map())
    assert "<i>" not in figure.words(looked, None) + figure.choices(bad)


# interventions


def test_cutting_all_layers_for_all_text_is_removing_the_picture(model, picture):
    found = probe.carry(model, picture, QUESTION, width=3, who="text")
    encoded = model.encode(picture, QUESTION)
    gone = model.score(encoded.without_image(), [found.target]).logprob[0]
    assert found.cut.shape == (1,)
    assert found.cut[0] == pytest.approx(gone, abs=1e-3)
    assert found.without == pytest.approx(gone, abs=1e-3)
    assert found.plain == pytest.approx(model.score(encoded, [found.target]).logprob[0], abs=1e-5)
    assert abs(found.plain - gone) > 0.01  # the picture matters, or the test would tell nothing


def test_windows_cut_their_own_layers(opened, picture):
    model = opened("small")
    found = probe.carry(model, picture, QUESTION, width=2)
    assert found.first.tolist() == [1, 2]
    encoded = model.encode(picture, QUESTION)
    for first, value in zip((0, 1), found.cut, strict=True):
        scale = probe.Scale("answering", (Modality.IMAGE,), 0.0, layers=(first, first + 1))
        assert model.score(encoded, [found.target], interventions=[scale]).logprob[0] == pytest.approx(value)
    assert probe.carry(model, picture, QUESTION).width == 1  # a sixth of three layers, but one at least
    assert found.lost.tolist() == (found.plain - found.cut).tolist()


def test_what_cannot_be_cut(opened, picture):
    for wrong, told in (({"width": 9}, "must have 1 to 3"), ({"who": "nobody"}, "'nobody' cannot be cut")):
        with pytest.raises(InputError, match=told):
            probe.carry(opened("llava"), picture, QUESTION, **wrong)
    with pytest.raises(ModelError, match="no checkpoint 'nobody'"):
        probe.carry(opened("llava"), picture, QUESTION, "nobody")


def carried(cut, plain=-0.1, without=-3.0):
    scaled = np.array([without, -2, -1, -0.5, plain, -0.09, -0.09, -0.09])
    return probe.Carried(
        provenance=None, question=QUESTION, target="bee", tokens=1, truth_known=True, who="answering",
        width=1, layers=len(cut), first=np.arange(len(cut)) + 1, cut=np.array(cut), plain=plain, without=without,
        weights=np.array(probe.WEIGHTS),
        scaled=scaled,
    )  # fmt: skip


def test_what_carries_the_picture_in_words():
    said = sentence.carried(carried([-0.1, -1.0, -0.1, -0.3]))
    assert said == (
        "Without the picture in layer 2, “bee” falls from 90 % to 37 %. Cut in all, 5 % is left. What was cut is the "
        "attention to the picture of the tokens that write the answer; “bee” is the right answer. Cut alone, 2 of 4 "
        "layers cost anything."
    )
    apart = sentence.carried(carried([-0.1, -0.1]))
    assert apart.startswith("No single layer is needed for “bee” (90 %), but cut in all, 5 % is left.")
    nothing = sentence.carried(carried([-0.1, -0.1], without=-0.1))
    assert nothing.startswith("“bee” does not need the picture here: 90 % as it is, 90 % with it cut off everywhere.")
    long = replace(carried([-0.2, -2.0], plain=-0.2), tokens=2, target="Yes. There is a bee on the left.", width=2)
    assert "its chance is that of each of its 2 tokens (geometric mean)." in sentence.carried(long)
    for told in (said, apart, nothing, sentence.carried(long), sentence.carried(replace(long, cut=np.full(2, -0.2)))):
        assert len(headline(told)[0].split()) <= 25
    assert sentence.carried(long).startswith("Without the picture in layers 2 to 3, “Yes There is …” falls from 90 %")
    np.testing.assert_allclose(figure.carried(long).data[0].y, 100 * np.exp([-0.1, -1.0]))
    bars, plain, without = figure.carried(carried([-0.1, -1.0])).data
    np.testing.assert_allclose(bars.y, 100 * np.exp([-0.1, -1.0]))
    assert plain.y[0] == pytest.approx(100 * np.exp(-0.1)) and without.y[0] == pytest.approx(100 * np.exp(-3.0))


def test_what_if_leaves_all_as_it_was_afterwards(opened, picture):
    model = opened("small")
    change = probe.Change(beta=0.0, image=2.0)
    found = probe.what_if(model, picture, QUESTION, change)
    again = attend(model, picture, QUESTION)
    np.testing.assert_array_equal(found.before.share, again.share)
    assert np.abs(found.after.share - found.before.share).max() > 1e-3
    drained = [1 - sum(k.share for k in found.after.links if k.query == q) for q in ("text", "image")]
    assert (drained[1] > 0.05).all()  # an early token has much after it
    assert (drained[1] > drained[0]).all()
    np.testing.assert_allclose(found.after.share.sum(-1), 1, atol=1e-5)  # nothing comes after the last
    said = sentence.what_if(found)
    assert len(headline(said)[0].split()) <= 25
    assert "pseudo-scores with β = 0 and temperature 2 on the picture" in said
    assert f"{100 * drained[1].mean():.0f} % of its image tokens'" in said
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["change"] == {"beta": 0.0, "image": 2.0, "text": 1.0}
    with pytest.raises(InputError, match="Nothing is changed"):
        probe.what_if(model, picture, QUESTION, probe.Change())
    with pytest.raises(InputError, match="above 0"):
        probe.what_if(model, picture, QUESTION, probe.Change(image=0.0))


def test_the_right_answer_is_followed_where_it_is_known(opened, picture):
    known = Known(Scene((placed("bee", "noto", (0.3, 0.3), 0.4),)), (Turn(QUESTION, "yes", "yes/no", ("yes", "no")),))
    found = probe.carry(opened("small"), picture, QUESTION, known=known)
    assert (found.target, found.truth_known) == ("yes", True)


# checkpoints


def test_all_checkpoints_in_one_batch_as_each_alone(mllm, picture):
    found = across(mllm, picture, QUESTION)
    assert found.checkpoints == ("base", "naming", "counting")
    for i, name in enumerate(found.checkpoints):
        alone = attend(mllm, picture, QUESTION, name)
        np.testing.assert_allclose(found.share[i], alone.mass[:, 0], atol=1e-5)
        np.testing.assert_allclose(found.per_key[i], alone.per_key[:, 0], atol=1e-5)
        assert found.begins[i] == alone.written[0]
        assert found.probability[i] == pytest.approx(np.exp(alone.logprob[0]), abs=1e-4)
    assert len({tuple(row) for row in found.share.round(6)}) == 3
    told = sentence.across(replace(found, share=np.array([[0.5, 0.5], [0.4, 0.5], [0.9, 0.5]])))
    assert told == (
        "From 45 % (naming) to 70 % (counting) of the attention is on the picture; counting moved furthest from the "
        "base, by +20 points. Averaged over layers, of the token that writes the first word. They differ most in layer "
        "1, by up to 40 points from the base."
    )
    np.testing.assert_allclose(figure.across_layers(found).data[1].y, 100 * found.share[1])
    (bars,) = figure.across(found).data
    np.testing.assert_allclose(bars.x, 100 * found.share.mean(1))
    assert list(figure.across(found).layout.yaxis.ticktext) == list(found.checkpoints)


def test_a_model_without_checkpoints_is_one_line(opened, picture):
    found = across(opened("llava"), picture, QUESTION)
    assert found.checkpoints == ("base",)
    assert "There is one checkpoint" in sentence.across(found)
