"""The receiver of mail of the examples, in this process."""

import threading
from contextlib import contextmanager

from examples.smtp import Receiver, Server
from handlers.auth import Attempts
from tests.support.authentication import DUMMY, USERS
from tests.support.certificates import server_context


@contextmanager
def receiving():
    """Yields the server and a list, to which it adds each mail: sender, recipients, size and user."""
    delivered = []

    class Mail(Receiver):
        store = USERS
        dummy = DUMMY
        attempts = Attempts()

    with Server(("127.0.0.1", 0), Mail) as server:
        server.context = server_context()
        server.deliver = lambda *mail: delivered.append(mail)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, delivered
        finally:
            server.shutdown()
            thread.join()
