"""`hangup`: after a hang-up of a connection (``EVENT_HANGUP``), whether input is left to be read."""

from __future__ import annotations

import errno
import socket

from ..loop.kernel import AGAIN, DONTWAIT


def hangup(sock: socket.socket, has_begun: bool) -> OSError | None:
    """Why a connection that has hung up is over; ``None``: there is input that its peer sent before.

    After a reset, Linux returns the input that came before it first, and then the error. ``has_begun``: the request is
    under way, and that input is part of it. No request begins for a peer that has reset its connection, whatever it
    has sent before: then the pending error of the socket (SO_ERROR) is consumed. Raises `kernel.AGAIN` if the
    connection has not hung up.
    """
    try:
        number = 0 if has_begun else sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number and socket.socket.recv(sock, 1, socket.MSG_PEEK | DONTWAIT):
            return None
    except AGAIN:
        raise
    except OSError as error:
        return error
    return ConnectionResetError(number or errno.ECONNRESET, "the peer has closed the connection")
