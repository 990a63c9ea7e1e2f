"""Simulated schedules: a server, a few clients and faults, another for every seed.

``python3 -m tests.proofs.soak`` runs the schedules of the seeds 0 to 99,999, in about three minutes on one core. It
prints how many faults were injected, and how many bytes were lost of the streams that ended in order: none. The long
run, ``python3 -m tests.proofs.soak 1000000``, takes half an hour. A schedule that fails ends the run and is printed
with its seed and the fewest faults with which it still fails. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import time
from contextlib import contextmanager, nullcontext
from math import inf
from random import Random

import handlers
from handlers import Delay, StreamMachine, Until
from reactor.testing.kernel.faults import ABORTED, AGAIN, BROKEN, INTERRUPTED, ORDER, RATES, SPURIOUS, fewest
from reactor.testing.kernel.invariants import INVARIANTS
from reactor.testing.kernel.network import Stalled
from reactor.testing.kernel.world import World
from reactor.testing.peers.peer import Peers
from tests.support.scenarios import LETTERS, SCENARIOS, Bounds

OFTEN = {**RATES, SPURIOUS: 0.4, ORDER: 0.5, INTERRUPTED: 0.15, AGAIN: 0.25}
"""The rate of each kind of fault. A schedule is short, so kinds that do not lengthen it have high rates."""


# The schedules


class Schedule:
    """The run of one seed. ``plan`` is a list of faults instead of those of the seed."""

    def __init__(self, seed, calm=False, plan=None, trace=False):
        self.seed = seed
        self.dice = Random(seed).random
        self.calm = calm
        capacity = 1 << 20 if calm else (64, 300, 1000, 5000)[self.pick(4)]
        faults = [] if calm else seed if plan is None else plan
        self.world = World(faults, rates=OFTEN, capacity=capacity, trace=trace, invariants=(*INVARIANTS, Bounds))
        self.carried = 0
        """Bytes that clients have heard whose streams ended in order."""
        self.lost = 0
        """Bytes that they should have heard, too."""
        self.through = ()
        """The filters in front of the handlers, with the peers that the clients speak to them with."""

    def pick(self, most):
        """A number from 0 to ``most - 1``."""
        return int(self.dice() * most)

    def run(self):
        with self.world as world:
            judge = SCENARIOS[self.seed % len(SCENARIOS)](self)
            world.run(steps=2_000)
            judge()
        return self

    # Clients

    def streams(self, address, text, least=1, most=2):
        """A few clients, each of which sends ``text(letter, number)`` with a letter of its own, for several numbers."""
        return [self.stream(address, letter, text) for letter in LETTERS[: least + self.pick(most - least + 1)]]

    def stream(self, address, letter, text):
        peer = Peers([through.peer() for through in self.through]) if self.through else None
        client = self.world.connect(address, peer=peer)
        if self.pick(2):
            client.wait(self.pick(30) / 100)
        if not self.calm and not self.pick(4):
            client.read_slowly(1 + self.pick(200), self.pick(20) / 1000)
        whole = b"".join(text(letter, number) for number in range(1 + self.pick(3)))
        while whole:
            size = 1 + self.pick(2 * len(whole))
            client.send(whole[:size])
            whole = whole[size:]
            if not self.pick(3):
                client.wait(self.pick(20) / 100)
        self.goodbye(client)
        return client

    def goodbye(self, client):
        """The end of a client: mostly in order; or at once, by a reset, or after the end of the server."""
        ending = 7 if self.calm else self.pick(8)
        if ending == 0:
            client.wait(self.pick(30) / 100).close()
        elif ending == 1:
            client.wait(self.pick(30) / 100).reset()
        elif ending == 2:
            client.expect_end().shutdown()
        elif ending in (3, 4) and self.through:
            client.truncate().expect_end()
        else:
            client.shutdown().expect_end()

    def correspondents(self, address, sources=(None, None, None)):
        """A few clients that send datagrams, whose bytes are all a letter of the sender's own."""
        actors = []
        for letter, source in zip(LETTERS, sources[: 2 + self.pick(2)], strict=False):
            actor = self.world.correspond(address, source)
            for _ in range(1 + self.pick(5)):
                actor.send(letter * (1 + self.pick(40)))
                actor.wait(self.pick(10) / 100)
            actors.append(actor)
        return actors

    # What must be true at the end

    def judge(self, clients, kind, whole=True):
        """Each stream must be a prefix of the output of the handler without a network; with ``whole``, all of it."""
        for client in clients:
            end = client.socket.peer
            if end is not None:
                answer = spoken(kind(), client.sent[: end.total_in], end.read_end)
                self.compare(client, answer, whole)

    def judge_behind_filters(self, clients, kind, **facts):
        """The same of plain text; ``facts`` are those that the filters find. Returns how many streams end in order.

        A stream that is cut is no stream that ends; and one that has ended in order ends in order for the client, too.
        """
        in_order = 0
        for client in clients:
            end = client.socket.peer
            if end is not None:
                heard, ended = client.carried(end.total_in, end.read_end)
                answer = spoken(kind(), heard, ended, **facts)
                assert answer.startswith(client.received), (
                    f"{client.name} has heard {client.received!r}, not {answer!r}"
                )
                self.weigh(client, answer)
                is_there = client.socket.number >= 0 and not self.injected(BROKEN, ABORTED)
                assert not (is_there and ended and client.error), f"{client.name}, to the end: {client.error}"
                in_order += ended
        return in_order

    def compare(self, client, answer, whole):
        received, said = client.received, bytes(client.socket.peer.sent)
        assert answer.startswith(said), f"{client.name} was told {said!r}, and should have been told {answer!r}"
        assert said.startswith(received), f"{client.name} has heard {received!r} of {said!r}"
        if whole:
            self.weigh(client, answer)

    def weigh(self, client, answer):
        """Count what has come, and what is missing, of a stream that has ended in order."""
        received = client.received
        if client.error is None and client.ended:
            self.carried += len(received)
            self.lost += len(answer) - len(received)
            assert not self.lost, f"{client.name} has heard {received!r}, and not all of {answer!r}"

    def injected(self, *kinds):
        """Whether there was a fault of one of these kinds."""
        return any(fault.kind in kinds for fault in self.world.plan.injected)


def spoken(handler, heard, ended, peer=None, secured=None):
    """The output of the handler for these bytes, without a network."""
    handler.max_output = inf  # a network would take some of it meanwhile
    driver = handlers.World(peer)
    driver.secured = secured
    machine = StreamMachine(handler, driver)
    machine.feed(heard)
    said = bytearray()
    for _ in range(1000):  # end a Delay, drain output
        if type(machine.wait) is Delay and machine.wait.seconds < inf:
            machine.expire()
        piece = machine.read()
        if not piece and ended and not machine.ended:
            machine.end()
        elif not piece and type(machine.wait) is not Delay:
            break
        said += piece
    return bytes(said)


# The command


class Failure(AssertionError):
    """A schedule that failed."""

    def __init__(self, schedule, error):
        super().__init__(f"seed {schedule.seed} fails: {type(error).__name__}: {error}")
        self.schedule = schedule


@contextmanager
def distinct_waits():
    """Within the ``with`` block, each `Until` is another object, so that the invariants see that a wait has begun."""
    looks_up = type(Until)
    before, looks_up.__call__ = looks_up.__call__, type.__call__
    try:
        yield
    finally:
        looks_up.__call__ = before


def run(seed, calm=False, plan=None, trace=False):
    """Run the schedule of a seed to its end; returns it. Raises `Failure`."""
    schedule = Schedule(seed, calm, plan, trace)
    try:
        with distinct_waits() if seed // len(SCENARIOS) % 2 else nullcontext():
            return schedule.run()
    except (Exception, Stalled) as error:
        raise Failure(schedule, error) from error


def explain(failure):
    """The text about a failure, with the fewest faults with which the schedule fails."""

    def fails(plan):
        try:
            run(failure.schedule.seed, plan=plan)
        except Failure:
            return True
        return False

    faults = failure.schedule.world.plan.injected
    print(f"the fewest of its {len(faults)} faults with which it does so: {fewest(faults, fails)}")


def digest(seeds):
    """A digest of the traces of these seeds."""
    told = hashlib.sha256()
    for seed in seeds:
        told.update("\n".join(run(seed, trace=True).world.trace).encode())
    return told.hexdigest()


def soak(seeds, calm):
    """Run the schedules of the seeds; returns the summary."""
    faults = carried = lost = 0
    begun = time.process_time()
    for seed in seeds:
        schedule = run(seed, calm)
        faults += len(schedule.world.plan.injected)
        carried += schedule.carried
        lost += schedule.lost
    seconds = time.process_time() - begun
    print(
        f"{len(seeds):,} schedules, {faults:,} faults injected, lost bytes: {lost} of {carried:,}; {seconds:.1f} s "
        f"of one core, {len(seeds) / seconds:,.0f} schedules and {faults / seconds:,.0f} faults a second"
    )


def main(arguments=None):
    """The command; its exit status is 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.proofs.soak", description="Run simulated schedules.")
    parser.add_argument("schedules", type=int, nargs="?", default=100_000, help="how many (100,000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (0)")
    parser.add_argument("--calm", action="store_true", help="without any fault")
    parser.add_argument("--brief", action="store_true", help="if one fails, do not look for the fewest faults")
    options = parser.parse_args(arguments)
    try:
        soak(range(options.first, options.first + options.schedules), options.calm)
    except Failure as failure:
        print(failure)
        if not options.brief and not options.calm:
            explain(failure)
        return 1
    return 0


if __name__ == "__main__":
    logging.getLogger("reactor").setLevel(logging.ERROR)  # warnings about a host short of descriptors are expected here
    sys.exit(main())
