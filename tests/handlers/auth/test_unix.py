"""The credentials of the peer of a Unix socket."""

import pytest

from handlers import StreamMachine, World
from handlers.auth import Refused
from handlers.auth.unix import UnixPeer
from tests.support.authentication import Conversation, Lines


@pytest.mark.parametrize("kind", [Lines, Conversation])
@pytest.mark.parametrize(
    ("credentials", "name"),
    [((1, 1000, 5), "uid=1000"), ((1, 7, 100), "uid=7"), ((1, 7, 5), None), ((1, 0, 0), None), (None, None)],
)
def test_users_and_groups_that_are_named_may_come(kind, credentials, name):
    handler = type("Server", (UnixPeer, kind), {"users": {1000}, "groups": {100}})
    machine = StreamMachine(handler(), World(credentials=credentials))
    machine.feed(b"hello\n")
    assert machine.handler.principal == name
    if name:
        assert machine.read() == name.encode() + b": hello\n"
        machine.end()
        assert machine.reason is None
    else:
        assert machine.read() == b""
        assert isinstance(machine.reason, Refused)


def test_by_default_nobody_may_come():
    machine = StreamMachine(type("Server", (UnixPeer, Lines), {})(), World(credentials=(1, 0, 0)))
    machine.advance()
    assert str(machine.reason) == "not authenticated: user 0 may not come"
