"""One server file, `examples/everywhere.py`, and one client, on hosts that have neither threads nor fork.

Natively, where the kernel kills what asks for one; CPython on WASI; CPython on Emscripten. What each of
these needs is installed by CI; elsewhere the test is skipped, but not with ``REACTOR_REAL_CLIENTS=1``.
"""

import importlib.util
import os
import platform
import re
import shutil
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

from reactor.request import NO_THREADS
from tests.confined import FORKING
from tests.serving import receive, reset, rest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
BUILT = ROOT / ".venv" / "everywhere"
"""Where what is downloaded and made for these tests is kept."""

PATIENCE = 120  # seconds: to make a component takes half a minute
CONNECTIONS, AT_ONCE = 300, 30
IDLE = 0.1
"""How much of a processor a server may take that has only clients to wait for."""

pytestmark = pytest.mark.slow
confinable = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in FORKING, reason="the filter is for Linux on these machines"
)


def needed(found, name):
    """Skip the test, or fail where it has to run, if something that it needs was not ``found``."""
    if not found:
        (pytest.fail if os.environ.get("REACTOR_REAL_CLIENTS") == "1" else pytest.skip)(f"{name} is not installed")
    return found


@contextmanager
def started(*command, cwd=ROOT, goes_on=True):
    """A process that serves, and the address that it says it does at; killed at the end, however that comes.

    ``goes_on``: whether it must still serve then.
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
    """The address at which ``command``, a proxy, is called, and calls the server of the lines by name."""
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
    """One connection of the client: its lines go in pieces, and all come back in capitals."""
    text = b"".join(b"connection %d, line %d\n" % (number, line) for line in range(5))
    with connected(address) as client:
        for place in range(0, len(text), piece):
            client.sendall(text[place : place + piece])
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == text.upper()


def drips(address):
    """One byte at a time; it is answered as anybody."""
    converse(address, piece=1)


def breaks_off(address):
    """A reset in the middle of a line."""
    client = connected(address)
    client.sendall(b"one\ntw")
    assert receive(client, 4) == b"ONE\n"
    reset(client)


def stops_half_way(address):
    """The end of the stream in the middle of a line."""
    with connected(address) as client:
        client.sendall(b"one\ntw")
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"ONE\n"


def goes_on_and_on(address):
    """A line longer than any may be, and gone."""
    with connected(address) as client:
        client.sendall(b"one\n" + b"x" * 5_000)


def goes_on_and_listens(address):
    """The same, but it hears what was answered before."""
    with connected(address) as client:
        client.sendall(b"one\n" + b"x" * 5_000)
        assert rest(client) == b"ONE\n"


def says_nothing(address):
    """It is ended by the server."""
    with connected(address) as client:
        assert rest(client) == b""


def says_half_a_line(address):
    """It is ended by the server."""
    with connected(address) as client:
        client.sendall(b"one\ntw")
        assert rest(client) == b"ONE\n"


def never_reads(address):
    """It asks until it is given up."""
    with connected(address) as client, pytest.raises(ConnectionError):
        client.sendall((b"x" * 511 + b"\n") * 100_000)


QUICK = drips, breaks_off, stops_half_way, goes_on_and_on, goes_on_and_listens
SLOW = says_nothing, says_half_a_line, never_reads


def crowd(process, address):
    """All conversations, and beside them the clients as they should not be; then nobody but clients who say nothing."""
    with ThreadPoolExecutor(AT_ONCE) as good, ThreadPoolExecutor(len(QUICK + SLOW)) as bad:
        slow = [bad.submit(client, address) for client in SLOW]
        quick = [bad.submit(client, address) for _ in range(20) for client in QUICK]
        conversations = [good.submit(converse, address, number) for number in range(CONNECTIONS)]
        for each in conversations + quick:
            each.result()
        began, used = time.monotonic(), processor_time(process)
        says_nothing(address)
        used, passed = processor_time(process) - used, time.monotonic() - began
        print(f"{used:.2f} s of processor time in {passed:.2f} s")
        assert used < IDLE * passed
        for each in slow:
            each.result()


def processor_time(process):
    """Seconds that all threads of a process have run."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gone_before_accepted(process, address):
    """Clients that connect to a process that does nothing now, and have reset the connection when it goes on."""
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


# A kernel that kills


def confined(how, *command):
    """The command that runs a program where the kernel answers a fork so."""
    return sys.executable, "-m", "tests.confined", how, *command


@confinable
def test_natively_where_the_kernel_kills_who_asks_for_a_thread_or_a_child():
    with started(*confined("kill", EXAMPLES / "everywhere.py"), 0) as (process, address):
        assert re.search(r"^Seccomp:\s+2$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        gone_before_accepted(process, address)
        crowd(process, address)
        packets(address)


FORKS = "import os\nos.fork()\nprint('alive')"
STARTS = "import threading\nthreading.Thread(target=print).start()\nprint('alive')"


@confinable
@pytest.mark.parametrize("text", [FORKS, STARTS], ids=["fork", "thread"])
def test_it_does_kill(text, tmp_path):
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
def test_natively_where_the_kernel_refuses_threads_and_children():
    with started(*confined("eperm", EXAMPLES / "everywhere.py"), 0) as (_, address):
        converse(address)
        packets(address)


@confinable
def test_asking_for_a_child_and_a_thread_where_there_are_none(tmp_path):
    (tmp_path / "program.py").write_text(FORKED)
    ended = subprocess.run(
        confined("eperm", tmp_path / "program.py"), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told = f"PermissionError\nRuntimeError\nThreadingTCPServer: {NO_THREADS}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, told, "")


@confinable
def test_connecting_to_a_name_where_the_kernel_kills():
    with proxied(*confined("kill", EXAMPLES / "proxy.py")) as address:
        converse(address)


# WebAssembly


@pytest.fixture(scope="module")
def component():
    """The component, made here, or by who runs the tests, beside others."""
    needed((Path(sys.executable).parent / "componentize-py").exists(), "componentize-py")
    needed(importlib.util.find_spec("wasmtime"), "wasmtime")
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
    """The command that runs a program of the component."""
    return sys.executable, EXAMPLES / "wasi" / "run.py", component, program


def test_on_wasi(component):
    with started(*on_wasi(component, "everywhere"), 0) as (process, address):
        crowd(process, address)
        packets(address)


def test_connecting_to_a_name_on_wasi(component):
    with proxied(*on_wasi(component, "proxy")) as address:
        converse(address)


def test_what_wasi_does_not_bear(component):
    """A client that resets before it is accepted: when that has been mended, it belongs to the others."""
    with started(*on_wasi(component, "everywhere"), 0, goes_on=False) as (process, address):
        gone_before_accepted(process, address)
        told = process.stderr.read()
    assert re.search(r"libc\.so!abort\n.*libc\.so!tcp_accept", told), told


def test_on_emscripten():
    node = needed(shutil.which("node"), "node")
    npm = needed(shutil.which("npm"), "npm")
    BUILT.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", BUILT, "pyodide@314.0.7"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    with started(node, EXAMPLES / "pyodide" / "serve.mjs", "0", cwd=BUILT) as (process, address):
        gone_before_accepted(process, address)
        crowd(process, address)
