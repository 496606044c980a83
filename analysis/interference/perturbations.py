"""What is done to a question: a sentence in front of it, another picture, or a crafted noise.

Wordings are those that the embedded default was taught (``models.embedded.phrases``) wherever an option is a thing
that it knows, and plain English for everything else.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from analysis.interference.options import Options
from models.embedded import phrases as P
from models.embedded.concepts import CONCEPTS, KINDS, PARTNERS
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.questions import NUMBERS
from models.embedded.scenes import Scene, placed, random_scene
from models.errors import InputError
from models.segments import Modality

SIDE = 448  # pixels of a picture that has none to take its size from
_CELLS = 8  # a picture is covered cell by cell, 8 x 8 of them
_GREY = (127, 127, 127)
_SPREAD = 64  # standard deviation of the noise, of 255
SHOWS = "The picture shows {a}."
"""One of the wordings in ``P.STATEMENT``: it was taught."""
_FORMS = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}

Side = Literal["text", "image", "adversarial"]


class Unfit(InputError):
    """A perturbation that cannot be made of this input; the message says why."""


@dataclass(frozen=True)
class Case:
    """What is perturbed, and what a perturbation needs to know.

    Indices of options: ``best`` is the model's own choice, ``target`` the right one (``best`` where that is not
    known), ``wrong`` the one to mislead to (None where there is but one option). ``sentence`` and
    ``replacement`` are the visitor's own, ``occluded`` is the share of the picture to cover, ``contents`` the things
    in the picture where they are known.
    """

    picture: Image.Image | None
    question: str
    options: Options
    best: int
    target: int
    wrong: int | None
    sentence: str = ""
    replacement: Image.Image | None = None
    occluded: float = 0.5
    seed: int = 0
    contents: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Perturbation:
    """One kind. ``make`` gives the sentence or the picture and raises ``Unfit``; ``modality`` is what PGD attacks."""

    name: str
    title: str
    side: Side
    make: Callable[[Case], "str | Image.Image"] | None = None
    modality: Modality | None = None


# --- sentences


def misleading(case: Case) -> str:
    """A description that names a wrong option."""
    return statement(_wrong(case), case)


def contradiction(case: Case) -> str:
    """A denial of the target, and the claim of another option where there is one."""
    target = case.options.meanings[case.target]
    shown = case.picture is not None and target in CONCEPTS
    denial = f"There is no {target}." if shown else f"The answer is not {target}."
    return denial if case.wrong is None else f"{denial} {statement(_wrong(case), case)}"


def statement(meaning: str, case: Case) -> str:
    """A sentence that says ``meaning`` is the answer; about the picture, where one can be said."""
    named = sorted(_named(case.question))
    concept = CONCEPTS[named[0]] if len(named) == 1 else None
    bare = meaning.casefold()
    if case.picture is not None:
        if meaning in CONCEPTS:
            return SHOWS.format(a=CONCEPTS[meaning].a)
        if concept and bare == "yes":
            return f"There is {concept.a}."
        if concept and bare == "no":
            return f"There is no {concept.name}."
        if concept and bare.isdecimal() and int(bare) < len(NUMBERS):
            are = f"is {NUMBERS[1]} {concept.name}" if int(bare) == 1 else f"are {NUMBERS[int(bare)]} {concept.plural}"
            return f"There {are}."
    elif concept and bare in KINDS:
        return _kind_of(concept.name, bare)
    return f"The answer is {meaning}."


def statements(case: Case, count: int) -> list[str]:
    """``count`` sentences that all name the same wrong option, in different words while there are any."""
    meaning = _wrong(case)
    if case.picture is not None and meaning in CONCEPTS:
        texts = [w.format(a=CONCEPTS[meaning].a) for w in P.STATEMENT if "{at}" not in w]
    else:
        texts = [statement(meaning, case), f"The answer is {meaning}.", f"It is {meaning}.", f"I say {meaning}."]
    texts = list(dict.fromkeys(texts))
    return [texts[i % len(texts)] for i in range(count)]


def facts(case: Case, count: int) -> list[str]:
    """``count`` different true sentences, seeded, about things that question, options and picture do not hold.

    Where options are kinds of things (animal, plant, ...) no kind is named either.
    """
    text = " ".join((case.question, *case.options.meanings))
    named, words = _named(text) | case.contents, set(_words(text))
    order = np.random.default_rng(case.seed).permutation(sorted(CONCEPTS))
    others = [CONCEPTS[str(n)] for n in order if n not in named]
    found = [_kind_of(c.name, c.kind) for c in others if c.kind != "thing" and c.kind not in words]
    partners = [(c, CONCEPTS[PARTNERS[c.name]]) for c in others if c.name in PARTNERS and PARTNERS[c.name] not in named]
    found += [f"{c.a[0].upper()}{c.a[1:]} often comes with {partner.a}." for c, partner in partners]
    if len(found) < count:
        raise Unfit(f"only {len(found)} sentences can be said that name nothing of the question and its options")
    return found[:count]


def _kind_of(name: str, kind: str) -> str:
    thing = CONCEPTS[name].a
    return f"{thing[0].upper()}{thing[1:]} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}."


def _wrong(case: Case) -> str:
    if case.wrong is None:
        raise Unfit("there is no wrong option to name: give at least two options")
    return case.options.meanings[case.wrong]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def _named(text: str) -> set[str]:
    """The concepts that a text names."""
    return {_FORMS[word] for word in _words(text) if word in _FORMS}


# --- pictures


def other_picture(case: Case) -> Image.Image:
    """A scene of two or three things that question, options and picture do not hold, drawn by seed."""
    named = _named(" ".join((case.question, *case.options.meanings))) | case.contents
    pool = [name for name in CONCEPTS if name not in named]
    if not pool:
        raise Unfit("the options name every thing that could be drawn")
    rng = np.random.default_rng(case.seed)
    return random_scene(rng, pool, TRAINED_STYLES[:1], 0.0, (2, 3)).render(SIDE)


def wrong_picture(case: Case) -> Image.Image:
    """A drawing of a wrong option, alone on white."""
    meaning = _wrong(case)
    if meaning not in CONCEPTS:
        raise Unfit(f"there is no drawing of “{meaning}”")
    return Scene((placed(meaning, TRAINED_STYLES[0], (0.5, 0.5), 0.7),)).render(SIDE)


def noisy(picture: Image.Image, strength: float, seed: int = 0) -> Image.Image:
    """(1 - strength) of the picture and ``strength`` of Gaussian noise, mean 127.5, deviation 64, of 255.

    0 gives back the picture itself, 1 is noise alone.
    """
    if strength == 0:
        return picture
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    noise = np.random.default_rng(seed).normal(127.5, _SPREAD, pixels.shape)
    mixed = (1 - strength) * pixels + strength * noise
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def occluded(picture: Image.Image, share: float, seed: int = 0) -> Image.Image:
    """The picture with ``share`` of its 64 cells grey, to the nearest cell: seeded, and what a small share covers a
    larger one covers too. 0 gives back the picture itself.
    """
    count = round(share * _CELLS**2)
    if count == 0:
        return picture
    covered = picture.convert("RGB").copy()
    columns, rows = (np.linspace(0, side, _CELLS + 1).round().astype(int).tolist() for side in covered.size)
    for cell in np.random.default_rng(seed).permutation(_CELLS**2)[:count].tolist():
        row, column = divmod(cell, _CELLS)
        covered.paste(_GREY, (columns[column], rows[row], columns[column + 1], rows[row + 1]))
    return covered


def _plain(colour: str) -> Callable[[Case], Image.Image]:
    return lambda case: Image.new("RGB", case.picture.size if case.picture else (SIDE, SIDE), colour)


def _there(thing, why_not: str):
    if not thing:
        raise Unfit(why_not)
    return thing


ALL = {
    p.name: p
    for p in (
        # a true sentence about something that is neither asked about nor seen
        Perturbation("unrelated", "Unrelated fact", "text", lambda case: facts(case, 1)[0]),
        Perturbation("misleading", "Misleading description", "text", misleading),
        Perturbation("contradiction", "Contradicting statement", "text", contradiction),
        # another task in front of the one that was set
        Perturbation("distraction", "Distracting instruction", "text",
                     lambda case: f"{P.CAPTION[0]} {P.COUNT_ALL[0]} Now answer only this:"),
        Perturbation("own-sentence", "Your own sentence", "text",
                     lambda case: _there(case.sentence.strip(), "your own sentence is empty: type one")),
        Perturbation("other-picture", "Another picture", "image", other_picture),
        Perturbation("black", "Black picture", "image", _plain("black")),
        Perturbation("white", "White picture", "image", _plain("white")),
        Perturbation("noise", "Gaussian noise", "image", lambda case: noisy(_plain("grey")(case), 1.0, case.seed)),
        Perturbation("wrong-picture", "Picture of a wrong option", "image", wrong_picture),
        Perturbation("occlusion", "Partly covered picture", "image", lambda case: occluded(
            _there(case.picture, "there is no picture to cover"), case.occluded, case.seed
        )),
        Perturbation("own-picture", "Your own picture", "image",
                     lambda case: _there(case.replacement, "there is no picture of your own: upload one")),
        Perturbation("pgd-image", "Attack on image tokens", "adversarial", modality=Modality.IMAGE),
        Perturbation("pgd-text", "Attack on question tokens", "adversarial", modality=Modality.QUESTION),
    )
}
"""Every perturbation, by name."""


def picked(names: Sequence[str], among: dict, what: str, chosen: str) -> list:
    """Those ``among`` that are called ``names``, each once. Raises ``InputError`` for an unknown one, or none."""
    there = f"There are: {', '.join(among)}."
    if unknown := [name for name in names if name not in among]:
        raise InputError(f"There is no {what} {unknown[0]!r}. {there}")
    if not names:
        raise InputError(f"No {chosen} was chosen. {there}")
    return [among[name] for name in dict.fromkeys(names)]


_NO = {"no", "none", "nothing", "0", "zero"}


def should_change(perturbation: Perturbation, case: Case) -> bool | None:
    """Whether a right answer would be another one than the target; None where either is right.

    What is said beside a picture should not win over it, and no picture over what the words ask. Where another picture
    takes the picture's place its evidence is gone: "bee" should go, but a "no" or "0" is right of most pictures. Part
    of a picture, a picture of the visitor's, or her words about nothing seen may change it or not.
    """
    target = case.options.meanings[case.target].casefold()
    if perturbation.side != "image":
        return None if perturbation.name == "own-sentence" and case.picture is None else False
    if perturbation.name in ("occlusion", "own-picture"):
        return None
    by_words = case.picture is None or (target in KINDS and len(_named(case.question)) == 1)
    return not by_words and target not in _NO and not target.startswith("there is no ")


DEFAULT = ("unrelated", "misleading", "contradiction", "other-picture", "noise", "occlusion")
