"""One table for all that shows numbers in rows: on the page, in the model's card, in a paper, as data.

Cells are texts, whole numbers, numbers and ``Estimate`` objects, which are written by the format of their column (or of
their row), ``Html`` that is ready, and None for nothing.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

import numpy as np

from analysis.statistics import FEW, Estimate
from analysis.wording import UNKNOWN, between, estimate, number

SCROLL = '<div class="scroll" tabindex="0">'
"""Begins a box around a table that may be wider than the page: scrolled by finger, by mouse, and by keyboard."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_FORMULA = re.compile(r"[=@\t\r]|[+-](?!$|[\d.]+$)")
"""How a text begins that a spreadsheet would compute."""


@dataclass(frozen=True)
class Head:
    """The head of a column, or the first cell of a row: its ``title``, what that means (``about``, opened by pointing,
    by tap or by keyboard), what stands ``below`` it in small letters, and how numbers are written: in hundredths where
    the ``unit`` is %, or points, or they are ``shares`` whose unit is said elsewhere; ``digits`` after the point (by
    default none in hundredths, else four that count), with a ``sign``. A row that has ``digits`` goes first.
    """

    title: str
    about: str = ""
    below: str = ""
    unit: str = ""
    digits: int | None = None
    sign: bool = False
    shares: bool = False

    @property
    def text(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def times(self) -> int:
        return 100 if self.shares or self.unit.startswith(("%", "points")) else 1

    def places(self, value: float) -> int:
        """How many digits after the point ``value`` is written with."""
        if self.digits is not None or self.times == 100 or not math.isfinite(value):
            return self.digits or 0
        return max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0


@dataclass(frozen=True)
class Html:
    """A cell that is HTML already and is not escaped; ``text`` is what stands in its place elsewhere."""

    html: str
    text: str = ""


@dataclass(frozen=True)
class Noted:
    """A number with a word ``after`` it; with a ``sign`` where its column has none."""

    of: float | Estimate
    after: str = ""
    sign: bool = False


@dataclass(frozen=True)
class Table:
    """``columns`` and ``rows`` of as many cells each. ``marks`` are the CSS classes of rows, by their places; rows
    marked ``reference`` stand apart from the others. ``dash``: why a number is not known, said where one is not."""

    columns: Sequence[str | Head]
    rows: Sequence[Sequence]
    marks: Mapping[int, str] = field(default_factory=dict)
    dash: str = "not measured, or nothing to divide by"

    def html(self, css: str = "plain") -> str:
        """A table of class ``css`` in a box that scrolls; everything but ``Html`` is escaped. Below it, why there are
        dashes, and numbers without an interval."""
        head = "".join(f'<th scope="col">{_head(column)}</th>' for column in self._heads())
        body = []
        for i, row in enumerate(self.rows):
            first, *cells = zip(row, self._formats(row), strict=True)
            told = "".join(f"<td>{_html(*cell)}</td>" for cell in cells)
            marked = f' class="{self.marks[i]}"' if i in self.marks else ""
            body.append(f'<tr{marked}><th scope="row">{_html(*first)}</th>{told}</tr>')
        why = f'<p class="key">{escape(told)}</p>' if (told := self.why()) else ""
        return (
            f'{SCROLL}<table class="{css}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
            f"{why}"
        )

    def why(self) -> str:
        """Why there are dashes, and numbers without an interval; empty where there are none."""
        cells = [cell.of if isinstance(cell, Noted) else cell for row in self.rows for cell in row]
        dashes = any(UNKNOWN in row for row in self._texts())
        bare = any(isinstance(c, Estimate) and c.known and c.n < FEW and math.isnan(c.low) for c in cells)
        said = [f"{UNKNOWN}: {self.dash}."] * dashes
        return " ".join([*said, *[f"No interval: fewer than {FEW} items are too few for a bootstrap."] * bare])

    def markdown(self) -> str:
        """A table of GitHub's Markdown; pipes are escaped, lines joined."""
        lines = [[c.text for c in self._heads()], ["---"] * len(self.columns), *self._texts()]
        shown = [[" ".join(text.split()).replace("|", "\\|") for text in line] for line in lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in shown)

    def latex(self) -> str:
        """A ``tabular`` in the style of the package booktabs; intervals are small and in square brackets."""
        lines = [f"\\begin{{tabular}}{{l{'c' * (len(self.columns) - 1)}}}", "\\toprule"]
        for i, row in enumerate([self._heads(), *self.rows], -1):
            apart = i > 0 and self.marks.get(i) == "reference" != self.marks.get(i - 1)
            lines += ["\\midrule"] * (i == 0 or apart) + [" & ".join(map(_latex, row, self._formats(row))) + r" \\"]
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])

    def csv(self) -> str:
        """Comma-separated values, header first: numbers as they are, not written by any format; unknown ones are empty.

        A column with estimates is followed by one of their lower and one of their upper ends. Texts that a spreadsheet
        would take for a formula begin with an apostrophe.
        """
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([[_safe(v) for v in row] for row in self._data()])
        return out.getvalue()

    def json(self) -> list[dict]:
        """A dictionary a row, by the titles that the CSV has; unknown numbers are None."""
        head, *rows = self._data()
        return [dict(zip(head, row, strict=True)) for row in rows]

    def _heads(self) -> list[Head]:
        return [Head(c) if isinstance(c, str) else c for c in self.columns]

    def _formats(self, row: Sequence) -> list[Head]:
        """Whose format each cell of a row is written by."""
        own = row[0] if isinstance(row[0], Head) and row[0].digits is not None else None
        return [own or column for column in self._heads()]

    def _texts(self) -> list[list[str]]:
        return [[_text(*cell) for cell in zip(row, self._formats(row), strict=True)] for row in self.rows]

    def _data(self) -> list[list]:
        bare = [[cell.of if isinstance(cell, Noted) else cell for cell in row] for row in self.rows]
        wide = [any(isinstance(row[i], Estimate) for row in bare) for i in range(len(self.columns))]
        lines = [[]] + [[] for _ in self.rows]
        for i, column in enumerate(self._heads()):
            lines[0] += [column.text, f"{column.text}, low", f"{column.text}, high"] if wide[i] else [column.text]
            for line, row in zip(lines[1:], bare, strict=True):
                of = row[i]
                if wide[i]:
                    of = of if isinstance(of, Estimate) else Estimate(of if isinstance(of, float) else math.nan)
                    line += map(_value, (of.value, of.low, of.high))
                else:
                    line.append(_value(of))
        return lines


def _value(cell):
    """A cell as data: a number, a text, or None."""
    if isinstance(cell, Head | Html):
        return cell.text
    cell = cell.item() if isinstance(cell, np.generic) else cell
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _safe(value):
    if not isinstance(value, str):
        return value
    return ("'" if _FORMULA.match(value) else "") + re.sub(r"\r\n?", "\n", value)  # a bare \r would not be quoted


def _text(cell, by: Head) -> str:
    """A cell in plain letters."""
    if isinstance(cell, Noted):
        return f"{_text(cell.of, replace(by, sign=by.sign or cell.sign))} {cell.after}".rstrip()
    if isinstance(cell, Estimate):
        return estimate(cell, by.places(cell.value), by.sign, by.times)
    if isinstance(cell, float | np.floating):
        return number(by.times * cell, by.places(cell), by.sign)
    value = _value(cell)
    return "" if value is None else str(value)


def _html(cell, by: Head) -> str:
    if isinstance(cell, Html):
        return cell.html
    if isinstance(cell, Head):
        return _head(cell)
    if isinstance(cell, Noted):
        return f"{_html(cell.of, replace(by, sign=by.sign or cell.sign))} {escape(cell.after)}".rstrip()
    text = _text(cell, by)
    if isinstance(cell, Estimate):  # the interval is smaller, and never broken over lines
        text, _, span = text.partition(" ")
        return f"{text} <small>{span.replace(' ', '&nbsp;')}</small>" if span else text
    return escape(text)


def _head(of: Head) -> str:
    told = escape(of.text)
    if of.about:
        told = f'<dfn class="term" tabindex="0">{told}<span role="tooltip">{escape(of.about)}</span></dfn>'
    return f"{told}<br><small>{escape(of.below)}</small>" if of.below else told


def _latex(cell, by: Head) -> str:
    if isinstance(cell, Estimate) and cell.known and not math.isnan(cell.low):
        how = by.places(cell.value), by.sign
        shown, span = number(by.times * cell.value, *how), between(cell, *how, by.times).replace(" to ", ", ")
        return f"${shown}$ {{\\scriptsize $[{span}]$}}".replace("−", "-")
    return latex_text(_text(cell, by))


def latex_text(text: str) -> str:
    """``text`` with what LaTeX would read as a command written out; lines and tabs become spaces."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
