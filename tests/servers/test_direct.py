"""The direct way of a connection (`reactor.servers.direct`) and the general way give the same."""

import socket
import struct
from threading import Thread
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import StreamHandler, Until
from reactor import SelectTCPServer, StreamRequestHandler, TCPServer, ThreadingTCPServer
from reactor.access import AccessMixIn
from reactor.servers.base import BaseServer
from reactor.servers.direct import Direct

READS = {"read": lambda handler: handler.rfile.readline(), "read all": lambda handler: handler.rfile.read()}
ENDS = {
    "shutdown_request": lambda handler: handler.server.shutdown_request(handler.request),
    "close_request": lambda handler: handler.server.close_request(handler.request),
    "close": lambda handler: handler.request.close(),
    "raise": lambda handler: 1 // 0,
    "reset": lambda handler: (_ for _ in ()).throw(ConnectionResetError(104, "reset")),
    "exit": lambda handler: (_ for _ in ()).throw(SystemExit(3)),
    "principal": lambda handler: setattr(handler.server.row_of(handler.request), "principal", "alice"),
}
ACTS: dict[str, Any] = {
    "write": lambda handler: handler.wfile.write(b"x" * 100),
    "write much": lambda handler: handler.wfile.write(b"y" * 100_000),
    **READS,
    **ENDS,
}


class General:
    """A mix-in with a hook that is not the package's own, so that every connection goes the general way."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return True


class Told:
    """A mix-in that keeps what hooks and handlers are told."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.told: list[Any] = []
        super().__init__(*arguments, **named)

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        row = self.row_of(request)  # type: ignore[attr-defined]
        self.told.append(("handle_error", repr(sys.exc_info()[1]), row is not None and repr(row.error)))


KINDS: dict[str, tuple[type, type]] = {
    kind.__name__: (
        type("Direct", (Told, kind), {"timeout": 5}),
        type("Indirect", (Told, General, kind), {"timeout": 5}),
    )
    for kind in (TCPServer, ThreadingTCPServer)
}


class Acting(StreamRequestHandler):
    """Does what the server's ``acts`` name, and tells the server what it sees."""

    timeout = 5

    def handle(self) -> None:
        row, table = self.server.row_of(self.request), self.server.reactor.table
        seen = row.stage, row.driven_by.mode, row in table, row.request is self.request, len(table)
        self.server.told.append(("handle", *seen, table.count_of(self.client_address)))
        for act in self.server.acts:
            ACTS[act](self)

    def finish(self) -> None:
        self.server.told.append(("finish", repr(self.reason)))
        super().finish()


def serve_one(server: Any) -> None:
    """Serve one connection in ``serve_forever()``: `handle_request` has no direct way."""
    reactor = server.reactor
    reactor.call_later(5, reactor.stop)

    def look() -> None:
        if server._srv.take_attempts and not reactor.table:
            reactor.stop()
        else:
            reactor.call_later(0.001, look)

    reactor.call_soon(look)
    with patch.object(Direct, "take", autospec=True, side_effect=Direct.take) as take:
        try:
            server.serve_forever()
        finally:
            assert take.called is not isinstance(server, General)


def outcome(kind: type, acts: list[str], sent: bytes, end: str, refused: bool = False) -> dict[str, Any]:
    """All that can be seen of one connection: what the handler, the hooks, the client and the table have seen."""
    with socket.socket() as client, kind(("127.0.0.1", 0), Acting) as server:
        reactor, server.acts = server.reactor, acts
        if refused:
            server.max_per_peer = 0
        client.settimeout(5)
        client.connect(server.server_address)
        client.sendall(sent)
        if end == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        elif end == "shutdown":
            client.shutdown(socket.SHUT_WR)
        left = ""
        try:
            serve_one(server)
        except SystemExit as error:
            left = repr(error)
        if isinstance(server, ThreadingTCPServer):
            server._srv.mode.close()  # waits for the thread
        received = b""
        if end != "reset":
            try:
                received = b"".join(iter(lambda: client.recv(1 << 20), b""))
            except ConnectionError:
                received = b"(reset)"
        records = [{**record, "driven_by": record["driven_by"].partition(" ")[0]} for record in reactor.table.closed]
        for record in records:
            for changing in ("peer", "age", "idle"):
                del record[changing]
            if record["stage"] == "lingering":  # by the loop; the general way lingers in the thread, which serves
                record["stage"] = "serving"
        return {
            "told": server.told, "left": left, "received": received, "records": records,
            "stats": reactor.table.stats(), "open": len(reactor.table), "held": reactor.budget.held,
        }  # fmt: skip


@pytest.mark.parametrize("mode", KINDS)
@given(
    acts=st.lists(st.sampled_from(sorted(ACTS)), max_size=4),
    sent=st.sampled_from([b"", b"line\n", b"line\n" * 3, b"half"]),
    end=st.sampled_from(["shutdown", "reset"]),
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a handler calls sys.exit()
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_same_as_the_general_way(mode: str, acts: list[str], sent: bytes, end: str) -> None:
    direct, general = KINDS[mode]
    assert outcome(direct, acts, sent, end) == outcome(general, acts, sent, end)


@pytest.mark.parametrize("mode", KINDS)
def test_a_limit_of_the_host_refuses_the_same(mode: str) -> None:
    direct, general = KINDS[mode]
    seen = outcome(direct, ["write"], b"", "shutdown", refused=True)
    assert seen == outcome(general, ["write"], b"", "shutdown", refused=True)
    assert seen["stats"]["refused"] == {"max_per_peer": 1}
    assert not seen["told"]


def test_a_host_without_another_thread_has_the_connection_wait_for_one_the_same() -> None:
    seen = []
    for kind in KINDS["ThreadingTCPServer"]:
        refusals = iter([RuntimeError("can't start new thread")] * 2)

        def start(thread: Thread, refusals: Any = refusals, real: Any = Thread.start) -> None:
            for refusal in refusals:
                raise refusal
            real(thread)

        with patch.object(Thread, "start", start):
            seen.append(outcome(kind, ["read", "write"], b"line\n", "shutdown"))
        assert next(refusals, None) is None
    assert seen[0] == seen[1]
    assert seen[0]["received"] == b"x" * 100


class Steps(StreamHandler):
    """A state machine that does what the server's ``acts`` name."""

    timeout = 5

    def __init__(self) -> None:
        super().__init__()
        if "raise in the constructor" in SteppingMixIn.acts:
            raise ValueError("in the constructor")

    def handle(self) -> Any:
        row, table = self.server.row_of(None), self.server.reactor.table
        seen = row is not None and (row.driven_by.mode, row in table, len(table))
        self.server.told.append(("handle", seen, table.count_of(self.client_address)))
        return Until(b"\n", limit=100), self.line

    def line(self, data: bytes) -> Any:
        self.send(data)
        if "raise" in SteppingMixIn.acts:
            raise ValueError("in a state")
        return self.handle() if "again" in SteppingMixIn.acts else None


class SteppingMixIn(Told):
    """A mix-in with what the handlers are to do."""

    acts: ClassVar[list[str]] = []
    timeout = 5


class Selecting(SteppingMixIn, SelectTCPServer):
    """The direct way."""


class SelectingGenerally(SteppingMixIn, General, SelectTCPServer):
    """The general way."""


def stepped(kind: Any, acts: list[str], sent: bytes) -> dict[str, Any]:
    """All that can be seen of one connection that the loop drives."""
    with patch.object(SteppingMixIn, "acts", acts), socket.socket() as client, kind(("127.0.0.1", 0), Steps) as server:
        reactor = server.reactor
        client.settimeout(5)
        client.connect(server.server_address)
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        serve_one(server)
        received = b"".join(iter(lambda: client.recv(1 << 20), b""))
        records = [{**record, "peer": "", "age": 0, "idle": 0} for record in reactor.table.closed]
        return {
            "told": server.told, "received": received, "records": records, "stats": reactor.table.stats(),
            "open": len(reactor.table), "held": reactor.budget.held,
        }  # fmt: skip


@given(
    acts=st.lists(st.sampled_from(["raise in the constructor", "raise", "again"]), max_size=2),
    sent=st.sampled_from([b"", b"line\n", b"line\n" * 3, b"half"]),
)
@settings(max_examples=20, deadline=None)
def test_the_loop_drives_the_same(acts: list[str], sent: bytes) -> None:
    assert stepped(Selecting, acts, sent) == stepped(SelectingGenerally, acts, sent)


class Idle(StreamRequestHandler):
    """Does nothing."""


def is_direct(server: Any) -> bool:
    """Whether the next connection goes the direct way."""
    return bool(server._srv.direct.is_open())


@pytest.mark.parametrize("kind", [TCPServer, ThreadingTCPServer])
def test_what_is_declared_leaves_the_direct_way(kind: Any) -> None:
    with kind(("127.0.0.1", 0), Idle) as server:
        assert is_direct(server)
        for hook in ("verify_request", "finish_request", "shutdown_request", "connection_filters"):
            with patch.object(server, hook, lambda *_: True):
                assert not is_direct(server), hook
            with patch.object(BaseServer if hook == "finish_request" else TCPServer, hook, lambda *_: True):
                assert not is_direct(server), hook
        for bound, value in (("max_requests", 0), ("filters", [object])):
            with patch.object(server, bound, value):
                assert not is_direct(server), bound
        assert is_direct(server)
    assert not is_direct(server)
    allowing = type("Allowing", (AccessMixIn, kind), {})
    with allowing(("127.0.0.1", 0), Idle) as server:
        assert not is_direct(server)
