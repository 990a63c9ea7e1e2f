"""`check` tells the wrong handler of each pair in `tests.support.pairs.misread` from the right one."""

from types import SimpleNamespace

import pytest

from examples import auth, chat, smtp, upper
from handlers import Some, StreamHandler, Until
from handlers.services import Echo
from reactor.testing import check, leaves_nothing_behind, takes_exact_ends_only
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.misread import LINES, PAIRS
from tests.support.pasted import assert_told


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        check(pair.wrong, pair.conversation, modes=[], examples=10)
    assert_told(caught, pair, tmp_path)


MAIL = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n..x\r\n.\r\nQUIT\r\n"
POST = SimpleNamespace(context=None, deliver=lambda *_: None)


class Secured(smtp.Receiver):
    """Takes mail, as after STARTTLS."""

    secured = True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "conversation", "server"),
    [
        (upper.Conversation, LINES, None),
        (upper.States, LINES, None),
        (auth.SecretUpper, b"sesame\nlet me in\n", None),
        (smtp.Receiver, MAIL, POST),
        (Secured, MAIL, POST),
    ],
    ids=["coroutine", "states", "mix-in", "commands", "mail"],
)
def test_the_handlers_of_the_examples_are_not_accused(kind, conversation, server):
    check(kind, conversation, server=server, modes=[], examples=5)


class TakesBareCR(StreamHandler):
    """Takes CR alone for the end of a line too, as a terminal sends it."""

    async def handle(self):
        line = b""
        while len(line) < 80:
            line += await Some(limit=1)
            if line.strip() and line[-1:] in (b"\r", b"\n"):
                self.send(line.strip().upper() + b"\r\n")
                line = b""


@pytest.mark.slow
def test_what_a_handler_takes_on_purpose_is_declared():
    with pytest.raises(CheckFailed, match=r"if it is meant: check\(\.\.\., meant=\['takes_exact_ends_only'\]\)"):
        takes_exact_ends_only(TakesBareCR, LINES)
    check(TakesBareCR, LINES, modes=[], examples=5, meant=["takes_exact_ends_only"])


def test_a_property_that_is_broken_on_purpose_is_named_and_not_tried():
    with pytest.raises(ValueError, match=r"meant is a list of properties that check tries: 'takes_ends'"):
        check(Echo, LINES, modes=[], meant=["takes_ends"])


class Counts(StreamHandler):
    """Counts the lines of all clients."""

    lines = 0

    async def handle(self):
        while True:
            await Until(b"\n", limit=80)
            Counts.lines += 1
            self.send(b"%d\r\n" % Counts.lines)


@pytest.mark.slow
def test_state_that_requests_share_on_purpose_is_declared():
    with pytest.raises(
        CheckFailed, match=r"another request has sent\n(?s:.)*if it is meant: .*meant=\['leaves_nothing_behind'"
    ):
        check(Counts, LINES, examples=5)
    check(Counts, LINES, b"1\r\n2\r\n", modes=["select"], examples=2, meant=["leaves_nothing_behind"])


@pytest.mark.slow
def test_a_chat_room_passes():
    conversation = b"ann\nhello\n"
    with pytest.raises(CheckFailed, match="another request has sent"):
        leaves_nothing_behind(chat.Chat, conversation, examples=25)
    check(chat.Chat, conversation, b"Your name? ", modes=["select"], examples=2, meant="leaves_nothing_behind")
