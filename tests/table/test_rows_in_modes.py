"""The rows of the table in every mode, over every kind of stream socket."""

import re
import socket

import pytest

from handlers import Connected, Some, StreamHandler
from tests.handlers.rows import Xor
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
    Unframed,
    connect,
    receive,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
DRIVERS = {"select": r"loop", "plain": r"caller", "fork": r"child \d+", "thread": r"thread .+"}


@every_mode
@pytest.mark.parametrize("place", STREAMS)
def test_a_request_is_a_row_while_it_is_open(mode, place):
    with serving(Reverse, mode, STREAMS[place]) as server:
        table = server.reactor.table
        for serial in 1, 2:
            with connect(server) as client:
                client.sendall(b"5:olleh,5:he")
                assert receive(client, 8) == b"5:hello,"
                [row] = wait_until(lambda: [row for row in table if re.fullmatch(DRIVERS[mode], str(row.driven_by))])
                assert (row.serial, row.handler) == (serial, "Reverse")
                assert row.server is server
                if server.address_family != socket.AF_UNIX:
                    assert row.peer[1] == client.getsockname()[1]
                if mode != "fork":  # the state of a child is known only to the child
                    wait_until(lambda row=row: (row.held_in, row.total_out) == (2, 8))
                    assert (row.state, row.wait) == ("payload", "Exactly(6)")
                    assert (row.held_out, row.total_in) == (0, 12)
                    assert 0 <= row.idle() <= row.age() <= 2 * PATIENCE
                assert_tells(table, row)
            wait_until(lambda: not table)
        assert table.as_dicts() == []


def assert_tells(table, row):
    """The text and the dictionaries of the table agree with its only row."""
    heading, line = str(table).splitlines()
    assert heading.split()[:6] == ["row", "peer", "in", "front", "handler", "stage"]
    assert re.match(rf"{row.serial} +\S+ +{row.handler} +{row.stage.value} +{row.state} +{re.escape(row.wait)}", line)
    assert line.endswith(str(row.driven_by))
    [told] = table.as_dicts()
    assert told["driven_by"] == str(row.driven_by)
    for name in "serial", "handler", "state", "wait", "held_in", "held_out", "total_in", "total_out":
        assert told[name] == getattr(row, name)
    assert all(value is None or isinstance(value, (int, float, str)) for value in told.values())


@pytest.mark.parametrize(("mode", "handler", "driver"), [
    *((mode, Shout, "caller" if mode == "plain" else "loop") for mode in DRIVERS),
    *((mode, Unframed, driver) for mode, driver in DRIVERS.items() if mode != "select"),
])  # fmt: skip
def test_a_blocking_handler_is_a_row_too(mode, handler, driver):
    with serving(handler, mode) as server, connect(server) as client:
        [row] = wait_until(lambda: [row for row in server.reactor.table if re.fullmatch(driver, str(row.driven_by))])
        assert (row.serial, row.handler, row.peer) == (1, handler.__name__, client.getsockname())
        client.sendall(b"hello\n")
        assert rest(client) == b"HELLO\n"
        wait_until(lambda: not server.reactor.table)


class Maker:
    """Makes handlers, and is no class; it can't be told of."""

    request = None

    def __call__(self, *arguments):
        return Unframed(*arguments)

    def __repr__(self):
        raise ValueError("no words")


@pytest.mark.parametrize("filters", [[], [Xor]], ids=["bare", "filters"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "select"])
def test_what_makes_the_handlers_is_named_even_if_its_repr_raises(mode, filters):
    with serving(Maker(), mode, filters=filters) as server, connect(server) as client:
        [row] = wait_until(server.reactor.table.as_dicts)
        assert row["handler"] == "<Maker>"
        client.sendall(Xor.encode(b"hello\n") if filters else b"hello\n")
        assert rest(client) == (Xor.decode(b"HELLO\n") if filters else b"HELLO\n")
        wait_until(lambda: not server.reactor.table)
        assert server.reactor.table.closed[0]["handler"] == "<Maker>"


def test_a_connection_that_a_handler_opens_is_another_row():
    class Front(StreamHandler):
        async def handle(self):
            await Connected(self.server.upstream, Conversation())
            await Some()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Front, "thread", upstream=listener.getsockname()) as server,
        connect(server) as client,
    ):
        upstream, _ = listener.accept()
        with upstream:
            rows = wait_until(
                lambda: (
                    [row for row in server.reactor.table if row.wait == "Some(65536)"] and list(server.reactor.table)
                )
            )
            assert [(row.serial, row.handler, row.peer) for row in rows] == [
                (1, "Front", client.getsockname()), (2, "Conversation", listener.getsockname())
            ]  # fmt: skip
            assert rows[0].driven_by is rows[1].driven_by
