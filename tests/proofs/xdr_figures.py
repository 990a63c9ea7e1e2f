"""``python3 -m tests.proofs.xdr_figures``: how many megabytes a second XDR codecs read and write, beside ``xdrlib``.

Each is measured in rounds, in processor time, and the best round counts. ``xdrlib`` is that of Python up to 3.12; on
a newer one our own `Packer` and `Unpacker`, which have its design, stand for it. Both sides make the same objects.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handlers.sunrpc import xdr

if sys.version_info < (3, 13):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import xdrlib
else:
    from handlers.sunrpc.xdr import packer as xdrlib

ROUNDS = 5


@dataclass(slots=True)
class Time:
    """RFC 1813, section 2.5: nfstime3."""

    seconds: xdr.UInt
    nseconds: xdr.UInt


@dataclass(slots=True)
class Attributes:
    """RFC 1813, section 2.5: fattr3, with the enum as an integer as ``xdrlib`` has it."""

    type: xdr.Int
    mode: xdr.UInt
    nlink: xdr.UInt
    uid: xdr.UInt
    gid: xdr.UInt
    size: xdr.UHyper
    used: xdr.UHyper
    device_major: xdr.UInt
    device_minor: xdr.UInt
    fsid: xdr.UHyper
    fileid: xdr.UHyper
    atime: Time
    mtime: Time
    ctime: Time


@dataclass(slots=True)
class Entry:
    """RFC 1813, section 3.3.16: entry3."""

    fileid: xdr.UHyper
    name: str
    cookie: xdr.UHyper
    following: Entry | None


def unpack_time(data: Any) -> Time:
    return Time(data.unpack_uint(), data.unpack_uint())


def unpack_attributes(data: Any) -> Attributes:
    word, long = data.unpack_uint, data.unpack_uhyper
    return Attributes(
        data.unpack_int(), word(), word(), word(), word(), long(), long(), word(), word(), long(), long(),
        unpack_time(data), unpack_time(data), unpack_time(data),
    )  # fmt: skip


def unpack_entries(data: Any) -> list[Entry]:
    def entry() -> Entry:
        return Entry(data.unpack_uhyper(), data.unpack_string().decode(), data.unpack_uhyper(), None)

    found: list[Entry] = data.unpack_list(entry)
    return found


def pack_time(data: Any, value: Time) -> None:
    data.pack_uint(value.seconds)
    data.pack_uint(value.nseconds)


def pack_attributes(data: Any, value: Attributes) -> None:
    data.pack_int(value.type)
    for word in value.mode, value.nlink, value.uid, value.gid:
        data.pack_uint(word)
    data.pack_uhyper(value.size)
    data.pack_uhyper(value.used)
    data.pack_uint(value.device_major)
    data.pack_uint(value.device_minor)
    data.pack_uhyper(value.fsid)
    data.pack_uhyper(value.fileid)
    for moment in value.atime, value.mtime, value.ctime:
        pack_time(data, moment)


def pack_entries(data: Any, entry: Entry | None) -> None:
    while entry:
        data.pack_uint(1)
        data.pack_uhyper(entry.fileid)
        data.pack_string(entry.name.encode())
        data.pack_uhyper(entry.cookie)
        entry = entry.following
    data.pack_uint(0)


def attributes(number: int) -> list[Attributes]:
    moment = Time(1_700_000_000, 999_999_999)
    return [
        Attributes(1, 0o644, 1, 1000, 1000, 2**33, 2**33, 8, 1, 7, fileid, moment, moment, moment)
        for fileid in range(number)
    ]


def entries(number: int) -> Entry | None:
    entry = None
    for fileid in range(number):
        entry = Entry(fileid, f"a file name of the usual length {fileid}", fileid, entry)
    return entry


def cases() -> list[tuple[str, object, Any, Callable[[Any], Any], Callable[[Any, Any], None]]]:
    """The name, the type, a value and the old way to unpack and pack it."""
    return [
        (
            "structs of 14 numbers (fattr3)",
            list[Attributes],
            attributes(5_000),
            lambda data: data.unpack_array(lambda: unpack_attributes(data)),
            lambda data, value: data.pack_array(value, lambda item: pack_attributes(data, item)),
        ),
        ("a linked list with names (entry3)", Entry | None, entries(5_000), unpack_entries, pack_entries),
        (
            "integers (unsigned int<>)",
            list[xdr.UInt],
            list(range(100_000)),
            lambda data: data.unpack_array(data.unpack_uint),
            lambda data, value: data.pack_array(value, data.pack_uint),
        ),
        (
            "opaque data",
            bytes,
            bytes(1 << 22),
            lambda data: data.unpack_opaque(),
            lambda data, value: data.pack_opaque(value),
        ),
    ]


def speed(work: Callable[[], object], size: int) -> str:
    """Megabytes a second at the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return f"{size / best / 1e6:,.0f}" if best else "(not measurable)"


def main() -> None:
    """Print a table in Markdown."""
    print(f"Python {sys.version.split()[0]}, MB/s:\n")
    print(f"| values | unpacked | by {xdrlib.__name__} | packed | by {xdrlib.__name__} |")
    print("| --- | --- | --- | --- | --- |")
    for name, kind, value, unpack_old, pack_old in cases():
        codec = xdr.codec(kind)
        encoded = codec.pack(value)
        old = xdrlib.Packer()
        pack_old(old, value)
        assert old.get_buffer() == encoded
        size = len(encoded)

        def pack_again(pack_old: Callable[[Any, Any], None] = pack_old, value: Any = value) -> bytes:
            packer = xdrlib.Packer()
            pack_old(packer, value)
            return packer.get_buffer()

        row = [
            speed(lambda: codec.unpack(memoryview(encoded)), size),  # noqa: B023  it is called in this turn
            speed(lambda: unpack_old(xdrlib.Unpacker(encoded)), size),  # noqa: B023
            speed(lambda: codec.pack(value), size),  # noqa: B023
            speed(pack_again, size),
        ]
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
