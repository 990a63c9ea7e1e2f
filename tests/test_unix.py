"""Unix sockets: whose the path is, who may connect, who the peer is, and descriptors that are passed.

In every mode, with the real kernel.
"""

import errno
import fcntl
import os
import resource
import socket
import stat
import sys
import threading
from contextlib import closing, contextmanager, suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    BaseRequestHandler,
    Connected,
    Delay,
    Exactly,
    Forked,
    Some,
    StreamHandler,
    StreamMachine,
    Until,
    World,
)
from handlers.services import Echo, EchoDatagram
from reactor.ancillary import credentials
from tests.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    ask,
    connect,
    exchange,
    journal_error,
    made,
    receive,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so is every test here
every_mode = pytest.mark.parametrize("mode", MODES)
UNIX = STREAMS["unix"]
KINDS = {"stream": (UNIX, Echo), "packets": (PACKETS["unix"], EchoDatagram)}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "socket")


def make(path, kind="stream", mode="select", **members):
    """A server at ``path`` that nobody runs yet."""
    place, handler = KINDS[kind]
    return server_class(mode, place, **members)(path, handler)


def answers(server):
    """Whether who connects to the path is served by this server."""
    with running(server):
        if server.socket_type == socket.SOCK_DGRAM:
            return exchange(server, b"hello") == [b"hello"]
        return ask(server, b"hello") == b"hello"


def left_behind(path, kind=socket.SOCK_STREAM):
    """A path that a server has left behind."""
    with socket.socket(socket.AF_UNIX, kind) as gone:
        gone.bind(path)
    assert stat.S_ISSOCK(os.lstat(path).st_mode)


# Whose the path is


@every_mode
@every_kind
@pytest.mark.parametrize("before", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_path_that_nobody_serves_is_taken_over(path, kind, mode, before):
    left_behind(path, before)
    with make(path, kind, mode) as server:
        assert answers(server)
    assert not os.path.lexists(path)


@every_kind
@pytest.mark.parametrize("before", ["stream", "packets"])
def test_a_path_that_somebody_serves_is_his(path, kind, before, journal):
    accepted = {"verify_request": lambda server, request, address: journal.write("arrival") or True}
    with make(path, before, **accepted) as first:
        with running(first):
            with pytest.raises(OSError, match=f"a server is there already; .* another path: '{path}'") as refused:
                make(path, kind)
            assert refused.value.errno == errno.EADDRINUSE
        assert journal.lines() == []  # he has not even noticed
        assert answers(first)


def test_a_path_that_is_bound_and_not_yet_listened_at_is_his(path):
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(path)
        with pytest.raises(OSError, match="a server is there already"):
            make(path)
        first.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def letter(path):
    with open(path, "w") as file:
        file.write("dear ada")


def link(path):
    left_behind(path + ".there")
    os.symlink(path + ".there", path)


@every_kind
@pytest.mark.parametrize("thing", [letter, os.mkdir, os.mkfifo, link], ids=["file", "directory", "pipe", "link"])
def test_what_is_no_socket_stays(path, kind, thing):
    thing(path)
    before = os.lstat(path)
    with pytest.raises(OSError, match="no socket; bind another path, or remove it yourself") as refused:
        make(path, kind)
    assert (refused.value.errno, refused.value.filename) == (errno.EADDRINUSE, path)
    assert os.path.samestat(os.lstat(path), before)


@every_kind
def test_only_what_the_server_has_made_is_unlinked(path, kind):
    first = make(path, kind)
    os.unlink(path)
    with make(path, kind) as second:
        first.server_close()
        assert answers(second)
    assert not os.path.lexists(path)


@every_kind
@pytest.mark.parametrize("thing", [letter, os.unlink], ids=["file", "nothing"])
def test_what_somebody_has_put_in_its_place_stays(path, kind, thing):
    with make(path, kind):
        os.unlink(path)
        if thing is letter:
            letter(path)
    assert os.path.exists(path) == (thing is letter)


def test_a_path_that_was_relative_is_unlinked_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left_behind("socket")
    with make("socket") as server:
        monkeypatch.chdir("/")
    assert server.server_address == "socket"
    assert not os.path.lexists(tmp_path / "socket")


def test_a_path_may_be_bytes(path):
    left_behind(path)
    with make(os.fsencode(path)) as server:
        assert answers(server)
    assert not os.path.lexists(path)


@every_kind
def test_a_child_that_closes_its_copy_of_the_server_leaves_the_path(path, kind):
    with make(path, kind) as server:
        pid = os.fork()
        if not pid:
            try:
                server.server_close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert answers(server)


def test_a_drain_gives_the_path_back_first(path):
    with make(path) as server:
        with running(server), connect(server) as client:
            wait_until(lambda: server.reactor.table)
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        server.drain(0)
        with make(path) as second:
            server.server_close()
            assert answers(second)


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_that_take_a_path_over_at_once_one_has_it(path, kind):
    count = 6
    for _ in range(20):
        left_behind(path)
        servers, refusals, barrier = [], [], threading.Barrier(count)

        def start(servers=servers, refusals=refusals, barrier=barrier):
            barrier.wait(PATIENCE)
            try:
                servers.append(make(path, kind))
            except OSError as error:
                refusals.append(error.errno)

        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert refusals == [errno.EADDRINUSE] * (count - 1)
        with servers[0] as server:
            assert answers(server)


def test_a_directory_that_stays_locked_is_not_waited_for_without_end(path, monkeypatch):
    monkeypatch.setattr("reactor.unix.PATIENCE", 0.02)
    left_behind(path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="somebody keeps its directory locked") as refused:
            make(path)
        assert (refused.value.errno, refused.value.filename) == (errno.EADDRINUSE, path)
        assert os.path.lexists(path)
        fcntl.flock(directory, fcntl.LOCK_UN)
        make(path).server_close()
    finally:
        os.close(directory)


@every_kind
def test_a_file_system_without_locks_does_without(path, kind, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left_behind(path)
    with monkeypatch.context() as lesser:
        lesser.setattr(fcntl, "flock", flock)
        server = make(path, kind)
    with server:
        assert answers(server)


def test_a_directory_that_can_not_be_looked_into_is_told_of(path, monkeypatch):
    """As root, who may look anywhere, it takes a host that says no."""
    left_behind(path)

    class Blind(socket.socket):
        def connect_ex(self, address):
            return errno.EACCES

    monkeypatch.setattr(socket, "socket", Blind)
    with pytest.raises(PermissionError) as refused:
        make(path)
    assert refused.value.filename == path
    assert os.path.lexists(path)


# Who may connect


@contextmanager
def umask(mode):
    before = os.umask(mode)
    try:
        yield
    finally:
        os.umask(before)


@every_kind
@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0, 0o600, 0o660, 0o666, 0o777])
def test_the_mode_is_what_was_asked_for(path, kind, mask, mode):
    with umask(mask):
        with make(path, kind, socket_mode=mode):
            assert stat.S_IMODE(os.lstat(path).st_mode) == mode
        assert os.umask(mask) == mask


@every_kind
def test_the_mode_is_the_umasks_by_default(path, kind):
    with umask(0o027), make(path, kind):
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o750


@every_kind
@pytest.mark.parametrize("linux", [True, False])
def test_nobody_can_connect_before_the_mode_and_the_owner_are_right(path, kind, linux, monkeypatch):
    """What the path is when it has just been bound, and at each step from there."""
    monkeypatch.setattr("reactor.unix.LINUX", linux)
    seen = []

    def looking(call, *arguments, **keywords):
        seen.append(stat.S_IMODE(os.lstat(path).st_mode))
        return call(*arguments, **keywords)

    for name in "chown", "chmod":
        monkeypatch.setattr(os, name, partial(looking, getattr(os, name)))
    own = os.getuid(), os.getgid()
    with umask(0), make(path, kind, socket_mode=0o660, socket_owner=own) as server:
        assert seen == [0, 0]
        assert answers(server)
        assert os.umask(0) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives things away")
@every_kind
def test_the_owner_is_who_was_asked_for(path, kind):
    with make(path, kind, socket_mode=0o660, socket_owner=(12_345, -1)):
        status = os.lstat(path)
        assert (status.st_uid, status.st_gid) == (12_345, os.getgid())


@every_kind
def test_a_mode_that_can_not_be_had_is_an_error_and_leaves_nothing(path, kind):
    with pytest.raises(ValueError, match="socket_owner needs a socket_mode"):
        make(path, kind, socket_owner=(0, 0))
    with pytest.raises(ValueError, match="no path, so it can't have a socket_mode"):
        make("\0" + path, kind, socket_mode=0o600)
    with pytest.raises(OverflowError):
        make(path, kind, socket_mode=0o600, socket_owner=(1 << 40, 0))
    assert not os.path.lexists(path)


# Who the peer is


class Whoami(StreamHandler):
    async def handle(self):
        self.send(repr(self.credentials).encode())
        await Some()


@every_mode
@pytest.mark.parametrize("place", STREAMS)
def test_a_handler_knows_who_its_peer_is(mode, place):
    is_unix = STREAMS[place].family == socket.AF_UNIX
    expected = repr((os.getpid(), os.getuid(), os.getgid()) if is_unix else None).encode()
    with serving(Whoami, mode, STREAMS[place]) as server:
        assert ask(server, b"x") == expected


class Blocked(BaseRequestHandler):
    def handle(self):
        self.request.recv(1)


@pytest.mark.parametrize(("handler", "mode"), [(Whoami, "select")] + [
    (handler, mode) for handler in (Whoami, Blocked) for mode in MODES if mode != "select"
])  # fmt: skip
def test_the_table_knows_who_the_peers_are_whoever_drives_them(mode, handler):
    own = os.getpid(), os.getuid(), os.getgid()
    with serving(handler, mode, UNIX) as server, connect(server) as client:
        [row] = wait_until(lambda: list(server.reactor.table))
        assert row.credentials == own
        client.close()
        wait_until(lambda: not server.reactor.table)
        assert row.credentials == own


class Finds(StreamHandler):
    """Says who it is that serves upstream."""

    async def handle(self):
        await Connected(self.server.upstream, other := Whoami())
        self.send(repr(other.credentials).encode())


@every_mode
def test_a_handler_knows_whom_it_has_connected_to(mode):
    own = os.getpid(), os.getuid(), os.getgid()
    with (
        serving(Echo, "select", UNIX) as upstream,
        serving(Finds, mode, UNIX, upstream=upstream.server_address) as server,
    ):
        assert ask(server) == repr(own).encode()


def test_a_server_may_refuse_a_peer_for_who_he_is():
    def verify_request(server, request, client_address):
        pid, uid, _ = credentials(request)
        return (pid, uid) != (os.getpid(), os.getuid())

    with serving(Echo, "select", UNIX, verify_request=verify_request) as server, connect(server) as client:
        assert rest(client) == b""


def test_of_who_has_gone_there_is_nothing_to_know():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with theirs:
        assert credentials(ours) == (os.getpid(), os.getuid(), os.getgid())
        ours.close()
        assert credentials(ours) is None


def test_a_world_says_who_the_peer_is():
    machine = StreamMachine(Whoami(), World(credentials=(1, 2, 3)))
    machine.feed(b"x")
    assert machine.read() == b"(1, 2, 3)"


# Descriptors


def pipe_with(data):
    """The reading end of a pipe that holds ``data``."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def content(descriptor):
    """What a pipe holds; it is closed."""
    with open(descriptor, "rb", buffering=0) as file:
        return file.read(1000)  # and not to its end: a child that was forked meanwhile may have it open to write


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
        except FileNotFoundError:  # noqa: PERF203  # that of the listing itself
            pass
    return {name for name in found if name.startswith("pipe:")}


@pytest.fixture
def no_leaks():
    before = pipes()
    yield
    wait_until(lambda: pipes() == before, "the end of all pipes")


class Reads(StreamHandler):
    """Answers with what the descriptor that comes with a line holds."""

    max_descriptors = 3

    async def handle(self):
        while True:
            line = await Until(b"\n")
            self.send(line + content(self.descriptors.pop(0)) + b"\n")


class Opens(StreamHandler):
    """Answers each byte with a descriptor that holds it, and words before and after."""

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
    """Passes descriptors on to another server, and the answer back."""

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
def test_descriptors_are_passed_on_by_a_connection_of_the_handlers_own(mode, no_leaks):
    with (
        serving(Reads, "select", UNIX) as upstream,
        serving(PassesOn, mode, UNIX, upstream=upstream.server_address) as server,
        connect(server) as client,
    ):
        send_with(client, b"over there\n", pipe_with(b"is a pipe"))
        assert rest(client) == b"over there\nis a pipe\n"


@every_mode
@pytest.mark.parametrize("maximum", [0, 2])
def test_descriptors_that_nobody_claims_are_closed(mode, maximum, no_leaks):
    class Ignores(Echo):
        max_descriptors = maximum

    with serving(Ignores, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"hello", pipe_with(b"1"), pipe_with(b"2"))
        assert client.recv(10) == b"hello"


@every_mode
@pytest.mark.parametrize("has_flag", [True, False])
def test_descriptors_that_come_are_closed_on_exec(mode, has_flag, no_leaks, monkeypatch):
    if not has_flag:
        monkeypatch.setattr("reactor.ancillary._CLOEXEC", 0)

    class Inherits(StreamHandler):
        max_descriptors = 2

        async def handle(self):
            await Some()
            self.send(repr([os.get_inheritable(descriptor) for descriptor in self.descriptors]).encode())

    with serving(Inherits, mode, UNIX) as server, connect(server) as client:
        send_with(client, b"x", pipe_with(b""), pipe_with(b""))
        assert rest(client) == b"[False, False]"


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
def test_a_host_that_has_no_room_for_them_ends_the_row_and_that_is_its_reason(mode, no_leaks):
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
    """This process can have no more than it has, and one."""
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
def test_more_descriptors_than_the_bound_end_the_row_of_who_takes_urgent_data_too(mode, no_leaks):
    class Hears(Echo):
        max_descriptors = 1

        def urgent(self, data):
            """Nothing is done."""

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


def test_another_rows_state_may_send_them(no_leaks):
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
def test_descriptors_that_can_not_be_sent_any_more_are_closed(mode, no_leaks):
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


@pytest.mark.parametrize(("place", "maximum"), [("tcp", 1), ("unix", 0)])
def test_where_they_can_not_pass_it_is_an_error_that_says_so(place, maximum, no_leaks):
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


def test_as_many_pass_at_once_as_the_kernel_takes(no_leaks):
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
def test_a_descriptor_that_is_none_ends_the_row_and_the_others_are_closed(mode, no_leaks, journal):
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


def test_descriptors_travel_with_a_byte():
    machine = StreamMachine(Opens(), World())
    with pytest.raises(ValueError, match="a byte at least"):
        machine.handler.send_descriptors(b"", [0])


def test_a_handler_that_passes_them_needs_no_network():
    class Swap(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.send_descriptors(b"here\n", [self.descriptors.pop(0), 9])

    world = World(descriptors=[7])
    machine = StreamMachine(Swap(), world)
    machine.feed(b"swap\n")
    assert (machine.read(), world.passed, world.descriptors) == (b"here\n", [7, 9], [])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=12), st.integers(1, 30))
def test_every_descriptor_arrives_once_and_no_later_than_its_byte(writes, size):
    """Whatever is written in whatever pieces, and however much the peer takes at once."""

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
    """Holds the first descriptor that comes; who brings none is told whether a child of ours has it too."""

    max_descriptors = 1

    async def handle(self):
        await Some()
        if not self.descriptors:
            self.send(b"%d" % await Forked(is_open, self.server.known))
        await Some()


def is_open(pipe):
    return pipe in pipes()


def test_a_child_of_another_row_has_no_copy(no_leaks):
    reader = pipe_with(b"")
    known = os.readlink(f"/proc/self/fd/{reader}")
    with serving(Looks, "select", UNIX, known=known) as server, connect(server) as one, connect(server) as other:
        send_with(one, b"x", reader)
        wait_until(lambda: any(row.total_in for row in server.reactor.table))
        assert is_open(known)
        other.sendall(b"x")
        assert other.recv(9) == b"0"
