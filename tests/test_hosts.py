"""Lesser hosts: without fork, threads, socket pairs, Unix sockets. Each is a fresh interpreter, maimed first.

What they have in common with CPython on WASI and Emscripten: what is missing is missing before the
package is imported, and nothing may be imported first in the middle of serving.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LACKS = {
    "fork": "import os; del os.fork",
    "threads": """
import _thread
def refuse(*_):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
import threading
threading._start_new_thread = threading._start_joinable_thread = refuse
""",
    "socketpair": "import socket; del socket.socketpair",
    "unix": "import socket; del socket.AF_UNIX",
    "reuse": "import socket; [delattr(socket, name) for name in ('SO_REUSEPORT', 'SO_REUSEADDR')]",
    "dontwait": "import socket; del socket.MSG_DONTWAIT",
    "eventfd, pidfd": "import os; [delattr(os, name) for name in ('eventfd', 'pidfd_open') if hasattr(os, name)]",
    "repr of sockets": """
import socket
def refuse(self):
    raise AssertionError("a socket was put through repr()")
socket.socket.__repr__ = refuse
""",
    "nothing": "",
}

ECHO = """
import socket, sys
import reactor
from handlers.services import Echo, EchoDatagram

client = None

def ask(kind, handler, stream):
    with kind(("127.0.0.1", 0), handler) as server:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        client.settimeout(10)
        client.connect(server.server_address)
        client.send(b"hello")
        if stream:
            client.shutdown(socket.SHUT_WR)
        server.handle_request()
        assert client.recv(100) == b"hello"
        client.close()

before = None
for _ in range(2):
    for mode in "Select", "":
        ask(getattr(reactor, mode + "TCPServer"), Echo, True)
        ask(getattr(reactor, mode + "UDPServer"), EchoDatagram, False)
    if before is None:
        before = set(sys.modules)
print("served")
"""


def run(script):
    """What a fresh interpreter prints that runs the script from a checkout."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("lack", LACKS)
def test_select_and_plain_mode_serve_without(lack):
    assert run(LACKS[lack] + ECHO) == "served\n"


MODE = """
import reactor
from handlers.services import Echo
try:
    reactor.{kind}(("127.0.0.1", 0), Echo)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("lack", "kind", "says"),
    [("fork", "ForkingTCPServer", "can't fork"), ("threads", "ThreadingTCPServer", "can't start a thread")],
)
def test_a_mode_that_is_not_to_be_had_is_one_clear_error(lack, kind, says):
    said = run(LACKS[lack] + MODE.format(kind=kind))
    assert said.startswith(f"{kind}: this host {says}")
    assert "Select" in said


WORK = """
import socket
import reactor
from handlers import Failed, StreamHandler, {wait}

class Worker(StreamHandler):
    async def handle(self):
        try:
            await {wait}(len, b"")
        except Failed as failed:
            self.send(str(failed.error).encode())

with reactor.SelectTCPServer(("127.0.0.1", 0), Worker) as server:
    client = socket.create_connection(server.server_address)
    server.handle_request()
    print(client.recv(1000).decode())
    client.close()
"""


@pytest.mark.parametrize(("lack", "wait", "says"), [("fork", "Forked", "fork"), ("threads", "Threaded", "thread")])
def test_work_that_can_not_be_done_is_a_cause_and_not_a_hang(lack, wait, says):
    assert f"this host can't {'start a ' if says == 'thread' else ''}{says}" in run(
        LACKS[lack] + WORK.format(wait=wait)
    )


SERVING = """
import contextlib, io, socket, sys
import reactor
from handlers import *
from handlers.services import Daytime, Echo

class Everything(StreamHandler):
    timeout = 0.05

    async def handle(self):
        await Some()
        target = socket.socket()
        target.bind(("127.0.0.1", 0))
        target.listen()
        with contextlib.suppress(Failed):
            await Connected(("localhost", target.getsockname()[1]), Echo())
        target.close()
        await Delay(0.01)
        await Flushed()
        await Threaded(len, b"")
        await Forked(len, b"")
        try:
            await Until(b"never")
        except TimedOut:
            self.send(b"late")
        raise ValueError("an error, reported")

class Finger(StreamRequestHandler):
    request = Until(b"\\n")

    def handle(self):
        self.wfile.write(self.rfile.readline())

for mode in "Select", "":
    for handler in Daytime, Everything, Finger:
        with getattr(reactor, mode + "TCPServer")(("127.0.0.1", 0), handler) as server:
            before = set(sys.modules)
            client = socket.socket()
            client.connect(server.server_address)
            if handler is not Daytime:
                client.sendall(b"go\\n")
            with contextlib.redirect_stderr(io.StringIO()):
                server.handle_request()
            assert client.recv(100)
            client.close()
            print(sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_first_in_the_middle_of_serving():
    assert set(run(SERVING).splitlines()) == {"[]"}
