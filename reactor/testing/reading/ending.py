"""Whether a request can end when no more input comes, as the source of `interrupted` and of the coroutines says."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from ...handlers import Packet, StreamWait, ToEnd
from .source import CONTRACT, within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import Cause, Wait
    from .source import Method


def may_end(interrupted: Method, cause: type[Cause]) -> bool:
    """Whether ``interrupted(cause)`` may end the request without more input. True if that is unknown."""
    return _Ends(cause).method(interrupted)


def may_read(method: Method, body: list[ast.stmt]) -> bool:
    """Whether the end of the stream can be raised in ``body``: it, or a coroutine that it awaits, awaits input."""
    for node in (node for part in body for node in (part, *within(part))):
        awaited = node.value if isinstance(node, ast.Await) else node.iter if isinstance(node, ast.AsyncFor) else None
        if awaited is None:
            continue
        if _reads(method.wait(awaited)):
            return True
        called = method.called(awaited) if isinstance(awaited, ast.Call) else []
        if any(other.tree is not method.tree and may_read(other, other.tree.body) for other in called):
            return True
    return False


def _reads(wait: type[Wait] | None) -> bool:
    """Whether the end of the stream interrupts such a wait, instead of satisfying it."""
    return wait is not None and issubclass(wait, StreamWait) and not issubclass(wait, ToEnd)


class _Ends:
    """Follows the steps that code takes after a cause.

    The result for a piece of code is ``True`` if it may end the request, ``False`` if every path through it waits for
    input again, and ``None`` if a path leads to the code after it.
    """

    def __init__(self, cause: type[Cause]) -> None:
        self._cause = cause
        self._seen: set[int] = set()

    def method(self, method: Method) -> bool:
        """The result for a state, or for `interrupted`."""
        if method.owner is not None and method.owner.__module__ == CONTRACT:
            return True
        if id(method.tree) in self._seen:
            return False  # the states form a circle
        self._seen.add(id(method.tree))
        if isinstance(method.tree, ast.AsyncFunctionDef):
            return not _reads_first(method)
        return self._body(method, method.tree.body) is not False

    def _body(self, method: Method, statements: Iterable[ast.stmt]) -> bool | None:
        for statement in statements:
            ends = self._statement(method, statement)
            if ends is not None:
                return ends
        return None

    def _statement(self, method: Method, node: ast.stmt) -> bool | None:
        if isinstance(node, ast.Return):
            return node.value is None or self._outcome(method, node.value)
        if isinstance(node, ast.If):
            return self._either(method, self._truth(method, node.test), node.body, node.orelse)
        if isinstance(node, ast.Match):
            return self._matched(method, node.cases, node.subject)
        if isinstance(node, ast.With):
            return self._body(method, node.body)
        if isinstance(node, ast.Try):
            return _any(self._body(method, body) for body in (node.body, *(one.body for one in node.handlers)))
        if isinstance(node, (ast.While, ast.For)):
            return self._body(method, node.body) or None
        fails = isinstance(node, ast.Assert) and self._truth(method, node.test) is False
        return True if fails or isinstance(node, ast.Raise) else None

    def _either(
        self, method: Method, truth: bool | None, body: list[ast.stmt], otherwise: list[ast.stmt]
    ) -> bool | None:
        if truth is not None:
            return self._body(method, body if truth else otherwise)
        return _any(self._body(method, part) for part in (body, otherwise))

    def _matched(self, method: Method, cases: list[ast.match_case], subject: ast.expr) -> bool | None:
        """The result for a ``match``: its cases in their order, then the code after it if none matches."""
        if not cases:
            return None
        pattern, truth = cases[0].pattern, None
        if isinstance(pattern, ast.MatchAs) and pattern.pattern is None:
            truth = True
        elif isinstance(pattern, ast.MatchClass) and self._is_cause(method, subject):
            truth = self._is_a(method, pattern.cls)
        if cases[0].guard is not None and truth is not False:
            truth = None
        if truth is not None:
            return self._body(method, cases[0].body) if truth else self._matched(method, cases[1:], subject)
        return _any([self._body(method, cases[0].body), self._matched(method, cases[1:], subject)])

    def _truth(self, method: Method, test: ast.expr) -> bool | None:
        """The value of a test of the cause; ``None`` if the test depends on something else."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            truth = self._truth(method, test.operand)
            return None if truth is None else not truth
        if isinstance(test, ast.BoolOp):
            decides = isinstance(test.op, ast.Or)
            truths = [self._truth(method, value) for value in test.values]
            return decides if decides in truths else None if None in truths else not decides
        if isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance" and len(test.args) == 2:
            return self._is_a(method, test.args[1]) if self._is_cause(method, test.args[0]) else None
        return None

    def _is_cause(self, method: Method, node: ast.expr) -> bool:
        named = method.attribute == "interrupted" and len(method.parameters) > 1
        return named and isinstance(node, ast.Name) and node.id == method.parameters[1]

    def _is_a(self, method: Method, node: ast.expr) -> bool | None:
        kinds = method.classes(node)
        return any(issubclass(self._cause, kind) for kind in kinds) if kinds else None

    def _outcome(self, method: Method, node: ast.expr) -> bool:
        """The result for a returned expression: ``None``, a step, or what another state returns."""
        if isinstance(node, ast.IfExp):
            truth = self._truth(method, node.test)
            parts = [node.body, node.orelse] if truth is None else [node.body if truth else node.orelse]
            return any(self._outcome(method, part) for part in parts)
        if isinstance(node, ast.Name):
            found = method.candidates(node.id)
            return found is None or any(self._outcome(place, value) for place, value in found)
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            wait = method.wait(node.elts[0])
            if _reads(wait) or (wait is not None and issubclass(wait, Packet)):
                return False
            states = method.callables(node.elts[1])
            return wait is None or not states or any(self.method(state) for state in states)
        called = method.called(node) if isinstance(node, ast.Call) else []
        return not called or any(self.method(other) for other in called)


def _any(answers: Iterable[bool | None]) -> bool | None:
    found = list(answers)
    return True if True in found else None if None in found else False


def _reads_first(method: Method) -> bool:
    """Whether a coroutine awaits input before it can end, and does not catch the cause."""
    nodes = list(within(method.tree))
    if any(isinstance(node, ast.Try) for node in nodes):
        return False
    for node in nodes:
        if isinstance(node, ast.stmt) and may_read(method, [node]):
            return True
        if isinstance(node, (ast.Return, ast.Raise)):
            return False
    return False
