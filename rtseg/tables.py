"""Tables of text that reports are made of, for pages and for terminals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A title, headings, and rows of text; the first `words` columns are words, the others numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 2

    @property
    def markdown(self) -> str:
        """The table without its title."""
        marks = ["---" if i < self.words else "---:" for i in range(len(self.headings))]
        lines = [self.headings, marks, *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
