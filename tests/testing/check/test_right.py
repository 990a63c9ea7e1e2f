"""`check` accuses no right handler: those of `tests.support.right`, of the package and of the examples."""

import os
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import pytest

import examples
from examples import https, mutual, nameserver, nfs_server
from examples.nfs.procedures import Export
from examples.nfs.tree import Node, Tree
from examples.vxi11 import channels
from handlers import World
from reactor.rows.filters.tls import TLS
from reactor.testing import Through, check, ends_at_any_byte_of_the_wire, play, proxy, same_through_filters, tls
from reactor.testing.peers.tls import TLSPeer
from reactor.testing.running.subject import world_of
from tests import ROOT
from tests.support import certificates
from tests.support.behind import FRAMED, NUMBERED
from tests.support.nfs import KEY
from tests.support.package import classes_above, classes_of, classes_run
from tests.support.right import binary, lines, packaged, shown, timed

CORPUS = [*lines.CORPUS, *binary.CORPUS, *timed.CORPUS]
CHEAP = [right for right in CORPUS if right.kind in (lines.Ident, lines.Gopher, binary.Hello, timed.Names, timed.Ntp)]


def name_of(right):
    kind = right.kind.func if isinstance(right.kind, partial) else right.kind
    return kind.__name__


def test_there_are_more_than_fifty():
    assert len({name_of(right) for right in CORPUS}) > 50


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("right", CORPUS, ids=name_of)
def test_a_right_handler_is_not_accused(right):
    check(right.kind, right.conversation, modes=["select"], examples=8, **right.options)


@pytest.mark.slow
@pytest.mark.parametrize("right", CHEAP, ids=name_of)
def test_a_small_right_handler_is_not_accused_with_few_examples(right):
    check(right.kind, right.conversation, modes=[], examples=2, **right.options)


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("right", shown.CORPUS, ids=name_of)
def test_a_handler_of_the_examples_is_not_accused(right):
    check(right.kind, right.conversation, **{"modes": ["select"], "examples": 5, **right.options})


def test_every_handler_of_the_examples_has_a_conversation_or_a_reason():
    found, run = classes_of(examples), classes_run(shown.CORPUS)
    assert {nameserver.Stream, channels.Abort, nfs_server.Handler, https.Files} <= found
    needless = set(shown.ELSEWHERE) & run
    assert (found - run - classes_above(shown.ELSEWHERE), needless) == (set(), set())


def nfs_conversation(root):
    """Mount the directory with this handle, look at it and at a file in it, and unmount it."""
    handle, export, opaque = len(root).to_bytes(4, "big") + root, b"\0\0\0\7/export\0", (-len(root)) % 4 * b"\0"
    directory, name = handle + opaque, b"\0\0\0\1a\0\0\0"
    mounting, nfs = partial(shown.call, program=100_005, version=3), partial(shown.call, program=100_003, version=3)
    return [
        mounting(1, procedure=1, arguments=export),
        nfs(2, procedure=1, arguments=directory),
        nfs(3, procedure=3, arguments=directory + name),
        nfs(4, procedure=19, arguments=directory),
        mounting(5, procedure=3, arguments=export),
    ]


@pytest.mark.slow
def test_the_nfs_server_is_not_accused(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    with closing(Tree(str(tmp_path), KEY)) as tree:
        server = SimpleNamespace(export=Export(tree), mounts={})
        server.export.verifier = bytes(8)
        with closing(Node(os.dup(tree.root.descriptor))) as node:
            calls = nfs_conversation(tree.handles.write(node.identity))
        output = play(nfs_server.Handler, [*map(shown.mark, calls)], World(server=server)).output
        assert output.count(b"\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") == len(calls)  # each is accepted
        check(nfs_server.Handler, b"".join(map(shown.mark, calls)), server=server, modes=[], examples=5)


MUTUAL = Through(
    partial(TLS, context=certificates.server_context(ask_client=True)),
    partial(TLSPeer, certificates.client_context(named=True), certificates.NAME),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "conversation", "through"),
    [
        (mutual.Echo, shown.LINES, MUTUAL),
        (partial(https.Files, directory=str(ROOT / "handlers" / "auth")), shown.GET, tls()),
    ],
    ids=["mutual TLS", "https"],
)
def test_a_handler_behind_tls_is_not_accused(kind, conversation, through):
    check(kind, conversation, through=through, modes=["select"], examples=5)


PACKAGED = {name_of(right): right for right in packaged.CORPUS}
SHOWN = {name_of(right): right for right in shown.CORPUS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "through"),
    [
        pytest.param(PACKAGED["Measuring"], tls(), id="HTTP behind TLS"),
        pytest.param(SHOWN["Page"], [proxy(), tls()], id="HTTP with a server behind a PROXY header and TLS"),
        pytest.param(PACKAGED["Application"], tls(), id="WSGI with a server behind TLS"),
        pytest.param(PACKAGED["Paragraphs"], FRAMED, id="a framing behind a filter"),
        pytest.param(PACKAGED["PortsStream"], tls(), id="RPC behind TLS"),
        pytest.param(PACKAGED["PortsDatagram"], NUMBERED, id="RPC behind a filter of packets"),
        pytest.param(SHOWN["Stream"], proxy(), id="calls with a server behind a PROXY header"),
    ],
)
def test_a_right_handler_is_not_accused_behind_filters(right, through):
    world = world_of(None, right.options.get("server"))
    same_through_filters(right.kind, right.conversation, through, world=world, examples=5)
    ends_at_any_byte_of_the_wire(right.kind, right.conversation, through, world=world)
