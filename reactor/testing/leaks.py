"""What a test leaves open: rows, descriptors, threads, children. The plugin for pytest asks here.

Looked at is the process itself, not what a test says of it: the descriptors that the kernel lists, the
children it knows, the threads that are alive, and the tables of all reactors that there are. Left out is what
`multiprocessing` keeps for as long as the process lives, for no test can end it.
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

from ..table import RequestTable

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterator

_STANDING = {
    "multiprocessing.resource_tracker": ("_resource_tracker", "_pid", "_fd"),
    "multiprocessing.forkserver": ("_forkserver", "_forkserver_pid", "_forkserver_alive_fd"),
}
"""Where `multiprocessing` has its two servants: the module, the object, its attributes for a child and a descriptor."""

GRACE = 1.0
"""Seconds that what has been told to end may take for it."""


class Leak(AssertionError):
    """Something was left open."""


def held() -> dict[Hashable, str]:
    """What this process has open now, and what to call it.

    Descriptors are seen where there is ``/proc/self/fd`` or ``/dev/fd``, children where there is ``/proc``.
    """
    children, files = _standing()
    return {**_rows(), **_descriptors(files), **_threads(), **_children(children)}


def left(before: Container[Hashable], grace: float = GRACE) -> dict[Hashable, str]:
    """What is open and was not ``before``; it is looked for again until all has gone, or for ``grace`` seconds."""
    deadline = time.monotonic() + grace
    while True:
        still = {key: name for key, name in held().items() if key not in before}
        if not still or time.monotonic() > deadline:
            return still
        time.sleep(0.005)


@contextmanager
def leaks_nothing(grace: float = GRACE) -> Iterator[None]:
    """Raise `Leak` if what is done in the ``with`` block leaves anything open.

    >>> import threading
    >>> gate = threading.Event()
    >>> with leaks_nothing(grace=0):
    ...     threading.Thread(target=gate.wait, name="forgotten").start()
    Traceback (most recent call last):
    reactor.testing.leaks.Leak: left open: thread 'forgotten'
    >>> gate.set()
    """
    before = held()
    yield
    refuse(left(before, grace))


def refuse(leaked: dict[Hashable, str]) -> None:
    """Raise `Leak` if anything has."""
    if leaked:
        raise Leak(f"left open: {', '.join(leaked.values())}")


def _rows() -> dict[Hashable, str]:
    tables: list[Any] = [each for each in gc.get_objects() if type(each) is RequestTable]
    rows = {id(row): row for table in tables for row in table}  # a loop inside a loop has it in both its tables
    return {("row", number, row.serial): f"row {_told(row)}" for number, row in rows.items()}


def _told(row: Any) -> str:
    return f"{row.serial} ({row.handler}.{row.state}, {row.wait or 'waits for nothing'}, driven by {row.driver})"


def _standing() -> tuple[set[int], set[tuple[int, int]]]:
    """The children that `multiprocessing` keeps, and the files (device and inode), once they have been asked for."""
    children: set[Any] = set()
    numbers: set[Any] = set()
    for module, (name, child, descriptor) in _STANDING.items():
        servant = getattr(sys.modules.get(module), name, None)
        children.add(getattr(servant, child, None))
        numbers.add(getattr(servant, descriptor, None))
    memory = getattr(getattr(sys.modules.get("multiprocessing.heap"), "BufferWrapper", None), "_heap", None)
    numbers |= {getattr(arena, "fd", None) for arena in getattr(memory, "_arenas", ())}
    files = set()
    for number in numbers - {None, -1}:
        with suppress(OSError):  # its process was forked, or it was closed behind its back
            status = os.fstat(number)
            files.add((status.st_dev, status.st_ino))
    return children, files


def _descriptors(but: set[tuple[int, int]]) -> dict[Hashable, str]:
    place = next((place for place in ("/proc/self/fd", "/dev/fd") if os.path.isdir(place)), None)
    found: dict[Hashable, str] = {}
    for number in map(int, os.listdir(place) if place else ()):
        try:
            status = os.fstat(number)
        except OSError:
            continue  # it was for the listing
        if (status.st_dev, status.st_ino) not in but:
            found["descriptor", number, status.st_dev, status.st_ino] = f"descriptor {number}{_target(place, number)}"
    return found


def _target(place: str | None, number: int) -> str:
    try:
        return f" ({os.readlink(f'{place}/{number}')})"
    except OSError:
        return ""


def _threads() -> dict[Hashable, str]:
    """All that run Python; those that `_thread` has started have no name."""
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
        return None  # it has gone in the meantime
