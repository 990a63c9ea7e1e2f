"""What the load sends, and what the servers answer."""

from __future__ import annotations

from typing import NamedTuple


class Exchange(NamedTuple):
    """A message and its answer."""

    request: bytes
    answer: bytes


LINE = b"x" * 63 + b"\n"
FRAME = (60).to_bytes(4, "big") + b"x" * 60
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n"
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
KEY = b"key:__rand_int__"  # of redis-benchmark
STORE = {KEY: b"x" * 32}
GET = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(KEY), KEY)
VALUE = b"$32\r\n%b\r\n" % STORE[KEY]

LINES = Exchange(LINE, LINE)
FRAMES = Exchange(FRAME, FRAME)
HEADS = Exchange(HEAD, PAGE)
REDIS = Exchange(GET, VALUE)


def piece(size: int) -> Exchange:
    """Bytes that come back, in which every place differs from its neighbours."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    return Exchange(data, data)


def check(head: bytes) -> None:
    """Parse the request line of `HEAD`, or of the one that `wrk` sends."""
    method, path, version = head[: head.index(b"\r\n")].split()
    assert (method, path, version) == (b"GET", b"/", b"HTTP/1.1")
