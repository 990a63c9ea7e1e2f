"""The steps of a handler class as its source has them: a reading of the methods, nothing is run.

A method is read from top to bottom with the set of places at which the request may be: its own
name, or in a coroutine the awaits that may have come last. A step leads on from each of them.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from handlers import Cause, Wait
from handlers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Iterator

    Function = ast.FunctionDef | ast.AsyncFunctionDef
    Step = tuple[str, str, str]
    Places = frozenset[str]

UNKNOWN = "?"
"""Where a step leads that is not written as a step."""

_NOWHERE: Places = frozenset()


class Method:
    """A method: its tree, the class that has it, and what its names mean."""

    def __init__(self, owner: type, function: Any) -> None:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        ast.increment_lineno(tree, first - 1)
        self.owner = owner
        self.tree: Function = tree.body[0]  # type: ignore[assignment]
        self.names: dict[str, Any] = function.__globals__
        self.own = self.tree.args.args[0].arg if self.tree.args.args else ""
        self.local: dict[str, Any] = {
            node.name: node
            for node in ast.walk(self.tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node is not self.tree
        }

    def value(self, node: ast.expr, kind: type) -> Any:
        """What an expression means: a name, an attribute of it, or of ``self`` as the class has it; or a number.

        ``None`` if that can't be told without running anything.
        """
        if isinstance(node, ast.Attribute):
            base = kind if self.is_own(node.value) else self.value(node.value, kind)
            return inspect.getattr_static(base, node.attr, None) if base is not None else None
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.BinOp) and all(isinstance(part, ast.Constant) for part in (node.left, node.right)):
            return ast.literal_eval(repr(eval(ast.unparse(node), {"__builtins__": {}})))
        return node.value if isinstance(node, ast.Constant) else None

    def is_own(self, node: ast.expr) -> bool:
        """Whether it is ``self``."""
        return isinstance(node, ast.Name) and node.id == self.own

    def is_wait(self, node: ast.expr, kind: type) -> bool:
        """Whether it makes, or is, a wait."""
        value = self.value(node.func if isinstance(node, ast.Call) else node, kind)
        return isinstance(value, Wait) or (isinstance(value, type) and issubclass(value, Wait))

    def caught(self, handler: ast.ExceptHandler, kind: type) -> list[type]:
        """The classes of exceptions that an ``except`` catches."""
        if handler.type is None:
            return [BaseException]
        nodes = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        values = [self.value(node, kind) or getattr(builtins, ast.unparse(node), Exception) for node in nodes]
        return [value for value in values if isinstance(value, type)]


def methods(kind: type) -> Iterator[Method]:
    """The methods of a handler class and of those it is derived from, short of the contract itself.

    One that is overridden counts only if what overrides it calls it.
    """
    overridden: set[str] = set()
    for owner in kind.__mro__:
        if owner is object or owner.__module__ == Handler.__module__:
            continue
        for name, function in vars(owner).items():
            if inspect.isfunction(function) and name not in overridden:
                method = Method(owner, function)
                yield method
                if f"super().{name}(" not in ast.unparse(method.tree):
                    overridden.add(name)


class _Loop:
    """Where the request may be when a loop is left, and when it begins again."""

    def __init__(self) -> None:
        self.left: Places = _NOWHERE
        self.again: Places = _NOWHERE


class Reader:
    """Reads the steps of one handler class."""

    def __init__(self, kind: type, last: str) -> None:
        self._kind = kind
        self._last = last
        self._steps: dict[Step, None] = {}
        self._unread: list[tuple[Method, str]] = []
        self._read: set[object] = set()
        self._loops: list[_Loop] = []
        self._caught: list[set[str]] = []
        self._method: Method

    def steps(self) -> list[Step]:
        """All of them: ``(state, wait, next state)``."""
        answers = getattr(self._kind, "interrupted", None) is not Handler.interrupted
        for name in ("handle", "interrupted") if answers else ("handle",):
            self._later(name)
            while self._unread:
                method, state = self._unread.pop(0)
                self._go_through(method, frozenset({state}))
        return list(self._steps)

    # Which methods there are

    def _find(self, name: str, after: type | None = None) -> Method | None:
        mro = list(self._kind.__mro__)
        for owner in mro[mro.index(after) + 1 if after else 0 :]:
            function = vars(owner).get(name)
            if inspect.isfunction(function):
                return Method(owner, function)
        return None

    def _later(self, name: str, after: type | None = None) -> None:
        method = self._find(name, after)
        if method is not None and (method.owner, name) not in self._read:
            self._read.add((method.owner, name))
            self._unread.append((method, name))

    def _called(self, node: ast.expr) -> Method | None:
        """The method that ``self.name`` or ``super().name`` is."""
        if not isinstance(node, ast.Attribute):
            return None
        if self._method.is_own(node.value):
            return self._find(node.attr)
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super":
            return self._find(node.attr, self._method.owner)
        return None

    # Going through them

    def _go_through(self, method: Method, places: Places) -> None:
        """Read a method that is entered at ``places``; those that reach its end have finished."""
        entered = (method.owner, method.tree.name, places)
        if entered in self._read:
            return
        self._read.add(entered)
        before = getattr(self, "_method", method), self._loops, self._caught
        self._method, self._loops, self._caught = method, [], []
        self._step(self._body(method.tree.body, places), "", self._last)
        self._method, self._loops, self._caught = before

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
        return places  # it is read where it is a state

    _asyncfunctiondef = _classdef = _functiondef

    def _return(self, node: ast.Return, places: Places) -> Places:
        if node.value is None:
            self._step(places, "", self._last)
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

    def _with(self, node: ast.With, places: Places) -> Places:
        for item in node.items:
            places = self._awaits(item, places)
        return self._body(node.body, places)

    def _while(self, node: ast.While | ast.For, places: Places) -> Places:
        for_ever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        head = node.test if isinstance(node, ast.While) else node.iter
        loop = _Loop()
        self._loops.append(loop)
        while True:
            tested = self._awaits(head, places)
            again = places | self._body(node.body, tested) | loop.again
            if again == places:
                break
            places = again
        self._loops.pop()
        return loop.left | (_NOWHERE if for_ever else self._body(node.orelse, tested))

    _for = _while

    def _break(self, node: ast.Break, places: Places) -> Places:
        self._loops[-1].left |= places
        return _NOWHERE

    def _continue(self, node: ast.Continue, places: Places) -> Places:
        self._loops[-1].again |= places
        return _NOWHERE

    def _try(self, node: ast.Try, places: Places) -> Places:
        self._caught.append(set())  # a cause comes at an await, anything else from anywhere
        after = self._body(node.orelse, self._body(node.body, places))
        thrown = frozenset(self._caught.pop())
        for handler in node.handlers:
            causes = all(issubclass(kind, Cause) for kind in self._method.caught(handler, self._kind))
            after |= self._body(handler.body, thrown if causes else thrown | places)
        return self._body(node.finalbody, after) if node.finalbody and after else after

    _trystar = _try

    def _awaits(self, node: ast.AST, places: Places) -> Places:
        """Go through the awaits of an expression, those inside others first."""
        if isinstance(node, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)):
            return places
        if isinstance(node, ast.IfExp):
            places = self._awaits(node.test, places)
            return self._awaits(node.body, places) | self._awaits(node.orelse, places)
        if isinstance(node, ast.BoolOp):
            ends = [places := self._awaits(value, places) for value in node.values]
            return places.union(*ends)
        for child in ast.iter_child_nodes(node):
            places = self._awaits(child, places)
        if isinstance(node, ast.Await) and places:
            here, wait = f"{self._method.tree.name}:{node.lineno}", self._wait(node.value)
            self._step(places, wait, here)
            if not self._method.is_wait(node.value, self._kind):
                self._step(frozenset({here}), wait, here)  # a coroutine of its own, which may wait more than once
            places = frozenset({here})
            for caught in self._caught:
                caught.add(here)
        return places

    # What a state returns

    def _outcome(self, node: ast.expr, places: Places) -> None:
        if isinstance(node, ast.IfExp):
            self._outcome(node.body, places)
            self._outcome(node.orelse, places)
        elif isinstance(node, ast.Constant) and node.value is None:
            self._step(places, "", self._last)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            self._step(places, self._wait(node.elts[0]), self._state(node.elts[1]))
        elif isinstance(node, ast.Call) and (method := self._called(node.func)) is not None:
            if method.owner.__module__ == Handler.__module__:
                self._step(places, "", self._last)  # the contract's own: interrupted() that ends
            else:
                self._go_through(method, places)
        else:
            self._step(places, ast.unparse(node), UNKNOWN)

    def _wait(self, node: ast.expr) -> str:
        value = None if isinstance(node, ast.Call) else self._method.value(node, self._kind)
        return repr(value) if isinstance(value, Wait) else ast.unparse(node)

    def _state(self, node: ast.expr) -> str:
        """The name of a state, which is read in its turn."""
        if isinstance(node, ast.Call) and self._method.value(node.func, self._kind) is partial and node.args:
            return self._state(node.args[0])
        if isinstance(node, ast.Lambda):
            self._outcome(node.body, frozenset({"<lambda>"}))
            return "<lambda>"
        if isinstance(node, ast.Name) and node.id in self._method.local:
            inner, key = self._method.local[node.id], (self._method.owner, node.id, node.lineno)
            if key not in self._read:
                self._read.add(key)
                self._step(self._body(inner.body, frozenset({node.id})), "", self._last)
            return node.id
        method = self._called(node)
        if method is None:
            return UNKNOWN
        name = method.tree.name
        self._later(name, None if self._find(name).owner is method.owner else self._method.owner)  # type: ignore[union-attr]
        return name
