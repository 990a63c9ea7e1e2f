"""Tables in Markdown, and the machine on which they were measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.benchmarks import tools
from tests.benchmarks.cases import FLOOR, OURS, TUNED, Bound, Case
from tests.benchmarks.rounds import Costs, Results


def time_of(seconds: float) -> str:
    """A time with three digits that count."""
    scaled, unit = (seconds * 1e6, "µs") if seconds >= 1e-6 else (seconds * 1e9, "ns")
    digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
    return f"{scaled:,.{digits}f} {unit}"


def machine() -> str:
    """The processor, the kernel and the compiler."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    compiler = subprocess.check_output(["gcc", "--version"], text=True).splitlines()[0]
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return f"{os.cpu_count()} processors, {model}, Linux {platform.release()}, {compiler}; load of the machine {load}"


PEERS = "uvloop", "Twisted", "tornado", "gevent", "trio", "pyasyncore"
VERSIONS = f"""
import importlib.metadata, platform
print(platform.python_implementation(), platform.python_version())
for name in {PEERS}:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
"""


def versions(python: str) -> list[str]:
    """The version of a Python, and of the peers that it has."""
    return subprocess.check_output([python, "-c", VERSIONS], cwd=ROOT, text=True).splitlines()


def rows_of(title: str, load: str, bounds: tuple[Bound, ...], costs: Costs) -> Iterator[tuple[object, ...]]:
    """What each server of a case costs, the cheapest first, and its ratios to those of the bounds and to the floor."""
    wanted = dict.fromkeys([*(bound.theirs for bound in bounds if bound.theirs not in OURS), FLOOR])
    others = [name for name in wanted if name in costs.of]
    yield f"{title}{load}", "time", "±", *(f"÷ {other}" for other in others)
    for name in sorted(costs.of, key=costs.median):
        ratios = [f"{costs.ratio(name, other):.2f}" for other in others]
        yield name, time_of(costs.median(name)), f"{costs.spread(name):.0%}", *ratios


def load_of(case: Case) -> str:
    """What makes the load of a case."""
    return case.tool if case.tool and tools.installed(case.tool) else "load.c"


def bounds_of(title: str, bounds: tuple[Bound, ...], results: Results) -> Iterator[tuple[object, ...]]:
    """For each bound of a case the worst ratio of ours over the Pythons, and over the peer with malloc tuned or not."""
    worst: dict[Bound, tuple[float, str, str, str]] = {}
    for bound in bounds:
        alike = bound._replace(theirs=bound.theirs.removesuffix(TUNED))
        for python, costs in results.items():
            for mine in bound.mine:
                if mine in costs.of and bound.theirs in costs.of:
                    ratio = costs.ratio(mine, bound.theirs)
                    worst[alike] = max(worst.get(alike, (0.0, "", "", "")), (ratio, bound.theirs, mine, python))
    for bound, (ratio, theirs, mine, python) in worst.items():
        mark = "" if ratio <= bound.most else "more"
        yield title, theirs, f"{ratio:.2f}", f"{bound.most:.2f}", mark, f"{mine}; {python}"


CHARTED = "lines", "lines-16", "redis", "bytes-64k", "close", "datagrams-200"
LEFT_OUT = "BufferedProtocol", "idle", "Echo"


def is_charted(name: str, costs: Costs) -> bool:
    """Whether the chart shows a server. Of two variants it shows ours as it is, and others with malloc tuned."""
    if any(word in name for word in LEFT_OUT):
        return False
    return not name.endswith(TUNED) if name.startswith("ours") else name + TUNED not in costs.of


def panel(title: str, costs: Costs) -> tuple[str, list[tuple[str, float, float]]]:
    """The bars of a case for the chart: name, microseconds, spread."""
    return title, [
        (name, costs.median(name) * 1e6, costs.spread(name) * costs.median(name) * 1e6)
        for name in sorted(costs.of, key=costs.median)
        if is_charted(name, costs)
    ]
