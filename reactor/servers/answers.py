"""The end of the answers of blocking handlers to requests that have come whole, when their server closes."""

from __future__ import annotations

from .in_hand import is_answering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .service import Service


def finish_answers(service: Service) -> None:
    """The server closes: run the loop until no thread or child answers any more, as ``block_on_close`` has it.

    Then end the server's rows, before the mode waits for threads and children, which may wait for the loop. Where the
    loop runs already, the answers are not waited for.
    """
    if not service.has_reactor:
        return
    reactor, server = service.reactor, service.server
    if not (reactor.running or reactor.working_here) and getattr(server, "block_on_close", False):
        answers = {row: row.channel.wait for row in reactor.table if row.owner is service and is_answering(row)}
        reactor.run_while(
            lambda: any(row in reactor.table and (row.channel.wait is answers[row] or row.held_out) for row in answers)
        )
    reactor.cancel([row for row in reactor.table if row.owner is service and row.reactor is reactor])
