"""Sums in digits behind a text: ``$text#hh``, as in gdb's protocol, and ``$text*hh``, as in NMEA's."""

from __future__ import annotations

import re
from functools import reduce
from operator import xor

_SUMMED = re.compile(rb"[$!]([^$!*#\r\n]*)([*#])([0-9A-Fa-f]{2})")


def summed(piece: bytes, start: int, end: int) -> bool:
    """Whether a part is in a text whose sum is behind it: ``$text#hh``, or with an exclusive or ``$text*hh``.

    >>> summed(b"$m0,4#fd", 2, 3), summed(b"$m0,4#00", 2, 3)
    (True, False)
    """
    about = (found for found in _SUMMED.finditer(piece) if found.start() < start and end <= found.end(1))
    return any(found[3].lower() == _sum_of(found) for found in about)


def summed_anew(piece: bytes) -> bytes:
    """The piece with the right sum behind each such text.

    >>> summed_anew(b"$m+0,4#fd")
    b'$m+0,4#28'
    """
    return _SUMMED.sub(lambda found: b"%b%b%b" % (found[0][: -1 - len(found[3])], found[2], _sum_of(found)), piece)


def _sum_of(found: re.Match[bytes]) -> bytes:
    return b"%02x" % (sum(found[1]) & 0xFF if found[2] == b"#" else reduce(xor, found[1], 0))
