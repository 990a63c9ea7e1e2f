"""``python3 -m tests.proofs.http_figures``: measure HTTP, and print Markdown tables. Needs Linux.

Short connections: the processor time of the server for a connection with one GET, in rounds over all servers, beside
``socketserver`` of this Python; a ratio is the median over the rounds. Slow clients: what half requests cost the
server, and a good client beside them. GETs on kept connections: by ``wrk``, beside gunicorn, waitress and uvicorn (with
httptools and uvloop, if these are installed too, and with h11), if they are installed. Takes about two minutes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from tests import ROOT
from tests.support.http_peers import SERVERS

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: local"
ROUNDS, SHORT, GOOD = 15, 50, 300
SECONDS = 3  # of `wrk`
COUNTS = 0, 200, 10_000  # of slow clients
PROGRAMS = {
    "http_server": "http", "wsgiref": "wsgiref", "bottle": "bottle", "flask": "flask", "django": "django",
    "prometheus": "prometheus_client", "xmlrpc": "xmlrpc",
}  # fmt: skip
"""The packages of programs for ``socketserver``."""


class Server:
    """One of `SERVERS` in a process of its own; or with ``mode`` a program of `tests.support.programs_on_reactor`."""

    def __init__(self, name: str, *mode: str) -> None:
        module = "programs_on_reactor" if mode else "http_peers"
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.support.{module}", name, *mode], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.port = int(self._line())

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def cpu(self) -> float:
        """The processor time of the server in seconds."""
        print(file=self.process.stdin, flush=True)
        return float(self._line())

    def status(self, name: str) -> int:
        """A number of ``/proc/PID/status``."""
        found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1])


def get(port: int) -> None:
    """A GET on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(GET)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1."), answer


def short_connections() -> None:
    """Print the processor time of a short connection."""
    spent: dict[str, list[float]] = {name: [] for name in SERVERS}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(name)) for name in SERVERS}
        for round_ in range(ROUNDS + 1):  # the first warms up
            for name, server in servers.items():
                before = server.cpu()
                for _ in range(SHORT):
                    get(server.port)
                if round_:
                    spent[name].append((server.cpu() - before) / SHORT)
    peers = {mode: spent[f"socketserver, {mode}"] for mode in ("threads", "single")}
    print("\n| short connections | µs of the server | ÷ socketserver's threads | ÷ socketserver, single |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in spent.items():
        ratios = [median(mine / its for mine, its in zip(times, peer, strict=True)) for peer in peers.values()]
        print(f"| {name} | {median(times) * 1e6:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


@contextmanager
def half_requests(port: int, count: int) -> Iterator[None]:
    """Clients that have sent half a request, and send no more."""
    with ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(HALF)
            if number % 4 == 0:
                get(port)  # by then the server has accepted the others: many an accept queue has a length of 5
        yield


def slow_clients(counts: tuple[int, ...] = COUNTS) -> None:
    """Print what so many half requests cost the server, and a good client; of all servers and installed programs."""
    print("\n| slow clients | number | threads more | KiB more of each | median ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in ("socketserver, threads", "reactor, threads, framing", "reactor, select"):
        for count in counts:
            if name != "socketserver, threads" or count < 1_000:  # a thread for each
                with Server(name) as server:
                    beside_slow_clients(name, server, count)
    for program, package in PROGRAMS.items():
        for count in counts if importlib.util.find_spec(package) else ():
            with Server(program, "select") as server:
                beside_slow_clients(f"{program}, select", server, count)


def beside_slow_clients(name: str, server: Server, count: int) -> None:
    """Print what ``count`` half requests cost the server, and a good client."""
    for _ in range(20):
        get(server.port)
    threads, memory = server.status("Threads"), server.status("VmRSS")
    with half_requests(server.port, count):
        times = []
        for _ in range(GOOD):
            begun = time.perf_counter()
            get(server.port)
            times.append((time.perf_counter() - begun) * 1e3)
        more = server.status("Threads") - threads
        each = (server.status("VmRSS") - memory) / count if count else 0
    p99 = quantiles(times, n=100)[-1]
    print(f"| {name} | {count:,} | {more} | {each:.1f} | {median(times):.2f} | {p99:.2f} |", flush=True)


def spent_by(pid: int) -> float:
    """The seconds of processor time of the process and of its children that run."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(spent_by, children))


@contextmanager
def of_others(name: str) -> Iterator[tuple[int, int]]:
    """The port and the process of another server, of WSGI or ASGI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    application = "tests.support.http_peers:application"
    uvicorn = ["-m", "uvicorn", "--log-level", "error", "--port", str(port), "--lifespan", "off"]
    uvicorn.append("tests.support.http_peers:asgi")
    command = {
        "uvicorn": [*uvicorn, "--no-access-log"],
        "uvicorn, h11": [*uvicorn, "--no-access-log", "--http", "h11", "--loop", "asyncio"],
        "gunicorn": ["-m", "gunicorn", "--log-level", "error", "-b", f"127.0.0.1:{port}", "-w", "1", application],
        "waitress": ["-m", "waitress", "--host", "127.0.0.1", "--port", str(port), application],
    }[name]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        for _ in range(200):
            try:
                get(port)
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def kept_connections() -> None:
    """Print how many GETs a second ``wrk`` gets answered on 50 connections."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("\n`wrk` is not installed.")
        return
    print("\n| GETs of `wrk`, 50 connections | answers in a second | µs of the server | p99 | errors |")
    print("| --- | ---: | ---: | ---: | ---: |")

    def load(name: str, port: int, pid: int) -> None:
        before = spent_by(pid)
        output = subprocess.run(
            [wrk, "-t1", "-c50", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}/"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        spent, count = spent_by(pid) - before, re.search(r"(\d+) requests in", output)
        rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", output), re.search(r"99%\s+([\d.]+\w+)", output)
        errors = re.search(r"Socket errors: (.*)", output)
        assert rate
        assert p99
        assert count
        each = spent / int(count[1]) * 1e6
        print(f"| {name} | {float(rate[1]):,.0f} | {each:.0f} | {p99[1]} | {errors[1] if errors else 0} |", flush=True)

    for name in ("reactor, select", "reactor, HTTPHandler", "reactor, threads, framing", "socketserver, threads"):
        with Server(name) as server:
            load(name, server.port, server.process.pid)
    for name in ("gunicorn", "waitress", "uvicorn", "uvicorn, h11"):
        if importlib.util.find_spec(name.partition(",")[0]):
            with of_others(name) as (port, pid):
                load(name, port, pid)


def main() -> None:
    """Print all tables."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit the setting
    print(f"Python {sys.version.split()[0]}")
    short_connections()
    slow_clients()
    kept_connections()


if __name__ == "__main__":
    main()
