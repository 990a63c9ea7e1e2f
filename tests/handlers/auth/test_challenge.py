"""The challenge of a shared key: both ends get in with the right key, and nobody else does."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import EndOfStream, Failed, StreamHandler, StreamMachine, TimedOut, Until
from handlers.auth import Attempts, Refused
from handlers.auth.challenge import Answer, Challenge
from tests.support.authentication import KEY, USERS, Attacker, Conversation, Lines, behind, feed, read, work
from tests.support.strategies import pieces, singly

kinds = pytest.mark.parametrize("kind", [Lines, Conversation])


class Greeting(StreamHandler):
    """Says hello, and keeps what it hears."""

    def handle(self):
        self.send(b"hello\n")
        return Until(b"\n"), self.line

    def line(self, line):
        self.heard = line
        return Until(b"\n"), self.line


def server_of(kind=Lines, store=USERS, **members):
    machine = StreamMachine(behind(Challenge, kind, store=store, **members)(), Attacker())
    machine.advance()
    return machine


def client_of(name="ada", key=KEY):
    machine = StreamMachine(type("Client", (Answer, Greeting), {"name": name, "key": key})(), Attacker(("server", 1)))
    machine.advance()
    return machine


def converse(server, client, cut=lambda data: [data]):
    """Pass on what both say, until both are silent."""
    while said := (read(server), read(client)):
        if said == (b"", b""):
            return
        for piece in cut(said[0]):
            client.feed(piece)
        for piece in cut(said[1]):
            server.feed(piece)
            work(server)


def outcome(*machines):
    return [machine.handler.principal for machine in machines]


def cut(said, size):
    return [said[place : place + size] for place in range(0, len(said), size)]


@kinds
@given(size=st.integers(1, 140))
def test_both_ends_have_the_key_and_the_handlers_begin(kind, size):
    server, client = server_of(kind), client_of()
    converse(server, client, lambda said: cut(said, size))
    assert outcome(server, client) == ["ada", "server"]
    assert not server.finished
    assert client.handler.heard == b"ada: hello\n"
    for machine in server, client:
        machine.end()
        assert (machine.finished, machine.reason) == (True, None)


@pytest.mark.parametrize(
    ("name", "key"), [("ada", KEY[::-1]), ("bob", KEY), ("nobody", KEY), ("eve", b""), ("eve", KEY)]
)
def test_a_client_with_the_wrong_key_or_name_is_refused(name, key):
    server, client = server_of(), client_of(name, key)
    converse(server, client)
    assert outcome(server, client) == [None, None]
    for machine in server, client:
        assert isinstance(machine.reason, Refused)
    assert str(server.reason) == "not authenticated: the name or the key is wrong"


@given(key=st.binary(min_size=1, max_size=64).filter(lambda key: key != KEY))
def test_no_other_key_lets_in(key):
    if hmac.digest(key, b"", "sha256") == hmac.digest(KEY, b"", "sha256"):
        return  # zero bytes at the end of a key are as none (RFC 2104)
    server, client = server_of(), client_of(key=key)
    converse(server, client)
    assert outcome(server, client) == [None, None]


def test_a_server_without_the_key_is_refused():
    class Impostor(Challenge):
        async def _check(self, nonce, line):
            return bytes(32)

    server = StreamMachine(type("Server", (Impostor, Lines), {"store": USERS, "attempts": Attempts()})(), Attacker())
    server.advance()
    client = client_of()
    converse(server, client)
    assert outcome(client) == [None]
    assert str(client.reason) == "not authenticated: the server has not the key"


def test_a_proof_is_for_one_challenge():
    first, client = server_of(), client_of()
    client.feed(read(first))
    answer = read(client)
    second = server_of()
    read(second)
    assert feed(second, answer) == b"NO\n"
    assert isinstance(second.reason, Refused)


def test_a_proof_that_is_sent_back_is_none():
    """A client that answers its own server with what that has said."""
    server, other = server_of(), client_of()
    challenge = read(server)
    other.feed(challenge)
    nonce = read(other).split()[1]
    client = client_of()
    client.feed(b"AUTH1 " + nonce + b"\n")
    client.feed(b"OK " + read(client).split()[2] + b"\n")
    assert isinstance(client.reason, Refused)


@given(line=st.one_of(st.binary(max_size=300), st.just(b"ada 00 00"), st.just(b"ada " + b"0" * 64 + b" " + b"0" * 64)))
def test_whatever_is_said_is_refused_and_raises_nothing(line):
    line = line.replace(b"\n", b"")
    server = server_of()
    read(server)
    assert feed(server, line + b"\n") == b"NO\n"
    client = client_of()
    feed(client, line + b"\n")
    assert isinstance(client.reason, Refused)
    client = client_of()
    client.feed(b"AUTH1 " + b"0" * 64 + b"\n")
    read(client)
    feed(client, line + b"\n")
    assert isinstance(client.reason, Refused)


def test_an_end_in_the_middle_is_a_cause_and_silence_has_a_bound():
    server = server_of()
    server.feed(b"ada")
    server.end()
    assert isinstance(server.reason, EndOfStream)
    server = server_of(challenge_timeout=3)
    assert server.patience == 3
    server.expire()
    assert isinstance(server.reason, TimedOut)


def test_failures_of_a_peer_are_bounded():
    attempts = Attempts(failures=2)
    for _ in range(2):
        converse(server_of(attempts=attempts), client_of(key=b"wrong"))
    server = server_of(attempts=attempts)
    converse(server, client_of())
    assert server.reason.temporary


def test_a_store_that_fails_ends_the_request():
    class Broken:
        def get(self, name):
            raise OSError("no database")

    server = server_of(store=Broken())
    converse(server, client_of())
    assert isinstance(server.reason, Failed)


@given(stream=pieces(st.just(b"ada " + b"1" * 64 + b" " + b"2" * 64 + b"\nhello\n")))
def test_bytes_behind_the_answer_are_for_the_handler_only_if_it_is_right(stream):
    server = server_of()
    said = read(server)[:6]
    for piece in [*stream, *singly(b"x")]:
        said += feed(server, piece)
    assert said == b"AUTH1 NO\n"
