"""Evaluation sets: JSON Lines of ``{"image", "question", "answer", "choices"?, "style"?, "segment"?}``."""

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from models.answers import STYLES, style_of
from models.errors import EvalSetError
from models.files import inside, is_file, nameless, plain, told

_TEXT = {"image", "question", "answer", "style", "segment"}
_MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class EvalItem:
    """One question with its truth. ``image`` is a file beside the set, or None for a question without a picture."""

    image: Path | None
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    style: str = "other"
    segment: str | None = None

    def picture(self) -> Image.Image | None:
        """The picture as RGB; None where the question has none."""
        return None if self.image is None else Image.open(self.image).convert("RGB")


def load(path: str | Path) -> list[EvalItem]:
    """Read and check a set. Raises ``EvalSetError`` naming the file, the line and the field."""
    path = Path(path).resolve()
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise EvalSetError(f"{told(path)} is larger than {_MAX_BYTES // 1_000_000} MB.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvalSetError(f"{told(path)} cannot be read as text: {plain(error)}.") from error
    items = [_item(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise EvalSetError(f"{told(path)} has no items.")
    return items


def _item(path: Path, number: int, line: str) -> EvalItem:
    def fail(what: str):
        return EvalSetError(f"{told(path)}, line {number}: {what}")

    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
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
    return EvalItem(image, data["question"], data["answer"], tuple(choices), style, data.get("segment"))
