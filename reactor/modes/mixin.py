"""What the mix-ins of the modes have in common: the servers that they go in front of."""

from __future__ import annotations

import sys

from ..servers.base import BaseServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ModeMixIn:
    """A mix-in in front of this package's servers."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Raises `TypeError` in front of a server of the module ``socketserver``: no such server has rows."""
        super().__init_subclass__(**options)
        theirs = getattr(sys.modules.get("socketserver"), "BaseServer", BaseServer)
        if theirs is BaseServer or not issubclass(cls, theirs):
            return
        mixin = next(base for base in cls.__mro__ if ModeMixIn in base.__bases__)
        instead = mixin.__name__.replace("MixIn", "TCPServer")
        server = next(base for base in cls.__mro__ if issubclass(base, theirs) and not issubclass(base, ModeMixIn))
        package = __package__.partition(".")[0]
        raise TypeError(
            f"{cls.__name__}: {mixin.__name__} of {package} goes in front of servers of {package}, and "
            f"{server.__name__} is a server of socketserver: derive from {package}.{instead}, which serves the same "
            f"handlers"
        )
