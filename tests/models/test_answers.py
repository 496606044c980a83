from collections import Counter

import pytest

from models.answers import box_of, f1, iou, objects_in, options_in, says_yes, score, style_of


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("bee", "word"), ("a bee", "word"), ("Ice cream.", "word"), ("3", "numeral"), ("Yes.", "yes/no"),
        ("no", "yes/no"), ("[10,20,30,40]", "box"), ("B", "letter"), ("(c)", "letter"),
        ("There is a bee on the left.", "sentence"),
        ("", "other"), ("?!", "other"), ("bee3", "other"), ("It is at [10,20,30,40]", "sentence"),
        ("a red fox", "word"), ("three", "word"), ("(B) cat", "letter"), ("**B**", "letter"), ("A bee", "word"),
        ("Answer: yes", "yes/no"), ("Yes, there is.", "sentence"), ("[0.1, 0.2, 0.5, 0.9]", "box"), ("3 bees", "other"),
    ],
)  # fmt: skip
def test_style(text, style):
    assert style_of(text) == style


def test_box():
    assert box_of("[05,10,50,99]") == (0.05, 0.10, 0.50, 0.99)
    assert box_of("It is at [ 5, 10, 50, 99 ].") == (0.05, 0.10, 0.50, 0.99)
    assert box_of("[50,10,05,99]") is None  # right of its right side
    assert box_of("nowhere") is None
    assert box_of("[0.1, 0.2, .5, 1.0]") == (0.1, 0.2, 0.5, 1)
    assert box_of("[(12, 30), (50, 120)]") == (0.12, 0.3, 0.5, 1)
    assert box_of("[12.5, 30, 50, 99]") == (0.125, 0.3, 0.5, 0.99)


def test_iou_by_hand():
    assert iou((0, 0, 1, 1), (0.5, 0, 1, 1)) == pytest.approx(0.5)
    assert iou((0, 0, 0.5, 1), (0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)
    assert iou((0, 0, 0.2, 0.2), (0.5, 0.5, 1, 1)) == 0


def test_things_a_sentence_names():
    names = {"mouse": "mouse", "mice": "mouse", "bee": "bee"}
    assert objects_in("There are two mice and a bee.", names) == Counter(mouse=2, bee=1)
    assert objects_in("There is no bee.", names) == Counter()
    assert objects_in("A bee and 3 mice", names) == Counter(bee=1, mouse=3)
    assert objects_in("A bee and ² mice, ٣ mice", names) == Counter(bee=1, mouse=4)  # a superscript is no amount


def test_f1_by_hand():
    # 2 of 3 given are right, 2 of 4 true are found: 2 * 2 / 7
    assert f1(Counter(bee=2, cat=1), Counter(bee=3, dog=1)) == pytest.approx(4 / 7)
    assert f1(Counter(), Counter()) == 1


@pytest.mark.parametrize(
    ("answer", "truth", "style", "wanted"),
    [
        ("Bee.", "bee", "word", 1), ("wasp", "bee", "word", 0), ("This is a bee.", "bee", "word", 0),
        ("(B)", "b", "letter", 1), ("(B) cat", "B", "letter", 1), ("A. cat", "B", "letter", 0),
        ("a bee", "bee", "word", 1), ("The answer is 3.", "3", "numeral", 1), ("three", "3", "numeral", 0),
        ("Yes, there is.", "yes", "yes/no", 0), ("[0,0,50,50]", "[00,00,50,49]", "box", 1),
        ("[0,0,50,50]", "[00,25,50,99]", "box", 0),
        ("on the left", "[00,00,50,49]", "box", 0),
        ("There is a bee on the left.", "There is a bee.", "sentence", 1),
        ("There is a bee and a cat.", "There is a bee.", "sentence", 2 / 3),
        ("bee", "There is a bee.", "sentence", 0),
    ],
)  # fmt: skip
def test_score(answer, truth, style, wanted):
    assert score(answer, truth, style) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which one? A. cat B. dog", {"A": "cat", "B": "dog"}),
        ("Which one? A) cat\nB) a big dog\nC) bee", {"A": "cat", "B": "a big dog", "C": "bee"}),
        ("(A) cat, (B) dog", {"A": "cat", "B": "dog"}),
        ("A: cat, B: dog, C: bee", {"A": "cat", "B": "dog", "C": "bee"}),
        ("Is this plan B. or not?", {}),
        ("What is this?", {}),
        ("A. cat C. dog", {}),
        ("A. B. dog", {}),
        ("Which? A. cat B. dog.", {"A": "cat", "B": "dog"}),
        ("Which?\nA. cat\nB. dog\nAnswer with the option's letter from the given choices.", {"A": "cat", "B": "dog"}),
        ("A. cat B. dog Answer with the letter.", {"A": "cat", "B": "dog"}),
        ("A. cat, B. dog. Only the letter.", {"A": "cat", "B": "dog"}),
        ("A. a love letter B. a bill", {"A": "a love letter", "B": "a bill"}),
        ("", {}),
    ],
)
def test_options_listed_in_a_question(question, options):
    assert options_in(question) == options


@pytest.mark.parametrize(
    ("answer", "yes"),
    [("Yes", True), ("no", False), ("No, there is none.", False), ("There is not a bee.", False),
     ("It is. No doubt.", True), ("Yes, there is. Not a cat.", True), ("nothing", True), ("", True), ("knot", True)],
)  # fmt: skip
def test_answers_are_read_as_popes_authors_read_them(answer, yes):
    assert says_yes(answer) is yes
