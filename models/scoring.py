"""Rules that tell how right an answer is, for evaluation sets that name one line by line (their field ``score``).

    "exact"     the same text, articles included; case, outer quotes, marks, brackets and a lead-in ("Answer:") apart
    "numeric"   the same numbers in the same order, in digits or words, whatever is said around them
    "iou"       the answer is a box that overlaps the true one with an IoU above 0.5
    "choice"    the letter of the right option, its text, or both
    "token f1"  F1 of the words of answer and truth, as SQuAD counts it (arXiv 1606.05250): 0 to 1
    "verbatim"  the same text letter by letter, capitals and marks included
    "list"      F1 of what stands between commas, in any order: 0 to 1

``exact``, ``iou``, ``verbatim`` and ``list`` hold an answer to its form; the others read through it. A line without the
field is scored by the style of its truth, as ``models.answers.score`` says.
"""

import re
import string
from collections import Counter

from models import answers
from models.answers import f1

RULES = ("exact", "numeric", "iou", "choice", "token f1", "verbatim", "list")

_SMALL_WORDS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_SMALL_WORDS)} | {w: 10 * i for i, w in enumerate(_TENS, 2)}
_UNIT = f"(?:{'|'.join(_SMALL_WORDS[1:10])})"
_BELOW = rf"(?:(?:{'|'.join(_TENS)})(?:[ -]{_UNIT})?|{'|'.join(_SMALL_WORDS)})"
_NUMBER = re.compile(
    r"(?P<digits>(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
    rf"|\b{_UNIT} hundred(?:(?: and)? {_BELOW})?\b|\b{_BELOW}\b"
)
_LETTERED = re.compile(r"\(?([a-z])(?:[).:]+\s*(.*))?", re.DOTALL)
_LONGEST_PART = 3  # words between the commas of a list
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation))


def score(answer: str, truth: str, rule: str, options: dict[str, str] | None = None) -> float:
    """How right ``answer`` is by one of ``RULES``, 0 to 1; ``options`` (letter to text) are those of ``choice``."""
    if rule == "numeric":
        return float(numbers_in(answer) == numbers_in(truth) != [])
    if rule == "choice":
        return float(letter_of(answer, options or {}) == letter_of(truth, options or {}) is not None)
    if rule == "token f1":
        return f1(Counter(tokens_of(answer)), Counter(tokens_of(truth)))
    if rule == "verbatim":
        return float(answer.strip() == truth.strip())
    if rule == "list":
        return f1(Counter(_listed(answer)), Counter(_listed(truth)))
    return answers.score(answer, truth, {"exact": "other", "iou": "box"}[rule])


def _listed(text: str) -> list[str]:
    return [" ".join(tokens_of(part)) for part in text.split(",")]


def in_form(answer: str, truth: str, rule: str) -> bool | None:
    """Whether an answer has the form that a truth of ``verbatim`` (capitals, end mark) or ``list`` (short parts between
    commas) has; None for the other rules, where ``models.answers.style_of`` tells.
    """
    answer, truth = answer.strip(), truth.strip()
    if rule == "verbatim":
        return answer.isupper() == truth.isupper() and answer[-1:].isalnum() == truth[-1:].isalnum()
    if rule == "list":
        named = answers.style_of(answer) in ("word", "sentence", "other")
        return named and all(0 < len(part.split()) <= _LONGEST_PART for part in answer.split(","))
    return None


def numbers_in(text: str) -> list[float]:
    """The numbers in a text, in their order: digits (``-1,200.5``) and English words up to 999 (``twenty-one``)."""
    found = []
    for match in _NUMBER.finditer(text.lower()):
        if match["digits"]:
            found.append(float(match["digits"].replace(",", "")))
            continue
        value = 0
        for word in re.findall("[a-z]+", match[0]):
            value = 100 * value if word == "hundred" else value + _WORDS.get(word, 0)
        found.append(float(value))
    return found


def letter_of(answer: str, options: dict[str, str]) -> str | None:
    """Which of ``options`` (letter to text) an answer names: by its letter, its text, or both where they agree."""
    bare = answer.strip().strip(".!\"' ").lower()
    match = _LETTERED.fullmatch(bare)
    letter = match[1].upper() if match else ""
    if letter in options and (not match[2] or _same(match[2], options[letter])):
        return letter
    return next((letter for letter, text in options.items() if _same(bare, text)), None)


def _same(one: str, other: str) -> bool:
    """Whether two texts say the same; those of signs and articles alone must be the same letter by letter."""
    tokens = tokens_of(one)
    return tokens == tokens_of(other) if tokens else one.strip().lower() == other.strip().lower()


def tokens_of(text: str) -> list[str]:
    """The words of a text as SQuAD compares them: lower case, without punctuation and articles."""
    return [word for word in text.lower().translate(_PUNCTUATION).split() if word not in ("a", "an", "the")]
