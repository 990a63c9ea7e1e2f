"""``python3 -m tests.proofs.figures``: measure the figures of the README, and print them as Markdown.

Each server runs in a process of its own, on the one core that its client uses too. Measured is the processor time of
the server, in rounds over all servers, so that other load of the machine affects all alike. A ratio is the median
over the rounds; the peer to look at is the fastest one. What costs processor time is measured on this Python and, if
``.venv`` has one, on a newer one: ``python3.13 -m tests --version`` makes it. Needs Linux.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from handlers import StreamHandler, StreamMachine, Until
from tests import ROOT
from tests.support import peers, redis_peers

LINE = b"x" * 63 + b"\n"
CONNECTIONS = 50
PAGE = resource.getpagesize()
REDIS = redis_peers.REQUEST, redis_peers.ANSWER
IDLE = 2_000  # connections; the memory of one is the average over them

Costs = dict[str, list[float]]
"""The seconds that each server needs for a message, in each round."""


class Server:
    """One of `peers.SERVERS` or `peers.REDIS` in a process of its own, and connections to it."""

    def __init__(self, name: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *options, "-m", "tests.support.peers", name],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.connections: list[socket.socket] = []
        self.port = 0

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()
        self.process.communicate(timeout=60)  # the end of its standard input ends the process

    def connect(self, count: int, exchange: tuple[bytes, bytes] = (LINE, LINE)) -> list[socket.socket]:
        """Open ``count`` more connections, and have some messages answered on each."""
        self.port = self.port or int(self._line())
        for _ in range(0, count, CONNECTIONS):  # no more at a time than the backlog of any server takes
            new = [socket.create_connection(("127.0.0.1", self.port), timeout=60) for _ in range(CONNECTIONS)]
            self.connections += new
            ask(new, *exchange, number=5)  # over 256 bytes: Python shares the integers up to that
        return self.connections[-count:]

    def ask(self, question: str) -> float:
        """The processor time of the server in seconds (``cpu``), or the bytes allocated by Python (``memory``)."""
        print(question, file=self.process.stdin, flush=True)
        return float(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def ask(connections: list[socket.socket], request: bytes, answer: bytes, number: int = 1) -> None:
    """Send a request on each connection, ``number`` times at once, and receive the answers from each."""
    for connection in connections:
        connection.sendall(request * number)
    for connection in connections:
        missing = len(answer) * number
        while missing:
            received = len(connection.recv(missing))
            assert received, "the server closed the connection"
            missing -= received


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process and its children on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def costs(names: list[str], number: int, exchange: tuple[bytes, bytes] = (LINE, LINE), rounds: int = 25) -> Costs:
    """What each server spends on a message, when each of 50 connections sends ``number`` messages at a time."""
    times = max(2, 8 // number)  # rounds are short, so that few of them see a change in the speed of the machine
    spent: Costs = {name: [] for name in names}
    with one_core(), ExitStack() as stack:
        servers = {name: stack.enter_context(Server(name)) for name in names}
        for server in servers.values():
            server.connect(CONNECTIONS, exchange)
            for _ in range(10):
                ask(server.connections, *exchange, number)
        for _ in range(rounds):
            for name, server in servers.items():
                before = server.ask("cpu")
                for _ in range(times):
                    ask(server.connections, *exchange, number)
                spent[name].append((server.ask("cpu") - before) / (times * CONNECTIONS * number))
    return spent


def ratio(spent: Costs, name: str, peer: str) -> float:
    """The costs of ``name`` divided by those of ``peer``: the median over the rounds."""
    return median(mine / theirs for mine, theirs in zip(spent[name], spent[peer], strict=True))


def memory(name: str, held: bytes = b"") -> float:
    """Bytes that Python allocates for each idle connection, with ``held`` bytes of the next line."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the server inherits the setting
    try:
        with Server(name, "-X", "tracemalloc") as server:
            witness = server.connect(100)[:1]
            before = server.ask("memory")
            for connection in server.connect(IDLE):
                connection.sendall(held)
            for _ in range(3 if held else 0):
                ask(witness, LINE, LINE)  # by then the server has read the bytes sent before
            return (server.ask("memory") - before) / IDLE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


LISTENER = "import reactor, handlers.services; reactor.SelectTCPServer(('127.0.0.1', 0), handlers.services.Echo)"
IMPORTS = {
    "`import selectors, socket`": "import selectors, socket",
    "`import reactor`": "import reactor",
    "`import reactor`, and a server that listens": LISTENER,
}
"""What is measured by `imports`; a server imports all that it may need before it serves."""


def import_rows(rounds: int = 15) -> Iterator[tuple[object, ...]]:
    """The processor time and the memory that imports take, each time in a fresh interpreter."""
    script = (
        "import os, sys, time; sys.path.insert(0, {root!r}); before = time.process_time(); {code}; "
        "print(time.process_time() - before, open('/proc/self/statm').read().split()[1])"
    )
    taken: dict[str, list[tuple[float, int]]] = {title: [] for title in IMPORTS}
    for _ in range(rounds + 1):
        for title, code in IMPORTS.items():
            command = [sys.executable, "-I", "-S", "-c", script.format(root=str(ROOT), code=code)]
            seconds, pages = subprocess.check_output(command, text=True).split()
            taken[title].append((float(seconds), int(pages)))
    yield "import", "time", "of the first", "memory more"
    medians = {title: tuple(map(median, zip(*seen[1:], strict=True))) for title, seen in taken.items()}
    least, pages_least = next(iter(medians.values()))  # the first of each title may have compiled modules: left out
    for title, (taken_by, pages_of) in medians.items():
        more = (pages_of - pages_least) * resource.getpagesize() / 2**20
        yield title, f"{taken_by * 1e3:.1f} ms", f"{taken_by / least:.2f}", f"{more:.2f} MiB"


class Lines(StreamHandler):
    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)
        return self.handle()


def feeding(*kinds: tuple[int, int], rounds: int = 5) -> list[float]:
    """Seconds for each byte of a line of ``length`` bytes that is fed ``piece`` bytes at a time, for each kind.

    The minimum of the rounds: other load can only add to the work of this process.
    """
    best = [float("inf")] * len(kinds)
    for _ in range(rounds):
        for number, (length, piece) in enumerate(kinds):
            line = b"x" * (length - 1) + b"\n"
            pieces = [line[start : start + piece] for start in range(0, length, piece)]
            machines = [StreamMachine(Lines()) for _ in range(32_768 // length)]
            before = time.process_time()
            for machine in machines:
                for each in pieces:
                    machine.feed(each)
            best[number] = min(best[number], (time.process_time() - before) / 32_768)
            assert all(machine.read() == line for machine in machines)
    return best


def table(*rows: tuple[object, ...]) -> None:
    for number, row in enumerate(rows):
        print("|", " | ".join(map(str, row)), "|")
        if number == 0:
            print("|", " | ".join(["---"] + ["---:"] * (len(row) - 1)), "|")
    print()


def is_peer(name: str) -> bool:
    """Whether it is neither ours nor the bare loop, which does nothing but receive and send."""
    return "ours" not in name and name != "bare selectors loop"


def speed_rows(title: str, names: list[str], exchange: tuple[bytes, bytes]) -> Iterator[tuple[object, ...]]:
    """The costs of each server, and their ratios to the fastest peer and to the fastest one with streams."""
    header, rows = [title], {name: [name] for name in names}
    for number in (1, 16):
        spent = costs(names, number, exchange)
        by_cost = sorted(filter(is_peer, names), key=lambda name: median(spent[name]))
        peers_shown = by_cost[0], next(name for name in by_cost if "streams" in name)
        header += [f"{number} at a time", *(f"of {peer.removeprefix('Redis, ')}" for peer in peers_shown)]
        for name in names:
            cost = f"{median(spent[name]) * 1e6:.2f} µs"
            rows[name] += [cost, *(f"{ratio(spent, name, peer):.2f}" for peer in peers_shown)]
    yield tuple(header)
    yield from map(tuple, rows.values())


def speeds() -> None:
    """Print what messages cost on this Python."""
    python = f"CPython {platform.python_version()}, {CONNECTIONS} connections:"
    table(*speed_rows(f"{python} a line of 64 bytes", peers.available(peers.SERVERS), (LINE, LINE)))
    table(*speed_rows(f"{python} a message of five waits", peers.available(peers.REDIS), REDIS))


def newer_python() -> str | None:
    """The newest Python of the environments in ``.venv``, if it is newer than this one."""
    found = [(int(place.name[2:]), place) for place in (ROOT / ".venv").glob("3.*") if place.name[2:].isdigit()]
    minor, place = max(found, default=(0, ROOT))
    return str(place / "bin" / "python") if minor > sys.version_info.minor else None


def memory_rows() -> Iterator[tuple[object, ...]]:
    yield "memory of an idle connection", "between lines", "with 1 byte of a line"
    for name in ("ours: states", "ours: states, one wait", "ours: coroutine", "ours: Echo", "asyncio streams"):
        half = "" if name == "ours: Echo" else f"{memory(name, b'x'):,.0f} bytes"
        yield name, f"{memory(name):,.0f} bytes", half
    for name in ("asyncio Protocol", "bare selectors loop"):
        yield name, f"{memory(name):,.0f} bytes", ""


def main(arguments: list[str]) -> None:
    if arguments == ["speeds"]:  # for `newer_python`
        return speeds()
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores.\n")
    speeds()
    if newer := newer_python():
        sys.stdout.flush()
        subprocess.check_call([newer, "-m", "tests.proofs.figures", "speeds"], cwd=ROOT)
    table(*memory_rows())
    table(*import_rows())
    whole, short, long = feeding((32_768, 32_768), (1_024, 1), (32_768, 1))
    table(
        ("feeding a line", "a byte"),
        ("32 KiB at once", f"{whole * 1e9:.2f} ns"),
        ("1 KiB, one byte at a time", f"{short * 1e9:.0f} ns"),
        ("32 KiB, one byte at a time", f"{long * 1e9:.0f} ns"),
    )
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
