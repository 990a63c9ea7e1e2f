"""Mutations of the loop, the table and the rows; the simulation must find each.

A mutation replaces a few characters in a copy of the source; the schedules of `tests.proofs.soak` run over the copy in
a process of their own. ``python3 -m tests.proofs.mutations`` prints for each mutation the seed that finds it. A
mutation with ``needs_faults`` can be found only with faults: without faults all seeds pass.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests import ROOT

SEEDS = 100
"""One of so many seeds must find a mutation."""


class Mutation(NamedTuple):
    """``old``, which occurs once in the source, is replaced by ``new``."""

    name: str
    old: str
    new: str
    needs_faults: bool = False


MUTATIONS = [
    Mutation(
        "the result of send() is ignored, so a short send is dropped",
        "channel.sent(count)", "channel.sent(len(outbox))", needs_faults=True,
    ),
    Mutation(
        "EAGAIN is taken for the end of the stream",
        "            except AGAIN:\n                pass\n",
        "            except AGAIN:\n                channel.end()\n", needs_faults=True,
    ),
    Mutation(
        "the end of the stream drops the output",
        "        elif channel.wait is None:\n", "        if channel.wait is None:\n", needs_faults=True,
    ),
    Mutation(
        "EMFILE kills the loop",
        "in PUT_OFF:\n                self.", "in PUT_OFF:\n                raise\n                self.",
        needs_faults=True,
    ),
    Mutation(
        "arrivals that were put off for EMFILE are never taken",
        "self._service.reactor.call_later(PAUSE, source.look_again)", "pass", needs_faults=True,
    ),
    Mutation(
        "an interrupted call breaks the connection",
        "AGAIN = (BlockingIOError, InterruptedError)", "AGAIN = (BlockingIOError,)", needs_faults=True,
    ),
    Mutation(
        "the write interest is never cleared",
        "mask = EVENT_READ if channel.wants_input else self.resting()",
        "mask = (EVENT_READ if channel.wants_input else self.resting()) | self.mask & EVENT_WRITE",
    ),
    Mutation(
        "a row reads although its output waits",
        "mask = EVENT_READ if channel.wants_input else self.resting()",
        "mask = EVENT_READ if channel.wait is not None and channel.wait.reads else self.resting()",
    ),
    Mutation(
        "a socket is closed before it is unregistered",
        "        if taken == 0:\n            self.reactor.end(self)\n",
        "        if taken == 0:\n            self.socket.close()\n            self.reactor.end(self)\n",
    ),
    Mutation(
        "a row that is held back stays in the selector",
        "        if mask != self.mask:", "        if mask and mask != self.mask:",
    ),
    Mutation(
        "a server takes one request too many",
        "len(self.reactor.table) < self.server.max_requests", "len(self.reactor.table) <= self.server.max_requests",
    ),
    Mutation(
        "a row that has ended stays in the table",
        "self._rows.pop(row.serial, None) is None", "self._rows.get(row.serial) is None",
    ),
    Mutation("a row that has ended is not let go of", "                row.release()\n", ""),
    Mutation("a deadline is not armed", "if self.deadline < self.armed:", "if False:"),
    Mutation(
        "a deadline that has moved on is forgotten",
        "                return moment\n            self._place(item)\n",
        "                return moment\n            self._take_out(item)\n",
    ),
    Mutation("what is due is not done", "                self._expire(now)\n", "                pass\n"),
    Mutation(
        "a row that another writes to is not settled",
        "self.reactor.settle_soon(self)", "pass",
    ),
    Mutation(
        "room that a row has made is not used",
        "        if self.paused:\n", "        if False:\n",
    ),
    Mutation(
        "a reply goes to whoever asked first",
        "self.socket.sendto(packet, DONTWAIT, self.peer)",
        "self.socket.sendto(packet, DONTWAIT, next(iter(self.server._srv.exchanges._open), self.peer))",
    ),
    Mutation(
        "a datagram that the kernel does not take is dropped",
        "                self.sent = before\n                break\n",
        "                self.sent = before\n                channel.outbox.popleft()\n",
        needs_faults=True,
    ),
    Mutation(
        "a datagram that must wait is never sent",
        "writing = self._senders and self.retry is None", "writing = 0",
        needs_faults=True,
    ),
    Mutation(
        "send_eof() does not end the stream",
        "            self.socket.shutdown(socket.SHUT_WR)\n        except OSError as error:\n",
        "            pass\n        except OSError as error:\n",
    ),
    Mutation(
        "a request goes on whose output was cut at the bound of its handler",
        "if self.excess is None and self.state is not None:", "if False:",
    ),
    Mutation(
        "all rows together may hold what they like",
        "if self.held > self._reactor.max_held and held:", "if False:", needs_faults=True,
    ),
    Mutation(
        "what a row held is counted when it has ended",
        "        self.budget.let_go(row)\n", "",
    ),
    Mutation(
        "a connecting socket that can be written is taken for connected",
        "            sock.getpeername()  # not", "            pass  # not", needs_faults=True,
    ),
    Mutation("why a connection could not be had is not asked", "            if number:\n", "            if False:\n"),
    Mutation(
        "a socket whose connection could not be had stays open",
        "        if sock is not None:\n            close(sock)\n", "",
    ),
    Mutation(
        "a connection that can't even begin to be made is watched for its end",
        "if error.errno == errno.EAGAIN:", "if False:",
    ),
    Mutation(
        "what was begun for a wait goes on after its time",
        "        if reactor.work.jobs:\n            reactor.work.forget(self)\n", "",
    ),
    Mutation(
        "after a timeout the search goes on where it stopped for something else",
        "    def _deliver(self, cause: Cause) -> None:\n        self.scanned = self.start",
        "    def _deliver(self, cause: Cause) -> None:\n        self.scanned += 0",
    ),
    Mutation("timers are in the order of their arming", "insert(self._index(moment), moment)", "append(moment)"),
    Mutation("only the first event of a batch is heeded", "key, mask in events if", "key, mask in events[:1] if"),
    Mutation(
        "a wait that begins late ends early",
        "self.deadline = now + channel.patience if pace is",
        "now = now if self.deadline == float('inf') else min(now, self.deadline)\n"
        "        self.deadline = now + channel.patience if pace is", needs_faults=True,
    ),
    Mutation(
        "who takes the rest of the output slowly is out of time",
        "                self.took_some(count, now)\n", "                pass\n", needs_faults=True,
    ),
    Mutation(
        "when a byte last came in is not noted",
        "                    self.progress = now\n                    self.total_in",
        "                    self.total_in",
    ),
    Mutation(
        "who waits for another's output is not told that it has drained",
        "                if self.followers:\n", "                if False:\n",
    ),
    Mutation(
        "a row that is held back goes on at the high-water mark",
        "mark = self.handler.low_water if self.blocked else", "mark =", needs_faults=True,
    ),
]  # fmt: skip


def plant(mutation, directory):
    """Copy the source with the mutation to the directory."""
    for folder in ("handlers", "reactor", "tests"):
        shutil.copytree(ROOT / folder, directory / folder, ignore=shutil.ignore_patterns("__pycache__"))
    if mutation is not None:
        sources = {
            path: path.read_text() for room in ("handlers", "reactor") for path in (directory / room).rglob("*.py")
        }
        places = [path for path, source in sources.items() for _ in range(source.count(mutation.old))]
        if len(places) != 1:
            raise ValueError(f"{mutation.name}: {mutation.old!r} stands in the source {len(places)} times, not once")
        [path] = places
        path.write_text(sources[path].replace(mutation.old, mutation.new))


def found(directory, calm=False):
    """The first seed that fails with the source in the directory, and its error; ``None`` if all pass."""
    command = [sys.executable, "-m", "tests.proofs.soak", str(SEEDS), "--brief", *(["--calm"] if calm else [])]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    failure = re.search(r"^seed (\d+) fails: (.*)", run.stdout, re.MULTILINE)
    if failure is not None:
        return int(failure[1]), failure[2]
    if run.returncode:
        raise RuntimeError(run.stderr)
    return None


def try_out(mutation):
    """What finds the mutation, with faults and without faults."""
    with TemporaryDirectory() as name:
        plant(mutation, Path(name))
        return found(Path(name)), found(Path(name), calm=True)


def main():
    """Try all mutations; returns the number of those that no seed finds."""
    missed = 0
    for mutation in MUTATIONS:
        try:
            by_faults, by_none = try_out(mutation)
        except ValueError as error:  # the source has changed; the other mutations are tried all the same
            print(f"{mutation.name}\n    does not apply: {error}")
            missed += 1
            continue
        missed += by_faults is None
        seed, told = by_faults or ("no seed", "")
        calm = "" if by_none is None else f"; without faults: seed {by_none[0]}"
        print(f"{mutation.name}\n    seed {seed}{calm}: {told[:160]}")
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} found")
    return missed


if __name__ == "__main__":
    sys.exit(main())
