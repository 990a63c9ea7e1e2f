"""What the tests of filters and calls share: a row without a network, and filters of several kinds."""

import select
import socket
import time
import zlib
from itertools import chain as joined
from itertools import repeat

from handlers import EndOfStream, Reset, StreamMachine, World
from handlers.blocking.face import Passive
from handlers.channel import ENDING
from handlers.filter import Filter, chain


class Row(World):
    """Drives a channel in the way that rows do: read if it wants input, write what the wire takes, advance.

    Like a row it keeps the channel in a local variable while it settles: a channel that has been replaced must still
    answer rightly.
    """

    def __init__(self, handler, filters=(), takes=(), **facts):
        super().__init__(**facts)
        self.handler = handler
        self.channel = chain(StreamMachine(handler, self), filters)
        self.takes = joined(takes, repeat(1 << 30))  # bytes that the wire takes, one for each write
        self.written = bytearray()
        self.patience = None
        self.due = False
        self.shut_down = False  # the output
        self.raised = []

    def touched(self):
        self.due = True

    def replace(self, channel, by):
        assert channel is self.channel
        self.channel = by

    @property
    def reason(self):
        return self.channel.reason

    def act(self, call, *arguments):
        """Call a method of the channel, and then settle as long as there is anything to settle."""
        self._guard(call, *arguments)
        self.due = True
        while self.due:
            self.due = False
            self._guard(self.settle)

    def settle(self):
        channel = self.channel
        if channel.outbox:
            self.write(channel)
        if channel.blocked:
            channel.advance()
        if channel.fresh:
            channel.fresh = False
            self.patience = channel.patience
        if not channel.outbox and channel.output is ENDING and not channel.finished:
            self.shut_down = True
            channel.end_output()

    def write(self, channel):
        count = min(next(self.takes), len(channel.outbox))
        self.written += channel.outbox[:count]
        channel.sent(count)

    def start(self):
        self.act(self.channel.advance)
        return self

    def drain(self):
        """Write until nothing is left."""
        while self.channel.outbox or self.due:
            self.act(lambda: None)

    def feed(self, pieces, end=True):
        """Give it the pieces as it wants them, and then the end of the wire. Return what it leaves."""
        pieces = [piece for piece in pieces if piece]
        while pieces and self.channel.wants_input:
            self.act(self.channel.feed, pieces.pop(0))
            self.drain()
        if end and not pieces and self.channel.wants_input:
            self.act(self.channel.end)
            self.drain()
        return pieces

    def expire(self):
        self.act(self.channel.expire)
        self.drain()

    def _guard(self, call, *arguments):
        try:
            call(*arguments)
        except Exception as error:
            self.raised.append(error)


class Piped(World):
    """The row of a real socket, that only goes on while it is pumped: what a blocking mode has for its faces."""

    def __init__(self, sock, **facts):
        super().__init__(**facts)
        self.socket = sock
        sock.setblocking(False)
        self.turns = 256

    def replace(self, channel, by):
        assert channel is self.channel
        self.channel = by

    def serve(self, blocking, filters=()):
        """Let the blocking handler do the request, and return when the peer has been sent all."""
        handler = Passive(self.pump)
        self.channel = chain(StreamMachine(handler, self), filters)
        self.channel.advance()
        if self.pump(lambda: handler._machine.begun, 10):
            try:
                blocking(handler.face, self.peer, self.server)
            finally:
                handler.done()
        self.pump(lambda: False, 10)

    def pump(self, condition, timeout):
        end = None if timeout is None else time.monotonic() + timeout
        while not condition():
            self._settle()
            if condition():
                break
            left = None if end is None else max(0, end - time.monotonic())
            channel = self.channel
            if channel.finished and not channel.outbox:
                return False
            if channel.blocked:
                continue
            reads, writes = [self.socket][: channel.wants_input], [self.socket][: bool(channel.outbox)]
            readable, writable, _ = select.select(reads, writes, [], left)
            if readable:
                self._read()
            if not readable and not writable and left is not None and time.monotonic() >= end:
                return False
        return True

    def _settle(self):
        channel = self.channel
        if channel.outbox:
            try:
                channel.sent(self.socket.send(channel.outbox))
            except BlockingIOError:
                pass
            except OSError as error:
                channel.lose(Reset(error))
        if channel.blocked:
            channel.advance()
        if channel.output is ENDING and not channel.outbox and not channel.finished:
            self.socket.shutdown(socket.SHUT_WR)
            channel.end_output()

    def _read(self):
        try:
            data = self.socket.recv(65_536)
        except OSError as error:
            self.channel.lose(Reset(error))
        else:
            self.channel.feed(data) if data else self.channel.end()


class Identity(Filter):
    """Passes everything on, as the base does."""

    transparent = True

    @staticmethod
    def encode(data):
        return data

    @staticmethod
    def decode(wire):
        return wire


class Xor(Filter):
    """Changes each byte, in one direction otherwise than in the other: an echo that goes round it is no echo."""

    def received(self, data):
        self.deliver(self.encode(data))

    def flow(self, data):
        self.put(self.decode(data))

    @staticmethod
    def encode(data):
        """What the peer sends for ``data``, and the inverse."""
        return bytes(byte ^ 0x55 for byte in data)

    @staticmethod
    def decode(data):
        """What the filter puts for ``data``, and the inverse."""
        return bytes(byte ^ 0x33 for byte in data)


class Returning(Xor):
    """Returns the bytes, all of them or those behind the ones that it has delivered or put."""

    def __init__(self, inner):
        super().__init__(inner)
        self.turn = 0

    def received(self, data):
        return self.shared(self.deliver, self.encode(data))

    def flow(self, data):
        return self.shared(self.put, self.decode(data))

    def shared(self, verb, data):
        self.turn += 1
        first = (0, 1, len(data))[self.turn % 3]
        if first:
            verb(data[:first])
        return data[first:]


class Framed(Filter):
    """Puts each piece into a frame, a byte of length and the payload; an empty frame is the end of the stream."""

    def __init__(self, inner):
        super().__init__(inner)
        self.held = b""

    @property
    def pending(self):
        return len(self.held)

    def received(self, data):
        self.held += data
        while self.held and len(self.held) > self.held[0]:
            size = self.held[0]
            payload, self.held = self.held[1 : 1 + size], self.held[1 + size :]
            if payload:
                self.deliver(payload)
            else:
                self.deliver_end()

    def input_ended(self):
        if self.held:
            raise EndOfStream(self.held)
        super().input_ended()

    def flow(self, data):
        self.put(self.frames(data))

    def farewell(self):
        self.put(b"\0")

    @staticmethod
    def frames(data):
        pieces = (data[place : place + 200] for place in range(0, len(data), 200))
        return b"".join(bytes([len(piece)]) + piece for piece in pieces)

    @classmethod
    def encode(cls, data):
        return cls.frames(data) + b"\0"

    @staticmethod
    def decode(wire):
        pieces, place = [], 0
        while place < len(wire):
            size = wire[place]
            pieces.append(wire[place + 1 : place + 1 + size])
            place += 1 + size
            if not size:
                assert place == len(wire)
        return b"".join(pieces)


class Deflated(Filter):
    """Compresses, and puts nothing on the wire before there is much of it."""

    def __init__(self, inner):
        super().__init__(inner)
        self.incoming, self.outgoing = zlib.decompressobj(), zlib.compressobj()

    def received(self, data):
        self.deliver(self.incoming.decompress(data))

    def flow(self, data):
        self.put(self.outgoing.compress(data))

    def farewell(self):
        self.put(self.outgoing.flush())

    @staticmethod
    def encode(data):
        return zlib.compress(data)

    @staticmethod
    def decode(wire):
        return zlib.decompress(wire) if wire else b""


class Splitting(Filter):
    """Delivers one byte at a time."""

    def __init__(self, inner):
        super().__init__(inner)
        self.rest = b""

    @property
    def pending(self):
        return len(self.rest)

    def received(self, data):
        self.rest += data
        self.deliver(self.rest[:1])
        self.rest = self.rest[1:]
        if self.rest:
            self.again()

    def input_ended(self):
        self.deliver(self.rest)
        super().input_ended()

    encode, decode = Identity.encode, Identity.decode


class Greeting(Filter):
    """Opens when the peer has said ``hello\\n``, answers ``welcome\\n`` and changes each byte from then on."""

    name = "greeting"

    def __init__(self, inner):
        super().__init__(inner)
        self.line = b""
        self.greeted = False

    def begin(self):
        self.open_until("a line of greeting", timeout=5)

    def received(self, data):
        if not self.greeted:
            self.line += data
            line, found, data = self.line.partition(b"\n")
            if not found:
                return
            if line != b"hello":
                raise ValueError(f"a greeting, and not {line!r}")
            self.greeted = True
            self.put(b"welcome\n")
            self.open()
        self.deliver(Xor.encode(data))

    def flow(self, data):
        self.put(Xor.decode(data))

    @staticmethod
    def encode(data):
        return b"hello\n" + Xor.encode(data)

    @staticmethod
    def decode(wire):
        if not wire:
            return wire
        assert wire.startswith(b"welcome\n")
        return Xor.decode(wire.removeprefix(b"welcome\n"))


class Header(Filter):
    """Reads a line that names the peer and leaves, as a PROXY header does."""

    def __init__(self, inner):
        super().__init__(inner)
        self.line = b""

    def begin(self):
        self.open_until("a header", timeout=5)

    def received(self, data):
        self.line += data
        line, found, rest = self.line.partition(b"\n")
        if found:
            self.driver.peer = line.decode()
            self.leave(rest)

    @staticmethod
    def encode(data):
        return b"10.0.0.1\n" + data

    decode = Identity.decode


KINDS = [Identity, Xor, Returning, Framed, Deflated, Splitting, Greeting, Header]


def encoded(kinds, data):
    """What is on the wire for ``data``: the first of the filters is next to it."""
    for kind in reversed(kinds):
        data = kind.encode(data)
    return data


def decoded(kinds, wire):
    for kind in kinds:
        wire = kind.decode(wire)
    return wire
