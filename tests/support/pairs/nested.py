"""Pairs of handlers, one that recurses for each level of a message, and one that bounds the depth."""

import json
import re

from handlers import StreamHandler, Until
from tests.support.pairs.misread import Pair

NUMBER = re.compile(rb"[0-9]{1,9},?")


class Sums(StreamHandler):
    """Sums nested lists of numbers, with a function that calls itself."""

    deepest = 1 << 40

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=65_536)
            try:
                text = line.split(b"#")[0].strip()
                total, end = self.total(text, 0, 0)
            except ValueError:
                self.send(b"?\n")
            else:
                self.send(b"?\n" if end < len(text) else b"%d\n" % total)

    def total(self, text, start, depth):
        """The sum of the list that begins there, and where it ends."""
        if not text.startswith(b"[", start) or depth > self.deepest:
            raise ValueError("no list, or too deep")
        total, place = 0, start + 1
        while place < len(text) and not text.startswith(b"]", place):
            if text.startswith(b"[", place):
                inner, place = self.total(text, place, depth + 1)
                total += inner
            elif found := NUMBER.match(text, place):
                total, place = total + int(found[0].rstrip(b",")), found.end()
            else:
                raise ValueError("no number")
        if place == len(text):
            raise ValueError("the list does not end")
        return total, place + 1


class SumsFewLevels(Sums):
    deepest = 20


class Elements(StreamHandler):
    """Answers with the number of strings in nested arrays of RESP."""

    deepest = 1 << 40

    async def handle(self):
        while True:
            count = await self.count(0)
            if count is None:
                self.send(b"-ERR\r\n")
                return
            self.send(b":%d\r\n" % count)

    async def count(self, depth):
        line = await Until(b"\r\n", limit=16)
        if line[:1] == b"+":
            return 1
        if not re.fullmatch(rb"\*[1-9]\r\n", line) or depth > self.deepest:
            return None
        total = 0
        for _ in range(int(line[1:2])):
            inner = await self.count(depth + 1)
            if inner is None:
                return None
            total += inner
        return total


class ElementsOfFewLevels(Elements):
    deepest = 20


class Documents(StreamHandler):
    """Answers whether a line is JSON."""

    refused = (ValueError,)

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=65_536)
            try:
                json.loads(line)
            except self.refused:
                self.send(b"no\n")
            else:
                self.send(b"yes\n")


class DocumentsOfAnyDepth(Documents):
    refused = ValueError, RecursionError


DEEP = "any_nesting", "it raises RecursionError for a message that is nested deeply"

PAIRS = [
    Pair(Sums, SumsFewLevels, b"[1,2]\n", *DEEP),
    Pair(Elements, ElementsOfFewLevels, b"*2\r\n+a\r\n+b\r\n", *DEEP),
    Pair(Documents, DocumentsOfAnyDepth, b'{"a": [1]}\n', *DEEP),
]
