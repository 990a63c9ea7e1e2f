"""Urgent (out-of-band) data over sockets: at its place in the stream, in every mode, with every selector.

The senders are real, and so is the kernel. Where it has no out-of-band data for Unix sockets, those are left out.
"""

import errno
import socket
from selectors import EVENT_READ, EVENT_WRITE

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reactor.rows.urgent as urgent_module
from handlers import Connected, Some, StreamHandler, Until
from handlers.telnet import TelnetEcho
from reactor import selecting
from reactor.loop.selecting import EVENT_URGENT
from reactor.rows import urgent
from reactor.rows.stream import READ_SIZE, StreamRow
from tests.support.bench import SMALL, bench
from tests.support.errnos import failing
from tests.support.loops import Clock
from tests.support.serving import MODES, connect, made, receive, reset, rest, running, server_class, serving
from tests.support.urgent import NAMES, PLACES, PLAIN, URGENT, Resting, every_place, every_plain_one, every_selector

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")


class Careless(StreamHandler):
    """Sends all input back, and has no `urgent`."""

    def handle(self):
        return Some(), self.some

    def some(self, data):
        self.send(data)
        return self.handle()


class Marked(Careless):
    """The same, with urgent data in angle brackets in its place."""

    def urgent(self, data):
        self.send(self.take_held() + b"<%b>" % data)


def said(stream):
    return b"".join(ordinary + b"<%b>" % one for ordinary, one in stream)


STREAM = [(b"ab", b"X"), (b"", b"Y"), (b"\0" * 200_000, b"Z"), (b"c", b"!")]


def send_and_read(client, stream):
    """Send the stream; each urgent byte is answered before the next is sent, so that only one is unread."""
    answer = b""
    for ordinary, one in stream:
        client.sendall(ordinary)
        client.send(one, socket.MSG_OOB)
        answer += receive(client, len(ordinary) + 3)
    client.sendall(b"end")
    client.shutdown(socket.SHUT_WR)
    return answer + rest(client)


@every_place
@pytest.mark.parametrize("mode", MODES)
def test_urgent_data_comes_in_its_place_in_every_mode(mode, place):
    with serving(Marked, mode, place) as server, connect(server) as client:
        assert send_and_read(client, STREAM) == said(STREAM) + b"end"


@every_place
@pytest.mark.parametrize("mode", MODES)
def test_a_handler_without_urgent_loses_nothing_in_every_mode(mode, place):
    with serving(Careless, mode, place) as server, connect(server) as client:
        for ordinary in b"ab", b"", b"cd":
            client.sendall(ordinary)
            client.send(b"X", socket.MSG_OOB)
            client.sendall(b"ef")
            assert receive(client, len(ordinary) + 2) == ordinary + b"ef"
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b""


@every_place
@pytest.mark.parametrize("mode", MODES)
def test_urgent_data_sent_before_the_connection_is_accepted_is_not_lost(mode, place):
    with made(server_class(mode, place), place, Marked) as server, connect(server) as client:
        for one in b"X", b"Y", b"Z":
            client.send(one, socket.MSG_OOB)
        client.sendall(b"end")
        client.shutdown(socket.SHUT_WR)
        with running(server):
            assert rest(client) == b"XY<Z>end"


real = st.lists(st.tuples(st.binary(max_size=9), st.binary(min_size=1, max_size=1), st.binary(max_size=9)), max_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", URGENT + PLAIN, ids=NAMES + [f"plain {name}" for name in NAMES])
@every_place
def test_urgent_data_comes_in_its_place_with_every_selector_whatever_is_unread(kind, place):
    @settings(max_examples=30)
    @given(real)
    def sent(stream):
        client = here.connect()
        row, before, said = here.row, 0, b""
        for ordinary, one, after in stream:
            client.sendall(ordinary)
            client.send(one, socket.MSG_OOB)
            client.sendall(after)
            before += len(ordinary + one + after)
            here.until(lambda total=before: row.total_in == total)
            said += ordinary + b"<%b>" % one + after
        client.shutdown(socket.SHUT_WR)
        assert here.last_words(client) == said

    with bench(Marked, place, selector=kind) as here:
        sent()


@every_place
def test_the_first_of_two_unread_urgent_bytes_becomes_a_byte_of_the_stream(place):
    with bench(Marked, place) as here:
        client = here.connect()
        for one in b"X", b"Y":
            client.send(one, socket.MSG_OOB)
        assert here.take(client, 4) == b"X<Y>"


@every_selector
@every_place
def test_a_request_that_does_not_read_gets_urgent_data_at_once(kind, place):
    clock = Clock()
    with bench(Resting, place, selector=kind, clock=clock) as here:
        client = here.connect()
        client.sendall(b"one\n")
        here.rest()
        assert here.interest(here.row) == EVENT_URGENT
        client.sendall(b"two\n")
        here.rest()
        assert here.row.total_in == 4
        client.send(b"?", socket.MSG_OOB)
        assert here.take(client, 11) == b"<? after 4>"
        client.send(b"!", socket.MSG_OOB)
        answer = b"<! after 4>Cancelled('woken')one\n"
        assert here.take(client, len(answer)) == answer
        here.rest()
        assert here.row.as_dict()["deadline"] == 60
        clock.seconds += 60
        assert here.take(client, 4) == b"two\n"
        here.rest()
        assert here.interest(here.row) == EVENT_READ


@every_plain_one
def test_with_a_selector_without_urgent_events_it_comes_with_the_next_read(kind):
    clock = Clock()
    with bench(Resting, selector=kind, clock=clock) as here:
        client = here.connect()
        client.sendall(b"one\n")
        here.rest()
        client.sendall(b"two")
        client.send(b"?", socket.MSG_OOB)
        here.rest()
        assert (here.interest(here.row), here.row.total_out) == (0, 0)
        clock.seconds += 60
        assert here.take(client, 15) == b"one\n<? after 3>"


@every_selector
def test_urgent_data_comes_while_the_peer_does_not_take_output(kind):
    class Stuck(StreamHandler):
        heard = b""
        max_output = 1 << 30

        def handle(self):
            self.send(bytes(10_000_000))
            return Some(), self.some

        def some(self, data):
            return None

        def urgent(self, data):
            Stuck.heard += data

    with bench(Stuck, sndbuf=SMALL, selector=kind) as here:
        client = here.connect(SMALL)
        assert here.interest(here.row) == EVENT_WRITE | EVENT_URGENT
        client.send(b"X", socket.MSG_OOB)
        here.until(lambda: Stuck.heard == b"X")
        here.rest()
        assert here.interest(here.row) == EVENT_WRITE | EVENT_URGENT
        assert here.take(client, 10_000_000) == bytes(10_000_000)
        client.sendall(b"end")
        assert here.last_words(client) == b""


@pytest.mark.parametrize("place", [place for name, place in PLACES.items() if name == "unix"])
def test_a_request_that_does_not_read_holds_a_bounded_number_of_bytes(place):
    clock = Clock()
    with bench(Resting, place, clock=clock) as here:
        client = here.connect()
        client.sendall(b"one\n")
        here.rest()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for _ in range(4):
            client.sendall(b"x" * 29_999 + b"\n")
        client.send(b"?", socket.MSG_OOB)
        here.rest()
        assert READ_SIZE <= here.row.held_in < 2 * READ_SIZE
        assert here.interest(here.row) == 0
        assert here.row.total_out == 0
        clock.seconds += 60
        here.rest()
        left = 120_000 - 30_000
        answer = b"one\n<? after %d>" % left
        assert here.take(client, len(answer)) == answer


def test_announced_urgent_data_that_can_not_be_read_yet_is_waited_for_without_spinning():
    """Urgent data may be announced before bytes that were lost on the way have come again."""

    class Hasty(selecting.PollSelector):
        hasty = True

        def select(self, timeout=None):
            asked = [(key, EVENT_URGENT) for key in self.get_map().values() if key.events & EVENT_URGENT]
            return asked if self.hasty and asked else super().select(timeout)

    with bench(Resting, selector=Hasty) as here:
        client = here.connect()
        client.sendall(b"one\n")
        here.rest()
        assert here.interest(here.row) == EVENT_READ
        here.selector.hasty = False
        client.sendall(b"two")
        client.send(b"?", socket.MSG_OOB)
        assert here.take(client, 11) == b"<? after 3>"
        here.rest()
        assert here.interest(here.row) == EVENT_URGENT


@every_selector
@pytest.mark.parametrize("end", [reset, lambda client: client.shutdown(socket.SHUT_WR), socket.socket.close])
def test_a_peer_that_goes_while_the_request_does_not_read_makes_no_spinning(kind, end):
    clock = Clock()
    with bench(Resting, selector=kind, clock=clock) as here:
        client = here.connect()
        client.sendall(b"one\n")
        here.rest()
        client.sendall(b"two\n")
        client.send(b"?", socket.MSG_OOB)
        end(client)
        here.rest()
        for _ in range(3):
            clock.seconds += 60
            here.rest()
        assert list(here.table) == []


@every_place
def test_a_row_whose_handler_has_no_urgent_is_a_plain_stream_row(place):
    with bench(Careless, place) as here:
        client = here.connect()
        assert type(here.row) is StreamRow
        assert here.interest(here.row) == EVENT_READ
        client.send(b"X", socket.MSG_OOB)
        here.rest()
        client.sendall(b"ab")
        assert here.take(client, 2) == b"ab"
        assert here.row.total_in == 2


def test_a_socket_that_is_closed_can_not_tell_the_place():
    class Hears(StreamHandler):
        def urgent(self, data):
            """Take it."""

    with socket.socket() as sock:
        assert urgent.hears_urgent(Hears, sock)
        sock.close()
        assert not urgent.hears_urgent(Hears, sock)


def test_a_handler_that_raises_in_urgent_ends_its_own_request():
    class Raising(Careless):
        def urgent(self, data):
            raise ZeroDivisionError(data)

    with bench(Raising) as here:
        client, other = here.connect(), here.connect()
        client.send(b"X", socket.MSG_OOB)
        assert here.last_words(client) == b""
        assert [type(error) for error in here.errors] == [ZeroDivisionError]
        other.sendall(b"ab")
        assert here.take(other, 2) == b"ab"


def test_a_connection_that_a_handler_opens_gets_urgent_data_too():
    class Outer(StreamHandler):
        async def handle(self):
            inner = Inner()
            inner.outer = self
            await Connected(self.server.elsewhere, inner)
            await Until(b"\n")

    class Inner(Careless):
        def urgent(self, data):
            self.outer.send(b"<%b after %b>" % (data, self.take_held()))

    with bench(Outer) as here, socket.create_server(("127.0.0.1", 0)) as listener:
        here.server.elsewhere = listener.getsockname()
        client = here.connect()
        here.until(lambda: len(here.table) == 2)
        other, _ = listener.accept()
        with other:
            other.sendall(b"ab")
            other.send(b"X", socket.MSG_OOB)
            here.take(other, 0)
            assert here.take(client, 12) == b"<X after ab>"


def refuse(*arguments):
    raise OSError("there is no such request")


@pytest.mark.parametrize("ioctl", [None, refuse])
def test_where_the_mark_can_not_be_asked_for_urgent_data_is_dropped(monkeypatch, ioctl):
    monkeypatch.setattr(urgent, "ioctl", ioctl)
    with bench(Marked) as here:
        client = here.connect()
        client.sendall(b"ab")
        client.send(b"X", socket.MSG_OOB)
        client.sendall(b"cd")
        assert here.take(client, 4) == b"abcd"


def test_a_connection_that_breaks_while_its_handler_takes_urgent_data_ends_with_reset():
    with bench(TelnetEcho) as here:
        client = here.connect()
        client.sendall(b"half a line")
        here.rest()
        here.clients.remove(client)
        reset(client)
        here.rest()
        assert here.table.closed[-1]["reason"].startswith("Reset: connection lost: [Errno")


@pytest.mark.parametrize("name", ["EINVAL", "EIO", "ENOTTY"])
def test_an_error_when_asking_for_the_mark_means_that_there_is_none(name, monkeypatch):
    with bench(TelnetEcho) as here:
        client = here.connect()
        monkeypatch.setattr(urgent_module, "ioctl", failing(getattr(errno, name)))
        client.sendall(b"one\n")
        assert here.take(client, 5) == b"one\r\n"


def test_urgent_data_that_recv_does_not_have_yet_comes_later():
    class Lost(socket.socket):
        lost = 1

        def recv(self, size, flags=0):
            if size == 1 and self.lost:
                self.lost -= 1
                failing(errno.EAGAIN)()
            return super().recv(size, flags)

    class Marked(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Some())

        def urgent(self, data):
            self.send(b"[" + self.take_held() + b"|" + data + b"]")

    with bench(Marked, wrap=Lost) as here:
        client = here.connect()
        client.sendall(b"before")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"after")
        assert here.take(client, 14) == b"before[|!]after"[:14]
