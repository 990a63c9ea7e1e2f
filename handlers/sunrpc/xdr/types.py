"""The annotations of XDR types, and `describe`, which makes nodes of an annotation. Codecs are compiled from nodes."""

from __future__ import annotations

import dataclasses
import math
import struct
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from .errors import Error
from .quadruple import pack_quadruple, unpack_quadruple

LARGEST = 0xFFFFFFFF
"""The largest length that XDR can encode; the maximum of a type that declares none."""

FEW = 0xFFFF
"""The largest maximum of a list whose items may have no bytes: the size of the data does not limit such a list."""

# Nodes


class Node:
    """A type as XDR sees it."""

    @property
    def least(self) -> float:
        """The number of bytes of the smallest encoding; infinite if no encoding ends."""
        return self.measure({})

    def measure(self, sizes: Mapping[Record, float]) -> float:
        """`least`, computed with these sizes of records; ``Record.least`` finds them step by step."""
        return 0

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes of its parts."""
        return ()

    @property
    def last(self) -> tuple[Node, ...]:
        """The parts that may be the last of the encoding: after them there is nothing to pack or unpack."""
        return self.parts


@dataclass(frozen=True)
class Scalar(Node):
    """A type of a fixed size that `struct` packs. ``load`` and ``dump``, if given, check or convert the value."""

    format: str
    size: int
    load: Callable[[Any], Any] | None = None
    dump: Callable[[Any], Any] | None = None

    def measure(self, sizes: Mapping[Record, float]) -> float:
        return self.size


@dataclass(frozen=True)
class Fixed(Node):
    """Fixed-length opaque data."""

    length: int

    def measure(self, sizes: Mapping[Record, float]) -> float:
        return self.length + -self.length % 4


class Prefixed(Node):
    """A type whose encoding begins with a length or a flag of four bytes, and may end there."""

    def measure(self, sizes: Mapping[Record, float]) -> float:
        return 4


@dataclass(frozen=True)
class Opaque(Prefixed):
    """Variable-length opaque data, or a string."""

    most: int
    text: bool


@dataclass(frozen=True)
class Array(Node):
    """A fixed-length array."""

    item: Node
    length: int
    last = ()

    def measure(self, sizes: Mapping[Record, float]) -> float:
        return self.length and self.length * self.item.measure(sizes)

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.item,)


@dataclass(frozen=True)
class Many(Prefixed):
    """A variable-length array."""

    item: Node
    most: int
    last = ()

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.item,)


@dataclass(frozen=True)
class Option(Prefixed):
    """Optional data."""

    item: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.item,)


class Void(Node):
    """The type void, which has no bytes; its value is ``None``."""


@dataclass(frozen=True)
class Arms(Node):
    """The field behind the discriminant of a union: the discriminants and the type of each arm, and the default arm."""

    arms: tuple[tuple[tuple[int, ...], Node], ...]
    default: Node | None

    def measure(self, sizes: Mapping[Record, float]) -> float:
        return min(arm.measure(sizes) for arm in self.parts)

    @property
    def parts(self) -> tuple[Node, ...]:
        return (*(arm for _, arm in self.arms), *([self.default] if self.default else []))


class Record(Node):
    """A struct or a union: a dataclass. Its fields are read on first use, because a type may be recursive."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.functions: dict[object, Callable[..., Any]] = {}
        """The compiled functions, by the class that has written them (`Packing` or `Unpacking`)."""

    @cached_property
    def fields(self) -> tuple[tuple[str, bool, Node], ...]:
        """Each field's name, whether it is passed by keyword, and its type."""
        hints = typing.get_type_hints(self.kind, localns={self.kind.__name__: self.kind}, include_extras=True)
        found: list[tuple[str, bool, Node]] = []
        for field in dataclasses.fields(self.kind):
            if not field.init:
                raise TypeError(f"{self.kind.__name__}.{field.name} is no parameter of the constructor")
            try:
                node = _described(hints[field.name], found[-1][2] if found else None)
            except TypeError as error:
                raise TypeError(f"{self.kind.__name__}.{field.name}: {error}") from None
            found.append((field.name, field.kw_only is True, node))
        return tuple(found)

    @cached_property
    def least(self) -> float:
        group = [self, *(part for part in self.reached if isinstance(part, Record) and "least" not in vars(part))]
        sizes: dict[Record, float] = dict.fromkeys(group, math.inf)
        before = None
        while sizes != before:  # at first no record has an end, then those of other types, then those of these
            before = dict(sizes)
            for part in group:
                sizes[part] = sum(node.measure(sizes) for node in part.parts)
        for part, size in sizes.items():
            vars(part)["least"] = size
        return sizes[self]

    def measure(self, sizes: Mapping[Record, float]) -> float:
        found = sizes.get(self)
        return self.least if found is None else found

    @property
    def parts(self) -> tuple[Node, ...]:
        return tuple(node for _, _, node in self.fields)

    @property
    def last(self) -> tuple[Node, ...]:
        return self.parts[-1:]

    @cached_property
    def reached(self) -> set[Node]:
        """All nodes inside this record, at any depth; the record is among them if it is recursive."""
        return _reached(self, lambda node: node.parts)

    @cached_property
    def ends(self) -> set[Node]:
        """All nodes, at any depth, that may be the last part of this record."""
        return _reached(self, lambda node: node.last)


def _reached(node: Node, step: Callable[[Node], tuple[Node, ...]]) -> set[Node]:
    found: set[Node] = set()
    waiting = [*step(node)]
    while waiting:
        if (part := waiting.pop()) not in found:
            found.add(part)
            waiting += step(part)
    return found


# Metadata of annotations


@dataclass(frozen=True)
class AtMost:
    """The declared maximum of opaque data or of a string in bytes, or of a list in items."""

    most: int

    def __post_init__(self) -> None:
        _length(self.most)


@dataclass(frozen=True)
class Length:
    """The length of fixed-length opaque data in bytes, or of a fixed-length list in items."""

    length: int

    def __post_init__(self) -> None:
        _length(self.length)


def _length(number: int) -> None:
    if not 0 <= number <= LARGEST:
        raise TypeError(f"{number} is no length")


_REFUSED = object()


class Switch:
    """The arms of a union: the type of the annotated field for each value of the field before it, the discriminant.

    ``None`` is the type of a void arm. A discriminant that has no arm is an error, unless there is a ``default``.

    >>> class Result:
    ...     status: Status
    ...     value: Annotated[bytes | None, Switch({Status.OK: bytes}, default=None)]
    """

    def __init__(self, arms: Mapping[int, object], default: object = _REFUSED) -> None:
        self.arms = dict(arms)
        self.default = default


class Declared(dict[int, Any]):
    """The values that a bool, an enum or the flag of optional data may have. Any other value raises `Error`."""

    def __init__(self, name: str, values: dict[int, Any]) -> None:
        super().__init__(values)
        self.name = name

    def __missing__(self, value: object) -> Any:
        raise Error(f"{value!r} is no value of {self.name}")


def _between(least: int, most: int, name: str) -> Scalar:
    """An integer of four bytes that uses only a part of their range."""

    def check(value: int) -> int:
        if not least <= value <= most:
            raise Error(f"{value!r} is no value of {name}")
        return value

    return Scalar("i", 4, check, check)


Int: TypeAlias = Annotated[int, Scalar("i", 4)]
UInt: TypeAlias = Annotated[int, Scalar("I", 4)]
Hyper: TypeAlias = Annotated[int, Scalar("q", 8)]
UHyper: TypeAlias = Annotated[int, Scalar("Q", 8)]
Short: TypeAlias = Annotated[int, _between(-0x8000, 0x7FFF, "short")]
UShort: TypeAlias = Annotated[int, _between(0, 0xFFFF, "unsigned short")]
Char: TypeAlias = Annotated[int, _between(-0x80, 0x7F, "char")]
UChar: TypeAlias = Annotated[int, _between(0, 0xFF, "unsigned char")]
Float: TypeAlias = Annotated[float, Scalar("f", 4)]
Double: TypeAlias = Annotated[float, Scalar("d", 8)]
Quadruple: TypeAlias = Annotated[Decimal, Scalar("16s", 16, unpack_quadruple, pack_quadruple)]

flag = Declared("bool", {0: False, 1: True}).__getitem__
_BOOL = Scalar("i", 4, flag, flag)
_VOID = Void()


def describe(kind: object) -> Node:
    """The node of an annotation. Raises `TypeError` if the annotation is not an XDR type."""
    node = _described(kind, None)
    for part in _reached(node, lambda part: part.parts) | {node}:
        if isinstance(part, Record) and part.least == math.inf:
            raise TypeError(f"{part.kind.__name__} contains itself, so it has no end")
        if isinstance(part, Many) and not part.item.least and part.most > FEW:
            raise TypeError(f"a list of items of no size needs a declared maximum, of {FEW} at the most")
    return node


def _described(kind: object, before: Node | None) -> Node:
    """The node of an annotation; ``before`` is the node of the field before it, if any."""
    marks: tuple[Any, ...] = ()
    if typing.get_origin(kind) is Annotated:
        kind, *rest = typing.get_args(kind)
        marks = tuple(mark for mark in rest if isinstance(mark, (Scalar, AtMost, Length, Switch)))
        marks = tuple(mark for mark in marks if isinstance(mark, Switch)) or marks
        if len(marks) > 1:
            raise TypeError(f"{marks[0]} and {marks[1]} are declared")
    mark = marks[0] if marks else None
    if isinstance(mark, Scalar):
        return mark
    if isinstance(mark, Switch):
        return _arms(mark, before)
    if mark is None and (simple := _simple(kind)):
        return simple
    node = _sized(kind, mark)
    if node is None:
        raise TypeError(f"{kind!r} is no XDR type")
    return node


def _simple(kind: object) -> Node | None:
    """The node of a type that has no declared length; ``None`` for other types."""
    if kind is None or kind is types.NoneType:
        return _VOID
    if kind is bool:
        return _BOOL
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        items = [item for item in typing.get_args(kind) if item is not types.NoneType]
        return Option(_item(items[0])) if len(items) == 1 else None
    if isinstance(kind, type):
        if issubclass(kind, IntEnum):
            return _kept(kind, _enumeration)
        if dataclasses.is_dataclass(kind):
            return _kept(kind, Record)
    return None


def _item(kind: object) -> Node:
    """The node of a list's item, of optional data, or of an arm."""
    return _described(kind, None)


def _sized(kind: object, mark: AtMost | Length | None) -> Node | None:
    """The node of opaque data, a string or a list, with its length or maximum; ``None`` for other types."""
    most = mark.most if isinstance(mark, AtMost) else LARGEST
    if kind is bytes:
        return Fixed(mark.length) if isinstance(mark, Length) else Opaque(most, False)
    if kind is str and not isinstance(mark, Length):
        return Opaque(most, True)
    if typing.get_origin(kind) is list:
        item = _item(typing.get_args(kind)[0])
        return Array(item, mark.length) if isinstance(mark, Length) else Many(item, most)
    return None


def _enumeration(kind: type[Any]) -> Node:
    declared = Declared(kind.__name__, {int(member): member for member in kind})
    if not all(-0x80000000 <= value <= 0x7FFFFFFF for value in declared):
        raise TypeError(f"{kind.__name__} has a value outside of the range of an int")
    return Scalar("i", 4, declared.__getitem__, declared.__getitem__)


def _kept(kind: type[Any], make: Callable[[type[Any]], Node]) -> Node:
    """The node of a class, stored in the class: made once, so that a recursive type refers to itself."""
    if "_xdr_node" not in vars(kind):
        kind._xdr_node = make(kind)
    node: Node = vars(kind)["_xdr_node"]
    return node


def _arms(switch: Switch, before: Node | None) -> Node:
    if not (isinstance(before, Scalar) and before.format in "iI"):
        raise TypeError("a Switch follows a field that is an integer of four bytes, a bool or an enum")
    grouped: dict[Node, tuple[list[int], Node]] = {}
    for value, kind in switch.arms.items():
        try:
            struct.pack(before.format, before.dump(value) if before.dump else value)
        except (Error, struct.error) as error:
            raise TypeError(f"no arm can be for {value!r}: {error}") from None
        node = _item(kind)
        grouped.setdefault(node, ([], node))[0].append(int(value))
    default = None if switch.default is _REFUSED else _item(switch.default)
    if not grouped and default is None:
        raise TypeError("a Switch has no arm")
    return Arms(tuple((tuple(values), node) for values, node in grouped.values()), default)
