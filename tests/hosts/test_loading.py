"""What a server loads when it is made, what may come later, and that a program without ``logging`` loses no message."""

import subprocess
import sys

import pytest

from tests import ROOT

MADE = """
import sys, reactor
from handlers import StreamHandler, Until

class Upper(StreamHandler):
    async def handle(self):
        while True:
            self.send((await Until(b"\\n", limit=80)).upper())

server = reactor.SelectTCPServer(("127.0.0.1", 0), Upper)
"""

ASK = """
import socket

def ask(server, question):
    client = socket.socket()
    client.connect(server.server_address)  # create_connection() would import a codec for the name of the host
    client.sendall(question)
    client.shutdown(socket.SHUT_WR)
    server.handle_request()
    with client:
        return client.makefile("rb").read()
"""


def run(script):
    """The standard output and the standard error of the script in a fresh interpreter without installed packages."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def loaded(script):
    """The modules that are loaded after the script."""
    return set(run(f"{script}\nprint(*sys.modules)")[0].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "room"),
    [
        ("from handlers import Threaded", "reactor.modes.jobs"),
        ("import handlers.elsewhere", "reactor.modes.jobs"),
        ("from handlers import Ran", "reactor.modes.programs"),
        ("from handlers import Connected", "reactor.rows.connecting"),
        ("from handlers import Filter", "reactor.table.steps"),
        ("from reactor.handlers import Connected", "reactor.rows.connecting"),
    ],
)
def test_the_work_of_a_wait_is_loaded_with_a_server_of_a_program_that_has_the_wait(more, room):
    assert room not in loaded(MADE)
    assert room in loaded(f"{more}\n{MADE}")


def test_a_server_of_a_state_machine_loads_nothing_for_others():
    of_library = {
        "logging",
        "traceback",
        "threading",
        "pickle",
        "re",
        "ast",
        "contextlib",
        "signal",
        "struct",
        "weakref",
    }
    of_others = {
        "handlers.blocking", "handlers.filter", "handlers.packet_filter", "handlers.events", "reactor.servers.unix",
        "reactor.servers.udp", "reactor.servers.words", "reactor.rows.face", "reactor.rows.packets",
        "reactor.rows.ancillary", "reactor.modes.threading", "reactor.modes.forking", "reactor.modes.answering",
        "reactor.loop.children",
    }  # fmt: skip
    found = loaded(MADE)
    assert "reactor.servers.connections" in found
    assert found & (of_library | of_others) == set()


LATE = """
class Late(StreamHandler):
    def handle(self):
        from handlers import Threaded
        return Threaded(len, b"late"), self.done

    def done(self, length):
        self.send(b"%d" % length)

with reactor.SelectTCPServer(("127.0.0.1", 0), Late) as server:
    print(ask(server, b""))
"""


def test_a_wait_that_a_handler_imports_itself_is_done():
    assert run(MADE + ASK + LATE) == ("b'4'\n", "")


BETWEEN = """
class Later(StreamHandler):
    def handle(self):
        return handlers.Threaded(len, b"later"), self.done

    def done(self, length):
        self.send(b"%d" % length)

with reactor.SelectTCPServer(("127.0.0.1", 0), Later) as server:
    server.reactor  # makes it
    import handlers.elsewhere
    server.start_serving()
    before = set(sys.modules)
    print(ask(server, b""), set(sys.modules) - before)
"""


def test_what_a_program_imports_before_a_server_serves_is_served_without_an_import():
    assert run(MADE + ASK + BETWEEN) == ("b'5' set()\n", "")


RAISES = """
class Raises(StreamHandler):
    async def handle(self):
        line = await Until(b"\\n", limit=80)
        try:
            int(line) + {}["key"]
        except ValueError as error:
            raise LookupError("no number") from error

server.server_close()
server = reactor.SelectTCPServer(("127.0.0.1", 0), Raises)
server.start_serving()
before = set(sys.modules)
for question in b"no\\n", b"7\\n", b"cut off":
    print(ask(server, question))
print(set(sys.modules) - before)
server.server_close()
"""


def without_ports(text):
    """The text without the number of the port of a client, which differs."""
    return [line.rpartition(",")[0] if line.startswith("Exception occurred") else line for line in text.splitlines()]


def test_an_error_is_printed_as_logging_prints_it_and_nothing_is_imported_for_it():
    (said, printed), (said_by_logging, logged) = (
        run(before + MADE + ASK + RAISES) for before in ("", "import logging")
    )
    assert said == said_by_logging == "b''\nb''\nb''\nset()\n"
    assert without_ports(printed) == without_ports(logged)
    assert "KeyError: 'key'" in printed
    assert "LookupError: no number" in printed
    assert "cut off" not in printed  # a cause, of the level INFO


SILENT = """
class Raises(StreamHandler):
    def handle(self):
        raise LookupError("nobody is told")

class Closed:
    def write(self, text):
        raise ValueError("I/O operation on closed file")

class Unsayable:
    def __str__(self):
        raise LookupError("it can't be said")

from reactor.loop.log import ERROR, INFO, WARNING, is_logged, log
log(INFO, "nobody has asked for this")
log(WARNING, "this is printed")
log(ERROR, "%s and %d", Unsayable(), 7)
print(is_logged(INFO), is_logged(ERROR))
with reactor.SelectTCPServer(("127.0.0.1", 0), Raises) as server:
    for sys.stderr in None, Closed():
        print(ask(server, b""))
sys.stderr = sys.__stderr__
"""


def test_an_error_of_which_nobody_can_be_told_ends_one_request():
    said, printed = run(MADE + ASK + SILENT)
    assert said == "False True\nb''\nb''\n"
    assert printed.startswith("this is printed\n%s and %d (<")
