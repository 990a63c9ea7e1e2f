"""What a handler costs and what it keeps, counted and not timed: lines of Python, bytes touched, bytes held.

A count is the same on every run and every machine, so a test can hold a handler to it; and a
loop that never ends is a count that has been passed, not a test that hangs.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from types import CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from handlers import DatagramMachine, Handler, Machine, StreamMachine, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CellType, FrameType, TracebackType

    from typing_extensions import Self

LINES = 100_000
"""Lines of Python that a handler may run for one call of its machine, before the bytes it was given count."""

LINES_PER_BYTE = 100
"""Lines of Python that each byte given to the handler allows it on top of that."""


class EndlessLoop(BaseException):
    """More lines of Python were run than `line_limit` allows.

    No ``Exception``, so that the handler that loops does not catch it and loop on.
    """


class line_limit:  # noqa: N801  # read as a statement: with line_limit(1_000): ...
    """Let the code in the ``with`` block run ``most`` lines of Python, then raise `EndlessLoop` in it.

    ``lines`` says how many it ran. It takes the thread's trace function (``sys.settrace``) for
    that long, so a debugger or a measurement of coverage sees nothing of the block.

    >>> left = b"no end of line"
    >>> with line_limit(1_000):
    ...     while b"\\n" not in left:
    ...         left = left[:80]
    Traceback (most recent call last):
    reactor.testing.counting.EndlessLoop: over 1000 lines of Python
    """

    def __init__(self, most: int, but: dict[str, Any] | None = None) -> None:
        self.most = most
        self.lines = 0
        self._but = but  # the globals of a module whose own lines do not count
        self._depth = 0

    def allow(self, more: int) -> None:
        """Let ``more`` lines be run from now on."""
        self.most = self.lines + more

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._collects = gc.isenabled()
            gc.disable()  # it comes when it likes, and may call finalizers and ``gc.callbacks``
            self._before = sys.gettrace()
            caller = sys._getframe(1)
            self._caller, self._callers = caller, caller.f_trace
            caller.f_trace = self._trace(caller, "call", None)
            sys.settrace(self._trace)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            sys.settrace(self._before)
            self._caller.f_trace = self._callers
            del self._caller
            if self._collects:
                gc.enable()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines > self.most:
                raise EndlessLoop(f"over {self.most} lines of Python")
        return None if frame.f_globals is self._but else self._trace


# Bytes touched


class Meter:
    """How many bytes the `Counted` and `CountedArray` of now have gone over."""

    touched = 0


METER = Meter()

_SEARCHES = "find", "index", "rfind", "rindex", "count"
_COPIES = (
    "split", "rsplit", "splitlines", "partition", "rpartition", "replace", "strip", "lstrip", "rstrip", "upper",
    "lower", "translate", "decode", "encode", "hex", "removeprefix", "removesuffix", "swapcase", "title", "capitalize",
    "casefold", "expandtabs",
    "ljust", "rjust", "center", "zfill", "isdigit", "isalpha", "isalnum", "isspace", "isascii", "copy",
)  # fmt: skip


def _counted(value: Any) -> Any:
    """``value`` with whatever is bytes in it counted from now on."""
    kind = type(value)
    if kind is bytes:
        return Counted(value)
    if kind is bytearray:
        return CountedArray(value)
    if kind is str:
        return CountedText(value)
    if kind is list or kind is tuple:
        return kind(map(_counted, value))
    return value


def _search(plain: Any, name: str) -> Callable[..., Any]:
    method = getattr(plain, name)
    backwards, counts = name.startswith("r"), name == "count"

    def search(self: Any, sub: Any, start: int | None = None, end: int | None = None) -> Any:
        first, last, _ = slice(start, end).indices(len(self))
        found = -1 if counts else getattr(plain, name.replace("index", "find"))(self, sub, first, last)
        if found < 0:
            METER.touched += max(0, last - first)
        else:
            METER.touched += last - found if backwards else found - first + 1
        return method(self, sub, first, last)

    return search


def _copy(plain: Any, name: str) -> Callable[..., Any]:
    method = getattr(plain, name)

    def copy(self: Any, *arguments: Any, **named: Any) -> Any:
        METER.touched += len(self)
        return _counted(method(self, *arguments, **named))

    return copy


def _operators(plain: Any) -> dict[str, Any]:
    def getitem(self: Any, key: Any) -> Any:
        value = plain.__getitem__(self, key)
        METER.touched += 1 if isinstance(value, int) else len(value)
        return _counted(value)

    def contains(self: Any, sub: Any) -> bool:
        found: int = plain.find(self, sub)
        METER.touched += len(self) if found < 0 else found + 1
        return found >= 0

    def add(self: Any, other: Any) -> Any:
        value = plain.__add__(self, other)
        METER.touched += len(self) if value is NotImplemented else len(value)
        return _counted(value)

    def to_bytes(self: Any) -> Any:
        METER.touched += len(self)
        return Counted(plain.__getitem__(self, slice(None)))

    operators = {"__getitem__": getitem, "__contains__": contains, "__add__": add}
    return operators if plain is str else {**operators, "__bytes__": to_bytes}


def _counting(plain: type, **more: Any) -> dict[str, Any]:
    members = {name: _search(plain, name) for name in _SEARCHES}
    members.update((name, _copy(plain, name)) for name in _COPIES if hasattr(plain, name))
    return {**members, **_operators(plain), **more}


def _radd(self: Any, other: Any) -> Any:
    """``other + self`` and ``other += self``; a ``bytearray`` on the left grows in place and copies nothing."""
    if type(other) not in (bytes, str):
        return NotImplemented
    METER.touched += len(other) + len(self)
    return _counted(type(other).__add__(other, self))


def _iadd(self: Any, other: Any) -> Any:
    METER.touched += len(other)
    bytearray.extend(self, other)
    return self


if TYPE_CHECKING:

    class Counted(bytes):
        """Bytes that tell `METER` how many of them each operation goes over."""

    class CountedText(str):
        """The same for what they are decoded to."""

    class CountedArray(bytearray):
        """The same for a ``bytearray``; what grows or shrinks at its ends is not copied, and not counted."""

else:
    Counted = type("Counted", (bytes,), _counting(bytes, __radd__=_radd))
    CountedText = type("CountedText", (str,), _counting(str, __radd__=_radd))

    class _Arrays(type):
        def __instancecheck__(cls, value: object) -> bool:
            # While it stands for bytearray, one that was made before, or elsewhere, is of its kind too.
            return type.__instancecheck__(bytearray, value)

    CountedArray = _Arrays("CountedArray", (bytearray,), _counting(bytearray, __iadd__=_iadd))


class _CountingStream(StreamMachine):
    __slots__ = ()

    def _take(self, wait: Any) -> object:
        return _counted(super()._take(wait))


class _CountingPackets(DatagramMachine):
    __slots__ = ()

    def _take(self, wait: Any) -> object:
        return _counted(super()._take(wait))


def counting_machine(machine: type[Machine]) -> type[Machine]:
    """``machine``, giving its handler bytes that are counted."""
    return _CountingPackets if issubclass(machine, DatagramMachine) else _CountingStream


def count_attributes(handler: Handler) -> None:
    """Have the bytes that ``handler`` keeps in attributes counted from now on."""
    attributes = getattr(handler, "__dict__", {})
    for name, value in attributes.items():
        if type(value) in (bytes, str):  # an array may be known to others too, and stays what it is
            attributes[name] = _counted(value)


@contextmanager
def counted_arrays(kind: type) -> Iterator[None]:
    """Have every ``bytearray`` counted that the modules of a handler class, and of what it derives from, make."""
    functions = [value for base in kind.__mro__ for value in vars(base).values() if isinstance(value, FunctionType)]
    spaces = {id(function.__globals__): function.__globals__ for function in functions}
    ours = [
        space
        for space in spaces.values()
        if space.get("__name__", "").partition(".")[0] not in ("handlers", "reactor") and "bytearray" not in space
    ]
    try:
        for space in ours:
            space["bytearray"] = CountedArray
        yield
    finally:
        for space in ours:
            del space["bytearray"]


# Bytes held


def held(machine: Machine) -> int:
    """Bytes that a request holds: the input in its machine and what its handler keeps itself.

    The handler keeps what can be reached from its attributes, from its next state and from the
    local variables of its coroutine. An item of a container counts for 8 bytes besides its own.
    Output does not count: it has water marks of its own.

    >>> from handlers import StreamHandler, Until
    >>> class Hoard(StreamHandler):
    ...     async def handle(self):
    ...         hoard = []
    ...         while True:
    ...             hoard.append(await Until(b";", limit=9))
    >>> machine = StreamMachine(Hoard())
    >>> machine.feed(b"abc;def;gh")
    >>> held(machine)
    26
    """
    seen = {id(machine)}
    total = machine.held_in
    reached: list[Any] = [*_attributes(machine.handler), machine.state]
    seen.add(id(machine.handler))
    while reached:
        value = reached.pop()
        if isinstance(value, (bytes, str)):  # equal ones may be one object, and next time are not
            total += len(value)
        elif id(value) not in seen:
            seen.add(id(value))
            total += _size(value)
            reached.extend(_parts(value))
    return total


def _size(value: Any) -> int:
    if isinstance(value, bytearray):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, BytesIO):
        return len(value.getvalue())
    if isinstance(value, (list, tuple, set, frozenset, deque, dict)):
        return 8 * len(value)
    return 0


def _parts(value: Any) -> Iterator[Any]:
    """What is one step from ``value``; waits, other requests, classes and modules are not its own."""
    if isinstance(value, (Handler, Machine, Wait, type, ModuleType, bytearray)):
        return
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from value
    elif isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, CoroutineType):
        yield from value.cr_frame.f_locals.values() if value.cr_frame else ()
        yield value.cr_await
    elif isinstance(value, GeneratorType):
        yield from value.gi_frame.f_locals.values() if value.gi_frame else ()
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, FunctionType):
        yield from map(_contents, value.__closure__ or ())
    elif isinstance(value, MethodType) or hasattr(value, "__self__"):
        yield value.__self__
    else:
        yield from _attributes(value)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _attributes(value: Any) -> Iterator[Any]:
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name != "_machine" and hasattr(value, name):
                yield getattr(value, name)
