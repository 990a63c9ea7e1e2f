"""`SelectUDPServer`: select mode over UDP."""

from __future__ import annotations

from ..servers.udp import UDPServer
from .select import SelectMixIn


class SelectUDPServer(SelectMixIn, UDPServer):
    """UDP, one loop for all exchanges."""
