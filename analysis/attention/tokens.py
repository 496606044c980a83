"""The tokens of prompt and answer, for people: the words they make up, and which name what is not there."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.answers import objects_in
from models.embedded.concepts import CONCEPTS
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.encoding import Encoded

KINDS = tuple(m.name.lower() for m in Modality)
"""What a token is, in the order of every axis of kinds: image, question, instruction (the template), answer."""
NAMES = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}
"""The word forms of the things that the embedded model was taught, each with the thing's name."""
_NAMED = 256  # image tokens that can be chosen by name
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")  # no space between words


@dataclass(frozen=True)
class Token:
    """A token of the prompt or of the answer: its place from 0, what it spells (for an image token the patch that it
    sees), its kind, one of ``KINDS``."""

    position: int
    text: str
    kind: str


def prompt_tokens(encoded: "Encoded", tokenizer) -> tuple[Token, ...]:
    """The tokens of a prompt, what each spells. Of a picture with many tokens, none; of others the patch they see."""
    kinds, ids = encoded.segments.tolist(), encoded.inputs["input_ids"][0].tolist()
    few = kinds.count(Modality.IMAGE) <= _NAMED
    patch = {
        cell: f"{f'tile {i + 1}, ' if len(encoded.grids) > 1 else ''}row {row + 1}, column {column + 1}"
        for i, grid in enumerate(encoded.grids)
        for cell, row, column in grid.cells()
    }
    spelling, found = Spelling(tokenizer), []
    for position, (kind, token) in enumerate(zip(kinds, ids, strict=True)):
        if kind != Modality.IMAGE:
            found.append(Token(position, spelling.add(token), KINDS[kind]))
            continue
        spelling = Spelling(tokenizer)
        if few:
            found.append(Token(position, patch.get(position, "no patch of its own"), KINDS[kind]))
    return tuple(found)


def answer_tokens(written: Sequence[str], start: int) -> list[Token]:
    """The tokens of an answer, the first at place ``start``."""
    return [Token(start + i, text, "answer") for i, text in enumerate(written)]


def invented(written: Sequence[str], contents) -> tuple[bool, ...]:
    """Which tokens of an answer belong to the name of a thing that is not in ``contents``, the things in the picture.

    "No bee" names no bee.
    """
    text = "".join(written)
    wrong = set(objects_in(text, NAMES)) - set(contents)
    spans = [
        m.span()
        for m in re.finditer(r"[^\W\d_]+", text)
        if NAMES.get(m[0].lower()) in wrong and not re.search(r"\bno\s+$", text[: m.start()], re.IGNORECASE)
    ]
    marks, start = [], 0
    for token in written:
        end = start + len(token)
        marks.append(any(start < last and first < end for first, last in spans))
        start = end
    return tuple(marks)


def pieces(tokens: Sequence[str]) -> list[range]:
    """Which tokens make up each word of a text: its pieces, and bytes that are no character yet, belong together;
    a sign stands alone. Every token belongs to one word.
    """
    found: list[range] = []
    start, last = 0, ""  # of the word that begins, and the letter before it
    for i, token in enumerate(tokens):
        if not token:
            continue  # a part of a character adds nothing: it goes with the token that completes it
        both = [last, token[0]]  # of one word: letters or digits, of a writing that has spaces between words
        if found and all(c.isalnum() and not unicodedata.name(c, "").startswith(_UNSPACED) for c in both):
            found[-1] = range(found[-1].start, i + 1)
        else:
            found.append(range(start, i + 1))
        start, last = i + 1, token[-1]
    if found and start < len(tokens):
        found[-1] = range(found[-1].start, len(tokens))
    return found


def telling(written: Sequence[str], marked: Sequence[bool]) -> int:
    """Which token of an answer to look at first: that of the first thing that is not there (``marked``), else of the
    first thing that is named, else the first.
    """
    if True in marked:
        return list(marked).index(True)
    words = (w for w in pieces(written) if "".join(written[w.start : w.stop]).strip().lower() in NAMES)
    return next((w.start for w in words), 0)
