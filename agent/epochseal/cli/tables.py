"""Tables on standard output: columns where there is room, else plain lines; no word is ever broken."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from epochseal.cli.console import Styled, line_width, print_line
from epochseal.foreign_text import visible

_GAP = "  "
_LEAST_ROOM = 24
"""Columns that are worth folding text into: with less, a row is one folded line instead."""


def print_table(
    rows: Iterable[Sequence[str | Styled]],
    *,
    head: Sequence[str] = (),
    right: Collection[int] = (),
    indent: int = 2,
) -> None:
    """Print rows of cells in columns as wide as their widest cell; a row may end early.

    The last column is folded between words where a line would be wider than the terminal. Where that leaves
    too little room, each row is one line of its cells, folded in the same way.

    Args:
        rows: the cells.
        head: what stands above the columns.
        right: the columns whose cells stand at the right, by their places from 0.
        indent: blanks before each line.
    """
    titles = [Styled(name, "dim") for name in head]
    table = [[_visible(cell) for cell in row] for row in (titles, *rows) if row]
    columns = max(map(len, table), default=0)
    widths = [max(_width(row[place]) for row in table if place < len(row)) for place in range(columns)]
    margin = indent + sum(widths[:-1]) + len(_GAP) * (columns - 1)
    width = line_width()
    if width is not None and margin + min(widths[-1] if widths else 0, _LEAST_ROOM) > width:
        for row in table:
            _print_folded(row, indent, width)
        return
    for row in table:
        cells = [_padded(cell, widths[place], at_right=place in right) for place, cell in enumerate(row)]
        # Blanks at the end of a line are nobody's.
        *front, last = (*cells[:-1], Styled(cells[-1].text.rstrip(), cells[-1].styles))
        lead = (" " * indent, *(piece for cell in front for piece in (cell, _GAP)))
        if width is None or len(row) < columns or margin + _width(last) <= width:
            print_line(*lead, last)
        elif margin + max(map(len, last.text.split()), default=0) > width:
            # A word that is wider than its column has a line of its own.
            print_line(*lead[:-1])
            _print_folded([last], indent + 4, width)
        else:
            first, *more = _wrap(last.text, width - margin)
            print_line(*lead, Styled(first, last.styles))
            for line in more:
                print_line(" " * margin, Styled(line, last.styles))


def _visible(cell: str | Styled) -> Styled:
    return Styled(visible(str(cell)), cell.styles if isinstance(cell, Styled) else "")


def _padded(cell: Styled, width: int, *, at_right: bool) -> Styled:
    blanks = " " * (width - _width(cell))
    return Styled(blanks + cell.text if at_right else cell.text + blanks, cell.styles)


def _print_folded(row: Sequence[Styled], indent: int, width: int) -> None:
    text = _GAP.join(cell.text for cell in row if cell.text)
    for place, line in enumerate(_wrap(text, width - indent - 4)):
        print_line(" " * (indent + 4 * bool(place)), line)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


def _width(cell: Styled) -> int:
    """The columns that a terminal gives it: two for a wide character, none for one that is put on another."""
    if cell.text.isascii():
        return len(cell.text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in cell.text
    )
