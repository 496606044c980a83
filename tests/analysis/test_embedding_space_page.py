"""Clouds of planted spaces, maps made in another process, what the sections draw and answer, which encoders open."""

import re
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from html import escape, unescape

import gradio as gr
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from analysis import bar as shared_bar
from analysis import kept, section
from analysis.embedding_space import contrast, figure, lost, mapped, maps, measure, runs, spaces, tab
from analysis.embedding_space.measure import Phase
from analysis.embedding_space.result import MEASURES
from analysis.embedding_space.retrieval import recalls, repeated, versus
from analysis.embedding_space.runs import of_space
from analysis.embedding_space.spaces import Key, Whole
from analysis.embedding_space.tab import ROOM
from models import dual_catalog
from models.checkpoints import BASE
from models.errors import CheckpointError, InputError, ModelError
from tests.analysis import test_embedding_space as planted
from tests.driving import Driven
from tests.lending import lend

folder = planted.folder
D = planted.D


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(spaces, "_memory", type(spaces._memory)())
    spaces.uri.cache_clear()


def turned(degrees=40, n=30):
    """Images and texts that turn as a whole, twice, each time by as much; ``[3, n, D]``."""
    v, t, r = planted.cloud(0, n), planted.cloud(1, n), planted.turn(degrees)
    return np.stack([v, v @ r, v @ r @ r]), np.stack([t, t @ r, t @ r @ r])


LABELS, DOMAINS = ["base", "animals", "food"], ("animals",) * 15 + ("food",) * 15


def a_space(n=30, images=None, words=None, **changes):
    v, t = turned(n=n)
    settings = {"pairs": planted.pairs_of(n, DOMAINS[:n]), "trained": ["", "animals", "food"]} | changes
    return planted.space(v if images is None else images, t if words is None else words, LABELS, **settings)


def put(*of, pairs=None, opened=None, titles=("Plain", "Mod-X")) -> None:
    """Make the room show these spaces, as plain and as Mod-X."""
    for name, title, space in zip(("plain", "mod-x"), titles, of, strict=False):
        phases = tuple(Phase(label, "", BASE) for label in space.phases)
        pairs = pairs or planted.pairs_of(space.n, space.domains)
        spaces._memory[Key(name)] = Whole(title, space, pairs, phases, opened, (of_space(space),))


# --- projections


def test_turning_back_undoes_a_rotation_and_leaves_the_raw_cloud_turned():
    v, t = turned()
    raw, back = maps.pca(v, t)
    for phase in (1, 2):
        np.testing.assert_allclose(back.images[phase], back.images[0], atol=1e-6)
        np.testing.assert_allclose(back.words[phase], back.words[0], atol=1e-6)
        assert np.abs(raw.images[phase] - raw.images[0]).max() > 0.1
    np.testing.assert_allclose(raw.images[0], back.images[0], atol=1e-12)  # both views begin with the same picture
    np.testing.assert_allclose(back.explained, back.explained[0])
    assert raw.explained[0] == pytest.approx(back.explained[0]) and raw.explained[1] < raw.explained[0]


def test_turning_back_changes_no_distance_and_keeps_what_is_no_rotation():
    v, t = turned()
    v[1] = planted.sp.unit(v[1] + 0.3 * np.random.default_rng(3).normal(size=v[1].shape))
    images, words = maps.aligned(v, t)
    for phase in range(3):
        np.testing.assert_allclose(
            pdist(np.vstack([images[phase], words[phase]])), pdist(np.vstack([v[phase], t[phase]])), atol=1e-9
        )
    assert np.linalg.norm(images[1] - images[0], axis=1).mean() > 0.2
    _, back = maps.pca(v, t)
    assert np.abs(back.images[1] - back.images[0]).max() > 0.1


def test_modalities_that_turn_differently_are_not_hidden():
    v, t = turned()
    t[1] = t[0]  # the texts stay, the images turn
    images, words = maps.aligned(v[:2], t[:2])
    assert np.linalg.norm(images[1] - images[0], axis=1).mean() > 0.1
    assert np.linalg.norm(words[1] - words[0], axis=1).mean() > 0.1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_axes_are_the_principal_ones_of_phase_0(dimensions):
    v, t = turned()
    raw, _ = maps.pca(v, t, dimensions)
    whole = np.vstack([v[0], t[0]])
    _, size, axes = np.linalg.svd(whole - whole.mean(0))
    by_hand = (np.vstack([v[2], t[2]]) - whole.mean(0)) @ axes[:dimensions].T
    drawn = np.vstack([raw.images[2], raw.words[2]])
    np.testing.assert_allclose(np.abs(drawn), np.abs(by_hand), atol=1e-8)  # an axis may point either way
    assert raw.explained[0] == pytest.approx((size[:dimensions] ** 2).sum() / (size**2).sum())


def test_what_cannot_be_drawn_is_refused():
    v, t = turned()
    with pytest.raises(InputError, match="at least 3 pairs; there are 2"):
        maps.pca(v[:, :2], t[:, :2])
    v[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        maps.pca(v, t)
    with pytest.raises(InputError, match="not numbers"):
        maps.embedded(v, t, "tsne")


# --- maps


def test_a_map_is_made_in_another_process_once(monkeypatch):
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(2, D)) * 4
    group = np.repeat([0, 1], 10)
    v = np.stack([centre[group] + 0.1 * rng.normal(size=(20, D))] * 2)
    told = []
    found = maps.embedded(v, v + 0.01, "tsne", 2, lambda share, what: told.append(share))
    assert found.images.shape == found.words.shape == (2, 20, 2) and np.isfinite(found.images).all()
    for phase in found.images:  # neighbours stay neighbours: the two groups are apart
        middle = np.stack([phase[group == g].mean(0) for g in (0, 1)])
        own = np.linalg.norm(phase[:, None] - middle[None], axis=2).argmin(1)
        np.testing.assert_array_equal(own, group)
    moved = np.linalg.norm(found.images[1] - found.images[0], axis=1).mean()
    assert moved < np.ptp(found.images[0], axis=0).max() / 3  # the second starts from the first
    assert told == sorted(told) and 0 < told[-1] < 1 and np.isnan(found.explained).all()
    monkeypatch.setattr(subprocess, "Popen", None)
    np.testing.assert_array_equal(maps.embedded(v, v + 0.01, "tsne").images, found.images)
    for other in (lambda: maps.embedded(v, v + 0.01, "tsne", 3), lambda: maps.embedded(v, v + 0.02, "tsne")):
        with pytest.raises(TypeError):  # another map: it would have to be made
            other()


def test_aligned_umap_keeps_what_only_turned_where_it_is():
    """The real umap-learn, compiled in its own process: the longest of these tests, half a minute on one core."""
    group = np.repeat([0, 1], 20)
    centre = planted.cloud(5, 2) * 6
    rng, told = np.random.default_rng(0), []
    first = centre[group] + rng.normal(size=(40, D))
    v = np.stack([first @ np.linalg.matrix_power(planted.turn(60), t) for t in range(3)])  # turned by 60, 120 degrees
    found = maps.embedded(v, v + 0.01, "umap", 2, lambda share, what: told.append((share, what)))
    drawn = np.concatenate([found.images, found.words], axis=1)
    assert drawn.shape == (3, 80, 2) and np.isfinite(drawn).all()
    size = np.linalg.norm(np.ptp(drawn[0], axis=0))
    for before, after in zip(drawn, drawn[1:], strict=False):  # of maps made apart, each lies in a way of its own
        assert np.linalg.norm(after - before, axis=1).mean() < 0.2 * size
    for phase in found.images:
        middle = np.stack([phase[group == g].mean(0) for g in (0, 1)])
        assert (np.linalg.norm(phase[:, None] - middle, axis=2).argmin(1) == group).all()
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and len(set(shares)) > 1 and shares[-1] < 1
    assert "compiled first" in told[0][1] and "all phases together" in told[-1][1]


def test_how_far_a_map_is_is_read_from_what_the_work_says():
    fit = ["UMAP(verbose=True)", "Epochs completed: 100%| # | 200/200", "Thu Nov 26 Finished embedding"]
    said = [
        maps._how_far("umap", lines, 2) for lines in ([], fit[:2], fit, 2 * fit, [*2 * fit, "Epochs completed:  40%|"])
    ]
    assert [share for share, _ in said] == pytest.approx([0.05, 0.05, 0.25, 0.4, 0.62])
    assert [what.split(",")[0] for _, what in said[2:]] == ["phase 2", "all phases together", "all phases together"]
    assert [maps._how_far("tsne", ["phase done"] * n, 2)[0] for n in range(3)] == pytest.approx([0.2, 0.6, 0.95])


def test_a_stopped_map_ends_its_process_and_keeps_nothing(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    v, t = turned()

    def stop(share, what):
        raise InterruptedError

    began = time.monotonic()
    with pytest.raises(InterruptedError):
        maps.embedded(v, t, "umap", 2, stop)
    assert time.monotonic() - began < 5 and started[0].poll() is not None
    assert not list(kept.folder().rglob("*.json.gz"))


def test_a_map_that_fails_says_why(monkeypatch):
    v, t = turned()
    monkeypatch.setitem(maps.METHODS, "none", "No such map")
    monkeypatch.setitem(maps._LIBRARY, "none", "numpy")
    monkeypatch.setitem(maps._DONE, "none", "phase done")
    with pytest.raises(ModelError, match="No such map could not draw these embeddings: KeyError: 'none'"):
        maps.embedded(v, t, "none")


# --- clouds


def marks(drawn, kind):
    """The traces of marks of one kind, by domain."""
    symbol = {"images": "circle", "words": "diamond-open"}[kind]
    return {trace.name: trace for trace in drawn.data if trace.marker.symbol == symbol}


def test_the_figure_holds_every_pair_where_it_is_and_where_it_came_from():
    space = a_space(shown=4)
    raw, back = maps.pca(space.images, space.words)
    drawn = figure.draw(space, raw, figure.spans(raw, back), "Raw", 1)
    domains = np.array([space.domains[i] for i in space.shown])
    assert len(space.shown) == 8 and drawn.layout.meta["set"] == "pair"
    for kind, places in (("images", raw.images), ("words", raw.words)):
        for domain, trace in marks(drawn, kind).items():
            here = np.flatnonzero(domains == domain)
            np.testing.assert_allclose(np.stack([trace.x, trace.y], 1), places[1, here])
            assert list(trace.customdata) == [space.texts[space.shown[i]] for i in here] == list(trace.text)
    here = np.flatnonzero(domains == "animals")
    ways = np.stack([drawn.data[0].x, drawn.data[0].y], 1).reshape(8, 4, 2)  # 4 pictures, 4 names; 3 phases and a gap
    for phase, shown in ((0, 0), (1, 1), (2, 1)):  # what is still to come lies where the marks are now
        np.testing.assert_allclose(ways[:4, phase], raw.images[shown, here])
        np.testing.assert_allclose(ways[4:, phase], raw.words[shown, here])
    assert np.isnan(ways[:, 3]).all()
    joined = figure.draw(space, raw, figure.spans(raw), "Raw", 1, "pairs").data[0]
    lines = np.stack([joined.x, joined.y], 1).reshape(4, 3, 2)
    np.testing.assert_allclose(lines[:, 0], raw.images[1, here])
    np.testing.assert_allclose(lines[:, 1], raw.words[1, here])
    assert len({trace.marker.color for trace in marks(drawn, "images").values()}) == 2
    labels = next(trace for trace in drawn.data if trace.mode == "text")
    middle = next(trace for trace in drawn.data if trace.marker.size == 13)
    assert list(labels.text) == ["<b>animals</b>", "<b>food</b>"]
    np.testing.assert_allclose([middle.x[0], middle.y[0]], raw.images[1, here].mean(0))


def test_every_phase_has_as_many_points_so_that_the_browser_can_move_them():
    space = a_space()
    raw, _ = maps.pca(space.images, space.words)
    sizes = {tuple(len(t.x) for t in figure.draw(space, raw, figure.spans(raw), "", i).data) for i in range(3)}
    assert len(sizes) == 1


def test_labels_of_domains_that_lie_together_are_apart():
    ends = np.array([[0.0, 0.0], [0.01, 0.001], [0.0, 0.002], [0.5, 1.0]])
    at = figure._apart(ends, np.array([1.0, 1.0]))
    assert np.diff(np.sort(at[:, 1])).min() >= 0.075 - 1e-9 and at[:, 1].mean() == pytest.approx(ends[:, 1].mean())


def test_axes_hold_every_phase_of_both_views():
    space = a_space()
    clouds = maps.pca(space.images, space.words)
    span = figure.spans(*clouds)
    for seen in clouds:
        for points in (seen.images, seen.words):
            assert (points >= span[0]).all() and (points <= span[1]).all()
        drawn = figure.draw(space, seen, span, "view", 0)
        assert list(drawn.layout.xaxis.range) == span[:, 0].tolist() and drawn.layout.yaxis.scaleanchor == "x"


def test_many_pairs_are_drawn_by_webgl_and_three_dimensions_in_space():
    n = 700
    v, t = turned(n=n)
    space = planted.space(v, t, LABELS)
    raw, back = maps.pca(v, t)
    drawn = figure.draw(space, raw, figure.spans(raw), "Raw", 0)
    assert {type(trace).__name__ for trace in drawn.data} == {"Scattergl"} and n > mapped.MANY
    few = a_space()
    solid, _ = maps.pca(few.images, few.words, 3)
    drawn = figure.draw(few, solid, figure.spans(solid), "Raw", 0)
    assert {type(trace).__name__ for trace in drawn.data} == {"Scatter3d"}
    assert len(marks(drawn, "images")["food"].z) == 15


def test_a_saved_page_plays_by_itself():
    space = a_space()
    raw, _ = maps.pca(space.images, space.words)
    saved = figure.animated(space, raw, figure.spans(raw), "Raw")
    assert [f.name for f in saved.frames] == LABELS == [s.label for s in saved.layout.sliders[0].steps]
    first = next(i for i, trace in enumerate(saved.data) if trace.marker.symbol == "circle")
    np.testing.assert_allclose(saved.frames[2].data[first].x, raw.images[2, :15, 0])
    assert saved.layout.updatemenus[0].buttons[0].method == "animate"


def test_how_much_of_the_way_the_picture_holds_by_hand():
    v, t = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    v[1, 0], t[1, 2] = [3, 0, 0, 4], [0, 2, 0, 0]  # squared ways of 25 and 4, of which the first two axes hold 9 and 4
    seen = maps.Cloud("pca", v[..., :2], t[..., :2], np.full(2, np.nan))
    assert mapped.moved(seen, (v, t), 1) == pytest.approx(13 / 29) and np.isnan(mapped.moved(seen, (v, t), 0))


# --- angles


def test_violins_are_drawn_through_the_percentiles_of_the_later_phases():
    space = a_space()
    drawn = tab.angles(space, "rotation", 0)
    assert [t.name for t in drawn.data] == ["images (n = 30)", "texts (n = 30)"]
    np.testing.assert_allclose(drawn.data[0].y[:101], space.spreads["rotation_image"].percentiles[0, 1], atol=1e-4)
    np.testing.assert_allclose(drawn.data[0].y, [40] * 101 + [80] * 101, atol=1e-3)
    assert set(tab.angles(space, "pair", 1).data[0].x) == {"food"}
    assert "degrees" in tab.angles(space, "between").layout.yaxis.title.text
    assert "degrees" not in tab.angles(space, "disagreement").layout.yaxis.title.text
    assert tab.angles(space, "rotation", 2) is None  # nothing comes after the last


def test_numbers_tell_every_measure_with_its_meaning():
    space = a_space()
    html = tab.numbers(space)
    for of in MEASURES.values():
        assert escape(of.title) in html and escape(of.about) in html
    assert html.count("40.0") >= 2 and "against base" in html and "n = 30 pairs" in html


# --- the contrastive matrix


def crossed():
    """Four pairs, right in the base; then picture 0 prefers text 1, and picture 3 text 2."""
    v = np.stack([np.eye(4, 6)] * 2)
    after = [[0, 0, 0, 0, 1, 0], [1, 1.5, 0, 0, 0, 0], [0, 0, 1.5, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    t = np.stack([np.eye(4, 6), planted.sp.unit(np.array(after))])
    pairs = planted.pairs_of(4, ("animals",) * 4, ("cat", "dog", "fox", "<hen>"))
    return planted.space(v, t, ["base", "animals"], pairs, ["", "animals"])


def test_rows_that_went_wrong_are_marked_with_what_is_preferred():
    space = crossed()
    found = contrast.contrast(space, range(4))
    assert found.wrong == (0, 3)
    html = contrast.table(found, ["data:"] * 4)
    assert html.count("gone wrong") == 2 * 2 and html.count('class="lost"') == 2  # in label and title
    assert "&lt;hen&gt;" in html and "<hen>" not in html
    shown = contrast.row(found, ["data:"] * 4, 0)
    assert shown.index("cat") < shown.index("dog") and "1.00 → 0.00" in shown
    assert "its own text is the nearest" in contrast.row(found, ["data:"] * 4, 1)
    assert contrast.sentence(found).startswith(
        "Of 4 pictures 4 had their own name nearest in base, 2 after animals; 2 went wrong. "
    )
    assert "less" in contrast.table(found, ["data:"] * 4, view="change")
    heat = figure.heat(found)
    np.testing.assert_allclose(np.array(heat.data[2].z), np.round(found.after - found.before, 3))


# --- retrieval


def test_the_matrix_and_the_methods_tell_their_numbers():
    rng = np.random.default_rng(0)
    hit = np.ones((3, 30))
    hit[2, :15] = rng.random(15) < 0.5
    space = planted.made_up(hit, DOMAINS, ["", "animals", "food"])
    found = recalls(space)
    html = lost.matrix(found, (2, 0))
    share = hit[2, :15].mean()
    pressed = re.search(r"aria-pressed=\"true\" data-set='([^']*)' aria-label=\"([^\"]*)\"", html)
    assert pressed[1] == '{"after": "2", "domain": "0"}'
    assert pressed[2].startswith(f"{space.phases[2]}, animals: {100 * share:.0f} %")
    assert html.count('class="own') == 2 and "R@1, image → text" in html
    assert f"−{100 * (1 - share):.1f}" in html
    course = figure.course(found, "Plain")
    np.testing.assert_allclose(course.data[0].y, [100, 100, 100 * share])
    short = planted.made_up(np.ones((2, 30)), DOMAINS, ["", ""], "joint")
    runs = {"Plain": (of_space(space),), "Joint": (of_space(short),)}
    everyone = {title: repeated(of) for title, of in runs.items()}
    both = figure.averages(everyone)
    assert both.data[1].mode == "markers" and list(both.data[1].x) == [space.phases[0], space.phases[-1]]
    table = lost.methods(everyone, {"Joint": versus(runs["Joint"], runs["Plain"])}, "plain")
    assert f"+{100 * (1 - hit[2].mean()):.1f} <small>(" in table


# --- the sections


@pytest.fixture(scope="module")
def demo():
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        with gr.Tabs():
            for of in ROOM.sections:
                with gr.Tab(of.title):
                    section.build(ROOM, of, bar)
    return demo


@pytest.fixture
def methods(monkeypatch):
    """Plain and Mod-X, with the phases of the planted spaces, instead of those that ship."""
    phases = tuple(Phase(label, "", BASE) for label in LABELS)
    found = {n: runs.Recipe(n, t, None, phases) for n, t in (("plain", "Plain"), ("mod-x", "Mod-X"))}
    monkeypatch.setattr(runs, "recipes", lambda *root: found)
    monkeypatch.setattr(runs, "kept_space", lambda *of: None)  # but for what is put


def half_lost():
    """Every pair is found but for two animals at the end, one of which was not found after its own phase either."""
    hit = np.ones((3, 30))
    hit[2, [1, 4]] = 0
    hit[1, 4] = 0  # never found after its own phase: not lost by what came later
    return planted.made_up(hit, DOMAINS, ["", "animals", "food"])


def test_lost_pairs_are_those_that_were_found_after_their_own_phase(demo, methods):
    plain = half_lost()
    put(plain, planted.made_up(np.ones((3, 30)), DOMAINS, ["", "animals", "food"], "mod-x"))
    seen = Driven(demo, "embedding_space/lost").open().seen
    assert "1 with Plain, 0 with Mod-X" in seen["pairs"] and f"<b>{plain.texts[1]}</b>" in seen["pairs"]
    assert f"<b>{plain.texts[4]}</b>" not in seen["pairs"]
    ranks = re.findall(r"<small>([^<]*)</small> 1 → <b class=\"(\w+)\">(\d)</b>", seen["pairs"])
    assert ranks == [("Plain", "wrong", "2"), ("Mod-X", "right", "1")]
    assert seen["foot"].count("<h4>Plain</h4>") == 1
    assert "training by training" not in seen["foot"]  # of one training there are no seeds
    assert "Plain still finds 87 % of the names, Mod-X 100 %" in seen["told"]
    food = Driven(demo, "embedding_space/lost").open().change("domain", domain="1").seen
    assert "nothing that was found is lost" in food["pairs"]
    assert [trace.name for trace in seen["methods"].data] == ["Plain", "Mod-X"] and len(seen["course"].data) == 2


def test_both_trainings_take_turns_among_the_cards(demo, methods):
    hit = [np.ones((3, 30)) for _ in range(2)]
    hit[0][2, :12], hit[1][2, 12:15] = 0, 0  # plain loses twelve animals, Mod-X three others
    put(*(planted.made_up(h, DOMAINS, ["", "animals", "food"], "plain") for h in hit))
    pairs = Driven(demo, "embedding_space/lost").open().seen["pairs"]
    assert "lost are 12 with Plain, 3 with Mod-X; the 12 worst, in turn" in pairs
    assert all(f"<b>thing {i}</b>" in pairs for i in (12, 13, 14)) and pairs.count("<li>") == 12


def test_what_is_counted_follows_its_controls(demo, methods):
    hit = np.ones((3, 30))
    hit[2, 1] = 0
    put(planted.made_up(hit, DOMAINS, ["", "animals", "food"]))
    driven = Driven(demo, "embedding_space/lost").open(trained="plain")
    assert "Plain still finds 93 % of the names." in driven.seen["told"]
    driven.change("k", trained="plain", k="5")
    assert "100 % of the names among the first 5" in driven.seen["told"]
    driven.change("direction", trained="plain", direction="t2i")
    assert "Of earlier domains&#x27; names" in driven.seen["told"] and driven.shown.result.asked["direction"] == "t2i"
    table = driven.shown.result.table()
    assert len(table.rows) == 2 * 2 * 3 * 3 * 2  # directions, candidates, k, phases, domains
    of = next(r for r in table.rows if r[1:6] == ["image → text", "its own domain", 1, "phase 2", "animals"])
    assert of[6] == pytest.approx(14 / 15)


def test_who_keeps_more_is_decided_by_the_trainings_or_not_at_all(demo, methods):
    lost = planted.made_up(np.array([[1] * 30, [1] * 30, [0] * 15 + [1] * 15]), DOMAINS, ["", "animals", "food"])
    kept_ = planted.made_up(np.ones((3, 30)), DOMAINS, ["", "animals", "food"], "mod-x")
    put(lost, kept_)
    driven = Driven(demo, "embedding_space/lost").open()
    assert "Mod-X 100 %: more, in one training." in driven.seen["told"] and 'data-outcome="Mod-X' in driven.seen["told"]
    spaces._memory.clear()
    put(lost, lost)
    told = Driven(demo, "embedding_space/lost").open().seen["told"]
    assert "no difference can be told" in told and 'data-outcome=""' in told  # no Mod-X is shown


def test_trainings_stand_beside_each_other_at_one_phase(demo, methods):
    put(a_space(), a_space(words=turned(20)[1]))
    driven = Driven(demo, "embedding_space/map").open()
    first, second = driven.seen["first"], driven.seen["second"]
    assert "<b>Plain</b>, food" in first.layout.title.text and "<b>Mod-X</b>, food" in second.layout.title.text
    assert first.layout.xaxis.range == second.layout.xaxis.range
    driven.change("phase", phase="1")
    assert all(", animals" in driven.seen[name].layout.title.text for name in ("first", "second"))
    driven.change("trained", phase="1", trained="plain")  # another method: the phase stays
    assert ", animals" in driven.seen["first"].layout.title.text and driven.seen["second"] is None
    assert re.search(r"holds \d+% of the spread<", first.layout.title.text)  # turned back, nothing moved
    raw = driven.change("seen", seen="raw", trained="plain").seen["first"]
    assert re.search(r"holds \d+% of the spread and \d+% of what moved<", raw.layout.title.text)
    assert "Share of the variance that the picture holds" in driven.seen["foot"]
    assert len(section_of("map").drawn(driven.shown)) == 2 and section_of("map").drawn(driven.shown)[0].frames


def section_of(name):
    return next(of for of in ROOM.sections if of.name == name)


def test_a_training_of_fewer_phases_shows_its_last_beside_the_others(demo, methods):
    v, t = turned()
    short = planted.space(v[:2], t[:2], ["base", "all"], planted.pairs_of(30, DOMAINS), ["", ""])
    put(a_space(), short, titles=("Plain", "Joint"))
    seen = Driven(demo, "embedding_space/map").open(phase="2").seen
    assert ", food" in seen["first"].layout.title.text and ", all" in seen["second"].layout.title.text


def test_a_mark_that_is_clicked_shows_its_pair(demo, methods):
    put(a_space(), a_space())
    driven = Driven(demo, "embedding_space/map").open()
    assert "Click a mark" in driven.seen["pair"]
    driven.change("pair", pair="Thing 4 ")
    space = driven.shown.result.space
    assert "<b>thing 4</b>" in driven.seen["pair"] and "data:image" in driven.seen["pair"]
    assert " → ".join(map(str, space.ranks["i2t"][:, 4])) in driven.seen["pair"]
    ring = section_of("map").views[0].draw(driven.shown).data[-1]
    _, back = maps.pca(space.images, space.words)
    np.testing.assert_allclose([ring.x[0], ring.y[0]], back.images[2, 4])
    driven.change("pair", pair="<nobody>")
    assert "No pair drawn here is called “&lt;nobody&gt;”" in driven.seen["pair"]
    assert not len(section_of("map").views[0].draw(driven.shown).data[-1].x)


def test_pairs_of_one_name_are_told_apart():
    texts = ("a cat", "a cat", *(f"thing {i}" for i in range(28)))
    space = a_space(pairs=planted.pairs_of(30, DOMAINS, texts))
    assert figure.names(space)[:3] == ["a cat (1)", "a cat (2)", "thing 0"]


def test_a_map_of_neighbours_is_shown_where_it_is_kept_and_made_where_it_is_not(demo, methods, monkeypatch):
    put(a_space())
    v, t = turned()
    seen, made = maps.Cloud("umap", v[..., :2], t[..., :2], np.full(3, np.nan)), []
    monkeypatch.setattr(maps, "embedded", lambda *a: made.append(a[4]) or (seen if a[4] else None))
    asked = {"trained": "plain", "drawn": "AlignedUMAP"}
    driven = Driven(demo, "embedding_space/map").open(**asked)
    assert made == [None] and "press Measure" in driven.seen["told"]
    driven.press(**asked)
    assert "neighbours alone count" in driven.seen["first"].layout.title.text and driven.seen["second"] is None
    assert "one and the same" in driven.seen["foot"]


@pytest.mark.parametrize("drawn", ["AlignedUMAP", "t-SNE"])
def test_a_map_that_cannot_be_kept_says_so(demo, methods, monkeypatch, tmp_path, drawn):
    """As every other measurement does, once; and when it is shown again from memory."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(maps, "_made", lambda clouds, *of: clouds[..., :2])
    put(a_space(), a_space())
    asked, note = {"trained": "mod-x", "drawn": drawn}, "not kept, as CROSSTALK_CACHE cannot be written"
    driven = Driven(demo, "embedding_space/map").press(**asked)
    assert driven.seen["foot"].count(note) == 1
    again = Driven(demo, "embedding_space/map").open(**asked)
    assert again.seen["foot"].count(note) == 1
    assert note not in Driven(demo, "embedding_space/map").open(trained="mod-x").seen["foot"]  # by PCA, nothing is kept


def test_what_is_told_of_one_space_is_told_beside_another(demo, methods):
    plain, other = a_space(), a_space()
    put(plain, replace(other, provenance=replace(other.provenance, note="not kept")))
    for place in ("map", "angles"):
        assert "not kept" in Driven(demo, f"embedding_space/{place}").open(trained="mod-x").seen["foot"]
        assert "not kept" not in Driven(demo, f"embedding_space/{place}").open(trained="plain").seen["foot"]


def test_angles_follow_their_phase_and_kind(demo, methods):
    put(a_space())
    driven = Driven(demo, "embedding_space/angles").open()
    assert driven.seen["told"].count("80°") == 2 and 'data-outcome="both alike' in driven.seen["told"]
    driven.change("against", against="1")
    assert "From animals to food a picture" in unescape(driven.seen["told"])
    assert "against animals" in driven.seen["foot"]
    driven.change("kind", against="1", kind="pair")
    assert [trace.name for trace in driven.seen["angles"].data] == ["pairs (n = 30)"]
    assert len(section_of("angles").drawn(driven.shown)) == len(tab.KINDS)


def test_the_matrix_follows_domain_names_and_rows(demo, methods):
    put(a_space())
    driven = Driven(demo, "embedding_space/matrix").open(domain="food")
    assert driven.shown.result.asked["pairs"] == list(range(15, 27))
    assert driven.seen["matrix"].count("data-set") == 12
    mixed = Driven(demo, "embedding_space/matrix").open()
    assert len(mixed.shown.result.asked["pairs"]) == 12 and mixed.shown.result.asked["pairs"][-1] > 15
    driven.change("row", domain="food", row="3")
    assert "thing 18" in driven.seen["row"]
    for odd in ("²", "99", "-1", "x"):  # no row: the one that is shown at first
        assert "thing 15" in driven.change("row", domain="food", row=odd).seen["row"]
    driven.change("pairs", pairs="thing 2; THING 7")
    assert driven.shown.result.asked["pairs"] == [2, 7] and len(driven.seen["heat"].data[0].z) == 2
    for pairs, told in (("thing 1", "2 to 40 different pairs"), ("thing 1; nobody", "No pair here is called “nobody”")):
        assert told in driven.change("pairs", pairs=pairs).seen["told"]


def searching(space):
    """An encoder whose words are picture 3, and whose picture is text 7."""
    v, t = turned()

    class Encoder:
        def texts(self, texts, phases, progress=lambda share, what: None):
            return t[:, : len(texts)] if len(texts) > 1 else v[:, 3:4]

        def images(self, pictures, phases):
            return t[:, 7:8]

    @contextmanager
    def opened():
        yield Encoder()

    put(space, opened=opened)


def test_searching_by_words_and_by_picture_shows_every_phase(demo, methods, tmp_path):
    searching(a_space())
    driven = Driven(demo, "embedding_space/search").open(words="thing three")
    assert driven.seen["answers"].count("<section>") == 3 and "“thing 3”" in driven.seen["told"]
    assert "data:image" in driven.seen["answers"] and len(driven.shown.result.table().rows) == 15
    planted.pairs_of(1).picture(0).save(tmp_path / "own.png")
    driven.press(by="picture", path=str(tmp_path / "own.png"))
    assert "“thing 7”" in driven.seen["told"] and "30 candidates" in driven.seen["answers"]
    for values, told in (({"words": ""}, "no words"), ({"words": "  "}, "no words"), ({"by": "picture"}, "no picture")):
        with pytest.raises(gr.Error, match=told):
            driven.press(**values)


def own_pairs(tmp_path):
    members = {f"{i}.png": planted.png("red") for i in range(4)} | {f"{i}.txt": f"thing {i}" for i in range(4)}
    return str(planted.packed_up(tmp_path / "own.zip", members))


def test_a_visitors_own_model_phases_and_pairs_are_shown_in_all_sections(folder, demo, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(folder))
    driven = Driven(demo, "embedding_space/own", upload=own_pairs(tmp_path))
    driven.press(model="mine", phases="set")
    (key,) = driven.shown.result.keys
    whole = spaces.whole(key)
    assert whole.space.phases == ("base", "same", "moved") and whole.space.n == 4
    assert whole.pairs.picture(3).getpixel((0, 0)) == (255, 0, 0)  # what was unpacked is there
    assert ", moved" in driven.seen["first"].layout.title.text and f"own-{key.own}" in driven.seen["elsewhere"]
    told = driven.shown.result.to_json()["spaces"][whole.title]
    assert told["phases"][2] == "moved" and "images" not in told and "base" in driven.shown.result.to_csv()
    for name in ("lost", "map", "angles", "matrix"):
        seen = Driven(demo, f"embedding_space/{name}").open(trained=f"own-{key.own}").seen
        assert "class=\"sentence\"" in seen["told"] and f'value="own-{key.own}" selected' in seen["form"], name
    driven.press(model="mine", phases="none")
    assert spaces.whole(driven.shown.result.keys[0]).space.phases == ("base",)
    assert "only one phase" in driven.seen["told"]
    alone = f"own-{driven.shown.result.keys[0].own}"
    assert Driven(demo, "embedding_space/angles").open(trained=alone).seen["angles"] is None


def test_a_space_measured_where_a_gpu_is_lent_is_found_by_the_page(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(folder))
    file = own_pairs(tmp_path)
    key = lend(spaces.own_key)("mine", "set", file)
    assert not spaces._memory
    monkeypatch.setattr(measure, "space_of", None)  # nothing is measured again
    assert spaces.whole(key).space.phases == ("base", "same", "moved")
    assert spaces.whole(key).pairs.picture(3).getpixel((0, 0)) == (255, 0, 0)


def test_a_space_that_is_gone_is_said(folder, demo, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(folder))
    gone = "own-" + 16 * "0"
    for name in ("lost", "map", "angles", "matrix"):
        assert "Measure it again" in Driven(demo, f"embedding_space/{name}").open(trained=gone).seen["told"]
    with pytest.raises(gr.Error, match="Measure it again"):
        Driven(demo, "embedding_space/search").open(trained=gone)
    file = tmp_path / "own.zip"
    keys = [spaces.own_key("mine", "", own_pairs(tmp_path)) for _ in range(4)]
    assert [key for key in keys if key in spaces._memory] == keys[1:]  # three are kept in memory
    assert spaces.whole(keys[0]).space.n == 4
    file.unlink()
    spaces._memory.clear()
    with pytest.raises(InputError, match="given up"):
        spaces.whole(keys[0])


def test_which_encoders_open(folder, monkeypatch):
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(folder))
    with dual_catalog.using("mine", "set") as first, dual_catalog.using("mine", "set") as again:
        assert first is again and first.phase_names == ("base", "same", "moved")
    for name, phases, error, said in (
        ("nowhere", "", ModelError, "There is no dual encoder 'nowhere'"),
        ("../mine", "", ModelError, "below one of CROSSTALK_FOLDERS"),
        ("mine", "nothing", CheckpointError, "There is no checkpoint set 'nothing'"),
        ("mine", "mine", CheckpointError, "checkpoints.json"),
    ):
        with pytest.raises(error, match=said), dual_catalog.using(name, phases):
            pass
    monkeypatch.setenv("CROSSTALK_PUBLIC", "1")
    with pytest.raises(ModelError, match="listed models only"), dual_catalog.using("mine"):
        pass
    with pytest.raises(CheckpointError, match="no checkpoint sets of others"), dual_catalog.using(phases="set"):
        pass


def test_without_trained_phases_it_is_said(monkeypatch):
    monkeypatch.setattr(runs, "recipes", lambda *root: {})
    with gr.Blocks() as demo:
        bar = shared_bar.build()
        with gr.Tabs(), gr.Tab("lost"):
            section.build(ROOM, section_of("lost"), bar)
    assert "make train makes them" in Driven(demo, "embedding_space/lost").open().seen["told"]


def test_a_style_that_nobody_has_measured_is_measured_once_with_progress(demo, methods, monkeypatch):
    space, measured = a_space(), []
    monkeypatch.setattr(runs, "recipe", lambda method, *root: runs.recipes()[method])
    monkeypatch.setattr(runs, "kept_space", lambda *a: None)

    def slow(of, style, progress):
        measured.append((of.method, style))
        progress(0.5, "30 pictures")
        time.sleep(0.7)
        return space

    monkeypatch.setattr(runs, "measured", slow)
    monkeypatch.setattr(spaces, "drawings", lambda style: planted.pairs_of(30, DOMAINS))
    monkeypatch.setattr(spaces.runs, "load", lambda *of: ())
    driven = Driven(demo, "embedding_space/angles").open(style="fluent")
    assert "press Measure" in driven.seen["told"] and not measured
    driven.press(style="fluent")
    driven.press(style="fluent")
    assert "80°" in driven.seen["told"] and measured == [("plain", "fluent")]


def test_headlines_of_what_ships_are_short(demo, monkeypatch):
    monkeypatch.undo()
    for of in ROOM.sections:
        for tried in ({}, *(each.values for each in of.tries if of.name != "search")):
            if of.kept is None:
                continue
            driven = Driven(demo, f"embedding_space/{of.name}").open(**tried)
            said = of.sentence(driven.shown.result)
            assert len(section.headline(said)[0].split()) <= 25, (of.name, tried, said)
