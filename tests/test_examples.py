"""Every example runs: as a process of its own, from a checkout, spoken to over real sockets.

Each of them is ended as a terminal does it, with SIGINT to its process group, and has to exit
with status 0 and without a word, whatever is open then.
"""

import asyncio
import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from handlers import EndOfStream, Exactly, Some, StreamHandler, StreamMachine, Until
from handlers.services import Discard, Echo, daytime, time32
from reactor import Reactor, SelectTCPServer

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
PATIENCE = 30  # seconds that anything here may take before it counts as hung
MIB = 1 << 20
SLOW = b"29999999999987\n"  # a prime, so the answer is the same; to find it takes five million divisions


class Example:
    """A running example: its process, and where it listens."""

    def __init__(self, process: "subprocess.Popen[str]", listeners: int) -> None:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(listeners)]
        found = [re.fullmatch(r"listening on (\S+)\n", line) for line in lines]
        assert all(found), lines
        self.process = process
        self.addresses = [match[1] for match in found if match]

    def end(self) -> None:
        """End it as control-C does: it exits with status 0, and without a word."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.stderr is not None
        assert (self.process.wait(PATIENCE), self.process.stderr.read()) == (0, "")

    def connect(self) -> socket.socket:
        return connect(self.addresses[0])

    def ask(self, question: bytes) -> bytes:
        """Send the question and the end of the stream; the answer, to its end."""
        with self.connect() as client:
            client.sendall(question)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)


@contextmanager
def running(name: str, *arguments: str, listeners: int = 1) -> Iterator[Example]:
    """Run an example on a free port; end it, and see that it ends as it should."""
    command = [sys.executable, "-S", str(ROOT / "examples" / f"{name}.py"), "0", *arguments]  # -S: nothing installed
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(2 * PATIENCE, process.kill)
    watchdog.start()
    with process:
        try:
            example = Example(process, listeners)
            yield example
            example.end()
        finally:
            watchdog.cancel()
            process.kill()


def connect(address: str) -> socket.socket:
    if address.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(address)
        return client
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Read, byte by byte so that nothing is lost, up to ``end`` or to the end of the stream."""
    held = b""
    while not held.endswith(end) and (byte := sock.recv(1)):
        held += byte
    return held


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset, not an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# All of them


@pytest.mark.parametrize("name", EXAMPLES)
def test_importing_it_does_nothing(name: str) -> None:
    script = (
        "import sys, threading; path = sys.path[:]\n"
        f"import examples.{name}\n"
        "assert sys.path == path and threading.active_count() == 1"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_head_says_how_to_run_it(name: str) -> None:
    head = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["__doc__"]
    assert f"\npython3 examples/{name}.py [PORT" in head
    assert len(head.splitlines()) <= 10


# echo


def test_echo_answers_many_clients_at_once() -> None:
    with running("echo") as example:
        clients = [example.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(b"%d;" % number)
        for number, client in reversed(list(enumerate(clients))):
            assert read_until(client, b";") == b"%d;" % number
        for client in clients:
            client.close()
        question = os.urandom(100_000)
        assert example.ask(question) == question


def test_echo_ends_with_clients_connected() -> None:
    with running("echo") as example, example.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        example.end()
        assert client.recv(1) == b""


# chat


def enter(example: Example, name: bytes) -> socket.socket:
    """Join the room as ``name``, which must be free."""
    client = example.connect()
    assert read_until(client, b"? ") == b"Your name? "
    client.sendall(name + b"\n")
    return client


def meet(example: Example, *names: bytes) -> list[socket.socket]:
    """One after the other, so that everybody has seen all who came later when this returns."""
    people: list[socket.socket] = []
    for name in names:
        newcomer = enter(example, name)
        for person in people:
            assert read_until(person, b"\n") == b"* %b has come\n" % name
        people.append(newcomer)
        newcomer.sendall(b"hello\n")
        for person in people[:-1]:
            assert read_until(person, b"\n") == name + b": hello\n"
    return people


def test_chat_tells_everybody_else() -> None:
    with running("chat") as example:
        ada, bob, eve = meet(example, b"ada", b"bob", b"eve")
        with ada, bob, eve:
            bob.sendall(b"one\ntwo\n")
            for person in ada, eve:
                assert read_until(person, b"\n") + read_until(person, b"\n") == b"bob: one\nbob: two\n"
            ada.sendall(b"three\n")
            assert read_until(bob, b"\n") == b"ada: three\n"  # and nothing of his own before it


def test_chat_asks_again_for_a_name_that_is_taken_or_none() -> None:
    with running("chat") as example:
        [ada] = meet(example, b"ada")
        with ada, enter(example, b"ada") as other:
            for name in b"\r\n", b"eve\r\n":
                assert read_until(other, b"? ") == b"Your name? "
                other.sendall(name)
            assert read_until(ada, b"\n") == b"* eve has come\n"


@pytest.mark.parametrize("end", [socket.socket.close, reset, lambda sock: sock.sendall(b"x" * 2000)])
def test_chat_says_who_has_gone_however_it_was(end) -> None:  # type: ignore[no-untyped-def]
    with running("chat") as example:
        ada, bob = meet(example, b"ada", b"bob")
        with ada, bob:
            bob.sendall(b"half a li")
            end(bob)
            assert read_until(ada, b"\n") == b"* bob has gone\n"
            with enter(example, b"bob"):  # the name is free again
                assert read_until(ada, b"\n") == b"* bob has come\n"


def test_chat_drops_who_does_not_read_and_holds_up_nobody() -> None:
    with running("chat") as example:
        ada, bob, eve = meet(example, b"ada", b"bob", b"eve")
        with ada, bob, eve, ThreadPoolExecutor() as pool:
            heard = pool.submit(read_until_gone, ada, b"* eve has gone\n")  # eve reads nothing
            line = b"x" * 999 + b"\n"
            for _ in range(40_000):  # 40 MB: more than the kernel holds for her
                if heard.done():
                    break
                bob.sendall(line)
            assert heard.result(PATIENCE)


def read_until_gone(sock: socket.socket, last: bytes) -> bool:
    tail = b""
    while last not in tail:
        piece = sock.recv(65_536)
        if not piece:
            return False
        tail = tail[-len(last) :] + piece
    return True


# upper


@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_upper_gives_the_same_in_every_spelling(spelling: str) -> None:
    with running("upper", spelling) as example:
        assert example.ask(b"hello\n") == b"HELLO\n"
        assert example.ask(b"\r\n") == b"\r\n"
        assert example.ask(b"one\ntwo\n") == b"ONE\n"
        assert example.ask(b"x" * 511 + b"\n") == b"X" * 511 + b"\n"
        assert example.ask(b"x" * 512 + b"\n") == b""
        assert example.ask(b"no end of line") == b""
        with example.connect() as slow, example.connect() as quick:
            slow.sendall(b"on")
            quick.sendall(b"quick\n")
            assert read_all(quick) == b"QUICK\n"
            slow.sendall(b"e\n")
            assert read_all(slow) == b"ONE\n"


# proxy


class Proxied:
    """A running proxy, and both ends of the connections through it."""

    def __init__(self, example: Example, listener: socket.socket) -> None:
        self.example = example
        self._listener = listener

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = self.example.connect()
        target, _ = self._listener.accept()
        target.settimeout(PATIENCE)
        return client, target


@contextmanager
def proxied() -> Iterator[Proxied]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with running("proxy", *map(str, listener.getsockname())) as example:
            yield Proxied(example, listener)


def test_proxy_passes_megabytes_both_ways_at_once() -> None:
    forth, back = os.urandom(8 * MIB), os.urandom(8 * MIB)
    with proxied() as proxy, ThreadPoolExecutor() as pool:
        client, target = proxy.connect()
        with client, target:
            there, here = pool.submit(read_all, target), pool.submit(read_all, client)
            for end, data in (client, forth), (target, back):
                pool.submit(send_and_end, end, data)
            assert there.result(PATIENCE) == forth
            assert here.result(PATIENCE) == back


def send_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("first", ["client", "target"])
def test_proxy_passes_on_the_end_of_one_direction_and_keeps_the_other(first: str) -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            early, late = (client, target) if first == "client" else (target, client)
            send_and_end(early, b"that is all")
            assert read_all(late) == b"that is all"
            for word in b"not", b"from", b"here":
                late.sendall(word)
                assert read_until(early, word) == word
            late.shutdown(socket.SHUT_WR)
            assert early.recv(1) == b""


def test_proxy_passes_on_an_end_that_comes_before_anything_else() -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            target.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            send_and_end(client, b"x" * MIB)
            assert read_all(target) == b"x" * MIB


def test_proxy_holds_back_who_sends_to_a_slow_reader() -> None:
    with proxied() as proxy, ThreadPoolExecutor() as pool:
        client, target = proxy.connect()
        with client, target:
            client.sendall(b"x")
            assert target.recv(1) == b"x"
            before = peak_memory(proxy.example)
            data = os.urandom(64 * MIB)
            sent = data[: send_until_held_back(client, data)]
            assert peak_memory(proxy.example) - before < MIB
            arrived = pool.submit(read_all, target)
            send_and_end(client, sent)
            assert arrived.result(PATIENCE) == sent + sent


def send_until_held_back(sock: socket.socket, data: bytes) -> int:
    """Send, nobody reading, until nothing more is taken; how much was.

    There has to be more of it than the kernel's buffers take, which is a few mebibytes.
    """
    view, taken = memoryview(data), 0
    sock.settimeout(0.5)
    try:
        while taken < len(data):
            taken += sock.send(view[taken : taken + MIB])
    except TimeoutError:
        pass
    sock.settimeout(PATIENCE)
    assert taken < len(data), "somebody holds all of it"
    return taken


def peak_memory(example: Example) -> int:
    """The most memory that the process has had so far, in bytes; 0 where the host doesn't say."""
    status = Path(f"/proc/{example.process.pid}/status")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024 if status.exists() else 0


@pytest.mark.parametrize("first", ["client", "target"])
def test_proxy_ends_both_sides_when_one_is_reset(first: str) -> None:
    with proxied() as proxy:
        client, target = proxy.connect()
        with client, target:
            broken, other = (client, target) if first == "client" else (target, client)
            broken.sendall(b"last words")
            assert other.recv(100) == b"last words"
            reset(broken)
            assert other.recv(1) == b""
        client, target = proxy.connect()  # and it serves on
        with client, target:
            client.sendall(b"next")
            assert target.recv(100) == b"next"


def test_proxy_ends_the_client_when_the_target_refuses() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with running("proxy", *map(str, nobody.getsockname())) as example:
            assert example.ask(b"") == b""
            with example.connect() as client, suppress(ConnectionError):  # reset, as what it says is not read
                client.sendall(b"hello")
                assert read_all(client) == b""


PROXY = runpy.run_path(str(ROOT / "examples" / "proxy.py"))


class Clock:
    """Time that passes when a test says so."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def pass_of(self, part: float) -> None:
        """Let this part of the proxy's timeout pass."""
        self.now += part * PROXY["Side"].timeout


@contextmanager
def proxied_here(clock: Clock) -> Iterator[tuple[Reactor, socket.socket, socket.socket]]:
    """A loop in which the proxy has one connection; both ends of that."""
    with closing(Reactor(clock=clock)) as loop, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        proxy = type("Proxy", (PROXY["Client"],), {"address": listener.getsockname()})
        with SelectTCPServer(("127.0.0.1", 0), proxy, reactor=loop) as server:
            client = socket.create_connection(server.server_address, PATIENCE)
            step_until(loop, lambda: len(loop.table) == 2)
            target, _ = listener.accept()
            with client, target:
                yield loop, client, target


def test_proxy_ends_both_sides_when_both_are_silent_and_not_before() -> None:
    clock = Clock()
    with proxied_here(clock) as (loop, client, target):
        for word in b"one", b"two", b"three", b"four":
            target.sendall(word)
            step_until(loop, lambda: client.recv(5, socket.MSG_DONTWAIT | socket.MSG_PEEK))
            assert client.recv(5) == word
            clock.pass_of(0.75)
            loop.step(0)
            assert len(loop.table) == 2
        client.sendall(b"five")
        step_until(loop, lambda: target.recv(4, socket.MSG_DONTWAIT) == b"five")
        clock.pass_of(0.5)
        loop.step(0)
        assert len(loop.table) == 2
        clock.pass_of(0.75)
        step_until(loop, lambda: len(loop.table) == 0)
        assert (client.recv(1), target.recv(1)) == (b"", b"")


def test_proxy_lets_go_when_both_sides_have_ended() -> None:
    with proxied_here(Clock()) as (loop, client, target):
        client.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: target.recv(1, socket.MSG_DONTWAIT) == b"")
        target.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: len(loop.table) == 0)


def test_proxy_counts_a_side_that_has_ended_as_silent() -> None:
    clock = Clock()
    with proxied_here(clock) as (loop, client, target):
        client.shutdown(socket.SHUT_WR)
        step_until(loop, lambda: target.recv(1, socket.MSG_DONTWAIT) == b"")
        clock.pass_of(0.75)
        loop.step(0)
        assert len(loop.table) == 2
        clock.pass_of(0.75)
        step_until(loop, lambda: len(loop.table) == 0)
        assert client.recv(1) == b""


def step_until(loop: Reactor, condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        loop.step(0.01)
        try:
            if condition():
                return
        except BlockingIOError:
            pass
    raise AssertionError("it never came")


# forked


@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_forked_answers_others_while_it_computes(spelling: str) -> None:
    with running("forked", spelling) as example:
        assert example.ask(b"1001\n") == b"7 11 13\n"
        assert example.ask(b"0\r\n") == b"0\n"
        assert example.ask(b"eleven\n") == b"a number of at most 15 digits, please\n"
        assert example.ask(b"1234567890123456\n") == b"a number of at most 15 digits, please\n"
        with example.connect() as slow:
            slow.sendall(SLOW)
            assert [example.ask(b"%d\n" % number) for number in (6, 35)] == [b"2 3\n", b"5 7\n"]
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.recv(1)
            slow.settimeout(PATIENCE)
            assert read_all(slow) == SLOW


@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_forked_ends_in_the_middle_of_a_computation(spelling: str) -> None:
    with running("forked", spelling) as example, example.connect() as client:
        client.sendall(SLOW)
        assert example.ask(b"6\n") == b"2 3\n"
        example.end()
        answer = SLOW if spelling == "blocking" else b""  # that child is on its own, the others are killed
        assert read_all(client) == answer


# timeserver


def test_timeserver_says_the_same_everywhere() -> None:
    with running("timeserver", listeners=3) as example:
        tcp, udp, unix = example.addresses
        for _ in range(3):
            before = int(time.time())
            with connect(tcp) as client:
                text = read_all(client)
            with connect(unix) as client:
                number = read_all(client)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                host, _, port = udp.rpartition(":")
                client.connect((host, int(port)))
                client.send(b"")
                packet = client.recv(100)
            seconds = range(before, int(time.time()) + 1)
            assert text in map(daytime, seconds)
            assert number in map(time32, seconds)
            assert packet in map(time32, seconds)
    assert not Path(unix).exists()


# embed


def test_embed_runs_under_asyncio() -> None:
    with running("embed") as example, example.connect() as client, example.connect() as other:
        for byte in b"one\n":
            client.sendall(bytes([byte]))
        other.sendall(b"two\nthree\nfo")
        assert read_until(client, b"\n") == b"ONE\n"
        assert read_until(other, b"THREE\n") == b"TWO\nTHREE\n"
        reset(other)
        lines = b"abcdefghijklmno\n" * 10_000
        assert example.ask(lines + b"the rest") == lines.upper()
        assert example.ask(b"x" * 600) == b""
        client.sendall(b"half a li")
        example.end()
        assert read_all(client) == b""


def test_embed_holds_back_who_does_not_read() -> None:
    with running("embed") as example, example.connect() as client:
        data = (b"x" * 255 + b"\n") * (MIB // 4)
        taken = send_until_held_back(client, data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == data[: taken - taken % 256].upper()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio in which time can be made to pass."""

    passed = 0.0

    def time(self) -> float:
        return super().time() + self.passed


def test_embed_gives_every_line_its_time_and_no_more() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "embed.py"))
    loop = SimulatedLoop()

    async def talk() -> None:
        async with await loop.create_server(example["Driver"], "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(3):
                writer.write(b"line\n")
                assert await reader.readline() == b"LINE\n"
                loop.passed += 0.75 * example["Upper"].timeout
            loop.passed += 0.5 * example["Upper"].timeout
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    with closing(loop):
        loop.run_until_complete(asyncio.wait_for(talk(), 10 * PATIENCE))


def test_embed_runs_in_a_unit_test() -> None:
    runpy.run_path(str(ROOT / "examples" / "embed.py"))["test_upper"]()


# auth


@pytest.mark.parametrize(("spelling", "answer"), [("states", b"hello\n"), ("conversation", b"HELLO\n")])
def test_auth_lets_in_who_knows_the_password(spelling: str, answer: bytes) -> None:
    with running("auth", spelling) as example:
        assert example.ask(b"sesame\nhello\n") == b"Password: " + answer
        assert example.ask(b"sesam\n\nsesame\r\nhello\nhello\n") == b"Password: " * 3 + 2 * answer
        assert example.ask(b"hello\nhello\nhello\nsesame\nhello\n") == b"Password: " * 3 + b"Goodbye.\n"
        assert example.ask(b"sesame") == b"Password: "
        with example.connect() as client:
            for word in b"guess\n", b"sesame\n":
                assert read_until(client, b" ") == b"Password: "
                client.sendall(word)
            for _ in range(2):
                client.sendall(b"hello\n")
                assert read_until(client, b"\n") == answer


# What the examples showed of the machinery


class Paired(StreamHandler):
    """Takes its partner with it, however it ends."""

    partner: "Paired"
    finished = 0

    def handle(self):  # type: ignore[no-untyped-def]
        return Some(), lambda data: None

    def finish(self) -> None:
        self.finished += 1
        if self.finished > 1:
            raise AssertionError("finish() is called once")
        self.partner.close()


@pytest.mark.parametrize("end", [lambda machine: machine.feed(b"x"), StreamMachine.end, StreamMachine.close])
def test_two_rows_that_end_each_other_end_once(end) -> None:  # type: ignore[no-untyped-def]
    one, other = Paired(), Paired()
    one.partner, other.partner = other, one
    machines = StreamMachine(one), StreamMachine(other)
    for machine in machines:
        machine.advance()
    end(machines[0])
    assert [machine.finished for machine in machines] == [True, True]
    assert (one.finished, other.finished) == (1, 1)


class Announced(StreamHandler):
    """A length, and so many bytes."""

    async def handle(self) -> None:
        length = await Until(b":", limit=7)
        await Exactly(int(length[:-1]))


class Nested(Announced):
    """The same, one call further down."""

    async def handle(self) -> None:
        await self.inner()

    async def inner(self) -> None:
        await Announced.handle(self)


@pytest.mark.parametrize("kind", [Announced, Nested])
def test_an_end_between_a_length_and_its_bytes_is_a_cause(kind: type[StreamHandler]) -> None:
    machine = StreamMachine(kind())
    machine.feed(b"5:")
    machine.end()
    assert isinstance(machine.reason, EndOfStream)


class Interrupting(socket.socket):
    """A connection on which the user interrupts the process just as something has been sent."""

    interrupted = False

    def send(self, data, flags=0):  # type: ignore[no-untyped-def]
        count = super().send(data, flags)
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGINT)
        return count


class InterruptedServer(SelectTCPServer):
    def get_request(self):  # type: ignore[no-untyped-def]
        connection, address = super().get_request()
        return Interrupting(fileno=connection.detach()), address


def test_an_interrupt_makes_nothing_be_sent_twice() -> None:
    with (
        InterruptedServer(("127.0.0.1", 0), Echo) as server,
        socket.create_connection(server.server_address, PATIENCE) as client,
    ):
        client.sendall(b"once")
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        server.server_close()
        assert read_all(client) == b"once"


def test_a_service_behind_a_mix_in_does_not_go_back_to_the_mix_in() -> None:
    password = runpy.run_path(str(ROOT / "examples" / "auth.py"))["Password"]
    machine = StreamMachine(type("SecretDiscard", (password, Discard), {})())
    machine.feed(b"sesame\nthrown away")
    assert machine.read() == b"Password: "
