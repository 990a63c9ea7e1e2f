"""The last connections of a listener that is about to be closed: those that the kernel has completed are taken.

To close a listening socket resets the connections in its accept queue. So it first takes no new handshake
(``SO_ATTACH_FILTER`` of ``socket(7)``: a filter drops SYN segments, and their senders try again), then what is there is
accepted.

Where the kernel takes no filter on a TCP socket from this user (some ask for a privilege), a client whose handshake is
completed between the last look at the accept queue and the close is reset.

The filter belongs to the socket, which other processes may serve too: their clients try again after a second. So it is
there only for the moment between the last look at the accept queue and the close, and goes before the close. A filter
that the program has attached to the listener itself is lost then: getsockopt(2) can't safely be asked for it. A process
that is killed in this moment leaves the filter on a socket that others serve, which then take no client: give each
process a socket of its own (``allow_reuse_port``) where processes are killed and others serve on.
"""

from __future__ import annotations

import socket
import sys
from array import array

from ..loop.kernel import is_tcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27

_NO_SYN = b"".join(  # each instruction is a ``struct sock_filter``
    code.to_bytes(2, sys.byteorder) + bytes(jumps) + number.to_bytes(4, sys.byteorder)
    for code, jumps, number in (
        (0x30, (0, 0), 13),  # load the byte of the flags (RFC 9293, 3.1); a segment begins at 0
        (0x54, (0, 0), 0x12),  # SYN and ACK
        (0x15, (0, 1), 0x02),  # if it is SYN alone,
        (0x06, (0, 0), 0),  # drop it,
        (0x06, (0, 0), 0xFFFF_FFFF),  # else keep it
    )
)
_POINTER = 8 if sys.maxsize >> 32 else 4  # bytes


class NoNewHandshakes:
    """A context in which a listening TCP socket completes the handshakes that have begun, and begins none (Linux)."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._is_attached = False

    def __enter__(self) -> None:
        self._is_attached = _attach(self._socket)

    def __exit__(self, *error: object) -> None:
        if self._is_attached:
            _detach(self._socket)


def _attach(sock: Any) -> bool:
    if sys.platform != "linux" or not is_tcp(sock):
        return False
    program = array("B", _NO_SYN)
    address, length = program.buffer_info()
    said = (length // 8).to_bytes(2, sys.byteorder), bytes(_POINTER - 2), address.to_bytes(_POINTER, sys.byteorder)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, b"".join(said))  # a ``struct sock_fprog``
    except OSError:  # this kernel has no filters, or takes none from this user
        return False
    return True


def _detach(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    except OSError:
        pass  # a hook has closed the socket, or another process has locked the filter (SO_LOCK_FILTER)
