"""Interleaved rounds over all servers of a case, on each Python."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from tests import ROOT
from tests.benchmarks import alone, tools
from tests.benchmarks.cases import FLOOR, IDLE, TUNED, Case
from tests.benchmarks.measuring import TUNED_MALLOC, Load, Program, Server, Tool, many_descriptors, on_processor

REST = 0.005  # seconds in which a server ends what the last answer has left to do


class Costs(NamedTuple):
    """The seconds of processor time for a message, in each round; by the server."""

    of: dict[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.of[name])

    def spread(self, name: str) -> float:
        """Half of the distance between the quartiles, as a part of the median."""
        if len(self.of[name]) < 2:
            return 0.0
        first, _, third = quantiles(self.of[name], n=4, method="inclusive")
        return (third - first) / 2 / self.median(name)

    def ratio(self, name: str, other: str) -> float:
        """The costs of one server divided by those of another: the median over the rounds."""
        return median(mine / theirs for mine, theirs in zip(self.of[name], self.of[other], strict=True))


Results = dict[str, Costs]
"""By the title of the Python."""


class Runner:
    """Runs cases on several Pythons. ``pythons`` are interpreters by their titles."""

    def __init__(self, folder: Path, pythons: dict[str, str], rounds: int, part: float = 1) -> None:
        self.folder, self.pythons, self.rounds, self.part = folder, pythons, rounds, part
        self.load = tools.compiled(folder, "load")
        self.floor = tools.compiled(folder, "floor")
        self.names = {title: self._names(python) for title, python in pythons.items()}

    def _names(self, python: str) -> dict[str, list[str]]:
        output = subprocess.check_output([python, "-m", "tests.benchmarks.peers", "--names"], cwd=ROOT, text=True)
        names: dict[str, list[str]] = json.loads(output)
        return names

    def labels(self, case: Case, title: str) -> Iterator[str]:
        """The names of the servers of a case on one Python, each with its variants."""
        for name in self.names[title][case.service]:
            if not case.only or name in case.only:
                yield name
                if name in case.tuned:
                    yield name + TUNED
                if name in case.idle:
                    yield name + IDLE

    def measure(self, case: Case) -> Results:
        """The costs of all servers. The floor is among those of each Python."""
        with ExitStack() as stack, many_descriptors():
            port = self._echo(stack) if "PORT" in case.floor else 0
            servers = {("", FLOOR): stack.enter_context(closing(Server(self._floor(case, port))))}
            for title in self.pythons:
                for label in self.labels(case, title):
                    servers[title, label] = stack.enter_context(closing(self._server(case, title, label, port)))
            rounds = {key: self._round(stack, case, server, key[1]) for key, server in servers.items()}
            spent = interleaved(rounds, self.rounds)
        floor = spent.pop(("", FLOOR))
        return {title: Costs({FLOOR: floor, **of(spent, title)}) for title in self.pythons}

    def measure_alone(self, case: alone.Alone) -> Results:
        """The same for a case without a load."""
        rounds = {
            (title, name): partial(alone.measured, python, case, name)
            for title, python in self.pythons.items()
            for name in alone.runnable(python, case)
        }
        with on_processor(0):
            spent = interleaved(rounds, self.rounds)
        return {title: Costs(of(spent, title)) for title in self.pythons}

    def _echo(self, stack: ExitStack) -> int:
        """The port of a server to which others relay; it runs beside the load."""
        return int(stack.enter_context(closing(Program([str(self.floor), "echo"]))).ready(-1))

    def _floor(self, case: Case, port: int) -> list[str]:
        answer = self.folder / "answer of the floor"
        answer.write_bytes(case.exchange.answer)
        places = {"PORT": str(port), "ANSWER": str(answer)}
        return [str(self.floor), *(places.get(word, word) for word in case.floor)]

    def _server(self, case: Case, title: str, label: str, port: int) -> Server:
        name = label.removesuffix(TUNED).removesuffix(IDLE)
        command = [self.pythons[title], "-m", "tests.benchmarks.peers", case.service, name]
        return Server([*command, str(port)] if port else command, TUNED_MALLOC if label.endswith(TUNED) else None)

    def _round(self, stack: ExitStack, case: Case, server: Server, label: str) -> Callable[[], float]:
        """Open the load of a server; what is returned measures it once."""

        def load(kind: str, connections: int, depth: int) -> Load:
            made = Load(self.load, self.folder, server.port, case.exchange, kind, connections, depth)
            return stack.enter_context(closing(made))

        if label.endswith(IDLE):
            load("stream", 10_000, 1)
        path = tools.installed(case.tool)
        used = Tool(path, server, case) if path else load(case.kind, case.connections, case.depth)
        number = max(int(case.messages * self.part), case.depth * case.connections)

        def cost() -> float:
            before = server.spent()
            done = used.go(number)
            time.sleep(REST)
            return (server.spent() - before) / done

        return cost


Key = tuple[str, str]
"""The title of a Python, and the name of a server."""


def interleaved(measures: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, list[float]]:
    """Have all measured in turn, so many times and once before that, which warms up."""
    spent: dict[Key, list[float]] = {key: [] for key in measures}
    for number in range(rounds + 1):
        for key, measure in measures.items():
            seconds = measure()
            if number:
                spent[key].append(seconds)
    return spent


def of(spent: dict[Key, list[float]], title: str) -> dict[str, list[float]]:
    """What belongs to one Python."""
    return {name: times for (python, name), times in spent.items() if python == title}
