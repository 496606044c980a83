"""Several trainings of a method: means and spreads by hand, what is kept of a run, and what the page and card tell."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis import kept
from analysis.embedding_space import card, lost, runs
from analysis.embedding_space import spaces as room
from analysis.embedding_space.lost import LOST
from analysis.embedding_space.retrieval import over, recalls, repeated, t_interval, versus
from analysis.embedding_space.runs import of_space
from analysis.embedding_space.spaces import Key, Whole
from analysis.section import Asked, Shown
from models.checkpoints import Manifest
from models.embedded import phases
from models.errors import InputError
from tests.analysis import test_embedding_space as planted

TRAINED, DOMAINS = ["", "a", "b"], ("broad",) * 2 + ("a",) * 4 + ("b",) * 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")


def run(last, seed=None, method="plain", after_a=(1,) * 8):
    """A training that finds everything before any phase, ``after_a`` after the first, and ``last`` at the end."""
    hit = np.array([(1,) * 8, after_a, last], dtype=bool)
    return of_space(planted.made_up(hit, DOMAINS, TRAINED, method), seed)


PLAIN = (run((1, 0, 0, 0, 0, 0, 1, 1)), run((1, 0, 1, 0, 0, 0, 1, 0), 1), run((0, 0, 1, 1, 0, 0, 1, 1), 2))
KEEPS = (
    run((1, 1, 1, 0, 0, 0, 1, 1), None, "mod-x"), run((1, 0, 1, 1, 0, 0, 1, 0), 1, "mod-x"),
    run((1, 0, 1, 1, 1, 0, 1, 1), 2, "mod-x"),
)  # fmt: skip


def test_recall_over_seeds_by_hand():
    found = repeated(PLAIN)
    assert found.seeds == 3 and [of.matrix[-1, 1] for of in found.each] == [0, 0.25, 0.5]
    assert (found.matrix.mean[-1, 1], found.matrix.least[-1, 1], found.matrix.most[-1, 1]) == (0.25, 0, 0.5)
    ends = [of.average[-1] for of in found.each]  # (0.5 + 0 + 1, 0.5 + 0.25 + 0.5, 0 + 0.5 + 1) / 3
    assert ends == pytest.approx([0.5, 1.25 / 3, 0.5])
    assert found.average.mean[-1] == pytest.approx(np.mean(ends)) and found.average.least[-1] == min(ends)
    assert found.backward.mean == pytest.approx(np.mean([of.backward for of in found.each]))
    with pytest.raises(InputError, match="k is 0"):
        repeated(PLAIN, k=0)


def test_two_methods_are_compared_seed_by_seed_and_over_all():
    found = versus(KEEPS, PLAIN)
    assert list(found.each) == ["as shipped", "seed 1", "seed 2"] and found.pooled.seeds == 3
    assert [of.final.value for of in found.each.values()] == [2 / 8, 1 / 8, 2 / 8]
    assert found.pooled.final.value == pytest.approx(5 / 24) and math.isnan(found.pooled.final.p)
    # of every pair the mean difference over seeds: these are drawn, not the 24 differences
    items = np.mean([[0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0]], axis=0)
    rng = np.random.default_rng(1)
    means = items[rng.integers(8, size=(20_000, 8))].mean(1)
    span = np.percentile(means, [2.5, 97.5])
    assert [found.pooled.final.low, found.pooled.final.high] == pytest.approx(span, abs=0.03)
    assert found.pooled.earlier.value == pytest.approx(5 / 18) and found.pooled.n_earlier == 6
    low, high = found.between("final")
    half = 4.302653 * np.std([2 / 8, 1 / 8, 2 / 8], ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom
    assert [low, high] == pytest.approx([5 / 24 - half, 5 / 24 + half])
    assert list(versus(KEEPS[:2], PLAIN[::2]).each) == ["as shipped"]  # the only one that both have
    assert np.isnan(versus(KEEPS[:1], PLAIN).between("final")).all()
    with pytest.raises(InputError, match="0 and 0 trainings"):
        versus(KEEPS[1:2], PLAIN[2:])


def test_a_change_since_its_own_phase_is_that_of_each_seed():
    """A pair that one seed never found and another one lost counts in the second alone."""
    never = run((1,) * 2 + (0,) * 4 + (1,) * 2, 1, after_a=(1, 1, 0, 0, 0, 0, 1, 1))
    lost = run((1,) * 2 + (0,) * 4 + (1,) * 2)
    keeps = tuple(run((1,) * 8, seed, "mod-x") for seed in (None, 1))
    of = versus(keeps, (lost, never))
    assert [one.kept.value for one in of.each.values()] == pytest.approx([4 / 6, 0])
    assert of.pooled.kept.value == pytest.approx(2 / 6)


def test_means_and_intervals_over_trainings():
    found = over([[1.0, 5.0], [3.0, 4.0]])
    assert (found.n, found.mean.tolist(), found.least.tolist(), found.most.tolist()) == (2, [2, 4.5], [1, 4], [3, 5])
    assert t_interval([2.0, 2.0, 2.0]) == (2, 2) and np.isnan(t_interval([1.0])).all()


# --- what is kept


class Encoder:
    """Embeds by the name of the checkpoint's folder: the adapters are files of one text."""

    def __init__(self, folder):
        self.phases = self.checkpoints = SimpleNamespace(manifest=Manifest.load(folder))
        self.model = SimpleNamespace(name_or_path=str(folder), dtype="torch.float32")
        self.files = {c.name: c.adapters[0] / "adapter_model.safetensors" for c in self.phases.manifest.checkpoints}

    def _of(self, seed, n, checkpoints):
        said = ["0" if name == "base" else self.files[name].read_text() for name in checkpoints]
        return np.stack([planted.cloud(int(text) + seed, n) for text in said])

    def texts(self, texts, checkpoints, progress):
        return self._of(100, len(texts), checkpoints)

    def images(self, pictures, checkpoints, progress):
        return self._of(200, len(pictures), checkpoints)

    def provenance(self, phase, seed, seconds):
        return {"model": "mine", "checkpoint": phase, "dtype": "float32", "device": "cpu", "seed": seed}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The sets of seed 0 in ``sets``, and the states of seeds 0, 1, 2 and, not finished, 10."""
    monkeypatch.setattr(phases, "PHASES", ("x", "y"))
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{}")
    monkeypatch.setattr(runs, "MODEL", tmp_path / "clip")
    for seed, methods in ((0, ("plain", "mod-x")), (1, ("plain", "mod-x")), (2, ("plain",)), (10, ("plain",))):
        for method in methods:
            for i, task in enumerate(("x", "y")):
                if (seed, task) == (10, "y"):
                    continue  # not finished yet
                adapter = tmp_path / "states" / f"seed{seed}" / "phases" / f"{method}-{task}"
                adapter.mkdir(parents=True)
                (adapter / "adapter_config.json").write_text("{}")
                (adapter / "adapter_model.safetensors").write_text(str(10 * seed + i + len(method)))
    phases.write(tmp_path / "states" / "seed0", tmp_path / "sets", ["plain", "mod-x"])
    return tmp_path


def test_runs_of_other_seeds_are_measured_once_and_kept_beside_the_set(trained):
    pairs, opened, log = planted.coloured(), [], []

    def collect():
        opened.clear()
        runs.collect(trained / "states", pairs, trained / "sets", lambda f: opened.append(f) or Encoder(f), log.append)
        return [folder.name for folder in opened]

    assert collect() == ["plain", "plain", "mod-x"] and any("Plain, seed 2" in line for line in log)
    assert collect() == []  # all of it was measured
    plain = runs.recipe("plain", trained / "sets")
    found = runs.load(plain, pairs)
    assert [of.label for of in found] == ["seed 1", "seed 2"] and found[0].phases == ("base", "x", "y")
    assert [of.label for of in runs.load(runs.recipe("mod-x", trained / "sets"), pairs)] == ["seed 1"]
    assert runs.load(runs.recipe("interpolation", trained / "sets"), pairs) == ()
    phases.write(trained / "states" / "seed1", trained / "again", ["plain"])
    whole = planted.measure(Encoder(trained / "again" / "plain"), pairs, plain.phases, "plain", runs.SHOWN)
    for name, ranks in whole.ranks.items():
        assert np.array_equal(found[0].ranks[name], np.minimum(ranks, runs.BEYOND))
    assert np.array_equal(recalls(found[0], k=5).matrix, recalls(whole, k=5).matrix)
    for name in ("rotation_image", "deviation"):
        np.testing.assert_allclose(found[0].angles[name], whole.spreads[name].mean[0], atol=1e-4)
    assert found[0].provenance.model == "mine" and found[0].texts == pairs.texts

    weights = trained / "states" / "seed1" / "phases" / "plain-x" / "adapter_model.safetensors"
    weights.write_text("77")  # trained again: the old run gives way
    assert collect() == ["plain"] and [of.seed for of in runs.load(plain, pairs)] == [1, 2]
    assert not np.array_equal(runs.load(plain, pairs)[0].ranks["i2t"], found[0].ranks["i2t"])
    phases.write(trained / "states" / "seed0", trained / "sets", ["plain", "mod-x"])
    assert len(runs.load(plain, pairs)) == 2  # they tell of other seeds, so they stay


def test_runs_of_other_pairs_or_another_model_count_for_nothing(trained):
    pairs = planted.coloured()
    runs.collect(trained / "states", pairs, trained / "sets", Encoder, lambda line: None)
    recipe = runs.recipe("plain", trained / "sets")
    assert len(runs.load(recipe, pairs)) == 2
    assert runs.load(recipe, replace(pairs, data="other")) == ()
    (trained / "clip" / "config.json").write_text('{"trained": "again"}')
    assert runs.load(recipe, pairs) == ()


def test_the_runs_that_ship_are_small_and_of_these_drawings():
    for recipe in runs.recipes().values():
        file = recipe.folder / runs.FILE
        if file.exists():
            told = json.loads(file.read_text())
            assert file.stat().st_size < 75_000
            assert len(runs.load(recipe, runs.drawings())) == (recipe.method == recipe.folder.name) * len(
                told["runs"]
            )


# --- what is told of them


@pytest.fixture
def both(monkeypatch):
    """The page's methods: plain and Mod-X with three seeds each, joint with one."""
    found = {"plain": PLAIN, "mod-x": KEEPS, "joint": (run((1,) * 8, None, "joint"),)}
    titles = {"plain": "Plain", "mod-x": "Mod-X", "joint": "Joint"}
    offered = {name: SimpleNamespace(title=title) for name, title in titles.items()}
    monkeypatch.setattr(runs, "recipes", lambda *root: offered)
    hit = np.ones((3, 8), dtype=bool)
    every = {
        name: Whole(titles[name], planted.made_up(hit, DOMAINS, TRAINED, name), None, (), None, of)
        for name, of in found.items()
    }
    monkeypatch.setattr(room, "whole", lambda key, *progress: every.get(key.method))
    return {titles[name]: of for name, of in found.items()}


def test_the_page_tells_means_spread_and_number_of_seeds(both):
    values = {"trained": "mod-x", "direction": "i2t", "k": 1, "among": "domain", "after": 2, "domain": -1}
    asked = Asked("", "", None, "", None, values)
    shown = Shown(LOST.kept(asked), asked)
    averages, told = (next(v for v in LOST.views if v.name == name).draw(shown) for name in ("methods", "table"))
    assert [line.name for line in averages.data] == ["Plain (3 seeds)", "Mod-X (3 seeds)", "Joint"]
    line = averages.data[0]
    ends = [100 * of.average[-1] for of in repeated(PLAIN).each]
    assert line.y[-1] == pytest.approx(np.mean(ends)) and line.error_y.visible
    assert [line.error_y.array[-1], line.error_y.arrayminus[-1]] == pytest.approx(
        [max(ends) - np.mean(ends), np.mean(ends) - min(ends)]
    )
    assert not averages.data[2].error_y.visible
    span = f"({min(ends):.1f}&nbsp;to&nbsp;{max(ends):.1f})"
    assert f"<td>3</td><td>{np.mean(ends):.1f} <small>{span}</small></td>" in told
    assert told.count("training by training") == 1 and "Mod-X minus Plain" in told
    assert "as shipped" in told and "seed 2" in told and "+20.8" in told and "(2 degrees of freedom)" in told
    assert "with these very trainings" in lost.covers(3)
    own = replace(shown, result=replace(shown.result, keys=(Key(own="mine"),)))
    assert next(v for v in LOST.views if v.name == "table").draw(own) == ""


@pytest.mark.parametrize(
    ("between", "said"),
    [((0.01, 0.06), "more, over 3 trainings"), ((-0.01, 0.06), "no difference can be told"),
     ((-0.06, -0.01), "fewer, over 3 trainings")],
)
def test_of_several_trainings_the_interval_over_them_decides(between, said, monkeypatch):
    found = versus(KEEPS, PLAIN)
    monkeypatch.setattr(type(found), "between", lambda self, which: between)
    assert lost.verdict(found) == said


def test_the_card_tells_every_seed_and_what_the_intervals_cover(both):
    spaces = {
        title: planted.made_up(np.ones((3, 8), dtype=bool), DOMAINS, TRAINED, of[0].method)
        for title, of in both.items()
    }  # fmt: skip
    told = card.told(spaces, both)
    assert "Trained more than once, from other seeds: Plain 3, Mod-X 3; every other method once." in told
    assert "| Plain | 3 | phase 2 | 33 [0 to 50] | 25 [0 to 50] |" in told  # broad, a
    assert "| Joint | 1 | phase 2 | 100 (" in told
    for row in (
        "| as shipped | +25.0 (",
        "| seed 1 | +12.5 (",
        "| mean of 3 seeds | +20.8 (",
        "| over seeds (t) | +2.9 to +38.8 |",
    ):
        assert row in told, row
    assert "so it is in 3 of 3 seeds (+25.0, +12.5, +25.0)" in told
    assert "over seeds, degrees" in told and "nan" not in told
    alone = card.told(spaces, {title: of[:1] for title, of in both.items()})
    assert "One training seed." in alone and "mean of" not in alone and "over seeds (t)" not in alone
    assert "Mod-X and Plain do not differ clearly (+25.0 (0.0 to +50.0; p = 0.5) points over pairs)." in alone
    ahead = {"Plain": PLAIN[:1], "Mod-X": (run((1,) * 8, None, "mod-x"),)}
    assert "one seed, so nothing is known of other trainings." in card.told({t: spaces[t] for t in ahead}, ahead)
