"""Every room finds what it ships without opening a model, and no room takes it for that of a quantised one."""

from dataclasses import replace
from functools import partial

import pytest

from analysis import kept
from analysis.attention import sample
from analysis.decoding import strategies
from analysis.decoding.dataset import measure as decoding
from analysis.embedding_space import measure as space
from analysis.embedding_space import pairs
from analysis.embedding_space import runs as spaces
from analysis.forgetting import sets
from analysis.forgetting.parts import measure as parts
from analysis.forgetting.path import measure as path
from analysis.forgetting.split.measure import split
from analysis.interference.conflict import measure as conflict
from analysis.interference.dataset import measure as dataset
from models import catalog
from models.embedded import SHIPPED_DTYPE
from models.fingerprint import Unopened
from models.manifest import Manifest

METHOD = "sequential"


def unopened(name: str) -> Unopened:
    """An embedded model with its set, as it was where it ships from."""
    of = next(e for e in catalog.entries() if e.name == name)
    return Unopened(of.name, of.source, SHIPPED_DTYPE, None, Manifest.load(of.checkpoint_folder))


def mini() -> Unopened:
    return unopened(catalog.EMBEDDED)


def chosen() -> parts.Choice:
    return parts.first_choice(sets.manifest(METHOD), METHOD)


def moved():
    return parts.movement(mini(), chosen().before, chosen().after, only_kept=True)


def presets() -> list:
    names = tuple(c.name for c in sets.trained(mini().manifest).values())
    return [path.preset(names, name) for name in (path.AVERAGE, path.SUM)]


def measure_path(model: Unopened, **how):
    a, b = path.first_and_last(model.manifest)
    return path.measure(model, a, b, path.tasks_of(model.manifest, a, b), **how)


def clip() -> Unopened:
    recipe = spaces.recipe("plain")
    return Unopened("crosstalk-clip", str(spaces.MODEL), SHIPPED_DTYPE, None, Manifest.load(recipe.folder))


def whole(model: Unopened):
    found = sets.evaluate(model, only_kept=True)
    return found if all(len(given) == len(found.checkpoints) for given in found.given.values()) else None


ROOMS = {
    "interference": (
        partial(unopened, dataset.MITIGATION),
        lambda model, **how: dataset.measure(model, [dataset.shipped_set("image-heavy")], **how) or None,
    ),
    "conflict": (mini, conflict.measured),
    "decoding": (mini, lambda model, **how: decoding.measure(
        model, decoding.embedded(), {name: {} for name in strategies.ALL}, **how
    )),
    "attention": (mini, lambda model, **how: sample.looks(
        model, ("base", "naming"), sample.of_sets(model.manifest), **how
    )),
    "moda": (partial(unopened, sample.MODEL), lambda model, **how: sample.looks(
        model, sample.seeds_of(("base", *(c.name for c in model.manifest.checkpoints)))[0], sample.sample(), **how
    )),
    "matrix": (mini, lambda model, only_kept: whole(model)),
    "split": (mini, lambda model, **how: split(sets.answers(METHOD), model, **how)),
    "movement": (mini, lambda model, **how: parts.movement(model, chosen().before, chosen().after, **how)),
    "key elements": (mini, parts.key_overlap),
    "drift": (mini, lambda model, **how: parts.drift(model, chosen().task, chosen().n, **how)),
    "put back": (mini, lambda model, **how: parts.patching(
        model, moved(), chosen().task, chosen().n, groups=chosen().groups, **how
    )),
    "path": (mini, measure_path),
    "merges": (mini, lambda model, **how: path.measure_merges(model, presets(), **how)),
    "space": (clip, lambda model, **how: space.measure(
        model, pairs.drawings(), spaces.recipe("plain").phases, "plain", spaces.SHOWN, **how
    )),
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_what_ships_is_found_and_is_not_that_of_other_weights(room, monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    monkeypatch.setattr(kept, "_write", lambda *args: pytest.fail("measured"))
    model, measure = ROOMS[room]
    assert measure(model(), only_kept=True) is not None
    for other in ({"bits": 4}, {"bits": 8}, {"dtype": "float16"}):
        assert measure(replace(model(), **other), only_kept=True) is None, other


def test_there_is_a_room_for_all_that_ships():
    names = {folder.name for folder in kept.SHIPPED.iterdir()}
    assert names - {"embedding_space-maps"} == {
        dataset.ROOM, conflict._ROOM, "decoding", sample._ROOM, space.ROOM, sets.ROOM, "forgetting-path",
        "forgetting-split", parts.ROOM,
    }  # fmt: skip
