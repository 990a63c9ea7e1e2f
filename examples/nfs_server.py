"""An NFS server, for version 3 (RFC 1813): it serves a directory, with MOUNT on the same port.

python3 examples/nfs_server.py DIRECTORY [PORT [KEY_FILE]]      then, with what it prints: nfs-ls 'nfs://...'

All work is done in the loop, and as the user that runs the server, whoever the caller says it is: run it as a user
that may do what every caller may do. The handles of files are those of a key. With a file for the key, which is made if
it is not there, and a port, clients go on after the server was started again.
"""

import os
import signal
import sys
from contextlib import closing

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from examples.nfs.mounting import NAME, Mounting
from examples.nfs.procedures import Export
from examples.nfs.reading import Reading
from examples.nfs.tree import Tree
from examples.nfs.writing import Writing
from handlers.sunrpc.record import RPCStreamHandler
from reactor import SelectTCPServer


class NFS(Reading, Writing):
    """The program NFS, version 3."""


class Handler(RPCStreamHandler):
    versions = (NFS, Mounting)


class Server(SelectTCPServer):
    """Knows what it exports, and who has mounted it."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], tree: Tree) -> None:
        self.export = Export(tree)
        self.mounts: dict[tuple[bytes, bytes], None] = {}
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """The URL that libnfs has for the directory."""
        host, port = self.server_address
        return f"nfs://{host}/{NAME.decode()}?nfsport={port}&mountport={port}"


def key_in(path: str) -> bytes:
    """The key in the file, which only its owner can read."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(os.urandom(32))
    except FileExistsError:
        pass
    with open(path, "rb") as file:
        key = file.read()
    if len(key) != 32:
        raise SystemExit(f"{path} has no key of 32 bytes")
    return key


def main(directory: str, port: str = "0", key_file: str | None = None) -> None:
    os.umask(0)  # the mode of a new file is that of the client, which has applied its own mask
    key = os.urandom(32) if key_file is None else key_in(key_file)
    with closing(Tree(directory, key)) as tree, Server(("127.0.0.1", int(port)), tree) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print(server.url, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
