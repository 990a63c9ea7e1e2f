"""`Packer` and `Unpacker` of ``xdrlib``, which left the standard library in Python 3.13: the same names and errors.

Change ``import xdrlib`` to ``from handlers.sunrpc.xdr import packer as xdrlib``. Like ``xdrlib``, they check neither
padding nor declared maxima; `handlers.sunrpc.xdr.codecs` does. One thing differs: ``Error`` is a `ValueError`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from .errors import ConversionError, Error

__all__ = ["ConversionError", "Error", "Packer", "Unpacker"]

T = TypeVar("T")
_INT, _UINT = struct.Struct(">l"), struct.Struct(">L")
_FLOAT, _DOUBLE = struct.Struct(">f"), struct.Struct(">d")


class Packer:
    """Packs values one after another into a buffer.

    >>> packer = Packer()
    >>> packer.pack_uint(7)
    >>> packer.pack_string(b"etc")
    >>> packer.get_buffer().hex(" ", 4)
    '00000007 00000003 65746300'
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with an empty buffer."""
        self._buffer = bytearray()

    def get_buffer(self) -> bytes:
        """What has been packed."""
        return bytes(self._buffer)

    get_buf = get_buffer

    def _pack(self, layout: struct.Struct, value: Any) -> None:
        try:
            self._buffer += layout.pack(value)
        except struct.error as error:
            raise ConversionError(error.args[0]) from None

    def pack_uint(self, x: int) -> None:
        """Pack an unsigned int."""
        self._pack(_UINT, x)

    def pack_int(self, x: int) -> None:
        """Pack an int."""
        self._pack(_INT, x)

    pack_enum = pack_int

    def pack_bool(self, x: object) -> None:
        """Pack whether ``x`` is true."""
        self._pack(_UINT, 1 if x else 0)

    def pack_uhyper(self, x: int) -> None:
        """Pack the low 64 bits."""
        try:
            self._buffer += _UINT.pack(x >> 32 & 0xFFFFFFFF) + _UINT.pack(x & 0xFFFFFFFF)
        except TypeError as error:
            raise ConversionError(error.args[0]) from None

    pack_hyper = pack_uhyper

    def pack_float(self, x: float) -> None:
        """Pack a float of single precision."""
        self._pack(_FLOAT, x)

    def pack_double(self, x: float) -> None:
        """Pack a float of double precision."""
        self._pack(_DOUBLE, x)

    def pack_fstring(self, n: int, s: bytes) -> None:
        """Pack the first ``n`` bytes of ``s``, or ``s`` and zeros up to ``n`` bytes, and padding."""
        if n < 0:
            raise ValueError("fstring size must be nonnegative")
        data = s[:n]
        self._buffer += data + bytes(n + -n % 4 - len(data))

    pack_fopaque = pack_fstring

    def pack_string(self, s: bytes) -> None:
        """Pack the length of ``s``, ``s`` and padding."""
        self.pack_uint(len(s))
        self.pack_fstring(len(s), s)

    pack_opaque = pack_string
    pack_bytes = pack_string

    def pack_list(self, list: Iterable[T], pack_item: Callable[[T], object]) -> None:  # noqa: A002  xdrlib's name
        """Pack a linked list: 1 before each item, 0 after the last."""
        for item in list:
            self.pack_uint(1)
            pack_item(item)
        self.pack_uint(0)

    def pack_farray(self, n: int, list: Sequence[T], pack_item: Callable[[T], object]) -> None:  # noqa: A002
        """Pack an array of ``n`` items without its length."""
        if len(list) != n:
            raise ValueError("wrong array size")
        for item in list:
            pack_item(item)

    def pack_array(self, list: Sequence[T], pack_item: Callable[[T], object]) -> None:  # noqa: A002
        """Pack an array and its length."""
        self.pack_uint(len(list))
        self.pack_farray(len(list), list, pack_item)


class Unpacker:
    """Unpacks values one after another from data. `EOFError` says that the data ends too early.

    >>> unpacker = Unpacker(bytes.fromhex("00000007 00000003 65746300"))
    >>> unpacker.unpack_uint(), unpacker.unpack_string()
    (7, b'etc')
    >>> unpacker.done()
    """

    def __init__(self, data: Any) -> None:
        self.reset(data)

    def reset(self, data: Any) -> None:
        """Begin with the data."""
        self._data = data
        self._position = 0

    def get_position(self) -> int:
        """The offset of what is unpacked next."""
        return self._position

    def set_position(self, position: int) -> None:
        """Go to the offset."""
        self._position = position

    def get_buffer(self) -> Any:
        """The data."""
        return self._data

    def done(self) -> None:
        """Refuse data that has not been unpacked."""
        if self._position < len(self._data):
            raise Error("unextracted data remains")

    def _unpack(self, layout: struct.Struct) -> Any:
        start = self._position
        self._position = end = start + layout.size
        data = self._data[start:end]
        if len(data) < layout.size:
            raise EOFError
        return layout.unpack(data)[0]

    def unpack_uint(self) -> int:
        """Unpack an unsigned int."""
        value: int = self._unpack(_UINT)
        return value

    def unpack_int(self) -> int:
        """Unpack an int."""
        value: int = self._unpack(_INT)
        return value

    unpack_enum = unpack_int

    def unpack_bool(self) -> bool:
        """Unpack an int, and say whether it is not 0."""
        return bool(self.unpack_int())

    def unpack_uhyper(self) -> int:
        """Unpack an unsigned hyper."""
        high = self.unpack_uint()
        return high << 32 | self.unpack_uint()

    def unpack_hyper(self) -> int:
        """Unpack a hyper."""
        value = self.unpack_uhyper()
        return value - (1 << 64) if value >> 63 else value

    def unpack_float(self) -> float:
        """Unpack a float of single precision."""
        value: float = self._unpack(_FLOAT)
        return value

    def unpack_double(self) -> float:
        """Unpack a float of double precision."""
        value: float = self._unpack(_DOUBLE)
        return value

    def unpack_fstring(self, n: int) -> Any:
        """Unpack ``n`` bytes and pass over their padding."""
        if n < 0:
            raise ValueError("fstring size must be nonnegative")
        start = self._position
        end = start + n + -n % 4
        if end > len(self._data):
            raise EOFError
        self._position = end
        return self._data[start : start + n]

    unpack_fopaque = unpack_fstring

    def unpack_string(self) -> Any:
        """Unpack a length, so many bytes and their padding."""
        return self.unpack_fstring(self.unpack_uint())

    unpack_opaque = unpack_string
    unpack_bytes = unpack_string

    def unpack_list(self, unpack_item: Callable[[], T]) -> list[T]:
        """Unpack a linked list."""
        found: list[T] = []
        while (more := self.unpack_uint()) == 1:
            found.append(unpack_item())
        if more:
            raise ConversionError(f"0 or 1 expected, got {more!r}")
        return found

    def unpack_farray(self, n: int, unpack_item: Callable[[], T]) -> list[T]:
        """Unpack ``n`` items."""
        return [unpack_item() for _ in range(n)]

    def unpack_array(self, unpack_item: Callable[[], T]) -> list[T]:
        """Unpack a length and so many items."""
        return self.unpack_farray(self.unpack_uint(), unpack_item)
