"""The portmapper: what it answers, and who may change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramMachine, World
from handlers.sunrpc import xdr
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.registry import join_address, split_address
from handlers.sunrpc.rpcbind import PROGRAM, RPCB, RPCB3, RPCB4, TCP, UDP, Entry, Mappings, Portmapper, Rpcbind
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


# Versions 3 and 4

GETADDR, GETTIME, GETVERSADDR, INDIRECT, GETADDRLIST, GETSTAT = 3, 6, 9, 10, 11, 12


@pytest.fixture
def ports():
    return type("Ports", (Rpcbind,), {"max_mappings": 9})


@pytest.fixture
def ask_rpcb(ports):
    """``ask_rpcb(procedure, rpcb, peer, version)`` returns what the rpcbind answers, or its status if it refuses."""
    kind = type("Handler", (RPCDatagramHandler,), {"versions": ports.versions, "max_replies": 0})

    def asked(procedure, rpcb=None, peer=LOCAL, version=4):
        machine = DatagramMachine(kind(), World(peer, now=lambda: 5_000_000_000.0))
        arguments = b"" if rpcb is None else xdr.pack(RPCB, RPCB(*rpcb))
        machine.feed(call(1, procedure, arguments, program=PROGRAM, version=version))
        reply = machine.read()
        declared = (RPCB3 if version == 3 else RPCB4).procedures.get(procedure)
        status = int.from_bytes(reply[20:24], "big")
        return status or xdr.unpack(declared.result, reply[24:])

    return asked


def rpcb(program, version, netid, address=""):
    return program, version, netid, address, ""


def items(listed):
    found = []
    while listed is not None:
        found.append(listed)
        listed = listed.following
    return found


ADDRESSES = [
    ("tcp", "0.0.0.0.8.1"), ("udp", "127.0.0.1.8.1"), ("tcp6", "::.8.1"), ("udp6", "::1.255.255"),
    ("local", "/run/program.sock"),
]  # fmt: skip


@pytest.mark.parametrize("version", [3, 4])
def test_an_address_is_added_and_removed(ask_rpcb, version):
    for netid, address in ADDRESSES[:3]:
        assert ask_rpcb(SET, rpcb(7, 1, netid, address), version=version) is True
        assert ask_rpcb(SET, rpcb(7, 1, netid, address), version=version) is True
    assert ask_rpcb(SET, rpcb(7, 1, "tcp", "0.0.0.0.8.2"), version=version) is False
    listed = [item.rpcb for item in items(ask_rpcb(DUMP, version=version)) if item.rpcb.program != PROGRAM]
    assert [(each.netid, each.address, each.owner) for each in listed] == [(*each, "unknown") for each in ADDRESSES[:3]]
    assert ask_rpcb(UNSET, rpcb(7, 1, "tcp"), version=version) is True
    assert ask_rpcb(UNSET, rpcb(7, 1, "tcp"), version=version) is False
    assert ask_rpcb(GETADDR, rpcb(7, 1, "tcp"), version=version) == ""
    assert ask_rpcb(GETADDR, rpcb(7, 1, "udp"), version=version) == "127.0.0.1.8.1"
    assert ask_rpcb(UNSET, rpcb(7, 1, ""), version=version) is True
    assert ask_rpcb(GETADDR, rpcb(7, 1, "udp"), version=version) == ""


def test_the_versions_have_one_registry(ask_rpcb, ports):
    assert ask_rpcb(SET, rpcb(7, 1, "tcp", "192.0.2.1.8.1")) is True
    assert ask_rpcb(SET, rpcb(7, 1, "tcp6", "::.8.1")) is True
    assert ports.mappings[7, 1, TCP] == 2049
    assert ports().PMAPPROC_DUMP() is not None
    assert {key for key in ports.mappings if key[0] == 7} == {(7, 1, TCP)}
    assert len(ports.mappings) == 7
    del ports.mappings[7, 1, TCP]
    assert (7, 1, TCP) not in ports.mappings
    assert ask_rpcb(GETADDR, rpcb(7, 1, "tcp6")) == "::.8.1"


def test_the_rpcbind_lists_itself(ask_rpcb):
    listed = [item.rpcb for item in items(ask_rpcb(DUMP))]
    assert {(each.program, each.address, each.owner) for each in listed} == {(PROGRAM, "0.0.0.0.0.111", "superuser")}
    assert [(each.version, each.netid) for each in listed] == [(v, n) for v in (4, 3, 2) for n in ("tcp", "udp")]


def test_the_address_is_where_the_client_has_reached_this_host(ask_rpcb):
    for netid, address in ADDRESSES[:3]:
        assert ask_rpcb(SET, rpcb(7, 1, netid, address)) is True
    hints = ["192.0.2.9.0.111", "2001:db8::9.0.111", "0.0.0.0.0.111", "", "nonsense", "1" * 5000, "1.2.3.4.256.1"]
    found = [ask_rpcb(GETADDR, rpcb(7, 1, "tcp", hint)) for hint in hints]
    assert found == ["192.0.2.9.8.1", *["0.0.0.0.8.1"] * 5, "0.0.0.0.8.1"]
    assert ask_rpcb(GETADDR, rpcb(7, 1, "tcp6", hints[1])) == "2001:db8::9.8.1"
    assert ask_rpcb(GETADDR, rpcb(7, 1, "udp", hints[0])) == "127.0.0.1.8.1"


def test_another_version_is_the_answer_unless_exactly_this_is_asked_for(ask_rpcb):
    assert ask_rpcb(SET, rpcb(7, 1, "tcp", "127.0.0.1.8.1")) is True
    assert ask_rpcb(GETADDR, rpcb(7, 3, "tcp")) == "127.0.0.1.8.1"
    assert ask_rpcb(GETVERSADDR, rpcb(7, 3, "tcp")) == ""
    assert ask_rpcb(GETVERSADDR, rpcb(7, 1, "tcp")) == "127.0.0.1.8.1"
    assert ask_rpcb(GETADDRLIST, rpcb(7, 3, "tcp")) is None
    assert ask_rpcb(SET, rpcb(7, 1, "local", "/run/program.sock")) is True
    entries = [item.entry for item in items(ask_rpcb(GETADDRLIST, rpcb(7, 1, "")))]
    assert entries == [Entry("127.0.0.1.8.1", "tcp", 3, "inet", "tcp"),
                       Entry("/run/program.sock", "local", 3, "loopback", "-")]  # fmt: skip


@pytest.mark.parametrize(
    ("netid", "address"),
    [
        ("tcp", ""), ("tcp", "127.0.0.1"), ("tcp", "127.0.0.1.8.256"), ("tcp", "127.0.0.1.8.-1"), ("tcp", "::1.8.1"),
        ("tcp", "127.0.0.1.8.1\n"), ("tcp", "127.0.0.1.8.\u0661"), ("tcp", "localhost.8.1"), ("tcp6", "127.0.0.1.8.1"),
        ("", "127.0.0.1.8.1"), ("sctp", "127.0.0.1.8.1"), ("local", "socket"), ("local", "/" + 108 * "x"),
        ("tcp", "1" * 60_000), ("tcp", 30_000 * "."), ("tcp6", f"fe80::1%{'e' * 60_000}.8.1"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_not_added(ask_rpcb, netid, address):
    assert ask_rpcb(SET, rpcb(7, 1, netid, address)) is False
    assert len(items(ask_rpcb(DUMP))) == 6


def test_only_local_callers_may_change_addresses_and_not_those_of_the_rpcbind(ask_rpcb):
    assert ask_rpcb(SET, rpcb(7, 1, "tcp", "127.0.0.1.8.1"), peer=REMOTE) is False
    assert ask_rpcb(UNSET, rpcb(PROGRAM, 4, "tcp")) is False
    assert ask_rpcb(SET, rpcb(PROGRAM, 5, "tcp", "127.0.0.1.8.1")) is False
    assert [ask_rpcb(SET, rpcb(7, number, "tcp", "127.0.0.1.8.1")) for number in range(5)] == [
        *[True] * 3,
        *[False] * 2,
    ]
    assert ask_rpcb(UNSET, rpcb(7, 1, ""), peer=REMOTE) is False
    assert ask_rpcb(GETADDR, rpcb(7, 1, "tcp"), peer=REMOTE) == "127.0.0.1.8.1"


def test_the_time(ask_rpcb):
    assert ask_rpcb(GETTIME, version=3) == 5_000_000_000 - 2**32


def test_calls_in_the_name_of_this_host_are_not_made(ask_rpcb):
    refused = [(3, CALLIT), (4, CALLIT), (4, INDIRECT), (4, GETSTAT), (4, 7), (4, 8), (3, 7), (3, 8), (3, 9)]
    assert [ask_rpcb(number, version=version) for version, number in refused] == [3] * len(refused)  # PROC_UNAVAIL


@given(st.sampled_from(["tcp", "udp"]), st.ip_addresses(v=4), st.integers(0, 65_535))
def test_a_universal_address_is_what_it_was_made_from(netid, host, port):
    assert split_address(netid, join_address(str(host), port)) == (str(host), port)
    assert split_address(f"{netid}6", join_address(f"::ffff:{host}", port)) == (f"::ffff:{host}", port)


# Whatever is sent

NETID = st.sampled_from(["tcp", "udp", "tcp6", "local", "", "none"])
ADDRESS = st.sampled_from(["127.0.0.1.8.1", "0.0.0.0.0.99", "::1.8.1", "::.0.7", "/run/socket", ""])
CALLS = st.lists(
    st.tuples(st.sampled_from(["SET", "UNSET"]), st.integers(1, 2), st.integers(1, 2), NETID, ADDRESS), max_size=30
)


def model_of(calls):
    """What is registered after the calls, by a plain dictionary."""
    kinds = {"tcp": "0127", "udp": "0127", "tcp6": ":", "local": "/"}
    found = {}
    for what, program, version, netid, address in calls:
        if what == "UNSET":
            for key in [key for key in found if key[:2] == (program, version) and netid in ("", key[2])]:
                del found[key]
        elif address and address[0] in kinds.get(netid, ""):
            found.setdefault((program, version, netid), address)
    return found


@pytest.mark.slow
@given(CALLS, st.sampled_from([3, 4]))
def test_calls_in_any_order_do_what_a_dictionary_does(calls, version):
    ports = type("Ports", (Rpcbind,), {})
    kind = next(each for each in ports.versions if each.version == version)
    handler = type("Handler", (RPCDatagramHandler,), {"versions": ports.versions, "max_replies": 0})
    for what, *about in calls:
        procedure = {each.name: number for number, each in kind.procedures.items()}[f"RPCBPROC_{what}"]
        machine = DatagramMachine(handler(), World(LOCAL, now=lambda: 0.0))
        arguments = xdr.pack(RPCB, RPCB(*about, ""))
        machine.feed(call(1, procedure, arguments, program=PROGRAM, version=version))
        assert machine.read()[20:24] == words(0)
    found = {each[:3]: each.address for each in ports.registry if each.program != PROGRAM}
    assert found == model_of(calls)
    assert {
        (*key[:2], "tcp"): ports.mappings[key] for key in ports.mappings if key[0] != PROGRAM and key[2] == TCP
    } == {key: split_address("tcp", address)[1] for key, address in found.items() if key[2] == "tcp"}


@given(st.text(), st.text())
def test_a_text_is_an_address_or_a_value_error(netid, address):
    for each in (netid, "tcp", "tcp6", "local"):
        try:
            host, port = split_address(each, address)
        except ValueError:
            continue
        assert each == "local" or split_address(each, join_address(host, port)) == (host, port)


@pytest.mark.slow
@given(st.sampled_from([2, 3, 4]), st.integers(0, 13), st.binary(max_size=80), st.booleans())
def test_any_arguments_are_answered_and_harm_nothing(version, procedure, arguments, is_local):
    ports = type("Ports", (Rpcbind,), {})
    handler = type("Handler", (RPCDatagramHandler,), {"versions": ports.versions, "max_replies": 0})
    machine = DatagramMachine(handler(), World(LOCAL if is_local else REMOTE, now=lambda: 0.0))
    machine.feed(call(1, procedure, arguments, program=PROGRAM, version=version))
    assert int.from_bytes(machine.read()[20:24], "big") in (0, 3, 4)  # SUCCESS, PROC_UNAVAIL, GARBAGE_ARGS
    assert len(ports.registry) <= 6 + is_local
    assert machine.reason is None
