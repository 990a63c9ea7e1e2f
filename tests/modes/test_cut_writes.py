"""Writes of blocking handlers that time out: what a file with a buffer sends again, also in front of a filter."""

import pytest

from handlers import StreamRequestHandler
from handlers.filter import Filter
from tests.support.serving import connect, rest, serving, wait_until


class Numbers(StreamRequestHandler):
    """Writes numbers to a file with a buffer, which is flushed once more when a write has timed out."""

    wbufsize = 400_000
    timeout = 0.3

    def handle(self):
        self.rfile.readline()
        try:
            for start in range(0, 500_000, 12_500):
                self.wfile.write(b"".join(b"%07d\n" % number for number in range(start, start + 12_500)))
        except OSError:
            self.server.journal.write("caught")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("filters", [[], [Filter]], ids=["plain", "filtered"])
@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_no_byte_of_a_buffered_file_is_sent_twice_when_a_write_has_timed_out(mode, filters, journal):
    members = {"filters": filters, "journal": journal, "handle_error": lambda *_: None}
    with serving(Numbers, mode, **members) as server, connect(server) as client:
        client.sendall(b"go\n")
        wait_until(journal.lines)
        lines = rest(client).split(b"\n")[:-1]
        assert len(lines) > 50_000
        assert lines == [b"%07d" % number for number in range(len(lines))]
