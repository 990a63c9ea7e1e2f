"""Writes the function that unpacks a type: ``run(data, at, size)`` returns the value and where it ends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Any

from .errors import Error
from .types import LARGEST, Arms, Array, Fixed, Many, Node, Opaque, Option, Record, Scalar, Void, flag
from .writer import Writer, plain

Wrap = Callable[[str], str]
"""Makes the expression of the whole value from that of its last part."""

HELPERS: dict[str, Any] = {
    "flag": flag,
    "iter_unpack": struct.iter_unpack,
    "put": object.__setattr__,
    "repeat": repeat,
    "text": lambda data: str(data, "utf-8", "surrogateescape"),
    "unpack_from": struct.unpack_from,
}


def _filled(data: bytes, pad: bytes) -> bytes:
    """The data, if what follows it is padding."""
    if pad.strip(b"\0"):
        raise Error("the padding of fixed-length opaque data is not zero")
    return data


def too_short(length: int, left: int) -> None:
    """A length in the data is above what the data has left."""
    raise Error(f"a length is {length}, and {max(left, 0)} bytes are left")


def bad_padding(place: int) -> None:
    """Padding is not zero."""
    raise Error(f"the padding at byte {place} is not zero")


HELPERS |= {"filled": _filled, "too_short": too_short, "bad_padding": bad_padding}


class Unpacking(Writer):
    """Writes one function. Expressions name what has been read, or is going to be by the next `flush`."""

    def source(self) -> str:
        self.names |= HELPERS
        if self.looping:
            self.put("first = hole = None")
            with self.block("while True:"):
                self.tail(self.root, lambda expression: expression, ())
        else:
            self.give(self.root)
        return "\n".join(["def run(data, at, size):", *self.lines])

    def give(self, node: Node) -> None:
        expression = self.value(node)
        self.flush()
        self.put(f"return {expression}, at")

    def read(self, form: str) -> str:
        """The variable that the item will be in."""
        name = self.variable()
        self.run.append((form, name))
        return name

    def flush(self) -> None:
        if self.run:
            layout, names = self.fused()
            self.put(f"{names}, = {layout}.unpack_from(data, at)")
            self.put(f"at += {self.names[layout].size}")

    def kept(self, expression: str) -> str:
        """A variable that has the value of the expression."""
        self.flush()
        if expression.isidentifier():
            return expression
        name = self.variable()
        self.put(f"{name} = {expression}")
        return name

    def value(self, node: Node) -> str:
        """The expression of a value."""
        match node:
            case Scalar():
                return self.through(node.load, self.read(node.format))
            case Fixed():
                return self.fixed(node.length)
            case Opaque():
                return self.opaque(node)
            case Many():
                return self.items(node.item, self.count(node))
            case Array():
                return self.array(node)
            case Option():
                return self.option(node.item)
            case Record():
                return self.record(node)
        assert isinstance(node, Void)
        return "None"

    def fixed(self, length: int) -> str:
        data = self.read(f"{length}s")
        return f"filled({data}, {self.read(f'{-length % 4}s')})" if length % 4 else data

    def opaque(self, node: Opaque) -> str:
        length, end, following, data = self.read("I"), self.variable(), self.variable(), self.variable()
        self.flush()
        if node.most < LARGEST:
            self.put(f"if {length} > {node.most}: too_long({length}, {node.most})")
        self.put(f"{end} = at + {length}")
        self.put(f"{following} = {end} + (-{length} & 3)")
        self.put(f"if {following} > size: too_short({length}, size - at)")
        self.put(f"{data} = data[at:{end}]")
        self.put(f"if {end} != {following} and data[{end}:{following}] != PADS[{length} & 3]: bad_padding({end})")
        self.put(f"at = {following}")
        return f"text({data})" if node.text else data

    def count(self, node: Many) -> str:
        """The number of items of a list, after it has been checked."""
        count = self.read("I")
        self.flush()
        least = node.item.least
        if node.most < LARGEST:
            self.put(f"if {count} > {node.most}: too_long({count}, {node.most})")
        self.put(f"if {count} * {least} > size - at: too_short({count}, size - at)")
        return count

    def array(self, node: Array) -> str:
        if node.length <= 16 and isinstance(node.item, (Scalar, Fixed)):  # a part of the next format
            return f"[{', '.join([self.value(node.item) for _ in range(node.length)])}]"
        self.flush()
        self.put(f"if {node.least} > size - at: too_short({node.least}, size - at)")
        return self.items(node.item, str(node.length))

    def items(self, item: Node, count: str) -> str:
        """A list of this many items, which the data is long enough for."""
        if isinstance(item, Scalar) and plain(item):
            end = self.kept(f"at + {count} * {item.size}")
            items = self.kept(f"unpack_from(f'>{{{count}}}{item.format}', data, at)")
            self.put(f"at = {end}")
            return self.kept(f"list(map({self.name('M', item.load)}, {items}))" if item.load else f"list({items})")
        with self.apart() as inner:
            expression = self.value(item)
            fixed = not inner and bool(self.run) and item.least > 0
            if not fixed:
                self.flush()
        if fixed:
            return self.fixed_items(expression, count)
        items = self.kept("[]")
        with self.block(f"for _ in repeat(None, {count}):"):
            self.lines += inner
            self.put(f"{items}.append({expression})")
        return items

    def fixed_items(self, expression: str, count: str) -> str:
        layout, names = self.fused()
        end = self.kept(f"at + {count} * {self.names[layout].size}")
        items = self.kept(f"[{expression} for {names}, in {layout}.iter_unpack(memoryview(data)[at:{end}])]")
        self.put(f"at = {end}")
        return items

    def option(self, item: Node) -> str:
        present, value = self.read("i"), self.variable()
        self.flush()
        with self.block(f"if flag({present}):"):
            expression = self.value(item)
            self.flush()
            self.put(f"{value} = {expression}")
        self.put(f"else: {value} = None")
        return value

    def record(self, record: Record) -> str:
        with self.inlined(record) as inline:
            if inline:
                return self.built(record, self.fields(record, len(record.fields)))
        self.flush()
        value = self.variable()
        self.put(f"{value}, at = {self.function(record)}(data, at, size)")
        return value

    def built(self, record: Record, expressions: list[str]) -> str:
        """The call of the constructor."""
        given = zip(record.fields, expressions, strict=True)
        arguments = [f"{name}={value}" if keyword else value for (name, keyword, _), value in given]
        return f"{self.name('C', record.kind)}({', '.join(arguments)})"

    def fields(self, record: Record, number: int) -> list[str]:
        """The expressions of so many fields."""
        found: list[str] = []
        for index, (_, _, node) in enumerate(record.fields[:number]):
            if isinstance(node, Arms):
                found.append(self.arms(node, found[-1]))
            elif isinstance(record.fields[min(index + 1, len(record.fields) - 1)][2], Arms):
                found.append(self.kept(self.value(node)))  # the discriminant, in a variable
            else:
                found.append(self.value(node))
        return found

    def arms(self, node: Arms, discriminant: str) -> str:
        value = self.variable()

        def arm(part: Node) -> None:
            expression = self.value(part)
            self.flush()
            self.put(f"{value} = {expression}")

        self.flush()
        self.branches(node, discriminant, arm)
        return value

    # A list that is linked by its last field

    def tail(self, node: Node, wrap: Wrap, path: tuple[str, ...]) -> None:
        """Write what comes last in the value. After its root comes again, the loop goes on and nothing is called.

        ``path`` is where it is in the value: the value is made with None in this place, and the next one is put there.
        """
        if node is self.root and path:
            self.link(wrap("None"))
            self.put("if hole is None: first = made")
            self.put("else: put(hole, slot, made)")
            self.put(f"hole, slot = made{''.join(f'.{name}' for name in path[:-1])}, {path[-1]!r}")
            self.put("continue")
        elif isinstance(node, Record):
            with self.inlined(node, tail=True) as inline:
                if inline:
                    self.tail_of_record(node, wrap, path)
                    return
            self.ended(wrap(self.value(node)))
        elif isinstance(node, Option):
            present = self.read("i")
            self.flush()
            with self.block(f"if not flag({present}):"):
                self.ended(wrap("None"))
            self.tail(node.item, wrap, path)
        else:
            self.ended(wrap(self.value(node)))

    def tail_of_record(self, record: Record, wrap: Wrap, path: tuple[str, ...]) -> None:
        before = self.fields(record, len(record.fields) - 1)
        name, _, node = record.fields[-1]

        def wrapped(expression: str) -> str:
            return wrap(self.built(record, [*before, expression]))

        if isinstance(node, Arms):
            self.flush()
            self.branches(node, before[-1], lambda part: self.tail(part, wrapped, (*path, name)))
        else:
            self.tail(node, wrapped, (*path, name))

    def link(self, expression: str) -> None:
        self.flush()
        self.put(f"made = {expression}")

    def ended(self, expression: str) -> None:
        self.link(expression)
        self.put("if hole is None: return made, at")
        self.put("put(hole, slot, made)")
        self.put("return first, at")
