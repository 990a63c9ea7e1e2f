"""`LanguageError`, and `Place`, the file, line and column of an error."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class LanguageError(ValueError):
    """The file cannot be compiled. The message begins with the place, as ``FILE:LINE:COLUMN``."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
