"""`Mounting`: the procedures of MOUNT (RFC 1813, appendix I), by which a client gets its first handle."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from handlers.sunrpc.auth import AUTH_NONE, AUTH_SYS

from . import mount3 as m
from .errors import NFSError, checked, status_of
from .nfs3 import nfsstat3
from .tree import Node

if TYPE_CHECKING:
    from .tree import Tree

NAME = b"export"
"""The path of the exported directory is this, after a slash."""
MAX_MOUNTS = 1000
"""Mounts that DUMP tells of, the latest ones."""
STATUSES = {int(status): status for status in m.mountstat3}


class Mounting(m.MOUNT_V3):
    """The procedures of MOUNT. Attributes of the server: ``export``, with the `Tree`, and ``mounts``, a dictionary."""

    @property
    def tree(self) -> Tree:
        """The exported directory."""
        tree: Tree = self.server.export.tree
        return tree

    @property
    def mounts(self) -> dict[tuple[bytes, bytes], None]:
        """Who has mounted what: hosts and paths."""
        mounts: dict[tuple[bytes, bytes], None] = self.server.mounts
        return mounts

    @property
    def host(self) -> bytes:
        """The address of the caller."""
        return str(self.peer[0] if isinstance(self.peer, tuple) else "").encode()[: m.MNTNAMLEN]

    def MOUNTPROC3_MNT(self, path: bytes, /) -> m.mountres3:
        """The handle of a directory: of the exported one, or of one in it."""
        try:
            handle = self._find(path)
        except (NFSError, OSError) as error:
            return m.mountres3(STATUSES.get(status_of(error), m.mountstat3.MNT3ERR_SERVERFAULT))
        self.mounts[self.host, path] = None
        if len(self.mounts) > MAX_MOUNTS:
            del self.mounts[next(iter(self.mounts))]
        return m.mountres3(m.mountstat3.MNT3_OK, m.mountres3_ok(handle, [AUTH_SYS, AUTH_NONE]))

    def MOUNTPROC3_DUMP(self) -> m.mountlist:
        listed = None
        for host, path in reversed(self.mounts):
            listed = m.mountbody(host, path, listed)
        return listed

    def MOUNTPROC3_UMNT(self, path: bytes, /) -> None:
        self.mounts.pop((self.host, path), None)

    def MOUNTPROC3_UMNTALL(self) -> None:
        for key in [key for key in self.mounts if key[0] == self.host]:
            del self.mounts[key]

    def MOUNTPROC3_EXPORT(self) -> m.exports:
        """There is one directory, for everybody who can connect."""
        return m.exportnode(b"/" + NAME, None, None)

    def _find(self, path: bytes) -> bytes:
        """The handle of the directory with this path. Symbolic links are not followed."""
        first, *names = [name for name in path.split(b"/") if name not in (b"", b".")] or [b""]
        if first != NAME or not path.startswith(b"/"):
            raise NFSError(nfsstat3.NFS3ERR_NOENT)
        node = Node(os.dup(self.tree.root.descriptor))
        try:
            for name in names:
                if name == b"..":
                    raise NFSError(nfsstat3.NFS3ERR_ACCES)
                child = self.tree.child(node, checked(name))
                node.close()
                node = child
            if not node.is_directory():
                raise NFSError(nfsstat3.NFS3ERR_NOTDIR)
            return self.tree.handles.write(node.identity)
        finally:
            node.close()
