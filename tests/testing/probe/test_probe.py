"""The probe finds the fault of each server in `tests.support.probed`, and none in a right server."""

import json
import socket
from functools import partial
from xml.etree import ElementTree

import pytest

from handlers.services import Discard, Echo
from reactor.testing import Recording
from reactor.testing.peers.tls import server_context
from reactor.testing.probe.command import main
from reactor.testing.running.recorded import HEAD, Turn, read
from reactor.tls import TLS
from tests.support import probed
from tests.support.serving import STREAMS, connect, serving

LINES = b"one\r\ntwo\r\n"
RECORDED = f"""{HEAD}
0.0 sent b'hello\\r\\n'
0.1 received b'on'
0.2 received b'e\\r\\n'

# a comment
0.3 sent b'ONE\\r\\n'
0.4 received b'two\\r\\n'
0.5 sent b'TWO\\r\\n'
0.6 input ended
0.6 output ended
"""


@pytest.fixture
def conversation(tmp_path):
    path = tmp_path / "conversation"
    path.write_bytes(LINES)
    return path


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recorded"
    path.write_text(RECORDED)
    return path


def run(capsys, *arguments):
    """The exit status of the command, and what it has printed."""
    status = main(["probe", *map(str, arguments), "--quiet=0.1"])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


# What it finds


@pytest.mark.slow
def test_a_right_server_is_not_accused(conversation, recorded, capsys):
    with probed.probed(probed.Right) as url:
        for file in conversation, recorded:
            status, said = run(capsys, url, file)
            assert status == 0, said
    names = [line.partition(":")[0] for line in said.splitlines()]
    assert names[:-1] == ["cut", "bytes", "slow", "coalesced", "half-close", "reset"]
    assert "holds, 9 tried" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (probed.TakesAReadForALine, {"cut", "bytes", "slow"}),
        (probed.AnswersOneLineOfARead, {"cut", "bytes", "slow", "coalesced"}),
        (probed.AnswersOnlyAtTheEndOfARead, {"half-close"}),
        (probed.StaysAfterTheEnd, {"half-close"}),
        (probed.StopsAfterAReset, {"reset"}),
    ],
)
def test_the_fault_of_a_server_is_found(kind, names, recorded, capsys, tmp_path):
    with probed.probed(kind) as url:
        status, said = run(capsys, url, recorded, f"--json={tmp_path / 'json'}", f"--junit={tmp_path / 'junit'}")
    assert status == 1, said
    found = json.loads((tmp_path / "json").read_text())
    assert {one["name"] for one in found["properties"] if one["found"]} == names, said
    suite = ElementTree.parse(tmp_path / "junit").getroot()
    assert {case.get("name") for case in suite if case.find("failure") is not None} == names
    assert int(suite.get("failures")) == len(names)


@pytest.mark.slow
def test_a_finding_shows_the_first_difference(conversation, capsys):
    with probed.probed(probed.TakesAReadForALine) as url:
        _, said = run(capsys, url, conversation, "--skip=half-close", "--skip=reset")
    assert "  cut before byte 1: the answer differs\n    first difference at byte 8:\n" in said
    assert "half-close" not in said


@pytest.mark.slow
def test_a_server_behind_tls(conversation, capsys):
    with serving(Echo, "select", STREAMS["tcp"], filters=[partial(TLS, context=server_context())]) as server:
        host, port = server.server_address
        status, said = run(capsys, f"tls://{host}:{port}", conversation, "--insecure")
        assert status == 0, said
        status, said = run(capsys, f"tls://{host}:{port}", conversation)
        assert (status, "certificate verify failed" in said) == (2, True)


@pytest.mark.slow
def test_a_server_at_a_unix_path(conversation, capsys):
    with serving(Echo, "select", STREAMS["unix"]) as server:
        status, said = run(capsys, f"unix://{server.server_address}", conversation)
    assert status == 0, said


# Conversations


def test_a_recorded_connection_is_a_conversation(tmp_path, capsys):
    with serving(Echo, "select", filters=[partial(Recording, directory=tmp_path)]) as server:
        with connect(server) as client:
            for part in b"one", b"two\xff\r\n":
                client.sendall(part)
                assert client.recv(10) == part
        client.close()
    [path] = tmp_path.iterdir()
    assert read(path) == [Turn(b"one", b"one"), Turn(b"two\xff\r\n", b"two\xff\r\n")]


def test_what_the_client_sends_without_an_answer_is_one_turn(recorded, conversation):
    assert read(recorded) == [Turn(b"", b"hello\r\n"), Turn(b"one\r\n", b"ONE\r\n"), Turn(b"two\r\n", b"TWO\r\n")]
    assert read(conversation) == [Turn(LINES, b"")]


@pytest.mark.parametrize("line", ["0.1 received", "0.1 got b'x'", "x sent b'x'", "0.1 sent 'x'", "0.1 sent b'x", "0"])
def test_a_line_that_is_no_event_is_named(line, tmp_path):
    path = tmp_path / "bad"
    path.write_text(f"{HEAD}\n0.0 sent b'x'\n{line}\n")
    with pytest.raises(ValueError, match=r"bad, line 3: .* is no event; write SECONDS, then received or sent"):
        read(path)


# Errors of the user


def refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (refused(), "connect: ECONNREFUSED; start the server"),
        ("http://x", "a URL begins with tcp://"),
        ("udp://127.0.0.1:9", "give one of tcp://"),
        ("unix:///no/such/path", "connect: ENOENT; start the server"),
    ],
)
def test_a_server_that_is_not_there_is_named(url, said, conversation, capsys):
    status, printed = run(capsys, url, conversation)
    assert (status, said in printed) == (2, True), printed


@pytest.mark.parametrize("option", ["--json", "--junit"])
def test_a_report_that_can_not_be_written_is_named_before_the_probe(option, conversation, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        status, printed = run(capsys, url, conversation, f"{option}={tmp_path / 'no' / 'file'}")
        assert (status, "no/file" in printed) == (2, True), printed
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.slow
def test_an_answer_that_is_never_the_same_needs_a_mask(conversation, capsys):
    class Counts(probed.Raw):
        count = 0

        def take(self, data):
            type(self).count += 1
            self.request.sendall(b"<%d>" % (10 + self.count % 80) + data)

    with probed.probed(Counts) as url:
        status, said = run(capsys, url, conversation)
        assert (status, "give --mask REGEX" in said) == (2, True), said
        status, said = run(capsys, url, conversation, "--mask=<[0-9]+>", "--skip=cut", "--skip=bytes", "--skip=slow")
    assert status == 0, said


@pytest.mark.slow
def test_a_conversation_without_bytes_and_one_without_an_answer(tmp_path, capsys):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with probed.probed(probed.Right) as url:
        assert run(capsys, url, path)[1].endswith("record one in which it does\n")
    path.write_bytes(b"x")
    with serving(Discard, "select") as server:
        status, said = run(capsys, "tcp://{}:{}".format(*server.server_address), path, "--patience=1")
    assert (status, "gives no answer in 1 s" in said) == (2, True), said
