"""`examples/nfs_server.py`: any sequence of calls does to its directory what the system calls do to another one.

And any arguments have an answer.
"""

import errno
import os
import shutil
import stat
import tempfile
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from examples.nfs import nfs3
from examples.nfs.errors import STATUSES
from handlers.sunrpc import xdr
from handlers.sunrpc.message import RPCError, read_reply, written
from handlers.sunrpc.record import mark
from tests.support.nfs import OK, Client, error, made, ok, sattr, serving, where
from tests.support.rpc import records

NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff"])
DATA = st.binary(max_size=5)
OFFSETS = st.integers(0, 12)
MODES = st.sampled_from([0o777, 0o700, 0o755])


def snapshot(directory):
    """All that is in a directory, but for what differs between two of them: numbers and times."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        status = path.lstat()
        content = (
            os.readlink(path) if path.is_symlink() else path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        )
        links = None if stat.S_ISDIR(status.st_mode) else status.st_nlink
        found[path.relative_to(directory)] = status.st_mode, links, content
    return found


class Calls(RuleBasedStateMachine):
    """Each rule makes a call of the server, and the system calls that should do the same in a twin of its directory.

    A directory is known by its handle on one side, and by a descriptor on the other.
    """

    directories = Bundle("directories")

    def __init__(self):
        super().__init__()
        self.base = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.served, self.twin = (os.path.join(self.base, name) for name in ("served", "twin"))
        os.mkdir(self.served)
        os.mkdir(self.twin)
        self.umask = os.umask(0)
        self.serving = serving(self.served)
        self.client = Client(self.serving.__enter__().server_address)
        self.descriptors = [os.open(self.twin, os.O_RDONLY)]
        self.root = self.client.root, self.descriptors[0]

    def teardown(self):
        with closing(self.client):
            self.serving.__exit__(None, None, None)
        os.umask(self.umask)
        for descriptor in self.descriptors:
            os.close(descriptor)
        shutil.rmtree(self.base)

    def both(self, result, act):
        """The result of the server is what the system does; returns whether it has succeeded.

        The system finds no name in a directory that is gone, where the handle of that is stale.
        """
        expected = {OK}
        try:
            act()
        except OSError as failure:
            expected = {STATUSES[failure.errno]} | (
                {error("STALE")} if isinstance(failure, FileNotFoundError) else set()
            )
        assert result.status in expected
        return result.status is OK

    @rule(target=directories)
    def the_root(self):
        return self.root

    @rule(target=directories, parent=directories, name=NAMES, mode=MODES)
    def mkdir(self, parent, name, mode):
        result = self.client.mkdir(parent[0], name, sattr(mode=mode))
        if not self.both(result, partial(os.mkdir, name, mode, dir_fd=parent[1])):
            return self.root
        self.descriptors.append(os.open(name, os.O_RDONLY, dir_fd=parent[1]))
        return result.value.obj.value.data, self.descriptors[-1]

    @rule(parent=directories, name=NAMES, guarded=st.booleans(), size=st.none() | OFFSETS)
    def create(self, parent, name, guarded, size):
        mode = nfs3.createmode3.GUARDED if guarded else nfs3.createmode3.UNCHECKED
        result = self.client.create(parent[0], name, sattr(mode=0o644, size=size), mode)

        def act():
            try:
                descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=parent[1])
            except FileExistsError:
                if guarded or not stat.S_ISREG(os.stat(name, dir_fd=parent[1], follow_symlinks=False).st_mode):
                    raise
                descriptor = os.open(name, os.O_RDWR, dir_fd=parent[1])
            if size is not None:
                os.ftruncate(descriptor, size)
            os.close(descriptor)

        self.both(result, act)

    @rule(parent=directories, name=NAMES, data=DATA, offset=OFFSETS)
    def write(self, parent, name, data, offset):
        found = self.client.lookup(parent[0], name)
        if found.status is OK and found.value.obj_attributes.value.type is nfs3.ftype3.NF3REG:
            handle = found.value.object.data
            ok(self.client.write(handle, data, offset))
            descriptor = os.open(name, os.O_RDWR, dir_fd=parent[1])
            os.pwrite(descriptor, data, offset)
            assert ok(self.client.read(handle, offset, 8)).data == os.pread(descriptor, 8, offset)
            os.close(descriptor)

    @rule(parent=directories, name=NAMES, data=NAMES)
    def symlink(self, parent, name, data):
        result = self.client.symlink(parent[0], name, data)
        self.both(result, partial(os.symlink, data, name, dir_fd=parent[1]))

    @rule(parent=directories, name=NAMES)
    def mkfifo(self, parent, name):
        result = self.client.mknod(parent[0], name, nfs3.ftype3.NF3FIFO, sattr(mode=0o600))
        self.both(result, partial(os.mkfifo, name, 0o600, dir_fd=parent[1]))

    @rule(parent=directories, name=NAMES)
    def remove(self, parent, name):
        self.both(self.client.remove(parent[0], name), partial(os.unlink, name, dir_fd=parent[1]))

    @rule(parent=directories, name=NAMES)
    def rmdir(self, parent, name):
        self.both(self.client.rmdir(parent[0], name), partial(os.rmdir, name, dir_fd=parent[1]))

    @rule(source=directories, old=NAMES, to=directories, new=NAMES)
    def rename(self, source, old, to, new):
        def act():
            try:
                os.rename(old, new, src_dir_fd=source[1], dst_dir_fd=to[1])
            except (IsADirectoryError, NotADirectoryError):  # the protocol has one error for both
                raise FileExistsError(errno.EEXIST, "a directory and no directory") from None

        self.both(self.client.rename(source[0], old, to[0], new), act)

    @rule(source=directories, old=NAMES, to=directories, new=NAMES)
    def link(self, source, old, to, new):
        found = self.client.lookup(source[0], old)
        if found.status is OK and found.value.obj_attributes.value.type is not nfs3.ftype3.NF3DIR:
            result = self.client.link(found.value.object.data, to[0], new)
            act = partial(os.link, old, new, src_dir_fd=source[1], dst_dir_fd=to[1], follow_symlinks=False)
            self.both(result, act)

    @rule(parent=directories, name=NAMES, mode=MODES)
    def chmod(self, parent, name, mode):
        found = self.client.lookup(parent[0], name)
        if found.status is OK and found.value.obj_attributes.value.type is not nfs3.ftype3.NF3LNK:
            ok(self.client.setattr(found.value.object.data, sattr(mode=mode)))
            os.chmod(name, mode, dir_fd=parent[1])

    @invariant()
    def both_directories_have_the_same(self):
        assert snapshot(self.served) == snapshot(self.twin)


Calls.TestCase.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
TestCalls = Calls.TestCase


# Any arguments


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as server, closing(Client(server.server_address)) as client:
        yield client


numbers = count()


def calls(client):
    """The encoded arguments of a call of each procedure, by its number, in a directory that no other call knows."""
    directory = made(client.mkdir(client.root, b"%d" % next(numbers)))
    root, file = nfs3.nfs_fh3(directory), nfs3.nfs_fh3(made(client.create(directory, b"file")))
    entry, all_set = where(directory, b"name"), sattr(0o644, 3, os.getuid(), os.getgid(), (1, 2), (3, 4))
    device, verifier = nfs3.mknoddata3(nfs3.ftype3.NF3FIFO, all_set), bytes(8)
    data = {
        1: (file,), 2: (file, all_set, nfs3.sattrguard3(True, nfs3.nfstime3(1, 2))), 3: (entry,), 4: (file, 0x3F),
        5: (file,), 6: (file, 0, 4), 7: (file, 0, 4, nfs3.stable_how.UNSTABLE, b"data"),
        8: (entry, nfs3.createhow3(nfs3.createmode3.UNCHECKED, all_set)), 9: (entry, all_set),
        10: (entry, nfs3.symlinkdata3(all_set, b"data")), 11: (entry, device), 12: (entry,), 13: (entry,),
        14: (entry, where(directory, b"file")), 15: (file, entry), 16: (root, 0, verifier, 4096),
        17: (root, 0, verifier, 4096, 8192), 18: (root,), 19: (root,), 20: (root,), 21: (file, 0, 4),
    }  # fmt: skip
    kinds = {number: nfs3.NFS_V3.procedures[number].arguments[0] for number in data}
    return {number: bytearray(xdr.pack(kinds[number], kinds[number](*fields))) for number, fields in data.items()}


WORDS = st.sampled_from([0, 1, 2, 3, 4, 5, 64, 256, 2**20, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@pytest.mark.slow
@example(6, [(11, 2**31), (12, 0)])
@example(2, [(31, 2**31)])
@given(st.integers(1, 21), st.lists(st.tuples(st.integers(0, 80), WORDS), max_size=4))
@settings(deadline=None)
def test_any_arguments_have_an_answer(client, procedure, changes):
    arguments = calls(client)[procedure]
    for place, word in changes:
        place = place % (len(arguments) // 4) * 4
        arguments[place : place + 4] = word.to_bytes(4, "big")
    client.rpc.socket.sendall(mark(written(7, 100_003, 3, procedure, None, bytes(arguments))))
    received = b""
    while len(received) < 4 or len(received) < 4 + (int.from_bytes(received[:4], "big") & 0x7FFF_FFFF):
        received += client.rpc.socket.recv(1 << 20)
    [reply] = records(received)
    try:
        xdr.unpack(nfs3.NFS_V3.procedures[procedure].result, read_reply(reply))
    except RPCError as refused:
        if refused.status != "GARBAGE_ARGS":
            raise
