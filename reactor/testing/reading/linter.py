"""Warnings about a handler class, from its source: a missing bound, a missing timeout, an end that is not handled.

A certain mistake is an error that the machine raises. A warning is about a likely mistake: the rules prefer a missed
mistake to a false alarm.
"""

from __future__ import annotations

import ast
import inspect
from contextlib import suppress
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Connected, DatagramHandler, Delay, EndOfStream, StreamWait, TimedOut, Wait
from ...handlers.handler import Handler
from ..running.subject import Subject
from .blocking import blocking
from .dropped import dropped
from .ending import may_end, may_read
from .growth import Growth
from .source import CONTRACT, OPAQUE, Source, endless_loops, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Method

_WAYS_OUT = ast.Return, ast.Raise, ast.Break
_TAKING = "open", "acquire", "connect", "mkdtemp", "Popen"
_ENTERING = "append", "add", "insert", "appendleft"


class Finding(NamedTuple):
    """A warning: the method, the line of its file, and the message."""

    method: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.method}, line {self.line}: {self.message}"


def lint(kind: Any) -> list[Finding]:
    """Warnings about a handler class, in the order of their lines; an empty list if there are none.

    *Bound*: a wait whose ``limit`` is over the handler's ``max_output``, or is not a number of bytes. Also a container
    in an attribute or a local name that grows (``self.held += data``, ``self.lines.append(line)``,
    ``self.seen[key] = data``) in a state that may come again or in a loop that awaits, unless code there removes from
    it, empties it, sets it anew or measures it, or a test counts the rounds.

    *Timeout*: a wait that has no timeout of its own or from its class, or whose timeout is ``math.inf``. A
    ``Delay(math.inf)`` is no mistake: it waits until another row ends this one.

    *End of the stream*: a handler need not handle it, because the machine ends the request, cleanly between messages
    and else with the cause as its reason. There is a warning for an ``except`` or ``suppress`` in a loop that catches
    `EndOfStream` and never leaves the loop, and for an `interrupted` that waits for more input whatever the cause is.

    *Resources*: a handler that opens, connects or acquires something and keeps it, or adds itself to a container of
    other code, and that has neither `finish` nor `interrupted`, nor ``with`` or ``finally`` around it.

    *Blocking*: a state that calls a function which waits for something outside, such as ``time.sleep``: the loop, and
    with it every other request, stands still until it returns.

    *Steps*: a statement that makes a wait, or a step, and neither returns nor awaits it, or calls a coroutine and does
    not await it.

    Code whose effect cannot be told without running it gives no warning: a computed limit or timeout, a wait that a
    function elsewhere constructs, a container that comes from other code or is passed to it. `check` finds such
    mistakes.

    Raises `TypeError` for a blocking handler that does not declare ``request``, and ``OSError`` if there is no source.

    >>> from handlers.services import Echo
    >>> lint(Echo)
    []
    """
    subject = Subject(kind)
    source = Source(subject.handler)
    found: list[Finding] = []
    for method in source.methods:
        for rule in (_waits, _swallows, _leaves_behind):
            found.extend(rule(method))
    found.extend(_interrupted(source))
    certain = (*dropped(subject.kind), *blocking(subject.kind))
    found.extend(Finding(fault.method, fault.line, fault.message) for fault in certain)
    for method, node, name in Growth(source).found():
        found.append(_finding(method, node, f"{name} grows, but nothing cuts or measures it"))
    if subject.blocking:  # its source has no states, only the declaration of its wait
        lines, first = inspect.getsourcelines(subject.kind)
        line = next((number for number, line in enumerate(lines, first) if line.strip().startswith("request")), first)
        found = [Finding("request", line, finding.message) for finding in found]
    return sorted(set(found), key=lambda finding: finding.line)


def _finding(method: Method, node: ast.AST, message: str) -> Finding:
    return Finding(method.name, getattr(node, "lineno", method.tree.lineno), message)


# Bound and timeout


def _waits(method: Method) -> Iterator[Finding]:
    for node in ast.walk(method.tree):
        if isinstance(node, ast.Call):
            wait = method.value(node.func)
            if isinstance(wait, type) and issubclass(wait, Wait):
                for what in _lacks(method.source, wait, _arguments(method, wait, node)):
                    yield _finding(method, node, f"waits for {ast.unparse(node)} without {what}")
        elif isinstance(node, ast.Attribute) or (isinstance(node, ast.Name) and not method.is_local(node.id)):
            value = method.value(node)
            if isinstance(value, Wait):
                said = {name: getattr(value, name) for name in ("limit", "timeout") if hasattr(value, name)}
                for what in _lacks(method.source, type(value), said):
                    yield _finding(method, node, f"waits for {ast.unparse(node)}, {value!r}, without {what}")


def _arguments(method: Method, wait: type[Wait], call: ast.Call) -> dict[str, Any]:
    """The arguments of a call that constructs a wait, by parameter, with defaults; empty if they are unknown."""
    parameters = inspect.signature(wait).parameters.values()
    said = {parameter.name: parameter.default for parameter in parameters}
    places = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(not word.arg for word in call.keywords):
        return {}
    positional = zip(places, call.args, strict=False)  # further arguments are those of the function that the wait calls
    keywords = ((word.arg or "", word.value) for word in call.keywords)
    return said | {name: method.value(value) for name, value in (*positional, *keywords)}


def _lacks(source: Source, wait: type[Wait], said: dict[str, Any]) -> Iterator[str]:
    """What a wait of the class ``wait`` with the arguments ``said`` lacks."""
    limit, most = said.get("limit", OPAQUE), source.kind.max_output  # type: ignore[attr-defined]
    if issubclass(wait, StreamWait) and limit is not OPAQUE and not (isinstance(limit, int) and limit <= most):
        yield "a limit of at most max_output"
    timeout = OPAQUE if issubclass(wait, Delay) else said.get("timeout", OPAQUE)
    if timeout is None:
        timeout = OPAQUE if "timeout" in source.stored else source.kind.timeout  # type: ignore[attr-defined]
    kind: Any = source.kind
    if (timeout is None or timeout == inf) and kind.idle_timeout is None and kind.request_timeout is None:
        yield "a timeout"


# The end of the stream


def _swallows(method: Method) -> Iterator[Finding]:
    if issubclass(method.source.kind, DatagramHandler):
        return
    message = "catches the end of the stream and goes on, although no more input can come"
    for loop in endless_loops(method):
        for node in ast.walk(loop):
            if isinstance(node, (ast.Try, ast.With)) and may_read(method, node.body):
                asked = _asked(loop, node)
                for place, body in _catching(method, node):
                    goes_on = not body or not isinstance(body[-1], ast.Continue)
                    tried = goes_on and _leaves(method, node.body, asked, ())
                    if not tried and not _leaves(method, body, asked, _WAYS_OUT):
                        yield _finding(method, place, message)


def _catching(method: Method, node: ast.Try | ast.With) -> Iterator[tuple[ast.AST, list[ast.stmt]]]:
    """The clauses that catch the end of the stream, with their bodies."""
    if isinstance(node, ast.Try):
        for handler in node.handlers:
            if any(issubclass(EndOfStream, kind) for kind in method.caught(handler)):
                yield handler, handler.body
                return  # the clauses after it do not see the exception
    else:
        for call in (item.context_expr for item in node.items):
            kinds = [kind for part in getattr(call, "args", ()) for kind in method.classes(part)]
            suppresses = isinstance(call, ast.Call) and method.value(call.func) is suppress
            if suppresses and any(issubclass(EndOfStream, kind) for kind in kinds):
                yield call, []


def _asked(loop: ast.AST, tried: ast.AST) -> set[str]:
    """The expressions in the tests that may leave the loop, without those inside ``tried``."""
    tests = [getattr(loop, "test", None)]
    for node in set(ast.walk(loop)) - set(ast.walk(tried)):
        if isinstance(node, ast.Assert) or any(isinstance(part, _WAYS_OUT) for part in ast.walk(node)):
            tests += [getattr(node, "test", None), getattr(node, "subject", None)]
    return {ast.unparse(node) for test in tests if test is not None for node in ast.walk(test)}


def _leaves(method: Method, body: list[ast.stmt], asked: set[str], ways: tuple[type[ast.AST], ...]) -> bool:
    """Whether ``body`` leaves the loop, or sets something that is ``asked`` for by a test that leaves it."""
    for node in (node for part in body for node in ast.walk(part)):
        if isinstance(node, ways) or (isinstance(node, ast.Await) and _rests(method, node.value)):
            return True
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            if ast.unparse(node) in asked:
                return True
        elif isinstance(node, ast.Call):
            for other in method.callables(node.func):
                own = other.owner is not None and other.owner.__module__ != CONTRACT
                if own and other.tree is not method.tree and _leaves(other, other.tree.body, asked, (ast.Raise,)):
                    return True
    return False


def _rests(method: Method, node: ast.expr) -> bool:
    """Whether the expression is ``Delay(math.inf)``, which waits until another row ends this one."""
    return method.wait(node) is Delay and any(method.value(part) == inf for part in getattr(node, "args", ()))


def _interrupted(source: Source) -> Iterator[Finding]:
    method = source.find("interrupted")
    if method is not None and not any(may_end(method, cause) for cause in (EndOfStream, TimedOut)):
        returned = (node.value for node in within(method.tree) if isinstance(node, ast.Return))
        step = next(node for node in returned if not isinstance(node, (ast.Constant, type(None))))
        yield _finding(method, step, "returns a step whatever the cause is, even if no more input can come")


# Resources


def _leaves_behind(method: Method) -> Iterator[Finding]:
    kind = method.source.kind
    if kind.finish is not Handler.finish or kind.interrupted is not Handler.interrupted:  # type: ignore[attr-defined]
        return
    for node in _unguarded(method.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        if method.callables(node.func):
            continue  # a function with source, which is read too
        if (called in _TAKING and _stays(method, node, called)) or method.value(node.func) is Connected:
            yield _finding(method, node, f"the result of {ast.unparse(node)} stays open if the request is cut short")
        elif called in _ENTERING and any(method.is_own(argument) for argument in node.args):
            container = ast.unparse(node.func)[: -len(called) - 1]
            yield _finding(method, node, f"the handler stays in {container} after its request has ended")


def _stays(method: Method, call: ast.Call, called: str) -> bool:
    """Whether the result outlives the state. The value of a local name does so only in a coroutine."""
    if isinstance(method.tree, ast.AsyncFunctionDef):
        return True
    nodes = list(ast.walk(method.tree))
    if called == "acquire":
        return not any(isinstance(node, ast.Attribute) and node.attr == "release" for node in nodes)
    kept = (node for node in nodes if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name))
    return called == "mkdtemp" or any(call in ast.walk(node.value) for node in kept)


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are not inside a ``with``, or a ``try`` with ``finally``, nor directly before such a ``try``."""
    for child, following in pairwise([*ast.iter_child_nodes(node), ast.Pass()]):
        if not (_cleans_up(child) or _cleans_up(following) or isinstance(child, (ast.With, ast.AsyncWith))):
            yield child
            yield from _unguarded(child)


def _cleans_up(node: ast.AST) -> bool:
    return isinstance(node, ast.Try) and bool(node.finalbody)
