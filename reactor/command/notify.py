"""What the command tells the manager of services, such as systemd: the protocol of ``sd_notify(3)``.

Each message is a datagram to the Unix socket that ``NOTIFY_SOCKET`` names. The manager never holds up the service: a
message that can't be sent at once, because that socket is full or is not there, is tried again later.
"""

from __future__ import annotations

import os
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING

from .errors import Wrong

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from .. import Reactor

LOOK = 1.0
"""Seconds between two looks at the table, for ``STATUS=``."""

WAITING = 16
"""Messages that may wait for the manager; others are dropped. States of the service are fewer, without many reloads."""

ALIVE = b"WATCHDOG=1"


class Notifier:
    """Tells the manager about the service, if there is a manager.

    With ``WATCHDOG_USEC``, the loop of the service says that it runs, twice in this time: the manager ends a service
    whose loop is blocked. (In mode sync the loop waits for each request.) Raises `Wrong` if a variable is there that
    can't be right.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        limit, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        self._address = _address_of(address)
        self._socket: socket.socket | None = None
        self._waiting: list[bytes] = []
        self._is_sending = self._is_stopping = False
        self._status = b""
        self.beat = _half_of(limit) if address and pid in ("", str(os.getpid())) else 0.0
        """Seconds between two messages to the watchdog of the manager; 0 for none."""

    def close_copy(self, keep: object) -> None:
        """In a forked child, which is not the service: close the socket, and tell nothing."""
        self._address = b""
        if self._socket is not None:
            self._socket.close()

    def ready(self, reactor: Reactor) -> None:
        """The service listens. From now on ``reactor`` says what it does."""
        self._enter(b"READY=1")
        if self._address:
            reactor.descriptors.add(self)
            self._look(reactor)
        if self.beat:
            self._live(reactor)

    def stopping(self) -> None:
        """The drain begins. May be called in a signal handler."""
        self._is_stopping = True
        self._tell(b"STOPPING=1")

    def reloading(self) -> None:
        """The service reads its files again; `reloaded` says the end of it."""
        self._enter(b"RELOADING=1\nMONOTONIC_USEC=%d" % (monotonic_ns() // 1000))

    def reloaded(self) -> None:
        """The service has read its files again, or has kept what it had."""
        self._enter(b"READY=1")

    def _enter(self, state: bytes) -> None:
        """Tell of a state that is not the last one, unless that has begun."""
        if not self._is_stopping:
            self._tell(state)

    def _live(self, reactor: Reactor) -> None:
        """Tell the watchdog that the loop runs."""
        if ALIVE in self._waiting:
            self._send()
        else:
            self._tell(ALIVE)
        reactor.call_later(self.beat, self._live, reactor)

    def _look(self, reactor: Reactor) -> None:
        """Tell the number of rows, if it is another one and nothing waits."""
        rows = len(reactor.table)
        status = b"STATUS=%d row%s" % (rows, b"" if rows == 1 else b"s")
        if self._waiting:
            self._send()
        elif status != self._status:
            self._status = status
            self._tell(status)
        reactor.call_later(LOOK, self._look, reactor)

    def _tell(self, message: bytes) -> None:
        if self._address and len(self._waiting) < WAITING:
            self._waiting.append(message)
            self._send()

    def _send(self) -> None:
        """Send what waits, as far as that is possible at once."""
        if self._is_sending:
            return  # a signal handler has interrupted it, and it goes on with the message of the handler
        self._is_sending = True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            while self._waiting:
                self._socket.sendto(self._waiting[0], self._address)
                del self._waiting[0]
        except OSError:
            pass  # the socket of the manager is full or has gone, or this process has no descriptor left
        finally:
            self._is_sending = False


def _address_of(name: str) -> bytes:
    """The address of the manager's socket; empty without one. Raises `Wrong`."""
    if not name:
        return b""
    if name[0] not in "/@" or not hasattr(socket, "AF_UNIX"):
        raise Wrong(f"NOTIFY_SOCKET is {name!r}, which is no Unix socket (/PATH or @NAME): unset it")
    address = os.fsencode(name)
    return b"\0" + address[1:] if name[0] == "@" else address


def _half_of(limit: str) -> float:
    """Half the time in which the watchdog must hear of the service, in seconds; 0 without one. Raises `Wrong`."""
    if not limit:
        return 0.0
    if not (limit.isascii() and limit.isdigit() and len(limit) < 20 and int(limit)):
        raise Wrong(f"WATCHDOG_USEC is {limit!r}, which is no number of microseconds from 1: unset it")
    return int(limit) / 2e6
