"""`Relayed` between two connections: in order, bounded, and the same whether the kernel moves the bytes or not."""

import errno
import gc
import logging
import os
import socket
import stat
from collections import Counter
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Connected, Delay, Failed, Forked, Relayed, Reset, StreamHandler, TimedOut
from handlers.filter import Filter
from reactor import Reactor
from reactor.rows.relaying import MOST, Pipe
from tests.support.bench import PATTERN, SMALL, bench
from tests.support.loops import Clock
from tests.support.resources import descriptors, named
from tests.support.serving import MODES, PATIENCE, STREAMS, connect, receive, reset, rest, serving

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

SPLICES = hasattr(os, "splice")
FOREVER = float("inf")


class Side(StreamHandler):
    """One side of a relay. The other ends when it ends, or when both streams have ended."""

    other = None
    heard_all = False

    async def feed(self, other):
        self.other = other
        await Relayed(other)
        other.send_eof()
        self.heard_all = True
        if not other.heard_all:
            await Delay(FOREVER)

    def finish(self):
        if self.other is not None:
            self.other.close()


class Opened(Side):
    """The side that is opened."""

    def __init__(self, accepted):
        self.accepted = accepted

    def handle(self):
        return self.feed(self.accepted)


class Accepted(Side):
    """The side that is accepted."""

    address: object
    filters = ()
    kind = Opened

    def handle(self):
        return Connected(self.address, self.kind(self), filters=self.filters), self.feed


class Relaying:
    """A relay that the test steps, and both ends of its connections."""

    def __init__(self, stand, listener):
        self.stand = stand
        self.listener = listener
        self.loop = stand.reactor
        self.targets = []

    def connect(self):
        """A client, the target's end, and their rows."""
        before = set(self.loop.table)
        client = self.stand.connect()
        self.stand.until(lambda: len(set(self.loop.table) - before) == 2)
        target, _ = self.listener.accept()
        self.targets.append(target)
        target.setblocking(False)
        self.stand.rest()
        accepted, opened = list(self.loop.table)[-2:]
        return client, target, accepted, opened

    def passes(self, sender, receiver, data):
        """Send ``data`` and receive it on the other side."""
        self.stand.give(sender, data)
        assert self.stand.take(receiver, len(data)) == data


@contextmanager
def relaying(place="tcp", sndbuf=None, clock=None, wrap=None, **members):
    """A `Relaying` whose accepting handler has these members."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        handler = type("Relays", (Accepted,), {"address": listener.getsockname(), **members})
        with bench(handler, STREAMS[place], sndbuf=sndbuf, clock=clock, wrap=wrap) as stand:
            here = Relaying(stand, listener)
            try:
                yield here
            finally:
                for target in here.targets:
                    target.close()


@pytest.fixture
def splices(monkeypatch):
    """The calls of ``splice(2)`` that have moved bytes, and how many these were."""
    counted = Counter()
    real = getattr(os, "splice", None)

    def splice(*arguments, **options):
        count = real(*arguments, **options)
        counted.update(calls=1, moved=count)
        return count

    if real is not None:
        monkeypatch.setattr(os, "splice", splice)
    return counted


@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_the_kernel_moves_the_bytes_and_the_table_counts_them(place, splices):
    with relaying(place) as relay:
        client, target, accepted, opened = relay.connect()
        relay.passes(client, target, b"first")  # from here on it is known that the rows relay
        relay.passes(target, client, b"also first")
        relay.passes(client, target, PATTERN[:1_000_000])
        relay.passes(target, client, PATTERN[:500])
        assert (accepted.total_in, accepted.total_out) == (1_000_005, 510)
        assert (opened.total_in, opened.total_out) == (510, 1_000_005)
        assert not SPLICES or splices["moved"] >= 2 * 1_000_500 - 2 * SMALL
        assert (accepted.held_in, accepted.held_out, opened.held_in, opened.held_out) == (0, 0, 0, 0)


@pytest.mark.parametrize("high_water", [1_000, 65_536])
def test_a_slow_receiver_holds_the_sender_back_and_gets_all(high_water):
    with relaying(sndbuf=SMALL, high_water=high_water) as relay:
        client, target, accepted, opened = relay.connect()
        opened.channel.handler.high_water = high_water
        relay.passes(client, target, b"first")
        sent = relay.stand.flood(client)
        assert 0 < opened.held_out <= MOST
        assert accepted.total_in == opened.total_out + opened.held_out
        assert accepted.held_in == 0
        assert relay.stand.interest(accepted) == 0
        assert relay.loop.stats()["held"] == opened.held_out
        relay.passes(target, client, b"the other way is free")
        assert relay.stand.take(target, len(sent)) == sent
        relay.passes(client, target, b"and on")
        assert opened.held_out == 0
        assert accepted.total_in == opened.total_out == len(sent) + 11


def test_output_of_the_other_side_goes_before_a_piece_that_has_come():
    with relaying() as relay:
        client, target, _, opened = relay.connect()
        relay.passes(client, target, b"first")
        client.send(b"of the client")
        opened.channel.handler.send(b"of the other side, ")
        assert relay.stand.take(target, 32) == b"of the other side, of the client"


class Twice(Filter):
    """Doubles each byte of the output."""

    def flow(self, data):
        self.put(bytes(byte for byte in data for _ in range(2)))


def test_bytes_pass_through_the_filters_of_the_other_side():
    with relaying(filters=(Twice,)) as relay:
        client, target, _, _ = relay.connect()
        for word in b"abc", b"def", b"ghi":
            relay.stand.give(client, word)
            assert relay.stand.take(target, 6) == bytes(byte for byte in word for _ in range(2))
        relay.passes(target, client, b"not changed")


@pytest.mark.parametrize("mode", MODES)
def test_a_relay_is_the_same_in_all_modes_and_leaves_no_descriptor(mode):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        handler = type("Relays", (Accepted,), {"address": listener.getsockname()})
        with serving(handler, mode) as server, connect(server) as client, listener.accept()[0] as target:
            for word in b"first", b"second", PATTERN[:50_000]:
                for sender, receiver in (client, target), (target, client):
                    sender.sendall(word)
                    assert receive(receiver, len(word)) == word
            client.shutdown(socket.SHUT_WR)
            assert target.recv(1) == b""
            target.sendall(b"the end")
            target.close()
            assert rest(client) == b"the end"


@pytest.mark.parametrize("what", ["no splice", "refused", "refused on the way out", "no pipe", "small pipe"])
def test_without_splice_the_bytes_come_all_the_same(what, monkeypatch, caplog):
    real = getattr(os, "splice", None)
    tries = []

    def splice(source, sink, *arguments, **options):
        tries.append(what)
        is_out = len(tries) % 2 == 0
        if what == "refused on the way out" and not is_out:
            return real(source, sink, *arguments, **options)
        raise OSError(errno.EINVAL, "no splice for this descriptor")

    def pipe2(flags):
        tries.append(what)
        raise OSError(errno.EMFILE, "too many open files")

    if what == "no splice":
        monkeypatch.delattr(os, "splice", raising=False)
    elif what == "no pipe":
        monkeypatch.setattr(os, "pipe2", pipe2, raising=False)
    elif what == "small pipe":
        monkeypatch.setattr("reactor.rows.relaying._widened", lambda pipe: tries.append(pipe) or 4096)
    else:
        monkeypatch.setattr(os, "splice", splice, raising=False)
    with relaying() as relay:
        client, target, accepted, opened = relay.connect()
        with caplog.at_level(logging.WARNING, "reactor"):
            for number in range(5):
                relay.passes(client, target, PATTERN[number:][:100_000])
                relay.passes(target, client, PATTERN[number:][:3_000])
        assert (accepted.total_in, opened.total_in) == (500_000, 15_000)
    is_told = SPLICES and "pipe" in what
    assert [record.message.partition(",")[0] for record in caplog.records] == ["relays copy their bytes"] * is_told
    assert len(tries) == 0 if what == "no splice" or not SPLICES else is_told <= len(tries) <= 20


def test_a_pipe_with_room_for_one_piece_will_do(monkeypatch, caplog, splices):
    """A new pipe of Linux has 64 KiB, and a user with many pipes can't widen it."""
    if not SPLICES:
        return
    from fcntl import F_SETPIPE_SZ, fcntl

    monkeypatch.setattr("reactor.rows.relaying._widened", lambda pipe: fcntl(pipe, F_SETPIPE_SZ, MOST))
    with relaying() as relay, caplog.at_level(logging.WARNING, "reactor"):
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        for _ in range(3):
            relay.passes(client, target, PATTERN[:100_000])
    assert splices["moved"] >= 2 * 300_000
    assert not caplog.records


def test_the_pipe_of_a_process_without_standard_input_has_its_number():
    if not SPLICES:
        return
    kept = os.dup(0)
    try:
        with relaying() as relay:
            client, target, _, _ = relay.connect()
            os.close(0)
            for _ in range(3):
                relay.passes(client, target, b"a piece")
            before = descriptors()
            relay.passes(client, target, b"the last piece")
            assert stat.S_ISFIFO(os.fstat(0).st_mode)
            assert descriptors() == before
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_socket_of_another_class_is_sent_all_by_its_own_method():
    counted = Counter()

    class Counting(socket.socket):
        def send(self, data, flags=0):
            count = super().send(data, flags)
            counted.update(sent=count)
            return count

    with relaying(wrap=Counting) as relay:
        client, target, _, _ = relay.connect()
        for _ in range(3):
            relay.passes(target, client, b"to the client")
            relay.passes(client, target, b"to the target")
    assert counted["sent"] == 3 * len(b"to the client")


def test_relays_that_rest_hold_no_descriptors_but_those_of_their_connections():
    with relaying() as relay:
        client, target, _, _ = relay.connect()
        relay.passes(client, target, PATTERN[:100_000])
        before = descriptors()
        for _ in range(20):
            client, target, _, _ = relay.connect()
            relay.passes(client, target, PATTERN[:100_000])
            relay.passes(target, client, PATTERN[:100_000])
        assert len(descriptors() - before) == 20 * 4


@pytest.mark.slow
def test_slow_relays_hold_no_descriptors_but_those_of_their_connections():
    with relaying(sndbuf=SMALL) as relay:
        client, target, _, _ = relay.connect()
        relay.passes(client, target, PATTERN[:100_000])
        before = descriptors()
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        sent = relay.stand.flood(client)
        assert len(descriptors() - before) == 4
        assert relay.stand.take(target, len(sent)) == sent


@pytest.mark.slow
@pytest.mark.parametrize("first", ["client", "target"])
def test_a_reset_of_either_side_ends_both(first):
    with relaying(sndbuf=SMALL) as relay:
        client, target, accepted, opened = relay.connect()
        relay.passes(client, target, b"first")
        relay.stand.flood(client)
        reset(client if first == "client" else target)
        if first == "client":
            relay.stand.last_words(target)  # what came before the reset is passed on first
        relay.stand.until(lambda: len(relay.loop.table) == 0)
        assert isinstance((accepted if first == "client" else opened).reason, Reset)


class Keeping(Side):
    """A side that tells why its relay has failed, and does not end the other."""

    async def feed(self, other):
        try:
            await Relayed(other)
        except Failed as failed:
            self.send(b"%s, %d held" % (type(failed.error).__name__.encode(), len(self.take_held())))

    def finish(self):
        """The other side goes on."""


class KeptOpen(Keeping):
    """The side that is opened."""

    def __init__(self, accepted):
        self.accepted = accepted

    def handle(self):
        return self.feed(self.accepted)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_side_whose_other_side_has_gone_is_told(is_slow):
    with relaying(sndbuf=SMALL, feed=Keeping.feed, finish=Keeping.finish, kind=KeptOpen) as relay:
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        relay.passes(client, target, b"second")
        if is_slow:
            relay.stand.flood(client)
        reset(target)
        relay.stand.rest()
        if not is_slow:
            relay.stand.give(client, b"third")
        assert relay.stand.last_words(client).startswith(b"BrokenPipeError, ")


def test_a_side_that_has_ended_its_output_is_sent_no_more_and_goes_on_reading():
    with relaying(feed=Keeping.feed, finish=Keeping.finish, kind=KeptOpen) as relay:
        client, target, _, opened = relay.connect()
        relay.passes(client, target, b"first")
        opened.channel.handler.send_eof()
        assert relay.stand.last_words(target) == b""
        relay.stand.give(client, b"second")
        assert relay.stand.last_words(client) == b"BrokenPipeError, 6 held"
        assert opened in relay.loop.table


def reset_in_a_move(monkeypatch, relay, opened):
    """Reset the target when the next piece is in the pipe."""
    real = os.splice

    def splice(source, sink, *arguments, **options):
        if sink == opened.descriptor and relay.targets:
            reset(relay.targets.pop())
            monkeypatch.setattr(os, "splice", real)
        return real(source, sink, *arguments, **options)

    monkeypatch.setattr(os, "splice", splice)


def test_the_other_side_that_resets_while_a_piece_is_moved_to_it(monkeypatch):
    """Its reset is not known before ``splice(2)`` reports it."""
    if not SPLICES:
        return
    with relaying(feed=Keeping.feed, finish=Keeping.finish, kind=KeptOpen) as relay:
        client, target, _, opened = relay.connect()
        relay.passes(client, target, b"first")
        relay.passes(client, target, b"second")
        reset_in_a_move(monkeypatch, relay, opened)
        relay.stand.give(client, PATTERN[:50_000])
        assert relay.stand.last_words(client) == b"BrokenPipeError, 0 held"
        assert isinstance(opened.reason, Reset)
        client, target, _, _ = relay.connect()  # nothing is left in the pipe
        relay.passes(client, target, b"third")
        relay.passes(client, target, b"fourth")


def test_a_handler_that_raises_when_its_relay_fails_ends_its_own_request_only(monkeypatch):
    if not SPLICES:
        return

    class Raising(Accepted):
        async def feed(self, other):
            try:
                await Relayed(other)
            except Failed:
                raise ValueError("of the handler") from None

    with relaying(feed=Raising.feed, finish=Keeping.finish, kind=KeptOpen) as relay:
        client, target, accepted, opened = relay.connect()
        relay.passes(client, target, b"first")
        relay.passes(client, target, b"second")
        reset_in_a_move(monkeypatch, relay, opened)
        relay.stand.give(client, b"third")
        relay.stand.until(lambda: len(relay.loop.table) == 0)
        assert [str(error) for error in relay.stand.errors] == ["of the handler"]
        assert isinstance(accepted.reason, ValueError)
        assert isinstance(opened.reason, Reset)


def test_a_signal_between_the_two_halves_of_a_move_mixes_no_connections(monkeypatch):
    if not SPLICES:
        return
    with relaying() as relay:
        client, target, _, opened = relay.connect()
        relay.passes(client, target, b"first")
        real = os.splice

        def splice(source, sink, *arguments, **options):
            if sink == opened.descriptor:
                raise KeyboardInterrupt
            return real(source, sink, *arguments, **options)

        monkeypatch.setattr(os, "splice", splice)
        client.send(b"secret")
        with pytest.raises(KeyboardInterrupt):
            relay.stand.until(lambda: False)
        monkeypatch.setattr(os, "splice", real)
        relay.stand.until(lambda: len(relay.loop.table) == 0)
        assert isinstance(opened.reason, Failed)
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        relay.passes(client, target, b"second")


async def forking(self, other):
    """Tell how many pipes of the server a child has, once there are any; then relay."""
    if self.server.pipes:
        self.send(b"%d" % len(self.server.pipes & await Forked(pipes)))
    await Side.feed(self, other)


def pipes():
    """The pipes of this process."""
    return {name for name in named(descriptors()).values() if name.startswith("pipe:")}


def test_a_forked_child_has_no_copy_of_the_pipe():
    before = pipes()
    with relaying(feed=forking) as relay:
        server = relay.stand.server
        server.pipes = set()
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        relay.passes(client, target, b"second")
        server.pipes = pipes() - before
        assert len(server.pipes) == SPLICES
        client, target, _, _ = relay.connect()
        assert relay.stand.take(client, 1) == b"0"
        relay.passes(client, target, b"third")


def number_of_pipes():
    """How many there are in this process."""
    gc.collect()
    return sum(isinstance(one, Pipe) for one in gc.get_objects())


def test_a_loop_inside_that_is_closed_leaves_no_pipe_in_the_outer_one():
    with socket.create_server(("127.0.0.1", 0)) as listener, Reactor() as loop:
        listener.settimeout(PATIENCE)
        handler = type("Relays", (Accepted,), {"address": listener.getsockname()})
        with (
            serving(handler, "plain", reactor=loop) as server,
            connect(server) as client,
            listener.accept()[0] as target,
        ):
            for word in b"first", b"second":
                client.sendall(word)
                assert receive(target, len(word)) == word
            assert number_of_pipes() == SPLICES
        assert number_of_pipes() == 0


def test_an_urgent_byte_that_no_handler_takes_does_not_stop_the_relay():
    with relaying() as relay:
        client, target, _, _ = relay.connect()
        relay.passes(client, target, b"first")
        client.send(b"before")
        client.send(b"!", socket.MSG_OOB)
        assert relay.stand.take(target, 6) == b"before"
        relay.stand.rest()  # it does not spin
        relay.passes(client, target, b"behind")
        client.send(b"!", socket.MSG_OOB)
        client.send(b"the end")
        client.shutdown(socket.SHUT_WR)
        assert relay.stand.last_words(target) == b"the end"


def test_silence_of_both_directions_ends_a_relay_and_a_not_of_one():
    clock = Clock()
    with relaying(clock=clock, timeout=10.0) as relay:
        client, target, accepted, opened = relay.connect()
        opened.channel.handler.timeout = FOREVER
        for word in b"one", b"two", b"three", b"four":
            relay.passes(target, client, word)
            clock.seconds += 7
            relay.stand.rest()
            assert len(relay.loop.table) == 2
        relay.passes(client, target, b"five")
        clock.seconds += 10.5
        relay.stand.until(lambda: len(relay.loop.table) == 0)
        assert isinstance(accepted.reason, TimedOut)


def test_a_peer_slower_than_the_least_rate_ends_its_relay():
    clock = Clock()
    with relaying(clock=clock, timeout=10.0, min_rate=100) as relay:
        client, target, accepted, opened = relay.connect()
        opened.channel.handler.timeout = FOREVER
        for _ in range(4):
            clock.seconds += 5
            relay.passes(client, target, b"x" * 600)
        assert len(relay.loop.table) == 2
        for _ in range(6):
            clock.seconds += 5
            if relay.loop.table:
                relay.stand.give(client, b"x")
            relay.stand.rest()
        assert len(relay.loop.table) == 0
        assert "slower than 100 bytes a second" in str(accepted.reason)


# In the kernel or not: the same

SIZES = st.integers(1, 300_000)
ENDS = st.sampled_from(["client", "target"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), ENDS, SIZES),
        st.tuples(st.just("receive"), ENDS, SIZES),
        st.tuples(st.sampled_from(["end", "reset", "close"]), ENDS, st.just(0)),
        st.tuples(st.just("step"), ENDS, st.integers(1, 3)),
    ),
    max_size=14,
)


class End:
    """One end of a relayed connection: what it has sent and received, and how its stream has ended."""

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)
        self.sent = self.received = 0
        self.right = True
        self.ended = ""

    def send(self, size):
        with self._watched():
            start = self.sent % 251
            self.sent += self.sock.send(PATTERN[start : start + size])

    def receive(self, size):
        with self._watched():
            data = self.sock.recv(size)
            start = self.received % 251
            self.right = self.right and data == PATTERN[start : start + len(data)]
            self.received += len(data)
            if not data:
                self.ended = self.ended or "end"
            return data

    def end(self, _):
        with self._watched():
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self, _):
        if self.sock.fileno() >= 0:
            reset(self.sock)

    def close(self, _):
        self.sock.close()

    @contextmanager
    def _watched(self):
        try:
            yield
        except BlockingIOError:
            pass
        except OSError:
            self.ended = self.ended or "error"


def relayed(steps, is_spliced):
    """What becomes of a relay after these steps, and whether all its bytes were right."""
    with pytest.MonkeyPatch.context() as patch:
        if not is_spliced:
            patch.delattr(os, "splice", raising=False)
        with relaying(sndbuf=SMALL) as relay:
            client, target, accepted, opened = relay.connect()
            relay.passes(client, target, b"first")
            ends = {"client": End(client), "target": End(target)}
            for what, name, number in steps:
                if what == "step":
                    for _ in range(number):
                        relay.loop.step(0)
                else:
                    getattr(ends[name], what)(number)
            for _ in range(500):
                relay.stand.rest()
                received = [end.receive(1 << 20) for end in ends.values()]
                if not any(received):
                    break
            kinds = [type(row.reason).__name__ for row in (accepted, opened)]
            totals = [(row.total_in, row.total_out) for row in (accepted, opened)]
            counts = [(end.sent, end.received, end.ended) for end in ends.values()]
            assert all(end.right for end in ends.values())
            return kinds, totals, counts, relay.loop.stats()["held"]


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_a_relay_in_the_kernel_does_what_a_relay_of_the_machines_does(steps):
    spliced, copied = relayed(steps, True), relayed(steps, False)
    is_broken = any(what in ("reset", "close") for what, _, _ in steps)
    if not is_broken:  # a reset drops what is under way, and how much that is depends on the sizes of pieces
        assert spliced == copied
