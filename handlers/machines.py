"""`StreamMachine`: the machine for the bytes of a stream.

A machine takes input by `feed`, and a stream's end by `end`, at any time; a stream may be cut anywhere. It gives output
by `outbox` and `sent`, or by `read`. What both machines do with waits and states is in `machine`.

Each byte of input is searched once: a search begins where the last one ended. So input that comes one byte at a time
costs the same work for each byte as input that comes at once.
"""

from __future__ import annotations

from types import MethodType

from .causes import Cause, EndOfStream, Failed, LimitPassed
from .channel import CUT, ENDED, ENDING, OPEN
from .files import Files, part_of
from .first import InputEnded
from .machine import ANYWHERE, Machine
from .sources import NOTHING
from .states import is_plain, is_same_place, place_of
from .wait import StreamWait, Wait
from .waits import Exactly, Filtered, Relayed, Some, Until, UntilAny
from .wire import grown, without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from .handler import StreamDriver, StreamHandler

STEADY = 0.0
"""The value of `StreamMachine.running` while no state runs, and the request waits for input and holds none, its output
is open, and its state is a method or of a coroutine. Only `blocked` can change meanwhile: from other threads, too."""

_NEVER = float("inf")
_PLAIN = frozenset((Until, UntilAny, Exactly, Some))  # the hot path goes on with these; others go through `_took`
_STRETCH = 4_096  # bytes that are searched at once for pieces with one delimiter
_SMALL = 64  # bytes held that are cheaper to copy with every read than to keep in a bytearray


class StreamMachine(Machine):
    """Runs a `StreamHandler` over the bytes of a stream.

    >>> from handlers import StreamHandler, StreamMachine, Until
    >>> class Greet(StreamHandler):
    ...     async def handle(self):
    ...         name = await Until(b"\\n", limit=80)
    ...         self.send(b"hello " + name)
    >>> machine = StreamMachine(Greet())
    >>> for byte in (b"a", b"d", b"a", b"\\n"):
    ...     machine.feed(byte)
    >>> machine.read(), machine.finished, machine.reason
    (b'hello ada\\n', True, None)
    """

    __slots__ = ("ended", "output", "scanned", "start")
    accepts = (StreamWait, *ANYWHERE, Filtered, Relayed)
    read_size = 65_536
    _weigh = staticmethod(len)
    driver: StreamDriver
    handler: StreamHandler
    inbox: bytes | bytearray | None
    outbox: Any  # bytes, a bytearray, `Files` or None

    def __init__(self, handler: StreamHandler, driver: StreamDriver | None = None) -> None:
        super().__init__(handler, driver)
        self.inbox = b""
        self.start = 0  # where in the inbox the next piece begins
        self.scanned = 0  # up to where the wait has searched without success
        self.ended = False
        self.output = OPEN

    @property
    def over(self) -> bool:
        """Whether the input is over for waits: the end of the stream has come, and no call is open."""
        return self.ended and not self.calls

    @property
    def held_in(self) -> int:
        """Bytes of input held for the request."""
        return len(self.inbox) - self.start if self.inbox else 0

    @property
    def held_out(self) -> int:
        """Bytes of output not yet handed out, those of files not counted."""
        outbox = self.outbox
        return 0 if not outbox else outbox.in_memory if outbox.__class__ is Files else len(outbox)

    def feed(self, data: bytes) -> float | None:  # noqa: C901 - a call would cost a tenth of it
        """Take ``data``, the next bytes of the stream, and let the request go on.

        Returns the `patience` of the new wait if the request has taken all of ``data``, now waits for more input, and
        nothing but its output and its wait has changed. Returns ``None`` in all other cases: then the driver must look
        at the whole channel. Raises what the handler raises. If the request has ended, the data is dropped.

        The hot path cuts ``data`` into pieces and passes each to the next state, from wait to wait. It begins with a
        request that is `STEADY`. `_loop` goes on where it ends: a piece is incomplete or empty, a wait fails, the next
        wait is not for input, the request has ended or is blocked (`write` blocks it when its output passes the
        high-water mark), its turn is over, or a state has changed what is held.
        """
        handler, outbox = self.handler, self.outbox
        if self.running is not STEADY or self.blocked or (outbox is not None and len(outbox) > handler.high_water):
            self._feed_slowly(data)
            return None
        high_water, most, turns = handler.high_water, handler.max_output, self.driver.turns
        try:
            self.running = 1 + (high_water if high_water < most else most)  # noqa: FURB136 - a call costs more
            self.inbox, size, end, is_run = data, len(data), 0, False
            wait: Any = self.wait
            state: Any = self.state
            while True:
                kind, start = wait.__class__, end
                if kind is Until:  # what `Until.find` does, without the call, which would cost as much as half of this
                    found = data.find(wait.delimiter, start)
                    end = found + len(wait.delimiter)
                    if found < 0 or end - start > wait.limit:
                        break
                else:
                    end = start + wait.n if kind is Exactly and wait.n <= wait.limit else _end_of(wait, data, start)
                    if not start < end <= size:
                        break
                self.start, self.fresh = end, True
                turns -= 1
                try:
                    step: Any = state(data[start:end])
                except (StopIteration, Cause) as raised:
                    self._raised(state, raised)
                    break
                if type(state) is not MethodType:  # it is of a coroutine
                    following, then = step, state
                elif step.__class__ is tuple and len(step) == 2 and type(step[1]) is MethodType:
                    following, then = step
                else:
                    self._took(state, step)
                    break
                if following is not wait:
                    if following.__class__ is not kind and following.__class__ not in _PLAIN:
                        self._took(state, step)
                        break
                    wait, state, is_run = following, then, False
                    self.wait, self.state = wait, state
                elif is_run and end < size:
                    self.state = then
                    turns = self._feed_run(data, turns)  # from here on the step is the last one of the run
                    end, wait, state = self.start, self.wait, self.state
                    if wait.__class__ not in _PLAIN or not is_plain(state):
                        break
                    is_run = wait is following
                else:
                    self.state, state, is_run = then, then, kind is Until
                if self.blocked or self.inbox is not data or not turns:
                    break
                if end == size:
                    is_hungry = wait.hungry if wait.__class__ is not Exactly else 0 < wait.n <= wait.limit
                    if not is_hungry or self.output is not OPEN:
                        break
                    timeout = wait.timeout
                    if timeout is None:
                        timeout = handler.timeout
                    self.inbox = b""
                    self.start = self.scanned = 0
                    self.running = STEADY
                    return _NEVER if timeout is None else timeout
            self.scanned = self.start
            if turns:
                self._loop(turns, high_water)
            else:
                self._rest()
        except BaseException as error:
            self._broke(error)
            raise
        finally:
            if self.running:  # it is not `STEADY`
                self.running = False
                self._trim()
        return None

    def _feed_run(self, data: bytes, turns: int) -> int:
        """The hot path for a run of pieces with one delimiter, after two: one search finds many of them.

        It begins where `feed` has got to. It ends when what is found is used up, when the wait is another, and when a
        reason to leave the hot path applies. Returns the number of turns that are left. Two pieces are no run: a search
        would often find pieces that are none.
        """
        wait: Any = self.wait
        state: Any = self.state
        delimiter, limit, end, is_coroutine = wait.delimiter, wait.limit, self.start, type(state) is not MethodType
        for part in data[end : end + _STRETCH].split(delimiter, turns)[:-1]:
            piece = part + delimiter
            if len(piece) > limit or self.blocked or self.inbox is not data:
                break
            self.start = end = end + len(piece)
            turns -= 1
            try:
                step: Any = state(piece)
            except (StopIteration, Cause) as raised:
                self._raised(state, raised)
                break
            if is_coroutine:
                if step is wait:
                    continue
            elif step.__class__ is tuple and len(step) == 2 and step[0] is wait and type(step[1]) is MethodType:
                self.state = state = step[1]
                continue
            self._took(state, step)
            break
        return turns

    def _feed_slowly(self, data: bytes) -> None:
        """`feed` without the hot path: each piece goes through `take` and `_step`, which a subclass may override."""
        self._hold(data)
        self._run()

    def _hold(self, data: bytes) -> None:
        if self.inbox:
            self.inbox += data
        elif self.state is not None:
            self.inbox = data

    def end(self) -> None:
        """Take the end of the stream and let the request go on."""
        self.ended = True
        self._run()

    def end_opening(self) -> None:
        """Messages begin at the next wait; the handler's ``opened()``."""
        if self.wait is not None:
            self.first_wait = None
            self.blocked = True  # so that `_unblock` records the next wait before it is satisfied

    def is_at_opening(self) -> bool:
        """Whether the request is between messages: it is at the place where messages begin, with an equal wait."""
        first, wait = self.first_wait, self.wait
        if first is None or wait is None:
            return wait is not None  # the first wait after `end_opening`
        is_there = is_same_place(place_of(self.state), self.first_place)
        return is_there and (wait is first or (type(wait) is type(first) and wait._said() == first._said()))

    def _count_calls(self, change: int) -> None:
        super()._count_calls(change)
        if self.over:
            self.blocked = True  # the end of the stream was held back until now

    def urgent(self, data: bytes, before: bytes = b"") -> None:
        """Take urgent ``data``, call the handler's ``urgent()`` and let the request go on.

        ``before`` is the next part of the stream; ``data`` comes behind it. ``before`` satisfies no wait until
        ``urgent()`` has returned.
        """
        self._hold(before)
        self._run(self._tell_urgent, data)

    def _tell_urgent(self, data: bytes) -> None:
        try:
            step = self.handler.urgent(data)
        except Cause as cause:
            self._deliver(cause)
            return
        if step is None:
            return

        def urgent(_: None) -> object:  # errors about the step name this function
            return step

        self.leave_wait()
        coroutine = self._coroutine()
        if coroutine is not None:
            coroutine.close()
        self._step(urgent, None)

    def take_held(self) -> bytes:
        """Take all input that is held; the handler's ``take_held()``."""
        data = self._cut(len(self.inbox or b""))
        if self.inbox:
            self.inbox = b""
            self.start = self.scanned = 0
        return data

    def put_back(self, data: bytes) -> None:
        """Put ``data`` in front of the input that is held; the handler's ``put_back()``."""
        if self.inbox is not None:
            self.inbox = bytearray(data) + self.inbox[self.start :]  # never the object that the hot path has read
            self.running = self.running or False  # it is not `STEADY` now
            self.start = self.scanned = 0

    def read(self, limit: int | None = None) -> bytes:
        """Return the output, at most ``limit`` bytes, and drop it, as if the kernel had taken it; go on.

        A file that is too short, or can't be read, ends the request: see `lose`.
        """
        try:
            data = bytes(self.outbox[:limit]) if self.outbox else b""
        except Failed as failed:
            self.lose(failed)
            return b""
        self.sent(len(data))
        if self.blocked:
            self.advance()
        return data

    def sent(self, count: int) -> None:
        """Drop the first ``count`` bytes of the outbox: the kernel has taken them."""
        outbox = self.outbox
        if outbox.__class__ is bytes and count == len(outbox):
            self.outbox = None
        elif outbox is not None:
            self.outbox = without(outbox, count)
        if self.outbox is None and self.followers:
            self._drained()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.state is None or self.output is not OPEN or self.excess is not None:
            return
        outbox: Any = self.outbox
        if outbox is None and data.__class__ is bytes:
            outbox = data
            self.outbox = data or None
        elif outbox.__class__ is bytearray:
            outbox += data
        else:
            outbox = grown(outbox, data)
            self.outbox = outbox or None
        if len(outbox) >= self.running:
            self._look_at(outbox)

    def _look_at(self, outbox: Any) -> None:
        """The output has grown to the bytes at which it is looked at, in a state; or no state runs."""
        if self._overflows():
            self.outbox = None if outbox.__class__ is Files else outbox[: int(self.handler.max_output)]
            close_files(outbox)  # last, as in `drop_output`
        elif not self.running:
            self.driver.touched()
        elif len(outbox) > self.handler.high_water:
            self.blocked = True

    def write_file(self, file: BinaryIO, offset: int, count: int | None) -> None:
        """Queue the part of a file; the handler's ``send_file()``."""
        part = part_of(file, offset, count)
        if self.state is None or self.output is not OPEN or self.excess is not None or not part.left:
            part.close()
            return
        data = part.whole()
        if data is not None:
            self.write(data)
            return
        if self.outbox.__class__ is not Files:
            self.outbox = Files(self.outbox)
        self.outbox.add(part)
        self._look_at(self.outbox)

    @property
    def is_cut(self) -> bool:
        """Whether the peer lacks output that was dropped."""
        return self.output is CUT or self.excess is not None

    def lose(self, cause: Cause) -> None:
        if self.outbox:
            self.output = CUT
        super().lose(cause)

    def abort(self) -> None:
        """Drop the output, and have the driver reset the connection; the handler's ``abort()``."""
        if self.output is not ENDED:
            self.output = CUT
        self.drop_output()
        if not self.running:
            self.close()
            self.driver.touched()  # a request that has ended may owe nothing now

    def cut_output(self) -> None:
        if self.outbox:
            self.output = CUT
        self.drop_output()

    def drop_output(self) -> None:
        outbox = self.outbox
        super().drop_output()  # first, so that a close() that raises is called once
        close_files(outbox)

    def write_descriptors(self, data: bytes | bytearray | memoryview, descriptors: tuple[int, ...]) -> None:
        """Queue output, and descriptors with its first byte; the handler's ``send_descriptors()``."""
        self.driver.pass_on(descriptors)
        self.write(data)

    def write_eof(self) -> None:
        """End the output once it has drained; the handler's ``send_eof()``."""
        if self.output == OPEN:
            self.output = ENDING
        if not self.running:
            self.driver.touched()

    def end_output(self) -> None:
        """Take note that the driver has shut down the output."""
        self.output = ENDED

    def _put_in(self, wait: Filtered) -> object:
        if self.outbox:
            self.blocked = True
            return NOTHING
        from .filter import put_in  # imported here because most programs have no filters

        return put_in(self, wait)

    def take(self, wait: Wait) -> object:
        if not isinstance(wait, StreamWait):
            return super().take(wait)
        held: bytes | bytearray = self.inbox  # type: ignore[assignment]  # not None before the end
        start, over = self.start, self.ended and not self.calls
        if start == len(held) and wait.hungry and not self.ended:
            return NOTHING
        try:
            end = wait.find(held, start, self.scanned, over)
        except LimitPassed as passed:
            if not isinstance(wait, Exactly):
                passed.partial = self._cut(min(len(held), start + wait.limit))
            raise
        if end >= 0:
            self.start = self.scanned = end
            return held[start:end] if held.__class__ is bytes else bytes(held[start:end])
        self.scanned = len(held)
        if not over:
            if self.scanned - start >= wait.limit and isinstance(wait, InputEnded):
                self.blocked = True  # so that the driver reads no more
            return NOTHING
        if start == len(held) and self.is_at_opening():
            self._end(None)  # a clean end, between messages
            return NOTHING
        raise EndOfStream(self._cut(len(held)))

    def _cut(self, end: int) -> bytes:
        start, self.start = self.start, end
        self.scanned = end
        return bytes(self.inbox[start:end]) if self.inbox else b""

    def leave_wait(self) -> None:
        self.scanned = self.start  # the next wait may search for something else
        super().leave_wait()

    def _trim(self) -> None:
        """Drop the input that waits have taken. A longer remainder becomes a bytearray, which grows in place."""
        held, start = self.inbox, self.start
        if held is None:
            return  # the request has ended
        if held:
            if start == len(held):
                self.inbox = b""
            elif type(held) is bytes:
                self.inbox = held[start:] if len(held) - start < _SMALL else bytearray(held[start:])
            else:
                del held[:start]  # type: ignore[union-attr]
            self.start = 0
            self.scanned -= start
        if not self.inbox and self.wants_input and self.output is OPEN and is_plain(self.state):
            self.running = STEADY


def _end_of(wait: Any, data: bytes, start: int) -> int:
    """Where the piece that begins at ``start`` ends; ``start`` if it is empty, or has not all come, or never will."""
    if start == len(data):
        return start
    try:
        end: int = wait.find(data, start, start, False)
    except Cause:
        return start
    return max(start, end)


def close_files(outbox: Any) -> None:
    """Close the files in the outbox of a `StreamMachine`."""
    if outbox.__class__ is Files:
        outbox.close()
