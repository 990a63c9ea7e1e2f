"""Paths of Unix sockets: which server has a path, when it is removed, and its mode and owner."""

import errno
import fcntl
import os
import signal
import socket
import stat
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from handlers.services import Echo, EchoDatagram
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    ask,
    connect,
    exchange,
    running,
    server_class,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
UNIX = STREAMS["unix"]
KINDS = {"stream": (UNIX, Echo), "packets": (PACKETS["unix"], EchoDatagram)}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path):
    """A free path for a Unix socket."""
    return str(tmp_path / "socket")


def make(path, kind="stream", mode="select", **members):
    """A server at ``path`` that does not run yet."""
    place, handler = KINDS[kind]
    return server_class(mode, place, **members)(path, handler)


def answers(server):
    """Whether a client of the path is served by this server."""
    with running(server):
        if server.socket_type == socket.SOCK_DGRAM:
            return exchange(server, b"hello") == [b"hello"]
        return ask(server, b"hello") == b"hello"


def left_behind(path, kind=socket.SOCK_STREAM):
    """Make a socket at ``path`` that no process serves."""
    with socket.socket(socket.AF_UNIX, kind) as gone:
        gone.bind(path)
    assert stat.S_ISSOCK(os.lstat(path).st_mode)


# Taking over and removing a path


@every_mode
@every_kind
@pytest.mark.parametrize("before", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_path_without_a_server_is_taken_over(path, kind, mode, before):
    left_behind(path, before)
    with make(path, kind, mode) as server:
        assert answers(server)
    assert not os.path.lexists(path)


@every_kind
@pytest.mark.parametrize("before", ["stream", "packets"])
def test_a_path_that_a_server_serves_is_not_taken_over(path, kind, before, journal):
    accepted = {"verify_request": lambda server, request, address: journal.write("arrival") or True}
    with make(path, before, **accepted) as first:
        with running(first):
            with pytest.raises(OSError, match=f"a server listens there already; .* another path: '{path}'") as refused:
                make(path, kind)
            assert refused.value.errno == errno.EADDRINUSE
        assert journal.lines() == []  # the first server is not disturbed
        assert answers(first)


def test_a_path_that_is_bound_but_not_yet_listening_is_not_taken_over(path):
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(path)
        with pytest.raises(OSError, match="a server listens there already"):
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
def test_a_path_that_is_not_a_socket_is_not_removed(path, kind, thing):
    thing(path)
    before = os.lstat(path)
    with pytest.raises(OSError, match="is not a socket; bind another path, or remove this one") as refused:
        make(path, kind)
    assert (refused.value.errno, refused.value.filename) == (errno.EADDRINUSE, path)
    assert os.path.samestat(os.lstat(path), before)


@every_kind
def test_a_path_with_a_nul_is_refused_and_no_part_of_it_is_bound(path, kind):
    for wrong in f"{path}\0x", os.fsencode(path) + b"\0":
        with pytest.raises(ValueError, match="NUL"):
            make(wrong, kind)
    assert os.listdir(os.path.dirname(path)) == []


@every_kind
def test_only_a_path_that_the_server_made_is_unlinked(path, kind):
    first = make(path, kind)
    os.unlink(path)
    with make(path, kind) as second:
        first.server_close()
        assert answers(second)
    assert not os.path.lexists(path)


@every_kind
@pytest.mark.parametrize("thing", [letter, os.unlink], ids=["file", "nothing"])
def test_a_file_that_replaced_the_path_is_not_removed(path, kind, thing):
    with make(path, kind):
        os.unlink(path)
        if thing is letter:
            letter(path)
    assert os.path.exists(path) == (thing is letter)


def test_a_relative_path_is_unlinked_after_a_change_of_directory(tmp_path, monkeypatch):
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


def test_a_drain_unlinks_the_path_first(path):
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
def test_one_of_many_servers_that_take_over_a_path_at_once_has_it(path, kind):
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


def test_a_locked_directory_is_waited_for_a_bounded_time(path, monkeypatch):
    monkeypatch.setattr("reactor.servers.unix.PATIENCE", 0.02)
    left_behind(path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process keeps its directory locked") as refused:
            make(path)
        assert (refused.value.errno, refused.value.filename) == (errno.EADDRINUSE, path)
        assert os.path.lexists(path)
        fcntl.flock(directory, fcntl.LOCK_UN)
        make(path).server_close()
    finally:
        os.close(directory)


def test_a_child_that_is_forked_meanwhile_keeps_no_directory_locked(path, monkeypatch):
    monkeypatch.setattr("reactor.servers.unix.PATIENCE", 0.02)
    left_behind(path)
    reader, writer = os.pipe()
    children, unlink = [], os.unlink

    def fork_and_unlink(path):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        unlink(path)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", fork_and_unlink)
            make(path).server_close()
        left_behind(path + " of another")
        make(path + " of another").server_close()
    finally:
        os.close(writer)
        os.close(reader)
        assert [os.waitpid(child, 0)[1] for child in children] == [0]


@every_kind
def test_a_path_on_a_file_system_without_locks_is_taken_over(path, kind, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left_behind(path)
    with monkeypatch.context() as lesser:
        lesser.setattr(fcntl, "flock", flock)
        server = make(path, kind)
    with server:
        assert answers(server)


def test_a_directory_that_can_not_be_read_is_reported(path, monkeypatch):
    """Root may read any directory, so the call is made to fail."""
    left_behind(path)

    class Blind(socket.socket):
        def connect_ex(self, address):
            return errno.EACCES

    monkeypatch.setattr(socket, "socket", Blind)
    with pytest.raises(PermissionError) as refused:
        make(path)
    assert refused.value.filename == path
    assert os.path.lexists(path)


# Mode and owner


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
def test_the_path_has_the_mode_that_was_asked_for(path, kind, mask, mode):
    with umask(mask):
        with make(path, kind, socket_mode=mode):
            assert stat.S_IMODE(os.lstat(path).st_mode) == mode
        assert os.umask(mask) == mask


@every_kind
def test_the_path_has_the_mode_of_the_umask_by_default(path, kind):
    with umask(0o027), make(path, kind):
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o750


@every_kind
@pytest.mark.parametrize("linux", [True, False])
def test_no_client_can_connect_before_mode_and_owner_are_set(path, kind, linux, monkeypatch):
    """The mode is looked at after the bind, before each step that sets owner or mode."""
    monkeypatch.setattr("reactor.servers.unix.LINUX", linux)
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


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a path to another user (chown(2))")
@every_kind
def test_the_path_has_the_owner_that_was_asked_for(path, kind):
    with make(path, kind, socket_mode=0o660, socket_owner=(12_345, -1)):
        status = os.lstat(path)
        assert (status.st_uid, status.st_gid) == (12_345, os.getgid())


@every_kind
def test_a_mode_or_owner_that_can_not_be_set_is_an_error_and_leaves_no_path(path, kind):
    with pytest.raises(ValueError, match="socket_owner needs a socket_mode"):
        make(path, kind, socket_owner=(0, 0))
    with pytest.raises(ValueError, match="no path, so it can't have a socket_mode"):
        make("\0" + path, kind, socket_mode=0o600)
    with pytest.raises(OverflowError):
        make(path, kind, socket_mode=0o600, socket_owner=(1 << 40, 0))
    assert not os.path.lexists(path)


# A socket that other processes have too


def worker(serve):
    """A child that calls ``serve()`` until it is killed; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(int(PATIENCE) * 3)
            serve()
        finally:
            os._exit(1)
    return pid


def killed(pid):
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[0] == pid


@pytest.mark.parametrize("mode", MODES)
@every_kind
def test_a_path_stays_while_forked_workers_serve_there(path, kind, mode):
    with make(path, kind, mode) as server:
        pids = [worker(server.serve_forever) for _ in range(2)]
    try:
        assert reached(path, kind)
        assert killed(pids.pop())
        assert reached(path, kind)
        server.server_close()  # looks again, and changes nothing
        assert reached(path, kind)
    finally:
        for pid in pids:
            killed(pid)
    wait_until(lambda: server.server_close() or not os.path.lexists(path))  # a worker's own child ends after it


@every_kind
def test_a_path_stays_while_a_program_has_the_descriptor(path, kind):
    with make(path, kind) as server:
        other = server.socket.dup()
    with other:
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
        with pytest.raises(OSError, match="already"):
            make(path, kind)
    with make(path, kind) as server:  # takes over what was left behind
        assert answers(server)
    assert not os.path.lexists(path)


def test_a_path_in_a_directory_that_can_not_be_read_is_removed(path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    server = make(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        server.server_close()
    assert not os.path.lexists(path)


@every_kind
def test_a_path_that_is_too_long_to_connect_to_from_elsewhere_is_removed(kind, tmp_path, monkeypatch):
    """A short name in a deep directory can be bound; the path from the root is longer than an address may be."""
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    monkeypatch.chdir(deep)
    with make("socket", kind):
        assert stat.S_ISSOCK(os.lstat(deep / "socket").st_mode)
    assert not os.path.lexists(deep / "socket")


def reached(path, kind):
    """Whether a client of the path is served."""
    packets = kind == "packets"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if packets else socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        if packets:
            client.bind(path + ".client")
        try:
            client.connect(path)
            client.sendall(b"hello")
            return client.recv(9) == b"hello"
        finally:
            if packets:
                os.unlink(path + ".client")
