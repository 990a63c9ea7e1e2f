"""The instrument: its links, reads and locks, asked by our own client. `tests.hosts.test_instrument` has others."""

import doctest
import socket
from contextlib import ExitStack
from itertools import cycle
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.instrument import Instrument
from examples.vxi11 import links, scope, vxi11
from examples.vxi11.channels import MAX_WRITE
from examples.vxi11.vxi11 import (
    DEVICE_ASYNC_VERSION,
    DEVICE_CORE_VERSION,
    FLAG_END,
    FLAG_TERMCHRSET,
    FLAG_WAITLOCK,
    REASON_CHR,
    REASON_END,
    REASON_REQCNT,
)
from examples.vxi11.vxi11 import Device_ErrorCode as Error
from handlers.sunrpc.client import StreamClient
from handlers.sunrpc.language import translate
from reactor import Reactor
from tests import ROOT
from tests.support.examples import running
from tests.support.serving import PATIENCE, wait_until

IDENTITY = b"Example,Oscilloscope,0,1.0\n"
LONG = 60_000
"""Milliseconds that no call here waits."""


class Controller(StreamClient[DEVICE_CORE_VERSION]):
    """A client, and its link."""

    lid = 0

    def link(self, name="inst0", lock=False, lock_timeout=0):
        made = self.remote.create_link(vxi11.Create_LinkParms(7, lock, lock_timeout, name))
        self.lid = made.lid
        return made.error

    def write(self, data, flags=FLAG_END, lock_timeout=0):
        done = self.remote.device_write(vxi11.Device_WriteParms(self.lid, 0, lock_timeout, flags, data))
        return done.error, done.size

    def read_parms(self, size=1000, flags=0, char=0, timeout=0):
        return vxi11.Device_ReadParms(self.lid, size, timeout, 0, flags, char)

    def read(self, *arguments, **keywords):
        done = self.remote.device_read(self.read_parms(*arguments, **keywords))
        return done.error, done.reason, done.data

    def do(self, what, flags=0, lock_timeout=0):
        return getattr(self.remote, what)(vxi11.Device_GenericParms(self.lid, flags, lock_timeout, 0))

    def lock(self, flags=0, lock_timeout=0):
        return self.remote.device_lock(vxi11.Device_LockParms(self.lid, flags, lock_timeout)).error


@pytest.fixture
def instrument():
    loop = Reactor()
    with Instrument(("127.0.0.1", 0), loop) as server:
        thread = Thread(target=loop.run)
        thread.start()
        yield server
        loop.stop()
        thread.join()
    loop.close()


@pytest.fixture
def connect(instrument):
    """``connect()`` returns a controller that has a link; ``connect(version)`` a client of this version."""
    with ExitStack() as stack:

        def connected(version=None):
            sock = socket.create_connection(instrument.server_address, PATIENCE)
            if version is not None:
                return stack.enter_context(StreamClient(version, sock))
            controller = stack.enter_context(Controller(DEVICE_CORE_VERSION, sock))
            assert controller.link() == 0
            return controller

        yield connected


@pytest.fixture
def client(connect):
    return connect()


def test_the_python_file_is_what_the_compiler_writes():
    path = ROOT / "examples" / "vxi11" / "vxi11.x"
    assert path.with_suffix(".py").read_text() == translate(path)


def test_the_examples_of_commands():
    assert doctest.testmod(scope).failed == 0


# Messages


def test_a_query(client):
    assert client.write(b"*IDN?") == (0, 5)
    assert client.do("device_readstb").stb == 16
    assert client.read() == (0, REASON_END, IDENTITY)
    assert client.do("device_readstb").stb == 0


def test_a_message_in_pieces(client):
    for byte in b"*IDN":
        assert client.write(bytes([byte]), flags=0) == (0, 1)
        assert client.read()[0] is Error.IO_TIMEOUT
    assert client.write(b"?") == (0, 1)
    assert client.read() == (0, REASON_END, IDENTITY)


@pytest.mark.parametrize("size", [1, 7, len(IDENTITY) - 1])
def test_an_answer_in_pieces(client, size):
    client.write(b"*IDN?")
    found, reason = b"", 0
    while not reason & REASON_END:
        error, reason, data = client.read(size)
        assert error == 0
        assert bool(reason & REASON_REQCNT) == (len(data) == size)
        found += data
    assert found == IDENTITY


def test_reasons_to_end_a_read(client):
    def read(*arguments):
        return client.read(*arguments)[1:]

    client.write(b"*IDN?")
    assert read(5, FLAG_TERMCHRSET, ord(",")) == (REASON_REQCNT, IDENTITY[:5])
    assert read(50, FLAG_TERMCHRSET, ord(",")) == (REASON_CHR, b"le,")
    assert read(13, FLAG_TERMCHRSET, ord(",") - 256) == (REASON_CHR | REASON_REQCNT, b"Oscilloscope,")  # a signed char
    assert read(0) == (REASON_REQCNT, b"")
    assert read(6, FLAG_TERMCHRSET, ord("\n")) == (REASON_CHR | REASON_REQCNT | REASON_END, b"0,1.0\n")


@given(st.binary(min_size=1, max_size=50), st.lists(st.integers(1, 60), min_size=1), st.none() | st.integers(0, 255))
def test_reads_of_any_sizes_give_the_answer(answer, sizes, last):
    link = links.Link(1, None)
    link.answer = answer
    pieces = []
    for size in cycle(sizes):
        reason, data = link.take(size, last)
        pieces.append(data)
        assert 0 < len(data) <= size
        assert bool(reason & REASON_REQCNT) == (len(data) == size)
        assert bool(reason & REASON_CHR) == (data[-1] == last)
        assert last not in list(data[:-1])
        assert reason
        if reason & REASON_END:
            break
    assert b"".join(pieces) == answer
    assert not link.available


def test_a_long_waveform(client):
    client.write(b"WAV:POIN 1000000;DATA?;:WAV:DATA?")  # DATA? alone is none
    answer = []
    while not answer or not answer[-1][1]:
        answer.append(client.read(1 << 31))
    assert len(answer) == 4
    assert b"".join(data for _, _, data in answer)[:9] == b"#71000000"
    assert sum(len(data) for _, _, data in answer) == 9 + 1_000_000 + 1


def test_a_query_that_is_not_read_is_an_error(client):
    client.write(b"*IDN?")
    client.write(b"WAV:POIN?")
    assert client.read() == (0, REASON_END, b"1000\n")
    client.write(b"*ESR?;SYST:ERR?")
    assert client.read()[2] == b'4;-410,"Query INTERRUPTED"\n'


def test_clear_and_trigger(client):
    client.write(b"*IDN?")
    client.write(b"*ID", flags=0)
    assert client.do("device_clear").error == 0
    assert client.read()[0] is Error.IO_TIMEOUT
    assert [client.do(f"device_{what}").error for what in ("trigger", "remote", "local")] == [0, 0, 0]
    client.write(b"TRIG:COUN?")
    assert client.read()[2] == b"1\n"


def test_messages_have_a_bound(client, monkeypatch):
    assert client.write(bytes(MAX_WRITE + 1)) == (Error.PARAMETER_ERROR, 0)
    monkeypatch.setattr(links, "MAX_MESSAGE", 3 * MAX_WRITE)
    assert [client.write(bytes(MAX_WRITE), flags=0)[0] for _ in range(4)] == [0, 0, 0, Error.OUT_OF_RESOURCES]
    client.write(b"*IDN?")
    assert client.read()[2] == IDENTITY


# Reads that wait


def test_a_read_with_nothing_to_answer_ends_after_its_timeout(client):
    assert client.read(timeout=30) == (Error.IO_TIMEOUT, 0, b"")


def test_a_read_that_waits_holds_up_no_other_call(client, connect):
    waiting = client.begin("device_read", client.read_parms(timeout=LONG))
    other = connect()
    for each in (other, client):
        assert each.do("device_readstb").stb == 0
    other.write(b"*IDN?")
    assert other.read()[2] == IDENTITY
    client.write(b"*IDN?")
    assert client.result(waiting).data == IDENTITY


def test_200_reads_wait_at_once(connect):
    clients = [connect() for _ in range(links.MAX_LINKS)]
    waiting = [each.begin("device_read", each.read_parms(timeout=LONG)) for each in clients]
    for each in clients:
        each.write(b"WAV:POIN?")
    assert {each.result(xid).data for each, xid in zip(clients, waiting, strict=True)} == {b"1000\n"}


def test_device_abort_ends_a_read_that_waits(client, connect):
    waiting = client.begin("device_read", client.read_parms(timeout=LONG))
    assert client.do("device_readstb").error == 0  # so the read has begun
    abort = connect(DEVICE_ASYNC_VERSION)
    assert abort.remote.device_abort(client.lid).error == 0
    assert client.result(waiting).error is Error.ABORTED
    assert abort.remote.device_abort(client.lid + 1).error is Error.INVALID_LINK
    assert client.read()[0] is Error.IO_TIMEOUT  # the abort was for that call alone


def test_a_read_ends_with_its_link(client):
    waiting = client.begin("device_read", client.read_parms(timeout=LONG))
    assert client.remote.destroy_link(client.lid).error == 0
    assert client.result(waiting).error is Error.INVALID_LINK


# Links


def test_a_link_is_of_its_connection(instrument, client, connect):
    other = connect()
    other.lid = client.lid
    assert other.write(b"*IDN?") == (Error.INVALID_LINK, 0)
    assert other.remote.destroy_link(client.lid).error is Error.INVALID_LINK
    assert len(instrument.device.links) == 2


@pytest.mark.parametrize("waits", [False, True])
def test_links_and_locks_end_with_the_connection(instrument, client, connect, waits):
    assert client.lock() == 0
    if waits:
        client.begin("device_read", client.read_parms(timeout=LONG))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    client.close()
    other = connect()
    assert other.write(b"*IDN?", FLAG_END | FLAG_WAITLOCK, LONG) == (0, 5)
    wait_until(lambda: len(instrument.device.links) == 1)
    wait_until(lambda: len(instrument.reactor.table) == 1)


def test_links_have_a_bound(client, monkeypatch):
    monkeypatch.setattr(links, "MAX_LINKS", 2)
    assert [client.link() for _ in range(3)] == [0, Error.OUT_OF_RESOURCES, Error.OUT_OF_RESOURCES]


@pytest.mark.parametrize("name", ["", "inst1", "gpib0,1", "x" * 5000])
def test_another_device(client, name):
    assert client.link(name) is Error.NOT_ACCESSIBLE


def test_no_link(client):
    client.lid = 12345
    assert client.read()[0] is Error.INVALID_LINK
    assert client.lock() is Error.INVALID_LINK
    assert client.do("device_clear").error is Error.INVALID_LINK
    assert client.do("device_readstb").error is Error.INVALID_LINK
    assert client.remote.device_unlock(12345).error is Error.INVALID_LINK


# Locks


def test_a_lock_keeps_others_out(client, connect):
    other = connect()
    assert (client.lock(), client.lock(), other.lock()) == (0, 0, Error.LOCKED_BY_ANOTHER)
    assert other.write(b"*IDN?", FLAG_END | FLAG_WAITLOCK, 30) == (Error.LOCKED_BY_ANOTHER, 0)
    assert other.link(lock=True, lock_timeout=30) is Error.LOCKED_BY_ANOTHER
    assert other.link() == 0
    assert other.remote.device_unlock(other.lid).error is Error.NO_LOCK_HELD
    assert client.write(b"*IDN?") == (0, 5)
    waiting = other.begin("device_lock", vxi11.Device_LockParms(other.lid, FLAG_WAITLOCK, LONG))
    assert client.remote.device_unlock(client.lid).error == 0
    assert other.result(waiting).error == 0
    assert client.lock() is Error.LOCKED_BY_ANOTHER


def test_a_link_that_locks_at_once(client, connect):
    other = connect()
    assert client.link(lock=True) == 0
    assert other.lock() is Error.LOCKED_BY_ANOTHER


# What is not supported


def test_service_requests_and_commands_of_a_bus(client):
    assert client.remote.create_intr_chan(vxi11.Device_RemoteFunc(0, 0, 0, 0, 0)).error is Error.NOT_SUPPORTED
    assert client.remote.destroy_intr_chan().error is Error.NO_CHANNEL
    assert client.remote.device_enable_srq(vxi11.Device_EnableSrqParms(0, True, b"")).error is Error.NOT_SUPPORTED
    parms = vxi11.Device_DocmdParms(client.lid, 0, 0, 0, 0x020000, True, 1, b"")
    assert client.remote.device_docmd(parms).error is Error.NOT_SUPPORTED


# As a process


def test_it_ends_with_a_client_that_waits():
    with running("instrument") as example:
        host, port = example.addresses[0].split(":")
        with Controller(DEVICE_CORE_VERSION, socket.create_connection((host, int(port)), PATIENCE)) as client:
            assert client.link() == 0
            client.begin("device_read", client.read_parms(timeout=LONG))
            assert client.do("device_readstb").error == 0
            example.end()
