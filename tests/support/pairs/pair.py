"""What the sets of `by_kind` share: `Pair`, a cause for what is malformed, fields, and a buffer of one's own."""

import re
from typing import Any, NamedTuple

from handlers import Cause, Some, StreamHandler

ANY = Some()
FIELD = re.compile(rb"([!-9;-~]+):[ \t]*([!-~](?:[ -~]*[!-~])?)?[ \t]*")


class Pair(NamedTuple):
    """A handler with one fault, its twin without, and a conversation with which both appear to work."""

    name: str
    kind: int
    broken: type
    right: type
    conversation: list[bytes]
    options: dict[str, Any] = {}


class Malformed(Cause):
    """What the peer has sent is no message of the protocol."""


def fields(lines: list[bytes]) -> dict[bytes, bytes]:
    """The fields of a head, by their names in lower case. Raises `Malformed`, also for a field that comes twice."""
    found: dict[bytes, bytes] = {}
    for line in lines:
        matched = FIELD.fullmatch(line)
        if matched is None or matched[1].lower() in found:
            raise Malformed("no field")
        found[matched[1].lower()] = matched[2] or b""
    return found


class Buffered(StreamHandler):
    """Takes what has come, and holds in a buffer of its own what is not yet a whole message."""

    timeout = 30
    request_timeout = 30  # for one message: `one_by_one`

    def setup(self):
        self.one_by_one = 0
        self.buffer, self.searched = bytearray(), 0

    def handle(self):
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.searched = len(self.buffer)
        self.buffer += data
        before = len(self.buffer)
        if not self.take():
            return None
        self.one_by_one += len(self.buffer) < before
        return ANY, self.more if self.buffer else self.first

    def take(self):
        """Take the messages in the buffer. Whether more may follow."""
        raise NotImplementedError

    def whole(self, end):
        """The messages in the buffer that the byte ``end`` ends, without it. What was held has none."""
        last = self.buffer.rfind(end, self.searched)
        if last < 0:
            return []
        messages = bytes(self.buffer[:last]).split(end)
        del self.buffer[: last + 1]
        return messages
