"""Calls in the states of a handler that wait for something outside, from the source: the loop stands still meanwhile.

The source shows what no run does, for the call may be in a branch that no conversation of a test reaches.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from ...handlers.handler import Handler
from .dropped import Fault, Reader, functions_of, within
from .report import fail, held_in_time
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    readers = [Reader(kind, owner, function) for owner, function in functions_of(kind)]
    made = {name: text for reader in readers for name, text in _made(reader)}
    states = _states(readers)
    return [fault for reader in readers if reader.name in states for fault in _blocks(reader, made)]


@held_in_time
def calls_nothing_that_blocks(kind: Any) -> None:
    """No state calls a function that waits for something outside, such as ``time.sleep``.

    Until it returns, the loop and with it every other request stands still. The property reads the source of the
    states of a handler class, and of its methods that they call. What `Forked` or `Threaded` calls may wait. A blocking
    handler of ``socketserver``'s kind may, too. A handler for fork and thread mode only says
    ``check(..., meant=["calls_nothing_that_blocks"])``.

    >>> from handlers.services import Echo
    >>> calls_nothing_that_blocks(Echo)
    """
    subject = Subject(kind)
    for fault in blocking(subject.kind):
        fail(subject, str(fault), "calls_nothing_that_blocks", f"calls_nothing_that_blocks({subject.text})")


def _made(reader: Reader) -> Iterator[tuple[str, str]]:
    """The variables and attributes that the method gives a new object, each with the name of its class."""
    for node in within(reader.tree):
        pairs: Iterable[tuple[ast.expr | None, ast.expr | None]] = ()
        if isinstance(node, ast.Assign):
            pairs = ((target, node.value) for target in node.targets)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.withitem):
            pairs = [(node.optional_vars, node.context_expr)]
        for target, value in pairs:
            if target is not None and isinstance(value, ast.Call):
                name = _name(reader.value(value.func))
                made = "socket.socket" if name == "socket.create_connection" else name
                yield ast.unparse(target), made


def _states(readers: list[Reader]) -> set[str]:
    """The names of the methods that run in the loop: the states, and what they call."""
    reached = {reader.name for reader in readers if reader.is_coroutine or reader.name in _BEGINNING}
    for reader in readers:
        for node in within(reader.tree):
            if isinstance(node, ast.Tuple) and reader.is_step(node):
                reached |= {part.attr for rest in node.elts[1:] for part in ast.walk(rest) if reader.is_own(part)}
    called = {
        reader.name: {node.func.attr for node in within(reader.tree) if isinstance(node, ast.Call)
                      and reader.is_own(node.func)}
        for reader in readers
    }  # fmt: skip
    left = list(reached)
    while left:
        for name in called.get(left.pop(), set()) - reached:
            reached.add(name)
            left.append(name)
    return reached


def _blocks(reader: Reader, made: dict[str, str]) -> Iterator[Fault]:
    for node in within(reader.tree):
        if isinstance(node, ast.Call) and not _says_not_to_wait(node):
            name = _name(reader.value(node.func))
            if isinstance(node.func, ast.Attribute):
                text = ast.unparse(node.func.value)
                is_ready = text in made and f"{text}.setblocking(False)" in reader.text
                name = f"{made[text]}.{node.func.attr}" if text in made and not is_ready else name
            if name in _FUNCTIONS or name in _METHODS:
                remedy = "wait for Delay" if name == "time.sleep" else "wait for Threaded with this function"
                yield reader.fault(node, f"{ast.unparse(node)} blocks every other request: {remedy}")


def _name(called: Any) -> str:
    return f"{getattr(called, '__module__', '')}.{getattr(called, '__qualname__', '')}"


def _says_not_to_wait(call: ast.Call) -> bool:
    """Whether an argument is 0 or False: then the function looks, and does not wait."""
    said = [*call.args, *(word.value for word in call.keywords if word.arg in _WHETHER)]
    return any(isinstance(value, ast.Constant) and value.value in (0, False) for value in said)
