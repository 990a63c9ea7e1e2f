"""`Handles`: file handles (RFC 1813, section 2.5), which say which object is meant, and never where it is.

A handle is the device, the inode number and the generation of the object, and a MAC of them. So it stays the same when
the object is renamed, and nobody can make one up. A server that starts with the same key knows the same handles.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import struct
from typing import NamedTuple

_FORM = struct.Struct(">QQ8s")
_MAC = 16
SIZE = _FORM.size + _MAC
"""Bytes of a handle; at most 64 (NFS3_FHSIZE)."""

_AT_EMPTY_PATH, _STATX_BTIME = 0x1000, 0x800  # linux/fcntl.h, linux/stat.h
_MAX_HANDLE = 128  # MAX_HANDLE_SZ
_libc = ctypes.CDLL(None)


class Identity(NamedTuple):
    """Which object it is, for as long as it exists: no later object has the same identity."""

    device: int
    inode: int
    generation: bytes


def identity(descriptor: int, name: bytes = b"", status: os.stat_result | None = None) -> Identity:
    """The identity of the open object, or of the object with this name in the open directory.

    ``status`` is its status, if it is known.
    """
    if status is None:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False) if name else os.fstat(descriptor)
    return Identity(status.st_dev, status.st_ino, _generation(descriptor, name))


def _generation(descriptor: int, name: bytes) -> bytes:
    """Eight bytes that tell the object from earlier ones that had its inode number.

    They are made from name_to_handle_at(2), which has the generation of the inode. Not every file system has that: then
    from the time of birth that statx(2) tells; zeros if there is none either.
    """
    flags = 0 if name else _AT_EMPTY_PATH
    handle = ctypes.create_string_buffer(struct.pack("Ii", _MAX_HANDLE, 0), 8 + _MAX_HANDLE)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(descriptor, name, handle, ctypes.byref(mount), flags) == 0:
        size, _ = struct.unpack_from("Ii", handle)
        return hashlib.blake2b(handle.raw[: 8 + size], digest_size=8).digest()
    status = ctypes.create_string_buffer(256)
    flags |= 0x100  # AT_SYMLINK_NOFOLLOW
    if _libc.statx(descriptor, name, flags, _STATX_BTIME, status) == 0:
        (mask,) = struct.unpack_from("I", status)
        if mask & _STATX_BTIME:
            seconds, nanoseconds = struct.unpack_from("qI", status, 0x50)
            return struct.pack(">Q", (seconds * 1_000_000_000 + nanoseconds) % (1 << 64))
    return bytes(8)


class Handles:
    """Makes and reads the handles of one key.

    >>> handles = Handles(bytes(32))
    >>> handle = handles.write(Identity(1, 2, b"01234567"))
    >>> handles.read(handle)
    Identity(device=1, inode=2, generation=b'01234567')
    >>> handles.read(bytes(len(handle))) is None
    True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, identity: Identity) -> bytes:
        """The handle of the object."""
        body = _FORM.pack(*identity)
        return body + self._mac(body)

    def read(self, handle: bytes) -> Identity | None:
        """The identity that the handle has; ``None`` if it is no handle of this key."""
        body, mac = handle[: _FORM.size], handle[_FORM.size :]
        if not hmac.compare_digest(mac, self._mac(body)) or len(body) != _FORM.size:
            return None
        return Identity(*_FORM.unpack(body))

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=_MAC, key=self._key, person=b"handle").digest()

    def digest(self, data: bytes, purpose: bytes) -> bytes:
        """Eight bytes of a MAC of the data. ``purpose`` has at most 16 bytes."""
        return hashlib.blake2b(data, digest_size=8, key=self._key, person=purpose).digest()
