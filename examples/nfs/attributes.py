"""Attributes of objects (RFC 1813, section 2.6): as the protocol has them, and how they are set."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from . import nfs3 as x
from .errors import NFSError
from .nfs3 import nfsstat3

if TYPE_CHECKING:
    from .tree import Node

TYPES = {
    stat.S_IFREG: x.ftype3.NF3REG,
    stat.S_IFDIR: x.ftype3.NF3DIR,
    stat.S_IFBLK: x.ftype3.NF3BLK,
    stat.S_IFCHR: x.ftype3.NF3CHR,
    stat.S_IFLNK: x.ftype3.NF3LNK,
    stat.S_IFSOCK: x.ftype3.NF3SOCK,
    stat.S_IFIFO: x.ftype3.NF3FIFO,
}
MAX_SIZE = (1 << 63) - 1
"""Bytes that a file may have."""
SECOND = 1_000_000_000
"""Nanoseconds."""
KEPT, PRESENT = x.time_how.DONT_CHANGE, x.time_how.SET_TO_SERVER_TIME
NO_ID = 0xFFFF_FFFF
"""To chown(2) this means that the owner stays."""


def nfs_time(nanoseconds: int) -> x.nfstime3:
    """A time that is in nanoseconds since 1970; the protocol has those from 1970 to 2106."""
    return x.nfstime3(*divmod(min(max(nanoseconds, 0), (1 << 32) * SECOND - 1), SECOND))


def nanoseconds(moment: x.nfstime3) -> int:
    """The time in nanoseconds since 1970."""
    if moment.nseconds >= SECOND:
        raise NFSError(nfsstat3.NFS3ERR_INVAL)
    return moment.seconds * SECOND + moment.nseconds


def attributes(status: os.stat_result) -> x.fattr3:
    """The attributes that this status has."""
    return x.fattr3(
        TYPES[stat.S_IFMT(status.st_mode)],
        stat.S_IMODE(status.st_mode),
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_blocks * 512,
        x.specdata3(os.major(status.st_rdev), os.minor(status.st_rdev)),
        status.st_dev,
        status.st_ino,
        nfs_time(status.st_atime_ns),
        nfs_time(status.st_mtime_ns),
        nfs_time(status.st_ctime_ns),
    )


def after(node: Node | None) -> x.post_op_attr:
    """The attributes that the object has now, if it could be opened."""
    return x.post_op_attr(False) if node is None else x.post_op_attr(True, attributes(node.status()))


def changed(node: Node | None) -> x.wcc_data:
    """What the attributes were before the call, and are now."""
    if node is None:
        return x.wcc_data(x.pre_op_attr(False), after(None))
    old = node.before
    times = nfs_time(old.st_mtime_ns), nfs_time(old.st_ctime_ns)
    return x.wcc_data(x.pre_op_attr(True, x.wcc_attr(old.st_size, *times)), after(node))


def mode_of(new: x.sattr3, default: int) -> int:
    """The mode that a new object is to have."""
    return stat.S_IMODE(default if new.mode.value is None else new.mode.value)


def set_new(node: Node, new: x.sattr3) -> None:
    """Set the attributes of an object that was made with `mode_of` them."""
    mode = new.mode
    if mode.value is not None and not mode.value & ~node.before.st_mode & 0o7777:
        mode = x.set_mode3(False)  # it has them, and perhaps a bit that it has inherited
    set_attributes(node, x.sattr3(mode, new.uid, new.gid, new.size, new.atime, new.mtime))


def set_attributes(node: Node, new: x.sattr3) -> None:
    """Set the attributes of the object. All are checked before one is set; the system may still refuse a later one."""
    size, uid, gid, mode = new.size.value, new.uid.value, new.gid.value, new.mode.value
    times = _times(node, new)
    if NO_ID in (uid, gid):
        raise NFSError(nfsstat3.NFS3ERR_INVAL)
    if size is not None:
        resize(node, size)
    if uid is not None or gid is not None:
        os.chown(node.path, -1 if uid is None else uid, -1 if gid is None else gid)
    if mode is not None:  # after the owner, whose change takes bits away
        os.chmod(node.path, stat.S_IMODE(mode))
    if (new.atime.set_it, new.mtime.set_it) == (PRESENT, PRESENT):
        os.utime(node.path)  # which everybody may who may write the file
    elif times is not None:
        os.utime(node.path, ns=times)


def resize(node: Node, size: int) -> None:
    """Set the size of a regular file."""
    with node.opened(os.O_WRONLY) as descriptor:
        if size > MAX_SIZE:
            raise NFSError(nfsstat3.NFS3ERR_FBIG)
        os.ftruncate(descriptor, size)


def _times(node: Node, new: x.sattr3) -> tuple[int, int] | None:
    """The times of access and of change to set, in nanoseconds since 1970; ``None``: neither."""
    how = new.atime.set_it, new.mtime.set_it
    if how == (KEPT, KEPT):
        return None
    now = time.time_ns()
    old = node.before.st_atime_ns, node.before.st_mtime_ns
    atime, mtime = (
        kept if each is KEPT else now if moment is None else nanoseconds(moment)
        for each, moment, kept in zip(how, (new.atime.value, new.mtime.value), old, strict=True)
    )
    return atime, mtime
