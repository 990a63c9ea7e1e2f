"""What is given in the place of a handler class: a partial of one, or what is declared to make one, serves."""

import sys
import threading
from functools import partial

import pytest

import reactor
from handlers import StreamHandler, StreamRequestHandler, Until
from tests.support.serving import PATIENCE, connect


class Greets(StreamHandler):
    def __init__(self, word=b"hello"):
        self.word = word

    async def handle(self):
        self.send(self.word + await Until(b"\n"))


class Blocks(StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())


MODES = ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer", "SelectTCPServer"]


def ask(mode, handler):
    """The answer of a server of ``handler`` to a line, and what its handlers have raised."""
    errors = []

    class Quiet(getattr(reactor, mode)):
        def handle_error(self, request, client_address):
            errors.append(str(sys.exc_info()[1]))

    with Quiet(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with connect(server) as client:
                client.settimeout(PATIENCE)
                client.sendall(b"line\n")
                return client.recv(99), errors
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("mode", MODES)
def test_a_partial_of_a_state_machine_serves(mode):
    assert ask(mode, partial(Greets, b"good ")) == (b"good line\n", [])


def makes() -> Greets:
    return Greets(b"made ")


def makes_a_named_class() -> "Greets":
    return makes()


class Maker:
    def __call__(self) -> Greets:
        return makes()

    def method(self) -> "Greets":
        return makes()


def with_a_word(word) -> Greets:
    return Greets(word)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "maker", [makes, makes_a_named_class, Maker(), Maker().method, partial(with_a_word, b"made ")], ids=repr
)
def test_any_callable_that_is_declared_to_return_a_state_machine_serves(mode, maker):
    assert ask(mode, maker) == (b"made line\n", [])


def test_a_declared_kind_of_other_sockets_is_refused_when_the_server_is_made():
    with pytest.raises(TypeError, match=r"^Greets is a StreamHandler, but UDPServer has datagram sockets"):
        reactor.UDPServer(("127.0.0.1", 0), makes)


def undeclared():
    return Greets()


def wrongly_declared() -> "NoSuchClass":  # noqa: F821
    return Greets()


@pytest.mark.parametrize("maker", [undeclared, wrongly_declared])
def test_a_callable_that_does_not_declare_it_is_refused_in_select_mode(maker):
    with pytest.raises(TypeError, match=r"is a function, and in select mode"):
        ask("SelectTCPServer", maker)


@pytest.mark.parametrize("mode", MODES)
def test_an_instance_is_refused_when_the_server_is_made(mode):
    with pytest.raises(TypeError, match=r"the handler is an instance of Greets, .* give the class Greets"):
        ask(mode, Greets())


def test_a_function_is_refused_in_select_mode_as_a_function():
    with pytest.raises(TypeError, match=r"<lambda> is a function, and in select mode .*functools.partial\(Class"):
        ask("SelectTCPServer", lambda *given: Blocks(*given))


@pytest.mark.parametrize("mode", ["TCPServer", "ThreadingTCPServer"])
def test_a_function_may_make_blocking_handlers_but_no_state_machine(mode):
    assert ask(mode, lambda *given: Blocks(*given)) == (b"line\n", [])
    answer, [error] = ask(mode, lambda *given: Greets())
    assert answer == b""
    assert "has made Greets, a state machine" in error
    assert "give the class Greets, or functools.partial(Greets, ...)" in error
    assert "or declare what the function returns (-> Greets)" in error
