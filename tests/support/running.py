"""The server of an example, in a thread of this process."""

from contextlib import contextmanager

from tests.support.serving import running


@contextmanager
def running_server(server):
    """Serve in a thread, and close the server at the end."""
    with server, running(server):
        yield server
