"""`Tree`: from a handle, or a directory and a name, to an open object, which is always one in the exported directory.

The system is given a descriptor and one name, or a descriptor alone (`Node.path`), and never follows a symbolic link:
so neither a client, nor somebody who renames things meanwhile, can lead the server out of the directory.

Where an object is, the tree remembers from when its name was last seen. A handle whose object is not there (any more),
such as after a restart, has it search the whole directory.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from .errors import NFSError
from .handles import Handles, Identity, identity
from .nfs3 import nfsstat3

MAX_PLACES = 100_000
"""Objects whose place is remembered, and objects that are known to be gone."""
MAX_KEPT = 64
"""Files that stay open after a client has made them."""
MAX_DEPTH = 1000
"""Directories that may be inside each other. What is deeper is not found."""
STEP = 1000
"""Entries of a directory that a search looks at in one go."""
OPEN = os.O_PATH | os.O_NOFOLLOW


class Lost(Exception):
    """The object is not where it was: `Tree.search` for it, then try again."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self.identity = identity


class Node:
    """An open object. Its descriptor may be one with which nothing can be done to the contents (O_PATH)."""

    __slots__ = ("before", "descriptor", "identity", "kept")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.before = os.fstat(descriptor)
        """The status that it had when it was opened."""
        self.identity = identity(descriptor, status=self.before)
        self.kept: int | None = None
        """A descriptor with which its contents can be read and written whatever its mode says (see `Tree.keep`)."""

    @property
    def path(self) -> str:
        """A path by which the system finds this object, whatever name it has now (proc(5))."""
        return f"/proc/self/fd/{self.descriptor}"

    def is_regular(self) -> bool:
        return stat.S_ISREG(self.before.st_mode)

    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.before.st_mode)

    def status(self) -> os.stat_result:
        """The status that it has now."""
        return os.fstat(self.descriptor)

    def _open(self, *choices: int) -> int:
        """Open the contents with the first of these flags with which the server may."""
        for flags in choices:
            with suppress(PermissionError):
                return os.open(self.path, flags)
        if self.kept is None:
            raise NFSError(nfsstat3.NFS3ERR_ACCES)
        return os.dup(self.kept)

    @contextmanager
    def opened(self, *choices: int) -> Iterator[int]:
        """Open the contents of a regular file with the first of these flags that is allowed; yields a descriptor."""
        if not self.is_regular():
            raise NFSError(nfsstat3.NFS3ERR_INVAL)
        descriptor = self._open(*choices)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Have the system write a file or a directory to stable storage, if the server may open it."""
        if self.is_regular() or self.is_directory():
            try:
                descriptor = self._open(os.O_RDONLY, *([os.O_WRONLY] if self.is_regular() else []))
            except NFSError:
                return
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


class Tree:
    """The exported directory. ``key`` is the secret of its handles."""

    def __init__(self, directory: str, key: bytes) -> None:
        self.root = Node(os.open(directory, os.O_PATH | os.O_DIRECTORY))
        self.handles = Handles(key)
        self._places: OrderedDict[Identity, tuple[Identity, bytes]] = OrderedDict()  # the parent, and the name in it
        self._gone: OrderedDict[Identity, None] = OrderedDict()
        self._kept: OrderedDict[Identity, int] = OrderedDict()

    def close(self) -> None:
        self.root.close()
        while self._kept:
            os.close(self._kept.popitem()[1])

    # From a handle

    def open(self, handle: bytes) -> Node:
        """The object of the handle. Raises BADHANDLE, STALE, or `Lost`."""
        wanted = self.handles.read(handle)
        if wanted is None:
            raise NFSError(nfsstat3.NFS3ERR_BADHANDLE)
        return self._open(wanted)

    def _open(self, wanted: Identity) -> Node:
        names = self._names(wanted)
        node = None if names is None else self._walk(names)
        if node is not None:
            if node.identity == wanted:
                node.kept = self._kept.get(wanted)
                return node
            node.close()
        if wanted in self._gone:
            raise NFSError(nfsstat3.NFS3ERR_STALE)
        raise Lost(wanted)

    def _names(self, wanted: Identity) -> list[bytes] | None:
        """The names on the way from the root to the object."""
        names: list[bytes] = []
        while wanted != self.root.identity:
            place = self._places.get(wanted)
            if place is None:
                return None
            if len(names) > MAX_DEPTH:  # directories were moved into each other, and not by this server
                del self._places[wanted]
                return None
            self._places.move_to_end(wanted)
            wanted, name = place
            names.append(name)
        names.reverse()
        return names

    def _walk(self, names: list[bytes]) -> Node | None:
        """What is at the end of the names; ``None`` if there is nothing."""
        descriptor = os.open(".", OPEN, dir_fd=self.root.descriptor)
        try:
            for name in names:
                following = os.open(name, OPEN, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
            return Node(descriptor)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                return None
            raise

    # From a directory and a name

    def child(self, directory: Node, name: bytes) -> Node:
        """The object with this name in the directory, which may be "." or ".."; that of the root is the root."""
        if name == b"..":
            return self.parent(directory)
        node = Node(os.open(name, OPEN, dir_fd=directory.descriptor))
        node.kept = self._kept.get(node.identity)
        if name != b".":
            self.put(node.identity, directory, name)
        return node

    def parent(self, directory: Node) -> Node:
        """The parent of the directory; that of the root is the root."""
        if not directory.is_directory():
            raise NFSError(nfsstat3.NFS3ERR_NOTDIR)
        parent, _ = self._places.get(directory.identity, (self.root.identity, b""))
        return self._open(parent)

    def put(self, found: Identity, directory: Node, name: bytes) -> None:
        """The object has this name in the directory."""
        self._put(found, directory.identity, name)

    def _put(self, found: Identity, parent: Identity, name: bytes) -> None:
        self._gone.pop(found, None)
        self._places[found] = parent, name
        self._places.move_to_end(found)
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    def keep(self, node: Node) -> None:
        """Keep a file open that was made just now: who makes a file may write it, even if it is read-only.

        It stays open until `MAX_KEPT` others were made, so that the server need not be one that may do everything.
        """
        self._drop(node.identity)
        self._kept[node.identity] = os.dup(node.descriptor)
        if len(self._kept) > MAX_KEPT:
            os.close(self._kept.popitem(last=False)[1])

    def _drop(self, which: Identity) -> None:
        if which in self._kept:
            os.close(self._kept.pop(which))

    def removed(self, node: Node) -> None:
        """One name of the object was removed."""
        if node.is_directory() or node.status().st_nlink == 0:
            self._forget(node.identity)

    def _forget(self, gone: Identity) -> None:
        self._places.pop(gone, None)
        self._drop(gone)
        self._gone[gone] = None
        if len(self._gone) > MAX_PLACES:
            self._gone.popitem(last=False)

    # The search

    def search(self, wanted: Identity) -> Iterator[None]:
        """Search the whole tree for the object, a step at a time. If it is not found, its handle is stale."""
        directories: list[tuple[bytes, ...]] = [()]
        while directories:
            names = directories.pop()
            try:
                node = self._walk([*names])
                if node is None:
                    continue
                with closing(node):
                    for number, found in enumerate(scan(node)):
                        name = os.fsencode(found.name)
                        if found.inode() == wanted.inode and identity(node.descriptor, name) == wanted:
                            self._put_all((*names, name))
                            return
                        if found.is_dir(follow_symlinks=False) and len(names) < MAX_DEPTH:
                            directories.append((*names, name))
                        if number % STEP == STEP - 1:
                            yield
            except OSError:
                continue  # this directory can't be read, or is gone
            yield
        self._forget(wanted)

    def _put_all(self, names: tuple[bytes, ...]) -> None:
        """Remember the places of the object at the end of the names, and of the directories on the way to it."""
        parent = self.root.identity
        for count in range(1, len(names) + 1):
            node = self._walk([*names[:count]])
            if node is None:
                return
            with closing(node):
                self._put(node.identity, parent, names[count - 1])
                parent = node.identity


def scan(directory: Node) -> Iterator[os.DirEntry[str]]:
    """The entries of the directory, without "." and ".."."""
    descriptor = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            yield from entries
    finally:
        os.close(descriptor)
