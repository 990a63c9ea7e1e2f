"""`hangup`: after a hang-up of a connection (``EVENT_HANGUP``), whether input is left to be read."""

from __future__ import annotations

import errno
import socket

from ..loop.kernel import AGAIN, DONTWAIT


def hangup(sock: socket.socket) -> OSError | None:
    """Why nothing more can be sent to the peer of a connection that has hung up, and nothing more comes from it.

    ``None``: there is input that it sent before it closed its socket. After a reset there is none (RFC 9293, section
    3.10.7.4: all queues are flushed). Consumes the pending error of the socket (SO_ERROR).
    """
    try:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number and socket.socket.recv(sock, 1, socket.MSG_PEEK | DONTWAIT):
            return None
    except AGAIN:
        return None
    except OSError as error:
        return error
    return ConnectionResetError(number or errno.ECONNRESET, "the peer has closed the connection")
