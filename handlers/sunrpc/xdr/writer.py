"""`Writer`: what `packing` and `unpacking` share. A writer writes the source of one function; `compiled` compiles it.

A function packs or unpacks one type. It refers to objects, such as a `struct.Struct`, by global names (`Writer.names`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .errors import Error
from .types import Arms, Node, Record, Scalar

INLINED = 512
"""Fields of inner records that one function may read or write itself. It calls other functions for further records, so
that the source stays small."""

DEPTH = 8
"""Depth of records inside each other that one function may read or write itself: Python limits the depth of blocks."""

PADS = (b"", b"\0\0\0", b"\0\0", b"\0")
"""The padding after opaque data, by the remainder of its length divided by four."""


class Writer:
    """The source of one function: its lines, and the objects that they name.

    ``run`` has the consecutive items (format and expression) that one `struct.Struct` will pack or unpack together.
    """

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
        """Write lines into a separate list, indented as in a block."""
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
        """The expression, or a call of ``check`` with the expression."""
        return f"{self.name('M', check)}({expression})" if check else expression

    def function(self, record: Record) -> str:
        """The global name of the record's own function, which is compiled when it is first called."""
        name = f"F{id(record)}"
        if name not in self.names:
            self.names[name] = partial(_first_call, type(self), record, self.names, name)
        return name

    @contextmanager
    def inlined(self, record: Record, *, tail: bool = False) -> Iterator[bool]:
        """Yields whether the record is to be written here, inline, and not as a call of its own function.

        A recursive record is written inline only if it comes last (``tail``) and reaches the root again.
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
        """Write the code for the items in ``run``, and empty it."""
        raise NotImplementedError

    def fused(self) -> tuple[str, str]:
        """Empty ``run``. Returns the name of the `struct.Struct` for its items, and their expressions."""
        layout = struct.Struct(">" + "".join(form for form, _ in self.run))
        expressions = ", ".join(expression for _, expression in self.run)
        self.run = []
        return self.name("S", layout), expressions


def compiled(direction: type[Writer], node: Node) -> Callable[..., Any]:
    """The function that packs or unpacks the node, compiled now; for a record it is compiled once."""
    functions = node.functions if isinstance(node, Record) else {}
    if direction not in functions:
        writer = direction(node)
        source = writer.source()
        exec(source, writer.names)
        functions[direction] = writer.names["run"]
    return functions[direction]


def _first_call(direction: type[Writer], record: Record, names: dict[str, Any], name: str, *arguments: Any) -> Any:
    """Compile the function of ``record``, put it under its global name instead of this one, and call it."""
    names[name] = compiled(direction, record)
    return names[name](*arguments)


def plain(node: Node) -> bool:
    """Whether one `struct` format with a count, such as ``5i``, packs a list of this type."""
    return isinstance(node, Scalar) and len(node.format) == 1


def fail(message: str) -> None:
    """Called by the compiled functions when the data or the value is wrong."""
    raise Error(message)


def too_long(length: int, most: int) -> None:
    """Called by the compiled functions when a length is above the declared maximum."""
    raise Error(f"a length is {length}, the declared maximum is {most}")
