"""Authentication in front of handlers of both spellings, in all four modes, behind TLS and without."""

import http.client
import http.server
import os
import socket
import ssl
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from handlers import Connected, Failed, StreamHandler, Threaded, Until
from handlers.auth import Attempts, Refused
from handlers.auth.basic import Basic
from handlers.auth.challenge import Answer, Challenge
from handlers.auth.unix import UnixPeer
from handlers.filter import Filter
from reactor.tls import TLSMixIn
from tests.support.authentication import DUMMY, KEY, PASSWORD, USERS, Conversation, Lines, Login, behind
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    clients_of,
    connect,
    journal_error,
    receive_lines,
    reset,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
every_kind = pytest.mark.parametrize("kind", [Lines, Conversation])
TCP = STREAMS["tcp"]


def plain(name="ada", password=PASSWORD):
    return b"AUTH PLAIN " + b64encode(f"\0{name}\0{password}".encode()) + b"\r\n"


def ended(server, number=1):
    wait_until(lambda: len(server.reactor.table.closed) >= number)
    return list(server.reactor.table.closed)


@every_mode
@every_kind
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_login_behind_tls_and_a_clean_end_behind_it(mode, kind, version):
    with (
        serving(behind(Login, kind), mode, TCP, TLSMixIn, context=server_context()) as server,
        connect(server) as raw,
        client_context(version).wrap_socket(raw, server_hostname=NAME) as client,
    ):
        offered = b"SCRAM-SHA-256-PLUS " if version.name.endswith("2") else b""
        client.sendall(plain() + b"hello\n")
        with client.makefile("rb") as reader:
            assert reader.readline() == b"* " + offered + b"SCRAM-SHA-256 PLAIN\r\n"
            assert [reader.readline() for _ in range(2)] == [b"+OK\r\n", b"ada: hello\n"]
            client.unwrap()
        [row] = ended(server)
        assert (row["principal"], row["reason"]) == ("ada", "")


@every_mode
@every_kind
def test_an_end_without_tls_between_messages_is_clean_and_any_other_is_a_cause(mode, kind):
    for said, reason in ((b"", ""), (b"hel", "EndOfStream"), (b"hello\n", "")):
        with serving(behind(Opened, kind), mode) as server:
            with connect(server) as client:
                client.sendall(b"the login\n" + said)
                client.shutdown(socket.SHUT_WR)
                assert rest(client) == (b"None: hello\n" if said.endswith(b"\n") else b"")
            [row] = ended(server)
            assert row["reason"].partition(":")[0] == reason


class Opened(StreamHandler):
    """A mix-in with an opening of one line."""

    async def handle(self):
        await Until(b"\n")
        self.opened()
        return super().handle()


class Dialler(StreamHandler):
    """Connects to the server of the test, as ``name`` with ``key``, and passes on a line and its answer."""

    async def handle(self):
        name, key, port, line = (await Until(b"\n")).split()
        client = type("Client", (Answer, Teller), {"name": name.decode(), "key": bytes.fromhex(key.decode())})()
        client.line, client.asker = line, self
        try:
            await Connected(("127.0.0.1", int(port)), client)
        except Failed as failed:
            self.send(f"failed: {failed.error}\n".encode())
        await Until(b"\n")


class Teller(StreamHandler):
    """Sends a line, and tells who has asked for it what the answer is, or why there is none."""

    async def handle(self):
        self.send(self.line + b"\n")
        self.asker.send(f"{self.principal}: ".encode() + await Until(b"\n"))

    def finish(self):
        if self.reason is not None:
            self.asker.send(f"{type(self.reason).__name__}\n".encode())


@every_mode
@every_kind
@pytest.mark.parametrize("key", [KEY, KEY[::-1]], ids=["right", "wrong"])
def test_both_ends_of_a_challenge_in_a_reactor(mode, kind, key):
    with (
        serving(behind(Challenge, kind, store=USERS), mode) as server,
        serving(Dialler, mode) as dialler,
        connect(dialler) as client,
    ):
        client.sendall(f"ada {key.hex()} {server.server_address[1]} hello\n".encode())
        [answer] = receive_lines(client, 1)
        [row] = ended(server)
        if key == KEY:
            assert answer == b"server: ada: hello\n"
            assert (row["principal"], row["reason"]) == ("ada", "")
        else:
            assert answer == b"Refused\n"
            assert row["principal"] is None
            assert row["reason"].startswith("Refused: not authenticated")


@every_mode
@every_kind
def test_the_user_of_a_unix_peer(mode, kind):
    for users, answer in (({os.getuid()}, f"uid={os.getuid()}: hello\n".encode()), ((), b"")):
        with serving(behind(UnixPeer, kind, users=users), mode, STREAMS["unix"]) as server:
            with connect(server) as client:
                if answer:  # what nobody reads would reset the connection
                    client.sendall(b"hello\n")
                    client.shutdown(socket.SHUT_WR)
                assert rest(client) == answer
            [row] = ended(server)
            assert row["reason"].partition(":")[0] == ("" if answer else "Refused")


class Page(http.server.BaseHTTPRequestHandler):
    """A page for whoever has a name."""

    protocol_version = "HTTP/1.1"
    request = Until(b"\r\n\r\n")

    def do_GET(self):
        body = f"{self.principal}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Be silent."""


def page(**members):
    """The page behind HTTP Basic."""
    members = {"store": USERS, "dummy": DUMMY, "attempts": Attempts(), **members}
    return type("BasicPage", (Basic, Page), members)


def get(server, *credentials, path="/"):
    """The status and the body of an answer; for each of the credentials, on one connection."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=PATIENCE)
    connection.sock = sock = connect(server)
    answers = []
    for words in credentials:
        header = {} if words is None else {"Authorization": words}
        connection.request("GET", path, headers=header)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="restricted", charset="UTF-8"'
    with suppress(OSError):  # the server may have closed it
        sock.shutdown(socket.SHUT_RDWR)  # of TCP: a child that was forked meanwhile has a copy of the socket
    connection.close()
    return answers


def basic(name="ada", password=PASSWORD, scheme="Basic"):
    return f"{scheme} {b64encode(f'{name}:{password}'.encode()).decode()}"


FALSE = [
    None, "", "Basic", "Basic !", basic(password="wrong"), basic("nobody"), basic("eve"), basic("eve", ""),
    basic(scheme="Digest"), "Basic " + b64encode(b"ada").decode(), "Basic " + b64encode(b"\xff:x").decode(),
]  # fmt: skip


@every_mode
@pytest.mark.parametrize("through", [(), (Filter,)], ids=["bare", "filtered"])
def test_basic_lets_in_who_has_the_password(mode, through):
    with serving(page(), mode, filters=through) as server:
        assert get(server, basic(), path="/a") == [(200, b"ada\n")]
        assert get(server, basic(scheme="basic")) == [(200, b"ada\n")]
        assert [row["principal"] for row in ended(server, 2)] == ["ada", "ada"]


@every_mode
def test_basic_refuses_anybody_else(mode):
    with serving(page(attempts=Attempts(failures=100)), mode) as server:
        for words in FALSE:
            assert get(server, words) == [(401, b"")], words
        assert {row["principal"] for row in ended(server, len(FALSE))} == {None}


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_basic_hashes_once_for_a_connection_and_forgets_who_it_was(mode, journal):
    class Told(dict):
        def get(self, name):
            journal.write(name)
            return super().get(name)

    with serving(page(store=Told(USERS), request=None), mode) as server:  # one object for the connection
        other = basic("bob", "open")
        answers = get(server, basic(), basic(), other, basic(), basic("bob"))
        assert answers == [(200, b"ada\n"), (200, b"ada\n"), (200, b"bob\n"), (200, b"ada\n"), (401, b"")]
        assert journal.lines() == ["ada", "bob", "ada", "bob"]


@every_mode
def test_basic_bounds_the_failures_of_a_peer(mode):
    with serving(page(attempts=Attempts(failures=2, period=3600)), mode) as server:
        answers = [get(server, basic(password=word))[0][0] for word in ("x", PASSWORD, "y", PASSWORD)]
        assert answers == [401, 200, 401, 503]


class Slow(dict):
    """Users whose records come when ``gate`` is open; ``most`` has how many were asked for at once, each time."""

    def __init__(self, users):
        super().__init__(users)
        self.gate = threading.Event()
        self.running = set()
        self.most = []

    def get(self, name):
        self.running.add(threading.get_ident())
        self.most.append(len(self.running))
        self.gate.wait(PATIENCE)
        self.running.discard(threading.get_ident())
        return super().get(name)


def test_basic_computes_few_hashes_at_once_and_does_not_hold_up_the_loop():
    store = Slow(USERS)
    members = {"store": store, "attempts": Attempts(failures=100, at_once=3)}
    for mode in ("select", "thread"):
        store.gate.clear()
        with serving(page(**members), mode) as server, ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(get, server, basic()) for _ in range(12)]
            wait_until(lambda: len(store.running) == 3)
            assert get(server, None) == [(401, b"")]
            store.gate.set()
            assert [answer.result() for answer in answers] == [[(200, b"ada\n")]] * 12
    assert max(store.most) == 3


def test_who_waits_too_long_for_a_hash_is_told_to_come_later():
    with serving(page(attempts=Attempts(at_once=0, patience=0.01)), "thread") as server:
        assert get(server, basic()) == [(503, b"")]


def test_an_error_of_a_handler_that_runs_in_a_thread_is_its_own(journal):
    class Broken(Page):
        work = "thread"

        def do_GET(self):
            raise ZeroDivisionError("boom")

    with serving(Broken, "select", handle_error=journal_error, journal=journal) as server:
        with connect(server) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert rest(client) == b""
        assert journal.wait_for(1) == ["handle_error ZeroDivisionError boom"]


@every_mode
def test_failures_are_counted_over_all_connections_of_a_peer(mode):
    handler = behind(Login, Lines, attempts=Attempts(failures=4, period=3600), max_attempts=2)
    with serving(handler, mode, TCP, TLSMixIn, context=server_context()) as server:

        def attempt(*passwords):
            context = client_context()
            with connect(server) as raw, context.wrap_socket(raw, server_hostname=NAME) as client:
                with client.makefile("rb") as reader:
                    reader.readline()
                    answers = []
                    for password in passwords:
                        client.sendall(plain(password=password))
                        answers.append(reader.readline())
                return answers

        assert attempt(PASSWORD) == [b"+OK\r\n"]
        assert attempt("wrong", PASSWORD) == [b"-NO\r\n", b"+OK\r\n"]
        assert attempt("wrong", "wrong") == [b"-NO\r\n"] * 2
        assert attempt("wrong", PASSWORD) == [b"-NO\r\n", b"-TRY LATER\r\n"]


def test_a_hash_does_not_hold_up_the_loop_and_few_are_made_at_once():
    """Each takes about 0.1 s: meanwhile another connection is served."""
    store = Slow(USERS)
    handler = behind(Login, Lines, store=store, attempts=Attempts(failures=100, at_once=3))
    kind = type("Secured", (handler,), {"secured": "by the test"})
    with serving(kind, "select") as server, clients_of(server, 20) as clients, ThreadPoolExecutor(20) as pool:
        for client in clients:
            client.sendall(plain())
        wait_until(lambda: len(store.running) == 3)
        with connect(server) as other:
            assert receive_lines(other, 1) == [b"* SCRAM-SHA-256 PLAIN\r\n"]
            other.sendall(b"x\r\n")
            assert receive_lines(other, 1) == [b"-ERR\r\n"]
        store.gate.set()
        for lines in pool.map(partial(receive_lines, number=2), clients):
            assert lines[1] == b"+OK\r\n"
        assert max(store.most) == 3


def test_the_log_says_who(caplog):
    caplog.set_level("INFO", "reactor")

    class Known(StreamHandler):
        async def handle(self):
            self.principal = "ada"
            await Until(b"\n")
            await Until(b"\n")

    with serving(Known, "select") as server:
        with connect(server) as client:
            client.sendall(b"one\n")
        [row] = ended(server)
    [record] = caplog.records
    assert record.getMessage().startswith(f"request 1 of 'ada' at {row['peer']} (Known) ended in stage ")
    assert record.row["principal"] == "ada"


def test_a_check_whose_client_has_gone_keeps_its_place_until_its_thread_has_ended():
    """Else clients that reset their connections have many more hashes computed at once."""
    attempts = Attempts(at_once=1, patience=0.1)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow():
        begun.release()
        return go_on.wait(PATIENCE)

    class Checked(StreamHandler):
        async def handle(self):
            try:
                self.send(b"%a" % await attempts.check(self, Threaded(slow)))
            except Refused as refused:
                self.send(refused.why.encode())

    with serving(Checked, "select") as server:
        try:
            client = connect(server)
            assert begun.acquire(timeout=PATIENCE)
            reset(client)
            ended(server)
            with connect(server) as client:
                assert rest(client) == b"too many checks are running"
        finally:
            go_on.set()
        wait_until(lambda: attempts.enter(2e9) is not None)
        attempts.leave(0)
        with connect(server) as client:
            assert rest(client) == b"True"
