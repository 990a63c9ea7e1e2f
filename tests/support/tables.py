"""Tables in Markdown."""

from __future__ import annotations


def table(*rows: tuple[object, ...]) -> None:
    """Print rows as a table in Markdown; the first is its head."""
    for number, row in enumerate(rows):
        print("|", " | ".join(map(str, row)), "|")
        if number == 0:
            print("|", " | ".join(["---"] + ["---:"] * (len(row) - 1)), "|")
    print(flush=True)
