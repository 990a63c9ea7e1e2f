"""Hooks of a server that raise: one request ends, that is logged, and the server goes on."""

import socket
from contextlib import suppress

import pytest

from handlers import StreamHandler, Until
from tests.support.serving import (
    MODES,
    STREAMS,
    Shout,
    Unframed,
    ask,
    bounded,
    connect,
    made,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is multi-threaded:DeprecationWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",  # in thread mode, the thread of that request ends with it
)
TCP = STREAMS["tcp"]


class Own(BaseException):
    """No `Exception`."""


class Lines(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n")
            if line == b"raise\n":
                raise ValueError("as it was told")
            self.send(line)


def raising(hook, error, is_late):
    """A mix-in whose ``hook`` raises, for the first request, before or after what it is there for."""

    class Raising:
        raises = True

    def failing(self, *arguments):
        if not self.raises:
            return getattr(super(Raising, self), hook)(*arguments)
        type(self).raises = False
        if is_late:
            getattr(super(Raising, self), hook)(*arguments)
        raise error

    setattr(Raising, hook, failing)
    return Raising


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("error", [LookupError("once"), Own("once")], ids=["exception", "own"])
@pytest.mark.parametrize("hook", ["verify_request", "shutdown_request", "close_request", "handle_error"])
def test_a_hook_that_raises_ends_one_request(mode, hook, error, is_late):
    with serving(Lines, mode, TCP, raising(hook, error, is_late)) as server:
        with connect(server) as client:
            client.sendall(b"raise\n")
            assert rest(client) == b""
        assert ask(server, b"good\n") == b"good\n"
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize(("handler", "is_late"), [
    (Unframed, False), (Unframed, True), (Shout, False), (Shout, True),
    (Lines, False),  # late, its request has ended
])  # fmt: skip
@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_what_finish_request_raises_is_the_reason_of_its_request(mode, handler, is_late):
    raises = raising("finish_request", ArithmeticError("of the hook"), is_late)
    with serving(handler, mode, TCP, raises, handle_error=lambda *_: None) as server, connect(server) as client:
        with suppress(OSError):  # the server may have closed the connection first
            client.sendall(b"line\n")
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "ArithmeticError: of the hook"


@pytest.mark.parametrize("handler", [Unframed, Lines])
def test_what_process_request_thread_raises_is_the_reason_of_its_request(handler):
    raises = raising("process_request_thread", ArithmeticError("of the hook"), False)
    with serving(handler, "thread", TCP, raises) as server, connect(server) as client:
        with suppress(ConnectionError):  # the server closes the connection, which has unread input
            client.sendall(b"line\n")
            assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "ArithmeticError: of the hook"
        assert ask(server, b"line\n")


@pytest.mark.parametrize("mode", MODES)
def test_a_request_that_can_not_be_processed_leaves_the_table_whatever_closes_it(mode):
    class Own:
        def process_request(self, request, client_address):
            raise LookupError("each time")

        def shutdown_request(self, request):
            request.close()

    with serving(Lines, mode, TCP, Own) as server:
        with connect(server) as client:
            assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_connection_that_an_overridden_shutdown_request_keeps_stays_open(mode):
    kept = []

    class Keeps:
        def shutdown_request(self, request):
            kept.append(request)

    with serving(Unframed, mode, TCP, Keeps) as server, connect(server) as client:
        client.sendall(b"line\n")
        wait_until(lambda: kept and not server.reactor.table)
        kept[0].sendall(b"from elsewhere\n")
        kept[0].close()
        assert rest(client).endswith(b"from elsewhere\n")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hook", ["get_request", "service_actions"])
def test_what_get_request_and_service_actions_raise_leaves_serve_forever_and_no_request_is_lost(mode, hook):
    """As in socketserver, where get_request() may fail with OSError only."""
    kind = server_class(mode, TCP)
    failing = type(kind.__name__, (raising(hook, LookupError("once"), False), kind), {})
    with made(failing, TCP, Lines) as server, connect(server) as client:
        client.sendall(b"good\n")
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(LookupError, match="once"):
            bounded(server.serve_forever)
        with running(server):
            assert rest(client) == b"good\n"
            assert ask(server, b"good\n") == b"good\n"
            wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", MODES)
def test_an_oserror_of_get_request_is_swallowed(mode):
    with serving(Lines, mode, TCP, raising("get_request", OSError("once"), False)) as server:
        assert ask(server, b"good\n") == b"good\n"


@pytest.mark.parametrize(
    ("hook", "mode", "told"),
    [("verify_request", "select", "Exception occurred"), ("shutdown_request", "select", "shutdown_request()"),
     ("close_request", "select", "shutdown_request()"), ("handle_error", "select", "handle_error()"),
     ("handle_error", "plain", "handle_error()"), ("shutdown_request", "plain", "shutdown_request()")],
)  # fmt: skip
def test_what_a_hook_raises_is_logged_with_its_traceback(mode, hook, told, caplog):
    def is_told():
        return any(
            told in record.getMessage() and record.exc_info and record.exc_info[0] is LookupError
            for record in caplog.records
        )

    with serving(Lines, mode, TCP, raising(hook, LookupError("once"), True)) as server, connect(server) as client:
        client.sendall(b"raise\n")
        assert rest(client) == b""
        wait_until(is_told)
