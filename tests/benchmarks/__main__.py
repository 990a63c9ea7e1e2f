"""Measure what servers cost, ours and others, and print tables in Markdown. It needs Linux and gcc."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT
from tests.benchmarks import alone, cases, memory, report, workers
from tests.benchmarks.environment import environment_of, newest_other
from tests.benchmarks.rounds import Results, Runner
from tests.support.tables import table

LOADED = {case.name: case for case in cases.LOADED}
ALONE = {case.name: case for case in alone.CASES}
NAMES = [*LOADED, *ALONE, "memory", "workers"]
SHORT = [*cases.SHORT, "deadlines"]
PART = 0.2  # of the messages, in the short form


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", choices=NAMES, help="measure this one, and not all; repeatable")
    parser.add_argument("--python", action="append", help="by default this one and the newest; repeatable")
    parser.add_argument("--rounds", type=int, help="rounds over all servers of a case (default: 5; short: 2)")
    parser.add_argument("--short", action="store_true", help="few cases and messages, with what this Python has")
    parser.add_argument("--chart", type=Path, help="the PNG to draw; needs the cases that it shows")
    return parser.parse_args(arguments)


class Benchmarks:
    """The cases that are measured, on the Pythons that are chosen."""

    def __init__(self, folder: Path, found: list[str], rounds: int, short: bool) -> None:
        self.versions = {python: report.versions(python) for python in found}
        self.pythons = {versions[0]: python for python, versions in self.versions.items()}
        self.runner = Runner(folder, self.pythons, rounds, PART if short else 1)
        self.bounds: list[tuple[object, ...]] = []
        self.results: dict[str, Results] = {}

    def measure(self, name: str) -> None:
        """Measure a case, and print its tables."""
        if name == "memory":
            return self._memory()
        if name == "workers":
            return self._workers()
        if name in LOADED:
            title, bounds, load = LOADED[name].title, LOADED[name].bounds, f", by {report.load_of(LOADED[name])}"
            self.results[name] = results = self.runner.measure(LOADED[name])
        else:
            title, bounds, load = ALONE[name].title, ALONE[name].bounds, ""
            self.results[name] = results = self.runner.measure_alone(ALONE[name])
        for python, costs in results.items():
            table(*report.rows_of(f"{title}; {python}", load, bounds, costs))
        self.bounds += report.bounds_of(title, bounds, results)
        return None

    def _memory(self) -> None:
        floor = [str(self.runner.floor), "echo"]
        for title, python in self.pythons.items():
            table(*memory.rows(title, python, self.runner.names[title]["lines"], floor))
            table(*memory.import_rows(title, python))

    def _workers(self) -> None:
        runner = self.runner
        for title, python in self.pythons.items():
            for message, handler in workers.HANDLERS.items():
                measured = workers.measure(python, runner.load, runner.folder, runner.rounds, runner.part, *handler)
                table(*workers.rows(title, message, measured))

    def draw(self, file: Path) -> None:
        """Draw a chart of the first Python."""
        title, python = next(iter(self.pythons.items()))
        panels = [
            report.panel(LOADED[name].title, self.results[name][title])
            for name in report.CHARTED
            if name in self.results
        ]
        picture = {"title": f"Processor time of the server, µs for each message; {title}", "panels": panels}
        command = [python, "-m", "tests.benchmarks.chart", str(file.absolute())]
        subprocess.run(command, input=json.dumps(picture), text=True, cwd=ROOT, check=True)


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    if chosen.short:
        found = chosen.python or [sys.executable]
    else:
        found = [environment_of(python) for python in chosen.python or [sys.executable, *newest_other()]]
    with tempfile.TemporaryDirectory() as folder:
        benchmarks = Benchmarks(Path(folder), found, chosen.rounds or (2 if chosen.short else 5), chosen.short)
        print(report.machine(), *map(", ".join, benchmarks.versions.values()), "", sep="\n\n", flush=True)
        for name in chosen.case or (SHORT if chosen.short else NAMES):
            benchmarks.measure(name)
    table(("at worst", "beside", "ratio", "aim", "", "of"), *benchmarks.bounds)
    if chosen.chart:
        benchmarks.draw(chosen.chart)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
