"""What is measured with a load, and the bounds that are aimed at: a bound that is passed is reported, and no error."""

from __future__ import annotations

from typing import NamedTuple

from tests.benchmarks import messages
from tests.benchmarks.messages import Exchange

OURS = "ours: states", "ours: states, one wait", "ours: coroutine"
FLOOR = "C, epoll"
TUNED = ", malloc tuned"
IDLE = ", 10,000 idle"


class Bound(NamedTuple):
    """The most that each of ``mine`` may take, as a multiple of what ``theirs`` takes."""

    theirs: str
    most: float
    mine: tuple[str, ...] = OURS


class Case(NamedTuple):
    """A service and its load.

    ``messages`` are those of one round. Of the peers, those in ``tuned`` also run with a `malloc` that keeps what it
    has freed, and those in ``idle`` also beside 10,000 idle connections; ``only`` are the peers that run at all, if
    not all of the service do.
    """

    name: str
    title: str
    service: str
    exchange: Exchange
    floor: tuple[str, ...]
    bounds: tuple[Bound, ...]
    messages: int
    kind: str = "stream"
    connections: int = 50
    depth: int = 1
    tool: str | None = None
    tuned: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


ASYNCIO = "asyncio Protocol", "asyncio streams"
ONE_LINE = "close", "ANSWER"
DATAGRAM = "asyncio DatagramProtocol"


def both(theirs: str, most: float) -> tuple[Bound, Bound]:
    """The same bound beside a peer and beside the peer with malloc tuned, whose costs vary less from run to run."""
    return Bound(theirs, most), Bound(theirs + TUNED, most)


LOADED = (
    Case(
        "lines", "64-byte line, 50 connections", "lines", messages.LINES, ("echo",),
        (
            Bound("uvloop streams", 0.65),
            Bound("asyncio Protocol", 1.0),
            Bound("asyncio Protocol" + TUNED, 1.15),
            Bound("uvloop Protocol", 1.5),
        ),
        10_000, tuned=(*ASYNCIO, OURS[0]),
    ),
    Case(
        "lines-16", "64-byte line, 16 at a time", "lines", messages.LINES, ("echo",),
        (Bound("uvloop streams", 0.25), Bound("Twisted LineReceiver", 0.5)),
        32_000, depth=16, tuned=(*ASYNCIO, OURS[0]),
    ),
    Case(
        "frames", "frame of 60 bytes with its length", "frames", messages.FRAMES, ("echo",),
        both("asyncio streams", 0.8), 10_000, tuned=ASYNCIO,
    ),
    Case(
        "heads", "HTTP-like head", "heads", messages.HEADS, ("answer", "3", "ANSWER"),
        both("asyncio streams", 0.8), 10_000, tool="wrk", tuned=ASYNCIO,
    ),
    Case(
        "redis", "GET of Redis", "redis", messages.REDIS, ("answer", "5", "ANSWER"),
        both("asyncio streams", 0.8), 10_000, tool="redis-benchmark", tuned=ASYNCIO,
    ),
    Case(
        "redis-16", "GET of Redis, 16 at a time", "redis", messages.REDIS, ("answer", "5", "ANSWER"),
        both("asyncio streams", 0.8), 16_000, depth=16, tool="redis-benchmark", tuned=ASYNCIO,
    ),
    Case(
        "bytes-64k", "64 KiB", "bytes", messages.piece(1 << 16), ("echo",),
        (Bound("uvloop Protocol", 1.1),), 1_500, connections=10, tuned=(*ASYNCIO, OURS[0]),
    ),
    Case(
        "bytes-1m", "1 MiB", "bytes", messages.piece(1 << 20), ("echo",),
        (Bound("uvloop Protocol", 1.1),), 100, connections=4, tuned=(*ASYNCIO, OURS[0]),
    ),
    Case(
        "close", "accept, a line, close", "close", messages.LINES, ONE_LINE,
        both("asyncio Protocol", 0.6), 1_500, kind="close", tuned=ASYNCIO,
    ),
    Case(
        "datagrams", "64-byte datagram, 1 outstanding", "datagrams", messages.LINES, ("datagram",),
        both(DATAGRAM, 0.8), 4_000, kind="datagram", tuned=(DATAGRAM,),
    ),
    Case(
        "datagrams-200", "64-byte datagram, 200 outstanding", "datagrams", messages.LINES, ("datagram",),
        both(DATAGRAM, 0.8), 10_000, kind="datagram", depth=200, tuned=(DATAGRAM,),
    ),
    Case(
        "idle", "64-byte line, 50 of 10,050 connections", "lines", messages.LINES, ("echo",),
        tuple(Bound(name, 1.05, (name + IDLE,)) for name in OURS),
        10_000, idle=(*OURS, "asyncio Protocol", "uvloop Protocol"),
        only=(*OURS, "asyncio Protocol", "uvloop Protocol"),
    ),
    Case(
        "relay", "64 KiB, relayed and echoed", "relay", messages.piece(1 << 16), ("relay", "PORT"),
        (Bound("uvloop Protocol", 1.0, ("ours: coroutine",)),), 1_000, connections=10,
        tuned=("asyncio Protocol", "ours: coroutine"),
    ),
    Case(
        "classes", "a line to the classes of `socketserver`", "classes", messages.LINES, ONE_LINE,
        tuple(Bound(f"socketserver, {mode}", 1.0, (f"ours, {mode}",)) for mode in ("threads", "single")),
        1_500, kind="close",
    ),
)  # fmt: skip

SHORT = ("lines", "lines-16", "redis", "close", "datagrams-200")
"""The cases of the short form."""
