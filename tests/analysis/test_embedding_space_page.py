"""Clouds of planted spaces, maps made in another process, what the page draws and answers, and which encoders open."""

import base64
import subprocess
import time
from contextlib import contextmanager
from html import escape

import gradio as gr
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from analysis import bar as shared_bar
from analysis import kept
from analysis.embedding_space import (
    angles_view,
    cloud,
    contrast_figure,
    contrast_view,
    figure,
    held,
    maps,
    own,
    own_view,
    project,
    retrieval_figure,
    retrieval_view,
    search_view,
    shipped,
    tab,
)
from analysis.embedding_space.contrast import contrast
from analysis.embedding_space.held import Held, Key
from analysis.embedding_space.measure import Phase
from analysis.embedding_space.pairs import drawings
from analysis.embedding_space.result import MEASURES
from analysis.embedding_space.retrieval import recalls
from analysis.embedding_space.runs import of_space
from analysis.embedding_space.seeds import repeated, versus
from analysis.jobs import Progress
from models import dual_catalog
from models.checkpoints import BASE
from models.errors import CheckpointError, InputError, ModelError
from tests.analysis import test_embedding_space as planted
from tests.lending import lend

folder = planted.folder
D = planted.D


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(held, "_own", type(held._own)())
    monkeypatch.setattr(held, "_embedded", type(held._embedded)())


def turned(degrees=40, n=30):
    """Images and texts that turn as a whole, twice, each time by as much; ``[3, n, D]``."""
    v, t, r = planted.cloud(0, n), planted.cloud(1, n), planted.turn(degrees)
    return np.stack([v, v @ r, v @ r @ r]), np.stack([t, t @ r, t @ r @ r])


LABELS, DOMAINS = ["base", "animals", "food"], ("animals",) * 15 + ("food",) * 15


def a_space(n=30, images=None, words=None, **changes):
    v, t = turned(n=n)
    settings = {"pairs": planted.pairs_of(n, DOMAINS[:n]), "trained": ["", "animals", "food"]} | changes
    return planted.space(v if images is None else images, t if words is None else words, LABELS, **settings)


def put(space, pairs=None, opened=None) -> Key:
    """Make the page show ``space``."""
    phases = tuple(Phase(label, "", BASE) for label in space.phases)
    held._own["x"] = Held(space, pairs or planted.pairs_of(space.n, space.domains), phases, opened)
    return Key(own="x")


# --- projections


def test_turning_back_undoes_a_rotation_and_leaves_the_raw_cloud_turned():
    v, t = turned()
    raw, back = project.pca(v, t)
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
    images, words = project.aligned(v, t)
    for phase in range(3):
        np.testing.assert_allclose(
            pdist(np.vstack([images[phase], words[phase]])), pdist(np.vstack([v[phase], t[phase]])), atol=1e-9
        )
    assert np.linalg.norm(images[1] - images[0], axis=1).mean() > 0.2
    _, back = project.pca(v, t)
    assert np.abs(back.images[1] - back.images[0]).max() > 0.1


def test_modalities_that_turn_differently_are_not_hidden():
    v, t = turned()
    t[1] = t[0]  # the texts stay, the images turn
    images, words = project.aligned(v[:2], t[:2])
    assert np.linalg.norm(images[1] - images[0], axis=1).mean() > 0.1
    assert np.linalg.norm(words[1] - words[0], axis=1).mean() > 0.1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_axes_are_the_principal_ones_of_phase_0(dimensions):
    v, t = turned()
    raw, _ = project.pca(v, t, dimensions)
    whole = np.vstack([v[0], t[0]])
    _, size, axes = np.linalg.svd(whole - whole.mean(0))
    by_hand = (np.vstack([v[2], t[2]]) - whole.mean(0)) @ axes[:dimensions].T
    drawn = np.vstack([raw.images[2], raw.words[2]])
    np.testing.assert_allclose(np.abs(drawn), np.abs(by_hand), atol=1e-8)  # an axis may point either way
    assert raw.explained[0] == pytest.approx((size[:dimensions] ** 2).sum() / (size**2).sum())


def test_what_cannot_be_drawn_is_refused():
    v, t = turned()
    with pytest.raises(InputError, match="at least 3 pairs; there are 2"):
        project.pca(v[:, :2], t[:, :2])
    v[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        project.pca(v, t)
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


def test_the_figure_holds_every_pair_in_every_phase():
    space = a_space(shown=4)
    raw, back = project.pca(space.images, space.words)
    drawn = cloud.draw(space, raw, cloud.spans(raw, back), "Raw", 1)
    meta = drawn.layout.meta
    assert meta["labels"] == LABELS and len(space.shown) == 8
    for side, places in (("images", raw.images), ("words", raw.words)):
        read = np.frombuffer(base64.b64decode(meta[side]), "<f4").reshape(3, meta["pairs"], meta["dimensions"])
        np.testing.assert_allclose(read, places, atol=1e-6)
    rows = meta["rows"]
    assert [r["kind"] for r in rows] == ["lines", "images", "words", "images", "words", "chosen"]
    for trace, row in zip(drawn.data, rows, strict=True):
        if row["kind"] in ("images", "words"):
            of = {"images": raw.images, "words": raw.words}[row["kind"]]
            np.testing.assert_allclose(np.stack([trace.x, trace.y], 1), of[1, row["pairs"]])
            assert list(trace.customdata) == row["pairs"]
            assert list(trace.text) == [space.texts[space.shown[i]] for i in row["pairs"]]
    lines = np.stack([drawn.data[0].x, drawn.data[0].y], 1).reshape(8, 3, 2)
    np.testing.assert_allclose(lines[:, 0], raw.images[1])
    np.testing.assert_allclose(lines[:, 1], raw.words[1])
    assert np.isnan(lines[:, 2]).all()
    colours = {t.name: t.marker.color for t in drawn.data[1:-1]}
    assert len(set(colours.values())) == 2 and "n = 8" in drawn.layout.title.text


def test_axes_hold_every_phase_of_both_views():
    space = a_space()
    clouds = project.pca(space.images, space.words)
    span = cloud.spans(*clouds)
    for seen in clouds:
        for points in (seen.images, seen.words):
            assert (points >= span[0]).all() and (points <= span[1]).all()
        drawn = cloud.draw(space, seen, span, "view")
        assert list(drawn.layout.xaxis.range) == span[:, 0].tolist() and drawn.layout.yaxis.scaleanchor == "x"


def test_many_pairs_are_drawn_by_webgl_and_not_joined_and_three_dimensions_in_space():
    n = 700
    v, t = turned(n=n)
    space = planted.space(v, t, LABELS)
    raw, back = project.pca(v, t)
    drawn = cloud.draw(space, raw, cloud.spans(raw), "Raw")
    assert {type(trace).__name__ for trace in drawn.data} == {"Scattergl"}
    assert not drawn.data[0].visible and not cloud.joined(n) and cloud.joined(60)
    few = a_space()
    solid, _ = project.pca(few.images, few.words, 3)
    drawn = cloud.draw(few, solid, cloud.spans(solid), "Raw")
    assert {type(trace).__name__ for trace in drawn.data} == {"Scatter3d"} and len(drawn.data[1].z) == 15


def test_a_saved_page_plays_by_itself():
    space = a_space()
    raw, _ = project.pca(space.images, space.words)
    saved = cloud.animated(space, raw, cloud.spans(raw), "Raw")
    assert [f.name for f in saved.frames] == LABELS == [s.label for s in saved.layout.sliders[0].steps]
    np.testing.assert_allclose(saved.frames[2].data[1].x, raw.images[2, :15, 0])
    assert saved.layout.updatemenus[0].buttons[0].method == "animate"


# --- angles


def test_violins_are_drawn_through_the_percentiles_of_the_later_phases():
    space = a_space()
    drawn = figure.angles(space, "rotation", 0)
    assert [t.name for t in drawn.data] == ["images (n = 30)", "texts (n = 30)"]
    np.testing.assert_allclose(drawn.data[0].y[:101], space.spreads["rotation_image"].percentiles[0, 1], atol=1e-4)
    np.testing.assert_allclose(drawn.data[0].y, [40] * 101 + [80] * 101, atol=1e-3)
    assert set(figure.angles(space, "pair", 1).data[0].x) == {"food"}
    assert "degrees" in figure.angles(space, "between").layout.yaxis.title.text
    assert "degrees" not in figure.angles(space, "disagreement").layout.yaxis.title.text
    assert not figure.angles(space, "rotation", 2).data  # nothing comes after the last


def test_numbers_tell_every_measure_with_its_meaning():
    space = a_space()
    html = figure.numbers(space)
    for measure in MEASURES.values():
        assert escape(measure.title) in html
    assert html.count("40.0°") >= 2 and "against base" in html and "n = 30 pairs" in html
    assert all(escape(m.title) in figure.meanings() for m in MEASURES.values())


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
    found = contrast(space, range(4))
    assert found.wrong == (0, 3)
    html = contrast_figure.table(found, ["data:"] * 4)
    assert html.count("gone wrong") == 2 * 2 and html.count('class="lost"') == 2  # in label and title
    assert "&lt;hen&gt;" in html and "<hen>" not in html
    shown = contrast_figure.row(found, 0, "data:")
    assert shown.index("cat") < shown.index("dog") and "1.00 → 0.00" in shown
    assert "its own text is the nearest" in contrast_figure.row(found, 1, "data:")
    assert "Of 4 pictures 4 had their own text nearest before, 2 after; 2 went wrong." in contrast_figure.sentence(
        found
    )
    assert "less" in contrast_figure.table(found, ["data:"] * 4, "change")
    heat = contrast_figure.heat(found)
    np.testing.assert_allclose(np.array(heat.data[2].z), np.round(found.after - found.before, 3))


# --- retrieval


def test_the_matrix_and_the_methods_tell_their_numbers():
    rng = np.random.default_rng(0)
    hit = np.ones((3, 30))
    hit[2, :15] = rng.random(15) < 0.5
    space = planted.made_up(hit, DOMAINS, ["", "animals", "food"])
    found = recalls(space)
    html = retrieval_figure.matrix(found, (2, 0))
    share = hit[2, :15].mean()
    assert f'data-pick="2,0" aria-pressed="true" aria-label="{space.phases[2]}, animals: {100 * share:.0f} %' in html
    assert html.count('class="own') == 2 and "R@1, image → text" in html
    assert f"−{100 * (1 - share):.1f}" in html
    course = retrieval_figure.course(found)
    np.testing.assert_allclose(course.data[0].y, [100, 100, 100 * share])
    short = planted.made_up(np.ones((2, 30)), DOMAINS, ["", ""], "joint")
    runs = {"Plain": (of_space(space),), "Joint": (of_space(short),)}
    everyone = {title: repeated(of) for title, of in runs.items()}
    both = retrieval_figure.averages(everyone)
    assert both.data[1].mode == "markers" and list(both.data[1].x) == [space.phases[0], space.phases[-1]]
    table = retrieval_figure.methods(everyone, {"Joint": versus(runs["Joint"], runs["Plain"])}, "plain")
    assert f"+{100 * (1 - hit[2].mean()):.1f} (" in table


# --- the page


def done(events):
    """What a streaming handler gives in the end."""
    return list(events)[-1]


def test_a_method_is_drawn_in_the_room():
    space = a_space()
    key = put(space)
    saved = tab._figures(key)
    assert len(saved) == 2 + len(figure.ANGLES) + 1 + 1 and len(saved[0].frames) == 3 and tab._said(key)
    views = done(tab._drawn(key, "PCA", "2-D"))
    raw, second, player, said = views[2], views[3], views[4], views[5]
    assert raw.layout.meta["labels"] == LABELS and second.visible
    assert 'max="2"' in player and "data-play" in player and "80°" in said
    assert "Share of the variance" in views[6]
    names, _ = tab._names(key)
    assert names.choices[4] == ("thing 4", 4)
    shown = tab._pair(key, 4)
    assert "thing 4" in shown and "animals" in shown and "data:image" in shown
    rank = space.ranks["i2t"][:, 4]
    assert " → ".join(map(str, rank)) in shown
    assert "Point at a mark" in tab._pair(key, None) == tab._pair(None, 1)
    assert all(v == gr.skip() for v in done(tab._drawn(None, "PCA", "2-D")))


def test_pairs_of_one_name_are_told_apart():
    texts = ("a cat", "a cat", *(f"thing {i}" for i in range(28)))
    key = put(a_space(pairs=planted.pairs_of(30, DOMAINS, texts)))
    assert [label for label, _ in tab._names(key)[0].choices[:3]] == ["a cat (1)", "a cat (2)", "thing 0"]


def test_a_map_of_neighbours_has_one_view(monkeypatch):
    key = put(a_space())
    v, t = turned()
    seen = project.Cloud("umap", v[..., :2], t[..., :2], np.full(3, np.nan))
    monkeypatch.setattr(maps, "embedded", lambda *a: seen)
    views = done(tab._drawn(key, "AlignedUMAP", "2-D"))
    assert views[2].layout.title.text.startswith("AlignedUMAP") and views[3].visible is False
    assert "one and the same" in views[6]


def test_a_space_that_is_not_kept_any_more_is_said():
    with pytest.raises(InputError, match="Measure it again"):
        held.of(Key(own="gone"))


def test_parts_follow_the_space(monkeypatch):
    key = put(a_space())
    monkeypatch.setattr(shipped, "recipes", dict)
    chart, numbers, against = angles_view._refreshed(key, "rotation")
    assert len(chart.data) == 2 and "Rotation of images" in numbers
    assert against.choices == [("base", 0), ("animals", 1)]
    said, table, row, shown, chosen, before, after, domain = contrast_view._refreshed(key, "food", "after")
    assert chosen.value == list(range(15, 27)) and after.value == 2 and domain.value == "food"
    assert table.count("data-pick") == 12 and "From base to food" in said and shown
    mixed = contrast_view._refreshed(key, "nowhere", "after")
    assert len(mixed[4].value) == 12 and mixed[7].value == "a mix of all domains"
    matrix, course, averages, methods, lost, phase, columns = retrieval_view._refreshed(key, "i2t", 1, "domain")
    assert (
        matrix.count("data-pick") == 6
        and phase.value == 2
        and methods == ""
        and "animals, food against animals" in lost
    )
    assert [c for c, _ in columns.choices] == ["animals", "food"]
    with pytest.raises(InputError, match="2 to 40 different pairs"):
        contrast_view._drawn(key, [1], 0, 2, "after")


def test_lost_pictures_are_those_that_were_found_after_their_own_phase():
    hit = np.ones((3, 30))
    hit[2, [1, 4]] = 0
    hit[1, 4] = 0  # never found after its own phase: not lost by what came later
    key = put(planted.made_up(hit, DOMAINS, ["", "animals", "food"]))
    _, html = retrieval_view._cell(key, "i2t", 1, "domain", 2, 0)
    space = held.of(key).space
    assert "1 lost" in html and space.texts[1] in html and f"<b>{space.texts[4]}</b>" not in html


def test_searching_by_words_and_by_picture_shows_every_phase(tmp_path):
    space = a_space()
    v, t = turned()

    class Encoder:
        def texts(self, texts, phases, progress=lambda share, what: None):
            return t[:, : len(texts)] if len(texts) > 1 else v[:, 3:4]

        def images(self, pictures, phases):
            return t[:, 7:8]

    @contextmanager
    def opened():
        yield Encoder()

    key = put(space, opened=opened)
    _, said, html = done(search_view.asked(key, "thing three"))
    assert html.count("<section>") == 3 and "“thing 3”" in said and "data:image" in html
    planted.pairs_of(1).picture(0).save(tmp_path / "own.png")
    _, said, html = done(search_view._seen(key, str(tmp_path / "own.png")))
    assert "“thing 7”" in said and "30 candidates" in html
    for bad in ("", "  ", None):
        with pytest.raises(InputError, match="no words"):
            list(search_view.asked(key, bad))
    with pytest.raises(InputError, match="no picture"):
        list(search_view._seen(key, None))
    with pytest.raises(InputError, match="no space yet"):
        list(search_view.asked(None, "cat"))
    assert done(search_view.tried(key, "")) == (gr.skip(),) * 3


def test_a_visitors_own_model_phases_and_pairs_are_shown(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(folder))
    archive = planted.packed_up(
        tmp_path / "own.zip",
        {
            f"{i}.{kind}": planted.png("red") if kind == "png" else f"thing {i}"
            for i in range(4)
            for kind in ("png", "txt")
        },
    )
    events = list(own_view._measured(lend(own_view._space), "mine", "set", str(archive)))
    key = events[-1][1]
    assert "Measured" in events[-1][0] and key.own
    shown = held.of(key)
    assert shown.space.phases == ("base", "same", "moved") and shown.space.n == 4
    assert shown.pairs.picture(3).getpixel((0, 0)) == (255, 0, 0)  # what was unpacked is there
    assert "base" in key.to_csv() and "images" not in key.to_json() and key.to_json()["phases"][2] == "moved"
    alone = held.keep(held.measured("mine", "", own.opened(archive)))
    assert held.of(alone).space.phases == ("base",)
    assert not angles_view._refreshed(alone, "rotation")[0].data
    views = done(tab._drawn(alone, "PCA", "2-D"))
    assert 'max="0"' in views[4]
    for _ in range(3):
        held.keep(held.measured("mine", "", own.opened(archive)))
    with pytest.raises(InputError, match="given up"):
        held.of(key)


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


def test_the_room_is_built_with_and_without_trained_phases(monkeypatch):
    for recipes in ({}, {"plain": shipped.Recipe("plain", "Plain", "one after another", drawings, ())}):
        monkeypatch.setattr(shipped, "recipes", lambda recipes=recipes: recipes)
        with gr.Blocks() as demo:
            bar = shared_bar.build()
            with gr.Tab(tab.TITLE, id=tab.NAME):
                tab.build(bar)
        ids = {getattr(block, "elem_id", None) for block in demo.blocks.values()}
        assert {"space-raw", "space-aligned", "space-player", "space-method", "contrast-table", "own-file"} <= ids


def test_the_room_measures_with_progress_what_nobody_has_measured(monkeypatch, tmp_path):
    space = a_space()
    recipe = shipped.Recipe("plain", "Plain", "one after another", tmp_path / "plain", ())
    monkeypatch.setattr(shipped, "recipe", lambda method: recipe)
    monkeypatch.setattr(shipped, "known", lambda *a: None)
    measured = []

    def slow(of, style, progress):
        measured.append(style)
        progress(0.5, "30 pictures")
        time.sleep(0.7)
        return space

    monkeypatch.setattr(shipped, "measured", slow)
    events = list(tab._opened(None, "plain", "noto"))
    assert Progress(0.5, "30 pictures").html == events[0][0] and events[-1][2] == Key("plain", "noto")
    assert done(tab._opened(Key("plain", "noto"), "plain", "noto"))[2] == gr.skip()
    done(tab._chosen("plain", "noto"))
    assert measured == ["noto"]  # once
    assert done(tab._opened(None, None, "noto"))[2] == gr.skip()
