"""Urgent (out-of-band) data: at its place in the stream, in every mode, with every selector, and no trouble to others.

The senders are real, and so is the kernel. Where it has no out-of-band data for Unix sockets, those
are left out.
"""

import selectors
import socket
import struct
from contextlib import closing, contextmanager
from selectors import EVENT_READ, EVENT_WRITE

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Cancelled, Connected, Delay, Exactly, Some, StreamHandler, StreamMachine, Until
from reactor import selecting, urgent
from reactor.selecting import EVENT_URGENT
from reactor.stream import READ_SIZE, StreamRow
from tests.serving import MODES, STREAMS, connect, made, receive, reset, rest, running, server_class, serving
from tests.strategies import Logged, cuts
from tests.test_reactor import Clock
from tests.test_stream import SMALL, bench

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")

NAMES = [name for name in ("SelectSelector", "PollSelector", "EpollSelector") if hasattr(selecting, name)]
URGENT = [getattr(selecting, name) for name in NAMES]
PLAIN = [getattr(selectors, name) for name in NAMES]
every_selector = pytest.mark.parametrize("kind", URGENT, ids=NAMES)
every_plain_one = pytest.mark.parametrize("kind", PLAIN, ids=NAMES)


def unix_has_it():
    """Whether Unix sockets have out-of-band data here (Linux 5.15 and later, if it was built so)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            theirs.send(b"x", socket.MSG_OOB)
        except OSError:
            return False
    return True


PLACES = {"tcp": STREAMS["tcp"]} | ({"unix": STREAMS["unix"]} if unix_has_it() else {})
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


class Careless(StreamHandler):
    """Sends all back, and knows nothing of urgent data."""

    def handle(self):
        return Some(), self.some

    def some(self, data):
        self.send(data)
        return self.handle()


class Marked(Careless):
    """The same, and what is urgent in angle brackets, in its place."""

    def urgent(self, data):
        self.send(self.take_held() + b"<%b>" % data)


class Lines(Logged):
    """Keeps a log of lines, and of urgent data with the number of bytes that are held before it."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, line):
        self.log.append(line)
        return self.handle()

    def urgent(self, data):
        self.log.append((data, self.held_in))


class Resting(StreamHandler):
    """Rests for a minute after each line; urgent data tells what is held, and ``!`` ends the rest."""

    async def handle(self):
        while True:
            line = await Until(b"\n")
            try:
                await Delay(60)
            except Cancelled as cause:
                self.send(b"%a" % cause)
            self.send(line)

    def urgent(self, data):
        self.send(b"<%b after %d>" % (data, self.held_in))
        if data == b"!":
            raise Cancelled("woken")


# The machine, by hand


def halves(text):
    """The lines of ``text``, and what is left."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole], rest


streams = st.lists(
    st.tuples(st.text("ab\n", max_size=9).map(str.encode), st.binary(min_size=1, max_size=1)), max_size=5
)
"""Bytes, an urgent one, bytes, an urgent one, and so on."""


@given(streams, st.data())
def test_urgent_data_has_its_place_and_is_not_mixed_in_however_the_rest_is_cut(stream, data):
    machine, model, unfinished = StreamMachine(Lines()), ["setup"], b""
    for ordinary, one in stream:
        for piece in data.draw(cuts(ordinary)):
            machine.feed(piece)
        machine.urgent(one)
        whole, unfinished = halves(unfinished + ordinary)
        model += [*whole, (one, len(unfinished))]
    machine.advance()
    assert machine.handler.log == model
    assert machine.held_in == len(unfinished)


def test_what_comes_just_before_it_is_held_until_the_handler_knows():
    machine = StreamMachine(Lines())
    machine.feed(b"a")
    machine.urgent(b"!", before=b"b\nc\n")
    assert machine.handler.log == ["setup", (b"!", 5), b"ab\n", b"c\n"]


def test_the_handler_may_forget_what_is_held():
    class Forgetful(Lines):
        def urgent(self, data):
            self.log.append(self.take_held())

    machine = StreamMachine(Forgetful())
    machine.feed(b"one\ntw")
    machine.urgent(b"!", before=b"o\nthr")
    machine.urgent(b"!")
    machine.feed(b"four\n")
    assert machine.handler.log == ["setup", b"one\n", b"two\nthr", b"", b"four\n"]


def test_the_handler_may_leave_it_in_the_stream():
    class Inline(Lines):
        def urgent(self, data):
            self.put_back(self.take_held() + data)

    machine = StreamMachine(Inline())
    machine.feed(b"one\ntw")
    machine.urgent(b"o", before=b"-")
    machine.urgent(b"-")
    machine.feed(b"three\n")
    assert machine.handler.log == ["setup", b"one\n", b"tw-o-three\n"]


def test_what_is_put_back_comes_first():
    class Doubling(Lines):
        def urgent(self, data):
            self.put_back(data)

    machine = StreamMachine(Doubling())
    machine.feed(b"one")
    machine.urgent(b"\n", before=b"\n")
    assert machine.handler.log == ["setup", b"\n", b"one\n"]


def test_the_wait_goes_on_and_its_time_too():
    machine = StreamMachine(Lines())
    machine.advance()
    wait, machine.fresh = machine.wait, False
    machine.urgent(b"!")
    assert machine.wait is wait
    assert not machine.fresh


class Stepping(Logged):
    """Urgent data begins another state; the conversation that it interrupts tidies up."""

    step = Exactly(2)

    def handle(self):
        self.talk = self.talking()
        return self.talk

    async def talking(self):
        try:
            self.log.append(await Until(b"\n"))
        finally:
            self.log.append("tidied")

    def urgent(self, data):
        return self.step, self.log.append


def test_a_step_takes_the_place_of_the_wait():
    machine = StreamMachine(Stepping())
    machine.feed(b"a")
    machine.fresh = False
    machine.urgent(b"!")
    assert (machine.wait, machine.fresh) == (Exactly(2), True)
    machine.feed(b"b\n")
    assert machine.handler.log == ["setup", "tidied", b"ab", "finish"]
    assert (machine.finished, machine.reason) == (True, None)


def test_a_step_may_be_satisfied_by_what_is_held():
    machine = StreamMachine(Stepping())
    machine.urgent(b"!", before=b"ab\n")
    assert machine.handler.log == ["setup", "tidied", b"ab", "finish"]


def test_a_step_may_be_satisfied_by_what_the_wait_has_looked_at():
    machine = StreamMachine(Stepping())
    machine.handler.step = Until(b"a")
    machine.feed(b"abc")
    machine.urgent(b"!")
    assert machine.handler.log == ["setup", "tidied", b"a", "finish"]


@pytest.mark.parametrize("kind", [Lines, Stepping])
def test_a_cause_ends_the_wait_like_any_other(kind):
    class Ending(kind):
        def urgent(self, data):
            raise Cancelled("by the peer")

    machine = StreamMachine(Ending())
    machine.urgent(b"!")
    assert machine.finished
    assert str(machine.reason) == "by the peer"
    assert (Cancelled, None) in machine.handler.log


def test_a_conversation_may_go_on_after_the_cause():
    machine = StreamMachine(Resting())
    machine.feed(b"one\ntwo\n")
    machine.urgent(b"!")
    assert machine.read() == b"<! after 4>Cancelled('woken')one\n"
    assert machine.wait == Delay(60)


@pytest.mark.parametrize("odd", [b"ab", (Until(b"\n"),)])
def test_nonsense_ends_the_request_and_says_where(odd):
    class Odd(Lines):
        def urgent(self, data):
            return odd

    machine = StreamMachine(Odd())
    with pytest.raises(TypeError, match=r"Odd\.urgent returned"):
        machine.urgent(b"!")
    assert machine.finished
    assert machine.handler.log == ["setup", "finish"]


@pytest.mark.parametrize("error", [StopIteration, ZeroDivisionError])
def test_what_it_raises_ends_the_request(error):
    class Raising(Lines):
        def urgent(self, data):
            raise error

    machine = StreamMachine(Raising())
    with pytest.raises(error):
        machine.urgent(b"!")
    assert isinstance(machine.reason, error)
    assert machine.handler.log == ["setup", "finish"]


def test_a_request_that_has_ended_hears_nothing():
    machine = StreamMachine(Lines())
    machine.end()
    machine.urgent(b"!", before=b"a\n")
    machine.handler.put_back(b"b\n")
    assert machine.handler.log == ["setup", "finish"]
    assert (machine.held_in, machine.handler.take_held()) == (0, b"")


# The selectors


@contextmanager
def pair(place):
    """Two connected sockets."""
    if place.family == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server((place.host, 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def told(selector):
    """What the selector tells of each descriptor now."""
    return {key.fd: events for key, events in selector.select(0)}


@every_selector
@every_place
@pytest.mark.parametrize("others", [0, EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE])
def test_urgent_is_an_event_until_it_has_been_read_past(kind, place, others):
    with closing(kind()) as selector, pair(place) as (ours, theirs):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        selector.register(ours, EVENT_URGENT | others)
        writable = others & EVENT_WRITE
        assert told(selector).get(ours.fileno(), 0) == writable
        theirs.send(b"ab")
        assert told(selector).get(ours.fileno(), 0) == others
        theirs.send(b"X", socket.MSG_OOB)
        for left in b"abX", b"X":
            assert told(selector)[ours.fileno()] == EVENT_URGENT | others
            assert left.startswith(ours.recv(9))
        assert told(selector).get(ours.fileno(), 0) == writable


@every_selector
@every_place
def test_nobody_is_told_of_it_who_has_not_asked(kind, place):
    with closing(kind()) as selector, pair(place) as (ours, theirs):
        selector.register(ours, EVENT_WRITE)
        theirs.send(b"X", socket.MSG_OOB)
        assert told(selector) == {ours.fileno(): EVENT_WRITE}
        selector.modify(ours, EVENT_URGENT)
        assert told(selector) == {ours.fileno(): EVENT_URGENT}


def quiet(ours, theirs):
    """Nothing has happened."""


def readable(ours, theirs):
    theirs.send(b"x")


def full(ours, theirs):
    try:
        while True:
            ours.send(bytes(65_536))
    except BlockingIOError:
        pass


def half_closed(ours, theirs):
    theirs.shutdown(socket.SHUT_WR)


def hung_up(ours, theirs):
    ours.shutdown(socket.SHUT_WR)
    theirs.close()


def broken(ours, theirs):
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


happenings = [quiet, readable, full, half_closed, hung_up, broken]


@pytest.mark.parametrize(("ours", "theirs"), list(zip(URGENT, PLAIN, strict=True)), ids=NAMES)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("happens", happenings)
def test_of_the_other_events_they_tell_what_the_standard_librarys_do(ours, theirs, place, happens):
    with closing(ours()) as here, closing(theirs()) as there, pair(place) as (sock, peer):
        happens(sock, peer)
        for selector in here, there:
            selector.register(sock, EVENT_READ)
        for events in EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE:
            for selector in here, there:
                selector.modify(sock, events)
            assert told(here) == told(there)


@every_selector
def test_they_keep_the_contract_of_selectors(kind):
    with closing(kind()) as selector, pair(PLACES["tcp"]) as (ours, theirs):
        assert (dict(selector.get_map()), selector.select(0)) == ({}, [])
        key = selector.register(ours, EVENT_READ, "data")
        assert key == (ours, ours.fileno(), EVENT_READ, "data")
        assert selector.get_key(ours.fileno()) == selector.get_map()[ours] == key
        assert (len(selector.get_map()), list(selector.get_map())) == (1, [ours.fileno()])
        assert theirs not in selector.get_map()
        with pytest.raises(KeyError, match="registered already"):
            selector.register(ours.fileno(), EVENT_READ)
        for call in selector.modify, selector.register:
            for events in 0, 8, EVENT_READ | 8:
                with pytest.raises(ValueError, match="EVENT_URGENT"):
                    call(ours, events)
        for call in lambda: selector.unregister(theirs), lambda: selector.modify(theirs, EVENT_READ):
            with pytest.raises(KeyError):
                call()
        with pytest.raises(ValueError, match="no descriptor"):
            selector.register(-1, EVENT_READ)
        assert selector.modify(ours, EVENT_READ, "other") == selector.get_key(ours) == (*key[:3], "other")
        theirs.send(b"x")
        assert selector.select(-1) == [(selector.get_key(ours), EVENT_READ)]
        ours.close()  # which should have been unregistered first
        assert selector.unregister(ours).fd == key.fd
        with pytest.raises(KeyError):
            selector.unregister(ours)
        assert (len(selector.get_map()), selector.select(0)) == (0, [])


@every_selector
def test_a_sleep_takes_its_time_and_no_more(kind):
    with closing(kind()) as selector, pair(PLACES["tcp"]) as (ours, theirs):
        selector.register(ours, EVENT_READ | EVENT_URGENT)
        assert selector.select(0.001) == []
        theirs.send(b"x")
        assert told(selector) == {ours.fileno(): EVENT_READ}
        assert [events for _, events in selector.select()] == [EVENT_READ]


def test_the_default_is_the_hosts_choice_with_a_third_event_where_there_is_one():
    name = selectors.DefaultSelector.__name__
    assert selecting.DefaultSelector is getattr(selecting, name, selectors.DefaultSelector)


# Servers


def said(stream):
    return b"".join(ordinary + b"<%b>" % one for ordinary, one in stream)


STREAM = [(b"ab", b"X"), (b"", b"Y"), (b"\0" * 200_000, b"Z"), (b"c", b"!")]


def send_and_read(client, stream):
    """Send the stream; each urgent byte is answered before the next is sent, so that it is the only one."""
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
def test_in_every_mode_it_comes_in_its_place(mode, place):
    with serving(Marked, mode, place) as server, connect(server) as client:
        assert send_and_read(client, STREAM) == said(STREAM) + b"end"


@every_place
@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_a_handler_that_does_not_care_loses_nothing(mode, place):
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
def test_what_comes_before_the_connection_is_accepted_is_not_lost(mode, place):
    with made(server_class(mode, place), place, Marked) as server, connect(server) as client:
        for one in b"X", b"Y", b"Z":
            client.send(one, socket.MSG_OOB)
        client.sendall(b"end")
        client.shutdown(socket.SHUT_WR)
        with running(server):
            assert rest(client) == b"XY<Z>end"


real = st.lists(st.tuples(st.binary(max_size=9), st.binary(min_size=1, max_size=1), st.binary(max_size=9)), max_size=4)


@pytest.mark.parametrize("kind", URGENT + PLAIN, ids=NAMES + [f"plain {name}" for name in NAMES])
@every_place
def test_with_every_selector_it_comes_in_its_place_whatever_has_not_been_read(kind, place):
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
def test_of_two_that_come_before_the_first_was_read_the_first_is_a_byte_of_the_stream(place):
    with bench(Marked, place) as here:
        client = here.connect()
        for one in b"X", b"Y":
            client.send(one, socket.MSG_OOB)
        assert here.take(client, 4) == b"X<Y>"


@every_selector
@every_place
def test_a_request_that_rests_hears_of_it_at_once(kind, place):
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
def test_with_a_selector_that_has_no_third_event_it_hears_of_it_when_it_reads(kind):
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
def test_it_comes_behind_output_that_the_peer_does_not_take(kind):
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
def test_a_request_that_rests_holds_so_much_and_no_more(place):
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


def test_what_can_not_be_read_yet_is_waited_for_and_does_not_spin():
    """Urgent data may come before bytes that were lost on the way, and is told of although none can be read."""

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
def test_a_peer_that_goes_while_the_request_rests_makes_nobody_spin(kind, end):
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
def test_a_row_whose_handler_does_not_care_is_as_it_was(place):
    with bench(Careless, place) as here:
        client = here.connect()
        assert type(here.row) is StreamRow
        assert here.interest(here.row) == EVENT_READ
        client.send(b"X", socket.MSG_OOB)
        here.rest()
        client.sendall(b"ab")
        assert here.take(client, 2) == b"ab"
        assert here.row.total_in == 2


def test_a_handler_that_raises_ends_its_own_request():
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


def test_a_connection_of_the_handlers_own_has_it_too():
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
def test_where_the_place_can_not_be_told_the_kernel_takes_it_out(monkeypatch, ioctl):
    monkeypatch.setattr(urgent, "ioctl", ioctl)
    with bench(Marked) as here:
        client = here.connect()
        client.sendall(b"ab")
        client.send(b"X", socket.MSG_OOB)
        client.sendall(b"cd")
        assert here.take(client, 4) == b"abcd"
