"""Authentication: mix-ins for handlers, and what they share.

A mix-in is a base class that is named before the handler's class; the handler may be made of states or be a coroutine.
When the peer has been authenticated, `Handler.principal` is its name, and the handler begins. Nothing here encrypts:
see `reactor.tls`.

`store`       credentials by name: the interface `Store`, and hashes of passwords
`attempts`    limits: how often a peer may fail, and how many checks run at once
`challenge`   client and server have a shared key, and prove that to each other (HMAC)
`sasl`        SASL (RFC 4422) for any protocol; the mechanisms PLAIN and EXTERNAL
`scram`       the mechanisms SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 7677); needs ``scramp``
`unix`        checks the user at the other end of a Unix socket
`basic`       HTTP Basic (RFC 7617) for the handlers of ``http.server``
`prepare`     normalizes names and passwords (RFC 4013)

Authentication of datagrams by a MAC is a filter: `reactor.mac`.
"""

from .attempts import Attempts, Refused
from .store import DUMMY, Credentials, dummy, hash_password, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .store import Store as Store

__all__ = ["DUMMY", "Attempts", "Credentials", "Refused", "dummy", "hash_password", "verify"]
