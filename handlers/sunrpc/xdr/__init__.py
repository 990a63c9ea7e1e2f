"""XDR, External Data Representation (RFC 4506): Python types that are also its declarations, and their codecs.

An annotation says how a value is written. ``bool``, ``str``, ``bytes``, ``list[T]``, ``T | None``, a subclass of
``enum.IntEnum`` and a dataclass of such types mean what they say; integers and floats have names of their own,
because Python's have no width:

>>> from dataclasses import dataclass
>>> from typing import Annotated
>>> from handlers.sunrpc import xdr
>>> @dataclass
... class Entry:
...     number: xdr.UHyper
...     name: Annotated[str, xdr.AtMost(255)]
...     following: "Entry | None"
>>> xdr.pack(Entry, Entry(7, "etc", None)).hex(" ", 4)
'00000000 00000007 00000003 65746300 00000000'
>>> xdr.unpack(Entry, bytes.fromhex("0000000000000007 00000003 65746300 00000000"))
Entry(number=7, name='etc', following=None)

=========================  =================================================  ==================
RFC 4506                   Python annotation                                  Python value
=========================  =================================================  ==================
int, unsigned int          `Int`, `UInt`                                      int
hyper, unsigned hyper      `Hyper`, `UHyper`                                  int
float, double, quadruple   `Float`, `Double`, `Quadruple`                     float, float, Decimal
bool                       ``bool``                                           bool
enum                       a subclass of ``enum.IntEnum``                     its member
opaque x[n]                ``Annotated[bytes, Length(n)]``                    bytes
opaque x<n>, opaque x<>    ``Annotated[bytes, AtMost(n)]``, ``bytes``         bytes
string x<n>, string x<>    ``Annotated[str, AtMost(n)]``, ``str``             str
T x[n]                     ``Annotated[list[T], Length(n)]``                  list
T x<n>, T x<>              ``Annotated[list[T], AtMost(n)]``, ``list[T]``     list
T \\*x                      ``T | None``                                       a T, or None
struct                     a dataclass                                        its instance
union                      a dataclass with a `Switch` on its second field    its instance
void                       ``None``                                           None
=========================  =================================================  ==================

`Short`, `UShort`, `Char` and `UChar` are what ``rpcgen`` makes of those C types: four bytes, and a smaller range.

What the RFC leaves open, and what is stricter than ``xdrlib``:

- Each value has one encoding. Padding that is not zero (section 3) is an `Error`, and so are bytes after the value
  in `unpack`; `Codec.unpack_from` says where the value ends.
- A bool is 0 or 1, an enum is one of its members, the discriminant of a union has an arm or there is a default;
  anything else is an `Error`, in both directions, as is a value above a declared maximum or outside of its range.
- A length is compared with the maximum and with what is left of the data before anything is allocated.
- A string is read as UTF-8 with ``surrogateescape``: any bytes are read, and written as the same bytes.
  Its maximum counts bytes.
- Variable-length opaque data is a slice of what is unpacked: of ``bytes`` it is ``bytes``, of a ``memoryview`` it is a
  ``memoryview`` without a copy, and of a ``bytearray``, which may change, it is ``bytes``. Any of the three can be
  packed; `Codec.parts` returns it without a copy.
- The fields of a dataclass are passed to its constructor. A list that is linked by its last field (section 4.19) is
  followed in a loop, so it may have any length; other nesting is recursive, and too deep a nesting is an `Error`.
- NaN is kept, but not each of its bit patterns.

Whose module ``xdrlib`` is missed finds `Packer` and `Unpacker` here, with its names and errors.
The modules are `errors`, `types` (the annotations, and what they describe), `quadruple`, `writer`, `packing` and
`unpacking` (which write the Python of a codec), `codecs` and `packer`.
"""

from .codecs import Codec, codec, codec_of, pack, unpack
from .errors import ConversionError, Error
from .packer import Packer, Unpacker
from .types import (
    AtMost,
    Char,
    Double,
    Float,
    Hyper,
    Int,
    Length,
    Quadruple,
    Short,
    Switch,
    UChar,
    UHyper,
    UInt,
    UShort,
)

__all__ = [
    "AtMost",
    "Char",
    "Codec",
    "ConversionError",
    "Double",
    "Error",
    "Float",
    "Hyper",
    "Int",
    "Length",
    "Packer",
    "Quadruple",
    "Short",
    "Switch",
    "UChar",
    "UHyper",
    "UInt",
    "UShort",
    "Unpacker",
    "codec",
    "codec_of",
    "pack",
    "unpack",
]
