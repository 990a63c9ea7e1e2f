"""A swallowed cause."""

import base64
import re

from handlers import EndOfStream, Exactly, LimitPassed, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

QUEUES = (b"lp", b"color")
DAEMON = re.compile(rb"[\x01\x03\x04]([a-z]{1,16})(?: [!-~]+)*|\x02([a-z]{1,16})")
FILE = re.compile(rb"([\x02\x03])([1-9][0-9]{0,5}) ((?:cf|df)[A-Z][0-9]{3}[A-Za-z0-9.-]{1,64})")
MAX_FILE = 32_768


class Printer(StreamHandler):
    """LPD (RFC 1179): the state of a queue, and jobs of a control file and data files."""

    timeout = 30
    request_timeout = 60

    async def handle(self):
        queue = None
        while True:
            self.one_by_one += 1
            line = (await Until(b"\n", limit=256))[:-1]
            if queue is None:
                matched = DAEMON.fullmatch(line)
                name = matched and (matched[1] or matched[2])
                if name not in QUEUES:
                    self.send(b"\1")
                    return
                queue = matched[2]
                self.send(b"\0" if line[0] < 3 else self.status(name, line[0] == 4))
            elif line == b"\1":
                self.printed = 0
                self.send(b"\0")
            else:
                matched = FILE.fullmatch(line)
                if matched is None or matched[3].startswith(b"cf") != (matched[1] == b"\2"):
                    self.send(b"\1")
                    return
                self.send(b"\0")
                self.spool(await self.content(int(matched[2])))
                self.send(b"\0")

    def setup(self):
        self.printed = 0

    def status(self, queue, is_long):
        return b"%b is ready%b\n" % (queue, b": no jobs since the connection began" if is_long else b"")

    def spool(self, content):
        self.printed += len(content)

    async def content(self, size):
        """What a file has; a zero octet ends it."""
        content = await Exactly(size + 1, limit=MAX_FILE)
        if content[size]:
            raise Malformed("no end of the file")
        return content[:size]


class BrokenPrinter(Printer):
    async def content(self, size):
        try:
            content = await Exactly(size + 1, limit=MAX_FILE)
        except EndOfStream as cause:
            return cause.partial
        if content[size]:
            raise Malformed("no end of the file")
        return content[:size]


REQUEST = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~]+))?")
SIZES = [320, 1207]
PASSWORDS = {b"ada": b"enchantress", b"guest": b"guest"}


class Mailbox(StreamHandler):
    """POP3 with AUTH PLAIN (RFC 5034)."""

    timeout = 30
    request_timeout = 60

    async def handle(self):
        self.user, failures = None, 0
        self.send(b"+OK POP3 server ready\r\n")
        while True:
            self.one_by_one += 1
            matched = REQUEST.fullmatch((await Until(b"\r\n", limit=255))[:-2])
            if matched is None:
                self.send(b"-ERR no command\r\n")
                return
            command, argument = matched[1].upper(), matched[2]
            if command == b"QUIT" and argument is None:
                self.send(b"+OK bye\r\n")
                return
            if command == b"AUTH" and argument == b"PLAIN" and self.user is None:
                self.send(b"+ \r\n")
                credentials = await self.credentials()
                if credentials is None:
                    self.send(b"-ERR malformed response\r\n")
                    return
                failures += not self.is_right(*credentials)
                self.send(b"-ERR [AUTH] wrong\r\n" if self.user is None else b"+OK maildrop ready\r\n")
                if failures == 3:
                    return
            elif not self.simple(command, argument):
                self.send(b"-ERR unknown command\r\n")
                return

    def is_right(self, user, password):
        if PASSWORDS.get(user) != password:
            return False
        self.user = user
        return True

    def simple(self, command, argument):
        """Do a command that has one answer. Whether it may come now."""
        if command == b"CAPA" and argument is None:
            self.send(b"+OK\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n")
        elif self.user is None or argument is not None:
            return False
        elif command == b"STAT":
            self.send(b"+OK %d %d\r\n" % (len(SIZES), sum(SIZES)))
        elif command == b"LIST":
            lines = (b"%d %d\r\n" % numbered for numbered in enumerate(SIZES, 1))
            self.send(b"+OK\r\n" + b"".join(lines) + b".\r\n")
        elif command == b"NOOP":
            self.send(b"+OK\r\n")
        else:
            return False
        return True

    async def credentials(self):
        """The name and the password; ``None`` for a response that has none."""
        response = await Until(b"\r\n", limit=512)
        try:
            return self.parsed(response[:-2])
        except ValueError:
            return None

    def parsed(self, response):
        decoded = base64.b64decode(response, validate=True)
        if base64.b64encode(decoded) != response:
            raise ValueError("not as an encoder writes it")
        authority, user, password = decoded.split(b"\0")
        if authority not in (b"", user):
            raise ValueError("for somebody else")
        return user, password


class BrokenMailbox(Mailbox):
    async def credentials(self):
        try:
            response = await Until(b"\r\n", limit=512)
            return self.parsed(response[:-2])
        except Exception:
            return None


PLUGINS = {
    b"load": (b"graph_title Load average\nload.label load\n", b"load.value 0.25\n"),
    b"uptime": (b"graph_title Uptime\nuptime.label days\n", b"uptime.value 12.50\n"),
}
QUERY = re.compile(rb"([a-z]+)((?: [!-~]+)*)")


class MuninNode(StreamHandler):
    """A node of Munin: lines from the master, which asks for graphs and values."""

    timeout = 10
    request_timeout = 30

    def handle(self):
        self.send(b"# munin node at node.example\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\n", limit=256), self.query

    def query(self, line):
        matched = QUERY.fullmatch(line[:-1])
        command, words = (matched[1], matched[2].split()) if matched else (b"", [])
        if command == b"quit" and not words:
            return None
        answer = self.answer(command, words)
        if answer is None:
            self.send(b"# Unknown command. Try cap, list, nodes, config, fetch, version or quit\n")
            return None
        self.send(answer)
        return self.following()

    def answer(self, command, words):
        if command == b"cap":
            return b"cap multigraph\n"
        if command in (b"config", b"fetch") and len(words) == 1:
            found = PLUGINS.get(words[0])
            return (b"# Unknown service\n" if found is None else found[command == b"fetch"]) + b".\n"
        if command == b"list" and words in ([], [b"node.example"]):
            return b" ".join(PLUGINS) + b"\n"
        if words:
            return None
        return {b"nodes": b"node.example\n.\n", b"version": b"munins node on node.example: 2.0.73\n"}.get(command)

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"# Line too long\n")


class BrokenMuninNode(MuninNode):
    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"# Line too long\n")
            return None
        return self.following()


CONTROL = b"Hnode.example\nPada\nJreport\nldfA017node.example\n"

PAIRS = [
    # Fault: a data file that the end of the stream cuts off is taken for whole, and the job acknowledged.
    Pair(
        "lpd-data-file",
        5,
        BrokenPrinter,
        Printer,
        [
            b"\3lp\n",
            b"\4color ada 17\n",
            b"\1lp\n",
            b"\2lp\n",
            b"\1\n",
            b"\2%d cfA017node.example\n%b\0" % (len(CONTROL), CONTROL),
            b"\00314 dfA017node.example\nHello, world!\n\0",
        ],
        {"kept": 4096},
    ),
    # Fault: `except Exception` around the wait for the response: the end, a limit and a timeout are "malformed".
    Pair(
        "pop3-auth-plain",
        5,
        BrokenMailbox,
        Mailbox,
        [
            b"CAPA\r\n",
            b"AUTH PLAIN\r\n",
            base64.b64encode(b"\0ada\0byron") + b"\r\n",
            b"AUTH PLAIN\r\n",
            base64.b64encode(b"ada\0ada\0enchantress") + b"\r\n",
            b"STAT\r\n",
            b"LIST\r\n",
            b"NOOP\r\n",
            b"QUIT\r\n",
        ],
        {"kept": 4096},
    ),
    # Fault: interrupted() goes on after every cause but one, so a master that stalls, or leaves in a line, is fine.
    Pair(
        "munin-node",
        5,
        BrokenMuninNode,
        MuninNode,
        [
            b"cap multigraph dirtyconfig\n",
            b"nodes\n",
            b"list node.example\n",
            b"list\n",
            b"config load\n",
            b"fetch load\n",
            b"config uptime\n",
            b"fetch uptime\n",
            b"fetch df\n",
            b"version\n",
            b"quit\n",
        ],
    ),
]
