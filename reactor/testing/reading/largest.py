"""Comparisons that leave out the largest that the source allows: ``size < MAX_SIZE``, where `<=` may be meant."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..running.own import own_bases
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Method

_LARGEST = re.compile(r"(?i)(?:^|[_.])(?:max|most|largest|longest|greatest|biggest)")
"""A name that says what is allowed at most. A limit may be the first that is not allowed: that shows nothing."""

_INCLUSIVE: dict[type, str] = {ast.Lt: "<=", ast.GtE: ">", ast.Gt: ">=", ast.LtE: "<"}
"""The comparison that takes in the largest: on the right of the first two, on the left of the others."""

_LOOPS = ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp


class _Compared(NamedTuple):
    """A comparison that leaves out a largest number."""

    number: int
    is_counted: bool
    told: str


def left_out(kind: Any) -> dict[int, str]:
    """The largest numbers that comparisons of the handler leave out, each with what may be wrong. No source: none.

    They are looked for in its methods and in the functions that these call, if its modules define them. A number is
    none of them if something that the handler counts, or keeps, is compared with it: the right way to add one more is
    to compare their number with the most before.
    """
    found = [one for method in _functions_of(kind) for one in _compared(method, method.tree, False)]
    counted = {one.number for one in found if one.is_counted}
    return {one.number: one.told for one in found if one.number not in counted}


def _functions_of(kind: Any) -> Iterator[Method]:
    """The methods, and the functions that they call: once for each call, for its arguments say what is compared."""
    try:
        methods = Source(kind).methods
    except OSError:
        return
    modules, seen = {base.__module__ for base in own_bases(kind)}, set[ast.Call]()
    while methods:
        method = methods.pop()
        if method.function.__module__ in modules:
            yield method
            calls = {node for node in ast.walk(method.tree) if isinstance(node, ast.Call)} - seen
            seen |= calls
            methods += [called for call in calls for called in method.called(call)]


def _compared(method: Method, tree: ast.AST, is_counted: bool) -> Iterator[_Compared]:
    """The comparisons in a part of a function; in a loop that takes no input something is counted."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, how, right in zip(sides, node.ops, sides[1:], strict=False):
                largest, other = (right, left) if isinstance(how, (ast.Lt, ast.GtE)) else (left, right)
                number = method.value(largest) if type(how) in _INCLUSIVE and _is_largest(largest) else None
                if type(number) is int:
                    told = f"{ast.unparse(node)} leaves it out ({_INCLUSIVE[type(how)]} takes it in)"
                    yield _Compared(number, is_counted or _is_count(method, other), told)
        in_loop = isinstance(node, _LOOPS) and not any(isinstance(part, ast.Await) for part in ast.walk(node))
        yield from _compared(method, node, is_counted or in_loop)


def _is_largest(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute)) and _LARGEST.search(ast.unparse(node)) is not None


def _is_count(method: Method, node: ast.expr) -> bool:
    """Whether an expression has an attribute of the handler in it, or a name that is counted up."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and method.is_own(part.value):
            return True
        if isinstance(part, ast.Name):
            ups = (one.target for one in ast.walk(method.tree) if isinstance(one, ast.AugAssign))
            if any(isinstance(up, ast.Name) and up.id == part.id for up in ups):
                return True
            if any(_is_count(place, value) for place, value in method.candidates(part.id) or ()):
                return True
    return False
