"""The steps between the states of a handler class, as its source has them.

A method is read from top to bottom, together with the set of places at which the request may be: the state itself, or
in a coroutine the awaits that may have been the last. A step leads from each of these places.
"""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...handlers import Cause, Wait
from ...handlers.handler import Handler
from .source import CONTRACT, Source, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Function, Method

    Step = tuple[str, str, str]
    Places = frozenset[str]

LAST = "finished"
"""The place that stands for the end of the request."""

UNKNOWN = "?"
"""The place that a step leads to if it cannot be read."""

_NOWHERE: Places = frozenset()
_COMPREHENSIONS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
_OWN_FRAMES = sys.version_info < (3, 12)
"""Whether a comprehension is a function of its own, so that its awaits are at its first line."""


def shown(name: str) -> str:
    """The name of a state in a diagram. A state named like `LAST` gets parentheses."""
    return f"{name}()" if name == LAST else name


class _Loop:
    """The places at which a loop is left by ``break``, and begun again by ``continue``."""

    def __init__(self) -> None:
        self.left: Places = _NOWHERE
        self.again: Places = _NOWHERE


class Reader:
    """Reads the steps of one handler class."""

    def __init__(self, kind: type) -> None:
        self._source = Source(kind)
        self._steps: dict[Step, None] = {}
        self._unread: list[Method] = []
        self._read: set[object] = set()
        self._loops: list[_Loop] = []
        self._caught: list[set[str]] = []
        self._comprehension = 0  # the line of the comprehension that is being read
        self._method: Method

    def steps(self) -> list[Step]:
        """All of them: ``(state, wait, next state)``."""
        answers = getattr(self._source.kind, "interrupted", None) is not Handler.interrupted
        for name in ("handle", "interrupted") if answers else ("handle",):
            method = self._source.find(name)
            if method is not None:
                self._go_through(method, frozenset({name}))
            while self._unread:
                method = self._unread.pop(0)
                self._go_through(method, frozenset({shown(method.name)}))
        return list(self._steps)

    # Methods and statements

    def _go_through(self, method: Method, places: Places) -> None:
        """Read a method that is entered at ``places``. At its end the request has finished."""
        given = tuple((name, ast.unparse(node)) for name, (_, node) in method.given.items())
        entered = (id(method.tree), places, given)
        if entered in self._read:
            return
        self._read.add(entered)
        before = getattr(self, "_method", method), self._loops, self._caught, self._comprehension
        self._method, self._loops, self._caught, self._comprehension = method, [], [], 0
        self._step(self._body(method.tree.body, places), "", LAST)
        self._method, self._loops, self._caught, self._comprehension = before

    def _step(self, places: Places, wait: str, to: str) -> None:
        for place in sorted(places):
            self._steps[place, wait, to] = None

    def _body(self, statements: list[ast.stmt], places: Places) -> Places:
        for statement in statements:
            if not places:
                break
            reading = getattr(self, f"_{type(statement).__name__.lower()}", None)
            places = self._awaits(statement, places) if reading is None else reading(statement, places)
        return places

    def _functiondef(self, node: Function, places: Places) -> Places:
        return places  # it is read if it is a state

    _asyncfunctiondef = _classdef = _functiondef

    def _return(self, node: ast.Return, places: Places) -> Places:
        if node.value is None:
            self._step(places, "", LAST)
        else:
            self._outcome(node.value, self._awaits(node.value, places))
        return _NOWHERE

    def _raise(self, node: ast.Raise, places: Places) -> Places:
        self._awaits(node, places)
        return _NOWHERE

    def _if(self, node: ast.If, places: Places) -> Places:
        places = self._awaits(node.test, places)
        return self._body(node.body, places) | self._body(node.orelse, places)

    def _match(self, node: ast.Match, places: Places) -> Places:
        places = self._awaits(node.subject, places)
        return places.union(*(self._body(case.body, places) for case in node.cases))

    def _with(self, node: ast.With | ast.AsyncWith, places: Places) -> Places:
        before, suppresses = places, False
        for item in node.items:
            places = self._awaits(item, places)
            call = item.context_expr
            suppresses = suppresses or (isinstance(call, ast.Call) and self._method.value(call.func) is suppress)
        self._caught.append(set())
        after = self._body(node.body, places)
        thrown = frozenset(self._caught.pop())
        return after | thrown | before if suppresses else after

    def _asyncwith(self, node: ast.AsyncWith, places: Places) -> Places:
        """Both its beginning and its end may wait, or not."""
        text = ", ".join(ast.unparse(item) for item in node.items)
        return self._may_wait(node, text, self._with(node, self._may_wait(node, text, places)))

    def _may_wait(self, node: ast.stmt, text: str, places: Places) -> Places:
        return places | self._waits(node.lineno, text, places, more=True) if places else places

    def _while(self, node: ast.While | ast.For | ast.AsyncFor, places: Places) -> Places:
        for_ever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        loop = _Loop()
        self._loops.append(loop)
        places = self._awaits(node.iter, places) if isinstance(node, (ast.For, ast.AsyncFor)) else places
        while True:
            tested = self._awaits(node.test, places) if isinstance(node, ast.While) else places
            if isinstance(node, ast.AsyncFor):
                tested |= self._waits(node.lineno, ast.unparse(node.iter), places, more=True)
            again = places | self._body(node.body, tested) | loop.again
            if again == places:
                break
            places = again
        self._loops.pop()
        return loop.left | (_NOWHERE if for_ever else self._body(node.orelse, tested))

    _for = _asyncfor = _while

    def _break(self, node: ast.Break, places: Places) -> Places:
        self._loops[-1].left |= places
        return _NOWHERE

    def _continue(self, node: ast.Continue, places: Places) -> Places:
        self._loops[-1].again |= places
        return _NOWHERE

    def _try(self, node: ast.Try, places: Places) -> Places:
        self._caught.append(set())  # only an await raises a cause, but any statement may raise something else
        after = self._body(node.orelse, self._body(node.body, places))
        thrown = frozenset(self._caught.pop())
        inside = places | thrown
        self._caught.append(set())
        for handler in node.handlers:
            kinds = self._method.caught(handler)
            causes = bool(kinds) and all(issubclass(kind, Cause) for kind in kinds)
            after |= self._body(handler.body, thrown if causes else inside)
        inside |= self._caught.pop()
        for caught in self._caught:
            caught |= inside - places
        if any(isinstance(part, ast.Await) for statement in node.finalbody for part in ast.walk(statement)):
            self._leave(node, self._body(node.finalbody, inside))
        return self._body(node.finalbody, after) if node.finalbody and after else after

    _trystar = _try

    def _leave(self, node: ast.Try, places: Places) -> None:
        """A statement that leaves a ``try`` goes on from the places at which its ``finally`` has waited."""
        for part in within(node):
            if isinstance(part, ast.Return):
                self._return(_answered(part), places)
            elif isinstance(part, (ast.Break, ast.Continue)) and self._loops:
                self._body([part], places)

    # Awaits

    def _awaits(self, node: ast.AST, places: Places) -> Places:
        """Read the awaits of an expression, the inner ones first."""
        if isinstance(node, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)):
            return places
        if isinstance(node, ast.IfExp):
            places = self._awaits(node.test, places)
            return self._awaits(node.body, places) | self._awaits(node.orelse, places)
        if isinstance(node, ast.BoolOp):
            ends = [places := self._awaits(value, places) for value in node.values]
            return places.union(*ends)
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehended(node, places)
        for child in ast.iter_child_nodes(node):
            places = self._awaits(child, places)
        if isinstance(node, ast.Await) and places:
            places = self._waits(node.lineno, self._wait(node.value), places, self._method.wait(node.value) is None)
        return places

    def _comprehended(self, node: ast.expr, places: Places) -> Places:
        """A comprehension is a loop: each round has all its awaits, or none."""
        before, self._comprehension = self._comprehension, self._comprehension or node.lineno
        while True:
            again = places
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.comprehension) and child.is_async:
                    again |= self._waits(node.lineno, ast.unparse(child.iter), again, more=True)
                again |= self._awaits(child, again)
            if again == places:
                break
            places = again
        self._comprehension = before
        return places

    def _waits(self, line: int, wait: str, places: Places, more: bool) -> Places:
        """The place of a wait at ``line``. With ``more``, it is a coroutine that may wait more than once."""
        line = self._comprehension if self._comprehension and _OWN_FRAMES else line
        here = f"{self._method.name}:{line}"
        self._step(places, wait, here)
        if more:
            self._step(frozenset({here}), wait, here)
        for caught in self._caught:
            caught.add(here)
        return frozenset({here})

    # Returned expressions

    def _outcome(self, node: ast.expr, places: Places) -> None:
        method = self._method
        if isinstance(node, ast.IfExp):
            self._outcome(node.body, places)
            self._outcome(node.orelse, places)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                self._outcome(value, places)
        elif isinstance(node, ast.NamedExpr):
            self._outcome(node.value, places)
        elif isinstance(node, ast.Constant) and node.value is None:
            self._step(places, "", LAST)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            for state in self._states(node.elts[1]):
                self._step(places, self._wait(node.elts[0]), state)
        elif isinstance(node, ast.Name) and (found := method.candidates(node.id)):
            for place, value in found:
                with self._in(place):
                    self._outcome(value, places)
        elif isinstance(node, ast.Call) and (called := method.called(node)):
            self._call(called, places)
        elif isinstance(node, ast.Await):
            self._awaited(node.value, places)
        else:
            self._step(places, ast.unparse(node), UNKNOWN)

    def _call(self, called: list[Method], places: Places) -> None:
        for method in called:
            if method.owner is not None and method.owner.__module__ == CONTRACT:
                self._step(places, "", LAST)  # Handler.interrupted() ends the request
            else:
                self._go_through(method, places)

    def _awaited(self, node: ast.expr, places: Places) -> None:
        """The method returns the result of an await."""
        called = self._method.called(node) if isinstance(node, ast.Call) else []
        if self._method.wait(node) is not None:
            self._step(places, "", LAST)  # the result of a wait is no step, unless it is None
        elif not called:
            self._step(places, f"await {ast.unparse(node)}", UNKNOWN)
        for method in called:
            with self._in(method):
                self._results(places)

    def _results(self, places: Places) -> None:
        """The method returns what an awaited coroutine returns."""
        tree = self._method.tree
        if (id(tree), places, "awaited") not in self._read:
            self._read.add((id(tree), places, "awaited"))
            for node in within(tree):
                if isinstance(node, ast.Return):
                    self._return(_answered(node), places)
            if not isinstance(tree.body[-1], ast.Return):
                self._step(places, "", LAST)

    @contextmanager
    def _in(self, method: Method) -> Iterator[None]:
        """Read expressions of another function."""
        before, self._method = self._method, method
        yield
        self._method = before

    def _wait(self, node: ast.expr) -> str:
        value = None if isinstance(node, ast.Call) else self._method.value(node)
        if isinstance(value, Wait):
            return repr(value)
        found = self._method.candidates(node.id) if isinstance(node, ast.Name) else None
        if found and len(found) == 1:
            with self._in(found[0][0]):
                return self._wait(found[0][1])
        return ast.unparse(node)

    def _states(self, node: ast.expr) -> list[str]:
        """The names of the states that an expression may be. Each state is read later."""
        methods = self._method.callables(node)
        if not methods and isinstance(node, ast.Call):
            methods = [state for helper in self._method.called(node) for state in _answers(helper)]
        for method in methods:
            if id(method.tree) not in self._read:
                self._read.add(id(method.tree))
                self._unread.append(method)
        if not methods and callable(value := self._method.value(node)) and not isinstance(value, type):
            name = getattr(value, "__name__", type(value).__name__)
            self._step(frozenset({name}), "", UNKNOWN)
            return [name]
        return [shown(method.name) for method in methods] or [UNKNOWN]


def _answers(helper: Method) -> list[Method]:
    """The functions that a helper may return."""
    returned = [node.value for node in within(helper.tree) if isinstance(node, ast.Return) and node.value]
    return [method for value in returned for method in helper.callables(value)]


def _answered(node: ast.Return) -> ast.Return:
    """The statement without its await, which has been read."""
    return ast.Return(value=None if isinstance(node.value, ast.Await) else node.value)
