"""`Program`, `Version` and `Procedure` (RFC 5531, section 12): base classes of the classes that `language` writes.

A version that is served is a class with a method for each procedure. Each call is a request, and its handler is an
instance of the class, so `peer`, `principal`, `server` and `now()` are those of any handler.

A call that ends at once needs no row: its handler is run by that of its connection (`Version.make`). A call that waits,
or has failed, gets a row of its own in the table, and goes on there (`Version.handle`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from types import CoroutineType
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from ..causes import Cause
from ..datagrams import DatagramMachine
from ..handler import DatagramHandler, Handler
from ..states import expect_nothing, nonsense
from ..wait import Wait
from ..world import NO_MACHINE
from . import xdr
from .auth import AuthError, AuthSys
from .message import (
    GARBAGE_ARGS,
    HEADER,
    PROC_UNAVAIL,
    PROG_UNAVAIL,
    SYSTEM_ERR,
    Call,
    Refused,
    accepted,
    denied,
    other_version,
    read_call,
    succeeded,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gss.server import Protection
    from .gss.wire import Caller

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

NO_REPLY: Any = object()
"""What a procedure returns whose caller waits for no reply (RFC 5531, section 7.4.1)."""

Made: TypeAlias = T | Coroutine[Any, Any, T] | tuple[Wait, Callable[[Any], Any]]
"""What the method of a procedure returns: the result, a coroutine that returns it, or a wait and the next state."""


class Procedure(NamedTuple):
    """A procedure: its number, the name of its method, and the XDR types of its arguments and of its result."""

    number: int
    name: str
    arguments: tuple[object, ...]
    result: object


def declared(method: Method) -> Method:
    """Mark a method that only declares a procedure: a class that does not define it anew does not serve it."""
    method.only_declared = True  # type: ignore[attr-defined]
    return method


class Served:
    """A procedure that a class serves, and what is the same for each call of it."""

    __slots__ = ("arguments", "hooks", "kind", "procedure", "result")

    def __init__(self, kind: type[Version], procedure: Procedure) -> None:
        self.kind = kind
        self.procedure = procedure
        self.arguments = xdr.codec_of(procedure.arguments) if procedure.arguments else None
        self.result = None if procedure.result is None else xdr.codec(procedure.result)
        self.hooks = Hooks(kind, procedure)


class Hooks:
    """Which hooks are called for a call of one procedure: those that the class overrides."""

    __slots__ = ("authorize", "finish", "setup")

    def __init__(self, kind: type[Version], procedure: Procedure) -> None:
        self.setup = kind.setup is not Handler.setup
        self.authorize = procedure.number != 0 and kind.authorize is not Version.authorize
        self.finish = kind.finish is not Handler.finish


class Inside:
    """Stands for the machine and the driver of a call that has no row. What it has not itself, the connection has."""

    __slots__ = ("_outer", "principal", "write")
    reason = None
    outbox = None

    def __init__(self, outer: Any, write: Callable[[bytes], object]) -> None:
        self._outer = outer
        self.write = write

    @property
    def driver(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer.driver, name)

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """A call inside this one is a call of the connection."""
        self._outer.call(handler, packet, answer)

    def close(self) -> None:
        if self.write is not drop:
            raise RuntimeError("a state ends its own request by returning None, not by close()")

    def follow(self, machine: Any, wait: Wait) -> None:
        """There is no output here to wait for."""

    def unfollow(self, machine: Any) -> None:
        """There is no output here to wait for."""

    def end(self) -> None:
        """The call has ended: nothing more is sent for it."""
        self.write = drop


def drop(data: bytes) -> None:
    """Where the output of a request that has ended goes."""


def nothing() -> None:
    """In the place of a method of a handler that was called already, or must not be called."""


class Version(DatagramHandler):
    """A version of a program: it has a method for each procedure. Derive from it and define the methods to serve.

    A method gets the arguments and returns the result, or `NO_REPLY`. It may be a coroutine and await waits; or a
    state, which returns ``(wait, state)`` until a state returns the result. A procedure that is not defined is
    PROC_UNAVAIL, but for procedure 0, which does nothing. A call is answered with SYSTEM_ERR if the constructor,
    `setup` or the procedure raises an exception, a wait fails, or the result has no encoding.

    A class that overrides `interrupted` calls that of this class.
    """

    program: ClassVar[int]
    """The number of the program."""
    version: ClassVar[int]
    """The number of the version."""
    procedures: ClassVar[Mapping[int, Procedure]]
    """The procedures by their number. Those are served whose methods the class has, but for `declared` ones."""

    served: Served
    """The procedure that is called."""
    carry: Callable[[bytes], object] | None = None
    """What sends the reply, if that is not `send`."""
    protection: Protection | None = None
    """What protects the reply, if the call was made with RPCSEC_GSS (see `gss`)."""
    _data: bytes
    _start: int  # where in the data the arguments begin
    _called: Call | None
    _step: Any = None  # what the call goes on with in a row of its own
    _has_row = False
    _principal: Any = None

    @property
    def called(self) -> Call:
        """The call, whose handler this is."""
        called = self._called
        if called is None:
            called = self._called = read_call(self._data)
        return called

    @property
    def credential(self) -> AuthSys | Caller | None:
        """What the caller says of itself; ``None`` for AUTH_NONE. A `gss.wire.Caller` has proved it."""
        return self.called.credential if self.protection is None else self.protection.caller

    def authorize(self, procedure: Procedure) -> None:
        """Called before each procedure but 0, which needs no authentication (RFC 5531, section 12.1).

        Raise `AuthError` to refuse the call, with TOOWEAK to demand another flavour. The default accepts all calls.
        """

    def make(self, machine: Any) -> bool:
        """Make the call as far as it goes without a wait. Returns whether that was all; else `handle` goes on."""
        self._machine = machine
        if self.protection is not None:
            self.principal = self.protection.caller.principal
        served = self.served
        hooks, procedure = served.hooks, served.procedure
        step: Any = None
        try:
            if hooks.setup:
                self._set_up()
            if hooks.authorize:
                self.authorize(procedure)
            arguments = self._unpack()
            if arguments is not None:
                step = self._took(getattr(self, procedure.name)(*arguments))
                if type(step) is CoroutineType:
                    step = self._begin(step)
        except AuthError as error:
            step = None
            self._answer(denied(self.called.xid, error.status))
        except Exception as error:
            step = error
        if step is None and not hooks.finish:
            return True
        self._step = step
        vars(self)["setup"] = nothing
        return False

    def _set_up(self) -> None:
        try:
            expect_nothing(self.setup, type(self))
        except Exception:
            vars(self)["finish"] = nothing
            raise

    def _unpack(self) -> Sequence[Any] | None:
        """The arguments of the call, which must be all of its data; ``None`` if they are garbage."""
        codec, data, start = self.served.arguments, self._data, self._start
        try:
            arguments, end = ((), start) if codec is None else codec.unpack_from(data, start)
        except xdr.Error:
            end = -1
        if end == len(data):
            return arguments
        self._answer(accepted(self.called.xid, GARBAGE_ARGS))
        return None

    def leave(self, inside: Inside) -> None:
        """`make` has returned false: prepare for the machine that the call gets with a row of its own."""
        self.carry, self._machine = None, NO_MACHINE  # type: ignore[assignment]
        self._principal = inside.principal

    def handle(self) -> Any:
        """Go on with the call, in a row of its own."""
        if self._principal is not None:
            self.principal = self._principal
        step, self._step, self._has_row = self._step, None, True
        if isinstance(step, Exception):
            self._failed(step)
            return None
        return step

    def interrupted(self, cause: Cause) -> Any:
        """A wait of the procedure has failed: the answer is SYSTEM_ERR."""
        self._answer(accepted(self.called.xid, SYSTEM_ERR))
        return None

    def _answer(self, reply: bytes) -> None:
        if self.carry is None and len(reply) > self.max_output:  # else `carry` refuses it
            raise too_long(reply, self.max_output)
        (self.carry or self.send)(reply)

    def run(self, state: Callable[[Any], Any], result: object) -> Any:
        """Run a state of the procedure: the step that it returns, or ``None`` after its result was sent."""
        try:
            return self._took(state(result))
        except Exception as error:
            self._failed(error)
        return None

    def _took(self, returned: Any) -> Any:
        """Take what a procedure or a state has returned: send a result. Returns the step to go on with, or ``None``."""
        if type(returned) is tuple and len(returned) == 2 and isinstance(returned[0], Wait):
            return returned[0], Running(self, returned[1])
        if type(returned) is CoroutineType:
            return self._await(returned)
        if returned is not NO_REPLY:
            codec = self.served.result
            result = () if codec is None else codec.parts(returned)
            self._answer(b"".join((self._data[:4], SUCCEEDED, *result)))
        return None

    def _begin(self, coroutine: CoroutineType[Wait, Any, None]) -> Any:
        """Run the coroutine to its first wait: the step that it takes, ``None`` if it has ended."""
        try:
            wait = coroutine.send(None)
        except StopIteration:
            return None
        if not isinstance(wait, DatagramMachine.accepts):
            where = f"{type(self).__name__}.{self.served.procedure.name}"
            raise TypeError(nonsense(wait, coroutine.send, where, DatagramMachine, DatagramMachine.accepts))
        return wait, coroutine.send

    async def _await(self, coroutine: Coroutine[Wait, Any, Any]) -> None:
        try:
            self._took(await coroutine)
        except Exception as error:
            if not self._has_row:
                raise
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Answer the exception of a procedure, and raise it again if it is an error of the program."""
        if isinstance(error, AuthError):
            self._answer(denied(self.called.xid, error.status))
            return
        if not isinstance(error, Cause):  # which goes to interrupted()
            self._answer(accepted(self.called.xid, SYSTEM_ERR))
        raise error

    @classmethod
    def serves(cls) -> dict[int, Served]:
        """The procedures that the class serves, by their number."""
        methods = {number: getattr(cls, procedure.name, None) for number, procedure in cls.procedures.items()}
        return {
            number: Served(cls, cls.procedures[number])
            for number, method in methods.items()
            if method is not None and not hasattr(method, "only_declared")
        }


def too_long(reply: bytes, most: int) -> ValueError:
    """The error of a procedure whose reply is longer than the ``most`` bytes that the server may hold for a client."""
    return ValueError(f"a reply of {len(reply)} bytes is longer than {most}: raise max_output of the handler class")


class Unmade(Version):
    """In the place of a version whose class has raised ``error`` when it was called: the answer is SYSTEM_ERR."""

    def __init__(self, error: Exception) -> None:
        self._step = error

    def make(self, machine: Any) -> bool:
        self._machine = machine
        return False


class Running:
    """A state of a procedure, ``func``, as a state of the request of its call. The table shows the name of ``func``."""

    __slots__ = ("_version", "func")

    def __init__(self, version: Version, func: Callable[[Any], Any]) -> None:
        self._version = version
        self.func = func

    def __call__(self, result: object) -> Any:
        return self._version.run(self.func, result)


class Program:
    """A program: its versions, each of which is a `Version`."""

    program: ClassVar[int]
    """The number of the program."""
    versions: ClassVar[Mapping[int, type[Version]]]
    """The versions by their number."""


class Serving:
    """What the handlers of streams and of datagrams have in common: the versions that they serve."""

    __slots__ = ()
    versions: ClassVar[Sequence[type[Version]]] = ()
    """The versions that are served, of one program or of several."""
    _programs: ClassVar[dict[int, dict[int, type[Version]]]] = {}
    _served: ClassVar[dict[bytes, Served]] = {}  # by program, version and procedure, as a call has them

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._programs, cls._served = {}, {}
        for kind in cls.versions:
            versions = cls._programs.setdefault(kind.program, {})
            if versions.setdefault(kind.version, kind) is not kind:
                raise ValueError(f"{cls.__name__}: two classes serve version {kind.version} of program {kind.program}")
            for number, served in kind.serves().items():
                cls._served[WHICH.pack(kind.program, kind.version, number)] = served

    def begin(self, data: bytes) -> Version:
        """The handler of the call that the data is. Raises `Refused` if the data is no call of a procedure served."""
        try:
            head, which, auth = PLAIN.unpack_from(data, 4)
        except StructError:
            head = which = auth = b""
        served, call, start = self._served.get(which), None, NONE_SIZE
        if served is None or head != CALL_2 or (auth != NO_AUTH and not (start := known(data))):
            call = read_call(data)
            if served is None:
                raise Refused(self._unserved(call))
            start = call.start
            remember(data, start)
        try:
            version = served.kind()
        except Exception as error:
            version = Unmade(error)
        version.served, version._data, version._start, version._called = served, data, start, call
        return version

    def _unserved(self, call: Call) -> bytes:
        versions = self._programs.get(call.program)
        if versions is None:
            return accepted(call.xid, PROG_UNAVAIL)
        if call.version not in versions:
            return other_version(call.xid, min(versions), max(versions))
        return succeeded(call.xid, b"") if call.procedure == 0 else accepted(call.xid, PROC_UNAVAIL)


PLAIN, WHICH = Struct(">8s12s16s"), Struct(">3I")
"""What follows the xid of a call with AUTH_NONE: what `CALL_2` has, which procedure it is, and what `NO_AUTH` has."""
CALL_2, NO_AUTH = bytes(7) + b"\2", bytes(16)
"""``msg_type`` CALL and version 2 of RPC; the credential and the verifier of AUTH_NONE."""
NONE_SIZE = 4 + PLAIN.size
"""Bytes of the header of a call with AUTH_NONE."""
SUCCEEDED = succeeded(0, b"")[4:]
"""What follows the xid of a reply with a result."""

_accepted: set[bytes] = set()  # credentials, each with its verifier
MAX_ACCEPTED = 1024
"""Accepted credentials that are remembered; then all are forgotten."""


def known(data: bytes) -> int:
    """Where the arguments of a call begin, if a call with the same credential and verifier was accepted; 0 if not.

    Whether they are malformed is not looked at again: most clients send the same ones with every call.
    """
    start = NONE_SIZE + (int.from_bytes(data[28:32], "big") + 3 & ~3)
    return start if data[HEADER.size : start] in _accepted else 0


def remember(data: bytes, start: int) -> None:
    """Remember for `known` that the credential and the verifier in front of ``start`` were accepted."""
    if start == NONE_SIZE + (int.from_bytes(data[28:32], "big") + 3 & ~3):  # the verifier has no body
        if len(_accepted) >= MAX_ACCEPTED:
            _accepted.clear()
        _accepted.add(data[HEADER.size : start])
