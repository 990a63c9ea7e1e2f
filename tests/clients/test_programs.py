"""Programs written for ``socketserver`` serve right with `reactor` in its place, in their own modes and in select mode.

Each is a process of its own (`tests.support.programs_on_reactor`). If a program is not installed, its tests are
skipped; with ``REACTOR_REAL_CLIENTS=1`` they fail.
"""

import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import xmlrpc.client
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.programs import needed
from tests.support.serving import PATIENCE

pytestmark = pytest.mark.slow

PACKAGES = {
    "flask": "flask", "django": "django", "bottle": "bottle", "prometheus": "prometheus_client", "dns_udp": "dnslib",
    "dns_tcp": "dnslib", "osc": "pythonosc", "prometheus_kept": "prometheus_client", "dns_kept": "dnslib",
}  # fmt: skip

ECHOES = [
    ("wsgiref", "own"), ("wsgiref", "select"), ("bottle", "own"), ("bottle", "select"), ("flask", "own"),
    ("flask", "threaded"), ("flask", "processes"), ("flask", "select"), ("django", "single"), ("django", "own"),
    ("django", "select"),
]  # fmt: skip
HALVES = 4  # slow clients at a time: the accept queue of these programs has a length of 5
CROWD = 200
FRAMED = [
    (program, mode)
    for program in ("http_server", "wsgiref", "bottle", "flask", "django", "prometheus", "xmlrpc", "dns_tcp")
    for mode in ("framed", "select")
] + [("flask", "forked")]  # those that have children by themselves
HALF = b"GET / HTTP/1.1\r\nHost: a"


def installed(program):
    """Refuse the test if the package of the program is not installed."""
    package = PACKAGES.get(program)
    if package:
        needed(importlib.util.find_spec(package), package)


@contextmanager
def running(program, mode, cwd=ROOT):
    """The port of the program; at the end its log must be free of tracebacks."""
    with process_of(program, mode, cwd) as (port, _):
        yield port


@contextmanager
def process_of(program, mode, cwd=ROOT):
    """The port of the program, and its process; at the end its log must be free of tracebacks."""
    installed(program)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.programs_on_reactor", program, mode],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line, process.communicate(timeout=PATIENCE)
            yield int(line), process.pid
        except BaseException:
            process.kill()
            raise
        log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert "rror" not in log, log


def client_of(port):
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE))


def fetch(client, *request, **options):
    """The status and the content of the answer, and whether it came over the connection of the answer before."""
    before = client.sock
    client.request(*request, **options)
    was_kept = client.sock is before is not None
    with client.getresponse() as answer:
        return answer.status, answer.read(), was_kept


@contextmanager
def half_requests(port, half):
    """Clients that have sent half a request, and send no more."""
    with ExitStack() as stack:
        for _ in range(HALVES):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            slow.sendall(half)
        yield


@pytest.mark.parametrize(("program", "mode"), ECHOES)
def test_a_web_application_answers(program, mode):
    keeps = (program, mode) == ("django", "own")  # the others end each connection by themselves
    with running(program, mode) as port, client_of(port) as client:
        assert fetch(client, "GET", "/a") == (200, b"GET /a ", False)
        assert fetch(client, "POST", "/b", b"body" * 9_999) == (200, b"POST /b " + b"body" * 9_999, keeps)
        assert fetch(client, "GET", "/c") == (200, b"GET /c ", keeps)


@pytest.mark.parametrize("program", ["wsgiref", "bottle", "flask", "django"])
def test_in_select_mode_chunks_come_as_one_body_and_slow_clients_delay_nobody(program):
    with running(program, "select") as port, client_of(port) as client:
        half = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody"
        with half_requests(port, half), half_requests(port, half[:20]):
            chunks = iter([b"one", b"two"])
            assert fetch(client, "POST", "/b", chunks, encode_chunked=True)[:2] == (200, b"POST /b onetwo")
            headers = {"Expect": "100-continue"}
            assert fetch(client, "POST", "/c", b"body", headers=headers)[:2] == (200, b"POST /c body")


@pytest.mark.parametrize("mode", ["own", "single", "select"])
def test_files_of_http_server(mode, tmp_path):
    (tmp_path / "page").write_bytes(b"text" * 99_999)
    with running("http_server", mode, tmp_path) as port, client_of(port) as client:
        assert [fetch(client, "GET", "/page") for _ in range(3)] == [
            (200, b"text" * 99_999, was_kept) for was_kept in (False, True, True)
        ]
        assert fetch(client, "HEAD", "/page")[:2] == (200, b"")


@pytest.mark.parametrize("mode", ["own", "select"])
def test_metrics_of_prometheus(mode):
    with running("prometheus", mode) as port, client_of(port) as client:
        with half_requests(port, b"GET / HTTP/1.1\r\n"):
            status, content, _ = fetch(client, "GET", "/metrics")
        assert status == 200
        assert b"\nserved_total 41.0\n" in content


@pytest.mark.parametrize(("program", "mode", "keeps"), [
    ("prometheus", "own", False), ("prometheus", "framed", False), ("prometheus", "select", False),  # as wsgiref does
    ("prometheus_kept", "framed", True), ("prometheus_kept", "select", True),
])  # fmt: skip
def test_a_client_of_prometheus_gets_one_answer_after_another(program, mode, keeps):
    with running(program, mode) as port, client_of(port) as client:
        for number in range(3):
            status, content, was_kept = fetch(client, "GET", "/metrics", headers={"Connection": "keep-alive"})
            assert (status, was_kept) == (200, keeps and number > 0)
            assert b"\nserved_total 41.0\n" in content


@pytest.mark.parametrize("mode", ["own", "threaded", "select"])
def test_procedures_of_xmlrpc(mode):
    with running("xmlrpc", mode) as port, xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
        assert [proxy.pow(2, exponent) for exponent in range(5)] == [1, 2, 4, 8, 16]
        with pytest.raises(xmlrpc.client.Fault, match="ZeroDivisionError"):
            proxy.pow(0, -1)
        kept = proxy("transport")._connection[1].sock
        proxy.pow(2, 2)
        assert proxy("transport")._connection[1].sock is kept is not None


@pytest.mark.parametrize("mode", ["own", "select"])
@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_dnslib(mode, tcp):
    with running("dns_tcp" if tcp else "dns_udp", mode) as port:
        from dnslib import DNSRecord

        for name in "a.example", "b.example":
            answer = DNSRecord.question(name).send("127.0.0.1", port, tcp=tcp, timeout=PATIENCE)
            assert str(DNSRecord.parse(answer).short()) == "192.0.2.53"


def queries(number):
    """So many queries for a name each, as a client sends them over TCP."""
    from dnslib import DNSRecord

    packed = [DNSRecord.question(f"n{each}.example").pack() for each in range(number)]
    return [len(one).to_bytes(2, "big") + one for one in packed]


def answered(file):
    """The name that the next answer in the file is for, and the address; ``None`` at the end of the stream."""
    from dnslib import DNSRecord

    head = file.read(2)
    if not head:
        return None
    answer = DNSRecord.parse(file.read(int.from_bytes(head, "big")))
    return str(answer.q.qname), str(answer.short())


@pytest.mark.parametrize("mode", ["framed", "forked", "select"])
def test_queries_of_one_connection_of_dnslib_are_answered_in_order(mode):
    names = [(f"n{each}.example.", "192.0.2.53") for each in range(9)]
    with (
        running("dns_kept", mode) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
        client.makefile("rb") as answers,
    ):
        one, *others = queries(9)
        client.sendall(one)
        assert answered(answers) == names[0]
        stream = b"".join(others)
        for start in range(0, len(stream), 50):  # of several queries, or a part of one
            client.sendall(stream[start : start + 50])
        client.shutdown(socket.SHUT_WR)
        assert [answered(answers) for _ in range(9)] == [*names[1:], None]


@pytest.mark.parametrize("mode", ["own", "framed", "select"])
def test_a_connection_of_dnslib_is_for_one_query_where_nothing_is_declared(mode):
    with (
        running("dns_tcp", mode) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
        client.makefile("rb") as answers,
    ):
        client.sendall(queries(1)[0])
        assert [answered(answers), answered(answers)] == [("n0.example.", "192.0.2.53"), None]


@pytest.mark.parametrize("mode", ["own", "threaded", "forked", "select"])
def test_packets_that_two_clients_of_python_osc_send_at_once_are_answered_each(mode):
    with running("osc", mode) as port, ExitStack() as stack:
        from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
        from pythonosc.osc_message import OscMessage
        from pythonosc.osc_message_builder import build_msg

        def bundle(number):
            builder = OscBundleBuilder(IMMEDIATELY)
            builder.add_content(build_msg("/twice", [number]))
            return builder.build()

        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for number in range(10):
            for place, client in enumerate(clients):
                packet = build_msg("/twice", [number]) if number % 2 else bundle(number)
                client.sendto(packet.dgram, ("127.0.0.1", port))
                client.sendto(b"no packet of OSC", ("127.0.0.1", port)) if place else None
        for client in clients:
            client.settimeout(PATIENCE)
            answers = [OscMessage(client.recv(9_999)).params for _ in range(10)]
            assert sorted(answers) == [[2 * number] for number in range(10)]


@pytest.mark.parametrize("mode", ["own", "threaded", "forked", "select"])
def test_messages_of_python_osc(mode):
    with running("osc", mode) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        from pythonosc.osc_message import OscMessage
        from pythonosc.osc_message_builder import build_msg

        client.settimeout(PATIENCE)
        for number in range(3):
            client.sendto(build_msg("/twice", [number]).dgram, ("127.0.0.1", port))
            answer = OscMessage(client.recv(9_999))
            assert (answer.address, answer.params) == ("/is", [2 * number])


def threads_and_children(pid):
    """How many of them the process has."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return len(threads) + sum(len((thread / "children").read_text().split()) for thread in threads)


def ask_well(program, port):
    """Be a good client, once. Every answer is right."""
    if program == "xmlrpc":
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
            assert proxy.pow(2, 10) == 1024
    elif program == "dns_tcp":
        from dnslib import DNSRecord

        answer = DNSRecord.question("a.example").send("127.0.0.1", port, tcp=True, timeout=PATIENCE)
        assert str(DNSRecord.parse(answer).short()) == "192.0.2.53"
    else:
        with client_of(port) as client:
            status, content, _ = fetch(client, "GET", "/metrics" if program == "prometheus" else "/page")
        expected = {"prometheus": b"\nserved_total 41.0\n", "http_server": b"some text"}.get(program, b"GET /page ")
        assert (status, expected in content) == (200, True)


@pytest.mark.parametrize(("program", "mode"), FRAMED)
def test_200_half_requests_hold_no_thread_and_no_child_and_delay_no_good_client(program, mode, tmp_path):
    (tmp_path / "page").write_bytes(b"some text")
    half = b"\x00\x40half" if program == "dns_tcp" else HALF
    with process_of(program, mode, tmp_path) as (port, pid), ExitStack() as stack:
        ask_well(program, port)
        before = threads_and_children(pid)
        for number in range(CROWD):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            slow.sendall(half)
            if number % HALVES == 0:
                ask_well(program, port)
        ask_well(program, port)
        assert threads_and_children(pid) <= before + (0 if mode == "select" else 5)
