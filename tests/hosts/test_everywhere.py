"""One server file, `examples/everywhere.py`, and one client, on hosts that have neither threads nor fork.

The hosts are Linux with a filter that kills a process which asks for a thread or a child, CPython on WASI, and
CPython on Emscripten. CI installs what these need; elsewhere a test is skipped, or fails with
``REACTOR_REAL_CLIENTS=1``.
"""

import importlib.util
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from reactor.modes.threading import NO_THREADS
from tests import ROOT
from tests.support.confined import FORKING
from tests.support.programs import needed, program, refuse
from tests.support.serving import receive, reset, rest

EXAMPLES = ROOT / "examples"
BUILT = ROOT / ".venv" / "everywhere"
"""The folder for what is downloaded and built for these tests."""

PATIENCE = 120  # seconds: building a component takes half a minute
CONNECTIONS, AT_ONCE = 300, 30
pytestmark = pytest.mark.slow
confinable = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in FORKING, reason="the filter is for Linux on these machines"
)


@contextmanager
def started(*command, cwd=ROOT, goes_on=True):
    """A process that serves, and its address; it is killed at the end.

    ``goes_on``: whether it must still run then.
    """
    process = subprocess.Popen([str(word) for word in command], cwd=cwd, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        with process:
            try:
                line = process.stderr.readline()
                found = re.fullmatch(r"listening on ([\d.]+):(\d+)\n", line)
                assert found, line + process.stderr.read()
                yield process, (found[1], int(found[2]))
                assert not goes_on or process.poll() is None, process.stderr.read()
            finally:
                process.kill()
    finally:
        timer.cancel()


@contextmanager
def proxied(*command):
    """The address of ``command``, a proxy that connects to the server of lines by host name."""
    with ExitStack() as stack:
        _, (_, port) = stack.enter_context(started(sys.executable, EXAMPLES / "everywhere.py", 0))
        _, address = stack.enter_context(started(*command, 0, "localhost", port))
        yield address


# The clients


def connected(address):
    client = socket.create_connection(address, timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def converse(address, number=0, piece=7):
    """One good client: it sends its lines in pieces and gets all back in capitals."""
    text = b"".join(b"connection %d, line %d\n" % (number, line) for line in range(5))
    with connected(address) as client:
        for place in range(0, len(text), piece):
            client.sendall(text[place : place + piece])
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == text.upper()


def drips(address):
    """Sends one byte at a time; it is answered."""
    converse(address, piece=1)


def breaks_off(address):
    """Resets in the middle of a line."""
    client = connected(address)
    client.sendall(b"one\ntw")
    assert receive(client, 4) == b"ONE\n"
    reset(client)


def stops_half_way(address):
    """Half-closes in the middle of a line."""
    with connected(address) as client:
        client.sendall(b"one\ntw")
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"ONE\n"


def goes_on_and_on(address):
    """Sends a line over the limit and closes."""
    with connected(address) as client:
        client.sendall(b"one\n" + b"x" * 5_000)


def goes_on_and_listens(address):
    """The same, but it reads the answers before."""
    with connected(address) as client:
        client.sendall(b"one\n" + b"x" * 5_000)
        assert rest(client) == b"ONE\n"


def says_nothing(address):
    """The server ends it."""
    with connected(address) as client:
        assert rest(client) == b""


def says_half_a_line(address):
    """The server ends it."""
    with connected(address) as client:
        client.sendall(b"one\ntw")
        assert rest(client) == b"ONE\n"


def never_reads(address):
    """Sends lines and reads no answer, until the server ends it."""
    with connected(address) as client, pytest.raises(ConnectionError):
        client.sendall((b"x" * 511 + b"\n") * 100_000)


QUICK = drips, breaks_off, stops_half_way, goes_on_and_on, goes_on_and_listens
SLOW = says_nothing, says_half_a_line, never_reads


def crowd(process, address):
    """All good clients beside the hostile ones; then only clients that send nothing."""
    with ThreadPoolExecutor(AT_ONCE) as good, ThreadPoolExecutor(len(QUICK + SLOW)) as bad:
        slow = [bad.submit(client, address) for client in SLOW]
        quick = [bad.submit(client, address) for _ in range(20) for client in QUICK]
        conversations = [good.submit(converse, address, number) for number in range(CONNECTIONS)]
        for each in conversations + quick:
            each.result()
        waiting, looks = bad.submit(says_nothing, address), []
        while not waiting.done():
            looks.append(is_asleep(process))
            time.sleep(0.01)
        for each in [*slow, waiting]:
            each.result()
        assert looks.count(True) > len(looks) / 2, "the server does not sleep while it waits for clients"


def is_asleep(process):
    """Whether all threads of a process sleep in the kernel."""
    stats = Path(f"/proc/{process.pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "S" for stat in stats)


def gone_before_accepted(process, address):
    """Clients that connect to a stopped process and reset the connection before it continues."""
    process.send_signal(signal.SIGSTOP)
    for _ in range(5):
        reset(connected(address))
    process.send_signal(signal.SIGCONT)


def packets(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        for number in range(20):
            client.send(b"packet %d" % number)
            assert client.recv(100) == b"PACKET %d" % number


# Linux with a filter


def confined(how, *command):
    """The command that runs a program under the filter `how`: ``kill`` or ``eperm``."""
    return sys.executable, "-m", "tests.support.confined", how, *command


@confinable
def test_natively_where_the_kernel_kills_at_a_thread_or_a_fork():
    with started(*confined("kill", EXAMPLES / "everywhere.py"), 0) as (process, address):
        assert re.search(r"^Seccomp:\s+2$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        gone_before_accepted(process, address)
        crowd(process, address)
        packets(address)


FORKS = "import os\nos.fork()\nprint('alive')"
STARTS = "import threading\nthreading.Thread(target=print).start()\nprint('alive')"


@confinable
@pytest.mark.parametrize("text", [FORKS, STARTS], ids=["fork", "thread"])
def test_the_filter_kills_at_a_thread_or_a_fork(text, tmp_path):
    (tmp_path / "program.py").write_text(text)
    ended = subprocess.run(confined("kill", tmp_path / "program.py"), cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (-signal.SIGSYS, b"")


FORKED = """
from handlers import Cause, Forked, StreamHandler, Threaded
from reactor import Reactor, SelectTCPServer, ThreadingTCPServer

class Asking(StreamHandler):
    async def handle(self):
        for wait in Forked(print), Threaded(print):
            try:
                await wait
            except Cause as cause:
                print(type(cause.error).__name__, flush=True)
        loop.stop()

import socket
with Reactor() as loop:
    server = SelectTCPServer(("127.0.0.1", 0), Asking, reactor=loop)
    with socket.create_connection(server.server_address):
        loop.run()
try:
    ThreadingTCPServer(("127.0.0.1", 0), Asking)
except RuntimeError as error:
    print(error)
"""


@confinable
def test_natively_where_the_kernel_refuses_threads_and_forks():
    with started(*confined("eperm", EXAMPLES / "everywhere.py"), 0) as (_, address):
        converse(address)
        packets(address)


@confinable
def test_waits_for_a_child_or_a_thread_fail_where_the_kernel_refuses_them(tmp_path):
    (tmp_path / "program.py").write_text(FORKED)
    ended = subprocess.run(
        confined("eperm", tmp_path / "program.py"), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told = f"PermissionError\nRuntimeError\nThreadingTCPServer: {NO_THREADS}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, told, "")


@confinable
def test_connecting_to_a_host_name_needs_no_thread_and_no_fork():
    with proxied(*confined("kill", EXAMPLES / "proxy.py")) as address:
        converse(address)


# WebAssembly


@pytest.fixture(scope="module")
def component():
    """The component, built here, or by ``python3 -m tests`` while other tests run."""
    hosts = '(the extra "hosts", some 100 MB; REACTOR_REAL_CLIENTS=1 python3 -m tests installs it)'
    needed((Path(sys.executable).parent / "componentize-py").exists(), f"componentize-py {hosts}")
    needed(importlib.util.find_spec("wasmtime"), f"wasmtime {hosts}")
    meanwhile = os.environ.get("REACTOR_COMPONENT")
    if meanwhile is not None:
        made, deadline = Path(meanwhile), time.monotonic() + PATIENCE
        while not made.exists():
            assert time.monotonic() < deadline, "the component is not made"
            time.sleep(0.05)
        return made
    made = BUILT / "everywhere.cwasm"
    BUILT.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, EXAMPLES / "wasi" / "make.py", made], check=True, timeout=PATIENCE)
    return made


def on_wasi(component, program):
    """The command that runs a program in the component."""
    return sys.executable, EXAMPLES / "wasi" / "run.py", component, program


def test_on_wasi(component):
    with started(*on_wasi(component, "everywhere"), 0) as (process, address):
        crowd(process, address)
        packets(address)


def test_connecting_to_a_host_name_on_wasi(component):
    with proxied(*on_wasi(component, "proxy")) as address:
        converse(address)


def test_wasi_libc_aborts_at_a_client_that_resets_before_it_is_accepted(component):
    """If this fails, wasi-libc is mended, and `gone_before_accepted` belongs into `test_on_wasi`."""
    with started(*on_wasi(component, "everywhere"), 0, goes_on=False) as (process, address):
        gone_before_accepted(process, address)
        told = process.stderr.read()
    assert re.search(r"libc\.so!abort\n.*libc\.so!tcp_accept", told), told


def test_on_emscripten():
    node = program("node")
    npm = program("npm")
    BUILT.mkdir(parents=True, exist_ok=True)
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--cache",
        BUILT / "npm",
        "--prefix",
        BUILT,
        "pyodide@314.0.7",
    ]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if installed.returncode:
        refuse(f"npm can't install pyodide, which needs its registry: {installed.stderr.strip()[-500:]}")
    with started(node, EXAMPLES / "pyodide" / "serve.mjs", "0", cwd=BUILT) as (process, address):
        gone_before_accepted(process, address)
        crowd(process, address)
