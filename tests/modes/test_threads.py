"""The threads of the thread mode."""

import threading

from tests.support.serving import PATIENCE, STREAMS, bounded, connect, made, rest, running, server_class


def test_daemon_threads_are_not_waited_for():
    begun, let_go = threading.Event(), threading.Event()

    def hold(request, client, server):
        begun.set()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"], daemon_threads=True)
    with made(kind, STREAMS["tcp"], hold) as server, running(server), connect(server) as client:
        assert begun.wait(PATIENCE)
        bounded(server.shutdown)
        bounded(server.server_close)
        let_go.set()
        assert rest(client) == b""
