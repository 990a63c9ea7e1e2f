"""The server of the tests of RPC, from ``calculator.x``, and calls and replies as bytes."""

# ruff: noqa: N802 - the names of procedures are those of the file

from struct import pack
from typing import Any

from handlers import DatagramMachine, Delay, LimitPassed, StreamMachine, World
from handlers.sunrpc.auth import AuthError, AuthStatus
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.language import load
from handlers.sunrpc.program import NO_REPLY
from handlers.sunrpc.record import RPCStreamHandler
from tests import ROOT

FILE = ROOT / "tests" / "handlers" / "sunrpc" / "calculator.x"
x: Any = load(FILE)
PROGRAM, OTHER = 0x2000_0123, 0x2000_0124
NONE = bytes(8)
"""The ``opaque_auth`` of AUTH_NONE."""


class Calculator(x.CALCULATOR_1):
    count = 0

    def authorize(self, procedure):
        if procedure.name == "UID" and self.credential is None:
            raise AuthError(AuthStatus.TOOWEAK)

    def ADD(self, first, second):
        return first + second  # more than an int has is an error

    def REPEAT(self, text):
        return Delay(0.001), lambda _: self.repeated(text)

    def repeated(self, text):
        text.value *= text.times
        return Delay(0), lambda _: text

    async def LATER(self, milliseconds):
        await Delay(milliseconds / 1000)
        return milliseconds

    async def FAIL(self, when):
        if when == 0:
            raise ArithmeticError("on purpose")
        if when == 1:
            raise LimitPassed(None, what="a cause")
        if when == 2:
            raise AuthError(AuthStatus.REJECTEDCRED)
        await Delay(0)
        raise ArithmeticError("on purpose, later")

    def FORGET(self, _):
        return NO_REPLY

    def UID(self):
        return self.credential.uid

    def FILL(self, number):
        return bytes(number)

    def COUNT(self):
        type(self).count += 1
        return type(self).count


class Calculator3(x.CALCULATOR_3):
    def ADD(self, first, second):
        return first + second


class Negating(x.OTHER_2):
    def NEGATE(self, number):
        return -number


class Stream(RPCStreamHandler):
    versions = (Calculator, Calculator3, Negating)


class Datagram(RPCDatagramHandler):
    versions = (Calculator, Calculator3, Negating)


def auth(flavour, body, length=None):
    """An ``opaque_auth``; ``length`` is what it says of its body."""
    return pack(">II", flavour, len(body) if length is None else length) + body + bytes(-len(body) % 4)


def auth_sys(uid=1000, gids=(), name=b"host"):
    """The credential of AUTH_SYS."""
    padded = pack(">I", len(name)) + name + bytes(-len(name) % 4)
    return auth(1, pack(">I", 7) + padded + pack(f">3I{len(gids)}I", uid, 100, len(gids), *gids))


def call(
    xid, procedure, arguments=b"", version=1, program=PROGRAM, credential=NONE, verifier=NONE, rpc_version=2, kind=0
):
    """A call as bytes (RFC 5531, section 9)."""
    return pack(">6I", xid, kind, rpc_version, program, version, procedure) + credential + verifier + arguments


def words(*numbers):
    """The numbers as XDR integers."""
    return b"".join(pack(">i" if number < 0 else ">I", number) for number in numbers)


def records(data):
    """The records of a stream in which each is one fragment."""
    found = []
    while data:
        length = int.from_bytes(data[:4], "big") & 0x7FFF_FFFF
        assert data[0] & 0x80
        assert len(data) >= 4 + length
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


def world():
    return World(now=lambda: 1000.0, peer=("127.0.0.1", 1))


def streamed(data, kind=Stream):
    """What the handler answers to these bytes of a stream: its machine, and the records."""
    outside = world()
    machine = StreamMachine(kind(), outside)
    machine.feed(data)
    return machine, records(machine.read() + finish_calls(machine, outside))


def finish_calls(machine, outside):
    """Make the calls that were begun, one after the other, as a reactor does it; return the output."""
    output = b""
    while outside.calls:
        handler, packet, answer = outside.calls.pop(0)
        made = DatagramMachine(handler, world())
        try:
            run(made, packet)
        finally:
            while made.outbox:
                answer(made.read())
            machine.call_ended()
            machine.advance()
            output += machine.read()
    return output


def run(machine, packet):
    """Feed the packet, and let the time of each wait pass at once."""
    machine.feed(packet)
    while not machine.finished:
        machine.expire()


def datagram(packet, kind=Datagram, outside=None):
    """What the handler answers to a datagram."""
    machine = DatagramMachine(kind(), outside or world())
    try:
        run(machine, packet)
    finally:
        answered = [machine.read() for _ in range(len(machine.outbox or ()))]
    return answered
