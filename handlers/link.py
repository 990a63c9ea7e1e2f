"""`Link` runs a filter of streams. It stands between its driver (the row, or the link in front) and its inner channel.

Input: the driver calls `feed` with wire bytes; the filter turns them into plain bytes and calls `Link.deliver`; the
link feeds these to the inner channel. Output: the link gives a window of the inner channel's output to `Filter.flow`;
the filter calls `Link.put` with wire bytes, which are the link's outbox.

A link keeps three promises for every filter:

- It takes no more input than the inner channel wants, and holds no more than the filter's ``limit``.
- Output counts as sent only when the driver has taken its wire bytes. Until then the window stays in the outbox of the
  inner channel, so `Flushed`, the water marks and ``max_output`` are right although they know no filter.
- The code of the filter runs only in calls of the driver, never in the state of another request.
"""

from __future__ import annotations

from .base_link import FAILED, GONE, LEAVING, NEW, OPENING, SERVING, BaseLink, of
from .causes import Cause, EndOfStream
from .channel import ENDED, ENDING, OPEN, is_between_messages
from .files import Files
from .handler import DatagramHandler
from .wire import Wire, grown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import StreamChannel
    from .filter import Filter
    from .handler import StreamDriver
    from .waits import Filtered

WINDOW = 65_536
"""Size of a window in bytes (64 KiB), unless the filter has a smaller one."""


class Link(BaseLink):
    """A `StreamChannel`, and a `StreamDriver` for its inner channel. Made by `Filter`."""

    __slots__ = ("_again", "_end_due", "_ended", "_output", "_put_in")
    passes, remedy = "streams", "take a PacketFilter"
    refuses = DatagramHandler
    read_size = 66 << 10  # 64 KiB, and what TLS adds to them
    _no_input, _no_output, _weigh = bytes, Wire, staticmethod(len)

    inner: StreamChannel
    driver: StreamDriver
    _held: bytes | bytearray
    _wire: Wire

    def __init__(self, author: Filter, inner: StreamChannel) -> None:
        super().__init__(author, inner)
        self._put_in: Filtered | None = None  # the wait that has put this link into the chain, until it is open
        self._again = False  # whether the filter has more to deliver
        self._ended = False  # whether the wire has ended
        self._end_due = False  # whether the inner channel is to be told that there is no more input
        self._output = inner.output

    # What the filter says: see the verbs of `Filter`

    def deliver(self, data: bytes | bytearray | memoryview) -> None:
        if not self._end_due and not self.inner.ended:  # what a request that has finished holds is dropped later
            self._held = grown(self._held, data)
            if len(self._held) > self._filter.limit:
                self._give()
                self._check_limit()

    def deliver_end(self) -> None:
        self._end_due = True

    def again(self) -> None:
        self._again = True

    def put(self, data: bytes | bytearray | memoryview) -> None:
        if self._output is not ENDED:
            self._wire.put(data)

    def leave(self, rest: bytes) -> None:
        if self._stage in (NEW, OPENING):
            self.open()
        if self._is_open():
            self._stage = LEAVING
            self._held = grown(self._held, rest)

    # What the driver asks: see `handlers.channel`

    @property
    def ended(self) -> bool:
        return self.inner.ended if self._stage is GONE else self._ended

    @property
    def wants_input(self) -> bool:
        """Whether the filter needs wire bytes to open, or the inner channel wants input and none is held for it."""
        if self._stage is GONE:
            return self.inner.wants_input
        if self._ended or self._again or self.finished or len(self._wire) > self.handler.high_water:
            return False
        return self._can_deliver()

    @property
    def is_between_messages(self) -> bool:
        """Whether the filter passes bytes on, and the request is between messages."""
        return self._is_open() and is_between_messages(self)

    @property
    def outbox(self) -> Any:
        return self.inner.outbox if self._stage is GONE else self._wire.bytes

    @property
    def held_out(self) -> int:
        """Bytes of output held by this link and its inner channel; the window counts once, as wire bytes."""
        return len(self._wire) + self.inner.held_out - self._wire.window

    @property
    def complete(self) -> bool:
        """Whether the wire bytes are all that is left to send: `Filter.farewell` has been called, or never will be."""
        if self._stage is GONE:
            return self.inner.complete
        return self._output is not OPEN and self._stage is not LEAVING

    @property
    def output(self) -> str:
        return self.inner.output if self._stage is GONE else self._output

    @property
    def is_cut(self) -> bool:
        return self.inner.is_cut

    def advance(self) -> None:
        """Go on as far as input and output allow; the first call starts the filter."""
        self._due = False
        self._begin()
        if self._is_open() and self.inner.blocked:
            self._let(self.inner.advance)
        if self._again and self._can_deliver():
            self._again = False
            self._ask(self._take_wire, b"")
        self._settle()

    def feed(self, data: bytes) -> float | None:
        """Take the next wire bytes: see `StreamChannel.feed`."""
        if self._stage is not SERVING or self._held or self._due or self._again or self._ended or self._fresh:
            self._begin()
            self._receive(data)
        else:
            patience = self._feed_fast(data)
            if patience is not None:
                return patience
        self._settle()
        return None

    def _feed_fast(self, data: bytes) -> float | None:
        """The hot path: what the filter makes of ``data`` is fed to the inner channel, and the output to the filter.

        The caller has made sure that nothing was held before. Returns the result of `feed`; after ``None``, the caller
        must call `_settle`.
        """
        inner = self.inner
        try:
            plain = self._filter.received(data)
            if plain.__class__ is not bytes or self._held or self._end_due or inner.ended:
                if plain is not None:
                    self.deliver(plain)
                plain = bytes(self._held)
        except BaseException as error:
            self._raised(error)
            return None
        if not plain or self._stage is not SERVING or self._again or self._end_due or not inner.wants_input:
            self._held = plain
            return None
        self._held = b""
        try:
            patience = inner.feed(plain)
        except BaseException as error:
            self._keep(error)
            return None
        if patience is None or self._filter.pending:  # which is held, and counts
            return None
        self._flow()
        return patience if self._stage is SERVING and self._error is None else None

    def end(self) -> None:
        self._begin()
        self._receive_end()
        self._settle()

    def urgent(self, data: bytes, before: bytes = b"") -> None:
        """Take ``before``, then urgent ``data``: see `Filter.transparent`."""
        self._begin()
        self._receive(before)
        place = len(self._held)
        self._receive(data)
        is_transparent = self._filter.transparent and not self._pending()
        urgent = bytes(self._held[place:])
        if urgent and self._is_open() and (is_transparent or self._stage is not SERVING):
            held, self._held = bytes(self._held[:place]), b""
            self._let(self.inner.urgent, urgent, held)
        self._settle()

    def sent(self, count: int) -> None:
        """The driver has taken the first ``count`` wire bytes."""
        if self._stage is GONE:
            self.inner.sent(count)
        else:
            inner = self.inner
            inner.sent(self._wire.take(count))
            owes = self._again or self._owes_input()  # which waits until the inner channel has less output
            moves = owes or inner.outbox or inner.wait is None or inner.output is not OPEN
            if moves or self._stage not in (SERVING, OPENING):
                self._due = True

    def read(self, limit: int | None = None) -> bytes:
        """Return the wire bytes, at most ``limit``, and drop them, as if the kernel had taken them; go on."""
        if self._stage is GONE:
            return self.inner.read(limit)
        while self._due:
            self.advance()
        data = bytes(self._wire.bytes[:limit]) if self._wire.bytes else b""
        self.sent(len(data))
        while self._due:
            self.advance()
        return data

    def end_output(self) -> None:
        self._output = ENDED
        self.inner.end_output()

    # What the inner channel asks: see `handlers.handler.StreamDriver`

    socket, pass_on = of("driver", "socket"), of("driver", "pass_on")
    credentials, descriptors = of("driver", "credentials"), of("driver", "descriptors")

    @property
    def ahead(self) -> int:
        """Bytes of input that this link and the links in front of it hold for the inner channel."""
        return self._here + self.driver.ahead if isinstance(self.driver, Link) else self._here

    def is_put_in_by(self, wait: Filtered) -> bool:
        """Whether ``wait`` has put this link into the chain, and the filter is not open yet."""
        return self._put_in is wait

    def put_in(self, wait: Filtered, held: bytes, ended: bool) -> None:
        """Take ``held`` as the first wire bytes, and their end if ``ended``; resume ``wait`` when the filter opens."""
        self._put_in = wait
        self._held = grown(self._held, held)
        self._ended = ended

    # How it works

    def _begin_inner(self) -> None:
        put_in, self._put_in = self._put_in, None
        if put_in is None:
            super()._begin_inner()
        else:
            self._let(self.inner.resume, None)

    def _begin(self) -> None:
        """Start the filter, unless it has started, and give it the input that `put_in` has left."""
        if self._stage is not NEW or self.finished:
            return
        early, self._held = bytes(self._held), b""
        ended, self._ended = self._ended, False
        self._begin_filter()
        self._receive(early)
        if ended:
            self._receive_end()

    def _receive(self, data: bytes) -> None:
        if not data or self.finished:
            return
        if self._stage is GONE:
            self._let(self.inner.feed, data)
        elif self._stage is LEAVING:
            self._held = grown(self._held, data)
        else:
            self._ask(self._take_wire, data)

    def _take_wire(self, data: bytes) -> None:
        plain = self._filter.received(data)
        if plain is not None:
            self.deliver(plain)

    def _receive_end(self) -> None:
        if self._stage is GONE:
            self._let(self.inner.end)
        elif not self._ended:
            self._ended = True
            if self._stage is not LEAVING and not self.finished:
                self._ask(self._filter.input_ended)
            if self._is_opening():
                self.fail(EndOfStream())

    def _stop(self) -> None:
        super()._stop()
        self._wire.forget_window()
        if self._output is OPEN:
            self._output = ENDING

    def _move_on(self) -> None:
        if self._again and self._can_deliver():
            self.driver.rest()  # others have their turn before it goes on
            self.touched()
        if self._stage is SERVING:
            self._flow()
        if self._stage is SERVING:
            self._bid_farewell()

    def _owes_input(self) -> bool:
        return bool(self._held or self._end_due)

    def _give(self) -> None:
        """Feed the inner channel the input that is held, if it wants input, and then the end of the input."""
        if self._stage is LEAVING and self._ended and not self.inner.ended:
            self._end_due = True
        if self._held and self._can_give():
            held, self._held = bytes(self._held), b""
            self._let(self.inner.feed, held)
        if self._end_due and not self._held and self._can_give():
            self._end_due = False
            self._let(self.inner.end)

    def _flow(self) -> None:
        """Have the filter turn the next window of output into wire bytes, if there is output and no window."""
        outbox = self.inner.outbox
        if not outbox or self._wire.window:
            return
        size = len(outbox)
        if outbox.__class__ is Files:
            try:
                outbox = outbox[: self._filter.window]
            except Cause as cause:  # the file is too short, or can't be read
                self.fail(cause)
                return
            size = len(outbox)
        elif size > self._filter.window or outbox.__class__ is not bytes:
            size = min(size, self._filter.window)
            with memoryview(outbox) as view:
                outbox = bytes(view[:size])
        try:
            data = self._filter.flow(outbox)
            if data is not None and self._output is not ENDED:
                self._wire.put(data)
        except BaseException as error:
            self._raised(error)
        if self._stage is not FAILED:
            self._wire.close_window(size)
            if self._wire.bytes is None:  # the filter has put nothing; other rows come before the next window
                self.sent(0)
                self.touched()

    def _bid_farewell(self) -> None:
        """When all output is in the window, call `Filter.farewell`, once."""
        inner = self.inner
        # A machine has no more output when it has finished. A link may put more then, until its own farewell.
        is_last = inner.output is not OPEN or (inner.finished and not isinstance(inner, Link))
        if is_last and self._output is OPEN and self._wire.window == len(inner.outbox or b""):
            self._output = ENDING
            if not self.is_cut:  # else the end of the wire must not look like that of the stream
                self._ask(self._filter.farewell)
