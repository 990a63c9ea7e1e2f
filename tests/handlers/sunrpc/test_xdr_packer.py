"""`Packer` and `Unpacker` do what those of ``xdrlib`` do, which is asked itself where Python still has it."""

import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.sunrpc.xdr import packer as ours

XDRLIB_UNTIL = (3, 13)

NUMBERS = ["uint", "int", "enum", "bool", "uhyper", "hyper", "float", "double"]
STRINGS = ["string", "opaque", "bytes"]
VALUES = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, None, "text", 1e300]),
    st.floats(),
    st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.sampled_from(NUMBERS), VALUES),
    st.tuples(st.sampled_from(STRINGS), st.binary(max_size=9) | st.sampled_from(["text", bytearray(b"abc"), None])),
    st.tuples(st.sampled_from(["fstring", "fopaque"]), st.integers(-1, 9), st.binary(max_size=9)),
    st.tuples(st.sampled_from(["list", "array"]), st.lists(VALUES, max_size=4)),
    st.tuples(st.just("farray"), st.integers(0, 3), st.lists(VALUES, max_size=4)),
)


def pack(module, steps):
    """What each step returns or raises, and the buffer."""
    packer = module.Packer()
    found = []
    for name, *arguments in steps:
        if name in ("list", "array", "farray"):
            arguments.append(packer.pack_int)
        found.append(outcome(getattr(packer, f"pack_{name}"), *arguments))
    return found, packer.get_buffer(), packer.get_buf()


def unpack(module, data, steps):
    """What each step returns or raises, and where it ends."""
    unpacker = module.Unpacker(data)
    found = []
    for name, *arguments in steps:
        if name in ("list", "array", "farray"):
            arguments.append(unpacker.unpack_int)
        found.append((outcome(getattr(unpacker, f"unpack_{name}"), *arguments), unpacker.get_position()))
    return found, outcome(unpacker.done), unpacker.get_buffer()


def outcome(function, *arguments):
    try:
        return repr(function(*arguments))
    except Exception as error:  # whatever xdrlib raises
        return type(error).__name__, str(error), repr(error) if hasattr(error, "msg") else None


READS = st.one_of(
    st.sampled_from([*NUMBERS, *STRINGS]).map(lambda name: (name,)),
    st.tuples(st.sampled_from(["fstring", "fopaque"]), st.integers(-1, 9)),
    st.tuples(st.sampled_from(["list", "array"])),
    st.tuples(st.just("farray"), st.integers(0, 3)),
)
DATA = st.lists(
    st.sampled_from([b"\0\0\0\1", b"\0\0\0\0", b"\0\0\0\3", b"abc\0", b"\xff\xff\xff\xff", b"a"]), max_size=9
)

if sys.version_info < XDRLIB_UNTIL:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import xdrlib

    @given(st.lists(STEPS, max_size=6))
    def test_what_is_packed_is_what_xdrlib_packs(steps):
        assert pack(ours, steps) == pack(xdrlib, steps)

    @given(DATA.map(b"".join), st.lists(READS, max_size=6))
    def test_what_is_unpacked_is_what_xdrlib_unpacks(data, steps):
        assert unpack(ours, data, steps) == unpack(xdrlib, data, steps)

    def test_the_names_are_those_of_xdrlib():
        for name in xdrlib.__all__:
            theirs = {part for part in dir(getattr(xdrlib, name)) if not part.startswith("_")}
            assert theirs <= set(dir(getattr(ours, name)))


def test_a_session_of_each():
    packer = ours.Packer()
    packer.pack_enum(-1)
    packer.pack_bool([])
    packer.pack_uhyper(2**64 - 1)
    packer.pack_hyper(-1)
    packer.pack_float(1.5)
    packer.pack_double(-2.5)
    packer.pack_fstring(3, b"abcdef")
    packer.pack_string(b"ab")
    packer.pack_list([1, 2], packer.pack_uint)
    packer.pack_array([3], packer.pack_uint)
    unpacker = ours.Unpacker(packer.get_buffer())
    assert [unpacker.unpack_enum(), unpacker.unpack_bool()] == [-1, False]
    assert [unpacker.unpack_uhyper(), unpacker.unpack_hyper()] == [2**64 - 1, -1]
    assert [unpacker.unpack_float(), unpacker.unpack_double()] == [1.5, -2.5]
    assert [unpacker.unpack_fstring(3), unpacker.unpack_bytes()] == [b"abc", b"ab"]
    place = unpacker.get_position()
    with pytest.raises(ours.Error, match="unextracted data remains"):
        unpacker.done()
    assert unpacker.unpack_list(unpacker.unpack_uint) == [1, 2]
    assert unpacker.unpack_array(unpacker.unpack_uint) == [3]
    unpacker.done()
    unpacker.set_position(place)
    assert unpacker.unpack_list(unpacker.unpack_int) == [1, 2]


def test_errors_of_each():
    packer, unpacker = ours.Packer(), ours.Unpacker(b"\0\0\0\2")
    for call in packer.pack_uint, packer.pack_int, packer.pack_float, packer.pack_uhyper:
        with pytest.raises(ours.ConversionError):
            call("text")
    with pytest.raises(ValueError, match="nonnegative"):
        packer.pack_fstring(-1, b"")
    with pytest.raises(ValueError, match="wrong array size"):
        packer.pack_farray(2, [1], packer.pack_int)
    with pytest.raises(ours.ConversionError, match="0 or 1 expected, got 2") as found:
        unpacker.unpack_list(unpacker.unpack_int)
    assert repr(found.value) == "'0 or 1 expected, got 2'"
    with pytest.raises(EOFError):
        unpacker.unpack_uint()
    with pytest.raises(ValueError, match="nonnegative"):
        unpacker.unpack_fstring(-1)
    packer.reset()
    assert packer.get_buffer() == b""
