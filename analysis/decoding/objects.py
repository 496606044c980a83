"""Which objects a text names, and which of them are not in the picture."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.answers import style_of
from models.embedded.concepts import CONCEPTS, Concept
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.bar import Known

EMBEDDED = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}
"""Singular and plural of every thing of the embedded world, with its name."""

_WORDS = re.compile(r"[^\W\d_]+")
_DENIED = re.compile(r"\b(?:no|not|without)(?:\s+(?:an?|any|the))?\s+$", re.IGNORECASE)
_AMOUNT = re.compile(r"^(?:an?|the|some|one|two|three|four|\d+)\s+")
_MOST = 200  # objects in a visitor's list


@dataclass(frozen=True)
class Mention:
    """The object ``name``, as the characters ``start`` to ``end`` of a text say it."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Truth:
    """What is known about the picture: the objects ``there``; ``forms``, all words looked for, with the object that
    each names; and, of a suggested question, the true ``answer``."""

    there: frozenset[str]
    forms: Mapping[str, str]
    answer: str | None = None


def forms_of(names: Iterable[str]) -> dict[str, str]:
    """Singular and plural of each object, without article or number; a word of the embedded world names the thing that
    it names there."""
    found: dict[str, str] = {}
    for name in (_AMOUNT.sub("", " ".join(n.lower().split())) for n in names):
        if name in EMBEDDED:
            thing = CONCEPTS[EMBEDDED[name]]
            found |= {thing.name: thing.name, thing.plural: thing.name}
        elif name:
            found |= {name: name, Concept(name, "", "", "").plural: name}
    return found


def truth_of(known: "Known | None", question: str, listed: str = "", looked_for: str = "") -> Truth | None:
    """The truth as far as it is known: the visitor's own list (``listed``, by commas) before that of a known scene.

    ``looked_for`` are more objects to look for in an answer; without any, all of the embedded world. None where
    nothing is known. Raises ``InputError`` for a list of more than 200 objects.
    """
    own, more = ([part.strip() for part in (text or "").split(",") if part.strip()] for text in (listed, looked_for))
    for found in (own, more):
        if len(found) > _MOST:
            raise InputError(f"The list names {len(found)} objects; at most {_MOST} can be looked for.")
    turn = known.turn(question) if known else None
    if own:
        named = forms_of(own)
        return Truth(frozenset(named.values()), {**(forms_of(more) or EMBEDDED), **named})
    if known is None or known.contents is None:
        return None
    answer = turn.answer if turn and turn.style == "yes/no" else None
    return Truth(frozenset(known.contents), {**EMBEDDED, **forms_of(more)}, answer)


def mentions(text: str, forms: Mapping[str, str]) -> list[Mention]:
    """The objects that ``text`` names, in order, each as often as it is named; ``no bee`` names none.

    The longest form wins: with *traffic light* among the forms, that is no *light*.
    """
    words = [(m.start(), m.end()) for m in _WORDS.finditer(text)]
    longest = max((form.count(" ") + 1 for form in forms), default=0)
    found, i = [], 0
    while i < len(words):
        for size in range(min(longest, len(words) - i), 0, -1):
            start, end = words[i][0], words[i + size - 1][1]
            name = forms.get(" ".join(text[start:end].lower().split()))
            if name is not None:
                if not _DENIED.search(text[:start]):
                    found.append(Mention(name, start, end))
                i += size - 1
                break
        i += 1
    return found


def invented(text: str, question: str, truth: Truth) -> list[Mention]:
    """What an answer says is there and is not. For a wrong yes, the word *yes*, with the object that was asked for."""
    said_yes = re.match(r"\s*yes\b", text, re.IGNORECASE)
    if said_yes and style_of(text) == "yes/no":
        asked = list(dict.fromkeys(m.name for m in mentions(question, truth.forms)))
        wrong = truth.answer == "no" or (truth.answer is None and len(asked) == 1 and asked[0] not in truth.there)
        start = said_yes.end() - len("yes")
        return [Mention(", ".join(asked) or "what was asked for", start, said_yes.end())] if wrong else []
    return [m for m in mentions(text, truth.forms) if m.name not in truth.there]
