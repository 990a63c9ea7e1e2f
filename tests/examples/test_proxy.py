"""`examples/proxy.py`."""

import os
import re
import runpy
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from reactor import Reactor, SelectTCPServer
from tests import ROOT
from tests.support.examples import MIB, PATIENCE, Example, read_all, read_until, reset, running, send_until_held_back


class Proxied:
    """A running proxy, and both ends of the connections through it."""

    def __init__(self, example: Example, listener: socket.socket) -> None:
        self.example = example
        self._listener = listener

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = self.example.connect()
        target, _ = self._listener.accept()
        target.settimeout(PATIENCE)
        return client, target


@contextmanager
def proxied() -> Iterator[Proxied]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with running("proxy", *map(str, listener.getsockname())) as example:
            yield Proxied(example, listener)


def test_proxy_passes_megabytes_both_ways_at_once() -> None:
    forth, back = os.urandom(8 * MIB), os.urandom(8 * MIB)
    with proxied() as proxy, ThreadPoolExecutor() as pool:
        client, target = proxy.connect()
        with client, target:
            there, here = pool.submit(read_all, target), pool.submit(read_all, client)
            for end, data in (client, forth), (target, back):
                pool.submit(send_and_end, end, data)
            assert there.result(PATIENCE) == forth
            assert here.result(PATIENCE) == back


def send_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("first", ["client", "target"])
def test_proxy_passes_on_a_half_close_and_keeps_the_other_direction(first: str) -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            early, late = (client, target) if first == "client" else (target, client)
            send_and_end(early, b"that is all")
            assert read_all(late) == b"that is all"
            for word in b"not", b"from", b"here":
                late.sendall(word)
                assert read_until(early, word) == word
            late.shutdown(socket.SHUT_WR)
            assert early.recv(1) == b""


def test_proxy_passes_on_an_end_of_stream_that_comes_first() -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            target.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            send_and_end(client, b"x" * MIB)
            assert read_all(target) == b"x" * MIB


def test_proxy_stops_reading_from_a_client_that_sends_to_a_slow_reader() -> None:
    with proxied() as proxy, ThreadPoolExecutor() as pool:
        client, target = proxy.connect()
        with client, target:
            client.sendall(b"x")
            assert target.recv(1) == b"x"
            before = peak_memory(proxy.example)
            data = os.urandom(64 * MIB)
            sent = data[: send_until_held_back(client, data)]
            assert peak_memory(proxy.example) - before < MIB
            arrived = pool.submit(read_all, target)
            send_and_end(client, sent)
            assert arrived.result(PATIENCE) == sent + sent


def peak_memory(example: Example) -> int:
    """The peak memory of the process in bytes; 0 on hosts that do not tell it."""
    status = Path(f"/proc/{example.process.pid}/status")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024 if status.exists() else 0


@pytest.mark.parametrize("first", ["client", "target"])
def test_proxy_resets_the_other_side_when_one_is_reset(first: str) -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            broken, other = (client, target) if first == "client" else (target, client)
            broken.sendall(b"last words")
            assert other.recv(100) == b"last words"
            reset(broken)
            with pytest.raises(ConnectionResetError):  # a FIN would say that these were all
                other.recv(1)
        client, target = proxy.connect()  # it still serves
        with client, target:
            client.sendall(b"next")
            assert target.recv(100) == b"next"


def test_proxy_closes_the_client_when_the_target_refuses() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening
        with running("proxy", *map(str, nobody.getsockname())) as example:
            assert example.ask(b"") == b""
            with example.connect() as client, suppress(ConnectionError):  # a reset, because its input is not read
                client.sendall(b"hello")
                assert read_all(client) == b""


PROXY = runpy.run_path(str(ROOT / "examples" / "proxy.py"))


class Clock:
    """A clock that the test sets."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def pass_of(self, part: float) -> None:
        """Advance the clock by this part of the proxy's timeout."""
        self.now += part * PROXY["Side"].timeout


@contextmanager
def proxied_here(clock: Clock) -> Iterator[tuple[Reactor, socket.socket, socket.socket]]:
    """A loop with one connection through the proxy: the loop, the client, and the target's end."""
    with closing(Reactor(clock=clock)) as loop, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        proxy = type("Proxy", (PROXY["Client"],), {"address": listener.getsockname()})
        with SelectTCPServer(("127.0.0.1", 0), proxy, reactor=loop) as server:
            client = socket.create_connection(server.server_address, PATIENCE)
            step_until(loop, lambda: len(loop.table) == 2)
            target, _ = listener.accept()
            with client, target:
                yield loop, client, target


def test_proxy_resets_both_sides_when_both_are_silent_and_not_before() -> None:
    clock = Clock()
    with proxied_here(clock) as (loop, client, target):
        for word in b"one", b"two", b"three", b"four":
            target.sendall(word)
            step_until(loop, lambda: client.recv(5, socket.MSG_DONTWAIT | socket.MSG_PEEK))
            assert client.recv(5) == word
            clock.pass_of(0.75)
            loop.step(0)
            assert len(loop.table) == 2
        client.sendall(b"five")
        step_until(loop, lambda: target.recv(4, socket.MSG_DONTWAIT) == b"five")
        clock.pass_of(0.5)
        loop.step(0)
        assert len(loop.table) == 2
        clock.pass_of(0.75)
        step_until(loop, lambda: len(loop.table) == 0)
        for end in client, target:
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_proxy_closes_when_both_sides_have_half_closed() -> None:
    with proxied_here(Clock()) as (loop, client, target):
        client.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: target.recv(1, socket.MSG_DONTWAIT) == b"")
        target.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: len(loop.table) == 0)


def test_proxy_counts_a_half_closed_side_as_silent() -> None:
    clock = Clock()
    with proxied_here(clock) as (loop, client, target):
        client.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: target.recv(1, socket.MSG_DONTWAIT) == b"")
        clock.pass_of(0.75)
        loop.step(0)
        assert len(loop.table) == 2
        clock.pass_of(0.75)
        step_until(loop, lambda: len(loop.table) == 0)
        with pytest.raises(ConnectionResetError):  # the target has not ended its stream
            client.recv(1)


def step_until(loop: Reactor, condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        loop.step(0.01)
        try:
            if condition():
                return
        except BlockingIOError:
            pass
    raise AssertionError("the condition did not become true")
