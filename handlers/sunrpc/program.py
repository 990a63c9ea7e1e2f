"""`Program`, `Version` and `Procedure` (RFC 5531, section 12): base classes of the classes that `language` writes.

A version that is served is a class with a method for each procedure. Each call is a request with a row of its own, and
its handler is an instance of the class, so `peer`, `principal`, `server` and `now()` are those of any handler.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, ClassVar, NamedTuple

from ..handler import DatagramHandler
from ..waits import Cause, Wait
from . import xdr
from .auth import AuthError, AuthSys
from .message import (
    GARBAGE_ARGS,
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

NO_REPLY: Any = object()
"""What a procedure returns whose caller waits for no reply (RFC 5531, section 7.4.1)."""


class Procedure(NamedTuple):
    """A procedure: its number, the name of its method, and the XDR types of its arguments and of its result."""

    number: int
    name: str
    arguments: tuple[object, ...]
    result: object


class Version(DatagramHandler):
    """A version of a program: it has a method for each procedure. Derive from it and define the methods to serve.

    A method gets the arguments and returns the result, or `NO_REPLY`. It may be a coroutine and await waits; or a
    state, which returns ``(wait, state)`` until a state returns the result. A procedure that is not defined is
    PROC_UNAVAIL, but for procedure 0, which does nothing. A procedure that raises an exception, whose wait fails, or
    whose result has no encoding is answered with SYSTEM_ERR.

    A class that overrides `finish` or `interrupted` calls those of this class.
    """

    program: ClassVar[int]
    """The number of the program."""
    version: ClassVar[int]
    """The number of the version."""
    procedures: ClassVar[Mapping[int, Procedure]]
    """The procedures by their number. The class that declares them serves none: a class derived from it defines the
    methods of those that are served."""

    called: Call
    """The call, whose handler this is."""
    carry: Callable[[bytes], object] | None = None
    """What sends the reply, if that is not `send`."""
    protection: Protection | None = None
    """What protects the reply, if the call was made with RPCSEC_GSS (see `gss`)."""

    @property
    def credential(self) -> AuthSys | Caller | None:
        """What the caller says of itself; ``None`` for AUTH_NONE. A `gss.wire.Caller` has proved it."""
        return self.called.credential if self.protection is None else self.protection.caller

    def authorize(self, procedure: Procedure) -> None:
        """Called before each procedure but 0, which needs no authentication (RFC 5531, section 12.1).

        Raise `AuthError` to refuse the call, with TOOWEAK to demand another flavour. The default accepts all calls.
        """

    def handle(self) -> Any:
        """Make the call."""
        call = self.called
        if self.protection is not None:
            self.principal = self.protection.caller.principal
        procedure = self._served().get(call.procedure)
        if procedure is None:
            self._answer(succeeded(call.xid, b"") if call.procedure == 0 else accepted(call.xid, PROC_UNAVAIL))
            return None
        try:
            arguments = _unpack(procedure.arguments, call)
        except xdr.Error:
            self._answer(accepted(call.xid, GARBAGE_ARGS))
            return None
        return self.run(partial(self._make, procedure, arguments), None)

    def interrupted(self, cause: Cause) -> Any:
        """A wait of the procedure has failed: the answer is SYSTEM_ERR."""
        self._answer(accepted(self.called.xid, SYSTEM_ERR))
        return None

    def _answer(self, reply: bytes) -> None:
        (self.carry or self.send)(reply)

    def _make(self, procedure: Procedure, arguments: list[Any], _: None) -> Any:
        if procedure.number:
            self.authorize(procedure)
        return getattr(self, procedure.name)(*arguments)

    def run(self, state: Callable[[Any], Any], result: object) -> Any:
        """Run a state of the procedure: the step that it returns, or ``None`` after its result was sent."""
        try:
            returned = state(result)
            if type(returned) is tuple and len(returned) == 2 and isinstance(returned[0], Wait):
                return returned[0], Running(self, returned[1])
            if type(returned) is CoroutineType:
                return self._await(returned)
            self._return(returned)
        except Exception as error:
            self._failed(error)
        return None

    async def _await(self, coroutine: Coroutine[Wait, Any, Any]) -> None:
        try:
            self._return(await coroutine)
        except Exception as error:
            self._failed(error)

    def _return(self, result: Any) -> None:
        if result is not NO_REPLY:
            kind = self.procedures[self.called.procedure].result
            self._answer(succeeded(self.called.xid, b"" if kind is None else xdr.pack(kind, result)))

    def _failed(self, error: Exception) -> None:
        """Answer the exception of a procedure, and raise it again if it is an error of the program."""
        if isinstance(error, AuthError):
            self._answer(denied(self.called.xid, error.status))
            return
        if not isinstance(error, Cause):  # which goes to interrupted()
            self._answer(accepted(self.called.xid, SYSTEM_ERR))
        raise error

    @classmethod
    def _served(cls) -> dict[int, Procedure]:
        """The procedures that a class derived from the declaring one defines."""
        if "_defined" not in vars(cls):
            declaring = next(kind for kind in cls.__mro__ if "procedures" in vars(kind))
            cls._defined = {
                number: procedure
                for number, procedure in cls.procedures.items()
                if getattr(cls, procedure.name, None) is not vars(declaring).get(procedure.name)
            }
        return cls._defined

    _defined: ClassVar[dict[int, Procedure]]


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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._programs = {}
        for kind in cls.versions:
            versions = cls._programs.setdefault(kind.program, {})
            if versions.setdefault(kind.version, kind) is not kind:
                raise ValueError(f"{cls.__name__}: two classes serve version {kind.version} of program {kind.program}")

    def begin(self, data: bytes) -> Version:
        """The handler of the call that the data is. Raises `Refused` if the data is no call of a version served."""
        call = read_call(data)
        versions = self._programs.get(call.program)
        if versions is None:
            raise Refused(accepted(call.xid, PROG_UNAVAIL))
        kind = versions.get(call.version)
        if kind is None:
            raise Refused(other_version(call.xid, min(versions), max(versions)))
        version = kind()
        version.called = call
        return version


def _unpack(kinds: tuple[object, ...], call: Call) -> list[Any]:
    """The arguments of the call, which must be all of its data."""
    values, end = [], call.start
    for kind in kinds:
        value, end = xdr.codec(kind).unpack_from(call.data, end)
        values.append(value)
    if end != len(call.data):
        raise xdr.Error(f"{len(call.data) - end} bytes follow the arguments")
    return values
