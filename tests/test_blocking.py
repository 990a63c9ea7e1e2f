"""Blocking handlers over real sockets and over the bytes held; and that every spelling says the same."""

import io
import select
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import (
    BaseRequestHandler,
    DatagramHandler,
    DatagramMachine,
    DatagramRequestHandler,
    EndOfStream,
    Exactly,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    ToEnd,
    Until,
    World,
)
from handlers.buffered import buffered
from tests.strategies import converse, netstrings, pieces

PEER = ("192.0.2.7", 4711)


class Server:
    """All that a blocking handler may ask of its server."""

    server_address = ("192.0.2.1", 79)


def machine_for(blocking, packets=False):
    """The machine that runs the blocking class over the bytes held."""
    kind = DatagramMachine if packets else StreamMachine
    return kind(buffered(blocking, packets)(), World(PEER, Server()))


def ask_held(blocking, data):
    """What the class says to ``data`` over the bytes held."""
    return converse(machine_for(blocking), [data])


def ask_socket(blocking, data):
    """What the class says to ``data`` over a real socket, all of it there before the class runs."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(10)
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        blocking(far, PEER, Server())
        if far.fileno() >= 0:  # what it has not read would reset the connection
            far.settimeout(10)
            assert len(b"".join(iter(lambda: far.recv(65_536), b""))) <= len(data)
            far.close()
        return b"".join(iter(lambda: near.recv(65_536), b""))


both = pytest.mark.parametrize("ask", [ask_held, ask_socket])


# Every spelling says the same


def written(texts):
    return b"".join(b"%d:%b," % (len(text), text) for text in texts)


def outcome(kind, fed):
    """All that can be seen of a conversation: its output, its log, and how it ended."""
    machine = StreamMachine(kind())
    try:
        output = converse(machine, fed)
    except ValueError:  # a length that is none
        output = machine.read()
    return output, machine.handler.log, machine.finished, type(machine.reason)


in_every_spelling = pytest.mark.parametrize("kind", netstrings)


@in_every_spelling
@given(texts=st.lists(st.binary(max_size=12), max_size=4), data=st.data())
def test_every_spelling_gives_the_same_bytes_however_the_input_was_cut(kind, texts, data):
    fed = data.draw(pieces(st.just(written(texts))))
    expected = written(text[::-1] for text in texts)
    assert outcome(kind, fed) == (expected, ["setup", "finish"], True, type(None))


@in_every_spelling
@given(fed=pieces(st.text("0123:,ax-", max_size=24).map(str.encode)))
def test_every_spelling_ends_the_same_whatever_comes(kind, fed):
    assert outcome(kind, fed) == outcome(netstrings[0], [b"".join(fed)])


class Password:
    """A mix-in as states."""

    def handle(self):
        return Until(b"\n", limit=9), self.check

    def check(self, line):
        self.send(b"hello ")
        return super().handle() if line == b"sesame\n" else None


class Asking:
    """The same mix-in as a coroutine."""

    async def handle(self):
        line = await Until(b"\n", limit=9)
        self.send(b"hello ")
        return super().handle() if line == b"sesame\n" else None


@in_every_spelling
@pytest.mark.parametrize("mixin", [Password, Asking])
@settings(max_examples=20)
@given(data=st.data())
def test_a_mixin_goes_first_in_front_of_every_spelling(mixin, kind, data):
    class Secured(mixin, kind):
        pass

    fed = data.draw(pieces(st.just(b"sesame\n3:abc,")))
    assert outcome(Secured, fed)[0] == b"hello 3:cba,"
    assert outcome(Secured, [b"other\n", *fed]) == (b"hello ", ["setup", "finish"], True, type(None))
    passed = (LimitPassed, b"opensesam")
    assert outcome(Secured, [b"open", *fed]) == (b"", ["setup", passed, "finish"], True, LimitPassed)


REQUEST = Until(b"\r\n", limit=12)


def answer(line):
    return b"no plan for " + line.upper()


class Finger(StreamRequestHandler):
    """One question, one answer: blocking."""

    request = REQUEST

    def handle(self):
        self.wfile.write(answer(self.rfile.read()))


class FingerStates(StreamHandler):
    """The same as states."""

    def handle(self):
        return REQUEST, self.answer

    def answer(self, line):
        self.send(answer(line))


class FingerConversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        self.send(answer(await REQUEST))


@pytest.mark.parametrize("kind", [buffered(Finger, packets=False), FingerStates, FingerConversation])
@given(fed=pieces(st.text("ab\r\n", max_size=20).map(str.encode)))
def test_three_spellings_give_the_same_answer_however_the_question_was_cut(kind, fed):
    machine = StreamMachine(kind())
    output = converse(machine, fed)
    question, found, _ = (data := b"".join(fed)).partition(b"\r\n")
    if found and len(question) <= 10:
        assert (output, machine.reason) == (answer(question + b"\r\n"), None)
    else:
        assert output == b""
        assert type(machine.reason) is (LimitPassed if len(data) >= 12 else EndOfStream if data else type(None))


# One request over the bytes held


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(Exactly(3), b"abc"), (Some(4), b"abcd"), (ToEnd(), b"abcdef"), (Until(b"e"), b"abcde")],
    ids=repr,
)
def test_the_class_runs_when_its_request_is_whole_and_sees_no_more(wait, expected):
    class Whole(StreamRequestHandler):
        request = wait

        def handle(self):
            self.wfile.write(b"got " + self.rfile.read())

    machine = machine_for(Whole)
    assert machine.handler.timeout == StreamHandler.timeout
    assert converse(machine, [b"abcdef"]) == b"got " + expected
    assert (machine.finished, machine.reason) == (True, None)


def test_what_the_handler_is_given():
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
def test_what_the_class_raises_is_raised_and_finish_follows_setup(ask, place):
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


# rfile, wfile and the connection: the same over a socket and over the bytes held


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


def test_without_a_buffer_a_write_has_left_when_it_returns_and_with_one_it_waits():
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
def test_files_that_the_handler_makes_itself(ask):
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


@pytest.mark.parametrize("mode", ["r", "w", "rw", "rwb", "", "x"])
def test_a_file_that_the_bytes_held_can_not_be_is_refused(mode):
    class Making(StreamRequestHandler):
        request = Exactly(1)

        def handle(self):
            self.connection.makefile(mode)

    with pytest.raises(io.UnsupportedOperation, match=rf"makefile\('{mode}'\) in select mode: only 'rb' and 'wb'"):
        ask_held(Making, b"a")


@pytest.mark.parametrize("what", ["connection", "wfile", "rfile"])
def test_the_descriptor_is_the_loops(what):
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


def test_over_a_socket_the_files_have_its_descriptor():
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
def test_a_packet_is_a_request_and_wfile_the_reply(ask):
    assert ask(Upper, b"abc") == [b"ABC"]
    assert ask(Upper, b"") == [b""]  # as in socketserver: a reply is sent even if it is empty


@both_packets
def test_a_handler_may_send_packets_itself(ask):
    class Several(BaseRequestHandler):
        request = Packet()

        def handle(self):
            packet, sock = self.request
            assert sock.sendto(packet, self.client_address) == 3
            assert sock.sendto(bytearray(packet), 0, self.client_address) == 3

    assert ask(Several, b"abc") == [b"abc", b"abc"]


def test_a_packet_to_somebody_else_is_refused():
    class Elsewhere(BaseRequestHandler):
        request = Packet()

        def handle(self):
            self.request[1].sendto(b"a", ("192.0.2.8", 4711))

    with pytest.raises(io.UnsupportedOperation, match=r"'192\.0\.2\.7', 4711\), who asked, not to \('192\.0\.2\.8"):
        ask_packet_held(Elsewhere, b"a")


def test_a_packet_without_an_address_is_refused():
    class Nowhere(BaseRequestHandler):
        request = Packet()

        def handle(self):
            self.request[1].sendto(b"a")

    for ask in ask_packet_held, ask_packet_socket:
        with pytest.raises(TypeError, match="sendto"):
            ask(Nowhere, b"a")


def test_both_machines_see_a_blocking_handler_as_one_of_their_own():
    assert issubclass(buffered(Finger, packets=False), StreamHandler)
    assert issubclass(buffered(Upper, packets=True), DatagramHandler)


# Refusals


class Silent(StreamRequestHandler):
    """Does not say when its request is whole."""


class Wrong(StreamRequestHandler):
    """Says something that is no wait."""

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
def test_a_class_that_would_block_is_refused_with_the_three_ways_out(blocking, packets, example, kind):
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
            raise AssertionError("never run")

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
def test_whatever_else_a_blocking_handler_returns_is_ignored(returned):
    class Returning(StreamRequestHandler):
        request = Exactly(1)

        def handle(self):
            self.wfile.write(b"done")
            return returned

    assert ask_held(Returning, b"a") == ask_socket(Returning, b"a") == b"done"


def test_what_makes_a_handler_may_stand_for_its_class():
    """``socketserver`` takes any callable; one that says when a request is whole runs in select mode too."""

    def make(request, client_address, server):
        return Finger(request, client_address, server)

    make.request = REQUEST
    assert ask_held(make, b"ada\r\n") == answer(b"ada\r\n")
