"""`Ran`: a program with pipes, its result and failures, its bounds, and its end with the row."""

import os
import signal
import sys

import pytest

from handlers import Cancelled, FirstOf, Ran, StreamHandler, Until, WhileConnected
from reactor import Reactor
from tests.support.outside import answer_in, ask_worker, here_until, is_there, line, workshop
from tests.support.serving import MODES, connect, serving, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

BIG = bytes(range(256)) * 1_000


def shell(script, *arguments, **options):
    return Ran(["sh", "-c", script, "sh", *arguments], **options)


class Told:
    """A result as text: the status, the output and the errors."""

    def __init__(self, finished):
        self.finished = finished

    def __repr__(self):
        return f"{self.finished.status} {self.finished.output!r} {self.finished.errors!r}"


RESULTS = {
    "output and errors": (shell("echo out; echo err >&2"), "0 b'out\\n' b'err\\n'"),
    "a status": (shell("exit 7"), "7 b'' b''"),
    "a signal": (shell("kill -9 $$"), f"{-signal.SIGKILL} b'' b''"),
    "input": (Ran(["cat"], b"abc"), "0 b'abc' b''"),
    "no input": (Ran(["cat"]), "0 b'' b''"),
    "input that is not read": (shell("exec true", input=BIG), "0 b'' b''"),
    "arguments": (shell('echo "$1" $#', "a  b; c"), "0 b'a  b; c 1\\n' b''"),
    "an environment": (shell("echo $A", environment={"A": "b", "PATH": os.environ["PATH"]}), "0 b'b\\n' b''"),
    "a default action for SIGPIPE": (shell("kill -PIPE $$; echo no"), f"{-signal.SIGPIPE} b'' b''"),
    "as much as its limit": (shell("printf 1234567890", limit=10), "0 b'1234567890' b''"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", RESULTS)
def test_the_result_is_the_same_in_every_mode(mode, what):
    wait, expected = RESULTS[what]
    assert telling(mode, wait) == expected


def telling(mode, wait):
    async def job(word):
        return Told(await wait)

    return answer_in(mode, job)


def test_the_result_does_not_wait_for_a_process_that_is_left_behind_with_the_pipe():
    async def job(word):
        return int((await shell("sleep 30 & echo $!")).output)

    pid = int(answer_in("select", job))
    assert is_there(pid)
    os.kill(pid, signal.SIGKILL)


FAILURES = {
    "no such program": (
        Ran(["no-such-program"]),
        "FileNotFoundError: [Errno 2] No such file or",
    ),
    "no permission": (Ran(["/etc/passwd"]), "PermissionError: [Errno 13]"),
    "a zero byte": (Ran(["echo", "a\0b"]), "OSError: [Errno 22]"),
    "more than its limit": (Ran(["yes"], limit=100_000), "OverflowError: the program has written more than 100000"),
    "one byte more": (shell("printf 12345678901 >&2", limit=10), "OverflowError: the program has written more than 10"),
}


AT_LEAST_SELECT = [mode if mode == "select" else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES]


@pytest.mark.parametrize("mode", AT_LEAST_SELECT)
@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_the_same_in_every_mode(mode, what):
    wait, expected = FAILURES[what]
    assert telling(mode, wait).startswith(expected)


def test_input_and_output_larger_than_the_pipes_flow_at_once():
    async def job(word):
        finished = await Ran(["cat"], BIG * 10, limit=3_000_000)
        return finished.output == BIG * 10

    with workshop(job, max_children=2) as here:
        assert ask_worker(here, here.connect()) == "True"


def test_it_inherits_no_other_descriptor():
    script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:4])"

    async def job(word):
        return (await Ran([sys.executable, "-S", "-c", script])).output

    with workshop(job) as here:
        assert ask_worker(here, here.connect()) == repr(b"[0, 1, 2, 3]\n")  # 3 is that of listdir() itself


def test_it_inherits_no_descriptor_that_is_inheritable():
    """As those that systemd passes to the server are (``sd_listen_fds(3)``)."""

    async def job(word):
        return (await shell(f"[ -e /dev/fd/{writer} ] && echo inherited")).output

    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)
        with workshop(job) as here:
            assert ask_worker(here, here.connect()) == repr(b"")
    finally:
        os.close(reader)
        os.close(writer)


def test_programs_wait_for_their_turn():
    with workshop(lambda word: shell("cat; echo done", input=word.encode()), max_children=1) as here:
        clients = [here.connect() for _ in range(5)]
        for client in clients:
            client.sendall(b"word\n")
        assert [line(here, client)[:8] for client in clients] == ["Finished"] * 5


def the_pid(path):
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else 0


@pytest.mark.parametrize("end", ["timeout", "close", "server", "reset"])
def test_the_program_is_killed_with_its_wait(end, tmp_path):
    path = tmp_path / "pid"
    timeout = 0.2 if end == "timeout" else None
    script = 'echo $$ > "$1"; exec sleep 100'
    with workshop(lambda word: WhileConnected(shell(script, str(path)), timeout=timeout)) as here:
        client = here.connect()
        client.sendall(b"go\n")
        row = here.row
        pid = here_until(here, lambda: the_pid(path))
        if end == "timeout":
            assert line(here, client) == "timed out"
        elif end == "close":
            client.close()
            here.until(lambda: not len(here.table))
        elif end == "server":
            here.server.server_close()
            assert isinstance(row.reason, Cancelled)
        else:
            here.reactor.cancel(here.table)
        wait_until(lambda: here.reactor.children.reap(pid) or not is_there(pid))


def test_it_may_be_one_of_several_waits():
    class First(StreamHandler):
        async def handle(self):
            for_ever, brief = shell("exec sleep 100"), shell("echo done")
            wait, result = await FirstOf(for_ever, brief, Until(b"\n"))
            self.send(b"%r %b" % (wait is brief, result.output))

    with serving(First, "select") as server, connect(server) as client:
        assert client.recv(100) == b"True done\n"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Ran("ls"), "Ran: program"),
        (lambda: Ran([]), "Ran: program"),
        (lambda: Ran(["ls"], "text"), "Ran: input"),
        (lambda: Ran(["ls"], limit=-1), "Ran: limit"),
        (lambda: Ran(["ls"], timeout=-1), "Ran: timeout"),
    ],
)
def test_a_wrong_argument_is_refused(make, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}"):
        make()


def test_it_is_a_value():
    assert Ran(["ls", "-l"]) == Ran(("ls", "-l"))
    assert Ran(["ls"]) != Ran(["ls"], b"input")
    assert hash(Ran(["ls"], environment={"A": "b"})) == hash(Ran(["ls"], environment={"A": "b"}))
    assert repr(Ran(["ls", "-l"])) == "Ran(('ls', '-l'))"
    assert Reactor.max_children == 40
