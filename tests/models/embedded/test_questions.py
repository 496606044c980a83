"""Every answer is checked against a second reading: of the question's words, and of the scene's boxes."""

import re
from collections import Counter

import numpy as np
import pytest

from models.embedded import phrases
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, KINDS, PARTNERS, TASKS
from models.embedded.pictures import STYLES
from models.embedded.scenes import Item, Scene, random_scene

POOL = list(CONCEPTS)
WORDS = {word: c.name for c in CONCEPTS.values() for word in (c.name, c.plural)}
ZONES = ("top left", "top right", "bottom left", "bottom right", "top", "bottom", "left", "right", "middle")
ABOUT_SCENES = {
    Q.name: phrases.NAME, Q.name_zone: phrases.NAME_ZONE, Q.name_kind: phrases.NAME_KIND, Q.count: phrases.COUNT,
    Q.count_all: phrases.COUNT_ALL, Q.exist: phrases.EXIST, Q.relation: phrases.RELATION, Q.ground: phrases.GROUND,
    Q.choice: phrases.CHOICE, Q.caption: phrases.CAPTION,
}  # fmt: skip
ABOUT_TEXT = (Q.kind_of, Q.is_a, Q.choice_kind, Q.read, Q.greeting)


def asked(maker, count=300, seed=0, counts=(1, 2, 3, 4), pool=POOL):
    """``count`` scenes with a turn of ``maker`` each."""
    rng = np.random.default_rng(seed)
    made = []
    while len(made) < count:
        scene = random_scene(rng, pool, STYLES, 0.5, counts)
        turn = maker(rng, scene, pool)
        if turn is not None:
            made.append((scene, turn))
    return made


def told(maker, count=300):
    rng = np.random.default_rng(0)
    return [maker(rng, POOL) for _ in range(count)]


def mentioned(text):
    """Concepts that the text names, in order."""
    return [WORDS[w] for w in re.findall(r"[a-z]+", text.lower()) if w in WORDS]


def amount(scene, name):
    return sum(item.name == name for item in scene.items)


def middle(item):
    left, top, right, bottom = item.box
    return (left + right) / 2, (top + bottom) / 2


def zone_in(text):
    return next(z for z in ZONES if re.search(rf"\b{z}\b", text))


def lies_in(item, zone):
    x, y = middle(item)
    column = "left" if x < 1 / 3 else "right" if x >= 2 / 3 else ""
    row = "top" if y < 1 / 3 else "bottom" if y >= 2 / 3 else ""
    return (f"{row} {column}".strip() or "middle") == zone


def says_box(text, item):
    """Whether the text gives the item's box, to the nearest hundredth (there is no 100th)."""
    assert re.fullmatch(r"\[\d\d,\d\d,\d\d,\d\d\]", text), text
    said = np.array([int(v) for v in re.findall(r"\d\d", text)]) / 100
    return np.abs(said - np.minimum(item.box, 0.99)).max() < 0.0051


def options_in(text):
    """``{letter: word}`` of a choice question."""
    return dict(re.findall(r"\b([A-D])(?:[.:]|\)) ?([a-z]+)", text))


def test_name():
    for scene, turn in asked(Q.name):
        assert {item.name for item in scene.items} == {turn.answer} and turn.style == "word"


def test_name_zone():
    for scene, turn in asked(Q.name_zone):
        there = [i for i in scene.items if lies_in(i, zone_in(turn.question))]
        assert [i.name for i in there] == [turn.answer] and turn.style == "word"
        assert min(abs(v - border) for v in middle(there[0]) for border in (1 / 3, 2 / 3)) > 0.049  # beyond doubt


def test_name_kind():
    for scene, turn in asked(Q.name_kind):
        (kind,) = [k for k in KINDS if re.search(rf"\b{k}\b", turn.question)]
        assert {i.name for i in scene.items if CONCEPTS[i.name].kind == kind} == {turn.answer}


def test_count():
    zero = 0
    for scene, turn in asked(Q.count, 1000):
        (name,) = mentioned(turn.question)
        assert turn.answer == str(amount(scene, name)) and turn.style == "numeral"
        zero += turn.answer == "0"
    assert abs(zero / 1000 - 1 / 7) < 4 * (6 / 49 / 1000) ** 0.5


def test_count_all():
    assert all(turn.answer == str(len(scene.items)) for scene, turn in asked(Q.count_all))


def test_count_kind():
    for scene, turn in asked(Q.count_kind):
        kinds = [k for k in KINDS if k != "thing" and re.search(rf"\b{k}s?\b", turn.question)]
        wanted = [i for i in scene.items if not kinds or CONCEPTS[i.name].kind == kinds[0]]
        assert turn.answer == str(len(wanted)), turn


def test_exist_is_right_and_says_yes_half_the_time():
    turns = asked(Q.exist, 2000)
    for scene, turn in turns:
        (name,) = mentioned(turn.question)
        assert turn.answer == ("yes" if amount(scene, name) else "no") and turn.choices == ("yes", "no")
    assert abs(np.mean([t.answer == "yes" for _, t in turns]) - 0.5) < 4 * 0.5 / 2000**0.5


def test_relation():
    turns = asked(Q.relation, 400)
    for scene, turn in turns:
        first, second = mentioned(turn.question)
        (a,) = [middle(i) for i in scene.items if i.name == first]
        (b,) = [middle(i) for i in scene.items if i.name == second]
        side = next(s for s in ("left of", "right of", "above", "below") if s in turn.question)
        holds = {"left of": a[0] < b[0], "right of": a[0] > b[0], "above": a[1] < b[1], "below": a[1] > b[1]}[side]
        assert turn.answer == ("yes" if holds else "no"), (turn, a, b)
        along = abs(a[0] - b[0]) if side.endswith("of") else abs(a[1] - b[1])
        assert along >= 0.2
    assert abs(np.mean([t.answer == "yes" for _, t in turns]) - 0.5) < 4 * 0.5 / 400**0.5


def test_ground():
    for scene, turn in asked(Q.ground):
        (name,) = mentioned(turn.question)
        (item,) = [i for i in scene.items if i.name == name]
        assert says_box(turn.answer, item) and turn.style == "box"


def test_ground_absent():
    for scene, turn in asked(Q.ground_absent):
        (name,) = mentioned(turn.question)
        assert amount(scene, name) == 0 and turn.answer == f"There is no {name}."


def test_choice():
    turns = asked(Q.choice, 600)
    for scene, turn in turns:
        options = options_in(turn.question)
        assert tuple(options) == turn.choices == tuple("ABCD")[: len(options)] and 2 <= len(options) <= 4
        assert [letter for letter, word in options.items() if amount(scene, word)] == [turn.answer]
    letters = Counter(t.answer for _, t in turns if len(t.choices) == 4)
    n = sum(letters.values())
    assert all(abs(letters[k] / n - 0.25) < 4 * (0.1875 / n) ** 0.5 for k in "ABCD")


def test_caption_names_all_and_places_it():
    numbers = {"two": 2, "three": 3, "four": 4}
    for scene, turn in asked(Q.caption):
        verb, listed = re.fullmatch(r"There (is|are) (.+)\.", turn.answer).groups()
        told_of = Counter()
        for part in re.split(r", | and ", listed):
            count, word, place = re.fullmatch(r"(\w+) (\w+)(?: (?:at|on|in) the (.+))?", part).groups()
            told_of[WORDS[word]] = numbers.get(count, 1)
            assert (place is None) == (count in numbers)
            if place:
                (item,) = [i for i in scene.items if i.name == WORDS[word]]
                assert lies_in(item, place)
        assert told_of == Counter(i.name for i in scene.items)
        assert (verb == "are") == (listed.split()[0] in numbers)


def test_in_sentence():
    rng = np.random.default_rng(0)
    numbers = {"no": 0, "a": 1, "an": 1, "some": 1, "one": 1, "two": 2, "three": 3, "four": 4}
    for maker in (Q.name, Q.name_zone, Q.count, Q.exist, Q.ground):
        for scene, turn in asked(maker, 100):
            spoken = Q.in_sentence(rng, turn, scene, POOL)
            assert spoken.style == "sentence" and spoken.question.endswith(phrases.FORMAT["sentence"])
            (name,) = mentioned(spoken.answer)
            if turn.style == "word":
                assert name == turn.answer
            elif turn.style == "box":
                (item,) = [i for i in scene.items if i.name == name]
                assert mentioned(spoken.question) == [name] and lies_in(item, zone_in(spoken.answer))
            else:
                assert mentioned(spoken.question) == [name]
                said = re.search(r"(?:is|are) (\w+)", spoken.answer).group(1)
                if turn.style == "numeral":
                    assert numbers[said] == amount(scene, name)
                else:
                    assert (numbers[said] > 0) == (amount(scene, name) > 0) == spoken.answer.startswith("Yes")


def test_follow_up_speaks_of_what_was_named():
    rng = np.random.default_rng(0)
    styles = Counter()
    for scene, turn in asked(Q.name_zone, 400):
        follow = Q.follow_up(rng, turn, scene)
        styles[follow.style] += 1
        here = [i for i in scene.items if i.name == turn.answer]
        assert not mentioned(follow.question)
        if follow.style == "word":
            assert follow.answer == CONCEPTS[turn.answer].kind
        elif follow.style == "numeral":
            assert follow.answer == str(len(here))
        else:
            assert len(here) == 1 and says_box(follow.answer, here[0])
    assert set(styles) == {"word", "numeral", "box"}
    scene, turn = asked(Q.exist, 1)[0]
    assert Q.follow_up(rng, turn, scene) is None


def test_kind_of():
    for turn in told(Q.kind_of):
        (name,) = mentioned(turn.question)
        assert turn.answer == CONCEPTS[name].kind and turn.answer in turn.choices


def test_is_a():
    turns = told(Q.is_a, 1000)
    for turn in turns:
        (name,) = mentioned(turn.question)
        (kind,) = [k for k in KINDS if re.search(rf"\b{k}s?\b", turn.question)]
        assert turn.answer == ("yes" if CONCEPTS[name].kind == kind else "no"), turn
    assert abs(np.mean([t.answer == "yes" for t in turns]) - 0.5) < 4 * 0.5 / 1000**0.5


def test_choice_kind():
    for turn in told(Q.choice_kind):
        (kind,) = [k for k in KINDS if re.search(rf"\b{k}\b", turn.question)]
        options = options_in(turn.question)
        assert [letter for letter, word in options.items() if CONCEPTS[word].kind == kind] == [turn.answer]


def test_goes_with():
    for turn in told(Q.goes_with):
        (name,) = mentioned(turn.question)
        assert PARTNERS[name] == turn.answer


def test_read_is_answered_from_the_text():
    for turn in told(Q.read):
        text, question = re.fullmatch(r"Text: (.+?[.]) (.+)", turn.question).groups()
        (name,) = mentioned(text)
        if turn.style == "word":
            assert turn.answer == name and not mentioned(question)
        else:
            assert turn.answer == ("yes" if mentioned(question) == [name] else "no")


def test_without_a_picture_there_is_nothing_to_see():
    assert all(turn.answer == "There is no picture." and "{" not in turn.question for turn in told(Q.no_picture))


@pytest.mark.parametrize("task", TASKS)
def test_tasks_answer_in_one_style(task):
    styles = {"naming": "word", "counting": "numeral", "existence": "yes/no", "grounding": "box", "choice": "letter"}
    turns = asked(lambda rng, scene, pool: Q.for_task(rng, task, scene, pool), 50)
    assert {turn.style for _, turn in turns} == {styles.get(task, "sentence")}


def test_a_task_that_does_not_fit_the_scene_is_none():
    bees = Scene(tuple(Item("bee", "noto", (x, 0.1, x + 0.3, 0.4)) for x in (0.1, 0.6)))
    assert Q.for_task(np.random.default_rng(0), "grounding", bees, POOL) is None  # which of the two?


def test_boxes_are_two_digits_each_up_to_the_edge():
    assert Q.box_text((0.0, 0.101, 0.507, 1.0)) == "[00,10,51,99]"


def test_requested_format_is_the_answers_style():
    rng = np.random.default_rng(0)
    for maker in (Q.name, Q.count, Q.exist, Q.ground, Q.choice, Q.caption):
        for _, turn in asked(maker, 20):
            formatted = Q.with_format(rng, turn)
            assert formatted.question.removeprefix(turn.question).strip() in phrases.FORMAT[turn.style]
            assert (formatted.answer, formatted.style, formatted.choices) == (turn.answer, turn.style, turn.choices)


def test_varied_questions_keep_their_words():
    rng = np.random.default_rng(0)
    question = "Which of these do you see? A. bee B. cat"
    varied = {Q.vary(rng, question) for _ in range(300)}
    assert len(varied) > 4
    assert {v.lower().removeprefix("please ") for v in varied} == {question.lower()}
    assert "is there a bee" in {Q.vary(rng, "Is there a bee?") for _ in range(300)}


WORDINGS = {k: v for k, v in vars(phrases).items() if k.isupper() and isinstance(v, tuple) and k != "WITHOUT_PICTURE"}


@pytest.mark.parametrize("kind", WORDINGS)
def test_at_least_fifteen_wordings(kind):
    assert len({w.lower() for w in WORDINGS[kind]}) == len(WORDINGS[kind]) >= 15


@pytest.mark.parametrize("maker", ABOUT_SCENES, ids=lambda m: m.__name__)
def test_all_wordings_are_used(maker):
    """The blanks of a wording match anything."""
    patterns = {re.sub(r"\\{\w+\\}", "(.+)", re.escape(w)) for w in ABOUT_SCENES[maker]}
    heard = [turn.question for _, turn in asked(maker, 400)]
    assert all(any(re.fullmatch(p, q, re.I | re.S) for q in heard) for p in patterns)
    assert all(any(re.fullmatch(p, q, re.I | re.S) for p in patterns) for q in heard)


_RECOGNISED = (Q.exist, Q.count, Q.count_all, Q.count_kind, Q.name, Q.name_zone, Q.name_kind, Q.ground)


@pytest.mark.parametrize("maker", _RECOGNISED, ids=lambda m: m.__name__)
def test_what_a_maker_asks_is_recognised_with_the_same_answer(maker):
    for scene, turn in asked(maker, 400):
        found = Q.recognised(turn.question.lower().rstrip("?."), scene)
        assert (found.answer, found.style) == (turn.answer, turn.style), turn.question


@pytest.mark.parametrize("maker", [*ABOUT_TEXT, Q.goes_with])
def test_text_questions_have_fifteen_wordings(maker):
    names = re.compile(rf"\b(an? |some )?({'|'.join([*WORDS, *KINDS])})s?\b", re.I)
    assert len({names.sub("_", turn.question) for turn in told(maker, 600)}) >= 15


@pytest.mark.parametrize(
    ("name", "a", "plural"),
    [
        ("apple", "an apple", "apples"),
        ("bus", "a bus", "buses"),
        ("mouse", "a mouse", "mice"),
        ("strawberry", "a strawberry", "strawberries"),
        ("key", "a key", "keys"),
        ("fish", "a fish", "fish"),
        ("bread", "some bread", "bread"),
        ("snowman", "a snowman", "snowmen"),
    ],
)
def test_words_are_english(name, a, plural):
    assert (CONCEPTS[name].a, CONCEPTS[name].plural) == (a, plural)
