"""A part of Redis: a service with several waits in each message.

A request is an array of bulk strings (RESP, "Arrays" and "Bulk strings"). One of two strings takes five waits:
``*2\\r\\n$3\\r\\nGET\\r\\n$3\\r\\nkey\\r\\n``. GET and SET are served. The server on a `Protocol` of asyncio keeps and
cuts its buffer by hand.
"""

from __future__ import annotations

import asyncio

from handlers import Exactly, StreamHandler, Until
from tests.benchmarks.messages import STORE

from .ours import COROUTINE, ONE_WAIT, STATES, ours
from .standard import protocol
from .streams import streams


def answer(words: list[bytes]) -> bytes:
    """What Redis answers to a command."""
    command = words[0].upper()
    if command == b"GET" and len(words) == 2:
        value = STORE.get(words[1])
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
    if command == b"SET" and len(words) == 3:
        STORE[words[1]] = words[2]
        return b"+OK\r\n"
    return b"-ERR unknown command\r\n"


@ours("redis", STATES)
class States(StreamHandler):
    def handle(self):
        self.words = []
        return Until(b"\r\n", limit=64), self.array

    def array(self, line):
        self.left = int(line[1:-2])
        return Until(b"\r\n", limit=64), self.length

    def length(self, line):
        return Exactly(int(line[1:-2]) + 2), self.word

    def word(self, data):
        self.words.append(data[:-2])
        self.left -= 1
        if self.left:
            return Until(b"\r\n", limit=64), self.length
        self.send(answer(self.words))
        return self.handle()


@ours("redis", ONE_WAIT)
class OneWait(States):
    until = Until(b"\r\n", limit=64)

    def handle(self):
        self.words = []
        return self.until, self.array

    def array(self, line):
        self.left = int(line[1:-2])
        return self.until, self.length

    def word(self, data):
        self.words.append(data[:-2])
        self.left -= 1
        if self.left:
            return self.until, self.length
        self.send(answer(self.words))
        return self.handle()


@ours("redis", COROUTINE)
class Coroutine(StreamHandler):
    async def handle(self):
        until = Until(b"\r\n", limit=64)
        while True:
            words = []
            for _ in range(int((await until)[1:-2])):
                size = int((await until)[1:-2])
                words.append((await Exactly(size + 2))[:-2])
            self.send(answer(words))


@streams("redis")
async def redis(reader, writer):
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:-2])):
            size = int((await reader.readline())[1:-2])
            words.append((await reader.readexactly(size + 2))[:-2])
        writer.write(answer(words))
        await writer.drain()


def commands(held: bytearray) -> list[list[bytes]]:
    """Cut all whole commands from what is held."""
    found, start = [], 0
    while (end := held.find(b"\r\n", start)) >= 0:
        words, place = [], end + 2
        for _ in range(int(held[start + 1 : end])):
            end = held.find(b"\r\n", place)
            if end < 0:
                break
            size = int(held[place + 1 : end])
            place = end + 4 + size
            if place > len(held):
                break
            words.append(bytes(held[end + 2 : place - 2]))
        else:
            found.append(words)
            start = place
            continue
        break
    del held[:start]
    return found


@protocol("redis")
class Redis(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.held = bytearray()

    def data_received(self, data):
        self.held += data
        answers = [answer(words) for words in commands(self.held)]
        if answers:
            self.transport.write(b"".join(answers))
