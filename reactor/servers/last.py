"""The last connections of a listener that is about to be closed: those that the kernel has completed are taken.

To close a listening socket resets the connections in its accept queue. So it first takes no new handshake
(``SO_ATTACH_FILTER`` of ``socket(7)``: a filter drops SYN segments, and their senders try again), then what is there is
accepted.

The filter belongs to the socket, which other processes may serve too: their clients try again after a second. So it is
there only for the moment between the last look at the accept queue and the close, and goes before the close. A filter
that the program has attached to the listener itself is lost then: getsockopt(2) can't safely be asked for it. A process
that is killed in this moment leaves the filter on a socket that others serve, which then take no client: give each
process a socket of its own (``allow_reuse_port``) where processes are killed and others serve on.
"""

from __future__ import annotations

import socket
import struct
import sys
from array import array
from contextlib import contextmanager

from ..loop.kernel import is_tcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27

_NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of the flags (RFC 9293, 3.1); a segment begins at 0
        (0x54, 0, 0, 0x12),  # SYN and ACK
        (0x15, 0, 1, 0x02),  # if it is SYN alone,
        (0x06, 0, 0, 0),  # drop it,
        (0x06, 0, 0, 0xFFFF_FFFF),  # else keep it
    )
)


@contextmanager
def no_new_handshakes(sock: Any) -> Iterator[None]:
    """A context in which a listening TCP socket completes the handshakes that have begun, and begins none (Linux)."""
    attached = _attach(sock)
    try:
        yield
    finally:
        if attached:
            _detach(sock)


def _attach(sock: Any) -> bool:
    if sys.platform != "linux" or not is_tcp(sock):
        return False
    program = array("B", _NO_SYN)
    address, length = program.buffer_info()
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", length // 8, address))
    except OSError:  # this kernel has no filters, or a sandbox takes none
        return False
    return True


def _detach(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    except OSError:
        pass  # a hook has closed the socket, or another process has locked the filter (SO_LOCK_FILTER)
