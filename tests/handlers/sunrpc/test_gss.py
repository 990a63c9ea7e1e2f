"""RPCSEC_GSS (RFC 2203) at the level of bytes, with a mechanism of the tests. `tests.clients` has Kerberos 5."""

import sys
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramMachine, StreamMachine, World
from handlers.sunrpc import xdr
from handlers.sunrpc.auth import AuthError, AuthStatus
from handlers.sunrpc.client import DatagramClient, StreamClient
from handlers.sunrpc.gss.acceptor import Acceptor
from handlers.sunrpc.gss.client import establish
from handlers.sunrpc.gss.library import Initiator, Library
from handlers.sunrpc.gss.mechanism import GSSError
from handlers.sunrpc.gss.server import GSS
from handlers.sunrpc.gss.window import Window
from handlers.sunrpc.gss.wire import MAXSEQ, GSSProcedure, InitResult, Service, demand, opaque_auth
from handlers.sunrpc.message import HEADER, RPCError
from handlers.sunrpc.record import mark
from handlers.sunrpc.tls import StartTLS
from reactor.testing import check
from reactor.tls import TLS
from tests.support.certificates import NAME, client_context, server_context
from tests.support.gss import BAD_TOKEN, PEER, Toy, ToyContext, ToyInitiation, gss_call, gss_reply, opaque
from tests.support.rpc import (
    PROGRAM,
    Calculator,
    Calculator3,
    Datagram,
    Stream,
    auth,
    auth_sys,
    call,
    records,
    words,
    x,
)
from tests.support.serving import MODES, PACKETS, clients_of, connect, peer, serving, wait_until

INIT, CONTINUE, DESTROY = GSSProcedure.INIT, GSSProcedure.CONTINUE_INIT, GSSProcedure.DESTROY
NONE, INTEGRITY, PRIVACY = Service
every_service = pytest.mark.parametrize("service", Service)


class Guarded(Calculator):
    def authorize(self, procedure):
        if procedure.name == "UID":
            demand(self.credential, INTEGRITY)

    def UID(self):  # noqa: N802
        self.seen.append((self.credential.principal, self.credential.service, self.principal))
        return len(self.principal)

    seen = []


class Conversation:
    """A server and its clients, over a stream or over datagrams, without a network."""

    def __init__(self, transport, mechanism=None, **options):
        self.acceptor = Acceptor(mechanism or Toy(), **options)
        self.now = 1000.0
        base = Stream if transport is StreamMachine else Datagram
        kind = type("Served", (GSS, base), {"gss": self.acceptor, "versions": (Guarded, Calculator3)})
        self._kind, self._transport = kind, transport
        self._world = World(("127.0.0.1", 1), now=lambda: self.now)
        self._stream = StreamMachine(kind(), self._world)

    def ask(self, request):
        """The replies to a call."""
        if self._transport is DatagramMachine:
            return self._datagram(request)
        self._stream.feed(mark(request))
        output = self._stream.read()
        while self._world.calls:
            handler, packet, answer = self._world.calls.pop(0)
            made = DatagramMachine(handler, World(now=lambda: self.now))
            self._run(made, packet)
            while made.outbox:
                answer(made.read())
            self._stream.call_ended()
            output += self._stream.read()
        assert not self._stream.finished
        return records(output)

    def _datagram(self, request):
        made = DatagramMachine(self._kind(), self._world)
        self._run(made, request)
        return [made.read() for _ in range(len(made.outbox or ()))]

    @staticmethod
    def _run(machine, packet):
        machine.feed(packet)
        while not machine.finished:
            machine.expire()

    def create(self, name=b"alice@TEST"):
        """The handle of a new context."""
        [reply] = self.ask(gss_call(1, 0, b"I am " + name, what=INIT))
        return result(reply).handle


def result(reply):
    """The result of context creation."""
    start = 20 + (int.from_bytes(reply[16:20], "big") + 3 & ~3)
    assert reply[start : start + 4] == words(0)
    return xdr.unpack(InitResult, reply[start + 4 :])


@pytest.fixture(params=[StreamMachine, DatagramMachine], ids=["stream", "datagram"])
def make(request):
    """What makes a `Conversation`."""
    return lambda mechanism=None, **options: Conversation(request.param, mechanism, **options)


# Context creation


def test_a_context_is_created(make):
    server = make(window=32)
    [reply] = server.ask(gss_call(5, 0, b"I am alice@TEST", what=INIT))
    created = result(reply)
    assert (created.major, created.minor, created.window, created.token) == (0, 0, 32, b"token 0")
    assert len(created.handle) == 16
    assert reply.startswith(words(5, 1, 0) + opaque_auth(6, PEER.get_mic(words(32))))


def test_a_context_is_created_in_several_steps(make):
    server = make(Toy(tokens=3))
    request, what, handles = b"", INIT, []
    for left in (2, 1, 0):
        [reply] = server.ask(gss_call(5, 0, b"I am bob", what=what, handle=request))
        created = result(reply)
        assert (created.major, created.token) == (1 if left else 0, b"token %d" % left)
        assert reply[12:16] == words(0 if left else 6)
        if left:
            assert server.ask(gss_call(6, 1, words(2, 3), handle=created.handle)) == [words(6, 1, 1, 1, 13)]
        request, what = created.handle, CONTINUE
        handles.append(created.handle)
    assert len(set(handles)) == 1
    assert server.ask(gss_call(6, 1, words(2, 3), handle=request)) == [gss_reply(6, 1, words(5))]
    assert result(server.ask(gss_call(7, 0, b"I am bob", what=CONTINUE, handle=request))[0]).major == 8 << 16


def test_the_creation_of_a_complete_context_does_not_go_on(make):
    server = make()
    handle = server.create()
    assert result(*server.ask(gss_call(5, 0, b"I am eve", what=CONTINUE, handle=handle))).major == 8 << 16
    assert server.ask(gss_call(6, 7, handle=handle, service=INTEGRITY)) == [gss_reply(6, 1, words(10), INTEGRITY)]


def test_a_token_that_is_refused(make):
    server = make(Toy(tokens=2))
    assert result(*server.ask(gss_call(5, 0, b"x", what=INIT))) == InitResult(b"", BAD_TOKEN, 3, 0, b"go away")
    assert len(server.acceptor) == 0
    handle = server.create()
    assert result(*server.ask(gss_call(5, 0, b"x", what=CONTINUE, handle=handle))).major == BAD_TOKEN
    assert len(server.acceptor) == 0
    assert result(*server.ask(gss_call(5, 0, b"I am a", what=CONTINUE, handle=handle))).major == 8 << 16


def test_a_context_that_can_make_no_mic_is_not_created(make):
    server = make(Toy(broken=("get_mic",)))
    [reply] = server.ask(gss_call(5, 0, b"I am alice", what=INIT))
    assert reply[12:20] == bytes(8)
    assert result(reply).major == 12 << 16
    assert len(server.acceptor) == 0


def test_a_context_that_has_expired_already_is_not_created(make):
    class Expired(ToyContext):
        @property
        def lifetime(self):
            raise GSSError("expired", 12 << 16)

    class Late(Toy):
        def accept(self, token, context):
            made, answer = super().accept(token, ToyContext())
            late = Expired()
            late.complete, late.principal = made.complete, made.principal
            return late, answer

    server = make(Late())
    assert result(*server.ask(gss_call(5, 0, b"I am alice", what=INIT))).major == 12 << 16
    assert len(server.acceptor) == 0


BAD_CREATION = {
    "another procedure": (gss_call(1, 1, b"I am a", what=INIT), words(1, 1, 1, 1, 7)),
    "a handle": (gss_call(1, 0, b"I am a", what=INIT, handle=b"abc"), words(1, 1, 1, 1, 1)),
    "a verifier": (gss_call(1, 0, b"I am a", what=INIT, verifier=auth(0, b"abcd")), words(1, 1, 1, 1, 3)),
    "a verifier of its own": (gss_call(1, 0, b"I am a", what=INIT, verifier=auth(6, b"")), words(1, 1, 1, 1, 3)),
    "no token": (gss_call(1, 0, b"", what=INIT)[:-4], words(1, 1, 0, 0, 0, 4)),
    "half a token": (gss_call(1, 0, b"I am alice", what=INIT)[:-4], words(1, 1, 0, 0, 0, 4)),
    "bytes behind the token": (gss_call(1, 0, b"I am a", what=INIT) + bytes(4), words(1, 1, 0, 0, 0, 4)),
    "version 2": (call(1, 0, credential=auth(6, words(2, 1, 0, 1, 0))), words(1, 1, 1, 1, 2)),
    "procedure 4": (call(1, 0, credential=auth(6, words(1, 4, 0, 1, 0))), words(1, 1, 1, 1, 1)),
    "service 0": (call(1, 0, credential=auth(6, words(1, 0, 0, 0, 0))), words(1, 1, 1, 1, 1)),
    "service 4": (call(1, 0, credential=auth(6, words(1, 0, 0, 4, 0))), words(1, 1, 1, 1, 1)),
    "no body": (call(1, 0, credential=auth(6, b"")), words(1, 1, 1, 1, 1)),
    "part of a body": (call(1, 0, credential=auth(6, words(1, 1, 0, 1))), words(1, 1, 1, 1, 1)),
    "a long handle": (call(1, 0, credential=auth(6, words(1, 1, 0, 1, 0xFFFFFFFF))), words(1, 1, 1, 1, 1)),
    "padding": (call(1, 0, credential=auth(6, words(1, 1, 0, 1, 1) + b"abcd")), words(1, 1, 1, 1, 1)),
    "behind the handle": (call(1, 0, credential=auth(6, words(1, 1, 0, 1, 0, 0))), words(1, 1, 1, 1, 1)),
    "a cut credential": (call(1, 0, credential=auth(6, words(1, 1, 0, 1, 0)))[:40], words(1, 1, 0, 0, 0, 4)),
    "401 bytes": (call(1, 0, credential=auth(6, bytes(401))), words(1, 1, 1, 1, 1)),
    "another version of RPC": (call(1, 0, credential=auth(6, b""), rpc_version=3), words(1, 1, 1, 0, 2, 2)),
}


@pytest.mark.parametrize(("request_", "reply"), BAD_CREATION.values(), ids=BAD_CREATION)
def test_a_malformed_call(make, request_, reply):
    server = make()
    assert server.ask(request_) == [reply]
    assert len(server.acceptor) == 0


@pytest.mark.parametrize("number", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("service", [0, 2, 77])
def test_number_and_service_mean_nothing_in_creation(make, number, service):
    body = words(1, 1, number, service, 0)
    assert result(*make().ask(call(1, 0, opaque(b"I am a"), credential=auth(6, body)))).major == 0


# Calls


@every_service
def test_a_call(make, service):
    server = make()
    handle = server.create()
    for number in (1, 2, 3):
        request = gss_call(9, 1, words(2, number), handle=handle, number=number, service=service)
        assert server.ask(request) == [gss_reply(9, number, words(2 + number), service)]
    assert server.ask(gss_call(9, 0, handle=handle, number=4, service=service)) == [gss_reply(9, 4, b"", service)]


@every_service
def test_a_call_that_waits(make, service):
    server = make()
    request = gss_call(9, 3, words(5), handle=server.create(), service=service)
    assert server.ask(request) == [gss_reply(9, 1, words(5), service)]


@every_service
def test_calls_that_fail_have_a_verifier(make, service):
    server = make()
    handle = server.create()
    failures = [
        ({"procedure": 99}, 3, b""),
        ({"procedure": 1, "arguments": words(1)}, 4, b""),
        ({"procedure": 4, "arguments": words(1)}, 5, b""),
        ({"procedure": 1, "program": 7}, 1, b""),
        ({"procedure": 1, "version": 2}, 2, words(1, 3)),
        ({"procedure": 0, "version": 9}, 2, words(1, 3)),
    ]
    for number, (what, status, rest) in enumerate(failures):
        request = gss_call(9, **what, handle=handle, number=number, service=service)
        assert server.ask(request) == [gss_reply(9, number, status=status, rest=rest)], what


def test_a_procedure_knows_its_caller(make):
    server = make()
    Guarded.seen.clear()
    assert server.ask(call(8, 7)) == [words(8, 1, 1, 1, 5)]
    assert server.ask(call(8, 7, credential=auth_sys())) == [words(8, 1, 1, 1, 5)]
    for number, name in enumerate((b"alice@TEST", b"bob")):
        handle = server.create(name)
        assert server.ask(gss_call(9, 7, handle=handle, number=1)) == [words(9, 1, 1, 1, 5)]
        for service in (INTEGRITY, PRIVACY):
            xid = 10 * number + service
            request = gss_call(xid, 7, handle=handle, number=service, service=service)
            assert server.ask(request) == [gss_reply(xid, service, words(len(name)), service)]
    names = ["alice@TEST", "alice@TEST", "bob", "bob"]
    assert Guarded.seen == [(name, 2 + at % 2, name) for at, name in enumerate(names)]


def test_demand():
    for credential in (None, object()):
        with pytest.raises(AuthError) as refused:
            demand(credential)
        assert refused.value.status is AuthStatus.TOOWEAK


def test_other_flavours_are_served_as_before(make):
    server = make()
    assert server.ask(call(9, 1, words(2, 3))) == [words(9, 1, 0, 0, 0, 0, 5)]
    assert server.ask(call(9, 1, credential=auth(77, b""))) == [words(9, 1, 1, 1, 1)]
    for data in (b"", b"abc", words(1, 1, 0, 0, 0, 0, 6, 0), call(1, 0, kind=1, credential=auth(6, b""))):
        assert server.ask(data) == []


def test_a_handler_without_gss_knows_no_such_flavour():
    machine = DatagramMachine(Datagram(), World(now=lambda: 1.0, peer=("127.0.0.1", 9)))
    machine.feed(gss_call(5, 0, b"I am alice", what=INIT))
    assert machine.read() == words(5, 1, 1, 1, 1)


def changed(data, at):
    """The data with one bit changed; counted from the end if ``at`` is negative."""
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


def test_a_header_whose_mic_is_wrong(make):
    server = make()
    handle = server.create()
    good = gss_call(9, 1, words(2, 3), handle=handle)
    for bad in (
        changed(good, 0),
        changed(good, 23),
        changed(good, 24 + 8 + 20 + 16 + 8),
        good.replace(words(6, 20), words(6, 16)),
    ):
        [reply] = server.ask(bad)
        assert reply[4:] in (words(1, 1, 1, 13), words(1, 0, 0, 0, 4)), bad
    assert server.ask(gss_call(9, 1, handle=handle, verifier=auth(0, b""))) == [words(9, 1, 1, 1, 3)]
    assert server.ask(gss_call(9, 1, handle=bytes(16))) == [words(9, 1, 1, 1, 13)]
    assert server.ask(good) == [gss_reply(9, 1, words(5))]  # none of the above has moved the window


@pytest.mark.parametrize("service", [INTEGRITY, PRIVACY])
def test_arguments_whose_protection_is_wrong(make, service):
    server = make()
    handle = server.create()
    inner = gss_call(9, 1, words(2, 3), handle=handle, service=service, number=77)
    bodies = [
        b"",
        words(2, 3),
        opaque(b""),
        opaque(words(1, 2, 3)) + opaque(PEER.get_mic(b"other")),
        inner[24 + 8 + 36 + 8 + 20 :],  # those of a call with another number
        opaque(PEER.wrap(b"abc")) if service is PRIVACY else opaque(b"abc") + opaque(PEER.get_mic(b"abc")),
    ]
    for number, body in enumerate(bodies):
        request = gss_call(9, 1, handle=handle, number=number, service=service, body=body)
        assert server.ask(request) == [gss_reply(9, number, status=4)]
    request = gss_call(9, 1, words(2, 3), handle=handle, number=50, service=service)
    assert server.ask(request + bytes(4)) == [gss_reply(9, 50, status=4)]


def test_the_window(make):
    server = make(window=8)
    handle = server.create()

    def ask(number):
        return bool(server.ask(gss_call(number, 1, words(2, 3), handle=handle, number=number)))

    numbers = [100, 100, 99, 93, 92, 93, 99, 95, 108, 100, 101, 101, 99, 2**31 - 1, 2**31 - 8, 2**31 - 9]
    assert [ask(number) for number in numbers] == [
        True, False, True, True, False, False, False, True, True, False, True, False, False, True, True, False,
    ]  # fmt: skip
    for number in (MAXSEQ, 0xFFFFFFFF):
        assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=number)) == [words(9, 1, 1, 1, 14)]


@every_service
def test_a_context_is_destroyed(make, service):
    server = make()
    handle = server.create()
    assert server.ask(gss_call(9, 1, handle=handle, number=1, what=DESTROY)) == [words(9, 1, 1, 1, 7)]
    request = gss_call(9, 0, handle=handle, number=2, what=DESTROY, service=service)
    assert server.ask(changed(request, 35)) == [words(9, 1, 1, 1, 2)]  # another version of the flavour
    assert server.ask(request) == [gss_reply(9, 2, b"", service)]
    assert len(server.acceptor) == 0
    assert server.ask(gss_call(9, 1, handle=handle, number=3)) == [words(9, 1, 1, 1, 13)]
    assert server.ask(request) == [words(9, 1, 1, 1, 13)]


def test_a_context_that_fails_later(make):
    server = make()
    handle = server.create()
    held = server.acceptor.find(handle, server.now)
    held.context.broken = ("wrap",)
    request = gss_call(9, 1, words(2, 3), handle=handle, number=1, service=PRIVACY)
    assert server.ask(request) == [gss_reply(9, 1, status=5)]
    held.context.broken = ("get_mic",)
    assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=2)) == [words(9, 1, 1, 1, 14)]
    held.context.broken = ("verify_mic",)
    assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=3)) == [words(9, 1, 1, 1, 13)]


def test_a_context_that_is_dropped_during_its_last_call(make):
    server = make()
    handle = server.create()
    held = server.acceptor.find(handle, server.now)
    verify_mic = held.context.verify_mic

    def verify_and_drop(data, mic):
        verify_mic(data, mic)
        server.acceptor.drop(handle)  # as the thread of another connection may do it

    held.context.verify_mic = verify_and_drop
    assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=1)) == [gss_reply(9, 1, words(5))]
    assert len(server.acceptor) == 0


# Bounds


def test_a_context_ends_with_its_lifetime(make):
    server = make(Toy(lifetime=50.0))
    handle = server.create()
    server.now += 49
    assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=1)) == [gss_reply(9, 1, words(5))]
    server.now += 1
    assert server.ask(gss_call(9, 1, words(2, 3), handle=handle, number=2)) == [words(9, 1, 1, 1, 13)]
    assert len(server.acceptor) == 0


def test_contexts_age(make):
    server = make(Toy(lifetime=float("inf")), idle=100.0, patience=10.0)
    used, unused = server.create(), server.create()
    assert server.ask(gss_call(9, 1, words(2, 3), handle=used, number=1)) == [gss_reply(9, 1, words(5))]
    server.now += 11
    assert server.ask(gss_call(9, 1, words(2, 3), handle=unused, number=1)) == [words(9, 1, 1, 1, 13)]
    server.now += 89
    assert server.ask(gss_call(10, 1, words(2, 3), handle=used, number=2)) == [gss_reply(10, 2, words(5))]
    server.now += 99
    assert server.ask(gss_call(11, 1, words(2, 3), handle=used, number=3)) == [gss_reply(11, 3, words(5))]
    server.now += 101
    server.create()
    assert len(server.acceptor) == 1  # those that are too old are gone


def test_contexts_are_bounded_and_new_ones_replace_none_in_use(make):
    server = make(max_contexts=3, max_new=2)
    in_use = [server.create() for _ in range(1)]
    for number in range(5):
        server.ask(gss_call(9, 0, handle=in_use[-1], number=number))
        in_use.append(server.create())
    new = [server.create() for _ in range(5)]
    assert len(server.acceptor) == 5
    alive = [server.ask(gss_call(9, 0, handle=handle, number=50)) != [words(9, 1, 1, 1, 13)] for handle in new]
    assert alive == [False] * 3 + [True] * 2
    assert len(server.acceptor) == 3
    with pytest.raises(ValueError, match="Window: size"):
        Acceptor(Toy(), window=0)


def test_the_context_that_was_used_least_recently_is_dropped(make):
    server = make(max_contexts=3)
    handles = [server.create() for _ in range(4)]

    def is_there(handle, number):
        return server.ask(gss_call(9, 0, handle=handle, number=number)) != [words(9, 1, 1, 1, 13)]

    for number, at in enumerate((0, 1, 2, 0, 3)):
        assert is_there(handles[at], number)
    assert [is_there(handle, 9) for handle in handles] == [True, False, True, True]


# The cache of duplicate requests


@every_service
def test_a_call_that_comes_again_is_answered_under_its_own_number(service):
    server = Conversation(DatagramMachine)
    alice, bob = server.create(), server.create(b"bob")
    before = Calculator.count

    def count(number, handle, xid=21):
        return server.ask(gss_call(xid, 9, handle=handle, number=number, service=service))

    [first] = count(1, alice)
    made = Guarded.count
    assert count(1, alice) == []  # a replay
    assert count(2, alice) == [gss_reply(21, 2, words(made), service)]
    assert first == gss_reply(21, 1, words(made), service)
    assert count(1, bob) == [gss_reply(21, 1, words(made + 1), service)]
    assert Guarded.count > before


def test_a_protected_reply_that_no_datagram_holds_is_an_error():
    server = Conversation(DatagramMachine)
    handle = server.create()
    with pytest.raises(ValueError, match="does not fit in a datagram"):
        server.ask(gss_call(9, 8, words(65_470), handle=handle, service=PRIVACY))


# The client


class Scripted:
    """A client whose server is a `Conversation`; ``change`` changes each reply before the client gets it."""

    version = x.CALCULATOR_1

    def __init__(self, server, change=lambda reply: reply):
        self.server, self.change = server, change
        self._made, self._xid = {}, 0

    def start(self, procedure, arguments, credential):
        self._xid += 1
        head = HEADER.pack(self._xid, 0, 2, PROGRAM, 1, procedure.number)
        self._made[self._xid] = procedure, credential.call(head, arguments)
        return self._xid

    def result(self, xid, sends=1):
        procedure, call = self._made.pop(xid)
        for _ in range(sends):
            replies = self.server.ask(call.write())
        return xdr.unpack(procedure.result, call.read(self.change(replies[-1])))

    def call(self, name, *arguments, sends=1):
        procedure = next(each for each in x.CALCULATOR_1.procedures.values() if each.name == name)
        encoded = b"".join(map(xdr.pack, procedure.arguments, arguments))
        return self.result(self.start(procedure, encoded, self.credential), sends)


@pytest.mark.parametrize("tokens", [1, 2, 16])
@every_service
def test_our_client(make, service, tokens):
    client = Scripted(make(Toy(tokens)))
    client.credential = establish(client, ToyInitiation(), service)
    assert client.credential.window == 128
    assert [client.call("ADD", number, 1) for number in range(3)] == [1, 2, 3]
    client.credential.destroy(client)
    with pytest.raises(AuthError) as refused:
        client.call("ADD", 1, 2)
    assert refused.value.status is AuthStatus.RPCSEC_GSS_CREDPROBLEM


@every_service
def test_our_client_takes_the_reply_to_any_of_its_datagrams(service):
    server = Conversation(DatagramMachine)
    replies = []

    def first(reply):
        replies.append(reply)
        return replies[0] if server.late else reply

    client = Scripted(server, first)
    server.late = False
    client.credential = establish(client, ToyInitiation(), service)
    made = Guarded.count
    assert client.call("COUNT", sends=3) == made + 1
    replies.clear()
    server.late = True
    procedure = x.CALCULATOR_1.procedures[9]
    xid = client.start(procedure, b"", client.credential)
    _, call = client._made[xid]
    replies += server.ask(call.write())
    assert client.result(xid, sends=2) == made + 2


def test_our_client_ends_a_creation_that_fails(make):
    client = Scripted(make(Toy(tokens=17)))
    with pytest.raises(GSSError, match="more than 16 tokens"):
        establish(client, ToyInitiation())
    client = Scripted(make(), lambda reply: changed(reply, 20))  # the MIC of the window
    with pytest.raises(GSSError, match="a wrong MIC"):
        establish(client, ToyInitiation())
    client = Scripted(make(), lambda reply: reply.replace(b"token 0", b"token 1"))
    with pytest.raises(GSSError, match="takes the context for complete"):
        establish(client, ToyInitiation())
    initiation = ToyInitiation()
    initiation.step = lambda token: b"nonsense"
    with pytest.raises(GSSError, match="the server refuses the context") as refused:
        establish(Scripted(make()), initiation)
    assert (refused.value.major, refused.value.minor) == (BAD_TOKEN, 3)


@pytest.mark.slow
@every_service
@given(data=st.data())
def test_our_client_takes_no_changed_reply(service, data):
    changes = []
    client = Scripted(Conversation(StreamMachine), lambda reply: changed(reply, *changes) if changes else reply)
    client.credential = establish(client, ToyInitiation(), service)
    size = len(gss_reply(1, 1, words(5), service))
    changes.append(data.draw(st.integers(8, 39 if service is NONE else size - 1)))  # none protects only the verifier
    with pytest.raises((AuthError, RPCError, GSSError, xdr.Error)):
        client.call("ADD", 2, 3)


@every_service
def test_a_result_of_another_call_is_refused(service):
    kept = []

    def change(reply):
        kept.append(reply)
        return reply[:4] + kept[1][4:] if len(kept) > 2 else reply

    client = Scripted(Conversation(StreamMachine), change)
    client.credential = establish(client, ToyInitiation(), service)
    assert client.call("ADD", 2, 3) == 5
    with pytest.raises(AuthError, match="INVALIDRESP"):
        client.call("ADD", 3, 3)


def test_the_numbers_of_a_context_end():
    client = Scripted(Conversation(StreamMachine))
    client.credential = establish(client, ToyInitiation())
    client.credential._number = MAXSEQ - 2
    assert client.call("ADD", 2, 3) == 5
    with pytest.raises(GSSError, match="all sequence numbers"):
        client.call("ADD", 2, 3)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gssapi", None)
    for kind in (Library, Initiator):
        with pytest.raises(ImportError, match=r"pip install 'select-reactor\[gss\]'"):
            kind("calc@localhost")


# Servers

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
SERVED = {"gss": Acceptor(Toy()), "versions": (Guarded, Calculator3)}


@pytest.mark.parametrize("mode", MODES)
@every_service
def test_a_stream_server(mode, service):
    kind = type("Served", (GSS, Stream), SERVED)
    with serving(kind, mode) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        client.credential = establish(client, ToyInitiation("bob"), service)
        xids = [client.begin("ADD", number, 1) for number in range(100)]
        assert [client.result(xid) for xid in reversed(xids)] == list(range(100, 0, -1))
        assert client.remote.LATER(5) == 5
        assert client.remote.FILL(200_000) == bytes(200_000)
        if service is not NONE:
            assert client.remote.UID() == 3
        client.credential.destroy(client)
        with pytest.raises(AuthError, match="CREDPROBLEM"):
            client.remote.ADD(1, 2)


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])  # in fork mode each datagram has a process of its own
def test_a_datagram_server(mode):
    kind = type("Served", (GSS, Datagram), SERVED)
    with serving(kind, mode, PACKETS["udp"]) as server, DatagramClient(x.CALCULATOR_1, peer(server)) as client:
        for service in Service:
            client.credential = establish(client, ToyInitiation("bob"), service)
            xids = [client.begin("ADD", number, 1) for number in range(20)]
            assert [client.result(xid) for xid in reversed(xids)] == list(range(20, 0, -1))


def test_a_call_that_waits_has_its_user_in_the_table():
    kind = type("Served", (GSS, Stream), SERVED)
    with serving(kind, "select") as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        client.credential = establish(client, ToyInitiation("carol"))
        xid = client.begin("LATER", 300)
        wait_until(lambda: "carol" in [row.principal for row in list(server.reactor.table)])
        assert client.result(xid) == 300


@pytest.mark.slow
def test_a_context_is_used_by_many_connections_at_once():
    kind = type("Served", (GSS, Stream), SERVED)
    with serving(kind, "thread") as server, clients_of(server, 20) as sockets:
        clients = [StreamClient(x.CALCULATOR_1, sock) for sock in sockets]
        context = establish(clients[0], ToyInitiation())
        for client in clients:
            client.credential = context
        xids = [(client, client.begin("ADD", number, 1)) for number in range(5) for client in clients]
        assert sum(client.result(xid) for client, xid in xids) == 20 * sum(range(1, 6))


def test_rpcsec_gss_inside_tls():
    class Both(StartTLS, GSS):
        versions, gss, demand_tls = (Guarded,), SERVED["gss"], True

        def make_tls(self, inner):
            return TLS(inner, context=self.server.context)

    context = server_context()
    context.set_alpn_protocols(["sunrpc"])
    with (
        serving(Both, "select", context=context) as server,
        StreamClient(x.CALCULATOR_1, connect(server)) as client,
    ):
        with pytest.raises(AuthError, match="TOOWEAK"):
            establish(client, ToyInitiation())
        client.start_tls(client_context(), NAME)
        client.credential = establish(client, ToyInitiation(), INTEGRITY)
        assert client.remote.UID() == len("alice@TEST")


# Anything


@given(
    st.integers(1, 40),
    st.integers(0, MAXSEQ - 100),
    st.lists(st.one_of(st.integers(0, 99), st.integers(0, 9)), max_size=60),
)
def test_the_window_is_a_set(size, base, numbers):
    window, seen = Window(size), set()
    for number in (base + offset for offset in numbers):
        expected = number not in seen and number > max(seen, default=-1) - size
        assert window.takes(number) == expected
        if expected:
            window.take(number)
            seen.add(number)
        assert window.highest == max(seen, default=-1)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=40))
def test_no_number_is_taken_twice_whatever_the_mics_are(calls):
    server = Conversation(StreamMachine, window=16)
    handle = server.create()
    answered = OrderedDict()
    for number, is_right in calls:
        request = gss_call(9, 1, words(2, 3), handle=handle, number=number)
        replies = server.ask(request if is_right else changed(request, 24 + 8 + 36 + 8))
        if replies == [gss_reply(9, number, words(5))]:
            assert is_right
            assert number not in answered
            answered[number] = True
        else:
            assert replies in ([], [words(9, 1, 1, 1, 13)])


SEEDS = [
    gss_call(9, 0, b"I am alice", what=INIT),
    gss_call(9, 0, b"I am alice", what=CONTINUE, handle=bytes(16)),
    *(gss_call(9, 1, words(2, 3), handle=bytes(16), number=5, service=service) for service in Service),
    gss_call(9, 0, handle=bytes(16), what=DESTROY),
]
edits = st.lists(st.tuples(st.integers(0, 130), st.integers(0, 255)), max_size=4)


@pytest.mark.slow
@given(st.sampled_from(SEEDS), edits, st.integers(24, 200), st.binary(max_size=12), st.booleans())
def test_mutated_calls_are_answered_or_dropped(seed, changes, cut, tail, is_known):
    server = Conversation(StreamMachine)
    handle = server.create()
    data = bytearray(seed[:cut] + tail)
    for place, byte in changes:
        if 4 <= place < len(data):
            data[place] = byte
    data = bytes(data).replace(bytes(16), handle) if is_known else bytes(data)
    replies = server.ask(data)
    assert len(replies) <= 1
    assert all(reply[:8] == data[:4] + words(1) for reply in replies)


@pytest.mark.slow
def test_check_finds_nothing():
    malformed = [BAD_CREATION[name][0] for name in ("another procedure", "half a token", "version 2")]
    check(type("Served", (GSS, Stream), SERVED), b"".join(map(mark, malformed)), examples=2)


@given(st.binary(max_size=60))
def test_any_credential_is_answered(body):
    [reply] = Conversation(DatagramMachine).ask(call(9, 0, credential=auth(6, body)))
    assert reply[:8] == words(9, 1)
