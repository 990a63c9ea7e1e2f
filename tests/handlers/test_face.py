"""What a blocking handler has for a socket: honoured as by a socket, or refused, in select mode and behind filters."""

import io
import os
import select
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    BaseRequestHandler,
    Cancelled,
    StreamMachine,
    StreamRequestHandler,
    ToEnd,
    World,
)
from handlers.blocking import face as module
from handlers.blocking.buffered import buffered
from handlers.blocking.face import Face, Passive
from handlers.filter import Filter
from handlers.wait import LIMIT
from tests.handlers.rows import Deflated, Framed, Greeting, Header, Identity, Piped, Splitting, Xor, decoded, encoded
from tests.support.strategies import converse

PEER = ("192.0.2.7", 4711)


class Server:
    """All that a blocking handler may ask of its server."""

    server_address = ("192.0.2.1", 79)


def over_a_socket(blocking, data, stack=()):
    """What the class says to ``data`` over a real socket; the data is there, and has ended, before the class runs."""
    near, far = socket.socketpair()
    with near, far:
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        near.settimeout(10)
        blocking(far, PEER, Server())
        close(far)
        return b"".join(iter(lambda: near.recv(65_536), b""))


def close(sock):
    """Close it, but read what is left first: that would reset the connection."""
    if sock.fileno() >= 0:
        sock.setblocking(False)
        try:
            while sock.recv(1 << 20):
                pass
        except OSError:
            pass
        sock.close()


def in_select_mode(blocking, data, stack=()):
    """The same over the bytes held."""

    class Whole(blocking):
        request = ToEnd()

    return converse(StreamMachine(buffered(Whole, packets=False)(), World(PEER, Server())), [data])


def behind_filters(blocking, data, stack=(Xor, Framed)):
    """The same over a real socket with filters in front."""
    near, far = socket.socketpair()
    with near, far:
        near.sendall(encoded(stack, data))
        near.shutdown(socket.SHUT_WR)
        near.settimeout(10)
        Piped(far, peer=PEER, server=Server()).serve(blocking, stack)
        close(far)
        return decoded(stack, b"".join(iter(lambda: near.recv(65_536), b"")))


ways = [over_a_socket, in_select_mode, behind_filters]
everywhere = pytest.mark.parametrize("ask", ways)
on_a_face = pytest.mark.parametrize("ask", ways[1:])


def handler(body, base=StreamRequestHandler):
    """A blocking handler class whose ``handle()`` is ``body``."""
    return type("Handler", (base,), {"handle": body})


# The same as a socket


def peek(self):
    self.request.sendall(self.request.recv(1, socket.MSG_PEEK) + b"|" + self.request.recv(99))


def shut_in(self):
    self.request.shutdown(socket.SHUT_RD)
    self.request.sendall(b"bye")


def shut_out(self):
    self.request.sendall(b"bye")
    self.request.shutdown(socket.SHUT_WR)
    try:
        self.request.sendall(b"never sent")
    except BrokenPipeError:
        assert self.request.recv(5) == b"hello"
    else:
        raise AssertionError("it was accepted")


def shut_both(self):
    self.request.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BrokenPipeError):
        self.request.send(b"never sent")


def receive_into(self):
    data = bytearray(9)
    while size := self.request.recv_into(data):
        self.request.sendall(data[:size])


def receive_a_little_into(self):
    data = bytearray(9)
    assert self.request.recv_into(data, 3, socket.MSG_PEEK) == 3
    assert self.request.recv_into(memoryview(data)[3:], 2) == 2
    self.request.sendall(data)


def text(self):
    stream = self.request.makefile("rw", newline="\n", encoding="latin-1")
    assert (stream.encoding, stream.mode) == ("latin-1", "rw")
    stream.write(stream.readline().upper())
    stream.flush()


def both_ways(self):
    with self.request.makefile("rwb") as file:
        file.write(file.readline().upper())


def raw(self):
    file = self.request.makefile("rwb", 0)
    assert (file.readable(), file.writable()) == (True, True)
    file.write(file.read(3))
    file.close()


def lines(self):
    self.wfile.writelines(reversed(self.rfile.readlines()))


def blocking(self):
    self.request.setblocking(True)
    assert self.request.getblocking()
    self.request.sendall(self.rfile.readline())


def timed(self):
    for seconds in 5, 0.5, None:
        self.request.settimeout(seconds)
        assert self.request.gettimeout() == self.request.timeout == seconds
    self.request.sendall(self.rfile.readline())


def send_parts(self):
    assert self.request.sendmsg([b"a", bytearray(b"bc"), memoryview(b"d")]) == 4
    assert self.request.send(memoryview(b"ef")) == 2


def send_a_file(self):
    with open(__file__, "rb") as file:
        assert self.request.sendfile(file, 3, 9) == 9
        assert file.tell() == 12
        assert self.request.sendfile(file, 12) == os.path.getsize(__file__) - 12


def closed(self):
    self.request.sendall(self.rfile.read())
    self.rfile.close()
    self.request.close()
    for call in (
        lambda: self.request.sendall(b"two"), lambda: self.request.recv(1),
        lambda: self.request.shutdown(socket.SHUT_WR),
    ):  # fmt: skip
        with pytest.raises(OSError, match=r"Bad file|has been closed"):
            call()


def closed_but_for_its_files(self):
    self.request.close()
    assert self.rfile.readline() == b"hello\n"


def a_context(self):
    with self.request as connection:
        connection.sendall(self.rfile.read())
        self.rfile.close()
    with pytest.raises(OSError, match=r"Bad file|has been closed"):
        self.request.sendall(b"two")


def nothing(self):
    self.request.sendall(b"")
    assert self.request.recv(0) == b""
    assert self.request.recv(100) == b"hello\nworld\n"
    assert self.request.recv(100) == self.request.recv(100) == b""


def wrong(self):
    file, words = io.BytesIO(b"data"), open(__file__)  # noqa: SIM115  # closed below
    for call, error in (
        (lambda: self.request.recv(-1), ValueError), (lambda: self.request.settimeout(-1), ValueError),
        (lambda: self.request.makefile("x"), ValueError), (lambda: self.request.makefile("r", 0), ValueError),
        (lambda: self.request.shutdown(7), OSError), (lambda: self.request.recv_into(bytearray(1), 2), ValueError),
        (lambda: self.request.sendall("text"), TypeError), (lambda: self.request.sendfile(words), ValueError),
        (lambda: self.request.sendfile(file, 0, -1), ValueError),
    ):  # fmt: skip
        with pytest.raises(error):
            call()
    words.close()


bodies = [
    peek, shut_in, shut_out, shut_both, receive_into, receive_a_little_into, text, both_ways, raw, lines, blocking,
    timed, send_parts, send_a_file, closed, closed_but_for_its_files, a_context, nothing,
]  # fmt: skip


@pytest.mark.parametrize("body", bodies, ids=lambda body: body.__name__)
def test_a_handler_sees_and_says_the_same_as_over_a_socket(body):
    said = over_a_socket(handler(body), b"hello\nworld\n")
    assert in_select_mode(handler(body), b"hello\nworld\n") == said
    assert behind_filters(handler(body), b"hello\nworld\n") == said


calls = st.lists(
    st.one_of(
        st.tuples(st.just("recv"), st.integers(0, 9), st.sampled_from([0, socket.MSG_PEEK])),
        st.tuples(st.just("recv_into"), st.integers(1, 9)),
        st.tuples(st.just("read"), st.integers(0, 9)),
        st.tuples(st.just("readline")),
        st.tuples(st.sampled_from(["send", "sendall", "write"]), st.binary(max_size=9)),
        st.tuples(st.just("shutdown"), st.sampled_from([socket.SHUT_WR])),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(calls, st.binary(max_size=40), st.lists(st.sampled_from([Identity, Xor, Framed, Header, Greeting, Deflated])))
def test_any_calls_have_the_results_that_they_have_on_a_socket(calls, data, stack):
    def body(self):
        file = self.request.makefile("rb", 0)
        for name, *arguments in calls:
            if name == "recv_into":
                arguments = [bytearray(arguments[0])]
            try:
                result = getattr(file if name.startswith("read") else self.request, name, self.wfile.write)(*arguments)
            except OSError as error:
                result = type(error)
            log.append((name, arguments, result))

    said = []
    for ask in ways:
        log = []
        said.append((ask(handler(body), data, stack), log))
    assert said[0] == said[1] == said[2]


@everywhere
def test_what_is_no_call_of_a_socket_is_refused(ask):
    ask(handler(wrong), b"hello\n")


# What a face is not


@on_a_face
@pytest.mark.parametrize("name", ["fileno", "detach", "dup"])
def test_the_descriptor_is_not_given_away(ask, name):
    def body(self):
        with pytest.raises(io.UnsupportedOperation, match=rf"^{name}\(\) is not supported here: .*; {remedy}"):
            getattr(self.request, name)()

    remedy = "the loop has the socket" if ask is in_select_mode else "the bytes of the socket are those in front"
    ask(handler(body), b"")


@on_a_face
def test_a_call_that_the_face_lacks_raises_an_error_with_the_remedy(ask):
    def body(self):
        with pytest.raises(
            AttributeError, match=r"recvmsg: a socket may have this attribute, this connection has not; .* server"
        ):
            self.request.recvmsg(1)
        with pytest.raises(io.UnsupportedOperation):
            select.select([self.request], [], [], 0)

    ask(handler(body), b"")


@on_a_face
def test_flags_and_addresses_that_it_would_ignore_are_refused(ask):
    def body(self):
        for call in (
            lambda: self.request.recv(1, socket.MSG_OOB), lambda: self.request.recv_into(bytearray(1), 1, 0x40),
            lambda: self.request.send(b"a", socket.MSG_OOB), lambda: self.request.sendall(b"a", 1),
            lambda: self.request.sendmsg([b"a"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")]),
            lambda: self.request.sendmsg([b"a"], [], 0, PEER),
        ):  # fmt: skip
            with pytest.raises(io.UnsupportedOperation, match="is not supported here"):
                call()
        assert self.request.recv(9) == b"hello"

    assert ask(handler(body), b"hello") == b""


def test_constants_that_are_compared_by_value_are_those_of_this_system():
    assert module._MSG_PEEK == socket.MSG_PEEK
    assert (module._SHUT_RD, module._SHUT_WR, module._SHUT_RDWR) == (
        socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR,
    )  # fmt: skip
    assert module._TCP_NODELAY == (socket.IPPROTO_TCP, socket.TCP_NODELAY)


# The socket behind it


def test_options_are_those_of_the_socket_if_there_is_one():
    near, far = socket.socketpair()
    with near, far:
        machine = StreamMachine(Passive(None), world := World(PEER, Server()))
        world.socket = far
        face = Face(machine.handler)
        assert face.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == far.type == face.type
        assert (face.family, face.proto) == (far.family, far.proto)
        face.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
        assert face.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == far.getsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF
        )
        assert face.getsockname() == far.getsockname()
        assert face.getpeername() == PEER


def test_where_there_is_no_socket_its_options_are_refused():
    face = Face(StreamMachine(Passive(None), World(PEER, Server())).handler)
    face.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for call in (
        lambda: face.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        lambda: face.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 9),
    ):
        with pytest.raises(io.UnsupportedOperation, match="there is no socket behind this connection"):
            call()
    assert not hasattr(face, "family")
    assert (face.getsockname(), face.getpeername()) == (Server.server_address, PEER)
    assert repr(face) == "<Face of the connection with ('192.0.2.7', 4711)>"


# Behind filters, a call waits


class Client:
    """The other end, behind the same filters."""

    def __init__(self, blocking, stack, act, size=None):
        self.near, far = socket.socketpair()
        self.near.settimeout(10)
        if size is not None:
            for sock, option in (self.near, socket.SO_RCVBUF), (far, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, size)
        thread = threading.Thread(target=act, args=(self.near,))
        with self.near, far:
            thread.start()
            try:
                Piped(far, peer=PEER, server=Server()).serve(blocking, stack)
            finally:
                close(far)
                thread.join()


@pytest.mark.parametrize("stack", [[], [Xor], [Greeting, Splitting], [Header, Framed]], ids=str)
def test_a_call_waits_until_there_is_something(stack):
    def body(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
            log.append(line)

    def act(near):
        wire = encoded(stack, b"one\ntwo\nthree\n")
        for place in range(0, len(wire), 5):
            near.sendall(wire[place : place + 5])
            time.sleep(0.002)
        near.shutdown(socket.SHUT_WR)
        heard.append(decoded(stack, b"".join(iter(lambda: near.recv(99), b""))))

    log, heard = [], []
    Client(handler(body), stack, act)
    assert log == [b"one\n", b"two\n", b"three\n"]
    assert heard == [b"ONE\nTWO\nTHREE\n"]


def test_a_call_waits_no_longer_than_its_timeout():
    def body(self):
        for seconds, error in (0.01, TimeoutError), (0, BlockingIOError):
            self.request.settimeout(seconds)
            with pytest.raises(error):
                self.request.recv(1)
        raw = self.request.makefile("rb", 0)
        assert raw.read(1) is None
        self.request.settimeout(5)
        go.set()
        assert self.request.recv(1) == b"a"
        seen.append("all")

    def act(near):
        go.wait(10)
        near.sendall(Xor.encode(b"a"))

    go, seen = threading.Event(), []
    Client(handler(body), [Xor], act)
    assert seen == ["all"]


@pytest.mark.parametrize("stack", [[Xor], [Xor, Framed]], ids=str)
def test_sendall_waits_until_all_has_left_and_holds_little_meanwhile(stack):
    data = bytes(range(251)) * 8_000

    def body(self):
        self.request.sendall(data)
        row = self.request._handler._machine
        seen.append(row.held_out)

    def act(near):
        heard.append(b"".join(iter(lambda: near.recv(1 << 20), b"")))

    seen, heard = [], []
    Client(handler(body), stack, act)
    assert decoded(stack, heard[0]) == data
    assert seen == [0]


def test_a_peer_that_takes_nothing_is_waited_for_as_long_as_the_timeout_says():
    def body(self):
        self.request.settimeout(0.02)
        with pytest.raises(TimeoutError):
            self.request.sendall(bytes(1 << 20))
        assert self.request._handler._machine.held_out <= 2 * LIMIT
        self.request.settimeout(0)
        with pytest.raises(BlockingIOError):
            self.request.send(b"x")
        assert self.request.makefile("wb", 0).write(b"x") is None
        go.set()
        self.request.settimeout(None)
        self.request.sendall(b"end")

    def act(near):
        go.wait(10)
        heard.append(b"".join(iter(lambda: near.recv(1 << 20), b"")))

    go, heard = threading.Event(), []
    Client(handler(body), [Identity], act, size=4_096)
    assert heard[0].endswith(b"\0end")
    assert len(heard[0]) < 1 << 20


def test_a_socket_that_does_not_block_sends_what_leaves_at_once():
    def body(self):
        self.request.setblocking(False)
        seen.append(self.request.send(b"abc"))
        seen.append(self.request.send(bytes(1 << 20)))

    def act(near):
        heard.append(b"".join(iter(lambda: near.recv(1 << 20), b"")))

    seen, heard = [], []
    Client(handler(body), [Identity], act)
    assert seen == [3, LIMIT]
    assert len(heard[0]) == 3 + LIMIT


def test_little_input_is_held_while_nobody_asks_for_it():
    def body(self):
        assert self.request.recv(1, socket.MSG_PEEK) == b"a"
        self.request._pump(lambda: False, 0.05)
        seen.append(len(self.request._held))
        while data := self.request.recv(1 << 20):
            taken.append(len(data))

    def act(near):
        near.sendall(b"a" * (1 << 20))
        near.shutdown(socket.SHUT_WR)

    seen, taken = [], []
    Client(handler(body), [Identity], act)
    assert LIMIT <= seen[0] <= 2 * LIMIT
    assert sum(taken) == 1 << 20


def test_a_connection_that_breaks_is_told_as_a_socket_tells_it():
    def body(self):
        go.set()
        with pytest.raises(ConnectionResetError):
            self.request.recv(1)
        with pytest.raises(ConnectionResetError):
            self.request.sendall(b"x")
        seen.append("all")

    def act(near):
        go.wait(10)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.close()

    go, seen = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        thread = threading.Thread(target=act, args=(near,))
        thread.start()
        with far:
            Piped(far, peer=PEER, server=Server()).serve(handler(body), [Xor])
        thread.join()
    assert seen == ["all"]


def test_a_request_that_is_ended_from_elsewhere_ends_what_waits():
    class Strict(Filter):
        def received(self, data):
            self.fail(Cancelled("not so"))

    def body(self):
        for call in lambda: self.request.recv(1), lambda: self.request.sendall(b"x"):
            with pytest.raises(ConnectionAbortedError, match="the request has ended: not so"):
                call()
        seen.append("all")

    seen = []
    Client(handler(body, BaseRequestHandler), [Strict], lambda near: near.sendall(b"a"))
    assert seen == ["all"]


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_the_end_of_the_output_is_seen_while_the_handler_is_still_at_work(end):
    def body(self):
        self.request.sendall(b"bye")
        self.rfile.close()
        self.request.shutdown(socket.SHUT_WR) if end == "shutdown" else self.request.close()
        assert seen.wait(10)

    def act(near):
        heard.append(b"".join(iter(lambda: near.recv(99), b"")))
        seen.set()

    seen, heard = threading.Event(), []
    Client(handler(body), [Framed], act)
    assert Framed.decode(heard[0]) == b"bye"


def test_what_a_blocking_handler_raises_is_raised_and_what_it_had_sent_leaves():
    def body(self):
        self.request.sendall(b"so far")
        raise ZeroDivisionError("boom")

    heard = []
    with pytest.raises(ZeroDivisionError):
        Client(handler(body), [Framed], lambda near: None)
    with pytest.raises(ZeroDivisionError):
        Client(handler(body), [Xor], lambda near: heard.append(near.recv(99)))
    assert Xor.decode(heard[0]) == b"so far"


def test_a_connection_whose_filter_does_not_open_has_no_blocking_handler():
    began = []
    Client(handler(began.append), [Greeting], lambda near: near.shutdown(socket.SHUT_WR))
    assert began == []


# After the end


def test_a_face_that_outlives_its_request_takes_no_output():
    def body(self):
        kept.append(self.request)

    for ask in ways[1:]:
        kept = []
        ask(handler(body), b"")
        with pytest.raises(BrokenPipeError):
            kept[0].sendall(b"too late")
