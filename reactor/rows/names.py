"""`resolve`: looks up the addresses of a host without blocking the loop, as a coroutine of waits.

`Connected` with a host name calls ``getaddrinfo(3)`` in the loop, which may wait for a name server for many seconds.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from ..handlers import Connected, Failed, Happened, Threaded
from .connecting import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..handlers.waits import Address

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"

ATTEMPTS = 2
"""How often each name server is asked."""


class Resolved(Threaded):
    """The result of ``getaddrinfo(3)``, which runs in a thread. A simulated network answers instead of the host."""

    __slots__ = ()


async def resolve(
    host: str, port: int, *, servers: Sequence[str | tuple[str, int]] | None = None, timeout: float = 5.0
) -> list[Any]:
    """The addresses of ``host``, in the order in which to try them: ``address`` arguments for `Connected`.

    An IP address is returned as it is. Otherwise ``getaddrinfo(3)`` runs in a thread (`Threaded`), so all of the host's
    configuration applies. Where the host has no threads, or if ``servers`` are given, `hosts` is looked at first; then
    the name servers are asked over UDP (RFC 1035), each twice, for ``timeout`` seconds a time. That needs dnspython
    (``pip install select-reactor[dns]``). By default they are those of ``/etc/resolv.conf`` (`name_servers`); names are
    taken as they are, without its search list.

    Raises `Failed`, with a ``socket.gaierror``, for a name that has no address and for servers that do not answer, and
    `TimedOut` if a thread takes longer than ``timeout``.

        async def handle(self):
            for address in await resolve("mail.example.org", 25): ...
    """
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return [(host, port)]
    if servers is None:
        try:
            return await _by_thread(host, port, timeout)
        except Failed as failed:
            if not isinstance(failed.error, RuntimeError):  # which says that there are no threads
                raise
    found = hosts().get(_plain(host)) or await _by_servers(host, servers, timeout)
    return [(address, port) for address in found]


async def _by_thread(host: str, port: int, timeout: float) -> list[Any]:
    try:
        name = encoded(host)
    except UnicodeError as error:
        raise _failed(host, "EAI_NONAME", f"{host!r} is no name: {error}") from None
    found: Any = await Resolved(socket.getaddrinfo, name, port, 0, socket.SOCK_STREAM, timeout=timeout)
    return list(dict.fromkeys(address for *_, address in found))


async def _by_servers(host: str, servers: Sequence[str | tuple[str, int]] | None, timeout: float) -> list[str]:
    from .dns import Lookup  # only here, for it needs dnspython

    lookup: Any
    for server in list(name_servers() if servers is None else servers) * ATTEMPTS:
        address: Address = server if isinstance(server, tuple) else (server, 53)
        lookup = Lookup(host, timeout)
        try:
            await Connected(address, lookup)
        except Failed:
            continue
        addresses: Any = await Happened(lookup.done)
        if addresses is not None:
            break
    else:
        raise _failed(host, "EAI_AGAIN", "no name server answers")
    if not addresses:
        raise _failed(host, "EAI_NONAME", f"{host} has no address")
    return list(addresses)


def _failed(host: str, name: str, what: str) -> Failed:
    """The cause of a look-up that has failed; ``name`` is that of the error (``getaddrinfo(3)``)."""
    return Failed(Resolved(socket.getaddrinfo, host), socket.gaierror(getattr(socket, name, -2), what))


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def hosts(path: str = HOSTS) -> dict[str, list[str]]:
    """The addresses of each name in the file (``hosts(5)``), in its order; empty if there is no such file."""
    found: dict[str, list[str]] = {}
    for address, *names in _fields(path):
        try:
            ip_address(address.partition("%")[0])
        except ValueError:
            continue
        for name in names:
            found.setdefault(_plain(name), []).append(address)
    return found


def name_servers(path: str = RESOLV_CONF) -> list[str]:
    """The name servers in the file (``resolv.conf(5)``), three at most; the one of this host if there are none."""
    return [fields[1] for fields in _fields(path) if fields[0] == "nameserver" and len(fields) > 1][:3] or ["127.0.0.1"]


def _fields(path: str) -> Iterable[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    fields = (line.partition("#")[0].partition(";")[0].split() for line in lines)
    return [found for found in fields if found]
