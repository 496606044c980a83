"""What is asked in the data-set view: the embedded items, or a researcher's own, in two file formats."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from analysis.decoding.objects import EMBEDDED
from models import evalset, fingerprint
from models.answers import content_words
from models.embedded import hallucination_sets
from models.errors import EvalSetError
from models.files import parsed

OWN = "own"


class Item(Protocol):
    """One question with its true answer; ``style`` is its form, of which *yes/no* and *sentence* are measured."""

    question: str
    answer: str
    style: str

    def picture(self) -> Image.Image | None: ...


@dataclass(frozen=True)
class Data:
    """``subsets`` maps the name of each to the places of its items in ``existence``; ``forms`` are the words for
    objects that captions are searched for; ``mark`` changes when any of it does."""

    existence: Sequence[Item]
    subsets: Mapping[str, tuple[int, ...]]
    captions: Sequence[Item]
    forms: Mapping[str, str]
    mark: str


def embedded(scenes: int = hallucination_sets.EXISTENCE, captions: int = hallucination_sets.CAPTIONS) -> Data:
    """POPE's and CHAIR's items of the embedded world."""
    asked, described = hallucination_sets.existence(scenes), hallucination_sets.captions(captions)
    subsets = {
        subset: tuple(i for i, probe in enumerate(asked) if subset in probe.subsets)
        for subset in hallucination_sets.SUBSETS
    }
    mark = hallucination_sets.fingerprint([*asked, *described])
    return Data(asked, subsets, described, EMBEDDED, mark)


@contextmanager
def uploaded(files: Sequence[str | Path]) -> Iterator[Data]:
    """A visitor's own set: one JSONL file and the pictures that it names, all of them uploaded, whatever their folders.

    A line is an item of the project's format, or of POPE's, ``{"question_id", "image", "text", "label"}``. Yes/no
    questions and captions are taken. An object is whatever a true caption gives an article or a number.
    Raises ``EvalSetError`` naming the line and the field.
    """
    lists = [Path(f) for f in files if Path(f).suffix.lower() in (".jsonl", ".json")]
    if len(lists) != 1:
        raise EvalSetError(
            f"{len(lists) or 'No'} JSONL file{'s' * (len(lists) != 1)} among what was uploaded: choose one file with a "
            "JSON object a line, and the pictures that it names."
        )
    names = Counter(Path(f).name for f in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise EvalSetError(f"There are two files called {twice[0]}: the pictures of a set need names of their own.")
    with tempfile.TemporaryDirectory(prefix="crosstalk-") as made:
        folder = Path(made)
        for file in map(Path, files):
            if file != lists[0]:
                shutil.copyfile(file, folder / file.name)
        copied = folder / lists[0].name
        try:
            lines = lists[0].read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EvalSetError(f"{lists[0].name} cannot be read as text.") from error
        copied.write_text("\n".join(map(_project_line, lines)), encoding="utf-8")
        yield _data(evalset.load(copied))


def _project_line(line: str) -> str:
    """A line of an own set in the project's format, its picture by the file name alone."""
    try:
        item = parsed(line)
    except ValueError:
        return line  # the set's own check names the line
    if not isinstance(item, dict):
        return line
    if isinstance(item.get("image"), str):
        item["image"] = Path(item["image"]).name
    if "text" in item and "label" in item:  # POPE's own
        told = {"question": item["text"], "answer": item["label"], "choices": ["yes", "no"], "style": "yes/no"}
        item = {"image": item.get("image"), **told}
    return json.dumps(item, ensure_ascii=False)


def _data(items: Sequence[evalset.EvalItem]) -> Data:
    asked = [replace(i, answer=i.answer.strip().lower()) for i in items if i.style == "yes/no"]
    bad = [i for i in asked if i.answer.strip(".!") not in ("yes", "no")]
    if bad:
        raise EvalSetError(f'The true answer {bad[0].answer!r} of "{bad[0].question}" is neither yes nor no.')
    described = [i for i in items if i.style == "sentence"]
    if not asked and not described:
        raise EvalSetError('The set has no items with the style "yes/no" or "sentence", the two that are measured.')
    forms = content_words(i.answer for i in described)
    return Data(asked, {OWN: tuple(range(len(asked)))} if asked else {}, described, forms, fingerprint.of_items(items))
