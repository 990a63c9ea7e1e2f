"""Any type, any value: the bytes are those of a second implementation, and no value has two encodings."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.sunrpc import xdr
from tests.support.xdr import FLOATS, SIMPLE, samples


@pytest.mark.slow
@settings(max_examples=40)
@given(samples(SIMPLE | st.sampled_from(FLOATS)), st.data())
def test_a_value_is_written_as_the_rfc_says_and_read_back(sample, data):
    codec = xdr.codec(sample.kind)
    value = data.draw(sample.values)
    encoded = codec.pack(value)
    assert encoded == sample.encode(value)
    assert codec.unpack(encoded) == value
    assert codec.unpack(memoryview(encoded)) == value
    assert codec.unpack_from(b"abc" + encoded + b"rest", 3) == (value, 3 + len(encoded))


@pytest.mark.slow
@settings(max_examples=40)
@given(samples(), st.data())
def test_other_data_is_refused_or_is_the_one_encoding_of_its_value(sample, data):
    codec = xdr.codec(sample.kind)
    changed = bytearray(sample.encode(data.draw(sample.values)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed)))
        end = min(len(changed), place + data.draw(st.integers(0, 4)))
        words = st.sampled_from([b"", b"\0", b"\0\0\0\1", b"\xff\xff\xff\xff", b"\x7f"]) | st.binary(max_size=4)
        changed[place:end] = data.draw(words)
    try:
        value = codec.unpack(changed)
    except xdr.Error:
        return
    assert codec.pack(value) == changed


@pytest.mark.slow
@settings(max_examples=40)
@given(samples(), st.data())
def test_each_part_of_an_encoding_is_refused(sample, data):
    encoded = sample.encode(data.draw(sample.values))
    codec = xdr.codec(sample.kind)
    for end in range(len(encoded)):
        with pytest.raises(xdr.Error):
            codec.unpack(encoded[:end])
    with pytest.raises(xdr.Error, match="1 bytes follow"):
        codec.unpack(encoded + b"\0")


@pytest.mark.slow
@settings(max_examples=40)
@given(samples(), st.data())
def test_the_value_of_another_type_is_refused_or_written_as_one_of_this_type(sample, data):
    other = data.draw(samples())
    value = data.draw(other.values)
    codec = xdr.codec(sample.kind)
    try:
        encoded = codec.pack(value)
    except xdr.Error:
        return
    assert codec.pack(codec.unpack(encoded)) == encoded


@given(st.floats(width=32), st.floats())
def test_floats_of_either_precision(single, double):
    assert xdr.pack(xdr.Float, single) == struct.pack(">f", single)
    assert xdr.pack(xdr.Double, double) == struct.pack(">d", double)
    assert repr(xdr.unpack(xdr.Double, struct.pack(">d", double))) == repr(double)
    assert repr(xdr.unpack(xdr.Float, struct.pack(">f", single))) == repr(single)
