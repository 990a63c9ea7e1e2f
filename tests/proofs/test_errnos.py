"""Every system call with every errno that it can give, in the simulated kernel.

The plans of the simulation have the faults that kernels often have. Here is each errno that the manual pages name,
once and repeatedly, with its expected outcome: the loop survives, the exchanges of others are whole, and a row that
had to end has the reason.
"""

import errno
import os
from contextlib import contextmanager
from itertools import count
from math import inf
from typing import NamedTuple

import pytest

from handlers import Connected, Delay, Failed, StreamHandler, ToEnd, Until
from handlers.services import EchoDatagram
from reactor import SelectTCPServer, SelectUDPServer, TCPServer, UDPServer
from reactor.testing import World
from reactor.testing.kernel.datagrams import DatagramSocket
from reactor.testing.kernel.network import Network, Selector
from reactor.testing.kernel.sockets import Socket
from reactor.testing.kernel.streams import StreamSocket
from tests.support.errnos import FAULTS, TOLD, WHOLE, Fault

ADDRESS, UPSTREAM = ("10.0.0.1", 7), ("10.0.0.1", 8)
VICTIM, WITNESS, LATECOMER = (("10.0.0.2", port) for port in (5001, 5002, 5003))
LINES = [b"one %b\n" % (b"x" * 100), b"two\n", b"three %b\n" % (b"y" * 100)]

OWNERS = {
    "accept": StreamSocket, "recv": StreamSocket, "send": StreamSocket, "shutdown": StreamSocket,
    "connect": StreamSocket, "getpeername": StreamSocket, "recvfrom": DatagramSocket, "sendto": DatagramSocket,
    "setblocking": Socket, "getsockopt": Socket, "close": Socket, "socket": Network,
    "register": Selector, "modify": Selector,
}  # fmt: skip
"""The class that has the call. (``unregister()`` of the real selectors ignores errors of the kernel.)"""

ONCE = {"setblocking", "register", "shutdown", "close"}
"""The calls that are made once for each connection."""

TURNS = {"first": {0}, "second": {1}, "again and again": {0, 1, 2}}


class Lines(StreamHandler):
    """Sends each line back."""

    async def handle(self):
        while True:
            self.send(await Until(b"\n"))


class Parting(StreamHandler):
    """Half-closes before the client does, and goes on reading."""

    async def handle(self):
        self.send(await Until(b"\n"))
        self.send_eof()
        await ToEnd()


class Relay(StreamHandler):
    """Answers its line by way of another server, or with the errno that prevented it."""

    async def handle(self):
        line = await Until(b"\n")
        try:
            await Connected(UPSTREAM, Far(self, line))
        except Failed as failed:
            self.send(b"errno %d" % failed.error.errno)
        else:
            await Delay(inf)  # the other row ends this one


class Far(StreamHandler):
    """The connection that the relay opens."""

    def __init__(self, near, line):
        self.near = near
        self.line = line

    async def handle(self):
        self.send(self.line)
        self.near.send(await Until(b"\n"))

    def finish(self):
        self.near.close()


class Scene(NamedTuple):
    """The handler that is served, what each client sends, and what it must receive."""

    handler: type
    said: list
    heard: bytes


SCENES = {
    "lines": Scene(Lines, LINES, b"".join(LINES)),
    "parting": Scene(Parting, LINES, LINES[0]),
    "relay": Scene(Relay, LINES[:1], LINES[0]),
    "packets": Scene(EchoDatagram, [b"one", b"two", b"three"], b"onetwothree"),
}


class Injected:
    """Makes a call of the server fail at its turns."""

    def __init__(self, network, fault, number, turns):
        self.times = 0
        """How often it has failed."""
        self._network, self._fault, self._number, self._turns = network, fault, number, turns
        self._target = None if not fault.one else UPSTREAM if fault.scene == "relay" else VICTIM
        self._calls = count()

    @contextmanager
    def patched(self, monkeypatch):
        owner = OWNERS[self._fault.call]
        with monkeypatch.context() as patch:
            patch.setattr(owner, self._fault.call, self._wrapped(getattr(owner, self._fault.call)))
            yield

    def _wrapped(self, real):
        def call(owner, *arguments, **keywords):
            if not self._concerns(owner, arguments) or next(self._calls) not in self._turns:
                return real(owner, *arguments, **keywords)
            self.times += 1
            if isinstance(owner, Socket):
                owner.asked = True
            if self._fault.call == "close":  # the descriptor is closed all the same (close(2))
                real(owner)
            elif self._fault.call == "modify":  # as a registration that ``selectors`` could not modify
                owner.unregister(*arguments[:1])
            raise OSError(self._number, os.strerror(self._number))

        return call

    def _concerns(self, owner, arguments):
        fault, network = self._fault, self._network
        if isinstance(owner, Selector):
            return owner in network.selectors and network.open[arguments[0]].remote == self._target
        if owner is network:
            return True
        peer = arguments[-1] if fault.call == "sendto" else getattr(owner, "remote", None)
        return getattr(owner, "network", None) is network and self._target in (None, peer)


# The clients and the test


def converse(world, scene, address):
    """A client of a stream that sends its lines with pauses."""
    client = world.connect(ADDRESS, address)
    for line in scene.said:
        client.send(line).wait(0.01)
    return client.shutdown().expect_end()


def exchange(world, scene, address):
    """A client of datagrams."""
    actor = world.correspond(ADDRESS, address)
    for packet in scene.said:
        actor.send(packet).wait(0.01)
    return actor


def played(world, fault, number, mode, turns, monkeypatch):
    """Play the scene of the fault; returns the clients, the victim first, and how often the fault was injected."""
    scene, packets = SCENES[fault.scene], fault.scene == "packets"
    injected = Injected(world.network, fault, number, turns)
    world.serve(SERVERS[mode, packets], ADDRESS, scene.handler)
    world.listen(UPSTREAM, lambda peer: peer.send(LINES[0]).shutdown().expect_end().close())
    meet = exchange if packets else converse
    with injected.patched(monkeypatch):
        clients = [meet(world, scene, address) for address in (VICTIM, WITNESS)]
        world.run()
    clients.append(meet(world, scene, LATECOMER))
    world.run()
    return clients, injected.times


SERVERS = {
    ("select", False): SelectTCPServer,
    ("plain", False): TCPServer,
    ("select", True): SelectUDPServer,
    ("plain", True): UDPServer,
}


def cases():
    """Every fault with each of its errnos and turns, in the two modes that need one thread."""
    for fault in FAULTS:
        for name in fault.errnos.split():
            for turn in TURNS:
                if turn == "second" and fault.call in ONCE:
                    continue
                for mode in "select", "plain":
                    label = f"{fault.call}-{name}-{fault.scene}-{turn}-{mode}"
                    yield pytest.param(fault, getattr(errno, name), mode, TURNS[turn], id=label)


@pytest.mark.parametrize(("fault", "number", "mode", "turns"), list(cases()))
def test_an_errno_of_any_call_affects_no_other_client(fault, number, mode, turns, monkeypatch):
    with World(latency=0.001, capacity=90, trace=False) as world:
        clients, times = played(world, fault, number, mode, turns, monkeypatch)
        assert times
        reasons = [row["reason"] for row in world.reactor().table.closed]
    blamed = sum(f"[Errno {number}]" in reason for reason in reasons)
    expected = SCENES[fault.scene].heard
    heard = [b"".join(client.received) if fault.scene == "packets" else client.received for client in clients]
    if fault.outcome is TOLD:
        told = b"errno %d" % number
        assert set(heard) <= {expected, told}
        assert heard.count(told) <= times
        return
    assert heard[1:] == [expected, expected]
    if fault.outcome is WHOLE:
        assert heard[0] == expected
        assert blamed == 0
    else:
        assert expected.startswith(heard[0]) or fault.scene == "packets"
        assert 1 <= blamed <= times


def test_a_listener_that_the_selector_refuses_is_registered_again_later(monkeypatch):
    with World(trace=False) as world:
        world.serve(SelectTCPServer, ADDRESS, Lines)
        short = Injected(world.network, Fault("accept", "EMFILE", WHOLE, "accept(2)"), errno.EMFILE, {0})
        full = Injected(world.network, Fault("register", "ENOSPC", WHOLE, "epoll_ctl(2)"), errno.ENOSPC, {0, 1})
        with short.patched(monkeypatch), full.patched(monkeypatch):
            client = converse(world, SCENES["lines"], VICTIM)
            world.run()
        assert (short.times, full.times) == (1, 2)
    assert client.received == SCENES["lines"].heard


def test_an_error_of_select_leaves_run_and_nothing_is_lost(monkeypatch):
    turns = iter([False, False, True])
    select = Selector.select

    def fail(selector, timeout=None):
        if next(turns, False):
            raise OSError(errno.ENOMEM, "poll(2): no memory for the kernel's own tables")
        return select(selector, timeout)

    monkeypatch.setattr(Selector, "select", fail)
    with World(trace=False) as world:
        world.serve(SelectTCPServer, ADDRESS, Lines)
        clients = [converse(world, SCENES["lines"], address) for address in (VICTIM, WITNESS)]
        with pytest.raises(OSError, match="no memory"):
            world.run()
        world.run()
    assert [client.received for client in clients] == [SCENES["lines"].heard] * 2
