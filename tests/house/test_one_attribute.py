"""A server has one private attribute, ``_srv``, so that a user's own names are free."""

import socket
import threading

import pytest

import reactor
from handlers import StreamHandler, Until
from reactor.access import AccessMixIn

MIXINS = {name: getattr(reactor, f"{name}MixIn") for name in ("Select", "Forking", "Threading")}
KINDS = [getattr(reactor, name) for name in reactor.__all__ if name.endswith("TCPServer")]
COMPOSED = [type(f"My{name}", (AccessMixIn, mixin, reactor.TCPServer), {}) for name, mixin in MIXINS.items()]
TAKEN = ("_handler", "_thread", "_rows", "_reactor", "_queue")


class Line(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\n"))


def private(names):
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def ask(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with socket.create_connection(server.server_address, timeout=30) as client:
            client.sendall(b"line\n")
            with client.makefile("rb") as stream:
                assert stream.read() == b"line\n"
        return private(vars(server))
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS + COMPOSED)
def test_a_server_has_one_private_attribute(kind):
    with kind(("127.0.0.1", 0), Line) as server:
        assert ask(server) == {"_srv"}
    assert private(vars(server)) == {"_srv"}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_may_take_any_private_name(kind):
    class Mine(kind):
        def __init__(self, *args):
            for name in TAKEN:
                setattr(self, name, name)
            super().__init__(*args)

    with Mine(("127.0.0.1", 0), Line) as server:
        assert ask(server) == {"_srv", *TAKEN}
        assert [getattr(server, name) for name in TAKEN] == list(TAKEN)


def test_no_class_of_a_server_defines_a_private_name_but_the_historical_one():
    classes = {base for name in reactor.__all__ if name.endswith(("Server", "MixIn"))
               for base in getattr(reactor, name).__mro__ if base is not object} | {AccessMixIn}  # fmt: skip
    found = {(kind.__name__, name) for kind in classes for name in private(vars(kind)) if not name.startswith("_abc")}
    assert found == {("ThreadingMixIn", "_threads")}
