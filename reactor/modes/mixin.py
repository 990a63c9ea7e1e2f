"""`ModeMixIn`: the base class of the mix-ins of the modes."""

from __future__ import annotations

import sys

from ..servers.base import BaseServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ModeMixIn:
    """A mix-in that stands in front of a server class of this package."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise `TypeError` in front of a server of the module ``socketserver``, which has no rows."""
        super().__init_subclass__(**options)
        theirs = getattr(sys.modules.get("socketserver"), "BaseServer", BaseServer)
        if theirs is BaseServer or not issubclass(cls, theirs):
            return
        mixin = next(base for base in cls.__mro__ if ModeMixIn in base.__bases__)
        instead = mixin.__name__.replace("MixIn", "TCPServer")
        server = next(base for base in cls.__mro__ if issubclass(base, theirs) and not issubclass(base, ModeMixIn))
        package = __package__.partition(".")[0]
        raise TypeError(
            f"{cls.__name__}: {mixin.__name__} of {package} needs a server of {package} behind it, and "
            f"{server.__name__} is a server of socketserver: derive from {package}.{instead}, which serves the same "
            f"handlers"
        )
