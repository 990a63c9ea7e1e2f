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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reactor.table import NO_THREADS
from tests.confined import FORKING

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
BUILT = ROOT / ".venv" / "everywhere"
"""Where what is downloaded and made for these tests is kept."""

PATIENCE = 120  # seconds: a component is compiled when it is run
CONNECTIONS, AT_ONCE = 300, 30

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
def started(*command, cwd=ROOT):
    """A process that serves, and the address that it says it does at; killed at the end, however that comes."""
    process = subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        with process:
            try:
                line = process.stderr.readline()
                found = re.fullmatch(r"listening on ([\d.]+):(\d+)\n", line)
                assert found, line + process.stderr.read()
                yield process, (found[1], int(found[2]))
                assert process.poll() is None, process.stderr.read()
            finally:
                process.kill()
    finally:
        timer.cancel()


def converse(address, number):
    """One connection of the client: its lines go in pieces, and all come back in capitals."""
    text = b"".join(b"connection %d, line %d\n" % (number, line) for line in range(5))
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(text), 7):
            client.sendall(text[place : place + 7])
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == text.upper()


def all_conversations(address):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: converse(address, number), range(CONNECTIONS)))


def packets(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        for number in range(20):
            client.send(b"packet %d" % number)
            assert client.recv(100) == b"PACKET %d" % number


# A kernel that kills


def confined(how, *command):
    return sys.executable, "-m", "tests.confined", how, *map(str, command)


@confinable
@pytest.mark.parametrize("how", ["kill", "eperm"])
def test_natively_where_the_kernel_allows_no_second_thread_and_no_child(how):
    with started(*confined(how, EXAMPLES / "everywhere.py", 0)) as (process, address):
        assert re.search(r"^Seccomp:\s+2$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        all_conversations(address)
        packets(address)


FORKS = "import os\nos.fork()\nprint('alive')"
STARTS = "import threading\nthreading.Thread(target=print).start()\nprint('alive')"


@confinable
@pytest.mark.parametrize("text", [FORKS, STARTS], ids=["fork", "thread"])
def test_it_does_kill(text, tmp_path):
    (tmp_path / "program.py").write_text(text)
    ended = subprocess.run(confined("kill", tmp_path / "program.py"), cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (-signal.SIGSYS, b"")


CONNECTS = """
from handlers import Connected, StreamHandler, ToEnd
from handlers.services import Echo
from reactor import Reactor, SelectTCPServer

class Far(StreamHandler):
    async def handle(self):
        self.send(b"by name")
        self.send_eof()
        print((await ToEnd()).decode(), flush=True)
        loop.stop()

class Near(StreamHandler):
    async def handle(self):
        await Connected(("localhost", echo.server_address[1]), Far())
        await ToEnd()

with Reactor() as loop:
    echo = SelectTCPServer(("127.0.0.1", 0), Echo, reactor=loop)
    near = SelectTCPServer(("127.0.0.1", 0), Near, reactor=loop)
    import socket
    with socket.create_connection(near.server_address):
        loop.run()
"""
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
@pytest.mark.parametrize(
    ("how", "text", "told"),
    [
        ("kill", CONNECTS, "by name\n"),
        (
            "eperm",
            FORKED,
            f"PermissionError\nRuntimeError\nThreadingTCPServer: {NO_THREADS}\n",
        ),
    ],
    ids=["connecting to a name", "asking for a child and a thread"],
)
def test_under_the_filter(how, text, told, tmp_path):
    (tmp_path / "program.py").write_text(text)
    ended = subprocess.run(
        confined(how, tmp_path / "program.py"), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, told, "")


# WebAssembly


def test_on_wasi():
    maker = needed(shutil.which("componentize-py", path=Path(sys.executable).parent), "componentize-py")
    needed(importlib.util.find_spec("wasmtime"), "wasmtime")
    BUILT.mkdir(parents=True, exist_ok=True)
    component = BUILT / "everywhere.wasm"
    what = "-q", "-d", EXAMPLES / "wasi" / "host.wit", "-w", "host"
    places = [text for place in (EXAMPLES / "wasi", EXAMPLES, ROOT) for text in ("-p", place)]
    command = [maker, *what, "componentize", *places, "app", "-o", component]
    subprocess.run(command, cwd=BUILT, check=True, timeout=PATIENCE)
    with started(sys.executable, EXAMPLES / "wasi" / "run.py", component, free_port()) as (_, address):
        all_conversations(address)
        packets(address)


def test_on_emscripten():
    node = needed(shutil.which("node"), "node")
    npm = needed(shutil.which("npm"), "npm")
    BUILT.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", BUILT, "pyodide@314.0.7"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    with started(node, EXAMPLES / "pyodide" / "serve.mjs", "0", cwd=BUILT) as (_, address):
        all_conversations(address)


def free_port():
    """A port that nobody has now: a host may not say which one it was given."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])
