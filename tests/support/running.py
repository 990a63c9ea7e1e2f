"""The server of an example, in a thread of this process."""

import threading
from contextlib import contextmanager

from tests.support.serving import PATIENCE, bounded


@contextmanager
def running_server(server):
    """Serve in a thread, and close the server at the end."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        bounded(server.shutdown)
        thread.join(PATIENCE)
        bounded(server.server_close)
