"""Steps that a handler makes and drops: a wait that is neither returned nor awaited, a coroutine that is not awaited.

The source says so for certain: such a statement has no effect. The request goes on, or ends, without the wait.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Wait
from .report import fail, held_in_time
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType
    from typing import TypeGuard

OURS = "handlers", "reactor"
_SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef
_ABSENT: Any = object()


class Fault(NamedTuple):
    """A statement or a call that is a fault by itself."""

    method: str
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.method}, {self.file}, line {self.line})"


def dropped(kind: type) -> list[Fault]:
    """The statements of a handler class, and of its base classes elsewhere, that drop a step. No source: none."""
    return [fault for owner, function in functions_of(kind) for fault in Reader(kind, owner, function).drops()]


@held_in_time
def drops_no_step(kind: Any) -> None:
    """Each wait, and each step, that a handler makes is returned or awaited, and so is each coroutine.

    A statement that makes one and drops it has no effect: a ``return`` or an ``await`` is forgotten. The request goes
    on, or ends, without the wait. A state that returns a step on one way through it, and goes past its last statement
    on another, ends the request there, which ``return None`` says better. The property reads the source of the handler
    class.

    >>> from handlers.services import Echo
    >>> drops_no_step(Echo)
    """
    subject = Subject(kind)
    for fault in dropped(subject.kind):
        fail(subject, str(fault), "drops_no_step", f"drops_no_step({subject.text})")


def functions_of(kind: type) -> Iterator[tuple[type, FunctionType]]:
    """The methods of a handler class that are not of this package, each with the class that has it.

    A method that another one overrides is not one of them, unless that one calls it.
    """
    overridden = set[str]()
    bases = {"super", *(base.__name__ for base in kind.__mro__)}
    for owner in kind.__mro__:
        if owner.__module__.partition(".")[0] in OURS and owner is not kind:
            continue
        for name, member in vars(owner).items():
            function = inspect.unwrap(getattr(member, "__func__", member))
            if inspect.isfunction(function) and name not in overridden:
                yield owner, function
                used = function.__code__.co_names
                if not (name in used and bases.intersection(used)):
                    overridden.add(name)


class Reader:
    """The statements of one method."""

    def __init__(self, kind: type, owner: type, function: FunctionType) -> None:
        self._kind = kind
        self._owner = owner
        self._function = function
        names = function.__code__.co_varnames
        self._own = names[0] if function.__code__.co_argcount else ""
        self._local = set(names) - {self._own}
        self.name: str = function.__name__
        self.is_coroutine = inspect.iscoroutinefunction(function)
        self.tree = self._tree()
        """The syntax tree, with the line numbers of the file; an empty one if there is no source."""
        self.text = ast.unparse(self.tree)
        self._imported = {
            alias.asname or alias.name: _imported(node, alias) for node in within(self.tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names
        }  # fmt: skip

    def drops(self) -> Iterator[Fault]:
        """The statements that drop a step."""
        for node in within(self.tree):
            if isinstance(node, ast.Expr) and (message := self._drops(node.value)):
                yield self.fault(node, message)
        if isinstance(self.tree, ast.FunctionDef) and self._is_state() and goes_past(self.tree.body):
            message = "a way through it returns no step, and another one does: return None where the request is to end"
            yield self.fault(self.tree, message)

    def _is_state(self) -> bool:
        """Whether it returns a step somewhere that it makes itself, or that of a method whose every value is one."""
        values = [node.value for node in within(self.tree) if isinstance(node, ast.Return)]
        return any(self.makes_step(value, frozenset()) for value in values if value is not None)

    def fault(self, node: ast.expr | ast.stmt, message: str) -> Fault:
        """A fault at the place of ``node``."""
        return Fault(self.name, self._function.__code__.co_filename, node.lineno, message)

    def _tree(self) -> ast.AST:
        try:
            lines, first = inspect.getsourcelines(self._function)
            tree = ast.parse("".join(["if True:\n", *lines] if lines[0][:1].isspace() else ["\n", *lines]))
        except (OSError, SyntaxError, TypeError):
            return ast.Module([], [])
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        found = next((node for node in ast.walk(tree) if isinstance(node, functions)), None)
        return ast.Module([], []) if found is None else ast.increment_lineno(found, first - 2)

    def _drops(self, value: ast.expr) -> str:
        """What is wrong with the statement ``value``; empty if nothing is."""
        text = ast.unparse(value)
        if isinstance(value, ast.Tuple) and self.is_step(value):
            return f"the step {text} is dropped: return it"
        if self._is_wait(value):
            remedy = "await it" if self.is_coroutine else "return it with the next state"
            return f"the wait {text} is dropped: {remedy}"
        if isinstance(value, ast.Call) and inspect.iscoroutinefunction(inspect.unwrap(self.value(value.func))):
            return f"the coroutine {text} never runs: await it, or return it as the next step"
        if self.is_coroutine:  # it may call a state for what else that does
            return ""
        if isinstance(value, ast.Call) and self._returns_step(self.value(value.func)):
            return f"the step that {text} returns is dropped: return it"
        return ""

    def _returns_step(self, function: Any, calling: frozenset[Any] = frozenset()) -> bool:
        """Whether it is a method whose returned values are all steps; ``calling`` are the methods that return it."""
        if not inspect.isfunction(function) or function in calling:
            return False
        reader = Reader(self._kind, self._owner_of(function), function)
        values = [node.value for node in within(reader.tree) if isinstance(node, ast.Return)]
        said = [value for value in values if value is not None]
        return bool(said) and all(reader.makes_step(value, calling | {function}) for value in said)

    def _owner_of(self, function: FunctionType) -> type:
        """The class that has the method: ``super()`` in it goes on from there."""
        return next((owner for owner in self._kind.__mro__ if function in vars(owner).values()), self._owner)

    def makes_step(self, value: ast.expr, calling: frozenset[Any]) -> bool:
        """Whether an expression is a step: a tuple that begins with a wait, or what another method returns as such."""
        if isinstance(value, ast.IfExp):
            return self.makes_step(value.body, calling) and self.makes_step(value.orelse, calling)
        if isinstance(value, ast.Call):
            return self._returns_step(self.value(value.func), calling)
        return isinstance(value, ast.Tuple) and self.is_step(value)

    def is_step(self, value: ast.Tuple) -> bool:
        """Whether a tuple begins with a wait."""
        return bool(value.elts) and self._is_wait(value.elts[0])

    def _is_wait(self, node: ast.expr) -> bool:
        """Whether the expression constructs a wait, or is one."""
        value = self.value(node.func if isinstance(node, ast.Call) else node)
        if isinstance(node, ast.Call):
            return isinstance(value, type) and issubclass(value, Wait)
        return isinstance(value, Wait)

    def is_own(self, node: ast.AST) -> TypeGuard[ast.Attribute]:
        """Whether it is an attribute of ``self``."""
        return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == self._own

    def value(self, node: ast.expr) -> Any:
        """What a name, or an attribute of a class or a module, stands for."""
        if isinstance(node, ast.Name):
            if node.id in self._imported:
                return self._imported[node.id]
            return _ABSENT if node.id in self._local else self._named(node.id)
        if not isinstance(node, ast.Attribute):
            return _ABSENT
        base = node.value
        if self.is_own(node):
            return self._member(self._kind.__mro__, node.attr)
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super" and not base.args:
            after = self._kind.__mro__.index(self._owner) + 1
            return self._member(self._kind.__mro__[after:], node.attr)
        return inspect.getattr_static(self.value(base), node.attr, _ABSENT)

    def _named(self, name: str) -> Any:
        code = self._function.__code__
        if name in code.co_freevars:
            try:
                return (self._function.__closure__ or ())[code.co_freevars.index(name)].cell_contents
            except ValueError:  # the cell is empty
                return _ABSENT
        return self._function.__globals__.get(name, getattr(builtins, name, _ABSENT))

    def _member(self, classes: tuple[type, ...], name: str) -> Any:
        member = next((vars(owner)[name] for owner in classes if name in vars(owner)), _ABSENT)
        return getattr(member, "__func__", member)


def _imported(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Any:
    """What an import statement inside a function binds."""
    if isinstance(node, ast.Import):
        return sys.modules.get(alias.name, _ABSENT)
    return getattr(sys.modules.get(node.module or ""), alias.name, _ABSENT)


def goes_past(body: list[ast.stmt]) -> bool:
    """Whether a function may go on behind these statements; of those that it can't tell, it says no."""
    last = body[-1]
    if isinstance(last, ast.If):
        return goes_past(last.body) or not last.orelse or goes_past(last.orelse)
    return isinstance(last, (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Pass))


def within(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(tree):
        yield child
        if not isinstance(child, _SCOPES):
            yield from within(child)
