"""`Writing`: the procedures of NFS that change something (RFC 1813, section 3.3).

What they have changed is on stable storage when they answer (section 3.3, and fsync(2)), but for data that
WRITE was told to leave UNSTABLE. All calls wait for that, because it is done in the loop: a disk that takes long for it
holds up every client.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from . import nfs3 as x
from .attributes import MAX_SIZE, after, changed, mode_of, nfs_time, resize, set_attributes, set_new
from .errors import NFSError, added, entry
from .nfs3 import nfsstat3, stable_how
from .procedures import Procedures
from .tree import Node

T = TypeVar("T")

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
MADE = {x.ftype3.NF3FIFO: stat.S_IFIFO, x.ftype3.NF3SOCK: stat.S_IFSOCK}
"""What MKNOD makes: no devices, by which a client would get at more than the directory."""


def failed(kind: Callable[[x.wcc_data], Any]) -> Callable[[Node | None], Any]:
    """What a procedure answers that fails: what has become of the attributes of its object."""
    return lambda node: kind(changed(node))


class Writing(Procedures):
    """The procedures that change something."""

    def NFSPROC3_SETATTR(self, asked: x.SETATTR3args, /) -> Any:
        def setattr3(node: Node) -> x.SETATTR3resok:
            if asked.guard.check and asked.guard.value != nfs_time(node.before.st_ctime_ns):
                raise NFSError(nfsstat3.NFS3ERR_NOT_SYNC)
            set_attributes(node, asked.new_attributes)
            self._sync(node)
            return x.SETATTR3resok(changed(node))

        return self.act(x.SETATTR3res, [asked.object], setattr3, failed(x.SETATTR3resfail))

    def NFSPROC3_WRITE(self, asked: x.WRITE3args, /) -> Any:
        def write(node: Node) -> x.WRITE3resok:
            if asked.count != len(asked.data):
                raise NFSError(nfsstat3.NFS3ERR_INVAL)
            with node.opened(os.O_WRONLY) as descriptor:
                if asked.offset + asked.count > MAX_SIZE:
                    raise NFSError(nfsstat3.NFS3ERR_FBIG)
                count = os.pwrite(descriptor, asked.data, asked.offset) if asked.count else 0
                with self.export.syncing():
                    if asked.stable is stable_how.FILE_SYNC:
                        os.fsync(descriptor)
                    elif asked.stable is stable_how.DATA_SYNC:
                        os.fdatasync(descriptor)
            return x.WRITE3resok(changed(node), count, asked.stable, self.export.verifier)

        return self.act(x.WRITE3res, [asked.file], write, failed(x.WRITE3resfail))

    def NFSPROC3_COMMIT(self, asked: x.COMMIT3args, /) -> Any:
        """All of the file is committed, whichever part is asked for."""

        def commit(node: Node) -> x.COMMIT3resok:
            with node.opened(os.O_RDONLY, os.O_WRONLY) as descriptor, self.export.syncing():
                os.fsync(descriptor)
            return x.COMMIT3resok(changed(node), self.export.verifier)

        return self.act(x.COMMIT3res, [asked.file], commit, failed(x.COMMIT3resfail))

    def NFSPROC3_CREATE(self, asked: x.CREATE3args, /) -> Any:
        def create(directory: Node) -> x.CREATE3resok:
            with closing(self._create(directory, added(asked.where.name), asked.how)) as node:
                return self._made(x.CREATE3resok, directory, node)

        return self.act(x.CREATE3res, [asked.where.dir], create, failed(x.CREATE3resfail))

    def NFSPROC3_MKDIR(self, asked: x.MKDIR3args, /) -> Any:
        def mkdir(directory: Node) -> x.MKDIR3resok:
            name = added(asked.where.name)
            os.mkdir(name, mode_of(asked.attributes, 0o755), dir_fd=directory.descriptor)
            with self._new(directory, name, asked.attributes, os.rmdir) as node:
                return self._made(x.MKDIR3resok, directory, node)

        return self.act(x.MKDIR3res, [asked.where.dir], mkdir, failed(x.MKDIR3resfail))

    def NFSPROC3_SYMLINK(self, asked: x.SYMLINK3args, /) -> Any:
        """The link may say anything: only clients follow it. Its initial attributes are not used."""

        def symlink(directory: Node) -> x.SYMLINK3resok:
            name, data = added(asked.where.name), asked.symlink.symlink_data
            if not data or b"\0" in data:
                raise NFSError(nfsstat3.NFS3ERR_INVAL)
            os.symlink(data, name, dir_fd=directory.descriptor)
            with closing(self.tree.child(directory, name)) as node:
                return self._made(x.SYMLINK3resok, directory, node)

        return self.act(x.SYMLINK3res, [asked.where.dir], symlink, failed(x.SYMLINK3resfail))

    def NFSPROC3_MKNOD(self, asked: x.MKNOD3args, /) -> Any:
        def mknod(directory: Node) -> x.MKNOD3resok:
            name, new = added(asked.where.name), asked.what.value
            kind = MADE.get(asked.what.type)
            if kind is None or not isinstance(new, x.sattr3):
                raise NFSError(nfsstat3.NFS3ERR_BADTYPE)
            os.mknod(name, kind | mode_of(new, 0o644), dir_fd=directory.descriptor)
            with self._new(directory, name, new, os.unlink) as node:
                return self._made(x.MKNOD3resok, directory, node)

        return self.act(x.MKNOD3res, [asked.where.dir], mknod, failed(x.MKNOD3resfail))

    def NFSPROC3_REMOVE(self, asked: x.REMOVE3args, /) -> Any:
        return self._remove(asked.object, x.REMOVE3res, x.REMOVE3resok, x.REMOVE3resfail, os.unlink)

    def NFSPROC3_RMDIR(self, asked: x.RMDIR3args, /) -> Any:
        return self._remove(asked.object, x.RMDIR3res, x.RMDIR3resok, x.RMDIR3resfail, os.rmdir)

    def NFSPROC3_RENAME(self, asked: x.RENAME3args, /) -> Any:
        def rename(source: Node, target: Node) -> x.RENAME3resok:
            self._rename(source, asked.from_.name, target, asked.to.name)
            return x.RENAME3resok(changed(source), changed(target))

        def fail(source: Node | None, target: Node | None) -> x.RENAME3resfail:
            return x.RENAME3resfail(changed(source), changed(target))

        return self.act(x.RENAME3res, [asked.from_.dir, asked.to.dir], rename, fail)

    def NFSPROC3_LINK(self, asked: x.LINK3args, /) -> Any:
        def link(node: Node, directory: Node) -> x.LINK3resok:
            name = added(asked.link.name)
            if node.is_directory():
                raise NFSError(nfsstat3.NFS3ERR_INVAL)
            os.link(node.path, name, dst_dir_fd=directory.descriptor, follow_symlinks=True)  # to what the path is of
            self.tree.put(node.identity, directory, name)
            self._sync(directory)
            return x.LINK3resok(after(node), changed(directory))

        def fail(node: Node | None, directory: Node | None) -> x.LINK3resfail:
            return x.LINK3resfail(after(node), changed(directory))

        return self.act(x.LINK3res, [asked.file, asked.link.dir], link, fail)

    def _sync(self, *nodes: Node) -> None:
        """Have the system write the objects to stable storage."""
        with self.export.syncing():
            for node in nodes:
                node.sync()

    def _made(self, kind: Callable[[x.post_op_fh3, x.post_op_attr, x.wcc_data], T], directory: Node, node: Node) -> T:
        """What a procedure answers that has made an object."""
        self._sync(node, directory)
        return kind(x.post_op_fh3(True, self.handle_of(node.identity)), after(node), changed(directory))

    def _create(self, directory: Node, name: bytes, how: x.createhow3) -> Node:
        """Make a regular file, or open the one that is there."""
        new = how.value if isinstance(how.value, x.sattr3) else None
        mode = 0o600 if new is None else mode_of(new, 0o644)
        try:
            node = Node(os.open(name, NEW, mode, dir_fd=directory.descriptor))
        except FileExistsError:
            return self._existing(directory, name, how)
        node.kept = node.descriptor
        try:
            if new is None:
                os.utime(node.descriptor, ns=_moments(how))
            else:
                set_new(node, new)
        except BaseException:
            node.close()
            os.unlink(name, dir_fd=directory.descriptor)
            raise
        self.tree.put(node.identity, directory, name)
        self.tree.keep(node)
        return node

    def _existing(self, directory: Node, name: bytes, how: x.createhow3) -> Node:
        """A file that is there before it is made (RFC 1813, section 3.3.8)."""
        node = self.tree.child(directory, name)
        try:
            times = node.before.st_atime_ns, node.before.st_mtime_ns
            again = isinstance(how.value, bytes) and times == _moments(how)
            if not node.is_regular() or not (again or how.mode is x.createmode3.UNCHECKED):
                raise NFSError(nfsstat3.NFS3ERR_EXIST)
            if isinstance(how.value, x.sattr3) and how.value.size.value is not None:
                resize(node, how.value.size.value)
        except BaseException:
            node.close()
            raise
        return node

    def _rename(self, source: Node, old: bytes, target: Node, new: bytes) -> None:
        old, new = (entry(name, nfsstat3.NFS3ERR_INVAL, nfsstat3.NFS3ERR_INVAL) for name in (old, new))
        if not source.is_directory() or not target.is_directory():
            raise NFSError(nfsstat3.NFS3ERR_NOTDIR)
        with closing(self.tree.child(source, old)) as node:
            replaced = self._find(target, new)
            try:
                os.rename(old, new, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)
                if replaced is not None and replaced.identity != node.identity:
                    self.tree.removed(replaced)
            except (IsADirectoryError, NotADirectoryError):  # one is a directory and the other is none
                raise NFSError(nfsstat3.NFS3ERR_EXIST) from None
            finally:
                if replaced is not None:
                    replaced.close()
            self.tree.put(node.identity, target, new)
        self._sync(source, target)

    def _find(self, directory: Node, name: bytes) -> Node | None:
        try:
            return self.tree.child(directory, name)
        except FileNotFoundError:
            return None

    def _remove(
        self,
        which: x.diropargs3,
        result: Callable[[nfsstat3, Any], Any],
        succeeded: Callable[[x.wcc_data], Any],
        failure: Callable[[x.wcc_data], Any],
        remove: Callable[..., None],
    ) -> Any:
        def work(directory: Node) -> Any:
            name = entry(which.name, nfsstat3.NFS3ERR_INVAL, nfsstat3.NFS3ERR_EXIST)
            with closing(self.tree.child(directory, name)) as node:
                remove(name, dir_fd=directory.descriptor)
                self.tree.removed(node)
            self._sync(directory)
            return succeeded(changed(directory))

        return self.act(result, [which.dir], work, failed(failure))

    def _new(self, directory: Node, name: bytes, new: x.sattr3, remove: Callable[..., None]) -> closing[Node]:
        """The object that was made just now, with its attributes; it is removed if one can't be set."""
        node = self.tree.child(directory, name)
        try:
            set_new(node, new)
        except BaseException:
            node.close()
            remove(name, dir_fd=directory.descriptor)
            raise
        return closing(node)


def _moments(how: x.createhow3) -> tuple[int, int]:
    """The times of access and change that keep the verifier of an exclusive CREATE, in nanoseconds.

    Of each word of it one bit is left out, for file systems whose times end in 2038.
    """
    assert isinstance(how.value, bytes)
    first, second = (int.from_bytes(how.value[at : at + 4], "big") & 0x7FFF_FFFF for at in (0, 4))
    return first * 1_000_000_000, second * 1_000_000_000
