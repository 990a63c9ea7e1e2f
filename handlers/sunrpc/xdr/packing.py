"""`Packing` writes the function that packs a type: ``run(value, out)`` calls ``out`` with each part of the encoding."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .errors import Error
from .types import LARGEST, Arms, Array, Fixed, Many, Node, Opaque, Option, Record, Scalar, Void
from .writer import Writer, plain


def _buffer(value: object) -> bytes | memoryview:
    """The bytes of an object that is not ``bytes`` itself, without a copy."""
    return memoryview(value).cast("B")  # type: ignore[arg-type]


def _exactly(value: bytes, length: int) -> bytes:
    """``value`` as bytes. Raises `Error` unless it has this length."""
    if type(value) is not bytes:
        value = bytes(_buffer(value))
    if len(value) != length:
        raise Error(f"{len(value)} bytes of opaque data, not {length}")
    return value


def _counted(items: Any, length: int) -> Any:
    """``items``. Raises `Error` unless there are as many as ``length``."""
    if len(items) != length:
        raise Error(f"a list of {len(items)} items, not {length}")
    return items


FALSE = r"b'\0\0\0\0'"
"""The flag of optional data that is not there."""

HELPERS: dict[str, Any] = {
    "buffer": _buffer,
    "counted": _counted,
    "exactly": _exactly,
    "pack": struct.pack,
}


class Packing(Writer):
    """Writes one packing function. `flush` writes one call that packs all items in ``run``."""

    def source(self) -> str:
        self.names |= HELPERS
        if self.looping:
            with self.block("while True:"):
                self.tail(self.root, "value")
        else:
            self.value(self.root, "value")
            self.flush()
        return "\n".join(["def run(value, out):", *(self.lines or [" pass"])])

    def flush(self) -> None:
        if self.run:
            layout, expressions = self.fused()
            self.put(f"out({layout}.pack({expressions}))")

    def kept(self, expression: str) -> str:
        """A variable that has the value of the expression."""
        if expression.isidentifier():
            return expression
        name = self.variable()
        self.put(f"{name} = {expression}")
        return name

    def value(self, node: Node, expression: str) -> None:
        """Write what packs the value of the expression."""
        match node:
            case Scalar():
                self.run.append((node.format, self.through(node.dump, expression)))
            case Fixed():
                form = f"{node.length}s{-node.length % 4}x"
                self.run.append((form, f"exactly({expression}, {node.length})"))
            case Opaque():
                self.opaque(node, expression)
            case Many():
                items = self.kept(expression)
                self.length(f"len({items})", node.most)
                self.items(node.item, items)
            case Array():
                self.array(node, expression)
            case Option():
                self.option(node.item, expression)
            case Record():
                self.record(node, expression)
            case Void():
                self.void(expression)

    def void(self, expression: str) -> None:
        value = self.kept(expression)
        self.put(f"if {value} is not None: fail(f'{{type({value}).__name__}} is the value of what is void')")

    def opaque(self, node: Opaque, expression: str) -> None:
        data = self.variable()
        if node.text:
            self.put(f"{data} = {expression}.encode('utf-8', 'surrogateescape')")
        else:
            self.put(f"{data} = {expression}")
            self.put(f"if type({data}) is not bytes: {data} = buffer({data})")
        length = self.length(f"len({data})", node.most)
        self.flush()
        self.put(f"out({data})")
        self.put(f"if {length} & 3: out(PADS[{length} & 3])")

    def length(self, expression: str, most: int) -> str:
        """Write code that checks and packs a length. Returns the name of the variable with the length."""
        length = self.kept(expression)
        if most < LARGEST:
            self.put(f"if {length} > {most}: too_long({length}, {most})")
        self.run.append(("I", length))
        return length

    def array(self, node: Array, expression: str) -> None:
        items = self.kept(f"counted({expression}, {node.length})")
        if node.length <= 16 and isinstance(node.item, (Scalar, Fixed)):
            for index in range(node.length):
                self.value(node.item, f"{items}[{index}]")
        else:
            self.items(node.item, items)

    def items(self, item: Node, items: str) -> None:
        self.flush()
        if isinstance(item, Scalar) and plain(item):
            each = f"map({self.name('M', item.dump)}, {items})" if item.dump else items
            self.put(f"out(pack(f'>{{len({items})}}{item.format}', *{each}))")
            return
        one = self.variable()
        with self.block(f"for {one} in {items}:"):
            self.value(item, one)
            self.flush()

    def option(self, item: Node, expression: str) -> None:
        self.flush()
        value = self.kept(expression)
        self.put(f"if {value} is None: out({FALSE})")
        with self.block("else:"):
            self.run.append(("I", "1"))
            self.value(item, value)
            self.flush()

    def record(self, record: Record, expression: str) -> None:
        with self.inlined(record) as inline:
            if inline:
                self.fields(record, self.kept(expression), len(record.fields))
                return
        self.flush()
        self.put(f"{self.function(record)}({expression}, out)")

    def fields(self, record: Record, value: str, number: int) -> None:
        """Write code that packs the first ``number`` fields; ``value`` is the variable with the record."""
        for index, (name, _, node) in enumerate(record.fields[:number]):
            if isinstance(node, Arms):
                self.arms(record, index, value, self.value)
            else:
                self.value(node, f"{value}.{name}")

    def arms(self, record: Record, index: int, value: str, arm: Callable[[Node, str], None]) -> None:
        """Write code that packs the field at ``index``, whose type the discriminant before it selects."""
        self.flush()
        node = record.fields[index][2]
        assert isinstance(node, Arms)
        discriminant = self.kept(f"{value}.{record.fields[index - 1][0]}")
        selected = self.kept(f"{value}.{record.fields[index][0]}")
        self.branches(node, discriminant, lambda part: arm(part, selected))

    # A list that is linked by its last field

    def tail(self, node: Node, expression: str) -> None:
        """Write code for the last part of the value. If it has the root's type, the loop packs it: no call."""
        if node is self.root and self._open:
            self.flush()
            self.put(f"value = {expression}")
            self.put("continue")
            return
        if isinstance(node, Option):
            self.flush()
            value = self.kept(expression)
            with self.block(f"if {value} is None:"):
                self.put(f"out({FALSE})")
                self.put("return")
            self.run.append(("I", "1"))
            self.tail(node.item, value)
            return
        if isinstance(node, Record):
            with self.inlined(node, tail=True) as inline:
                if inline:
                    self.tail_of_record(node, self.kept(expression))
                    return
        self.value(node, expression)
        self.flush()
        self.put("return")

    def tail_of_record(self, record: Record, value: str) -> None:
        number = len(record.fields) - 1
        self.fields(record, value, number)
        name, _, node = record.fields[-1]
        if isinstance(node, Arms):
            self.arms(record, number, value, self.tail)
        else:
            self.tail(node, f"{value}.{name}")
