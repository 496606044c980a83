"""A prompt cut into the parts that an attribution speaks of: words of the question, blocks of the picture."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.segments import Box, Grid

SIDE = 8  # a picture is cut into at most SIDE x SIDE blocks
MOST_WORDS = 32  # longer questions are cut into runs of several words


@dataclass(frozen=True)
class Parts:
    """``part`` int64 ``[T]``: which part each token belongs to, -1 for the template's.

    Parts are the ``words`` in their order, then blocks of the picture, then, where some image tokens see no cell of
    a grid, those together. ``cells`` are the tokens of each grid, int64 ``[rows, columns]``; ``boxes`` what each grid
    covers, (left, top, right, bottom) in fractions of the picture.
    """

    part: np.ndarray
    words: tuple[str, ...]
    cells: tuple[np.ndarray, ...]
    boxes: tuple["Box", ...]

    @property
    def count(self) -> int:
        return int(self.part.max(initial=-1)) + 1

    @property
    def sizes(self) -> np.ndarray:
        """Number of tokens of each part, int64 ``[parts]``."""
        return np.bincount(self.part[self.part >= 0], minlength=self.count)

    def sums(self, tokens: np.ndarray) -> np.ndarray:
        """Scores of tokens ``[T]`` added up by part, float64 ``[parts]``."""
        some = self.part >= 0
        return np.bincount(self.part[some], weights=tokens[some], minlength=self.count)

    def spread(self, scores: np.ndarray) -> np.ndarray:
        """Scores of parts shared out evenly among their tokens, float64 ``[T]``; 0 for the template's."""
        each = np.append(scores / self.sizes, 0.0)
        return each[self.part]


def split(encoded: "Encoded", tokenizer, side: int = SIDE) -> Parts:
    """The parts of a prompt; all grids of its picture together have about ``side`` x ``side`` blocks at most."""
    kinds = encoded.segments.numpy()
    part = np.full(len(kinds), -1)
    asked = np.flatnonzero(kinds == Modality.QUESTION)
    words, index = words_of(encoded.inputs["input_ids"][0, asked].tolist(), tokenizer)
    part[asked] = index
    count, cells = len(words), tuple(map(_cells, encoded.grids))
    each = max(int(side / sqrt(max(len(cells), 1))), 1)
    for tokens in cells:
        rows, columns = (_even(n, min(n, each)) for n in tokens.shape)
        part[tokens] = count + rows[:, None] * (columns.max() + 1) + columns[None]
        count = int(part.max()) + 1
    part[(kinds == Modality.IMAGE) & (part < 0)] = count
    return Parts(part, words, cells, tuple(g.box for g in encoded.grids))


def _cells(grid: "Grid") -> np.ndarray:
    return np.array([token for token, _, _ in grid.cells()]).reshape(grid.rows, grid.columns)


def _even(things: int, runs: int) -> np.ndarray:
    """``things`` in a row cut into ``runs`` of nearly equal length: the run of each."""
    return np.arange(things) * runs // things


def words_of(ids: Sequence[int], tokenizer, most: int = MOST_WORDS) -> tuple[tuple[str, ...], np.ndarray]:
    """Words that tokens spell, and the word of each token, int64 ``[tokens]``.

    A word ends before white space; in scripts that write none, each character begins one. More than ``most`` words
    are joined to runs of equal number.
    """
    spelling = Spelling(tokenizer)
    pieces = [spelling.add(token) for token in ids]
    index, text = [], ""
    for piece in pieces:
        begins = not index or (piece.strip() and (piece[0].isspace() or text[-1:].isspace() or _wide(piece[0])))
        index.append(index[-1] + bool(begins) if index else 0)
        text += piece
    word = np.array(index, dtype=np.int64)
    if len(word) and word[-1] >= most:
        word //= ceil((word[-1] + 1) / most)
    texts = ["".join(p for p, w in zip(pieces, word, strict=True) if w == i) for i in range(word.max(initial=-1) + 1)]
    return tuple(" ".join(t.split()) for t in texts), word


def _wide(character: str) -> bool:
    """Whether a character is of a script such as Chinese or Japanese, which write no spaces."""
    return unicodedata.east_asian_width(character) in "WF"
