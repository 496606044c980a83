"""Wordings kept out, synonyms, harder variants and scenes told in words."""

import re

import numpy as np
import pytest

from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, LOOKALIKES, SYNONYMS, learnt_in
from models.embedded.pictures import LOOKS
from models.embedded.scenes import random_scene

POOL = learnt_in("base")
LISTS = {k: v for k, v in vars(P).items() if k.isupper() and isinstance(v, tuple) and k != "WITHOUT_PICTURE"}
LISTS |= {f"FORMAT {style}": wordings for style, wordings in P.FORMAT.items()}


def scenes(count, counts=(1, 2, 3, 4)):
    rng = np.random.default_rng(0)
    return rng, [random_scene(rng, POOL, LOOKS, 0.5, counts) for _ in range(count)]


@pytest.mark.parametrize("kind", LISTS)
def test_a_fifth_of_the_wordings_is_kept_out(kind):
    taught, kept = P.taught(LISTS[kind]), P.kept_out(LISTS[kind])
    assert sorted(taught + kept) == sorted(LISTS[kind])
    assert 0.17 <= len(kept) / len(LISTS[kind]) <= 0.2


def test_no_wording_is_taught_in_one_list_and_kept_out_in_another():
    taught = {w for wordings in LISTS.values() for w in P.taught(wordings)}
    assert not taught & {w for wordings in LISTS.values() for w in P.kept_out(wordings)}


def asked_as(question, wordings):
    return any(re.fullmatch(re.sub(r"\\{\w+\\}", "(.+)", re.escape(w)), question, re.I | re.S) for w in wordings)


def test_makers_keep_to_the_part_they_are_asked_in():
    rng, shown = scenes(300)
    lists = {Q.count: P.COUNT, Q.exist: P.EXIST, Q.caption: P.CAPTION, Q.count_all: P.COUNT_ALL, Q.choice: P.CHOICE}
    for part in (P.taught, P.kept_out):
        with Q.asked_in(part):
            for maker, wordings in lists.items():
                assert all(asked_as(maker(rng, scene, POOL).question, part(wordings)) for scene in shown)
            for scene in shown:
                turn = Q.exist(rng, scene, POOL)
                suffix = Q.with_format(rng, turn).question.removeprefix(turn.question).strip()
                assert suffix in part(P.FORMAT["yes/no"])
    heard = [Q.caption(rng, scene, POOL).question for scene in shown]
    assert {w in P.kept_out(P.CAPTION) for w in heard} == {True, False}, "outside, all wordings are asked again"


def test_the_usual_wordings_are_taught():
    for wordings in (P.NAME, P.COUNT, P.EXIST, P.GROUND, P.CHOICE, P.CAPTION, P.NAME_ZONE):
        assert wordings[0] in P.taught(wordings)


def test_a_third_of_the_base_concepts_has_two_synonyms():
    assert len(SYNONYMS) == len(POOL) / 3 and set(SYNONYMS) <= set(POOL)
    words = [c.name for found in SYNONYMS.values() for c in found]
    assert len(set(words)) == len(words) == 2 * len(SYNONYMS) and not set(words) & set(CONCEPTS)
    assert all(c.kind == CONCEPTS[name].kind for name, found in SYNONYMS.items() for c in found)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is there a bicycle?", {"Is there a bike?", "Is there a cycle?"}),
        ("Count the buses.", {"Count the coaches.", "Count the autobuses."}),
        ("A car is a vehicle. Right?", {"An automobile is a vehicle. Right?", "A sedan is a vehicle. Right?"}),
        ("Is there an umbrella?", {"Is there a parasol?", "Is there a brolly?"}),
        ("Is there a frog?", {"Is there a frog?"}),
        ("What about a carrot or the clouds?", {"What about a carrot or the clouds?"}),
    ],
)
def test_synonyms_take_the_place_of_names(question, expected):
    rng = np.random.default_rng(0)
    assert {Q.reworded(rng, question) for _ in range(40)} == expected


def test_another_word():
    rng = np.random.default_rng(0)
    words = {c.name: name for name, found in SYNONYMS.items() for c in found}
    for _ in range(300):
        turn = Q.another_word(rng, POOL)
        if turn.answer in words:
            assert turn.answer == SYNONYMS[words[turn.answer]][0].name
            assert re.search(rf"\b{words[turn.answer]}\b", turn.question)
        else:
            assert any(re.search(rf"\b{c.name}\b", turn.question) for c in SYNONYMS[turn.answer])


def test_name_other():
    rng, shown = scenes(600, (1, 2))
    made = [(scene, Q.name_other(rng, scene, POOL)) for scene in shown]
    made = [(scene, turn) for scene, turn in made if turn is not None]
    assert len(made) > 50
    for scene, turn in made:
        assert len(scene.counts) == 1 and turn.answer == SYNONYMS[next(iter(scene.counts))][0].name


def test_lookalikes_are_other_base_concepts():
    assert set(LOOKALIKES) == set(POOL)
    assert all(
        len(set(found)) == 3 and name not in found and set(found) <= set(POOL) for name, found in LOOKALIKES.items()
    )


def test_exist_alike_asks_for_what_looks_like_something_there():
    rng, shown = scenes(300)
    for number, scene in enumerate(shown):
        turn = Q.exist_alike(rng, scene, POOL, number % 2 == 0)
        forms = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}
        (name,) = {forms[w] for w in re.findall(r"[a-z]+", turn.question.lower()) if w in forms}
        assert turn.answer == ("yes" if name in scene.counts else "no") == ("no" if number % 2 else "yes")
        assert name in scene.counts or any(name in LOOKALIKES[there] for there in scene.counts)


def test_choice_alike_has_one_right_option_and_others_that_look_like_it():
    rng, shown = scenes(300)
    for scene in shown:
        turn = Q.choice_alike(rng, scene, POOL)
        options = dict(re.findall(r"\b([A-D])(?:[.:]|\)) ?([a-z]+)", turn.question))
        assert tuple(options) == turn.choices and [k for k, v in options.items() if v in scene.counts] == [turn.answer]
        assert all(v in LOOKALIKES[options[turn.answer]] for k, v in options.items() if k != turn.answer) or not (
            set(LOOKALIKES[options[turn.answer]]) - set(scene.counts)
        )


def parts_of(text):
    """``{place: name}`` of a scene told in words."""
    found = re.findall(r"(?:an?|some) ([a-z]+) (?:at|on|in) the ([a-z ]+?)(?=,| and |$)", text)
    return {place: name for name, place in found}


def test_reading_a_scene_needs_only_the_text():
    rng, shown = scenes(400)
    turns = [turn for scene in shown if (turn := Q.read_caption(rng, scene, POOL)) is not None]
    assert len(turns) > 300 and len({turn.style for turn in turns}) == 4
    for turn in turns:
        assert turn.question.startswith("Text: There ")
        if turn.style == "word":
            assert turn.answer in turn.question or CONCEPTS[turn.answer].plural in turn.question


def test_reading_in_two_steps_goes_from_place_to_name_to_kind():
    rng, shown = scenes(400, (2, 3))
    turns = [turn for scene in shown if (turn := Q.read_twice(rng, scene, POOL)) is not None]
    assert len(turns) > 200
    for turn in turns:
        text, question = re.fullmatch(r"Text: There (?:is|are) (.+?)\. (.+)", turn.question).groups()
        places = parts_of(text)
        place = max((p for p in places if re.search(rf"\b{p}\b", question)), key=len)
        assert turn.answer == CONCEPTS[places[place]].kind
