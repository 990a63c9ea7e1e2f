"""Filters: what stands between a request and its connection and changes the bytes, or looks at them.

TLS is a filter, and so are the PROXY header, a recorder and an injector of faults. Filters form a chain:

    kernel · row ⇄ filter ⇄ … ⇄ filter ⇄ machine · handler

The bytes on the side of the row are called *wire bytes*; what is on the side of the handler is the *inner channel* of
a filter, be it a machine or another filter. The handler knows of no filter. Pure, as all of `handlers`: what runs a
filter is its `link`, as a machine runs a handler. Filters of datagrams are in `packet_filter`.
"""

from __future__ import annotations

from .causes import TooEarly
from .link import WINDOW, Link
from .sources import NOTHING
from .states import bare
from .waits import REFUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Protocol, TypeVar

    from .base_link import BaseLink
    from .causes import Cause
    from .channel import StreamChannel
    from .handler import StreamDriver
    from .machines import StreamMachine
    from .waits import Filtered

    C = TypeVar("C")
    C_co = TypeVar("C_co", covariant=True)

    class Front(Protocol[C_co]):
        """A filter in front of a channel."""

        @property
        def channel(self) -> C_co: ...


class BaseFilter:
    """What filters of streams and of packets have in common."""

    __slots__ = ("_link",)
    _link: BaseLink

    name = ""
    """What the table shows as the state while the filter opens; the name of the class if it is empty."""

    def begin(self) -> None:
        """Called once, first: call `open`, `open_until` or `leave`. The default opens at once."""
        self.open()

    def step(self) -> None:
        """Do the costly step that `queue_step` has asked for. The default does nothing."""

    def channel_binding(self, kind: str) -> bytes | None:
        """The channel binding of this kind, if the filter protects the channel and has one. The default has none.

        See `Handler.channel_binding`.
        """
        return None

    @property
    def label(self) -> str:
        """What the table shows in the column ``in front``, and `Request.as_dict`, at any time; ``""``: nothing.

        A filter that has left is still told of, with the label that it had then. The default is the name."""
        return self.name or type(self).__name__

    def expired(self) -> None:
        """The time of `open_until` is over. The default fails with `TimedOut`.

        A filter that has something to try again calls `open_until` again.
        """
        self._link.time_out()

    # Verbs

    def open_until(self, what: str, timeout: float = 30.0) -> None:
        """Do not open yet: ``what`` is to come first, in words for the table (``"the TLS handshake"``).

        The request does not begin, and its output does not flow. After ``timeout`` seconds the filter fails with
        `TimedOut`. May be called again for the next thing to come, which has a time of its own.
        """
        self._link.open_until(what, timeout)

    def open(self) -> None:
        """Let the request begin, or go on, behind the filter."""
        self._link.open()

    def queue_step(self) -> None:
        """There is a costly step to do (about a millisecond): have `step` called, once, when it is this row's turn.

        A loop does a few of them in a batch, so that a thousand handshakes at once do not hold up the other rows.
        """
        self._link.ask_step()

    def fail(self, cause: Cause) -> None:
        """End the request for ``cause``. What has been `put` still leaves; other output is dropped.

        A handler that has begun is told (`Handler.interrupted`). One that has not, because a filter opens, does not
        begin. No method of the filter is called any more.
        """
        self._link.fail(cause)


class Filter(BaseFilter):
    """A filter that passes everything on. Derive, and define some of the methods from `begin` to `farewell`.

    They are called one at a time, and in them there are the verbs from `open_until` to `leave`. What a method raises
    ends the request with that exception as its reason, as with a handler; raising a `Cause` is the same as `fail`.

    An instance is made for each connection, with its inner channel as the argument (``functools.partial`` adds more).
    What it finds out of the peer it sets on its `driver`.

    >>> from handlers import StreamHandler, StreamMachine, Until
    >>> class Rot13(Filter):
    ...     table = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"nopqrstuvwxyzabcdefghijklm")
    ...
    ...     def received(self, data):
    ...         self.deliver(data.translate(self.table))
    ...
    ...     def flow(self, data):
    ...         self.put(data.translate(self.table))
    >>> class Hello(StreamHandler):
    ...     async def handle(self):
    ...         self.send(b"hello " + await Until(b"\\n"))
    >>> channel = chain(StreamMachine(Hello()), [Rot13])
    >>> channel.advance()
    >>> channel.feed(b"nqn\\n")
    >>> channel.read()
    b'uryyb nqn\\n'
    """

    __slots__ = ()
    _link: Link

    limit = 131_072
    """Bytes of input that may be held: those that the inner channel does not want now, and `pending`.

    Past it the request ends with `LimitPassed`. One read of the connection is up to 64 KiB."""

    window = WINDOW
    """Bytes of output, at least 1, that the next call of `flow` is given at most."""

    facts: Mapping[str, object] = {}
    """What the handler finds of its connection where the filter counts as open, and is not made: see `World`.

    By name, such as ``{"secured": "tls1.3"}``."""

    transparent = False
    """Whether urgent data is urgent behind the filter too (see `StreamHandler.urgent`).

    Right only for a filter that delivers each byte as it is received. By default the byte loses its mark, and is
    received in its place like any other; so it is while a filter is opening, or has bytes `pending`."""

    def __init__(self, inner: StreamChannel) -> None:
        self._link = Link(self, inner)

    @property
    def channel(self) -> StreamChannel:
        """The channel that a row, or the filter in front of this one, drives."""
        return self._link

    @property
    def driver(self) -> StreamDriver:
        """The row, or the filter in front of this one: for ``peer``, ``principal``, ``secured``, ``now()``, …"""
        return self._link.driver

    @property
    def reason(self) -> BaseException | None:
        """Why the request has ended: a `Cause`, or what the handler raised. ``None`` if it has finished, or goes on."""
        return self._link.reason  # type: ignore[no-any-return]

    # Methods to define

    def received(self, data: bytes) -> bytes | None:
        """Take the next wire bytes, cut anywhere; after `again`, none. The default delivers them as they are.

        Bytes that are returned are delivered last: that is the same as `deliver`, and costs less.
        """
        self.deliver(data)
        return None

    def flow(self, data: bytes) -> bytes | None:
        """Take the next output of the inner channel, at most `window` bytes, and `put` what it is on the wire.

        Bytes that are returned are put last. All of ``data`` counts as sent when all that has been put has been taken;
        then comes the next call.
        """
        self.put(data)
        return None

    def input_ended(self) -> None:
        """No more wire bytes come. The default ends the input of the inner channel.

        A filter that is still opening afterwards fails with `EndOfStream`.
        """
        self.deliver_end()

    def farewell(self) -> None:
        """Called once, if the filter has opened, after the last call of `flow`: `put` the last words.

        (The request has ended, or has called ``send_eof()``.) The default says nothing.
        """

    @property
    def pending(self) -> int:
        """Bytes that the filter itself has received and can't deliver yet, such as an incomplete frame."""
        return 0

    # Verbs

    def deliver(self, data: bytes | bytearray | memoryview) -> None:
        """Have the inner channel take ``data``: as one piece with all that is delivered in this call of a method.

        It is held as long as the inner channel wants no input, or the filter is not open.
        """
        self._link.deliver(data)

    def again(self) -> None:
        """There is more to deliver: call `received` with no data when this has been taken and others had their turn.

        For a filter that delivers much more than it receives, so that it need not hold it all, and for one that
        delivers in several pieces. The connection is not read meanwhile.
        """
        self._link.again()

    def deliver_end(self) -> None:
        """There is no more input: tell the inner channel, when it has taken what is held."""
        self._link.deliver_end()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Add ``data`` to the wire bytes of the output."""
        self._link.put(data)

    def leave(self, rest: bytes = b"") -> None:
        """Go out of the chain: ``rest``, and all that comes later, is for the inner channel as it is.

        The filter opens, if it has not, and goes when what it has put has been taken. No method of it is called any
        more, and when it has gone it has no `channel` and no `driver`.
        """
        self._link.leave(rest)


def chain(channel: C, filters: Iterable[Callable[[C], Front[C]]]) -> C:
    """Put filters in front of ``channel``, and return the outermost channel: the one to be driven.

    ``filters`` are callables that take a channel and return a `Filter` in front of it, or in front of a machine for
    datagrams a `PacketFilter`. The first is next to the wire. Raises `TypeError` for a filter of the other kind.
    """
    for make in reversed(tuple(filters)):
        channel = make(channel).channel
    return channel


def put_in(machine: StreamMachine, wait: Filtered) -> object:
    """Put the filter of ``wait`` in front of ``machine``, whose output has drained. Raises `TooEarly`.

    Returns `NOTHING`, for the filter satisfies the wait; in a plain `World`, where there is none, its result.
    """
    driver = machine.driver
    if driver.plain:
        for name, value in facts_of(wait.make).items():
            setattr(driver, name, value)
        return None
    ahead = 0
    if isinstance(driver, Link):
        if driver.is_put_in_by(wait):
            return NOTHING  # it is there, and opens
        ahead = driver.ahead
    held = machine.take_held()
    if wait.held == REFUSE and (held or ahead):
        raise TooEarly(wait, held, len(held) + ahead)
    link = wait.make(machine)._link
    link.put_in(wait, held, machine.ended)
    machine.ended = False  # that is for the filter to say
    driver.replace(machine, link)
    driver.touched()
    return NOTHING


def facts_of(make: object) -> Mapping[str, object]:
    """The `Filter.facts` of the filter that ``make`` makes, which is a class or a `functools.partial` of one."""
    return getattr(bare(make), "facts", {})
