"""``python3 -m tests.proofs.attack``: all kinds of bad clients at once, beside a thousand good ones, in each mode.

No byte of a good client may be lost or wrong. When all have gone, the server must hold what it held after a warm-up of
the same kind: descriptors, threads, children, and resident memory within 5 %; in short runs, the bytes allocated by
Python. Each server is a process of its own that serves TCP, UDP and Unix datagrams on one loop. The plain mode is left
out: it serves one request at a time, so one bad client delays all others by its timeout; `tests.proofs.storm` covers
it. Prints Markdown; the exit status is 1 where a guarantee does not hold. Needs Linux; as root it also forges packets.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import socket
import struct
import sys
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.proofs.storm import LEAN, at_rest
from tests.proofs.victim import ODD
from tests.support.process import Process
from tests.support.serving import reset
from tests.support.tables import table

ATTACKED = ("select", "thread", "fork")

SECONDS = 300
"""Seconds of the long run, all modes together."""

PATIENCE = 120.0
"""Seconds after which a good client takes an answer for lost."""

VICTIM = "tests.proofs.victim:Victim"
VICTIM_OF_PACKETS = "tests.proofs.victim:VictimOfPackets"

BRIEF = 1.0
"""Seconds that a bad client stays at most."""

WARM = 0.4
"""The part of the time that the warm-up takes."""

GROWTH = 0.05
"""The part by which the resident memory may be more than after the warm-up."""

PAUSE = 0.5
"""Seconds at most between two bad clients; without it those that are quick would crowd out the others."""

BIG = 1 << 20
"""Bytes of an unfinished message of a bad client."""

SHORT = 150
"""With fewer seconds the memory that Python has allocated is judged (`tracemalloc`) instead of the resident memory: the
allocators, which keep what they had at the peak, have not yet seen the highest peak.
"""


class Attack:
    """All clients of one server for some seconds, in one event loop."""

    def __init__(self, process, seed, seconds):
        self.process = process
        self.random = Random(seed)
        self.loop = asyncio.get_running_loop()
        self.end = self.loop.time() + seconds
        self.addresses = {"tcp": process.address, **process.ask("addresses")}
        self.addresses["udp"] = tuple(self.addresses["udp"])
        self.done = Counter()
        self.wrong = []
        self.answers = defaultdict(set)
        """The answers that a good client may get, by the address of its socket."""
        """What good clients have to complain of."""

    async def run(self, good, bad):
        """``good`` clients of streams, a twentieth as many of each datagram socket, ``bad`` ones of each bad kind."""
        clients = [self._again(Attack.good) for _ in range(good)]
        clients += [self._again(kind) for kind in GOOD[1:] for _ in range(max(1, good // 20))]
        clients += [self._again(kind) for kind in BAD for _ in range(bad)]
        if os.geteuid() == 0:
            clients += [self._again(kind) for kind in FORGERS]
        await asyncio.gather(*clients)

    async def _again(self, kind):
        """Run clients of this kind, one after the other, until the end. Whatever happens to a bad one is right."""
        while self.loop.time() < self.end and len(self.wrong) < 20:
            try:
                await asyncio.wait_for(kind(self), PATIENCE)
            except (OSError, AssertionError, asyncio.TimeoutError) as error:
                if kind in GOOD:
                    self.wrong.append(f"{kind.__name__}: {error!r}")
            self.done["good" if kind in GOOD else kind.__name__] += 1
            await asyncio.sleep(0 if kind in GOOD else PAUSE * self.random.random())

    # The good clients

    async def good(self):
        """Some messages, cut anywhere; every byte of the answers must come, and no other."""
        texts = [self.text() for _ in range(self.random.randrange(1, 5))]
        said = b"".join(b"say %d\n%b" % (len(text), text) for text in texts)
        expected = b"".join(text[::-1] for text in texts)
        cut = self.random.randrange(1, len(said))
        async with self.connected() as client:
            await self.loop.sock_sendall(client, said[:cut])
            await asyncio.sleep(self.random.choice((0, 0, 0.01)))
            sending = asyncio.ensure_future(self._send_all(client, said[cut:]))
            heard = bytearray()
            while piece := await self.loop.sock_recv(client, 1 << 16):
                heard += piece
            await sending
        assert heard == expected, f"{len(heard)} bytes of {len(expected)} came, or wrong ones"
        self.done["bytes"] += len(heard)

    async def _send_all(self, client, data):
        await self.loop.sock_sendall(client, data)
        client.shutdown(socket.SHUT_WR)

    def text(self):
        size = 100_000 if self.random.random() < 0.02 else self.random.randrange(1, 2_000)
        return self.random.randbytes(size)

    async def good_udp(self):
        with datagram_client("udp", GOOD_HOST) as client:
            await self._exchange(client, "udp")

    async def good_unix(self):
        with datagram_client("unix") as client:
            await self._exchange(client, "unix")

    async def _exchange(self, client, place):
        """Some packets, each sent again until it is answered: a datagram may be dropped, its answer not be wrong."""
        answers = self.answers[client.getsockname()]  # a client with the same port may have gone before its answer came
        for number in range(5):
            packet = b"%d %b" % (number, self.random.randbytes(30))
            answers.add(packet[::-1])
            for _ in range(40):
                with suppress(BlockingIOError):
                    client.sendto(packet, self.addresses[place])
                with suppress(asyncio.TimeoutError):
                    answer = await self.hear_packet(client)
                    assert answer in answers, f"{answer[:60]!r} answers {packet!r}"
                    if answer == packet[::-1]:
                        self.done["bytes"] += len(answer)
                        break
                self.done["resent"] += 1
            else:
                raise AssertionError("a packet is not answered")

    async def hear_packet(self, client):
        return await asyncio.wait_for(self.loop.sock_recv(client, 2_000), 2 * BRIEF)

    # Bad clients of connections

    @asynccontextmanager
    async def connected(self, receive_buffer=None):
        with socket.socket() as client:
            client.setblocking(False)
            if receive_buffer is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await self.loop.sock_connect(client, self.addresses["tcp"])
            yield client

    async def say(self, client, data):
        await asyncio.wait_for(self.loop.sock_sendall(client, data), BRIEF)

    async def leave(self, client):
        """Go at once or after a while, by a reset or an end, or stay until the server ends it."""
        how = self.random.randrange(4)
        if how == 0:
            return reset(client)
        await asyncio.sleep(self.random.random() * BRIEF)
        if how == 1:
            return reset(client)
        if how == 2:
            client.shutdown(socket.SHUT_WR)
            await self.hear(client)
        return None

    async def hear(self, client):
        """Receive for a while, at most to the end."""
        end = self.loop.time() + BRIEF
        while (left := end - self.loop.time()) > 0:
            if not await asyncio.wait_for(self.loop.sock_recv(client, 1 << 16), left):
                return

    async def resets(self):
        async with self.connected() as client:
            await self.say(client, b"say 10\n12345"[: self.random.randrange(13)])
            reset(client)

    async def holds_a_megabyte(self):
        async with self.connected() as client:
            await self.say(client, b"say %d\n" % BIG + bytes(BIG - 1))
            await self.leave(client)

    async def babbles(self):
        async with self.connected() as client:
            await self.say(client, self.random.randbytes(self.random.randrange(1, 50_000)))
            await self.leave(client)

    async def never_reads(self):
        async with self.connected(receive_buffer=4096) as client:
            for _ in range(self.random.randrange(1, 5)):
                await self.say(client, b"give 400000\n")
            await self.leave(client)

    async def leaves_a_wait(self):
        async with self.connected() as client:
            await self.say(client, b"wait 2\n")
            await self.leave(client)

    async def makes_it_raise(self):
        async with self.connected() as client:
            await self.say(client, b"raise %b\n" % self.random.choice(list(ODD)).encode())
            await self.hear(client)

    async def makes_work_raise(self):
        word = self.random.choice((b"fork", b"thread", b"thread", b"thread", b"die"))
        async with self.connected() as client:
            await self.say(client, b"%b %b\n" % (word, self.random.choice(list(ODD)).encode()))
            await self.hear(client)

    async def has_threads_write(self):
        async with self.connected() as client:
            await self.say(client, b"post %d\n" % self.random.randrange(40))
            await self.leave(client)

    async def joins(self):
        async with self.connected(receive_buffer=4096) as client:
            await self.say(client, b"join\n")
            await self.leave(client)

    async def tells(self):
        async with self.connected() as client:
            await self.say(client, b"tell %d\n" % self.random.randrange(4))
            await self.leave(client)

    # Bad clients of datagrams

    async def floods(self):
        """Many packets to UDP, and closed at once: the answers make the kernel report an unreachable port."""
        with datagram_client("udp") as client:
            for number in range(self.random.randrange(20)):
                packet = (b"", b"more", b"%d" % number, bytes(50_000), b"raise foreign")[number % 5]
                client.sendto(packet, self.addresses["udp"])
        await asyncio.sleep(self.random.random() * BRIEF)

    async def makes_packets_raise(self):
        place = self.random.choice(("udp", "unix"))
        with datagram_client(place) as client:
            client.sendto(b"raise %b" % self.random.choice(list(ODD)).encode(), self.addresses[place])
            await asyncio.sleep(self.random.random() * BRIEF)

    async def reads_no_datagram(self):
        with datagram_client("unix") as client:
            for _ in range(13):
                await self._offer(client, b"packet")
            await asyncio.sleep(self.random.random() * BRIEF)

    async def _offer(self, client, packet):
        with suppress(BlockingIOError):
            client.sendto(packet, self.addresses["unix"])
        await asyncio.sleep(0)

    # Forged packets

    async def forges_its_own_address(self):
        """A packet whose source is the server itself, as if it had to answer itself."""
        port = self.addresses["udp"][1]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            udp = struct.pack("!HHHH", port, port, 9, 0) + b"x"
            raw.sendto(ip_header(len(udp)) + udp, self.addresses["udp"])

    async def forges_an_error(self):
        """An ICMP "port unreachable" about a packet that was never sent, to a client that is in an exchange."""
        with datagram_client("udp") as client:
            client.sendto(b"hold", self.addresses["udp"])
            assert await self.hear_packet(client) == b"held"
            quoted = struct.pack("!HHHH", self.addresses["udp"][1], client.getsockname()[1], 8, 0)
            body = struct.pack("!BBHI", 3, 3, 0, 0) + ip_header(0, 28) + quoted
            body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
                raw.sendto(body, (self.addresses["udp"][0], 0))
            await asyncio.sleep(0.02)
            client.sendto(b"over", self.addresses["udp"])
            if (answer := await self.hear_packet(client)) != b"holdover"[::-1]:
                self.wrong.append(f"a forged ICMP error ended an exchange: {answer!r}")


GOOD = (Attack.good, Attack.good_udp, Attack.good_unix)
BAD = (
    Attack.resets, Attack.holds_a_megabyte, Attack.babbles, Attack.never_reads, Attack.leaves_a_wait,
    Attack.makes_it_raise, Attack.makes_work_raise, Attack.has_threads_write, Attack.joins, Attack.tells,
    Attack.floods, Attack.makes_packets_raise, Attack.reads_no_datagram,
)  # fmt: skip
FORGERS = (Attack.forges_its_own_address, Attack.forges_an_error)

_names = count(1)

GOOD_HOST = "127.0.0.2"
"""No bad client has this address: one whose port is reused would have begun, or ended, the exchange of a good one."""


def datagram_client(place, host="127.0.0.1"):
    """A bound, non-blocking client."""
    client = socket.socket(socket.AF_INET if place == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind((host, 0) if place == "udp" else f"\0attack.{os.getpid()}.{next(_names)}")
    return client


def ip_header(size, length=None):
    """The header of an IPv4 packet with UDP from 127.0.0.1 to 127.0.0.1 (RFC 791, 3.1)."""
    host = socket.inet_aton("127.0.0.1")
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, length or 20 + size, 1, 0, 64, 17, 0, host, host)


def checksum(data):
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


# The command

failures: list[str] = []
"""What was wrong; it is printed when all has been measured."""


def judge(right, what):
    if not right:
        failures.append(what)


def peak(process):
    """The most resident memory that the process has had, in bytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


class Quiet(NamedTuple):
    """What a server holds when nothing is open, after the garbage collector."""

    held: list[int]
    """Descriptors, threads, children."""
    allocated: int
    """Bytes allocated by Python; 0 where it does not trace that."""
    resident: int
    """Bytes of the process."""
    found: int
    """Objects that the collector has found."""


def quiet(process):
    deadline = time.monotonic() + PATIENCE  # what waits its turn still has its own timeouts to wait for
    while process.ask("stats")["open"] and time.monotonic() < deadline:
        time.sleep(0.1)
    at_rest(process)
    found = process.ask("collect")
    *held, allocated, resident = at_rest(process)
    return Quiet(held, allocated, resident, found)


def attack(process, mode, seconds, clients, seed):
    """Run the attack; returns what was done, and judges what good clients say."""

    async def run():
        here = Attack(process, seed, seconds)
        await here.run(clients, bad=max(2, clients // 50))
        return here

    here = asyncio.run(run())
    for what in here.wrong:
        judge(False, f"{mode}: {what}")
    return here


def attack_rows(seconds, clients):
    yield (
        "mode", "answers to good clients", "lost or wrong", "bad clients", "more descriptors, threads, children",
        "memory before, at the peak, after", "allocated by Python before, after", "cycles",
    )  # fmt: skip
    is_short = seconds < SHORT
    for mode in ATTACKED:
        before, here, after, most = attacked(mode, seconds / len(ATTACKED), clients, is_short)
        more = [then - first for first, then in zip(before.held, after.held, strict=True)]
        bad = sum(number for kind, number in here.done.items() if kind not in ("good", "bytes", "resent"))
        yield (
            mode, f"{here.done['good']:,} ({here.done['bytes'] / 2**20:.0f} MiB)", len(here.wrong), f"{bad:,}",
            ", ".join(map(str, more)), mebibytes(before.resident, most, after.resident),
            mebibytes(before.allocated, after.allocated) if is_short else "", after.found,
        )  # fmt: skip
        judge(here.done["good"], f"{mode}: no good client was answered")
        judge(not any(more), f"{mode}: the server holds more than before: {more}")
        first, now = (before.allocated, after.allocated) if is_short else (before.resident, after.resident)
        judge(now <= (1 + GROWTH) * first, f"{mode}: memory has grown from {first:,} to {now:,} bytes")


def attacked(mode, seconds, clients, is_short):
    """What a server held after a warm-up, the attack, what it held then, and its most resident memory."""
    workers = max(40, clients // 4)
    options = ["-X", "tracemalloc"] if is_short else []
    with Process(
        mode, VICTIM, *options, environment=LEAN, limit=most_descriptors(), request_queue_size=4096,
        max_children=workers, max_threads=workers, beside=dict.fromkeys(("udp", "unix"), VICTIM_OF_PACKETS),
    ) as process:  # fmt: skip
        attack(process, mode, seconds * WARM, clients, seed=1)
        before = quiet(process)
        here = attack(process, mode, seconds * (1 - WARM), clients, seed=2)
        return before, here, quiet(process), peak(process)


def mebibytes(*sizes):
    return ", ".join(f"{size / 2**20:.1f}" for size in sizes) + " MiB"


def most_descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.proofs.attack", description="A mixed attack on real servers."
    )
    brief = f"in all modes together ({SECONDS}; with fewer than {SHORT}, resident memory is not judged)"
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=brief)
    parser.add_argument("--clients", type=int, default=1_000, metavar="N", help="good clients at once (1,000)")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000) if most > 0 else 20_000, most))
    forged = "with forged packets" if os.geteuid() == 0 else "without forged packets, which need root"
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"Python {platform.python_version()}, {system}; {forged}.\n")
    begun = time.monotonic()
    table(*attack_rows(options.seconds, options.clients))
    print(f"{time.monotonic() - begun:.0f} s.")
    print(*failures, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
