"""The handlers that `tests.proofs.attack` attacks. A client says in a line, or a packet, what is to happen."""

from __future__ import annotations

import dataclasses
import os
from asyncio import CancelledError
from contextlib import suppress

from handlers import Cause, DatagramHandler, Delay, Exactly, Failed, Forked, Packet, StreamHandler, Threaded, Until

BLOCK = b"x" * 50_000


class Untold(Exception):
    """Its text can't be made."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Foreign(BaseException):
    """No `Exception`, so it passes every ``except Exception``."""


class Denied(Cause):
    """A cause whose ``error`` is no exception."""

    def __init__(self, error):
        super().__init__()
        self.error = error


@dataclasses.dataclass(frozen=True)
class Frozen(Cause):
    """A cause to which nothing can be assigned, not even its traceback."""

    code: int = 3


ODD = {
    "untold": Untold, "foreign": Foreign, "cancelled": CancelledError, "exit": GeneratorExit,
    "denied": lambda: Denied("text"), "frozen": Frozen, "stop": StopIteration, "memory": MemoryError,
}  # fmt: skip
"""Exceptions that are told of with difficulty, or that are no errors."""


def fail(name):
    raise ODD[name]()


class Victim(StreamHandler):
    """``say N`` and N bytes are answered with their reverse; the other words are for attackers."""

    timeout = 3
    max_output = 1 << 20
    room: dict = {}
    """Handlers, by their identity, to which any client may send."""

    async def handle(self):
        while True:
            word, _, argument = (await Until(b"\n", limit=80)).decode().strip().partition(" ")
            await getattr(self, f"do_{word}")(argument)

    async def do_say(self, size):
        self.send((await Exactly(int(size)))[::-1])

    async def do_give(self, size):
        """Send so many bytes that nobody asked for."""
        self.send(bytes(int(size)))

    async def do_wait(self, seconds):
        await Delay(float(seconds))

    async def do_raise(self, name):
        fail(name)

    async def do_fork(self, name):
        with suppress(Failed):
            await Forked(fail, name)
        self.send(b"failed\n")

    async def do_thread(self, name):
        with suppress(Failed):
            await Threaded(fail, name)
        self.send(b"failed\n")

    async def do_die(self, _):
        """A child that ends at once, with no result."""
        with suppress(Failed):
            await Forked(os._exit, 1)
        self.send(b"failed\n")

    async def do_post(self, blocks):
        """Have a thread send so many blocks."""
        await Threaded(self.post, int(blocks))

    def post(self, blocks):
        for _ in range(blocks):
            self.send(BLOCK)

    async def do_join(self, _):
        self.room[id(self)] = self
        self.send(b"joined\n")

    async def do_tell(self, blocks):
        """Send so many blocks to all in the room; in thread mode, other threads drive their rows."""
        for _ in range(int(blocks)):
            for other in list(self.room.values()):
                other.send(BLOCK)

    def finish(self):
        self.room.pop(id(self), None)


class VictimOfPackets(DatagramHandler):
    """A packet is answered with its reverse; the other packets are for attackers."""

    timeout = 2

    async def handle(self):
        packet = await Packet()
        if packet.startswith(b"raise "):
            fail(packet.split()[1].decode())
        if packet == b"more":
            packet += await Packet()
        if packet == b"hold":
            self.send(b"held")
            packet += await Packet(timeout=30)
        self.send(packet[::-1])
