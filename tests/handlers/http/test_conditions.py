"""Preconditions and byte ranges, by the rules of RFC 9110, sections 13 and 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.http.conditions import Unsatisfiable, Validators, byte_range, seconds

CHANGED = 784_111_777
DATE, BEFORE, AFTER = (f"Sun, 06 Nov 1994 08:49:{second} GMT" for second in (37, 36, 38))
VALIDATORS = Validators('"a"', CHANGED + 0.5)


class Fields(dict):
    """Stands for a request with these fields."""


@pytest.mark.parametrize(("fields", "status"), [
    ({}, 200),
    ({"If-Match": '"a"'}, 200), ({"If-Match": '"b", "a"'}, 200), ({"If-Match": "*"}, 200), ({"If-Match": '"b"'}, 412),
    ({"If-Match": 'W/"a"'}, 412), ({"If-Match": "a"}, 412), ({"If-Match": '"a"', "If-Unmodified-Since": BEFORE}, 200),
    ({"If-Unmodified-Since": DATE}, 200), ({"If-Unmodified-Since": AFTER}, 200), ({"If-Unmodified-Since": BEFORE}, 412),
    ({"If-Unmodified-Since": "yesterday"}, 200),
    ({"If-None-Match": '"a"'}, 304), ({"If-None-Match": 'W/"a"'}, 304), ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"b"'}, 200), ({"If-None-Match": '"b"', "If-Modified-Since": DATE}, 200),
    ({"If-Modified-Since": DATE}, 304), ({"If-Modified-Since": AFTER}, 304), ({"If-Modified-Since": BEFORE}, 200),
    ({"If-Modified-Since": "Sun, 06 Nov 999999 08:49:37 GMT"}, 200), ({"If-Modified-Since": ""}, 200),
    ({"If-Match": '"b"', "If-None-Match": '"a"'}, 412), ({"If-Match": '"a"', "If-None-Match": '"a"'}, 304),
])  # fmt: skip
def test_the_precondition_decides(fields, status):
    assert VALIDATORS.precondition(Fields(fields)) == status


@pytest.mark.parametrize(("condition", "now", "allowed"), [
    (None, CHANGED, True), ('"a"', CHANGED, True), ('"b"', CHANGED, False), ('W/"a"', CHANGED, False),
    (DATE, CHANGED + 60, True), (DATE, CHANGED + 1, False), (AFTER, CHANGED + 60, False), ("x", CHANGED + 60, False),
])  # fmt: skip
def test_a_range_is_sent_only_of_the_state_that_the_client_knows(condition, now, allowed):
    assert VALIDATORS.allow_range(Fields({} if condition is None else {"If-Range": condition}), now) is allowed


@pytest.mark.parametrize(("value", "expected"), [
    ("bytes=0-0", (0, 1)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-30", (0, 10)),
    ("BYTES=2-99", (2, 10)),
    ("bytes= 1-2 ", (1, 3)), ("bytes=3-2", None), ("bytes=-", None), ("bytes=a-b", None), ("lines=1-2", None),
    ("bytes=1-2,4-5", None), ("bytes=+1-2", None), ("bytes=1-" + "9" * 5000, None), ("", None), ("bytes=1", None),
])  # fmt: skip
def test_a_range_of_ten_bytes(value, expected):
    assert byte_range(value, 10) == expected


@pytest.mark.parametrize(("value", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_without_a_byte_is_unsatisfiable(value, size):
    with pytest.raises(Unsatisfiable):
        byte_range(value, size)


@given(st.text("bytes=-, 0123456789", max_size=20), st.integers(0, 200))
def test_whatever_is_asked_for_is_inside_of_the_content(value, size):
    try:
        found = byte_range(value, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@given(st.text(max_size=40))
def test_a_date_of_any_form_is_a_time_or_nothing(text):
    assert seconds(text) is None or isinstance(seconds(text), int)
