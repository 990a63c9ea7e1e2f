"""Finds what a test leaves open: rows, descriptors, threads and children.

It asks the process and not the test: the descriptors and children that the kernel lists, the threads that are alive,
and the tables of all reactors. It does not report the child processes and descriptors that `multiprocessing` keeps for
the life of the process.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...loop.descriptors import listing
from ...table.table import RequestTable

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterator

_PERMANENT = {
    "multiprocessing.resource_tracker": ("_resource_tracker", "_pid", "_fd"),
    "multiprocessing.forkserver": ("_forkserver", "_forkserver_pid", "_forkserver_alive_fd"),
}
"""The two helper processes of `multiprocessing`: module, object, and its attributes for the pid and a descriptor."""

GRACE = 1.0
"""Seconds that rows, threads and children may take to end."""


class Leak(AssertionError):
    """A row, a descriptor, a thread or a child was left open."""


def held() -> dict[Hashable, str]:
    """What this process has open now: a key for each resource, and its name in a message.

    Descriptors are found on hosts with ``/proc/self/fd`` or ``/dev/fd``, children on hosts with ``/proc``.
    """
    children, files = _permanent()
    return {**_rows(), **_descriptors(files), **_threads(), **_children(children)}


def left(before: Container[Hashable], grace: float = GRACE) -> dict[Hashable, str]:
    """What is open and was not open ``before``. It looks again until nothing is, or for ``grace`` seconds."""
    deadline = time.monotonic() + grace
    while True:
        still = {key: name for key, name in held().items() if key not in before}
        if not still or time.monotonic() > deadline:
            return still
        time.sleep(0.005)


@contextmanager
def leaks_nothing(grace: float = GRACE) -> Iterator[None]:
    """Raise `Leak` if something that the ``with`` block opened is still open ``grace`` seconds after its end.

    >>> import threading
    >>> gate = threading.Event()
    >>> with leaks_nothing(grace=0):
    ...     threading.Thread(target=gate.wait, name="forgotten").start()
    Traceback (most recent call last):
    reactor.testing.pytest.leaks.Leak: left open: thread 'forgotten'
    >>> gate.set()
    """
    before = held()
    yield
    refuse(left(before, grace))


def refuse(leaked: dict[Hashable, str]) -> None:
    """Raise `Leak` if ``leaked`` is not empty."""
    if leaked:
        raise Leak(f"left open: {', '.join(leaked.values())}")


def _rows() -> dict[Hashable, str]:
    tables: list[Any] = [each for each in gc.get_objects() if type(each) is RequestTable]
    rows = {id(row): row for table in tables for row in table}  # a row of a nested reactor is in two tables
    return {("row", number, row.serial): f"row {_label(row)}" for number, row in rows.items()}


def _label(row: Any) -> str:
    return f"{row.serial} ({row.handler}.{row.state}, {row.wait or 'waits for nothing'}, driven by {row.driven_by})"


def _permanent() -> tuple[set[int], set[tuple[int, int]]]:
    """The pids and the files (device and inode) that `multiprocessing` keeps for the life of the process."""
    children: set[Any] = set()
    numbers: set[Any] = set()
    for module, (name, child, descriptor) in _PERMANENT.items():
        helper = getattr(sys.modules.get(module), name, None)
        children.add(getattr(helper, child, None))
        numbers.add(getattr(helper, descriptor, None))
    memory = getattr(getattr(sys.modules.get("multiprocessing.heap"), "BufferWrapper", None), "_heap", None)
    numbers |= {getattr(arena, "fd", None) for arena in getattr(memory, "_arenas", ())}
    files = set()
    for number in numbers - {None, -1}:
        with suppress(OSError):  # this process is a fork, or something else has closed the descriptor
            status = os.fstat(number)
            files.add((status.st_dev, status.st_ino))
    return children, files


def _descriptors(but: set[tuple[int, int]]) -> dict[Hashable, str]:
    place = listing()
    found: dict[Hashable, str] = {}
    for number in map(int, os.listdir(place) if place else ()):
        try:
            status = os.fstat(number)
        except OSError:
            continue  # listdir() had it open to read the folder
        if (status.st_dev, status.st_ino) not in but:
            found["descriptor", number, status.st_dev, status.st_ino] = f"descriptor {number}{_target(place, number)}"
    return found


def _target(place: str | None, number: int) -> str:
    try:
        return f" ({os.readlink(f'{place}/{number}')})"
    except OSError:
        return ""


def _threads() -> dict[Hashable, str]:
    """All threads that run Python code. Threads that `_thread` has started have no name."""
    known = {thread.ident: thread for thread in threading.enumerate()}
    found: dict[Hashable, str] = {}
    for number in sys._current_frames():
        thread = known.get(number)
        native = None if thread is None else thread.native_id
        found["thread", number, native] = f"thread {number if thread is None else repr(thread.name)}"
    return found


def _children(but: set[int]) -> dict[Hashable, str]:
    names = os.listdir("/proc") if os.path.isdir("/proc") else ()
    pids = {int(name) for name in names if name.isdigit() and _parent(name) == os.getpid()}
    return {("child", pid): f"child {pid}" for pid in pids - but}


def _parent(name: str) -> int | None:
    try:
        return int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # the process has ended meanwhile
