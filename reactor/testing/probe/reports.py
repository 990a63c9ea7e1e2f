"""The findings of a probe: as text, as JSON, and as JUnit XML for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..running.snippets import difference

if TYPE_CHECKING:
    from .probe import Finding, Outcome, Result

SHOWN = 3
"""Findings of a property that the text shows."""


def as_text(result: Result) -> str:
    """A line for each property, and the first findings below it."""
    lines = []
    for outcome in result.outcomes:
        state = f"{len(outcome.found)} found" if outcome.found else "holds"
        lines.append(f"{outcome.tried.name}: {state}, {outcome.made} tried. {outcome.tried.sentence}")
        for finding in outcome.found[:SHOWN]:
            lines += [f"  {line}" for line in told(finding)]
    lines.append(f"{sum(one.made for one in result.outcomes)} connections in {result.seconds:.1f} s to {result.url}")
    return "\n".join(lines) + "\n"


def told(finding: Finding) -> list[str]:
    """A finding in lines: where, what, and the first difference of the answers."""
    fault = finding.fault
    lines = [f"{finding.place}: {fault.text}"]
    if fault.got != fault.expected:
        place, got, expected = difference(fault.got, fault.expected)
        lines += [f"  first difference{place}:", f"    got      {got}", f"    expected {expected}"]
    return lines


def as_json(result: Result) -> dict[str, Any]:
    """The result for ``json.dump``: bytes are text in Latin-1."""
    tried = [_json(outcome) for outcome in result.outcomes]
    return {"url": result.url, "seconds": round(result.seconds, 3), "properties": tried}


def _json(outcome: Outcome) -> dict[str, Any]:
    found = [
        {
            "place": finding.place,
            "fault": finding.fault.text,
            "got": finding.fault.got.decode("latin-1"),
            "expected": finding.fault.expected.decode("latin-1"),
        }
        for finding in outcome.found
    ]
    return {"name": outcome.tried.name, "sentence": outcome.tried.sentence, "tried": outcome.made, "found": found}


def as_junit(result: Result) -> bytes:
    """The result as JUnit XML: a test case for each property."""
    failures = sum(bool(outcome.found) for outcome in result.outcomes)
    suite = ElementTree.Element(
        "testsuite", name=result.url, tests=str(len(result.outcomes)), failures=str(failures),
        errors="0", time=f"{result.seconds:.3f}",
    )  # fmt: skip
    for outcome in result.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname="reactor.probe", name=outcome.tried.name)
        if outcome.found:
            text = "\n".join(line for finding in outcome.found for line in told(finding))
            failure = ElementTree.SubElement(case, "failure", message=outcome.tried.sentence)
            failure.text = text
    written: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written
