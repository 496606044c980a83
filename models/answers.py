"""Reading an answer: its style, its box, the things it names, and how right it is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_VALUE, _NEXT = r"(\d{1,4}(?:\.\d+)?|\.\d+)", r"\s*[,;)\]]+[\s(\[]*"
_BOX = re.compile(r"[\[(]+\s*" + _NEXT.join([_VALUE] * 4) + r"\s*[\])]+")
_NAME = r"[^\W\d_]+(?:['’-]+[^\W\d_]+)*"
_VERB = (
    r"\b(?:is|are|was|were|am|has|have|had|does|do|did|shows?|sees?|contains?|looks?|seems?|appears?|"
    r"(?:it|there|that|he|she|what)['’]s|[a-z]+n['’]t)\b"
)
_FORMS = {
    "box": re.compile(rf"{_BOX.pattern}|[\[\s]*\{{[^{{}}]*\"bbox(?:_2d)?\"\s*:\s*{_BOX.pattern}[^{{}}]*\}}[\]\s]*"),
    "yes/no": re.compile(r"\(?(?P<core>yes|no)\)?"),
    "numeral": re.compile(r"\(?(?P<core>[-−]?\d+(?:,\d{3})*(?:\.\d+)?)\)?"),
    "letter": re.compile(r"[(\[]?(?P<core>[a-h])(?:[)\]]?|(?:[).:]\s|\s*\n).+)", re.DOTALL),
    "word": re.compile(rf"(?!.*{_VERB})(?:(?:an?|the)\s+)?(?P<core>{_NAME}(?:,?\s+{_NAME}){{0,2}})"),
    "sentence": re.compile(rf"(?=.*{_VERB})\S+\s+\S.*|(?:\S+\s+){{3,}}\S+", re.DOTALL),
}
"""What each style looks like; the first that fits a whole answer, bare, is its style. A row more is a style more: where
an exact match compares less than the whole answer, the pattern's group ``core`` holds that."""

STYLES = (*_FORMS, "other")
_MARK = re.compile(r"(?<![^\W_])\(?([A-Z])[.):]\s*")
_REQUEST = re.compile(r"\s+[A-Z][^.?!]*\bletters?\b.*")
"""What may follow the last option on its line: a request for the form of the answer."""
_FENCE = re.compile(r"```\w*\n?")
_LEAD_IN = re.compile(r"(?:the\s+)?(?:(?:correct|final|best)\s+)?(?:answer|option)(?:\s+is|\s*:)?[\s*_:]+(?=\S)")
_EDGES = " \t\r\n.,;:!?*_`#>$\"'“”‘’«»"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBERS = {"no": 0, "a": 1, "an": 1, "some": 1, "one": 1, "two": 2, "three": 3, "four": 4}


@lru_cache(maxsize=65_536)  # the answers of a set, by its checkpoints, are few and are read over and over
def _bare(text: str) -> str:
    """An answer without what changes neither its form nor its content: case, width, Markdown, quotes, end marks, and
    a lead-in such as *Answer:*."""
    bare = _FENCE.sub("", unicodedata.normalize("NFKC", text)).strip(_EDGES).lower()
    return _LEAD_IN.sub("", bare).strip(_EDGES)


@lru_cache(maxsize=65_536)
def style_of(text: str) -> str:
    """The form of a whole answer, one of ``STYLES``, judged by its looks alone; ``"other"`` where none fits.

    An answer has a style where the scorer of that style can read it: *(B) cat* is a letter, but *Yes, there is a bee*
    and *The box is [10,20,30,40]* are sentences, and *three* is a word. A word is a name of up to three words, an
    article aside, without a verb; what is longer, or has a verb, is a sentence.
    """
    bare = _bare(text)
    return next((style for style, form in _FORMS.items() if form.fullmatch(bare)), "other")


def _core(text: str, style: str) -> str:
    """What an exact match compares of an answer: of *the cat*, asked for a word, *cat*."""
    bare = _bare(text)
    found = _FORMS[style].fullmatch(bare) if style in _FORMS else None
    return found["core"] if found and "core" in found.re.groupindex else bare.strip("()")


def options_in(question: str) -> dict[str, str]:
    """Options that a question lists, letter to text: ``"(A) cat, (B) dog."`` is ``{"A": "cat", "B": "dog"}``.

    An option ends with its line, without end marks; a request to answer with the letter belongs to none. Empty where
    there are not at least two, lettered from A without a gap, each with a text.
    """
    marks = list(_MARK.finditer(question))
    start = max((i for i, mark in enumerate(marks) if mark[1] == "A"), default=len(marks))
    marks = marks[start:]
    if len(marks) < 2:
        return {}
    letters = "".join(mark[1] for mark in marks)
    ends = [*(mark.start() for mark in marks[1:]), len(question)]
    texts = [question[mark.end() : end].partition("\n")[0] for mark, end in zip(marks, ends, strict=True)]
    texts[-1] = _REQUEST.sub("", texts[-1])
    texts = [text.strip(" \t\r,;.?!") for text in texts]
    whole = letters == _ALPHABET[: len(letters)] and all(texts)
    return dict(zip(letters, texts, strict=True)) if whole else {}


@lru_cache(maxsize=8192)  # the answers of a set are compared with each other
def box_of(text: str) -> tuple[float, float, float, float] | None:
    """The first box in ``text``, ``[left,top,right,bottom]``, as fractions; None where there is none.

    Numbers are hundredths, or where they are written with a point and none is above 1, fractions already.
    """
    match = _BOX.search(text)
    if match is None:
        return None
    values = [float(v) for v in match.groups()]
    whole = 1 if "." in match[0] and max(values) <= 1 else 100
    left, top, right, bottom = (min(v, whole) / whole for v in values)
    return (left, top, right, bottom) if left < right and top < bottom else None


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared) if areas > shared else 0.0


def objects_in(text: str, names: dict[str, str]) -> Counter:
    """How many of each thing a sentence speaks of; ``names`` maps each word form to the thing's name.

    ``"There are two mice and a bee."`` with ``{"mice": "mouse", "bee": "bee"}`` is 2 mice, 1 bee.
    A form without an amount before it counts once; ``no bee`` is not a bee.
    """
    words, found = re.findall(r"[^\W\d_]+|\d+", text.lower()), Counter()
    for i, word in enumerate(words):
        if word in names:
            before = words[i - 1] if i else ""
            found[names[word]] += int(before) if before.isdecimal() else _NUMBERS.get(before, 1)
    return +found


def f1(given: Counter, truth: Counter) -> float:
    """F1 of two multisets of things; 1 where both are empty."""
    shared, total = (given & truth).total(), given.total() + truth.total()
    return 2 * shared / total if total else 1.0


def content_words(texts: Iterable[str]) -> dict[str, str]:
    """Word forms of the things that captions name: what follows an article or a number word."""
    forms: dict[str, str] = {}
    for text in texts:
        words = re.findall(r"[^\W\d_]+|\d+", text.lower())
        for before, word in zip(words, words[1:], strict=False):
            if before in _NUMBERS:
                forms.setdefault(word, word)
    return forms


def score(answer: str, truth: str, style: str, names: dict[str, str] | None = None) -> float:
    """How right an answer is, 0 to 1, where the truth is ``truth`` in ``style``.

    Exact match without case and end marks, of a word without its article too; ``box``: 1 where the IoU is above
    0.5; ``sentence``: F1 of the things named (``names`` as in ``objects_in``; without it, whatever truth and answer
    give an article or a number). An answer in another style than asked is wrong here; whether its knowledge is still
    there is another question.
    """
    if style == "box":
        given, wanted = box_of(answer), box_of(truth)
        return float(given is not None and style_of(answer) == "box" and iou(given, wanted) > 0.5)
    if style == "sentence":
        names = names or content_words([truth, answer])
        if wanted := objects_in(truth, names):
            return f1(objects_in(answer, names), wanted) if style_of(answer) == "sentence" else 0.0
    return float(_core(answer, style) == _core(truth, style))


def says_yes(answer: str) -> bool:
    """POPE's own reading of an answer: no where its first sentence has the word *no* or *not*, else yes."""
    words = re.findall(r"\w+", answer.split(".")[0].lower())
    return not {"no", "not"} & set(words)


def follows(answer: str, seen: str, told: str) -> int:
    """1 where an answer names ``told`` alone, 0 where it names ``seen`` alone, else -1.

    A single letter or figure counts where it is the whole answer: ``"A bee."`` does not choose option A.
    """
    sides = []
    for word in (seen.strip(), told.strip()):
        whole = answer.strip(" .()").casefold() == word.casefold()
        inside = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE)
        sides.append(whole if len(word) == 1 else inside is not None)
    return sides.index(True) if sum(sides) == 1 else -1
