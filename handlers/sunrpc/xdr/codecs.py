"""`Codec`: packs and unpacks the values of one type. Its two functions are compiled when each is first used."""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any, Generic, TypeVar, get_origin, overload

from .errors import Error
from .packing import Packing
from .types import Arms, Array, Many, Node, Option, Record, Void, describe
from .unpacking import Unpacking
from .writer import compiled

T = TypeVar("T")
Data = bytes | bytearray | memoryview

WRONG = (Error, AttributeError, OverflowError, TypeError, UnicodeError, struct.error)
"""The exceptions that the packing function raises for a wrong value; `Codec.parts` makes each an `Error`."""


class Codec(Generic[T]):
    """Packs and unpacks the values of one type. `codec` makes one; any thread may use it."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self._node = node

    def __repr__(self) -> str:
        return f"<Codec of {self.name}>"

    @cached_property
    def _pack(self) -> Callable[[T, Callable[[Any], None]], None]:
        return compiled(Packing, self._node)

    @cached_property
    def _unpack(self) -> Callable[[Any, int, int], tuple[T, int]]:
        return compiled(Unpacking, self._node)

    def pack(self, value: T) -> bytes:
        """The encoding of the value. A value that the type does not have is an `Error`."""
        return b"".join(self.parts(value))

    def parts(self, value: T) -> list[bytes | memoryview]:
        """The encoding of the value in parts, for ``socket.sendmsg``; opaque data among them is not copied."""
        found: list[bytes | memoryview] = []
        try:
            self._pack(value, found.append)
        except RecursionError:
            raise Error(f"{self.name}: nested too deeply") from None
        except WRONG as error:
            cause = None if isinstance(error, Error) else error
            raise Error(f"{self.name}{_place(self._node, value)}: {error}") from cause
        return found

    def unpack(self, data: Data) -> T:
        """The value whose encoding is ``data``. Raises `Error` if ``data`` is not exactly one encoding."""
        value, end = self.unpack_from(data)
        if end != len(data):
            raise Error(f"{self.name}: {len(data) - end} bytes follow the value")
        return value

    def unpack_from(self, data: Data, offset: int = 0) -> tuple[T, int]:
        """The value whose encoding begins at this offset in bytes, and the offset of what follows it."""
        if type(data) is not bytes:
            data = bytes(data) if isinstance(data, bytearray) else memoryview(data).cast("B")
        if not 0 <= offset <= len(data):
            raise Error(f"{self.name}: offset {offset} in {len(data)} bytes")
        try:
            return self._unpack(data, offset, len(data))
        except Error as error:
            raise Error(f"{self.name}: {error}") from None
        except RecursionError:
            raise Error(f"{self.name}: nested too deeply") from None
        except struct.error:
            raise Error(f"{self.name}: the data ends before the value, after {len(data) - offset} bytes") from None


class TupleCodec(Codec[tuple[Any, ...]]):
    """Packs any tuple; ``node`` is the record of a named tuple, which is what it unpacks."""

    @cached_property
    def _pack(self) -> Callable[[tuple[Any, ...], Callable[[Any], None]], None]:
        pack, kind = compiled(Packing, self._node), self._node.kind  # type: ignore[attr-defined]
        return lambda value, put: pack(kind(*value), put)


def _place(node: Node, value: Any, depth: int = 8) -> str:
    """The path to the part of ``value`` that cannot be packed, in Python's notation: ``.entries[3].name``."""
    if isinstance(node, Option):
        return _place(node.item, value, depth)
    if isinstance(node, (Array, Many)):
        inner = [(f"[{index}]", node.item, item) for index, item in enumerate(value)] if isinstance(value, list) else []
    elif isinstance(node, Record) and isinstance(value, node.kind):
        inner = [(f".{name}", *_arm(node, index, value)) for index, (name, _, _) in enumerate(node.fields)]
    else:
        return ""
    for name, part, item in inner if depth else []:
        if not _is_packed(part, item):
            return name + _place(part, item, depth - 1)
    return ""


def _is_packed(node: Node, value: Any) -> bool:
    try:
        compiled(Packing, node)(value, bytes)
    except (*WRONG, RecursionError):
        return False
    return True


def _arm(record: Record, index: int, value: Any) -> tuple[Node, Any]:
    """The type and the value of a field. For the field behind a discriminant, the type is that of the selected arm."""
    name, _, node = record.fields[index]
    if isinstance(node, Arms):
        which = getattr(value, record.fields[index - 1][0])
        node = next((arm for values, arm in node.arms if which in values), node.default or Void())
    return node, getattr(value, name)


@overload
def codec(kind: type[T]) -> Codec[T]: ...
@overload
def codec(kind: object) -> Codec[Any]: ...
def codec(kind: object) -> Codec[Any]:
    """The codec of a type, which is made once. An annotation that is no XDR type is a TypeError.

    >>> codec(list[bool]).pack([True, False]).hex(" ", 4)
    '00000002 00000001 00000000'
    """
    if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, IntEnum)):
        if "_xdr_codec" not in vars(kind):  # in the class, so that both are collected together
            kind._xdr_codec = _made.__wrapped__(kind)  # type: ignore[union-attr]
        found: Codec[Any] = vars(kind)["_xdr_codec"]
        return found
    try:
        hash(kind)
    except TypeError:  # an annotation has metadata of another library that can't be hashed
        return _made.__wrapped__(kind)
    return _made(kind)


def codec_of(kinds: tuple[object, ...]) -> Codec[tuple[Any, ...]]:
    """The codec of tuples: values one after the other, such as the arguments of a procedure.

    >>> codec_of((bool, str)).unpack(codec_of((bool, str)).pack((True, "")))
    Values(_0=True, _1='')
    """
    names = [f"_{index}" for index in range(len(kinds))]
    record = Record(namedtuple("Values", names, rename=True))
    fields = zip(names, map(describe, kinds), strict=True)
    vars(record)["fields"] = tuple((name, False, node) for name, node in fields)
    return TupleCodec(", ".join(map(name_of, kinds)), record)


@lru_cache(256)
def _made(kind: object) -> Codec[Any]:
    return Codec(name_of(kind), describe(kind))


def name_of(kind: Any) -> str:
    """The name of a type in messages; for an annotated type that of the type itself.

    >>> name_of(Annotated[int, "annotation"])
    'int'
    """
    bare = kind.__origin__ if get_origin(kind) is Annotated else kind
    return getattr(bare, "__name__", repr(bare))


@overload
def pack(kind: type[T], value: T) -> bytes: ...
@overload
def pack(kind: object, value: Any) -> bytes: ...
def pack(kind: object, value: Any) -> bytes:
    """The encoding of the value as this type: `Codec.pack`."""
    return codec(kind).pack(value)


@overload
def unpack(kind: type[T], data: Data) -> T: ...
@overload
def unpack(kind: object, data: Data) -> Any: ...
def unpack(kind: object, data: Data) -> Any:
    """The value of this type that the whole of the data encodes: `Codec.unpack`."""
    return codec(kind).unpack(data)
