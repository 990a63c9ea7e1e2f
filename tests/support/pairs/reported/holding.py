"""What is kept: subscriptions that have ended, connections that have closed, the variables of others, nested braces."""

import re
from struct import pack, unpack

from handlers import Exactly, LimitPassed, StreamHandler, Until
from tests.support.pairs.pair import Pair

TOPIC = re.compile(rb"[a-z]{1,20}(?:/[a-z0-9]{1,20}){0,4}")


class Topics(StreamHandler):
    """Topics that a client subscribes to and unsubscribes from; STATUS says how many."""

    timeout = 60
    most = 32

    async def handle(self):
        self.topics, self.options = set(), {}
        while True:
            try:
                words = (await Until(b"\n", limit=160))[:-1].split(b" ")
            except LimitPassed:
                return self.send(b"ERR line\n")
            if words == [b"STATUS"]:
                self.send(b"SUBSCRIBED %d\n" % len(self.topics))
            elif len(words) != 2 or TOPIC.fullmatch(words[1]) is None or words[0] not in (b"SUB", b"UNSUB"):
                self.send(b"ERR command\n")
            elif words[0] == b"UNSUB":
                self.send(b"OK\n" if words[1] in self.topics else b"ERR topic\n")
                self.topics.discard(words[1])
                self.forget(words[1])
            elif len(self.topics) >= self.most and words[1] not in self.topics:
                self.send(b"ERR too many\n")
            else:
                self.topics.add(words[1])
                self.options[words[1]] = {"qos": 0, "retained": False}
                self.send(b"OK\n")

    def forget(self, topic):
        self.options.pop(topic, None)


class UnforgottenTopics(Topics):
    def forget(self, topic):
        pass


class Sessions(StreamHandler):
    """Remote calls: a session says its name, and has its calls answered; PEERS says how many sessions are open."""

    timeout = 60
    connections = {}
    number = 0

    async def handle(self):
        cls = type(self)
        cls.number += 1
        self.session = cls.number
        self.connections[self.session] = self
        try:
            await self.calls()
        finally:
            self.ended()

    async def calls(self):
        while True:
            try:
                line = await Until(b"\n", limit=100)
            except LimitPassed:
                return self.send(b"too long\n")
            if line == b"bye\n":
                return self.send(b"bye\n")
            if re.fullmatch(rb"call [a-z]{1,20}\n", line) is None:
                return self.send(b"no call\n")
            self.send(b"done %b" % line[5:])

    def ended(self):
        del self.connections[self.session]


class KeptSessions(Sessions):
    connections = {}

    def ended(self):
        self.session = 0


ASSIGNMENT = re.compile(rb"let ([a-z]{1,8}) ([0-9]{1,6})\n")
PRINT = re.compile(rb"print ([a-z]{1,8})\n")


class Console(StreamHandler):
    """A console with variables, of which each client has its own."""

    timeout = 60
    most = 26
    given = {b"pi": 3}

    def setup(self):
        self.variables = self.fresh()

    def fresh(self):
        return dict(self.given)

    def handle(self):
        return Until(b"\n", limit=64), self.line

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"? too long\n")

    def line(self, line):
        if matched := ASSIGNMENT.fullmatch(line):
            if matched[1] not in self.variables and len(self.variables) >= self.most:
                self.send(b"? full\n")
            else:
                self.variables[matched[1]] = int(matched[2])
                self.send(b"ok\n")
        elif matched := PRINT.fullmatch(line):
            value = self.variables.get(matched[1])
            self.send(b"? no such variable\n" if value is None else b"%d\n" % value)
        elif line == b"quit\n":
            return None
        else:
            self.send(b"? what\n")
        return self.handle()


class SharedConsole(Console):
    given = {b"pi": 3}

    def fresh(self):
        return self.given


class Patterns(StreamHandler):
    """Expands the names of hosts: ``web{1,2}`` is two hosts; braces may be nested."""

    timeout = 30
    request_timeout = 30
    deepest, most = 8, 64

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                length = unpack(">H", await Exactly(2))[0]
                pattern = await Exactly(length) if length else b""
                hosts, rest = self.alternatives(pattern, 0)
                if rest:
                    raise ValueError("a brace that was not opened")
            except ValueError as error:
                hosts = [b"! %b" % str(error).encode()]
            answer = b"\n".join(hosts)
            self.send(pack(">H", len(answer)) + answer)

    def alternatives(self, text, depth):
        """The hosts of a list of alternatives, which a closing brace ends, and what is behind it."""
        self.check(depth)
        found, current = [], [b""]
        while text and text[:1] != b"}":
            if text[:1] == b",":
                found, current, text = found + current, [b""], text[1:]
                continue
            if text[:1] == b"{":
                inner, text = self.alternatives(text[1:], depth + 1)
                if text[:1] != b"}":
                    raise ValueError("a brace is not closed")
                text = text[1:]
            else:
                plain = re.match(rb"[a-z0-9.]{1,63}", text)
                if plain is None:
                    raise ValueError("no name of a host")
                inner, text = [plain[0]], text[plain.end() :]
            current = [left + right for left in current for right in inner]
            if len(current) + len(found) > self.most or sum(map(len, current)) > 4_096:
                raise ValueError("too many hosts")
        return found + current, text

    def check(self, depth):
        if depth > self.deepest:
            raise ValueError("nested too deeply")


class DeepPatterns(Patterns):
    def check(self, depth):
        pass


def counted(data):
    return pack(">H", len(data)) + data


PAIRS = [
    # Fault (gmqtt 131): what is kept of a topic stays when the client has unsubscribed.
    Pair(
        "topics-unforgotten", 2, UnforgottenTopics, Topics,
        [b"SUB home/1\n", b"STATUS\n", b"UNSUB home/1\n", b"SUB garden\n", b"UNSUB garden\n", b"STATUS\n"],
        {"kept": 32_768},
    ),
    # Fault (CoreRemoting 200): a connection that has closed stays in the dictionary of all.
    Pair("sessions-kept", 2, KeptSessions, Sessions, [b"call sum\n", b"call count\n", b"bye\n"]),
    # Fault (aioconsole 70): the variables are those of all clients.
    Pair("console-shared", 3, SharedConsole, Console, [b"let a 5\n", b"print a\n", b"print pi\n", b"quit\n"]),
    # Fault (ClickHouse 115700): nested braces are expanded by calls, however deep they are.
    Pair("patterns-deep", 4, DeepPatterns, Patterns, [counted(b"web{1,2{a,b}}.example"), counted(b"db")]),
]  # fmt: skip
