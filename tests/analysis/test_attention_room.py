"""Attention over many items, MODA against its control, the card, the page and the endpoint."""

import json
import re
from contextlib import contextmanager
from html import escape, unescape

import gradio as gr
import numpy as np
import pytest

from analysis import kept
from analysis.attention import card, figure, sample, sentence
from analysis.attention.endpoint import attention
from analysis.attention.measure import attend, disparity, fit, telling
from analysis.attention.sample import LINKS, Looks, looks, of_sets
from analysis.attention.tab import MODA
from analysis.result import Provenance
from analysis.section import headline
from analysis.statistics import spread
from models import catalog
from models.errors import CheckpointError, InputError, OutOfMemory
from models.manifest import SHIPPED, Manifest
from models.mllm import MLLM
from tests.driving import Driven

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
    assert list(items.tasks) == ["naming"] * 2 + ["counting"] * 2
    told = []
    found = looks(mllm, ["base", "naming"], items, lambda share, what: told.append((share, what)))
    for c, name in enumerate(found.checkpoints):
        for i, item in enumerate(items.items):
            alone = attend(mllm, item.picture(), item.question, name)
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
    of = found.gamma(1, "text-to-image")
    assert (found.decay(1, "text-to-image").gamma.value, of.low, of.high) == pytest.approx((0.81,) * 3)
    assert found.right[1, np.array(found.tasks) == "naming"].mean() == 0.5
    some = planted()
    some.scores["text-to-image"][0, 0, 2] = 0  # an item without a score in one layer is left out
    assert some.decay(0, "text-to-image").gamma.value == pytest.approx(0.9)
    some.scores["text-to-image"][0] = np.nan
    assert some.decay(0, "text-to-image").kind == "none" and some.gamma(0, "text-to-image").n == 0


def test_an_interval_over_items_holds_what_was_planted():
    rng, found = np.random.default_rng(3), planted()
    slopes = rng.normal(np.log(0.9), 0.1, 40)
    found.scores["text-to-image"][0] = np.exp(slopes[:, None] * np.arange(1, 5))
    of = found.gamma(0, "text-to-image")
    assert of.low < 0.9 < of.high and of.high - of.low < 0.1
    assert found.decay(0, "text-to-image").gamma.value == pytest.approx(np.exp(slopes.mean()))
    some = found.scores["text-to-image"][0] = np.exp(rng.normal(-3, 0.5, (40, 4)))
    of = found.gamma(0, "text-to-image")
    each = np.array([np.log(fit(curve).gamma.value) for curve in some])  # item by item
    assert (of.low, of.high) == pytest.approx(tuple(np.exp(spread(each))))


# MODA against its control


def test_arms_are_paired_by_seed():
    assert sample.seeds_of(("base", "control", "moda", "control-2", "moda-2", "moda-1", "modal")) == {
        0: ("control", "moda"),
        2: ("control-2", "moda-2"),
    }
    assert sample.seeds_of(("base", "moda")) == {0: ("base", "moda")}  # trained from the start, the base is the control
    assert sample.seeds_of(("moda",)) == sample.seeds_of(("base", "control")) == {}


def test_the_comparison_by_hand():
    found = sample.compare(planted())
    assert (found.seeds, found.tasks, found.n) == ((0, 1), ("naming", "counting"), (20, 20))
    np.testing.assert_allclose(found.image[:, :, 0], [[0.2, 0.4], [0.3, 0.5]])
    np.testing.assert_allclose(found.accuracy, [[[0, 0]] * 2, [[0.5, 0]] * 2])
    np.testing.assert_allclose(found.gamma["text-to-image"], [[0.9, 0.9**3], [0.9**2, 0.9**4]])
    np.testing.assert_allclose(found.apart[0], [0.75, 1 / 3])
    naming, counting, every = found.gains
    assert (naming.value, counting.value, every.value) == (0.5, 0, 0.25)
    assert naming.clear and not counting.clear and every.clear
    apart = 100 * found.apart_per_key.mean(1)
    assert sample.sentence(found) == (
        f"MODA is more accurate by +25.0 points ({100 * every.low:+.1f} to {100 * every.high:+.1f}, 40 items), over "
        "items; seeds are few. Trained the same way for 2 seeds, plain attention puts 30 % on the picture when it "
        "begins to answer and MODA 40 % (+10.0 to +10.0 points by seed); self- and cross-modal attention per token are "
        f"{apart[0]:.0f} % and {apart[1]:.0f} % apart."
    )
    assert "+50.0 <small>(" in figure.trained_table(found)
    bars = figure.trained_accuracy(found).data
    assert [list(b.y) for b in bars] == [[0, 0], [50, 0]]
    lines = figure.trained_attention(found).data
    assert list(lines[1].error_y.array) == pytest.approx([10] * 4)
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert ["moda", 1, "accuracy", "naming", 0.5] in found.table().rows


def test_equal_arms_and_no_arms_in_words():
    same = planted()
    same.right[:] = 1
    assert "no difference can be told" in sample.sentence(sample.compare(same))
    with pytest.raises(CheckpointError, match="no pair"):
        sample.compare(planted(names=("base", "control")))


# the card


def test_the_card_says_what_was_measured(mllm, monkeypatch):
    monkeypatch.setattr(sample, "available", lambda: False)
    monkeypatch.setattr(card, "ITEMS", 4)
    told = card.section(lambda name: mllm)
    assert told.startswith("## Attention: disparity and decay\n\nn = 4 items")
    for name in mllm.checkpoint_names:
        assert f"\n| {name} |" in told and f"| text-to-image | {name} |" in told
    found = looks(mllm, mllm.checkpoint_names, of_sets(mllm.checkpoints.manifest, 4))
    assert f"| {100 * found.image(0)[:, 0].mean():.0f} |" in told  # of four items no interval is told
    assert f"| {fit(np.exp(np.log(found.scores[LINKS[0]][0]).mean(0))).gamma.value:.2f} |" in told
    assert "In the base, self- and cross-modal attention are" in told
    assert "MODA against" not in told


def test_the_card_compares_both_arms():
    told = card._moda(sample.compare(planted()))
    assert "| right, naming | 0.0 % (0.0 to 0.0) | 50.0 % (50.0 to 50.0) | +50.0 (" in told
    assert "| factor from layer to layer (γ), text-to-image | 0.81 (0.73 to 0.90) | 0.73 (0.66 to 0.81) |" in told
    one = card._moda(sample.compare(planted(names=("control", "moda"))))
    assert "Compared for 1 seed;" in one and "(γ), text-to-image | 0.90 | 0.81 |" in one


def test_what_is_told_of_the_training_is_what_was_written_down_with_what_ships():
    made = Manifest.load(SHIPPED / "moda").recipe
    assert escape(made["about"]) in MODA.about and escape(made["how"]) in MODA.reading
    assert made["how"] in card._moda(sample.compare(planted()))


@pytest.mark.parametrize(
    ("curve", "said"), [(0.5, "An exponential decay shows in"), (1.5, "No link decays exponentially")]
)
def test_the_card_is_true_whatever_the_numbers_are(curve, said):
    found = planted(names=("base", "naming"))
    for link in LINKS:
        found.scores[link][:] = curve ** np.arange(1, 5)
    assert said in card._attention(found)
    assert "naming looks at the picture most differently: +10.0 points" in card._attention(found)


# the endpoint


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
    assert "head 1 of layer 2" in data["map"]["sentence"]
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


# the page


@pytest.fixture
def drive(page_blocks, mllm, using, tmp_path, picture):
    """``drive(section, question)`` opens a section for that question about the test picture, with the small model."""
    using(mllm)
    picture.save(tmp_path / "p.png")

    def opened(name: str, question: str = QUESTION, path=str(tmp_path / "p.png"), **values) -> Driven:
        section = Driven(page_blocks, f"attention/{name}", checkpoint="naming")
        section.question, section.path = question, path
        return section.open(question=question, path=path, **values)

    return opened


def again(section: Driven, question: str = "", **values) -> Driven:
    return section.press(question=question or section.question, path=section.path, **values)


def test_over_the_answer(drive, mllm, picture):
    over = drive("over")
    found = over.shown.result.attention
    alone = attend(mllm, picture, QUESTION, "naming", token=telling)
    np.testing.assert_array_equal(found.share, alone.share)
    assert over.seen["words"].count("<button") == len(found.words)
    assert headline(sentence.over(found))[0] in unescape(over.seen["told"])
    assert f"while “{found.written_word.text[:15]}" in unescape(over.seen["layers"].layout.xaxis.title.text)
    # by what a click on the last word sets
    value = unescape(re.findall(r'"token": "([^"]*)"', over.seen["words"])[-1])
    last = again(over, token=value).shown.result.attention
    assert last.written_word == found.words[-1] != found.written_word
    np.testing.assert_allclose(last.mass, last.written_share[:, last.words[-1].first], atol=1e-6)
    each = over.change("scale", question=QUESTION, path=over.path, token=value, scale="per key token").seen["layers"]
    assert each.layout.yaxis.type == "log" and f"“{last.words[-1].text[:15]}" in unescape(each.layout.xaxis.title.text)


def test_a_token_of_the_prompt_may_look(drive):
    over = drive("over")
    found = over.shown.result.attention
    token = next(t for t in found.tokens if t.kind == "question" and t.text.strip())
    value = f"{token.position}:{token.text.strip()}"
    assert escape(f'{{"token": "{value}"}}', quote=False) in over.seen["foot"]
    looked = again(over, token=value).shown.result.attention
    assert (looked.position, looked.written_word) == (token.position, None)
    assert 'aria-pressed="true"' not in over.seen["words"]


@pytest.mark.parametrize("token", ["99999:bee", "x", "-1:a", "3:another", "²:a"])
def test_a_token_of_another_answer_is_not_followed(drive, token):
    over = drive("over", token=token)
    assert over.shown.result.attention.position == drive("over").shown.result.attention.position


def test_layers_and_heads(drive, mllm, picture):
    heads = drive("heads")
    found, where = heads.shown.result.attention, heads.shown.result.where
    assert found.share[where.layer - 1, where.head - 1, 0] == found.share[:, :, 0].max()
    assert where.image == pytest.approx(found.share[:, :, 0].max(), abs=1e-5)
    assert heads.seen["overlay"].layout.images[0].source.startswith("data:image/webp;")
    assert headline(heads.built.section.sentence(heads.shown.result))[0] in unescape(heads.seen["told"])
    again(heads, spot="3,2")
    assert heads.shown.result.attention is found  # nothing but the cell is read anew
    assert (heads.shown.result.where.layer, heads.shown.result.where.head) == (3, 2)
    assert heads.shown.result.where.image == pytest.approx(found.share[2, 1, 0], abs=1e-5)
    assert "class=chosen" in heads.seen["map"].split('"spot": "3,2"')[1].split(">")[0]
    weighted = again(heads, spot="3,2", attention="value_norm").shown.result
    assert weighted.where.image == pytest.approx(found.contribution[2, 1, 0], abs=1e-5)
    assert again(heads, spot="3,2", attention="rollout").shown.result.where.layer == 0
    assert again(heads, spot="3,0").shown.result.where.head == 0  # all heads
    assert {row[0] for row in heads.shown.result.table().rows} >= {"image", "question"}
    assert heads.shown.result.to_json()["map"]["layer"] == 3


@pytest.mark.parametrize("spot", ["9,1", "1,9", "x,1", "0,1", "1", "²,1", "-1,2"])
def test_a_layer_and_head_that_are_not_there_are_the_strongest(drive, spot):
    where = drive("heads", spot=spot).shown.result.where
    strongest = drive("heads").shown.result.where
    assert (where.layer, where.head) == (strongest.layer, strongest.head)


def test_another_question_is_looked_at_anew(drive):
    heads = drive("heads", spot="3,2")
    before = heads.shown.result.attention
    again(heads, "Who is there?", spot="3,2")
    assert heads.shown.result.attention is not before and heads.shown.result.where.question == "Who is there?"
    assert (heads.shown.result.where.layer, heads.shown.result.where.head) == (3, 2)  # the same head for another input


def test_cut_and_what_if(drive):
    cut = drive("cut")
    assert "width" in cut.seen["form"] and cut.shown.result.who == "answering"
    assert cut.seen["answers"] == "" and len(cut.seen["chart"].data) == 3 and len(cut.seen["more"].data) == 1
    again(cut, what="cut", who="text", width="2")
    assert (cut.shown.result.who, cut.shown.result.width) == ("text", 2)
    again(cut, what="attend", image="3")
    found = cut.shown.result
    assert (found.change.beta, found.change.image) == (None, 3.0) and "temperature 3 on the picture" in cut.seen["foot"]
    assert "width" not in cut.seen["form"] and 'name="beta"' in cut.seen["form"]
    assert unescape(cut.seen["answers"]).count(found.after.answer) == 1 and len(cut.seen["chart"].data) == 2
    assert again(cut, what="attend", image="1", pseudo="true", beta="0.5").shown.result.change.beta == 0.5


def test_every_checkpoint(drive):
    checkpoints = drive("checkpoints")
    assert checkpoints.shown.result.checkpoints == ("base", "naming", "counting")
    assert list(checkpoints.seen["chart"].layout.yaxis.ticktext) == ["base", "naming", "counting"]
    assert len(checkpoints.seen["layers"].data) == 3


def test_moda_shows_what_is_kept_and_measures_what_is_missing(page_blocks, mllm, using, monkeypatch):
    using(mllm)
    monkeypatch.setattr(sample, "available", lambda: True)
    monkeypatch.setattr(sample, "sample", lambda: of_sets(mllm.checkpoints.manifest, 4))
    monkeypatch.setattr(sample, "seeds_of", lambda names: {0: ("naming", "counting")})
    moda = Driven(page_blocks, "attention/moda").open()
    assert moda.shown is None and "Not measured yet" in moda.seen["told"]
    moda.press()
    assert moda.shown.result.n == (2, 2) and "MODA changes accuracy by" in moda.seen["told"]
    other = Driven(page_blocks, "attention/moda").open()
    np.testing.assert_array_equal(other.shown.result.accuracy, moda.shown.result.accuracy)
    assert len(other.seen["accuracy"].data) == 2 and "<table" in other.seen["foot"]


def test_without_a_pair_the_page_says_what_to_do(page_blocks, monkeypatch):
    monkeypatch.setattr(catalog, "entries", list)
    moda = Driven(page_blocks, "attention/moda").open()
    assert moda.shown is None and "Run: python -m models.embedded.moda" in moda.seen["told"]


@pytest.mark.parametrize("name", ["over", "heads", "cut", "checkpoints"])
def test_without_a_question_the_page_says_what_to_do(drive, name):
    with pytest.raises(gr.Error, match="no question yet"):
        drive(name, "").press()


def test_without_a_picture_there_is_nothing_to_cut(drive):
    for name in ("cut", "checkpoints"):
        with pytest.raises(gr.Error, match="no picture"):
            drive(name, path=None)
    assert drive("over", path=None).seen["writing"] is None
    assert drive("heads", path=None).shown.result.where.size is None


def test_examples_show_what_they_promise(page_blocks):
    """On the model that ships, each section opens on an example where its phenomenon shows, and says so in a line."""
    found = {}
    for name in ("over", "heads", "cut", "checkpoints"):
        section = Driven(page_blocks, f"attention/{name}")
        for i, one in enumerate(section.built.section.tries):
            shown = section.press(one.example, one.question, **one.values).shown.result
            first, _ = headline(section.built.section.sentence(shown))
            assert len(first.split()) <= 25, first
            found[name, i] = shown
    over = found["over", 0].attention
    looks = {w.text: w.image for w in over.words if w.invented}
    assert len(looks) >= 2 and min(looks.values()) > 1.5 * np.mean([w.image for w in over.words])
    assert found["over", 2].attention.mass[:, 0].max() < 0.01
    assert found["heads", 0].where.image > 0.95
    cut = found["cut", 0]
    assert cut.chance(cut.plain) > 0.9 and cut.chance(cut.cut).min() < 0.05 and cut.lost.argmax() == 1
    assert found["cut", 1].lost.argmax() == 0 and found["cut", 1].lost.max() > 2
    assert found["cut", 2].lost.max() < 0.05 and found["cut", 2].plain - found["cut", 2].without < 0.05
    assert found["cut", 3].before.answer != found["cut", 3].after.answer
    assert np.ptp(found["checkpoints", 0].share.mean(1)) > 0.2
    moda = Driven(page_blocks, "attention/moda").open().shown
    assert moda is None or len(headline(sample.sentence(moda.result))[0].split()) <= 25
