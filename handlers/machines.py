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
from .states import is_of_coroutine, is_same_place, place_of
from .wait import StreamWait, Wait
from .waits import Exactly, Filtered, Relayed, Some, Until, UntilAny
from .wire import grown, without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from .handler import StreamDriver, StreamHandler

_NEVER = float("inf")
_PLAIN = frozenset((Until, UntilAny, Exactly, Some))  # the hot path goes on with these; others go through `_took`
_HUNGRY = frozenset((Until, UntilAny, Some))  # waits that take at least one byte
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

    def feed(self, data: bytes) -> float | None:
        """Take ``data``, the next bytes of the stream, and let the request go on.

        Returns the `patience` of the new wait if the request has taken all of ``data``, now waits for more input, and
        nothing but its output and its wait has changed. Returns ``None`` in all other cases: then the driver must look
        at the whole channel. Raises what the handler raises. If the request has ended, the data is dropped.
        """
        wait, handler, outbox = self.wait, self.handler, self.outbox
        if wait is None or not wait.reads or self.inbox or self.running or self.blocked or self.ended:
            self._feed_slowly(data)
            return None
        high_water, most = handler.high_water, handler.max_output
        if outbox is not None and len(outbox) > high_water:  # another request has written it
            self._feed_slowly(data)
            return None
        self.inbox = data
        self.running = 1 + (high_water if high_water < most else most)  # noqa: FURB136 - see `write`; a call costs more
        try:
            turns = self._feed_fast(data, wait)
            if turns is None:  # all is taken, and the wait is for more input
                self.inbox = b""
                self.start = self.scanned = 0
                self.running = False
                timeout = self.wait.timeout  # type: ignore[union-attr]
                if timeout is None:
                    timeout = handler.timeout
                return None if self.output is not OPEN else _NEVER if timeout is None else timeout
            self.scanned = self.start
            if turns:
                self._loop(turns)
            else:
                self._rest()
        except BaseException as error:
            self._broke(error)
            raise
        finally:
            if self.running:
                self.running = False
                self._trim()
        return None

    def _feed_fast(self, data: bytes, wait: Any) -> int | None:
        """The hot path: cut ``data`` into pieces and pass each piece to the next state, from wait to wait.

        The caller has made sure that the request waits for input, holds no input, is not blocked, and that its output
        has not passed the high-water mark; `write` blocks it when it does. Returns ``None`` when all of ``data`` is
        taken and the request waits for more. In every other case `_loop` must continue, and the number of turns that
        are left is returned: a piece is incomplete or empty, a wait fails, the next wait is not for input, the request
        is blocked or has ended, its turn is over, or a state has changed what is held.
        """
        state: Any = self.state
        is_coroutine = state.__class__ is not MethodType and is_of_coroutine(state)
        turns, kind, end, size, is_run = self.driver.turns, wait.__class__, 0, len(data), False
        while end < size or kind not in _HUNGRY:
            start = end
            if kind is Until:  # what `Until.find` does, without the call, which would cost as much as the rest of this
                found = data.find(wait.delimiter, start)
                end = found + len(wait.delimiter)
                if found < 0 or end - start > wait.limit:
                    return turns
            else:
                end = start + wait.n if kind is Exactly and wait.n <= wait.limit else _end_of(wait, data, start)
                if not start < end <= size:
                    return None if start == size and (size < end or wait.hungry) else turns
            self.start, self.fresh = end, True
            turns -= 1
            try:
                step: Any = state(data[start:end])
            except StopIteration as stop:
                self._took(None, self._returned(state, stop))
                return turns
            except Cause as cause:
                self._step(self.handler.interrupted, cause, cause)
                return turns
            if is_coroutine:
                following, then = step, state
            else:
                following, then = step if step.__class__ is tuple and len(step) == 2 else (None, None)
            before, kind = kind, following.__class__
            if not (kind is before or kind in _PLAIN) or not (then.__class__ is MethodType or is_coroutine):
                self._took(state, step)
                return turns
            self.wait, self.state, state = following, then, then
            is_equal = end < size and kind is Until is before and following.delimiter == wait.delimiter
            if is_equal and is_run:  # two are no run: a search for all their pieces would find many that are none
                turns = self._feed_equal(data, following, turns)
                end, following, state = self.start, self.wait, self.state
                is_coroutine = state.__class__ is not MethodType and is_of_coroutine(state)
                kind = following.__class__
                if kind not in _PLAIN:
                    return turns
            is_run = is_equal
            if self.blocked or self.inbox is not data or not turns:
                return turns
            wait = following
        return None

    def _feed_equal(self, data: bytes, wait: Any, turns: int) -> int:
        """The hot path for pieces with one delimiter, as long as the waits are equal: one search finds all pieces.

        It begins where `_feed_fast` has got to. It ends when what is found is used up, when the next wait is another,
        and when a reason to leave the hot path applies. Returns the number of turns that are left.
        """
        state: Any = self.state
        is_coroutine = state.__class__ is not MethodType  # `_feed_fast` goes on with nothing else
        delimiter, limit, end = wait.delimiter, wait.limit, self.start
        for part in data[end : end + _STRETCH].split(delimiter, turns)[:-1]:
            piece = part + delimiter
            if len(piece) > limit or self.blocked or self.inbox is not data:
                return turns
            self.start = end = end + len(piece)
            turns -= 1
            try:
                step: Any = state(piece)
            except StopIteration as stop:
                self._took(None, self._returned(state, stop))
                return turns
            except Cause as cause:
                self._step(self.handler.interrupted, cause, cause)
                return turns
            if is_coroutine:
                following, then = step, state
            else:
                following, then = step if step.__class__ is tuple and len(step) == 2 else (None, None)
            if following is not wait:
                if following.__class__ is not Until or following.delimiter != delimiter or following.limit != limit:
                    self._took(state, step)
                    return turns
                self.wait = wait = following
            if then is not state:
                if then.__class__ is not MethodType:
                    self._took(state, step)
                    return turns
                self.state = state = then
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
            self.inbox = data + self.inbox[self.start :]
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
            close_files(outbox)
            self.outbox = None if outbox.__class__ is Files else outbox[: int(self.handler.max_output)]
        elif not self.running:
            self.driver.touched()
        elif len(outbox) > self.handler.high_water:
            self.blocked = True

    def write_file(self, file: BinaryIO, offset: int, count: int | None) -> None:
        """Queue the part of a file; the handler's ``send_file()``."""
        part = part_of(file, offset, count)
        if self.state is None or self.output is not OPEN or self.excess is not None or not part.left:
            file.close()
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
        close_files(self.outbox)
        super().drop_output()

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
        if held:
            if start == len(held):
                self.inbox = b""
            elif type(held) is bytes:
                self.inbox = held[start:] if len(held) - start < _SMALL else bytearray(held[start:])
            else:
                del held[:start]  # type: ignore[union-attr]
            self.start = 0
            self.scanned -= start


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
