"""`reactor.names.resolve`: by address, by thread, by /etc/hosts and by a name server, and never in the loop."""

import os
import socket
from types import SimpleNamespace

import pytest

from handlers import Connected, Failed, StreamHandler, Until
from handlers.services import Echo
from reactor.modes import jobs
from reactor.names import hosts, name_servers, resolve
from reactor.rows import names
from tests.support.bench import bench
from tests.support.serving import MODES, PACKETS, connect, rest, serving
from tests.support.zone import ZONE, NameServer

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture
def name_server():
    """The address of a name server."""
    with serving(NameServer, "select", PACKETS["udp"]) as server:
        yield server.server_address


class Resolving(StreamHandler):
    """For each line the addresses of that name, or the cause."""

    async def handle(self):
        while True:
            host = (await Until(b"\n"))[:-1].decode()
            try:
                found = await resolve(host, 80, servers=self.server.name_servers, timeout=self.server.patience)
            except Failed as failed:
                found = failed.error
            self.send(f"{found!r}\n".encode())


def answers(mode, *asked, name_servers=None, patience=5.0):
    with serving(Resolving, mode, name_servers=name_servers, patience=patience) as server, connect(server) as client:
        client.sendall(b"".join(b"%b\n" % name for name in asked))
        client.shutdown(socket.SHUT_WR)
        return rest(client).decode().splitlines()


@pytest.mark.parametrize("mode", MODES)
def test_an_address_is_itself(mode):
    asked = [b"192.0.2.7", b"::1", b"fe80::1%lo"]
    assert answers(mode, *asked) == [f"[({name.decode()!r}, 80)]" for name in asked]


@pytest.mark.parametrize("mode", MODES)
def test_a_name_is_looked_up_in_a_thread(mode, monkeypatch):
    def lookup(*arguments):
        return [(2, 1, 6, "", ("192.0.2.9", 80))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert answers(mode, b"thread.example") == ["[('192.0.2.9', 80)]"]


def test_a_name_that_is_none_fails():
    asked = [b"no-such-host.invalid", "ä..invalid".encode(), b"%b.invalid" % ("ä" * 64).encode()]
    assert [answer.partition("(")[0] for answer in answers("select", *asked)] == ["gaierror"] * 3


@pytest.mark.parametrize("mode", MODES)
def test_a_name_server_is_asked_over_udp(mode, name_server):
    asked = [b"both.example", b"six.example", b"alias.example"]
    assert answers(mode, *asked, name_servers=[name_server]) == [
        "[('192.0.2.1', 80), ('2001:db8::1', 80)]",
        "[('2001:db8::6', 80)]",
        "[('2001:db8::6', 80)]",
    ]


def test_a_name_without_an_address_fails(name_server):
    asked = [b"none.example", b"itself.example", b"a" * 70, b"a..b"]
    for answer in answers("select", *asked, name_servers=[name_server]):
        assert "has no address" in answer


@pytest.mark.parametrize("how", [b"silent", b"refused", b"cut", b"forged", b"flood"])
def test_a_server_that_gives_no_answer_is_asked_twice_and_then_the_next(how, name_server):
    name = how + b".example"
    ZONE[name.decode() + ".", "A"] = ["192.0.2.66"]
    [answer] = answers("select", name, name_servers=[name_server], patience=0.05)
    assert "no name server answers" in answer
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    assert answers("select", b"both.example", name_servers=[nobody, name_server])[0].startswith("[('192.0.2.1', 80)")


def test_an_answer_to_one_of_the_queries_counts_if_the_other_has_none(name_server):
    ZONE["half.example.", "A"] = ["192.0.2.67"]
    assert answers("select", b"half.example", name_servers=[name_server], patience=0.2) == ["[('192.0.2.67', 80)]"]


def test_both_queries_may_have_one_id(name_server, monkeypatch):
    monkeypatch.setattr("dns.entropy.random_16", lambda: 4711)
    assert answers("select", b"both.example", name_servers=[name_server], patience=0.2) == [
        "[('192.0.2.1', 80), ('2001:db8::1', 80)]"
    ]


def test_where_there_are_no_threads_hosts_and_name_servers_are_asked(name_server, tmp_path, monkeypatch):
    def no_thread(*arguments, **named):
        raise RuntimeError("can't start new thread")

    (tmp_path / "hosts").write_text("192.0.2.5 here.example\n")
    known = hosts(str(tmp_path / "hosts"))
    with bench(Resolving) as here:
        here.server.name_servers, here.server.patience = None, 5.0
        monkeypatch.setattr(jobs, "threading", SimpleNamespace(Thread=no_thread))
        monkeypatch.setattr(names, "hosts", lambda: known)
        monkeypatch.setattr(names, "name_servers", lambda: [name_server])
        client = here.connect()
        client.sendall(b"here.example\nboth.example\n")
        assert here.take(client, 20) == b"[('192.0.2.5', 80)]\n"
        assert here.take(client, 21) == b"[('192.0.2.1', 80), ("


def test_what_is_found_is_an_address_for_connected():
    class Proxy(StreamHandler):
        async def handle(self):
            for address in await resolve("localhost", self.server.port):
                try:
                    far = await Connected(address, Echo())
                except Failed:
                    continue
                self.send(type(far).__name__.encode())
                return

    with serving(Echo, "select") as target:
        port = target.server_address[1]
        with serving(Proxy, "select", port=port) as server, connect(server) as client:
            assert rest(client) == b"Echo"


def test_hosts_and_name_servers_are_read_from_their_files(tmp_path):
    (tmp_path / "hosts").write_text(
        "# 192.0.2.1 no\n127.0.0.1 localhost\n\n::1 LOCALHOST. six # 4\nwrong name\n10.0.0.1\n"
    )
    assert hosts(str(tmp_path / "hosts")) == {"localhost": ["127.0.0.1", "::1"], "six": ["::1"]}
    (tmp_path / "resolv").write_text("; no\nnameserver 192.0.2.1\nnameserver\nsearch a\n" + "nameserver ::1\n" * 4)
    assert name_servers(str(tmp_path / "resolv")) == ["192.0.2.1", "::1", "::1"]
    assert hosts(str(tmp_path / "none")) == {}
    assert name_servers(str(tmp_path / "none")) == ["127.0.0.1"]
