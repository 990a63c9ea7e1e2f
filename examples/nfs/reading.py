"""`Reading`: the procedures of NFS that change nothing (RFC 1813, section 3.3)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from . import nfs3 as x
from .attributes import MAX_SIZE, after, attributes
from .errors import NFSError, checked
from .handles import SIZE, Identity, identity
from .listing import CURRENT, PARENT, Entry
from .nfs3 import nfsstat3
from .procedures import TRANSFER, Procedures
from .tree import Node

MAX_PAGE = 1 << 16
"""Bytes of one page of a directory."""
PAGE, ENTRY = 104, 24
"""Bytes that the XDR of a page has beside its entries, and that of an entry beside the padded name."""
PLUS = 96 + SIZE
"""Bytes that an entry of READDIRPLUS has besides: its attributes and its handle."""


def failed(kind: Callable[[x.post_op_attr], Any]) -> Callable[[Node | None], Any]:
    """What a procedure answers that fails: the attributes of its object."""
    return lambda node: kind(after(node))


class Reading(Procedures):
    """The procedures that change nothing."""

    def NFSPROC3_GETATTR(self, asked: x.GETATTR3args, /) -> Any:
        return self.act(
            x.GETATTR3res, [asked.object], lambda node: x.GETATTR3resok(attributes(node.before)), lambda _: None
        )

    def NFSPROC3_LOOKUP(self, asked: x.LOOKUP3args, /) -> Any:
        def lookup(directory: Node) -> x.LOOKUP3resok:
            with closing(self.tree.child(directory, checked(asked.what.name))) as node:
                return x.LOOKUP3resok(self.handle_of(node.identity), after(node), after(directory))

        return self.act(x.LOOKUP3res, [asked.what.dir], lookup, failed(x.LOOKUP3resfail))

    def NFSPROC3_ACCESS(self, asked: x.ACCESS3args, /) -> Any:
        """What the user that runs the server may do: all calls are made in its name, whoever the caller is."""

        def access(node: Node) -> x.ACCESS3resok:
            return x.ACCESS3resok(after(node), asked.access & _allowed(node))

        return self.act(x.ACCESS3res, [asked.object], access, failed(x.ACCESS3resfail))

    def NFSPROC3_READLINK(self, asked: x.READLINK3args, /) -> Any:
        def readlink(node: Node) -> x.READLINK3resok:
            if not stat.S_ISLNK(node.before.st_mode):
                raise NFSError(nfsstat3.NFS3ERR_INVAL)
            data = os.readlink(b"", dir_fd=node.descriptor)
            return x.READLINK3resok(after(node), data)

        return self.act(x.READLINK3res, [asked.symlink], readlink, failed(x.READLINK3resfail))

    def NFSPROC3_READ(self, asked: x.READ3args, /) -> Any:
        def read(node: Node) -> x.READ3resok:
            count = min(asked.count, TRANSFER, max(MAX_SIZE - asked.offset, 0))
            with node.opened(os.O_RDONLY) as descriptor:
                data = os.pread(descriptor, count, asked.offset) if count else b""
            status = node.status()
            eof = asked.offset + len(data) >= status.st_size
            return x.READ3resok(x.post_op_attr(True, attributes(status)), len(data), eof, data)

        return self.act(x.READ3res, [asked.file], read, failed(x.READ3resfail))

    def NFSPROC3_READDIR(self, asked: x.READDIR3args, /) -> Any:
        def readdir(directory: Node) -> x.READDIR3resok:
            entries = self.export.listings.following(directory, asked.cookie, asked.cookieverf)
            page, eof = _page(entries, asked.count, asked.count, 0)
            first = None
            for found in reversed(page):
                first = x.entry3(found.inode, found.name, found.cookie, first)
            return x.READDIR3resok(after(directory), self.export.listings.verifier, x.dirlist3(first, eof))

        return self.act(x.READDIR3res, [asked.dir], readdir, failed(x.READDIR3resfail))

    def NFSPROC3_READDIRPLUS(self, asked: x.READDIRPLUS3args, /) -> Any:
        def readdirplus(directory: Node) -> x.READDIRPLUS3resok:
            entries = self.export.listings.following(directory, asked.cookie, asked.cookieverf)
            page, eof = _page(entries, asked.dircount, asked.maxcount, PLUS)
            first = None
            for found in reversed(page):
                first = self._plus(directory, found, first)
            return x.READDIRPLUS3resok(after(directory), self.export.listings.verifier, x.dirlistplus3(first, eof))

        return self.act(x.READDIRPLUS3res, [asked.dir], readdirplus, failed(x.READDIRPLUS3resfail))

    def NFSPROC3_FSSTAT(self, asked: x.FSSTAT3args, /) -> Any:
        def fsstat(node: Node) -> x.FSSTAT3resok:
            found = os.fstatvfs(node.descriptor)
            size = found.f_frsize
            blocks = found.f_blocks * size, found.f_bfree * size, found.f_bavail * size
            return x.FSSTAT3resok(after(node), *blocks, found.f_files, found.f_ffree, found.f_favail, 0)

        return self.act(x.FSSTAT3res, [asked.fsroot], fsstat, failed(x.FSSTAT3resfail))

    def NFSPROC3_FSINFO(self, asked: x.FSINFO3args, /) -> Any:
        def fsinfo(node: Node) -> x.FSINFO3resok:
            properties = x.FSF3_LINK | x.FSF3_SYMLINK | x.FSF3_HOMOGENEOUS | x.FSF3_CANSETTIME
            sizes = TRANSFER, TRANSFER, 1
            return x.FSINFO3resok(after(node), *sizes, *sizes, MAX_PAGE, MAX_SIZE, x.nfstime3(0, 1), properties)

        return self.act(x.FSINFO3res, [asked.fsroot], fsinfo, failed(x.FSINFO3resfail))

    def NFSPROC3_PATHCONF(self, asked: x.PATHCONF3args, /) -> Any:
        def pathconf(node: Node) -> x.PATHCONF3resok:
            links, name = os.pathconf(node.path, "PC_LINK_MAX"), os.fstatvfs(node.descriptor).f_namemax
            return x.PATHCONF3resok(after(node), links, name, True, True, False, True)

        return self.act(x.PATHCONF3res, [asked.object], pathconf, failed(x.PATHCONF3resfail))

    def _plus(self, directory: Node, found: Entry, following: x.entryplus3 | None) -> x.entryplus3:
        """An entry with its attributes and its handle; without them, if it is gone."""
        make = partial(x.entryplus3, name=found.name, cookie=found.cookie, nextentry=following)
        if found.cookie in (CURRENT, PARENT):
            with closing(self.tree.child(directory, found.name)) as node:
                return make(node.identity.inode, name_attributes=after(node), name_handle=self._told(node.identity))
        try:
            status = os.stat(found.name, dir_fd=directory.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return make(found.inode, name_attributes=after(None), name_handle=x.post_op_fh3(False))
        which = identity(directory.descriptor, found.name, status)
        self.tree.put(which, directory, found.name)
        return make(
            status.st_ino,
            name_attributes=x.post_op_attr(True, attributes(status)),
            name_handle=self._told(which),
        )

    def _told(self, which: Identity) -> x.post_op_fh3:
        return x.post_op_fh3(True, self.handle_of(which))


def _allowed(node: Node) -> int:
    """The bits of ACCESS that the system allows."""
    found = 0
    if os.access(node.path, os.R_OK, effective_ids=True):
        found |= x.ACCESS3_READ
    searched = os.access(node.path, os.X_OK, effective_ids=True)
    if searched:
        found |= x.ACCESS3_LOOKUP if node.is_directory() else x.ACCESS3_EXECUTE
    if os.access(node.path, os.W_OK, effective_ids=True):
        found |= x.ACCESS3_MODIFY | x.ACCESS3_EXTEND
        if searched and node.is_directory():
            found |= x.ACCESS3_DELETE
    return found


def _page(entries: list[Entry], most_names: int, most: int, each: int) -> tuple[list[Entry], bool]:
    """The entries that a page has, and whether they are the last ones.

    ``most`` is the size of the whole page in bytes, in which an entry has ``each`` bytes besides; ``most_names`` is the
    size of the names, cookies and numbers alone (RFC 1813, section 3.3.17).
    """
    names, used, count = 0, PAGE, 0
    for found in entries:
        size = ENTRY + len(found.name) + (-len(found.name) & 3)
        names += size
        used += size + each
        if names > most_names or used > min(most, MAX_PAGE):
            break
        count += 1
    if count == 0 and (entries or most < PAGE):
        raise NFSError(nfsstat3.NFS3ERR_TOOSMALL)
    return entries[:count], count == len(entries)
