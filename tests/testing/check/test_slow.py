"""`ends_if_it_drips` counts the bytes of a message that have a wait each, not only whether the request ends at all.

It also counts the pieces of a message that have a wait each, and looks whether a client has to log in at all.
"""

import pytest

from handlers import Some, StreamHandler, Until
from reactor.testing import drip, ends_if_it_drips
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green


class Collects(StreamHandler):
    """Answers a line that it collects with many waits; a longer one ends the request."""

    timeout = 10
    most = 64

    async def handle(self):
        while line := await self.line():
            self.send(line)

    async def line(self):
        held = b""
        while not held.endswith(b"\n"):
            if len(held) == self.most:
                return b""
            held += await Some(limit=1)
        return held


class CollectsFew(Collects):
    most = 30


class CollectsInTime(Collects):
    request_timeout = 20


class CollectsAndAnswers(Collects):
    """Echoes each byte, as a terminal does."""

    async def line(self):
        self.send(byte := await Some(limit=1))
        return byte


class Waits(Collects):
    async def line(self):
        return await Until(b"\n", limit=self.most)


def test_a_limit_of_bytes_bounds_no_time():
    with pytest.raises(CheckFailed, match=r"keeps the request open for 576 seconds: each byte .* request_timeout"):
        ends_if_it_drips(Collects, b"one\ntwo\n")
    assert drip(Collects, b"") == 576
    assert drip(Waits, b"") == 18


@pytest.mark.parametrize("kind", [CollectsFew, CollectsInTime, CollectsAndAnswers, Waits])
def test_a_message_that_takes_a_few_waits_is_right(kind):
    ends_if_it_drips(kind, b"one\ntwo\n")


FIELDS = b"get\nname=ada\ncolour=red\nsize=4\n\nget\nname=bob\n\n"


class CountsFields(StreamHandler):
    """A message is a line, and fields up to an empty line, each of them once."""

    timeout = 10
    most = 30

    async def handle(self):
        while True:
            self.one_by_one += 1
            await Until(b"\n", limit=80)
            names = set()
            while (line := await Until(b"\n", limit=80)) != b"\n":
                name = line.partition(b"=")[0]
                if name in names or len(names) == self.most:
                    self.send(b"refused at %d\n" % self.now())
                    return
                names.add(name)
            self.send(b"%d fields\n" % len(names))


class CountsFieldsInTime(CountsFields):
    request_timeout = 20


class CountsFewFields(CountsFields):
    most = 16


class KeepsItsTime(CountsFields):
    """Bounds the time of a message itself."""

    async def handle(self):
        while True:
            await Until(b"\n", limit=80)
            count, begun = 0, self.now()
            while await Until(b"\n", limit=80) != b"\n":
                count += 1
                if count == self.most or self.now() > begun + 1_000:
                    return
            self.send(b"%d fields\n" % count)


class TakesText(CountsFields):
    """A message is a text, which may have any number of lines."""

    async def handle(self):
        while True:
            await Until(b"\n", limit=80)
            while await Until(b"\n", limit=80) != b"\n":
                pass
            self.send(b"taken\n")


def test_a_bound_of_the_pieces_of_a_message_bounds_no_time(tmp_path):
    with pytest.raises(CheckFailed, match=r"with 30 pieces such as b'a=ada.n' takes 270 .* request_timeout") as caught:
        ends_if_it_drips(CountsFields, FIELDS)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], CountsFields, CountsFieldsInTime, tmp_path)


@pytest.mark.parametrize("kind", [CountsFieldsInTime, CountsFewFields, KeepsItsTime, TakesText])
def test_a_message_whose_time_is_bounded_or_that_may_take_any_is_right(kind):
    ends_if_it_drips(kind, FIELDS)


TALK = b"hello\nlogin ada\none\n\ntwo\n"


class Talks(StreamHandler):
    """Echoes the lines of a client that has logged in. An empty line says that the client is there."""

    timeout = 10
    request_timeout = 20
    renews = True
    """Whether an empty line renews the time of a client that has not logged in."""
    told = b""
    """The answer to an empty line."""

    async def handle(self):
        is_in = False
        while line := await Until(b"\n", limit=80):
            if line == b"\n":
                self.one_by_one += is_in or self.renews
                self.send(self.told)
            elif is_in:
                self.one_by_one += 1
                self.send(line)
            elif line.startswith(b"login "):
                is_in = True
                self.opened()
                self.one_by_one += 1
            elif line != b"hello\n":
                return


class TalksSlowly(Talks):
    """Messages begin elsewhere, and a wait may take longer than a message."""

    timeout = 60

    async def handle(self):
        while (line := await Until(b"\n", limit=80)) == b"hello\n":
            pass
        while not line.startswith(b"login "):
            self.one_by_one += line == b"\n" and self.renews
            line = await Until(b"\n", limit=80)
        self.opened()
        while line := await Until(b"\n", limit=80):
            self.one_by_one += 1
            self.send(line.strip())


class TalksInTime(Talks):
    renews = False


class TalksSlowlyInTime(TalksSlowly):
    renews = False


class TalksAndAnswers(Talks):
    """What is answered is a message, as that of HTTP before the client asks for another protocol."""

    told = b"\n"


class TalksWithoutEnd(Talks):
    request_timeout = None


class TalksAtOnce(Talks):
    """Says that messages begin, and has no login."""

    async def handle(self):
        self.opened()
        while line := await Until(b"\n", limit=80):
            self.one_by_one += 1
            self.send(line.strip())


@pytest.mark.parametrize(("kind", "seconds"), [(Talks, 1800), (TalksWithoutEnd, 1800), (TalksSlowly, 3600)])
def test_a_client_that_is_there_has_to_log_in(kind, seconds, tmp_path):
    told = rf"sends b'.n' now and then, and stays in the opening, .* {seconds} seconds"
    with pytest.raises(CheckFailed, match=told) as caught:
        ends_if_it_drips(kind, TALK)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], kind, TalksInTime, tmp_path)


@pytest.mark.parametrize("kind", [TalksInTime, TalksSlowlyInTime, TalksAndAnswers, TalksAtOnce])
def test_a_client_that_logs_in_in_time_may_be_quiet_for_ever(kind):
    ends_if_it_drips(kind, TALK)
