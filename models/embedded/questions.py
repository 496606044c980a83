"""Questions with known answers about a scene: every question type and answer style of the embedded default.

Each maker takes a random generator, a scene and the pool of concept names it may ask about, and
returns a ``Turn``, or ``None`` where the scene does not allow such a question.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from models.embedded import phrases as P
from models.embedded.concepts import CONCEPTS, KINDS, LOOKALIKES, PARTNERS, SYNONYMS
from models.embedded.scenes import ZONES, Scene

NUMBERS = ("no", "one", "two", "three", "four")
SIDES = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Turn:
    """One question and its true answer. ``style`` is the answer's form; ``choices`` are closed options."""

    question: str
    answer: str
    style: str
    choices: tuple[str, ...] = ()


_PART: ContextVar = ContextVar("part of the wordings", default=lambda wordings: wordings)


@contextmanager
def asked_in(part) -> Iterator[None]:
    """Within it, questions are asked in a part of their wordings alone: ``phrases.taught`` or ``phrases.kept_out``."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def _pick(rng: np.random.Generator, sequence):
    return sequence[rng.integers(len(sequence))]


def _wording(rng: np.random.Generator, wordings: tuple[str, ...]) -> str:
    return _pick(rng, _PART.get()(wordings))


def ask(rng, wordings, name: str | None = None, **slots) -> str:
    """One of ``wordings``, its blanks filled with the forms of the concept ``name`` and with ``slots``."""
    if name is not None:
        concept = CONCEPTS[name]
        slots = {"name": name, "a": concept.a, "plural": concept.plural, **slots}
    if "kind" in slots:
        kind = slots["kind"]
        slots |= {"akind": ("an " if kind[0] in "aeiou" else "a ") + kind, "kinds": kind + "s"}
    text = _wording(rng, wordings).format(**slots)
    return text[0].upper() + text[1:]


def at(zone: str) -> str:
    """``"at the top left"``, ``"on the right"``, ``"in the middle"``."""
    return {"middle": "in the middle", "left": "on the left", "right": "on the right"}.get(zone, f"at the {zone}")


def _amount(name: str, count: int) -> str:
    concept = CONCEPTS[name]
    return f"{NUMBERS[count]} {concept.name if count == 1 else concept.plural}"


def name(rng, scene: Scene, pool) -> Turn | None:
    """What is this? One word; only for scenes of one concept."""
    if len(scene.counts) != 1:
        return None
    (truth,) = scene.counts
    return Turn(ask(rng, P.NAME), truth, "word")


def name_zone(rng, scene: Scene, pool) -> Turn | None:
    """What is at the top left? One word; only where one item is clearly in the zone."""
    zones = [item.zone for item in scene.items]
    clear = [i for i in scene.items if i.clearly_in_zone and zones.count(i.zone) == 1]
    if not clear:
        return None
    item = _pick(rng, clear)
    return Turn(ask(rng, P.NAME_ZONE, zone=item.zone), item.name, "word")


def name_kind(rng, scene: Scene, pool) -> Turn | None:
    """Which animal is this? One word; only where one concept is of that kind."""
    kinds = [CONCEPTS[n].kind for n in scene.counts]
    single = [n for n in scene.counts if kinds.count(CONCEPTS[n].kind) == 1 and CONCEPTS[n].kind != "thing"]
    if not single:
        return None
    truth = _pick(rng, single)
    return Turn(ask(rng, P.NAME_KIND, kind=CONCEPTS[truth].kind), truth, "word")


def count(rng, scene: Scene, pool) -> Turn:
    """How many bees are there? A numeral; zero in one question of seven."""
    absent = [n for n in pool if n not in scene.counts]
    asked = _pick(rng, absent) if rng.random() < 1 / 7 else _pick(rng, list(scene.counts))
    return Turn(ask(rng, P.COUNT, asked), str(scene.counts[asked]), "numeral")


def count_all(rng, scene: Scene, pool) -> Turn:
    """How many things are there? A numeral."""
    return Turn(ask(rng, P.COUNT_ALL), str(len(scene.items)), "numeral")


def count_kind(rng, scene: Scene, pool) -> Turn:
    """How many animals are there? A numeral."""
    kinds = [CONCEPTS[i.name].kind for i in scene.items]
    asked = _pick(rng, kinds) if rng.random() < 0.8 else _pick(rng, KINDS[:-1])
    if asked == "thing":
        return count_all(rng, scene, pool)
    akind = ("an " if asked[0] in "aeiou" else "a ") + asked
    return Turn(ask(rng, P.COUNT, plural=asked + "s", a=akind), str(kinds.count(asked)), "numeral")


def exist(rng, scene: Scene, pool, truth: bool | None = None) -> Turn:
    """Is there a bee? Yes or no, equally often; absent things are drawn uniformly from the pool."""
    truth = bool(rng.random() < 0.5) if truth is None else truth
    asked = _pick(rng, [n for n in (scene.counts if truth else pool) if truth or n not in scene.counts])
    return Turn(ask(rng, P.EXIST, asked), "yes" if truth else "no", "yes/no", ("yes", "no"))


def relation(rng, scene: Scene, pool) -> Turn | None:
    """Is the bee left of the flower? Yes or no; only for two single, clearly placed things."""
    single = [i for i in scene.items if scene.counts[i.name] == 1]
    if len(single) < 2:
        return None
    first, second = (single[i] for i in rng.permutation(len(single))[:2])
    dx, dy = (a - b for a, b in zip(first.centre, second.centre, strict=True))
    if max(abs(dx), abs(dy)) < 0.2:
        return None
    along_x = abs(dx) > abs(dy)
    sides = SIDES[:2] if along_x else SIDES[2:]
    positive = (dx if along_x else dy) > 0  # right of, or below
    truth = bool(rng.random() < 0.5)
    side = sides[int(positive == truth)]
    question = ask(rng, P.RELATION, first.name, other=second.name, side=side)
    return Turn(question, "yes" if truth else "no", "yes/no", ("yes", "no"))


def ground(rng, scene: Scene, pool) -> Turn | None:
    """Where is the bee? A box ``[left,top,right,bottom]`` in hundredths of the picture's side."""
    single = [i for i in scene.items if scene.counts[i.name] == 1]
    if not single:
        return None
    item = _pick(rng, single)
    return Turn(ask(rng, P.GROUND, item.name), box_text(item.box), "box")


def box_text(box) -> str:
    """``(0.1, 0.2, 0.5, 1.0)`` as ``"[10,20,50,99]"``: hundredths, two digits each."""
    return "[" + ",".join(f"{min(round(100 * v), 99):02d}" for v in box) + "]"


def ground_absent(rng, scene: Scene, pool) -> Turn:
    """Where is the bee? when there is none: a sentence that says so."""
    absent = _pick(rng, [n for n in pool if n not in scene.counts])
    return Turn(ask(rng, P.GROUND, absent), f"There is no {absent}.", "sentence")


def _options(rng, truth: str, wrong, size: int) -> tuple[str, str, tuple[str, ...]]:
    wrong = list(rng.permutation(wrong)[: size - 1])
    place = int(rng.integers(len(wrong) + 1))
    words = wrong[:place] + [truth] + wrong[place:]
    letters = "ABCD"[: len(words)]
    form = _pick(rng, ("{}. {}", "{}) {}", "({}) {}", "{}: {}"))
    between = _pick(rng, (" ", "\n", ", "))
    text = between.join(form.format(letter, word) for letter, word in zip(letters, words, strict=True))
    return text, letters[place], tuple(letters)


def choice(rng, scene: Scene, pool, size: int | None = None) -> Turn:
    """Which of these is in the picture? A letter."""
    truth = _pick(rng, list(scene.counts))
    wrong = [n for n in pool if n not in scene.counts]
    text, letter, letters = _options(rng, truth, wrong, size or int(rng.integers(2, 5)))
    return Turn(ask(rng, P.CHOICE, options=text), letter, "letter", letters)


def _alike(names) -> list[str]:
    """What looks like one of ``names`` and is none of them."""
    return sorted({other for name in names for other in LOOKALIKES[name]} - set(names))


def exist_alike(rng, scene: Scene, pool, truth: bool | None = None) -> Turn:
    """As ``exist``, of base concepts; what is not there looks like something that is."""
    truth = bool(rng.random() < 0.5) if truth is None else truth
    asked = _pick(rng, list(scene.counts) if truth else _alike(scene.counts))
    return Turn(ask(rng, P.EXIST, asked), "yes" if truth else "no", "yes/no", ("yes", "no"))


def choice_alike(rng, scene: Scene, pool) -> Turn:
    """As ``choice``, of base concepts, among four at most; the wrong options look like the right one."""
    truth = _pick(rng, list(scene.counts))
    wrong = [name for name in LOOKALIKES[truth] if name not in scene.counts] or _alike(scene.counts)
    text, letter, letters = _options(rng, truth, wrong, 4)
    return Turn(ask(rng, P.CHOICE, options=text), letter, "letter", letters)


def name_other(rng, scene: Scene, pool) -> Turn | None:
    """What is this? Use another word. Only for scenes of one concept that has a synonym."""
    turn = name(rng, scene, pool)
    if turn is None or turn.answer not in SYNONYMS:
        return None
    return replace(
        turn, question=f"{turn.question} {_wording(rng, P.OTHER_WORD)}", answer=SYNONYMS[turn.answer][0].name
    )


def caption(rng, scene: Scene, pool) -> Turn:
    """Describe the picture. A sentence that names everything, and places what is there once."""
    return Turn(ask(rng, P.CAPTION), caption_text(scene), "sentence")


def caption_text(scene: Scene) -> str:
    """``"There is a bee at the top left and two gifts."``: in reading order, repeated things by number."""
    parts, seen = [], set()
    for item in sorted(scene.items, key=lambda i: (ZONES.index(i.zone), i.centre)):
        amount = scene.counts[item.name]
        if item.name not in seen:
            seen.add(item.name)
            single = f"{CONCEPTS[item.name].a} {at(item.zone)}"
            parts.append(single if amount == 1 else _amount(item.name, amount))
    verb = "is" if parts[0].startswith(("a ", "an ", "some ")) else "are"
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"There {verb} {listed}."


def in_sentence(rng, turn: Turn, scene: Scene, pool) -> Turn:
    """The same kind of question with a request for a full sentence, for naming, counting, yes/no and place."""
    if turn.style == "word":
        return Turn(_with_format(rng, turn.question, "sentence"), f"This is {CONCEPTS[turn.answer].a}.", "sentence")
    if turn.style == "box":
        item = _pick(rng, [i for i in scene.items if scene.counts[i.name] == 1])
        question = _with_format(rng, ask(rng, P.GROUND, item.name), "sentence")
        return Turn(question, f"The {item.name} is {at(item.zone)}.", "sentence")
    asked = _pick(rng, list(scene.counts) if rng.random() < 0.6 else [n for n in pool if n not in scene.counts])
    number = scene.counts[asked]
    if turn.style == "numeral":
        question, verb = ask(rng, P.COUNT, asked), "is" if number == 1 else "are"
        return Turn(_with_format(rng, question, "sentence"), f"There {verb} {_amount(asked, number)}.", "sentence")
    answer = f"Yes, there is {CONCEPTS[asked].a}." if number else f"No, there is no {asked}."
    return Turn(_with_format(rng, ask(rng, P.EXIST, asked), "sentence"), answer, "sentence")


def _with_format(rng, question: str, style: str) -> str:
    return f"{question} {_wording(rng, P.FORMAT[style])}"


def with_format(rng, turn: Turn) -> Turn:
    """The same turn with an explicit request for the style it is answered in."""
    return Turn(_with_format(rng, turn.question, turn.style), turn.answer, turn.style, turn.choices)


def follow_up(rng, turn: Turn, scene: Scene) -> Turn | None:
    """A second question that can only be understood after the first: it speaks of ``it``."""
    if turn.style != "word":
        return None
    number = scene.counts[turn.answer]
    makers = ["kind", "count"] + ["where"] * (number == 1)
    maker = _pick(rng, makers)
    if maker == "kind":
        return Turn(ask(rng, P.FOLLOW_KIND), CONCEPTS[turn.answer].kind, "word")
    if maker == "count":
        return Turn(ask(rng, P.FOLLOW_COUNT), str(number), "numeral")
    item = next(i for i in scene.items if i.name == turn.answer)
    return Turn(ask(rng, P.FOLLOW_WHERE), box_text(item.box), "box")


# Questions without a picture


def kind_of(rng, pool) -> Turn:
    """What kind of thing is a bee? One word."""
    asked = _pick(rng, pool)
    return Turn(ask(rng, P.KIND_OF, asked), CONCEPTS[asked].kind, "word", KINDS)


def is_a(rng, pool) -> Turn:
    """Is a bee an animal? Yes or no."""
    asked, truth = _pick(rng, pool), rng.random() < 0.5
    kind = CONCEPTS[asked].kind
    asked_kind = kind if truth else _pick(rng, [k for k in KINDS if k != kind])
    return Turn(ask(rng, P.IS_A, asked, kind=asked_kind), "yes" if truth else "no", "yes/no", ("yes", "no"))


def choice_kind(rng, pool, size: int | None = None) -> Turn:
    """Which of these is an animal? A letter."""
    truth = _pick(rng, [n for n in pool if CONCEPTS[n].kind != "thing"])
    kind = CONCEPTS[truth].kind
    wrong = [n for n in pool if CONCEPTS[n].kind != kind]
    text, letter, letters = _options(rng, truth, wrong, size or int(rng.integers(2, 5)))
    return Turn(ask(rng, P.CHOICE_KIND, kind=kind, options=text), letter, "letter", letters)


def goes_with(rng, pool) -> Turn:
    """What often comes with a bee? One word: the partner it is often seen with in training scenes."""
    asked = _pick(rng, [n for n in pool if n in PARTNERS])
    return Turn(ask(rng, P.GOES_WITH, asked), PARTNERS[asked], "word")


def read(rng, pool) -> Turn:
    """A text that states what is there, and a question about the text: one word, or yes or no."""
    asked, zone = _pick(rng, pool), _pick(rng, ZONES)
    text = "Text: " + ask(rng, P.STATEMENT, asked, at=at(zone))
    form = rng.random()
    if form < 0.6:
        return Turn(f"{text} {ask(rng, P.READ)}", asked, "word")
    truth = rng.random() < 0.5
    other = asked if truth else _pick(rng, [n for n in pool if n != asked])
    return Turn(f"{text} {ask(rng, P.EXIST, other)}", "yes" if truth else "no", "yes/no", ("yes", "no"))


def read_caption(rng, scene: Scene, pool) -> Turn | None:
    """A text that says what is in a scene, and a question of any kind about it, answered from the text alone."""
    makers = (name_zone, name_kind, count, count_all, exist, choice)
    maker = makers[rng.integers(len(makers))]
    turn = maker(rng, scene, pool)
    if turn is None or maker is name_zone and scene.counts[turn.answer] > 1:
        return None  # what is there twice has no place in the text
    return replace(turn, question=f"Text: {caption_text(scene)} {turn.question}")


def read_twice(rng, scene: Scene, pool) -> Turn | None:
    """A text that says what is in a scene, and what kind of thing is at a place: the place tells the name, the name the
    kind. One word.
    """
    turn = name_zone(rng, scene, pool)
    if turn is None or scene.counts[turn.answer] > 1:
        return None
    zone = next(item.zone for item in scene.items if item.name == turn.answer)
    question = ask(rng, P.KIND_AT, zone=zone)
    return Turn(f"Text: {caption_text(scene)} {question}", CONCEPTS[turn.answer].kind, "word", KINDS)


def another_word(rng, pool) -> Turn:
    """What is another word for a bee? One word; asked of the other word, the usual one."""
    name = _pick(rng, list(SYNONYMS))
    usual, other = CONCEPTS[name], _pick(rng, SYNONYMS[name])
    asked, answer = (usual, SYNONYMS[name][0]) if rng.random() < 0.5 else (other, usual)
    return Turn(ask(rng, P.ANOTHER, a=asked.a), answer.name, "word")


def greeting(rng, pool) -> Turn:
    """Who are you? A sentence."""
    return Turn(ask(rng, P.GREETING), P.SELF, "sentence")


def no_picture(rng, pool) -> Turn:
    """A question about a picture when there is none: the answer says so."""
    wordings = getattr(P, _pick(rng, P.WITHOUT_PICTURE))
    return Turn(ask(rng, wordings, _pick(rng, pool), zone=_pick(rng, ZONES)), P.NO_PICTURE, "sentence")


_WORDS = {
    form: (name, plural)
    for name in SYNONYMS
    for plural, form in enumerate((CONCEPTS[name].name, CONCEPTS[name].plural))
}
_NAMED = re.compile(rf"\b(an? )?({'|'.join(sorted(_WORDS, key=len, reverse=True))})\b", re.I)


def reworded(rng, question: str) -> str:
    """The question with a synonym in the place of every thing that has one."""

    def other(found: re.Match) -> str:
        name, plural = _WORDS[found[2].lower()]
        concept = _pick(rng, SYNONYMS[name])
        text = concept.plural if plural else concept.a if found[1] else concept.name
        return text[0].upper() + text[1:] if found[0][0].isupper() else text

    return _NAMED.sub(other, question)


def vary(rng, question: str) -> str:
    """The question as a visitor might type it: sometimes lower or upper case, polite, or unpunctuated."""
    draw = rng.random(4)
    if draw[0] < 0.06:
        question = "Please " + question[0].lower() + question[1:]
    if draw[1] < 0.15:
        question = question.rstrip("?.!")
    if draw[2] < 0.25:
        question = question.lower()
    elif draw[2] < 0.29:
        question = question.upper()
    return question


TASK_MAKERS = {
    "naming": (name, name_zone, name_kind),
    "counting": (count,),
    "existence": (exist,),
    "grounding": (ground,),
    "choice": (choice,),
    "captioning": (caption,),
}
"""What each task asks; a task's maker is drawn at random from its tuple until one fits the scene."""


def for_task(rng, task: str, scene: Scene, pool) -> Turn | None:
    """One turn of ``task`` about ``scene``, or ``None`` where none fits."""
    makers = TASK_MAKERS[task]
    for i in rng.permutation(len(makers)):
        turn = makers[i](rng, scene, pool)
        if turn is not None:
            return turn
    return None


def recognised(question: str, scene: Scene) -> Turn | None:
    """What ``question`` asks, with its true answer, where it is a wording of ``exist``, ``count``, ``count_all``,
    ``count_kind``, ``name``, ``name_zone``, ``name_kind`` or ``ground`` that the scene allows; None where it is not.
    Capitals, marks, articles and *please* make no difference.
    """
    answered, of = _askable().get(_bare(question), (None, None))
    found = answered(scene, of) if answered else None
    return replace(found, question=question) if found else None


def _exists(scene: Scene, of: str) -> Turn:
    return Turn("", "yes" if scene.counts[of] else "no", "yes/no", ("yes", "no"))


def _counted(scene: Scene, of: str | None) -> Turn:
    """Of a thing, of a kind, or of all."""
    return Turn("", str(sum(of in (None, item.name, CONCEPTS[item.name].kind) for item in scene.items)), "numeral")


def _named(scene: Scene, of: str | None) -> Turn | None:
    """Of a zone, of a kind, or of the whole picture: the only thing there."""
    if of in ZONES:
        there = [i.name for i in scene.items if i.zone == of]
        if not all(i.clearly_in_zone for i in scene.items if i.zone == of):
            return None
    else:
        there = [n for n in scene.counts if of in (None, CONCEPTS[n].kind)]
    return Turn("", there[0], "word") if len(there) == 1 else None


def _placed(scene: Scene, of: str) -> Turn | None:
    boxes = [box_text(item.box) for item in scene.items if item.name == of]
    return Turn("", boxes[0], "box") if len(boxes) == 1 else None


@cache
def _askable() -> dict[tuple[str, ...], tuple[Callable[[Scene, str | None], Turn | None], str | None]]:
    """By the bare words of a question: what answers it about a scene, and the thing, zone or kind it is about."""
    found = {_bare(w): (_counted, None) for w in P.COUNT_ALL} | {_bare(w): (_named, None) for w in P.NAME}
    found |= {_bare(w.format(zone=zone)): (_named, zone) for zone in ZONES for w in P.NAME_ZONE}
    for kind in KINDS[:-1]:
        found |= {_bare(w.format(kind=kind, akind=kind)): (_named, kind) for w in P.NAME_KIND}
        found |= {_bare(w.format(plural=f"{kind}s", a=kind)): (_counted, kind) for w in P.COUNT}
    for name, of in CONCEPTS.items():
        for answered, wordings in ((_exists, P.EXIST), (_counted, P.COUNT), (_placed, P.GROUND)):
            found |= {_bare(w.format(name=name, a=of.a, plural=of.plural)): (answered, name) for w in wordings}
    return found


def _bare(text: str) -> tuple[str, ...]:
    return tuple(w for w in re.findall(r"[^\W_]+", text.lower()) if w not in ("a", "an", "the", "some", "please"))
