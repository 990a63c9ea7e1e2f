"""Selectors with events that those of ``selectors`` lack: `EVENT_URGENT`, `EVENT_HANGUP` and `EVENT_EXCLUSIVE`.

What follows is an essay on what the kernel does that a loop must know. Each paragraph describes a trap, and says what
the code does about it, and where. The manual pages are Linux's.

**An epoll set is shared after fork(2).** A forked child's epoll descriptor refers to the same set as its parent's, so
what the child unregisters is no longer reported to the parent. A child therefore closes its copy of the selector, and
registers, modifies and unregisters nothing (`loop/children.py`, `loop/interest.py`).

**Descriptors are closed before they are unregistered, and their numbers are used again.** open(2), accept(2) and the
like return the lowest number that is free, so the number of a closed descriptor is soon that of another connection.
epoll(7) forgets a closed descriptor and reports nothing; but if the descriptor has a copy (by dup(2), or in a forked
child), epoll goes on reporting the old number until the last copy is closed, and epoll_ctl(2) can't remove it, because
it takes only open descriptors. poll(2) reports POLLNVAL. select(2) fails with EBADF, for all descriptors at once. If
another thread closes a descriptor while one of these calls waits, the call does not return for it.
The loop unregisters a descriptor before it closes it, by the number that it registered. A new descriptor whose number
is still registered takes the place of the old one (`loop/interest.py`). `SelectSelector` and `PollSelector` report a
descriptor that others have closed as ready for everything that was asked of it, and the next call of its owner fails
with EBADF. `EpollSelector` can't report it: its owner finds out at the next call that it makes for another reason, or
at its deadline.

**Readiness is a hint.** A socket that was reported as readable may have nothing to read: the checksum of the datagram
was wrong (select(2), BUGS), or another process has accepted the connection. So the loop's sockets are non-blocking, or
each call has MSG_DONTWAIT, and a call that would have blocked changes nothing (`loop/kernel.py`: ``AGAIN``).

**Some errors are normal.** EAGAIN: see above. EINTR: a signal came, and nothing else has happened; Python repeats the
call by itself (PEP 475) unless the signal's handler raises. ECONNABORTED from accept(2): the client has gone before it
was accepted, and the next connection in the accept queue may be there. Linux's accept(2) also returns errors that
belong to the new connection (ENETDOWN, EPROTO, EHOSTUNREACH, …), which are to be treated like EAGAIN. None of these
ends a listener (`servers/base.py`).

**Level-triggered or edge-triggered.** All selectors here are level-triggered: they report a condition for as long as
it lasts. So a row may leave input in the kernel and let the others have their turn (`rows/stream.py`: ``READ_SIZE``);
edge-triggered, it would have to read until EAGAIN. The price: a condition about which nobody does anything is reported
again at once, and the loop spins. So a row registers only what it will act on, and acts on what is reported.

**Hang-ups and errors are reported even if nobody has asked.** EPOLLHUP and EPOLLERR (POLLHUP, POLLERR) can't be
masked; ``events=0`` still reports them. A TCP connection has both after a reset: one call returns the error, and
recv(2) returns the input that came before the reset first. It has EPOLLHUP when both directions are closed, by the
peer's FIN and by our shutdown(2). A Unix stream socket has EPOLLHUP as soon as the peer has closed, even if there is
still input to read. A TCP socket that was never connected has it from the beginning. select(2) reports a hang-up as
readable and an error as readable and writable, to those that ask for these.
A hang-up or an error is reported here as everything that was asked for, so that whoever reads or writes finds the
errno. A row that neither reads nor writes registers for `EVENT_HANGUP` alone, and ends when it is reported
(`rows/stream.py`).

**A half-close is not a hang-up.** A FIN says that the peer sends no more; it may still read (RFC 9293, section 3.6).
The socket becomes readable and recv(2) returns nothing. A TCP peer that has called close(2) has sent the same FIN: the
difference shows only when something is sent to it, which it answers with a reset. EPOLLRDHUP tells of the FIN before
the input is read; it is not used, because a FIN alone is no reason to end a row. So a row that rests learns of a reset
at once, and of a FIN when it reads next.

**select(2) has room for numbers below FD_SETSIZE** (1024) only. Python refuses a higher number when select() is called
(ValueError), for all descriptors at once, so `SelectSelector` tries the number when it is registered. epoll(7) refuses
regular files (EPERM), which select(2) and poll(2) report as always ready.

**Urgent data has a place in the stream.** Without SO_OOBINLINE the kernel takes the urgent byte out of the stream: the
place is lost, and the byte itself too if a second one comes before the first was read (RFC 6093, section 3). With it,
the byte stays where it was sent, a read ends before it, and the ioctl SIOCATMARK tells whether it is next
(`rows/urgent.py`). EPOLLPRI is reported until the byte has been read past. It may be reported before the byte can be
read, when bytes before it were lost on the way (`rows/stream.py`).

**A full descriptor table does not empty the accept queue.** accept(2) fails with EMFILE or ENFILE, the connection stays
in the queue, the listener stays readable, and the loop would spin. The listener is taken out of the selector until a
row has ended, or for 0.1 s (`servers/admission.py`). The same holds for ENOBUFS and ENOMEM.

**A connection wakes every process that waits for it.** Where several processes have one listener in their epoll sets,
each is woken, and all but one find nothing. With EPOLLEXCLUSIVE (Linux 4.5) the kernel wakes one of those that sleep
(`EVENT_EXCLUSIVE`, `rows/shared.py`): the first that has registered, again and again, so a process that has more than
its share takes its registration back (`servers/sharing.py`). Such a registration can't be modified.

**A connect(2) that does not block is over later.** EINPROGRESS: the attempt is over when the socket is writable, and
SO_ERROR, read once, is its result. A socket may be reported as writable before that: then getpeername(2) fails with
ENOTCONN, and the wait goes on. EAGAIN, of a Unix socket: the accept queue of the listener is full, no attempt has
begun, and no event will tell of room, so the call is made again after a while (`rows/connecting.py`).

**ICMP errors reach datagram sockets at the next call, whatever that call is about.** Linux reports them on a socket
that is not connected only if IP_RECVERR was set (ip(7)); then the next sendto(2) fails with the error of an earlier
packet to another peer, and EPOLLERR is reported until the socket's error queue has been read (MSG_ERRQUEUE). So a send
that fails is repeated, and the queue is read when a socket was reported as ready and had no packet (`rows/packets.py`,
`servers/udp.py`, `rows/ancillary.py`). Anybody can forge such an error; the queue quotes the packet, to compare it
with what was sent (RFC 8085, section 5.2).

**A Unix datagram socket is writable although the peer's queue is full.** sendto(2) fails with EAGAIN, but poll(2) on a
socket that is not connected looks only at the sender's own buffer. So no event tells when the packet can be sent, and
it is sent again after a while (`rows/shared.py`).

**A wait has a longest time.** epoll_wait(2) and poll(2) count milliseconds in an int, which is about 24 days; Python
raises OverflowError past that. A longer wait is cut, and made again (`loop/timers.py`: ``LONGEST``).

**A signal does not end a wait by itself.** Python calls signal handlers between two of its instructions, and then
repeats an interrupted call for the time that is left (PEP 475); a signal that comes just before the call does not even
interrupt it. So what a handler asks of the loop would wait for the next event. With ``signal.set_wakeup_fd()`` Python
writes a byte to a socket that the selector watches (`loop/signals.py`).

**A stopped process can miss what has come.** epoll_wait(2) ends with EINTR after SIGSTOP and SIGCONT (signal(7)). If
the time of the wait is over by then, Python returns no events, without having looked. The loop looks once more before
a deadline counts as passed (`loop/loop.py`).
"""

from __future__ import annotations

import errno
import select
import selectors
from collections.abc import Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EVENT_URGENT = 4
"""Out-of-band data has come: ``EPOLLPRI``, ``POLLPRI``, the third list of ``select()``."""

EVENT_HANGUP = 8
"""The connection was reset, both of its directions are closed, or the socket has another error: ``EPOLLHUP``,
``EPOLLERR``, ``POLLHUP``, ``POLLERR``. Registered alone, it keeps a descriptor in the selector without reading or
writing. ``select()`` can't report it."""

EVENT_EXCLUSIVE = 16
"""Together with ``EVENT_READ``, for a descriptor that other processes watch too: of those that sleep, one is woken
(``EPOLLEXCLUSIVE``). Only `EpollSelector` has it."""

_LISTED = EVENT_READ, EVENT_WRITE, EVENT_URGENT  # in the order of the lists of select()
_ASKED = EVENT_READ | EVENT_WRITE | EVENT_URGENT  # what the kernel must be asked for; it reports hang-ups unasked
_ALL = _ASKED | EVENT_HANGUP


def events_of(selector: BaseSelector) -> int:
    """The events that ``selector`` can report, as a mask: its attribute ``events``, reading and writing without it."""
    events: int = getattr(selector, "events", EVENT_READ | EVENT_WRITE)
    return events


class UrgentSelector(BaseSelector):
    """What the selectors of this module have in common: the descriptors that are registered, and the events of each."""

    events = _ALL
    """The events that it can report. See `events_of`."""

    def __init__(self) -> None:
        self._keys: dict[int, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.register``; ``events`` may have `EVENT_URGENT` and `EVENT_HANGUP`."""
        key = SelectorKey(fileobj, _number(fileobj), _checked(events, self.events), data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {key.fd}) is registered already")
        self._watch(key.fd, 0, events)
        self._keys[key.fd] = key
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.modify``; but a descriptor that can't be modified stays registered as it was."""
        old = self.get_key(fileobj)
        if _checked(events, self.events) != old.events:
            self._watch(old.fd, old.events, events)
        key = self._keys[old.fd] = SelectorKey(old.fileobj, old.fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """As ``selectors.BaseSelector.unregister``; a descriptor that was closed first is unregistered, too."""
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        try:
            self._watch(key.fd, key.events, 0)
        except OSError:
            pass  # it was closed first, and the kernel has forgotten it
        return key

    def get_key(self, fileobj: Any) -> SelectorKey:
        """The key of a registered descriptor, or of its file object. Raises `KeyError` if it is not registered."""
        try:
            return self._keys[_number(fileobj)]
        except ValueError:  # it was closed first
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """The keys of all registered descriptors, by descriptor or file object."""
        return _Map(self, self._keys)

    def close(self) -> None:
        """Forget what is registered, and give back what the kernel holds for it."""
        self._keys.clear()

    def _watch(self, number: int, before: int, events: int) -> None:
        """Have the kernel watch the descriptor for ``events`` instead of those ``before``; 0: not at all."""
        raise NotImplementedError


class _Map(Mapping):  # type: ignore[type-arg]
    """What is registered, by file object or descriptor."""

    def __init__(self, selector: UrgentSelector, keys: dict[int, SelectorKey]) -> None:
        self._selector = selector
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _number(fileobj: Any) -> int:
    number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{fileobj!r} has no descriptor: {number!r}")
    return number


def _checked(events: int, known: int) -> int:
    if not events or events & ~(_ALL | known):
        raise ValueError(
            f"events are one or more of EVENT_READ, EVENT_WRITE, EVENT_URGENT and EVENT_HANGUP, not {events!r}"
        )
    return events


def _kernel_bits(reading: int, writing: int, urgent: int) -> list[int]:
    """The kernel's bits for each mask of events, `EVENT_HANGUP` included, in the order of the masks."""
    return [
        (reading if events & EVENT_READ else 0)
        | (writing if events & EVENT_WRITE else 0)
        | (urgent if events & EVENT_URGENT else 0)
        for events in range(_ALL + 1)
    ]


def _told_events(bits: list[int]) -> dict[int, int]:
    """The mask of events for each combination of the kernel's ``bits`` that has no hang-up and no error."""
    return {bits[events]: events for events in range(_ASKED + 1)}


class SelectSelector(UrgentSelector):
    """Over ``select()``, whose third list is urgent data. It has no `EVENT_HANGUP`: registering for that is allowed
    and reports nothing."""

    events = _ASKED

    def __init__(self) -> None:
        super().__init__()
        self._sets: tuple[set[int], set[int], set[int]] = set(), set(), set()

    def _watch(self, number: int, before: int, events: int) -> None:
        if not before:
            select.select([number], [], [], 0)  # refuses a closed descriptor, or a number beyond FD_SETSIZE, now
        for event, numbers in zip(_LISTED, self._sets, strict=True):
            (numbers.add if events & event else numbers.discard)(number)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """As ``selectors.BaseSelector.select``. A descriptor that others closed is ready for what was asked."""
        found: dict[int, int] = {}
        try:
            ready = select.select(*self._sets, timeout and max(timeout, 0))
        except OSError as error:
            ready = self._select_open(error, found)
        for event, numbers in zip(_LISTED, ready, strict=True):
            for number in numbers:
                found[number] = found.get(number, 0) | event
        return [(self._keys[number], events) for number, events in found.items()]

    def _select_open(self, error: OSError, closed: dict[int, int]) -> tuple[list[int], list[int], list[int]]:
        """After ``error``: enter the descriptors that are not open in ``closed``, and look at the others."""
        while True:
            if error.errno not in (errno.EBADF, errno.ENOTSOCK):
                raise error
            closed |= {number: key.events for number, key in self._keys.items() if not _is_open(number)}
            reading, writing, urgent = (numbers - closed.keys() for numbers in self._sets)
            try:
                return select.select(reading, writing, urgent, 0)
            except OSError as again:  # one more was closed just now, by another thread
                error = again

    def close(self) -> None:
        super().close()
        for numbers in self._sets:
            numbers.clear()


def _is_open(number: int) -> bool:
    try:
        select.select([number], [], [], 0)
    except OSError:
        return False
    return True


if hasattr(select, "poll") and hasattr(select, "POLLPRI"):

    class PollSelector(UrgentSelector):
        """Over ``poll()``, whose ``POLLPRI`` is urgent data."""

        _bits = _kernel_bits(select.POLLIN, select.POLLOUT, select.POLLPRI)
        _events = _told_events(_bits)

        def __init__(self) -> None:
            super().__init__()
            self._poll = select.poll()

        def _watch(self, number: int, before: int, events: int) -> None:
            if events:
                self._poll.register(number, self._bits[events])
            else:
                self._poll.unregister(number)

        def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            """As ``selectors.BaseSelector.select``. A descriptor that others closed is ready for what was asked."""
            keys, events = self._keys, self._events
            # POLLHUP, POLLERR and POLLNVAL (the descriptor is not open) are everything that was asked for.
            return [
                (key := keys[number], events.get(bits, key.events))
                for number, bits in self._poll.poll(timeout and max(timeout * 1000, 0))
            ]


if hasattr(select, "epoll"):

    class EpollSelector(UrgentSelector):
        """Over ``epoll(7)``, whose ``EPOLLPRI`` is urgent data. Of a descriptor that others have closed it reports
        nothing."""

        events = _ALL | (EVENT_EXCLUSIVE if hasattr(select, "EPOLLEXCLUSIVE") else 0)
        _bits = _kernel_bits(select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI)
        _events = _told_events(_bits)

        def __init__(self) -> None:
            super().__init__()
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """The descriptor of the epoll set, readable when something is ready."""
            return self._epoll.fileno()

        def _watch(self, number: int, before: int, events: int) -> None:
            exclusively = (before | events) & EVENT_EXCLUSIVE
            if before and (exclusively or not events):
                self._epoll.unregister(number)
                before = 0
            if not events:
                return
            bits = self._bits[events & _ALL]
            if before:
                self._epoll.modify(number, bits)
            elif events & EVENT_EXCLUSIVE:
                self._register_exclusively(number, bits)
            else:
                self._epoll.register(number, bits)

        def _register_exclusively(self, number: int, bits: int) -> None:
            try:
                self._epoll.register(number, bits | select.EPOLLEXCLUSIVE)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._epoll.register(number, bits)  # a kernel before 4.5: every process is woken

        def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            """As ``selectors.BaseSelector.select``."""
            keys, events = self._keys, self._events
            ready = self._epoll.poll(timeout and max(timeout, 0), len(keys) or 1)
            try:
                return [(keys[number], events[bits]) for number, bits in ready]
            except KeyError:
                # EPOLLHUP and EPOLLERR are everything that was asked for. A number without a key is that of a
                # descriptor that was closed before it was unregistered, and that has a copy.
                return [
                    (key, events.get(bits, key.events))
                    for number, bits in ready
                    if (key := keys.get(number)) is not None
                ]

        def close(self) -> None:
            super().close()
            self._epoll.close()


DefaultSelector: type[BaseSelector] = globals().get(selectors.DefaultSelector.__name__, selectors.DefaultSelector)
"""The best one on this host; the standard library's, with reading and writing alone, where the best is not one of these
(``kqueue``)."""
