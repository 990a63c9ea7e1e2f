"""A server in a process of its own, its load in another, each on its own processor. Needs Linux."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from tests import ROOT
from tests.benchmarks.cases import Case
from tests.benchmarks.messages import Exchange

PATIENCE = 60  # seconds
WRK = 0.1  # seconds of processor time that the server spends in one run of `wrk`
TUNED_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 22)}
"""asyncio reads into 256 KiB, which glibc maps and unmaps for each read; this prevents that (``mallopt(3)``)."""


@contextmanager
def on_processor(number: int) -> Iterator[None]:
    """The processes that start here run on the first (0) or the last (-1) processor that this one may use."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(processors)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


@contextmanager
def many_descriptors() -> Iterator[None]:
    """The processes that start here may have as many descriptors as the host lets them."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


class Program:
    """A process that says a line when it is ready, answers lines of input, and ends when its input does."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ready(self, processor: int) -> str:
        """Wait until it is ready, and have it run on one processor from now on; returns the line that it says."""
        line = self.line()
        chosen = sorted(os.sched_getaffinity(0))[processor]
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with suppress(ProcessLookupError):  # a thread that has ended meanwhile
                os.sched_setaffinity(int(task), {chosen})
        return line

    def close(self) -> None:
        """End its input; kill it if it does not end."""
        try:
            self.process.communicate(timeout=PATIENCE)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)} has ended")
        return line

    def ask(self, question: str) -> str:
        """Its answer to a line."""
        print(question, file=self.process.stdin, flush=True)
        return self.line()


class Server(Program):
    """A server that is measured; its first line is its port."""

    @cached_property
    def port(self) -> int:
        """Its port; first read when it is ready."""
        return int(self.ready(0))

    def spent(self) -> float:
        """Seconds of processor time, user and system, of all threads, ended ones too (``clock_getcpuclockid(3)``)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident(self) -> int:
        """Bytes of resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def allocated(self) -> int:
        """Bytes that Python has allocated, if it runs with ``-X tracemalloc``."""
        return int(self.ask("memory"))


class Load(Program):
    """Connections of ``load.c`` to a server."""

    def __init__(
        self, program: Path, folder: Path, port: int, exchange: Exchange, kind: str, connections: int, depth: int
    ) -> None:
        files = [folder / "request", folder / "answer"]
        for file, content in zip(files, exchange, strict=True):
            file.write_bytes(content)
        super().__init__([str(program), kind, *map(str, (port, connections, depth, *files))])
        self.ready(-1)

    def go(self, messages: int) -> int:
        """Have about so many messages answered; returns their number."""
        done, lost, _ = self.ask(f"go {messages}").split()
        if int(lost) * 20 > int(done):
            raise RuntimeError(f"{lost} of {done} datagrams were lost")
        return int(done)

    def hold(self) -> None:
        """Send one byte on each connection."""
        self.ask("hold")


class Tool:
    """``wrk`` or ``redis-benchmark``: it opens its connections anew for each round."""

    def __init__(self, path: str, server: Server, case: Case) -> None:
        self.path, self.server, self.case = path, server, case

    def go(self, messages: int) -> int:
        """Have about so many messages answered (``wrk``: as many as it takes); returns their number."""
        if self.case.tool == "wrk":
            return self._wrk()
        options = ["-c", str(self.case.connections), "-n", str(messages), "-P", str(self.case.depth), "-t", "get"]
        output, _ = self._started("-p", str(self.server.port), *options, "--csv").communicate(timeout=PATIENCE)
        assert '"GET"' in output, output
        return messages

    def close(self) -> None:
        """Nothing is left open."""

    def _wrk(self) -> int:
        connections = str(self.case.connections)
        process = self._started("-t1", "-c", connections, "-d60s", f"http://127.0.0.1:{self.server.port}/")
        begun, end = self.server.spent(), time.monotonic() + PATIENCE
        while self.server.spent() - begun < WRK and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)  # so it can run for less than a second
        output, _ = process.communicate(timeout=PATIENCE)
        found = re.search(r"(\d+) requests in", output)
        assert found, output
        assert "Socket errors" not in output, output
        return int(found[1])

    def _started(self, *options: str) -> subprocess.Popen[str]:
        command = [self.path, *options]
        with on_processor(-1):
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
