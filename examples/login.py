"""A line service with STARTTLS and SASL, in the words of IMAP (RFC 9051), so that clients for that can log in.

python3 examples/login.py [PORT [CERTIFICATE]]
gsasl --imap --connect 127.0.0.1:7143 --x509-ca-file CERTIFICATE -a ada -p sesame -m SCRAM-SHA-256 --no-cb
gsasl --imap … -m SCRAM-SHA-256-PLUS --priority NORMAL:-VERS-TLS1.3       for a channel binding (TLS 1.2)

The file CERTIFICATE (certificate.pem) has a certificate and its key. Mechanisms do no input or output: this class says
which there are (``offered``), and sends challenges and receives responses in its own way (``ask``). PLAIN is offered
only behind STARTTLS, PLUS only where there is a channel binding; SCRAM needs scramp. Behind the login: WHO, UPPER.
"""

from __future__ import annotations

import signal
import ssl
import sys
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import REFUSE, Filtered, Until
from handlers.auth import Credentials, Refused, hash_password
from handlers.auth.sasl import SASL, External, Plain, decoded
from handlers.auth.scram import Scram, ScramPlus, scram_keys
from reactor import SelectTCPServer
from reactor.tls import TLS, load_certificate

if TYPE_CHECKING:
    from typing import Any

LINE = Until(b"\r\n", limit=4096)


class Service(SASL):
    """One session."""

    timeout = 60
    mechanisms: Any = (Plain(), External())
    server: Any

    async def handle(self) -> None:
        self.send(b"* OK ready\r\n")
        while True:
            tag, _, command = (await LINE).decode("ascii", "replace").strip().partition(" ")
            word, _, rest = command.partition(" ")
            answer = await self.command(tag, word.upper(), rest)
            self.send(f"{tag} {answer}\r\n".encode())
            if word.upper() == "LOGOUT":
                return
            if word.upper() == "STARTTLS" and answer.startswith("OK"):
                await Filtered(partial(TLS, context=self.server.context), held=REFUSE)

    async def command(self, tag: str, word: str, rest: str) -> str:
        """Do one command, and return the last line of the answer."""
        if word == "CAPABILITY":
            words = ["IMAP4rev1", "SASL-IR", *([] if self.secured else ["STARTTLS"])]
            words += [f"AUTH={name}" for name in self.offered()]
            self.send(f"* CAPABILITY {' '.join(words)}\r\n".encode())
        elif word == "LOGOUT":
            self.send(b"* BYE\r\n")
        elif word == "AUTHENTICATE":
            return await self.login(*rest.split(" ", 1))
        elif word == "STARTTLS" and (self.secured or self.authenticated):
            return "BAD it is too late for that"
        elif word in ("WHO", "UPPER") and not self.authenticated:
            return "NO log in first"
        elif word == "WHO":
            self.send(f"* {self.principal} by {self.secured}\r\n".encode())
        elif word == "UPPER":
            self.send(f"* {rest.upper()}\r\n".encode())
        elif word not in ("NOOP", "STARTTLS"):
            return "BAD not here"
        return "OK"

    async def login(self, mechanism: str, initial: str | None = None) -> str:
        """Let the client log in by the mechanism that it names."""
        try:
            response = None if initial is None else decoded(initial.encode())
            await self.authenticate(mechanism, self.ask, response)
        except Refused as refused:
            return "NO [UNAVAILABLE]" if refused.temporary else "NO [AUTHENTICATIONFAILED]"  # RFC 5530: not more
        return "OK"

    async def ask(self, challenge: bytes) -> bytes:
        """Send a challenge; returns the response."""
        self.send(b"+ " + b64encode(challenge) + b"\r\n")
        return decoded(await LINE)


class Server(SelectTCPServer):
    """Knows the certificate."""

    allow_reuse_address = True
    context: ssl.SSLContext


def main(port: str = "7143", certificate: str = "certificate.pem") -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate(context, certificate)  # so that it can be a channel binding
    password, keys = hash_password("sesame"), None
    try:
        Service.mechanisms = (ScramPlus(), Scram(), *Service.mechanisms)
        keys = scram_keys("sesame")
    except ImportError:
        pass  # without scramp there is no SCRAM
    Service.store = {"ada": Credentials(password, keys)}
    with Server(("127.0.0.1", int(port)), Service) as server:
        server.context = context
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
