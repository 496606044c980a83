"""How well the style parser reads answers that were labelled by hand: ``models/answers.jsonl``."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analysis.statistics import Estimate, share
from models import answers
from models.answers import STYLES, style_of

LABELLED = Path(answers.__file__).with_suffix(".jsonl")
"""Answers as people and models give them, each with the style that a reader sees in it: a JSON object a line."""


@dataclass(frozen=True)
class Read:
    """One style: ``precision``, of the answers read as it those that are; ``recall``, of those that are it those read
    as it. Wilson's 95 % intervals."""

    style: str
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True)
class Reading:
    """``n`` labelled answers; ``misread`` are (answer, its style, the style read)."""

    n: int
    styles: tuple[Read, ...]
    misread: tuple[tuple[str, str, str], ...]


@lru_cache(maxsize=1)
def labelled() -> tuple[tuple[str, str], ...]:
    """The labelled answers, each with its style."""
    lines = LABELLED.read_text(encoding="utf-8").split("\n")  # an answer may hold other ends of lines
    rows = [json.loads(line) for line in lines if line]
    return tuple((row["answer"], row["style"]) for row in rows)


def read(rows: Sequence[tuple[str, str]], parser: Callable[[str], str] = style_of) -> Reading:
    """Precision and recall of ``parser`` on (answer, style) ``rows``, by style."""
    pairs = [(style, parser(answer)) for answer, style in rows]
    styles = []
    for style in STYLES:
        hits = sum(true == seen == style for true, seen in pairs)
        styles.append(
            Read(
                style,
                share(hits, sum(seen == style for _, seen in pairs)),
                share(hits, sum(true == style for true, _ in pairs)),
            )
        )
    wrong = [(a, *pair) for (a, _), pair in zip(rows, pairs, strict=True) if pair[0] != pair[1]]
    return Reading(len(rows), tuple(styles), tuple(wrong))
