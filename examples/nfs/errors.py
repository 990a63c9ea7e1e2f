"""Statuses (RFC 1813, section 2.6): for the errors of the system, and for names that no object can have."""

from __future__ import annotations

import errno

from .nfs3 import nfsstat3

MAX_NAME = 255
"""Bytes that a name may have."""

STATUSES = {
    errno.EPERM: nfsstat3.NFS3ERR_PERM,
    errno.ENOENT: nfsstat3.NFS3ERR_NOENT,
    errno.EIO: nfsstat3.NFS3ERR_IO,
    errno.ENXIO: nfsstat3.NFS3ERR_NXIO,
    errno.EACCES: nfsstat3.NFS3ERR_ACCES,
    errno.EBUSY: nfsstat3.NFS3ERR_ACCES,  # such as removing a mount point
    errno.EEXIST: nfsstat3.NFS3ERR_EXIST,
    errno.EXDEV: nfsstat3.NFS3ERR_XDEV,
    errno.ENODEV: nfsstat3.NFS3ERR_NODEV,
    errno.ENOTDIR: nfsstat3.NFS3ERR_NOTDIR,
    errno.EISDIR: nfsstat3.NFS3ERR_ISDIR,
    errno.EINVAL: nfsstat3.NFS3ERR_INVAL,
    errno.ELOOP: nfsstat3.NFS3ERR_INVAL,
    errno.EILSEQ: nfsstat3.NFS3ERR_INVAL,
    errno.EFBIG: nfsstat3.NFS3ERR_FBIG,
    errno.EOVERFLOW: nfsstat3.NFS3ERR_FBIG,
    errno.ENOSPC: nfsstat3.NFS3ERR_NOSPC,
    errno.EROFS: nfsstat3.NFS3ERR_ROFS,
    errno.EMLINK: nfsstat3.NFS3ERR_MLINK,
    errno.ENAMETOOLONG: nfsstat3.NFS3ERR_NAMETOOLONG,
    errno.ENOTEMPTY: nfsstat3.NFS3ERR_NOTEMPTY,
    errno.EDQUOT: nfsstat3.NFS3ERR_DQUOT,
    errno.ESTALE: nfsstat3.NFS3ERR_STALE,
    errno.EREMOTE: nfsstat3.NFS3ERR_REMOTE,
    errno.ENOSYS: nfsstat3.NFS3ERR_NOTSUPP,
    errno.EOPNOTSUPP: nfsstat3.NFS3ERR_NOTSUPP,
    errno.EAGAIN: nfsstat3.NFS3ERR_JUKEBOX,  # those from here on may not come again if the client tries again
    errno.EMFILE: nfsstat3.NFS3ERR_JUKEBOX,
    errno.ENFILE: nfsstat3.NFS3ERR_JUKEBOX,
    errno.ENOMEM: nfsstat3.NFS3ERR_JUKEBOX,
    errno.ETIMEDOUT: nfsstat3.NFS3ERR_JUKEBOX,
    errno.ETXTBSY: nfsstat3.NFS3ERR_JUKEBOX,
}


class NFSError(Exception):
    """The procedure fails with this status."""

    def __init__(self, status: nfsstat3) -> None:
        super().__init__(status.name)
        self.status = status


def status_of(error: NFSError | OSError) -> nfsstat3:
    """The status of the error; SERVERFAULT if the protocol has none for it."""
    if isinstance(error, NFSError):
        return error.status
    return STATUSES.get(error.errno or 0, nfsstat3.NFS3ERR_SERVERFAULT)


def checked(name: bytes) -> bytes:
    """The name, if an object can have it (RFC 1813, general comments on filenames in section 3.3)."""
    if not name:
        raise NFSError(nfsstat3.NFS3ERR_ACCES)
    if b"/" in name or b"\0" in name:
        raise NFSError(nfsstat3.NFS3ERR_INVAL)
    if len(name) > MAX_NAME:
        raise NFSError(nfsstat3.NFS3ERR_NAMETOOLONG)
    return name


def entry(name: bytes, current: nfsstat3, parent: nfsstat3) -> bytes:
    """The name of an entry that is added or removed. For "." and ".." the error is ``current`` and ``parent``."""
    if name in (b".", b".."):
        raise NFSError(current if name == b"." else parent)
    return checked(name)


def added(name: bytes) -> bytes:
    """The name of an entry that is added: "." and ".." are there already."""
    return entry(name, nfsstat3.NFS3ERR_EXIST, nfsstat3.NFS3ERR_EXIST)
