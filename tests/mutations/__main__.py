"""``python3 -m tests.mutations``: try the mutations that are written down; ``--all``: those that are made by rule.

Each mutation is printed with what finds it. The exit status is 1 if nothing finds one. Needs what the tests need.
"""

from __future__ import annotations

import argparse
import sys

from tests.mutations import alone, trials
from tests.mutations.named import MUTATIONS, RARE, SEEDS
from tests.support.turns import is_in_turn


def main(arguments=None):
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.mutations", description="Try mutations of the source.")
    parser.add_argument("part", nargs="?", default="", help="only those whose names contain this")
    parser.add_argument("--all", action="store_true", help="those made by rule, in the background: it takes hours")
    parser.add_argument("--count", type=int, default=200, help="how many of these are chosen (200)")
    parser.add_argument("--after", type=int, default=0, help="how many of the chosen are left out: a new sample (0)")
    parser.add_argument("--again", action="store_true", help="also those of which the result is known")
    options = parser.parse_args(arguments)
    if options.all:
        from tests.mutations import background

        return background.try_ruled(options.count, options.after, options.again)
    return try_named([mutation for mutation in in_turn() if options.part in mutation.name])


def in_turn():
    """The mutations that are written down, or the part of them that a submission tries."""
    return [mutation for mutation in MUTATIONS if is_in_turn(mutation.name)]


def try_named(mutations):
    """Try these mutations; returns 0 if each is found, and only with faults if it needs faults."""
    found, finders = [], {}

    def work(tried):
        known = {}
        for mutation in mutations:
            finding, excess = try_one(tried, mutation, known)
            print(f"{mutation.name}\n    {': '.join(finding or ['nothing finds it'])}"[:300], flush=True)
            if excess is not None:
                print(f"    without faults: {': '.join(excess)}")
            elif finding is not None:
                found.append(mutation)
                finders.update({finding.finder: tried.tests[finding.finder]} if finding.finder in tried.tests else {})
        sound = [trials.Seeds(RARE), trials.Seeds(SEEDS, calm=True), *finders.values()]
        if (finding := tried.attempt(None, sound, known)) is not None:
            found.clear()
            print(f"fails without a mutation: {': '.join(finding)}")

    modules = {module for mutation in mutations for module in mutation.modules()}
    status = trials.try_mutations(work, modules)
    for mutation in mutations:
        if mutation not in found:
            print(f"not found: {mutation.name}")
    print(f"{len(found)} of {len(mutations)} found")
    return status or int(len(found) < len(mutations))


def try_one(tried, mutation, known):
    """What finds the mutation, and what finds it without faults if it needs them."""
    mutant = mutation.mutant()
    seeds = [trials.Seeds(mutation.seeds)]
    steps = [test for name, test in tried.tests.items() if mutation.takes(name)] if mutation.tests else seeds
    if not steps:
        raise ValueError(f"{mutation.name}: there is no test {mutation.tests}")
    finding = alone.attempt(tried, mutant, steps, known)
    if finding is None or not mutation.needs_faults:
        return finding, None
    return finding, alone.attempt(tried, mutant, [trials.Seeds(mutation.seeds, calm=True)], known)


if __name__ == "__main__":
    sys.exit(main())
