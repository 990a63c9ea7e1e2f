"""The contract: what a protocol's author derives from, and all that a handler may ask of the world.

A handler is pure. It sees bytes and causes, it names waits and states, and for anything else
(the time of day, who the peer is) it asks its row, so that a simulated world can answer.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Sequence
    from typing import Any, Protocol, TypeAlias

    from typing_extensions import Self

    from .machine import Machine
    from .machines import StreamMachine
    from .waits import Address, Cause, Wait

    State: TypeAlias = Callable[[Any], Any]
    Step: TypeAlias = tuple[Wait, State] | Coroutine[Wait, Any, Any] | None
    Answer: TypeAlias = Callable[[bytes], object]

    class Driver(Protocol):
        """What a machine asks of its driver. A filter sets what it has found out: `peer`, `principal`, `secured`."""

        peer: Address | None
        principal: Any
        secured: Any

        @property
        def server(self) -> Any: ...
        @property
        def turns(self) -> int:
            """Pieces of input that a request takes before it has to `rest`; -1: all."""

        def now(self) -> float: ...
        def touched(self) -> None:
            """There is output, an end, or a reason to `advance`, that no call of the driver's own has caused."""

        def rest(self) -> None:
            """The request has taken `turns` pieces: `advance` it when others have had their turn."""

        def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
            """Start a request for ``packet``, and give ``answer`` each packet that ``handler`` sends.

            When the request has ended, however it ends, `call_ended` of the channel is called, once. The calls of a
            request that ends are cancelled.
            """

        def queue_step(self, step: Callable[[], object]) -> bool:
            """Call ``step`` when it is the turn of this row for a costly step. False: it may be done now instead."""

        def replace(self, channel: Any, by: Any) -> None:
            """Drive ``by`` from now on in the place of ``channel``: a filter has come, or has gone."""

    class StreamDriver(Driver, Protocol):
        """What a machine of a stream, or a filter, asks of its driver."""

        @property
        def socket(self) -> Any:
            """The connected socket, for its options and its address; ``None`` where there is none."""

        @property
        def credentials(self) -> tuple[int, int, int] | None: ...
        @property
        def descriptors(self) -> list[int]: ...
        def pass_on(self, descriptors: Sequence[int]) -> None:
            """Have ``descriptors`` leave with the next byte that is written."""


class World:
    """The driver of a machine that nobody's reactor drives: answers what a handler asks.

    ``now`` is a function that returns seconds since 1970-01-01 00:00 UTC, such as ``time.time``.
    ``credentials`` and ``descriptors`` are what a `StreamHandler` finds under these names.
    """

    turns = -1  # nobody else waits
    socket: Any = None
    principal: Any = None
    secured: Any = None

    def __init__(
        self, peer: Address | None = None, server: object = None, now: Callable[[], float] | None = None, *,
        credentials: tuple[int, int, int] | None = None, descriptors: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.peer = peer
        self.server = server
        self._now = now
        self.credentials = credentials
        self.descriptors = list(descriptors)
        self.passed: list[int] = []
        """The descriptors that the handler has sent."""
        self.calls: list[tuple[DatagramHandler, bytes, Answer]] = []
        """The calls that the handler has made: whoever drives the machine runs them."""
        self.channel: Any = None
        """The outermost channel, if a filter has been put in or has left: to be driven from then on."""

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC. Raises `RuntimeError` where no ``now`` was given."""
        if self._now is None:
            raise RuntimeError("this machine has no clock: give it World(now=time.time)")
        return self._now()

    def touched(self) -> None:
        """Nothing to do: whoever feeds the machine also reads it."""

    def rest(self) -> None:
        """As `touched`. Called only where there are `turns`."""
        self.touched()

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """Keep them in `passed`."""
        self.passed += descriptors

    def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
        """Keep it in `calls`."""
        self.calls.append((handler, packet, answer))

    def queue_step(self, step: Callable[[], object]) -> bool:
        """Nobody else waits: ``False``."""
        return False

    def replace(self, channel: Any, by: Any) -> None:
        """Keep it in `channel`."""
        self.channel = by


class NoMachine:
    """What a handler has for a machine until it is given one."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what anybody may ask of anything
            raise AttributeError(name)
        raise RuntimeError(
            "this handler has no request yet: what it asks and sends it can from setup() on; "
            "one that is given to Connected, when that has answered"
        )


NO_MACHINE = NoMachine()


class Handler:
    """What `StreamHandler` and `DatagramHandler` have in common. Derive from one of these.

    Define `handle`: it returns the first step. A *step* is ``(wait, state)``, ``None`` to finish
    the request, or a coroutine that awaits waits. A *state* is any callable that takes the
    wait's result and returns a step.

    A mix-in is a handler that goes first: its `handle` has states of its own, and its last one
    ends with ``return super().handle()``.

    Instances are made with no arguments when a request arrives.
    """

    __slots__ = ("_machine",)
    _machine: Machine

    timeout: float | None = 300.0
    """Seconds that any one wait may take unless the wait says otherwise. ``None``: for ever."""

    request_timeout: float | None = None
    """Seconds from the time that a request begins to its end, whatever it does. ``None``: no bound."""

    idle_timeout: float | None = None
    """Seconds for which no byte may come or go while the peer is waited for. ``None``: those of the wait."""

    min_rate: float = 0
    """Bytes per second, in and out, that the peer must keep up while it is waited for; ``timeout`` seconds behind
    that is too slow. 0: a peer may take its time, as long as each wait is satisfied in its own.

    A request that passes one of these three ends with `TimedOut`, whatever `interrupted` answers."""

    high_water = 65_536
    """Output waiting in the row, in bytes, past which the row neither reads nor goes on."""

    low_water = 16_384
    """Output waiting in the row, in bytes, at which it goes on again."""

    max_output = 16 << 20
    """Output waiting in the row, in bytes, past which the row ends with `LimitPassed`."""

    max_calls = 64
    """Calls that may be open (see `call`); at this number the request takes no input until one has ended."""

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
        """Called once when the request ends, however it ends, if `setup` had succeeded.

        `reason` says why. What it sends is still sent if the peer is there. The default does nothing.
        """

    def interrupted(self, cause: Cause) -> Step:
        """Answer a wait that could not be satisfied, with a step or with ``None`` to end.

        It is called for every cause but the clean end of a stream between messages; with a
        coroutine, for those that the coroutine did not catch. By default the request ends with
        the cause as its reason. After `Reset` and `Cancelled` a further step is not taken.
        """
        return None

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ``data`` for the peer: for a stream in order, for a datagram as one packet.

        Never blocks and never fails half-way; what a state sends leaves when the state has
        returned, in one system call if the kernel takes it. May be called from another row's
        state, and in the function of a `Threaded` or in a row of thread mode. What passes `max_output` is dropped,
        and the request that it was for ends. On a request that has ended it does nothing.
        """
        self._machine.write(data)

    def close(self) -> None:
        """End this request from another row's state, with `Cancelled` as its reason, once its output has been sent.

        `interrupted` is not asked; `finish` is called. On a request that has ended it does nothing.
        Raises `RuntimeError` in a state of its own: there, return ``None``.
        """
        self._machine.close()

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """Begin a request inside this one: ``handler``, a new `DatagramHandler`, is given ``packet``.

        ``answer`` is called with each packet that ``handler`` sends, in any order with the packets of other calls. The
        call waits and ends on its own, as a row of the table. This request goes on meanwhile: it takes input as long
        as fewer than `max_calls` are open. The end of the stream is kept back until all calls have ended. When this
        request ends, its open calls end with `Cancelled`. On a request that has ended it does nothing.

        An exception of the call goes to the server's ``handle_error()``, with ``None`` for the request, and ends the
        call; one that ``answer`` raises is an exception of this request, and ends it. A call is counted in
        ``max_requests``, not in ``max_per_peer``.

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
        """Why the request has ended, a `Cause` or an exception; ``None`` while it goes on and where it has finished.

        In `finish` it is known already.
        """
        return self._machine.reason

    @property
    def peer(self) -> Address | None:
        """The peer's address, as ``accept()`` or ``recvfrom()`` gave it."""
        return self._machine.driver.peer

    @property
    def server(self) -> Any:
        """The server that took the request; ``None`` where there is none."""
        return self._machine.driver.server

    @property
    def principal(self) -> Any:
        """Who the peer is, if a filter or a mix-in has authenticated it; ``None`` if none has."""
        return self._machine.driver.principal

    @principal.setter
    def principal(self, principal: Any) -> None:
        self._machine.driver.principal = principal

    @property
    def secured(self) -> Any:
        """What is known of the encryption of the connection, as the filter that encrypts it says; else ``None``."""
        return self._machine.driver.secured


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

    max_descriptors = 0
    """Descriptors that may wait in the row, those that have come as well as those to be sent (Unix sockets only;
    ``unix(7)``, SCM_RIGHTS). Past that the row ends with `LimitPassed`. 0: the kernel closes what comes."""

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that the peer has passed, in order, each here no later than the bytes it came with.

        Take one out (``self.descriptors.pop(0)``) and it is yours to close. What is left here is closed when the
        request has ended.
        """
        return self._machine.driver.descriptors

    @property
    def credentials(self) -> tuple[int, int, int] | None:
        """``(pid, uid, gid)`` of the peer of a Unix socket when it connected; ``None`` where there is none to know.

        (SO_PEERCRED of ``unix(7)``; the kernel says so, not the peer.)
        """
        return self._machine.driver.credentials

    def send_descriptors(self, data: bytes | bytearray | memoryview, descriptors: Sequence[int]) -> None:
        """`send` ``data``, at least one byte, and pass open descriptors to the peer with its first byte.

        From here on they are the row's, which closes its copies when they have been sent, or can't be. Raises
        `RuntimeError` but on a Unix stream socket and in a class that declares `max_descriptors`.
        """
        if not data:
            raise ValueError("send_descriptors: descriptors travel with a byte at least, and there is no data")
        self._machine.write_descriptors(data, tuple(descriptors))

    def send_eof(self) -> None:
        """End the stream to the peer once all output has been sent; input goes on.

        (``shutdown(SHUT_WR)`` of POSIX.) What is sent later is dropped.
        """
        self._machine.write_eof()

    def urgent(self, data: bytes) -> Step:
        """Answer urgent (out-of-band) ``data``, one byte: with a step in the place of the wait, or ``None`` to go on.

        All that was sent before it has come, and was taken by waits or is held (`held_in`, `take_held`). Up to 64 KiB
        are held for it even if they satisfy the wait: a handler may want to forget what has been overtaken. Nothing
        that was sent later has come. It is called while the request reads and, with a selector of `reactor.selecting`,
        while it does not: in a `Delay`, while a child works, behind output that the peer does not take. A `Cause`
        that it raises ends the wait like any other.

        With a handler that does not define it, the kernel takes the byte out of the stream and drops it (``tcp(7)``).
        TCP marks one place: of urgent bytes that come before the first has been read only the last is urgent, for
        every handler, and the others are bytes of the stream (RFC 6093, section 3). On a host that can't tell the
        place (it takes ``SIOCATMARK``), it is never called.

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
        >>> machine.feed(b"o\\n")
        >>> machine.read()
        b'one\\n[! for tw]o\\n'
        """
        return None

    @property
    def held_in(self) -> int:
        """Bytes of input that have come and that no wait has taken; in `urgent`, all were sent before its data."""
        return self._machine.held_in

    def take_held(self) -> bytes:
        """Take that input, whatever is waited for: `urgent` may want to answer it now, or to forget it."""
        return self._machine.take_held()

    def put_back(self, data: bytes) -> None:
        """Put ``data`` in front of the input that is held, for the next wait: urgent data too may belong there."""
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
        """What tells the exchange of ``packet`` from other exchanges of the same peer; ``None``: a peer has one.

        Packets of one peer with equal keys go to one request, in order. The transaction identifier of the protocol
        is such a key: the xid of ONC RPC (RFC 5531, section 9), the ID of DNS (RFC 1035, section 4.1.1). It is called
        with every packet of the server, so it raises nothing, whatever the packet is: ``packet[:4]`` is a good key.
        """
        return None
