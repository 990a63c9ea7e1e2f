"""Hosts without fork, threads, socket pairs or Unix sockets, each a fresh interpreter in which these are removed first.

As in CPython on WASI and Emscripten, what is missing is missing before the package is imported, and serving may not
import a module for the first time.
"""

import re
import subprocess
import sys

import pytest

from tests import ROOT

LACKS = {
    "fork": "import os; del os.fork",
    "threads": """
import _thread
def refuse(*arguments, **keywords):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
import threading
threading._start_new_thread = threading._start_joinable_thread = refuse
""",
    "socketpair": "import socket; del socket.socketpair",
    "unix": "import socket; del socket.AF_UNIX",
    "reuse": "import socket; [delattr(socket, name) for name in ('SO_REUSEPORT', 'SO_REUSEADDR')]",
    "what comes beside the data": """
import socket
for name in "SO_PEERCRED IP_PKTINFO IPV6_PKTINFO IPV6_RECVPKTINFO".split() + [
    name for name in dir(socket) if name.startswith(("SCM_", "CMSG_", "MSG_"))
]:
    if hasattr(socket, name):
        delattr(socket, name)
class Plain(socket.socket):
    __slots__ = ()
    @property
    def recvmsg(self):
        raise AttributeError("this host has none")
    sendmsg = recvmsg_into = recvmsg
socket.socket = Plain
""",
    "dontwait": "import socket; del socket.MSG_DONTWAIT",
    "urgent data": "import socket, sys; del socket.MSG_OOB, socket.SO_OOBINLINE; sys.modules['fcntl'] = None",
    "poll and epoll": "import select; [delattr(select, name) for name in ('poll', 'epoll') if hasattr(select, name)]",
    "eventfd, pidfd": "import os; [delattr(os, name) for name in ('eventfd', 'pidfd_open') if hasattr(os, name)]",
    "repr of sockets": """
import socket
def refuse(self):
    raise AssertionError("a socket was put through repr()")
socket.socket.__repr__ = refuse
""",
    "nothing": "",
}
LACKS["all that CPython on WASI lacks"] = f"""
import os, signal, socket
for module, names in (
    (os, "fork forkpty waitpid waitstatus_to_exitcode pipe kill pidfd_open register_at_fork"),
    (socket, "socketpair AF_UNIX SO_REUSEPORT SO_REUSEADDR MSG_DONTWAIT SOCK_NONBLOCK"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
{LACKS["threads"]}
"""
LACKS["the numbers of errors"] = """
import errno, socket

shifted = {number: number + 10_000 for number in errno.errorcode}
for number, name in list(errno.errorcode.items()):
    setattr(errno, name, shifted[number])

class Foreign(socket.socket):
    \"\"\"A socket whose errors have the numbers of another host; their classes are the same everywhere.\"\"\"

def translated(name):
    own = getattr(socket.socket, name)

    def call(self, *arguments):
        try:
            result = own(self, *arguments)
        except OSError as error:
            if error.errno in shifted:
                error.errno = shifted[error.errno]
            raise
        return result

    return call

for name in "accept bind connect getpeername getsockopt listen recv recvfrom send sendto shutdown".split():
    setattr(Foreign, name, translated(name))
socket.socket = Foreign
"""

ECHO = """
import socket, sys
import reactor
from handlers.services import Echo, EchoDatagram

client = None

def ask(kind, handler, stream, host="127.0.0.1"):
    with kind((host, 0), handler) as server:
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
        ask(getattr(reactor, mode + "UDPServer"), EchoDatagram, False, "0.0.0.0")
    if before is None:
        before = set(sys.modules)
print("served")
"""


def run(script, logged=""):
    """The output of the script in a fresh interpreter; ``logged`` must be on its standard error."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(logged, done.stderr), done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("lack", LACKS)
def test_select_and_plain_mode_serve_without_it(lack):
    assert run(LACKS[lack] + ECHO) == "served\n"


BESIDE = """
import os, tempfile
import reactor
from handlers import StreamHandler, Some

class Whoami(StreamHandler):
    max_descriptors = 3

    async def handle(self):
        await Some()
        try:
            self.send_descriptors(b"x", [0])
        except RuntimeError as error:
            self.send(f"{self.credentials} {self.descriptors} {error}".encode())

for mode in "Select", "":
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/socket"
        with getattr(reactor, mode + "UnixStreamServer")(path, Whoami) as server:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.send(b"hello")
                server.handle_request()
                print(client.recv(200).decode())
        assert not os.path.exists(path)
"""


def test_unix_sockets_serve_without_ancillary_data():
    lines = run(LACKS["what comes beside the data"] + BESIDE).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("None [] Whoami can't pass descriptors here: declare max_descriptors on the class")


OUTSIDE = """
import socket
import reactor
from handlers import *
from handlers.services import Echo

class Back(StreamHandler):
    async def handle(self):
        self.send(b"hello")
        self.server.answer = await Exactly(5)

class Front(StreamHandler):
    async def handle(self):
        for port in self.server.ports:
            try:
                await Connected(("127.0.0.1", port), Back())
            except Failed as failed:
                self.send(type(failed.error).__name__.encode())
        while self.server.answer is None:
            await Delay(0.001)
        self.send(self.server.answer)

loop = reactor.Reactor()
closed = socket.socket()
closed.bind(("127.0.0.1", 0))  # and nobody listens
with (
    reactor.SelectTCPServer(("127.0.0.1", 0), Echo, reactor=loop) as back,
    reactor.SelectTCPServer(("127.0.0.1", 0), Front, reactor=loop) as front,
):
    front.answer = None
    front.ports = closed.getsockname()[1], back.server_address[1]
    client = socket.socket()
    client.connect(front.server_address)
    client.settimeout(0)
    answer = b""
    while not answer.endswith(b"hello"):
        loop.step(10)
        try:
            answer += client.recv(100)
        except BlockingIOError:
            pass
    client.close()
closed.close()
loop.close()
print(answer.decode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("lack", LACKS)
def test_a_handler_may_open_connections_without_it(lack):
    assert run(LACKS[lack] + OUTSIDE) == "ConnectionRefusedErrorhello\n"


EXHAUSTED = """
import errno, socket
import reactor
from handlers.services import Echo

class Short(reactor.SelectTCPServer):
    refusals = 3

    def get_request(self):
        if self.refusals:
            self.refusals -= 1
            steps.append(loop.timers.next())
            raise OSError(errno.EMFILE, "too many open files")
        return super().get_request()

steps = []
loop = reactor.Reactor()
with Short(("127.0.0.1", 0), Echo, reactor=loop) as server:
    client = socket.socket()
    client.connect(server.server_address)
    client.send(b"hello")
    client.settimeout(0)
    answer = b""
    batches = 0
    while not answer:
        loop.step(10)
        batches += 1
        try:
            answer = client.recv(100)
        except BlockingIOError:
            pass
    client.close()
loop.close()
print(answer.decode(), batches < 20)
"""


@pytest.mark.parametrize("lack", ["nothing", "the numbers of errors"])
def test_a_server_out_of_descriptors_waits_without_spinning(lack):
    once = r"Short at .* takes no requests for now: .* too many open files\n"
    assert run(LACKS[lack] + EXHAUSTED, once) == "hello True\n"


THREADS = """
import socket, threading, time
import reactor
from handlers import StreamHandler, Threaded, Some

class Worker(StreamHandler):
    async def handle(self):
        await Some()
        self.send(b"%d" % await Threaded(self.work))

    def work(self):
        time.sleep(0.05)  # so that the loop has nothing to do meanwhile
        return 42

for mode in "Select", "", "Threading":
    with getattr(reactor, mode + "TCPServer")(("127.0.0.1", 0), Worker) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        client = socket.socket()
        client.settimeout(10)
        client.connect(server.server_address)
        client.send(b"go")
        assert client.recv(100) == b"42"
        client.close()
        ending = threading.Thread(target=server.shutdown, daemon=True)
        ending.start()
        ending.join(10)
        thread.join(10)
        print(mode, not (thread.is_alive() or ending.is_alive()))
"""


@pytest.mark.parametrize("lack", ["fork", "dontwait", "nothing"])
def test_threads_wake_and_stop_the_loop_without_it(lack):
    assert run(LACKS[lack] + THREADS) == "Select True\n True\nThreading True\n"


FORKS = """
import os, socket
import reactor
from handlers import Forked, Some, StreamHandler

class Worker(StreamHandler):
    async def handle(self):
        await Some()
        self.send(b"%d" % await Forked(pow, 7, 2))

for mode in "Select", "", "Forking":
    with getattr(reactor, mode + "TCPServer")(("127.0.0.1", 0), Worker) as server:
        client = socket.socket()
        client.settimeout(10)
        client.connect(server.server_address)
        client.send(b"go")
        server.handle_request()
        print(mode, client.recv(100))
        client.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("lack", ["threads", "socketpair", "unix", "eventfd, pidfd", "nothing"])
def test_children_are_reaped_without_it(lack):
    assert run(LACKS[lack] + FORKS) == "Select b'49'\n b'49'\nForking b'49'\n"


MODE = """
import reactor
from handlers.services import Echo
try:
    reactor.{kind}(("127.0.0.1", 0), Echo)
except RuntimeError as error:
    print(error)
"""

WASI = "all that CPython on WASI lacks"


@pytest.mark.parametrize(("lack", "kind", "says"), [
    ("fork", "ForkingTCPServer", "can't fork"), ("threads", "ThreadingTCPServer", "can't start a thread"),
    (WASI, "ForkingTCPServer", "can't fork"), (WASI, "ThreadingTCPServer", "can't start a thread"),
])  # fmt: skip
def test_a_mode_that_the_host_lacks_is_one_clear_error(lack, kind, says):
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


@pytest.mark.parametrize(("lack", "wait", "says"), [
    ("fork", "Forked", "fork"), ("threads", "Threaded", "thread"),
    (WASI, "Forked", "fork"), (WASI, "Threaded", "thread"),
])  # fmt: skip
def test_work_that_the_host_can_not_do_is_a_cause(lack, wait, says):
    assert f"this host can't {'start a ' if says == 'thread' else ''}{says}" in run(
        LACKS[lack] + WORK.format(wait=wait)
    )


SERVING = """
import contextlib, io, socket, sys
import reactor
from handlers import *
from handlers.services import Daytime, Echo

class Everything(StreamHandler):
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
            await Until(b"never", timeout=0.05)
        except TimedOut:
            self.send(b"late")
        with contextlib.suppress(Failed):
            await Connected(("k\u00f6ln.invalid", 7), Echo())
        1 / 0  # an error, reported with the place in the line

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


def test_serving_imports_no_module_for_the_first_time():
    assert set(run(SERVING).splitlines()) == {"[]"}


def test_the_package_is_light():
    """Compared with an interpreter that imports only `selectors` and `socket`."""
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import selectors, socket
before = set(sys.modules)
import reactor
print(*sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in ("reactor", "handlers")))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT)], capture_output=True, text=True, timeout=60, check=True
    )
    heavy = {
        "asyncio",
        "multiprocessing",
        "ssl",
        "hypothesis",
        "pytest",
        "logging",
        "typing",
        "threading",
        "dataclasses",
    }
    assert heavy.isdisjoint(name.partition(".")[0] for name in done.stdout.split()), done.stdout


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("SelectTCPServer", {"modes.forking", "modes.mailbox", "servers.exchanges", "rows.brief", "rows.packets"}),
        ("SelectUDPServer", {"modes.forking", "modes.mailbox", "servers.connections"}),
        ("ThreadingTCPServer", {"modes.forking", "modes.mailbox", "servers.exchanges", "rows.brief", "rows.packets"}),
    ],
)
def test_a_server_imports_no_module_of_another_kind_of_server(kind, others):
    script = f"""
import sys, reactor
from reactor.handlers.services import {"EchoDatagram" if "UDP" in kind else "Echo"} as Handler
with reactor.{kind}(("127.0.0.1", 0), Handler):
    print(*(name.removeprefix("reactor.") for name in sys.modules))
"""
    imported = set(run(script).split())
    assert "servers.base" in imported
    assert others.isdisjoint(imported)


def test_each_public_name_is_found_by_itself():
    script = """
import reactor
for name in reactor.__all__:
    found = getattr(reactor, name)
    assert found.__name__ == name and vars(reactor)[name] is found, name
from reactor import *
assert all(globals()[name] is getattr(reactor, name) for name in reactor.__all__)
assert set(reactor.__all__) <= set(dir(reactor))
"""
    run(script)
