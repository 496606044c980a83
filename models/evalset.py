"""Evaluation sets: JSON Lines of ``{"image", "question", "answer", "choices"?, "style"?, "segment"?, "score"?}``.

``score`` names the rule by which answers to this line are scored, one of ``models.scoring.RULES``; without it the style
of the truth decides (``models.answers.score``).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase

from PIL import Image

from models import answers, scoring
from models.answers import STYLES, box_of, options_in, style_of
from models.errors import EvalSetError, InputError
from models.files import inside, is_file, lines_of, nameless, parsed, plain, told
from models.images import open_picture

_TEXT = {"image", "question", "answer", "style", "segment", "score"}
_MAX_BYTES = 50_000_000
_score = lru_cache(maxsize=65_536)(answers.score)  # checkpoints and methods give the same few answers to an item


@dataclass(frozen=True)
class EvalItem:
    """One question with its truth. ``image`` is a file beside the set, or None for a question without a picture."""

    image: Path | None
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    style: str = "other"
    segment: str | None = None
    score: str | None = None

    def scored(self, answer: str) -> float:
        """How right an answer is, 0 to 1, by the rule of this item."""
        if self.score is None:
            return _score(answer, self.answer, self.style)
        return scoring.score(answer, self.answer, self.score, self.options)

    def in_form(self, answer: str) -> bool:
        """Whether an answer comes in the form that is asked for: that of the truth where the rule holds it to one, else
        the item's style."""
        found = scoring.in_form(answer, self.answer, self.score) if self.score else None
        return style_of(answer) == self.style if found is None else found

    @property
    def options(self) -> dict[str, str]:
        """The options, letter to text: ``choices``, or where those are letters what the question lists under them."""
        if any(len(choice.strip("() .")) > 1 for choice in self.choices):
            return dict(zip(ascii_uppercase, self.choices, strict=False))
        return options_in(self.question) or {c.strip("() .").upper(): c for c in self.choices}

    def picture(self) -> Image.Image | None:
        """The picture as RGB; None where the question has none. Raises ``EvalSetError`` for one that cannot be read."""
        if self.image is None:
            return None
        try:
            return open_picture(self.image)
        except InputError as error:
            raise EvalSetError(f"{told(self.image)}: {error}") from error


def load(path: str | Path) -> list[EvalItem]:
    """Read and check a set. Raises ``EvalSetError`` naming the file, the line and the field.

    Sets that are taught and compared share their evaluation sets: a file that did not change is read once.
    """
    path = Path(path).resolve()
    try:
        found = path.stat()
    except OSError as error:
        raise EvalSetError(f"{told(path)} cannot be read as text: {plain(error)}.") from error
    items = _read(path, found.st_mtime_ns, found.st_size)
    if not all(item.image is None or is_file(item.image) for item in items):
        items = _read.__wrapped__(path, found.st_mtime_ns, found.st_size)  # tells which picture went, and its line
    return list(items)


@lru_cache(maxsize=32)  # what raises is not kept
def _read(path: Path, changed: int, size: int) -> tuple[EvalItem, ...]:
    """The items of a file of ``size`` bytes, last ``changed`` at that time."""
    if size > _MAX_BYTES:
        raise EvalSetError(f"{told(path)} is larger than {_MAX_BYTES // 1_000_000} MB.")
    lines = enumerate(lines_of(path, EvalSetError), 1)
    items = tuple(_item(path, number, line) for number, line in lines if line.strip())
    if not items:
        raise EvalSetError(f"{told(path)} has no items.")
    return items


def _item(path: Path, number: int, line: str) -> EvalItem:
    def fail(what: str):
        return EvalSetError(f"{told(path)}, line {number}: {what}")

    try:
        data = parsed(line)
    except ValueError as error:
        raise fail(f"not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise fail("not an object with fields.")
    for key in ("question", "answer"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise fail(f'field "{key}" is missing or empty.')
    for key in _TEXT & data.keys():
        if not isinstance(data[key], str) and not (key in ("image", "segment") and data[key] is None):
            raise fail(f'field "{key}" is not a text.')
    choices = data.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(c, str) and c.strip() for c in choices):
        raise fail('field "choices" is not a list of texts.')
    style = data.get("style", style_of(data["answer"]))
    if style not in STYLES:
        raise fail(f'field "style" is {style!r}, not one of {", ".join(STYLES)}.')
    image = data.get("image")
    if image is not None:
        if not inside(path.parent, path.parent / image):
            raise fail('field "image" leads out of the set\'s folder.')
        image = (path.parent / image).resolve()
        if not is_file(image):
            raise fail(f'field "image": {nameless(data["image"])[:200]!r} is not there.')
    rule = data.get("score")
    if rule is not None and rule not in scoring.RULES:
        raise fail(f'field "score" is {rule!r}, not one of {", ".join(scoring.RULES)}.')
    item = EvalItem(image, data["question"], data["answer"], tuple(choices), style, data.get("segment"), rule)
    if lacking := _unscorable(item):
        raise fail(lacking)
    return item


def _unscorable(item: EvalItem) -> str:
    """Why no answer to this item could be right; empty where one could."""
    rule, offered = item.score or ("iou" if item.style == "box" else ""), {c.strip(" .").lower() for c in item.choices}
    asked = item.style == "yes/no" or not rule and offered == {"yes", "no"}
    if asked and style_of(item.answer) != "yes/no":
        return f'field "answer" is {item.answer[:50]!r}, neither yes nor no: mend it, or leave the line out.'
    if rule == "iou" and box_of(item.answer) is None:
        return 'field "answer" is no box [left,top,right,bottom] in hundredths.'
    if rule == "numeric" and not scoring.numbers_in(item.answer):
        return 'field "answer" has no number, which "score": "numeric" compares.'
    if rule == "choice" and len(item.options) < 2:
        return 'field "choices" has no two options, and the question lists none: "score": "choice" needs them.'
    if rule == "choice" and scoring.letter_of(item.answer, item.options) is None:
        return f'field "answer" is none of the options {", ".join(item.options.values())}.'
    return ""
