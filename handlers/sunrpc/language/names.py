"""The names that Python gets: those of the file, but for what Python or the written module needs itself."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from enum import IntEnum

from ..program import Version

MODULE = {
    "Annotated", "IntEnum", "None", "Procedure", "Program", "TypeAlias", "Version", "annotations", "bool", "bytes",
    "dataclass", "list", "procedures", "program", "str", "version", "versions", "xdr", "NotImplementedError", "self",
}  # fmt: skip
"""What the written module uses."""

FIELD = {"Annotated", "bool", "bytes", "list", "str", "xdr"}
"""What annotations of fields use, so that no field may have this name."""

MEMBER = {*dir(IntEnum), *dir(int), "mro", "name", "value"}
"""What an enum has already."""

METHOD = {*FIELD, *dir(Version), *Version.__annotations__, "NotImplementedError"}
"""What the class of a version has already, and uses."""


class Names:
    """Names in one namespace. A name that is taken or reserved, or has two underscores in front, is changed."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = {*reserved}
        self._given: dict[str, str] = {}
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """The name that Python has for this one."""
        if name not in self._given:
            self._given[name] = self.new(name)
        return self._given[name]

    def new(self, name: str) -> str:
        """Take the name, or one like it that is free."""
        self._asked.add(str(name))
        found = "_" + name.lstrip("_") if name.startswith("__") else name
        while found in self._taken or keyword.iskeyword(found):
            found += "_"
        self._taken.add(found)
        return found

    def __contains__(self, name: str) -> bool:
        """Whether the name has been asked for."""
        return name in self._asked
