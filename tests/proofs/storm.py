"""``python3 -m tests.proofs.storm``: ten thousand connections in every mode, a third of whose clients misbehave.

Every other client must get exactly its bytes, and when all have gone the server must hold what it held before:
descriptors, threads, children, memory. Then come the figures of a server with too few descriptors, and of one with
ten thousand requests that are never finished. Each server is a process of its own, measured from outside except for
the bytes that Python has allocated. Prints Markdown. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import selectors
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from random import Random
from statistics import median
from typing import NamedTuple

from handlers import Until
from tests.support.process import Process
from tests.support.serving import MODES, PATIENCE, Reverse, netstring, receive, reset, rest, wait_until
from tests.support.tables import table

AT_A_TIME = 100
"""So many clients connect at a time."""

DEADLINE = 2.0
"""Seconds that a request may wait for its client."""

SLACK = 64 << 10
"""Bytes that Python may have allocated beyond those after the warm-up.

The memory of the process is printed and not judged: what the allocators keep depends on the load of the machine.
"""


# The clients


class Caller:
    """One client of `tests.support.serving.Reverse`, which answers each netstring with its reverse.

    ``stays``: whether a client that keeps a request open waits until the server ends it, or else ``brief`` seconds.
    """

    def __init__(self, address, seed, stays, brief):
        self.address = address
        self.random = Random(seed)
        self.seed = seed
        self.stays = stays
        self.brief = brief
        self.lost = 0
        """Bytes of its answers that did not come."""

    def connect(self):
        return socket.create_connection(self.address, timeout=6 * PATIENCE)

    def text(self):
        return b"%d:%d," % (self.seed, self.random.getrandbits(64)) * self.random.randrange(1, 40)

    def linger(self, client):
        """Keep the connection open for ``brief`` seconds, or until the server ends it, which must send nothing."""
        if self.stays:
            with suppress(ConnectionError):
                assert rest(client) == b"", "an unfinished request was answered"
        else:
            time.sleep(self.brief)

    def good(self):
        """Send some netstrings, cut anywhere, and receive every byte."""
        texts = [self.text() for _ in range(self.random.randrange(1, 5))]
        said = b"".join(map(netstring, texts))
        expected = b"".join(netstring(text[::-1]) for text in texts)
        cut = self.random.randrange(1, len(said))
        with self.connect() as client:
            client.sendall(said[:cut])
            client.sendall(said[cut:])
            client.shutdown(socket.SHUT_WR)
            heard = rest(client)
        assert expected.startswith(heard), f"client {self.seed} has heard {heard!r}, not {expected!r}"
        self.lost = len(expected) - len(heard)

    def half(self):
        """The beginning of a request."""
        return netstring(self.text())[: self.random.randrange(1, 8)]

    def breaks_off(self):
        """Reset in the middle of a request."""
        client = self.connect()
        client.sendall(self.half())
        reset(client)

    def never_finishes(self):
        """Send half a request and wait."""
        with self.connect() as client:
            client.sendall(self.half())
            self.linger(client)

    def ends_early(self):
        """Send half a request and half-close."""
        with self.connect() as client:
            client.sendall(self.half())
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""

    def drips(self):
        """Send a request byte by byte; it is answered."""
        with self.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"6:abcdef,":
                client.send(bytes([byte]))
                time.sleep(self.brief / 10)
            assert receive(client, 9) == b"6:fedcba,"

    def babbles(self):
        """Send an invalid request, beyond the limit."""
        with self.connect() as client, suppress(ConnectionError):
            client.sendall(b"7" * self.random.randrange(8, 50_000))
            assert rest(client) == b""

    def comes_and_goes(self):
        """Connect, and close."""
        self.connect().close()

    def stops_reading(self):
        """Send a big request and read nothing."""
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(6 * PATIENCE)
            client.connect(self.address)
            client.sendall(netstring(b"x" * 100_000))
            if self.stays:  # until the server has ended it, and writing fails
                with suppress(ConnectionError):
                    while True:
                        client.sendall(b"7")
                        time.sleep(0.05)
            else:
                time.sleep(self.brief)


BAD = (
    Caller.breaks_off, Caller.never_finishes, Caller.ends_early, Caller.drips, Caller.babbles, Caller.comes_and_goes,
    Caller.stops_reading,
)  # fmt: skip


def crowd(process, number, first=0, at_a_time=AT_A_TIME):
    """Run so many clients, numbered from ``first``; returns how many of each kind there were, and the bytes lost."""
    plain = process.mode == "plain"  # where an open request delays all others

    def call(seed):
        kind = Caller.good if seed % 3 else BAD[seed // 3 % len(BAD)]
        stays = seed % (1500 if plain else 10) < 3
        caller = Caller(process.address, seed, stays, brief=0.001 if plain else 0.02)
        kind(caller)
        return kind.__name__, caller.lost

    with ThreadPoolExecutor(at_a_time) as pool:
        kinds, lost = zip(*pool.map(call, range(first, first + number)), strict=True)
    return Counter(kinds), sum(lost)


# The soak

LEAN = {
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.pthread.stack_cache_size=0",
    "MALLOC_MMAP_THRESHOLD_": "16384",
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4096",
}
"""Makes glibc's ``malloc`` return free memory as far as it can (``mallopt(3)``)."""


class Soaked(NamedTuple):
    """The result of one soak."""

    clients: Counter[str]
    lost: int
    ended: Counter[str]
    more: list[int]
    """What the server holds now and did not before: see `at_rest`."""


def soak(mode, warm, number, *options):
    """``warm`` clients, twice as many at a time, then ``number`` more, which must leave the server as before."""
    with Process(
        mode, "tests.support.serving:Reverse", *options, environment=LEAN, send_buffer=16_384,
        request_queue_size=4 * AT_A_TIME, handler_members={"timeout": DEADLINE}, max_children=AT_A_TIME,
    ) as process:  # fmt: skip
        crowd(process, warm, at_a_time=2 * AT_A_TIME)
        before, ended = at_rest(process), Counter(process.ask("stats")["ended"])
        clients, lost = crowd(process, number, first=warm)
        more = [now - then for now, then in zip(at_rest(process), before, strict=True)]
        ended = Counter(process.ask("stats")["ended"]) - ended
        assert process.said() == "", process.said()
    return Soaked(clients, lost, ended, more)


def at_rest(process):
    """Descriptors, threads, children, bytes allocated by Python, and bytes of the process, when no request is open."""
    wait_until(lambda: process.ask("stats")["open"] == 0 and process.held()[1:] == (1, 0))
    return *process.held(), process.ask("memory"), process.resident()


def soak_rows(warm, number):
    yield (
        "mode", "clients", "misbehaving", "lost bytes", "more descriptors, threads, children",
        "more allocated by Python", "the process has grown by", "rows that ended, and why",
    )  # fmt: skip
    for mode in MODES:
        clients, lost, ended, more = soak(mode, warm, number)
        held, grown = more[:3], more[-1]
        bad = number - clients["good"]
        told = ", ".join(f"{kind or 'finished'} {times:,}" for kind, times in sorted(ended.items()))
        allocated = soak(mode, warm // 5, number // 5, "-X", "tracemalloc").more[-2] if warm >= WARM else 0
        sizes = [f"{allocated / 1024:.0f} KiB", f"{grown >> 10} KiB"] if warm >= WARM else ["", ""]
        yield mode, f"{number:,}", f"{bad:,}", lost, ", ".join(map(str, held)), *sizes, told
        judge(lost == 0, f"{mode}: {lost} bytes were lost")
        judge(not any(held), f"{mode}: the server holds more than before: {held}")
        judge(allocated <= SLACK, f"{mode}: Python has allocated {allocated} bytes more")


failures: list[str] = []
"""What was wrong; it is printed when all has been measured."""


def judge(right, what):
    if not right:
        failures.append(what)


# Too few descriptors


def shortage(clients=60, limit=24, seconds=2.0):
    """A server with too few descriptors: its processor time, its log, and the delays of the clients that it serves."""
    with (
        Process("select", "tests.support.serving:Reverse", limit=limit, request_queue_size=2 * clients) as process,
        ExitStack() as stack,
    ):
        waiting = [stack.enter_context(socket.create_connection(process.address)) for _ in range(clients)]
        for client in waiting:
            client.settimeout(PATIENCE)
            client.sendall(ASKED)
        taken = [waiting.pop(0) for _ in range(answered(waiting))]
        before = process.cpu()
        time.sleep(seconds)
        share = (process.cpu() - before) / seconds
        delays = sorted(asked(client) for client in taken for _ in range(20))
        recoveries = []
        while waiting:
            begun = time.monotonic()
            taken.pop(0).close()
            client = waiting.pop(0)
            assert receive(client, len(ASKED)) == ANSWERED
            recoveries.append(time.monotonic() - begun)
            taken.append(client)
        lines = process.said().splitlines()
        for client in taken:
            client.close()
    yield f"{limit} descriptors, {clients} clients", "ours", "target"
    yield "processor time while they wait", f"{share:.2%}", "≤ 1 %"
    yield "lines of log", len(lines), 1
    yield "who is taken is answered in (median, worst)", f"{ms(median(delays))}, {ms(delays[-1])}", "≤ 5 ms"
    yield (
        "when one goes, the next is answered in (median, worst)",
        f"{ms(median(recoveries))}, {ms(max(recoveries))}",
        "≤ 50 ms",
    )
    judge(len(lines) == 1, f"the server has not said once that it is short of descriptors: {lines}")


ASKED, ANSWERED = b"5:hello,", b"5:olleh,"


def answered(clients):
    """How many of these clients, which have all asked, are answered; they are the first ones."""
    number = 0
    with suppress(TimeoutError):
        for client in clients:
            client.settimeout(0.5)
            assert receive(client, len(ASKED)) == ANSWERED
            client.settimeout(PATIENCE)
            number += 1
    clients[number].settimeout(PATIENCE)
    return number


def asked(client):
    """Seconds until one request is answered."""
    begun = time.monotonic()
    client.sendall(ASKED)
    assert receive(client, len(ASKED)) == ANSWERED
    return time.monotonic() - begun


def ms(seconds):
    return f"{seconds * 1000:.2f} ms"


# Half requests


class OneWait(Reverse):
    """The same with one wait for the whole class."""

    first = Until(b":", limit=7)

    def handle(self):
        return self.first, self.length


def half_requests(number, stack, process):
    """So many clients that have sent one byte of a request, and the time at which each had."""
    open_before = process.ask("stats")["open"]
    clients = {}
    for _ in range(number):
        client = stack.enter_context(socket.create_connection(process.address, timeout=6 * PATIENCE))
        client.sendall(b"5")
        clients[client] = time.monotonic()
    wait_until(lambda: process.ask("stats")["open"] == open_before + number)
    return clients


def weight(number, handler):
    """Bytes that Python allocates for each half request, on average."""
    with serving_many(number, None, "-X", "tracemalloc", handler=handler) as process, ExitStack() as stack:
        half_requests(100, stack, process)  # the first requests allocate what all share
        before = process.ask("memory")
        half_requests(number, stack, process)
        return (process.ask("memory") - before) / number


def serving_many(number, deadline, *options, handler="tests.support.serving:Reverse"):
    return Process(
        "select", handler, *options, limit=number + 1_000, request_queue_size=4096,
        handler_members={"timeout": deadline},
    )  # fmt: skip


def standing(number, deadline, rounds=2_000):
    """How so many half requests delay one good client, and how late they end.

    Its delays alone and beside them, sorted; the bytes of memory for each; and by how many seconds each was late.
    """
    with serving_many(number, deadline) as process, ExitStack() as stack:
        good = stack.enter_context(socket.create_connection(process.address))
        alone = sorted(asked(good) for _ in range(rounds))
        before = process.resident()
        clients = half_requests(number, stack, process)
        memory = (process.resident() - before) / number
        beside = sorted(asked(good) for _ in range(rounds))
        assert process.ask("stats")["open"] == number + 1, "some have ended too early"
        late = [ended - clients[client] - deadline for client, ended in ends(clients)]
        assert process.ask("stats")["ended"] == {"TimedOut": number}
    return alone, beside, memory, late


def ends(clients):
    """Yields each client when its stream has ended, and the time."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            events = selector.select(6 * PATIENCE)
            assert events, "the rest do not end"
            now = time.monotonic()
            for key, _ in events:
                assert key.fileobj.recv(1) == b""
                selector.unregister(key.fileobj)
                yield key.fileobj, now


def half_rows(number, deadline):
    held, less = weight(number, "tests.support.serving:Reverse"), weight(number, "tests.proofs.storm:OneWait")
    alone, beside, memory, late = standing(number, deadline)
    yield f"{number:,} half requests", "ours", "target"
    yield "memory of each: allocated by Python", f"{held:,.0f} bytes", "≤ 1,024 bytes"
    yield "memory of each, with one wait for the class", f"{less:,.0f} bytes", "≤ 1,024 bytes"
    yield "memory of each: the process has grown by", f"{memory:,.0f} bytes", ""
    yield "a good client's median and p99 beside them", f"{ms(median(beside))}, {ms(p99(beside))}", "p99 ≤ 2 ms"
    yield "the same client's, alone", f"{ms(median(alone))}, {ms(p99(alone))}", ""
    yield "ended after their deadline (median, the last)", f"{ms(median(late))}, {ms(max(late))}", "one sweep"


def p99(delays):
    return delays[len(delays) * 99 // 100]


# The command

WARM = 5_000
"""Clients after which the memory of a server no longer grows."""


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python3 -m tests.proofs.storm", description="Storms against real servers.")
    parser.add_argument("--connections", type=int, default=10_000, metavar="N", help="in each mode (10,000)")
    brief = f"before those ({WARM:,}; with fewer, memory is not measured)"
    parser.add_argument("--warm", type=int, default=WARM, metavar="N", help=brief)
    parser.add_argument("--half", type=int, default=10_000, metavar="N", help="half requests (10,000)")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most > 0 else 20_000, most))
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores.\n")
    table(*soak_rows(options.warm, options.connections))
    table(*shortage())
    table(*half_rows(options.half, deadline=3 + options.half / 1_000))
    print(*failures, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
