"""``python3 -m tests.benchmarks.chart FILE``: draw panels of bars into a PNG; needs matplotlib.

The standard input is JSON: the title of the picture, and its panels: for each its title, and its bars from above, each
a name, microseconds, and the spread of that.
"""

from __future__ import annotations

import json
import sys
from typing import Any

COLUMNS = 3
OURS, OTHER, FLOOR = "#1b6ca8", "#b8b8b8", "#5a5a5a"


def color(name: str) -> str:
    return OURS if name.startswith("ours") else FLOOR if name.startswith("C,") else OTHER


def draw(title: str, panels: list[tuple[str, list[tuple[str, float, float]]]], file: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = -(-len(panels) // COLUMNS)
    most = max(len(bars) for _, bars in panels)
    figure, places = pyplot.subplots(lines, COLUMNS, figsize=(12, lines * (0.8 + 0.21 * most)), squeeze=False)
    for place in places.flat[len(panels) :]:
        place.axis("off")
    for place, (name, bars) in zip(places.flat, panels, strict=False):
        names, times, spreads = zip(*reversed(bars), strict=True)
        place.barh(names, times, xerr=spreads, color=list(map(color, names)), error_kw={"elinewidth": 0.8})
        for number, (value, spread) in enumerate(zip(times, spreads, strict=True)):
            place.text(value + spread, number, f" {value:.3g}", va="center", fontsize=7)
        place.set_title(name, fontsize=9, loc="left")
        place.tick_params(labelsize=7.5, length=0)
        place.set_xticks([])
        place.set_xlim(0, max(times) * 1.15)
        place.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(file, dpi=80, bbox_inches="tight", pil_kwargs={"optimize": True})


if __name__ == "__main__":
    picture: dict[str, Any] = json.load(sys.stdin)
    draw(picture["title"], picture["panels"], sys.argv[1])
