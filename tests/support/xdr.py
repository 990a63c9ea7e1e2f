"""XDR types made by Hypothesis, and a second implementation of RFC 4506 that knows nothing of codecs."""

from __future__ import annotations

import dataclasses
import enum
import functools
import struct
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from handlers.sunrpc import xdr

_serial = count()


@dataclass
class Sample:
    """A type, values of it, and how they are written."""

    kind: Any
    values: st.SearchStrategy[Any]
    encode: Callable[[Any], bytes]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def number(kind: Any, form: str, least: int, most: int) -> Sample:
    return Sample(kind, st.integers(least, most), lambda value: struct.pack(f">{form}", value))


INTEGERS = [
    number(xdr.Int, "i", -(2**31), 2**31 - 1),
    number(xdr.UInt, "I", 0, 2**32 - 1),
    number(xdr.Hyper, "q", -(2**63), 2**63 - 1),
    number(xdr.UHyper, "Q", 0, 2**64 - 1),
    number(xdr.Short, "i", -(2**15), 2**15 - 1),
    number(xdr.UShort, "i", 0, 2**16 - 1),
    number(xdr.Char, "i", -128, 127),
    number(xdr.UChar, "i", 0, 255),
]
BOOL = Sample(bool, st.booleans(), lambda value: struct.pack(">i", value))
FLOATS = [
    Sample(xdr.Float, st.floats(width=32, allow_nan=False), lambda value: struct.pack(">f", value)),
    Sample(xdr.Double, st.floats(allow_nan=False), lambda value: struct.pack(">d", value)),
]


def _opaque(length: int) -> Sample:
    return Sample(Annotated[bytes, xdr.Length(length)], st.binary(min_size=length, max_size=length), padded)


def _counted(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + padded(data)


def _enumeration(values: list[int]) -> Sample:
    kind = enum.IntEnum(f"Enum{next(_serial)}", {f"M{index}": value for index, value in enumerate(values)})
    return Sample(kind, st.sampled_from(kind), lambda value: struct.pack(">i", value))


ENUMS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5, unique=True).map(_enumeration)
SIMPLE = st.one_of(
    st.sampled_from([*INTEGERS, BOOL]),
    ENUMS,
    st.integers(0, 9).map(_opaque),
    st.just(Sample(bytes, st.binary(max_size=9), _counted)),
    st.integers(3, 9).map(lambda most: Sample(Annotated[bytes, xdr.AtMost(most)], st.binary(max_size=most), _counted)),
    st.just(Sample(str, st.text(max_size=9), lambda value: _counted(value.encode("utf-8", "surrogateescape")))),
)


def _array(item: Sample, length: int) -> Sample:
    values = st.lists(item.values, min_size=length, max_size=length)
    return Sample(
        Annotated[list[item.kind], xdr.Length(length)], values, lambda value: b"".join(map(item.encode, value))
    )


def _list(item: Sample, most: int) -> Sample:
    def encode(value: list[Any]) -> bytes:
        return struct.pack(">I", len(value)) + b"".join(map(item.encode, value))

    return Sample(Annotated[list[item.kind], xdr.AtMost(most)], st.lists(item.values, max_size=min(most, 4)), encode)


def _optional(item: Sample) -> Sample:
    def encode(value: Any) -> bytes:
        return bytes(4) if value is None else b"\0\0\0\1" + item.encode(value)

    return Sample(item.kind | None, st.none() | item.values, encode)


def _struct(items: list[Sample]) -> Sample:
    names = [f"f{index}" for index in range(len(items))]
    kind = dataclasses.make_dataclass(f"Struct{next(_serial)}", list(zip(names, [item.kind for item in items])))  # noqa: B905

    def encode(value: Any) -> bytes:
        return b"".join(item.encode(getattr(value, name)) for name, item in zip(names, items, strict=True))

    return Sample(kind, st.builds(kind, *[item.values for item in items]), encode)


VOID = Sample(None, st.none(), lambda value: b"")


def _union(which: Sample, arms: dict[int, Sample], default: Sample | None) -> Sample:
    switch = xdr.Switch(
        {value: arm.kind for value, arm in arms.items()}, **({"default": default.kind} if default else {})
    )
    kind = dataclasses.make_dataclass(
        f"Union{next(_serial)}", [("which", which.kind), ("value", Annotated[object, switch])]
    )

    def arm(value: int) -> Sample:
        found = arms.get(value, default)
        assert found is not None
        return found

    def encode(value: Any) -> bytes:
        return which.encode(value.which) + arm(value.which).encode(value.value)

    discriminants = which.values if default else st.sampled_from(sorted(arms))
    if not default and isinstance(which.kind, type):
        discriminants = discriminants.map(which.kind)
    return Sample(kind, discriminants.flatmap(lambda value: arm(value).values.map(lambda v: kind(value, v))), encode)


@st.composite
def _unions(draw: st.DrawFn, items: st.SearchStrategy[Sample]) -> Sample:
    which = draw(st.sampled_from([INTEGERS[0], INTEGERS[1], BOOL]) | ENUMS)
    arms = draw(st.lists(which.values, min_size=1, max_size=3, unique=True))
    arm = items | st.just(VOID)
    return _union(which, {int(value): draw(arm) for value in arms}, draw(st.none() | arm))


def samples(simple: st.SearchStrategy[Sample] = SIMPLE) -> st.SearchStrategy[Sample]:
    """Types of any nesting, made of the simple ones."""
    return st.recursive(
        simple,
        lambda items: st.one_of(
            st.builds(_array, items, st.integers(0, 20)),
            st.builds(_list, items, st.integers(1, 9)),
            items.filter(lambda item: type(None) not in getattr(item.kind, "__args__", ())).map(_optional),
            st.lists(items, min_size=1, max_size=5).map(_struct),
            _unions(items),
        ),
        max_leaves=12,
    )


INTEGERS_OF = [(sample.kind, sample.values) for sample in INTEGERS]


def values(kind: Any) -> st.SearchStrategy[Any]:
    """The values of a type. Strings are what C can hold: they have no NUL."""
    for known, found in [*INTEGERS_OF, (xdr.Float, st.floats(width=32)), (xdr.Double, st.floats())]:
        if kind == known:
            return found
    if kind is None or kind is bool:
        return st.none() if kind is None else st.booleans()
    bare, least, most = kind, 0, 6
    if get_origin(kind) is Annotated:
        bare, mark = get_args(kind)[:2]
        most = min(most, mark.most) if isinstance(mark, xdr.AtMost) else mark.length
        least = mark.length if isinstance(mark, xdr.Length) else 0
    if bare is bytes:
        return st.binary(min_size=least, max_size=most)
    if bare is str:
        return st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=most)
    if get_origin(bare) is list:
        return st.lists(st.deferred(lambda: values(get_args(bare)[0])), min_size=least, max_size=max(least, most // 2))
    if get_origin(bare) in (types.UnionType, typing.Union):
        inner = next(part for part in get_args(bare) if part is not types.NoneType)
        some = st.deferred(lambda: values(inner))
        return st.integers(0, 3).flatmap(lambda number: st.none() if number else some)  # few, or a tree never ends
    if issubclass(bare, enum.IntEnum):
        return st.sampled_from(bare)
    return _values_of_class(bare)


@functools.cache
def _values_of_class(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    marks = getattr(hints[names[-1]], "__metadata__", ())
    if not (marks and isinstance(marks[-1], xdr.Switch)):
        return st.builds(kind, *[st.deferred(lambda name=name: values(hints[name])) for name in names])
    switch, which = marks[-1], hints[names[0]]
    declared = getattr(switch, "default", None)
    cast = which if isinstance(which, type) else int  # a case may be the member of an enum where an integer is
    known = st.sampled_from([cast(value) for value in switch.arms]) if switch.arms else st.nothing()

    def build(discriminant: Any) -> st.SearchStrategy[Any]:
        arm = switch.arms.get(discriminant, declared)
        return st.deferred(lambda: values(arm)).map(lambda value: kind(discriminant, value))

    has_default = declared is None or declared in switch.arms.values() or type(declared) is not object
    return (known | values(which) if has_default else known).flatmap(build)
