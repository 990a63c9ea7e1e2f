"""Small services, for streams and datagrams: echo, discard, daytime, time and character generator.

(RFC 862, 863, 867, 868 and 864.) They are examples, `Echo` is what the command serves by default, and tests use them.
"""

from __future__ import annotations

from .handler import DatagramHandler, StreamHandler
from .waits import Flushed, Packet, Some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .handler import Step


# A wait is a value, so all requests can share one object: an idle connection then takes 100 bytes less.
_ANY = Some()
_PACKET = Packet()


_SERVICES = (7, 13, 19, 37)
"""The ports of the services that answer any datagram: echo, daytime, chargen, time."""


def _comes_from_service(handler: DatagramHandler) -> bool:
    """Whether the datagram comes from the port of such a service.

    Such a datagram is forged, because these services only answer. Two of them would answer each other for ever (CERT
    CA-1996-01). A datagram that claims to come from the server's own address is dropped by the server.
    """
    peer = handler.peer
    return isinstance(peer, tuple) and peer[1] in _SERVICES


class Echo(StreamHandler):
    """Send all input back, until the client ends the stream (RFC 862, TCP).

    >>> from handlers import StreamMachine
    >>> machine = StreamMachine(Echo())
    >>> machine.feed(b"hello")
    >>> machine.read()
    b'hello'
    """

    def handle(self) -> Step:
        return _ANY, self.echo

    def echo(self, data: bytes) -> Step:
        self.send(data)
        return _ANY, self.echo


class EchoDatagram(DatagramHandler):
    """Send each datagram back (RFC 862, UDP), except to the port of a service that would answer it."""

    def handle(self) -> Step:
        return _PACKET, self.echo

    def echo(self, packet: bytes) -> Step:
        if not _comes_from_service(self):
            self.send(packet)
        return None


class Discard(StreamHandler):
    """Drop all input; no response (RFC 863, TCP)."""

    def handle(self) -> Step:
        return _ANY, self.discard

    def discard(self, data: bytes) -> Step:
        return _ANY, self.discard


class DiscardDatagram(DatagramHandler):
    """Drop each datagram; no response (RFC 863, UDP)."""

    def handle(self) -> Step:
        return _PACKET, self.discard

    def discard(self, packet: bytes) -> Step:
        return None


_DAYS = ("Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday")  # 1970-01-01: a Thursday
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip


def daytime(seconds: float) -> bytes:
    """The line of RFC 867 for ``seconds`` since 1970-01-01 00:00 UTC, in its first suggested form.

    >>> daytime(383_276_263)
    b'Tuesday, February 23, 1982 01:37:43-UTC\\r\\n'
    """
    days, clock = divmod(int(seconds), 86_400)
    # The civil date of a day number, in years that begin in March so that the leap day comes last.
    century, of_century = divmod(4 * (days + 719_468) + 3, 146_097)
    year, of_year = divmod(4 * (of_century // 4) + 3, 1_461)
    month, of_month = divmod(5 * (of_year // 4) + 2, 153)
    year += 100 * century + (month >= 10)
    return (
        f"{_DAYS[days % 7]}, {_MONTHS[(month + 2) % 12]} {of_month // 5 + 1}, {year} "
        f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}-UTC\r\n"
    ).encode()


class Daytime(StreamHandler):
    """Send the date and time as a line of text and close (RFC 867, TCP). Input is not read."""

    def handle(self) -> Step:
        self.send(daytime(self.now()))
        return None


class DaytimeDatagram(DatagramHandler):
    """Answer each datagram with the date and time as text (RFC 867, UDP), except from the port of such a service."""

    def handle(self) -> Step:
        return _PACKET, self.answer

    def answer(self, packet: bytes) -> Step:
        if not _comes_from_service(self):
            self.send(daytime(self.now()))
        return None


_EPOCH_1900 = 2_208_988_800  # seconds from 1900-01-01 to 1970-01-01, both 00:00 UTC (RFC 868)


def time32(seconds: float) -> bytes:
    """Seconds since 1900-01-01 00:00 UTC as 32 bits, most significant first (RFC 868).

    ``seconds`` counts from 1970-01-01 00:00 UTC. The number wraps in 2036, as RFC 868's must.

    >>> time32(0).hex()
    '83aa7e80'
    """
    return ((int(seconds) + _EPOCH_1900) & 0xFFFF_FFFF).to_bytes(4, "big")


class Time(StreamHandler):
    """Send the time as a 32-bit number and close (RFC 868, TCP). Input is not read."""

    def handle(self) -> Step:
        self.send(time32(self.now()))
        return None


class TimeDatagram(DatagramHandler):
    """Answer each datagram with the time as a 32-bit number (RFC 868, UDP), except from the port of such a service."""

    def handle(self) -> Step:
        return _PACKET, self.answer

    def answer(self, packet: bytes) -> Step:
        if not _comes_from_service(self):
            self.send(time32(self.now()))
        return None


_RING = bytes(range(0x20, 0x7F))  # the 95 printing characters, space included
_PATTERN = b"".join((_RING + _RING)[first : first + 72] + b"\r\n" for first in range(len(_RING)))


class CharGen(StreamHandler):
    """Send lines of 72 printing characters, each shifted by one, for as long as the client takes them.

    (RFC 864, TCP.) Input is not read.
    """

    def handle(self) -> Step:
        return Flushed(), self.more

    def more(self, _: None) -> Step:
        self.send(_PATTERN)
        return Flushed(), self.more


class CharGenDatagram(DatagramHandler):
    """Answer each datagram with 0 to 512 characters of the pattern (RFC 864, UDP), except from the port of a service.

    RFC 864 wants a random number of characters; a handler is pure, so it takes the number from the time.
    """

    def handle(self) -> Step:
        return _PACKET, self.answer

    def answer(self, packet: bytes) -> Step:
        if not _comes_from_service(self):
            self.send(_PATTERN[: int(self.now() * 1_000_000) % 513])
        return None
