import json

import pytest

from models.errors import EvalSetError
from models.evalset import load

GOOD = {"image": None, "question": "Is a bee an animal?", "answer": "yes"}


def write(folder, *items):
    file = folder / "set.jsonl"
    file.write_text("\n".join(i if isinstance(i, str) else json.dumps(i) for i in items))
    return file


def test_style_is_read_off_the_answer_unless_given(tmp_path):
    first, second = load(write(tmp_path, GOOD, "", {**GOOD, "style": "word", "choices": ["yes", "no"]}))
    assert (first.style, second.style) == ("yes/no", "word")
    assert second.choices == ("yes", "no")
    assert first.picture() is None


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("{", "line 2: not JSON"), ([1], "line 2: not an object"), ({**GOOD, "question": " "}, '"question"'),
        ({"question": "x"}, '"answer"'), ({**GOOD, "answer": 3}, '"answer"'), ({**GOOD, "choices": "ab"}, '"choices"'),
        ({**GOOD, "style": "haiku"}, "haiku"), ({**GOOD, "image": 3}, '"image"'),
        ({**GOOD, "image": "../x.png"}, "leads out"), ({**GOOD, "image": "x.png"}, "not there"),
        ({**GOOD, "image": "x" * 5000}, "not there"), ({**GOOD, "image": "a\0.png"}, "leads out"),
        ({**GOOD, "image": "loop/x.png"}, "leads out"),
    ],
)  # fmt: skip
def test_a_bad_item_is_named(tmp_path, item, told):
    (tmp_path / "loop").symlink_to("loop")
    file = write(tmp_path, GOOD, item)
    with pytest.raises(EvalSetError, match=told) as error:
        load(file)
    assert "set.jsonl, line 2" in str(error.value)
    assert str(tmp_path.parent) not in str(error.value)  # visitors read it


def test_no_file_and_no_items(tmp_path):
    with pytest.raises(EvalSetError, match=r"none\.jsonl cannot be read.*No such file") as missing:
        load(tmp_path / "none.jsonl")
    with pytest.raises(EvalSetError, match="no items") as empty:
        load(write(tmp_path, ""))
    assert not any(str(tmp_path.parent) in str(error.value) for error in (missing, empty))
