"""Values and statements as source text: the parts of a printed test."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONG_RUN = re.compile(rb"(.{1,32}?)\1{48,}", re.DOTALL)  # a byte, or a few, again and again
_CONTEXT = 22  # bytes on each side of a difference
_BRIEF = 48  # letters of source text that fit into a comment


def names_in(code: str) -> set[str]:
    """The names that ``code`` uses."""
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def is_literal(value: Any) -> bool:
    """Whether ``repr(value)`` is a literal that evaluates to an equal value."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:  # an object may define ``__repr__`` and ``__eq__`` in any way
        return False


def brief(value: Any) -> str:
    """``value`` as source text, shortened to fit into a comment.

    >>> brief(b"abc"), brief(b"0123456789" * 9 + b".")
    ("b'abc'", "b'01234567890123456789012345678901234567 …")
    """
    code = literal(value)
    return code if len(code) <= _BRIEF else f"{code[:40]} …"


def unlike_at(value: Any, expected: Any) -> str:
    """What ``value`` is instead of ``expected``, in words; of long ones, from the first difference on.

    >>> unlike_at(b"abc", b"abd"), unlike_at(b"0123456789" * 9 + b".", b"0123456789" * 9 + b",")
    ("b'abc', not b'abd'", "at byte 90: b'.', not b','")
    """
    is_short = max(len(literal(value)), len(literal(expected))) <= _BRIEF
    if is_short or type(value) is not type(expected) or not isinstance(value, (bytes, list)):
        return f"{brief(value)}, not {brief(expected)}"
    place = _parting(value, expected)
    if isinstance(value, bytes):
        return f"at byte {place}: {brief(value[place:])}, not {brief(expected[place:])}"
    if place < min(len(value), len(expected)):
        return f"packet {place}: {unlike_at(value[place], expected[place])}"
    return f"at packet {place}: {brief(value[place:])}, not {brief(expected[place:])}"


def difference(value: Any, expected: Any) -> tuple[str, str, str]:
    """Where two answers begin to differ, in words, and what both are about this place, with some bytes before it.

    >>> difference(b"0123456789" * 9 + b"..a", b"0123456789" * 9 + b"..b")
    (' at byte 92', "… b'01234567890123456789..' b'a'", "… b'01234567890123456789..' b'b'")
    >>> difference([b"one", b"two"], [b"one"])
    (' in packet 1', "b'two'", 'no packet')
    >>> difference("ended", "open")
    ('', 'ended', 'open')
    """
    if isinstance(value, list) and isinstance(expected, list):
        place = _parting(value, expected)
        one, other = (packets[place] if place < len(packets) else None for packets in (value, expected))
        where = f" in packet {place}"
        if one is None or other is None:
            return where, *_pair("no packet" if packet is None else packet for packet in (one, other))
        at, got, right = difference(one, other)
        return f"{where},{at}", got, right
    if isinstance(value, bytes) and isinstance(expected, bytes):
        place = _parting(value, expected)
        return f" at byte {place}", _about(value, place), _about(expected, place)
    return "", *_pair((value, expected))


def _pair(answers: Iterable[Any]) -> tuple[str, str]:
    """Two answers in words."""
    got, expected = (answer if isinstance(answer, str) else brief(answer) for answer in answers)
    return got, expected


def _parting(value: Any, expected: Any) -> int:
    """The index of the first item that differs."""
    pairs = enumerate(zip(value, expected, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(value), len(expected)))


def _about(data: bytes, place: int) -> str:
    """The bytes about a place: some before it, then those from it on."""
    start, end = max(0, place - _CONTEXT), place + _CONTEXT
    before, after = data[start:place], data[place:end]
    parts = ["…" * (start > 0), repr(before) if before else "", repr(after), "…" * (end < len(data))]
    return " ".join(filter(None, parts))


def literal(value: Any) -> str:
    """``value`` as source text. Bytes and lists that repeat a short part become a multiplication.

    >>> print(literal(b"ab" * 50), literal(b"abc"), literal([b"x"] * 99))
    b'ab' * 50 b'abc' [b'x'] * 99
    >>> print(literal(b"99:" + b"a" * 99 + b","))
    b'99:' + b'a' * 99 + b','
    >>> print(literal([b"one", *[b"x"] * 99, 2.0]))
    [b'one'] + [b'x'] * 99 + [2.0]
    """
    if isinstance(value, (bytes, list)) and len(value) > 48:
        for size in range(1, 33):
            if len(value) % size == 0 and value[size:] == value[:-size]:
                return f"{literal(value[:size])} * {len(value) // size}"
    if isinstance(value, list):
        runs = [list(run) for _, run in groupby(value)] if len(value) > 48 else []
        if any(len(run) > 48 for run in runs):
            return _joined(runs)
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, bytes) and (run := _LONG_RUN.search(value)) is not None:
        return " + ".join(literal(part) for part in (value[: run.start()], run[0], value[run.end() :]) if part)
    return repr(value)


def _joined(runs: list[list[Any]]) -> str:
    """A list as source text, in which a long run of one item is a multiplication."""
    parts: list[list[Any]] = [[]]
    for run in runs:
        if len(run) > 48:
            parts += [run, []]
        else:
            parts[-1] += run
    return " + ".join(literal(part) for part in parts if part)


def folded(lines: list[str]) -> list[str]:
    """The lines, with a ``for`` loop where a group of up to four lines repeats three times or more.

    >>> folded(["a()", "b()", "c()", "b()", "c()", "b()", "c()"])
    ['a()', 'for _ in range(3):\\n    b()\\n    c()']
    """
    folded: list[str] = []
    place = 0
    while place < len(lines):
        for size in 1, 2, 3, 4:
            group, count = lines[place : place + size], 1
            while lines[place + count * size : place + (count + 1) * size] == group:
                count += 1
            if count > 2:
                folded.append("\n    ".join([f"for _ in range({count}):", *group]))
                place += count * size
                break
        else:
            folded.append(lines[place])
            place += 1
    return folded
