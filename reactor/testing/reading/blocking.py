"""Calls in the states of a handler that wait for something outside, from the source: the loop stands still meanwhile.

The source shows what no run does, for the call may be in a branch that no conversation of a test reaches.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from ...handlers.handler import Handler
from .dropped import Fault, fault_at, is_step, methods_of
from .source import reached, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .source import Method

_FUNCTIONS = frozenset({
    "time.sleep", "builtins.input", "getpass.unix_getpass", "socket.create_connection", "socket.getaddrinfo",
    "socket.getfqdn", "_socket.gethostbyname", "_socket.gethostbyaddr", "_socket.getnameinfo", "select.select",
    "subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output", "subprocess.getoutput",
    "posix.system", "posix.wait", "posix.waitpid", "nt.system", "os.popen", "asyncio.runners.run",
    "urllib.request.urlopen", "urllib.request.urlretrieve", "smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP",
    "imaplib.IMAP4", "poplib.POP3", "requests.api.get", "requests.api.post", "requests.api.request",
})  # fmt: skip
"""Functions that wait for something outside, by the module that defines them."""

_METHODS = frozenset({
    "socket.socket.connect", "socket.socket.recv", "socket.socket.recv_into", "socket.socket.recvfrom",
    "socket.socket.accept", "socket.socket.sendall", "subprocess.Popen.wait", "subprocess.Popen.communicate",
    "http.client.HTTPConnection.request", "http.client.HTTPConnection.getresponse",
    "http.client.HTTPSConnection.request", "http.client.HTTPSConnection.getresponse", "queue.Queue.get",
    "queue.Queue.join", "threading.Event.wait", "threading.Condition.wait", "threading.Barrier.wait",
    "threading.Thread.join",
})  # fmt: skip
"""Methods that do, of an object that the handler makes or that is a variable of its module."""

_WHETHER = "block", "blocking", "timeout"
_BEGINNING = "handle", "interrupted"


def blocking(kind: type) -> list[Fault]:
    """The calls in the states of a handler class, and in the methods that they call, that wait. No source: none."""
    if not issubclass(kind, Handler):  # a blocking handler may block: in fork and thread mode nobody waits for it
        return []
    methods = methods_of(kind)
    made = {name: text for method in methods for name, text in _made(method)}
    states = _states(methods)
    return [fault for method in methods if method.attribute in states for fault in _blocks(method, made)]


def _made(method: Method) -> Iterator[tuple[str, str]]:
    """The variables and attributes that the method gives a new object, each with the name of its class."""
    for node in within(method.tree):
        pairs: Iterable[tuple[ast.expr | None, ast.expr | None]] = ()
        if isinstance(node, ast.Assign):
            pairs = ((target, node.value) for target in node.targets)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.withitem):
            pairs = [(node.optional_vars, node.context_expr)]
        for target, value in pairs:
            if target is not None and isinstance(value, ast.Call):
                name = _name(method.value(value.func))
                made = "socket.socket" if name == "socket.create_connection" else name
                yield ast.unparse(target), made


def _states(methods: list[Method]) -> set[str]:
    """The names of the methods that run in the loop: the states, and what they call."""
    begun = {one.attribute for one in methods if isinstance(one.tree, ast.AsyncFunctionDef)} | {*_BEGINNING}
    edges: dict[str, set[str]] = {}
    for method in methods:
        for node in within(method.tree):
            if isinstance(node, ast.Tuple) and is_step(method, node):
                begun.update(*(_own_names(method, rest) for rest in node.elts[1:]))
            elif isinstance(node, ast.Call):
                edges.setdefault(method.attribute, set()).update(_own_names(method, node.func))
    return begun.union(*(reached(edges, name) for name in begun))


def _own_names(method: Method, node: ast.expr) -> set[str]:
    """The attributes of ``self`` in an expression."""
    attributes = (part for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return {part.attr for part in attributes if method.is_own(part.value)}


def _blocks(method: Method, made: dict[str, str]) -> Iterator[Fault]:
    for node in within(method.tree):
        if isinstance(node, ast.Call) and not _says_not_to_wait(node):
            name = _name(method.value(node.func))
            if isinstance(node.func, ast.Attribute):
                text = ast.unparse(node.func.value)
                is_ready = text in made and f"{text}.setblocking(False)" in ast.unparse(method.tree)
                name = f"{made[text]}.{node.func.attr}" if text in made and not is_ready else name
            if name in _FUNCTIONS or name in _METHODS:
                remedy = "wait for Delay" if name == "time.sleep" else "wait for Threaded with this function"
                yield fault_at(method, node, f"{ast.unparse(node)} blocks every other request: {remedy}")


def _name(called: Any) -> str:
    return f"{getattr(called, '__module__', '')}.{getattr(called, '__qualname__', '')}"


def _says_not_to_wait(call: ast.Call) -> bool:
    """Whether an argument is 0 or False: then the function looks, and does not wait."""
    said = [*call.args, *(word.value for word in call.keywords if word.arg in _WHETHER)]
    return any(isinstance(value, ast.Constant) and value.value in (0, False) for value in said)
