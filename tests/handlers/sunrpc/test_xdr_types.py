"""Each type of RFC 4506 by examples: its bytes, and what is refused in data and as a value."""

from __future__ import annotations

import enum
import gc
import re
import struct
import tracemalloc
import weakref
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.sunrpc import xdr
from handlers.sunrpc.xdr import AtMost, Length, Switch


class Color(enum.IntEnum):
    RED = 2
    BLUE = -5


@dataclass
class Pair:
    first: xdr.Int
    second: xdr.Int


@dataclass
class Union:
    which: Color
    value: Annotated[str | None, Switch({Color.RED: str, Color.BLUE: None})]


@dataclass
class Defaulting:
    which: xdr.UInt
    value: Annotated[Pair | bool | None, Switch({1: Pair, 2: bool, 3: bool}, default=None)]


@dataclass
class Onlydefault:
    which: bool
    value: Annotated[xdr.Int, Switch({}, default=xdr.Int)]


@dataclass(frozen=True, kw_only=True)
class Named:
    text: Annotated[str, AtMost(4)]
    number: xdr.Int


@dataclass(slots=True)
class Entry:
    """RFC 4506, section 4.19."""

    item: xdr.UInt
    following: Entry | None


WRITTEN = [
    (xdr.Int, -1, "ffffffff"),
    (xdr.UInt, 0xFFFFFFFE, "fffffffe"),
    (xdr.Hyper, -2, "fffffffffffffffe"),
    (xdr.UHyper, 2**64 - 1, "ffffffffffffffff"),
    (xdr.Short, -(2**15), "ffff8000"),
    (xdr.UChar, 255, "000000ff"),
    (xdr.Float, -1.5, "bfc00000"),
    (xdr.Double, 1.0, "3ff0000000000000"),
    (bool, True, "00000001"),
    (Color, Color.BLUE, "fffffffb"),
    (Annotated[bytes, Length(4)], b"abcd", "61626364"),
    (Annotated[bytes, Length(5)], b"abcde", "6162636465000000"),
    (Annotated[bytes, Length(0)], b"", ""),
    (bytes, b"\xff", "00000001ff000000"),
    (str, "sillyprog", "0000000973696c6c7970726f67000000"),  # RFC 4506, section 7
    (str, "\udcff", "00000001ff000000"),
    (list[xdr.Hyper], [1, -1], "000000020000000000000001ffffffffffffffff"),
    (list[Color], [Color.RED, Color.BLUE], "0000000200000002fffffffb"),
    (list[str], ["a", ""], "00000002000000016100000000000000"),
    (Annotated[list[bool], Length(2)], [True, False], "0000000100000000"),
    (Annotated[list[xdr.Int], Length(17)], list(range(17)), "".join(f"{value:08x}" for value in range(17))),
    (list[list[Pair]], [[], [Pair(1, 2)]], "0000000200000000000000010000000100000002"),
    (Annotated[list[None], AtMost(3)], [None, None], "00000002"),
    (xdr.Int | None, None, "00000000"),
    (xdr.Int | None, 7, "0000000100000007"),
    (Pair, Pair(1, -1), "00000001ffffffff"),
    (Named, Named(text="abc", number=1), "000000036162630000000001"),
    (Union, Union(Color.RED, "a"), "000000020000000161000000"),
    (Union, Union(Color.BLUE, None), "fffffffb"),
    (Defaulting, Defaulting(1, Pair(1, 2)), "000000010000000100000002"),
    (Defaulting, Defaulting(3, True), "0000000300000001"),
    (Defaulting, Defaulting(2**32 - 1, None), "ffffffff"),
    (Onlydefault, Onlydefault(True, 5), "0000000100000005"),
    (None, None, ""),
]


@pytest.mark.parametrize(("kind", "value", "encoded"), WRITTEN)
def test_values_and_their_bytes(kind, value, encoded):
    assert xdr.pack(kind, value).hex() == encoded
    assert xdr.unpack(kind, bytes.fromhex(encoded)) == value
    assert type(xdr.unpack(kind, bytes.fromhex(encoded))) is type(value)


REFUSED_DATA = [
    (bool, "00000002", "2 is no value of bool"),
    (bool, "ffffffff", "-1 is no value of bool"),
    (list[bool], "0000000100000002", "2 is no value of bool"),
    (Color, "00000003", "3 is no value of Color"),
    (xdr.Char, "00000080", "128 is no value of char"),
    (xdr.UShort, "ffffffff", "-1 is no value of unsigned short"),
    (xdr.Int, "0000", "the data ends before the value, after 2 bytes"),
    (Annotated[bytes, Length(5)], "6162636465000100", "padding of fixed-length opaque data is not zero"),
    (bytes, "0000000161000001", "the padding at byte 5 is not zero"),
    (str, "0000000161ff0000", "the padding at byte 5 is not zero"),
    (bytes, "0000000161", "a length is 1, and 1 bytes are left"),
    (bytes, "ffffffff61616161", "a length is 4294967295, and 4 bytes are left"),
    (str, "ffffffff61616161", "a length is 4294967295, and 4 bytes are left"),
    (list[xdr.Int], "ffffffff61616161", "a length is 4294967295, and 4 bytes are left"),
    (list[Pair], "0000000161616161", "a length is 1, and 4 bytes are left"),
    (list[str], "8000000061616161", "a length is 2147483648, and 4 bytes are left"),
    (Annotated[list[Pair], Length(2**31)], "00000000", "a length is 17179869184, and 4 bytes are left"),
    (Annotated[bytes, AtMost(3)], "0000000461616161", "a length is 4, the declared maximum is 3"),
    (Annotated[str, AtMost(0)], "0000000161616161", "a length is 1, the declared maximum is 0"),
    (Annotated[list[bool], AtMost(1)], "000000020000000000000000", "a length is 2, the declared maximum is 1"),
    (Annotated[list[None], AtMost(3)], "00000004", "a length is 4, the declared maximum is 3"),
    (xdr.Int | None, "0000000200000000", "2 is no value of bool"),
    (Union, "00000001", "1 is no value of Color"),
    (Pair, "000000010000000200000003", "4 bytes follow the value"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "message"), REFUSED_DATA)
def test_data_that_is_no_encoding_is_refused(kind, data, message):
    with pytest.raises(xdr.Error, match=message):
        xdr.unpack(kind, bytes.fromhex(data))


REFUSED_VALUES = [
    (xdr.Int, 2**31, "format requires"),
    (xdr.UInt, -1, "."),
    (xdr.Hyper, 2**63, "."),
    (xdr.UChar, 256, "256 is no value of unsigned char"),
    (xdr.Int, 1.5, "integer"),
    (xdr.Int, "1", "integer"),
    (xdr.Float, 1e39, "too large"),
    (xdr.Double, None, "."),
    (bool, 2, "2 is no value of bool"),
    (bool, None, "None is no value of bool"),
    (bool, [], "unhashable"),
    (Color, 3, "3 is no value of Color"),
    (Annotated[bytes, Length(5)], b"abcd", "4 bytes of opaque data, not 5"),
    (Annotated[bytes, AtMost(3)], b"abcd", "a length is 4, the declared maximum is 3"),
    (Annotated[str, AtMost(3)], "éé", "a length is 4, the declared maximum is 3"),
    (bytes, "text", "bytes-like"),
    (bytes, 7, "bytes-like"),
    (str, b"bytes", "encode"),
    (str, "\ud800", "surrogates not allowed"),
    (Annotated[list[bool], AtMost(1)], [True, True], "a length is 2, the declared maximum is 1"),
    (Annotated[list[bool], Length(2)], [True], "a list of 1 items, not 2"),
    (list[xdr.Int], [1, 2**31], "format requires"),
    (list[bool], [True, 2], "2 is no value of bool"),
    (Pair, None, "no attribute 'first'"),
    (Union, Union("green", "a"), "'green' is no value of Color"),
    (Union, Union(Color.BLUE, "a"), "str is the value of what is void"),
    (Union, Union(Color.RED, None), "encode"),
    (None, 1, "int is the value of what is void"),
]


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED_VALUES)
def test_a_value_that_the_type_does_not_have_is_refused(kind, value, message):
    with pytest.raises(xdr.Error, match=message):
        xdr.pack(kind, value)


@dataclass
class Outer:
    pairs: list[Pair]
    choice: Union | None
    inner: Outer | None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Outer([Pair(1, 1), Pair(1, None)], None, None), r"Outer.pairs[1].second: "),
        (Outer([], Union(Color.RED, 5), None), r"Outer.choice.value: "),
        (Outer([], Union(9, "a"), None), r"Outer.choice.which: 9 is no value of Color"),
        (Outer([], None, Outer([], None, Outer(None, None, None))), r"Outer.inner.inner.pairs: "),
        (Outer([Pair(1, 1), Color.RED], None, None), r"Outer.pairs[1]: "),
        (Pair(1, 2), r"Outer: 'Pair' object has no attribute"),
    ],
)
def test_an_error_names_the_field(value, message):
    with pytest.raises(xdr.Error, match=f"^{re.escape(message)}"):
        xdr.pack(Outer, value)


def test_an_error_at_the_end_of_a_long_list_is_found_in_time():
    entry = Entry(-1, None)
    for item in range(3_000):  # three times as many as Python has frames
        entry = Entry(item, entry)
    with pytest.raises(xdr.Error, match=f"^Entry{'.following' * 8}: "):
        xdr.pack(Entry, entry)


def test_a_union_has_no_arm_for_this_discriminant():
    @dataclass
    class Partial:
        which: xdr.Int
        value: Annotated[Any, Switch({1: xdr.Int})]

    with pytest.raises(xdr.Error, match="Partial: a union has no arm for 2"):
        xdr.unpack(Partial, bytes.fromhex("0000000200000001"))
    with pytest.raises(xdr.Error, match=r"Partial\.value: a union has no arm for 2"):
        xdr.pack(Partial, Partial(2, 1))


# Types that are none


@dataclass
class Endless:
    more: Endless


@dataclass
class Nosource:
    value: Annotated[None, Switch({1: None})]


@dataclass
class Unreachable:
    which: bool
    value: Annotated[None, Switch({2: None})]


@dataclass
class Wide:
    which: xdr.Hyper
    value: Annotated[None, Switch({2: None})]


@dataclass
class Hidden:
    number: xdr.Int = field(init=False, default=0)


class Big(enum.IntEnum):
    TOO = 2**31


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (int, "<class 'int'> is no XDR type"),
        (float, "is no XDR type"),
        (dict[str, str], "is no XDR type"),
        (str | bytes | None, "is no XDR type"),
        (Annotated[str, Length(3)], "is no XDR type"),
        (Annotated[list[int], AtMost(3)], "<class 'int'> is no XDR type"),
        (Annotated[bytes, AtMost(3), Length(3)], "are declared"),
        (Endless, "Endless contains itself"),
        (Nosource, r"Nosource.value: a Switch follows a field"),
        (Wide, r"Wide.value: a Switch follows a field"),
        (Unreachable, r"Unreachable.value: no arm can be for 2: 2 is no value of bool"),
        (Hidden, r"Hidden.number is no parameter"),
        (Big, "outside of the range"),
    ],
)
def test_an_annotation_that_is_no_type_is_refused(kind, message):
    with pytest.raises(TypeError, match=message):
        xdr.codec(kind)


@pytest.mark.parametrize("bound", [AtMost, Length])
@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_length_that_xdr_cannot_write_is_refused(bound, number):
    with pytest.raises(TypeError, match="is no length"):
        bound(number)


@pytest.mark.parametrize("kind", [list[None], Annotated[list[Annotated[bytes, Length(0)]], AtMost(65536)]])
def test_a_list_of_items_of_no_size_needs_a_small_maximum(kind):
    with pytest.raises(TypeError, match="needs a declared maximum, of 65535 at the most"):
        xdr.codec(kind)


@pytest.mark.parametrize("kind", [Pair, Color, list[Pair], Pair | None, xdr.Int, bool, None])
def test_a_codec_is_made_once(kind):
    assert xdr.codec(kind) is xdr.codec(kind)


def test_other_annotations_are_left_to_others():
    assert xdr.pack(Annotated[xdr.Int, "a comment", []], 5).hex() == "00000005"


def test_a_type_and_its_codec_are_collected():
    def used():
        @dataclass
        class Passing:
            number: xdr.Int
            following: Passing | None

        assert xdr.unpack(Passing, xdr.pack(Passing, Passing(1, Passing(2, None)))).following.number == 2
        return weakref.ref(Passing)

    found = used()
    gc.collect()
    assert found() is None


# Recursion


@dataclass(frozen=True)
class Node:
    """A list through a union, whose arm is another struct: ``link`` and `Node` follow each other."""

    number: xdr.Int
    link: Link


@dataclass(frozen=True)
class Link:
    more: bool
    value: Annotated[Node | None, Switch({True: Node, False: None})]


@dataclass
class Tree:
    left: Tree | None
    number: xdr.Int
    children: list[Tree]


LONG = 100_000


def test_a_linked_list_of_any_length_is_followed_without_recursion():
    entry = None
    for item in range(LONG):
        entry = Entry(item, entry)
    encoded = xdr.pack(Entry | None, entry)
    assert encoded == b"".join(struct.pack(">II", 1, item) for item in reversed(range(LONG))) + bytes(4)
    following = xdr.unpack(Entry | None, encoded)
    for item in reversed(range(LONG)):
        assert following.item == item
        following = following.following
    assert following is None


@pytest.mark.slow
def test_a_list_that_is_linked_by_a_union_and_immutable():
    link = Link(False, None)
    for number in range(LONG):
        link = Link(True, Node(number, link))
    encoded = xdr.pack(Link, link)
    assert len(encoded) == LONG * 8 + 4
    found = xdr.unpack(Link, encoded)
    for number in reversed(range(LONG)):
        assert found.value.number == number
        found = found.value.link
    assert found == Link(False, None)
    assert xdr.pack(Node, xdr.unpack(Node, encoded[4:])) == encoded[4:]


def test_a_tree_is_read_and_one_that_is_nested_too_deeply_is_refused():
    tree = Tree(Tree(None, 1, []), 2, [Tree(None, 3, [Tree(None, 4, [])]), Tree(None, 5, [])])
    assert xdr.unpack(Tree, xdr.pack(Tree, tree)) == tree
    with pytest.raises(xdr.Error, match="Tree: nested too deeply"):
        xdr.unpack(Tree, b"\0\0\0\1" * LONG)
    for number in range(LONG):
        tree = Tree(tree, number, [])
    with pytest.raises(xdr.Error, match="Tree: nested too deeply"):
        xdr.pack(Tree, tree)


def test_many_fields_and_deep_nesting_are_left_to_functions_of_their_own():
    kind: Any = Pair
    for _ in range(40):

        @dataclass
        class Both:
            left: kind
            right: kind

        Both.__annotations__ = {"left": kind, "right": list[kind]}
        kind = Both
    value = Pair(1, 2)
    node = kind
    kinds = []
    while node is not Pair:
        kinds.append(node)
        node = node.__annotations__["left"]
    for node in reversed(kinds):
        value = node(value, [])
    encoded = xdr.pack(kind, value)
    assert len(encoded) == 8 + 4 * 40
    assert xdr.unpack(kind, encoded) == value


# Memory


@pytest.mark.parametrize(
    "kind",
    [bytes, str, list[xdr.Int], list[Pair], list[str], list[bool], Annotated[list[Pair], Length(2**31)]],
)
def test_nothing_is_allocated_for_a_length_that_the_data_does_not_have(kind):
    codec = xdr.codec(kind)
    data = b"\x7f\xff\xff\xff" + bytes(64)
    tracemalloc.start()
    try:
        for _ in range(2):  # the first time it is compiled
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(xdr.Error):
                codec.unpack(data)
            peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(("wrap", "kind"), [(bytes, bytes), (bytearray, bytes), (memoryview, memoryview)])
def test_opaque_data_is_a_slice_of_the_data(wrap, kind):
    content = bytes(range(256)) * 4096
    encoded = xdr.pack(bytes, wrap(content))
    value = xdr.unpack(bytes, wrap(encoded))
    assert type(value) is kind
    assert value == content


def test_opaque_data_is_not_copied():
    content = bytes(1 << 20)
    assert any(part is content for part in xdr.codec(bytes).parts(content))
    encoded = xdr.pack(bytes, content)
    assert xdr.unpack(bytes, memoryview(encoded)).obj is encoded
    view = memoryview(content).cast("I")  # of items that are no bytes
    assert xdr.pack(bytes, view) == encoded


def test_an_offset_outside_of_the_data_is_refused():
    for offset in -1, 5:
        with pytest.raises(xdr.Error, match="offset"):
            xdr.codec(xdr.Int).unpack_from(bytes(4), offset)


# Quadruple precision

QUADRUPLES = [
    ("0", "00000000000000000000000000000000"),
    ("-0", "80000000000000000000000000000000"),
    ("1", "3fff0000000000000000000000000000"),
    ("-2", "c0000000000000000000000000000000"),
    ("0.1", "3ffb999999999999999999999999999a"),
    ("3.141592653589793238462643383279502884", "4000921fb54442d18469898cc51701b8"),
    ("Infinity", "7fff0000000000000000000000000000"),
    ("-Infinity", "ffff0000000000000000000000000000"),
    ("1E-5000", "00000000000000000000000000000000"),
    ("1E-999999", "00000000000000000000000000000000"),
    ("6.475175119438025110924438958227646552E-4966", "00000000000000000000000000000001"),
    ("3.362103143112093506262677817321752603E-4932", "00010000000000000000000000000000"),
    ("1.189731495357231765085759326628007016E+4932", "7ffeffffffffffffffffffffffffffff"),
]


@pytest.mark.parametrize(("number", "encoded"), QUADRUPLES)
def test_quadruples(number, encoded):
    assert xdr.pack(xdr.Quadruple, Decimal(number)).hex() == encoded
    found = xdr.unpack(xdr.Quadruple, bytes.fromhex(encoded))
    assert xdr.pack(xdr.Quadruple, found).hex() == encoded


def test_quadruples_that_are_no_number_or_too_large():
    assert xdr.unpack(xdr.Quadruple, xdr.pack(xdr.Quadruple, Decimal("NaN"))).is_nan()
    for number in "1.2E+4932", "1E+5001", "-1E+999999":
        with pytest.raises(xdr.Error, match="too large for a quadruple"):
            xdr.pack(xdr.Quadruple, Decimal(number))
    with pytest.raises(xdr.Error):
        xdr.pack(xdr.Quadruple, "text")


@given(st.binary(min_size=16, max_size=16))
def test_each_quadruple_that_is_a_number_is_kept_exactly(encoded):
    value = xdr.unpack(xdr.Quadruple, encoded)
    if not value.is_nan():
        assert xdr.pack(xdr.Quadruple, value) == encoded
    bits = int.from_bytes(encoded, "big")
    sign, exponent, fraction = bits >> 127, bits >> 112 & 0x7FFF, bits & ((1 << 112) - 1)
    if 0 < exponent < 0x7FFF:
        exact = (Fraction(fraction, 1 << 112) + 1) * Fraction(2) ** (exponent - 16383)
        assert Fraction(value) == (-exact if sign else exact)


@given(st.floats(allow_nan=False))
def test_a_double_is_a_quadruple_of_the_same_value(number):
    assert float(xdr.unpack(xdr.Quadruple, xdr.pack(xdr.Quadruple, Decimal(number)))) == number


def test_a_message_names_the_type_and_not_its_annotation():
    with pytest.raises(xdr.Error, match=r"^int: "):
        xdr.pack(xdr.UInt, -1)
    with pytest.raises(xdr.Error, match=r"^list: "):
        xdr.unpack(Annotated[list[xdr.UInt], xdr.AtMost(1)], bytes(3))


@pytest.mark.parametrize("values", [(), (True,), (True, "", 1), (True, 1)])
def test_a_tuple_of_other_values_is_refused(values):
    with pytest.raises(xdr.Error, match=r"^bool, str: "):
        xdr.codec_of((bool, str)).pack(values)
    assert xdr.codec_of((bool, str)).pack((True, "")) == bytes.fromhex("00000001 00000000")
