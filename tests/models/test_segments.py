import torch

from models.segments import Grid, Modality, common_prefix, question_span, segment, square_grids


def test_question_span_is_what_differs():
    assert question_span([1, 2, 7, 8, 9, 3], [1, 2, 5, 3]) == (-4, -1)


def test_question_span_when_the_question_repeats_its_surroundings():
    # prompt 1 2 [2 2] 3 against 1 2 [5] 3: the first repeated 2 belongs to the question, the template's does not
    assert question_span([1, 2, 2, 2, 3], [1, 2, 5, 3]) == (-3, -1)


def test_question_span_never_overlaps_itself():
    first, last = question_span([1, 2, 3], [1, 2, 2, 3])
    assert first <= last


def test_common_prefix_of_equal_and_empty():
    assert common_prefix([1, 2], [1, 2]) == 2
    assert common_prefix([], [1]) == 0


def test_segments_and_grids():
    ids = torch.tensor([0, 9, 9, 9, 9, 5, 6, 0, 9, 9])
    kinds = segment(ids, 9, (-5, -3))
    i, q, n = Modality.IMAGE, Modality.QUESTION, Modality.INSTRUCTION
    assert kinds.tolist() == [n, i, i, i, i, q, q, n, i, i]
    assert square_grids(kinds) == (Grid(1, 2, 2),)  # two tokens are no square
