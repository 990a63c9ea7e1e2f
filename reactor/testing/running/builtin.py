"""Counts what functions in C go over, whose arguments no subclass of bytes can see: ``join``, ``sum``, ``crc32``, ...

A profile function (``sys.setprofile``) is told of each call of such a function, but not of its arguments. They are
told from the names in the call.
"""

from __future__ import annotations

import dis
import sys
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .counting import METER
from .own import is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

_LEAVES = "LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME"
_OVER_ALL = frozenset({
    "sum", "sorted", "crc32", "adler32", "compress", "decompress", "a2b_base64",
    "b2a_base64", "a2b_hex", "b2a_hex", "hexlify", "unhexlify", "openssl_md5", "openssl_sha1", "openssl_sha256",
    "openssl_sha512", "blake2b", "blake2s", "update",
})  # fmt: skip
"""Functions that go over all that they are given. ``update`` is that of a hash."""
_OVER_LISTS = "index", "count", "remove", "copy", "sort"
"""Methods of a list that go over all of it."""


@contextmanager
def counted_builtins() -> Iterator[None]:
    """Within the ``with`` block, calls of functions in C, from modules of others, add what they go over to `METER`.

    That is, for ``b"".join(parts)``, the bytes of the parts, for other functions the length of their arguments. The
    arguments are told from the names in the call: a local variable, or an attribute of one, that is bytes, text or a
    list. ``BytesIO.getvalue()`` counts the bytes that it copies.
    """
    before = sys.getprofile()
    sys.setprofile(_profile)
    try:
        yield
    finally:
        if before is None or callable(before):
            sys.setprofile(before)
        else:
            before.enable()  # a `cProfile.Profile`, which is no function


def _profile(frame: FrameType, event: str, called: Any) -> None:
    if event != "c_call" or _is_ours(frame):
        return
    name, owner = getattr(called, "__name__", ""), getattr(called, "__self__", None)
    if name == "join" and isinstance(owner, (bytes, bytearray, str)):
        METER.touched += sum(sum(map(_size, parts)) for parts in _arguments(frame, name) if _is_list(parts))
    elif name in _OVER_ALL and not isinstance(owner, (dict, set)):
        METER.touched += sum(map(len, _arguments(frame, name.removeprefix("openssl_"))))
    elif name == "getvalue" and isinstance(owner, BytesIO):
        with owner.getbuffer() as view:
            METER.touched += view.nbytes
    elif name in _OVER_LISTS and isinstance(owner, list):
        METER.touched += len(owner)


def _is_ours(frame: FrameType) -> bool:
    return is_ours(frame.f_globals.get("__name__", ""))


def _arguments(frame: FrameType, function: str) -> Iterator[Any]:
    """The bytes, texts and lists that the call of the function names."""
    for name, attribute in _named(frame.f_code, frame.f_lasti, function):
        value = frame.f_locals.get(name, frame.f_globals.get(name))
        value = getattr(value, "__dict__", {}).get(attribute) if attribute else value
        if _is_list(value) or isinstance(value, (bytes, bytearray, str)):
            yield value


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _size(part: Any) -> int:
    return len(part) if isinstance(part, (bytes, bytearray, str)) else 0


@lru_cache(maxsize=1_024)
def _named(code: CodeType, call: int, function: str) -> tuple[tuple[str, str], ...]:
    """The names between ``function`` and its call at the offset ``call``, each with the attribute that follows it."""
    found: list[tuple[str, str]] | None = None
    name = ""
    for step in dis.get_instructions(code):
        if step.offset >= call:
            break
        if step.argval == function:
            found, name = [], ""
        elif found is None:
            continue
        elif step.opname.startswith(_LEAVES):
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            found += [(name, "") for name in names]
            name = names[-1]
        elif step.opname == "LOAD_ATTR" and name:
            found[-1:] = [(name, step.argval)]
            name = ""
        else:
            name = ""
    return tuple(found or ())
