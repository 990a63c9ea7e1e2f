"""`Lookup`: asks one name server for the addresses of a name (RFC 1035), for `names.resolve`. Needs dnspython."""

from __future__ import annotations

from ..handlers import Cause, DatagramHandler, Event, Packet

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rdatatype
except ImportError as error:
    raise ImportError(f"a lookup without threads needs dnspython: pip install 'dnspython>=2.6' ({error})") from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers.handler import Step

KINDS = "A", "AAAA"
"""The types of the records that are asked for."""

STRAYS = 16
"""Packets that are no answer to a query, after which the lookup fails."""


class Lookup(DatagramHandler):
    """Asks for the A and AAAA records of ``name``; ``done`` is set to a list of addresses.

    The list is empty if the name has none. ``done`` is set to ``None`` if the server has not answered in ``timeout``
    seconds, fails, refuses, or does not have the whole answer in one packet. If it does so with one of the two queries,
    the addresses that it gives to the other count.

    The kernel chooses the port and dnspython the ID of each query at random, and the socket takes packets of the server
    only, so that an answer is hard to forge (RFC 5452).
    """

    def __init__(self, name: str, timeout: float) -> None:
        self.timeout = timeout
        self.request_timeout = timeout
        self.name = name
        self.done = Event()
        self._found: dict[str, list[str] | None] = {}  # by the type of the records

    async def handle(self) -> Step:
        try:
            queries = {kind: dns.message.make_query(self.name, kind) for kind in KINDS}
        except dns.exception.DNSException:  # no name of the DNS at all
            self.done.set([])
            return None
        for query in queries.values():
            self.send(query.to_wire())
        for _ in range(STRAYS):
            answer = self._read(await Packet())
            for kind, query in queries.items():  # their IDs may be the same
                if answer is not None and query.is_response(answer):
                    self._found[kind] = addresses(answer)
            if len(self._found) == len(KINDS):
                break
        return None

    def _read(self, packet: bytes) -> Any:
        try:
            return dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return None

    def interrupted(self, cause: Cause) -> Step:
        return None

    def finish(self) -> None:
        if not self.done.is_set:
            several = [self._found.get(kind) for kind in KINDS]
            is_answer = any(several) or None not in several
            self.done.set([address for some in several for address in some or ()] if is_answer else None)


def addresses(answer: Any) -> list[str] | None:
    """The addresses that the answer gives for the name that was asked for, its aliases followed.

    ``None`` if the server has failed, or its answer is cut.
    """
    if answer.flags & dns.flags.TC or answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    try:
        records = answer.resolve_chaining().answer
    except dns.exception.DNSException:
        return []
    return [] if records is None else [record.address for record in records]
