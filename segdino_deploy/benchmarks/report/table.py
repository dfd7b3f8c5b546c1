"""A table as data: what the terminal, the Markdown page and the HTML page write in their own ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ABSENT = "-"
# Characters that would end a cell, or be read as markup, and what stands for them in Markdown.
ESCAPES = str.maketrans(
    {"\\": "\\\\", "|": "\\|", "*": "\\*", "`": "\\`", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "}
)


@dataclass(frozen=True)
class Cell:
    """One value as it is read and as it sorts."""

    text: str
    value: float | str | None = None  # None: missing, which sorts last in both directions
    detail: str = ""  # behind the text: an interval, a count of what was left out
    flag: str = ""  # one word: what the numbers say

    @property
    def words(self) -> str:
        """All of it in one line."""
        return " ".join(part for part in (self.text, self.detail, self.flag) if part)


@dataclass(frozen=True)
class Column:
    label: str
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """The first column names the row. `id`: for links and for tests, of letters and hyphens."""

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    sorts: bool = True  # False: a list of facts, whose order is its sense

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.id}: a row has another number of cells than there are columns")


def text_cell(text: str) -> Cell:
    """A word that sorts as itself; empty: missing."""
    return Cell(text, text) if text else Cell(ABSENT)


def markdown_table(table: Table, heading: str = "") -> list[str]:
    """Lines: heading, table, note; each part apart from the next by an empty line."""
    lines = [f"{heading} {escape(table.title)}", ""] if heading else []
    lines += ["| " + " | ".join(escape(column.label) for column in table.columns) + " |"]
    lines += ["|" + "|".join("---:" if column.is_number else "---" for column in table.columns) + "|"]
    lines += ["| " + " | ".join(escape(cell.words) for cell in row) + " |" for row in table.rows]
    lines += ["", escape(table.note)] if table.note else []
    return [*lines, ""]


def escape(text: str) -> str:
    """Text from outside as text in Markdown."""
    return text.translate(ESCAPES)
