"""A part of Redis: strings, lists, a blocking pop, and publish and subscribe (RESP, the protocol of Redis).

python3 examples/resp.py [PORT]      then, elsewhere: redis-cli -p 7379
                                     or redis.Redis(port=7379, protocol=2): it speaks RESP2, the older version

Waits that it shows: one of several delimiters (`UntilAny`), what another client does (`Taken`) for as long as the
client is there (`WhileConnected`), and a periodic call of the server (`call_every`).
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Cause, Exactly, Queue, StreamHandler, Taken, TimedOut, Until, UntilAny, WhileConnected
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Command: TypeAlias = tuple[int, int, Callable[["Session", list[bytes]], bytes]]

REQUEST = UntilAny(b"\r\n", b"\n", limit=65_536)  # an inline command may end with either
SIZE = Until(b"\r\n", limit=32)
MAX_WORDS, MAX_WORD = 1024, 1 << 20
MAX_ITEMS = 1_000_000
SWEEP = 1.0
"""Seconds between two searches for keys whose time is over."""


class Mistake(Exception):
    """The client has made a mistake: its text is the answer, and the session goes on."""


def bulk(word: bytes | None) -> bytes:
    return b"$-1\r\n" if word is None else b"$%d\r\n%b\r\n" % (len(word), word)


def array(words: list[bytes] | None) -> bytes:
    return b"*-1\r\n" if words is None else b"*%d\r\n%b" % (len(words), b"".join(map(bulk, words)))


def number(value: int) -> bytes:
    return b":%d\r\n" % value


OK = b"+OK\r\n"


def integer(word: bytes) -> int:
    """The number that the client has written."""
    if not word.removeprefix(b"-").isdigit() or len(word) > 19:
        raise Mistake("value is not an integer or out of range")
    return int(word)


class Store:
    """What all clients share. Its calls never wait, so none of them needs a lock."""

    def __init__(self) -> None:
        self.strings: dict[bytes, bytes] = {}
        self.lists: dict[bytes, deque[bytes]] = {}
        self.due: dict[bytes, float] = {}
        self.blocked: dict[bytes, deque[Queue]] = {}
        self.subscribers: dict[bytes, dict[Session, None]] = {}

    def push(self, key: bytes, items: list[bytes], *, left: bool = False) -> int:
        """Append the items. The length of the list before a blocked client has taken one."""
        if key in self.strings:
            raise Mistake("WRONGTYPE Operation against a key holding the wrong kind of value")
        held = self.lists.setdefault(key, deque())
        if len(held) + len(items) > MAX_ITEMS:
            raise Mistake("the list is too long")
        if left:
            held.extendleft(items)
        else:
            held.extend(items)
        size = len(held)
        self.serve(key)
        return size

    def pop(self, key: bytes, *, left: bool = True) -> bytes | None:
        """Take an item of the list, if there is one."""
        held = self.lists.get(key)
        if not held:
            return None
        item = held.popleft() if left else held.pop()
        if not held:
            del self.lists[key]
        return item

    def serve(self, key: bytes) -> None:
        """Hand items of the list to the clients that are blocked for it, the first one first."""
        blocked = self.blocked.get(key)
        while blocked and key in self.lists:
            given = blocked.popleft()
            if given.waiting:  # else the client has just been given an item of another list
                given.put((key, self.pop(key)))

    def has(self, key: bytes) -> bool:
        """Whether there is this key."""
        return key in self.strings or key in self.lists

    def remove(self, key: bytes) -> bool:
        """Delete the key. Whether there was one."""
        self.due.pop(key, None)
        return (self.strings.pop(key, None) is not None) | (self.lists.pop(key, None) is not None)

    def sweep(self, now: float) -> None:
        """Delete the keys whose time is over."""
        for key in [key for key, due in self.due.items() if due <= now]:
            self.remove(key)


class Session(StreamHandler):
    """One client."""

    timeout = None
    max_output = 32 << 20
    """A subscriber that is so many bytes behind is closed: see `Handler.max_output`."""

    server: Any

    def setup(self) -> None:
        self.store: Store = self.server.store
        self.channels: dict[bytes, None] = {}

    def finish(self) -> None:
        for channel in self.channels:
            self.forget(channel)

    async def handle(self) -> None:
        while True:
            try:
                words = await self.request(await REQUEST)
                if not words:
                    continue
                name = words[0].decode("ascii", "replace").lower()
                if name == "quit":
                    self.send(OK)
                    return
                if name in ("blpop", "brpop"):
                    self.send(array(await self.wait_for_item(words[1:], left=name == "blpop")))
                else:
                    self.send(self.answer(name, words[1:]))
            except Mistake as mistake:
                text = str(mistake)
                self.send(f"-{text}\r\n".encode() if text.split()[0].isupper() else f"-ERR {text}\r\n".encode())

    async def request(self, line: bytes) -> list[bytes]:
        """The words of the request that begins with ``line``: an array of bulk strings, or an inline command."""
        if line[:1] != b"*":
            return line.split()
        count = self.size(line, MAX_WORDS)
        words = []
        for _ in range(count):
            size = self.size(await SIZE, MAX_WORD, b"$")
            word = await Exactly(size + 2, limit=MAX_WORD + 2)
            if word[-2:] != b"\r\n":
                self.send(b"-ERR Protocol error\r\n")
                raise ProtocolError(word[-2:])
            words.append(word[:-2])
        return words

    def size(self, line: bytes, limit: int, kind: bytes = b"*") -> int:
        """The size that the line says. Raises `ProtocolError`, which ends the session: what follows can't be read."""
        digits = line[1:].rstrip()
        if line[:1] != kind or not digits.isdigit() or len(digits) > 9 or int(digits) > limit:
            self.send(b"-ERR Protocol error\r\n")
            raise ProtocolError(line)
        return int(digits)

    # A command that waits

    async def wait_for_item(self, words: list[bytes], *, left: bool) -> list[bytes] | None:
        """BLPOP and BRPOP: take an item of the first list that has one, or wait for one."""
        *keys, patience = words or [b""]
        try:
            seconds = float(patience)
        except ValueError:
            seconds = -1.0
        if not keys or not 0 <= seconds < float("inf"):
            raise Mistake("timeout is not a float or out of range")
        for key in keys:
            item = self.store.pop(key, left=left)
            if item is not None:
                return [key, item]
        given = Queue(limit=1)
        for key in keys:
            self.store.blocked.setdefault(key, deque()).append(given)
        try:
            return list(await WhileConnected(Taken(given), timeout=seconds or float("inf")))
        except TimedOut:
            return None
        finally:
            self.unblock(keys, given)

    def unblock(self, keys: list[bytes], given: Queue) -> None:
        """Wait for no key any more. An item that has come too late goes back to the head of its list."""
        for key in keys:
            blocked = self.store.blocked.get(key)
            if blocked and given in blocked:
                blocked.remove(given)
            if not blocked:
                self.store.blocked.pop(key, None)
        if len(given):
            key, item = given.take_at_once()
            self.store.push(key, [item], left=True)

    # Commands that are answered at once

    def answer(self, name: str, words: list[bytes]) -> bytes:
        known = COMMANDS.get(name)
        if known is None:
            raise Mistake(f"unknown command '{name[:64]}'")
        least, most, do = known
        if not least <= len(words) <= most:
            raise Mistake(f"wrong number of arguments for '{name}' command")
        if self.channels and name not in ("ping", "subscribe", "unsubscribe"):
            raise Mistake(f"Can't execute '{name}': only (UN)SUBSCRIBE, PING and QUIT are allowed in this context")
        return do(self, words)

    def ping(self, words: list[bytes]) -> bytes:
        if self.channels:
            return array([b"pong", *(words or [b""])])
        return bulk(words[0]) if words else b"+PONG\r\n"

    def set(self, words: list[bytes]) -> bytes:
        key, value, *options = words
        if options and (len(options) != 2 or options[0].upper() not in (b"EX", b"PX")):
            raise Mistake("syntax error")
        self.store.remove(key)
        if options:
            self.store.due[key] = self.now() + integer(options[1]) / (1 if options[0].upper() == b"EX" else 1000)
        self.store.strings[key] = value
        return OK

    def get(self, words: list[bytes]) -> bytes:
        (key,) = words
        if self.store.due.get(key, float("inf")) <= self.now():
            self.store.remove(key)
        return bulk(self.store.strings.get(key))

    def mset(self, words: list[bytes]) -> bytes:
        if len(words) % 2:
            raise Mistake("wrong number of arguments for 'mset' command")
        for place in range(0, len(words), 2):
            self.set(words[place : place + 2])
        return OK

    def incr(self, words: list[bytes]) -> bytes:
        key, *by = words
        value = integer(self.store.strings.get(key, b"0")) + (integer(by[0]) if by else 1)
        self.store.strings[key] = b"%d" % value
        return number(value)

    def lpop(self, words: list[bytes]) -> bytes:
        return bulk(self.store.pop(words[0]))

    def rpop(self, words: list[bytes]) -> bytes:
        return bulk(self.store.pop(words[0], left=False))

    def subscribe(self, words: list[bytes]) -> bytes:
        answers = []
        for channel in words:
            self.channels[channel] = None
            self.store.subscribers.setdefault(channel, {})[self] = None
            answers.append(b"*3\r\n$9\r\nsubscribe\r\n" + bulk(channel) + number(len(self.channels)))
        return b"".join(answers)

    def unsubscribe(self, words: list[bytes]) -> bytes:
        answers = []
        for channel in words or [*self.channels]:
            if self.channels.pop(channel, channel) is None:
                self.forget(channel)
            answers.append(b"*3\r\n$11\r\nunsubscribe\r\n" + bulk(channel) + number(len(self.channels)))
        return b"".join(answers) or b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"

    def forget(self, channel: bytes) -> None:
        """Subscribe to the channel no more."""
        subscribers = self.store.subscribers[channel]
        del subscribers[self]
        if not subscribers:
            del self.store.subscribers[channel]

    def publish(self, words: list[bytes]) -> bytes:
        channel, message = words
        subscribers = self.store.subscribers.get(channel, {})
        said = array([b"message", channel, message])
        for subscriber in subscribers:
            subscriber.send(said)
        return number(len(subscribers))


class ProtocolError(Cause):
    """What the client has sent is no request. As a cause it ends the request, and is no error of the handler."""


COMMANDS: dict[str, Command] = {  # how many arguments, at least and at most
    "ping": (0, 1, Session.ping),
    "echo": (1, 1, lambda session, words: bulk(words[0])),
    "set": (2, 4, Session.set),
    "get": (1, 1, Session.get),
    "mset": (2, MAX_WORDS, Session.mset),
    "incr": (1, 1, Session.incr),
    "incrby": (2, 2, Session.incr),
    "del": (1, MAX_WORDS, lambda session, words: number(sum(map(session.store.remove, words)))),
    "exists": (1, MAX_WORDS, lambda session, words: number(sum(map(session.store.has, words)))),
    "lpush": (2, MAX_WORDS, lambda session, words: number(session.store.push(words[0], words[1:], left=True))),
    "rpush": (2, MAX_WORDS, lambda session, words: number(session.store.push(words[0], words[1:]))),
    "lpop": (1, 1, Session.lpop),
    "rpop": (1, 1, Session.rpop),
    "llen": (1, 1, lambda session, words: number(len(session.store.lists.get(words[0], ())))),
    "subscribe": (1, MAX_WORDS, Session.subscribe),
    "unsubscribe": (0, MAX_WORDS, Session.unsubscribe),
    "publish": (2, 2, Session.publish),
}


class Server(SelectTCPServer):
    """Has the store."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], **options: Any) -> None:
        super().__init__(address, Session, **options)
        self.store = Store()
        self.call_every(SWEEP, lambda: self.store.sweep(self.reactor.clock.time()))


def main(port: str = "7379") -> None:
    with Server(("127.0.0.1", int(port))) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
