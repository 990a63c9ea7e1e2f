"""States: functions, methods, or the coroutines in which a request is suspended; and errors about what they return."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from types import CodeType, CoroutineType, GeneratorType, MethodType

from .saying import safe_repr
from .wait import Wait
from .waits import Exactly, Some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_BUILTIN: type = type(len)  # what the methods of a coroutine are


_SHARED = frozenset((Exactly, Some))
_MOST_EQUAL = 64
_equal: dict[Wait, Wait] = {}
"""Waits that rows hold, each beside itself."""
_MOST_PLACES = 256
_places: dict[tuple[int, ...], object] = {}
"""Places in coroutines, by the identities and offsets of their code, which the places keep alive: many rows that wait
at one place share its value."""


def is_of_coroutine(call: object) -> bool:
    """Whether ``call`` is the ``send`` or ``throw`` of a coroutine."""
    return type(call) is _BUILTIN and call.__self__.__class__ is CoroutineType  # type: ignore[attr-defined]


def is_plain(state: object) -> bool:
    """Whether the state is a method or of a coroutine, as most are."""
    return type(state) is MethodType or is_of_coroutine(state)


def bare(call: Any) -> Any:
    """What a `functools.partial`, or what has a ``func`` as that has, calls in the end; else ``call`` itself."""
    while not isinstance(call, type) and hasattr(call, "func"):
        call = call.func
    return call


def name_of(state: Any) -> str:
    """The name of a state; of a coroutine its name and the line that it has reached."""
    if is_of_coroutine(state):
        coroutine = state.__self__
        frame = coroutine.cr_frame
        return f"{coroutine.__name__}:{frame.f_lineno}" if frame else str(coroutine.__name__)
    state = bare(state)
    return str(getattr(state, "__name__", type(state).__name__))


def place_of(state: Any) -> object:
    """Where in the handler a request waits: the state, or where its coroutines are suspended."""
    if type(state) is MethodType:
        function = state.__func__
        return getattr(function, "__code__", function)
    if not is_of_coroutine(state):
        state = bare(state)
        state = getattr(state, "__func__", state)
        return getattr(state, "__code__", state)
    coroutine = state.__self__
    place: tuple[tuple[CodeType, int], ...] = ()
    key: tuple[int, ...] = ()
    while isinstance(coroutine, CoroutineType) and (frame := coroutine.cr_frame) is not None:
        place += ((coroutine.cr_code, frame.f_lasti),)
        key += (id(coroutine.cr_code), frame.f_lasti)
        coroutine = coroutine.cr_await
    if len(_places) >= _MOST_PLACES:
        _places.clear()
    return _places.setdefault(key, place)


def shared(wait: Wait | None) -> Wait | None:
    """``wait``, or the equal one that other rows hold: of the classes whose equal instances wait for the same."""
    if wait is None or wait.__class__ not in _SHARED:
        return wait
    if len(_equal) >= _MOST_EQUAL:
        _equal.clear()
    return _equal.setdefault(wait, wait)


def is_same_place(one: Any, other: Any) -> bool:
    """Whether two values of `place_of` are the same place in the source.

    The compiler makes two copies of the condition of a ``while``, and of a ``finally``.
    """
    if one == other:
        return True
    if type(one) is not tuple or type(other) is not tuple or len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(code is its and _position(code, at) == _position(its, then) for (code, at), (its, then) in pairs)


@lru_cache(maxsize=64)
def _position(code: CodeType, at: int) -> object:
    """Where the instruction at that offset comes from: equal for copies."""
    if hasattr(code, "co_positions"):
        return next(islice(code.co_positions(), at // 2, None))  # its lines and columns
    return next((line, at - start) for start, end, line in code.co_lines() if start <= at < end)  # Python 3.10


def expect_nothing(call: Callable[[], Any], kind: type) -> None:
    """Call a hook that is not a state, and refuse a result: it would be lost, and an ``async def`` would never run."""
    returned = call()
    if returned is not None:
        remedy = "waits belong in handle()"
        if type(returned) is CoroutineType:
            returned.close()
            remedy = "declare it with def, not async def; " + remedy
        raise TypeError(
            f"{kind.__name__}.{call.__name__} returned {safe_repr(returned)}, and must return None, because it is not "
            f"a state: {remedy}"
        )


def going_round(kind: type, state: str, wait: Wait) -> str:
    """What is wrong with a handler of the class ``kind`` that never comes to an end of its steps."""
    return (
        f"{kind.__name__} goes round in {state} without taking input (it waits for {safe_repr(wait)}, which is "
        f"satisfied at once, again and again); return None to end the request, or wait for input or a Delay"
    )


def nonsense(step: object, call: object, where: str, machine: type, accepts: tuple[type[Wait], ...]) -> str:
    """What is wrong with ``step``, for a ``machine`` with these waits.

    ``call`` is the state ``where`` that has returned the step, or the coroutine that has awaited it.
    """
    wait = step[0] if isinstance(step, tuple) and step else step
    allowed = ", ".join(accepted.__name__ for accepted in accepts)
    if isinstance(wait, Wait) and type(wait) is not Wait and not isinstance(wait, accepts):
        return f"{where} waits for {safe_repr(wait)}, which a {machine.__name__} has not: {allowed}"
    coroutine = getattr(call, "__self__", None)
    if isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:  # suspended: it has not returned
        return (
            f"{where} awaited {_awaited(coroutine, step)}, which is no wait; a coroutine awaits waits: {allowed}. "
            f"To let time pass, await Delay(seconds); to call what blocks, or what runs an event loop of its own, "
            f"await Threaded(function)"
        )
    if isinstance(step, GeneratorType):
        return f"{where} is a generator function; declare it with async def, and write await in the place of yield"
    lacks = ""
    if isinstance(step, Wait):
        lacks = ", and the state to go to next is missing"
    elif isinstance(step, tuple) and len(step) == 2 and isinstance(wait, Wait):
        lacks = ", and what should be the next state can't be called"
    return (
        f"{where} returned {safe_repr(step)}{lacks}; a state returns (wait, next_state), a coroutine or None, "
        f"and a coroutine awaits waits: {allowed}"
    )


def _awaited(coroutine: Any, got: object) -> str:
    """The name of what a suspended coroutine awaits: its module and function, or class; else what it yielded."""
    name = ""
    inner: Any = coroutine.cr_await
    while isinstance(inner, (CoroutineType, GeneratorType)):
        if isinstance(inner, CoroutineType):
            frame, called, following = inner.cr_frame, inner.__qualname__, inner.cr_await
        else:
            frame, called, following = inner.gi_frame, inner.__qualname__, inner.gi_yieldfrom
        if isinstance(inner, CoroutineType) or called.endswith(".__await__"):
            module = frame.f_globals.get("__name__") if frame else ""
            name = f"{module}.{called.removesuffix('.__await__')}"
        inner = following
    return name or safe_repr(got)
