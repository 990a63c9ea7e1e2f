"""Simulated schedules without end: a server, a few clients and their faults, for every seed another.

``python3 -m tests.soak`` runs the schedules of the seeds 0 to 99,999, in about three minutes on one core, and
says how many faults they took and how many bytes were lost of the streams that ended in order: none. The long
run is that of a million, ``python3 -m tests.soak 1000000``, in half an hour. A schedule that fails ends the run,
and is told with its seed and the fewest faults with which it still fails. Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import time
from math import inf
from random import Random

from handlers import Delay, StreamMachine
from reactor.testing.faults import AGAIN, INTERRUPTED, ORDER, RATES, SPURIOUS, fewest
from reactor.testing.invariants import INVARIANTS
from reactor.testing.network import Stalled
from reactor.testing.world import World
from tests.scenarios import LETTERS, SCENARIOS, Bounds

OFTEN = {**RATES, SPURIOUS: 0.4, ORDER: 0.5, INTERRUPTED: 0.15, AGAIN: 0.25}
"""How often what goes wrong: a schedule is short, and has the more faults of the kinds that make it no longer."""


# The schedules


class Schedule:
    """What happens for one seed. ``plan`` is a list of faults to have instead of the seed's own."""

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
        """A few clients, each of which says its own: what ``text(letter, number)`` gives for its numbers."""
        return [self.stream(address, letter, text) for letter in LETTERS[: least + self.pick(most - least + 1)]]

    def stream(self, address, letter, text):
        client = self.world.connect(address)
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
        """How it ends: in order, mostly; in a hurry, by a reset, or not before the server has ended."""
        ending = 7 if self.calm else self.pick(8)
        if ending == 0:
            client.wait(self.pick(30) / 100).close()
        elif ending == 1:
            client.wait(self.pick(30) / 100).reset()
        elif ending == 2:
            client.expect_end().shutdown()
        else:
            client.shutdown().expect_end()

    def correspondents(self, address, sources=(None, None, None)):
        """A few who send datagrams, every byte of which is the sender's own letter."""
        actors = []
        for letter, source in zip(LETTERS, sources[: 2 + self.pick(2)], strict=False):
            actor = self.world.correspond(address, source)
            for _ in range(1 + self.pick(5)):
                actor.send(letter * (1 + self.pick(40)))
                actor.wait(self.pick(10) / 100)
            actors.append(actor)
        return actors

    # What must have come of it

    def judge(self, clients, kind, whole=True):
        """Each stream must be what the handler says with no network at all; with ``whole``, all of it."""
        for client in clients:
            end = client.socket.peer
            if end is not None:
                answer = spoken(kind(), client.sent[: end.heard], end.heard_end)
                self.compare(client, answer, whole)

    def compare(self, client, answer, whole):
        received, said = client.received, bytes(client.socket.peer.said)
        assert answer.startswith(said), f"{client.name} was told {said!r}, and should have been told {answer!r}"
        assert said.startswith(received), f"{client.name} has heard {received!r} of {said!r}"
        if client.error is None and client.ended and whole:
            self.carried += len(received)
            self.lost += len(answer) - len(received)
            assert not self.lost, f"{client.name} has heard {received!r}, and not all of {answer!r}"

    def injected(self, *kinds):
        """Whether there was a fault of one of these kinds."""
        return any(fault.kind in kinds for fault in self.world.plan.injected)


def spoken(handler, heard, ended):
    """All that the handler says to these bytes, with no network in between."""
    machine = StreamMachine(handler)
    machine.feed(heard)
    said = bytearray()
    for _ in range(1000):  # a Delay ends, output drains
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
    """A schedule that did not end as it must."""

    def __init__(self, schedule, error):
        super().__init__(f"seed {schedule.seed} fails: {type(error).__name__}: {error}")
        self.schedule = schedule


def run(seed, calm=False, plan=None, trace=False):
    """The schedule of a seed, when it is over. Raises `Failure`."""
    schedule = Schedule(seed, calm, plan, trace)
    try:
        return schedule.run()
    except (Exception, Stalled) as error:
        raise Failure(schedule, error) from error


def explain(failure):
    """Say with how few of its faults a schedule fails."""

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
    """Run the schedules of the seeds and say what came of it."""
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
    parser = argparse.ArgumentParser(prog="python3 -m tests.soak", description="Run simulated schedules.")
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
    logging.getLogger("reactor").setLevel(logging.ERROR)  # a host that runs short is what is wanted here
    sys.exit(main())
