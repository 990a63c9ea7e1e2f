"""The servers that are measured, by the service that they give.

``python3 -m tests.benchmarks.peers SERVICE NAME [PORT]`` serves in a process of its own, which prints its port,
answers questions about itself on standard input, and ends when standard input does. ``--names`` prints those that can
serve here: a peer whose package can not be imported is left out, so only the standard library is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

Serve = Callable[..., object]
"""Serves a listening socket, and for the service ``relay`` the port to which each connection is relayed."""


class Peer(NamedTuple):
    """A server, and the modules that it needs."""

    serve: Serve
    needs: tuple[str, ...]


SERVICES: dict[str, dict[str, Peer]] = {}
"""The peers of each service, by their names."""


def serves(service: str, name: str, *needs: str) -> Callable[[Any], Any]:
    """A decorator: the function gives the service under this name, if the modules can be imported."""

    def noted(serve: Any) -> Any:
        SERVICES.setdefault(service, {})[name] = Peer(serve, needs)
        return serve

    return noted


def names() -> dict[str, list[str]]:
    """The names of the peers that can serve here, by their services."""
    from . import gevents, ours, redis, standard, streams, tornados, trios, twisteds  # noqa: F401 - each notes its peers

    return {
        service: [name for name, peer in peers.items() if all(map(find_spec, peer.needs))]
        for service, peers in SERVICES.items()
    }
