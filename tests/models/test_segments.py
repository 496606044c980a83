import pytest
import torch

from models.segments import Grid, Modality, common_prefix, image_runs, question_span, segment, square_grid


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


def test_segments_and_runs():
    ids = torch.tensor([0, 9, 9, 9, 9, 5, 6, 0, 9, 9])
    kinds = segment(ids, 9, (-5, -3))
    i, q, n = Modality.IMAGE, Modality.QUESTION, Modality.INSTRUCTION
    assert kinds.tolist() == [n, i, i, i, i, q, q, n, i, i]
    assert image_runs(kinds) == [(1, 4), (8, 2)]


def test_only_a_square_number_of_tokens_is_a_square():
    assert square_grid(1, 4) == (Grid(1, 2, 2),)
    assert square_grid(8, 2) == ()


def test_a_grid_covers_the_whole_picture_unless_told():
    grid = Grid(5, 2, 4)
    assert grid == Grid(5, 2, 4, (0, 0, 1, 1), 4)
    assert [token for token, _, _ in grid.cells()] == list(range(5, 13))
    assert grid.rectangle(5) == (0, 0, 0.25, 0.5)
    assert grid.rectangle(12) == (0.75, 0.5, 1, 1)


def test_a_separator_at_the_end_of_each_row_sees_nothing():
    grid = Grid(3, 2, 2, (0.5, 0, 1, 1), stride=3)
    assert list(grid.cells()) == [(3, 0, 0), (4, 0, 1), (6, 1, 0), (7, 1, 1)]
    assert grid.rectangle(6) == (0.5, 0.5, 0.75, 1)
    for token in (2, 5, 8, 9):
        assert token not in grid
        with pytest.raises(ValueError, match=f"Token {token} sees no cell"):
            grid.rectangle(token)


def test_cells_of_padding_end_where_the_picture_ends():
    grid = Grid(0, 4, 1, (0.0, -0.25, 1.0, 1.25))
    edges = [edge for token in range(4) for edge in grid.rectangle(token)[1::2]]
    assert edges == pytest.approx([0, 0.125, 0.125, 0.5, 0.5, 0.875, 0.875, 1])
