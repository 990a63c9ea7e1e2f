"""`examples/resp.py`: what its clients must get, however the stream is cut, and what they must not do."""

import socket
from contextlib import ExitStack

import pytest
from hypothesis import given, settings

from examples.resp import Server, Session, Store
from handlers import StreamMachine, World
from tests.support.examples import read_until, running
from tests.support.running import running_server
from tests.support.serving import rest, wait_until
from tests.support.strategies import converse, cuts

HERE = ("127.0.0.1", 0)


class Around:
    """What a session asks of its server."""

    def __init__(self):
        self.store = Store()


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


TALK = b"".join([
    b"PING\r\nPING again\n\r\n",
    command(b"SET", b"key", b"a\r\nb\0"), command(b"GET", b"key"), command(b"get", b"none"),
    command(b"INCR", b"n"), command(b"incr", b"n"), command(b"INCR", b"key"), command(b"EXISTS", b"key", b"n", b"x"),
    command(b"MSET", b"a", b"1", b"b", b"2"), command(b"DEL", b"a", b"b", b"c"), command(b"MSET", b"a"),
    command(b"RPUSH", b"l", b"1", b"2", b"3"), command(b"LPUSH", b"l", b"0"), command(b"LLEN", b"l"),
    command(b"BLPOP", b"x", b"l", b"0"), command(b"RPOP", b"l"), command(b"LPOP", b"l"),
    command(b"LPUSH", b"key", b"1"),
    command(b"BLPOP", b"l"), command(b"BLPOP", b"l", b"soon"), command(b"NONSENSE"), command(), command(b"GET"),
    command(b"PUBLISH", b"channel", b"to nobody"), command(b"SUBSCRIBE", b"c", b"d"), command(b"GET", b"key"),
    command(b"PING"), command(b"UNSUBSCRIBE"), command(b"ECHO", b"x"), command(b"QUIT"),
])  # fmt: skip
ANSWERS = b"".join([
    b"+PONG\r\n$5\r\nagain\r\n",
    b"+OK\r\n", b"$5\r\na\r\nb\0\r\n", b"$-1\r\n",
    b":1\r\n", b":2\r\n", b"-ERR value is not an integer or out of range\r\n", b":2\r\n",
    b"+OK\r\n", b":2\r\n", b"-ERR wrong number of arguments for 'mset' command\r\n",
    b":3\r\n", b":4\r\n", b":4\r\n",
    b"*2\r\n$1\r\nl\r\n$1\r\n0\r\n", b"$1\r\n3\r\n", b"$1\r\n1\r\n",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    b"-ERR timeout is not a float or out of range\r\n", b"-ERR timeout is not a float or out of range\r\n",
    b"-ERR unknown command 'nonsense'\r\n", b"-ERR wrong number of arguments for 'get' command\r\n",
    b":0\r\n", b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n",
    b"-ERR Can't execute 'get': only (UN)SUBSCRIBE, PING and QUIT are allowed in this context\r\n",
    b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nd\r\n:0\r\n",
    b"$1\r\nx\r\n", b"+OK\r\n",
])  # fmt: skip


def session():
    return StreamMachine(Session(), World(server=Around(), now=lambda: 0.0))


@given(cuts(TALK))
@settings(max_examples=30)
def test_the_answers_are_the_same_wherever_the_stream_is_cut(pieces):
    assert converse(session(), pieces, end=False) == ANSWERS


@pytest.mark.parametrize(
    "words", [b"*x\r\n", b"*-1\r\n", b"*9999\r\n", b"*1\r\n+OK\r\n", b"*1\r\n$99999999\r\n", b"*1\r\n$\r\n"]
)
def test_what_is_no_request_ends_the_session_with_an_error(words):
    with running_server(Server(HERE)) as server, socket.create_connection(server.server_address, 10) as client:
        client.sendall(words + command(b"PING"))
        assert rest(client) == b"-ERR Protocol error\r\n"


def enter(stack, server, *words):
    client = stack.enter_context(socket.create_connection(server.server_address, 10))
    client.sendall(command(*words))
    return client


def test_blocked_clients_are_served_in_order_and_none_that_has_gone():
    with running_server(Server(HERE)) as server, ExitStack() as stack:
        store = server.store
        first = enter(stack, server, b"BLPOP", b"a", b"b", b"0")
        wait_until(lambda: len(store.blocked.get(b"b", ())) == 1)
        second = enter(stack, server, b"BLPOP", b"b", b"0")
        wait_until(lambda: len(store.blocked[b"b"]) == 2)
        third = enter(stack, server, b"BLPOP", b"b", b"10")
        wait_until(lambda: len(store.blocked[b"b"]) == 3)
        second.close()
        wait_until(lambda: len(store.blocked[b"b"]) == 2)
        pusher = enter(stack, server, b"RPUSH", b"b", b"1", b"2", b"3")
        assert read_until(pusher, b"\n") == b":3\r\n"
        assert first.recv(100) == b"*2\r\n$1\r\nb\r\n$1\r\n1\r\n"
        assert third.recv(100) == b"*2\r\n$1\r\nb\r\n$1\r\n2\r\n"
        wait_until(lambda: not store.blocked)
        assert list(store.lists[b"b"]) == [b"3"]


def test_a_client_that_is_blocked_for_several_lists_takes_one_item():
    with running_server(Server(HERE)) as server, ExitStack() as stack:
        client = enter(stack, server, b"BLPOP", b"a", b"b", b"a", b"0")
        wait_until(lambda: len(server.store.blocked.get(b"a", ())) == 2)
        enter(stack, server, b"RPUSH", b"b", b"1").sendall(command(b"RPUSH", b"a", b"2", b"3") * 2)
        assert client.recv(100) == b"*2\r\n$1\r\nb\r\n$1\r\n1\r\n"
        wait_until(lambda: len(server.store.lists.get(b"a", ())) == 4)
        assert not server.store.blocked


def test_a_blocked_client_gets_nothing_when_its_time_is_over():
    with running_server(Server(HERE)) as server, ExitStack() as stack:
        client = enter(stack, server, b"BLPOP", b"a", b"0.05")
        assert client.recv(100) == b"*-1\r\n"
        assert not server.store.blocked


def test_a_key_whose_time_is_over_has_gone():
    machine = session()
    machine.advance()
    machine.feed(command(b"SET", b"k", b"v", b"PX", b"1000") + command(b"GET", b"k"))
    assert machine.read() == b"+OK\r\n$1\r\nv\r\n"
    store = machine.driver.server.store
    store.sweep(0.5)
    assert store.has(b"k")
    machine.driver._now = lambda: 1.0
    machine.feed(command(b"GET", b"k"))
    assert machine.read() == b"$-1\r\n"


def test_it_runs_as_a_program():
    with running("resp") as example:
        assert example.ask(b"PING\r\n") == b"+PONG\r\n"
