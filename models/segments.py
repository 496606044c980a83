"""Which token is image, question, instruction or answer; and the patch grid of each image."""

from collections.abc import Sequence
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


@dataclass(frozen=True)
class Grid:
    """Patches of one image: token ``start + row * columns + column`` sees that cell of the picture."""

    start: int
    rows: int
    columns: int


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


def square_grids(kinds: torch.Tensor) -> tuple[Grid, ...]:
    """Grids of images whose tokens are one unbroken run of a square number; other runs have none."""
    grids, start = [], None
    for i, kind in enumerate([*kinds.tolist(), None]):
        if kind == Modality.IMAGE and start is None:
            start = i
        elif kind != Modality.IMAGE and start is not None:
            side = isqrt(i - start)
            if side * side == i - start:
                grids.append(Grid(start, side, side))
            start = None
    return tuple(grids)
