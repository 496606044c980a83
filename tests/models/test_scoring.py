"""The scoring rules that an evaluation set may name, on answers scored by hand."""

import pytest

from models.scoring import letter_of, numbers_in, score

ANIMALS = {"A": "a red fox", "B": "owl", "C": "a"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]), ("There are three cats and 2 dogs.", [3, 2]), ("-1,200.5", [-1200.5]), ("about 3.5 %", [3.5]),
        ("twenty-one", [21]), ("Twenty one", [21]), ("nineteen", [19]), ("ninety", [90]), ("seven hundred", [700]),
        ("one hundred and five", [105]), ("two hundred thirty-four", [234]), ("zero", [0]), ("none", []),
        ("someone weighs tons", []), ("x3 and b2", []), ("10-20", [10, 20]), ("12.", [12]), ("", []),
    ],
)  # fmt: skip
def test_numbers_in_a_text(text, numbers):
    assert numbers_in(text) == numbers


def test_options_of_signs_alone():
    assert [letter_of(sign, {"A": "+", "B": "-"}) for sign in "+-*"] == ["A", "B", None]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A", "A"), ("(b)", "B"), ("B.", "B"), ("b) owl", "B"), ("(A) Red fox.", "A"), ("The owl!", "B"),
        ("a red fox", "A"), ("B. fox", None), ("D", None), ("an owl or a fox", None), ("", None), ("C", "C"),
    ],
)  # fmt: skip
def test_the_option_that_an_answer_names(answer, letter):
    assert letter_of(answer, ANIMALS) == letter


@pytest.mark.parametrize(
    ("rule", "answer", "truth", "wanted"),
    [
        ("exact", "Bee.", "bee", 1), ("exact", "a bee", "bee", 0), ("exact", "bee", "the bee", 0),
        ("exact", "The Bee", "the bee", 1), ("exact", '**Answer:** "(bee)".', "bee", 1),
        ("numeric", "There are three.", "3", 1), ("numeric", "3.0", "three", 1), ("numeric", "four", "3", 0),
        ("numeric", "3 or 4", "3", 0), ("numeric", "many", "3", 0), ("numeric", "many", "some", 0),
        ("iou", "[0,0,50,50]", "[00,00,50,49]", 1), ("iou", "[0,0,50,50]", "[00,25,50,99]", 0),
        ("iou", "left", "[00,00,50,49]", 0),
        ("choice", "(B)", "owl", 1), ("choice", "owl", "B", 1), ("choice", "A", "B", 0), ("choice", "cow", "B", 0),
        ("choice", "cow", "cow", 0),
        # of "red fox runs" and "big red fox" two words are shared: precision 2/3, recall 2/3
        ("token f1", "The red fox runs.", "a big red fox", 2 / 3), ("token f1", "Red fox", "a red fox", 1),
        ("token f1", "fox fox", "fox", 2 / 3), ("token f1", "", "fox", 0), ("token f1", "the", "a", 1),
    ],
)  # fmt: skip
def test_rules_by_hand(rule, answer, truth, wanted):
    assert score(answer, truth, rule, ANIMALS) == pytest.approx(wanted)
