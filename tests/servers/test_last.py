"""`NoNewHandshakes`: what a listener that is about to be closed still takes."""

import socket
import struct
import sys
from array import array

import pytest

from reactor.servers import last
from tests.support.serving import PATIENCE


def keep_all(sock):
    """Put a filter on the socket that takes all."""
    instruction = array("B", struct.pack("HBBI", 6, 0, 0, 0xFFFF_FFFF))
    program = struct.pack("HP", 1, instruction.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, last.SO_ATTACH_FILTER, program)


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_the_filter_of_a_unix_listener_is_left():
    with socket.socket(socket.AF_UNIX) as listener:
        keep_all(listener)
        with last.NoNewHandshakes(listener):
            pass
        assert len(listener.getsockopt(socket.SOL_SOCKET, last.SO_ATTACH_FILTER, 64)) == 1  # SO_GET_FILTER: its length


def test_a_listener_may_be_closed_meanwhile():
    with socket.create_server(("127.0.0.1", 0)) as listener, last.NoNewHandshakes(listener):
        listener.close()


def takes_filters():
    """Whether this user may put a filter on a TCP socket: some kernels ask for a privilege."""
    with socket.socket() as sock:
        try:
            keep_all(sock)
        except PermissionError:
            return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_no_handshake_begins_meanwhile_and_what_has_come_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as late:
        listener.settimeout(PATIENCE)
        late.setblocking(False)
        with socket.create_connection(listener.getsockname(), PATIENCE), last.NoNewHandshakes(listener):
            late.connect_ex(listener.getsockname())
            listener.accept()[0].close()
            listener.setblocking(False)
            if takes_filters():
                with pytest.raises(BlockingIOError):
                    listener.accept()
            else:
                listener.accept()[0].close()
