"""`Listings`: the entries of directories in the order of their cookies (RFC 1813, sections 3.3.16 and 3.3.17).

The cookie of an entry is a keyed hash of its name, and the entries are told in the order of their cookies. So a cookie
says where to go on whatever was added or removed meanwhile, also to a server that was started again with the same key.
Two names of one directory have the same cookie once in 2 ** 63 pairs.

For a page the whole directory is read, unless it is as it was for the page before.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .errors import NFSError
from .nfs3 import nfsstat3
from .tree import scan

if TYPE_CHECKING:
    from .handles import Identity
    from .tree import Node, Tree

KEPT = 8
"""Directories whose entries are kept for the next page."""
SETTLED = 1_000_000_000
"""Nanoseconds after a change of a directory, after which a further change gives it another time of change for sure."""
CURRENT, PARENT = 1, 2
"""The cookies of "." and ".."."""


class Entry(NamedTuple):
    """An entry of a directory."""

    cookie: int
    name: bytes
    inode: int


class Listings:
    """The entries of the directories of a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.verifier = tree.handles.digest(b"", b"cookies")
        """Of the cookies of this key: those of another key are refused."""
        self._kept: OrderedDict[Identity, tuple[int, list[Entry]]] = OrderedDict()
        self._cookie = lru_cache(1 << 16)(self._hash)

    def following(self, directory: Node, cookie: int, verifier: bytes) -> list[Entry]:
        """The entries that follow the one with this cookie; 0: all of them."""
        if cookie and verifier != self.verifier:
            raise NFSError(nfsstat3.NFS3ERR_BAD_COOKIE)
        entries = self._entries(directory)
        return entries[bisect_left(entries, (cookie + 1,)) :]

    def _entries(self, directory: Node) -> list[Entry]:
        changed = directory.before.st_ctime_ns
        when, entries = self._kept.get(directory.identity, (0, []))
        if when != changed:
            entries = self._read(directory)
            if time.time_ns() - changed > SETTLED:
                self._kept[directory.identity] = changed, entries
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return entries

    def _read(self, directory: Node) -> list[Entry]:
        parent = self._tree.parent(directory)  # it is NOTDIR for what is no directory
        above = Entry(PARENT, b"..", parent.identity.inode)
        parent.close()
        found = ((os.fsencode(entry.name), entry.inode()) for entry in scan(directory))
        entries = [Entry(self._cookie(name), name, inode) for name, inode in found]
        entries.sort()
        return [Entry(CURRENT, b".", directory.identity.inode), above, *entries]

    def _hash(self, name: bytes) -> int:
        """The cookie of the name: a positive number in an int64, as clients have it."""
        return max(int.from_bytes(self._tree.handles.digest(name, b"cookie"), "big") >> 1, PARENT + 1)
