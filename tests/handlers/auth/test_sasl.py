"""SASL: the mechanisms, and that no bytes but the right ones let a peer in."""

import sys
from base64 import b64decode, b64encode
from functools import partial

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import EndOfStream, Failed, StreamMachine
from handlers.auth import Attempts
from handlers.auth.scram import Scram, ScramPlus, scram_keys
from tests.support.authentication import PASSWORD, Attacker, Conversation, Lines, Login, behind, feed, read, work
from tests.support.strategies import pieces

kinds = pytest.mark.parametrize("kind", [Lines, Conversation])


def machine_of(kind=Lines, secured="tls1.3", **world):
    members = {name: world.pop(name) for name in ("store", "attempts") if name in world}
    machine = StreamMachine(behind(Login, kind, **members)(), Attacker(secured=secured, **world))
    machine.advance()
    return machine


def plain(name="ada", password=PASSWORD, authorize=""):
    return b64encode(f"{authorize}\0{name}\0{password}".encode())


class Client:
    """The client's side of SCRAM."""

    def __init__(self, name="ada", password=PASSWORD, mechanism="SCRAM-SHA-256", binding=None):
        self.scram = scramp.ScramClient([mechanism], name, password, channel_binding=binding)
        self.mechanism = mechanism

    def converse(self, machine):
        """Log in; returns the last line of the server."""
        answer = feed(machine, b"AUTH %b\r\n" % self.mechanism.encode())
        if not answer.endswith(b"+ \r\n"):
            return answer
        answer = self.say(machine, self.scram.get_client_first())
        if not answer.startswith(b"+ "):
            return answer
        self.scram.set_server_first(self.text(answer))
        answer = self.say(machine, self.scram.get_client_final())
        if not answer.startswith(b"+ "):
            return answer
        self.scram.set_server_final(self.text(answer))
        return feed(machine, b"=\r\n")

    def say(self, machine, text):
        return feed(machine, b64encode(text.encode()) + b"\r\n")

    def text(self, line):
        return b64decode(line[2:]).decode()


def outcome(machine):
    return machine.handler.principal, machine.handler.authenticated


# PLAIN


@kinds
def test_plain_lets_in_with_and_without_an_initial_response(kind):
    for initial in (True, False):
        machine = machine_of(kind)
        if initial:
            read(machine)
            assert feed(machine, b"AUTH PLAIN " + plain() + b"\r\n") == b"+OK\r\n"
        else:
            assert feed(machine, b"AUTH plain\r\n").endswith(b"\r\n+ \r\n")
            assert feed(machine, plain() + b"\r\n") == b"+OK\r\n"
        assert feed(machine, b"hello\n") == b"ada: hello\n"
        machine.end()
        assert (machine.finished, machine.reason) == (True, None)


def test_plain_is_not_to_be_had_without_tls():
    machine = machine_of(secured=None)
    assert read(machine) == b"* SCRAM-SHA-256\r\n"
    assert feed(machine, b"AUTH PLAIN " + plain() + b"\r\n") == b"-NO\r\n"
    assert outcome(machine) == (None, False)


@pytest.mark.parametrize(
    "message",
    [
        plain(password="wrong"),
        plain(name="nobody"),
        plain(name="eve"),
        plain(name="eve", password=""),
        plain(name="", password=""),
        plain(authorize="bob"),
        b64encode(b"ada\0sesame"),
        b64encode(b"\0ada\0sesame\0"),
        b64encode(b"\0ada\0\xff"),
        b"=",
        b"*",
        b"not base64!",
        b"",
    ],
)
def test_plain_refuses_all_alike(message):
    machine = machine_of()
    read(machine)
    assert feed(machine, b"AUTH PLAIN " + message + b"\r\n") == b"-NO\r\n"
    assert outcome(machine) == (None, False)


@given(name=st.text(max_size=8), password=st.text(max_size=8), authorize=st.sampled_from(["", "ada", "bob"]))
def test_no_other_name_or_password_lets_in(name, password, authorize):
    machine = machine_of()
    feed(machine, b"AUTH PLAIN " + plain(name, password, authorize) + b"\r\n")
    if outcome(machine)[1]:
        assert (name, password) in {("ada", PASSWORD), ("bob", "open")}


@pytest.mark.slow
@given(data=st.data())
def test_the_same_comes_of_the_same_bytes_however_they_are_cut(data):
    stream = b"AUTH PLAIN\r\n" + plain(password="wrong") + b"\r\nAUTH PLAIN " + plain() + b"\r\nhello\n"
    machine = machine_of()
    said = read(machine)
    for piece in data.draw(pieces(st.just(stream))):
        said += feed(machine, piece)
    assert said.endswith(b"\r\n+ \r\n-NO\r\n+OK\r\nada: hello\n")


# Attempts


def test_a_connection_may_try_three_times():
    machine = machine_of()
    for _ in range(3):
        assert not machine.finished
        feed(machine, b"AUTH PLAIN " + plain(password="wrong") + b"\r\n")
    assert (machine.finished, machine.reason) == (True, None)


def test_a_peer_that_has_failed_too_often_is_refused_whatever_it_says():
    attempts = Attempts(failures=2, period=60)
    for _ in range(2):
        feed(machine_of(attempts=attempts), b"AUTH PLAIN " + plain(password="wrong") + b"\r\n")
    right = b"AUTH PLAIN " + plain() + b"\r\n"
    assert feed(machine_of(attempts=attempts), right).endswith(b"-TRY LATER\r\n")
    assert feed(machine_of(attempts=attempts, peer=("192.0.2.8", 1)), right).endswith(b"+OK\r\n")


def test_many_at_once_count_before_any_has_failed():
    attempts = Attempts(failures=2, period=60, at_once=10)
    machines = [machine_of(attempts=attempts) for _ in range(4)]
    for machine in machines:
        machine.feed(b"AUTH PLAIN " + plain() + b"\r\n")
    assert [machine.wait.function.__name__ if hasattr(machine.wait, "function") else "" for machine in machines] == [
        "verify", "verify", "", "",
    ]  # fmt: skip
    for machine in machines:
        work(machine)
    assert [outcome(machine)[1] for machine in machines] == [True, True, False, False]


def test_a_store_that_fails_ends_the_request_and_is_no_failure_of_the_peer():
    class Broken:
        def get(self, name):
            raise OSError("no database")

    for command in (b"AUTH PLAIN " + plain(), b"AUTH SCRAM-SHA-256 " + b64encode(b"n,,n=ada,r=abc")):
        attempts = Attempts(failures=1)
        for _ in range(2):
            machine = machine_of(attempts=attempts, store=Broken())
            feed(machine, command + b"\r\n")
            assert isinstance(machine.reason, Failed)
            assert str(machine.reason.error) == "no database"


def test_a_peer_that_goes_away_in_the_middle_has_failed():
    attempts = Attempts(failures=1)
    machine = machine_of(attempts=attempts)
    feed(machine, b"AUTH PLAIN\r\n")
    machine.end()
    assert isinstance(machine.reason, EndOfStream)
    assert feed(machine_of(attempts=attempts), b"AUTH PLAIN " + plain() + b"\r\n").endswith(b"-TRY LATER\r\n")


# EXTERNAL


def test_external_is_the_name_that_the_connection_has_proved():
    for world, name in (
        ({"principal": "CN=ada"}, "CN=ada"),
        ({"secured": None, "credentials": (1, 1000, 100)}, "uid=1000"),
    ):
        machine = machine_of(**world)
        assert b"EXTERNAL" in read(machine)
        assert feed(machine, b"AUTH EXTERNAL =\r\n") == b"+OK\r\n"
        assert feed(machine, b"x\n") == name.encode() + b": x\n"


@pytest.mark.parametrize("world", [{}, {"secured": None, "principal": "CN=ada"}])
def test_external_is_not_to_be_had_where_the_connection_has_proved_none(world):
    machine = machine_of(**world)
    assert b"EXTERNAL" not in read(machine)
    assert feed(machine, b"AUTH EXTERNAL =\r\n") == b"-NO\r\n"


def test_external_acts_for_nobody_else():
    machine = machine_of(principal="CN=ada")
    read(machine)
    assert feed(machine, b"AUTH EXTERNAL " + b64encode(b"CN=bob") + b"\r\n") == b"-NO\r\n"
    assert feed(machine, b"AUTH EXTERNAL " + b64encode(b"CN=ada") + b"\r\n") == b"+OK\r\n"


# SCRAM


@kinds
def test_scram_lets_in_and_proves_the_server(kind):
    machine = machine_of(kind, secured=None)
    assert Client().converse(machine) == b"+OK\r\n"
    assert feed(machine, b"hello\n") == b"ada: hello\n"


def test_scram_refuses_a_wrong_password_and_an_unknown_name_alike():
    said = []
    for client in (Client(password="wrong"), Client("nobody"), Client("eve")):
        machine = machine_of()
        said.append(client.converse(machine))
        assert outcome(machine) == (None, False)
    assert said == [b"-NO\r\n"] * 3


def test_an_unknown_name_has_the_same_salt_each_time():
    def salt(name):
        machine = machine_of()
        read(machine)
        answer = feed(machine, b"AUTH SCRAM-SHA-256 " + b64encode(f"n,,n={name},r=abc".encode()) + b"\r\n")
        return Client.text(None, answer).split(",")[1:]

    assert salt("nobody") == salt("nobody") != salt("somebody")
    assert salt("ada") == salt("ada")
    assert len(salt("ada")[0]) == len(salt("nobody")[0])
    assert salt("ada")[1] == salt("nobody")[1] == "i=4096"


@pytest.mark.parametrize("make", [Scram, ScramPlus, partial(scram_keys, "sesame")])
def test_without_the_library_the_error_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "scramp", None)
    with pytest.raises(ImportError, match=r"pip install 'select-reactor\[sasl\]'"):
        make()


UNIQUE = {"tls-unique": b"twelve bytes"}
END_POINT = {"tls-server-end-point": b"a hash of the certificate"}


@pytest.mark.parametrize("bindings", [UNIQUE, END_POINT, UNIQUE | END_POINT])
def test_plus_is_bound_to_the_channel(bindings):
    for binding in bindings.items():
        machine = machine_of(bindings=bindings)
        assert b"SCRAM-SHA-256-PLUS SCRAM-SHA-256 " in read(machine)
        assert Client(mechanism="SCRAM-SHA-256-PLUS", binding=binding).converse(machine) == b"+OK\r\n"


def test_plus_refuses_a_client_on_another_channel():
    machine = machine_of(bindings=UNIQUE)
    client = Client(mechanism="SCRAM-SHA-256-PLUS", binding=("tls-unique", b"another one "))
    assert client.converse(machine) == b"-NO\r\n"


def test_plus_is_offered_only_where_there_is_a_binding():
    machine = machine_of()
    assert b"PLUS" not in read(machine)
    client = Client(mechanism="SCRAM-SHA-256-PLUS", binding=("tls-unique", b"twelve bytes"))
    assert client.converse(machine) == b"-NO\r\n"


def test_a_binding_that_is_not_there_is_refused():
    machine = machine_of(bindings=UNIQUE)
    client = Client(mechanism="SCRAM-SHA-256-PLUS", binding=("tls-server-end-point", b"x"))
    assert client.converse(machine) == b"-NO\r\n"


def test_a_client_that_was_told_that_there_is_no_plus_is_refused():
    """RFC 5802, section 6: somebody has taken it out of the list."""
    machine = machine_of(bindings=UNIQUE)
    read(machine)
    answer = feed(machine, b"AUTH SCRAM-SHA-256 " + b64encode(b"y,,n=ada,r=abc") + b"\r\n")
    assert answer == b"-NO\r\n"
    machine = machine_of()  # without one there is nobody to be suspected
    read(machine)
    assert feed(machine, b"AUTH SCRAM-SHA-256 " + b64encode(b"y,,n=ada,r=abc") + b"\r\n").startswith(b"+ ")


first = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"n,,n=ada,r=abc", b"n,,n=ada,r=abc,x=1", b"p=tls-unique,,n=ada,r=a"])
)
final = st.one_of(st.binary(max_size=60), st.builds(lambda proof: b"c=biws,r=abc,p=" + b64encode(proof), st.binary()))


@pytest.mark.slow
@settings(max_examples=300)
@given(name=st.sampled_from([b"SCRAM-SHA-256", b"SCRAM-SHA-256-PLUS", b"PLAIN"]), first=first, final=final)
def test_whatever_is_said_to_a_mechanism_is_refused_and_raises_nothing(name, first, final):
    machine = machine_of(bindings=UNIQUE)
    read(machine)
    said = feed(machine, b"AUTH " + name + b" " + b64encode(first) + b"\r\n")
    if said.startswith(b"+ "):
        said = feed(machine, b64encode(final) + b"\r\n")
    assert said in (b"-NO\r\n", b"-ERR\r\n")
    assert outcome(machine) == (None, False)


@pytest.mark.slow
@given(data=st.data())
def test_random_bytes_let_nobody_in(data):
    machine = machine_of()
    words = st.sampled_from([b"AUTH ", b"PLAIN ", b"SCRAM-SHA-256", b"\r\n", b"=", b"*", b"x"])
    stream = b"".join(data.draw(st.lists(words)))
    for piece in data.draw(pieces(st.just(stream))):
        feed(machine, piece)
    assert outcome(machine) == (None, False)
