"""The source of a handler class: the syntax trees of its methods, and what the names in them mean.

Nothing runs but arithmetic on constants. An expression whose value cannot be told so has the value `OPAQUE`, which is
never a reason for a warning.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import operator
import sys
from functools import lru_cache, partial, partialmethod
from math import inf
from typing import TYPE_CHECKING, Any

from ...handlers import Wait
from ...handlers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Function = ast.FunctionDef | ast.AsyncFunctionDef

OPAQUE: Any = object()
"""The value of an expression that cannot be told without running it."""

CONTRACT = Handler.__module__
"""The module of the base classes of all handlers. Their methods are not read."""

_SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef
_DISPLAYS = ast.List, ast.Tuple
_PURE = float, int, min, max
_LARGE = 10_000  # the largest exponent, or number of bits to shift, that is evaluated
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.Pow: operator.pow, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


class Source:
    """A handler class and its methods. Raises ``OSError`` if there is no source."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.methods = list(self._methods())
        """The methods of the class and of its base classes, without those of the contract.

        An overridden method is included only if the method that overrides it refers to it.
        """
        if not self.methods and vars_of(kind, "handle") is not Handler.handle:
            raise OSError(f"there is no source of {kind.__name__}")
        self.stored = {
            method.mangled(node.attr)
            for method in self.methods
            for node in ast.walk(method.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and method.is_own(node.value)
        }
        """The attributes that the methods set on ``self``."""

    def _methods(self) -> Iterator[Method]:
        overridden: set[str] = set()
        for owner in self.kind.__mro__:
            if owner is object or owner.__module__ == CONTRACT:
                continue
            for name in vars(owner):
                method = None if name in overridden else self._own(owner, name)
                if method is not None:
                    yield method
                    others = (node for node in ast.walk(method.tree) if isinstance(node, ast.Attribute))
                    if not any(node.attr == name and not method.is_own(node.value) for node in others):
                        overridden.add(name)

    def _own(self, owner: type, name: str) -> Method | None:
        function = _function(vars(owner).get(name))
        try:
            return function and Method(self, function, owner, name)
        except OSError:
            return None  # generated, for example the __init__ of a dataclass

    def find(self, name: str, after: type | None = None, of: type | None = None) -> Method | None:
        """The method that ``self.name`` means, or ``super().name`` in the class ``after``, or ``of.name``."""
        mro = (of or self.kind).__mro__
        for owner in mro[mro.index(after) + 1 if after in mro else 0 :]:
            if name in vars(owner):
                return self._own(owner, name)
        return None


class Method:
    """A function: its syntax tree, the class that owns it, and what its names mean.

    - ``name``: the name of the function, by which the table shows it as a state.
    - ``attribute``: the name of the attribute of its class; empty for a function that is not a method.
    - ``given``: the arguments of one call, by parameter, each with the function that contains the call.
    - ``outer``: the function that contains this one.

    Raises ``OSError`` if there is no source.
    """

    def __init__(
        self, source: Source, function: Any, owner: type | None = None, attribute: str = "",
        tree: ast.AST | None = None, outer: Method | None = None,
    ) -> None:  # fmt: skip
        self.source = source
        self.function = function
        self.owner = owner
        self.attribute = attribute
        self.outer = outer
        self.given: dict[str, tuple[Method, ast.expr]] = {}
        self.tree: Function = _as_function(_find(function) if tree is None else tree)
        self.name: str = self.tree.name
        parameters = [*self.tree.args.posonlyargs, *self.tree.args.args]
        self.parameters = [parameter.arg for parameter in parameters]
        is_static = owner is not None and isinstance(vars(owner).get(attribute), staticmethod)
        self.own = self.parameters[0] if self.parameters and owner is not None and not is_static else ""
        self.inner: dict[str, ast.AST] = {}
        self._imported: dict[str, Any] = {}
        self._assigned: dict[str, list[ast.expr] | None] = dict.fromkeys(
            [*self.parameters, *(parameter.arg for parameter in self.tree.args.kwonlyargs)]
        )
        for node in within(self.tree):
            self._bind(node)
        refers = {name: _names(values) for name, values in self._assigned.items() if values is not None}
        self._assigned |= dict.fromkeys(name for name in refers if name in reached(refers, name))

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            self._assign(node.target, node.value)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.inner[node.name] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                self._imported[alias.asname or name] = sys.modules.get(name, OPAQUE)
        elif isinstance(node, ast.ImportFrom):
            module = sys.modules.get(node.module or "")
            for alias in node.names:
                self._imported[alias.asname or alias.name] = getattr(module, alias.name, OPAQUE)
        elif isinstance(node, (ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension)):
            self._assign(node.target, None)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._assign(node.optional_vars, None)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            self._assigned[node.name] = None

    def _assign(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, _DISPLAYS):
            pairs = isinstance(value, _DISPLAYS) and len(value.elts) == len(target.elts)
            for place, part in enumerate(target.elts):
                self._assign(part, value.elts[place] if pairs else None)  # type: ignore[union-attr]
        elif isinstance(target, ast.Starred):
            self._assign(target.value, None)
        elif isinstance(target, ast.Name):
            before = self._assigned.get(target.id, [])
            self._assigned[target.id] = None if before is None or value is None else [*before, value]

    # What names mean

    def candidates(self, name: str) -> list[tuple[Method, ast.expr]] | None:
        """The expressions that a local name may stand for; ``None`` if the name is not local, or that is unknown."""
        if name in self.given:
            return [self.given[name]]
        if name in self._assigned:
            values = self._assigned[name]
            return None if values is None else [(self, value) for value in values]
        return self.outer.candidates(name) if self.outer is not None else None

    def is_local(self, name: str) -> bool:
        """Whether it is a local name of this function, or of a function around it."""
        known = name in self._assigned or name in self.inner or name in self._imported
        return known or (self.outer is not None and self.outer.is_local(name))

    def value(self, node: ast.expr) -> Any:
        """The value of an expression, or `OPAQUE`."""
        try:
            return self._value(node)
        except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
            return OPAQUE

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute):
            if self.is_own(node.value):
                name = self.mangled(node.attr)
                return OPAQUE if name in self.source.stored else inspect.getattr_static(self.source.kind, name)
            base = self._value(node.value)
            return OPAQUE if base is OPAQUE else inspect.getattr_static(base, node.attr)
        if isinstance(node, ast.UnaryOp):
            return _OPERATORS.get(type(node.op), lambda _: OPAQUE)(self._number(node.operand))
        if isinstance(node, ast.BinOp):
            left, right = self._number(node.left), self._number(node.right)
            if isinstance(node.op, (ast.LShift, ast.Pow)) and right > _LARGE:
                return inf
            return _OPERATORS.get(type(node.op), lambda *_: OPAQUE)(left, right)
        if isinstance(node, ast.Call) and not node.keywords:
            function, values = self._value(node.func), [self._value(argument) for argument in node.args]
            if any(function is pure for pure in _PURE) and all(value is not OPAQUE for value in values):
                return function(*values)
        return OPAQUE

    def _number(self, node: ast.expr) -> Any:
        value = self._value(node)
        if not isinstance(value, (int, float)):
            raise TypeError(f"{value!r} is not a number")
        return value

    def _named(self, name: str) -> Any:
        found = self.candidates(name)
        if found is not None:
            return found[0][0].value(found[0][1]) if len(found) == 1 else OPAQUE
        place: Method | None = self
        while place is not None:
            if name in place._imported:
                return place._imported[name]
            place = place.outer
        if self.is_local(name):
            return OPAQUE
        function = self.function
        if name in function.__code__.co_freevars:
            return function.__closure__[function.__code__.co_freevars.index(name)].cell_contents
        return function.__globals__.get(name, getattr(builtins, name, OPAQUE))

    def mangled(self, name: str) -> str:
        """The name after name mangling, which applies to ``self.__name`` in a class."""
        owner = self.owner if self.outer is None else self.outer.owner
        private = name.startswith("__") and not name.endswith("__") and owner is not None
        return f"_{owner.__name__.lstrip('_')}{name}" if private and owner is not None else name

    def is_own(self, node: ast.AST) -> bool:
        """Whether the expression is ``self``."""
        if not isinstance(node, ast.Name):
            return False
        if node.id in self._assigned and node.id != self.own:
            found = self.candidates(node.id)
            return found is not None and len(found) == 1 and found[0][1] is not node and found[0][0].is_own(found[0][1])
        return node.id == self.own or (self.outer is not None and self.outer.is_own(node))

    # What it calls and waits for

    def callables(self, node: ast.expr) -> list[Method]:
        """The functions with source that an expression may be; empty if that is unknown."""
        if isinstance(node, ast.Lambda):
            return [self._inner(node)]
        if isinstance(node, ast.IfExp):
            return self.callables(node.body) + self.callables(node.orelse)
        if isinstance(node, ast.Call) and self.value(node.func) is partial and node.args:
            return self.callables(node.args[0])
        if isinstance(node, ast.Subscript):
            found = self.candidates(node.value.id) if isinstance(node.value, ast.Name) else [(self, node.value)]
            parts = [(place, part) for place, table in found or () for part in _parts(table)]
            return [method for place, part in parts for method in place.callables(part)]
        if isinstance(node, ast.Attribute):
            method = self._attribute(node)
            return self._elsewhere(node) if method is None else [method]
        return self._callables_named(node.id) if isinstance(node, ast.Name) else []

    def _callables_named(self, name: str) -> list[Method]:
        place: Method | None = self
        while place is not None:
            if name in place.inner:
                return [place._inner(place.inner[name])]
            place = place.outer
        found = self.candidates(name)
        if found is not None:
            return [method for place, node in found for method in place.callables(node)]
        return self._elsewhere(ast.Name(name))

    def _elsewhere(self, node: ast.expr) -> list[Method]:
        """A function of a module, or of a class that is not a base class of the handler."""
        function = _function(self.value(node))
        try:
            return [] if function is None else [Method(self.source, function)]
        except OSError:
            return []

    def _inner(self, tree: ast.AST) -> Method:
        return Method(self.source, self.function, tree=tree, outer=self)

    def _attribute(self, node: ast.Attribute) -> Method | None:
        name, base = self.mangled(node.attr), node.value
        if self.is_own(base):
            return self.source.find(name)
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super":
            place: Method = self
            while place.owner is None and place.outer is not None:
                place = place.outer
            return self.source.find(name, after=self.value(base.args[0]) if base.args else place.owner)
        of = self.value(base)
        return self.source.find(name, of=of) if isinstance(of, type) and of in self.source.kind.__mro__ else None

    def called(self, node: ast.Call) -> list[Method]:
        """The functions that a call may run, each with the arguments of this call as ``given``."""
        found = self.callables(node.func)
        for method in found:
            of_class = isinstance(node.func, ast.Attribute) and isinstance(self.value(node.func.value), type)
            places = method.parameters[1:] if method.own and not of_class else method.parameters
            positional = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
            given = [*zip(places, positional, strict=False), *((word.arg, word.value) for word in node.keywords)]
            method.given = {name: (self, value) for name, value in given if name is not None}
        return found

    def wait(self, node: ast.expr) -> type[Wait] | None:
        """The class of the wait that an expression constructs or is; ``None`` if it is no wait, or that is unknown."""
        value = self.value(node.func if isinstance(node, ast.Call) else node)
        if isinstance(value, type) and issubclass(value, Wait):
            return value
        if isinstance(value, Wait):
            return type(value)
        found = self.candidates(node.id) if isinstance(node, ast.Name) else None
        kinds = {place.wait(other) for place, other in found or ()}
        return kinds.pop() if len(kinds) == 1 else None

    def caught(self, handler: ast.ExceptHandler) -> list[type]:
        """The classes of exceptions that an ``except`` catches."""
        if handler.type is None:
            return [BaseException]
        return self.classes(handler.type)

    def classes(self, node: ast.expr) -> list[type]:
        """The classes that an expression names, alone or in a tuple."""
        values = [self.value(part) for part in (node.elts if isinstance(node, ast.Tuple) else [node])]
        flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
        return [value for value in flat if isinstance(value, type)]


def within(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function in the order of the source, without the bodies of functions and classes inside it."""
    for child in ast.iter_child_nodes(tree):
        yield child
        if not isinstance(child, _SCOPES):
            yield from within(child)


def vars_of(kind: type, name: str) -> object:
    """The member of a class, or of its base classes, without the descriptor protocol; ``None`` if there is none."""
    return next((vars(owner)[name] for owner in kind.__mro__ if name in vars(owner)), None)


def endless_loops(method: Method) -> list[ast.While | ast.For | ast.AsyncFor]:
    """The loops of a method that contain an await and have no bound on their rounds."""
    found: list[ast.While | ast.For | ast.AsyncFor] = []
    for loop in ast.walk(method.tree):
        if isinstance(loop, ast.AsyncFor):
            found.append(loop)
        elif isinstance(loop, (ast.While, ast.For)):
            endless = isinstance(loop, ast.While) or _is_endless(method, loop.iter)
            if endless and any(isinstance(node, ast.Await) for node in within(loop)):
                found.append(loop)
    return found


def _is_endless(method: Method, node: ast.expr) -> bool:
    """Whether the iterable is ``iter(function, sentinel)``, or an endless iterator of `itertools`."""
    if not isinstance(node, ast.Call):
        return False
    function = method.value(node.func)
    if function is iter or function is itertools.repeat:
        return len(node.args) + len(node.keywords) == (2 if function is iter else 1)
    return function is itertools.count or function is itertools.cycle


def reached(edges: Mapping[Any, Iterable[Any]], start: Any) -> set[Any]:
    """The places that can be reached from ``start`` in one step or more."""
    found: set[Any] = set()
    unseen = list(edges.get(start, ()))
    while unseen:
        place = unseen.pop()
        if place not in found:
            found.add(place)
            unseen.extend(edges.get(place, ()))
    return found


def _parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Dict):
        return node.values
    return node.elts if isinstance(node, _DISPLAYS) else []


def _names(values: Iterable[ast.expr]) -> set[str]:
    return {node.id for value in values for node in ast.walk(value) if isinstance(node, ast.Name)}


def _function(member: Any) -> Any:
    """The function behind a member of a class, without its wrappers; ``None`` if there is none."""
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    for name in ("fget", "func"):  # of a property; of a partialmethod or a cached_property
        if isinstance(member, (property, partialmethod)) or type(member).__name__ == "cached_property":
            member = getattr(member, name, member)
    if not callable(member) or isinstance(member, type):
        return None
    member = inspect.unwrap(member)
    return member if inspect.isfunction(member) else None


def _find(function: Any) -> ast.AST:
    """The syntax tree of a function, from its file. Raises ``OSError`` if it is not there."""
    code = function.__code__
    for node in _functions("".join(inspect.findsource(function)[0])).get(code.co_firstlineno, ()):
        if getattr(node, "name", "<lambda>") == code.co_name:
            return node
    raise OSError(f"{function.__qualname__} is not in {code.co_filename}, line {code.co_firstlineno}")


@lru_cache(maxsize=16)
def _functions(text: str) -> dict[int, list[ast.AST]]:
    found: dict[int, list[ast.AST]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            decorators = getattr(node, "decorator_list", [])
            found.setdefault(min(part.lineno for part in [node, *decorators]), []).append(node)
    return found


def _as_function(node: Any) -> Function:
    if not isinstance(node, ast.Lambda):
        return node  # type: ignore[no-any-return]
    body = ast.copy_location(ast.Return(value=node.body), node.body)
    return ast.copy_location(ast.FunctionDef("<lambda>", node.args, [body], []), node)
