"""The portmapper: what it answers, and who may change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramMachine, World
from handlers.sunrpc import xdr
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.rpcbind import PROGRAM, TCP, UDP, Mappings, Portmapper
from tests.support.rpc import call, words

LOCAL, REMOTE = ("127.0.0.1", 700), ("192.0.2.7", 700)
SET, UNSET, GETPORT, DUMP, CALLIT = 1, 2, 3, 4, 5


@pytest.fixture
def ask():
    """``ask(procedure, numbers, peer)`` returns what a new portmapper answers to the call: the words of the result."""
    ports = type("Ports", (Portmapper,), {"max_mappings": 5})
    kind = type("Handler", (RPCDatagramHandler,), {"versions": (ports,), "max_replies": 0})

    def asked(procedure, *numbers, peer=LOCAL, decoded=xdr.UInt):
        machine = DatagramMachine(kind(), World(peer, now=lambda: 0.0))
        machine.feed(call(1, procedure, words(*numbers), program=PROGRAM, version=2))
        reply = machine.read()
        return xdr.unpack(decoded, reply[24:]) if reply[20:24] == words(0) else int.from_bytes(reply[20:24], "big")

    return asked


def listed(ask):
    """The mappings but for those of the portmapper itself."""
    found, rest = [], ask(DUMP, decoded=Mappings | None)
    while rest is not None:
        mapping, rest = rest.mapping, rest.following
        found.append((mapping.program, mapping.version, mapping.protocol, mapping.port))
    assert found[:2] == [(PROGRAM, 2, TCP, 111), (PROGRAM, 2, UDP, 111)]
    return found[2:]


def test_a_mapping_is_added_and_removed(ask):
    assert ask(GETPORT, 7, 1, TCP, 0) == 0
    assert ask(SET, 7, 1, TCP, 2000) == 1
    assert ask(SET, 7, 1, UDP, 2001) == 1
    assert ask(SET, 7, 1, UDP, 2002) == 0
    assert ask(SET, 7, 3, TCP, 2003) == 1
    assert listed(ask) == [(7, 1, TCP, 2000), (7, 1, UDP, 2001), (7, 3, TCP, 2003)]
    assert [ask(GETPORT, 7, 1, protocol, 0) for protocol in (TCP, UDP, 1)] == [2000, 2001, 0]
    assert ask(GETPORT, 7, 9, UDP, 0) == 2001  # that of another version, which says what versions there are
    assert ask(UNSET, 7, 1, 0, 0) == 1
    assert ask(UNSET, 7, 1, 0, 0) == 0
    assert listed(ask) == [(7, 3, TCP, 2003)]


@pytest.mark.parametrize("peer", [("127.9.9.9", 1), ("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1, 0, 0), "/run/client"])
def test_local_callers_may_change_it(ask, peer):
    assert ask(SET, 7, 1, TCP, 2000, peer=peer) == 1
    assert ask(UNSET, 7, 1, TCP, 0, peer=peer) == 1


@pytest.mark.parametrize(
    "peer", [REMOTE, ("::ffff:192.0.2.7", 1, 0, 0), ("fe80::1", 1, 0, 2), ("2001:db8::127.0.0.1", 1)]
)
def test_other_callers_may_only_ask(ask, peer):
    assert ask(SET, 7, 1, TCP, 2000) == 1
    assert ask(SET, 7, 2, TCP, 2000, peer=peer) == 0
    assert ask(UNSET, 7, 1, TCP, 2000, peer=peer) == 0
    assert ask(GETPORT, 7, 1, TCP, 0, peer=peer) == 2000


def test_its_own_mapping_stays_and_others_are_bounded(ask):
    assert ask(UNSET, PROGRAM, 2, TCP, 111) == 0
    assert ask(SET, PROGRAM, 3, TCP, 111) == 0
    assert ask(SET, 7, 1, TCP, 65_536) == 0
    assert [ask(SET, 7, version, TCP, 1) for version in range(5)] == [1, 1, 1, 0, 0]
    assert len(listed(ask)) == 3


def test_callit_is_not_served(ask):
    assert ask(CALLIT, 7, 1, 0, 0) == 3


KEYS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 3), st.sampled_from([TCP, UDP]))


@given(st.dictionaries(KEYS, st.integers(0, 65_535)))
def test_the_list_is_what_was_set(mappings):
    ports = type("Ports", (Portmapper,), {})
    ports.mappings.update(mappings)
    found, rest = {}, xdr.unpack(Mappings | None, xdr.pack(Mappings | None, ports().PMAPPROC_DUMP()))
    while rest is not None:
        found[rest.mapping.program, rest.mapping.version, rest.mapping.protocol] = rest.mapping.port
        rest = rest.following
    assert found == ports.mappings
