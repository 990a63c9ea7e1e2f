"""Counts what ``join`` goes over: a function in C, whose arguments no subclass of bytes can see."""

from __future__ import annotations

import dis
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .counting import METER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

_OURS = "handlers", "reactor"
_LEAVES = "LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME"


@contextmanager
def counted_joins() -> Iterator[None]:
    """Within the ``with`` block, each ``b"".join(parts)`` of a handler's module adds the bytes of its parts to `METER`.

    The parts are told from the names in the call: a local variable, or an attribute of one, that is a list.
    """
    before = sys.getprofile()
    sys.setprofile(_profile)
    try:
        yield
    finally:
        sys.setprofile(before)


def _profile(frame: FrameType, event: str, called: Any) -> None:
    if event != "c_call" or getattr(called, "__name__", "") != "join" or _is_ours(frame):
        return
    if isinstance(getattr(called, "__self__", None), (bytes, bytearray, str)):
        METER.touched += sum(map(_size, _parts(frame)))


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS


def _parts(frame: FrameType) -> Iterator[Any]:
    """The lists that the call names."""
    for name, attribute in _named(frame.f_code, frame.f_lasti):
        value = frame.f_locals.get(name, frame.f_globals.get(name))
        value = getattr(value, "__dict__", {}).get(attribute) if attribute else value
        if isinstance(value, (list, tuple)):
            yield value


def _size(parts: Any) -> int:
    return sum(len(part) for part in parts if isinstance(part, (bytes, bytearray, str)))


@lru_cache(maxsize=1_024)
def _named(code: CodeType, call: int) -> tuple[tuple[str, str], ...]:
    """The names between ``join`` and the call at the offset ``call``, each with the attribute that follows it."""
    found: list[tuple[str, str]] = []
    name = ""
    for step in dis.get_instructions(code):
        if step.offset >= call:
            break
        if step.argval == "join":
            found, name = [], ""
        elif step.opname.startswith(_LEAVES):
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            found += [(name, "") for name in names]
            name = names[-1]
        elif step.opname == "LOAD_ATTR" and name:
            found[-1:] = [(name, step.argval)]
            name = ""
        else:
            name = ""
    return tuple(found)
