"""The run without a network that says what a real server should give."""

from handlers import Some, StreamHandler
from reactor.testing.running.loopback import foretell
from reactor.testing.running.subject import Subject


class Counts(StreamHandler):
    """Answers each piece with one byte."""

    async def handle(self):
        while True:
            await Some()
            self.send(b".")


def test_a_short_conversation_comes_byte_by_byte():
    run = foretell(Subject(Counts), bytes(100))
    assert (len(run.output), run.fed) == (100, 100)


def test_a_long_conversation_comes_in_a_bounded_number_of_pieces():
    run = foretell(Subject(Counts), bytes(70_000))
    assert len(run.output) < 20_000
    assert run.fed == 70_000
