"""The base classes of handlers, and `Driver`: all that a handler may ask of the outside.

A handler is pure. It gets bytes and causes, and returns waits and states. For anything else (the time of day, the
address of the peer) it asks its row, so that a simulation can answer.
"""

from __future__ import annotations

from .world import NO_MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Sequence
    from typing import Any, BinaryIO, Protocol, TypeAlias

    from typing_extensions import Self

    from .causes import Cause
    from .machine import Machine
    from .machines import StreamMachine
    from .wait import Wait
    from .waits import Address

    State: TypeAlias = Callable[[Any], Any]
    Step: TypeAlias = tuple[Wait, State] | Coroutine[Wait, Any, Any] | None
    Answer: TypeAlias = Callable[[bytes], object]

    class Driver(Protocol):
        """What a machine asks of its driver. A filter may set what is no method and no property here."""

        peer: Address | None
        principal: Any
        secured: Any
        peer_certificate: Any
        alpn: Any
        proxy_header: Any
        left: tuple[str, ...]
        """The labels of the filters that have left the chain (`BaseFilter.label`)."""

        @property
        def server(self) -> Any: ...
        @property
        def plain(self) -> bool:
            """Whether a filter that the handler puts in counts as open, and is not made: see `World`."""

        @property
        def turns(self) -> int:
            """Pieces of input that a request may take before it has to `rest`; -1: no bound."""

        def now(self) -> float: ...
        def touched(self) -> None:
            """There is output, or the request has ended or must `advance`, though the driver has made no call."""

        def rest(self) -> None:
            """The request has taken `turns` pieces: `advance` it when other requests have had their turn."""

        def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
            """Start a request for ``packet``, and give ``answer`` each packet that ``handler`` sends.

            When the new request has ended, in whatever way, `call_ended` of the channel is called once. When the
            request that has made the call ends, its calls are cancelled.
            """

        def queue_step(self, step: Callable[[], object]) -> bool:
            """Call ``step``, which is costly, when it is this row's turn. False: the caller may do the step now."""

        def replace(self, channel: Any, by: Any) -> None:
            """Drive ``by`` instead of ``channel`` from now on: a filter was put in, or has left."""

        def channel_binding(self, kind: str) -> bytes | None: ...

    class StreamDriver(Driver, Protocol):
        """What the machine of a stream, or a filter, asks of its driver."""

        credentials: tuple[int, int, int] | None

        @property
        def socket(self) -> Any:
            """The connected socket, for its options and its address; ``None`` if there is none."""

        @property
        def descriptors(self) -> list[int]: ...
        def pass_on(self, descriptors: Sequence[int]) -> None:
            """Send ``descriptors`` with the next byte that is written."""


class Handler:
    """What `StreamHandler` and `DatagramHandler` have in common. Derive from one of these.

    Define `handle`: it returns the first step. A *step* is ``(wait, state)``, ``None`` to finish
    the request, or a coroutine that awaits waits. A *state* is any callable that takes the
    wait's result and returns a step.

    A mix-in is a class in front of a handler: its `handle` begins states of its own, the last of which ends with
    ``return super().handle()``.

    A server makes an instance, without arguments, for each request.
    """

    __slots__ = ("_machine",)
    _machine: Machine

    timeout: float | None = 300.0
    """Seconds that a wait may take if it has no ``timeout`` of its own. ``None``: no bound."""

    request_timeout: float | None = None
    """Seconds from the beginning of a request to its end, whatever it does. ``None``: no bound. See `one_by_one`."""

    idle_timeout: float | None = None
    """Seconds without a byte in or out, while the request waits for its peer. ``None``: only the wait's own time."""

    min_rate: float = 0
    """Bytes per second, in and out, that the peer must keep up while the request waits for it. A peer that is
    ``timeout`` seconds behind this rate is too slow. 0: no bound. See `one_by_one`.

    A request that passes one of these three bounds ends with `TimedOut`, whatever `interrupted` returns."""

    one_by_one = 0
    """0: the whole connection is one request. A handler that answers one request of a connection after another counts
    them here: it adds 1 when it begins to wait for the next.

    ``request_timeout`` and ``min_rate`` are then for each of them, from its first byte until the handler goes on to the
    next one and no more than `high_water` of the output is left. Between requests only the time of the wait and
    ``idle_timeout`` hold. A handler that holds input in a buffer of its own waits for the rest of a request in another
    state than for its first byte: else it is between requests all the while. Blocking handlers that declare ``request``
    and `handlers.http.HTTPHandler` do so."""

    high_water = 65_536
    """Output waiting in the row, in bytes, past which the row does not read and the handler does not go on."""

    low_water = 16_384
    """Output waiting in the row, in bytes, at which they go on again."""

    max_output = 16 << 20
    """Output waiting in the row, in bytes, past which the row ends with `LimitPassed`."""

    max_calls = 64
    """Calls that may be open (see `call`). At this number the request takes no input until a call has ended."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        handler = super().__new__(cls)
        handler._machine = NO_MACHINE  # type: ignore[assignment]
        return handler

    def setup(self) -> None:
        """Called once before `handle`. The default does nothing."""

    def handle(self) -> Step | Coroutine[Wait, Any, Step]:
        """Return the first step. Every handler defines this."""
        raise NotImplementedError(f"{type(self).__name__} must define handle()")

    def finish(self) -> None:
        """Called once when the request ends, in whatever way, if `setup` had succeeded.

        `reason` says why it ends. What this method sends still leaves if the connection is not lost. The default does
        nothing.
        """

    def interrupted(self, cause: Cause) -> Step:
        """Called when a wait could not be satisfied. Returns the next step, or ``None`` to end the request.

        It is called for every cause; for a coroutine, only for those that the coroutine did not catch. By default the
        request ends, with the cause as its reason. After `Reset` and `Cancelled` the step is not taken.

        The end of a stream between messages is not a cause: the request finishes. A request is between messages when
        it waits, with no byte held, at the wait that `handle` has begun with, or that came next after
        `StreamHandler.opened`.
        """
        return None

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ``data`` for the peer: for a stream in order, for a datagram as one packet.

        Never blocks, and raises no error of the connection. What a state sends leaves when the state has
        returned, in one system call if the kernel takes it. May be called from the state of another row, from the
        function of a `Threaded`, and from rows of thread mode. Output past `max_output` is dropped, and ends the
        request for whose peer it was. On a request that has ended it does nothing.

        A TCP peer that lacks output which was dropped, for any cause, gets a reset, not a FIN (RFC 9293, section
        3.10.5).
        """
        self._machine.write(data)

    def close(self) -> None:
        """End this request from another row's state, with `Cancelled` as its reason, once its output has been sent.

        `interrupted` is not called; `finish` is. On a request that has ended it does nothing.
        Raises `RuntimeError` in a state of this request: there, return ``None``.
        """
        self._machine.close()

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """Begin a request inside this one: ``handler``, a new `DatagramHandler`, is given ``packet``.

        ``answer`` is called with each packet that ``handler`` sends; packets of different calls may come in any order.
        The call is a row of the table, which waits and ends on its own. This request goes on meanwhile: it takes input
        while fewer than `max_calls` calls are open. The end of the stream is held back until all calls have ended. When
        this request ends, its open calls end with `Cancelled`. On a request that has ended `call` does nothing.

        An exception of ``handler`` goes to the server's ``handle_error()``, with ``None`` for the request, and ends the
        call; an exception of ``answer`` ends this request. A call counts in ``max_requests``, not in ``max_per_peer``.

        >>> from handlers import DatagramHandler, DatagramMachine, Packet, StreamHandler, StreamMachine, Until, World
        >>> class Upper(DatagramHandler):
        ...     async def handle(self):
        ...         self.send((await Packet()).upper())
        >>> class Lines(StreamHandler):
        ...     def handle(self):
        ...         return Until(b"\\n"), self.line
        ...
        ...     def line(self, data):
        ...         self.call(Upper(), data, self.send)
        ...         return self.handle()
        >>> world = World()  # a reactor runs the calls itself; here we do
        >>> machine = StreamMachine(Lines(), world)
        >>> machine.feed(b"one\\ntwo\\n")
        >>> for handler, packet, answer in reversed(world.calls):
        ...     call = DatagramMachine(handler)
        ...     _ = call.feed(packet)
        ...     answer(call.read())
        ...     machine.call_ended()
        >>> machine.read()
        b'TWO\\nONE\\n'
        """
        self._machine.call(handler, packet, answer)

    def now(self) -> float:
        """The time of day in seconds since 1970-01-01 00:00 UTC."""
        return self._machine.driver.now()

    @property
    def reason(self) -> BaseException | None:
        """Why the request has ended: a `Cause` or another exception. ``None`` if it has finished, or has not ended.

        It is set before `finish` is called.
        """
        return self._machine.reason

    @property
    def peer(self) -> Address | None:
        """The peer's address, as ``accept()`` or ``recvfrom()`` gave it, or as a filter has set it."""
        return self._machine.driver.peer

    @property
    def server(self) -> Any:
        """The server that has taken the request; ``None`` if there is none."""
        return self._machine.driver.server

    @property
    def principal(self) -> Any:
        """The name of the peer, if a filter or a mix-in has authenticated it; else ``None``."""
        return self._machine.driver.principal

    @principal.setter
    def principal(self, principal: Any) -> None:
        self._machine.driver.principal = principal

    @property
    def secured(self) -> Any:
        """The protocol that protects the connection, as its filter names it, such as ``"tls1.3"``; else ``None``."""
        return self._machine.driver.secured

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The peer's certificate, if TLS has verified it: as ``ssl.SSLSocket.getpeercert()`` returns it. Else ``None``.

        `principal` is its subject.
        """
        certificate: dict[str, Any] | None = self._machine.driver.peer_certificate
        return certificate

    @property
    def alpn(self) -> str | None:
        """The application protocol that TLS has agreed on, such as ``"h2"`` (ALPN, RFC 7301); else ``None``."""
        protocol: str | None = self._machine.driver.alpn
        return protocol

    @property
    def proxy_header(self) -> Any:
        """What a proxy has said of the connection, a `reactor.rows.filters.proxy.Header`; ``None`` without a proxy."""
        return self._machine.driver.proxy_header

    def channel_binding(self, kind: str) -> bytes | None:
        """What tells the channel that protects the connection from any other, for authentication to be bound to it.

        ``kind`` is a registered name (RFC 5056), such as ``"tls-unique"``; ``None`` if the channel has none of it.
        """
        return self._machine.driver.channel_binding(kind)


class StreamHandler(Handler):
    """A protocol over a stream of bytes (TCP, Unix stream sockets), as a state machine.

    >>> from handlers import StreamHandler, StreamMachine, Until
    >>> class Upper(StreamHandler):
    ...     def handle(self):
    ...         return Until(b"\\n", limit=512), self.line
    ...
    ...     def line(self, data):
    ...         self.send(data.upper())
    ...         return self.handle()
    >>> machine = StreamMachine(Upper())
    >>> machine.feed(b"one\\ntw")
    >>> machine.read()
    b'ONE\\n'
    """

    __slots__ = ()
    _machine: StreamMachine

    ends_when_idle = False
    """Whether a drain ends a connection that is between messages at once, as HTTP allows (RFC 9112, section 9.6). If
    not, such a connection has the time that other requests have to finish."""

    max_descriptors = 0
    """Descriptors that may wait in the row, in each direction (Unix sockets only; ``unix(7)``, SCM_RIGHTS). Past that
    the row ends with `LimitPassed`. 0: the kernel closes descriptors that the peer sends."""

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that the peer has passed, in order. Each is here no later than the bytes that it came with.

        A descriptor that the handler takes out (``self.descriptors.pop(0)``) is its own to close. Those that are left
        here are closed when the request has ended.
        """
        return self._machine.driver.descriptors

    @property
    def credentials(self) -> tuple[int, int, int] | None:
        """``(pid, uid, gid)`` of the peer of a Unix socket when it connected; ``None`` if not known, as behind a proxy.

        They come from the kernel, not from the peer (``unix(7)``, SO_PEERCRED).
        """
        return self._machine.driver.credentials

    def send_descriptors(self, data: bytes | bytearray | memoryview, descriptors: Sequence[int]) -> None:
        """`send` ``data``, at least one byte, and pass open descriptors to the peer with its first byte.

        From now on the descriptors belong to the row, which closes them when they have been sent or can't be sent.
        Raises `RuntimeError` unless this is a Unix stream socket and the class declares `max_descriptors`.
        """
        if not data:
            raise ValueError("send_descriptors: descriptors need at least one byte of data to be sent with")
        self._machine.write_descriptors(data, tuple(descriptors))

    def send_file(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> None:
        """`send` ``count`` bytes of ``file``, from ``offset`` on, without a copy in memory where that is possible.

        ``file`` is a regular file, open for reading in binary mode. From now on it belongs to the row, which closes it
        when it has been sent or can't be sent. ``count`` of ``None``: up to its end. The bytes leave in order with what
        is sent before and after, and the handler goes on when no more than `low_water` of them are left, as with any
        output; they count neither in `max_output` nor as bytes held, but those of a small part do, which is read at
        once (`files.SMALL`). If the file turns out to be shorter, the request ends with `Failed`. The kernel copies the
        bytes (``sendfile(2)``); behind a filter, such as TLS, they are read in pieces. Either may wait for the disk.
        Call it in a state of this request, or of another row of the same loop.
        """
        self._machine.write_file(file, offset, count)

    def send_eof(self) -> None:
        """End the stream to the peer when all output has been sent (``shutdown(SHUT_WR)``); input goes on.

        What is sent later is dropped.
        """
        self._machine.write_eof()

    def abort(self) -> None:
        """Reset the connection when this request ends, and drop its output: the ABORT call of RFC 9293, 3.10.5.

        So the peer does not take what it has got for the whole: a FIN would say that. From another row's state it also
        ends the request, as `close` does; in a state of this request, return ``None`` next. A socket that is not TCP,
        which knows no reset, is closed. On a request that has ended it drops the output that is left.

        >>> from handlers import StreamHandler, StreamMachine, Until
        >>> class Counts(StreamHandler):
        ...     def handle(self):
        ...         return Until(b"\\n"), self.line
        ...     def line(self, line):
        ...         self.send(b"1, 2,")
        ...         self.abort()
        >>> machine = StreamMachine(Counts())
        >>> _ = machine.feed(b"count\\n")
        >>> machine.finished, machine.read(), machine.is_cut
        (True, b'', True)
        """
        self._machine.abort()

    def opened(self) -> None:
        """The opening of the conversation (a login, a greeting) is over: messages begin at the next wait.

        Called in a state of this request. From then on the request is between messages at that wait, and no longer at
        the one that `handle` has begun with (see `interrupted`). A mix-in calls it before ``return super().handle()``.

        >>> from handlers import StreamHandler, StreamMachine, Until
        >>> class Lines(StreamHandler):
        ...     async def handle(self):
        ...         await Until(b"\\n")  # HELO
        ...         self.opened()
        ...         self.send(await Until(b"\\n"))
        >>> machine = StreamMachine(Lines())
        >>> _ = machine.feed(b"HELO\\n"), machine.end()
        >>> machine.finished, machine.reason
        (True, None)
        """
        self._machine.end_opening()

    def urgent(self, data: bytes) -> Step:
        """Called for urgent (out-of-band) ``data``, one byte. Returns a step that replaces the wait, or ``None``.

        All bytes that were sent before the urgent byte have come by then: waits have taken them, or they are held
        (`held_in`, `take_held`). Up to 64 KiB before it stay held even if they satisfy the wait, because the handler
        may want to drop them. No byte that was sent later has come. The method is called while the request reads and,
        with a selector of `reactor.selecting`, also while it does not: in a `Delay`, while a child works, while the
        peer takes no output. A `Cause` that it raises ends the wait like any other.

        If a handler does not define this method, the kernel takes the byte out of the stream and drops it (``tcp(7)``).
        TCP marks only one place: if several urgent bytes come before the first has been read, only the last is urgent,
        and the others are bytes of the stream (RFC 6093, section 3). On a host without ``SIOCATMARK``, which tells the
        place, the method is never called.

        >>> from handlers import StreamHandler, StreamMachine, Until
        >>> class Lines(StreamHandler):
        ...     async def handle(self):
        ...         while True:
        ...             self.send(await Until(b"\\n"))
        ...
        ...     def urgent(self, data):
        ...         self.send(b"[%b for %b]" % (data, self.take_held()))
        >>> machine = StreamMachine(Lines())
        >>> machine.feed(b"one\\ntw")
        >>> machine.urgent(b"!")
        >>> _ = machine.feed(b"o\\n")
        >>> machine.read()
        b'one\\n[! for tw]o\\n'
        """
        return None

    @property
    def held_in(self) -> int:
        """Bytes of input that have come and that no wait has taken. In `urgent`, all were sent before its data."""
        return self._machine.held_in

    def take_held(self) -> bytes:
        """Take all input that is held, whatever the wait is: `urgent` may want to handle it now, or to drop it."""
        return self._machine.take_held()

    def put_back(self, data: bytes) -> None:
        """Put ``data`` in front of the input that is held, for the next wait. It may be the urgent data."""
        self._machine.put_back(data)


class DatagramHandler(Handler):
    """A protocol over datagrams, as a state machine: one request is one exchange with one peer.

    The first packet of a peer begins the request; later ones of the same peer go to the same
    request for as long as it waits for a `Packet`.

    >>> from handlers import DatagramHandler, DatagramMachine, Packet
    >>> class Twice(DatagramHandler):
    ...     async def handle(self):
    ...         self.send(await Packet() + await Packet())
    >>> machine = DatagramMachine(Twice())
    >>> machine.feed(b"ab"), machine.feed(b"cd")
    (True, True)
    >>> machine.read()
    b'abcd'
    """

    __slots__ = ()

    @staticmethod
    def key(packet: bytes) -> Hashable:
        """A value that is different for different exchanges of one peer; ``None``: a peer has one exchange.

        Packets of one peer with equal keys go to one request, in order. The transaction identifier of the protocol
        is such a key: the xid of ONC RPC (RFC 5531, section 9), the ID of DNS (RFC 1035, section 4.1.1). The method is
        called with every packet of the server, so it should not raise, whatever the packet is: ``packet[:4]`` is good.
        If it does, or the value is not hashable, that is logged, and the packet has the key ``None``.
        """
        return None
