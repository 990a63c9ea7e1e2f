"""Counts of what a handler costs and keeps: lines of Python, bytes touched, bytes held.

A count is the same on every run and every machine, so a test can assert it. A loop that never ends passes a limit
instead of hanging the test.
"""

from __future__ import annotations

import gc
import sys
from array import array
from collections import deque
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib.util import find_spec
from io import BytesIO
from types import CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from ...handlers import DatagramMachine, Handler, Machine, StreamMachine, Wait
from .own import own_spaces
from .tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CellType, TracebackType

    from typing_extensions import Self

LINES = 200_000
"""Lines of Python that a handler may run for one call of its machine, apart from `LINES_PER_BYTE`."""

LINES_PER_BYTE = 100
"""Lines of Python that it may run in addition for each byte that the call gives it."""


class EndlessLoop(BaseException):
    """More lines of Python were run than `line_limit` allows.

    It is not an ``Exception``, so a handler that catches every exception does not catch it.
    """


class LinesRun:
    """What all runs of this process have cost so far."""

    lines: ClassVar[int] = 0
    """Lines of Python."""


class line_limit:  # noqa: N801  # read as a statement: with line_limit(1_000): ...
    """Let the code in the ``with`` block run ``most`` lines of Python, then raise `EndlessLoop` in it.

    ``lines`` is the number of lines that it has run; lines of the modules named in ``but`` do not count. Before Python
    3.12 the block runs under a trace function (``sys.settrace``), so a debugger or a measurement of coverage does not
    see it.

    >>> left = b"no end of line"
    >>> with line_limit(1_000):
    ...     while b"\\n" not in left:
    ...         left = left[:80]
    Traceback (most recent call last):
    reactor.testing.running.counting.EndlessLoop: over 1000 lines of Python
    """

    def __init__(self, most: int, but: frozenset[str] = frozenset()) -> None:
        self._depth = 0
        self.allow: Callable[[int], None]
        """Allow so many more lines from now on."""
        self._run, self.allow, count = _counter(most)
        self._tracing = Tracing(self._told(count), _files(but))

    @property
    def lines(self) -> int:
        """The lines that the block has run."""
        return self._run()

    def _told(self, count: Callable[..., None]) -> Callable[..., None]:
        """What is told of each line, and calls ``count``."""
        return count

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._collects = gc.isenabled()
            gc.disable()  # a collection may run finalizers and ``gc.callbacks`` at any line
            self._tracing.begin(sys._getframe(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._tracing.end()
            if self._collects:
                gc.enable()


@lru_cache(maxsize=8)
def _files(modules: frozenset[str]) -> frozenset[str]:
    """The files of the modules with these names, which need not be imported yet, and of the module that traces."""
    found = map(find_spec, (*modules, Tracing.__module__))
    return frozenset(str(spec.origin) for spec in found if spec is not None)


def _counter(most: int) -> tuple[Callable[[], int], Callable[[int], None], Callable[..., None]]:
    """What tells how many lines have run, what allows so many more, and what counts one.

    It is called for each line, so it is a closure: a method that counts in an attribute takes half as long again.
    """
    lines = 0

    def run() -> int:
        return lines

    def allow(more: int) -> None:
        nonlocal most
        most = lines + more

    def count(frame: object = None, event: str = "line", argument: object = None) -> None:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines > most:
                raise EndlessLoop(f"over {most} lines of Python")

    return run, allow, count


# Bytes touched


class Meter:
    """Counts the bytes that operations on `Counted`, `CountedText` and `CountedArray` have gone over."""

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
    """``value``, with counting objects in place of the bytes and text in it."""
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
    """``other + self`` and ``other += self``. A ``bytearray`` on the left grows in place: nothing is copied."""
    if type(other) not in (bytes, str):
        return NotImplemented
    METER.touched += len(other) + len(self)
    return _counted(type(other).__add__(other, self))


def _iadd(self: Any, other: Any) -> Any:
    METER.touched += len(other)
    bytearray.extend(self, other)
    return self


_OF_NUMBERS = "__contains__", "index", "count", "remove"


def _over(name: str) -> Callable[..., Any]:
    method = getattr(array, name)

    def search(self: Any, *arguments: Any) -> Any:
        METER.touched += len(self)
        return method(self, *arguments)

    return search


class CountedList(list):  # type: ignore[type-arg]
    """A list whose searches add the items that they go over to `METER`, and so do insertions and removals."""

    def __contains__(self, item: object) -> bool:
        METER.touched += len(self)
        return list.__contains__(self, item)

    def index(self, *arguments: Any) -> int:
        METER.touched += len(self)
        return list.index(self, *arguments)

    def remove(self, item: object) -> None:
        METER.touched += len(self)
        list.remove(self, item)


if TYPE_CHECKING:

    class Counted(bytes):
        """Bytes whose operations add the bytes that they go over to `METER`."""

    class CountedText(str):
        """The same for text."""

    class CountedArray(bytearray):
        """The same for a ``bytearray``. To grow or shrink at an end copies nothing, so that is not counted."""

    class CountedNumbers(array):  # type: ignore[type-arg]
        """An array of numbers whose searches add the numbers that they go over to `METER`."""

else:
    Counted = type("Counted", (bytes,), _counting(bytes, __radd__=_radd))
    CountedText = type("CountedText", (str,), _counting(str, __radd__=_radd))

    class _Arrays(type):
        def __instancecheck__(cls, value: object) -> bool:
            # `counted_arrays` puts this class where that of ordinary arrays was, but these are still in use.
            return type.__instancecheck__(cls.__base__, value)

    CountedArray = _Arrays("CountedArray", (bytearray,), _counting(bytearray, __iadd__=_iadd))
    CountedNumbers = _Arrays("CountedNumbers", (array,), {name: _over(name) for name in _OF_NUMBERS})


class _CountingStream(StreamMachine):
    __slots__ = ()
    feed = StreamMachine._feed_slowly

    def take(self, wait: Any) -> object:
        return _counted(super().take(wait))


class _CountingPackets(DatagramMachine):
    __slots__ = ()

    def take(self, wait: Any) -> object:
        return _counted(super().take(wait))


def counting_machine(machine: type[Machine]) -> type[Machine]:
    """A subclass of ``machine`` that gives its handler `Counted` bytes."""
    return _CountingPackets if issubclass(machine, DatagramMachine) else _CountingStream


def count_attributes(handler: Handler) -> None:
    """Replace the bytes, text and lists that ``handler`` keeps in attributes by counting objects."""
    attributes = getattr(handler, "__dict__", {})
    [(_, alone)] = _references({"": []})  # with one more on 3.10 under a profile function
    for name, references in _references(attributes):
        value = attributes[name]
        if type(value) in (bytes, str):  # not an array: other objects may refer to it
            attributes[name] = _counted(value)
        elif type(value) is list and references == alone:
            attributes[name] = CountedList(value)


def _references(attributes: dict[str, Any]) -> list[tuple[str, int]]:
    """How many references each attribute has, those of this function with them."""
    return [(name, sys.getrefcount(value)) for name, value in attributes.items()]


@contextmanager
def counted_arrays(kind: type) -> Iterator[None]:
    """Within the ``with`` block, ``bytearray`` is `CountedArray` in the modules of ``kind`` and its base classes.

    So is `CountedNumbers` where a module has `array.array` under this name.
    """
    spaces = [space for space in own_spaces(kind) if "bytearray" not in space]
    numbers = [space for space in own_spaces(kind) if space.get("array") is array]
    try:
        for space in spaces:
            space["bytearray"] = CountedArray
        for space in numbers:
            space["array"] = CountedNumbers
        yield
    finally:
        for space in spaces:
            del space["bytearray"]
        for space in numbers:
            space["array"] = array


# Bytes held


def held(machine: Machine) -> int:
    """Bytes that a request holds: the input in its machine, and what its handler keeps.

    A handler keeps what its attributes, its next state and the local variables of its coroutine refer to, directly or
    through other objects. Each item of a container counts as 8 bytes more. Output does not count, because
    ``max_output`` bounds it.

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
    return int(machine.held_in) + sum(map(_size, _reached(machine)))


def largest_number(machine: Machine) -> int:
    """The bytes of the largest ``int`` that the handler of a request keeps. Each operation goes over all of them.

    >>> from handlers.services import Echo
    >>> largest_number(StreamMachine(Echo())) < 64
    True
    """
    return max((value.bit_length() // 8 for value in _reached(machine) if isinstance(value, int)), default=0)


def longest_text(machine: Machine) -> int:
    """The bytes of the longest bytes, or text, that the handler of a request keeps, in whatever form."""
    texts = bytes, str, bytearray, memoryview, BytesIO
    return max((_size(value) for value in _reached(machine) if isinstance(value, texts)), default=0)


def _reached(machine: Machine) -> Iterator[Any]:
    """What a request keeps; bytes and text each time: whether equal values are one object is accidental."""
    seen = {id(machine), id(machine.handler)}
    reached: list[Any] = [*_attributes(machine.handler), machine.state]
    while reached:
        value = reached.pop()
        if isinstance(value, (bytes, str)):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            yield value
            reached.extend(_parts(value))


def _size(value: Any) -> int:
    if isinstance(value, (bytes, str, bytearray)):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, BytesIO):
        return len(value.getvalue())
    if isinstance(value, (list, tuple, set, frozenset, deque, dict)):
        return 8 * len(value)
    return 0


def _parts(value: Any) -> Iterator[Any]:
    """The objects that ``value`` refers to. Waits, other requests, classes and modules are not its own: nothing."""
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
    except ValueError:  # the cell is empty
        return None


def _attributes(value: Any) -> Iterator[Any]:
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name != "_machine" and hasattr(value, name):
                yield getattr(value, name)
