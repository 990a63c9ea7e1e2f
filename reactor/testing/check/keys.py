"""The property of the keys of datagrams: any packet has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...handlers import DatagramHandler
from ...servers.kinds import class_of
from ..inputs import strategies
from ..inputs.tried import Tried
from ..running.counting import LINES, LINES_PER_BYTE, EndlessLoop, line_limit
from ..running.errors import told
from ..running.report import fail, held_in_time
from ..running.snippets import brief, literal
from ..running.spreading import places, spread, spread_over
from ..running.watching import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World

SPOTS = 8
"""The most packets of a conversation that are changed. Of more, they are evenly spread."""

_BYTES = b"\0", b"\x80", b"\xff"


@held_in_time
def has_a_key_for_any_packet(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """Whatever a packet is, `DatagramHandler.key` returns a value for it that can be hashed, and raises nothing.

    A server calls it with every packet that comes, before it knows the request: what it raises is an error of the
    server, and not of one request. ``packet[:4]`` is right for a packet of one byte too, ``struct.unpack_from`` is not.
    The property calls it with each beginning of each packet of the conversation, and with each packet in which one byte
    or one word is another. A handler that has no ``key`` of its own is not tried.

    >>> from handlers.services import EchoDatagram
    >>> has_a_key_for_any_packet(EchoDatagram, [b"one", b"two"])
    """
    tried = Tried(kind, conversation, world)
    made: Any = class_of(tried.handler)
    if not tried.packets or made.key is DatagramHandler.key:
        return
    for packet in _packets(tried.pieces):
        error = _error(made, packet)
        if error is not None:
            code, fault = f"hash({tried.kind.__name__}.key({literal(packet)}))", f"raises {told(error, tried.kind)}"
            if isinstance(error, EndlessLoop):
                code, fault = f"with line_limit({_allowed(packet)}):\n    {code}", "does not return"
            told_of = f"its key of the packet {brief(packet)} {fault}: a server calls it with every packet"
            fail(tried, told_of, "a_key_for_any_packet", code)


def _packets(pieces: list[bytes]) -> Iterator[bytes]:
    """Each beginning of each packet, the shortest first, and each packet with one word or one byte changed."""
    few = spread_over(pieces, SPOTS)
    begun = {piece[:length] for piece in [b"", *few] for length in places(len(piece))}
    yield from sorted(begun, key=lambda packet: (len(packet), packet))
    for piece in few:
        yield from strategies.slips(piece)
        for at in spread(0, len(piece) - 1, 8 * SPOTS):
            yield from (piece[:at] + byte + piece[at + 1 :] for byte in _BYTES)


def _allowed(packet: bytes) -> int:
    """The lines of Python that the key of a packet may take."""
    return LINES + LINES_PER_BYTE * len(packet)


def _error(made: Any, packet: bytes) -> BaseException | None:
    """What the server gets for a packet instead of a key: the method raises it, or it can't be hashed."""
    try:
        with line_limit(_allowed(packet)):
            hash(made.key(packet))
    except (KeyboardInterrupt, Unfit):
        raise
    except BaseException as error:
        return error
    return None
