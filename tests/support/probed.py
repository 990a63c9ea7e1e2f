"""Servers of plain sockets and threads, as others write them, for the probe: one is right, the others have a fault.

Each answers lines with the same lines in upper case, after a greeting.
"""

import socketserver
import threading
import time
from contextlib import contextmanager


class Right(socketserver.StreamRequestHandler):
    """Answers each line, and what comes before the end of the stream without a line end not at all."""

    def handle(self):
        self.wfile.write(b"hello\r\n")
        while (line := self.rfile.readline(1000)).endswith(b"\n"):
            self.wfile.write(line.upper())


class Raw(socketserver.BaseRequestHandler):
    """What the faulty servers share: they read what has come, and call it a message."""

    def handle(self):
        self.request.sendall(b"hello\r\n")
        self.held = b""
        try:
            while data := self.request.recv(1000):
                self.take(data)
        except ConnectionError:
            pass
        self.over()

    def take(self, data):
        self.held += data
        *lines, self.held = self.held.split(b"\n")
        for line in lines:
            self.request.sendall(line.upper() + b"\n")

    def over(self):
        """The input has ended."""


class TakesAReadForALine(Raw):
    def take(self, data):
        self.request.sendall(data.upper() if data.endswith(b"\n") else data.upper() + b"\r\n")


class AnswersOneLineOfARead(Raw):
    def take(self, data):
        line, _, self.held = (self.held + data).partition(b"\n")
        self.request.sendall(line.upper() + b"\n")
        self.held = b""


class AnswersOnlyAtTheEndOfARead(Raw):
    """Loses the last answer if the end of the stream comes with it."""

    def handle(self):
        self.request.sendall(b"hello\r\n")
        self.held = b""
        while data := self.request.recv(1000):
            time.sleep(0.01)
            self.request.setblocking(False)
            try:
                if self.request.recv(1, 2) == b"":  # MSG_PEEK
                    return
            except BlockingIOError:
                pass
            self.request.setblocking(True)
            self.take(data)


class StaysAfterTheEnd(Raw):
    def over(self):
        time.sleep(8)


class StopsAfterAReset(Raw):
    """An exception of one connection ends the service for all."""

    is_down = False

    def handle(self):
        if type(self).is_down:
            return
        super().handle()

    def take(self, data):
        super().take(data)

    def over(self):
        try:
            self.request.getpeername()
        except OSError:
            type(self).is_down = True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A connection that the probe has reset is no news."""


@contextmanager
def probed(handler):
    """A server in threads of this process; yields its URL."""
    kind = type(handler.__name__, (handler,), {})  # what it keeps in its class is gone with it
    with Server(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
