"""The syntax tree of a ``.x`` file: the result of `grammar`. Names are not looked up yet."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import Place
from .words import Word

PLAIN, FIXED, VARIABLE, POINTER = "plain", "fixed", "variable", "pointer"
"""The forms of a declaration: ``T x``, ``T x[n]``, ``T x<n>`` and ``T *x``."""


@dataclass
class Type:
    """A type by its name: one or two keywords (``unsigned hyper``), or the name of a definition."""

    name: str
    place: Place


@dataclass
class Enum:
    """``enum name { member = value, ... }``; a member may have no value."""

    name: Word
    members: list[tuple[Word, Word | None]]


@dataclass
class Declaration:
    """A field, an arm or a typedef. ``void`` has no name."""

    type: Type | Enum | Struct | Union
    name: Word | None
    form: str = PLAIN
    size: Word | None = None


@dataclass
class Struct:
    """``struct name { declaration; ... }``."""

    name: Word
    fields: list[Declaration]


@dataclass
class Union:
    """``union name switch (discriminant) { case value: declaration; ... default: declaration; }``."""

    name: Word
    discriminant: Declaration
    cases: list[tuple[list[Word], Declaration]]
    default: Declaration | None


@dataclass
class Const:
    """``const name = value``."""

    name: Word
    value: Word


@dataclass
class Typedef:
    """``typedef declaration``."""

    declaration: Declaration


@dataclass
class Procedure:
    """``result name(arguments) = number``."""

    result: Declaration
    name: Word
    arguments: list[Declaration]
    number: Word


@dataclass
class Version:
    """``version name { procedures } = number``."""

    name: Word
    procedures: list[Procedure]
    number: Word


@dataclass
class Program:
    """``program name { versions } = number``."""

    name: Word
    versions: list[Version]
    number: Word


Definition = Enum | Struct | Union | Const | Typedef | Program
"""A definition at the top level of a file."""
