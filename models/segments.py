"""Which token is image, question, instruction or answer; and the patch grids of the images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isqrt

import torch


class Modality(IntEnum):
    """The kind of a token. ``INSTRUCTION`` is the template, the system prompt and earlier turns."""

    IMAGE = 0
    QUESTION = 1
    INSTRUCTION = 2
    ANSWER = 3


Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Patches of one image, or of one tile of it: token ``start + row * stride + column`` sees that cell.

    ``stride`` is ``columns``, or more where a separator token ends each row: that token sees no cell. ``box`` is
    what the grid covers (left, top, right, bottom), in fractions of the original picture. It may reach beyond the
    picture where a family pads it: those parts of cells see padding.
    """

    start: int
    rows: int
    columns: int
    box: Box = WHOLE
    stride: int = 0

    def __post_init__(self):
        object.__setattr__(self, "stride", self.stride or self.columns)

    def __contains__(self, token: int) -> bool:
        row, column = divmod(token - self.start, self.stride)
        return 0 <= row < self.rows and column < self.columns

    def cells(self) -> Iterator[tuple[int, int, int]]:
        """``(token, row, column)`` of every cell, row by row."""
        for row in range(self.rows):
            for column in range(self.columns):
                yield self.start + row * self.stride + column, row, column

    def rectangle(self, token: int) -> Box:
        """The part of the picture that a token sees: (left, top, right, bottom), fractions of it, within 0 to 1.

        Raises ``ValueError`` for a token that sees no cell of this grid.
        """
        if token not in self:
            raise ValueError(f"Token {token} sees no cell of the {self.rows} x {self.columns} grid at {self.start}.")
        row, column = divmod(token - self.start, self.stride)
        left, top, right, bottom = self.box
        width, height = (right - left) / self.columns, (bottom - top) / self.rows
        corners = (left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height)
        return tuple(min(max(c, 0.0), 1.0) for c in corners)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning of two sequences."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def question_span(asked: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """Where the question stands, counted from the end of the prompt: (first, past the last), both negative or 0.

    ``asked`` and ``other`` are token ids of the same prompt with two different questions: what differs is
    the question. Counting from the end stays right when an image placeholder before it is expanded.
    """
    before = common_prefix(asked, other)
    limit = min(len(asked), len(other)) - before
    after = common_prefix(asked[::-1], other[::-1])
    after = min(after, limit)
    return before - len(asked), -after


def segment(ids: torch.Tensor, image_token: int | None, question: tuple[int, int]) -> torch.Tensor:
    """Modality of each token of one prompt, int64 ``[T]``; ``question`` as ``question_span`` gives it."""
    kinds = torch.full_like(ids, Modality.INSTRUCTION)
    kinds[len(ids) + question[0] : len(ids) + question[1]] = Modality.QUESTION
    if image_token is not None:
        kinds[ids == image_token] = Modality.IMAGE
    return kinds


def image_runs(kinds: torch.Tensor) -> list[tuple[int, int]]:
    """Unbroken runs of image tokens: (first, number of tokens)."""
    runs, start = [], None
    for i, kind in enumerate([*kinds.tolist(), None]):
        if kind == Modality.IMAGE and start is None:
            start = i
        elif kind != Modality.IMAGE and start is not None:
            runs.append((start, i - start))
            start = None
    return runs


def square_grid(start: int, tokens: int, box: Box = WHOLE) -> tuple[Grid, ...]:
    """The grid of a run of a square number of tokens; none for other runs."""
    side = isqrt(tokens)
    return (Grid(start, side, side, box),) if side * side == tokens else ()
