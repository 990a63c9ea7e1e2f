"""The registry: each module of peers notes its servers here, by the service that they give."""

from __future__ import annotations

from collections.abc import Callable
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
