"""A mechanism of GSS-API for tests: both sides have a key, and nothing is secret. And calls and replies as bytes."""

import hashlib
import hmac
from struct import pack

from handlers.sunrpc.gss.mechanism import GSSError
from handlers.sunrpc.gss.wire import Credential, GSSProcedure, Service, opaque_auth, protect
from handlers.sunrpc.message import HEADER

KEY = b"a key of the tests"
BAD_MIC, EXPIRED, BAD_TOKEN = 6 << 16, 12 << 16, 9 << 16


class ToyContext:
    """Either side of a context, whose peer is ``principal``."""

    complete = False
    principal = ""
    lifetime = 1000.0
    broken = ()
    """The methods that fail."""

    def __init__(self, tokens=1):
        self.tokens = tokens

    def _check(self, method):
        if not self.complete or method in self.broken:
            raise GSSError(f"{method} fails", EXPIRED, 7)

    def _mac(self, kind, data):
        return hmac.digest(KEY, kind + data, "sha256")[:20]

    def get_mic(self, data):
        self._check("get_mic")
        return self._mac(b"mic", data)

    def verify_mic(self, data, mic):
        self._check("verify_mic")
        if mic != self._mac(b"mic", data):
            raise GSSError("a wrong MIC", BAD_MIC)

    def _hidden(self, data):
        stream = hashlib.shake_256(KEY).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))

    def wrap(self, data):
        self._check("wrap")
        return self._hidden(data) + self._mac(b"wrap", data)

    def unwrap(self, data):
        self._check("unwrap")
        plain = self._hidden(data[:-20])
        if data[-20:] != self._mac(b"wrap", plain):
            raise GSSError("wrong data", BAD_MIC)
        return plain


class Toy:
    """The server's side. It wants so many tokens."""

    def __init__(self, tokens=1, lifetime=1000.0, broken=()):
        self.tokens = tokens
        self.lifetime = lifetime
        self.broken = broken

    def accept(self, token, context):
        context = context or ToyContext(self.tokens)
        if not (token.startswith(b"I am ") and token.isascii()):
            raise GSSError("not a token", BAD_TOKEN, 3, b"go away")
        context.tokens -= 1
        context.complete = not context.tokens
        context.lifetime, context.broken = self.lifetime, self.broken
        if context.complete:
            context.principal = token[5:].decode()
        return context, b"token %d" % context.tokens


class ToyInitiation(ToyContext):
    """The client's side."""

    def __init__(self, name="alice@TEST"):
        super().__init__()
        self.name = name
        self.principal = "service"

    def step(self, token):
        self.complete = token == b"token 0"
        return b"" if self.complete else b"I am " + self.name.encode()


PEER = ToyInitiation()
PEER.complete = True
"""A context that makes the MICs of any client."""


def opaque(data):
    """Variable-length opaque data."""
    return pack(">I", len(data)) + data + bytes(-len(data) % 4)


def gss_call(
    xid, procedure, arguments=b"", *, handle=b"", number=1, service=Service.NONE, what=GSSProcedure.DATA, head=b"",
    verifier=None, body=None, program=0x2000_0123, version=1,
):  # fmt: skip
    """A call with RPCSEC_GSS as bytes; what is given replaces what it would have."""
    head = head or HEADER.pack(xid, 0, 2, program, version, procedure)
    header = head + Credential(what, number, service, handle).encoded()
    if what in (GSSProcedure.INIT, GSSProcedure.CONTINUE_INIT):
        return header + (opaque_auth(0, b"") if verifier is None else verifier) + opaque(arguments)
    verifier = opaque_auth(6, PEER.get_mic(header)) if verifier is None else verifier
    return header + verifier + (protect(PEER, service, number, arguments) if body is None else body)


def gss_reply(xid, number, result=b"", service=Service.NONE, status=0, rest=b""):
    """The reply to such a call."""
    verifier = opaque_auth(6, PEER.get_mic(pack(">I", number)))
    body = protect(PEER, service, number, result) if status == 0 else rest
    return pack(">III", xid, 1, 0) + verifier + pack(">I", status) + body
