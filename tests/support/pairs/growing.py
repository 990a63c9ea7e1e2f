"""Pairs of handlers: one goes over all that it holds with each line, in a function of C, and one does not."""

import hashlib
import heapq
import json
import pickle
import struct
from collections import deque
from typing import NamedTuple

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, Until

LINES = b"item 1\nitem 2\nitem 3\n"
FRAMES = b"\0\0\0\6item 1\0\0\0\6item 2\0\0\0\6item 3"


class Local(StreamHandler):
    """Holds lines in a local variable of its coroutine."""

    timeout = 30
    most = 1 << 20
    empty = list

    async def handle(self):
        held = self.empty()
        while len(held) < self.most:
            held = self.take(held, await Until(b"\n", limit=80))
            self.send(b"ok\n")

    def take(self, held, line):
        """Hold a line. Returns all that is held."""
        held.append(line)
        return held


class Attribute(Local):
    """Holds lines in an attribute."""

    def handle(self):
        self.held = self.empty()
        return Until(b"\n", limit=80), self.line

    def line(self, line):
        self.held = self.take(self.held, line)
        self.send(b"ok\n")
        return (Until(b"\n", limit=80), self.line) if len(self.held) < self.most else None


class Frames(Local):
    """Holds frames in a dictionary of an object."""

    async def handle(self):
        held = {"frames": self.empty()}
        while len(held["frames"]) < self.most:
            size = int.from_bytes(await Exactly(4), "big")
            if not 1 <= size <= 80:
                return
            held["frames"] = self.take(held["frames"], await Exactly(size))
            self.send(b"ok")


class LocalSet(Local):
    empty = set

    def take(self, held, line):
        held.add(line)
        return held


class LocalDict(Local):
    empty = dict

    def take(self, held, line):
        held[line] = line
        return held


class LocalBytes(Local):
    empty = bytearray

    def take(self, held, line):
        held += line
        return held


class LocalQueue(Local):
    empty = deque

    def take(self, held, line):
        held += (line, line)
        held.popleft()
        return held


class LocalHeap(Local):
    def take(self, held, line):
        heapq.heappush(held, line)
        return held


class Recent(Local):
    """A short list of those that have come last."""

    def take(self, held, line):
        if line not in held:
            held.insert(0, line)
        return held[:100]


class InList(Local):
    def take(self, held, line):
        if line not in held:
            held.append(line)
        return held


class InListOfAttribute(InList, Attribute):
    pass


class SetOfAttribute(LocalSet, Attribute):
    pass


class InFrames(InList, Frames):
    pass


class Removes(Local):
    def take(self, held, line):
        held += (line, None)
        held.remove(None)
        return held


class Sorts(Local):
    def take(self, held, line):
        held.append(line)
        return sorted(held)


class Sums(Local):
    def take(self, held, line):
        held.append(line)
        return held if sum(map(len, held)) < self.most else []


class Largest(Local):
    def take(self, held, line):
        held.append(line)
        max(held)
        return held


class Any(Local):
    def take(self, held, line):
        held.append(line)
        return [] if any(other == b"" for other in held) else held


class AmongValues(LocalDict):
    def take(self, held, line):
        if line not in held.values():
            held[len(held)] = line
        return held


class LastItem(LocalDict):
    def take(self, held, line):
        held[line] = line
        list(held.items())[-1]
        return held


class Repeats(LocalBytes):
    """Answers each line with all lines so far."""

    empty = bytes

    def take(self, held, line):
        held = b"%b%b" % (held, line)
        self.send(held)
        return held


class Joins(Local):
    def take(self, held, line):
        held.append(line)
        b"".join(held)
        return held


class Splits(LocalBytes):
    def take(self, held, line):
        held += line
        held.split(b"\n")
        return held


class Hashes(LocalBytes):
    def take(self, held, line):
        held += line
        hashlib.sha256(held).digest()
        return held


class HashesPieces(Local):
    async def handle(self):
        digest, size = hashlib.sha256(), 0
        while size < self.most:
            line = await Until(b"\n", limit=80)
            digest.update(line)
            size += len(line)
            self.send(b"ok\n")


class Unpacks(LocalBytes):
    def take(self, held, line):
        held += line
        struct.unpack(f"{len(held)}B", held)
        return held


class Parses(LocalBytes):
    def take(self, held, line):
        held += line[-1:].replace(b"\n", b"1,")
        json.loads(b"[%b1]" % held)
        return held


class Dumps(Local):
    def take(self, held, line):
        held.append(line)
        pickle.dumps(held)
        return held


class Packets(DatagramHandler):
    """Looks for each packet among those before."""

    timeout = 30
    empty = list

    async def handle(self):
        held = self.empty()
        while len(held) < 1 << 20:
            packet = await Packet()
            if packet not in held:
                self.add(held, packet)
            self.send(b"ok")

    def add(self, held, packet):
        held.append(packet)


class PacketsRight(Packets):
    empty = set

    def add(self, held, packet):
        held.add(packet)


class Reads(StreamHandler):
    """Has the sizes of all reads added up with each."""

    timeout = request_timeout = 30

    async def handle(self):
        held = []
        while self.size(held) < 1 << 20:
            held.append(await Some())

    def size(self, held):
        return sum(map(len, held))


class ReadsRight(Reads):
    def size(self, held):
        return len(held)


class Pair(NamedTuple):
    """A wrong handler and a right one."""

    wrong: type
    right: type
    conversation: bytes | list[bytes] = LINES


PAIRS = [
    *(Pair(wrong, LocalSet) for wrong in (InList, Any)),
    *(Pair(wrong, Local) for wrong in (Sums, Largest, Joins, Dumps)),
    *(Pair(wrong, LocalBytes) for wrong in (Splits, Unpacks, Parses)),
    *(Pair(wrong, LocalDict) for wrong in (AmongValues, LastItem)),
    Pair(Removes, LocalQueue),
    Pair(Sorts, LocalHeap),
    Pair(Hashes, HashesPieces),
    Pair(InListOfAttribute, SetOfAttribute),
    Pair(InFrames, Frames, FRAMES),
    Pair(Packets, PacketsRight, [b"item 1", b"item 2"]),
    Pair(Reads, ReadsRight),
]
