"""The states of a handler class and the steps between them, as text, for Graphviz and for Mermaid.

`observed` has the steps that a conversation takes, `written` the steps that the source has. Each observed step should
also be a written one, unless `written` cannot read it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers.handler import Handler
from ..running.run import Run
from ..running.schedule import END
from ..running.subject import Subject
from .steps import LAST, Reader, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import Cause, Machine, World

FIRST = "handle"
"""The state in which every request begins."""


class Edge(NamedTuple):
    """A step from one state to another."""

    state: str
    wait: str
    """The wait between them, or the name of the cause that ended the request; may be empty."""
    to: str


class Diagram:
    """States and the steps between them.

    A state is a method, or in a coroutine the line of an await, as in the reactor's table: ``handle:12``. The place
    ``finished`` is the end of the request; a state of that name is shown as ``finished()``.
    """

    def __init__(self, name: str, edges: Iterable[Edge]) -> None:
        self.name = name
        self.edges = list(dict.fromkeys(edges))
        """Each step once, in the order of their discovery."""

    @property
    def states(self) -> list[str]:
        """All states, `FIRST` first."""
        found = dict.fromkeys([FIRST])
        for edge in self.edges:
            found |= dict.fromkeys([edge.state, edge.to])
        return [state for state in found if state != LAST]

    def text(self) -> str:
        """The steps as lines of text, grouped by state.

        >>> from handlers.services import EchoDatagram
        >>> print(written(EchoDatagram).text())
        EchoDatagram
          handle  Packet()  -> echo
          echo              -> finished
        """
        rows = [edge for state in self.states for edge in self.edges if edge.state == state]
        first, second = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
        lines = [f"  {row.state:{first}}  {row.wait:{second}}  -> {row.to}" for row in rows]
        return "\n".join([self.name, *lines])

    def dot(self) -> str:
        """The diagram in the language of Graphviz."""
        lines = [f"digraph {_quoted(self.name)} {{", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
        lines += [f"    {_quoted(state)};" for state in self.states]
        lines.append(f"    {_quoted(LAST)} [shape=doublecircle, label={_quoted('')}];")
        for state, wait, to in self.edges:
            lines.append(f"    {_quoted(state)} -> {_quoted(to)} [label={_quoted(wait)}];")
        return "\n".join([*lines, "}"])

    def mermaid(self) -> str:
        """The diagram in the language of Mermaid (``stateDiagram-v2``)."""
        names = {state: f"s{number}" for number, state in enumerate(self.states)}
        lines = ["stateDiagram-v2", *(f"    {names[state]}: {_escaped(state)}" for state in names), "    [*] --> s0"]
        for state, wait, to in self.edges:
            label = f": {_escaped(wait)}" if wait else ""
            lines.append(f"    {names[state]} --> {names.get(to, '[*]')}{label}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def _quoted(text: str) -> str:
    """A quoted string of Graphviz, in which backslashes and ampersands begin escape sequences."""
    text = text.replace("&", "&amp;")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """The text with Mermaid's special characters as numbers.

    Those are all but letters, digits, blanks and a few others. Mermaid also reads the word ``direction`` anywhere, so
    its first letter becomes a number too.
    """
    return re.sub(r"[^\w ().,='-]|d(?=irection )", lambda found: f"#{ord(found[0])};", text)


def written(kind: Any) -> Diagram:
    """The diagram of a handler class as its source has it.

    It reads ``return (wait, self.state)``, ``return None``, ``return self.other()`` and ``return super().state()``, in
    a coroutine each ``await``, and `interrupted` if the class defines it. A step, a wait or a state may have a local
    name or come from a helper. Any other returned expression is shown as it is written and leads to the state ``?``. A
    cause may end the request in every state; the diagram does not show this.

    Raises ``OSError`` if there is no source.
    """
    subject = Subject(kind)
    return Diagram(subject.name, (Edge(*step) for step in Reader(subject.handler).steps()))


def observed(kind: Any, conversation: bytes | Iterable[bytes], world: World | None = None) -> Diagram:
    """The diagram of the steps that a handler takes for ``conversation``, byte by byte, and for the end of the stream.

    >>> from handlers.services import Echo
    >>> print(observed(Echo, b"hi"))
    Echo
      handle  Some(65536)  -> echo
      echo    Some(65536)  -> echo
      echo                 -> finished
    """
    subject = Subject(kind, world)
    pieces = subject.conversation(conversation)
    edges: list[Edge] = []
    machine = _recording(subject.machine, edges)
    if subject.handler.interrupted is not Handler.interrupted:

        class Recorded(subject.handler):  # type: ignore[name-defined, misc]
            def interrupted(self, cause: Cause) -> Any:
                self._machine.go(type(cause).__name__, "interrupted")
                return super().interrupted(cause)

        subject.handler = Recorded
    run = Run(subject, machine=machine)
    for piece in pieces:
        for step in [piece] if subject.packets else [piece[place : place + 1] for place in range(len(piece))]:
            run.step(step)
    if not subject.packets:
        run.step(END)
    run.finish(to_the_end=True)
    diagram = Diagram(subject.name, edges)
    run.close()
    return diagram


def _recording(kind: Any, edges: list[Edge]) -> type[Machine]:
    """A machine class that adds a step to ``edges`` when a wait begins and when the request ends."""

    class Recorder(kind):  # type: ignore[misc]
        at = FIRST
        begun = False

        @property
        def fresh(self) -> bool:
            return self.begun

        @fresh.setter
        def fresh(self, begun: bool) -> None:
            self.begun = begun
            if begun and self.wait is not None:
                self.go(repr(self.wait), self.shown())
            elif begun:
                self.go("" if self.reason is None else type(self.reason).__name__, LAST)

        def go(self, wait: str, to: str) -> None:
            edges.append(Edge(self.at, wait, to))
            self.at = to

        def shown(self) -> str:
            state = self.state
            while isinstance(state, partial):
                state = state.func
            plain = state is self.state and hasattr(state, "__name__")
            return shown(self.state_name if plain else getattr(state, "__name__", type(state).__name__))

    return Recorder
