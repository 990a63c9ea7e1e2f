"""The program that measures HTTP prints its tables, here with few connections."""

import sys

import pytest

from tests.proofs import http_figures
from tests.support.http_peers import SERVERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    for name, number in {"ROUNDS": 2, "SHORT": 3, "GOOD": 10}.items():
        monkeypatch.setattr(http_figures, name, number)


def rows(capsys):
    """The cells of the table that was printed, without its head."""
    lines = capsys.readouterr().out.strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_short_connections_are_measured_of_every_server(capsys):
    http_figures.short_connections()
    table = rows(capsys)
    assert [row[0] for row in table] == list(SERVERS)
    assert all(len(row) == 4 and float(row[2]) >= 0 for row in table)


def test_slow_clients_are_measured_of_every_server_and_program(capsys):
    http_figures.slow_clients((0, 12))
    table = rows(capsys)
    measured = {(name, int(count)): int(threads) for name, count, threads, *_ in table}
    assert len(measured) == len(table)
    assert measured["socketserver, threads", 12] > 8  # one may have ended meanwhile
    assert measured["reactor, threads, framing", 12] <= 5
    assert measured["reactor, select", 12] == 0
    for program in "http_server", "wsgiref", "xmlrpc":
        assert measured[f"{program}, select", 12] == 0
