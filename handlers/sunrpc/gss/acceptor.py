"""`Acceptor`: the contexts that a server has with its clients (RFC 2203, sections 5.2 and 5.3.3)."""

from __future__ import annotations

from collections import OrderedDict
from queue import SimpleQueue
from secrets import token_bytes

from ..auth import AuthError, AuthStatus
from .mechanism import CONTINUE_NEEDED, NO_CONTEXT, Context, GSSError, Mechanism
from .window import Window
from .wire import MAXSEQ, Credential, InitResult

HANDLE = 16
"""Bytes of the handle of a context."""


class Turn:
    """What one thread at a time does, in ``with``. (Handlers do not import ``threading``.)"""

    __slots__ = ("_token",)

    def __init__(self) -> None:
        self._token: SimpleQueue[None] = SimpleQueue()
        self._token.put(None)

    def __enter__(self) -> None:
        self._token.get()

    def __exit__(self, *_: object) -> None:
        self._token.put(None)


class Held:
    """A context that a server holds, and what it knows of it."""

    __slots__ = ("context", "expires", "principal", "turn", "used", "window")

    def __init__(self, context: Context, size: int, now: float) -> None:
        self.context = context
        self.window = Window(size)
        self.turn = Turn()
        """Held while the context is used: the threads of two connections may make calls with it."""
        self.used = now
        self.expires = now
        self.principal: str | None = None
        """The name of the client; ``None`` until the context is complete."""

    def completed(self, now: float) -> None:
        """The context is complete. Raises `GSSError` if it has no name or is too old."""
        self.expires = now + self.context.lifetime
        self.principal = self.context.principal  # last: it says that the context is complete

    def verify(self, number: int, header: bytes, mic: bytes) -> bool:
        """Check the header of a call. ``False``: the call is to be dropped, because its number is old or was seen.

        Raises `AuthError`: CTXPROBLEM for a number past the last one, CREDPROBLEM for a wrong MIC (RFC 2203, section
        5.3.3.3). Only a call with a right MIC moves the window (section 7.2.1).
        """
        if number >= MAXSEQ:
            raise AuthError(AuthStatus.RPCSEC_GSS_CTXPROBLEM)
        with self.turn:
            if not self.window.takes(number):
                return False
            try:
                self.context.verify_mic(header, mic)
            except GSSError:
                raise AuthError(AuthStatus.RPCSEC_GSS_CREDPROBLEM) from None
            self.window.take(number)
        return True


class Acceptor:
    """The contexts of a server, by their handles. One of these may serve several handler classes, and threads.

    In fork mode each child has contexts of its own, so that a client has to create one on each connection, and none
    can be used over datagrams.

    A context is new until the first call with it is verified. New contexts, of which anybody may create many, can't
    take the place of those that are in use.
    """

    def __init__(
        self, mechanism: Mechanism, *, window: int = 128, max_contexts: int = 1024, max_new: int = 256,
        idle: float = 3600.0, patience: float = 60.0,
    ) -> None:  # fmt: skip
        Window(window)
        self.mechanism = mechanism
        self.window = window
        """Sequence numbers in the window, which the client is told: calls that it may have open."""
        self.max_contexts = max_contexts
        """Contexts in use. Past it the one that was used least recently is dropped."""
        self.max_new = max_new
        """New contexts. Past it the oldest is dropped."""
        self.idle = idle
        """Seconds for which a context is kept without a call."""
        self.patience = patience
        """Seconds for which a new context is kept without a call."""
        self._turn = Turn()
        self._new: OrderedDict[bytes, Held] = OrderedDict()  # the oldest first
        self._in_use: OrderedDict[bytes, Held] = OrderedDict()  # the one used least recently first

    def __len__(self) -> int:
        return len(self._new) + len(self._in_use)

    def create(self, token: bytes, now: float) -> tuple[InitResult, Held | None]:
        """Take the first token of a client. Returns the result, and the context if it is complete."""
        try:
            context, answer = self.mechanism.accept(token, None)
        except GSSError as error:
            return failed(error), None
        held = Held(context, self.window, now)
        handle = token_bytes(HANDLE)
        with self._turn:
            self._age(now)
            self._new[handle] = held
            if len(self._new) > self.max_new:
                self._new.popitem(last=False)
        return self._created(handle, held, answer, now)

    def go_on(self, handle: bytes, token: bytes, now: float) -> tuple[InitResult, Held | None]:
        """Take a further token of a client for a new context."""
        with self._turn:
            self._age(now)
            held = self._new.get(handle)
        if held is None:
            return InitResult(b"", NO_CONTEXT, 0, 0, b""), None
        try:
            with held.turn:
                if held.context.complete:
                    return InitResult(b"", NO_CONTEXT, 0, 0, b""), None
                held.context, answer = self.mechanism.accept(token, held.context)
        except GSSError as error:
            self.drop(handle)
            return failed(error), None
        return self._created(handle, held, answer, now)

    def _created(self, handle: bytes, held: Held, answer: bytes, now: float) -> tuple[InitResult, Held | None]:
        if not held.context.complete:
            return InitResult(handle, CONTINUE_NEEDED, 0, self.window, answer), None
        try:
            held.completed(now)
        except GSSError as error:
            self.drop(handle)
            return failed(error), None
        return InitResult(handle, 0, 0, self.window, answer), held

    def find(self, handle: bytes, now: float) -> Held:
        """The complete context with this handle. Raises `AuthError` with CREDPROBLEM if there is none."""
        with self._turn:
            held = self._in_use.get(handle) or self._new.get(handle)
            if held is None or held.principal is None:
                raise AuthError(AuthStatus.RPCSEC_GSS_CREDPROBLEM)
            limit = self.idle if handle in self._in_use else self.patience
            if now < held.expires and now - held.used <= limit:
                return held
        self.drop(handle)
        raise AuthError(AuthStatus.RPCSEC_GSS_CREDPROBLEM)

    def use(self, credential: Credential, now: float) -> None:
        """A call with this context was verified."""
        handle = credential.handle
        with self._turn:
            held = self._new.pop(handle, None) or self._in_use.get(handle)
            if held is None:  # another thread has dropped it just now
                return
            held.used = now
            self._in_use[handle] = held
            self._in_use.move_to_end(handle)
            if len(self._in_use) > self.max_contexts:
                self._in_use.popitem(last=False)

    def drop(self, handle: bytes) -> None:
        """Forget the context."""
        with self._turn:
            self._new.pop(handle, None)
            self._in_use.pop(handle, None)

    def _age(self, now: float) -> None:
        """Drop the contexts that were not used for too long."""
        for contexts, seconds in ((self._new, self.patience), (self._in_use, self.idle)):
            while contexts:
                handle, held = next(iter(contexts.items()))
                if now - held.used <= seconds:
                    break
                del contexts[handle]


def failed(error: GSSError) -> InitResult:
    """The result for a token that the mechanism has refused."""
    return InitResult(b"", error.major, error.minor, 0, error.token)
