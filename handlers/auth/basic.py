"""`Basic`: HTTP Basic (RFC 7617) in front of the blocking handlers of ``http.server``.

Each request carries the password in clear text, so use it behind TLS only. `Basic` blocks while it checks a password:
in select mode it runs in a thread.

    class Page(Basic, http.server.SimpleHTTPRequestHandler):
        store = users
        request = Until(b"\\r\\n\\r\\n")       # the framing, for select mode
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from queue import Empty, SimpleQueue

from .attempts import POLL, TOO_MANY, Attempt, Attempts, Refused, network_of
from .prepare import saslprep
from .store import DUMMY, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler as _Base
    from typing import Any

    from .store import Store
else:
    _Base = object

_MAX_HEADER = 8192  # bytes of the header's value
_NOTHING: SimpleQueue[None] = SimpleQueue()  # nothing is ever put into it


class Basic(_Base):
    """Handles requests with a right name and password; answers others with 401, or with 503 beyond the limits.

    A base class before a class that is derived from ``http.server.BaseHTTPRequestHandler``. `principal` is the name,
    and is set on the row of the request too. The same credentials are checked once for each connection.
    """

    store: Store
    """The credentials. Every class needs it."""

    realm = "restricted"
    """The realm (RFC 7235, section 2.2), which clients show to the user: printable ASCII without quotes."""

    attempts = Attempts()
    """The limits of attempts; one object for all requests."""

    dummy = DUMMY
    """The hash that is verified for an unknown name. It must have the same cost as the hashes of the store."""

    work = "thread"
    principal: str | None = None
    """The name of the client."""

    _known = ("", "")  # the last header on this connection whose credentials were right, and the name in it

    def parse_request(self) -> bool:
        """Read the request's head and check its credentials. ``False`` if the request has been answered."""
        if not super().parse_request():
            return False
        self.principal = None
        try:
            self._tell(self._authenticate(self.headers.get("Authorization", "")))
        except Refused as refused:
            self._refuse(refused)
            return False
        return True

    def _authenticate(self, header: str) -> str:
        """Check the credentials in the header, and return the name. Raises `Refused`."""
        if header and header == self._known[0]:
            return self._known[1]
        name, password = _credentials(header)
        peer = network_of(str(self.client_address[0] if self.client_address else ""))
        with Attempt(self.attempts, peer, self._now()) as attempt:
            place = self._turn()
            try:
                is_right = verify(self.store, name, password, self.dummy)
            finally:
                self.attempts.leave(place)
            if not is_right:
                raise Refused("the name or the password is wrong")
            attempt.succeeded()
        self._known = header, name
        return name

    def _turn(self) -> int:
        """Wait for a free place to compute a hash, and return it. Raises `Refused`."""
        until = self._now() + self.attempts.patience
        while (place := self.attempts.enter(self._now())) is None:
            if self._now() >= until:
                raise Refused(TOO_MANY, temporary=True)
            with suppress(Empty):
                _NOTHING.get(timeout=POLL)  # a pause
        return place

    def _now(self) -> float:
        server: Any = self.server
        return float(server.reactor.clock.time())

    def _tell(self, name: str) -> None:
        """Set `principal` here and on the row."""
        self.principal = name
        server: Any = self.server
        row = self.request if hasattr(self.request, "principal") else server.row_of(self.request)
        if row is not None:
            row.principal = name

    def _refuse(self, refused: Refused) -> None:
        self.log_error("%s", refused)
        self.close_connection = True  # the request's body, if any, is not read
        self.send_response(503 if refused.temporary else 401)
        if refused.temporary:
            self.send_header("Retry-After", "60")
        else:
            self.send_header("WWW-Authenticate", f'Basic realm="{self.realm}", charset="UTF-8"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()


def _credentials(header: str) -> tuple[str, str]:
    """The name and the password in a header. Raises `Refused` if the header is empty or malformed."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refused("no credentials have come")
    try:
        if len(encoded) > _MAX_HEADER:
            raise ValueError("the header is too long")
        name, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
        if not colon:
            raise ValueError("there is no password")
        return saslprep(name), saslprep(password)
    except ValueError:
        raise Refused("the credentials are malformed") from None
