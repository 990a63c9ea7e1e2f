"""`Request`: one row of the table, a request that has begun and is not finished, whatever drives it.

    accept, admission -> QUEUED -> OPENING -> SERVING -> DRAINING -> LINGERING -> ENDED
                         waits     a filter   the        the output  the peer     the loop has
                         for a     shakes     handler    drains      has not      released the row
                         child     hands      runs                   ended

A row may skip any stage but the last. It tells what it waits for, how many bytes it holds, its deadline, and the reason
of its end. This class neither reads nor sends: the classes derived from it in the room ``rows`` do.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from sys import intern

from ..handlers.causes import Cause
from ..handlers.saying import safe_name, safe_repr, safe_str
from ..loop.timers import NEVER, Timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeAlias

    from .bounds import Pace
    from .posted import Posted
    from .reactor import Reactor

    class Owner(Protocol):
        """The object that has made a row, and that is told of the row's errors and of its end."""

        def failed(self, row: Request) -> None:
            """The row's handler has raised an exception. Called in the ``except`` clause."""

        def released(self, row: Request) -> None:
            """The loop has released the row: close its connection."""

        def dismiss(self, row: Request, cause: Cause) -> None:
            """End a row that is still queued: its handler never begins."""

        def opened(self, row: Request) -> None:
            """The filters of the row have opened, or have failed to: ``row.channel.begun`` says which.

            Not called for a row whose handler begins as soon as the row is driven, nor for one that is lost.
            """

        def moved(self, row: Request) -> None:
            """A filter has set another `peer`. Raises `Cancelled` if that peer is not allowed."""

    Passed: TypeAlias = tuple[int, Any, type, int, int, Any]
    """The arguments of `finished_record`, of a request that has finished in the batch in which it came."""


class Stage(Enum):
    """Where a row is in its life."""

    QUEUED = "queued"
    """It waits for a child or a thread; its handler has not begun."""
    OPENING = "opening"
    """A filter in front of the handler shakes hands, or reads a header."""
    SERVING = "serving"
    """The handler runs, or waits."""
    DRAINING = "draining"
    """The request has ended; its output has not all been sent."""
    LINGERING = "lingering"
    """All output is sent; the connection stays open until the peer has acknowledged it (lingering close)."""
    ENDED = "ended"
    """The loop has released the row."""


QUEUED, SERVING, ENDED = Stage.QUEUED, Stage.SERVING, Stage.ENDED
"""What each row goes through: CPython 3.11 makes a call for an attribute of an enumeration."""


class DrivenBy:
    """What drives a row: the loop, the caller of ``serve_forever()``, a child (`pid`) or a thread (`thread`)."""

    __slots__ = ("_text", "mode", "pid", "thread")

    def __init__(self, mode: str, pid: int = 0, thread: str = "") -> None:
        self.mode = mode
        self._text = " ".join(filter(None, (mode, str(pid or thread))))
        self.pid = pid
        """The pid of the child; 0 if no child drives the row."""
        self.thread = thread
        """The name of the thread; ``""`` if no thread drives the row."""

    def __str__(self) -> str:
        return self._text

    @classmethod
    def child(cls, pid: int) -> DrivenBy:
        """The child with that pid."""
        return cls("child", pid=pid)

    @classmethod
    @lru_cache(maxsize=256)
    def in_thread(cls, name: str) -> DrivenBy:
        """The thread of that name."""
        return cls("thread", thread=name)


LOOP = DrivenBy("loop")
"""The loop drives the row: select mode."""

CALLER = DrivenBy("caller")
"""The caller of ``serve_forever()`` drives the row, in a loop of its own."""


class Rare:
    """Attributes that few rows need. A row without them has only a reference to ``None``, eight bytes."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.principal: Any = None
        self.secured: Any = None
        self.peer_certificate: Any = None
        self.alpn: Any = None
        self.proxy_header: Any = None
        self.left: tuple[str, ...] = ()
        """The labels of the filters that have left the chain."""
        self.credentials: tuple[int, int, int] | None = None
        self.posted: Posted | None = None
        """What other threads have written to the row; ``None`` if no other thread may write to it."""
        self.calls: Any = None
        """The open calls of the request (`Handler.call`)."""
        self.pace: Pace | None = None
        """The time limits that the handler's class declares beyond the timeouts of waits."""
        self.is_moved = False
        """Whether a filter has set another peer than the one that has connected."""
        self.refusal = ""
        """Why the peer that a filter has set was refused; a key of `RequestTable.refused`."""
        self.acknowledgement: Any = None
        """The `Acknowledgement` of a row that lingers only until its output has been acknowledged."""
        self.relay: Callable[[Any, float], bool] | None = None
        """Moves what a row receives to another row, and not through its handler: see `rows.relaying`."""
        self.bulk = 0
        """1 if the last read was full, so that the next one may be larger; below 0: full reads until that is tried."""
        self.is_hung_up = False
        """Whether the peer has closed its socket, and input that came before is still to be read."""


def _of_rare(name: str, doc: str, default: object = None) -> Any:
    """An attribute of a row that its `Rare` holds; ``default`` where there is none."""

    def get(row: Request) -> Any:
        return default if row.rare is None else getattr(row.rare, name)

    def set_(row: Request, value: object) -> None:
        setattr(row.make_rare(), name, value)

    return property(get, set_, doc=doc)


class Request(Timed):
    """One row: a request that has begun and is not finished.

    Times are seconds of the reactor's clock, sizes are bytes.
    """

    mask = 0  # the events that are registered; a row with a descriptor of its own has a slot for it
    is_arrival = True
    """Whether it counts as a request of its host (``max_per_peer``); a call is part of the request that made it."""
    has_face = False
    """Whether its blocking handler has a `Face` for its socket, because there are filters in front of it."""
    is_cut = False
    """Whether the peer lacks output that was dropped; a row of a stream knows."""
    __slots__ = (
        "_peer", "channel", "counted", "created", "driven_by", "owner", "progress", "rare", "reactor",
        "serial", "server", "stage", "total_in", "total_out", "unsettled",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, server: Any, peer: Any, owner: Owner, driven_by: DrivenBy = CALLER) -> None:
        self.deadline = self.armed = NEVER  # as `Timed` does; it is not called because each connection has a row
        self.reactor = reactor
        self.server = server
        self.owner = owner
        self._peer = shared_host(peer)
        self.channel: Any = None
        """What runs the handler, a `Channel`; ``None`` where a blocking handler runs itself."""
        self.stage = QUEUED
        self.driven_by = driven_by
        self.serial = 0
        """A number that the table gives, from 1 up, and never uses again; 0 before that."""
        self.created = self.progress = reactor.time
        """When the request arrived, and when a byte last went in or out."""
        self.total_in = self.total_out = 0
        self.counted = 0
        """Bytes held, as they were last counted in the reactor's `Budget`."""
        self.rare: Rare | None = None
        self.unsettled = False
        """Whether the row is to be settled at the end of the batch."""

    # What it tells

    @property
    def handler(self) -> str:
        """The name of the handler's class."""
        if self.channel is None:
            return safe_name(self.server.RequestHandlerClass)
        handler = self.channel.handler
        kind: type = handler if isinstance(handler, type) else type(handler)  # when it has ended, it has the class
        return kind.__name__

    @property
    def state(self) -> str:
        """The name of the state that gets the wait's result; while a filter is opening, the name of the filter."""
        name: str = "handle" if self.channel is None else self.channel.state_name
        return name

    @property
    def in_front(self) -> str:
        """What is in front of the handler, next to the wire first: the labels of its filters (`BaseFilter.label`).

        Filters that have left the chain, such as `Proxy`, are named too: ``"proxy tls1.3 h2"``.
        """
        labels = self.left if self.channel is None else self.left + self.channel.labels
        return " ".join(labels) if labels else ""

    @property
    def wait(self) -> str:
        """The ``repr()`` of the wait; ``""`` if the request has not begun, or has ended."""
        if self.channel is None or self.channel.wait is None or self.stage is Stage.QUEUED:
            return ""
        return safe_repr(self.channel.wait)

    @property
    def held_in(self) -> int:
        """Bytes of input held."""
        held: int = 0 if self.channel is None else self.channel.held_in
        return held

    @property
    def held_out(self) -> int:
        """Bytes of output held."""
        held: int = 0 if self.channel is None else self.channel.held_out
        return held

    @property
    def error(self) -> BaseException | None:
        """Why a request without a channel has ended; ``None`` where nothing went wrong."""
        return None if self.rare is None else self.rare.error

    @error.setter
    def error(self, error: BaseException | None) -> None:
        if error is not self.error:
            self.make_rare().error = error

    @property
    def reason(self) -> BaseException | None:
        """Why the request has ended: ``None`` where it has finished, or has not ended.

        ``None`` for a health check that the proxy has just ended or reset: nothing is wrong then.
        """
        reason = self.whole_reason
        return None if reason is None or self.overlooks(reason) else reason

    @property
    def whole_reason(self) -> BaseException | None:
        """The `reason`, also where a proxy has just ended or reset its health check."""
        reason: BaseException | None = None if self.channel is None else self.channel.reason
        return self.error if reason is None else reason  # an exception may be false: it may have a len()

    def overlooks(self, error: BaseException | None) -> bool:
        """Whether ``error`` is only the end of a health check. A blocking handler gets a `ConnectionError` for it."""
        is_end = error.is_end if isinstance(error, Cause) else isinstance(error, ConnectionError)
        return is_end and self.is_health_check

    @property
    def is_health_check(self) -> bool:
        """Whether this is a health check of a proxy: its header is LOCAL, or names no client and no byte follows."""
        rare = self.rare
        header = None if rare is None else rare.proxy_header
        if rare is None or header is None:
            return False
        return header.is_local or (not rare.is_moved and self.total_in == header.size)

    @property
    def lingering(self) -> bool:
        """Whether the request has ended, and all of its output has been sent."""
        channel = self.channel
        return channel is not None and channel.finished and not channel.outbox and channel.complete

    def age(self) -> float:
        """Seconds since the request arrived."""
        return self.reactor.clock.monotonic() - self.created

    def idle(self) -> float:
        """Seconds since a byte last went in or out."""
        return self.reactor.clock.monotonic() - self.progress

    def is_between_messages(self) -> bool:
        """Whether the handler waits for the first byte of a message, and the row holds no byte."""
        return False

    def end_if_idle(self) -> None:
        """The server drains: end the request if it is between messages and its handler may be ended there."""

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data: strings, numbers, and ``None`` for what there is not.

        ``deadline`` is in seconds from now.
        """
        left = self.deadline - self.reactor.clock.monotonic()
        return {
            **self._common(),
            "state": self.state,
            "wait": self.wait,
            "held_in": self.held_in,
            "held_out": self.held_out,
            "deadline": None if left == NEVER else left,
        }

    def record(self) -> dict[str, Any]:
        """The row as plain data when it has ended; ``reason`` is ``""`` for a request that has finished."""
        reason, record = self.reason, self._common()
        record["reason"] = "" if reason is None else f"{type(reason).__name__}: {safe_str(reason)}"
        return record

    def facts(self) -> tuple[Any, ...]:
        """What `finished_record` makes the `record` of, if the row has no reason and no `Rare`."""
        channel, now = self.channel, self.reactor.clock.monotonic()
        return (
            self.serial, self._peer, self.handler, self.total_in, self.total_out, None,
            () if channel is None else channel.labels, self.stage, self.driven_by, now - self.created,
            now - self.progress,
        )  # fmt: skip

    def _common(self) -> dict[str, Any]:
        """What `as_dict` and `record` have in common."""
        told, rare = common_record(*self.facts()), self.rare
        if rare is not None:
            header = rare.proxy_header
            told.update(
                in_front=self.in_front, principal=rare.principal, secured=rare.secured,
                proxied=None if header is None else header.as_dict(),
            )  # fmt: skip
        return told

    # What the channel asks of the row: see `handlers.handler.Driver`

    @property
    def peer(self) -> Any:
        """The peer's address, from ``accept()`` or ``recvfrom()``, or as a filter has set it."""
        return self._peer

    @peer.setter
    def peer(self, address: Any) -> None:
        self.move(address)
        self.owner.moved(self)

    def move(self, address: Any) -> None:
        """The peer is ``address``: count the row for that host."""
        self.reactor.table.move(self, address)
        self._peer = shared_host(address)
        self.make_rare().is_moved = True

    def refused(self, what: str) -> None:
        """The peer that a filter has set is not allowed; ``what`` is the key in `RequestTable.refused`."""
        self.make_rare().refusal = what
        self.reactor.table.count_refused(what)

    principal = _of_rare("principal", "The authenticated name of the peer; ``None`` where nobody has authenticated it.")
    secured = _of_rare("secured", "What protects the connection, such as ``'tls1.3'``; ``None`` where nothing does.")
    peer_certificate = _of_rare("peer_certificate", "The peer's verified certificate: see `Handler.peer_certificate`.")
    alpn = _of_rare("alpn", "The application protocol that TLS has agreed on; ``None`` without one.")
    proxy_header = _of_rare("proxy_header", "What a proxy has said of the connection: see `Handler.proxy_header`.")
    left = _of_rare("left", "The labels of the filters that have left the chain.", ())

    @property
    def credentials(self) -> tuple[int, int, int] | None:
        """``(pid, uid, gid)`` of the peer of a Unix stream socket when it connected; ``None`` for any other."""
        return None if self.rare is None else self.rare.credentials

    @credentials.setter
    def credentials(self, told: tuple[int, int, int] | None) -> None:
        if told is not None or self.rare is not None:
            self.make_rare().credentials = told

    def channel_binding(self, kind: str) -> bytes | None:
        """``None``: only filters have channel bindings."""
        return None

    def make_rare(self) -> Rare:
        """`rare`, made if there is none."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return self.reactor.clock.time()

    # What the table and the servers ask of the row

    def begin(self, reactor: Reactor) -> None:
        """From now on ``reactor`` drives the row."""
        self.reactor = reactor
        self.stage = SERVING

    def cancel(self, cause: Cause) -> None:
        """End the row for ``cause``: its handler is told, and its output is sent as far as the kernel takes it now."""
        if self.stage is Stage.QUEUED:
            self.owner.dismiss(self, cause)

    def lose(self, cause: Cause) -> None:
        """End the row for ``cause``: its handler is told, and its output is dropped."""
        if self.stage is Stage.QUEUED:
            self.owner.dismiss(self, cause)

    def weigh(self) -> None:
        """Count the bytes that the row now holds in the reactor's budget."""
        held = self.held_in + self.held_out
        if self.rare is not None and self.rare.posted is not None:
            held += self.rare.posted.held
        if held != self.counted:
            self.reactor.budget.count(self, held)

    def release(self) -> None:
        """The loop releases the row, which is in no table any more: tell the owner."""
        self.stage = ENDED
        self.owner.released(self)

    def forget(self) -> None:
        """The row has been released: break its reference cycles. A second call does nothing."""

    @property
    def request(self) -> Any:
        """What ``socketserver`` calls the request: a connected socket, or ``(packet, socket)``."""
        return None

    def break_off(self) -> None:
        """End what a blocking handler waits for, from any thread. Nothing to do for another handler."""

    def close_copy(self) -> None:
        """In a forked child that does not drive the row: close the copy of its descriptor."""


def finished_record(*facts: Any) -> dict[str, Any]:
    """As `Request.record`, for a request that has finished; ``facts`` are the arguments of `common_record`."""
    return {**common_record(*facts), "reason": ""}


def common_record(
    serial: int, peer: Any, handler: str | type, total_in: int, total_out: int, principal: Any = None,
    labels: Sequence[str] = (), stage: Stage = Stage.DRAINING, driven_by: DrivenBy = LOOP, age: float = 0.0,
    idle: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """What all records have in common, for a request of a peer of whom nothing but the address is known."""
    return {
        "serial": serial,
        "peer": address_text(peer),
        "in_front": " ".join(labels),
        "handler": handler if isinstance(handler, str) else handler.__name__,
        "stage": stage._value_,  # what `value` calls a function for
        "driven_by": str(driven_by),
        "principal": principal,
        "secured": None,
        "proxied": None,
        "total_in": total_in,
        "total_out": total_out,
        "age": age,
        "idle": idle,
    }


def shared_host(peer: Any) -> Any:
    """The address with its host interned: many rows have the same host."""
    if type(peer) is tuple and peer and type(peer[0]) is str:
        return (intern(peer[0]), *peer[1:])
    return peer


def address_text(peer: Any) -> str:
    """An address as text: ``host:port``, a Unix path, or ``-`` where the peer has none.

    >>> address_text(("::1", 7, 0, 0)), address_text("/run/x"), address_text("")
    ('[::1]:7', '/run/x', '-')
    """
    if isinstance(peer, tuple) and len(peer) >= 2:
        host, port = safe_str(peer[0]), safe_str(peer[1])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(peer, bytes):
        peer = "@" + peer[1:].decode(errors="replace") if peer[:1] == b"\0" else peer.decode(errors="replace")
    return safe_str(peer) if peer else "-"
