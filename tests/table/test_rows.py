"""What a row shows of its request: as text, as a dictionary, and its times."""

import json
import socket
from contextlib import closing

import pytest

from handlers import DatagramHandler, Delay, Exactly, Packet, Some, StreamHandler, Until
from handlers.services import Echo
from reactor import Reactor, SelectUDPServer
from tests.support.bench import SMALL, bench
from tests.support.loops import Clock, until
from tests.support.serving import MODES, STREAMS, connect, peer, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are

FIELDS = {
    "serial", "peer", "handler", "state", "wait", "held_in", "held_out", "total_in", "total_out", "age", "idle",
    "deadline", "driven_by", "principal", "secured", "stage",
    "in_front", "proxied",
}  # fmt: skip


class Talk(StreamHandler):
    """Has several waits, for `as_dict`."""

    timeout = 30

    def handle(self):
        return Until(b":", limit=9), self.length

    def length(self, digits):
        self.send(b"go on")
        return Exactly(int(digits[:-1]), timeout=7.5), self.payload

    def payload(self, data):
        return Delay(2), self.rested

    def rested(self, _):
        return Some(timeout=float("inf")), self.last

    def last(self, data):
        self.send(bytes(3_000_000))


def test_as_dict_gives_state_wait_and_counts():
    clock = Clock()
    with bench(Talk, sndbuf=SMALL, clock=clock) as here:
        client = here.connect(SMALL)
        row = here.row
        host, port = client.getsockname()
        fresh = {
            "serial": 1, "peer": f"{host}:{port}", "handler": "Talk", "state": "length", "wait": "Until(b':', limit=9)",
            "held_in": 0, "held_out": 0, "total_in": 0, "total_out": 0, "age": 0, "idle": 0, "deadline": 30,
            "stage": "serving", "driven_by": "loop", "principal": None, "secured": None,
            "in_front": "", "proxied": None,
        }  # fmt: skip
        assert row.as_dict() == fresh
        clock.seconds += 1.5
        assert row.as_dict() == {**fresh, "age": 1.5, "idle": 1.5, "deadline": 28.5}
        client.sendall(b"1")
        here.rest()
        assert row.as_dict() == {**fresh, "age": 1.5, "deadline": 28.5, "held_in": 1, "total_in": 1}
        client.sendall(b"2:twelve")
        here.rest()
        exactly = {**fresh, "state": "payload", "wait": "Exactly(12, timeout=7.5)", "age": 1.5, "deadline": 7.5}
        exactly.update(held_in=6, total_in=9, total_out=5)
        assert row.as_dict() == exactly
        client.sendall(b" bytes")
        here.rest()
        delay = {**exactly, "state": "rested", "wait": "Delay(2)", "deadline": 2, "held_in": 0, "total_in": 15}
        assert row.as_dict() == delay
        clock.seconds += 2
        here.rest()
        for_ever = {**delay, "state": "last", "wait": "Some(65536, timeout=inf)", "deadline": None}
        assert row.as_dict() == {**for_ever, "age": 3.5, "idle": 2}
        client.sendall(b"x")
        here.rest()
        last = row.as_dict()
        assert (last["state"], last["wait"], last["deadline"]) == ("finished", "", 30)
        assert last["held_out"] + last["total_out"] == 3_000_005
        here.take(client, 3_000_005)
        client.close()  # until then the last of it may be unacknowledged
        here.rest()
        assert list(here.table) == []


def test_age_counts_from_the_arrival_and_idle_from_the_last_byte():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        client = here.connect()
        row = here.row
        for number in range(1, 4):
            clock.seconds += 10
            assert (row.age(), row.idle()) == (10 * number, 10)
            client.sendall(b"x")
            here.take(client, 1)
            assert (row.age(), row.idle()) == (10 * number, 0)


def test_the_state_of_a_coroutine_has_its_line_number():
    class Lines(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            await Until(b"\n")

    with bench(Lines) as here:
        client = here.connect()
        name, first = here.row.state.split(":")
        client.sendall(b"\n")
        here.rest()
        assert name == "handle"
        assert here.row.state == f"handle:{int(first) + 1}"


@pytest.mark.parametrize("place", STREAMS.values(), ids=STREAMS)
def test_the_dictionaries_are_plain_data(place):
    with bench(Talk, place) as here:
        for _ in range(3):
            here.connect()
        rows = here.table.as_dicts()
        assert json.loads(json.dumps(rows, allow_nan=False)) == rows
        assert [set(row) for row in rows] == [FIELDS] * 3
        assert {row["peer"][0] for row in rows} <= ({"-"} if place.family == socket.AF_UNIX else {"1", "["})


def test_the_text_has_a_heading_and_a_line_for_each_row():
    clock = Clock()
    with bench(Talk, clock=clock) as here:
        words = " ".join(str(here.table).split())
        assert words == "row peer in front handler stage state waits for in out age idle due in driven by"
        clients = [here.connect() for _ in range(2)]
        clients[1].sendall(b"1")
        here.rest()
        clock.seconds += 2.25
        heading, first, second = str(here.table).splitlines()
        host, port = clients[1].getsockname()
        assert first.split()[0] == "1"
        assert (
            second.split()
            == f"2 {host}:{port} Talk serving length Until(b':', limit=9) 1/1 0/0 2.2 2.2 27.8 loop".split()
        )
        assert heading.index("waits for") == first.index("Until") == second.index("Until")
        assert second == second.rstrip()


def test_a_row_of_datagrams_has_the_same_fields():
    class Two(DatagramHandler):
        timeout = 5

        async def handle(self):
            self.send(await Packet() + await Packet())

    clock = Clock()
    with (
        closing(Reactor(clock=clock)) as reactor,
        SelectUDPServer(("127.0.0.1", 0), Two, reactor=reactor) as server,
        peer(server) as client,
    ):
        client.send(b"one")
        until(reactor, lambda: len(reactor.table) == 1)
        (told,) = reactor.table.as_dicts()
        host, port = client.getsockname()
        assert told == {
            "serial": 1, "peer": f"{host}:{port}", "handler": "Two", "state": told["state"], "wait": "Packet()",
            "held_in": 0, "held_out": 0, "total_in": 3, "total_out": 0, "age": 0, "idle": 0, "deadline": 5,
            "stage": "serving", "driven_by": "loop", "principal": None, "secured": None,
            "in_front": "", "proxied": None,
        }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_an_open_request_is_a_row_in_every_mode_and_a_finished_one_is_not(mode):
    class Slow(StreamHandler):
        async def handle(self):
            self.send(b"hello")
            await Until(b"\n")

    with serving(Slow, mode) as server:
        table = server.reactor.table
        with connect(server) as client:
            assert client.recv(10) == b"hello"
            wait_until(lambda: len(table) == 1)
            (told,) = wait_until(
                lambda: [row for row in table.as_dicts() if row["driven_by"] != "caller" or mode == "plain"]
            )
            assert told["serial"] == 1
            assert told["handler"] == "Slow"
            json.dumps(told)
            assert str(table).count("\n") == 1
            client.sendall(b"\n")
            assert client.recv(10) == b""
        wait_until(lambda: not len(table))


def test_drive_until_says_what_its_only_step_has_made_true():
    with bench(Talk) as here:
        here.connect()
        done = []
        here.reactor.call_soon(done.append, 1)
        assert here.reactor.drive_until(here.row, lambda: bool(done), 0)
        assert not here.reactor.drive_until(here.row, lambda: len(done) > 1, 0)
