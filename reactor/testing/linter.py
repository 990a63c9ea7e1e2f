"""Warnings about a handler class, read from its source: a state without bound, without time out, without an answer.

What is certain is an error that the machine raises; what is here is likely a mistake, and was
weighed to give no false alarm rather than to find everything.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers import Connected, Delay, EndOfStream, Wait
from handlers.handler import Handler

from .reading import methods
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .reading import Method

_GROWING = "append", "extend", "appendleft", "insert", "add", "write"
_SHRINKING = "clear", "pop", "popleft", "remove", "discard", "truncate", "popitem"
_TAKING = "open", "acquire", "connect", "mkdtemp", "Popen"


class Finding(NamedTuple):
    """What is likely wrong, in which method, and at which line of its file."""

    method: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.method}, line {self.line}: {self.message}"


def lint(kind: Any) -> list[Finding]:
    """What is likely wrong with a handler class, in the order of its lines; an empty list if nothing is.

    *Bound*: a wait whose ``limit`` is over the handler's ``max_output``; an attribute that a state
    adds to (``self.held += data``, ``self.lines.append(line)``) and that no method cuts, empties, sets
    anew or measures with ``len()``.

    *Time out*: a wait that neither says one itself nor has one from its class, or one that is
    ``math.inf``.

    *Answer to the end of stream*: none is needed, for the machine ends the request: cleanly between
    messages, else with the cause as its reason. Warned of is an answer that does not end it: an
    ``except`` in a loop that catches `EndOfStream` and never leaves the loop, an `interrupted` that
    returns a step whatever the cause. And warned of is a handler that would leave something behind: one that
    opens, connects or acquires something, or enters itself in somebody's list, and has neither
    `finish` nor `interrupted`, nor ``with`` or ``finally`` around it.

    Raises `TypeError` for a blocking handler that does not declare ``request``, and ``OSError`` where
    there is no source.

    >>> from handlers.services import Echo
    >>> lint(Echo)
    []
    """
    subject = Subject(kind)
    found: list[Finding] = []
    handler = subject.handler
    everything = list(methods(handler))
    for method in everything:
        for rule in (_waits, _swallows, _interrupted, _leaves_behind):
            found.extend(rule(method, handler))
    found.extend(_grows(everything))
    return sorted(set(found), key=lambda finding: finding.line)


def _finding(method: Method, node: ast.AST, message: str) -> Finding:
    return Finding(method.tree.name, getattr(node, "lineno", method.tree.lineno), message)


# Bound and time out


def _waits(method: Method, kind: type[Handler]) -> Iterator[Finding]:
    for node in ast.walk(method.tree):
        if not isinstance(node, ast.Call):
            continue
        wait = method.value(node.func, kind)
        if not (isinstance(wait, type) and issubclass(wait, Wait)):
            continue
        said = {word.arg: method.value(word.value, kind) for word in node.keywords}
        limit, timeout = said.get("limit"), said.get("timeout")
        if isinstance(limit, int) and limit > kind.max_output:
            yield _finding(method, node, f"waits for {ast.unparse(node)} without a limit to speak of")
        unbounded = timeout == float("inf") or (kind.timeout is None and "timeout" not in said)
        if unbounded and not issubclass(wait, Delay):
            yield _finding(method, node, f"waits for {ast.unparse(node)} without a time out")


def _grows(everything: list[Method]) -> Iterator[Finding]:
    growing: dict[str, Finding] = {}
    bounded: set[str] = set()
    for method in everything:
        for node in ast.walk(method.tree):
            name = _grown(method, node)
            if name and method.tree.name not in ("__init__", "setup"):
                growing.setdefault(name, _finding(method, node, f"self.{name} grows, and nothing cuts or measures it"))
            bounded |= _bounded(method, node)
    yield from (finding for name, finding in growing.items() if name not in bounded)


def _own_attribute(method: Method, node: ast.AST) -> str:
    """The ``name`` of ``self.name``, or of ``self.name[…]``; else nothing."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) and method.is_own(node.value) else ""


def _grown(method: Method, node: ast.AST) -> str:
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and not isinstance(node.value, ast.Constant):
        return _own_attribute(method, node.target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GROWING:
        return _own_attribute(method, node.func.value)
    return ""


def _bounded(method: Method, node: ast.AST) -> set[str]:
    """The attributes that a node cuts, empties, sets anew or measures."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.Assign) and method.tree.name not in ("__init__", "setup"):
        for target in node.targets:
            targets += target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SHRINKING:
        targets = [node.func.value]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        targets = node.args
    return {_own_attribute(method, target.value if isinstance(target, ast.Starred) else target) for target in targets}


# The end of the stream


def _swallows(method: Method, kind: type[Handler]) -> Iterator[Finding]:
    for loop in ast.walk(method.tree):
        if not isinstance(loop, ast.While):
            continue
        for node in ast.walk(loop):
            if not isinstance(node, ast.Try) or not any(isinstance(part, ast.Await) for part in ast.walk(node)):
                continue
            for handler in node.handlers:
                catches = any(issubclass(EndOfStream, caught) for caught in method.caught(handler, kind))
                if catches and not _leaves(handler.body, loop) and not _shadowed(method, kind, node, handler):
                    yield _finding(method, handler, "catches the end of the stream and goes on, when nothing can come")


def _leaves(body: list[ast.stmt], loop: ast.While) -> bool:
    """Whether the loop may be left, or its condition may change."""
    asked = {ast.unparse(node) for node in ast.walk(loop.test) if isinstance(node, (ast.Name, ast.Attribute))}
    for node in (node for part in body for node in ast.walk(part)):
        if isinstance(node, (ast.Return, ast.Raise, ast.Break)):
            return True
        if (
            isinstance(node, (ast.Name, ast.Attribute))
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node) in asked
        ):
            return True
    return False


def _shadowed(method: Method, kind: type[Handler], node: ast.Try, handler: ast.ExceptHandler) -> bool:
    """Whether an ``except`` before this one has had the end of the stream."""
    before = node.handlers[: node.handlers.index(handler)]
    return any(issubclass(EndOfStream, caught) for one in before for caught in method.caught(one, kind))


def _interrupted(method: Method, kind: type[Handler]) -> Iterator[Finding]:
    if method.tree.name != "interrupted" or isinstance(method.tree, ast.AsyncFunctionDef):
        return
    nodes = list(ast.walk(method.tree))
    if any(isinstance(node, (ast.If, ast.IfExp, ast.Match, ast.Try, ast.Raise)) for node in nodes):
        return  # it makes a difference; which, only running it can tell
    for node in nodes:
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            yield _finding(method, node, "returns a step whatever the cause, even when nothing can come any more")


def _leaves_behind(method: Method, kind: type[Handler]) -> Iterator[Finding]:
    if kind.finish is not Handler.finish or kind.interrupted is not Handler.interrupted:
        return
    for node in _unguarded(method.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in _TAKING or method.value(node.func, kind) is Connected:
            yield _finding(method, node, f"what {ast.unparse(node)} gives is left behind if the request is cut short")
        elif called in _GROWING and any(method.is_own(argument) for argument in node.args):
            yield _finding(method, node, f"is left in {ast.unparse(node.func)[: -len(called) - 1]} when it has ended")


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that stand neither in a ``with`` nor in a ``try`` with ``finally``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.With, ast.AsyncWith)) or (isinstance(child, ast.Try) and child.finalbody):
            continue
        yield child
        yield from _unguarded(child)
