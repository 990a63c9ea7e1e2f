"""Filters and their peers for `check` (``through=``): right ones, and ones with a fault."""

from functools import partial

from handlers.packet_filter import PacketFilter
from reactor.rows.filters.tls import TLS, Truncated
from reactor.testing import Peer, Through, tls
from tests.handlers.rows import Framed, Xor


class XorPeer(Peer):
    send = staticmethod(Xor.encode)
    received = staticmethod(Xor.decode)


class FramedPeer(Peer):
    """The other end of `Framed`."""

    has_end = True

    def __init__(self):
        self.held, self.ended = b"", False

    def send(self, plain):
        return Framed.frames(plain)

    def received(self, wire):
        self.held += wire
        plain = b""
        while self.held and len(self.held) > self.held[0]:
            self.ended = not self.held[0]
            plain += self.held[1 : 1 + self.held[0]]
            self.held = self.held[1 + self.held[0] :]
        return plain

    def end(self):
        return b"\0"

    def received_end(self):
        assert self.ended, "no empty frame"


class StrictFramed(Framed):
    """An end without an empty frame is a cause."""

    def input_ended(self):
        raise Truncated("in the middle of a frame")


class Numbered(PacketFilter):
    def received(self, packet):
        if not packet.startswith(b"?"):
            raise ValueError(packet)
        self.deliver(packet[1:])

    def flow(self, packet):
        self.put(b"!" + packet)


class NumberedPeer(Peer):
    def send(self, plain):
        return b"?" + plain

    def received(self, wire):
        assert wire[:1] == b"!"
        return wire[1:]


XOR = Through(Xor, XorPeer)
FRAMED = Through(StrictFramed, FramedPeer)
NUMBERED = Through(Numbered, NumberedPeer)


# Filters with faults


class Lossy(Xor):
    """Loses what comes after a zero byte in one piece."""

    def received(self, data):
        super().received(data.partition(b"\x55")[0] if len(data) > 2 else data)


class Trusting(Framed):
    """Takes an end in the middle for an end."""

    def input_ended(self):
        self.deliver_end()


class Mute(Framed):
    """Says no last word."""

    def farewell(self):
        pass


class Forgetful(Framed):
    """Forgets a length that has come without its payload."""

    def received(self, data):
        super().received(data)
        if len(self.held) == 1:
            self.held = b""


class Careless(TLS):
    """Takes a truncated stream for an end in order, as ``OP_IGNORE_UNEXPECTED_EOF`` does."""

    def input_ended(self):
        self.deliver_end()


class Raising(Xor):
    def input_ended(self):
        raise KeyError("no such thing")


BROKEN = {
    "bytes are lost": (Through(Lossy, XorPeer), XOR, "the output is different"),
    "an end in the middle": (Through(Trusting, FramedPeer), FRAMED, "the truncated input passes for all of it"),
    "no last word": (Through(Mute, FramedPeer), FRAMED, "no empty frame"),
    "bytes are lost if they are cut": (Through(Forgetful, FramedPeer), FRAMED, "the output is different|the request"),
    "an exception": (Through(Raising, XorPeer), XOR, "it raises KeyError"),
    "truncation": (
        tls()._replace(filter=partial(Careless, **tls().filter.keywords)), tls(), "the truncated input passes",
    ),
}  # fmt: skip
"""What is wrong: the filter that has this fault, its mending, and a pattern of what the report says."""
