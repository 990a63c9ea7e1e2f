"""Conditional requests (RFC 9110, section 13) and byte ranges (section 14), over the fields of a request. Pure."""

from __future__ import annotations

import re
from email.utils import formatdate, mktime_tz, parsedate_tz

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .exchange import Request

_TAG = re.compile(r'((?:W/)?)("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """No byte of the content is in the range (status 416)."""


class Validators:
    """What tells one state of a resource from another: its strong entity tag and the time of its last change.

    ``tag`` has its quotation marks; ``modified`` is in seconds since 1970.
    """

    __slots__ = ("modified", "tag")

    def __init__(self, tag: str, modified: float) -> None:
        self.tag = tag
        self.modified = int(modified)

    def fields(self) -> list[tuple[str, str]]:
        """The field lines that tell them to the client."""
        return [("ETag", self.tag), ("Last-Modified", formatdate(self.modified, usegmt=True))]

    def precondition(self, request: Request) -> int:
        """200 if a GET or HEAD is to be answered; else the status: 304 or 412 (RFC 9110, section 13.2.2)."""
        wanted = request.get("If-Match")
        if wanted is not None:
            if not self._is_in(wanted, weak=False):
                return 412
        else:
            unmodified = seconds(request.get("If-Unmodified-Since"))
            if unmodified is not None and self.modified > unmodified:
                return 412
        known = request.get("If-None-Match")
        if known is not None:
            return 304 if self._is_in(known, weak=True) else 200
        since = seconds(request.get("If-Modified-Since"))
        return 304 if since is not None and self.modified <= since else 200

    def allow_range(self, request: Request, now: float) -> bool:
        """Whether If-Range, if it is there, names this state (RFC 9110, section 13.1.5).

        A date does so only if the resource may not have changed twice in that second (section 8.8.2.2).
        """
        condition = request.get("If-Range")
        if condition is None or condition == self.tag:
            return True
        return seconds(condition) == self.modified and now - self.modified >= 2

    def _is_in(self, tags: str, weak: bool) -> bool:
        """Whether the list has the tag, by the weak or by the strong comparison (RFC 9110, section 8.8.3.2)."""
        if tags.strip(" \t") == "*":
            return True
        return any(tag == self.tag and (weak or not is_weak) for is_weak, tag in _TAG.findall(tags))


def seconds(date: str | None) -> int | None:
    """The time of an HTTP-date, in seconds since 1970; ``None`` if it is none: the field is ignored then.

    >>> seconds("Sun, 06 Nov 1994 08:49:37 GMT")
    784111777
    """
    parsed = None if date is None else parsedate_tz(date)
    try:
        return None if parsed is None else mktime_tz((*parsed[:9], parsed[9] or 0))
    except (ValueError, OverflowError):
        return None


def byte_range(value: str, size: int) -> tuple[int, int] | None:
    """The offsets at which the range begins and ends; ``None``: the whole content of ``size`` bytes is to be sent.

    Several ranges, an unknown unit and what is malformed are ignored, as RFC 9110, section 14.2, allows. Raises
    `Unsatisfiable`.

    >>> byte_range("bytes=0-9", 100), byte_range("bytes=-10", 100), byte_range("bytes=0-9, 20-29", 100)
    ((0, 10), (90, 100), None)
    """
    found = _RANGE.fullmatch(value)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        if not int(last):
            raise Unsatisfiable
        return (max(size - int(last), 0), size) if size else None
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return int(first), min(int(last) + 1, size) if last else size
