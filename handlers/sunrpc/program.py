"""`Program`, `Version` and `Procedure` (RFC 5531, section 12): base classes of the classes that `language` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple


class Procedure(NamedTuple):
    """A procedure: its number, the name of its method, and the XDR types of its arguments and of its result."""

    number: int
    name: str
    arguments: tuple[object, ...]
    result: object


class Version:
    """A version of a program: it has a method for each procedure. Derive from it and define the methods to serve."""

    program: ClassVar[int]
    """The number of the program."""
    version: ClassVar[int]
    """The number of the version."""
    procedures: ClassVar[Mapping[int, Procedure]]
    """The procedures by their number."""


class Program:
    """A program: its versions, each of which is a `Version`."""

    program: ClassVar[int]
    """The number of the program."""
    versions: ClassVar[Mapping[int, type[Version]]]
    """The versions by their number."""
