"""Handlers that raise or return nonsense: their row ends with that reason, it is logged once, and other rows go on."""

import gc
import linecache
import logging
import pickle

import pytest

from handlers import Some, StreamHandler, StreamRequestHandler
from tests.support.serving import MODES, ask, connect, receive, serving, wait_until

every_mode = pytest.mark.parametrize("mode", MODES)


class Mishap(Exception):
    """The exception of these handlers."""


class Echo(StreamHandler):
    """Echoes; each subclass fails in one place when the input says so."""

    def handle(self):
        return Some(), self.echo

    def echo(self, data):
        if data == b"fail":
            return self.fail()
        self.send(data)
        return self.handle()

    def fail(self):
        raise Mishap("as it was told")


class ItsOwnCause(Echo):
    def fail(self):
        error = Mishap("and for no other cause")
        raise error from error


class InConstructor(Echo):
    def __init__(self):
        raise Mishap("before it was made")


class InHandle(Echo):
    def handle(self):
        raise Mishap("at the start")


class InSetup(Echo):
    def setup(self):
        raise Mishap("before the start")


class InFinish(Echo):
    def fail(self):
        return None

    def finish(self):
        raise Mishap("at the end")


class InInterrupted(Echo):
    def fail(self):
        return Some(timeout=0.01), self.echo

    def interrupted(self, cause):
        raise Mishap("when the time was over")


class WaitsInSetup(Echo):
    async def setup(self):
        raise Mishap("nobody awaits this")


class WaitsInFinish(Echo):
    def fail(self):
        return None

    async def finish(self):
        raise Mishap("nobody awaits this")


class YieldsInFinish(WaitsInFinish):
    def finish(self):
        yield Some()


class InCoroutine(Echo):
    async def handle(self):
        while True:
            data = await Some()
            if data == b"fail":
                raise Mishap("in the middle")
            self.send(data)


class Nonsense(Echo):
    def fail(self):
        return "nonsense"


class NonsensicalClass(Echo):
    def fail(self):
        return Some, self.echo


class WithBadRepr(Echo):
    def fail(self):
        class Unspeakable:
            def __repr__(self):
                raise Mishap("no words")

        return Unspeakable()


class Blocking(StreamRequestHandler):
    request = Some()

    def handle(self):
        while data := self.rfile.read1():
            if data == b"fail":
                raise Mishap("while blocking")
            self.wfile.write(data)
            self.wfile.flush()


FAILING = {
    Echo: "Mishap: as it was told",
    ItsOwnCause: "Mishap: and for no other cause",
    InConstructor: "Mishap: before it was made",
    InHandle: "Mishap: at the start",
    InSetup: "Mishap: before the start",
    InFinish: "Mishap: at the end",
    InInterrupted: "Mishap: when the time was over",
    WaitsInSetup: "TypeError: WaitsInSetup.setup returned <coroutine object",
    WaitsInFinish: "TypeError: WaitsInFinish.finish returned <coroutine object",
    YieldsInFinish: "TypeError: YieldsInFinish.finish returned <generator object",
    InCoroutine: "Mishap: in the middle",
    Nonsense: "TypeError: Nonsense.echo returned 'nonsense'",
    NonsensicalClass: f"TypeError: NonsensicalClass.echo returned ({Some!r}",
    WithBadRepr: "TypeError: WithBadRepr.echo returned <Unspeakable>",
    Blocking: "Mishap: while blocking",
}


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
@pytest.mark.parametrize("kind", FAILING, ids=lambda kind: kind.__name__)
def test_a_handler_that_raises_ends_its_row_and_is_logged_with_it_once(mode, kind, caplog):
    with serving(kind, mode) as server, connect(server) as client:
        client.sendall(b"fail")
        assert client.makefile("rb").read() == b""
        [row] = wait_until(lambda: list(server.reactor.table.closed))
        address = client.getsockname()
    assert row["reason"].startswith(FAILING[kind])
    [record] = caplog.records
    assert (record.name, record.levelno) == ("reactor", logging.ERROR)
    assert linecache.getline(record.pathname, record.lineno).lstrip().startswith("log(")  # not the line of its caller
    assert record.getMessage() == f"Exception occurred during processing of request from {address}"
    assert record.exc_info[0].__name__ == row["reason"].partition(":")[0]
    assert (record.row["serial"], record.row["handler"]) == (row["serial"], kind.__name__)
    assert pickle.loads(pickle.dumps(record.row)) == record.row  # a QueueHandler can pickle it


@every_mode
@pytest.mark.parametrize(
    "kind",
    [kind for kind in FAILING if kind not in (InConstructor, InHandle, InSetup, WaitsInSetup)],
    ids=lambda kind: kind.__name__,
)
def test_other_requests_go_on(mode, kind, capfd, caplog):
    with serving(kind, mode) as server:
        for _ in range(3):
            with connect(server) as client:
                client.sendall(b"fail")
                assert client.makefile("rb").read() == b""
            with connect(server) as client:
                client.sendall(b"word")
                assert receive(client, 4) == b"word"
        wait_until(lambda: sum(server.reactor.table.ends.values()) == 6)
        assert not server.reactor.table


def test_without_logging_configured_the_error_goes_to_standard_error(capfd, monkeypatch):
    logger = logging.getLogger("reactor")
    monkeypatch.setattr(logger, "propagate", False)  # pytest has added handlers to the root logger
    with serving(Echo, "select") as server, connect(server) as client:
        client.sendall(b"fail")
        assert client.makefile("rb").read() == b""
        wait_until(lambda: server.reactor.table.closed)
    told = capfd.readouterr().err
    assert "Exception occurred during processing of request from ('127.0.0.1', " in told
    assert told.endswith("Mishap: as it was told\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@every_mode
def test_a_handler_that_raises_when_it_is_collected_affects_no_other(mode, capfd):
    class Late(Echo):
        def __del__(self):
            raise Mishap("too late")

    with serving(Late, mode) as server:
        for _ in range(3):
            with connect(server) as client:
                client.sendall(b"word")
                assert receive(client, 4) == b"word"
        wait_until(lambda: server.reactor.table.ends == {"": 3})
    gc.collect()


def test_a_handler_whose_constructor_raises_ends_only_its_own_request(caplog):
    class Unmade(Echo):
        made = 0

        def __init__(self):
            Unmade.made += 1
            if Unmade.made == 1:
                raise LookupError("not today")

    with serving(Unmade, "select") as server:
        assert ask(server) == b""
        assert ask(server, b"hello") == b"hello"
    assert "LookupError" in caplog.text
