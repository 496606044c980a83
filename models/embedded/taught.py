"""What the weights in the box were taught to be asked: words, things, and the forms of questions."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from models.answers import options_in
from models.embedded import phrases
from models.embedded.concepts import CONCEPTS, KINDS, TASKS, Concept
from models.embedded.questions import NUMBERS, SIDES, at
from models.embedded.scenes import ZONES
from models.manifest import BASE

_NOT_YET = ("ANOTHER", "KIND_AT", "OTHER_WORD")  # of ``phrases``: the weights in the box never met these
_FORMS = {
    name: of for name, of in vars(phrases).items()
    if name.isupper() and isinstance(of, tuple) and name not in ("WITHOUT_PICTURE", *_NOT_YET)
}
_THINGS = {form: c for c in CONCEPTS.values() for form in (c.name, c.plural)}
_SLOTS = {
    "name": "bee", "a": "a bee", "plural": "bees", "other": "bee", "kind": "animal", "kinds": "animals",
    "akind": "an animal", "options": "",
}
_SMALL = ("a", "an", "the", "some", "please")  # that any question may have or lack
_OTHERS = (*_SMALL, *"bcd", *NUMBERS)
_THING = "…"  # in the place of whatever is asked about


def strange(question: str) -> list[str]:
    """The words that no question has which was taught, each once."""
    words = {word.lower(): word for word in _words(question)}
    return [word for form, word in words.items() if form not in _vocabulary()]


def unseen(question: str, checkpoint: str) -> list[Concept]:
    """The things of the question that a checkpoint was not yet shown. None where most words are strange: in another
    language, a word that looks like the name of a thing is none.
    """
    forms = dict.fromkeys(word.lower() for word in _words(question))
    if 2 * len(strange(question)) > len(forms):
        return []
    things = dict.fromkeys(_THINGS[form] for form in forms if form in _THINGS)
    return [thing for thing in things if thing.learnt not in _stages(checkpoint)]


def odd(question: str, alone: bool) -> bool:
    """Whether a sentence of the question, its options apart, is unlike all that were taught: at least half of the
    words that stand side by side in it do so in none of them.
    """
    asked = re.split(r"\(?\bA[.):]", question.upper())[0] if options_in(question.upper()) else question
    sentences = _pairs(asked) or [[("", "")]]
    return any(2 * sum(pair not in _taught_pairs(alone) for pair in pairs) >= len(pairs) for pairs in sentences)


def _stages(checkpoint: str) -> tuple[str, ...]:
    """What a checkpoint was trained on: the base, then one task after another. One of another name counts as trained on
    all: of what it was not shown nothing is told.
    """
    if checkpoint == BASE:
        return (BASE,)
    return (BASE, *(TASKS[: TASKS.index(checkpoint) + 1] if checkpoint in TASKS else TASKS))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.replace("’", "'"))


def _wordings(alone: bool) -> Iterator[str]:
    """All ways to ask that it was taught, with every blank filled in; small talk only without a picture."""
    forms = [of for name, of in _FORMS.items() if alone or name != "GREETING"]
    for wording in (text for of in (*forms, *phrases.FORMAT.values(), ("Text",)) for text in of):
        blanks = [("zone", ZONES), ("side", SIDES), ("at", [at(zone) for zone in ZONES])]
        name, fill = next(((n, of) for n, of in blanks if f"{{{n}}}" in wording), ("zone", ("",)))
        yield from (wording.format(**_SLOTS, **{name: value}) for value in fill)


@cache
def _vocabulary() -> frozenset[str]:
    kinds = " ".join(f"{kind} {kind}s" for kind in KINDS)
    texts = [*_wordings(alone=True), *_THINGS, *_OTHERS, kinds]
    return frozenset(word for text in texts for word in _words(text.lower()))


@cache
def _taught_pairs(alone: bool) -> frozenset[tuple[str, str]]:
    return frozenset(pair for text in _wordings(alone) for pairs in _pairs(text) for pair in pairs)


def _pairs(text: str) -> list[list[tuple[str, str]]]:
    """For each sentence, which words stand side by side, its beginning and its end among them; things, kinds and words
    that nobody taught are all the same.
    """
    known = _vocabulary() - {*_THINGS, *KINDS, *(f"{kind}s" for kind in KINDS)}
    sentences = ([w for w in _words(s) if w not in _SMALL] for s in re.split(r"[.?!:;\n]+", text.lower()))
    return [[*pairwise(["", *(w if w in known else _THING for w in words), ""])] for words in sentences if words]
