"""Honest answers: to small talk, to pictures of nothing known; what is kept out of training is in none of it."""

import re
from collections import Counter

import numpy as np
import pytest

from models.embedded import honesty
from models.embedded import phrases as P
from models.embedded.concepts import CONCEPTS, SYNONYMS, learnt_in
from models.embedded.honesty import HONEST, NOTHING, about_nothing, small_talk, unknown_scene, untaught
from models.embedded.pictures import LOOKS, UNSEEN_STYLE

POOL = learnt_in("base")


def talk(part, count=4000):
    rng = np.random.default_rng(0)
    return [small_talk(rng, part) for _ in range(count)]


def patterns(part):
    blank = re.compile(r"\\{\w+\\}")
    return [
        (re.compile(blank.sub("(.+)", re.escape(w)), re.I), answer)
        for answer, all_, _ in honesty._TALK
        for w in part(all_)
    ]


@pytest.mark.parametrize("part", [P.taught, P.kept_out])
def test_small_talk_gets_the_one_sentence_of_its_kind(part):
    turns, known = talk(part), patterns(part)
    for turn in turns[:600]:
        assert turn.style == "sentence" and "{" not in turn.question
        assert turn.answer in {answer for pattern, answer in known if pattern.fullmatch(turn.question)}
    found = Counter(turn.answer for turn in turns)
    odds = {answer: often / sum(o for *_, o in honesty._TALK) for answer, _, often in honesty._TALK}
    assert set(found) == set(HONEST)
    assert all(abs(found[a] / 4000 - p) < 4 * (p * (1 - p) / 4000) ** 0.5 for a, p in odds.items())


def test_small_talk_kept_out_is_not_in_training():
    taught = {turn.question for turn in talk(P.taught)}
    plain = {w for _, wordings, _ in honesty._TALK for w in P.kept_out(wordings) if "{" not in w}
    assert len(plain) > 30 and not plain & taught


def test_wordings_are_many_and_none_comes_twice():
    for _, wordings, _ in honesty._TALK:
        assert len({w.lower() for w in wordings}) == len(wordings) >= 20


def test_untaught_drawings_have_nothing_to_do_with_a_concept():
    names = untaught()
    assert len(names) > 500 and names == tuple(sorted(names))
    taken = {c.name for c in CONCEPTS.values()} | {c.name for found in SYNONYMS.values() for c in found}
    assert not taken & set(names)
    assert not [n for n in names if re.search(r"\b(dog|cat|car|tree|clock|moon|hat)s?\b", n)]
    assert not set(P.taught(names)) & set(P.kept_out(names))


@pytest.mark.parametrize("part", [P.taught, P.kept_out])
def test_an_unknown_scene_shows_untaught_drawings_or_nothing(part):
    rng = np.random.default_rng(0)
    scenes = [unknown_scene(rng, part) for _ in range(200)]
    assert 70 < sum(not scene.items for scene in scenes) < 130
    items = [item for scene in scenes for item in scene.items]
    assert {i.name for i in items} <= set(part(untaught()))
    assert {i.style for i in items} == set(LOOKS) and UNSEEN_STYLE not in LOOKS


def test_of_nothing_known_every_answer_says_so():
    rng, answers = np.random.default_rng(0), Counter()
    for _ in range(200):
        for turn in about_nothing(rng, POOL):
            answers[turn.answer if turn.answer in (NOTHING, "no", "0") else "there is none"] += 1
            if turn.answer not in (NOTHING, "no", "0"):
                assert re.fullmatch(r"There is no [a-z]+\.", turn.answer)
                assert turn.answer[12:-1] in turn.question.lower() or "any" in turn.question
    assert answers["no"] == answers["0"] == answers["there is none"] == 200
    assert answers[NOTHING] >= 5 * 200
