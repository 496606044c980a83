"""Attention over many items, MODA against its control, the card, the page and the endpoint."""

import json
from contextlib import contextmanager

import gradio as gr
import numpy as np
import pytest

from analysis import bar as shared_bar
from analysis import kept
from analysis.attention import card, effect, more, place, sample, tab, trained
from analysis.attention.decay import fit
from analysis.attention.endpoint import attention
from analysis.attention.measure import attend, disparity
from analysis.attention.sample import LINKS, Looks, looks, of_sets
from analysis.result import Provenance
from models import catalog
from models.errors import CheckpointError, InputError, OutOfMemory
from models.mllm import MLLM

QUESTION = "Is there a bee?"
BY = Provenance("tiny", "base", "float32", "cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")


@pytest.fixture
def using(monkeypatch):
    """``using(mllm)`` makes the app's every model that one."""

    def one(model):
        @contextmanager
        def use(name=None):
            yield model

        monkeypatch.setattr(catalog, "using", use)

    return one


# many items


def test_items_are_measured_one_by_one_as_the_room_measures_them(mllm):
    items = of_sets(mllm.checkpoints.manifest, 4)
    assert [i.task for i in items.items] == ["naming"] * 2 + ["counting"] * 2
    told = []
    found = looks(mllm, ["base", "naming"], items, lambda share, what: told.append((share, what)))
    for c, name in enumerate(found.checkpoints):
        for i, item in enumerate(items.items):
            alone = attend(mllm, item.picture, item.question, name)
            np.testing.assert_allclose(found.share[c, i], alone.mass, atol=1e-5)
            np.testing.assert_array_equal(found.keys[c, i], alone.keys)
            for link in LINKS:
                np.testing.assert_allclose(found.scores[link][c, i], alone.link(link).score, atol=1e-5)
            assert found.disparity(c)[i] == pytest.approx(np.mean(alone.disparity()), abs=1e-4)
            assert found.disparity(c, per_key=True)[i] == pytest.approx(np.mean(alone.disparity(True)), abs=1e-4)
    assert found.right.shape == (2, 4)
    assert [share for share, _ in told] == [i / 8 for i in range(8)]
    assert told[-1][1] == "attention of naming: 3 of 4 items"


def test_what_was_measured_is_kept_and_other_items_are_not_mistaken_for_it(mllm, monkeypatch):
    items = of_sets(mllm.checkpoints.manifest, 4)
    found = looks(mllm, ["base"], items)
    ran = []
    forward = mllm.forward
    monkeypatch.setattr(mllm, "forward", lambda *args, **kwargs: ran.append(1) or forward(*args, **kwargs))
    again = looks(mllm, ["base"], items)
    assert not ran
    np.testing.assert_array_equal(again.share, found.share)
    np.testing.assert_array_equal(again.right, found.right)
    looks(mllm, ["base"], of_sets(mllm.checkpoints.manifest, 6))
    assert ran


def test_where_memory_is_short_fewer_are_looked_at_at_once(mllm, monkeypatch):
    items = of_sets(mllm.checkpoints.manifest, 6)
    wanted = dict(sample._looked(mllm, "naming", items, range(6)))
    forward, sizes = mllm.forward, []

    def short(batch, *args, **kwargs):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise OutOfMemory("full")
        return forward(batch, *args, **kwargs)

    monkeypatch.setattr(mllm, "forward", short)
    found = dict(sample._looked(mllm, "naming", items, range(6)))
    assert max(sizes) > 1 and sizes.count(1) == 6
    for i, row in wanted.items():
        assert found[i]["answers"] == row["answers"] and np.array_equal(found[i]["keys"], row["keys"])
        np.testing.assert_allclose(found[i]["share"], row["share"], atol=1e-5)


def test_stopping_keeps_nothing_half(mllm):
    def stop(share, what):
        raise InterruptedError

    items = of_sets(mllm.checkpoints.manifest, 4)
    with pytest.raises(InterruptedError):
        looks(mllm, ["counting"], items, stop)
    assert looks(mllm, ["counting"], items).share.shape == (1, 4, 3, 4)


def planted(names=("control", "moda", "control-1", "moda-1"), tasks=("naming",) * 20 + ("counting",) * 20) -> Looks:
    """Image shares 0.2 + 0.1 * row in each of 4 layers; text-to-image decays by 0.9 ** (row + 1)."""
    n = len(tasks)
    share = np.zeros((len(names), n, 4, 4))
    share[..., 0] = (0.2 + 0.1 * np.arange(len(names)))[:, None, None]
    share[..., 1] = 1 - share[..., 0]
    keys = np.broadcast_to([40.0, 10.0, 0.0, 0.0], share.shape)
    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(0, 0.5, (len(names), n, 1)))
    scores = {
        link: level * (0.9 ** (np.arange(len(names)) + 1))[:, None, None] ** np.arange(1, 5)[None, None]
        for link in LINKS
    }
    right = np.zeros((len(names), n))
    right[1::2, :10] = 1  # MODA is right in half of the naming items, control in none
    return Looks(
        provenance=BY, checkpoints=tuple(names), tasks=tasks, share=share, keys=keys, scores=scores, right=right
    )


def test_numbers_of_many_items_by_hand():
    found = planted()
    assert found.image(1).mean() == pytest.approx(0.3)
    np.testing.assert_allclose(found.disparity(0), disparity(np.array([0.8]), np.array([0.2]))[0])  # 0.75
    np.testing.assert_allclose(found.disparity(0, per_key=True), (0.08 - 0.005) / 0.08)
    whole, low, high = found.decay(1, "text-to-image")
    assert (whole.gamma, low, high) == pytest.approx((0.81,) * 3)
    assert found.accuracy(1, "naming").mean() == 0.5
    some = planted()
    some.scores["text-to-image"][0, 0, 2] = 0  # an item without a score in one layer is left out
    assert some.decay(0, "text-to-image")[0].gamma == pytest.approx(0.9)
    some.scores["text-to-image"][0] = np.nan
    assert some.decay(0, "text-to-image")[0].kind == "none"


def test_an_interval_over_items_holds_what_was_planted():
    rng, found = np.random.default_rng(3), planted()
    slopes = rng.normal(np.log(0.9), 0.1, 40)
    found.scores["text-to-image"][0] = np.exp(slopes[:, None] * np.arange(1, 5))
    whole, low, high = found.decay(0, "text-to-image")
    assert low < 0.9 < high and high - low < 0.1
    assert whole.gamma == pytest.approx(np.exp(slopes.mean()))


# MODA against its control


def test_arms_are_paired_by_seed():
    assert trained.seeds_of(("base", "control", "moda", "control-2", "moda-2", "moda-1", "modal")) == {
        0: ("control", "moda"),
        2: ("control-2", "moda-2"),
    }


def test_the_comparison_by_hand():
    found = trained.compare(planted())
    assert (found.seeds, found.tasks, found.n) == ((0, 1), ("naming", "counting"), (20, 20))
    np.testing.assert_allclose(found.image[:, :, 0], [[0.2, 0.4], [0.3, 0.5]])
    np.testing.assert_allclose(found.accuracy, [[[0, 0]] * 2, [[0.5, 0]] * 2])
    np.testing.assert_allclose(found.gamma["text-to-image"], [[0.9, 0.9**3], [0.9**2, 0.9**4]])
    np.testing.assert_allclose(found.apart[0], [0.75, 1 / 3])
    naming, counting, every = found.gains
    assert (naming.value, counting.value, every.value) == (0.5, 0, 0.25)
    assert naming.clear and not counting.clear and every.clear
    apart = 100 * found.apart_per_key.mean(1)
    assert trained.sentence(found) == (
        "Trained the same way for 2 seeds, plain attention puts 30 % on the picture when it begins to answer and "
        "MODA 40 % (+10.0 to +10.0 points by seed); self- and cross-modal attention per token are "
        f"{apart[0]:.0f} % and {apart[1]:.0f} % apart. MODA is more accurate by +25.0 points "
        f"({100 * every.low:+.1f} to {100 * every.high:+.1f}, n = 40), over items; seeds are few."
    )
    table = effect.trained_table(found)
    assert "+50.0 (" in table and "Not measured" in effect.trained_table(None)
    bars = effect.trained_accuracy(found).data
    assert [list(b.y) for b in bars] == [[0, 0], [50, 0]]
    lines = effect.trained_attention(found).data
    assert list(lines[1].error_y.array) == pytest.approx([10] * 4)
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert ["moda", 1, "accuracy", "naming", 0.5] in found.table().rows


def test_equal_arms_and_no_arms_in_words():
    same = planted()
    same.right[:] = 1
    assert "no difference can be told" in trained.sentence(trained.compare(same))
    with pytest.raises(CheckpointError, match="no pair"):
        trained.compare(planted(names=("base", "moda")))


def test_without_a_pair_the_page_says_what_to_do(monkeypatch):
    monkeypatch.setattr(catalog, "entries", list)
    with pytest.raises(CheckpointError, match=r"Run: python -m models\.embedded\.moda"):
        list(more._compared())


def test_the_page_compares_what_is_there(mllm, using, monkeypatch):
    using(mllm)
    monkeypatch.setattr(trained, "available", lambda: True)
    monkeypatch.setattr(trained, "sample", lambda: of_sets(mllm.checkpoints.manifest, 4))
    monkeypatch.setattr(trained, "seeds_of", lambda names: {0: ("naming", "counting")})
    *_, last = more._compared()
    assert last[0] == "" and last[4].n == (2, 2)
    assert "Trained the same way for 1 seed," in last[3]


# the card


def test_the_card_says_what_was_measured(mllm, monkeypatch):
    monkeypatch.setattr(trained, "available", lambda: False)
    monkeypatch.setattr(card, "ITEMS", 4)
    told = card.section(lambda name: mllm)
    assert told.startswith("## Attention: disparity and decay\n\nn = 4 items")
    for name in mllm.checkpoint_names:
        assert f"\n| {name} |" in told and f"| text-to-image | {name} |" in told
    found = looks(mllm, mllm.checkpoint_names, of_sets(mllm.checkpoints.manifest, 4))
    assert f"| {100 * found.image(0)[:, 0].mean():.0f}% (" in told
    assert f"{fit(np.exp(np.log(found.scores[LINKS[0]][0]).mean(0))).gamma:.2f} (" in told
    assert "In the base, self- and cross-modal attention are" in told
    assert "MODA against" not in told


def test_the_card_compares_both_arms():
    told = card._moda(trained.compare(planted()))
    assert "| accuracy, naming | 0.0 % (0.0 to 0.0) | 50.0 % (50.0 to 50.0) | +50.0 (" in told
    assert "| gamma, text-to-image | 0.81 (0.73 to 0.90) | 0.73 (0.66 to 0.81) |" in told
    one = card._moda(trained.compare(planted(names=("control", "moda"))))
    assert "for each of 1 seed," in one and "| gamma, text-to-image | 0.90 | 0.81 |" in one


@pytest.mark.parametrize(
    ("curve", "said"), [(0.5, "An exponential decay shows in"), (1.5, "No link decays exponentially")]
)
def test_the_card_is_true_whatever_the_numbers_are(curve, said):
    found = planted(names=("base", "naming"))
    for link in LINKS:
        found.scores[link][:] = curve ** np.arange(1, 5)
    assert said in card._attention(found)
    assert "naming looks at the picture most differently: +10.0 points" in card._attention(found)


# endpoint and page


def upload(picture, tmp_path) -> dict:
    picture.save(tmp_path / "p.png")
    return {"path": str(tmp_path / "p.png"), "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("name", ["embedded", "llava_next", "qwen2_5_vl"])
def test_endpoint(name, zoo, picture, tmp_path, using):
    if name != "embedded":
        using(MLLM.open(zoo(name), device="cpu"))
    image = upload(picture, tmp_path)
    data = attention(image, QUESTION, layer=2, head=1)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {"mass", "per_key", "disparity", "decay", "sentence", "provenance"} <= set(data)
    assert {"gamma", "interval", "r2"} <= set(data["decay"])
    for layer in data["mass"]:
        assert sum(layer.values()) == pytest.approx(1, abs=1e-4)
    spots = sum(np.sum(p["values"]) for p in data["map"]["patches"]) + data["map"]["rest"]
    assert spots == pytest.approx(data["heads"][1][0], abs=1e-5)
    assert data["map"]["sentence"].startswith("In layer 2, head 1, ")
    rollout = attention(image, QUESTION, weighting="rollout")["map"]
    assert (rollout["layer"], rollout["head"], rollout["mode"]) == (0, 0, "rollout")
    assert "map" not in attention(None, QUESTION)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"question": 7}, "question must be a text"),
        ({"question": " "}, "no question"),
        ({"token": 1e9}, "no token 1000000000"),
        ({"token": -2}, "no token -2"),
        ({"token": "3"}, "token must be a whole number"),
        ({"layer": 1.5}, "layer must be a whole number"),
        ({"layer": True}, "layer must be a whole number"),
        ({"layer": 9}, "no layer 9"),
        ({"layer": 1, "head": 99}, "head 99"),
        ({"weighting": "magic"}, "no weighting 'magic'"),
        ({"image": {"path": "/etc/hostname"}}, "uploaded file"),
    ],
)
def test_endpoint_refuses(mllm, using, wrong, told):
    using(mllm)
    with pytest.raises(InputError, match=told):
        attention(**{"question": QUESTION, **wrong})


@pytest.fixture
def shown(mllm, picture, tmp_path, using):
    """What the page shows of a question, and what was asked."""
    using(mllm)
    picture.save(tmp_path / "p.png")
    asked = ("small", "naming", str(tmp_path / "p.png"), QUESTION)
    return tab._measured(*asked, None, tab._BEGINS, tab._SCALES[0], "raw", "", None), asked


def test_the_page_shows_one_measurement(shown, mllm, picture):
    views, asked = shown
    assert len(views) == 18
    found = views[10]
    np.testing.assert_array_equal(found.share, attend(mllm, picture, QUESTION, "naming").share)
    layer, head = tab._strongest(found)
    assert found.share[layer - 1, head - 1, 0] == found.share[:, :, 0].max()
    seen = views[-1]
    assert (seen.found.layer, seen.found.head) == (layer, head)
    assert seen.found.image == pytest.approx(found.share[layer - 1, head - 1, 0], abs=1e-5)
    assert place.overlay(seen.found, seen.picture).layout.images[0].source.startswith("data:image/webp;")
    labels = {value: label for label, value in views[7].choices}
    assert f"{found.position + 1} · “{found.written[0].strip()}” (answer)" == labels[found.position + 1]
    assert found.position not in labels and labels[tab._BEGINS].startswith("the one that writes")
    assert tab._opened(*asked, None, tab._BEGINS, tab._SCALES[0], "raw", "", views[11]) == [gr.skip()] * 18
    assert len(tab._figures(found)) == 5


def test_a_token_is_kept_for_its_question_only(shown):
    views, asked = shown
    again = tab._measured(*asked, None, 2, tab._SCALES[1], "value_norm", "", views[11])
    assert again[10].position == 2 and again[7].value == 2
    other = tab._measured(*asked[:3], "Who is there?", None, 2, tab._SCALES[0], "raw", "", views[11])
    assert other[10].writing == other[10].written[0] and other[7].value == tab._BEGINS


def test_layer_and_head_are_kept_for_their_question_only(shown):
    views, asked = shown
    rest = (None, tab._BEGINS, tab._SCALES[0], "raw", "3,2")
    for before in (None, asked):  # a link's, the visitor's own
        kept = tab._measured(*asked, *rest, before)
        assert (kept[8].value, kept[9].value, kept[12]) == (3, 2, "3,2")
        assert (kept[-1].found.layer, kept[-1].found.head) == (3, 2)
    other = tab._measured(*asked[:3], "Who is there?", *rest, asked)
    assert (other[8].value, other[9].value) == tab._strongest(other[10]) and other[12] == ""
    beyond = tab._measured(*asked, *rest[:-1], "9,1", None)
    assert (beyond[8].value, beyond[9].value) == tab._strongest(beyond[10]) and beyond[12] == ""


def test_another_cell_of_the_heat_map(shown):
    views, _ = shown
    found, asked = views[10], views[11]
    heads, overlay, words, said, seen = tab._seen(asked, found, 3, 4, "value_norm")
    assert seen.found.image == pytest.approx(found.contribution[2, 3, 0], abs=1e-5)
    assert "In layer 3, head 4" in said and overlay.data and "class=chosen" in heads and "card" in words
    *_, seen = tab._seen(asked, found, 3, 4, "rollout")
    assert seen.found.layer == 0
    assert tab._seen(asked, None, 3, 4, "raw") == (gr.skip(),) * 5
    click = lambda pick: gr.EventData(None, {"pick": pick})  # noqa: E731
    assert tab._picked(found, click("3,4")) == (3, 4)
    assert tab._picked(found, click("3,0")) == (3, 0)  # all heads
    for wrong in ("", "9,1", "1,9", "x,1", "0,1", "1"):
        assert tab._picked(found, click(wrong)) == (gr.skip(), gr.skip())


def test_without_a_question_the_page_says_what_to_do(using, mllm):
    using(mllm)
    with pytest.raises(InputError, match="Type a question"):
        tab._measured("m", "base", None, "  ", None, -1, tab._SCALES[0], "raw", "", None)
    for part in (
        lambda: more._everyone("m", "base", None, "", None),
        lambda: more._tried("m", "base", None, "", None, True, 0.1, 1, 1),
        lambda: list(more._carried("m", "base", None, "", None, "all text", 0)),
    ):
        with pytest.raises(InputError, match="no question"):
            part()


def test_the_folded_parts(shown):
    _, asked = shown
    chart, said, found = more._everyone(*asked, None)
    assert len(chart.data) == 3 and "from the base" in said and len(found.checkpoints) == 3
    *_, (progress, bars, line, said, found) = more._carried(*asked, None, "all text", 2)
    assert (
        progress == "" and (found.who, found.width) == ("text", 2) and bars.data and line.data and found.target in said
    )
    first, second, said, found = more._tried(*asked, None, False, 0.5, 2.0, 1.0)
    assert found.change.beta is None and "temperature 2 on the picture" in said
    assert len(first.data) == len(second.data) == 2


def test_the_room_is_built_and_its_examples_exist():
    with gr.Blocks():
        bar = shared_bar.build()
        with gr.Tab("x"):
            tab.build(bar)
    examples = shared_bar.examples()
    for name, question, _ in tab._TRY:
        assert examples[name].known.turn(question) is not None
    assert tab._try(gr.EventData(None, {"pick": str(len(tab._TRY) - 1)}))[3] == tab._TRY[-1][1]
    assert sample.ITEMS == 120
