"""A protocol with deep states, with and without a fault there, and what a client says to it."""

import re

from hypothesis import strategies as st

from handlers import DatagramHandler, Packet, StreamHandler, StreamRequestHandler, Until
from reactor.testing import Conversation, rule

LINE = Until(b"\n", limit=64)
DIGITS = re.compile(r"[0-9]{1,9}")


class Ledger(StreamHandler):
    """AUTH, then SELECT, then BEGIN, then ADD many times, then COMMIT. It has no fault."""

    async def handle(self):
        self.state, self.amounts = "new", []
        while (line := (await LINE)[:-1].removesuffix(b"\r")) != b"QUIT":
            self.send(self.answer(*line.partition(b" ")[::2]) + b"\n")

    def answer(self, verb, rest):
        if verb == b"AUTH" and self.state == "new" and rest == b"ada sesame":
            self.state = "known"
        elif verb == b"SELECT" and self.state == "known" and rest.isalpha():
            self.state = "selected"
        elif verb == b"BEGIN" and self.state == "selected" and not rest:
            self.state, self.amounts = "open", []
        elif verb == b"ADD" and self.state == "open" and len(self.amounts) < 50:
            amount = self.amount(rest)
            if amount is None:
                return b"error"
            self.amounts.append(amount)
        elif verb == b"COMMIT" and self.state == "open" and not rest:
            self.state = "selected"
            return b"ok %d" % sum(self.amounts)
        else:
            return b"error"
        return b"ok"

    def amount(self, rest):
        text = rest.decode("latin-1")
        return int(text) if DIGITS.fullmatch(text) else None


class TakesAnyNumber(Ledger):
    """From the given message of a transaction on it reads a number as ``int()`` does."""

    right = 2

    def amount(self, rest):
        if len(self.amounts) < self.right:
            return super().amount(rest)
        try:
            return int(rest) if len(rest) < 12 else None
        except ValueError:
            return None


class TakesAnyNumberLate(TakesAnyNumber):
    """The same, so late that a check of the whole session at once does not come to it."""

    right = 30


class RaisesDeep(Ledger):
    """In the third message of a transaction it raises for what is no number."""

    def amount(self, rest):
        return super().amount(rest) if len(self.amounts) < 2 else int(rest)


class Miscounts(Ledger):
    """It adds wrongly from the third amount on; the client knows the sum."""

    def answer(self, verb, rest):
        said = super().answer(verb, rest)
        return b"ok 0" if verb == b"COMMIT" and said != b"error" and len(self.amounts) > 2 else said


class FramedLedger(StreamRequestHandler):
    """A blocking handler with a framing. It answers a line with its number."""

    request = LINE

    def handle(self):
        line = self.rfile.readline().strip()
        self.wfile.write(b"%b\n" % self.answer(line))

    def answer(self, line):
        digits = line.removeprefix(b"ADD ")
        return digits if DIGITS.fullmatch(digits.decode("latin-1")) else b"error"


class FramedTakesAnyNumber(FramedLedger):
    """It knows only ``int()``."""

    def answer(self, line):
        try:
            return b"%d" % int(line.removeprefix(b"ADD "))
        except ValueError:
            return b"error"


class PacketLedger(DatagramHandler):
    """One packet after another from the same client: OPEN, ADD, ADD, ADD, SUM."""

    right = 1 << 30

    async def handle(self):
        number = total = 0
        while (data := (await Packet())[:64]) != b"SUM":
            total += self.amount(data.removeprefix(b"ADD ").decode("latin-1"), number)
            number += 1
            self.send(b"ok")
        self.send(b"%d" % (total % 1_000_000))

    def amount(self, text, number):
        if number < self.right:
            return int(text) if DIGITS.fullmatch(text) else 0
        return int(text)


class PacketRaisesDeep(PacketLedger):
    right = 3


class Bookkeeper(Conversation):
    """A client of a ledger."""

    def __init__(self):
        self.state, self.total = "new", 0

    @rule(when=lambda self: self.state == "new")
    def auth(self):
        self.state = "known"
        return b"AUTH ada sesame\r\n", b"ok\n"

    @rule(when=lambda self: self.state == "known")
    def select(self):
        self.state = "selected"
        return b"SELECT books\r\n", b"ok\n"

    @rule(when=lambda self: self.state == "selected")
    def begin(self):
        self.state, self.total = "open", 0
        return b"BEGIN\r\n", b"ok\n"

    @rule(when=lambda self: self.state == "open", amount=st.integers(10, 99))
    def add(self, amount):
        self.total += amount
        return b"ADD %d\r\n" % amount, re.compile(rb"ok\n")

    @rule(when=lambda self: self.state == "open")
    def commit(self):
        self.state = "selected"
        return b"COMMIT\r\n", b"ok %d\n" % self.total


LONG = [b"AUTH ada sesame\r\n", b"SELECT books\r\n", b"BEGIN\r\n", *[b"ADD 10\r\n"] * 31, b"COMMIT\r\n", b"QUIT\r\n"]
SHORT = [b"AUTH ada sesame\r\n", b"SELECT books\r\n", b"BEGIN\r\n", b"ADD 10\r\n", b"COMMIT\r\n"]
SESSION = [
    b"AUTH ada sesame\r\n", b"SELECT books\r\n", b"BEGIN\r\n", b"ADD 10\r\n", b"ADD 20\r\n", b"ADD 30\r\n",
    b"COMMIT\r\n", b"BEGIN\r\n", b"ADD 11\r\n", b"ADD 12\r\n", b"COMMIT\r\n", b"BEGIN\r\n", b"COMMIT\r\n", b"QUIT\r\n",
]  # fmt: skip
