import json

import pytest
from PIL import Image

from models import evalset
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
        ({**GOOD, "style": "haiku"}, "haiku"),
        ({**GOOD, "answer": "maybe", "choices": ["Yes", "No"]}, '"answer" is .maybe., neither yes nor no: mend'),
        ({**GOOD, "answer": "Yes, a bee.", "style": "yes/no"}, "neither yes nor no"), ({**GOOD, "image": 3}, '"image"'),
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


def test_the_rule_of_each_line_decides_and_without_one_the_style(tmp_path):
    told = {"image": None, "question": "How many bees? A. 2 B. 3", "answer": "3"}
    plain, numeric, choice, lettered = load(
        write(
            tmp_path, told, {**told, "score": "numeric"}, {**told, "score": "choice"},
            {**told, "answer": "B", "choices": ["A", "B"], "score": "choice"},
        )
    )  # fmt: skip
    assert [item.scored("three") for item in (plain, numeric)] == [0, 1]
    assert [item.scored("B") for item in (plain, choice, lettered)] == [0, 1, 1]
    assert lettered.options == choice.options == {"A": "2", "B": "3"}
    assert load(write(tmp_path, {**told, "choices": ["two", "3"]}))[0].options == {"A": "two", "B": "3"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"score": "bleu"}, "field \"score\" is 'bleu', not one of exact, numeric, iou, choice, token f1"),
        ({"score": 3}, 'field "score" is not a text'),
        ({"score": "numeric"}, 'field "answer" has no number'),
        ({"score": "iou"}, 'field "answer" is no box'),
        ({"style": "box"}, 'field "answer" is no box'),
        ({"score": "choice"}, 'field "choices" has no two options'),
        ({"score": "choice", "choices": ["no", "perhaps"]}, 'field "answer" is none of the options no, perhaps'),
    ],
)
def test_a_truth_that_its_rule_cannot_use_is_named(tmp_path, change, told):
    with pytest.raises(EvalSetError, match=rf"set\.jsonl, line 2: {told}"):
        load(write(tmp_path, GOOD, {**GOOD, **change}))


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    file = write(tmp_path, GOOD)
    first, read = load(file), []
    item = evalset._item
    monkeypatch.setattr(evalset, "_item", lambda path, number, line: read.append(number) or item(path, number, line))
    assert load(file) == first and not read
    load(file).clear()
    assert load(file) == first  # nobody changes what others are given
    write(tmp_path, GOOD, {**GOOD, "question": "Is a bee blue?"})
    assert len(load(file)) == 2 and read == [1, 2]


def test_a_picture_that_went_since_is_told_with_its_line(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "bee.png")
    file = write(tmp_path, GOOD, {**GOOD, "image": "bee.png"})
    assert load(file)[1].picture().size == (4, 4)
    (tmp_path / "bee.png").unlink()
    with pytest.raises(EvalSetError, match='line 2: field "image": .*bee.png.* is not there'):
        load(file)


def test_pictures_are_opened_as_visitors_are_and_a_broken_one_is_named(tmp_path):
    upright = Image.new("RGB", (8, 4), "white")
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right
    upright.save(tmp_path / "turned.jpg", exif=turned)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "clear.png").read_bytes()[:40])
    items = load(write(tmp_path, *({**GOOD, "image": name} for name in ("turned.jpg", "clear.png", "half.png"))))
    assert items[0].picture().size == (4, 8)
    assert items[1].picture().getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(EvalSetError, match="half.png: This file could not be read as a picture"):
        items[2].picture()
