"""A receiver of mail that turns to TLS in mid-stream: SMTP (RFC 5321) with STARTTLS (RFC 3207) and AUTH (RFC 4954).

python3 examples/smtp.py [PORT [CERTIFICATE]]      then, elsewhere: swaks --server 127.0.0.1:7025 --tls --to a@b
                                                   or, as a user: … --auth PLAIN --auth-user ada --auth-password sesame

The file CERTIFICATE (certificate.pem) has a certificate and its key. Mail is taken only over TLS, and reported on
standard output, with the user if there is one.

A client may send many commands in one segment, but none behind STARTTLS: what comes before the handshake is not
protected, and anybody on the way could have put it there (CVE-2011-0411). ``held=REFUSE`` ends such a request.
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
from handlers.auth.sasl import SASL, Plain, decoded
from reactor import SelectTCPServer
from reactor.tls import TLS

if TYPE_CHECKING:
    from typing import Any

COMMAND = Until(b"\r\n", limit=512)  # RFC 5321, section 4.5.3.1.4
TEXT_LINE = Until(b"\r\n", limit=1000)  # and 4.5.3.1.6
RESPONSE = Until(b"\r\n", limit=12_288)  # RFC 4954, section 4
MAX_SIZE = 10 << 20
MAX_RECIPIENTS = 100  # RFC 5321, section 4.5.3.1.8


class Receiver(SASL):
    """One session."""

    timeout = 300  # RFC 5321, section 4.5.3.2.7
    mechanisms = (Plain(),)
    server: Any

    async def handle(self) -> None:
        self.reply(220, "mail.example ESMTP")
        while True:  # the wait is in one place: between commands, so that a client may leave without QUIT
            if not await self.command(await COMMAND):
                return

    def setup(self) -> None:
        self.forget()

    def forget(self) -> None:
        """There is no transaction (RFC 5321, section 4.1.4)."""
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def command(self, line: bytes) -> bool:
        """Do one command. Whether another may follow."""
        verb, _, argument = line.decode("ascii", "replace").strip().partition(" ")
        verb = verb.upper()
        if verb == "QUIT":
            self.reply(221, "bye")
            return False
        if verb in ("EHLO", "HELO"):
            self.forget()
            self.reply(250, "mail.example", *([] if verb == "HELO" else self.extensions()))
        elif verb == "STARTTLS" and not self.secured:
            self.reply(220, "go ahead")
            await Filtered(partial(TLS, context=self.server.context), held=REFUSE)
            self.forget()  # what was said before counts no more (RFC 3207, section 4.2)
        elif verb == "AUTH":
            await self.login(*argument.split(" ", 1))
        elif verb in ("NOOP", "RSET"):
            if verb == "RSET":
                self.forget()
            self.reply(250, "OK")
        elif verb in ("MAIL", "RCPT", "DATA"):
            await self.mail(verb, argument)
        else:
            self.reply(502, "not here")
        return True

    def extensions(self) -> list[str]:
        """What the answer to EHLO names."""
        auth = [f"AUTH {' '.join(self.offered())}"] if self.offered() and not self.authenticated else []
        return auth if self.secured else ["STARTTLS", *auth]

    async def login(self, mechanism: str, initial: str | None = None) -> None:
        """Let the client log in by the mechanism that it names (RFC 4954)."""
        if self.authenticated or self.sender is not None:
            self.reply(503, "not now")
            return
        try:
            response = None if initial is None else decoded(initial.encode())
            await self.authenticate(mechanism, self.ask, response)
        except Refused as refused:
            if refused.temporary:
                self.reply(454, "4.7.0 try again later")
            else:
                self.reply(535, "5.7.8 not authenticated")
        else:
            self.reply(235, "2.7.0 authenticated")

    async def ask(self, challenge: bytes) -> bytes:
        """Send a challenge; returns the response."""
        self.reply(334, b64encode(challenge).decode())
        return decoded(await RESPONSE)

    async def mail(self, verb: str, argument: str) -> None:
        """One step of a transaction."""
        if not self.secured:
            self.reply(530, "Must issue a STARTTLS command first")
        elif verb == "MAIL":
            self.sender = argument
            self.reply(250, "OK")
        elif self.sender is None or (verb == "DATA" and not self.recipients):
            self.reply(503, "MAIL, RCPT and DATA come in this order")
        elif verb == "RCPT" and len(self.recipients) == MAX_RECIPIENTS:
            self.reply(452, "too many recipients")
        elif verb == "RCPT":
            self.recipients.append(argument)
            self.reply(250, "OK")
        else:
            self.reply(354, "end with a line that is a dot")
            size = await self.text()
            if size > MAX_SIZE:
                self.reply(552, "too much mail data")
            else:
                self.server.deliver(self.sender, self.recipients, size, self.principal)
                self.reply(250, "OK")
            self.forget()

    async def text(self) -> int:
        """Read the message up to the dot; its size in bytes."""
        size = 0
        while (line := await TEXT_LINE) != b".\r\n":
            size += len(line) - line.startswith(b".")  # RFC 5321, section 4.5.2
        return size

    def reply(self, code: int, *lines: str) -> None:
        *before, last = lines
        for line in before:
            self.send(f"{code}-{line}\r\n".encode())
        self.send(f"{code} {last}\r\n".encode())


class Server(SelectTCPServer):
    """Knows the certificate, and what becomes of the mail."""

    allow_reuse_address = True
    context: ssl.SSLContext

    def deliver(self, sender: str, recipients: list[str], size: int, user: str | None) -> None:
        print(f"{size} bytes {sender} {' '.join(recipients)}", *([f"of {user}"] if user else []), flush=True)


def main(port: str = "7025", certificate: str = "certificate.pem") -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    Receiver.store = {"ada": Credentials(password=hash_password("sesame"))}
    with Server(("127.0.0.1", int(port)), Receiver) as server:
        server.context = context
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
