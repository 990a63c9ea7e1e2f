"""Values and statements as source text: the parts of a printed test."""

from __future__ import annotations

import ast
import re
from typing import Any

_LONG_RUN = re.compile(rb"(.)\1{47,}", re.DOTALL)  # one byte again and again
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
    pairs = enumerate(zip(value, expected, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(value), len(expected)))
    if isinstance(value, bytes):
        return f"at byte {place}: {brief(value[place:])}, not {brief(expected[place:])}"
    if place < min(len(value), len(expected)):
        return f"packet {place}: {unlike_at(value[place], expected[place])}"
    return f"at packet {place}: {brief(value[place:])}, not {brief(expected[place:])}"


def literal(value: Any) -> str:
    """``value`` as source text. Bytes and lists that repeat a short part become a multiplication.

    >>> print(literal(b"ab" * 50), literal(b"abc"), literal([b"x"] * 99))
    b'ab' * 50 b'abc' [b'x'] * 99
    >>> print(literal(b"99:" + b"a" * 99 + b","))
    b'99:' + b'a' * 99 + b','
    """
    if isinstance(value, (bytes, list)) and len(value) > 48:
        for size in range(1, 33):
            if len(value) % size == 0 and value[size:] == value[:-size]:
                return f"{literal(value[:size])} * {len(value) // size}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, bytes) and (run := _LONG_RUN.search(value)) is not None:
        return " + ".join(literal(part) for part in (value[: run.start()], run[0], value[run.end() :]) if part)
    return repr(value)


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
