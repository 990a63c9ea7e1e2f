"""Faults on real sockets: reads and writes that are cut short, and calls on ready sockets that would block.

A kernel may do all of this, but rarely does. No byte is lost by it: a correct program sends the same bytes over a
chaotic network as over an ordinary one.
"""

from __future__ import annotations

import errno
import socket
from socket import socket as Socket  # noqa: N812  # the class `Chaos` has a method socket()
from typing import TYPE_CHECKING, Any

from .faults import AGAIN, EXHAUSTED, EXHAUSTED_ERRORS, SHORT_READ, SHORT_WRITE, Seeded, check_rates, failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from .faults import Plan

CHAOS: Mapping[str, float] = {SHORT_READ: 0.6, SHORT_WRITE: 0.6, AGAIN: 0.3, EXHAUSTED: 0.1}
"""The kinds of fault on real sockets, and the share of calls that suffer each, from 0 to 1."""

FEW = 8
"""The most bytes that a call moves if it is cut short."""

_WHOLE = getattr(socket, "MSG_WAITALL", 0)


def chaotic(seed: int, rates: Mapping[str, float] = CHAOS) -> Chaos:
    """A network for a `Reactor` whose sockets do what a kernel may do but rarely does.

    ``recv()`` returns fewer bytes than there are, ``send()`` takes fewer than there is room for, a call on a
    non-blocking socket raises ``BlockingIOError`` although it could be done, and ``accept()`` fails because the host
    has no descriptors left. ``rates`` says how often, ``seed`` seeds the random numbers. Datagrams are never cut. A
    call on a blocking socket is only cut short.

    Raises `ValueError` for a kind of fault that is not in `CHAOS`, or a rate that is not from 0 to 1.

    >>> from reactor import Reactor
    >>> loop = Reactor(network=chaotic(seed=4711))
    >>> loop.close()

    `Chaos.wrap` turns any socket into a chaotic one.

    >>> ours, theirs = socket.socketpair()
    >>> with chaotic(seed=1, rates={"short read": 1.0}).wrap(ours) as ours, theirs:
    ...     theirs.sendall(b"hello")
    ...     len(ours.recv(5)) < 5
    True
    """
    check_rates(rates, CHAOS)
    return Chaos(Seeded(seed, rates, moods=False))


class Chaos:
    """A chaotic network, in place of the module ``socket``. `chaotic` constructs it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        """The plan of the faults; ``plan.injected`` lists the faults so far."""

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> ChaoticSocket:  # noqa: A002
        """A new socket."""
        sock = ChaoticSocket(family, type, proto)
        sock.plan = self.plan
        return sock

    def wrap(self, sock: Socket) -> ChaoticSocket:
        """A chaotic socket with the descriptor of ``sock``, which is detached."""
        timeout = sock.gettimeout()
        wrapped = ChaoticSocket(sock.family, sock.type, sock.proto, sock.detach())
        wrapped.plan = self.plan
        wrapped.settimeout(timeout)
        return wrapped

    def __getattr__(self, name: str) -> Any:
        # socketpair() is an ordinary one: the loop uses it for wake-ups, which must not be delayed.
        return getattr(socket, name)


class ChaoticSocket(Socket):
    """A real socket whose calls are cut short, or fail with ``EAGAIN``, as its plan says."""

    plan: Plan

    def accept(self) -> tuple[Self, Any]:
        """As ``socket.accept``. The new socket is chaotic too."""
        self._could()
        amount = self.plan.draw(EXHAUSTED, len(EXHAUSTED_ERRORS))
        if amount and self.gettimeout() == 0:
            raise failure(getattr(errno, EXHAUSTED_ERRORS[amount - 1]))
        sock, address = super().accept()
        wrapped = type(self)(sock.family, sock.type, sock.proto, sock.detach())
        wrapped.plan = self.plan
        wrapped.settimeout(socket.getdefaulttimeout())
        return wrapped, address

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As ``socket.recv``."""
        self._could()
        return super().recv(self._short(SHORT_READ, bufsize, flags), flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As ``socket.recv_into``, which ``makefile()`` uses."""
        self._could()
        size = self._short(SHORT_READ, nbytes or memoryview(buffer).nbytes, flags)
        return super().recv_into(buffer, size, flags)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """As ``socket.recvfrom``."""
        self._could(flags)
        return super().recvfrom(bufsize, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``."""
        self._could()
        with memoryview(data) as view, view.cast("B") as octets:
            return super().send(octets[: self._short(SHORT_WRITE, len(octets), flags)], flags)

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        self._could(flags_and_address[0] if len(flags_and_address) > 1 else 0)
        return super().sendto(data, *flags_and_address)

    def _could(self, flags: int = 0) -> None:
        """A chance for a non-blocking call to raise ``EAGAIN``."""
        blocks = self.gettimeout() != 0 and not flags & getattr(socket, "MSG_DONTWAIT", 0)
        if not blocks and self.plan.draw(AGAIN):
            raise failure(errno.EAGAIN)

    def _short(self, kind: str, size: int, flags: int) -> int:
        """How many of ``size`` bytes to move: all, or so few that even a short message is cut."""
        if size < 2 or self.type != socket.SOCK_STREAM or flags & _WHOLE:
            return size
        return self.plan.draw(kind, min(size - 1, FEW)) or size
