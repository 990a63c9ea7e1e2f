"""`Names`: the Python names for the names of a file. Keywords and names that the written module uses are changed."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from enum import IntEnum

from ..calling import Calls
from ..client import VersionClient
from ..program import Version

MODULE = {
    "Annotated", "Calls", "IntEnum", "Made", "None", "NotImplementedError", "Procedure", "Program", "Reply",
    "TypeAlias", "Version", "VersionClient", "annotations", "bool", "bytes", "dataclass", "declared", "list",
    "procedures", "program", "result", "self", "str", "version", "versions", "xdr",
}  # fmt: skip
"""Names that the written module uses."""

FIELD = {"Annotated", "bool", "bytes", "list", "str", "xdr"}
"""Names that annotations of fields use: no field may have one of them."""

MEMBER = {*dir(IntEnum), *dir(int), "mro", "name", "value"}
"""Attributes that every ``IntEnum`` has."""

METHOD = {
    *FIELD, *dir(Version), *Version.__annotations__, *dir(VersionClient), *dir(Calls), "Made", "NotImplementedError",
    "Reply", "caller", "client", "credential", "declared", "result",
}  # fmt: skip
"""What the class of a version, and those of its clients, have already, and use."""


class Names:
    """Names in one namespace. A name that is taken or reserved, or has two underscores in front, is changed."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = {*reserved}
        self._given: dict[str, str] = {}
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """The Python name for ``name``."""
        if name not in self._given:
            self._given[name] = self.new(name)
        return self._given[name]

    def new(self, name: str) -> str:
        """Reserve ``name``, or a similar name if it is taken, and return it."""
        self._asked.add(str(name))
        found = "_" + name.lstrip("_") if name.startswith("__") else name
        while found in self._taken or keyword.iskeyword(found):
            found += "_"
        self._taken.add(found)
        return found

    def __contains__(self, name: str) -> bool:
        """Whether the name has been asked for."""
        return name in self._asked
