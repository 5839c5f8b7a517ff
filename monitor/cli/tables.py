"""Lay a table out in the width at hand without cutting a word. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len
from rich.text import Text

GAP: Final = 2
NARROWEST: Final = 8
"""A first column narrower than this is no column: each row becomes a block of lines."""
INDENT: Final = "  "

Row = Sequence[Text]


def table_lines(
    columns: Sequence[str], rows: Sequence[Row], *, width: int, below: Sequence[Sequence[str]] = ()
) -> Iterator[Text]:
    """Return the lines of a table; those of ``below`` follow their row, indented.

    Cells wrap between words. The first column, which people copy from, never wraps: an entry that
    is too long for it gets a line of its own. Where the columns do not fit at all, each row becomes
    a block with a line for each cell.

    >>> rows = [[Text("support"), Text("answers repeat themselves")]]
    >>> [str(line) for line in table_lines(["adapter", "why"], rows, width=25)]
    ['adapter  why', 'support  answers repeat', '         themselves']
    """
    header = [Text(column, style="bold") for column in columns]
    widths = _widths([header, *rows], width)
    if widths is not None:
        yield from _row(header, widths)
    for row, notes in zip_longest(rows, below[: len(rows)], fillvalue=()):
        yield from _block(columns, row, width) if widths is None else _row(row, widths)
        for note in notes:
            yield from _indented(Text(note), width)


def prose(text: str, width: int, *, hanging: int | None = None) -> list[str]:
    """Break prose between its words; commands, addresses and quoted code stay whole.

    The lines that follow the first are indented as it is, or by ``hanging``.

    >>> prose("  see `driftline status` for more", 20)
    ['  see', '  `driftline status`', '  for more']
    >>> prose("acknowledge it: driftline incident ack 7", 20)
    ['acknowledge it:', 'driftline incident ack 7']
    """
    lines = []
    for paragraph in text.split("\n"):
        rest = paragraph.lstrip(" ")
        first = " " * (len(paragraph) - len(rest))
        after = first if hanging is None else " " * hanging
        line, begun = first, False
        for gap, word in _PIECES.findall(rest):
            if begun and cell_len(line + gap + word) > width:
                lines.append(line)
                line, gap = after, ""  # noqa: PLW2901 (a gap at the end of a line is none)
            line, begun = f"{line}{gap}{word}", True
        lines.append(line)
    return lines


_PIECES: Final = re.compile(
    r"( *)("
    r"(?:[^ `]*`[^`]*`[^ `]*)+"  # `driftline status`
    r"|(?:(?<=: )|(?<=, or )|\A)driftline [a-z].*"  # a command to copy ends its line
    r"|[^ ]+)"
)


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between its words; a word longer than the width stays whole.

    >>> wrapped("one of three", 6), wrapped("", 6)
    (['one of', 'three'], [''])
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and cell_len(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _widths(rows: Sequence[Row], width: int) -> list[int] | None:
    """Return the width of each column; None: they do not fit beside each other."""
    columns = list(zip(*rows, strict=True))
    natural = [max(cell_len(cell.plain) for cell in column) for column in columns]
    least = [max(map(_longest_word, column)) for column in columns]
    room = width - GAP * (len(columns) - 1)
    least[0] = min(natural[0], room - sum(least[1:]))
    if least[0] < min(NARROWEST, natural[0]):
        return None
    return _spread(least, natural, spare=room - sum(least))


def _longest_word(cell: Text) -> int:
    return max(cell_len(word) for word in cell.plain.split(" "))


def _spread(least: list[int], natural: list[int], *, spare: int) -> list[int]:
    """Share what is left of the width evenly among the columns that want more."""
    widths = list(least)
    wanting = sorted(range(len(widths)), key=lambda one: natural[one] - least[one])
    for left, column in zip(range(len(wanting), 0, -1), wanting, strict=True):
        given = min(natural[column] - least[column], spare // left)
        widths[column] += given
        spare -= given
    return widths


def _row(row: Row, widths: Sequence[int]) -> Iterator[Text]:
    first = row[0]
    if cell_len(first.plain) > widths[0]:
        yield first
        first = Text()
    cells = [
        [first.plain],
        *(wrapped(c.plain, w) for c, w in zip(row[1:], widths[1:], strict=True)),
    ]
    styles = [cell.style for cell in row]
    for parts in zip_longest(*cells, fillvalue=""):
        line = Text()
        for part, wide, style in zip(parts, widths, styles, strict=True):
            line.append(part, style=style)
            line.append(" " * (wide - cell_len(part) + GAP))
        line.rstrip()
        yield line


def _block(columns: Sequence[str], row: Row, width: int) -> Iterator[Text]:
    yield Text(row[0].plain, style="bold")
    for column, cell in zip(columns[1:], row[1:], strict=True):
        yield from _indented(Text.assemble(f"{column}: ", cell), width)


def _indented(text: Text, width: int) -> Iterator[Text]:
    lines = wrapped(text.plain, width - len(INDENT))
    if len(lines) == 1:
        yield Text(INDENT) + text
        return
    for line in lines:
        yield Text(f"{INDENT}{line}")
