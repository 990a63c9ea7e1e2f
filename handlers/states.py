"""States as a machine looks at them: functions, methods, or the coroutines that a request is suspended in."""

from __future__ import annotations

from types import CoroutineType

from .saying import safe_repr
from .waits import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def is_of_coroutine(call: object) -> bool:
    """Whether ``call`` is the ``send`` or ``throw`` of a coroutine."""
    return isinstance(getattr(call, "__self__", None), CoroutineType)


def bare(state: Any) -> Any:
    """What a `functools.partial` will call."""
    while hasattr(state, "func"):
        state = state.func
    return state


def place_of(state: Any) -> object:
    """Where in the handler a request waits: the state, or where its coroutines are suspended."""
    if not is_of_coroutine(state):
        state = bare(state)
        state = getattr(state, "__func__", state)
        return getattr(state, "__code__", state)
    coroutine = state.__self__
    place = []
    while isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
        place.append((coroutine.cr_code, coroutine.cr_frame.f_lasti))
        coroutine = coroutine.cr_await
    return place


def expect_nothing(call: Callable[[], Any], kind: type) -> None:
    """Call what is no state. What it returns nobody would take: the body of an ``async def`` would never run."""
    returned = call()
    if returned is not None:
        if type(returned) is CoroutineType:
            returned.close()
        raise TypeError(
            f"{kind.__name__}.{call.__name__} returned {safe_repr(returned)}, and is no state: it returns None"
        )


def nonsense(step: object, where: str, machine: type, accepts: tuple[type[Wait], ...]) -> str:
    """What is wrong with ``step``, which the state ``where`` has returned, for a ``machine`` with these waits."""
    wait = step[0] if isinstance(step, tuple) and step else step
    allowed = ", ".join(accepted.__name__ for accepted in accepts)
    if isinstance(wait, Wait) and type(wait) is not Wait and not isinstance(wait, accepts):
        return f"{where} waits for {safe_repr(wait)}, which a {machine.__name__} has not: {allowed}"
    return (
        f"{where} returned {safe_repr(step)}; a state returns (wait, next_state), a coroutine or "
        f"None, and a coroutine awaits waits: {allowed}"
    )
