"""What a lost item is asked again with: options to choose from, and an instruction that spells out the form."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.answers import box_of, iou, options_in
from models.embedded.phrases import FORMAT
from models.errors import InputError

if TYPE_CHECKING:
    from models.evalset import EvalItem

DRAWN = 3  # wrong options drawn from other items, where an item has none of its own
RIGHT = 0.5  # a score from which an answer counts as right where it must be one or the other
_APART = 0.1  # IoU up to which a box is another place
TUNED = {style: wordings[0] for style, wordings in FORMAT.items()}
"""Instructions, by style, in words that the embedded default was tuned on."""
PLAIN = {
    "word": "Answer the question using a single word or phrase.",
    "numeral": "Answer with a number in digits, and nothing else.",
    "yes/no": "Answer with yes or no, and nothing else.",
    "box": "Answer with a box [left,top,right,bottom] in hundredths of the picture, and nothing else.",
    "letter": "Answer with the option's letter from the given choices directly.",
    "sentence": "Answer in one full sentence.",
}
"""The same for any other model; those for words and letters are LLaVA-1.5's (arXiv 2310.03744, table 7)."""


def instructed(item: "EvalItem", wording: dict[str, str]) -> str:
    """The question with the form it asks for spelled out; of a style without a wording, as it is."""
    return f"{item.question} {wording.get(item.style, '')}".strip()


def options_of(items: "Sequence[EvalItem]", place: int) -> tuple[str, ...]:
    """The options of item number ``place`` of its task, the true one first.

    Its own ``choices``; else *yes* and *no*, or the letters that its question lists; else its true answer beside up to
    three of other items: those that are wrong here, drawn with ``place`` as the seed; of sentences those nearest in
    length, of boxes those elsewhere (an IoU of at most 0.1). Raises ``InputError`` where there is no wrong option.
    """
    item = items[place]
    own = item.choices or _implied(item)
    wrong = [option for option in dict.fromkeys(own) if item.scored(option) < RIGHT] or _drawn(items, place)
    if not wrong:
        raise InputError(
            f'There is nothing to choose from for "{item.question[:60]}" (item {place + 1} of its set): give it the '
            'field "choices".'
        )
    return next((option for option in own if item.scored(option) == 1), item.answer), *wrong


def _implied(item: "EvalItem") -> tuple[str, ...]:
    if item.style == "yes/no":
        return "yes", "no"
    return tuple(options_in(item.question)) if item.style == "letter" else ()


def _drawn(items: "Sequence[EvalItem]", place: int) -> list[str]:
    item = items[place]
    found = [a for a in dict.fromkeys(other.answer for other in items) if item.scored(a) < RIGHT]
    found = [found[i] for i in np.random.default_rng(place).permutation(len(found))]
    if true := box_of(item.answer):
        found = [a for a in found if (box := box_of(a)) and iou(true, box) <= _APART]
    if item.style == "sentence":
        found.sort(key=lambda answer: abs(len(answer.split()) - len(item.answer.split())))
    return found[:DRAWN]
