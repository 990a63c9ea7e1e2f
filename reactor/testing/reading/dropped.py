"""Steps that a handler makes and drops: a wait that is neither returned nor awaited, a coroutine that is not awaited.

The source says so for certain: such a statement has no effect. The request goes on, or ends, without the wait.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ..running.own import is_ours
from .source import Source, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Method


_LAZY = map, filter


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
    return [fault for method in methods_of(kind) for fault in _drops(method)]


def methods_of(kind: type) -> list[Method]:
    """The methods of a handler class with source, without those of the base classes that are of this package."""
    try:
        methods = Source(kind).methods
    except OSError:
        return []
    return [one for one in methods if one.owner is kind or not is_ours(one.function.__module__)]


def fault_at(method: Method, node: ast.expr | ast.stmt, message: str) -> Fault:
    """A fault at the place of ``node`` in the method."""
    return Fault(method.name, method.function.__code__.co_filename, node.lineno, message)


def is_step(method: Method, value: ast.expr) -> bool:
    """Whether it is a tuple that begins with a wait."""
    return isinstance(value, ast.Tuple) and bool(value.elts) and method.wait(value.elts[0]) is not None


def _drops(method: Method) -> Iterator[Fault]:
    for node in within(method.tree):
        if isinstance(node, ast.Expr) and (message := _of_statement(method, node)):
            yield fault_at(method, node, message)
    if _is_state(method) and goes_past(method.tree.body):
        message = "a way through it returns no step, and another one does: return None where the request is to end"
        yield fault_at(method, method.tree, message)


def _of_statement(method: Method, statement: ast.Expr) -> str:
    """What is wrong with the statement; empty if nothing is."""
    value = statement.value
    text = ast.unparse(value)
    if is_step(method, value):
        return f"the step {text} is dropped: return it"
    if isinstance(value, ast.GeneratorExp) or (isinstance(value, ast.Call) and method.value(value.func) in _LAZY):
        return f"{text} does nothing until its items are taken: write a for loop"
    if method.wait(value) is not None:
        remedy = "await it" if _is_coroutine(method) else "return it with the next state"
        return f"the wait {text} is dropped: {remedy}"
    called = method.callables(value.func) if isinstance(value, ast.Call) else []
    if any(_is_coroutine(one) for one in called):
        return f"the coroutine {text} never runs: await it, or return it as the next step"
    is_dropped = _return_steps(called) and not _is_coroutine(method)  # one may call a state for what else that does
    if is_dropped and not _has_end_behind(method.tree, statement):
        return f"the step that {text} returns is dropped: return it, or write `return None` behind it to end"
    return ""


def _has_end_behind(tree: ast.AST, statement: ast.stmt) -> bool:
    """Whether the next statement in the block is a ``return`` or a ``raise``: then the step is dropped on purpose."""
    blocks = [getattr(node, name, ()) for node in ast.walk(tree) for name in ("body", "orelse", "finalbody")]
    pairs = [pair for block in blocks if isinstance(block, list) for pair in pairwise(block)]
    return any(first is statement and isinstance(second, (ast.Return, ast.Raise)) for first, second in pairs)


def _is_coroutine(method: Method) -> bool:
    return isinstance(method.tree, ast.AsyncFunctionDef)


def _is_state(method: Method) -> bool:
    """Whether it returns a step somewhere that it makes itself, or that of a method whose every value is one."""
    returns_step = any(_makes_step(*value, frozenset()) for value in _returned(method))
    return returns_step and not _is_coroutine(method)


def _returned(method: Method) -> list[tuple[Method, ast.expr]]:
    """The values that the function returns."""
    returns = [node.value for node in within(method.tree) if isinstance(node, ast.Return)]
    return [(method, value) for value in returns if value is not None]


def _return_steps(called: list[Method], calling: frozenset[object] = frozenset()) -> bool:
    """Whether what is called returns steps only; ``calling`` are the functions that return it."""
    if not called:
        return False
    for method in called:
        place = method.function, method.tree.lineno
        values = _returned(method)
        if not values or place in calling:
            return False
        if not all(_makes_step(*value, calling | {place}) for value in values):
            return False
    return True


def _makes_step(method: Method, value: ast.expr, calling: frozenset[object]) -> bool:
    """Whether an expression is a step: a tuple that begins with a wait, or what another method returns as such."""
    if isinstance(value, ast.IfExp):
        return _makes_step(method, value.body, calling) and _makes_step(method, value.orelse, calling)
    if isinstance(value, ast.Call):
        return _return_steps(method.callables(value.func), calling)
    return is_step(method, value)


def goes_past(body: list[ast.stmt]) -> bool:
    """Whether a function may go on behind these statements; of those that it can't tell, it says no."""
    last = body[-1]
    if isinstance(last, ast.If):
        return goes_past(last.body) or not last.orelse or goes_past(last.orelse)
    return isinstance(last, (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Pass))
