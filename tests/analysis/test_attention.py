"""Attention against the explicit softmax of the same model in float64; decay and disparity by hand; grids on pixels."""

import copy
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.attention import effect, figure, place, probe, sentence, where
from analysis.attention.across import across
from analysis.attention.across import sentence as across_sentence
from analysis.attention.decay import fit
from analysis.attention.measure import Attention, attend, disparity
from analysis.attention.tokens import KINDS, Token, invented
from analysis.bar import Known
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
    assert sentence.by_token(found) == ""
    for drawn in (figure.by_token(found), figure.disparity(found)):
        assert not drawn.data and drawn.layout.annotations
    assert len(figure.headline(found).data) == 2
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["decay"]["gamma"] is None
    got = where.look(model, None, QUESTION, found.position)
    assert (got.patches, got.image, got.size) == ((), 0, None)
    assert "has no picture to go to" in place.sentence(got)
    assert place.overlay(got, None).layout.annotations[0].text.startswith("No picture")
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
    drawn = place.overlay(replace(one_map(), patches=patches), None).data
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
    heat = place.overlay(found, "data:").data[0]
    assert (heat.x0, heat.dx, heat.y0, heat.dy) == (0.625, 0.25, 0.25, 0.5)
    assert heat.zmax == pytest.approx(0.3 / 0.125)
    html = place.words(found)
    assert "<b><" not in html and "&lt;b&gt;" in html
    assert html.index("&lt;s&gt;</span>") < html.index("the picture</span>") < html.index("&lt;b&gt;</span>")
    assert 'title="50.0 %"' in html  # the picture: 0.1 + 0.3 + 0.1 without a place
    assert place.sentence(found) == (
        "In layer 2, head 1, the attention of “<b>” is 50 % on the picture, 30.0 % on one patch alone, at the top "
        "right of the picture. Of the text, “<s>” gets most (35 %), the prompt's first token: often a sink that means "
        "nothing."
    )
    assert [row[0] for row in found.table().rows] == ["instruction", "question", *["image"] * 5]


# decay and disparity


def test_gamma_of_an_exact_exponential():
    for gamma in (0.7, 1.3):
        found = fit(0.3 * gamma ** np.arange(1, 13))
        assert (found.gamma, found.low, found.high) == pytest.approx((gamma,) * 3, abs=1e-9)
        assert (found.start, found.r2, found.layers) == pytest.approx((0.3, 1, 12))
        assert found.kind == ("fading" if gamma < 1 else "growing")
        np.testing.assert_allclose(found.at(np.array([1, 5])), 0.3 * gamma ** np.array([1, 5]))


def test_three_layers_by_hand():
    """Logarithms 0, -2, -1: the slope is -1/2; residuals 1/2, -1, 1/2 make 1.5 of 2, so R2 is 1/4."""
    found = fit(np.exp([0.0, -2.0, -1.0]))
    assert found.gamma == pytest.approx(np.exp(-0.5))
    assert found.r2 == pytest.approx(0.25)
    error = np.sqrt(1.5 / 1 / 2)  # residual variance over one degree of freedom, over the spread of 1, 2, 3
    assert found.high == pytest.approx(np.exp(-0.5 + 12.7062 * error), rel=1e-4)
    assert found.low == pytest.approx(np.exp(-0.5 - 12.7062 * error), rel=1e-4)
    assert found.kind == "flat"


def test_the_interval_holds_the_planted_gamma_as_often_as_it_says():
    rng, gamma, layers = np.random.default_rng(0), 0.9, np.arange(1, 25)
    found = [fit(0.2 * gamma**layers * np.exp(rng.normal(0, 0.3, 24))) for _ in range(400)]
    assert 0.92 < np.mean([f.low <= gamma <= f.high for f in found]) < 0.98
    assert np.mean([f.gamma for f in found]) == pytest.approx(gamma, abs=0.003)


def test_what_has_no_fit():
    assert fit(np.zeros(5)).kind == "none"
    assert fit(np.array([np.nan, 0.2])).kind == "none"
    assert fit(np.array([0.4, 0.2])).kind == "open"
    level = fit(np.full(6, 0.25))
    assert (level.kind, level.r2, level.gamma) == ("flat", 1.0, pytest.approx(1))
    gap = fit(np.array([0.4, 0.0, 0.1, 0.05]))  # a layer without attention is left out
    assert gap.layers == 3 and gap.gamma == pytest.approx(0.5)


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
    assert "With 3 layers a fit has 1 degree of freedom" in sentence.decay(found)
    assert "sees only 1 text token here" in sentence.decay(found)
    blind = with_scores(found, "image-to-text", np.full(3, np.nan), np.zeros(3))
    assert "Image-to-text: there is no such link" in sentence.decay(blind)


def test_headline_in_words(found):
    share = np.zeros((3, 4, 4))
    share[..., 0], share[..., 1], share[..., 2] = np.array([0.6, 0.3, 0.6])[:, None], 0.3, 0.1
    share[1, :, 2] = 0.4
    keys = np.tile([50.0, 6, 4, 0], (3, 1))
    known = replace(found, share=share, keys=keys, writing=" bee")
    # shares of text 0.4, 0.7, 0.4 against 0.6, 0.3, 0.6: apart by 1/3, 4/7, 1/3; a tenth of the text each, so per token
    # 0.04, 0.07, 0.04 against 0.012, 0.006, 0.012: apart by 0.7, 0.914, 0.7
    assert sentence.headline(known) == (
        "When “bee” is written, the token that writes it gives 50 % to the picture (50 tokens), 30 % to the question "
        "(6 tokens) and 20 % to the template (4 tokens), averaged over 3 layers and 4 heads. Layer 1 looks at the "
        "picture most (60 %). One token of the picture gets 1.0 %, one of the text 5.0 %: 5.0 times less for the "
        "picture's. Self- and cross-modal attention are 41 % apart as shares and 77 % per token."
    )
    blind = replace(known, keys=np.tile([0.0, 0, 4, 0], (3, 1)), kind="instruction", writing="", token="<s>")
    assert "stands before the picture and cannot see it" in sentence.headline(blind)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ([0.8, 0.8, 0.2, 0.2], "80 % of the attention is on the picture, in the second 20 %: it looks less and less."),
        ([0.2, 0.2, 0.8, 0.8], "it looks more and more"),
        ([0.5, 0.6, 0.5, 0.6], "it does not stop looking. Most is at “dog” (60 %), least at “A” (50 %)."),
    ],
)
def test_while_it_answers_in_words(found, image, said):
    written = np.zeros((3, 4, 4))
    written[:, :, 0] = image
    known = replace(found, written=("A", " dog", " and", " bee"), written_share=written, invented=(False,) * 4)
    assert said in sentence.by_token(known)
    assert sentence.by_token(known).endswith("All that it names is in the picture.")
    wrong = replace(known, invented=(False, True, False, False))
    assert f"Named, but not there: “dog”, written with {100 * image[1]:.0f} % on the picture" in sentence.by_token(
        wrong
    )
    marks = figure.by_token(wrong).data[-1]
    assert (list(marks.x), list(marks.y)) == ([2], [pytest.approx(100 * image[1])])


def test_invented_things_are_marked_token_by_token():
    written = ("There", " is", " a", " d", "og", ",", " no", " cat", " and", " two", " bees", ".")
    marked = invented(written, Counter(bee=2))
    assert [w for w, bad in zip(written, marked, strict=True) if bad] == [" d", "og"]
    assert not any(invented(written, Counter(bee=1, dog=1)))


def test_heat_map_has_a_button_a_cell_and_marks_the_chosen(found):
    html = figure.heads(found, 2, 3)
    assert html.count("<button") == 12
    assert html.count("class=chosen") == 1
    cell = html.split('data-pick="2,3"')[1].split("</button>")[0]
    assert "class=chosen" in cell and f">{100 * found.share[1, 2, 0]:.0f}" in cell
    assert 'tabindex="-1"' not in html
    by_value = figure.heads(found, 2, 3, by_value=True).split('data-pick="2,3"')[1].split("</button>")[0]
    assert by_value.endswith(f">{100 * found.contribution[1, 2, 0]:.0f}")
    wide = replace(found, share=np.full((30, 32, 4), 0.25))
    assert figure.heads(wide).count('tabindex="-1"') == 30 * 32


def test_charts_show_what_was_measured(found):
    share, each = figure.headline(found), figure.headline(found, per_key=True)
    np.testing.assert_allclose(share.data[0].y, 100 * found.mass[:, 0])
    np.testing.assert_allclose(each.data[0].y, 100 * found.per_key[:, 0])
    assert each.layout.yaxis.type == "log"
    bars = figure.disparity(found).data
    np.testing.assert_allclose(bars[1].y, 100 * found.disparity(per_key=True))
    drawn = {t.name: t.y for t in figure.decay(found).data if t.name}
    np.testing.assert_allclose(drawn["image-to-image"], 100 * found.link("image-to-image").score)
    assert len(figure.by_token(found).data) == found.layers + 1


def test_json_and_csv(found):
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert len(data["mass"]) == len(data["per_key"]) == 3
    assert set(data["mass"][0]) == set(KINDS)
    assert sum(data["mass"][0].values()) == pytest.approx(1, abs=1e-5)
    assert {"gamma", "interval", "r2", "links"} <= set(data["decay"])
    assert data["decay"]["gamma"] == found.link("text-to-image").decay.gamma
    assert data["disparity"]["mass"]["mean"] == pytest.approx(100 * found.disparity().mean())
    assert found.to_csv().splitlines()[0] == "layer,head,kind,share,value_norm_share,keys"
    assert len(found.to_csv().splitlines()) == 1 + 3 * 4 * 4


def test_what_a_model_says_is_escaped(found):
    bad = replace(found, written=("<i>",) * 2, written_share=found.written_share[:, :2], invented=())
    assert list(figure.by_token(bad).layout.xaxis.ticktext) == ["&lt;i&gt;"] * 2


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
    said = effect.carried_sentence(carried([-0.1, -1.0, -0.1, -0.3]))
    assert said == (
        "Attention of the tokens that write the answer to the picture: as it is, the right answer, “bee”, has 90 %; "
        "with the picture cut off in all 4 layers 5.0 %. Cutting layer 2 costs most: 37 % is left. Cut alone, 2 of 4 "
        "layers cost anything."
    )
    assert effect.carried_sentence(carried([-0.1, -0.1])).endswith(
        "No one layer alone is needed, but all together they are."
    )
    nothing = carried([-0.1, -0.1], without=-0.1)
    assert effect.carried_sentence(nothing).endswith("No one layer is needed, and not even all together.")
    long = replace(carried([-0.2, -2.0], plain=-0.2), tokens=2)
    assert "has 90 % for each of its 2 tokens (geometric mean); with the picture" in effect.carried_sentence(long)
    np.testing.assert_allclose(effect.carried(long).data[0].y, 100 * np.exp([-0.1, -1.0]))
    bars = effect.carried(carried([-0.1, -1.0])).data[0]
    np.testing.assert_allclose(bars.y, 100 * np.exp([-0.1, -1.0]))


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
    said = effect.what_if_sentence(found)
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
    told = across_sentence(replace(found, share=np.array([[0.5, 0.5], [0.4, 0.5], [0.9, 0.5]])))
    assert told == (
        "Averaged over layers, from 45 % (naming) to 70 % (counting) of the attention is on the picture. counting "
        "moved furthest from the base: +20 points. They differ most in layer 1, by up to 40 points from the base."
    )
    drawn = figure.compared({"a": found.share[0], "b": found.share[1]}, "x").data
    np.testing.assert_allclose(drawn[1].y, 100 * found.share[1])


def test_a_model_without_checkpoints_is_one_line(opened, picture):
    found = across(opened("llava"), picture, QUESTION)
    assert found.checkpoints == ("base",)
    assert "There is one checkpoint" in across_sentence(found)
