"""Authentication: mix-ins that go in front of a handler, and what they share.

A mix-in is a class in front of a handler, which may be made of states or be a coroutine; when the peer has been
authenticated, `Handler.principal` is its name, and the handler begins. Encryption is another matter: see `reactor.tls`.

`store`       what is kept for each name: an interface with one method, and hashes of passwords
`attempts`    how often a peer may fail, and how many are checked at once
`challenge`   both ends have a key, and prove it to each other (HMAC)
`sasl`        a table of mechanisms that a protocol frames (RFC 4422): PLAIN, EXTERNAL
`scram`       SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 7677); needs ``scramp``
`unix`        the user at the other end of a Unix socket
`basic`       HTTP Basic (RFC 7617) in front of the handlers of ``http.server``
`prepare`     names and passwords in one form (RFC 4013)

The MAC of datagrams is a filter: `reactor.mac`.
"""

from .attempts import Attempts, Refused
from .store import DUMMY, Credentials, dummy, hash_password, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .store import Store as Store

__all__ = ["DUMMY", "Attempts", "Credentials", "Refused", "dummy", "hash_password", "verify"]
