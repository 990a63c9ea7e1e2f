"""What the compilers of both directions share: lines of Python, the objects they name, and what becomes a function."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .errors import Error
from .types import Arms, Node, Record, Scalar

INLINED = 512
"""The fields of other records that one function reads or writes. What comes after them is left to functions of its own,
so that the code does not grow without bound."""

DEPTH = 8
"""How deep records are written inside of each other. Python's compiler has limits."""

PADS = (b"", b"\0\0\0", b"\0\0", b"\0")
"""The padding after opaque data, by the remainder of its length divided by four."""


class Writer:
    """One function: its lines, and the names that they use. ``run`` is what the next `struct` format does at once."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.looping = isinstance(root, Record) and root in root.ends
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"PADS": PADS, "fail": fail, "too_long": too_long}
        self.run: list[tuple[str, str]] = []
        self._depth = 1
        self._known: dict[tuple[str, object], str] = {}
        self._open: list[Record] = []
        self._inlined = self._variables = 0

    def put(self, line: str) -> None:
        """Write a line at the current depth."""
        self.lines.append(" " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write the head of a block; what is written inside is indented."""
        self.put(head)
        before = len(self.lines)
        self._depth += 1
        yield
        if len(self.lines) == before:
            self.put("pass")
        self._depth -= 1

    @contextmanager
    def apart(self) -> Iterator[list[str]]:
        """Write lines, as if inside of a block, into a list of their own."""
        lines, self.lines = self.lines, []
        self._depth += 1
        yield self.lines
        self._depth -= 1
        self.lines = lines

    def variable(self) -> str:
        """A new name of a local variable."""
        self._variables += 1
        return f"v{self._variables}"

    def name(self, letter: str, thing: object) -> str:
        """The global name of the object."""
        key = letter, thing
        if key not in self._known:
            self._known[key] = f"{letter}{len(self._known)}"
            self.names[self._known[key]] = thing
        return self._known[key]

    def through(self, check: Callable[[Any], Any] | None, expression: str) -> str:
        """The expression, passed through the function if there is one."""
        return f"{self.name('M', check)}({expression})" if check else expression

    def function(self, record: Record) -> str:
        """The name of the function for the record, which is made when it is first called."""
        name = f"F{id(record)}"
        if name not in self.names:
            self.names[name] = partial(_first_call, type(self), record, self.names, name)
        return name

    @contextmanager
    def inlined(self, record: Record, *, tail: bool = False) -> Iterator[bool]:
        """Whether the record is written here and not as a call of its own function.

        One that is recursive is only where it comes last (``tail``) and leads back to the root.
        """
        inline = not self._open and record is self.root
        if not inline and record not in self._open and len(self._open) < DEPTH:
            recursive = record in record.reached
            inline = not recursive or (tail and self.looping and self.root in record.reached)
            inline = inline and self._inlined + len(record.fields) <= INLINED
        self._inlined += inline and len(record.fields)
        self._open.append(record)
        yield inline
        self._open.pop()

    def branches(self, node: Arms, discriminant: str, arm: Callable[[Node], None]) -> None:
        """Write a branch for each arm."""
        word = "if"
        for values, part in node.arms:
            with self.block(f"{word} {discriminant} in {values}:"):
                arm(part)
                self.flush()
            word = "elif"
        with self.block("else:" if node.arms else "if True:"):
            if node.default:
                arm(node.default)
                self.flush()
            else:
                self.put(f"fail(f'a union has no arm for {{{discriminant}!r}}')")

    def source(self) -> str:
        """The function as text."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write what ``run`` holds."""
        raise NotImplementedError

    def fused(self) -> tuple[str, str]:
        """Take ``run``: the name of its `struct.Struct`, and its expressions."""
        layout = struct.Struct(">" + "".join(form for form, _ in self.run))
        expressions = ", ".join(expression for _, expression in self.run)
        self.run = []
        return self.name("S", layout), expressions


def compiled(direction: type[Writer], node: Node) -> Callable[..., Any]:
    """The function that reads or writes the node; for a record it is made once."""
    functions = node.functions if isinstance(node, Record) else {}
    if direction not in functions:
        writer = direction(node)
        source = writer.source()
        exec(source, writer.names)
        functions[direction] = writer.names["run"]
    return functions[direction]


def _first_call(direction: type[Writer], record: Record, names: dict[str, Any], name: str, *arguments: Any) -> Any:
    """Make the function, put it in the place of this one, and call it."""
    names[name] = compiled(direction, record)
    return names[name](*arguments)


def plain(node: Node) -> bool:
    """Whether `struct` reads and writes any number of it with a count before the format."""
    return isinstance(node, Scalar) and len(node.format) == 1


def fail(message: str) -> None:
    """What a function calls where the data or the value is wrong."""
    raise Error(message)


def too_long(length: int, most: int) -> None:
    """What a function calls where a length is above the declared maximum."""
    raise Error(f"a length is {length}, the declared maximum is {most}")
