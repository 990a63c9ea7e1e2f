"""Descriptors that are passed over Unix sockets: with their bytes, bounded, and none left open."""

import errno
import os
import resource
import socket
import struct
import sys
from contextlib import closing, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import Connected, Delay, Exactly, Forked, Some, StreamHandler, StreamMachine, Threaded, Until, World
from handlers.services import Echo
from reactor.rows import ancillary
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    ask,
    connect,
    journal_error,
    made,
    receive,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
UNIX = STREAMS["unix"]


def pipe_with(data):
    """The reading end of a pipe with ``data`` in it."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def content(descriptor):
    """Read a pipe and close it."""
    with open(descriptor, "rb", buffering=0) as file:
        return file.read(1000)  # not to its end: a child that was forked meanwhile may have it open for writing


def send_with(client, data, *descriptors):
    socket.send_fds(client, [data], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def pipes():
    """The pipes that this process has open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # noqa: PERF203  # the descriptor of the listing itself
            pass
    return {name for name in found if name.startswith("pipe:")}


@pytest.fixture
def no_leaks():
    before = pipes()
    yield
    wait_until(lambda: pipes() == before, "the end of all pipes")


class Reads(StreamHandler):
    """Answers each line with the content of the descriptor that came with it."""

    max_descriptors = 3

    async def handle(self):
        while True:
            line = await Until(b"\n")
            self.send(line + content(self.descriptors.pop(0)) + b"\n")


class Opens(StreamHandler):
    """Answers each byte with a descriptor that has it, between two words."""

    max_descriptors = 3

    async def handle(self):
        while True:
            byte = await Exactly(1)
            self.send(b"here is ")
            self.send_descriptors(byte, [pipe_with(byte)])
            self.send(b".\n")


@every_mode
@pytest.mark.parametrize("place", ["unix", "abstract"])
def test_descriptors_come_with_their_bytes(mode, place, no_leaks):
    with serving(Reads, mode, STREAMS[place]) as server, connect(server) as client:
        for data in b"a", b"b", b"c", b"d", b"e":
            send_with(client, data + b"\n", pipe_with(b"the letter " + data))
        expected = b"".join(b"%c\nthe letter %c\n" % (byte, byte) for byte in b"abcde")
        assert receive(client, len(expected)) == expected


@every_mode
def test_descriptors_leave_with_their_bytes(mode, no_leaks):
    with serving(Opens, mode, UNIX) as server, connect(server) as client:
        client.sendall(b"abc")
        heard, passed = b"", []
        while heard.count(b"\n") < 3:
            data, descriptors, flags, _ = socket.recv_fds(client, 3, 1)
            assert not flags & socket.MSG_CTRUNC
            heard += data
            passed += [(content(descriptor), heard) for descriptor in descriptors]
        assert heard == b"here is a.\nhere is b.\nhere is c.\n"
        for held, before in passed:
            assert held in before
            assert before.count(b"\n") <= b"abc".index(held) + 1
        assert [held for held, _ in passed] == [b"a", b"b", b"c"]


class PassesOn(StreamHandler):
    """Passes descriptors on to another server, and its answer back."""

    max_descriptors = 1

    async def handle(self):
        line = await Until(b"\n")
        other = Asks(self, line, self.descriptors.pop())
        await Connected(self.server.upstream, other)
        while not other.answer:
            await Delay(0.001)
        self.send(other.answer)


class Asks(StreamHandler):
    max_descriptors = 1
    answer = b""

    def __init__(self, asker, line, descriptor):
        self.line, self.descriptor = line, descriptor

    async def handle(self):
        self.send_descriptors(self.line, [self.descriptor])
        self.answer = await Until(b"\n") + await Until(b"\n")


@every_mode
def test_a_connection_that_a_handler_opened_passes_descriptors(mode, no_leaks):
    with (
        serving(Reads, "select", UNIX) as upstream,
        serving(PassesOn, mode, UNIX, upstream=upstream.server_address) as server,
        connect(server) as client,
    ):
        send_with(client, b"over there\n", pipe_with(b"is a pipe"))
        assert rest(client) == b"over there\nis a pipe\n"


@every_mode
def test_descriptors_for_a_handler_that_declares_none_are_refused_or_closed(mode, no_leaks):
    with serving(Echo, mode, UNIX) as server, connect(server) as client:
        pipes_passed = pipe_with(b"1"), pipe_with(b"2")
        try:
            socket.send_fds(client, [b"hello"], pipes_passed)
        except PermissionError:  # by the kernel, from Linux 6.16 on
            client.sendall(b"hello")
        for descriptor in pipes_passed:
            os.close(descriptor)
        assert client.recv(10) == b"hello"


@every_mode
def test_descriptors_for_a_handler_that_declares_none_are_closed_where_the_kernel_can_not_refuse_them(
    mode, no_leaks, monkeypatch
):
    monkeypatch.setattr(ancillary, "SO_PASSRIGHTS", 9999)
    with serving(Echo, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"hello", pipe_with(b"1"), pipe_with(b"2"))
        assert client.recv(10) == b"hello"


def lingering():
    """A connected TCP socket with output that its peer does not take, whose close() waits long for it; and the peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(65_536))
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 2 * int(PATIENCE)))
    return ours, peer


@pytest.mark.parametrize("maximum", [0, 1, 2])
def test_a_descriptor_whose_close_would_block_holds_up_nobody(maximum, monkeypatch):
    monkeypatch.setattr(ancillary, "SO_PASSRIGHTS", 9999)

    class Ignores(Echo):
        max_descriptors = maximum

    ours, theirs = lingering()
    with (
        theirs,
        ours,
        made(server_class("select", UNIX), UNIX, Ignores) as server,
        connect(server) as client,
        connect(server) as other,
    ):
        first = [pipe_with(b"")] if maximum == 1 else []
        send_with(client, b"hello", *first, ours.detach())  # before the server runs: its copy is the last
        client.shutdown(socket.SHUT_WR)
        with running(server):
            rest(client)
            other.sendall(b"x")
            assert other.recv(1) == b"x"


@every_mode
def test_descriptors_that_the_handler_does_not_take_are_closed(mode, no_leaks):
    class Ignores(Echo):
        max_descriptors = 2

    with serving(Ignores, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"hello", pipe_with(b"1"), pipe_with(b"2"))
        assert client.recv(10) == b"hello"


@every_mode
@pytest.mark.parametrize("has_flag", [True, False])
def test_descriptors_that_come_are_closed_on_exec(mode, has_flag, no_leaks, monkeypatch):
    if not has_flag:
        monkeypatch.setattr("reactor.rows.ancillary._CLOEXEC", 0)

    class Inherits(StreamHandler):
        max_descriptors = 2

        async def handle(self):
            await Some()
            self.send(repr([os.get_inheritable(descriptor) for descriptor in self.descriptors]).encode())

    with serving(Inherits, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"x", pipe_with(b""), pipe_with(b""))
        assert rest(client) == b"[False, False]"


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
def test_descriptors_for_which_the_process_has_no_room_end_the_row_with_that_reason(mode, no_leaks):
    class Three(Echo):
        max_descriptors = 3

    with serving(Three, mode, UNIX) as server, connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        passed = [pipe_with(b"") for _ in range(3)]
        with few_descriptors():
            socket.send_fds(client, [b"y"], passed)
            wait_until(lambda: server.reactor.table.closed)
        for descriptor in passed:
            os.close(descriptor)
        [told] = server.reactor.table.closed
        assert told["reason"] == (
            f"Reset: connection lost: [Errno {errno.EMFILE}] the host has no room for all descriptors that have come"
        )


@contextmanager
def few_descriptors():
    """In this context the process can have one more descriptor than it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    held = [first]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, before[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        os.close(held.pop(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
def test_more_descriptors_than_the_bound_end_a_row_with_urgent_data_too(mode, no_leaks):
    class Hears(Echo):
        max_descriptors = 1

        def urgent(self, data):
            """Ignores it."""

    with serving(Hears, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"x", pipe_with(b""), pipe_with(b""))
        wait_until(lambda: server.reactor.table.closed)
        [told] = server.reactor.table.closed
        assert told["reason"] == "LimitPassed: more descriptors come than the 1 of Hears.max_descriptors"


@every_mode
def test_descriptors_that_come_when_the_request_has_ended_are_closed(mode, no_leaks, journal):
    class Brief(StreamHandler):
        max_descriptors = 1

        async def handle(self):
            self.send(await Some())

    members = {"handle_error": journal_error, "journal": journal}
    with made(server_class(mode, UNIX, **members), UNIX, Brief) as server, connect(server) as client:
        for _ in range(3):
            send_with(client, b"x", pipe_with(b""))
        with running(server):
            assert client.recv(9) == b"x"
            wait_until(lambda: not server.reactor.table)
        assert [row["reason"] for row in server.reactor.table.closed] == [""]
    assert journal.lines() == []


@every_mode
@pytest.mark.parametrize("at_once", [True, False])
def test_more_descriptors_than_the_bound_end_the_row(mode, at_once, journal, no_leaks):
    class Two(Echo):
        max_descriptors = 2

        def interrupted(self, cause):
            self.server.journal.write(cause)

    with serving(Two, mode, UNIX, journal=journal) as server, connect(server) as client:
        if at_once:
            send_with(client, b"xyz", *(pipe_with(b"") for _ in range(3)))
        else:
            for byte in b"xyz":
                send_with(client, bytes([byte]), pipe_with(b""))
        assert journal.wait_for(1) == ["more descriptors come than the 2 of Two.max_descriptors"]
        rest(client)
        wait_until(lambda: not server.reactor.table)


def test_more_descriptors_to_be_sent_than_the_bound_end_the_row(no_leaks):
    class Generous(StreamHandler):
        max_descriptors = 2

        async def handle(self):
            await Some()
            for _ in range(3):
                self.send_descriptors(b"x", [pipe_with(b"")])
            await Some()

    with serving(Generous, "select", UNIX) as server, connect(server) as client:
        client.sendall(b"x")
        wait_until(lambda: server.reactor.table.closed)
        [told] = server.reactor.table.closed
        assert told["reason"] == "LimitPassed: more descriptors wait to be sent than the 2 of Generous.max_descriptors"


def test_a_state_of_another_row_may_send_descriptors(no_leaks):
    class Room(Opens):
        async def handle(self):
            self.server.rows.append(self)
            if await Some() == b"give":
                for row in self.server.rows:
                    row.send_descriptors(b"!", [pipe_with(b"gift")])
            await Some()

    for mode in "select", "thread":
        with serving(Room, mode, UNIX, rows=[]) as server, connect(server) as one, connect(server) as other:
            wait_until(lambda server=server: len(server.rows) == 2)
            other.sendall(b"give")
            for client in one, other:
                data, [descriptor], _, _ = socket.recv_fds(client, 9, 1)
                assert (data, content(descriptor)) == (b"!", b"gift")


@every_mode
def test_descriptors_that_can_no_longer_be_sent_are_closed(mode, no_leaks):
    class Late(StreamHandler):
        max_descriptors = 2

        async def handle(self):
            await Some()
            self.send(bytes(1 << 20))
            self.send_descriptors(b"x", [pipe_with(b"")])

    with serving(Late, mode, UNIX) as server:
        with connect(server) as client:
            client.sendall(b"x")
            client.recv(1)
        wait_until(lambda: server.reactor.table.closed)


@pytest.mark.parametrize("call", ["in a state", "in a thread"])
@pytest.mark.parametrize("mode", ["select", "thread"])
def test_descriptors_for_a_request_that_has_ended_are_closed(mode, call, no_leaks):
    class Giving(Opens):
        async def handle(self):
            self.server.rows.append(self)
            if await Some() == b"give":
                self.give() if call == "in a state" else await Threaded(self.give)
                self.send(b"given")

        def give(self):
            self.server.rows[0].send_descriptors(b"!", [pipe_with(b"")])

    with serving(Giving, mode, UNIX, rows=[]) as server:
        with connect(server) as client:
            client.sendall(b"end")
            assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        before = pipes()
        with connect(server) as client:
            client.sendall(b"give")
            assert rest(client) == b"given"
        assert pipes() <= before


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_descriptors_for_a_request_whose_answer_is_still_being_sent_do_no_harm(mode, no_leaks):
    class Giving(Opens):
        async def handle(self):
            self.server.rows.append(self)
            if await Some() == b"give":
                [other] = [row for row in self.server.rows if row is not self]
                for _ in range(self.max_descriptors + 1):
                    other.send_descriptors(b"!", [pipe_with(b"")])
            self.send(bytes(1 << 20))

    with serving(Giving, mode, UNIX, rows=[]) as server, connect(server) as first, connect(server) as second:
        wait_until(lambda: len(server.rows) == 2)
        first.sendall(b"end")
        wait_until(lambda: any(str(row.stage.value) == "draining" for row in server.reactor.table))
        second.sendall(b"give")
        assert (rest(second), rest(first)) == (bytes(1 << 20), bytes(1 << 20))


def test_descriptors_that_a_thread_gives_and_that_pass_max_output_are_closed(no_leaks):
    class Giving(Opens):
        max_output = 10

        async def handle(self):
            await Threaded(self.give)

        def give(self):
            for _ in range(5):
                self.send_descriptors(b"words", [pipe_with(b"")])

    before = pipes()
    with serving(Giving, "select", UNIX) as server, connect(server) as client:
        rest(client)
        wait_until(lambda: server.reactor.table.closed)
        wait_until(lambda: pipes() <= before)  # the thread may still give what is left


@pytest.mark.parametrize(("place", "maximum"), [("tcp", 1), ("unix", 0)])
def test_sending_descriptors_over_other_sockets_is_a_clear_error(place, maximum, no_leaks):
    errors = []

    class Hopeful(StreamHandler):
        max_descriptors = maximum

        async def handle(self):
            assert self.descriptors == []
            with closing(open(pipe_with(b""), "rb")) as file:
                self.send_descriptors(b"x", [file.fileno()])

    def handle_error(server, request, client_address):
        errors.append(str(sys.exc_info()[1]))

    with serving(Hopeful, "select", STREAMS[place], handle_error=handle_error) as server:
        assert ask(server) == b""
    [error] = errors
    assert error.startswith("Hopeful can't pass descriptors here: declare max_descriptors on the class")


def test_one_call_passes_as_many_descriptors_as_the_kernel_takes(no_leaks):
    class Many(StreamHandler):
        max_descriptors = 1000

        async def handle(self):
            await Some()
            with pytest.raises(ValueError, match="254 descriptors are more than the 253 that pass at once"):
                self.send_descriptors(b"x", range(254))
            self.send_descriptors(b"x", [os.dup(0) for _ in range(253)])

    with serving(Many, "select", UNIX) as server, connect(server) as client:
        client.sendall(b"x")
        data, descriptors, flags, _ = socket.recv_fds(client, 9, 300)
        for descriptor in descriptors:
            os.close(descriptor)
        assert (data, len(descriptors), flags & socket.MSG_CTRUNC) == (b"x", 253, 0)
        assert client.recv(9) == b""


@every_mode
def test_an_invalid_descriptor_ends_the_row_and_the_others_are_closed(mode, no_leaks, journal):
    class Careless(StreamHandler):
        max_descriptors = 2

        async def handle(self):
            await Some()
            closed = pipe_with(b"")
            os.close(closed)
            self.send_descriptors(b"x", [pipe_with(b""), closed + 1000])
            await Some()

        def interrupted(self, cause):
            self.server.journal.write(cause)

    with serving(Careless, mode, UNIX, journal=journal) as server, connect(server) as client:
        client.sendall(b"x")
        assert journal.wait_for(1) == [f"connection lost: [Errno {errno.EBADF}] Bad file descriptor"]
        assert rest(client) == b""


def test_descriptors_need_at_least_one_byte():
    machine = StreamMachine(Opens(), World())
    with pytest.raises(ValueError, match="at least one byte"):
        machine.handler.send_descriptors(b"", [0])


def test_a_machine_passes_descriptors_without_a_network():
    class Swap(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.send_descriptors(b"here\n", [self.descriptors.pop(0), 9])

    world = World(descriptors=[7])
    machine = StreamMachine(Swap(), world)
    machine.feed(b"swap\n")
    assert (machine.read(), world.passed, world.descriptors) == (b"here\n", [7, 9], [])


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=12), st.integers(1, 30))
def test_every_descriptor_arrives_once_and_no_later_than_its_byte(writes, size):
    """In whatever pieces the output is written, and however much the peer takes at once."""

    class Writes(StreamHandler):
        max_descriptors = 100

        async def handle(self):
            await Some()
            for length, number in writes:
                if number and length:
                    self.send_descriptors(b"x" * length, [pipe_with(b"%d" % len(expected)) for _ in range(number)])
                    expected.extend([position[0]] * number)
                else:
                    self.send(b"x" * length)
                position[0] += length

    expected, position, places = [], [0], []
    with serving(Writes, "select", UNIX) as server, connect(server) as client:
        client.sendall(b"go")
        heard = 0
        while True:
            data, descriptors, flags, _ = socket.recv_fds(client, size, 4)
            assert not flags & socket.MSG_CTRUNC
            for descriptor in descriptors:
                content(descriptor)
                places.append((heard, heard + len(data)))
            heard += len(data)
            if not data:
                break
    assert heard == position[0]
    assert len(places) == len(expected)
    assert all(first <= byte < last for (first, last), byte in zip(places, expected, strict=True))


class Looks(StreamHandler):
    """Holds the first descriptor that comes; answers a request without one whether a child has that one too."""

    max_descriptors = 1

    async def handle(self):
        await Some()
        if not self.descriptors:
            self.send(b"%d" % await Forked(is_open, self.server.known))
        await Some()


def is_open(pipe):
    return pipe in pipes()


def test_a_child_of_another_row_has_no_copy_of_a_received_descriptor(no_leaks):
    reader = pipe_with(b"")
    known = os.readlink(f"/proc/self/fd/{reader}")
    with serving(Looks, "select", UNIX, known=known) as server, connect(server) as one, connect(server) as other:
        send_with(one, b"x", reader)
        wait_until(lambda: any(row.total_in for row in server.reactor.table))
        assert is_open(known)
        other.sendall(b"x")
        assert other.recv(9) == b"0"
