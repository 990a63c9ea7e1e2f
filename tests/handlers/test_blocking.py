"""Blocking handlers, over real sockets and over the bytes held."""

import io
import select
import socket

import pytest

from handlers import (
    BaseRequestHandler,
    DatagramHandler,
    DatagramRequestHandler,
    Exactly,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    ToEnd,
    Until,
)
from handlers.blocking.buffered import buffered
from tests.support.blocking import PEER, REQUEST, Finger, Server, answer, ask_held, ask_socket, both, machine_for
from tests.support.serving import ask, serving
from tests.support.strategies import converse

# One request over the bytes held


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(Exactly(3), b"abc"), (Some(4), b"abcd"), (ToEnd(), b"abcdef"), (Until(b"e"), b"abcde")],
    ids=repr,
)
def test_the_class_runs_when_its_request_is_whole_and_reads_nothing_beyond_it(wait, expected):
    class Whole(StreamRequestHandler):
        request = wait

        def handle(self):
            self.wfile.write(b"got " + self.rfile.read())

    machine = machine_for(Whole)
    assert machine.handler.timeout == StreamHandler.timeout
    assert converse(machine, [b"abcdef"]) == b"got " + expected
    assert (machine.finished, machine.reason) == (True, None)


def test_the_handler_has_its_peer_its_server_and_its_connection():
    class Asking(StreamRequestHandler):
        """Asks."""

        request = Exactly(1)

        def handle(self):
            seen.append((self.client_address, self.connection.getpeername(), type(self.server)))
            seen.append((self.connection.getsockname(), self.request is self.connection))

    seen = []
    ask_held(Asking, b"a")
    assert seen == [(PEER, PEER, Server), (Server.server_address, True)]
    adapted = buffered(Asking, packets=False)
    assert (adapted.__name__, adapted.__doc__, adapted.__module__) == ("Asking", "Asks.", __name__)


@pytest.mark.parametrize("seconds", [2.5, None])
@both
def test_the_timeout_of_the_class_is_that_of_the_connection_and_of_the_row(ask, seconds):
    class Timed(StreamRequestHandler):
        request = Exactly(1)
        timeout = seconds

        def handle(self):
            self.wfile.write(repr(self.connection.gettimeout()).encode())

    assert ask(Timed, b"a") == repr(seconds).encode()
    machine = machine_for(Timed)
    machine.advance()
    assert machine.patience == (300 if seconds is None else seconds)


@pytest.mark.parametrize("place", ["setup", "handle", "finish"])
@both
def test_an_exception_of_the_class_is_raised_and_finish_follows_setup(ask, place):
    class Failing(StreamRequestHandler):
        request = Exactly(1)

        def setup(self):
            log.append("setup")
            self.reach("setup")
            super().setup()

        def handle(self):
            log.append("handle")
            self.reach("handle")

        def finish(self):
            super().finish()
            log.append("finish")
            self.reach("finish")

        def reach(self, here):
            if here == place:
                raise ZeroDivisionError(place)

    log = []
    with pytest.raises(ZeroDivisionError, match=place):
        ask(Failing, b"a")
    assert log == (["setup"] if place == "setup" else ["setup", "handle", "finish"])


# rfile, wfile and the connection, over a socket and over the bytes held


@pytest.mark.parametrize("reading", [-1, 0, 1, 4])
@pytest.mark.parametrize("writing", [-1, 0, 2, 64])
@both
def test_rfile_and_wfile_work_with_any_buffer(ask, reading, writing):
    class Buffered(StreamRequestHandler):
        request = ToEnd()
        rbufsize, wbufsize = reading, writing

        def handle(self):
            for line in iter(self.rfile.readline, b""):
                self.wfile.write(line[::-1])
            self.wfile.write(bytearray(b"!"))
            assert self.wfile.write(memoryview(b"ab")) == 2
            assert self.rfile.read() == b""

    assert ask(Buffered, b"ab\ncd\ne") == b"\nba\ndce!ab"


def test_an_unbuffered_write_is_sent_at_once_and_a_buffered_one_at_the_flush():
    class Writing(StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"abc")
            seen.append(near.recv(10) if self.wbufsize == 0 else select.select([near], [], [], 0)[0])

    seen = []
    for size in 0, -1:
        Writing.wbufsize = size
        near, far = socket.socketpair()
        with near, far:
            near.settimeout(10)
            Writing(far, PEER, Server())
            far.close()
            seen.append(near.recv(10))
    assert seen == [b"abc", b"", [], b"abc"]


@both
def test_makefile_works(ask):
    class Making(StreamRequestHandler):
        request = ToEnd()

        def handle(self):
            with self.connection.makefile("rb", buffering=0) as raw:
                self.wfile.write(raw.read(3))
            with self.connection.makefile("wb") as file:
                file.write(b"[file]")
            self.unbuffered = self.connection.makefile("wb", 0)
            self.unbuffered.write(b"[unbuffered]")
            self.wfile.write(self.rfile.read())

        def finish(self):
            self.unbuffered.close()
            super().finish()

    assert ask(Making, b"abcdef") == b"abc[file][unbuffered]def"


@both
def test_the_connection_can_be_used_as_a_socket(ask):
    class Plain(BaseRequestHandler):
        request = ToEnd()

        def handle(self):
            connection = self.request
            connection.sendall(connection.recv(2))
            assert connection.send(connection.recv(100)) == 4
            connection.sendall(b"<%b>" % connection.recv(100))
            connection.shutdown(socket.SHUT_WR)
            connection.close()

    assert ask(Plain, b"abcdef") == b"abcdef<>"


@pytest.mark.parametrize("mode", ["r", "w", "rw", "rwb", ""])
@both
def test_a_file_may_have_any_mode_that_a_socket_has(ask, mode):
    class Making(StreamRequestHandler):
        request = ToEnd()

        def handle(self):
            with self.connection.makefile(mode) as file:
                data = "read" if "r" not in mode and mode else file.read()
                data = data if isinstance(data, str) else data.decode()
                if "w" in mode:
                    file.write(data.upper().encode() if "b" in mode else data.upper())
                else:
                    self.wfile.write(data.upper().encode())

    assert ask(Making, b"read") == b"READ"


@pytest.mark.parametrize("mode", ["x", "a", "r+"])
@both
def test_a_file_of_another_mode_is_refused(ask, mode):
    class Making(StreamRequestHandler):
        request = Exactly(1)

        def handle(self):
            self.connection.makefile(mode)

    with pytest.raises(ValueError, match="only r, w, b allowed"):
        ask(Making, b"a")


@pytest.mark.parametrize("what", ["connection", "wfile", "rfile"])
def test_over_the_bytes_held_there_is_no_descriptor(what):
    class Number(StreamRequestHandler):
        request = Exactly(1)

        def handle(self):
            getattr(self, what).fileno()

    with pytest.raises(io.UnsupportedOperation):
        ask_held(Number, b"a")


def test_nagles_algorithm_can_be_disabled():
    class Prompt(StreamRequestHandler):
        request = Exactly(1)
        disable_nagle_algorithm = True

        def handle(self):
            if isinstance(self.connection, socket.socket):
                seen.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.wfile.write(self.rfile.read(1))

    seen = []
    assert ask_held(Prompt, b"a") == b"a"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"a")
        served, peer = listener.accept()
        with served:
            Prompt(served, peer, Server())
    assert seen
    assert all(seen)


def test_over_a_socket_the_files_have_the_descriptor_of_the_socket():
    class Number(StreamRequestHandler):
        def handle(self):
            seen.extend((self.connection.fileno(), self.rfile.fileno(), self.wfile.fileno()))

    seen = []
    ask_socket(Number, b"")
    assert seen[0] >= 0
    assert seen == [seen[0]] * 3


# Datagrams


class Upper(DatagramRequestHandler):
    """Answers a packet in upper case."""

    def handle(self):
        assert self.packet == self.request[0]
        self.wfile.write(self.rfile.read().upper())


def ask_packet_held(blocking, packet):
    machine = machine_for(blocking, packets=True)
    assert machine.feed(packet)
    assert machine.finished
    return list(iter(machine.read, None))


def ask_packet_socket(blocking, packet):
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        for sock in near, far:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
        near.sendto(packet, far.getsockname())
        blocking((far.recv(65_536), far), near.getsockname(), Server())
        far.sendto(b"the last", near.getsockname())
        return list(iter(lambda: near.recv(65_536), b"the last"))


both_packets = pytest.mark.parametrize("ask", [ask_packet_held, ask_packet_socket])


@both_packets
def test_a_packet_is_the_request_and_wfile_the_reply(ask):
    assert ask(Upper, b"abc") == [b"ABC"]
    assert ask(Upper, b"") == [b""]  # as in socketserver, a reply is sent even if it is empty


@both_packets
def test_a_handler_may_send_packets_itself(ask):
    class Several(BaseRequestHandler):
        request = Packet()

        def handle(self):
            packet, sock = self.request
            assert sock.sendto(packet, self.client_address) == 3
            assert sock.sendto(bytearray(packet), 0, self.client_address) == 3

    assert ask(Several, b"abc") == [b"abc", b"abc"]


def test_a_packet_to_another_address_is_refused():
    class Elsewhere(BaseRequestHandler):
        request = Packet()

        def handle(self):
            self.request[1].sendto(b"a", ("192.0.2.8", 4711))

    with pytest.raises(io.UnsupportedOperation, match=r"'192\.0\.2\.7', 4711\), not to \('192\.0\.2\.8"):
        ask_packet_held(Elsewhere, b"a")


def test_a_packet_without_an_address_is_refused():
    class Nowhere(BaseRequestHandler):
        request = Packet()

        def handle(self):
            self.request[1].sendto(b"a")

    for ask_packet in ask_packet_held, ask_packet_socket:
        with pytest.raises(TypeError, match="sendto"):
            ask_packet(Nowhere, b"a")


def test_a_buffered_blocking_handler_is_a_handler_of_its_machine():
    assert issubclass(buffered(Finger, packets=False), StreamHandler)
    assert issubclass(buffered(Upper, packets=True), DatagramHandler)


# Refusals


class Silent(StreamRequestHandler):
    """Has no framing."""


class Wrong(StreamRequestHandler):
    """Its framing is not a wait."""

    request = b"\r\n"


@pytest.mark.parametrize(
    ("blocking", "packets", "example", "kind"),
    [
        (Silent, False, r'request = Until(b"\r\n", limit=512)', "StreamHandler"),
        (Wrong, False, r'request = Until(b"\r\n", limit=512)', "StreamHandler"),
        (Upper, False, r'request = Until(b"\r\n", limit=512)', "StreamHandler"),
        (Silent, True, "request = Packet()", "DatagramHandler"),
        (Finger, True, "request = Packet()", "DatagramHandler"),
        (print, True, "request = Packet()", "DatagramHandler"),
    ],
)
def test_a_class_without_a_framing_is_refused_and_the_error_names_three_ways_out(blocking, packets, example, kind):
    with pytest.raises(TypeError) as caught:
        buffered(blocking, packets)
    message = str(caught.value)
    assert message.startswith(f"{blocking.__name__} is a blocking handler")
    assert f"(1) declare on the class when a whole request is here, such as {example}" in message
    assert "(2) take a mode that may block: the Forking, the Threading or the plain server class" in message
    assert f"(3) derive it from {kind} and write it as a state machine" in message


@both
def test_a_step_is_refused_by_a_blocking_handler(ask):
    class Coroutine(StreamRequestHandler):
        request = Exactly(1)

        async def handle(self):
            raise AssertionError("must not be run")

        def finish(self):
            super().finish()
            log.append("finish")

    class Step(Coroutine):
        def handle(self):
            return Exactly(1), self.finish

    for kind in Coroutine, Step:
        log = []
        with pytest.raises(TypeError, match=rf"^{kind.__name__}\.handle\(\) returned a step, .* from StreamHandler"):
            ask(kind, b"a")
        assert log == ["finish"]


@pytest.mark.parametrize("returned", [0, True, "done", (), (1, 2)], ids=repr)
def test_other_results_of_a_blocking_handler_are_ignored(returned):
    class Returning(StreamRequestHandler):
        request = Exactly(1)

        def handle(self):
            self.wfile.write(b"done")
            return returned

    assert ask_held(Returning, b"a") == ask_socket(Returning, b"a") == b"done"


def test_a_callable_that_makes_a_handler_may_replace_its_class():
    """``socketserver`` takes any callable; a callable with a framing runs in select mode too."""

    def make(request, client_address, server):
        return Finger(request, client_address, server)

    make.request = REQUEST
    assert ask_held(make, b"ada\r\n") == answer(b"ada\r\n")


# wfile over a socket


def test_flushing_a_reply_to_a_peer_that_has_gone_is_no_error():
    class Late(StreamRequestHandler):
        wbufsize = 512

        def handle(self):
            self.wfile.write(b"too late")

    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        handler = Late(ours, None, None)
    assert handler.wfile.closed
    assert handler.rfile.closed


def test_wfile_can_be_wrapped_as_text():
    class Text(StreamRequestHandler):
        def handle(self):
            with io.TextIOWrapper(self.wfile, "utf-8", write_through=True) as text:
                text.write("gr\u00fc\u00df dich")

    with serving(Text, "plain") as server:
        assert ask(server).decode() == "gr\u00fc\u00df dich"
