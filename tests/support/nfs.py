"""`examples/nfs_server.py` as a process or in a thread, and a client of it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import parse_qs, urlsplit

from examples.nfs import mount3, nfs3
from examples.nfs.tree import Tree
from examples.nfs_server import Server
from handlers.sunrpc.client import StreamClient
from tests import ROOT

PATIENCE = 30  # seconds; after that a process is taken to hang
KEY = bytes(range(32))
OK = nfs3.nfsstat3.NFS3_OK
SAME = nfs3.sattr3(
    nfs3.set_mode3(False),
    nfs3.set_uid3(False),
    nfs3.set_gid3(False),
    nfs3.set_size3(False),
    nfs3.set_atime(nfs3.time_how.DONT_CHANGE),
    nfs3.set_mtime(nfs3.time_how.DONT_CHANGE),
)
"""Attributes that set nothing."""


def error(name):
    """The status with this name."""
    return nfs3.nfsstat3[f"NFS3ERR_{name}"]


def sattr(mode=None, size=None, uid=None, gid=None, atime=None, mtime=None):
    """Attributes to set. A time is a pair (seconds, nanoseconds), or ``"now"``."""

    def moment(kind, value):
        if value is None:
            return kind(nfs3.time_how.DONT_CHANGE)
        if value == "now":
            return kind(nfs3.time_how.SET_TO_SERVER_TIME)
        return kind(nfs3.time_how.SET_TO_CLIENT_TIME, nfs3.nfstime3(*value))

    return nfs3.sattr3(
        nfs3.set_mode3(mode is not None, mode),
        nfs3.set_uid3(uid is not None, uid),
        nfs3.set_gid3(gid is not None, gid),
        nfs3.set_size3(size is not None, size),
        moment(nfs3.set_atime, atime),
        moment(nfs3.set_mtime, mtime),
    )


class Client:
    """The procedures of NFS by their names in lower case; a handle is bytes, and so is a name.

    Each returns the result as it is: ``status``, and ``value``.
    """

    def __init__(self, address):
        self.rpc = StreamClient(nfs3.NFS_V3, socket.create_connection(address, PATIENCE))
        with StreamClient(mount3.MOUNT_V3, socket.create_connection(address, PATIENCE)) as mounting:
            self.root = mounting.remote.MOUNTPROC3_MNT(b"/export").value.fhandle

    def close(self):
        self.rpc.close()

    def call(self, name, *fields):
        """Call the procedure with the fields of its argument."""
        return self.rpc.call(f"NFSPROC3_{name}", getattr(nfs3, f"{name}3args")(*fields))

    def getattr(self, handle):
        return self.call("GETATTR", nfs3.nfs_fh3(handle))

    def setattr(self, handle, new, guard=None):
        return self.call("SETATTR", nfs3.nfs_fh3(handle), new, nfs3.sattrguard3(guard is not None, guard))

    def lookup(self, directory, name):
        return self.call("LOOKUP", where(directory, name))

    def access(self, handle, bits=0x3F):
        return self.call("ACCESS", nfs3.nfs_fh3(handle), bits)

    def readlink(self, handle):
        return self.call("READLINK", nfs3.nfs_fh3(handle))

    def read(self, handle, offset=0, count=1 << 20):
        return self.call("READ", nfs3.nfs_fh3(handle), offset, count)

    def write(self, handle, data, offset=0, stable=nfs3.stable_how.UNSTABLE, count=None):
        return self.call("WRITE", nfs3.nfs_fh3(handle), offset, len(data) if count is None else count, stable, data)

    def create(self, directory, name, new=SAME, mode=nfs3.createmode3.UNCHECKED):
        """``new`` are attributes, or the verifier of an exclusive creation."""
        how = nfs3.createhow3(nfs3.createmode3.EXCLUSIVE if isinstance(new, bytes) else mode, new)
        return self.call("CREATE", where(directory, name), how)

    def mkdir(self, directory, name, new=SAME):
        return self.call("MKDIR", where(directory, name), new)

    def symlink(self, directory, name, data):
        return self.call("SYMLINK", where(directory, name), nfs3.symlinkdata3(SAME, data))

    def mknod(self, directory, name, kind, value=None):
        return self.call("MKNOD", where(directory, name), nfs3.mknoddata3(kind, value))

    def remove(self, directory, name):
        return self.call("REMOVE", where(directory, name))

    def rmdir(self, directory, name):
        return self.call("RMDIR", where(directory, name))

    def rename(self, source, old, target, new):
        return self.call("RENAME", where(source, old), where(target, new))

    def link(self, handle, directory, name):
        return self.call("LINK", nfs3.nfs_fh3(handle), where(directory, name))

    def readdir(self, directory, cookie=0, verifier=bytes(8), count=4096):
        return self.call("READDIR", nfs3.nfs_fh3(directory), cookie, verifier, count)

    def readdirplus(self, directory, cookie=0, verifier=bytes(8), dircount=4096, maxcount=8192):
        return self.call("READDIRPLUS", nfs3.nfs_fh3(directory), cookie, verifier, dircount, maxcount)

    def fsstat(self, handle):
        return self.call("FSSTAT", nfs3.nfs_fh3(handle))

    def fsinfo(self, handle):
        return self.call("FSINFO", nfs3.nfs_fh3(handle))

    def pathconf(self, handle):
        return self.call("PATHCONF", nfs3.nfs_fh3(handle))

    def commit(self, handle):
        return self.call("COMMIT", nfs3.nfs_fh3(handle), 0, 0)

    def find(self, *names):
        """The handle of the object at the end of the names, from the root on."""
        handle = self.root
        for name in names:
            handle = ok(self.lookup(handle, name)).object.data
        return handle


def where(directory, name):
    return nfs3.diropargs3(nfs3.nfs_fh3(directory), name)


def ok(result):
    """The value of a result that must be a success."""
    assert result.status is OK, result
    return result.value


def made(result):
    """The handle of what was made."""
    return ok(result).obj.value.data


def entries(page):
    """The entries of a page."""
    found, following = [], page.reply.entries
    while following is not None:
        found.append(following)
        following = following.nextentry
    return found


@contextmanager
def serving(directory, key=KEY):
    """The server in a thread of this process; yields it."""
    with closing(Tree(str(directory), key)) as tree, Server(("127.0.0.1", 0), tree) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@contextmanager
def connected(server):
    """A client of the server in a thread."""
    with closing(Client(server.server_address)) as client:
        yield client


@contextmanager
def running(directory, *arguments, before=()):
    """Run the example; yields its URL. ``before`` is a command that runs a command. It must end without a message."""
    command = [*before, sys.executable, "-S", str(ROOT / "examples" / "nfs_server.py"), str(directory), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )
        )  # fmt: skip
        watchdog = threading.Timer(2 * PATIENCE, process.kill)
        watchdog.start()
        stack.callback(process.kill)
        stack.callback(watchdog.cancel)
        url = process.stdout.readline().strip()
        assert url.startswith("nfs://"), process.stderr.read()
        yield url
        os.killpg(process.pid, signal.SIGINT)
        assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")


def address_in(url):
    """Where the server of the URL is."""
    parts = urlsplit(url)
    assert parse_qs(parts.query)["mountport"] == parse_qs(parts.query)["nfsport"]
    return parts.hostname, int(parse_qs(parts.query)["nfsport"][0])
